"""Hand-crafted features: LBP-TOP against a loop over scikit-image's patterns, and a whole data set on two cores.

    python benchmarks/features.py [--quick] [--large] [--rounds 7] [--clips 8] [--out results/features-<machine>.csv]

- LBP-TOP: 8 neighbors at radius 3, 8x8 blocks, uniform codes, of 60 rendered gray frames of 224x224 (with --large of
  640x480). The loop calls `skimage.feature.local_binary_pattern` on every slice of the three planes and counts the
  codes of a slice in all blocks at once; it takes the "default" codes and looks up their bins, which is quicker than to
  ask for uniform ones. Both run by turns in one process with one thread; times are processor time, the ratio is the
  median over rounds. The histograms must agree but for ties, which floating point breaks as it likes.
- Data set: every hand-crafted method as registered represents clips of 60 frames of 224x224, PNG files that are read
  and decoded as part of it, on workers with one thread each. Every clip differs from all others in a pixel, so that no
  flow comes from the cache. Seconds a clip are processor time, their median; minutes are projected to 442 clips, and
  measured where --clips says 442. Memory (Linux) is the largest that a worker ever had, packages included, and how much
  of that came after its first clip. Sparse MDMO then learns a dictionary from these arrays, repeated with noise up to
  442 clips, and codes them, in one process.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np
import skimage
from joblib.externals.loky import get_reusable_executor
from skimage.feature import local_binary_pattern

from microexpr import methods
from microexpr.datasets._face import Identity
from microexpr.datasets._render import Movement, RenderedFrames
from microexpr.evaluation import record
from microexpr.kernels import lbp
from microexpr.methods import sparse_mdmo
from microexpr.types import Clip

LENGTH, APEX = 60, 28  # frames of a clip, the number of its apex
RADIUS, NEIGHBORS, BLOCKS = 3, 8, 8
WHOLE_SET = 442  # clips of the composite set 3DB
WORKERS = 2
HAND_CRAFTED = ("lbp-top", "bi-woof", "mdmo", "sparse-mdmo")
SHOWN = (("12",), ("1", "2"), ("4", "9", "10"), ("15", "17"))  # action units of the clips, by turns


def rendered(number: int, crop: bool = True) -> RenderedFrames:
    """A clip of 60 frames, onset to offset: 224x224 face crops, or frames of 640x480."""
    movement = Movement(0, APEX, LENGTH - 1, SHOWN[number % len(SHOWN)], 2.0)
    return RenderedFrames(LENGTH, (movement,), Identity((0, number)), (0, number), crop=crop)


# --- LBP-TOP ---


def scikit_image_loop(volume: np.ndarray) -> np.ndarray:
    """LBP-TOP histograms of a gray volume "time h w" as a loop over slices: "block 3 x 59"."""
    frames, height, width = volume.shape
    inner = slice(RADIUS, -RADIUS)
    table = lbp.bins_of_codes(NEIGHBORS, "uniform").astype(np.int64)
    bins, blocks = int(table.max()) + 1, BLOCKS**2
    row, column = (_block_numbers(length - 2 * RADIUS) for length in (height, width))
    counts = np.zeros((3, blocks * bins), np.int64)

    def count(plane: int, picture: np.ndarray, block: np.ndarray) -> None:
        codes = local_binary_pattern(np.ascontiguousarray(picture), NEIGHBORS, RADIUS, "default")[inner, inner]
        numbers = block * bins + table[codes.astype(np.int64)]
        counts[plane] += np.bincount(numbers.ravel(), minlength=blocks * bins)

    for t in range(RADIUS, frames - RADIUS):
        count(0, volume[t], row[:, None] * BLOCKS + column)
    for y in range(RADIUS, height - RADIUS):
        count(1, volume[:, y], row[y - RADIUS] * BLOCKS + column)
    for x in range(RADIUS, width - RADIUS):
        count(2, volume[:, :, x], row * BLOCKS + column[x - RADIUS])
    found = counts.reshape(3, blocks, bins)
    return (found / found.sum(axis=2, keepdims=True)).transpose(1, 0, 2).reshape(blocks, 3 * bins)


def _block_numbers(length: int) -> np.ndarray:
    """The block of every pixel of an axis."""
    return np.repeat(np.arange(BLOCKS), np.diff(lbp.spans(length, BLOCKS, 0.0), axis=1)[:, 0])


def ours(volume: np.ndarray) -> np.ndarray:
    sizes: Any = {"blocks": (BLOCKS, BLOCKS, 1), "neighbors": (NEIGHBORS,) * 3, "radii": (RADIUS,) * 3}
    found = lbp.histograms(volume, overlap=0.0, coding="uniform", **sizes)
    return found.reshape(BLOCKS**2, -1)


def timed(function: Callable[[np.ndarray], np.ndarray], volume: np.ndarray) -> tuple[np.ndarray, float]:
    """The answer and seconds of processor time: other work on the machine would make the slow one look slower."""
    start = time.process_time()
    answer = function(volume)
    return answer, time.process_time() - start


def lbp_rows(crop: bool, rounds: int) -> list[dict]:
    """Milliseconds of both, their ratio, and how far apart the histograms are."""
    frames = rendered(0, crop)
    volume = np.stack([cv2.cvtColor(frames.read(number), cv2.COLOR_RGB2GRAY) for number in range(LENGTH)])
    size = f"{LENGTH} frames of {volume.shape[2]}x{volume.shape[1]}"
    ours(volume[:, :64, :64])  # compiles
    slow, fast, apart = [], [], 0.0
    for number in range(rounds):
        loop, seconds = timed(scikit_image_loop, volume)
        # A fast function is timed several times in a row, so that one interruption does not make its time.
        runs = [timed(ours, volume) for _ in range(5)]
        slow.append(seconds)
        fast.append(statistics.median(run[1] for run in runs))
        apart = float(np.abs(runs[0][0] - loop).reshape(BLOCKS**2, 3, -1).sum(2).mean() / 2)
        print(f"LBP-TOP, {size}, round {number + 1}: {slow[-1]:.3f} s against {fast[-1]:.4f} s", flush=True)
    assert apart < 0.02, f"histograms differ by {apart:.2%} of their pixels"
    ratio = statistics.median(loop / own for loop, own in zip(slow, fast, strict=True))
    version = skimage.__version__
    return [
        {
            "what": f"LBP-TOP, {size}, loop over scikit-image {version}, ms",
            "value": 1e3 * statistics.median(slow),
        },
        {"what": f"LBP-TOP, {size}, microexpr, ms", "value": 1e3 * statistics.median(fast)},
        {"what": f"LBP-TOP, {size}, times faster, median over rounds", "value": ratio},
        {"what": f"LBP-TOP, {size}, pixels in another bin, percent", "value": 100 * apart},
    ]


# --- a whole data set ---


@dataclass(frozen=True)
class Folder:
    """The frames of a clip as PNG files, with two pixels that hold the clip's number."""

    folder: Path
    number: int

    def __len__(self) -> int:
        return LENGTH

    def read(self, number: int) -> np.ndarray:
        picture = cv2.imread(str(self.folder / f"{number:04d}.png"))[..., ::-1].copy()
        picture[0, :2] = np.array(divmod(self.number, 256))[:, None]
        return picture


def written(root: Path, distinct: int) -> list[Path]:
    """Folders of rendered clips."""
    folders = []
    for number in range(distinct):
        frames, folder = rendered(number), root / f"clip{number}"
        folder.mkdir()
        for index in range(LENGTH):
            cv2.imwrite(str(folder / f"{index:04d}.png"), frames.read(index)[..., ::-1])
        folders.append(folder)
    return folders


def extract(method: Any, clip: Clip) -> tuple[int, float, float, np.ndarray]:
    """Represents a clip: (worker, seconds of processor time, its largest memory so far in MiB, the array)."""
    cv2.setNumThreads(1)
    start = time.process_time()
    array = method.represent(clip)
    seconds = time.process_time() - start
    return os.getpid(), seconds, largest_memory(), array


def largest_memory() -> float:
    """What this process ever had, MiB. The maximum of `resource` would be that of the process that started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def set_rows(name: str, folders: list[Path], clips: int) -> list[dict]:
    """Seconds a clip, minutes for the whole set, and memory of a worker."""
    method = methods.create(name)
    made = [
        Clip(f"rendered/{number}", "rendered", f"rendered/{number}", "", 0, APEX, LENGTH - 1, 200.0, frames=frames)
        for number, frames in ((number, Folder(folders[number % len(folders)], number)) for number in range(clips))
    ]
    warm = Folder(folders[0], clips)  # compiles, in this process; the workers read the compiled code from its files
    extract(method, Clip("rendered/warm", "rendered", "warm", "", 0, APEX, LENGTH - 1, 200.0, frames=warm))
    start = time.perf_counter()
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        found = joblib.Parallel(n_jobs=WORKERS, batch_size=1)(joblib.delayed(extract)(method, clip) for clip in made)
    wall = time.perf_counter() - start
    get_reusable_executor().shutdown(wait=True)  # the next method has workers of its own
    peaks: dict[int, list[float]] = {}
    seconds = []
    for worker, spent, memory, _ in found:
        if worker in peaks or clips <= WORKERS:  # the first clip of a worker loads packages and compiled code
            seconds.append(spent)
        peaks.setdefault(worker, []).append(memory)
    typical = statistics.median(seconds)
    peak = max(max(memory) for memory in peaks.values())
    grown = max(max(memory) - memory[0] for memory in peaks.values())
    about = f"{name}, {LENGTH} frames of 224x224, {found[0][3].size} numbers a clip"
    print(f"{about}: {typical:.3f} s a clip, {peak:.0f} MiB, {grown:.1f} of them after the first clip", flush=True)
    rows = [
        {"what": f"{about}, seconds a clip on one core", "value": typical},
        {
            "what": f"{about}, minutes for {WHOLE_SET} clips on {WORKERS} cores, projected",
            "value": WHOLE_SET * typical / WORKERS / 60,
        },
        {"what": f"{about}, largest memory of a worker, MiB", "value": peak},
        {"what": f"{about}, of it after the first of {clips} clips, MiB", "value": grown},
    ]
    if clips >= WHOLE_SET:
        rows.append(
            {"what": f"{about}, minutes for {clips} clips on {WORKERS} cores, measured, wall time", "value": wall / 60}
        )
    if name == "sparse-mdmo":
        rows.append(coded(method, np.stack([array for *_, array in found])))
    return rows


def coded(method: Any, x: np.ndarray) -> dict:
    """Seconds for a dictionary from the atoms of a whole set and the pooled codes of its clips."""
    noise = 0.02 * np.random.default_rng(0).standard_normal((WHOLE_SET, *x.shape[1:]), dtype=np.float32)
    clips = np.resize(x, noise.shape) + noise
    coder, words = sparse_mdmo.Coder(np.zeros((0, x.shape[2])), method.beta), max(sparse_mdmo.WORDS)
    coder.learned(coder.prepared(clips[0]), 2, 1, 0).pooled([coder.prepared(clips[0])])  # compiles
    start = time.process_time()
    learned = coder.learned(coder.prepared(np.concatenate(list(clips))), words, method.iterations, 0)
    learned.pooled([coder.prepared(atoms) for atoms in clips])
    what = f"sparse-mdmo, {words} words from the atoms of {WHOLE_SET} clips, and their codes, seconds"
    return {"what": what, "value": time.process_time() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="of LBP-TOP against the loop")
    parser.add_argument("--large", action="store_true", help="LBP-TOP also on frames of 640x480")
    parser.add_argument("--clips", type=int, default=8, help=f"of the data set; {WHOLE_SET} measures a whole one")
    parser.add_argument("--methods", nargs="+", default=HAND_CRAFTED, choices=HAND_CRAFTED)
    parser.add_argument("--quick", action="store_true", help="two rounds, four clips, 224x224 only")
    parser.add_argument("--out", type=Path, help="CSV; rows in it that say something else stay")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rounds, clips = (2, 4) if options.quick else (options.rounds, options.clips)
    rows = lbp_rows(True, rounds)
    if options.large and not options.quick:
        rows += lbp_rows(False, rounds)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MICROEXPR_CACHE"] = str(Path(folder) / "cache")
        folders = written(Path(folder), min(clips, len(SHOWN)))
        for name in options.methods:
            rows += set_rows(name, folders, clips)
    machine = record.machine()
    versions = f"numba {record.versions()['numba']}, OpenCV {cv2.__version__}, Python {platform.python_version()}"
    about = f"{machine['processor']}, {machine['cores']} cores; {versions}"
    for row in rows:
        print(f"{row['value']:9.3f}  {row['what']}")
    print(about)
    if options.out:
        write(options.out, [{**row, "value": f"{row['value']:.4g}", "machine": about} for row in rows])


def write(out: Path, rows: list[dict]) -> None:
    """Adds rows to a CSV; one that says the same thing is replaced."""
    new, kept = {row["what"] for row in rows}, []
    if out.is_file():
        with out.open(newline="") as stream:
            kept = [row for row in csv.DictReader(stream) if row["what"] not in new]
    with out.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["what", "value", "machine"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept + rows)


if __name__ == "__main__":
    main()
