"""What a spotter keeps: the motion of a frame, how it departs from the moments before, and a movement under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MOSTLY = 0.25  # of the energy of a peak, which has to be seen to tell how much of it is left
BACKWARD = 0.7  # cosine between the way from a held face and the way back to the rest before it


@dataclass
class Row:
    """What is kept of a frame: motion of regions and eyes less the regions' median, which is left of the head's."""

    index: int
    seconds: float
    motion: Float[np.ndarray, "region 2"]
    blink: bool = False


class Departure(NamedTuple):
    """Where the regions are, where they lay a moment ago, how far that is with and without a blink's, and the least."""

    now: Float[np.ndarray, "region 2"]
    rest: Float[np.ndarray, "region 2"]
    lengths: Float[np.ndarray, " region"]
    seen: Float[np.ndarray, " region"]
    thresholds: Float[np.ndarray, " region"]

    @property
    def shares(self) -> Float[np.ndarray, " region"]:
        return self.seen / self.thresholds[: len(self.seen)]

    @property
    def most(self) -> int:
        """The region that stands out most."""
        return int(np.argmax(self.shares))

    @property
    def share(self) -> float:
        """How far it stands out; above 1 it is no noise."""
        return float(self.shares.max())

    def goes_back(self, before: Float[np.ndarray, "region 2"]) -> bool:
        """Whether the regions that move do so from a held face to the rest before it."""
        moved = self.shares > max(0.5, 0.5 * self.share)
        way, back = ((place - self.rest)[: len(moved)][moved] for place in (self.now, before))
        return bool(np.linalg.norm(back) >= np.linalg.norm(way)) and same_way(way, back)


def same_way(one: Float[np.ndarray, "region 2"], other: Float[np.ndarray, "region 2"]) -> bool:
    """Whether two motions of the same regions have about one direction."""
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float((one * other).sum()) > BACKWARD * lengths


class Movement:
    """A movement under way.

    Attributes:
        begin: when it was first seen.
        baseline: the rest before it.
        returned: when it had fallen back, see `Spotter`; None while it has not.
        high: when it last showed most of its peak.
        steady: since when the face keeps still.
        calm: when it last did so without a doubt.
        held: whether it did so for long.
        reach: the largest motion of a region so far.
    """

    def __init__(self, begin: float, baseline: Float[np.ndarray, "region 2"], seconds: float) -> None:
        self.begin, self.baseline = begin, baseline
        self.returned: float | None = None
        self.high = self.steady = self.calm = seconds
        self.held = False
        self.reach = self._largest = 0.0
        self._peak = np.zeros((0, 2))
        self._share = 1.0

    def follow(self, extent: Float[np.ndarray, "region 2"], hidden: Sequence[int]) -> float:
        """A frame; returns how much of the peak it still shows.

        Args:
            extent: how far the regions are from the rest before.
            hidden: regions that can't be seen in a blink; the others tell, unless most of the peak lies in these.
        """
        extent = extent.copy()
        extent[list(hidden)] = 0
        size = float(np.linalg.norm(extent))
        if size > self._largest:
            self._peak, self._largest = extent, size
            self.reach = float(np.hypot(*extent.T).max())
        self._share = self.share(extent, hidden)
        return self._share

    def share(self, extent: Float[np.ndarray, "region 2"], hidden: Sequence[int] = ()) -> float:
        """How much of the peak an extent shows, along the peak's own direction."""
        if not self._largest:
            return 1.0
        peak = self._peak.copy()
        peak[list(hidden)] = 0
        seen = float((peak**2).sum())
        if seen < MOSTLY * self._largest**2:
            return self._share
        return float((extent * peak).sum()) / seen
