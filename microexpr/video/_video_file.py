"""Frames of a video file, decoded in sequence by FFmpeg (PyAV)."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from microexpr.errors import BadInput
from microexpr.motion.files import PICTURE_SUFFIXES
from microexpr.video._base import RATE_TOLERANCE, Clock, Frame, Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

DECODING_THREADS = min(
    4, os.cpu_count() or 1
)  # each holds a frame: with one thread a core a large machine would hold gigabytes of 4K video

MOST_GROWTH, LEAST_PIXELS = 4, 1_000_000  # pixels of a frame over those of the first one; and always allowed


class VideoFile(Source):
    """A video file, decoded in sequence by FFmpeg (PyAV), turned upright as its display matrix says."""

    def __init__(self, path: Path, fps: float | None) -> None:
        self._path, self._given = path, fps
        _require_video_name(path)
        with _opened(path) as container:
            stream = _video_stream(container, path)
            self._promised = stream.frames
            self._stated_end = _stated_end(container, stream)
            self._tick = stream.time_base or Fraction(0)
            rate = stream.average_rate or stream.guessed_rate or stream.base_rate
            with contextlib.closing(self._decoded(container, stream, _Pass(None))) as frames:
                first = next(frames, None)
            if first is None:
                raise BadInput("a video", f"{path}, of which no frame can be decoded", "give a whole file")
            self._bits = max(component.bits for component in first.format.components)
            self._turn = _turn(first)
            height, width = _upright(first, self._turn).shape[:2]
        super().__init__(path.name, (width, height), float(rate) if rate else fps, self._promised or None)

    def _read(self) -> Generator[Frame, None, list[str]]:
        now = _Pass(self.header_fps)
        with _opened(self._path) as container:
            stream = _video_stream(container, self._path)
            # A later frame may say that it is huge: the decoder refuses it before it takes memory.
            most = max(MOST_GROWTH * self.size[0] * self.size[1], LEAST_PIXELS)
            stream.codec_context.options = {"max_pixels": str(most)}
            with contextlib.closing(self._decoded(container, stream, now)) as frames:
                for index, decoded in enumerate(frames):
                    seconds = now.seconds(None if decoded.pts is None else float(decoded.pts * self._tick))
                    if seconds is None:
                        advice = "give the rate (fps=100, or --fps 100)"
                        raise BadInput("time stamps or a frame rate", f"{self._path}, which has neither", advice)
                    now.clock.tick(seconds)
                    image = _upright(decoded, self._turn)
                    self._require_size(image, f"frame {index}")
                    yield Frame(index, index / self._given if self._given else seconds, image)
        return self._remarks(now)

    def _decoded(self, container: InputContainer, stream: VideoStream, now: _Pass) -> Generator[VideoFrame]:
        """The frames that can be decoded; damage is noted and passed over."""
        import av

        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:  # nothing more can be read; what the decoder still holds is whole
                yield from stream.decode(None)
                now.note_damage()
                return
            try:
                decoded = stream.decode(packet)
            except av.error.FFmpegError:  # of one packet: the next may be whole
                now.note_damage()
                continue
            for frame in decoded:
                if frame.is_corrupt or packet.is_corrupt:
                    now.note_damage()
                yield frame

    def _remarks(self, now: _Pass) -> list[str]:
        clock, end = now.clock, now.end
        found = clock.remarks(self.header_fps, max(1.5 * float(self._tick), 0.05 / (clock.rate or 1)))
        if self._given:
            found.append(f"the given rate of {self._given:.6g} frames a second replaces the clock of the file")
        else:
            repaired = (
                f"each was put 1/{self.header_fps or 1:.6g} s after the frame before (give the rate if it is another)"
            )
            if now.missing:
                found.append(f"time stamps missing: {now.missing}; {repaired}")
            if now.backward:
                found.append(f"time stamps not later than the one before: {now.backward}; {repaired}")
        if self._promised and self._promised != clock.count:
            found.append(f"the header says {self._promised} frames, {clock.count} could be read")
        if now.broken is not None:
            found.append(f"the file is damaged at {now.broken:.3f} s; frames there are missing or wrong")
        if self._stated_end is not None and clock.count > 1:
            allowed = max(3 / (clock.rate or 1), RATE_TOLERANCE * (self._stated_end - clock.first))
            if self._stated_end - end > allowed:
                found.append(f"the file breaks off at {end:.3f} s, its header says {self._stated_end:.3f} s")
        if self._bits > 8:
            found.append(f"the video has {self._bits} bits a channel; they were reduced to 8")
        return found


class _Pass:
    """What is kept of one pass through a file: the file's own clock, and what is wrong with it.

    Attributes:
        clock: of the file, whatever rate was given.
        missing, backward: how many time stamps were missing, and how many did not come later than the one before.
        broken: where the first damage is, seconds.
    """

    def __init__(self, header_fps: float | None) -> None:
        self._header_fps = header_fps
        self.clock = Clock()
        self.missing = self.backward = 0
        self.broken: float | None = None

    @property
    def end(self) -> float:
        """Where the frames read so far end, in seconds."""
        clock = self.clock
        return clock.last + 1 / (clock.rate or self._header_fps or math.inf) if clock.count else 0.0

    def note_damage(self) -> None:
        if self.broken is None:
            self.broken = self.end

    def seconds(self, stamp: float | None) -> float | None:
        """The time stamp; one interval after the frame before where it is missing or does not come later.

        None where it is not usable and no rate says how long an interval is.
        """
        clock = self.clock
        if stamp is not None and not (clock.count and stamp <= clock.last):
            return stamp
        if self._header_fps is None:
            return None
        if stamp is None:
            self.missing += 1
        else:
            self.backward += 1
        return clock.last + 1 / self._header_fps if clock.count else 0.0


def _require_video_name(path: Path) -> None:
    try:
        length = path.stat().st_size
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput("a video file or a folder of pictures", f"{path} ({reason})", "check the path") from error
    if not length:
        raise BadInput("a video file", f"{path}, which is empty (0 bytes)", "copy or record it again")
    if path.suffix.lower() in PICTURE_SUFFIXES:
        raise BadInput("a video file or a folder of pictures", f"{path}, one picture", "give the folder it is in")


def _opened(path: Path) -> InputContainer:
    import av

    try:
        return av.open(f"file:{path}")  # without "file:" a name such as a:b.mp4 reads as a protocol
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput("a video file", f"{path}, which can't be read ({reason})", "give a whole video file") from error


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of moving pictures; the cover of a sound file is none."""
    import av

    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            stream.codec_context.thread_type = "AUTO"
            stream.codec_context.thread_count = min(DECODING_THREADS, os.cpu_count() or 1)
            return stream
    held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise BadInput(
        "a file with a video stream",
        f"{path}, which holds no moving pictures ({held})",
        "give the file with the pictures",
    )


def _stated_end(container: InputContainer, stream: VideoStream) -> float | None:
    """Where the header says that the video stream ends, on its own clock; None where it says nothing of that stream.

    A duration counts from the first frame, which may come late. Only Matroska's is where the last frame ends.
    """
    if stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if len(container.streams) > 1 or not container.duration:  # of several streams, another may last longer
        return None
    start = 0 if "matroska" in container.format.name else container.start_time or 0
    return (start + container.duration) / 1e6


def _turn(frame: VideoFrame) -> tuple[int, int, int, int]:
    """a, b, c, d of a frame's display matrix (ISO 14496-12): (x, y) goes to (a x + c y, b x + d y), y down.

    To be asked once a file: PyAV's side data and its frame hold each other, so a frame that was asked stays in memory
    until the garbage collector comes.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = (int(entry) for entry in np.frombuffer(bytes(matrix), np.int32)[:5])
    return a, b, c, d


def _upright(frame: VideoFrame, turn: tuple[int, int, int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """A decoded frame as RGB, turned and mirrored to the nearest right angle; gray is repeated, alpha dropped."""
    image = frame.to_ndarray(format="rgb24")
    a, b, c, d = turn
    if abs(a) < abs(b):
        image, a, d = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
