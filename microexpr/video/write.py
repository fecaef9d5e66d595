"""Frames -> a video file, each at its own time.

H.264 by libx264, which PyAV's wheels hold; MPEG-4 part 2, which every FFmpeg has, where it is missing. Both go into an
.mp4 file that browsers and players open.
"""

from __future__ import annotations

import contextlib
import glob
import math
import os
import uuid
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from microexpr.errors import BadInput

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

ENCODERS = ("libx264", "mpeg4")  # the first that there is
TICKS = 60_000  # a second: what MPEG-4 part 2 can count (16 bits), and a multiple of 24, 25, 30, 100, 120, 200, 240
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
QUALITY = 18  # libx264's constant rate factor: hardly to be told from the original
BITS_A_PIXEL = 0.25  # of mpeg4, for each frame: about as good
THREADS = 4  # each holds frames
BT601 = 5  # AVCOL_SPC_BT470BG: what swscale converts RGB with; without the mark players guess by the picture's size


class VideoWriter:
    """Writes an .mp4 file; a context manager.

    The file gets its name when all frames are in it: an error leaves nothing behind and an older file as it was, unless
    `keep` is set.

    Args:
        path: the file, ending in .mp4, in a folder that exists.
        size: width and height of the frames. Odd ones are enlarged by one pixel, which repeats the last.
        fps: nominal frames a second; the true times come with the frames.
        preset: one of `PRESETS`, which trade time for size; for libx264 only.
        keep: an error in the block keeps the frames before it: for what can't be had again.

    Raises:
        BadInput: a name, size, rate or preset that can't be, or a place that can't be written.
    """

    def __init__(
        self, path: Path | str, size: tuple[int, int], fps: float, *, preset: str = "superfast", keep: bool = False
    ) -> None:
        self.path, self.size, self.preset, self._keep = Path(path), size, preset, keep
        if self.path.suffix.lower() != ".mp4":
            raise BadInput("a video file ending in .mp4", str(path), "rename it")
        if min(size) < 1:
            raise BadInput("frames of 1x1 pixel or more", f"{size[0]}x{size[1]}", "give the size of the frames")
        if not (math.isfinite(fps) and 0 < fps <= TICKS):
            raise BadInput(f"a frame rate above 0 and up to {TICKS}", f"{fps:g}", "give frames a second")
        if preset not in PRESETS:
            raise BadInput(f"a preset: {', '.join(PRESETS)}", repr(preset), "choose one of them")
        self.rate = Fraction(fps).limit_denominator(1001)
        self.codec = encoder()
        self._last: int | None = None
        self._temporary = self.path.with_name(f"{_prefix(self.path)}{uuid.uuid4().hex}.tmp")
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def __enter__(self) -> VideoWriter:
        import av

        try:
            if self.path.is_dir():
                raise IsADirectoryError(None, "is a folder")
            self._temporary.touch()  # FFmpeg makes the file with the first packet: late for an error
            container = av.open(f"file:{self._temporary}", "w", format="mp4")
        except (av.error.FFmpegError, OSError) as error:
            self._discard()
            raise self._unwritable(error) from error
        self._container = container
        self._stream = self._add_stream(container)
        return self

    def _add_stream(self, container: OutputContainer) -> VideoStream:
        stream: VideoStream = container.add_stream(self.codec, rate=self.rate)  # type: ignore[assignment]
        stream.width, stream.height = (length + length % 2 for length in self.size)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.colorspace = BT601
        stream.codec_context.thread_count = min(THREADS, os.cpu_count() or 1)
        if self.codec == "libx264":
            # No bidirectional frames: they bring time stamps before zero, which some players take for the start.
            stream.options = {"preset": self.preset, "crf": str(QUALITY), "bf": "0"}
        else:
            stream.bit_rate = max(200_000, round(BITS_A_PIXEL * stream.width * stream.height * self.rate))
        return stream

    def write(self, image: UInt8[np.ndarray, "h w 3"], seconds: float) -> None:
        """One more frame.

        Args:
            image: RGB, of the size that was given.
            seconds: its time; later than that of the frame before, 0 or more.

        Raises:
            BadInput: another size, a time that can't be, or the place can't be written any more.
        """
        import av

        if self._container is None or self._stream is None:
            raise BadInput("an open writer", "one that was not entered or is closed", "write inside of its with block")
        if image.shape[1::-1] != self.size:
            came = f"{image.shape[1]}x{image.shape[0]}"
            raise BadInput(f"frames of {self.size[0]}x{self.size[1]}", came, "write frames of one size")
        tick = round(seconds * TICKS) if math.isfinite(seconds) else -1
        if tick < 0 or (self._last is not None and tick <= self._last):
            before = "0 s or more" if self._last is None else f"a time after {self._last / TICKS:.6f} s"
            raise BadInput(before, f"{seconds:.6f} s", "write the frames in the order of their times")
        frame = av.VideoFrame.from_ndarray(_even(image), "rgb24")
        frame.pts, frame.time_base, self._last = tick, Fraction(1, TICKS), tick
        frame.duration = max(1, round(TICKS / self.rate))
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise self._unwritable(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import av

        container, stream = self._container, self._stream
        self._container = self._stream = None
        if container is None or stream is None:
            return
        kept = self._last is not None and (kind is None or self._keep)
        try:
            try:
                if kept:
                    container.mux(stream.encode())
            finally:
                container.close()
            if kept:
                self._temporary.replace(self.path)
            elif kind is None:
                raise BadInput("at least one frame", "none", "write frames before the video is closed")
        except (av.error.FFmpegError, OSError) as failure:
            if kind is None:  # else the error of the block is told
                raise self._unwritable(failure) from failure
        finally:
            self._discard()

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _unwritable(self, error: Exception) -> BadInput:
        reason = getattr(error, "strerror", None) or error
        advice = "make its folder first, make room, or choose another place"
        return BadInput("a video file that can be written", f"{self.path} ({reason})", advice)


def unfinished(path: Path) -> list[Path]:
    """What lies beside a video while it is being written, or where the process was killed meanwhile."""
    return sorted(path.parent.glob(f"{glob.escape(_prefix(path))}*.tmp"))


def _prefix(path: Path) -> str:
    return f".{path.stem[:40]}."


def encoder() -> str:
    """The first of `ENCODERS` that this PyAV has."""
    import av

    for name in ENCODERS:
        with contextlib.suppress(av.codec.codec.UnknownCodecError):
            av.Codec(name, "w")
            return name
    raise BadInput(f"PyAV with an encoder ({', '.join(ENCODERS)})", "none of them", "install PyAV's own wheel")


def _even(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with even sides, which half the color resolution asks for."""
    import cv2

    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(image)
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
