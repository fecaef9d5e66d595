"""Folds -> workers -> one file per fold. Interrupted runs go on where they stopped.

The runner sees only the `Method` protocol. `fit` is handed a fold's training rows and nothing else; the test rows are
touched when it has returned, so no method can look at a test row while it learns.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import hashlib
import json
import os
import platform
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import microexpr
from microexpr.errors import BadInput, FoldFailed, MicroexprError, RunMismatch
from microexpr.evaluation import protocols, results
from microexpr.types import Clip, Dataset, Fold, Method, Protocol

_WATCH = "microexpr-watch"  # thread of a worker that looks after its parent

# step, done, total: how far a run is
Progress = Callable[[str, int, int], None]


def evaluate(
    method: Method,
    dataset: Dataset,
    protocol: Protocol,
    *,
    name: str,
    settings: dict[str, Any],
    runs: Path,
    select: str = "last",
    jobs: int = 1,
    command: str = "",
    progress: Progress | None = None,
) -> Path:
    """Runs or resumes one evaluation.

    Args:
        method: unfitted; its seed is the run's seed.
        name, settings: the method as registered and its settings, for the record.
        runs: folder of run folders.
        jobs: worker processes; each works on one fold at a time.

    Returns:
        The run folder. Folds that had a file were not computed again.

    Raises:
        BadInput: the method needs what the clips do not carry, or the protocol can't split them.
        RunMismatch: the folder was begun by another version.
        FoldFailed: some folds failed; the others are finished and kept.
    """
    labelled = protocols.label(dataset.clips, protocol)
    clips = labelled.clips
    check_classes(method, name, protocol)
    check_needs(method, name, clips, dataset.name)
    folds = protocols.folds(clips, protocol)
    info = _describe(method, dataset, protocol, clips, folds, name, settings, select, command)
    folder = runs / info["name"]
    begun_before = (folder / "run.json").is_file()
    info = _open(folder, info)
    waiting = [fold for fold in folds if not _finished(folder, fold, info)]
    if waiting:
        _check_versions(folder, info)
        try:
            x = represent(method, clips, jobs, progress)
        except BaseException:
            if not begun_before:  # a clip that can't be represented leaves no empty run behind
                (folder / "run.json").unlink()
                folder.rmdir()
            raise
        # Absolute: a worker that was started earlier may stand in another folder.
        _run_folds(method, x, labelled, waiting, folder.absolute(), info, jobs, progress)
    return folder


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
    for clip in clips:
        if lacking := method.needs - clip.carries:
            raise BadInput(
                f"clips that carry {', '.join(sorted(method.needs))} for {name}",
                f"{', '.join(sorted(clip.carries)) or 'nothing'} only in {dataset} "
                f"({clip.key} lacks {', '.join(sorted(lacking))})",
                "choose a method that works on these clips or a data set with frames",
            )


def represent(method: Method, clips: Sequence[Clip], jobs: int, progress: Progress | None = None) -> np.ndarray:
    """Every clip once through the method's pure `represent`; "clip ..." in the order of the clips.

    What names the class of a clip is taken off it first, and a copy of the method does the work: neither the answer
    nor anything that `represent` remembers can reach `fit`.
    """
    copied = copy.deepcopy(method)
    calls = [(_represent, (copied, clip, f"clip-{number:05d}")) for number, clip in enumerate(clips)]
    return np.stack(_parallel(jobs, calls, "represent clips", progress))


def _represent(method: Method, clip: Clip, name: str) -> np.ndarray:
    blind = dataclasses.replace(clip, key=name, subject="", emotion="", action_units=())
    try:
        return method.represent(blind)
    except MicroexprError as error:
        raise MicroexprError(str(error).replace(name, clip.key)) from error


def _parallel(
    jobs: int, calls: Sequence[tuple[Callable[..., Any], tuple]], step: str, progress: Progress | None
) -> list[Any]:
    """Results in order of the calls; local processes with one thread each, or this process for one job."""
    import joblib

    if progress:
        progress(step, 0, len(calls))
    gathered = []
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        for result in joblib.Parallel(n_jobs=jobs, return_as="generator")(
            joblib.delayed(_in_worker)(os.getpid(), call, given) for call, given in calls
        ):
            gathered.append(result)
            if progress:
                progress(step, len(gathered), len(calls))
    return gathered


def _in_worker(parent: int, call: Callable[..., Any], given: tuple) -> Any:
    """Runs a call; a worker whose parent is gone (kill -9) follows it instead of waiting for work forever."""
    watching = any(thread.name == _WATCH for thread in threading.enumerate())
    if os.getpid() != parent and os.getppid() == parent and not watching:
        threading.Thread(target=_follow, args=(parent,), name=_WATCH, daemon=True).start()
    return call(*given)


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)  # what is finished lies in its file; nothing is left to clean up


def _run_folds(
    method: Method,
    x: np.ndarray,
    labelled: protocols.Labelled,
    folds: Sequence[Fold],
    folder: Path,
    info: dict[str, Any],
    jobs: int,
    progress: Progress | None,
) -> None:
    subjects = [clip.subject for clip in labelled.clips]
    names = [(clip.key, clip.dataset, clip.subject) for clip in labelled.clips]
    calls = [
        (_run_fold, (method, x, labelled.labels, subjects, names, fold, folder, info["classes"])) for fold in folds
    ]
    failures = [failure for failure in _parallel(jobs, calls, "train folds", progress) if failure]
    if failures:
        raise FoldFailed(
            f"{len(failures)} of {len(folds)} folds failed, the finished ones are kept; first: {failures[0]}"
        )


def _run_fold(
    method: Method,
    x: np.ndarray,
    y: np.ndarray,
    subjects: Sequence[str],
    names: Sequence[tuple[str, str, str]],
    fold: Fold,
    folder: Path,
    classes: Sequence[str],
) -> str | None:
    """One fold from training rows to its file; returns what went wrong, so that the other folds go on."""
    train, test = list(fold.train), list(fold.test)
    try:
        fitted = copy.deepcopy(method).fit(x[train], y[train], [subjects[row] for row in train])
        probabilities = np.asarray(fitted.predict_proba(x[test]), dtype=np.float64)
        _check_probabilities(probabilities, (len(test), len(classes)))
    except MicroexprError as error:
        return f"{fold.name}: {error}"
    except Exception as error:  # a method's own fault: reported with its fold, never swallowed
        return f"{fold.name}: {type(error).__name__}: {error}"
    rows = []
    for row, given in zip(test, probabilities, strict=True):
        rows.append(
            {
                **dict(zip(("clip", "dataset", "subject"), names[row], strict=True)),
                "truth": classes[y[row]],
                "predicted": classes[int(given.argmax())],
                **{f"probability_{name}": f"{value:.6f}" for name, value in zip(classes, given, strict=True)},
            }
        )
    results.write_fold(folder, fold.name, classes, rows)
    return None


def _check_probabilities(probabilities: np.ndarray, shape: tuple[int, int]) -> None:
    if probabilities.shape != shape:
        raise BadInput(f"probabilities of shape {shape}", str(probabilities.shape), "mend the method's predict_proba")
    if not np.isfinite(probabilities).all() or not np.allclose(probabilities.sum(1), 1, atol=1e-3):
        raise BadInput("finite probabilities that sum to 1", f"{probabilities[0]}", "mend the method's predict_proba")


def _finished(folder: Path, fold: Fold, info: dict[str, Any]) -> bool:
    try:
        return results.read_fold(folder, fold.name, info["classes"], info["folds"][fold.name]) is not None
    except BadInput as error:
        warnings.warn(f"{error}; that fold is computed again", stacklevel=2)
        return False


def _open(folder: Path, info: dict[str, Any]) -> dict[str, Any]:
    """Begins a run folder, or continues one that asked for the same."""
    if not (folder / "run.json").is_file():
        results.write_text(folder / "run.json", _json(info))
        return info
    begun = results.read_info(folder)
    mine, its = info["versions"]["microexpr"], begun["versions"]["microexpr"]
    if mine != its:
        raise RunMismatch(
            f"expected a run begun by microexpr {mine}, got one of {its} in {folder}; "
            "move that folder away or choose another --runs"
        )
    if begun["asked"] != info["asked"]:
        raise RunMismatch(
            f"expected the run of these settings, got another in {folder}; "
            "move that folder away or choose another --runs"
        )
    return begun


def _check_versions(folder: Path, info: dict[str, Any]) -> None:
    """A run is one experiment: its folds are not mixed from several versions of what the numbers depend on."""
    for package, now in versions().items():
        if (then := info["versions"].get(package)) != now:
            raise RunMismatch(
                f"expected {package} {then}, with which the run in {folder} was begun, got {now}; "
                "install that version, move the folder away or choose another --runs"
            )
    here, there = machine()["processor"], info["machine"]["processor"]
    if here != there and info["settings"].get("precision") == "auto":
        raise RunMismatch(
            f"expected the processor {there}, on which the run in {folder} was begun with precision=auto, got {here}; "
            "set precision to float32 or bfloat16 to work on several machines"
        )


def _describe(
    method: Method,
    dataset: Dataset,
    protocol: Protocol,
    clips: Sequence[Clip],
    folds: Sequence[Fold],
    name: str,
    settings: dict[str, Any],
    select: str,
    command: str,
) -> dict[str, Any]:
    """run.json. What is in ``asked`` decides the numbers and names the folder; the rest is the record."""
    data = {"clips": len(clips), "subjects": len({clip.subject for clip in clips}), "digest": data_digest(clips)}
    asked = {
        "format": results.FORMAT,
        "dataset": dataset.name,
        "part": dataset.part,
        "method": name,
        "settings": settings,
        "protocol": protocol.split,
        "protocol_folds": protocol.folds if protocol.split == "subject-k-fold" else None,
        "classes": list(protocol.classes),
        "select": select,
        "data": data["digest"],
    }
    where = f"{dataset.name}-{dataset.part}" if dataset.part else dataset.name
    return {
        "format": results.FORMAT,
        "name": f"{where}--{name}--{protocol.split}--{results.digest(asked)}",
        "asked": asked,
        "dataset": dataset.name,
        "part": dataset.part,
        "rendered": dataset.rendered,
        "method": name,
        "settings": settings,
        "needs": sorted(method.needs),
        "protocol": protocol.split,
        "classes": list(protocol.classes),
        "select": select,
        "seed": method.seed,
        "data": data,
        "folds": {fold.name: [clips[row].key for row in fold.test] for fold in folds},
        "versions": versions(),
        "machine": machine(),
        "command": command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def data_digest(clips: Sequence[Clip]) -> str:
    """Digest of what was evaluated: annotations and pixels.

    Of a clip with frames the onset and the apex (where there is none, the offset) stand for all: reading every frame
    would cost more than many an evaluation.
    """
    pixels = hashlib.sha256()
    for clip in clips:
        if clip.flow is not None:
            pixels.update(clip.flow.channels.tobytes())
        if clip.frames is not None:
            for number in (clip.onset, clip.offset if clip.apex is None else clip.apex):
                if number is not None:
                    pixels.update(clip.frames.read(number).tobytes())
    annotations = [[c.key, c.dataset, c.subject, c.emotion, c.onset, c.apex, c.offset, c.fps] for c in clips]
    return results.digest([annotations, pixels.hexdigest()])


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on, as far as it is installed."""
    from importlib import metadata

    found = {"microexpr": microexpr.__version__, "python": platform.python_version()}
    for package in ("numpy", "torch", "numba", "opencv-contrib-python-headless", "scikit-learn", "joblib"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The machine in words; no host name."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {"processor": model, "cores": os.cpu_count(), "system": platform.system()}


def _json(info: dict[str, Any]) -> str:
    return json.dumps(info, indent=2, ensure_ascii=False) + "\n"
