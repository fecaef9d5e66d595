"""Weighted orientation histograms over a grid of blocks.

Block k of n along an axis of s pixels nominally holds the pixels k (s // n) to (k + 1) (s // n); the last one also
takes what remains. Blocks may reach over these edges, so that a motion on an edge belongs to both sides.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Float64, Int64, Real

from microexpr.errors import BadInput
from microexpr.kernels.warp import jit


def block_bounds(length: int, blocks: int, overlap: int = 0) -> Int64[np.ndarray, "{blocks} 2"]:
    """Where each block of an axis begins and ends (first pixel, pixel after the last).

    Args:
        length: pixels along the axis.
        blocks: number of blocks.
        overlap: pixels that a block reaches over each of its nominal edges, as far as the picture goes. Two neighbors
            share twice as many.

    Raises:
        BadInput: fewer pixels than blocks, or a number that makes no grid.
    """
    if blocks < 1 or overlap < 0:
        raise BadInput("at least 1 block and an overlap of at least 0", f"{blocks} and {overlap}", "change the grid")
    if length < blocks:
        raise BadInput(f"at least {blocks} pixels for {blocks} blocks", f"{length}", "use fewer blocks")
    nominal = length // blocks * np.arange(blocks + 1, dtype=np.int64)
    nominal[-1] = length
    return np.stack([np.maximum(nominal[:-1] - overlap, 0), np.minimum(nominal[1:] + overlap, length)], axis=1)


def orientation_histograms(
    orientation: Float[np.ndarray, "h w"],
    weights: Real[np.ndarray, "h w"],
    rows: Int64[np.ndarray, "row 2"],
    columns: Int64[np.ndarray, "column 2"],
    bins: int,
) -> Float64[np.ndarray, "row column {bins}"]:
    """For every block the total weight of its pixels in each of `bins` equal sectors of the circle.

    Sector k holds -180 + k 360 / bins <= orientation < -180 + (k + 1) 360 / bins. 180 is the direction -180.

    Args:
        orientation: degrees from -180 to 180.
        weights: what a pixel counts.
        rows, columns: the blocks, by `block_bounds`.
        bins: number of sectors.

    Raises:
        BadInput: an orientation outside -180..180, a weight that is not finite, or no sector.
    """
    if bins < 1:
        raise BadInput("at least 1 bin", f"{bins}", "change the number of bins")
    if not (np.abs(orientation) <= 180).all():
        raise BadInput("orientations from -180 to 180 degrees", "others", "wrap them, or mask what is not a number")
    if not np.isfinite(weights).all():
        raise BadInput("finite weights", "NaN or infinite ones", "mask them with 0")
    histograms = np.zeros((len(rows), len(columns), bins))
    edges = 360 * np.arange(bins + 1) / bins - 180
    _collect(orientation.astype(np.float64), weights.astype(np.float64), rows, columns, edges, histograms)
    return histograms


def block_sums(
    values: Real[np.ndarray, "h w"], rows: Int64[np.ndarray, "row 2"], columns: Int64[np.ndarray, "column 2"]
) -> Float64[np.ndarray, "row column"]:
    """Sum of the values in every block; `rows` and `columns` as by `block_bounds`."""
    sums = np.zeros((len(rows), len(columns)))
    _sum(values.astype(np.float64), rows, columns, sums)
    return sums


@jit
@no_type_check
def _collect(orientation, weights, rows, columns, edges, histograms):
    bins = histograms.shape[2]
    for i in range(rows.shape[0]):
        for j in range(columns.shape[0]):
            for y in range(rows[i, 0], rows[i, 1]):
                for x in range(columns[j, 0], columns[j, 1]):
                    angle = orientation[y, x]
                    k = min(int((angle + 180) * bins / 360), bins - 1)
                    # The product may be rounded over an edge; the edges decide.
                    if angle < edges[k]:
                        k -= 1
                    elif angle >= edges[k + 1]:
                        k += 1
                    if k == bins:
                        k = 0
                    histograms[i, j, k] += weights[y, x]


@jit
@no_type_check
def _sum(values, rows, columns, sums):
    for i in range(rows.shape[0]):
        for j in range(columns.shape[0]):
            total = 0.0
            for y in range(rows[i, 0], rows[i, 1]):
                for x in range(columns[j, 0], columns[j, 1]):
                    total += values[y, x]
            sums[i, j] = total
