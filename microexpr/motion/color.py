"""Flow as a picture: the hue is the direction, the saturation is the magnitude.

Equations 5 and 6 of Li, Wei, Wang and Zhou, "Multi-scale joint feature network for micro-expression recognition"
(MJFN), Computational Visual Media 7(3), 2021, doi:10.1007/s41095-021-0217-9. The wheel is that of the Middlebury flow
benchmark: Baker, Scharstein, Lewis, Roth, Black and Szeliski, "A database and evaluation methodology for optical flow",
International Journal of Computer Vision 92, 2011, doi:10.1007/s11263-010-0390-2.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, UInt8

from microexpr.errors import BadInput

# Hues from one primary or secondary color to the next: red, yellow, green, cyan, blue, magenta and red again.
RED_YELLOW, YELLOW_GREEN, GREEN_CYAN, CYAN_BLUE, BLUE_MAGENTA, MAGENTA_RED = 15, 6, 4, 11, 13, 6


def wheel() -> UInt8[np.ndarray, "55 3"]:
    """The 55 fully saturated hues of the Middlebury wheel, RGB; row 0 is red, the color of motion to the right.

    Between two corner colors one channel climbs or falls in equal steps, rounded down as in the benchmark's code.
    """

    def climb(count: int) -> list[int]:
        return [255 * step // count for step in range(count)]

    def fall(count: int) -> list[int]:
        return [255 - level for level in climb(count)]

    hues = (
        [(255, level, 0) for level in climb(RED_YELLOW)]
        + [(level, 255, 0) for level in fall(YELLOW_GREEN)]
        + [(0, 255, level) for level in climb(GREEN_CYAN)]
        + [(0, level, 255) for level in fall(CYAN_BLUE)]
        + [(level, 0, 255) for level in climb(BLUE_MAGENTA)]
        + [(255, 0, level) for level in fall(MAGENTA_RED)]
    )
    return np.array(hues, np.uint8)


def flow_to_color(flow: Float[np.ndarray, "2 h w"], peak: float | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """Color picture of a flow field, RGB (Eqs. 5-6).

    Eq. 5 normalizes the direction to theta in [-1, 1] and places it on the wheel at k = (theta + 1)/2 * (55 - 1) + 1,
    counted from 1, between two neighboring hues. The paper prints theta from arctan(v/u), which gives opposite
    directions the same hue and so reaches only half of the wheel; the benchmark that it takes the wheel from uses
    theta = atan2(-v, -u)/pi, and so does this function. Motion to the right is red, down yellow, left light blue, up
    violet. 55 hues span 54 steps, so the last hue (255, 0, 43) meets the first (255, 0, 0) at motion to the right:
    the one seam of the circle, there in the benchmark and in the paper's formula alike.

    Eq. 6 mixes with white: color = 1 - r (1 - hue) with r = magnitude/peak. Where r > 1, which only a given `peak`
    allows, the benchmark darkens the hue to 0.75 of itself. Levels are rounded, where the benchmark's code cuts them
    off: the two pictures differ by one gray level at most.

    Args:
        flow: u to the right and v down, pixels (any unit does when `peak` is None).
        peak: the magnitude that is fully saturated, in the unit of `flow`; default: the picture's own maximum, which
            makes the picture independent of the flow's scale.

    Returns:
        uint8 RGB. Zero motion is white, and so is a field without any motion.

    Raises:
        BadInput: a vector is not finite, or `peak` is not a positive number.
    """
    if peak is not None and not (math.isfinite(peak) and peak > 0):
        raise BadInput("a positive, finite peak magnitude", f"{peak}", "leave it out to use the picture's maximum")
    with np.errstate(over="ignore"):  # what overflows float32 becomes infinite and is reported below
        u, v = flow.astype(np.float32)
        magnitude = np.hypot(u, v)
    if not np.isfinite(magnitude).all():
        count = np.count_nonzero(~np.isfinite(magnitude))
        raise BadInput("a finite flow field", f"{count} vectors that are not", "mask or fill them first")
    full = float(magnitude.max(initial=0.0)) if peak is None else peak
    if full == 0.0:
        return np.full((*magnitude.shape, 3), 255, np.uint8)

    # The sum turns v = -0.0 into +0.0: atan2 puts the two on opposite ends of the wheel, and a sign bit of nothing
    # must not choose the color of motion to the right.
    theta = np.arctan2(-(v + np.float32(0)), -u) / np.float32(math.pi)
    position = np.clip((theta + 1) * np.float32(27), 0, 54)  # (55 - 1)/2 = 27; clipped: theta may round past +-1
    lower = position.astype(np.intp)
    fraction = (position - lower)[..., None]
    hues = wheel().astype(np.float32)
    steps = np.roll(hues, -1, axis=0) - hues
    # What the hue lacks to white, 0..255. np.take, because indexing with brackets is several times slower.
    lack = 255 - (np.take(hues, lower, axis=0) + fraction * np.take(steps, lower, axis=0))

    with np.errstate(over="ignore"):  # in float64, where no peak is zero; infinitely beyond a tiny peak is beyond it
        radius = (magnitude / np.float64(full))[..., None]
    inside = 255 - np.minimum(radius, 1).astype(np.float32) * lack
    color = inside if peak is None else np.where(radius <= 1, inside, np.float32(0.75) * (255 - lack))
    return (color + np.float32(0.5)).astype(np.uint8)


def wheel_picture(size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The legend of a flow picture: a disc whose color at (x, y) is that of motion towards (x, y).

    Args:
        size: width and height in pixels; the rim is the peak magnitude, the corners outside of it are white.

    Returns:
        uint8 RGB.
    """
    if size < 1:
        raise BadInput("a legend of at least 1 pixel", f"{size}", "ask for a positive size")
    along = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - 1  # pixel centers, -1..1
    towards = np.stack(np.meshgrid(along, along))
    outside = np.hypot(*towards) > 1
    return flow_to_color(np.where(outside, np.float32(0), towards), peak=1.0)
