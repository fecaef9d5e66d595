"""What a clip pass of training costs: ours against a straightforward PyTorch loop, interleaved in one run.

    python benchmarks/loso.py --root MAPS [--rounds 5] [--out results/loso-<machine>.csv]

- plain: one process, default threads, float32, pictures through a DataLoader (shuffled, batch 12, no workers), the
  network written as the paper's table reads.
- ours: the runner's way, one worker per core with one thread each, each training a fold of its own with `MJFN.fit`.

Cost is wall time over the clip passes of all workers (a clip pass: one clip forward, backward, and its share of Adam).
The machine's load moves both alike; the ratio is the figure. With --uf1 both arithmetics are also evaluated: float32
against bfloat16 on the same folds and seeds, to see whether speed costs accuracy.
"""

from __future__ import annotations

import argparse
import csv
import platform
import statistics
import time
from pathlib import Path

import joblib
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from microexpr import api
from microexpr.evaluation import metrics, protocols, runner
from microexpr.methods.mjfn import MJFN


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(128, 128, 1)
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Flatten(),
            nn.Linear(3200, 256),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(256, 3),
        )

    def forward(self, tapped: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
        return self.layers(self.project(tapped) + top).softmax(1)


class Plain(nn.Module):
    """MJFN as one would write it down from the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 48, 11, 4), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.layer2 = nn.Sequential(nn.Conv2d(48, 128, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.layer3, self.layer4, self.layer5 = (
            nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.ReLU()) for _ in range(3)
        )
        self.classifier = nn.Sequential(
            *(nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(3200, 256), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(256, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 3)),
        )
        self.heads = nn.ModuleList(Head() for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x2 = self.layer2(self.layer1(x))
        x3 = self.layer3(x2)
        x4 = self.layer4(x3)
        x5 = self.layer5(x4)
        total = self.classifier(x5).softmax(1)
        for head, tapped in zip(self.heads, (x4, x3, x2), strict=True):
            total = total + head(tapped, x5)
        return total


def plain_epochs(x: np.ndarray, y: np.ndarray, epochs: int) -> float:
    """Seconds for `epochs` epochs of the plain loop."""
    pictures = torch.from_numpy(x[:, 0]).permute(0, 3, 1, 2).float() / 127.5 - 1
    loader = DataLoader(TensorDataset(pictures, torch.from_numpy(y)), batch_size=12, shuffle=True)
    network = Plain().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    start = time.perf_counter()
    for _ in range(epochs):
        for batch, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(batch), labels).backward()
            optimizer.step()
    return time.perf_counter() - start


def fit(x: np.ndarray, y: np.ndarray, epochs: int) -> None:
    MJFN(epochs=epochs).fit(x, y, [""] * len(y))


def our_epochs(x: np.ndarray, y: np.ndarray, epochs: int, workers: int) -> float:
    """Seconds for `epochs` epochs of one fold on each of `workers` workers at once."""
    start = time.perf_counter()
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        joblib.Parallel(n_jobs=workers)(joblib.delayed(fit)(x, y, epochs) for _ in range(workers))
    return time.perf_counter() - start


def accuracy_rows(data, seeds: int, epochs: int, workers: int) -> list[dict]:
    """UF1 of float32 and bfloat16 on the same folds and seeds."""
    protocol = protocols.megc("subject-k-fold", 4)
    labelled = protocols.label(data.clips, protocol)
    folds = protocols.folds(labelled.clips, protocol)
    x = runner.represent(MJFN(), labelled.clips, workers)
    rows = []
    for seed in range(seeds):
        for precision in ("float32", "bfloat16"):
            predicted = np.empty_like(labelled.labels)
            jobs = [joblib.delayed(_predict)(x, labelled.labels, fold, precision, epochs, seed) for fold in folds]
            with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
                for fold, answer in zip(folds, joblib.Parallel(n_jobs=workers)(jobs), strict=True):
                    predicted[list(fold.test)] = answer
            scores = metrics.scores(labelled.labels, predicted, protocol.classes)
            rows.append({"what": f"UF1 {precision} seed {seed}, {epochs} epochs, 4 subject folds", "value": scores.uf1})
            print(rows[-1], flush=True)
    return rows


def _predict(x, y, fold, precision, epochs, seed) -> np.ndarray:
    method = MJFN(epochs=epochs, precision=precision, seed=seed).fit(x[list(fold.train)], y[list(fold.train)], [])
    return method.predict_proba(x[list(fold.test)]).argmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="the MEGC 2019 flow maps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2, help="epochs of a round")
    parser.add_argument("--uf1", type=int, default=0, metavar="SEEDS", help="also evaluate both arithmetics")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    data = api.load("megc2019-flow", options.root, part="casme2")
    labelled = protocols.label(data.clips, protocols.megc())
    workers = api.available_cores()
    x, y = runner.represent(MJFN(), labelled.clips, workers), labelled.labels
    plain, ours = [], []
    plain_epochs(x[:24], y[:24], 1)
    our_epochs(x[:24], y[:24], 1, workers)  # start the workers
    for number in range(options.rounds):
        passes = len(y) * options.epochs
        plain.append(1e3 * plain_epochs(x, y, options.epochs) / passes)
        ours.append(1e3 * our_epochs(x, y, options.epochs, workers) / (passes * workers))
        print(f"round {number + 1}: plain {plain[-1]:.2f}, ours {ours[-1]:.2f} ms a clip pass", flush=True)
    ratio = statistics.median(mine / other for mine, other in zip(ours, plain, strict=True))
    rows = [
        {
            "what": f"plain float32 loop, DataLoader, {torch.get_num_threads()} threads, ms a clip pass",
            "value": statistics.median(plain),
        },
        {
            "what": f"microexpr, {workers} workers with one thread each, ms a clip pass",
            "value": statistics.median(ours),
        },
        {"what": "ratio, median over rounds", "value": ratio},
    ]
    if options.uf1:
        rows += accuracy_rows(data, options.uf1, 20, workers)
    machine = runner.machine()
    software = f"torch {torch.__version__}, Python {platform.python_version()}"
    about = f"{machine['processor']}, {machine['cores']} cores; {software}"
    for row in rows:
        print(f"{row['value']:8.3f}  {row['what']}")
    print(about)
    if options.out:
        with options.out.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["what", "value", "machine"], lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "value": f"{row['value']:.3f}", "machine": about} for row in rows)


if __name__ == "__main__":
    main()
