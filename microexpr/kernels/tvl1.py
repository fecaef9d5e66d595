"""Optical flow by total variation, fast enough for every frame of a video and unbiased below half a pixel.

Both modes minimize the total variation of the flow plus a data term, by one loop: coarse to fine, the second picture
warped along the flow, then primal-dual steps (Chambolle and Pock, "A first-order primal-dual algorithm for convex
problems with applications to imaging", 2011, doi:10.1007/s10851-010-0251-1) on the linearized problem.

- ``"tvl1"``: the data term of TV-L1 (Zach, Pock and Bischof, "A duality based approach for realtime TV-L1 optical
  flow", 2007, doi:10.1007/978-3-540-74936-3_22), |rho| at every pixel. Its coupling with the tightness theta is solved
  exactly: minimizing over the second field turns |rho| into a Huber function.
- ``"clg"``: combined local-global flow (after Bruhn, Weickert and Schnörr, "Lucas/Kanade meets Horn/Schunck", 2005,
  doi:10.1023/B:VISI.0000045324.43199.43), not TV-L1: rho^2 summed over a window of about ten pixels, so noise averages
  out, and the total variation of both components jointly. The data term is gathered from every pixel, the flow is
  solved for on every second one: after the window nothing is left between them, and a quarter of the work remains.

The compiled loops are in `sweeps`; `tvl1_torch` does the same for many pairs at once on a GPU.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Real

from microexpr.errors import BadInput, UnknownName
from microexpr.kernels.sweeps import CARRIED, PLANES, UX, UY, VX, VY, WINDOW, Kernels, kernels_for
from microexpr.kernels.warp import MARGIN, double, half, pyramid, sample

MODES = ("clg", "tvl1")
SMALLEST = 16  # pixels
CHECK = 10  # steps between two looks at the size of the update


@dataclass(frozen=True)
class Settings:
    """What a preset stands for.

    Parameters
    ----------
    weight : lambda, of the data term against the total variation.
    tau : the primal step; the dual step is 1 / (8 tau). A small one settles the duals, and so the noise, first.
    theta : tightness of TV-L1's coupling: |rho| is quadratic below weight * theta * |gradient|^2. Unused by ``"clg"``.
    schedule : (warps, steps of each) from the coarsest level to the finest; level k is halved k times. Of a picture too
        small for a level, that level's warps are done on the smallest it has.
    """

    weight: float
    tau: float
    theta: float
    schedule: tuple[tuple[int, int], ...]


# Tuned on one picture and one seed of benchmarks/flow.py.
PRESETS = {
    ("clg", "micro"): Settings(0.2, 0.06, 0.0, ((1, 30), (1, 40), (1, 30))),
    ("clg", "general"): Settings(0.2, 0.06, 0.0, ((3, 40), (2, 40), (2, 40), (2, 40))),
    ("tvl1", "micro"): Settings(0.25, 0.06, 0.1, ((1, 40), (1, 30), (2, 20))),
    ("tvl1", "general"): Settings(0.25, 0.12, 0.1, ((3, 40), (3, 40), (3, 30), (3, 20))),
}


def flow(
    first: Real[np.ndarray, "h w"],
    second: Real[np.ndarray, "h w"],
    *,
    mode: str = "clg",
    preset: str = "micro",
    initial: Float32[np.ndarray, "2 h w"] | None = None,
    stop: float | None = None,
) -> Float32[np.ndarray, "2 h w"]:
    """Optical flow between two pictures; see `flow_batch`."""
    start = None if initial is None else initial[None]
    return flow_batch(first[None], second[None], mode=mode, preset=preset, initial=start, stop=stop, workers=1)[0]


def flow_batch(
    first: Real[np.ndarray, "pair h w"],
    second: Real[np.ndarray, "pair h w"],
    *,
    mode: str = "clg",
    preset: str = "micro",
    initial: Float32[np.ndarray, "pair 2 h w"] | None = None,
    stop: float | None = None,
    workers: int | None = None,
) -> Float32[np.ndarray, "pair 2 h w"]:
    """Optical flow of many pairs of pictures: first(x) = second(x + flow(x)), u to the right and v down, in pixels.

    Parameters
    ----------
    first, second : gray levels 0..255, of any real type; at least 16x16.
    mode : ``"clg"`` or ``"tvl1"``.
    preset : ``"micro"`` for motion up to two pixels or so, ``"general"`` for several.
    initial : a flow to start from, such as the previous frame's.
    stop : end the steps of a level as soon as the flow changes by less than this between two steps, mean over its
        pixels, in pixels of the picture; by default all steps are done.
    workers : threads; each takes whole pairs. By default one per core.
    """
    settings = settings_for(mode, preset)
    _check(first, second, initial)
    pairs, height, width = first.shape
    flows = np.empty((pairs, 2, height, width), np.float32)
    workers = min(pairs, workers or _cores())

    def solve(number: int) -> None:
        start = None if initial is None else initial[number]
        flows[number] = _solve(first[number], second[number], mode, settings, start, stop)

    if workers > 1:
        kernels_for(width)  # compiled once, not by every thread
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(solve, range(pairs)))
    else:
        for number in range(pairs):
            solve(number)
    return flows


def settings_for(mode: str, preset: str) -> Settings:
    """The settings of a preset."""
    if mode not in MODES:
        raise UnknownName("flow mode", mode, MODES)
    if (mode, preset) not in PRESETS:
        raise UnknownName("flow preset", preset, [name for kind, name in PRESETS if kind == mode])
    return PRESETS[mode, preset]


def _check(first: np.ndarray, second: np.ndarray, initial: np.ndarray | None) -> None:
    """Refuses what would give a wrong flow, or an index from a NaN."""
    if first.shape != second.shape:
        raise BadInput("pictures of one size", f"{first.shape} and {second.shape}", "crop or resize them alike")
    height, width = first.shape[1:]
    if min(height, width) < SMALLEST:
        raise BadInput(
            f"pictures of at least {SMALLEST}x{SMALLEST}", f"{width}x{height}", "use a larger crop of the face"
        )
    if initial is not None and initial.shape != (len(first), 2, height, width):
        raise BadInput(f"an initial flow {(len(first), 2, height, width)}", f"{initial.shape}", "pass the last result")
    for name, values in (("picture", first), ("picture", second), ("initial flow", initial)):
        if values is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
            raise BadInput(f"a finite {name}", "NaN or infinite values", "fill or mask them first")


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def levels_of(height: int, width: int, schedule: tuple[tuple[int, int], ...]) -> list[tuple[int, int, int]]:
    """(level, warps, steps) from coarse to fine; a level's picture is at least `SMALLEST` pixels high and wide."""
    coarsest = int(math.log2(min(height, width) / SMALLEST))
    last = len(schedule) - 1
    return [(min(last - k, coarsest), *schedule[k]) for k in range(len(schedule))]


def _solve(
    first: np.ndarray, second: np.ndarray, mode: str, settings: Settings, initial: np.ndarray | None, stop: float | None
) -> Float32[np.ndarray, "2 h w"]:
    """Flow of one pair."""
    kernels = kernels_for(first.shape[1])
    plan = levels_of(*first.shape, settings.schedule)
    ones, others = pyramid(first, plan[0][0] + 1), pyramid(second, plan[0][0] + 1)
    starts = _starts(initial, mode, plan[0][0] + 1)
    state: np.ndarray = np.empty(0, np.float32)
    previous: int | None = None
    rows = columns = 0
    for level, warps, steps in plan:
        if level != previous:
            height, width = (side - 2 * MARGIN for side in ones[level].shape)
            coarser, coarse_rows, coarse_columns = state, rows, columns
            rows, columns = (half(height), half(width)) if mode == "clg" else (height, width)
            state = np.empty((rows + 1, PLANES, kernels.pitch), np.float32)
            if previous is None:
                state[:rows, :CARRIED, :columns] = 0
            else:
                if starts:  # what the coarser level has found beyond the start; the start itself is known finer
                    coarser[:coarse_rows, :2, :coarse_columns] -= starts[previous]
                double(coarser, coarse_rows, coarse_columns, state, rows, columns, CARRIED)
                state[:rows, (UX, VX), columns - 1] = 0
                state[rows - 1, (UY, VY), :columns] = 0
            if starts:
                state[:rows, :2, :columns] += starts[level]
            previous = level
        size = (height, width, rows, columns)
        for _ in range(warps):
            _linearize(kernels, mode, settings, ones[level], others[level], state, size)
            if _iterate(kernels, mode, settings, state, rows, columns, steps, stop and stop / 2**level):
                break
    return np.ascontiguousarray(_picture_flow(state, mode, size).transpose(1, 0, 2))


def _starts(initial: np.ndarray | None, mode: str, levels: int) -> list[np.ndarray]:
    """The flow to start from on the grid of every level, "row 2 column"."""
    if initial is None:
        return []
    start = initial.transpose(1, 0, 2)
    if mode == "clg":
        start = start[::2, :, ::2] / 2
    starts = [start]
    for _ in range(levels - 1):
        starts.append(starts[-1][::2, :, ::2] / 2)
    return starts


def _picture_flow(state: np.ndarray, mode: str, size: tuple[int, int, int, int]) -> Float32[np.ndarray, "h 2 w"]:
    """The flow of a state in every pixel of its level's picture."""
    height, width, rows, columns = size
    if mode == "tvl1":
        return np.ascontiguousarray(state[:height, :2, :width])
    fine = np.empty((height, 2, width), np.float32)
    double(state, rows, columns, fine, height, width, 2)
    return fine


def _linearize(
    kernels: Kernels,
    mode: str,
    settings: Settings,
    first: np.ndarray,
    second: np.ndarray,
    state: np.ndarray,
    size: tuple[int, int, int, int],
) -> None:
    """Warps the second picture along the flow of the state and fills the state's data term."""
    height, width, rows, columns = size
    warped, inside = np.empty((2, height, width), np.float32)
    sample(second, _picture_flow(state, mode, size), warped, inside)
    pictures = np.empty((height + 4, 3, kernels.pitch), np.float32)
    kernels.compose(first, warped, inside, pictures.reshape(-1))
    flat, tau = state.reshape(-1), np.float32(settings.tau)
    if mode == "tvl1":
        slope = np.float32(settings.tau / (settings.tau + settings.theta))
        kernels.pointwise(pictures.reshape(-1), height, width, slope, flat)
    else:
        sums = np.zeros((5, rows + 2 * WINDOW, columns + 2 * WINDOW), np.float32)
        scratch = np.zeros(5 * kernels.pitch, np.float32)
        kernels.gather(pictures.reshape(-1), height, width, scratch, sums)
        kernels.window(sums, scratch, rows, columns, np.float32(settings.weight) * tau, flat)


def _iterate(
    kernels: Kernels,
    mode: str,
    settings: Settings,
    state: np.ndarray,
    rows: int,
    columns: int,
    steps: int,
    stop: float | None,
) -> bool:
    """Primal-dual steps; whether they ended because the flow hardly changed."""
    sweep = kernels.tvl1 if mode == "tvl1" else kernels.clg
    bound = np.float32(settings.weight * settings.tau)
    carry = np.empty(2 * kernels.pitch, np.float32)
    grid = 2 if mode == "clg" else 1
    for done in range(0, steps, CHECK if stop else steps):
        many = min(CHECK, steps - done) if stop else steps
        before = state[:rows, :2, :columns].copy() if stop else None
        sweep(state.reshape(-1), carry, rows, columns, many, np.float32(settings.tau), bound)
        if before is not None and stop:
            change = np.hypot(*(state[:rows, :2, :columns] - before).transpose(1, 0, 2)).mean()
            if change * grid < stop * many:
                return True
    return False
