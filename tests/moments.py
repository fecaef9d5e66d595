"""One short rendered recording and what tracking makes of it, computed once, for tests of what follows tracking."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from microexpr.datasets._blink import Blink
from microexpr.datasets._render import Movement
from microexpr.faces.detect import Face
from microexpr.types import Event
from microexpr.video.recognizer import Evidence, Recognizer
from microexpr.video.source import Frame
from microexpr.video.tracking import Tracked
from tests.videos import rendered

FPS = 100
LENGTH = 190
BOX = Face(-7.3, -10.2, 234.0, 234.0)  # of the face in the rendered 224x224 crop
SMILE = Movement(50, 62, 80, ("12",), 2.0)
BROWS = Movement(130, 142, 160, ("1", "2"), 2.0)
BLINK = Blink(92, 22)
CLASSES = ("negative", "positive", "surprise")


class Boxes:
    """A detector that knows where the face is."""

    name, version = "boxes", "1"

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def __call__(self, frame: np.ndarray) -> list[Face]:
        return list(self.faces)


class Judge:
    """A classifier that keeps what it was asked about."""

    name, flow_mode = "judge", "clg"

    def __init__(self, *probabilities: float, threshold: float = 0.5) -> None:
        self.asked: list[Evidence] = []
        self.threshold, self._probabilities = threshold, probabilities or (0.1, 0.8, 0.1)

    def __call__(self, evidence: Evidence) -> dict[str, float]:
        self.asked.append(evidence)
        return dict(zip(CLASSES, self._probabilities, strict=True))


class Replay:
    """A tracker that repeats what another one has found."""

    def __init__(self, tracked: Sequence[Tracked]) -> None:
        self._tracked, self.notes, self.faces = iter(tracked), [], 0

    def push(self, frame: Frame, quiet: bool) -> Tracked:
        return next(self._tracked)

    def flush(self) -> None:
        pass


@lru_cache(maxsize=1)
def images() -> np.ndarray:
    """A smile, a blink, raised brows."""
    return rendered(FPS, LENGTH / FPS, SMILE, BROWS, blinks=(BLINK,), seed=4)


def frames(start: int = 0, end: int = LENGTH) -> list[Frame]:
    return [Frame(number, number / FPS, images()[number]) for number in range(start, end)]


def pushed(recognizer, given: Sequence[Frame]) -> list[list[Event]]:
    """What every frame gives."""
    return [recognizer.push(frame) for frame in given]


@lru_cache(maxsize=1)
def tracked() -> tuple[list[Tracked], list[list[Event]], list[Event]]:
    """Every frame's face, what every frame gave, and what was left at the end."""
    recognizer = Recognizer(Boxes(BOX), Judge())
    faces, each = [], []
    for frame in frames():
        each.append(recognizer.push(frame))
        faces.append(recognizer.tracked)
    return faces, each, recognizer.flush()
