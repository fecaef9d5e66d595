"""The weights that ship with the package: nested cross-validation, final training, calibration, files and cards.

    nice -n 10 python benchmarks/weights.py --root MAPS [--jobs 2] [--runs runs/weights] [--out results/FILE.csv]

Data: the 442 published maps of 3DB. Splits are by subject throughout.

- Figures: five outer folds, three seeds. In each outer fold every candidate is trained with seed 0 on about four of
  five training subjects and watched on the rest (`evaluation.selection.held_back`) after every epoch. The candidate
  and epoch with the smallest mean negative log likelihood there are trained again on the whole outer training fold
  with each seed, and answer the outer test fold. So nothing is chosen on a test fold.
- Shipped weights: the candidate and epoch with the smallest mean negative log likelihood over the held-back clips of
  all five folds, none of whose subjects the judging model has seen; trained on all 442 clips with seed 0.
- Temperature: fitted on the answers of the nested cross-validation, and used only if it lowers their mean negative log
  likelihood when every fold is given the temperature of the other four; else it is 1. That is a choice between two on
  the answers that the figures come from, so the figures of the same choice made inside every fold are told as well.
- Threshold: fitted on the same answers, with the temperature that is used. What share is answered, and right, is that
  of every fold with the threshold (and the temperature, if any) of the other four.

Every training is a file of its own in --runs, so a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from weights_figures import Choice, Data, Studied, write

from microexpr import api, methods
from microexpr.evaluation import protocols, record, results, selection
from microexpr.motion.files import replace_file

FOLDS, SEEDS = 5, 3
SMALLEST = 1e-6  # a probability of 0 counts as this in a log likelihood
# a network's epochs are the most it may have
CANDIDATES: dict[str, list[dict[str, Any]]] = {
    "flow-linear": [
        {"epochs": epochs, "weight_decay": decay, "mixup": mixup, "balance": balance}
        for epochs, decay, mixup, balance in product((40, 120), (1e-3, 3e-3, 1e-2, 3e-2), (0.0, 0.4), (True, False))
    ],
    "mjfn": [{"epochs": 30}, {"representation": "uvs", "augmentation": "mirror-shift", "epochs": 24}],
}


@dataclass(frozen=True)
class Job:
    """One training: of these rows, watched on those after every epoch or the last; with none to watch, for weights."""

    method: str
    settings: dict[str, Any]
    train: tuple[int, ...]
    watch: tuple[int, ...] = ()
    traced: bool = True

    def file(self, data: Data, runs: Path) -> Path:
        described = [
            self.method,
            self.settings,
            self.train,
            self.watch,
            data.digest,
            *([] if self.traced else ["last"]),
        ]
        return runs / f"{self.method}-{results.digest(described)}.npz"


def trained(job: Job, x: np.ndarray, data: Data, file: Path) -> float:
    """Trains, and writes "trace" ("epoch watched class"; one epoch where only the last is known) or the weights.

    Returns:
        Seconds it took.
    """
    start = time.perf_counter()
    method: Any = methods.create(job.method, **job.settings)
    train, watch = np.array(job.train), np.array(job.watch, dtype=int)
    fold = x[train], data.y[train], [data.subjects[row] for row in train]
    if not job.watch:
        kept = method.fit(*fold).weights()
    elif job.traced and hasattr(method, "trace"):
        kept = {"trace": method.trace(*fold, x[watch])}
    else:
        kept = {"trace": method.fit(*fold).predict_proba(x[watch])[None]}
    content = io.BytesIO()
    np.savez(content, **kept)
    replace_file(file, content.getvalue())
    return time.perf_counter() - start


class Study:
    """Runs jobs once and keeps what clips look like to a candidate."""

    def __init__(self, data: Data, runs: Path, jobs: int) -> None:
        self.data, self.runs, self.workers = data, runs, jobs
        self.represented: dict[tuple[Any, ...], np.ndarray] = {}

    def x(self, name: str, settings: dict[str, Any]) -> np.ndarray:
        seen = (name, settings.get("representation"), settings.get("augmentation"))
        if seen not in self.represented:
            method = methods.create(name, **settings)
            self.represented[seen] = np.stack([method.represent(clip) for clip in self.data.clips])
        return self.represented[seen]

    def run(self, jobs: Sequence[Job]) -> None:
        """Does the jobs that have no file yet."""
        missing = {job.file(self.data, self.runs): job for job in jobs}
        missing = {file: job for file, job in missing.items() if not file.is_file()}
        parallel = joblib.Parallel(n_jobs=self.workers, return_as="generator_unordered")
        done = parallel(
            joblib.delayed(trained)(job, self.x(job.method, job.settings), self.data, file)
            for file, job in missing.items()
        )
        for number, seconds in enumerate(done, start=1):
            print(f"{time.strftime('%H:%M:%S')} {number} of {len(missing)} trainings, {seconds:.1f} s", flush=True)

    def read(self, job: Job) -> dict[str, np.ndarray]:
        with np.load(job.file(self.data, self.runs)) as stored:
            return dict(stored)


def losses(trace: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Negative log likelihood of every watched clip after every epoch, "epoch clip"."""
    return -np.log(np.maximum(trace[:, np.arange(len(y)), y], SMALLEST))


def best(found: Sequence[tuple[dict[str, Any], np.ndarray]]) -> Choice:
    """The candidate and epoch with the smallest mean loss, given "epoch clip" of each candidate."""
    means = [(settings, loss.mean(axis=1)) for settings, loss in found]
    choices = [
        Choice(settings, -1 if len(mean) == 1 else int(mean.argmin()), float(mean.min())) for settings, mean in means
    ]
    return min(choices, key=lambda choice: choice.loss)


@dataclass(frozen=True)
class Fold:
    """Rows of an outer fold, and of the inner split of its training rows."""

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]
    kept: tuple[int, ...]
    held: tuple[int, ...]


def outer_folds(data: Data) -> list[Fold]:
    made = []
    for fold in protocols.folds(data.clips, protocols.megc("subject-k-fold", FOLDS)):
        train = np.array(fold.train)
        held = selection.held_back(data.y[train], [data.subjects[row] for row in train])
        kept = np.setdiff1d(np.arange(len(train)), held)
        rows = (tuple(train[kept].tolist()), tuple(train[held].tolist()))
        made.append(Fold(fold.name, fold.train, fold.test, *rows))
    return made


def study_of(name: str, study: Study) -> Studied:
    """The nested cross-validation of a method, and its weights trained on all clips."""
    data, folds, candidates = study.data, outer_folds(study.data), CANDIDATES[name]
    inner = {(n, fold): Job(name, c, fold.kept, fold.held) for n, c in enumerate(candidates) for fold in folds}
    study.run(list(inner.values()))
    seen = {
        (n, fold): losses(study.read(job)["trace"], data.y[np.array(job.watch)]) for (n, fold), job in inner.items()
    }
    choices = {fold: best([(c, seen[n, fold]) for n, c in enumerate(candidates)]) for fold in folds}
    final = best([(c, np.concatenate([seen[n, fold] for fold in folds], axis=1)) for n, c in enumerate(candidates)])

    refits = {
        (fold, seed): Job(name, choices[fold].refit(seed), fold.train, fold.test, traced=False)
        for fold in folds
        for seed in range(SEEDS)
    }
    last = Job(name, final.refit(0), tuple(range(len(data.y))))
    study.run([last, *refits.values()])
    answers = np.zeros((SEEDS, len(data.y), len(data.classes)))
    fold_of = np.zeros(len(data.y), dtype=int)
    for (fold, seed), job in refits.items():
        answers[seed, np.array(fold.test)] = study.read(job)["trace"][-1]
        fold_of[np.array(fold.test)] = folds.index(fold)

    fitted: Any = methods.create(name, **last.settings)
    fitted.load_weights(study.read(last))
    return Studied(name, fitted, study.x(name, final.settings), fold_of, answers, list(choices.values()), final)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="folder of the published maps")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes of one thread each")
    parser.add_argument("--runs", type=Path, default=Path("runs/weights"))
    parser.add_argument("--out", type=Path, default=Path("results/weights.csv"), help="the CSV with all figures")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    source = api.load("megc2019-flow", options.root)
    protocol = protocols.megc()
    labelled = protocols.label(source.clips, protocol)
    data = Data(
        source.name,
        labelled.clips,
        labelled.labels,
        [clip.subject for clip in labelled.clips],
        np.array([clip.dataset for clip in labelled.clips]),
        protocol.classes,
        record.data_digest(labelled.clips),
    )
    study = Study(data, options.runs, options.jobs)
    write([study_of(name, study) for name in CANDIDATES], data, "python benchmarks/weights.py", options.out)


if __name__ == "__main__":
    main()
