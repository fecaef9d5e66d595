"""The slow twin of microexpr/kernels/pooled_convolution.py: the same block in plain numpy and float64."""

from __future__ import annotations

import numpy as np


def maps(pictures, weights, bias):
    """relu(weights * picture + bias) as "clip 30 30 16", and what each position sees of a picture, "clip 30 30 27"."""
    padded = np.pad(pictures.astype(float), ((0, 0), (0, 0), (2, 2), (2, 2)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))  # clip channel 30 30 3 3
    seen = seen.transpose(0, 2, 3, 1, 4, 5).reshape(len(pictures), 30, 30, 27)
    return np.maximum(seen @ weights.astype(float) + bias, 0), seen


def forward(pictures, weights, bias, sign):
    """Pooled numbers and their places, "clip 10 10 16", and the sums "2 16"."""
    r, _ = maps(pictures, weights, bias)
    values, places = np.zeros((len(r), 10, 10, 16)), np.zeros((len(r), 10, 10, 16), int)
    for clip, row, column, channel in np.ndindex(values.shape):
        best = -np.inf
        for place in range(9):
            y, x = 3 * row - 1 + place // 3, 3 * column - 1 + place % 3
            if y >= 0 and x >= 0 and sign[channel] * r[clip, y, x, channel] > best:
                best = sign[channel] * r[clip, y, x, channel]
                values[clip, row, column, channel] = r[clip, y, x, channel]
                places[clip, row, column, channel] = place
    return values, places, np.stack([r.sum((0, 1, 2)), (r**2).sum((0, 1, 2))])


def backward(pictures, weights, bias, places, gradient, constant, slope):
    """Gradient at the weights and, in the last row, at the bias."""
    r, seen = maps(pictures, weights, bias)
    at = constant + slope * r
    for clip, row, column, channel in np.ndindex(places.shape):
        place = int(places[clip, row, column, channel])
        at[clip, 3 * row - 1 + place // 3, 3 * column - 1 + place % 3, channel] += gradient[clip, row, column, channel]
    at *= r > 0
    return np.concatenate([np.einsum("byxk,byxc->kc", seen, at), at.sum((0, 1, 2))[None]])
