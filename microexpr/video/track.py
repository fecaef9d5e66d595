"""What was measured of every frame of a recording, in the order of its frames."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float64

COLUMNS = 8  # number, seconds, box (4), strength, threshold

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Track:
    """Times, face boxes and motion strengths of all frames so far: 64 bytes a frame.

    Add a frame with `add`; the columns are copies.
    """

    _cells: array[float] = field(default_factory=lambda: array("d"), repr=False)

    def add(self, index: int, seconds: float, box: Box | None, strength: float, threshold: float) -> None:
        """One more frame.

        Args:
            index: the frame's number; later frames have larger ones.
            seconds: its time on the source's own clock.
            box: x, y, width and height of the face in frame pixels; None where there is none.
            strength: motion in pixels of the aligned face; NaN where it was not measured.
            threshold: what the strength must exceed to count as a movement; NaN where it is not known yet.
        """
        self._cells.extend((index, seconds, *(box or (math.nan,) * 4), strength, threshold))

    def __len__(self) -> int:
        return len(self._cells) // COLUMNS

    @property
    def table(self) -> Float64[np.ndarray, "frame 8"]:
        """Number, seconds, box (x, y, width, height; NaN without a face), strength and threshold of every frame."""
        return np.array(self._cells, np.float64).reshape(-1, COLUMNS)

    @property
    def seconds(self) -> Float64[np.ndarray, " frame"]:
        return self.table[:, 1]

    @property
    def has_face(self) -> Bool[np.ndarray, " frame"]:
        return ~np.isnan(self.table[:, 2])

    @property
    def strength(self) -> Float64[np.ndarray, " frame"]:
        return self.table[:, 6]

    @property
    def threshold(self) -> Float64[np.ndarray, " frame"]:
        return self.table[:, 7]

    @property
    def motion(self) -> Float[np.ndarray, "frame 3"]:
        """Seconds, strength and threshold of every frame: what a trace shows."""
        return self.table[:, [1, 6, 7]]
