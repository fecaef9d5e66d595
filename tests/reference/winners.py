"""The slow twin of microexpr/kernels/winners.py: the same in plain numpy and float64."""

from __future__ import annotations

import numpy as np


def pool(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maxima of windows of 2x2 and their positions, the first of several."""
    clips, filters, height, width = maps.shape
    maps = maps[:, :, : height // 2 * 2, : width // 2 * 2].astype(np.float64)
    windows = maps.reshape(clips, filters, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    windows = windows.reshape(*windows.shape[:4], 4)
    places = np.where(np.isnan(windows), np.inf, windows).argmax(-1)
    return np.take_along_axis(windows, places[..., None], -1)[..., 0], places


def gradients(
    x: np.ndarray, weights: np.ndarray, places: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients at weights, bias and input of the convolution whose maps were pooled."""
    half = weights.shape[2] // 2
    framed = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (half, half), (half, half)))
    at_weights, at_framed = np.zeros(weights.shape), np.zeros(framed.shape)
    for (clip, number, y, column), arrived in np.ndenumerate(gradient):
        row, side = divmod(int(places[clip, number, y, column]), 2)
        top, left = 2 * y + row, 2 * column + side
        seen = np.s_[clip, :, top : top + 2 * half + 1, left : left + 2 * half + 1]
        at_weights[number] += arrived * framed[seen]
        at_framed[seen] += arrived * weights[number]
    inner = at_framed[:, :, half : half + x.shape[2], half : half + x.shape[3]]
    return at_weights, gradient.sum((0, 2, 3), dtype=np.float64), inner
