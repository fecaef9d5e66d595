"""The compiled loops of `tvl1`: linearizing two pictures, and the primal-dual steps.

Why it is fast: a step reads and writes every number once, in one sweep over the rows. All numbers of a row lie side by
side in one flat array, and the distances between them are constants of the compiled code: so LLVM proves that nothing
overlaps and vectorizes. 1.3 ns a pixel and step on an AVX2 core; the same loop without constant distances takes 7.5.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, no_type_check

import numba
import numpy as np

from microexpr.kernels.warp import DIFFERENCE, INSIDE, JIT, MEAN, RIM, jit, linearizer

# The planes of a row of the state: flow, duals of its components, five numbers of the data term.
U, V, UX, UY, VX, VY, A, B, C, D, E = range(11)
PLANES, CARRIED = 11, 6  # carried to the next level: flow and duals
NEAR, FAR = np.float32(8 / 12), np.float32(-1 / 12)  # derivative by five pixels
FLAT = np.float32(1e-3)  # added to |gradient|^2 before dividing, (gray levels / pixel)^2
WINDOW = 3  # pixels of the flow's grid that the window of "clg" reaches to each side: (1 6 15 20 15 6 1) / 64
# Compiled code that is kept on disk is renewed when this file changes, not when a number in another file does.
ZERO, ONE, TWO, SIX, FIFTEEN, TWENTY = (np.float32(value) for value in (0, 1, 2, 6, 15, 20))


@dataclass(frozen=True)
class Kernels:
    """The compiled functions for rows of `pitch` numbers a plane."""

    pitch: int
    linearize: Callable[..., Any]
    pointwise: Callable[..., Any]
    gather: Callable[..., Any]
    window: Callable[..., Any]
    tvl1: Callable[..., Any]
    clg: Callable[..., Any]


def kernels_for(width: int) -> Kernels:
    """The functions for pictures of this width.

    The numbers from one plane of a row to its next are 272, 528, 1040, ...: never a multiple of 4 KiB, which caches
    dislike. Compiled once for each; pictures up to 264 pixels wide share one.
    """
    pitch = 272
    while pitch < width + 8:
        pitch = 2 * pitch - 16
    return _kernels(pitch)


@functools.cache
def _kernels(pitch: int) -> Kernels:
    return Kernels(
        pitch,
        *(linearizer(pitch), _pointwise(pitch), _gather(pitch), _window(pitch)),
        *(_sweep(pitch, joint=False), _sweep(pitch, joint=True)),
    )


def _pointwise(pitch: int) -> Callable[..., Any]:
    left, right = (MEAN * pitch + RIM * 3 * pitch + k for k in (0, 4))
    row, state_row = 3 * pitch, PLANES * pitch
    upper, difference, inside = MEAN * pitch + RIM, (RIM * 3 + DIFFERENCE) * pitch, (RIM * 3 + INSIDE) * pitch
    u_, v_, a_, b_, c_, d_ = (plane * pitch for plane in (U, V, A, B, C, D))

    @jit
    @no_type_check
    def pointwise(pictures, height, width, slope, state):
        """Data term of TV-L1: gradient (A, B), rho = C + A u + B v, and D rho, of which `tvl1` clamps the step."""
        for y in range(height):
            start, to = y * row, y * state_row
            for x in range(width):
                i = start + x  # every index is i plus something: none seems to count from the end
                weight = pictures[i + inside]
                far, near = pictures[i + right] - pictures[i + left], pictures[i + right - 1] - pictures[i + left + 1]
                g = weight * (NEAR * near + FAR * far)
                far = pictures[i + upper + 4 * row] - pictures[i + upper]
                near = pictures[i + upper + 3 * row] - pictures[i + upper + row]
                h = weight * (NEAR * near + FAR * far)
                j = to + x
                state[j + a_] = g
                state[j + b_] = h
                state[j + c_] = pictures[i + difference] - g * state[j + u_] - h * state[j + v_]
                state[j + d_] = slope / (g * g + h * h + FLAT)

    return pointwise


def _gather(pitch: int) -> Callable[..., Any]:
    left, right = (MEAN * pitch + RIM * 3 * pitch + k for k in (0, 4))
    row = 3 * pitch
    upper, difference, inside = MEAN * pitch + RIM, (RIM * 3 + DIFFERENCE) * pitch, (RIM * 3 + INSIDE) * pitch
    xx, xy, yy, xt, yt = (k * pitch + 1 for k in range(5))
    above = 5 * pitch
    share = np.float32(1 / 16)

    @jit
    @no_type_check
    def gather(pictures, height, width, scratch, sums):
        """Products of the derivatives, g g^T and g rho, under (1 2 1) / 4 along both axes, at every second pixel.

        `scratch` holds ten planes of zeros.
        """
        rows, columns = sums.shape[1] - 2 * WINDOW, sums.shape[2] - 2 * WINDOW
        for y in range(rows):
            start = 2 * y * row
            for x in range(width):
                i = start + x  # every index is i plus something: none seems to count from the end
                weight = pictures[i + inside]
                far, near = pictures[i + right] - pictures[i + left], pictures[i + right - 1] - pictures[i + left + 1]
                g = weight * (NEAR * near + FAR * far)
                far = pictures[i + upper + 4 * row] - pictures[i + upper]
                near = pictures[i + upper + 3 * row] - pictures[i + upper + row]
                h = weight * (NEAR * near + FAR * far)
                t = pictures[i + difference]
                i += row  # the row below: its products also belong to the next row of the grid
                weight = pictures[i + inside]
                far, near = pictures[i + right] - pictures[i + left], pictures[i + right - 1] - pictures[i + left + 1]
                p = weight * (NEAR * near + FAR * far)
                far = pictures[i + upper + 4 * row] - pictures[i + upper]
                near = pictures[i + upper + 3 * row] - pictures[i + upper + row]
                q = weight * (NEAR * near + FAR * far)
                s = pictures[i + difference]
                scratch[x + xx] = scratch[x + xx + above] + TWO * g * g + p * p
                scratch[x + xy] = scratch[x + xy + above] + TWO * g * h + p * q
                scratch[x + yy] = scratch[x + yy + above] + TWO * h * h + q * q
                scratch[x + xt] = scratch[x + xt + above] + TWO * g * t + p * s
                scratch[x + yt] = scratch[x + yt + above] + TWO * h * t + q * s
                scratch[x + xx + above] = p * p
                scratch[x + xy + above] = p * q
                scratch[x + yy + above] = q * q
                scratch[x + xt + above] = p * s
                scratch[x + yt + above] = q * s
            for k in range(5):
                at = k * pitch
                target = sums[k, y + WINDOW]
                for x in range(columns):
                    i = at + 2 * x
                    target[x + WINDOW] = share * (scratch[i] + TWO * scratch[i + 1] + scratch[i + 2])

    return gather


def _window(pitch: int) -> Callable[..., Any]:
    row = PLANES * pitch
    u_, v_, a_, b_, c_, d_, e_ = (plane * pitch for plane in (U, V, A, B, C, D, E))
    xx, xy, yy, xt, yt = (k * pitch for k in range(5))
    share = np.float32(1 / 64**2)
    # The unknown is in pixels of a grid of half the resolution: along it, gradients are twice as steep.
    slope = np.float32(2)

    @jit
    @no_type_check
    def window(sums, scratch, rows, columns, strength, state):
        """Data term of "clg": the products under the window, and the proximal step they make.

        With J = sum g g^T and b = sum g rho about the present flow w: argmin |z - q|^2 / 2 + strength / 2
        ((z - w)^T J (z - w) + 2 b (z - w)) = M q + m, M = (1 + strength J)^-1, m = M strength (J w - b).
        """
        reach = columns + 2 * WINDOW
        for y in range(rows):
            for k in range(5):
                a, b, c, d = sums[k, y], sums[k, y + 1], sums[k, y + 2], sums[k, y + 3]
                e, f, g = sums[k, y + 4], sums[k, y + 5], sums[k, y + 6]
                at = k * pitch
                for x in range(reach):
                    scratch[at + x] = a[x] + g[x] + SIX * (b[x] + f[x]) + FIFTEEN * (c[x] + e[x]) + TWENTY * d[x]
            start = y * row
            steep = strength * share * slope * slope
            plain = strength * share * slope
            for x in range(columns):
                j11 = steep * seven(scratch, xx + x)
                j12 = steep * seven(scratch, xy + x)
                j22 = steep * seven(scratch, yy + x)
                i = start + x
                u, v = state[i + u_], state[i + v_]
                p = j11 * u + j12 * v - plain * seven(scratch, xt + x)
                q = j12 * u + j22 * v - plain * seven(scratch, yt + x)
                j11 += ONE
                j22 += ONE
                inverse = ONE / (j11 * j22 - j12 * j12)
                m11, m12, m22 = j22 * inverse, -j12 * inverse, j11 * inverse
                state[i + a_] = m11
                state[i + b_] = m12
                state[i + c_] = m22
                state[i + d_] = m11 * p + m12 * q
                state[i + e_] = m12 * p + m22 * q

    return window


@numba.njit(inline="always", **{**JIT, "cache": False})
@no_type_check
def seven(values, i):
    """The window along a row, seven values from i on."""
    outer = values[i] + values[i + 6] + SIX * (values[i + 1] + values[i + 5])
    return outer + FIFTEEN * (values[i + 2] + values[i + 4]) + TWENTY * values[i + 3]


def _sweep(pitch: int, *, joint: bool) -> Callable[..., Any]:
    row = PLANES * pitch
    u_, v_, ux_, uy_, vx_, vy_, a_, b_, c_, d_, e_ = (plane * pitch for plane in range(PLANES))

    @jit
    @no_type_check
    def sweep(state, carry, rows, columns, steps, tau, bound):
        """Primal-dual steps, each one sweep in place: p <- proj(p + sigma grad u), u <- prox(u + tau div(2 p_new - p)).

        Forward differences of u are 0 at the last row and column; its divergence takes p = 0 before the first.
        `carry` holds 2 p_new - p of the row above. `joint`: the data term of "clg" and one projection of the duals of
        both components; otherwise TV-L1's, and each component its own.
        """
        sigma = np.float32(0.125) / tau
        last = rows * row
        for _ in range(steps):
            for x in range(2 * pitch):
                carry[x] = ZERO
            for x in range(columns):
                state[last + u_ + x] = state[last - row + u_ + x]
                state[last + v_ + x] = state[last - row + v_ + x]
            for y in range(rows):
                start = y * row
                state[start + u_ + columns] = state[start + u_ + columns - 1]
                state[start + v_ + columns] = state[start + v_ + columns - 1]
                left_u = ZERO
                left_v = ZERO
                for x in range(columns):
                    i = start + x
                    u = state[i + u_]
                    v = state[i + v_]
                    old_ux = state[i + ux_]
                    old_uy = state[i + uy_]
                    old_vx = state[i + vx_]
                    old_vy = state[i + vy_]
                    ux = old_ux + sigma * (state[i + u_ + 1] - u)
                    uy = old_uy + sigma * (state[i + u_ + row] - u)
                    vx = old_vx + sigma * (state[i + v_ + 1] - v)
                    vy = old_vy + sigma * (state[i + v_ + row] - v)
                    if joint:
                        shorten_u = ONE / math.sqrt(max(ONE, ux * ux + uy * uy + vx * vx + vy * vy))
                        shorten_v = shorten_u
                    else:
                        shorten_u = ONE / math.sqrt(max(ONE, ux * ux + uy * uy))
                        shorten_v = ONE / math.sqrt(max(ONE, vx * vx + vy * vy))
                    ux *= shorten_u
                    uy *= shorten_u
                    vx *= shorten_v
                    vy *= shorten_v
                    state[i + ux_] = ux
                    state[i + uy_] = uy
                    state[i + vx_] = vx
                    state[i + vy_] = vy
                    ux = TWO * ux - old_ux
                    uy = TWO * uy - old_uy
                    vx = TWO * vx - old_vx
                    vy = TWO * vy - old_vy
                    u += tau * (ux - left_u + uy - carry[x])
                    v += tau * (vx - left_v + vy - carry[pitch + x])
                    carry[x] = uy
                    carry[pitch + x] = vy
                    left_u = ux
                    left_v = vx
                    if joint:
                        state[i + u_] = state[i + a_] * u + state[i + b_] * v + state[i + d_]
                        state[i + v_] = state[i + b_] * u + state[i + c_] * v + state[i + e_]
                    else:
                        g = state[i + a_]
                        h = state[i + b_]
                        step = state[i + d_] * (state[i + c_] + g * u + h * v)
                        step = min(max(step, -bound), bound)
                        state[i + u_] = u - step * g
                        state[i + v_] = v - step * h

    return sweep
