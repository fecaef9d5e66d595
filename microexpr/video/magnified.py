"""A short film of every micro-expression: the face as filmed beside the same face with its motion magnified."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float64, UInt8

from microexpr.faces.align import SIZE, Registration
from microexpr.faces.detect import Face
from microexpr.motion.flow import flow_between
from microexpr.motion.magnify import smoothed, warped
from microexpr.types import Event
from microexpr.video.canvas import PAPER, write
from microexpr.video.source import Frame
from microexpr.video.track import Track
from microexpr.video.write import VideoWriter

PLAYED = 25.0  # frames a second at most: at 200 filmed ones, eight times as slow
ENLARGED = 2  # times, of the aligned face
CAPTION = 34  # pixels under the faces
GAP = 12


class Magnifier:
    """Takes the frames of a recording in their order and writes a film for each of its micro-expressions.

    Faces are laid over the one of the onset frame, and the flow from it is magnified (`motion.magnify`). One frame is
    in memory at a time. A context manager: an error leaves no film behind.

    Args:
        folder: made where it does not exist.
        events: of the recording; macro-expressions are large enough to be seen and get no film.
        names: of the films, one for each event; those of macro-expressions are not used.
        track: of the recording: knows the box of the face at the onset.
        fps: of the recording.
        factor: how many times as far.
    """

    def __init__(
        self, folder: Path, events: Sequence[Event], names: Sequence[str], track: Track, fps: float, factor: float
    ) -> None:
        self._waiting = [
            (event, folder / name) for event, name in zip(events, names, strict=True) if event.kind == "micro"
        ]
        self._waiting.sort(key=lambda pair: pair[0].onset, reverse=True)
        self._table, self._rate, self._factor = track.table, min(PLAYED, fps), factor
        self._running: list[_Film] = []
        self.written: list[Path] = []
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Magnifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for film in self._running:
            film.writer.__exit__(kind, error, trace)

    def push(self, frame: Frame) -> None:
        """One more frame of the recording."""
        while self._waiting and self._waiting[-1][0].onset <= frame.index:
            event, file = self._waiting.pop()
            box = _box_at(self._table, event.onset)
            if box is not None and frame.index == event.onset:
                film = _Film(event, file, Face(*box), frame.image, self._rate, self._factor)
                film.writer.__enter__()
                self._running.append(film)
                self.written.append(file)
        for film in list(self._running):
            if frame.index <= film.event.offset:
                film.push(frame.image)
            if frame.index >= film.event.offset:
                self._running.remove(film)
                film.writer.__exit__(None, None, None)


class _Film:
    """One event under way."""

    def __init__(
        self, event: Event, file: Path, face: Face, onset: UInt8[np.ndarray, "h w 3"], rate: float, factor: float
    ) -> None:
        self.event, self._factor, self._rate = event, factor, rate
        self._registration = Registration(onset, face)
        self._rest = self._registration.align(onset).image
        side = ENLARGED * SIZE
        self.writer = VideoWriter(file, (2 * side + GAP, side + CAPTION), rate)
        self._frames = 0

    def push(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        face = self._registration.align(image).image
        moved = face if not self._frames else warped(face, smoothed(flow_between(self._rest, face)), self._factor)
        self.writer.write(_side_by_side(face, moved, self._factor), self._frames / self._rate)
        self._frames += 1


def _side_by_side(
    face: UInt8[np.ndarray, "s s 3"], moved: UInt8[np.ndarray, "s s 3"], factor: float
) -> UInt8[np.ndarray, "h w 3"]:
    import cv2

    side = ENLARGED * len(face)
    picture = np.full((side + CAPTION, 2 * side + GAP, 3), PAPER, np.uint8)
    for left, one, caption in ((0, face, "as filmed"), (side + GAP, moved, f"motion x {factor:g}")):
        picture[:side, left : left + side] = cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC)
        write(picture, caption, left + 4, side + (CAPTION - 16) / 2, size=16)
    return picture


def _box_at(table: Float64[np.ndarray, "frame 8"], index: int) -> tuple[float, float, float, float] | None:
    """The face of a frame; None where it has none."""
    row = int(np.searchsorted(table[:, 0], index))
    if row == len(table) or table[row, 0] != index or np.isnan(table[row, 2]):
        return None
    x, y, width, height = (float(value) for value in table[row, 2:6])
    return x, y, width, height
