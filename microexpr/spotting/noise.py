"""How much the motion of a region shows while the face is quiet: what a movement has to stand out from.

Two things tell it. The motion of neighboring frames differs by the noise of the picture alone, whether the face moves
or not: that is known from the first frames on. What departs from the rest while nothing stands out adds what is slower
than that, such as the sway of a head. Of both the median over two seconds counts: a movement takes less than half of
that, and a slow one must not lift its own threshold before it reaches it.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from jaxtyping import Float

PRIOR_NOISE = 0.02  # pixels; what a region's motion shows on a quiet rendered face, believed until frames say more
PRIOR_SECONDS = 0.5  # how much of the video that belief weighs
NOISE_SECONDS = 2.0  # over how long a time the median is taken
EVERY_SECONDS = 0.05  # between two looks; at first after every frame
LONGEST_STEP = 0.1  # seconds; a longer gap between frames counts as this one
FEW = 3  # by which a median of few is distrusted: a deviation found from n values counts (1 + FEW / n) times
# The squared length of white noise with variance v in each of two components is v times a chi-square number of two
# degrees of freedom, whose median is 2 log 2. The variance of both components is 2 v; that of a second difference is
# six times as large.
MEDIAN = math.log(2)
DIFFERENCE = 6


class Noise:
    """The standard deviation of every region's motion at rest, pixels, learned frame by frame."""

    def __init__(self) -> None:
        self._clock, self._last = 0.0, -math.inf  # seconds of frames that followed one another; time of the last
        self._rows: deque[Float[np.ndarray, "region 2"]] = deque(maxlen=2)
        self._repeated = False
        self._differences, self._departures = _Squares(), _Squares()

    def __call__(self, regions: int) -> Float[np.ndarray, " region"]:
        """The standard deviation of each of so many regions."""
        slow = np.full(regions, PRIOR_NOISE**2)
        if self._departures.median is not None:
            weight = PRIOR_SECONDS / (PRIOR_SECONDS + self._departures.seconds)
            slow = weight * slow + (1 - weight) * self._departures.median / MEDIAN
        if self._differences.median is None:
            return np.sqrt(slow)
        trust = (1 + FEW / self._differences.count) ** 2
        return np.sqrt(np.maximum(slow, trust * self._differences.median / (MEDIAN * DIFFERENCE)))

    def see(self, seconds: float, motion: Float[np.ndarray, "region 2"]) -> None:
        """Every frame, in order. It counts by its second difference, because a steady movement has none."""
        self._clock += max(0.0, min(seconds - self._last, LONGEST_STEP)) if self._rows else 0.0
        self._last = seconds
        self._repeated = bool(self._rows) and np.array_equal(motion, self._rows[-1])
        if self._repeated:  # a slow camera's frames in a fast file: the repetition tells nothing
            return
        if len(self._rows) == 2:
            first, second = self._rows
            self._differences.add(self._clock, motion - 2 * second + first)
        self._rows.append(motion)

    def rest(self, departure: Float[np.ndarray, "region 2"]) -> None:
        """The frame just seen is quiet: how far the regions lie from rest."""
        if not self._repeated:
            self._departures.add(self._clock, departure)

    def interrupt(self) -> None:
        """The next frame does not follow the last one: the face was lost or another video begins."""
        self._rows.clear()


class _Squares:
    """The median of the squared lengths of the last seconds' vectors.

    Attributes:
        median: of every region, pixels squared; None before the first.
        count, seconds: how many there are, and over how long a time.
    """

    def __init__(self) -> None:
        self._squares: deque[tuple[float, Float[np.ndarray, " region"]]] = deque()
        self._looked = -math.inf
        self.median: Float[np.ndarray, " region"] | None = None
        self.count, self.seconds = 0, 0.0

    def add(self, seconds: float, vectors: Float[np.ndarray, "region 2"]) -> None:
        self._squares.append((seconds, (vectors**2).sum(axis=1)))
        while self._squares[0][0] < seconds - NOISE_SECONDS:
            self._squares.popleft()
        over = seconds - self._squares[0][0]
        if over < 4 * EVERY_SECONDS or seconds - self._looked >= EVERY_SECONDS:
            self._looked = seconds
            self.median = np.median([square for _, square in self._squares], axis=0)
            self.count, self.seconds = len(self._squares), over
