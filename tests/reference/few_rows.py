"""The slow twin of microexpr/kernels/few_rows.py: the same in plain numpy and float64."""

from __future__ import annotations

import numpy as np


def product(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) @ weights.T.astype(np.float64)


def transposed_product(arrived: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return arrived.astype(np.float64) @ weights.astype(np.float64)


def adam(weights, mean, square, arrived, x, *, step, rate, betas, epsilon):
    """Algorithm 1 of Kingma and Ba as it is printed; returns what the kernel changes in place."""
    gradient = arrived.T.astype(np.float64) @ x.astype(np.float64)
    mean = betas[0] * mean + (1 - betas[0]) * gradient
    square = betas[1] * square + (1 - betas[1]) * gradient**2
    corrected = mean / (1 - betas[0] ** step), square / (1 - betas[1] ** step)
    return weights - rate * corrected[0] / (np.sqrt(corrected[1]) + epsilon), mean, square
