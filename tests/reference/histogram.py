"""The slow twin of microexpr/kernels/histogram.py and of Bi-WOOF's features: pixel by pixel, in Python's own floats.

Blocks are those of the authors' script, in its own words: rows and columns count from 1, both ends included.
"""

from __future__ import annotations

import math

import numpy as np


def block_pixels(length, blocks, overlap):
    """Pixels of every block along an axis, from 0."""
    step = length // blocks
    pixels = []
    for number in range(1, blocks + 1):
        first = 1 if number == 1 else (number - 1) * step + 1 - overlap
        last = length if number == blocks else number * step + overlap
        pixels.append([k - 1 for k in range(first, last + 1) if 1 <= k <= length])
    return pixels


def sector(angle, bins):
    """The sector of an angle in degrees."""
    for k in range(bins):
        if -180 + 360 * k / bins <= angle < -180 + 360 * (k + 1) / bins:
            return k
    assert angle == 180
    return 0


def histograms(orientation, weights, blocks, bins, overlap):
    """Weight in each sector of each block: "row column sector"."""
    height, width = orientation.shape
    found = np.zeros((blocks, blocks, bins))
    for i, ys in enumerate(block_pixels(height, blocks, overlap)):
        for j, xs in enumerate(block_pixels(width, blocks, overlap)):
            for y in ys:
                for x in xs:
                    found[i, j, sector(float(orientation[y, x]), bins)] += float(weights[y, x])
    return found


def strain(flow):
    """sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2), central differences, one-sided at the rim."""
    height, width = flow.shape[1:]
    u, v = flow.astype(float)

    def across(field, y, x):
        left, right = max(x - 1, 0), min(x + 1, width - 1)
        return (field[y, right] - field[y, left]) / (right - left)

    def down(field, y, x):
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        return (field[below, x] - field[above, x]) / (below - above)

    found = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            shear = down(u, y, x) + across(v, y, x)
            found[y, x] = math.sqrt(across(u, y, x) ** 2 + down(v, y, x) ** 2 + shear**2 / 2)
    return found


def bi_woof(flow, blocks=5, bins=8, overlap=1, pooling="sum"):
    """The whole feature of a field whose every block moves and is strained."""
    height, width = flow.shape[1:]
    u, v = flow.astype(float)
    orientation = np.array([[math.degrees(math.atan2(v[y, x], u[y, x])) for x in range(width)] for y in range(height)])
    local = histograms(orientation, np.sqrt(u**2 + v**2), blocks, bins, overlap)
    strained, parts = strain(flow), []
    for i, ys in enumerate(block_pixels(height, blocks, overlap)):
        for j, xs in enumerate(block_pixels(width, blocks, overlap)):
            values = [strained[y, x] for y in ys for x in xs]
            weight = sum(values) / (len(values) if pooling == "mean" else 1)
            parts += [share / sum(local[i, j]) * weight for share in local[i, j]]
    return np.array(parts) / math.sqrt(sum(part**2 for part in parts))
