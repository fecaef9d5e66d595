"""Where frames come from: a video file, a folder of pictures, a camera or an array, all read the same way.

Every source is read from its first frame to its last, one frame at a time, and never seeks: in files with a variable
rate a seek lands on the wrong frame. The time of a frame is what its source says (presentation time stamps, picture
numbers, a camera's clock), not its place in the row. What looks wrong on the way is said in `Source.warnings`.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from microexpr.errors import BadInput
from microexpr.motion.files import PICTURE_SUFFIXES, read_picture

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

LONGEST_MOVEMENT = 0.5  # seconds; a micro-expression lasts 40 to 500 ms
LOWEST_FPS = 50.0
RATE_TOLERANCE = 0.02
DECODING_THREADS = 4  # each holds a frame: with one thread a core a large machine would hold gigabytes of 4K video


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        index: its number, from 0; pictures that a folder lacks leave a gap.
        seconds: its time on the source's own clock.
        image: "h w 3", RGB, upright.
    """

    index: int
    seconds: float
    image: UInt8[np.ndarray, "h w 3"]


class _Clock:
    """Count, first and last time, shortest and longest interval: what is kept of the frames that went by."""

    def __init__(self) -> None:
        self.count = 0
        self.first = self.last = math.nan
        self.shortest, self.longest = math.inf, 0.0

    def tick(self, seconds: float) -> None:
        if self.count:
            self.shortest = min(self.shortest, seconds - self.last)
            self.longest = max(self.longest, seconds - self.last)
        else:
            self.first = seconds
        self.last = seconds
        self.count += 1

    @property
    def rate(self) -> float | None:
        return (self.count - 1) / (self.last - self.first) if self.count > 1 and self.last > self.first else None

    def remarks(self, header_fps: float | None, tolerated: float) -> list[str]:
        """Where the clock differs from the header or runs unevenly by more than `tolerated` seconds."""
        found: list[str] = []
        if self.rate is None:
            return found
        if header_fps is not None and abs(self.rate / header_fps - 1) > RATE_TOLERANCE:
            found.append(f"the header says {header_fps:.6g} frames a second, the time stamps say {self.rate:.6g}")
        if self.longest - self.shortest > tolerated:
            found.append(
                f"the frame rate varies: from {self.shortest * 1000:.2f} ms to {self.longest * 1000:.2f} ms "
                "lie between two frames"
            )
        return found


class Source(ABC):
    """Frames one after the other; made by `open_source`.

    Attributes:
        name: file or folder name, ``"camera 0"`` or ``"array"``.
        size: width and height of every frame.
        header_fps: the rate that the header or the caller states; None where nobody does.
        warnings: plain sentences; complete once the last frame was read.
    """

    def __init__(self, name: str, size: tuple[int, int], header_fps: float | None) -> None:
        self.name, self.size, self.header_fps = name, size, header_fps
        self.warnings: list[str] = []
        self._clock = _Clock()

    def frames(self) -> Iterator[Frame]:
        """All frames in order, one in memory at a time; each call reads from the start and counts afresh.

        Whatever is open is closed when the iterator ends or is dropped.

        Raises:
            BadInput: a frame can't be read or has another size than the first.
        """
        self.warnings, self._clock = [], _Clock()
        with contextlib.closing(self._read()) as frames:
            for frame in frames:
                self._clock.tick(frame.seconds)
                yield frame
        self.warnings += self._remarks() + self._rate_remarks()

    @property
    def count(self) -> int:
        """Frames read so far."""
        return self._clock.count

    @property
    def effective_fps(self) -> float | None:
        """Frames a second by the times of the frames read so far; before the second frame the stated rate."""
        return self._clock.rate or self.header_fps

    def _rate_remarks(self) -> list[str]:
        found = []
        if self.count == 1:
            found.append("there is one frame only: nothing moves in it, and its rate is not measured")
        rate = self.effective_fps
        if rate is not None and rate < LOWEST_FPS:
            most = math.floor(LONGEST_MOVEMENT * rate + 1e-6) + 1
            found.append(
                f"{rate:.6g} frames a second: a movement of 40 to 500 ms has at most {most} frames at this rate; "
                "micro-expressions can't be seen reliably"
            )
        return found

    def _require_size(self, image: np.ndarray, what: str) -> None:
        if image.shape[1::-1] != self.size:
            raise BadInput(
                f"frames of one size, {self.size[0]}x{self.size[1]} like the first",
                f"{what} of {image.shape[1]}x{image.shape[0]}",
                "give frames of one recording",
            )

    @abstractmethod
    def _read(self) -> Generator[Frame]: ...

    def _remarks(self) -> list[str]:
        return []


def open_source(given: Path | str | np.ndarray | Sequence[np.ndarray] | int, fps: float | None = None) -> Source:
    """Opens whatever holds frames.

    Args:
        given: a video file; a folder of numbered pictures; an array "frame h w 3" or a sequence of "h w 3", uint8 RGB;
            or the number of a camera.
        fps: frames a second. Needed for folders (the rate of their numbers) and arrays. For a video file it replaces
            the file's clock: a high-speed recording is often stored at the rate that it is to be shown at. A camera
            is asked for it.

    Raises:
        BadInput: nothing that can be read, or a rate that is missing or not positive.
    """
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise BadInput("a positive number of frames a second", f"{fps:g}", "give the camera's rate")
    if isinstance(given, int) and not isinstance(given, bool):
        return _Camera(given, fps)
    if isinstance(given, (str, Path)):
        path = Path(given)
        return _Folder(path, fps) if path.is_dir() else _VideoFile(path, fps)
    return _Array(given, fps)


def _require_rate(fps: float | None, what: str) -> float:
    if fps is None:
        raise BadInput(f"the frame rate of {what}", "none", "give it (fps=100, or --fps 100): pictures carry no times")
    return float(fps)


class _Array(Source):
    """Frames that are in memory already; they are handed on, not copied."""

    def __init__(self, given: object, fps: float | None) -> None:
        expected = 'a uint8 array "frame h w 3" or a sequence of "h w 3"'
        if not isinstance(given, (np.ndarray, Sequence)):
            raise BadInput(f"a video file, a folder, a camera number or {expected}", type(given).__name__, "give one")
        if (isinstance(given, np.ndarray) and given.ndim == 0) or not len(given):
            raise BadInput(expected, "no frame", "give at least one frame")
        for number, image in enumerate(given):
            shape, kind = np.shape(image), getattr(image, "dtype", type(image).__name__)
            if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
                advice = "give RGB values 0..255; repeat gray three times, drop alpha"
                raise BadInput(expected, f"frame {number} of type {kind} and shape {shape}", advice)
        height, width = given[0].shape[:2]
        self._images, self._fps = given, _require_rate(fps, "an array of frames")
        super().__init__("array", (width, height), self._fps)
        for number, image in enumerate(given):
            self._require_size(image, f"frame {number}")

    def _read(self) -> Generator[Frame]:
        for index, image in enumerate(self._images):
            yield Frame(index, index / self._fps, image)


class _Folder(Source):
    """Pictures in the natural order of their names; times come from the numbers in the names."""

    def __init__(self, folder: Path, fps: float | None) -> None:
        kinds = " ".join(PICTURE_SUFFIXES)
        try:
            files = [file for file in folder.iterdir() if not file.name.startswith(".") and file.is_file()]
        except OSError as error:
            raise BadInput("a folder of pictures", f"{folder} ({error.strerror})", "check its permissions") from error
        pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
        if not pictures:
            got = f"{folder}, with {len(files)} other files" if files else f"{folder}, which is empty"
            raise BadInput(f"a folder of pictures ({kinds})", got, "check the path")
        self._fps = _require_rate(fps, f"the folder {folder}")
        pictures.sort(key=lambda file: (_natural(file.name), file.name))
        self._pictures, self._numbers = pictures, _picture_numbers([file.name for file in pictures])
        height, width = read_picture(pictures[0]).shape[:2]
        super().__init__(folder.resolve().name, (width, height), self._fps)

    def _read(self) -> Generator[Frame]:
        numbers = self._numbers or range(len(self._pictures))
        for number, file in zip(numbers, self._pictures, strict=True):
            image = read_picture(file)
            self._require_size(image, file.name)
            yield Frame(number - numbers[0], (number - numbers[0]) / self._fps, image)

    def _remarks(self) -> list[str]:
        if self._numbers is None:
            first, last = self._pictures[0].name, self._pictures[-1].name
            return [
                f"the picture names do not differ by one number alone ({first} ... {last}): "
                "they were taken in their natural order, and a gap can't be seen"
            ]
        lacking = self._numbers[-1] - self._numbers[0] + 1 - len(self._numbers)
        if not lacking:
            return []
        before = next(low for low, high in zip(self._numbers, self._numbers[1:], strict=False) if high != low + 1)
        return [f"the numbers of the pictures have gaps: {lacking} lacking, the first after {before}; times keep them"]


def _natural(name: str) -> list[tuple[str, int]]:
    """A name as (text, number) by turns: frame_2 comes before frame_10."""
    return [(text.lower(), int(number or -1)) for text, number in re.findall(r"(\D*)(\d*)", name)]


def _picture_numbers(names: Sequence[str]) -> list[int] | None:
    """The one number in which the names differ, e.g. 2 and 10 for a1_2.png and a1_10.png; None if there is no such."""
    parts = [_natural(name) for name in names]
    if len(names) == 1:
        return [0]
    if len({tuple(text for text, _ in part) for part in parts}) > 1:
        return None
    columns = zip(*[[number for _, number in part] for part in parts], strict=True)
    varying = [column for column in columns if len(set(column)) > 1]
    return list(varying[0]) if len(varying) == 1 and len(set(varying[0])) == len(names) else None


class _Camera(Source):
    """A camera by its number; seconds count from its first frame, on this machine's clock."""

    def __init__(self, number: int, fps: float | None) -> None:
        import cv2

        self._number, self._asked = number, fps
        with self._capture() as capture:
            stated = capture.get(cv2.CAP_PROP_FPS)
            came, image = capture.read()
            if not came:
                raise BadInput("a camera", f"number {number}, which gives no picture", "check that it is free")
            height, width = image.shape[:2]
        super().__init__(f"camera {number}", (width, height), float(stated) if stated > 0 else fps)

    @contextlib.contextmanager
    def _capture(self) -> Generator[Any]:
        import cv2

        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a missing camera prints lines
        try:
            capture = cv2.VideoCapture(self._number)
        finally:
            cv2.utils.logging.setLogLevel(level)
        try:
            if not capture.isOpened():
                raise BadInput("a camera", f"number {self._number}, which can't be opened", "check that it is free")
            if self._asked is not None:
                capture.set(cv2.CAP_PROP_FPS, self._asked)
            yield capture
        finally:
            capture.release()

    def _read(self) -> Generator[Frame]:
        import cv2

        with self._capture() as capture:
            start = None
            while True:
                came, image = capture.read()
                now = time.perf_counter()
                if not came:
                    return
                start = now if start is None else start
                image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                self._require_size(image, "a frame")
                yield Frame(self.count, now - start, image)

    def _remarks(self) -> list[str]:
        stopped = [f"camera {self._number} stopped after {self.count} frames"]
        # Arrival at this program jitters by itself; half an interval is more than that.
        return stopped + self._clock.remarks(self.header_fps, 0.5 / (self._clock.rate or 1))


class _VideoFile(Source):
    """A video file, decoded in sequence by FFmpeg (PyAV), turned upright as its display matrix says."""

    def __init__(self, path: Path, fps: float | None) -> None:
        self._path, self._given = path, fps
        _require_video_name(path)
        self._broken: float | None = None
        self._file_clock = _Clock()
        with _opened(path) as container:
            stream = _video_stream(container, path)
            self._promised = stream.frames
            self._duration = _stated_duration(container, stream)
            self._tick = stream.time_base or Fraction(0)
            rate = stream.average_rate or stream.guessed_rate or stream.base_rate
            with contextlib.closing(self._decoded(container, stream)) as frames:
                first = next(frames, None)
            if first is None:
                raise BadInput("a video", f"{path}, of which no frame can be decoded", "give a whole file")
            self._bits = max(component.bits for component in first.format.components)
            self._turn = _turn(first)
            height, width = _upright(first, self._turn).shape[:2]
        super().__init__(path.name, (width, height), float(rate) if rate else fps)

    def _read(self) -> Generator[Frame]:
        self._file_clock, self._broken = _Clock(), None
        self._missing = self._backward = 0
        with _opened(self._path) as container:
            stream = _video_stream(container, self._path)
            with contextlib.closing(self._decoded(container, stream)) as frames:
                for index, decoded in enumerate(frames):
                    seconds = self._seconds(None if decoded.pts is None else float(decoded.pts * self._tick))
                    self._file_clock.tick(seconds)
                    image = _upright(decoded, self._turn)
                    self._require_size(image, f"frame {index}")
                    yield Frame(index, index / self._given if self._given else seconds, image)

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Generator[VideoFrame]:
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
                self._note_damage()
                return
            try:
                decoded = stream.decode(packet)
            except av.error.FFmpegError:  # of one packet: the next may be whole
                self._note_damage()
                continue
            for frame in decoded:
                if frame.is_corrupt or packet.is_corrupt:
                    self._note_damage()
                yield frame

    def _note_damage(self) -> None:
        if self._broken is None:
            self._broken = self._end()

    def _end(self) -> float:
        """Where the frames read so far end, in seconds."""
        clock = self._file_clock
        return clock.last + 1 / (clock.rate or self.header_fps or math.inf) if clock.count else 0.0

    def _seconds(self, stamp: float | None) -> float:
        """The time stamp; one interval after the frame before where it is missing or does not come later."""
        clock = self._file_clock
        if stamp is not None and not (clock.count and stamp <= clock.last):
            return float(stamp)
        if self.header_fps is None:
            advice = "give the rate (fps=100, or --fps 100)"
            raise BadInput("time stamps or a frame rate", f"{self._path}, which has neither", advice)
        if stamp is None:
            self._missing += 1
        else:
            self._backward += 1
        return clock.last + 1 / self.header_fps if clock.count else 0.0

    def _remarks(self) -> list[str]:
        clock, end = self._file_clock, self._end()
        found = clock.remarks(self.header_fps, max(1.5 * float(self._tick), 0.05 / (clock.rate or 1)))
        if self._given:
            found.append(f"the given rate of {self._given:.6g} frames a second replaces the clock of the file")
        else:
            repaired = (
                f"each was put 1/{self.header_fps or 1:.6g} s after the frame before (give the rate if it is another)"
            )
            if self._missing:
                found.append(f"time stamps missing: {self._missing}; {repaired}")
            if self._backward:
                found.append(f"time stamps not later than the one before: {self._backward}; {repaired}")
        if self._promised and self._promised != clock.count:
            found.append(f"the header says {self._promised} frames, {clock.count} could be read")
        if self._broken is not None:
            found.append(f"the file is damaged at {self._broken:.3f} s; frames there are missing or wrong")
        allowed = max(3 / (clock.rate or 1), RATE_TOLERANCE * (self._duration or 0))
        if self._duration is not None and clock.count > 1 and self._duration - (end - clock.first) > allowed:
            found.append(f"the file breaks off at {end:.3f} s, its header says {clock.first + self._duration:.3f} s")
        if self._bits > 8:
            found.append(f"the video has {self._bits} bits a channel; they were reduced to 8")
        return found


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


def _stated_duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds that the header gives the video stream; None where it says nothing of that stream itself."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1  # of several streams, another may last longer
    return container.duration / 1e6 if alone and container.duration else None


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
