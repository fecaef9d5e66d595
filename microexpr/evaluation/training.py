"""One fold from training rows to its files: the training, the choice of the epoch, the answers."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from microexpr.errors import BadInput, MicroexprError
from microexpr.evaluation import results, selection
from microexpr.types import Fold, Method


@dataclass(frozen=True)
class Task:
    """One training to do: a fold of one seed, and the run folders of the selections that lack it.

    Attributes:
        method: unfitted, of this seed.
        fold: its rows.
        folders: selection -> run folder.
        load: gives the fitted method where its weights were trained elsewhere.
    """

    method: Method
    fold: Fold
    folders: dict[str, Path]
    load: Callable[[], Method] | None = None


@dataclass(frozen=True)
class Data:
    """What every task works on: represented clips, class numbers, who shows them, and what a fold file says of them."""

    x: np.ndarray
    y: Int[np.ndarray, " clip"]
    subjects: Sequence[str]
    names: Sequence[tuple[str, str, str]]
    classes: Sequence[str]


# One answer of a task: selection -> (probabilities of the test rows, the epoch that gave them)
Answers = dict[str, tuple[np.ndarray, int | None]]


def has_file(folder: Path, fold: Fold) -> bool:
    """Looked up in the listing: a network file system may remember for a while that a file was not there."""
    file = results.fold_file(folder, fold.name)
    return file.parent.is_dir() and file.name in {other.name for other in file.parent.iterdir()}


def run_task(x: np.ndarray, rest: Data, task: Task) -> str | None:
    """One fold from training rows to its files; returns what went wrong, so that the other folds go on."""
    data = dataclasses.replace(rest, x=x)  # x comes apart: joblib shares a large array between local processes
    folders = {
        one: folder for one, folder in task.folders.items() if not results.fold_file(folder, task.fold.name).is_file()
    }
    if not folders:  # another process was faster
        return None
    try:
        if task.load is None:
            answers, trace = train(data, task.method, task.fold, set(folders))
        else:  # which epoch gave these weights is not known
            answers, trace = {"last": (task.load().predict_proba(x[np.array(task.fold.test)]), None)}, None
        write(data, dataclasses.replace(task, folders=folders), answers, trace)
    except MicroexprError as error:
        return f"{task.fold.name}: {error}"
    except Exception as error:  # a method's own fault: reported with its fold, never swallowed
        return f"{task.fold.name}: {type(error).__name__}: {error}"
    return None


def train(
    data: Data, method: Any, fold: Fold, select: set[str]
) -> tuple[Answers, Float[np.ndarray, "epoch clip class"] | None]:
    """Trains a fold once for all selections; the trace of the test rows where "oracle" is among them."""
    train, test = np.array(fold.train), np.array(fold.test)
    x, y, subjects = data.x[train], data.y[train], [data.subjects[row] for row in train]
    last_epoch = getattr(method, "epochs", None)
    chosen = None
    if "inner" in select:
        held = selection.held_back(y, subjects)
        kept = np.setdiff1d(np.arange(len(y)), held)
        watched = copy.deepcopy(method).trace(x[kept], y[kept], [subjects[row] for row in kept], x[held])
        chosen = selection.inner_epoch(sound_trace(watched, len(held), data), y[held])
    if select <= {"last"}:
        fitted = copy.deepcopy(method).fit(x, y, subjects)
        return {"last": (fitted.predict_proba(data.x[test]), last_epoch)}, None
    if chosen is not None and select == {"inner"}:  # the first epochs of a fit do not depend on how many follow
        fitted = dataclasses.replace(method, epochs=chosen + 1).fit(x, y, subjects)
        return {"inner": (fitted.predict_proba(data.x[test]), chosen + 1)}, None
    trace = sound_trace(copy.deepcopy(method).trace(x, y, subjects, data.x[test]), len(test), data)
    return answers_of(trace, data.y[test], chosen, select), trace if "oracle" in select else None


def answers_of(
    trace: Float[np.ndarray, "epoch clip class"], y: Int[np.ndarray, " clip"], chosen: int | None, select: set[str]
) -> Answers:
    """The answers of the selections out of a trace of the test rows; `y` is used by "oracle" alone."""
    answers: Answers = {}
    if "last" in select:
        answers["last"] = (trace[-1], len(trace))
    if chosen is not None and "inner" in select:
        answers["inner"] = (trace[chosen], chosen + 1)
    if "oracle" in select:
        best = selection.oracle_epoch(trace, y)
        answers["oracle"] = (trace[best], best + 1)
    return answers


def sound_trace(trace: Any, clips: int, data: Data) -> Float[np.ndarray, "epoch clip class"]:
    trace = np.asarray(trace, dtype=np.float64)
    if trace.ndim != 3 or not len(trace):
        raise BadInput("a trace of shape (epochs, clips, classes)", str(trace.shape), "mend the method's trace")
    for probabilities in trace:
        _check_probabilities(probabilities, (clips, len(data.classes)), "trace")
    return trace


def write(data: Data, task: Task, answers: Answers, trace: np.ndarray | None) -> None:
    """Writes the fold's file into the run folder of every selection; a trace goes first: the file says it is done."""
    test = list(task.fold.test)
    for one, folder in task.folders.items():
        probabilities, epoch = answers[one]
        probabilities = np.asarray(probabilities, dtype=np.float64)
        _check_probabilities(probabilities, (len(test), len(data.classes)))
        if one == "oracle" and trace is not None:
            results.write_trace(folder, task.fold.name, trace)
        rows = []
        for row, given in zip(test, probabilities, strict=True):
            rows.append(
                {
                    **dict(zip(("clip", "dataset", "subject"), data.names[row], strict=True)),
                    "truth": data.classes[data.y[row]],
                    "predicted": data.classes[int(given.argmax())],
                    "epoch": "" if epoch is None else epoch,
                    **{f"probability_{name}": f"{p:.6f}" for name, p in zip(data.classes, given, strict=True)},
                }
            )
        results.write_fold(folder, task.fold.name, data.classes, rows)


def _check_probabilities(probabilities: np.ndarray, shape: tuple[int, int], verb: str = "predict_proba") -> None:
    if probabilities.shape != shape:
        raise BadInput(f"probabilities of shape {shape}", str(probabilities.shape), f"mend the method's {verb}")
    if not np.isfinite(probabilities).all() or not np.allclose(probabilities.sum(1), 1, atol=1e-3):
        raise BadInput("finite probabilities that sum to 1", f"{probabilities[0]}", f"mend the method's {verb}")
