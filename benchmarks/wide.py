"""In which layers and batches the factored gradient of `methods._wide` gains: a step of one layer against PyTorch's.

    python benchmarks/wide.py [--rounds 3] [--out results/wide-<machine>.csv]

A step: forward, backward and Adam, of random numbers; PyTorch in bfloat16 with its fused Adam. Processor time of one
thread, the two ways in turns; the figure is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from microexpr.evaluation import record
from microexpr.methods import _wide

LAYERS = {(6272, 1024): (3, 4, 5, 8, 16), (4096, 4096): (12,), (9216, 4096): (12, 24)}  # given, out: clips


def stepping(given: int, out: int, clips: int, *, factored: bool) -> Callable[[], None]:
    """A function that takes one step of a new layer."""
    generator = torch.Generator().manual_seed(0)
    layer = _wide.Linear(given, out)
    optimizer = _wide.Adam(layer, 1e-4, clips=0 if factored else None)  # 0: whatever the size of the layer
    x = torch.randn(clips, given, generator=generator).requires_grad_()
    arrived = torch.randn(clips, out, generator=generator)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = layer(x)
        optimizer.zero_grad()
        y.float().backward(arrived)
        optimizer.step()

    return step


def milliseconds(step: Callable[[], None]) -> float:
    """The median of five steps."""
    times = []
    for _ in range(5):
        began = time.process_time()
        step()
        times.append(1000 * (time.process_time() - began))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = f"{record.machine()['processor']}, 1 thread; torch {torch.__version__}"
    rows = []
    for (given, out), batches in LAYERS.items():
        for clips in batches:
            ours, plain = (stepping(given, out, clips, factored=factored) for factored in (True, False))
            ours(), plain()
            pairs = [(milliseconds(ours), milliseconds(plain)) for _ in range(options.rounds)]
            mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(one / two for one, two in pairs)
            figures = {"ours_ms": f"{mine:.3g}", "pytorch_ms": f"{other:.3g}", "ratio": f"{ratio:.2f}"}
            rows.append({"layer": f"{given}x{out}", "clips": clips, **figures, "machine": about})
            print(rows[-1], flush=True)
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
