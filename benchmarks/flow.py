"""Optical flow of micro-motion: speed, error and bias against other solvers, on pictures whose motion is known exactly.

    python benchmarks/flow.py [--quick] [--seeds 1 2] [--rounds 3] [--out results/flow-<machine>.csv]

Ground truth. A photograph B is taken as a quintic spline. The second picture is B, the first is B(x + u(x)): exact, no
field is inverted. u is two to four Gaussian bumps where brows, lids, mouth and chin lie in a portrait, the strongest
of them with the peak asked for; with drift, a shift of the head by 0.3 pixel and a rotation come on top. Both
pictures get noise of one gray level and are rounded to 8 bits.

Measure. All methods run on each pair in turn, in one process with one thread; times are processor time, medians over
rounds; speed is the ratio to OpenCV's TV-L1 with its defaults on the same pair in the same round. Error is the length
of the difference of flow vectors (end-point error), its mean over the picture and over the moving pixels, where the
bumps exceed a quarter of their peak. Zero flow has the least mean error at the smallest peaks: read both columns.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import scipy.ndimage
import skimage.data
import skimage.registration

from microexpr.kernels import tvl1

SIZE = 224
PEAKS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
LARGE_PEAKS = (4.0, 8.0)
SHIFTS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
PLACES = ((0.30, 0.33), (0.70, 0.33), (0.33, 0.42), (0.67, 0.42), (0.38, 0.72), (0.62, 0.72), (0.5, 0.76), (0.5, 0.9))

Solver = Callable[[np.ndarray, np.ndarray], np.ndarray]


# --- pictures whose motion is known ---


def photograph(name: str, size: int = SIZE) -> np.ndarray:
    """The face of scikit-image's astronaut ("portrait"), its cat or its cameraman: float64 gray levels "size size"."""
    if name == "portrait":
        picture = cv2.cvtColor(skimage.data.astronaut()[50:200, 150:300], cv2.COLOR_RGB2GRAY)
    elif name == "cat":
        picture = cv2.cvtColor(skimage.data.chelsea()[0:300, 60:360], cv2.COLOR_RGB2GRAY)
    else:
        picture = skimage.data.camera()
    grows = picture.shape[0] < size
    resized = cv2.resize(
        picture.astype(np.float64), (size, size), interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    )
    return np.clip(resized, 0, 255)


def bumps(peak: float, rng: np.random.Generator, size: int = SIZE, spread: tuple[float, float] = (0.04, 0.09)):
    """Two to four Gaussian bumps of motion, "2 size size"; the strongest vector is `peak` pixels long."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    field = np.zeros((2, size, size))
    for place in rng.choice(len(PLACES), size=rng.integers(2, 5), replace=False):
        center_x, center_y = (np.array(PLACES[place]) + rng.normal(0, 0.02, 2)) * size
        width, height = rng.uniform(*spread, 2) * size
        angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1)
        shape = strength * np.exp(-((x - center_x) ** 2) / (2 * width**2) - (y - center_y) ** 2 / (2 * height**2))
        field += np.array([np.cos(angle), np.sin(angle)])[:, None, None] * shape
    return field * (peak / np.hypot(*field).max())


def drifting(rng: np.random.Generator, shift: float = 0.3, degrees: float = 0.1, size: int = SIZE) -> np.ndarray:
    """The head's own motion: a shift of `shift` pixels in any direction and a rotation about the center."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    direction, turn = rng.uniform(0, 2 * np.pi), np.deg2rad(degrees) * rng.choice([-1, 1])
    return np.stack([shift * np.cos(direction) - turn * y, shift * np.sin(direction) + turn * x])


def observed(
    picture: np.ndarray, flow: np.ndarray, rng: np.random.Generator, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Two uint8 pictures with first(x) = second(x + flow(x)), noisy and rounded."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float64)
    warped = scipy.ndimage.map_coordinates(picture, [y + flow[1], x + flow[0]], order=5, mode="mirror")
    pair = (np.clip(clean + rng.normal(0, noise, clean.shape), 0, 255) for clean in (warped, picture))
    first, second = (np.rint(noisy).astype(np.uint8) for noisy in pair)
    return first, second


def scene(name: str, peak: float, seed: int, drift: bool = False, large: bool = False):
    """One pair with its truth: (first, second, flow, moving)."""
    rng = np.random.default_rng([seed, round(1000 * peak), drift, large])
    local = bumps(peak, rng, spread=(0.08, 0.16) if large else (0.04, 0.09))
    flow = local + drifting(rng) if drift else local
    first, second = observed(photograph(name), flow, rng)
    return first, second, flow, np.hypot(*local) > 0.25 * peak


# --- methods ---


def opencv_tvl1(**settings: float) -> Solver:
    def solve(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        # A new object every time: one that has seen a small picture keeps its reduced number of scales.
        return cv2.optflow.DualTVL1OpticalFlow_create(**settings).calc(first, second, None).transpose(2, 0, 1)

    return solve


def dis(preset: int) -> Solver:
    def solve(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return cv2.DISOpticalFlow_create(preset).calc(first, second, None).transpose(2, 0, 1)

    return solve


def farneback(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    flow = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    return flow.transpose(2, 0, 1)


def scikit_image(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    v, u = skimage.registration.optical_flow_tvl1(first, second)
    return np.stack([u, v])


def ours(mode: str, preset: str) -> Solver:
    def solve(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return tvl1.flow(first, second, mode=mode, preset=preset)

    return solve


DEFAULT = f"OpenCV {cv2.__version__} TV-L1 default"
METHODS: dict[str, Solver] = {
    DEFAULT: opencv_tvl1(),
    "OpenCV TV-L1 theta 0.1": opencv_tvl1(theta=0.1),
    "scikit-image TV-L1": scikit_image,
    "OpenCV DIS fast": dis(cv2.DISOPTICAL_FLOW_PRESET_FAST),
    "OpenCV DIS medium": dis(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM),
    "OpenCV Farneback, window 15": farneback,
    "zero flow": lambda first, second: np.zeros((2, *first.shape)),
    "microexpr clg micro": ours("clg", "micro"),
    "microexpr tvl1 micro": ours("tvl1", "micro"),
    "microexpr clg general": ours("clg", "general"),
    "microexpr tvl1 general": ours("tvl1", "general"),
}


# --- measuring ---


def timed(solver: Solver, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, float]:
    """Flow and seconds of processor time.

    On a machine that does other work as well, wall time would flatter the fast: a slow method loses its core many times
    in a run, a fast one seldom.
    """
    start = time.process_time()
    flow = solver(first, second)
    return flow, time.process_time() - start


def measure(cases: list[dict], rounds: int) -> list[dict]:
    """One row for every case and method: errors in pixels, seconds, and how often faster than the default."""
    rows = []
    for case in cases:
        first, second, truth, moving = scene(**case)
        seconds: dict[str, list[float]] = {name: [] for name in METHODS}
        errors = {}
        for round_ in range(rounds):
            for name, solver in METHODS.items():
                # A fast method is timed several times in a row, so that one interruption does not make its time.
                repeats = 1 if round_ == 0 or statistics.median(seconds[name]) > 0.05 else 5
                runs = [timed(solver, first, second) for _ in range(repeats)]
                seconds[name].append(statistics.median(run[1] for run in runs))
                errors[name] = np.hypot(*(runs[0][0] - truth))
        for name in METHODS:
            ratios = [slow / fast for slow, fast in zip(seconds[DEFAULT], seconds[name], strict=True)]
            rows.append(
                {
                    "method": name,
                    **case,
                    "mean_error": errors[name].mean(),
                    "moving_error": errors[name][moving].mean(),
                    "milliseconds": 1e3 * statistics.median(seconds[name]),
                    "speed": statistics.median(ratios[1:] or ratios),  # the first round warms up
                }
            )
        print(".", end="", flush=True)
    print()
    return rows


def shift_bias() -> list[dict]:
    """Found over true shift of pictures without noise: median over the middle, one row for every method and picture."""
    rows = []
    for name, solver in METHODS.items():
        if name.startswith(("zero", "microexpr tvl1 general", "scikit")):
            continue
        for picture in ("portrait", "cat", "camera"):
            second = photograph(picture)
            y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
            row = {"method": name, "picture": picture}
            for shift in SHIFTS:
                first = scipy.ndimage.map_coordinates(second, [y, x + shift], order=5, mode="mirror")
                # OpenCV takes float pictures in 0..1 or uint8; rounding would be noise, so float.
                if name.startswith("OpenCV") and "TV-L1" in name:
                    pair = [(side / 255).astype(np.float32) for side in (first, second)]
                elif name.startswith("OpenCV"):
                    pair = [np.rint(np.clip(side, 0, 255)).astype(np.uint8) for side in (first, second)]
                else:
                    pair = [side.astype(np.float32) for side in (first, second)]
                flow = solver(*pair)
                row[f"{shift}"] = np.median(flow[0, 16:-16, 16:-16]) / shift
            rows.append(row)
    return rows


def batch_rates(pairs: int = 64) -> list[dict]:
    """Pairs a second of a batch, for one thread and for one thread a core."""
    scenes = [scene("portrait", 0.5, seed)[:2] for seed in range(4)]
    first, second = (np.stack([scenes[k % 4][side] for k in range(pairs)]) for side in (0, 1))
    rows = []
    for workers in sorted({1, len(os.sched_getaffinity(0))}):
        rates = []
        for _ in range(7):
            start = time.perf_counter()
            tvl1.flow_batch(first, second, workers=workers)
            rates.append(pairs / (time.perf_counter() - start))
        rows.append({"workers": workers, "pairs": pairs, "rate": statistics.median(rates), "best": max(rates)})
    return rows


def start_up() -> list[dict]:
    """Seconds of the first call in a fresh process, with an empty cache of compiled code and with a filled one."""
    code = (
        "import time, numpy as np; from microexpr.kernels import tvl1; a = np.zeros((1, 224, 224), np.uint8); "
        "t = time.perf_counter(); tvl1.flow_batch(a, a); print(time.perf_counter() - t)"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        for state in ("empty", "filled", "filled", "filled"):
            done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
            rows.append({"cache": state, "seconds": float(done.stdout)})
    return rows


# --- tables ---


def summary(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Method -> medians of speed and time, means of both errors."""
    answer = {}
    for name in METHODS:
        own = [row for row in rows if row["method"] == name]
        answer[name] = {
            "speed": statistics.median(row["speed"] for row in own),
            "milliseconds": statistics.median(row["milliseconds"] for row in own),
            "mean_error": statistics.mean(row["mean_error"] for row in own),
            "moving_error": statistics.mean(row["moving_error"] for row in own),
        }
    return answer


def show(title: str, rows: list[dict]) -> None:
    """One table over all, and one by peak."""
    print(f"\n{title}: {len(rows) // len(METHODS)} pairs\n")
    print(f"{'method':32s} {'x default':>9s} {'ms':>8s} {'mean error':>10s} {'moving':>8s}")
    for name, row in summary(rows).items():
        speed = "-" if name.startswith("zero") else f"{row['speed']:.1f}"
        print(f"{name:32s} {speed:>9s} {row['milliseconds']:8.2f} {row['mean_error']:10.4f} {row['moving_error']:8.4f}")
    peaks = sorted({row["peak"] for row in rows})
    print(f"\n{'mean / moving error by peak':32s} " + " ".join(f"{peak:>13g}" for peak in peaks))
    by_peak = {peak: summary([row for row in rows if row["peak"] == peak]) for peak in peaks}
    for name in METHODS:
        cells = [by_peak[peak][name] for peak in peaks]
        print(f"{name:32s} " + " ".join(f"{cell['mean_error']:.4f}/{cell['moving_error']:.4f}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", default=["micro", "drift", "large", "other"], help="what to measure")
    parser.add_argument("--quick", action="store_true", help="one picture, one seed, two rounds, three peaks")
    parser.add_argument("--out", type=Path, help="CSV of all rows")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # the others use one thread anyway
    pictures = ["cat"] if options.quick else ["portrait", "cat", "camera"]
    seeds, rounds = ([1], 2) if options.quick else (options.seeds, options.rounds)
    peaks = (0.1, 0.5, 2.0) if options.quick else PEAKS
    about = f"OpenCV {cv2.__version__}, scikit-image {skimage.__version__}, Python {platform.python_version()}"
    print(f"{about}; {SIZE}x{SIZE}, one thread, medians of {rounds} rounds")
    for name in METHODS:  # compile
        METHODS[name](*scene("cat", 0.5, 0)[:2])

    records: list[dict] = []
    kinds = {
        "micro": ("Micro-motion", peaks, {}),
        "drift": ("Micro-motion with 0.3 pixel drift and rotation", peaks, {"drift": True}),
        "large": ("Motion of several pixels", LARGE_PEAKS, {"large": True}),
    }
    for part, (title, some, extra) in kinds.items():
        if part in options.parts:
            cases = [
                {"name": name, "peak": peak, "seed": seed, **extra}
                for name in pictures
                for peak in some
                for seed in seeds
            ]
            rows = measure(cases, rounds)
            show(title, rows)
            records += [{"part": part, **row} for row in rows]
    if "other" in options.parts:
        print("\nFound over true shift, without noise\n")
        print(f"{'method':32s} {'picture':10s} " + " ".join(f"{shift:>6g}" for shift in SHIFTS))
        for row in shift_bias():
            print(f"{row['method']:32s} {row['picture']:10s} " + " ".join(f"{row[f'{s}']:6.3f}" for s in SHIFTS))
            records += [
                {"part": "bias", "method": row["method"], "name": row["picture"], "peak": s, "ratio": row[f"{s}"]}
                for s in SHIFTS
            ]
        print()
        for row in batch_rates():
            print(
                f"{row['pairs']} pairs, {row['workers']} threads: {row['rate']:.0f} a second (best {row['best']:.0f})"
            )
            method = f"microexpr clg micro, {row['pairs']} pairs, {row['workers']} threads"
            records.append({"part": "batch", "method": method, "ratio": row["rate"]})
        for row in start_up():
            print(f"first call, cache {row['cache']}: {row['seconds']:.2f} s")
            records.append(
                {"part": "first call", "method": f"cache {row['cache']}", "milliseconds": 1e3 * row["seconds"]}
            )
    if options.out:
        fields = ["part", "method", "name", "peak", "seed", "drift", "large"]
        fields += ["mean_error", "moving_error", "milliseconds", "speed", "ratio", "about"]
        with options.out.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, fields, lineterminator="\n")
            writer.writeheader()
            for record in records:
                rounded = {key: f"{value:.5g}" if isinstance(value, float) else value for key, value in record.items()}
                writer.writerow({**rounded, "about": about})


if __name__ == "__main__":
    main()
