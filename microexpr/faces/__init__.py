"""Faces: where one is in a frame, and how the frames of a clip are brought onto its first one."""
