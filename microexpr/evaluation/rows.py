"""Runs as rows of numbers: what the terminal tables, their JSON and the HTML page all show.

Rows know nothing of how they are shown. Scores are fractions here and percent in print; a published figure stays in
percent, as printed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from microexpr.errors import BadInput, UnknownName
from microexpr.evaluation.metrics import Difference, Interval, Scores, bootstrap, majority, paired_difference, scores
from microexpr.evaluation.published import PublishedRow, published

if TYPE_CHECKING:
    from microexpr.evaluation.results import Run

RENDERED = "Rendered data: these figures are no evidence of accuracy on real faces."
NAMES = {"smic": "SMIC", "casme2": "CASME II", "samm": "SAMM"}
SELECT = {
    "last": "last epoch",
    "inner": "epoch chosen on held-back training subjects",
    "oracle": "best test epoch (LEAKS)",
}


@dataclass(frozen=True)
class Row:
    """A run, or its part of one database.

    Attributes:
        name: "all" or the database's printed name.
        clips, subjects: how many.
        scores, interval: of the pooled predictions. A class that no clip of the row has is left out of the means and
            named in ``scores.absent``; every output says so.
        published: the paper's figure for the same clips, if it has one.
    """

    name: str
    clips: int
    subjects: int
    scores: Scores
    interval: Interval
    published: PublishedRow | None


@dataclass(frozen=True)
class CompareRow:
    """The runs of one method with the same settings: one seed or several.

    Attributes:
        method: registered name.
        settings: what tells this row from the others of its method, e.g. ``("epochs=40",)``; empty if nothing does.
        seeds: one per run.
        uf1, uar, accuracy: mean over the seeds.
        spread: standard deviation of (UF1, UAR, accuracy) over the seeds (n - 1), or None for one seed.
        interval: over resampled subjects, of the mean over the seeds.
        published: the paper's figure.
        difference: UF1 minus that of the method compared against, or None.
        leaks: whether the epoch was chosen on the test subjects.
    """

    method: str
    settings: tuple[str, ...]
    seeds: tuple[int, ...]
    uf1: float
    uar: float
    accuracy: float
    spread: tuple[float, float, float] | None
    interval: Interval
    published: PublishedRow | None
    difference: Difference | None
    leaks: bool


def run_rows(run: Run) -> list[Row]:
    """The whole run first, then one row per database where there is more than one."""
    if not run.clips:
        raise BadInput("a run with a finished fold", f"none in {run.folder.name}", "run evaluate again to continue it")
    rows = [_row(run, None)]
    if len(set(run.databases)) > 1:
        rows += [_row(run, database) for database in dict.fromkeys(run.databases)]
    return rows


def _row(run: Run, database: str | None) -> Row:
    keep = np.array([database in (None, name) for name in run.databases])
    subjects = [name for name, kept in zip(run.subjects, keep, strict=True) if kept]
    truth, predicted, classes = run.truth[keep], run.predicted[keep], run.info["classes"]
    return Row(
        name="all" if database is None else NAMES.get(database, database),
        clips=len(truth),
        subjects=len(set(subjects)),
        scores=scores(truth, predicted, classes, absent="skip"),
        interval=bootstrap(truth, predicted, subjects, classes),
        published=_published(run, database),
    )


def _published(run: Run, database: str | None = None) -> PublishedRow | None:
    if run.info["rendered"]:
        return None
    return published(run.info["method"], run.info["dataset"], database or run.info["part"])


def warnings(run: Run) -> list[str]:
    """What a reader must know before any figure of this run, in plain sentences."""
    found = []
    if run.info["rendered"]:
        found.append(RENDERED)
    if run.info["select"] == "oracle":
        found.append(
            "LEAKS: the epoch was chosen on the very subjects it is tested on, so these figures are too high; "
            "use them only beside literature that does the same."
        )
    if len(run.finished) < len(run.folds):
        found.append(
            f"Unfinished: {len(run.finished)} of {len(run.folds)} folds; these figures are of the finished folds only "
            "and can't be compared with published ones. The same command continues the run."
        )
    if run.info["protocol"] != "loso" and _published(run):
        found.append(f"The published figures are leave-one-subject-out; this run is {run.info['protocol']}.")
    return found


def shared_warnings(runs: Sequence[Run]) -> list[str]:
    """The warnings of several runs, each said once, with the methods it is about where it is not about all."""
    about: dict[str, list[str]] = {}
    for run in runs:
        for line in warnings(run):
            about.setdefault(line, []).append(run.info["method"])
    everyone = {run.info["method"] for run in runs}
    return [
        line if set(methods) == everyone else f"{', '.join(dict.fromkeys(methods))}: {line}"
        for line, methods in about.items()
    ]


def notes(rows: Sequence[Row]) -> list[str]:
    """Conventions that touched a row, and what is known about the published figures, each said once."""
    found = []
    for row in rows:
        if row.scores.absent:
            absent = ", ".join(row.scores.absent)
            found.append(f"{row.name}: no clip of {absent}; UF1 and UAR are means over the classes present.")
        if row.interval.uf1 is None:
            found.append(f"{row.name}: one subject: no interval.")
        elif not row.scores.absent and row.interval.incomplete > row.interval.resamples // 100:
            share = 100 * row.interval.incomplete / row.interval.resamples
            found.append(
                f"{row.name}: {share:.0f} % of the resamples lack a class and are scored over the classes present."
            )
    about = {row.name: row.published.note for row in rows if row.published and row.published.note}
    return found + [f"published, {', '.join(names)}: {note}." for note, names in grouped(about).items()]


def grouped(said: Mapping[str, str]) -> dict[str, list[str]]:
    """name -> note turned around: note -> names, so that a note shared by several is said once."""
    found: dict[str, list[str]] = {}
    for name, note in said.items():
        found.setdefault(note, []).append(name)
    return found


def percent(value: float) -> str:
    """A fraction in percent with one decimal; "-" where there is none."""
    return "-" if np.isnan(value) else f"{100 * value:.1f}"


def floor_line(run: Run) -> str:
    """What a method must beat that never looks at a face, and the floors that do, which are runs of their own."""
    name, floor = majority(run.truth, run.info["classes"])
    # Classes drawn with the frequencies p_c: expected F1 and recall of a class are p_c, whose mean is 1 / classes.
    drawn = percent(1 / (len(run.info["classes"]) - len(floor.absent)))
    return (
        f"floors: always {name}, UF1 {percent(floor.uf1)}, UAR {percent(floor.uar)}; drawn by frequency, about {drawn} "
        "both; methods to beat: flow-svm, flow-linear"
    )


def data_name(run: Run) -> str:
    """E.g. ``"megc2019-flow (CASME II)"``."""
    part = run.info["part"]
    return f"{run.info['dataset']} ({NAMES.get(part, part)})" if part else str(run.info["dataset"])


def as_printed(value: float) -> str:
    """A published percentage, rounded half up to our one decimal: 78.85 is 78.9 although no float holds 78.85."""
    return f"{value + 1e-9:.1f}"


def compare_rows(runs: Sequence[Run], against: str | None = None) -> list[CompareRow]:
    """One row per method and settings, in the order given; several seeds become a mean and a standard deviation.

    Args:
        runs: finished on the same clips; anything else is refused, because the figures would not be comparable.
        against: a method among them; every other row then carries the paired difference to it.
    """
    runs = list({run.folder.resolve(): run for run in runs}.values())
    check_comparable(runs)
    groups = by_settings(runs)
    reference = _reference(groups, against)
    return [_compare_row(group, groups, reference) for group in groups]


def by_settings(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in the seed only, together, in the order given."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(_identity(run), sort_keys=True, default=str), []).append(run)
    return list(groups.values())


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuses a table of runs that did not answer the same questions (and rendered beside real data: never)."""
    if not runs:
        raise BadInput("at least one run folder", "none", "give the folders that evaluate wrote")
    first = runs[0]
    for run in runs:
        pair = f"{first.folder.name} and {run.folder.name}"
        if not run.clips:
            raise BadInput(
                "runs with finished folds", f"none in {run.folder.name}", "run evaluate again to continue it"
            )
        if bool(run.info["rendered"]) != bool(first.info["rendered"]):
            raise BadInput("only real or only rendered data in one table", f"both ({pair})", "compare them apart")
        if run.info["data"]["digest"] != first.info["data"]["digest"]:
            raise BadInput(
                "runs on the same data", f"two data digests ({pair})", "evaluate both on one copy of the data"
            )
        if set(run.clips) != set(first.clips):
            counts = f"{len(first.clips)} and {len(run.clips)} clips ({pair})"
            raise BadInput("runs on the same clips", counts, "finish both runs, with one protocol, first")
        same = run.info["classes"] == first.info["classes"]
        if not same or not np.array_equal(_by_clip(run, run.truth), _by_clip(first, first.truth)):
            raise BadInput("runs with the same labels", f"different ones ({pair})", "evaluate both with one label map")
    for group in by_settings(runs):
        seeds = [run.info["seed"] for run in group]
        if repeated := {seed for seed in seeds if seeds.count(seed) > 1}:
            twice = f"seed {min(repeated)} of {group[0].info['method']} twice, in two folders"
            raise BadInput("every seed of a method once", twice, "leave one of the folders out")


def _by_clip(run: Run, values: Int[np.ndarray, " clip"]) -> Int[np.ndarray, " clip"]:
    return values[np.argsort(np.array(run.clips))]


def _identity(run: Run) -> dict[str, Any]:
    """All that makes two runs the same experiment but for the seed."""
    info = run.info
    settings = {name: value for name, value in info["settings"].items() if name != "seed"}
    asked = {name: info[name] for name in ("method", "protocol", "select")}
    return {**asked, "folds": len(run.folds), **settings}


def _reference(groups: Sequence[Sequence[Run]], against: str | None) -> Sequence[Run] | None:
    if against is None:
        return None
    found = [group for group in groups if group[0].info["method"] == against]
    if not found:
        raise UnknownName("compared method", against, sorted({group[0].info["method"] for group in groups}))
    if len(found) > 1:
        raise BadInput(f"one setting of {against} to compare against", str(len(found)), "leave the others out")
    return found[0]


def _compare_row(group: Sequence[Run], groups: Sequence[Sequence[Run]], reference: Sequence[Run] | None) -> CompareRow:
    first = group[0]
    order = np.argsort(np.array(first.clips))
    subjects, classes = [first.subjects[row] for row in order], first.info["classes"]
    truth, predicted = first.truth[order], np.stack([_by_clip(run, run.predicted) for run in group])
    each = [scores(truth, row, classes, absent="skip") for row in predicted]
    values = np.array([(one.uf1, one.uar, one.accuracy) for one in each])
    difference = None
    if reference is not None and reference is not group:
        other = np.stack([_by_clip(run, run.predicted) for run in reference])
        difference = paired_difference(truth, predicted, other, subjects, classes)
    uf1, uar, accuracy = (float(value) for value in values.mean(axis=0))
    spread = values.std(axis=0, ddof=1).tolist() if len(group) > 1 else None
    return CompareRow(
        method=first.info["method"],
        settings=_differing(first, [other[0] for other in groups]),
        seeds=tuple(run.info["seed"] for run in group),
        uf1=uf1,
        uar=uar,
        accuracy=accuracy,
        spread=(spread[0], spread[1], spread[2]) if spread else None,
        interval=bootstrap(truth, predicted, subjects, classes),
        published=_published(first),
        difference=difference,
        leaks=first.info["select"] == "oracle",
    )


def _differing(run: Run, runs: Sequence[Run]) -> tuple[str, ...]:
    mine, others = _identity(run), [_identity(other) for other in runs]
    same = [other for other in others if other["method"] == mine["method"]]
    changed = [name for name in mine if any(other.get(name) != mine[name] for other in same)]
    # these matter between methods, too, where they are not the default
    for name, usual in (("protocol", "loso"), ("select", "last")):
        if name not in changed and mine[name] != usual and any(other[name] != mine[name] for other in others):
            changed.append(name)
    return tuple(f"{name}={mine[name]}" for name in changed)
