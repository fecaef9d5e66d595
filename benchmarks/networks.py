"""What every network costs: parameters, and a clip's way through it, on one thread.

    python benchmarks/networks.py [--networks mjfn ststnet] [--rounds 3] [--out results/networks-<machine>.csv]

- represent: one rendered clip to what the network looks at, nothing kept from before; flow by the method's own solver.
- forward: `predict_proba` of one clip, with all views of it that the method averages over.
- training: one picture of a batch, forward, backward and its share of the solver. Two lengths of training are timed and
  subtracted, so that what is done once does not count.
- passes: how many pictures a mean fold of 3DB passes in an epoch, with what its schedule repeats or balances.

Times are those of the processor, of one thread, the least of the rounds, which go round all networks: other work on the
machine can only add to them. Pre-training is left out.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from microexpr import api, methods
from microexpr.evaluation import protocols, record
from microexpr.methods.capsulenet import further_frames

NETWORKS = (
    *("alexnet", "micro-attention", "atnet", "off-apexnet", "ststnet", "dual-inception", "capsulenet"),
    *("neural-recognizer", "mjfn-bbn", "mjfn-avg", "mjfn"),
)
CLIPS = 24  # of a training, or a batch where that is larger
LEAST_SECONDS = 1.0  # that the longer training takes more than the shorter
SHORT = {"epoch_iterations": 4}  # of networks whose epoch has a fixed length: what a picture costs is the same
CLASSES_OF_3DB, SUBJECTS_OF_3DB = (250, 109, 83), 68  # negative, positive, surprise
COLUMNS = ("network", "parameters", "represent", "forward", "training", "passes", "epochs", "machine")


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def passes(method: Any, labels: np.ndarray) -> int:
    """The pictures that an epoch passes."""
    if hasattr(method, "epoch_iterations"):
        return method.epoch_iterations * method.batch_size
    further = 0
    if hasattr(method, "further"):
        taken = further_frames(torch.from_numpy(labels), len(method.further), torch.Generator().manual_seed(0))
        further = int(taken.sum())
    return len(labels) + further


class Network:
    """A network with the clips that it is measured on."""

    def __init__(self, name: str, clips: list, labels: np.ndarray) -> None:
        self.name, self.clips, self.times = name, clips, dict.fromkeys(("represent", "forward", "training"), np.inf)
        self.epochs = methods.create(name).epochs
        self.short = SHORT if hasattr(methods.create(name), "epoch_iterations") else {}
        left = 1.0 if self.short else 1 - 1 / SUBJECTS_OF_3DB  # of the pictures, where a subject is left out
        self.passes = round(left * passes(methods.create(name), np.repeat(np.arange(3), CLASSES_OF_3DB)))
        # The clips are represented once before the clock runs: compiled kernels are loaded then.
        shown = np.stack([methods.create(name).represent(clip) for clip in clips])
        count = max(CLIPS, methods.create(name).batch_size)
        self.rows = np.resize(np.arange(len(clips)), count)
        self.x, self.y = shown[self.rows], labels[self.rows]
        self.trained: Any = self.fit(1)
        self.parameters = sum(one.numel() for one in self.trained.network_.parameters())
        self.longer = 2
        while (each := self._training()) * self._pictures() * (self.longer - 1) < LEAST_SECONDS:
            self.longer = 2 * self.longer + 1
        self.times["training"] = each

    def fit(self, epochs: int) -> Any:
        method = methods.create(self.name, epochs=epochs, **self.short)
        return method.fit(self.x, self.y, [f"subject-{row}" for row in self.rows])

    def measure(self) -> None:
        clip = self.clips[0]
        found = {
            "represent": seconds(lambda: methods.create(self.name).represent(clip)),
            "forward": seconds(lambda: self.trained.predict_proba(self.x[:1])),
            "training": self._training(),
        }
        self.times = {what: min(self.times[what], value) for what, value in found.items()}

    def row(self) -> dict[str, Any]:
        """The figures so far, milliseconds."""
        times = {what: f"{1000 * value:.4g}" for what, value in self.times.items()}
        return {
            **{"network": self.name, "parameters": self.parameters, **times},
            **{"passes": self.passes, "epochs": self.epochs},
        }

    def _training(self) -> float:
        """Seconds for each picture of a batch."""
        short, long = (seconds(lambda epochs=epochs: self.fit(epochs)) for epochs in (1, self.longer))
        return (long - short) / (self.longer - 1) / self._pictures()

    def _pictures(self) -> int:
        return passes(methods.create(self.name, **self.short), self.y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="CSV; rows of other networks in it stay")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    machine = record.machine()
    versions = record.versions()
    about = f"{machine['processor']}, 1 thread; torch {versions['torch']}, Python {versions['python']}"
    data = api.load("synthetic", subjects=4, clips_per_subject=3)
    labelled = protocols.label(data.clips, protocols.megc())
    networks: dict[str, Network] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for name in options.networks:
                os.environ["MICROEXPR_CACHE"] = f"{folder}/{number}-{name}"
                if name not in networks:
                    networks[name] = Network(name, labelled.clips, labelled.labels)
                    os.environ["MICROEXPR_CACHE"] = f"{folder}/{number}-{name}-measured"
                networks[name].measure()
                row = {**networks[name].row(), "machine": about}
                print(" ".join(f"{row[column]!s:>18}" for column in COLUMNS[:-1]), flush=True)
                if options.out:  # at once: a run that is stopped keeps what it has measured
                    write(options.out, [row])
    print(about)


def write(out: Path, rows: list[dict]) -> None:
    """Adds rows to a CSV, in the order of the paper's table; one of the same network is replaced."""
    new = {row["network"]: row for row in rows}
    if out.is_file():
        with out.open(newline="", encoding="utf-8") as stream:
            new = {row["network"]: row for row in csv.DictReader(stream)} | new
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(new.values(), key=lambda row: NETWORKS.index(row["network"])))


if __name__ == "__main__":
    main()
