"""What a spotter keeps: the motion of a frame, how it departs from the moments before, and a movement under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

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
        way = (self.now - self.rest)[: len(moved)][moved]
        back = (before - self.rest)[: len(moved)][moved]
        lengths = float(np.linalg.norm(way)), float(np.linalg.norm(back))
        return lengths[1] >= lengths[0] and float((way * back).sum()) > BACKWARD * lengths[0] * lengths[1]


class Movement:
    """A movement under way: when it was first seen, the rest before it, and its largest extent so far."""

    def __init__(self, begin: float, baseline: Float[np.ndarray, "region 2"], row: Row) -> None:
        self.begin, self.baseline = begin, baseline
        self.returned: float | None = None  # when it had fallen to `RETURNED`
        self.steady = row.seconds  # since when the face keeps still
        self.held = False  # whether it did so for long
        self._peak, self._largest = row.motion - baseline, 0.0

    def follow(self, row: Row) -> float:
        """How much of the peak this frame still shows, along the peak's own direction."""
        extent = row.motion - self.baseline
        size = float(np.linalg.norm(extent))
        if size > self._largest:
            self._peak, self._largest = extent, size
        return float((extent * self._peak).sum()) / self._largest**2
