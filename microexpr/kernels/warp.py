"""Pictures for optical flow: halving them, sampling them along a flow field, carrying fields to a finer grid.

Grids of neighboring levels share the pixel (0, 0): pixel (y, x) of the smaller one is pixel (2y, 2x) of the larger, so
any size can be halved, n pixels become (n + 1) // 2. Pictures are float32 in arrays with a margin that repeats their
rim. Fields of several channels are stored row by row, "row channel column", like the solver's state in `tvl1`.
"""

from __future__ import annotations

import numba
import numpy as np
from jaxtyping import Float32, Real

MARGIN = 4  # pixels around a picture: the cubic reaches 2, the filter of the pyramid 2
# No license to assume that values are finite: a NaN that slips through must not turn into an index.
JIT = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"}}

ZERO, HALF, ONE, TWO, THREE = (np.float32(value) for value in (0, 0.5, 1, 2, 3))
FOUR, FIVE, SIX = (np.float32(value) for value in (4, 5, 6))


def half(length: int) -> int:
    """Pixels along an axis after halving."""
    return (length + 1) // 2


def pyramid(picture: Real[np.ndarray, "h w"], levels: int) -> list[Float32[np.ndarray, "_ _"]]:
    """A picture and its halved versions, finest first, each with a margin of `MARGIN` pixels."""
    height, width = picture.shape
    padded = np.empty((height + 2 * MARGIN, width + 2 * MARGIN), np.float32)
    padded[MARGIN:-MARGIN, MARGIN:-MARGIN] = picture
    repeat_rim(padded)
    pictures = [padded]
    row = np.empty(width + 2 * MARGIN, np.float32)
    for _ in range(levels - 1):
        height, width = half(height), half(width)
        smaller = np.empty((height + 2 * MARGIN, width + 2 * MARGIN), np.float32)
        halve(pictures[-1], row, smaller)
        repeat_rim(smaller)
        pictures.append(smaller)
    return pictures


@numba.njit(**JIT)
def repeat_rim(padded):
    """Fills the margin around a picture with its rim."""
    height, width = padded.shape
    for y in range(MARGIN, height - MARGIN):
        row = padded[y]
        for x in range(MARGIN):
            row[x] = row[MARGIN]
            row[width - 1 - x] = row[width - 1 - MARGIN]
    for y in range(MARGIN):
        padded[y] = padded[MARGIN]
        padded[height - 1 - y] = padded[height - 1 - MARGIN]


@numba.njit(**JIT)
def halve(padded, row, smaller):
    """Every second pixel after the binomial filter (1 4 6 4 1) / 16 along both axes; `row` is scratch."""
    share = np.float32(1 / 256)
    width = padded.shape[1]
    columns = smaller.shape[1] - 2 * MARGIN
    for y in range(MARGIN, smaller.shape[0] - MARGIN):
        top = 2 * (y - MARGIN) + MARGIN - 2
        a, b, c, d, e = padded[top], padded[top + 1], padded[top + 2], padded[top + 3], padded[top + 4]
        for x in range(width):
            row[x] = a[x] + e[x] + FOUR * (b[x] + d[x]) + SIX * c[x]
        target = smaller[y]
        for x in range(columns):
            i = 2 * x + MARGIN
            outer, inner = row[i - 2] + row[i + 2], row[i - 1] + row[i + 1]
            target[x + MARGIN] = share * (outer + FOUR * inner + SIX * row[i])


@numba.njit(**JIT)
def sample(padded, flow, warped, inside):
    """A picture along a flow field, warped(x) = picture(x + flow(x)), by Catmull-Rom interpolation (cubic, A = -0.5).

    This cubic reproduces straight lines. OpenCV's (A = -0.75) does not, and so finds too little of a motion below half
    a pixel.

    Parameters
    ----------
    padded : the picture, with its margin.
    flow : "h 2 w", pixels.
    warped : "h w", filled. Where x + flow(x) lies outside, the nearest pixel of the rim is taken.
    inside : "h w", filled with 1 where x + flow(x) lies in the picture, else 0.
    """
    height, width = warped.shape
    stride = padded.shape[1]
    flat = padded.reshape(-1)
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    for y in range(height):
        for x in range(width):
            to_x, to_y = np.float32(x) + flow[y, 0, x], np.float32(y) + flow[y, 1, x]
            at_x, at_y = min(max(to_x, ZERO), right), min(max(to_y, ZERO), bottom)
            inside[y, x] = ONE if (to_x == at_x) & (to_y == at_y) else ZERO
            left, top = np.int32(at_x), np.int32(at_y)
            s, t = at_x - np.float32(left), at_y - np.float32(top)
            # Unsigned, so that no code for indices that count from the end is made.
            i = np.uint32((top + MARGIN - 1) * stride + left + MARGIN - 1)
            j = i + np.uint32(stride)
            k = j + np.uint32(stride)
            m = k + np.uint32(stride)
            a = HALF * t * (t * (TWO - t) - ONE)
            b = HALF * (t * t * (THREE * t - FIVE) + TWO)
            c = HALF * t * (t * (FOUR - THREE * t) + ONE)
            d = HALF * t * t * (t - ONE)
            before = a * flat[i] + b * flat[j] + c * flat[k] + d * flat[m]
            here = a * flat[i + 1] + b * flat[j + 1] + c * flat[k + 1] + d * flat[m + 1]
            after = a * flat[i + 2] + b * flat[j + 2] + c * flat[k + 2] + d * flat[m + 2]
            beyond = a * flat[i + 3] + b * flat[j + 3] + c * flat[k + 3] + d * flat[m + 3]
            warped[y, x] = (
                HALF * s * (s * (TWO - s) - ONE) * before
                + HALF * (s * s * (THREE * s - FIVE) + TWO) * here
                + HALF * s * (s * (FOUR - THREE * s) + ONE) * after
                + HALF * s * s * (s - ONE) * beyond
            )


@numba.njit(**JIT)
def double(small, rows, columns, large, height, width, channels):
    """Carries a field to the grid of twice the resolution by linear interpolation; flow vectors become twice as long.

    Parameters
    ----------
    small : "row channel column", of which `rows` and `columns` are used; channels 0 and 1 are the flow.
    large : the same with `height` rows and `width` columns, filled.
    channels : how many are carried.
    """
    for y in range(height):
        for k in range(channels):
            scale = HALF if k > 1 else ONE
            upper, lower = small[y // 2, k], small[min((y + 1) // 2, rows - 1), k]
            row = large[y, k]
            for x in range(width // 2):
                row[2 * x] = scale * (upper[x] + lower[x])
            if width % 2:
                row[width - 1] = scale * (upper[columns - 1] + lower[columns - 1])
            for x in range(columns - 1):
                row[2 * x + 1] = HALF * scale * (upper[x] + lower[x] + upper[x + 1] + lower[x + 1])
            if width % 2 == 0:
                row[width - 1] = scale * (upper[columns - 1] + lower[columns - 1])
