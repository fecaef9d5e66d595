"""The settings of a spotter and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from microexpr.errors import BadInput

FACE_LOST, FRAMES_MISSING = "the face was lost", "frames are missing"  # why an end was not seen
VIDEO_ENDED, HELD = "the video ended", "it was held"


@dataclass(frozen=True)
class Spotting:
    """The settings of a `Spotter`.

    Attributes:
        smallest: the weakest motion of a region that counts, pixels of the aligned face.
        factor: the weakest motion that counts, in standard deviations of the region's noise.
        shortest, longest: duration of a micro-expression, seconds; what lasts longer is a macro-expression.
        held: after this many seconds a macro-expression is ended where it is, and its face becomes the face at rest;
            earlier where the face keeps still and another movement begins.
    """

    smallest: float = 0.1
    factor: float = 6.0
    shortest: float = 0.04
    longest: float = 0.5
    held: float = 4.0

    def __post_init__(self) -> None:
        for name in ("smallest", "factor"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise BadInput(f"{name} above 0", f"{getattr(self, name):g}", "change this setting of the spotter")
        if not 0 <= self.shortest < self.longest < self.held < math.inf:
            came = f"{self.shortest:g}, {self.longest:g}, {self.held:g}"
            raise BadInput("0 <= shortest < longest < held, in seconds", came, "change these settings of the spotter")


@dataclass(frozen=True)
class Interval:
    """One movement.

    Attributes:
        onset, apex, offset: frame numbers.
        seconds: the times of these three.
        kind: ``"micro"`` or ``"macro"``.
        strength: motion of the region that moved most, at the apex, pixels of the aligned face.
        noise: standard deviation of that region's motion while the face is quiet, pixels.
        motion: motion of every region at the apex, pixels, "region".
        cut: why its end was not seen, in plain words; None where it was.
        rising: whether it had not begun to fall when it was cut.
    """

    onset: int
    apex: int
    offset: int
    seconds: tuple[float, float, float]
    kind: str
    strength: float
    noise: float
    motion: tuple[float, ...]
    cut: str | None = None
    rising: bool = False
