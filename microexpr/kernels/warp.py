"""Pictures for optical flow: halving them, sampling them along a flow field, carrying fields to a finer grid.

Grids of neighboring levels share the pixel (0, 0): pixel (y, x) of the smaller one is pixel (2y, 2x) of the larger, so
any size can be halved, n pixels become (n + 1) // 2. Pictures are float32 in arrays with a margin that repeats their
rim. Fields of several channels are stored row by row, "row channel column", like the solver's state in `tvl1`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, no_type_check

import numba
import numpy as np
from jaxtyping import Float32, Real

MARGIN = 4  # pixels around a picture: the cubic reaches 2, the filter of the pyramid 2
# `no_type_check` beside it: a wrapper that checks shapes while testing can't be compiled.
# No license to assume that values are finite: a NaN that slips through must not turn into an index. A change of these
# options does not renew compiled code that is kept on disk: empty the folders __pycache__ after one.
JIT: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"},
}

# The planes of a row of what `linearizer` makes of two pictures.
MEAN, DIFFERENCE, INSIDE = range(3)
RIM = 2

SLACK = np.float32(1e-3)  # pixels a point may lie outside: a rim that hardly moves is not lost to rounding

ZERO, HALF, ONE, TWO, THREE = (np.float32(value) for value in (0, 0.5, 1, 2, 3))
FOUR, SIX, SIXTH = (np.float32(value) for value in (4, 6, 1 / 6))


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles with `JIT`; without keeping the code where no folder for it can be written."""
    try:
        return numba.njit(**JIT)(function)
    except RuntimeError:  # "no locator available": neither this package nor the home folder can be written
        return numba.njit(**{**JIT, "cache": False})(function)


def half(length: int) -> int:
    """Pixels along an axis after halving."""
    return (length + 1) // 2


class Arena:
    """Scratch memory that is kept: the pages of a fresh array cost as much as half of what is computed in it."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.float32)
        self.used = 0

    def clear(self) -> None:
        """Gives all arrays back, and makes room for as many."""
        if self.used > self.memory.size:
            self.memory = np.empty(self.used, np.float32)
        self.used = 0

    def empty(self, *shape: int) -> Float32[np.ndarray, ...]:
        """An array of float32 with any content, until the next `clear`."""
        start, size = self.used, math.prod(shape)
        self.used += -(-size // 16) * 16
        return (
            self.memory[start : start + size].reshape(shape)
            if self.used <= self.memory.size
            else np.empty(shape, np.float32)
        )


def pyramid(picture: Real[np.ndarray, "h w"], levels: int, arena: Arena) -> list[Float32[np.ndarray, "_ _"]]:
    """A picture and its halved versions, finest first, each with a margin of `MARGIN` pixels."""
    height, width = picture.shape
    padded = arena.empty(height + 2 * MARGIN, width + 2 * MARGIN)
    padded[MARGIN:-MARGIN, MARGIN:-MARGIN] = picture
    repeat_rim(padded)
    pictures = [padded]
    row = arena.empty(width + 2 * MARGIN)
    for _ in range(levels - 1):
        height, width = half(height), half(width)
        smaller = arena.empty(height + 2 * MARGIN, width + 2 * MARGIN)
        halve(pictures[-1], row, smaller)
        repeat_rim(smaller)
        pictures.append(smaller)
    return pictures


@jit
@no_type_check
def repeat_rim(padded):
    """Fills the margin around a picture with its rim."""
    height, width = padded.shape
    for y in range(MARGIN, height - MARGIN):
        row = padded[y]
        for x in range(MARGIN):
            row[x] = row[MARGIN]
            row[width - 1 - x] = row[width - 1 - MARGIN]
    for y in range(MARGIN):
        for x in range(width):  # an assignment of whole rows would take seconds to compile
            padded[y, x] = padded[MARGIN, x]
            padded[height - 1 - y, x] = padded[height - 1 - MARGIN, x]


@jit
@no_type_check
def smooth(padded, row, smoothed):
    """The filter (1 4 1) / 6 along both axes: what sampling by cubic B-splines does at whole pixels."""
    height, width = padded.shape
    share = np.float32(1 / 36)
    for y in range(1, height - 1):
        above, here, below, target = padded[y - 1], padded[y], padded[y + 1], smoothed[y]
        for x in range(width):
            row[x] = above[x] + FOUR * here[x] + below[x]
        for x in range(1, width - 1):
            target[x] = share * (row[x - 1] + FOUR * row[x] + row[x + 1])


@jit
@no_type_check
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


def linearizer(pitch: int) -> Callable[..., Any]:
    """The function that warps and compares two pictures, for rows of `pitch` numbers a plane."""
    row = 3 * pitch
    mean_ = MEAN * pitch + RIM * row + RIM
    difference_, inside_ = (plane * pitch + RIM * row for plane in (DIFFERENCE, INSIDE))
    a_, b_, c_, d_, e_, f_, g_, h_ = (k * pitch for k in range(8))

    @jit
    @no_type_check
    def linearize(first, flat, flow, position, weights, pictures):
        """Warps the second picture along a flow and compares it with the first.

        The second picture is sampled by cubic B-splines, sum over pixels k of I1(k) beta3(x - k), which smooths it by
        (1 4 1) / 6 along both axes; the first must have been smoothed alike (`smooth`). What an interpolating kernel
        does to fine detail depends on the fraction of the pixel, and that looks like motion: with Catmull-Rom's
        (A = -0.5) this solver finds 1.05 to 1.3 of a shift by 0.05 to 0.3 pixel of sharp pictures without noise, with
        B-splines 1.00 to 1.02.

        Parameters
        ----------
        first, flat : I0, smoothed, and I1, with their margins; I1 as one row.
        flow : w, "h 2 w", pixels.
        position, weights : scratch for a row.
        pictures : rows of three planes, filled: the mean of I0(x) and I1(x + w) with a rim of `RIM` pixels, their
            difference I1(x + w) - I0(x), and 1 where x + w lies in the picture, else 0 (there the nearest pixel of the
            rim is taken). One row follows in which no pixel is inside.
        """
        height, width = first.shape[0] - 2 * MARGIN, first.shape[1] - 2 * MARGIN
        stride, corner = np.int32(first.shape[1]), np.int32(MARGIN - 1)
        right, bottom = np.float32(width - 1), np.float32(height - 1)
        # Unsigned indices need no code that counts from the end.
        one, two, three, below = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(stride)
        for y in range(height):
            u, v, start = flow[y, 0], flow[y, 1], y * row
            for x in range(width):
                to_x, to_y = np.float32(np.int32(x)) + u[x], np.float32(np.int32(y)) + v[x]
                at_x = to_x if to_x > ZERO else ZERO  # written so that NaN becomes 0
                at_y = to_y if to_y > ZERO else ZERO
                at_x = at_x if at_x < right else right
                at_y = at_y if at_y < bottom else bottom
                pictures[start + inside_ + x] = ONE if max(abs(to_x - at_x), abs(to_y - at_y)) < SLACK else ZERO
                left, top = np.int32(at_x), np.int32(at_y)
                position[x] = (top + corner) * stride + left + corner
                s, t = at_x - np.float32(left), at_y - np.float32(top)
                weights[x + a_] = SIXTH * (ONE - t) * (ONE - t) * (ONE - t)
                weights[x + b_] = SIXTH * (THREE * t * t * (t - TWO) + FOUR)
                weights[x + c_] = SIXTH * (THREE * t * (ONE + t - t * t) + ONE)
                weights[x + d_] = SIXTH * t * t * t
                weights[x + e_] = SIXTH * (ONE - s) * (ONE - s) * (ONE - s)
                weights[x + f_] = SIXTH * (THREE * s * s * (s - TWO) + FOUR)
                weights[x + g_] = SIXTH * (THREE * s * (ONE + s - s * s) + ONE)
                weights[x + h_] = SIXTH * s * s * s
            unmoved = first[y + MARGIN]
            for x in range(width):
                i = np.uint64(np.uint32(position[x]))
                j, k, m = i + below, i + below + below, i + below + below + below
                a, b, c, d = weights[x + a_], weights[x + b_], weights[x + c_], weights[x + d_]
                before = a * flat[i] + b * flat[j] + c * flat[k] + d * flat[m]
                here = a * flat[i + one] + b * flat[j + one] + c * flat[k + one] + d * flat[m + one]
                after = a * flat[i + two] + b * flat[j + two] + c * flat[k + two] + d * flat[m + two]
                beyond = a * flat[i + three] + b * flat[j + three] + c * flat[k + three] + d * flat[m + three]
                e, f, g, h = weights[x + e_], weights[x + f_], weights[x + g_], weights[x + h_]
                warped = e * before + f * here + g * after + h * beyond
                pictures[start + mean_ + x] = HALF * (warped + unmoved[x + MARGIN])
                pictures[start + difference_ + x] = warped - unmoved[x + MARGIN]
            for x in range(1, RIM + 1):
                pictures[start + mean_ - x] = pictures[start + mean_]
                pictures[start + mean_ + width - 1 + x] = pictures[start + mean_ + width - 1]
        end = height * row
        for x in range(width):
            for y in range(RIM):
                pictures[y * row + mean_ - RIM * row + x] = pictures[mean_ + x]
                pictures[end + y * row + mean_ + x] = pictures[end - row + mean_ + x]
            pictures[end + RIM * row + mean_ + x] = ZERO
            pictures[end + difference_ + x] = ZERO
            pictures[end + inside_ + x] = ZERO
        for x in range(RIM):
            pictures[end + mean_ - 1 - x] = ZERO
            pictures[end + mean_ + width + x] = ZERO

    return linearize


@jit
@no_type_check
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
            for x in range(columns - 1):
                here, following = scale * (upper[x] + lower[x]), scale * (upper[x + 1] + lower[x + 1])
                row[2 * x] = here
                row[2 * x + 1] = HALF * (here + following)
            for x in range(2 * columns - 2, width):
                row[x] = scale * (upper[columns - 1] + lower[columns - 1])
