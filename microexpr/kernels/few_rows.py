"""A large fully connected layer that trains on few clips at a time: everything but its weights is small.

All that counts is how often the weights, their gradient and the moments of Adam travel to the processor and back. Each
function here reads the weights once. The gradient of the weights, the product of what arrives at the outputs and what
came in, has the rank of the number of clips; `adam` takes it as its two factors and never writes it. Behind a ReLU,
nothing arrives at most outputs: their weights have no part in the gradient at the input, and are not read for it.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float32

from microexpr.kernels.warp import jit

BLOCK = 1024  # numbers of a row that are worked on at once: with what belongs to them, they stay in the cache


def product(
    x: Float32[np.ndarray, "clip given"], weights: Float32[np.ndarray, "out given"]
) -> Float32[np.ndarray, "clip out"]:
    """x weights^T."""
    rows = _fours(x)
    found = np.zeros((len(rows), len(weights)), np.float32)
    _product(rows, weights, found)
    return found[: len(x)]


def transposed_product(
    arrived: Float32[np.ndarray, "clip out"], weights: Float32[np.ndarray, "out given"]
) -> Float32[np.ndarray, "clip given"]:
    """arrived weights: the gradient at the input where `arrived` is that at the outputs."""
    found = np.zeros((len(arrived), weights.shape[1]), np.float32)
    _transposed_product(np.ascontiguousarray(arrived), weights, np.flatnonzero(arrived.any(axis=0)), found)
    return found


def adam(
    weights: Float32[np.ndarray, "out given"],
    mean: Float32[np.ndarray, "out given"],
    square: Float32[np.ndarray, "out given"],
    arrived: Float32[np.ndarray, "clip out"],
    x: Float32[np.ndarray, "clip given"],
    *,
    step: int,
    rate: float,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """One step of Adam (Kingma and Ba, ICLR 2015, Algorithm 1) for the gradient arrived^T x; in place.

    Args:
        mean, square: the moments, zero before the first step.
        step: 1 for the first.
    """
    first, second = betas
    factors = np.array(
        [first, 1 - first, second, 1 - second, rate / (1 - first**step), (1 - second**step) ** -0.5, epsilon],
        np.float32,
    )
    _adam(weights, mean, square, _fours(arrived), _fours(x), factors)


def _fours(rows: Float32[np.ndarray, "clip _"]) -> Float32[np.ndarray, "many _"]:
    """The rows, filled up with zeros to a multiple of four: so many are worked on at once."""
    found = np.zeros((-(-len(rows) // 4) * 4, rows.shape[1]), np.float32)
    found[: len(rows)] = rows
    return found


@jit
@no_type_check
def _product(x, weights, found):
    for out in range(len(weights)):
        row = weights[out]
        for clip in range(0, len(x), 4):
            a, b, c, d = x[clip], x[clip + 1], x[clip + 2], x[clip + 3]
            at_a = at_b = at_c = at_d = np.float32(0)
            for j in range(len(row)):
                at_a += row[j] * a[j]
                at_b += row[j] * b[j]
                at_c += row[j] * c[j]
                at_d += row[j] * d[j]
            found[clip, out], found[clip + 1, out], found[clip + 2, out], found[clip + 3, out] = at_a, at_b, at_c, at_d


@jit
@no_type_check
def _transposed_product(arrived, weights, outs, found):
    clips, given = found.shape
    fours = len(outs) // 4 * 4
    for first in range(0, fours, 4):
        i, j, k, m = outs[first], outs[first + 1], outs[first + 2], outs[first + 3]
        for start in range(0, given, BLOCK):
            end = min(start + BLOCK, given)
            of_i, of_j = weights[i, start:end], weights[j, start:end]
            of_k, of_m = weights[k, start:end], weights[m, start:end]
            for clip in range(clips):
                a, b, c, d = arrived[clip, i], arrived[clip, j], arrived[clip, k], arrived[clip, m]
                target = found[clip, start:end]
                for x in range(len(target)):
                    target[x] += a * of_i[x] + b * of_j[x] + c * of_k[x] + d * of_m[x]
    for out in outs[fours:]:
        for clip in range(clips):
            for x in range(given):
                found[clip, x] += arrived[clip, out] * weights[out, x]


@jit
@no_type_check
def _adam(weights, mean, square, arrived, x, factors):
    keep_mean, add_mean, keep_square, add_square, rate, correction, epsilon = factors
    clips, given = x.shape
    gradient = np.empty(BLOCK, np.float32)
    for out in range(len(weights)):
        for start in range(0, given, BLOCK):
            end = min(start + BLOCK, given)
            gradient[:] = 0
            for clip in range(0, clips, 4):
                a, b, c, d = (
                    arrived[clip, out],
                    arrived[clip + 1, out],
                    arrived[clip + 2, out],
                    arrived[clip + 3, out],
                )
                of_a, of_b = x[clip, start:end], x[clip + 1, start:end]
                of_c, of_d = x[clip + 2, start:end], x[clip + 3, start:end]
                for j in range(len(of_a)):
                    gradient[j] += a * of_a[j] + b * of_b[j] + c * of_c[j] + d * of_d[j]
            w, m, s = weights[out, start:end], mean[out, start:end], square[out, start:end]
            for j in range(len(w)):
                g = gradient[j]
                first = keep_mean * m[j] + add_mean * g
                second = keep_square * s[j] + add_square * g * g
                m[j] = first
                s[j] = second
                w[j] -= rate * first / (np.sqrt(second) * correction + epsilon)
