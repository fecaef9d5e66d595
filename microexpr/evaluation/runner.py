"""Folds -> workers -> one file per fold. Interrupted runs go on where they stopped.

The runner sees only the `Method` protocol. `fit` is handed a fold's training rows and nothing else; the test rows are
touched when it has returned, so no method can look at a test row while it learns. `trace` is handed the pixels of the
test rows, never their labels, to predict after every epoch.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microexpr.errors import BadInput, FoldFailed, MicroexprError
from microexpr.evaluation import folders, protocols, record, selection, training, workers
from microexpr.types import Clip, Dataset, Frames, Method, Protocol


def evaluate(
    methods: Sequence[Method],
    dataset: Dataset,
    protocol: Protocol,
    *,
    name: str,
    settings: Sequence[dict[str, Any]],
    runs: Path,
    select: Sequence[str] = ("last",),
    jobs: int = 1,
    engine: str = "local",
    stacked: bool = False,
    command: str = "",
    usual: Mapping[str, Any] | None = None,
    weights: record.Weights | None = None,
    begun: record.Begun | None = None,
    progress: workers.Progress | None = None,
) -> list[Path]:
    """Runs or resumes the evaluation of one method: every seed, every selection of the epoch.

    One training of a fold serves all selections.

    Args:
        methods: unfitted, one for each seed.
        name, settings: the method as registered and the settings of each seed, for the record.
        runs: folder of run folders.
        select: of `selection.SELECTIONS`.
        jobs: worker processes; each works on one fold at a time.
        engine: of `workers.ENGINES`.
        stacked: trains all folds and seeds in one job, with the method's `fit_folds`.
        usual: the settings of the registered method when none is asked for; run.json names those that differ.
        weights: of every left-out subject, scored instead of a training.
        begun: what the method has learned before its folds, for the record.

    Returns:
        The run folders: for each seed, each selection. Folds that had a file were not computed again.

    Raises:
        BadInput: the method needs what the clips do not carry, has no epochs to select or no `fit_folds`, or the
            protocol can't split the clips.
        RunMismatch: a folder was begun by another version.
        FoldFailed: some folds failed; the others are finished and kept.
    """
    labelled = protocols.label(dataset.clips, protocol)
    clips = labelled.clips
    first = methods[0]
    check_classes(first, name, protocol)
    check_needs(first, name, clips, dataset.name)
    _check_verbs(first, name, select, stacked)
    if weights is not None:
        _check_scoring(protocol, select, len(methods), stacked)
    folds = protocols.folds(clips, protocol)
    experiment = record.Experiment(
        name, dataset, protocol, clips, folds, stacked, command, usual or {}, weights, begun or record.Begun()
    )
    digest = record.data_digest(clips)
    opened = [
        [folders.open_run(runs, record.describe(experiment, method, chosen, one, digest)) for one in select]
        for method, chosen in zip(methods, settings, strict=True)
    ]
    tasks = [
        training.Task(method, fold, lacking, functools.partial(weights.load, fold.name) if weights else None)
        for method, seed in zip(methods, opened, strict=True)
        for fold in folds
        if (lacking := {run.info["select"]: run.folder for run in seed if not folders.is_finished(run, fold)})
    ]
    everything = [run for seed in opened for run in seed]
    if tasks:
        everything = [run for run in everything if any(run.folder in task.folders.values() for task in tasks)]
        for run in everything:
            folders.check_versions(run)
        x = represent(first, clips, jobs, progress, engine)  # before any folder is made: it may fail
        made = [folders.begin(run) for run in everything]
        names = [(clip.key, clip.dataset, clip.subject) for clip in clips]
        data = training.Data(x, labelled.labels, [clip.subject for clip in clips], names, protocol.classes)
        if not all(made):
            # Another process may be at work on these folders: two that start in different places share the folds.
            tasks = [tasks[number] for number in np.random.default_rng().permutation(len(tasks))]
        failures = _stacked(data, tasks, progress) if stacked else _spread(data, tasks, jobs, engine, progress)
        if failures:
            raise FoldFailed(
                f"{len(failures)} of {len(tasks)} folds failed, the finished ones are kept; first: {failures[0]}"
            )
    return [run.folder for seed in opened for run in seed]


def check_classes(method: Method, name: str, protocol: Protocol) -> None:
    """Raises BadInput where the method does not tell as many classes apart as the protocol has."""
    if method.classes != len(protocol.classes):
        raise BadInput(
            f"a method of {len(protocol.classes)} classes ({', '.join(protocol.classes)})",
            f"classes={method.classes} for {name}",
            "leave the setting classes as it is",
        )


def check_needs(method: Method, name: str, clips: Sequence[Clip], dataset: str) -> None:
    """Raises BadInput where a clip does not carry what the method needs."""
    if found := unsuited(method, name, clips, dataset):
        raise BadInput(*found)


def unsuited(method: Method, name: str, clips: Sequence[Clip], dataset: str) -> tuple[str, str, str] | None:
    """Why a method can't work on clips, as `BadInput` takes it: expected, got, advice; None where it can."""
    for clip in clips:
        if lacking := method.needs - clip.carries:
            carried = f"{', '.join(sorted(clip.carries))} only" if clip.carries else "nothing"
            return (
                f"clips that carry {', '.join(sorted(method.needs))} for {name}",
                f"{carried} in {dataset} ({clip.key} lacks {', '.join(sorted(lacking))})",
                "choose a method that works on these clips or a data set with frames",
            )
    return None


def _check_verbs(method: Method, name: str, select: Sequence[str], stacked: bool) -> None:
    if set(select) - {"last"} and not hasattr(method, "trace"):
        raise BadInput(
            f"a method with epochs to choose from for select {', '.join(select)}",
            f"{name}, which has none",
            "use --select last",
        )
    if stacked and not hasattr(method, "fit_folds"):
        raise BadInput("a method that can train its folds together", name, "leave --stacked out")


def _check_scoring(protocol: Protocol, select: Sequence[str], seeds: int, stacked: bool) -> None:
    """Raises BadInput where something is asked for that weights trained elsewhere can't have."""
    for option, usual, came in (
        ("protocol", "loso", protocol.split),
        ("select", "last", ",".join(select)),
        ("seeds", "1", str(seeds)),
    ):
        if came != usual:
            raise BadInput(f"{option} {usual} with given weights", came, f"leave --{option} out: nothing is trained")
    if stacked:
        raise BadInput("folds one by one with given weights", "stacked ones", "leave --stacked out: nothing is trained")


def represent(
    method: Method, clips: Sequence[Clip], jobs: int, progress: workers.Progress | None = None, engine: str = "local"
) -> np.ndarray:
    """Every clip once through the method's pure `represent`; "clip ..." in the order of the clips.

    What names the class of a clip is taken off it first, and a copy of the method does the work: neither the answer
    nor anything that `represent` remembers can reach `fit`.
    """
    copied = copy.deepcopy(method)
    calls = [(_represent, (copied, clip, f"clip-{number:05d}")) for number, clip in enumerate(clips)]
    return np.stack(workers.run_all(calls, "represent clips", jobs, engine, progress))


@dataclasses.dataclass(frozen=True)
class _Pictures:
    """The frames of a clip and nothing else: the folders of some sets are named by class."""

    _frames: Frames

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, number: int) -> np.ndarray:
        return self._frames.read(number)


def _represent(method: Method, clip: Clip, name: str) -> np.ndarray:
    frames = None if clip.frames is None else _Pictures(clip.frames)
    blind = dataclasses.replace(
        clip, key=name, subject="", emotion="", action_units=(), objective_class=None, frames=frames
    )
    try:
        return method.represent(blind)
    except MicroexprError as error:
        told = str(error).replace(name, clip.key)
        raise MicroexprError(told if clip.key in told else f"{clip.key}: {told}") from error


def _spread(
    data: training.Data, tasks: Sequence[training.Task], jobs: int, engine: str, progress: workers.Progress | None
) -> list[str]:
    """Every task on a worker of its own; returns what went wrong."""
    rest = dataclasses.replace(data, x=data.x[:0])
    calls = [(training.run_task, (data.x, rest, task)) for task in tasks]
    told = workers.run_all(calls, "train folds", jobs, engine, progress)
    return [
        failure or f"{task.fold.name}: its file did not arrive; put --runs where all machines share a folder"
        for task, failure in zip(tasks, told, strict=True)
        if failure or not all(training.has_file(folder, task.fold) for folder in task.folders.values())
    ]


def _stacked(data: training.Data, tasks: Sequence[training.Task], progress: workers.Progress | None) -> list[str]:
    """All tasks in one job of the method's `fit_folds`; returns what went wrong.

    Folds that are stacked end together, and are written then.
    """
    method: Any = tasks[0].method
    seeds = [task.method.seed for task in tasks]
    trains = [np.array(task.fold.train) for task in tasks]
    chosen: dict[int, int] = {}
    failures = []
    inner = [number for number, task in enumerate(tasks) if "inner" in task.folders]
    if inner:
        held = [trains[n][selection.held_back(data.y[trains[n]], [data.subjects[r] for r in trains[n]])] for n in inner]
        kept = [np.setdiff1d(trains[n], rows) for n, rows in zip(inner, held, strict=True)]
        traces = method.fit_folds(data.x, data.y, kept, held, [seeds[n] for n in inner])
        for at, trace in _counted(traces, "choose epochs", len(inner), progress):
            if np.isfinite(trace).all():
                chosen[inner[at]] = selection.inner_epoch(trace, data.y[held[at]])
    tests = [np.array(task.fold.test) for task in tasks]
    traces = method.fit_folds(data.x, data.y, trains, tests, seeds)
    for at, trace in _counted(traces, "train folds", len(tasks), progress):
        task = tasks[at]
        try:
            if not np.isfinite(trace).all() or (at in inner and at not in chosen):
                raise MicroexprError("training diverged: the loss is not finite; lower learning_rate")
            trace = training.sound_trace(trace, len(tests[at]), data)
            select = set(task.folders)
            training.write(data, task, training.answers_of(trace, data.y[tests[at]], chosen.get(at), select), trace)
        except MicroexprError as error:
            failures.append(f"{task.fold.name}: {error}")
    return failures


def _counted(
    traces: Iterator[tuple[int, np.ndarray]], step: str, total: int, progress: workers.Progress | None
) -> Iterator[tuple[int, np.ndarray]]:
    if progress:
        progress(step, 0, total)
    for done, found in enumerate(traces, start=1):
        yield found
        if progress:
            progress(step, done, total)
