"""The solver of `tvl1` for many pairs at once in PyTorch: for a GPU, or a check on the CPU.

The same mathematics, tensors "pair channel row column" throughout. On a CPU the compiled loops of `tvl1` are several
times faster.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from microexpr.errors import BadInput
from microexpr.kernels.tvl1 import LARGEST_FLOW, LARGEST_LEVEL, Settings, check, levels_of, settings_for


def flow_batch(
    first: Float[Tensor, "pair h w"],
    second: Float[Tensor, "_ _ _"],
    *,
    mode: str = "clg",
    preset: str = "micro",
    initial: Float[Tensor, "_ 2 _ _"] | None = None,
) -> Float32[Tensor, "pair 2 h w"]:
    """Optical flow of many pairs, on the device of the pictures: first(x) = second(x + flow(x)), in pixels.

    Parameters
    ----------
    first, second : gray levels 0..255.
    mode, preset, initial : as in `microexpr.kernels.tvl1.flow_batch`.
    """
    settings = settings_for(mode, preset)
    check(first.shape, second.shape, None if initial is None else initial.shape)
    for values, limit in ((first, LARGEST_LEVEL), (second, LARGEST_LEVEL), (initial, LARGEST_FLOW)):
        if values is not None and values.numel() and not bool(values.abs().max() <= limit):  # NaN is refused too
            raise BadInput(
                f"finite pictures and initial flow (gray levels 0..255, at most {LARGEST_LEVEL:g})",
                "NaN, infinite or huge values",
                "fill or mask them first",
            )
    with torch.inference_mode():
        return _solve(first.float(), second.float(), mode, settings, None if initial is None else initial.float())


def flow_arrays(
    first: np.ndarray, second: np.ndarray, *, mode: str = "clg", preset: str = "micro", device: str = "cpu"
) -> Float32[np.ndarray, "pair 2 h w"]:
    """`flow_batch` of arrays "pair h w", uint8 or float, computed on a device."""
    one, other = (torch.from_numpy(np.ascontiguousarray(side)).to(device).float() for side in (first, second))
    return flow_batch(one, other, mode=mode, preset=preset).cpu().numpy()


def _solve(first: Tensor, second: Tensor, mode: str, settings: Settings, initial: Tensor | None) -> Tensor:
    height, width = first.shape[1:]
    plan = levels_of(height, width, settings.schedule)
    ones, others = [first[:, None]], [second[:, None]]  # pair 1 h w
    for _ in range(plan[0][0]):
        ones.append(_halve(ones[-1]))
        others.append(_halve(others[-1]))
    step = 2 if mode == "clg" else 1  # pixels from one unknown to the next
    starts = [] if initial is None else [initial[:, :, ::step, ::step] / step]
    for _ in range(plan[0][0] if starts else 0):
        starts.append(starts[-1][:, :, ::2, ::2] / 2)

    previous = None
    flow = across = down = first  # replaced before they are read: the flow, the duals of both components
    for level, warps, steps in plan:
        height, width = ones[level].shape[2:]
        rows, columns = -(-height // step), -(-width // step)
        if level != previous:
            if previous is None:
                flow, across, down = (first.new_zeros(len(first), 2, rows, columns) for _ in range(3))
            else:
                found = flow - starts[previous] if starts else flow
                flow = 2 * _double(found, rows, columns)
                across, down = _double(across, rows, columns), _double(down, rows, columns)
                across[..., -1] = 0
                down[..., -1, :] = 0
            if starts:
                flow = flow + starts[level]
            previous = level
        smoothed = _smooth(ones[level])
        for _ in range(warps):
            fine = 2 * _double(flow, height, width) if step == 2 else flow
            warped, inside = _sample(others[level], fine)
            gradient, rho = _gradient((smoothed + warped) / 2) * inside, warped - smoothed
            data = (_window_term if mode == "clg" else _point_term)(gradient, rho, flow, settings)
            flow, across, down = _iterate(flow, across, down, data, mode, settings, steps)
    return (2 * _double(flow, *first.shape[1:]) if step == 2 else flow).contiguous()


# --- pictures and grids ---


def _filter(picture: Tensor, taps: tuple[int, ...], mode: str) -> Tensor:
    """A separable symmetric filter along both axes, its sum 1; `mode` as in torch.nn.functional.pad."""
    reach, total = len(taps) // 2, sum(taps)
    height, width = picture.shape[2:]
    padded = F.pad(picture, (reach,) * 4, mode=mode)
    rows, both = torch.zeros_like(padded[:, :, :height]), torch.zeros_like(picture)
    for k, tap in enumerate(taps):
        rows += tap / total * padded[:, :, k : k + height]
    for k, tap in enumerate(taps):
        both += tap / total * rows[..., k : k + width]
    return both


def _halve(picture: Tensor) -> Tensor:
    return _filter(picture, (1, 4, 6, 4, 1), "replicate")[:, :, ::2, ::2]


def _smooth(picture: Tensor) -> Tensor:
    """What sampling by cubic B-splines does at whole pixels."""
    return _filter(picture, (1, 4, 1), "replicate")


def _double(field: Tensor, height: int, width: int) -> Tensor:
    """Linear interpolation at every half pixel, up to the size asked for."""
    following = torch.cat([field[:, :, 1:], field[:, :, -1:]], 2)
    field = torch.stack([field, (field + following) / 2], 3).flatten(2, 3)[:, :, :height]
    following = torch.cat([field[..., 1:], field[..., -1:]], 3)
    return torch.stack([field, (field + following) / 2], 4).flatten(3, 4)[..., :width]


def _spline(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cubic B-spline weights of the pixels -1, 0, 1, 2 for a position `t` in 0..1 after pixel 0."""
    return (1 - t) ** 3 / 6, (3 * t * t * (t - 2) + 4) / 6, (3 * t * (1 + t - t * t) + 1) / 6, t**3 / 6


def _sample(picture: Tensor, flow: Tensor) -> tuple[Tensor, Bool[Tensor, "pair 1 h w"]]:
    """The picture smoothed by cubic B-splines along the flow, and where that lies in the picture."""
    height, width = picture.shape[2:]
    to_x = torch.arange(width, device=flow.device) + flow[:, 0]
    to_y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    x, y = to_x.clamp(0, width - 1), to_y.clamp(0, height - 1)
    inside = torch.maximum((to_x - x).abs(), (to_y - y).abs()) < 1e-3
    left, top = x.long(), y.long()  # both are at least 0
    flat = F.pad(picture, (1, 2, 1, 2), mode="replicate").flatten(1)
    corner = top * (width + 3) + left
    across = _spline(x - left)
    total = torch.zeros_like(x)
    for row, weight in enumerate(_spline(y - top)):
        for column in range(4):
            index = corner + row * (width + 3) + column
            total += weight * across[column] * flat.gather(1, index.flatten(1)).view_as(x)
    return total[:, None], inside[:, None]


def _gradient(picture: Tensor) -> Float32[Tensor, "pair 2 h w"]:
    padded = F.pad(picture, (2, 2, 2, 2), mode="replicate")
    across, down = padded[:, :, 2:-2], padded[..., 2:-2]
    g_x = 8 * (across[..., 3:-1] - across[..., 1:-3]) - (across[..., 4:] - across[..., :-4])
    g_y = 8 * (down[:, :, 3:-1] - down[:, :, 1:-3]) - (down[:, :, 4:] - down[:, :, :-4])
    return torch.cat([g_x, g_y], 1) / 12


# --- the problem ---


def _point_term(gradient: Tensor, rho: Tensor, flow: Tensor, settings: Settings) -> tuple[Tensor, ...]:
    """TV-L1: the gradient, the constant and the slope of the clamped step."""
    slope = settings.tau / (settings.tau + settings.theta) / (gradient.square().sum(1, keepdim=True) + 1e-3)
    return gradient, rho - (gradient * flow).sum(1, keepdim=True), slope


def _window_term(gradient: Tensor, rho: Tensor, flow: Tensor, settings: Settings) -> tuple[Tensor, ...]:
    """Combined local-global: M = (1 + strength J)^-1 and M strength (J w - b), under the window."""
    g_x, g_y = gradient[:, :1], gradient[:, 1:]
    products = torch.cat([g_x * g_x, g_x * g_y, g_y * g_y, g_x * rho, g_y * rho], 1)
    products = _filter(_filter(products, (1, 2, 1), "constant")[:, :, ::2, ::2], (1, 6, 15, 20, 15, 6, 1), "constant")
    strength = settings.weight * settings.tau
    j11, j12, j22 = (4 * strength * products[:, :3]).unbind(1)
    u, v = flow.unbind(1)
    p = j11 * u + j12 * v - 2 * strength * products[:, 3]
    q = j12 * u + j22 * v - 2 * strength * products[:, 4]
    inverse = 1 / ((1 + j11) * (1 + j22) - j12 * j12)
    direct = torch.stack([1 + j22, 1 + j11], 1) * inverse[:, None]
    cross = (-j12 * inverse)[:, None]
    constant = torch.stack([direct[:, 0] * p + cross[:, 0] * q, cross[:, 0] * p + direct[:, 1] * q], 1)
    return direct, cross, constant


def _iterate(
    flow: Tensor, across: Tensor, down: Tensor, data: tuple[Tensor, ...], mode: str, settings: Settings, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """p <- proj(p + sigma grad w), w <- prox(w + tau div(2 p_new - p)), sigma = 1 / (8 tau)."""
    tau, bound = settings.tau, settings.weight * settings.tau
    sigma = 1 / (8 * tau)
    for _ in range(steps):
        old_across, old_down = across, down
        across = old_across + sigma * F.pad(flow[..., 1:] - flow[..., :-1], (0, 1))
        down = old_down + sigma * F.pad(flow[:, :, 1:] - flow[:, :, :-1], (0, 0, 0, 1))
        squared = across.square() + down.square()
        if mode == "clg":
            squared = squared.sum(1, keepdim=True)
        shorten = squared.clamp(min=1).rsqrt()
        across, down = across * shorten, down * shorten
        x, y = 2 * across - old_across, 2 * down - old_down
        flow = flow + tau * (x - F.pad(x[..., :-1], (1, 0)) + y - F.pad(y[:, :, :-1], (0, 0, 1, 0)))
        if mode == "clg":
            direct, cross, constant = data
            flow = direct * flow + cross * flow.flip(1) + constant
        else:
            gradient, constant, slope = data
            step = slope * (constant + (gradient * flow).sum(1, keepdim=True))
            flow = flow - step.clamp(-bound, bound) * gradient
    return flow, across, down
