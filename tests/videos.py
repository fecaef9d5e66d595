"""Small rendered videos for tests, and video files of them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from microexpr.datasets._blink import Blink
from microexpr.datasets._face import Identity
from microexpr.datasets._render import Movement, RenderedFrames


def rendered(
    fps: float, seconds: float, *movements: Movement, subject: int = 0, head_pixels: float = 0.3,
    blinks: tuple[Blink, ...] = (), crop: bool = True, seed: int = 9,
) -> np.ndarray:  # fmt: skip
    """All frames of a rendered video, uint8 "frame h w 3": 224x224 (about 3 ms a frame) or 640x480 (about 15 ms)."""
    identity = Identity((0, subject), subject % 2 == 1)
    length = round(seconds * fps)
    frames = RenderedFrames(length, movements, identity, (seed,), fps, head_pixels, crop, blinks)
    return np.stack([frames.read(number) for number in range(length)])


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int) -> Path:
    """A video file, ``.mkv``, that reads back as the same bytes (FFV1)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.pix_fmt = "bgr0"
        for number, image in enumerate(frames):
            if not number:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
