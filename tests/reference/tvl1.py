"""The slow twin of microexpr/kernels/tvl1.py: the same flow in plain numpy and float64, written for reading."""

from __future__ import annotations

import numpy as np

from microexpr.kernels.tvl1 import levels_of, settings_for


def flow(first, second, *, mode="clg", preset="micro", initial=None):
    """first(x) = second(x + flow(x)) as "2 h w"."""
    settings = settings_for(mode, preset)
    plan = levels_of(*first.shape, settings.schedule)
    ones, others = [first.astype(float)], [second.astype(float)]
    for _ in range(plan[0][0]):
        ones.append(halve(ones[-1]))
        others.append(halve(others[-1]))
    step = 2 if mode == "clg" else 1  # pixels from one unknown to the next
    starts = [None if initial is None else initial[:, ::step, ::step].astype(float) / step]
    for _ in range(plan[0][0]):
        starts.append(None if initial is None else starts[-1][:, ::2, ::2] / 2)

    previous = w = p = None  # the flow "2 row column"; its duals "component direction row column"
    for level, warps, steps in plan:
        height, width = ones[level].shape
        grid = (-(-height // step), -(-width // step))
        if level != previous:
            if previous is None:
                w, p = np.zeros((2, *grid)), np.zeros((2, 2, *grid))
            else:
                if initial is not None:
                    w = w - starts[previous]
                w, p = 2 * double(w, *grid), double(p, *grid)
                p[:, 0, :, -1] = 0
                p[:, 1, -1, :] = 0
            if initial is not None:
                w = w + starts[level]
            previous = level
        for _ in range(warps):
            fine = 2 * double(w, height, width) if step == 2 else w
            g, rho, inside = linearize(ones[level], others[level], fine)
            data = (window_term if mode == "clg" else point_term)(g * inside, rho, w, settings)
            for _ in range(steps):
                w, p = primal_dual_step(w, p, data, settings.tau, joint=mode == "clg")
    return 2 * double(w, *first.shape) if step == 2 else w


# --- pictures and grids ---


def halve(picture):
    """Every second pixel after (1 4 6 4 1) / 16 along both axes, the rim repeated."""
    padded = np.pad(picture, 2, mode="edge")
    rows = sum(weight * padded[k : k + picture.shape[0]] for k, weight in enumerate((1, 4, 6, 4, 1)))
    both = sum(weight * rows[:, k : k + picture.shape[1]] for k, weight in enumerate((1, 4, 6, 4, 1)))
    return both[::2, ::2] / 256


def double(field, height, width):
    """Linear interpolation of "... row column" at every half pixel, up to the size asked for."""
    for axis, size in ((-2, height), (-1, width)):
        here = np.moveaxis(field, axis, 0)
        following = np.concatenate([here[1:], here[-1:]])
        both = np.stack([here, (here + following) / 2], axis=1).reshape(-1, *here.shape[1:])
        field = np.moveaxis(both[:size], 0, axis)
    return field


def spline(t):
    """Cubic B-spline weights of the pixels -1, 0, 1, 2 for a position `t` in 0..1 after pixel 0."""
    return (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6


def sample(picture, x, y):
    """The picture smoothed by cubic B-splines at positions; outside, the nearest point of the rim."""
    height, width = picture.shape
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    value = np.zeros(x.shape)
    for row, down in enumerate(spline(y - top), start=-1):
        for column, across in enumerate(spline(x - left), start=-1):
            at = np.clip(top + row, 0, height - 1), np.clip(left + column, 0, width - 1)
            value += down * across * picture[at]
    return value


def linearize(first, second, w):
    """Gradient of the mean of the first and the warped second picture, their difference, and where the warp is inside.

    rho(z) = difference + gradient . (z - w) is what is left between the pictures under a flow z.
    """
    height, width = first.shape
    y, x = np.mgrid[:height, :width]
    warped = sample(second, x + w[0], y + w[1])
    smoothed = sample(first, x, y)
    outside_x, outside_y = (at - np.clip(at, 0, size - 1) for at, size in ((x + w[0], width), (y + w[1], height)))
    inside = np.maximum(abs(outside_x), abs(outside_y)) < 1e-3
    padded = np.pad((smoothed + warped) / 2, 2, mode="edge")
    across = padded[2:-2]
    down = padded[:, 2:-2]
    g_x = (8 * (across[:, 3:-1] - across[:, 1:-3]) - (across[:, 4:] - across[:, :-4])) / 12
    g_y = (8 * (down[3:-1] - down[1:-3]) - (down[4:] - down[:-4])) / 12
    return np.stack([g_x, g_y]), warped - smoothed, inside


# --- the problem ---


def point_term(g, rho, w, settings):
    """Proximal step of TV-L1's data term weight |rho(z)|, by way of Zach's coupling with `theta`.

    Minimizing weight |rho(v)| + |z - v|^2 / (2 theta) over v leaves a Huber function of rho(z). Its proximal step along
    g is rho tau / (tau + theta) / |g|^2 where that is small, and weight tau at most.
    """
    tau, squared = settings.tau, (g**2).sum(0)
    slope = tau / (tau + settings.theta) / (squared + 1e-3)
    constant = rho - (g * w).sum(0)
    bound = settings.weight * tau

    def prox(z):
        return z - g * np.clip(slope * (constant + (g * z).sum(0)), -bound, bound)

    return prox


def window_term(g, rho, w, settings):
    """Proximal step of the combined local-global data term: weight / 2 * (sum of rho(z)^2 under the window).

    The sum is a quadratic in z, (z - w)^T J (z - w) + 2 b (z - w) with J = sum g g^T and b = sum g rho. The unknowns
    are pixels of a grid of half the resolution, so g is doubled.
    """
    j_xx, j_xy, j_yy = (4 * window(product) for product in (g[0] * g[0], g[0] * g[1], g[1] * g[1]))
    b = np.stack([2 * window(g[0] * rho), 2 * window(g[1] * rho)])
    j = np.moveaxis(np.array([[j_xx, j_xy], [j_xy, j_yy]]), (0, 1), (2, 3))  # "row column 2 2"
    strength = settings.weight * settings.tau
    inverse = np.linalg.inv(np.eye(2) + strength * j)
    constant = strength * (np.einsum("yxij,jyx->iyx", j, w) - b)

    def prox(z):
        return np.einsum("yxij,jyx->iyx", inverse, z + constant)

    return prox


def window(product):
    """Sum under the window: (1 2 1) / 4 at every second pixel, then (1 6 15 20 15 6 1) / 64 on that grid."""
    for axis in (0, 1):
        padded = np.pad(product, [(1, 2) if k == axis else (0, 0) for k in range(2)])
        lines = np.moveaxis(padded, axis, 0)
        size = product.shape[axis]
        product = np.moveaxis((lines[:size] + 2 * lines[1 : size + 1] + lines[2 : size + 2])[::2] / 4, 0, axis)
    for axis in (0, 1):
        lines = np.moveaxis(np.pad(product, [(3, 3) if k == axis else (0, 0) for k in range(2)]), axis, 0)
        size = product.shape[axis]
        total = sum(weight * lines[k : k + size] for k, weight in enumerate((1, 6, 15, 20, 15, 6, 1)))
        product = np.moveaxis(total / 64, 0, axis)
    return product


def primal_dual_step(w, p, prox, tau, *, joint):
    """p <- proj(p + sigma grad w), w <- prox(w + tau div(2 p_new - p)), sigma = 1 / (8 tau)."""
    moved = p + gradient(w) / (8 * tau)
    length = np.sqrt((moved**2).sum(axis=(0, 1) if joint else 1, keepdims=True))
    new = moved / np.maximum(1, length)
    return prox(w + tau * divergence(2 * new - p)), new


def gradient(w):
    """Forward differences, 0 at the last column and row: "component direction row column"."""
    across = np.diff(w, axis=2, append=w[:, :, -1:])
    down = np.diff(w, axis=1, append=w[:, -1:, :])
    return np.stack([across, down], axis=1)


def divergence(p):
    """Minus the adjoint of `gradient`."""
    return np.diff(p[:, 0], axis=2, prepend=0) + np.diff(p[:, 1], axis=1, prepend=0)
