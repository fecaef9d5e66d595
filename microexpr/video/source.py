"""Where frames come from: a video file, a folder of pictures, a camera or an array, all read the same way.

Every source is read from its first frame to its last, one frame at a time, and never seeks: in files with a variable
rate a seek lands on the wrong frame. The time of a frame is what its source says (presentation time stamps, picture
numbers, a camera's clock), not its place in the row. What looks wrong on the way is said in `Source.warnings`.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Generator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from microexpr.errors import BadInput
from microexpr.motion.files import PICTURE_SUFFIXES, read_picture
from microexpr.video._base import Clock, Frame, Source
from microexpr.video._video_file import VideoFile

__all__ = ["Frame", "Source", "open_source"]


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
    fps = _checked_rate(fps)
    if isinstance(given, int) and not isinstance(given, bool):
        return _Camera(given, fps)
    if isinstance(given, (str, Path)):
        path = Path(given)
        return _Folder(path, fps) if path.is_dir() else VideoFile(path, fps)
    return _Array(given, fps)


RATES = 0.01, 100_000  # frames a second of anything that films faces


def _checked_rate(fps: Any) -> float | None:
    if fps is None:
        return None
    number = isinstance(fps, Real) and not isinstance(fps, bool)
    try:
        rate = float(fps) if number else math.nan
    except OverflowError:
        rate = math.inf
    if RATES[0] <= rate <= RATES[1]:
        return rate
    if 0 < rate < math.inf:
        advice = "give the camera's rate, like fps=100"
        raise BadInput(f"{RATES[0]:g} to {RATES[1]} frames a second", f"{rate:g}", advice)
    got = f"{rate:g}" if number else f"{fps!r} ({type(fps).__name__})"
    raise BadInput("a positive number of frames a second", got, "give the camera's rate, like fps=100")


def _require_rate(fps: float | None, what: str) -> float:
    if fps is None:
        raise BadInput(f"the frame rate of {what}", "none", "give it (fps=100, or --fps 100): pictures carry no times")
    return fps


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
        super().__init__("array", (width, height), self._fps, len(given))
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
        super().__init__(folder.resolve().name, (width, height), self._fps, len(pictures))

    def _read(self) -> Generator[Frame, None, list[str]]:
        numbers = self._numbers or range(len(self._pictures))
        for number, file in zip(numbers, self._pictures, strict=True):
            image = read_picture(file)
            self._require_size(image, file.name)
            yield Frame(number - numbers[0], (number - numbers[0]) / self._fps, image)
        return self._remarks()

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

    repeats = False

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
                advice = "check that it is there and free, or give the number of another one"
                raise BadInput("a camera", f"number {self._number}, which can't be opened", advice)
            if self._asked is not None:
                capture.set(cv2.CAP_PROP_FPS, self._asked)
            yield capture
        finally:
            capture.release()

    def _read(self) -> Generator[Frame, None, list[str]]:
        import cv2

        with self._capture() as capture:
            start, clock = None, Clock()
            while True:
                came, image = capture.read()
                now = time.perf_counter()
                if not came:
                    break
                start = now if start is None else start
                image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                self._require_size(image, "a frame")
                clock.tick(now - start)
                yield Frame(clock.count - 1, now - start, image)
        stopped = [f"{self.name} stopped after {clock.count} frames"]
        # Arrival at this program jitters by itself; half an interval is more than that.
        return stopped + clock.remarks(self.header_fps, 0.5 / (clock.rate or 1))
