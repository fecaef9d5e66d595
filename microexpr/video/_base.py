"""What every source of frames shares: the frame, the clock of the frames that went by, and the base class."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from microexpr.errors import BadInput

LONGEST_MOVEMENT = 0.5  # seconds; a micro-expression lasts 40 to 500 ms
LOWEST_FPS = 50.0
RATE_TOLERANCE = 0.02


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


class Clock:
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

    Several iterators of one source go on independently, each from the start; `warnings`, `count` and `effective_fps`
    are those of the iterator that began last.

    Attributes:
        name: file or folder name, ``"camera 0"`` or ``"array"``.
        size: width and height of every frame.
        header_fps: the rate that the header or the caller states; None where nobody does.
        expected: how many frames are promised; None where nobody says.
        repeats: whether `frames` gives the same frames again; a camera's moments are gone, and it has one reader at a
            time.
        warnings: plain sentences; complete once the last frame was read.
    """

    repeats = True

    def __init__(self, name: str, size: tuple[int, int], header_fps: float | None, expected: int | None = None) -> None:
        self.name, self.size, self.header_fps, self.expected = name, size, header_fps, expected
        self.warnings: list[str] = []
        self._clock, self._reading = Clock(), False

    def frames(self) -> Iterator[Frame]:
        """All frames in order, one in memory at a time; each call reads from the start and counts afresh.

        Whatever is open is closed when the iterator ends or is dropped.

        Raises:
            BadInput: a frame can't be read or has another size than the first; or a second reader of what can have
                only one.
        """
        if self._reading and not self.repeats:
            advice = "end the first one, or share the frames that it gets"
            raise BadInput(f"one reader of {self.name} at a time", "a second one", advice)
        self._reading = True
        self._clock, self.warnings = clock, warnings = Clock(), list[str]()
        try:
            with contextlib.closing(self._read()) as frames:
                remarks = yield from _ticked(frames, clock)
            warnings += remarks + self._rate_remarks(clock)
        finally:
            self._reading = False

    @property
    def count(self) -> int:
        """Frames read so far."""
        return self._clock.count

    @property
    def effective_fps(self) -> float | None:
        """Frames a second by the times of the frames read so far; before the second frame the stated rate."""
        return self._clock.rate or self.header_fps

    def _rate_remarks(self, clock: Clock) -> list[str]:
        found = []
        if clock.count == 1:
            found.append("there is one frame only: nothing moves in it, and its rate is not measured")
        rate = clock.rate or self.header_fps
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
    def _read(self) -> Generator[Frame, None, list[str] | None]:
        """All frames from the start; returns what is to be said of them. Nothing of a pass is kept in the source."""


def _ticked(frames: Generator[Frame, None, list[str] | None], clock: Clock) -> Generator[Frame, None, list[str]]:
    """The frames, counted and timed on their way; returns what is said of them."""
    while True:
        try:
            frame = next(frames)
        except StopIteration as end:
            return end.value or []
        clock.tick(frame.seconds)
        yield frame
