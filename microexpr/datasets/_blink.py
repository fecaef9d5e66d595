"""Eye blinks of the rendered portrait: the upper lid slides over the eye opening and takes its lashes along.

A blink is appearance, not only motion: it covers what was seen. So it is no displacement field. Above the lid's
margin the picture is looked up higher, which stretches the skin between brow and lashes downward; below it the eye
stays as it is until it is covered. Everything is measured in pixels of the 512x512 portrait.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from microexpr.errors import BadInput

CLOSING, OPENING = 1 / 3, 1 / 2  # parts of a blink; in between the eye is shut
LID = 7.0  # from the margin up to where the skin starts to stretch, just below the brow
LASHES = 3.0  # this far above the margin nothing stretches: the lashes move as they are
EDGE = 0.6  # over which the lid's margin fades into the eye, about the sharpness of the portrait


class Eye(NamedTuple):
    """The eye opening: two parabolas between the corners, located by hand.

    Attributes:
        left, right: corners (x, y), portrait pixels.
        above, below: how far the margins of the upper and of the lower lid lie from the line between the corners.
    """

    left: tuple[float, float]
    right: tuple[float, float]
    above: float
    below: float


EYES = (Eye((192.0, 101.2), (215.8, 103.2), 4.4, 2.9), Eye((237.0, 104.8), (259.5, 104.6), 4.5, 2.4))
SLACK = 5.0  # more than the warp of an identity moves an eye


@dataclass(frozen=True)
class Blink:
    """One blink of both eyes.

    Attributes:
        start: the last frame with open eyes.
        length: frames until they are open again; a real blink lasts 100-400 ms.
    """

    start: int
    length: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise BadInput("a blink of 1 or more frames", str(self.length), "a real one lasts 100-400 ms")

    def closed(self, number: int) -> float:
        """How far the lid has come down at one frame: 0 open, 1 shut; half a cosine down, a slower one up."""
        past = (number - self.start) / self.length
        if not 0 < past < 1:
            return 0.0
        return 0.5 - 0.5 * math.cos(math.pi * min(past / CLOSING, 1.0, (1.0 - past) / OPENING))


def closed(blinks: Iterable[Blink], number: int) -> float:
    """How far the eyes are closed at one frame, 0..1."""
    return max((blink.closed(number) for blink in blinks), default=0.0)


def eye_region(place: Float[np.ndarray, "2 h w"]) -> tuple[slice, slice]:
    """Rows and columns whose points (x, y) of the portrait, give or take its warp, a blink can change."""
    corners = np.array([corner for eye in EYES for corner in (eye.left, eye.right)])
    margin = SLACK + LID + max(eye.above for eye in EYES)
    low, high = (corners.min(axis=0) - margin)[:, None, None], (corners.max(axis=0) + margin)[:, None, None]
    near = ((low < place) & (place < high)).all(axis=0)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def lid(place: Float[np.ndarray, "2 h w"], shut: float) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """The upper lids at portrait points.

    Args:
        place: portrait points (x, y).
        shut: 0 open, 1 closed.

    Returns:
        How much of every point the moving lid covers, 0..1, and how much higher in the portrait, in portrait pixels,
        the skin that covers it is found.
    """
    cover, higher = np.zeros_like(place[0]), np.zeros_like(place[0])
    for (left, level), (right, other), above, below in EYES:
        along = np.clip((place[0] - left) / (right - left), 0, 1)
        arch = 4 * along * (1 - along)
        drop = shut * (above + below) * arch  # of the margin, from its place in the open eye
        over = level + along * (other - level) - above * arch + drop - place[1]  # height over the margin
        stretched = np.clip((over - LASHES) / (drop + LID - LASHES), 0, 1)
        cover += np.where(drop > 0, np.clip(over / EDGE + 0.5, 0, 1), 0)
        higher += drop * (1 - stretched)
    return cover, higher
