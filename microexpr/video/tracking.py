"""One face, followed through a video: where it is, and how its regions move against a reference frame.

A face is searched for once, on the reference frame, and every later frame is registered to that one (`faces.align`).
While nothing moves, the reference is renewed from time to time, because a head turns and light changes; motion is
carried over, so that its values stay continuous.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, UInt8

from microexpr.errors import BadInput
from microexpr.faces.align import Registration
from microexpr.faces.detect import Detector, Face, choose, faces_in
from microexpr.faces.regions import EYE_OPENINGS, NAMES, eye_motion, region_means
from microexpr.kernels import tvl1
from microexpr.video.source import Frame

MOTION_SIZE = 112  # pixels; side of the aligned face that regional motion is measured on
ALIGNED_SIZE = 224  # pixels; the aligned face that strengths are stated in
MARGIN = 0.2  # sides of the face box around it that are kept of a frame
LARGEST_FACE, SHRUNK_FACE = 320.0, 256.0  # pixels; a face larger than the first is shrunk to the second
SEARCH_SECONDS = 0.1  # between two searches for a face
PATIENCE_SECONDS = 0.1  # a face that can't be followed for longer is lost
RENEWAL_SECONDS = 1.0  # the shortest time between two references
LARGEST_AGE_SECONDS = 5.0  # of a reference; then it is also checked that there is still a face
LARGEST_DRIFT = 0.02  # sides of the face box that it may move before the reference is renewed
BLOCKS = 14  # across and down the face, that its brightness is compared in
DARK = 40.0  # gray levels; a darker face is told
SAME_FACE = 0.3  # intersection over union of two boxes of one face


@dataclass(frozen=True, eq=False)
class View:
    """What is kept of a frame: the face with a margin.

    Attributes:
        picture: RGB "h w 3".
        face: its box in the reference frame, in pixels of this picture.
        reference: number of the frame that is the reference; views of one reference lie on one another.
    """

    picture: UInt8[np.ndarray, "h w 3"]
    face: Face
    reference: int


@dataclass(frozen=True, eq=False)
class Tracked:
    """One frame with its face.

    Attributes:
        frame: the frame.
        box: the face in it, frame pixels; None while there is none.
        view: the face and its surroundings; None while there is none.
        motion: how far every region of `faces.regions.NAMES` has moved, "region 2", pixels of the face aligned to
            224x224; its zero is arbitrary. None while there is no face, or in a frame that could not be registered.
        eyes: how far the pixels of the eye openings have moved on average, "eye", pixels; likewise.
        lost: there is no face, or it could not be followed for a while.
    """

    frame: Frame
    box: Face | None = None
    view: View | None = None
    motion: Float[np.ndarray, "region 2"] | None = None
    eyes: Float[np.ndarray, " eye"] | None = None
    lost: bool = False


class FaceTracker:
    """Follows the largest face of a video.

    Args:
        detector: finds faces.
        residual: see `faces.align.Registration`.

    Attributes:
        notes: what the user should know, such as several faces; each said once.
        faces: frames with a face so far.
    """

    def __init__(self, detector: Detector, residual: str = "points") -> None:
        self._detector, self._residual = detector, residual
        self._reference: _Reference | None = None
        self._searched = self._followed = -math.inf
        self._carried = np.zeros((0, 2))
        self._missed = 0
        self.notes: list[str] = []
        self.faces = 0

    def push(self, frame: Frame, quiet: bool) -> Tracked:
        """The face of the next frame.

        Args:
            frame: the next frame.
            quiet: nothing moves, so this frame may become the reference.
        """
        if self._reference is None:
            return self._search(frame)
        reference = self._reference
        found = reference.compare(frame)
        if found is None:
            if frame.seconds - self._followed <= PATIENCE_SECONDS:
                return Tracked(frame)
            return self._begin_anew(frame)
        self._followed = frame.seconds
        self.faces += 1
        box, vectors, view = found
        vectors = vectors + self._carried
        age = frame.seconds - reference.frame.seconds
        drift = math.hypot(box.center[0] - reference.face.center[0], box.center[1] - reference.face.center[1])
        far = drift > LARGEST_DRIFT * box.width
        if quiet and age > RENEWAL_SECONDS and (far or age > LARGEST_AGE_SECONDS):
            if age > LARGEST_AGE_SECONDS and self._is_gone(frame, box):
                return self._begin_anew(frame)
            renewed = self._start(frame, box)
            if renewed is not None:
                self._reference, self._carried = renewed, vectors
                view = renewed.view(frame)
        return _tracked(frame, box, view, vectors)

    def flush(self) -> None:
        """The end of the video: the next frame is the first of another, whose times may start anew."""
        self._reference = None
        self._searched = self._followed = -math.inf
        self._missed = 0

    def _begin_anew(self, frame: Frame) -> Tracked:
        """The face was lost. Should another be found in this very frame, its motion counts from the next one on."""
        self._reference = None
        return replace(self._search(frame), motion=None, eyes=None, lost=True)

    def _search(self, frame: Frame) -> Tracked:
        if frame.seconds - self._searched < SEARCH_SECONDS:
            return Tracked(frame, lost=True)
        self._searched = frame.seconds
        faces = faces_in(frame.image, frame.index, self._detector)
        if not faces:
            return Tracked(frame, lost=True)
        face, note = choose(faces, frame.index)
        if note and not any("faces in frame" in said for said in self.notes):
            self.notes.append(note)
        reference = self._start(frame, face)
        if reference is None:
            return Tracked(frame, lost=True)
        self._reference, self._followed = reference, frame.seconds
        self.faces += 1
        vectors = np.zeros((len(NAMES) + len(EYE_OPENINGS), 2))
        self._carried = vectors
        return _tracked(frame, face, reference.view(frame), vectors)

    def _start(self, frame: Frame, face: Face) -> _Reference | None:
        """A new reference; None where the face is too small, or too even to be followed."""
        try:
            reference = _Reference(frame, face, self._residual)
        except BadInput as error:
            if str(error) not in self.notes:
                self.notes.append(str(error))
            return None
        if reference.compare(frame) is None:
            note = f"the face in frame {frame.index} has too little texture to be followed"
            if not any("too little texture" in said for said in self.notes):
                self.notes.append(note)
            return None
        if reference.brightness < DARK and not any("is dark" in said for said in self.notes):
            light = f"mean gray level {reference.brightness:.0f} of 255"
            self.notes.append(f"the face in frame {frame.index} is dark, {light}: noise hides small movements")
        return reference

    def _is_gone(self, frame: Frame, box: Face) -> bool:
        """Whether twice in a row another face was found, but none where the followed one is."""
        faces = faces_in(frame.image, frame.index, self._detector)
        here = any(_overlap(face, box) > SAME_FACE for face in faces)
        self._missed = 0 if here or not faces else self._missed + 1
        return self._missed > 1


class _Reference:
    """A frame whose face the following frames are compared with."""

    def __init__(self, frame: Frame, face: Face, residual: str) -> None:
        self.frame, self.face = frame, face
        height, width = frame.image.shape[:2]
        across, down = MARGIN * face.width, MARGIN * face.height
        self._left, self._top = max(0, math.floor(face.x - across)), max(0, math.floor(face.y - down))
        self._right = min(width, math.ceil(face.x + face.width + across))
        self._bottom = min(height, math.ceil(face.y + face.height + down))
        if self._right - self._left < 1 or self._bottom - self._top < 1:
            raise BadInput("a face inside the frame", f"a box at ({face.x:.0f}, {face.y:.0f})", "check the detector")
        side = max(face.width, face.height)
        self._scale = 1.0 if side <= LARGEST_FACE else SHRUNK_FACE / side
        self._size = (
            max(1, round((self._right - self._left) * self._scale)),
            max(1, round((self._bottom - self._top) * self._scale)),
        )
        picture = self._cut(frame)
        scale = self._size[0] / (self._right - self._left), self._size[1] / (self._bottom - self._top)
        self._kept = Face(
            (face.x - self._left + 0.5) * scale[0] - 0.5,
            (face.y - self._top + 0.5) * scale[1] - 0.5,
            face.width * scale[0],
            face.height * scale[1],
            face.score,
        )
        self._registration = Registration(picture, self._kept, residual, size=ALIGNED_SIZE)
        at_rest = self._small(picture)
        self._at_rest, self._rest_light = at_rest.astype(np.float32), Light(at_rest)
        self.brightness = float(at_rest.mean())

    def view(self, frame: Frame) -> View:
        return View(self._cut(frame), self._kept, self.frame.index)

    def compare(self, frame: Frame) -> tuple[Face, Float[np.ndarray, "region 2"], View] | None:
        """Box, motion of regions and eyes, and view of a frame; None if it can't be registered."""
        picture = self._cut(frame)
        aligned = self._registration.align(_gray(picture))
        if aligned.lost:
            return None
        field = tvl1.flow(self._at_rest, self._rest_light.matched(_shrunk(aligned.image)))
        scale = ALIGNED_SIZE / MOTION_SIZE
        eyes = np.stack([eye_motion(field), np.zeros(len(EYE_OPENINGS), np.float32)], axis=1)
        vectors = np.concatenate([region_means(field), eyes]).astype(float) * scale
        center = aligned.transform @ np.array([*self._kept.center, 1.0])
        moved = (center - np.array(self._kept.center)) / self._scale
        box = Face(self.face.x + float(moved[0]), self.face.y + float(moved[1]), self.face.width, self.face.height, 1.0)
        return box, vectors, View(picture, self._kept, self.frame.index)

    def _cut(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        import cv2

        cut = frame.image[self._top : self._bottom, self._left : self._right]
        if self._scale == 1:
            return cut.copy()  # the frame's own memory is let go
        return cv2.resize(cut, self._size, interpolation=cv2.INTER_AREA)

    def _small(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "112 112"]:
        return _shrunk(self._registration.align(_gray(picture)).image)


class Light:
    """The light on a face, to make other pictures as bright: lamps flicker, and flow takes that for a motion.

    The gain is the median over blocks of the face, so that a blink does not change it.
    """

    def __init__(self, face: UInt8[np.ndarray, "h w"]) -> None:
        self._blocks = _blocks(face.astype(np.float32))

    def matched(self, face: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
        """Another picture of the face as if it were under this light, 0..255."""
        levels = face.astype(np.float32)
        levels *= np.float32(np.median(self._blocks / _blocks(levels)))
        return np.minimum(levels, 255, out=levels)


def _blocks(face: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "block block"]:
    import cv2

    return np.maximum(cv2.resize(face, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA), 1)


def _gray(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    import cv2

    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def _shrunk(face: UInt8[np.ndarray, "224 224"]) -> UInt8[np.ndarray, "112 112"]:
    import cv2

    return cv2.resize(face, (MOTION_SIZE, MOTION_SIZE), interpolation=cv2.INTER_AREA)


def _tracked(frame: Frame, box: Face, view: View, vectors: Float[np.ndarray, "region 2"]) -> Tracked:
    split = len(vectors) - len(EYE_OPENINGS)
    return Tracked(frame, box, view, vectors[:split], vectors[split:, 0])


def _overlap(one: Face, other: Face) -> float:
    """Intersection over union."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (one.width * one.height + other.width * other.height - common)
