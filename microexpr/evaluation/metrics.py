"""Confusion matrix, UF1, UAR, accuracy, and intervals that resample people: pure numpy.

Every score is taken from one confusion matrix that pools the predictions of all folds. Rows are the truth, columns
the prediction; this is the whole difference between recall and precision, and the field has confused the two.

References:
    UF1 and UAR: Li, Wei, Wang and Zhou, Computational Visual Media 7(3), 2021, Eqs. 13 and 14; introduced for this
    task by See et al., MEGC 2019. Bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from microexpr.errors import BadInput

Absent = Literal["error", "skip"]


@dataclass(frozen=True)
class Scores:
    """The scores of pooled predictions, all as fractions in [0, 1].

    Attributes:
        uf1: unweighted F1 (Eq. 13).
        uar: unweighted average recall (Eq. 14).
        accuracy: right clips over all clips.
        confusion: clip counts, rows truth, columns prediction.
        recall: per class; NaN for a class that no clip has.
        absent: the classes that no clip has, left out of `uf1` and `uar`; empty unless ``absent="skip"`` was asked.
    """

    uf1: float
    uar: float
    accuracy: float
    confusion: Int[np.ndarray, "class class"]
    recall: Float[np.ndarray, " class"]
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Interval:
    """Percentile intervals over resampled subjects, as fractions.

    Attributes:
        uf1, uar, accuracy: (low, high), or None with fewer than two subjects: one person says nothing about others.
        level: coverage, e.g. .95.
        subjects: how many people were resampled.
        resamples: how often.
        incomplete: resamples in which some class had no clip, scored over the classes present.
    """

    uf1: tuple[float, float] | None
    uar: tuple[float, float] | None
    accuracy: tuple[float, float] | None
    level: float
    subjects: int
    resamples: int
    incomplete: int


@dataclass(frozen=True)
class Difference:
    """UF1 of one method minus UF1 of another on the same clips, as a fraction.

    Attributes:
        uf1: the difference of the point estimates.
        interval: (low, high) over resampled subjects, or None with fewer than two.
        p: two-sided bootstrap p value of "no difference", or None with fewer than two subjects.
    """

    uf1: float
    interval: tuple[float, float] | None
    p: float | None


def confusion(
    truth: Int[np.ndarray, " clip"], predicted: Int[np.ndarray, " clip"], classes: Sequence[str]
) -> Int[np.ndarray, "class class"]:
    """Counts clips by class: row = truth, column = prediction.

    Args:
        truth, predicted: class numbers, 0 to len(classes) - 1.
        classes: names in the order of the numbers.
    """
    _check(truth, predicted, classes)
    size = len(classes)
    return np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)


def unweighted_f1(
    matrix: Int[np.ndarray, "class class"], absent: Absent = "error", classes: Sequence[str] = ()
) -> float:
    """UF1, Eq. 13: the mean over classes of 2 TP / (2 TP + FP + FN), in [0, 1].

    Args:
        matrix: clip counts, rows truth.
        absent: what a class that no clip has means. ``"error"`` raises; ``"skip"`` averages over the classes that
            are present in the truth (clips wrongly given to the absent class still count as missed by their own).
            Never scored as 0 or 1: published code does both and the figure moves by a third.
        classes: names for the error.
    """
    _check_matrix(matrix, absent, classes)
    return float(_uf1(matrix))


def unweighted_average_recall(
    matrix: Int[np.ndarray, "class class"], absent: Absent = "error", classes: Sequence[str] = ()
) -> float:
    """UAR, Eq. 14: the mean over classes of TP / M_c, where M_c is the class's **true** count (its row sum).

    Arguments as in `unweighted_f1`. Dividing by the column sum gives average precision, a slip that tables copy.
    """
    _check_matrix(matrix, absent, classes)
    return float(_uar(matrix))


def accuracy(matrix: Int[np.ndarray, "class class"]) -> float:
    """Right clips over all clips, in [0, 1]."""
    if matrix.sum() == 0:
        raise BadInput("at least one clip", "an empty confusion matrix", "finish at least one fold first")
    return float(_accuracy(matrix))


def scores(
    truth: Int[np.ndarray, " clip"],
    predicted: Int[np.ndarray, " clip"],
    classes: Sequence[str],
    absent: Absent = "error",
) -> Scores:
    """UF1, UAR, accuracy and recall of pooled predictions; `absent` as in `unweighted_f1`."""
    matrix = confusion(truth, predicted, classes)
    counts = matrix.sum(axis=1)
    present = counts > 0
    recall = np.where(present, matrix.diagonal() / np.maximum(counts, 1), np.nan)
    return Scores(
        uf1=unweighted_f1(matrix, absent, classes),
        uar=unweighted_average_recall(matrix, absent, classes),
        accuracy=accuracy(matrix),
        confusion=matrix,
        recall=recall,
        absent=tuple(name for name, here in zip(classes, present, strict=True) if not here),
    )


def epoch_curve(
    truth: Int[np.ndarray, " clip"],
    trace: Float[np.ndarray, "epoch clip class"],
    classes: Sequence[str],
    absent: Absent = "error",
) -> Float[np.ndarray, " epoch"]:
    """UF1 of the pooled predictions after every epoch, the same epoch in all folds.

    Its last value is the honest one, if the number of epochs was set beforehand; its maximum is chosen on the test
    clips. A best epoch per fold leaks more than that maximum does.

    Args:
        truth: class numbers.
        trace: probabilities of every clip after every epoch; of equal top classes the first counts.
        classes: names in the order of the numbers.
        absent: as in `unweighted_f1`.
    """
    epochs, size = len(trace), len(classes)
    if trace.shape[1:] != (len(truth), size):
        shape = f"{trace.shape[1]} clips and {trace.shape[2]} classes"
        raise BadInput(f"a trace of {len(truth)} clips and {size} classes", shape, "read truth and trace of one run")
    predicted = trace.argmax(axis=-1)
    if epochs == 0:
        raise BadInput("a trace of at least one epoch", "none", "evaluate with at least one epoch")
    if not np.isfinite(trace).all():
        raise BadInput("a trace of probabilities", "NaN or infinity", "evaluate again: the run's traces are damaged")
    _check(truth, predicted[0], classes)
    cell = (np.arange(epochs)[:, None] * size + truth) * size + predicted
    matrices = np.bincount(cell.ravel(), minlength=epochs * size * size).reshape(epochs, size, size)
    _check_matrix(matrices[0], absent, classes)  # the truth, and so the row sums, are those of every epoch
    return _uf1(matrices)


def majority(truth: Int[np.ndarray, " clip"], classes: Sequence[str]) -> tuple[str, Scores]:
    """The floor: the most frequent class (the first of equals) and the scores of always answering it."""
    _check(truth, truth, classes)
    most = int(np.bincount(truth, minlength=len(classes)).argmax())
    return classes[most], scores(truth, np.full_like(truth, most), classes, absent="skip")


def bootstrap(
    truth: Int[np.ndarray, " clip"],
    predicted: Int[np.ndarray, "*seed clip"],
    subjects: Sequence[str],
    classes: Sequence[str],
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile intervals of UF1, UAR and accuracy over people.

    Subjects are drawn with replacement, each with all of its clips, because the clips of one face are not
    independent. A resample without any clip of some class is scored over the classes present (``absent="skip"``).

    Args:
        truth: class numbers.
        predicted: class numbers of one run, or of several seeds on the same clips; then the interval is that of the
            mean score over the seeds, so that training noise and the choice of people are not counted twice.
        subjects: who shows each clip.
        classes: names in the order of the numbers.
        resamples: how many draws.
        seed: of the draws; the same seed and subjects give the same draws, whatever the method.
        level: coverage of the interval.
    """
    tables = _subject_tables(truth, predicted, subjects, classes)
    _check_draws(resamples, level)
    people = tables.shape[1]
    if people < 2:
        return Interval(None, None, None, level, people, resamples, 0)
    drawn = _draw(tables, resamples, seed)
    empty = (drawn[0].sum(axis=-1) == 0).any(axis=-1)
    return Interval(
        uf1=_percentiles(_uf1(drawn).mean(axis=0), level),
        uar=_percentiles(_uar(drawn).mean(axis=0), level),
        accuracy=_percentiles(_accuracy(drawn).mean(axis=0), level),
        level=level,
        subjects=people,
        resamples=resamples,
        incomplete=int(empty.sum()),
    )


def paired_difference(
    truth: Int[np.ndarray, " clip"],
    predicted: Int[np.ndarray, "*seed clip"],
    reference: Int[np.ndarray, "*other clip"],
    subjects: Sequence[str],
    classes: Sequence[str],
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """UF1 of `predicted` minus UF1 of `reference`, both on the same resampled people.

    The p value is twice the smaller share of resamples on either side of zero, with one added to both counts so
    that a finite number of draws never claims p = 0 (Davison and Hinkley, Bootstrap Methods, 1997, section 4.2).
    Arguments as in `bootstrap`.
    """
    ours = _subject_tables(truth, predicted, subjects, classes)
    theirs = _subject_tables(truth, reference, subjects, classes)
    _check_draws(resamples, level)
    point = float(_uf1(ours.sum(axis=1)).mean() - _uf1(theirs.sum(axis=1)).mean())
    if ours.shape[1] < 2:
        return Difference(point, None, None)
    delta = _uf1(_draw(ours, resamples, seed)).mean(axis=0) - _uf1(_draw(theirs, resamples, seed)).mean(axis=0)
    tail = min(int((delta <= 0).sum()), int((delta >= 0).sum()))
    return Difference(point, _percentiles(delta, level), min(1.0, 2 * (tail + 1) / (resamples + 1)))


def _uf1(matrix: Int[np.ndarray, "*many class class"]) -> Float[np.ndarray, "*many"]:
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    rows, columns = matrix.sum(axis=-1), matrix.sum(axis=-2)
    return _mean_present(2 * hit / np.maximum(rows + columns, 1), rows > 0)


def _uar(matrix: Int[np.ndarray, "*many class class"]) -> Float[np.ndarray, "*many"]:
    rows = matrix.sum(axis=-1)
    return _mean_present(np.diagonal(matrix, axis1=-2, axis2=-1) / np.maximum(rows, 1), rows > 0)


def _accuracy(matrix: Int[np.ndarray, "*many class class"]) -> Float[np.ndarray, "*many"]:
    return np.asarray(np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1)))


def _mean_present(
    values: Float[np.ndarray, "*many class"], present: Bool[np.ndarray, "*many class"]
) -> Float[np.ndarray, "*many"]:
    return np.asarray((values * present).sum(axis=-1) / present.sum(axis=-1))


def _subject_tables(
    truth: Int[np.ndarray, " clip"],
    predicted: Int[np.ndarray, "*seed clip"],
    subjects: Sequence[str],
    classes: Sequence[str],
) -> Int[np.ndarray, "seeds subject class class"]:
    """One confusion matrix per seed and subject: a resample is then a weighted sum, not a pass over clips."""
    if len(subjects) != len(truth):
        raise BadInput("one subject per clip", f"{len(subjects)} subjects for {len(truth)} clips", "pass both alike")
    runs = predicted.reshape(-1, predicted.shape[-1])
    for run in runs:
        _check(truth, run, classes)
    names, person = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    size = len(classes)
    cell = (person * size + truth) * size + runs
    length = len(names) * size * size
    return np.stack([np.bincount(row, minlength=length).reshape(len(names), size, size) for row in cell])


def _draw(
    tables: Int[np.ndarray, "seeds subject class class"], resamples: int, seed: int
) -> Int[np.ndarray, "seeds resample class class"]:
    """Confusion matrices of resampled subjects; every method sees the same people in the same draw."""
    people = tables.shape[1]
    weights = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=resamples)
    # float64 holds these counts exactly, and its matrix product is the fast one
    drawn = weights.astype(np.float64) @ tables.reshape(len(tables), people, -1).astype(np.float64)
    return np.rint(drawn).astype(np.int64).reshape(len(tables), resamples, *tables.shape[2:])


def _percentiles(values: Float[np.ndarray, " resample"], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> None:
    if len(truth) == 0:
        raise BadInput("at least one clip", "none", "finish at least one fold first")
    if truth.shape != predicted.shape:
        raise BadInput("one prediction per clip", f"{len(predicted)} for {len(truth)} clips", "pass both alike")
    for name, labels in (("truth", truth), ("predicted", predicted)):
        wrong = labels[(labels < 0) | (labels >= len(classes))]
        if wrong.size:
            span = f"class numbers 0 to {len(classes) - 1} ({', '.join(classes)})"
            raise BadInput(span, f"{int(wrong[0])} in {name}", "check the label map")


def _check_matrix(matrix: np.ndarray, absent: Absent, classes: Sequence[str]) -> None:
    counts = matrix.sum(axis=1)
    if counts.sum() == 0:
        raise BadInput("at least one clip", "an empty confusion matrix", "finish at least one fold first")
    if absent == "error" and (counts == 0).any():
        missing = [
            classes[row] if row < len(classes) else f"class {row}" for row in np.flatnonzero(counts == 0).tolist()
        ]
        raise BadInput(
            "clips of every class",
            f"no clip of {', '.join(missing)}",
            "pool all folds first, or ask for absent='skip' (mean over the classes present)",
        )


def _check_draws(resamples: int, level: float) -> None:
    if resamples < 1 or not 0 < level < 1:
        raise BadInput("resamples >= 1 and 0 < level < 1", f"{resamples} and {level}", "e.g. 10000 and 0.95")
