"""What a clip pass of training costs: ours against a straightforward PyTorch loop, interleaved in one run.

    python benchmarks/loso.py --root MAPS [--network mjfn] [--rounds 5] [--out results/FILE.csv]

- plain: one process, default threads, float32, pictures through a DataLoader, the network written as the paper's table
  or the authors' code reads, fold after fold.
- workers: the runner's way, one worker per core with one thread each, each training a fold of its own with `fit`.
- stacked: `fit_folds`, several folds in one process with default threads. On a GPU (--device cuda) this is the only way
  that is measured, with the time that the whole protocol takes and how busy the GPU was.

Cost is wall time over the clip passes of all folds (a clip pass: one clip forward, backward, and its share of Adam).
The machine's load moves all alike; the ratio is the figure. With --uf1 both arithmetics of MJFN are also evaluated:
float32 against bfloat16 on the same folds and seeds, to see whether speed costs accuracy.
"""

from __future__ import annotations

import argparse
import csv
import platform
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from microexpr import api, methods
from microexpr.evaluation import metrics, protocols, record, runner
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


class PlainSTSTNet(nn.Module):
    """Three streams of a convolution each, as one would write them down from the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3, filters, 3, padding=2),
                nn.ReLU(),
                nn.BatchNorm2d(filters),
                nn.MaxPool2d(3, 3, padding=1),
                nn.Dropout(),
            )
            for filters in (3, 5, 8)
        )
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(400, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(torch.cat([stream(x) for stream in self.streams], 1)).flatten(1))


class PlainOFFApexNet(nn.Module):
    """A stream for u and one for v."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = (
            nn.Sequential(
                nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5, padding=2), nn.MaxPool2d(2)
            )
            for _ in range(2)
        )
        self.classifier = nn.Sequential(
            *(nn.Flatten(), nn.Linear(1568, 1024), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(1024, 1024), nn.ReLU(), nn.Dropout(), nn.Linear(1024, 3)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.cat([self.u(x[:, :1]), self.v(x[:, 1:])], 1))


class PlainInception(nn.Module):
    """Four paths side by side."""

    def __init__(self, given: int, filters: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(given, filters, 1), nn.ReLU()),
                *(
                    nn.Sequential(
                        *(nn.Conv2d(given, filters, 1), nn.ReLU()),
                        *(nn.Conv2d(filters, filters, size, padding=size // 2), nn.ReLU()),
                    )
                    for size in (3, 5)
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1), nn.Conv2d(given, filters, 1), nn.ReLU()),
            ]
        )
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(torch.cat([path(x) for path in self.paths], 1))


class PlainDualInception(nn.Module):
    """A stream of two blocks for u and one for v."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = (nn.Sequential(PlainInception(1, 6), PlainInception(24, 16)) for _ in range(2))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(6272, 1024), nn.ReLU(), nn.Linear(1024, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.cat([self.u(x[:, :1]), self.v(x[:, 1:])], 1))


def mjfn_pictures(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x[:, 0]).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_they_are(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).float()


# network as one writes it, its input from what our method represents, whether the loader shuffles
PLAIN = {
    "mjfn": (Plain, mjfn_pictures, True),
    "ststnet": (PlainSTSTNet, as_they_are, False),
    "off-apexnet": (PlainOFFApexNet, as_they_are, True),
    "dual-inception": (PlainDualInception, as_they_are, True),
}
# folds that are stacked in the measurement, epochs of a round, and of its stacked part, which is slow on a CPU
MEASURED = {"mjfn": (4, 2, 1), "ststnet": (8, 20, 2), "off-apexnet": (4, 5, 2), "dual-inception": (2, 1, 1)}
FOLDS, CLIPS = 68, 435  # of leave-one-subject-out on 3DB: folds, and training clips of a typical one


def plain_epochs(name: str, method: Any, x: np.ndarray, y: np.ndarray, epochs: int) -> float:
    """Seconds for `epochs` epochs of the plain loop."""
    build, prepare, shuffle = PLAIN[name]
    loader = DataLoader(TensorDataset(prepare(x), torch.from_numpy(y)), batch_size=method.batch_size, shuffle=shuffle)
    network = build().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=method.learning_rate)
    start = time.perf_counter()
    for _ in range(epochs):
        for batch, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(batch), labels).backward()
            optimizer.step()
    return time.perf_counter() - start


def fit(name: str, x: np.ndarray, y: np.ndarray, epochs: int) -> None:
    methods.create(name, epochs=epochs).fit(x, y, [""] * len(y))


def worker_epochs(name: str, x: np.ndarray, y: np.ndarray, epochs: int, workers: int) -> float:
    """Seconds for `epochs` epochs of one fold on each of `workers` workers at once."""
    start = time.perf_counter()
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        joblib.Parallel(n_jobs=workers)(joblib.delayed(fit)(name, x, y, epochs) for _ in range(workers))
    return time.perf_counter() - start


def stacked_epochs(name: str, x: np.ndarray, y: np.ndarray, epochs: int, folds: int, device: str) -> float:
    """Seconds for `epochs` epochs of `folds` folds trained together."""
    method = methods.create(name, epochs=epochs, device=device, threads=torch.get_num_threads())
    rows = [np.arange(len(y))] * folds
    start = time.perf_counter()
    list(method.fit_folds(x, y, rows, [row[:6] for row in rows], range(folds)))
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


def cpu_rows(name: str, x: np.ndarray, y: np.ndarray, rounds: int, workers: int) -> list[dict]:
    """Milliseconds a clip pass of the three ways, interleaved, and the ratios."""
    method, (folds, epochs, fewer) = methods.create(name), MEASURED[name]
    plain_epochs(name, method, x[:24], y[:24], 1)
    worker_epochs(name, x[:24], y[:24], 1, workers)  # start the workers
    stacked_epochs(name, x[:24], y[:24], 1, 2, "cpu")
    plain, spread, stacked = [], [], []
    for number in range(rounds):
        passes = len(y) * epochs
        plain.append(1e3 * plain_epochs(name, method, x, y, epochs) / passes)
        spread.append(1e3 * worker_epochs(name, x, y, epochs, workers) / (passes * workers))
        seconds = stacked_epochs(name, x, y, fewer, folds, "cpu")
        stacked.append(1e3 * seconds / (len(y) * fewer * folds))
        print(f"round {number + 1}: plain {plain[-1]:.4f}, workers {spread[-1]:.4f}, stacked {stacked[-1]:.4f} ms")
    threads = torch.get_num_threads()
    ratio = [
        statistics.median(mine / other for mine, other in zip(ours, plain, strict=True)) for ours in (spread, stacked)
    ]
    protocol = FOLDS * CLIPS * method.epochs * statistics.median(spread) / 3.6e6
    return [
        {
            "what": f"{name}, plain float32 loop, DataLoader, {threads} threads, ms a clip pass",
            "value": statistics.median(plain),
        },
        {"what": f"{name}, {workers} workers with one thread each, ms a clip pass", "value": statistics.median(spread)},
        {
            "what": f"{name}, {folds} folds stacked, {threads} threads, ms a clip pass",
            "value": statistics.median(stacked),
        },
        {"what": f"{name}, workers over plain, median over rounds", "value": ratio[0]},
        {"what": f"{name}, stacked over plain, median over rounds", "value": ratio[1]},
        {"what": f"{name}, hours for {FOLDS} folds of {method.epochs} epochs with workers", "value": protocol},
    ]


def gpu_rows(name: str, x: np.ndarray, y: np.ndarray) -> list[dict]:
    """Minutes of the whole protocol on a GPU, projected from 2 % of its epochs on all of its folds."""
    epochs = max(2, methods.create(name).epochs // 50)
    stacked_epochs(name, x, y, 1, FOLDS, "cuda")
    torch.cuda.synchronize()
    utilization = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            utilization.append(torch.cuda.utilization())

    watcher = threading.Thread(target=watch)
    watcher.start()
    seconds = stacked_epochs(name, x, y, epochs, FOLDS, "cuda")
    done.set()
    watcher.join()
    passes = FOLDS * len(y) * epochs
    minutes = FOLDS * CLIPS * methods.create(name).epochs * seconds / passes / 60
    about = torch.cuda.get_device_name()
    return [
        {"what": f"{name}, {FOLDS} folds stacked on {about}, ms a clip pass", "value": 1e3 * seconds / passes},
        {"what": f"{name}, minutes for the whole protocol on {about}", "value": minutes},
        {
            "what": f"{name}, mean utilization of {about}, percent",
            "value": statistics.mean(utilization or [float("nan")]),
        },
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="the MEGC 2019 flow maps")
    parser.add_argument("--network", default="mjfn", choices=tuple(PLAIN))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--uf1", type=int, default=0, metavar="SEEDS", help="also evaluate both arithmetics of MJFN")
    parser.add_argument("--out", type=Path, help="CSV; the rows of other networks in it stay")
    options = parser.parse_args()
    data = api.load("megc2019-flow", options.root, part="casme2" if options.network == "mjfn" else None)
    labelled = protocols.label(data.clips, protocols.megc())
    workers = api.available_cores()
    x, y = runner.represent(methods.create(options.network), labelled.clips, workers), labelled.labels
    if options.device == "cuda":
        rows = gpu_rows(options.network, x, y)
    else:
        rows = cpu_rows(options.network, x, y, options.rounds, workers)
    if options.uf1:
        rows += accuracy_rows(data, options.uf1, 20, workers)
    machine = record.machine()
    software = f"torch {torch.__version__}, Python {platform.python_version()}"
    about = f"{machine['processor']}, {machine['cores']} cores; {software}"
    for row in rows:
        print(f"{row['value']:8.3f}  {row['what']}")
    print(about)
    if options.out:
        write(options.out, [{**row, "value": f"{row['value']:.4g}", "machine": about} for row in rows])


def write(out: Path, rows: list[dict]) -> None:
    """Adds rows to a CSV; one that says the same thing is replaced."""
    new = {row["what"] for row in rows}
    kept = []
    if out.is_file():
        with out.open(newline="") as stream:
            kept = [row for row in csv.DictReader(stream) if row["what"] not in new]
    with out.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["what", "value", "machine"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept + rows)


if __name__ == "__main__":
    main()
