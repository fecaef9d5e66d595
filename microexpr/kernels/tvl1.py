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
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Real

from microexpr.errors import BadInput, UnknownName
from microexpr.kernels.sweeps import CARRIED, PLANES, UX, UY, VX, VY, WINDOW, Kernels, kernels_for
from microexpr.kernels.warp import MARGIN, RIM, Arena, double, pyramid, smooth

MODES = ("clg", "tvl1")
SMALLEST = 16  # pixels
LARGEST_LEVEL, LARGEST_FLOW = 1e5, 1e12  # float32 overflows in the products of anything much larger
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
    ("clg", "micro"): Settings(0.3, 0.06, 0.0, ((1, 30), (1, 40), (1, 30))),
    ("clg", "general"): Settings(0.3, 0.06, 0.0, ((3, 40), (2, 40), (2, 40), (2, 40))),
    ("tvl1", "micro"): Settings(0.25, 0.06, 0.1, ((1, 40), (1, 30), (2, 30))),
    ("tvl1", "general"): Settings(0.35, 0.12, 0.1, ((3, 40), (2, 40), (2, 30), (2, 30))),
}


def flow(
    first: Real[np.ndarray, "h w"],
    second: Real[np.ndarray, "_ _"],
    *,
    mode: str = "clg",
    preset: str = "micro",
    initial: Float32[np.ndarray, "2 _ _"] | None = None,
    stop: float | None = None,
) -> Float32[np.ndarray, "2 h w"]:
    """Optical flow between two pictures; see `flow_batch`."""
    start = None if initial is None else initial[None]
    return flow_batch(first[None], second[None], mode=mode, preset=preset, initial=start, stop=stop, workers=1)[0]


def flow_batch(
    first: Real[np.ndarray, "pair h w"],
    second: Real[np.ndarray, "_ _ _"],
    *,
    mode: str = "clg",
    preset: str = "micro",
    initial: Float32[np.ndarray, "_ 2 _ _"] | None = None,
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
    check(first.shape, second.shape, None if initial is None else initial.shape)
    for values, limit in ((first, LARGEST_LEVEL), (second, LARGEST_LEVEL), (initial, LARGEST_FLOW)):
        # Written so that NaN is refused too: either would turn into an index.
        if values is not None and values.dtype.kind == "f" and not np.abs(values).max(initial=0) <= limit:
            raise BadInput(
                f"finite pictures and initial flow (gray levels 0..255, at most {LARGEST_LEVEL:g})",
                "NaN, infinite or huge values",
                "fill or mask them first",
            )
    if stop is not None and not stop >= 0:
        raise BadInput("a stop of at least 0 pixels", str(stop), "leave it out to do all steps")
    if workers is not None and workers < 1:
        raise BadInput("at least 1 worker", str(workers), "leave it out for one per core")
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


def check(first: tuple[int, ...], second: tuple[int, ...], initial: tuple[int, ...] | None) -> None:
    """Refuses shapes that do not fit: "pair h w" of both pictures, "pair 2 h w" of the initial flow."""
    if len(first) != 3:
        raise BadInput('gray pictures "pair h w"', f"an array of shape {tuple(first)}", "convert them to gray levels")
    pairs, height, width = first
    if tuple(first) != tuple(second):
        raise BadInput("pairs of pictures of one size", f"{tuple(first)} and {tuple(second)}", "crop or resize them")
    if min(height, width) < SMALLEST:
        raise BadInput(
            f"pictures of at least {SMALLEST}x{SMALLEST}", f"{width}x{height}", "use a larger crop of the face"
        )
    if initial is not None and tuple(initial) != (pairs, 2, height, width):
        raise BadInput(f"an initial flow {(pairs, 2, height, width)}", f"{tuple(initial)}", "pass the last result")


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
    height, width = first.shape
    kernels, arena = kernels_for(width), _scratch.arena
    arena.clear()
    plan = levels_of(height, width, settings.schedule)
    ones, others = (pyramid(picture, plan[0][0] + 1, arena) for picture in (first, second))
    starts = _starts(initial, mode, plan[0][0] + 1)

    def level(number: int, coarser: Level | None) -> Level:
        start = starts[number] if starts else None
        return Level(number, mode, settings, kernels, arena, ones[number], others[number], start, coarser)

    solver = level(plan[0][0], None)
    for number, warps, steps in plan:
        if number != solver.number:
            solver = level(number, solver)
        for _ in range(warps):
            solver.linearize()
            if solver.iterate(steps, stop):
                break
    return np.ascontiguousarray(solver.flow().transpose(1, 0, 2))


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


class Level:
    """The solver at one resolution.

    Parameters
    ----------
    number : how often the pictures were halved.
    first, second : the pictures, with their margins.
    start : the flow to start from, "row 2 column" on the grid of the unknowns.
    coarser : the level before, whose flow and duals are taken over.
    """

    def __init__(
        self,
        number: int,
        mode: str,
        settings: Settings,
        kernels: Kernels,
        arena: Arena,
        first: np.ndarray,
        second: np.ndarray,
        start: np.ndarray | None,
        coarser: Level | None,
    ) -> None:
        self.number, self.mode, self.settings, self.kernels = number, mode, settings, kernels
        self.first, self.second, self.start = arena.empty(*first.shape), second, start
        smooth(first, arena.empty(first.shape[1]), self.first)
        self.height, self.width = (side - 2 * MARGIN for side in first.shape)
        self.step = 2 if mode == "clg" else 1  # pixels of the picture from one unknown to the next
        self.rows, self.columns = (-(-side // self.step) for side in (self.height, self.width))
        pitch = kernels.pitch
        self.state = arena.empty(self.rows + 1, PLANES, pitch)
        self.pictures = arena.empty((self.height + 2 * RIM + 1) * 3 * pitch)
        self.fine = arena.empty(self.height, 2, self.width)
        self.sums = arena.empty(5, self.rows + 2 * WINDOW, self.columns + 2 * WINDOW)
        self.scratch = arena.empty(10 * pitch)
        self.position = np.empty(self.width, np.int32)
        self.unknown = self.state[: self.rows, :2, : self.columns]
        if coarser is None:
            self.state[: self.rows, :CARRIED, : self.columns] = 0
        else:
            self._take_over(coarser)
        if start is not None:
            self.unknown += start

    def _take_over(self, coarser: Level) -> None:
        if coarser.start is not None:  # carry what it has found beyond the start, which is known here in more detail
            coarser.unknown -= coarser.start
        double(coarser.state, coarser.rows, coarser.columns, self.state, self.rows, self.columns, CARRIED)
        self.state[: self.rows, (UX, VX), self.columns - 1] = 0
        self.state[self.rows - 1, (UY, VY), : self.columns] = 0

    def flow(self) -> Float32[np.ndarray, "h 2 w"]:
        """The flow in every pixel of the level's picture."""
        if self.step == 1:
            self.fine[:] = self.unknown
        else:
            double(self.state, self.rows, self.columns, self.fine, self.height, self.width, 2)
        return self.fine

    def linearize(self) -> None:
        """Warps the second picture along the present flow and fills the state's data term."""
        kernels, settings = self.kernels, self.settings
        state, tau = self.state.reshape(-1), np.float32(settings.tau)
        kernels.linearize(self.first, self.second.reshape(-1), self.flow(), self.position, self.scratch, self.pictures)
        if self.mode == "tvl1":
            slope = np.float32(settings.tau / (settings.tau + settings.theta))
            kernels.pointwise(self.pictures, self.height, self.width, slope, state)
            return
        self.sums[:] = 0
        self.scratch[:] = 0
        kernels.gather(self.pictures, self.height, self.width, self.scratch, self.sums)
        kernels.window(self.sums, self.scratch, self.rows, self.columns, np.float32(settings.weight) * tau, state)

    def iterate(self, steps: int, stop: float | None) -> bool:
        """Does primal-dual steps; says whether it ended because the flow hardly changed."""
        sweep = self.kernels.tvl1 if self.mode == "tvl1" else self.kernels.clg
        tau, bound = np.float32(self.settings.tau), np.float32(self.settings.weight * self.settings.tau)
        state = self.state.reshape(-1)
        if stop is None:
            sweep(state, self.scratch, self.rows, self.columns, steps, tau, bound)
            return False
        for done in range(0, steps, CHECK):
            many, before = min(CHECK, steps - done), self.unknown.copy()
            sweep(state, self.scratch, self.rows, self.columns, many, tau, bound)
            change = np.hypot(*(self.unknown - before).transpose(1, 0, 2)).mean() * self.step * 2**self.number
            if change < stop * many:
                return True
        return False


class _Scratch(threading.local):
    """The scratch memory of a thread."""

    def __init__(self) -> None:
        self.arena = Arena()


_scratch = _Scratch()
