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
    numbers = (first, 1 - first, second, 1 - second, rate / (1 - first**step), (1 - second**step) ** -0.5, epsilon)
    with np.errstate(over="ignore"):  # of a rate out of all bounds; what it does to the weights is told by who has them
        factors = tuple(np.float32(number) for number in numbers)
    _adam(weights, mean, square, _fours(arrived), _fours(x), factors)


def _fours(rows: Float32[np.ndarray, "clip _"]) -> Float32[np.ndarray, "many _"]:
    """The rows, filled up with zeros to a multiple of four: so many are worked on at once."""
    found = np.zeros((-(-len(rows) // 4) * 4, rows.shape[1]), np.float32)
    found[: len(rows)] = rows
    return found


@jit
@no_type_check
def _product(x, weights, found):
    outs, given = weights.shape
    fours = outs // 4 * 4
    for out in range(0, fours, 4):
        p, q, r, s = weights[out], weights[out + 1], weights[out + 2], weights[out + 3]
        for clip in range(0, len(x), 4):
            a, b, c, d = x[clip], x[clip + 1], x[clip + 2], x[clip + 3]
            # 16 sums at once: as many as the processor can add to without waiting for any of them
            ap = bp = cp = dp = aq = bq = cq = dq = np.float32(0)
            ar = br = cr = dr = as_ = bs = cs = ds = np.float32(0)
            for j in range(given):
                ap += p[j] * a[j]
                bp += p[j] * b[j]
                cp += p[j] * c[j]
                dp += p[j] * d[j]
                aq += q[j] * a[j]
                bq += q[j] * b[j]
                cq += q[j] * c[j]
                dq += q[j] * d[j]
                ar += r[j] * a[j]
                br += r[j] * b[j]
                cr += r[j] * c[j]
                dr += r[j] * d[j]
                as_ += s[j] * a[j]
                bs += s[j] * b[j]
                cs += s[j] * c[j]
                ds += s[j] * d[j]
            at_a, at_b, at_c, at_d = found[clip], found[clip + 1], found[clip + 2], found[clip + 3]
            at_a[out], at_a[out + 1], at_a[out + 2], at_a[out + 3] = ap, aq, ar, as_
            at_b[out], at_b[out + 1], at_b[out + 2], at_b[out + 3] = bp, bq, br, bs
            at_c[out], at_c[out + 1], at_c[out + 2], at_c[out + 3] = cp, cq, cr, cs
            at_d[out], at_d[out + 1], at_d[out + 2], at_d[out + 3] = dp, dq, dr, ds
    for out in range(fours, outs):
        for clip in range(len(x)):
            total = np.float32(0)
            for j in range(given):
                total += weights[out, j] * x[clip, j]
            found[clip, out] = total


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
    clips, given = x.shape
    gradient = np.empty(BLOCK, np.float32)
    for out in range(len(weights)):
        first, last = clips, 0  # of the fours of clips of which something arrives
        for clip in range(clips):
            if arrived[clip, out] != 0:
                first, last = min(first, clip // 4 * 4), clip // 4 * 4
        w, m, s = weights[out], mean[out], square[out]
        if first == clips:
            for j in range(given):
                w[j], m[j], s[j] = _moved(w[j], m[j], s[j], np.float32(0), factors)
        elif first == last:
            a, b, c, d = arrived[first, out], arrived[first + 1, out], arrived[first + 2, out], arrived[first + 3, out]
            of_a, of_b, of_c, of_d = x[first], x[first + 1], x[first + 2], x[first + 3]
            for j in range(given):
                g = a * of_a[j] + b * of_b[j] + c * of_c[j] + d * of_d[j]
                w[j], m[j], s[j] = _moved(w[j], m[j], s[j], g, factors)
        else:
            for start in range(0, given, BLOCK):
                end = min(start + BLOCK, given)
                gradient[:] = 0
                for clip in range(first, last + 4, 4):
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
                part_w, part_m, part_s = w[start:end], m[start:end], s[start:end]
                for j in range(len(part_w)):
                    part_w[j], part_m[j], part_s[j] = _moved(part_w[j], part_m[j], part_s[j], gradient[j], factors)


@jit
@no_type_check
def _moved(weight, mean, square, gradient, factors):
    keep_mean, add_mean, keep_square, add_square, rate, correction, epsilon = factors
    first = keep_mean * mean + add_mean * gradient
    second = keep_square * square + add_square * gradient * gradient
    return weight - rate * first / (np.sqrt(second) * correction + epsilon), first, second
