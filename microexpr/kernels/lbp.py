"""Local binary patterns on three orthogonal planes (LBP-TOP): codes of a gray volume and their histograms in blocks.

Zhao and Pietikainen, "Dynamic texture recognition using local binary patterns with an application to facial
expressions", IEEE Transactions on Pattern Analysis and Machine Intelligence 29(6), 2007,
doi:10.1109/TPAMI.2007.1110.

A volume is "time h w". Around every pixel lie three ellipses, one in each plane, with radii (R_X, R_Y, R_T) along the
axes. Neighbor p of P lies at the angle a = 2 pi p / P:

    XY: x + R_X cos a, y - R_Y sin a      XT: x + R_X cos a, t - R_T sin a      YT: y + R_Y cos a, t - R_T sin a

Its gray level is read between four pixels, bilinearly. Bit p of the code is 1 where it is not under that of the center.
Another start or sense of the circle only renames the codes. A pixel one of whose ellipses leaves the volume has no
code: ceil(R) pixels at each end of an axis.

Gray levels are whole numbers, bilinear weights are not: "not under" leaves a `SLACK` of 1/8192 gray level, so that a
tie is a tie however the weights are rounded.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8, UInt16

from microexpr.errors import BadInput
from microexpr.kernels.warp import jit

# Each by the two axes of a volume ("time h w" is 0 1 2) that its cosine and its sine run along.
PLANES: dict[str, tuple[int, int]] = {"XY": (2, 1), "XT": (2, 0), "YT": (1, 0)}
NEIGHBORS = range(4, 17)  # of fewer there is no texture, codes of more do not fit into two bytes
CODINGS = ("full", "uniform", "rotation-invariant")
# Weights are whole multiples of 2^-23 that sum to 1: 255 * 2^23 is the largest level that fits into 32 bits. Rounding
# them moves a level by less than 2 * 255 units; the slack is larger, so no tie is lost to it.
BITS = 23
WHOLE = 2**BITS
SLACK = 1024
ROWS = 32  # of a frame that are coded together: what they need stays in the processor's first caches

Counts = tuple[int, ...]
Radii = tuple[float, ...]


def bin_count(neighbors: int, coding: str) -> int:
    """Bins of one plane: 2^P full codes, P (P - 1) + 3 with uniform ones, P + 2 with rotation-invariant uniform ones.

    Raises:
        BadInput: a number of neighbors or a coding that there is not.
    """
    _check_coding(neighbors, coding)
    uniform = {"uniform": neighbors * (neighbors - 1) + 3, "rotation-invariant": neighbors + 2}
    return uniform.get(coding, 2**neighbors)


@lru_cache(maxsize=64)
def bins_of_codes(neighbors: int, coding: str) -> UInt16[np.ndarray, " code"]:
    """The bin of every code.

    A code is uniform where its bits change at most twice around the circle. ``"full"``: the code itself.
    ``"uniform"``: uniform codes in rising order, all others in the last bin. ``"rotation-invariant"``: uniform codes by
    their number of ones, all others in the last bin.

    Raises:
        BadInput: as for `bin_count`.
    """
    last = bin_count(neighbors, coding) - 1
    codes = np.arange(2**neighbors)
    bits = codes[:, None] >> np.arange(neighbors) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(1) <= 2
    numbers = {"full": codes, "uniform": np.cumsum(uniform) - 1, "rotation-invariant": bits.sum(1)}[coding]
    found = np.where(uniform | (coding == "full"), numbers, last).astype(np.uint16)
    found.setflags(write=False)  # all callers share it
    return found


def spans(length: int, blocks: int, overlap: float) -> Int64[np.ndarray, "{blocks} 2"]:
    """Where each block of an axis begins and ends (first pixel, pixel after the last).

    Without overlap a block is length / blocks long. With it, neighbors share `overlap` of that, and the blocks are
    longer so that they still fill the axis. Ends are rounded to whole pixels.
    """
    shared = overlap * length / blocks
    side = (length + (blocks - 1) * shared) / blocks
    starts = (side - shared) * np.arange(blocks)
    # The same end reached in two ways must be rounded the same way.
    return np.floor(np.round([starts, starts + side], 9) + 0.5).astype(np.int64).T


def check(
    shape: Counts,
    *,
    blocks: Counts = (8, 8, 1),
    overlap: float = 0.0,
    neighbors: Counts = (8, 8, 8),
    radii: Radii = (3, 3, 3),
    coding: str = "uniform",
) -> None:
    """Whether `histograms` has an answer for a volume of this shape "time h w".

    Raises:
        BadInput: the volume is smaller than the neighborhoods and the grid of blocks need, or a setting is wrong.
    """
    for name, given in (("blocks", blocks), ("neighbors", neighbors), ("radii", radii)):
        if len(given) != 3:
            raise BadInput(f"{name} to be three numbers, like (3, 3, 3)", f"{tuple(given)}", f"set {name} to three")
    for count in neighbors:
        _check_coding(count, coding)
    if not all(isinstance(count, int | np.integer) and count >= 1 for count in blocks):
        raise BadInput("blocks to be whole numbers of at least 1", f"{tuple(blocks)}", "change the grid")
    if not 0 <= overlap <= 1:
        raise BadInput("overlap to be a fraction from 0 to 1", f"{overlap}", "change the overlap")
    if not all(isinstance(radius, int | float) and 1 <= radius < math.inf for radius in radii):
        raise BadInput("radii of at least 1 pixel", f"{tuple(radii)}", "change the radii")
    axes = zip(("wide", "high", "frames long"), reversed(shape), radii, blocks, strict=True)
    for name, length, radius, count in axes:
        if length < 2 * math.ceil(radius) + count:
            raise BadInput(
                f"a volume at least {2 * math.ceil(radius) + count} {name}, for the radius {radius:g} on both sides "
                f"and {count} block{'s' * (count > 1)}",
                f"one {length} {name}",
                "use a smaller radius, fewer blocks or more and larger frames",
            )


def _check_coding(neighbors: int, coding: str) -> None:
    if coding not in CODINGS:
        raise BadInput(f"coding to be one of {', '.join(CODINGS)}", repr(coding), "set coding to one of them")
    if not isinstance(neighbors, int | np.integer) or neighbors not in NEIGHBORS:
        raise BadInput(
            f"from {NEIGHBORS[0]} to {NEIGHBORS[-1]} neighbors", f"{neighbors}", "change the number of neighbors"
        )


def codes(
    volume: UInt8[np.ndarray, "time h w"], plane: str, *, neighbors: int = 8, radii: Radii = (3, 3, 3)
) -> UInt16[np.ndarray, "t y x"]:
    """The full code of every pixel that has one, in one plane.

    Args:
        volume: gray levels.
        plane: a name of `PLANES`.
        neighbors: P, one of `NEIGHBORS`.
        radii: (R_X, R_Y, R_T), in pixels and frames. All three set how much of the rim has no code.

    Returns:
        ceil(R) shorter than the volume at both ends of each axis.

    Raises:
        BadInput: as for `check`, or no such plane.
    """
    if plane not in PLANES:
        raise BadInput(f"plane to be one of {', '.join(PLANES)}", repr(plane), "name one of them")
    check(volume.shape, blocks=(1, 1, 1), neighbors=(neighbors,) * 3, radii=radii, coding="full")
    margins = _margins(radii)
    found = np.empty([length - 2 * margin for length, margin in zip(volume.shape, margins, strict=True)], np.uint16)
    offsets, weights = _taps(plane, neighbors, radii, volume.shape)
    _code_all(volume.ravel(), np.array(volume.shape), margins, offsets, weights, _bits(neighbors), found)
    return found


def histograms(
    volume: UInt8[np.ndarray, "time h w"],
    *,
    blocks: Counts = (8, 8, 1),
    overlap: float = 0.0,
    neighbors: Counts = (8, 8, 8),
    radii: Radii = (3, 3, 3),
    coding: str = "uniform",
) -> Float32[np.ndarray, "time_block row column bin"]:
    """How often each code occurs in each block, in fractions of the block's pixels.

    Blocks divide the pixels that have a code. Codes are counted as they arise, a few rows at a time, and never kept.

    Args:
        volume: gray levels.
        blocks: how many along x, y and time.
        overlap: what neighboring blocks share, by `spans`, the same on all axes.
        neighbors: P in the planes XY, XT and YT, each one of `NEIGHBORS`.
        radii: R_X, R_Y and R_T, in pixels and frames, at least 1; need not be whole.
        coding: one of `CODINGS`.

    Returns:
        The histograms of XY, XT and YT one after the other, each of which sums to 1.

    Raises:
        BadInput: as for `check`.
    """
    check(volume.shape, blocks=blocks, overlap=overlap, neighbors=neighbors, radii=radii, coding=coding)
    margins = _margins(radii)
    inside = [length - 2 * margin for length, margin in zip(volume.shape, margins.tolist(), strict=True)]
    bounds = [spans(length, count, overlap) for length, count in zip(inside, reversed(blocks), strict=True)]
    cells = [_cells(ends) for ends in bounds]
    taps = [_taps(plane, count, radii, volume.shape) for plane, count in zip(PLANES, neighbors, strict=True)]
    sizes = [bin_count(count, coding) for count in neighbors]
    counts = np.zeros([len(ends) for ends in bounds] + [sum(sizes)], np.uint32)
    flat, shape = volume.ravel(), np.array(volume.shape)
    for number, (count, (offsets, weights)) in enumerate(zip(neighbors, taps, strict=True)):
        first = sum(sizes[:number])
        part = counts[..., first : first + sizes[number]]
        _count(flat, shape, margins, offsets, weights, _bits(count), *cells, bins_of_codes(count, coding), part)
    across, down, along = (ends[:, 1] - ends[:, 0] for ends in reversed(bounds))
    pixels = (along[:, None, None] * down[:, None] * across).astype(np.float32)
    return counts.astype(np.float32) / pixels[..., None]


def _margins(radii: Radii) -> Int64[np.ndarray, "axis=3"]:
    """Pixels without a code at each end of the axes "time h w"."""
    return np.array([math.ceil(radius) for radius in reversed(radii)], np.int64)


def _cells(ends: Int64[np.ndarray, "block 2"]) -> Int64[np.ndarray, "cell 4"]:
    """The pieces that the ends of all blocks cut an axis into: begin, end, the first block over it, the one after."""
    edges = np.unique(ends)
    first = np.searchsorted(ends[:, 1], edges[:-1], side="right")
    after = np.searchsorted(ends[:, 0], edges[:-1], side="right")
    return np.stack([edges[:-1], edges[1:], first, after], axis=1)


def _taps(
    plane: str, neighbors: int, radii: Radii, shape: tuple[int, ...]
) -> tuple[Int64[np.ndarray, "neighbor corner=4"], Int32[np.ndarray, "neighbor corner=4"]]:
    """Where in a flat volume, seen from the center, the four pixels around each neighbor lie, and what each counts.

    The weightiest comes first: of a neighbor on a whole pixel it has all the weight, rounding sees to that, although
    6 cos 60 degrees is 3.0000000000000004 and as far beyond the rim. A pixel that counts nothing is not read: the first
    one is there in its place.
    """
    steps = np.array([shape[1] * shape[2], shape[2], 1])
    angles = 2 * np.pi * np.arange(neighbors) / neighbors
    places, shares = [], []
    for axis, along in zip(PLANES[plane], (np.cos(angles), -np.sin(angles)), strict=True):
        position = radii[2 - axis] * along
        low = np.floor(position)
        places.append((low[:, None] + [0, 1]).astype(np.int64) * steps[axis])
        shares.append(np.stack([1 - (position - low), position - low], axis=1))
    offsets = (places[0][:, :, None] + places[1][:, None]).reshape(neighbors, 4)
    weights = np.rint(WHOLE * shares[0][:, :, None] * shares[1][:, None]).astype(np.int64).reshape(neighbors, 4)
    order = np.argsort(-weights, axis=1, kind="stable")
    offsets, weights = np.take_along_axis(offsets, order, 1), np.take_along_axis(weights, order, 1)
    weights[:, 0] += WHOLE - weights.sum(1)
    return np.where(weights > 0, offsets, offsets[:, :1]), weights.astype(np.int32)


def _bits(neighbors: int) -> UInt8[np.ndarray, " neighbor"] | UInt16[np.ndarray, " neighbor"]:
    """The bit of each neighbor, in the smallest type that holds a code: kernels work in that type."""
    return (1 << np.arange(neighbors)).astype(np.uint8 if neighbors <= 8 else np.uint16)


@jit
@no_type_check
def _code(flat, start, offsets, weights, bits, level, code):
    """The codes of all pixels from `start` on, row ends included; `level` is scratch as long as `code`."""
    length = code.size
    center = flat[start : start + length]
    code[:] = 0
    for i in range(length):
        level[i] = (center[i] << BITS) - SLACK
    for number in range(offsets.shape[0]):
        begin = start + offsets[number]
        first = flat[begin[0] : begin[0] + length]
        if weights[number, 0] == WHOLE:
            _compare(first, center, bits[number], code)
        else:
            second, third = flat[begin[1] : begin[1] + length], flat[begin[2] : begin[2] + length]
            fourth = flat[begin[3] : begin[3] + length]
            _compare_between(first, second, third, fourth, weights[number], level, bits[number], code)


@jit
@no_type_check
def _compare(pixels, center, bit, code):
    for i in range(code.size):
        if pixels[i] >= center[i]:
            code[i] |= bit


@jit
@no_type_check
def _compare_between(first, second, third, fourth, weights, level, bit, code):
    """32-bit whole numbers, whichever way they are summed: exact, and as quick as float32."""
    one, two, three, four = weights
    for i in range(code.size):
        between = np.int32(one * first[i] + two * second[i] + three * third[i] + four * fourth[i])
        if between >= level[i]:
            code[i] |= bit


@jit
@no_type_check
def _code_all(flat, shape, margins, offsets, weights, bits, found):
    frames, rows, columns = found.shape
    level, code = np.empty(columns, np.int32), np.empty(columns, bits.dtype)
    for t in range(frames):
        for y in range(rows):
            start = ((t + margins[0]) * shape[1] + y + margins[1]) * shape[2] + margins[2]
            _code(flat, start, offsets, weights, bits, level, code)
            found[t, y] = code


@jit
@no_type_check
def _count(flat, shape, margins, offsets, weights, bits, times, rows, columns, bins, counts):
    """Adds how often each bin occurs to `counts` "time row column bin"."""
    width = columns[-1, 1]
    longest = (ROWS - 1) * shape[2] + width
    level, kept = np.empty(longest, np.int32), np.empty(longest, bits.dtype)
    seen = np.empty((columns.shape[0], bins.size), np.uint32)
    for row in range(rows.shape[0]):
        for time in range(times.shape[0]):
            seen[:] = 0
            for t in range(times[time, 0], times[time, 1]):
                for top in range(rows[row, 0], rows[row, 1], ROWS):
                    height = min(ROWS, rows[row, 1] - top)
                    length = (height - 1) * shape[2] + width
                    start = ((t + margins[0]) * shape[1] + top + margins[1]) * shape[2] + margins[2]
                    _code(flat, start, offsets, weights, bits, level[:length], kept[:length])
                    _tally(kept, height, shape[2], columns, seen)
            _share(seen, times[time], rows[row], columns, bins, counts)


@jit
@no_type_check
def _tally(kept, height, pitch, columns, seen):
    for y in range(height):
        for column in range(columns.shape[0]):
            histogram = seen[column]
            for i in range(y * pitch + columns[column, 0], y * pitch + columns[column, 1]):
                histogram[kept[i]] += 1


@jit
@no_type_check
def _share(seen, time, row, columns, bins, counts):
    """Adds the codes of a row of cells to the bins of all blocks that hold these cells."""
    for column in range(columns.shape[0]):
        for code in range(bins.size):
            if seen[column, code] == 0:
                continue
            for i in range(time[2], time[3]):
                for j in range(row[2], row[3]):
                    for k in range(columns[column, 2], columns[column, 3]):
                        counts[i, j, k, bins[code]] += seen[column, code]
