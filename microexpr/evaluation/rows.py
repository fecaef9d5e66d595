"""Runs as rows of numbers: what the terminal tables, their JSON and the HTML page all show.

Rows know nothing of how they are shown. Scores are fractions here and percent in print; a published figure stays in
percent, as printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from microexpr.errors import BadInput
from microexpr.evaluation.calibration import Reliability, reliability
from microexpr.evaluation.comparable import by_clip, by_settings, check_comparable, differing, reference
from microexpr.evaluation.metrics import Difference, Interval, Scores, bootstrap, majority, paired_difference, scores
from microexpr.evaluation.published import CLIPS, COMPOSITE, PublishedRow, published
from microexpr.types import NEGATIVE_POSITIVE_SURPRISE

if TYPE_CHECKING:
    from pathlib import Path

    from microexpr.evaluation.results import Run

RENDERED = "Rendered data: these figures are no evidence of accuracy on real faces."
LEAKS = (
    "LEAKS: the epoch was chosen on the very subjects it is tested on, so these figures are too high; "
    "use them only beside literature that does the same."
)
NAMES = {"smic": "SMIC", "casme2": "CASME II", "samm": "SAMM"}
# Settings that leave a method what was published; the epochs stand beside the figure where they differ.
STILL_THE_SAME = {"by_class", "device", "epochs", "precision", "seed", "threads"}
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
        reliability: of the probabilities.
        published: the paper's figure for the same clips, if it has one.
    """

    name: str
    clips: int
    subjects: int
    scores: Scores
    interval: Interval
    reliability: Reliability
    published: PublishedRow | None


@dataclass(frozen=True)
class Experiment:
    """What the runs of a row have in common.

    Attributes:
        method: registered name.
        settings: what tells this from the others of its method, e.g. ``("epochs=40",)``; empty if nothing does.
        select: how the epoch was chosen.
    """

    method: str
    settings: tuple[str, ...]
    select: str

    @property
    def leaks(self) -> bool:
        """Whether the epoch was chosen on the test subjects."""
        return self.select == "oracle"

    @property
    def name(self) -> str:
        """The method as it is shown: never without the word LEAKS where it leaks."""
        return f"{self.method} LEAKS" if self.leaks else self.method


@dataclass(frozen=True)
class CompareRow:
    """The runs of one experiment: one seed or several.

    Attributes:
        experiment: method, settings, selection.
        seeds: one per run.
        uf1, uar, accuracy: mean over the seeds.
        recall: class -> mean over the seeds; NaN for a class that no clip has.
        spread: standard deviation of (UF1, UAR, accuracy) over the seeds (n - 1), or None for one seed.
        interval: over resampled subjects, of the mean over the seeds.
        published: the paper's figure.
        difference: UF1 minus that of the method compared against, or None.
        against: what the difference is taken from, or None.
        warnings: what a reader must know before any figure, in sentences.
    """

    experiment: Experiment
    seeds: tuple[int, ...]
    uf1: float
    uar: float
    accuracy: float
    recall: dict[str, float]
    spread: tuple[float, float, float] | None
    interval: Interval
    published: PublishedRow | None
    difference: Difference | None
    against: Experiment | None
    warnings: tuple[str, ...]

    @property
    def method(self) -> str:
        """Registered name."""
        return self.experiment.method

    @property
    def settings(self) -> tuple[str, ...]:
        """What tells this row from the others of its method."""
        return self.experiment.settings

    @property
    def leaks(self) -> bool:
        """Whether the epoch was chosen on the test subjects."""
        return self.experiment.leaks


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
        reliability=reliability(truth, run.probabilities[keep]),
        published=_published(run, database),
    )


def _published(run: Run, database: str | None = None) -> PublishedRow | None:
    if run.info["rendered"] or set(run.info.get("changed", ())) - STILL_THE_SAME:
        return None  # another network or training than the published one
    if tuple(run.info["classes"]) != NEGATIVE_POSITIVE_SURPRISE:
        return None  # other classes
    row = published(run.info["method"], run.info["dataset"], database or run.info["part"])
    here = len(run.clips) if database is None else run.databases.count(database)
    if row is None or here == CLIPS[row.dataset]:
        return row
    alone = run.info["dataset"] in CLIPS and run.info["dataset"] != COMPOSITE
    where = f" (those of the paper: {COMPOSITE} --part {row.dataset})" if alone else ""
    return replace(row, note=f"of {CLIPS[row.dataset]} clips, here are {here}{where}. {row.note}".strip())


def warnings(run: Run) -> list[str]:
    """What a reader must know before any figure of this run, in plain sentences."""
    found = []
    if run.info["rendered"]:
        found.append(RENDERED)
    if run.info["select"] == "oracle":
        found.append(LEAKS)
    if left_out := run.info.get("preparation", {}).get("left_out"):
        found.append(
            f"Left out before the evaluation: {len(left_out)} clips that could not be used, the first {left_out[0]}; "
            "run.json names them."
        )
    if "weights" in run.info:
        found.append(
            f"Weights from {run.info['weights']['folder']}, not trained here: that none has seen the subject it is "
            "scored on, and how its epoch was chosen, was not checked."
        )
    if "seen_by_initial_weights" in run.info:
        found.append(
            f"Begins with weights from {run.info['settings']['initial_weights']}, trained elsewhere: that they have "
            "not seen the subjects tested here can't be read off the file."
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
    """The warnings of several runs, each said once, with what it is about where it is not about all."""
    about: dict[str, list[Run]] = {}
    for run in runs:
        for line in warnings(run):
            about.setdefault(line, []).append(run)
    everywhere = len({run.folder for run in runs})
    lines = []
    for line, found in about.items():
        folders = {run.folder for run in found}
        who = dict.fromkeys(_which(run, folders, runs) for run in found)
        lines.append(line if len(folders) == everywhere else f"{', '.join(who)}: {line}")
    return lines


def _which(run: Run, folders: set[Path], runs: Sequence[Run]) -> str:
    """The method of a run; with its settings or seed where other runs of the method are not in these folders."""
    method = run.info["method"]
    if all(other.folder in folders for other in runs if other.info["method"] == method):
        return str(method)
    return " ".join((method, *(differing(run, runs) or (f"seed {run.info['seed']}",))))


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


def chosen_epochs(run: Run) -> list[int]:
    """The epoch that answered in each finished fold; empty for a method without epochs."""
    of_clip = dict(zip(run.clips, run.epochs, strict=True))
    return [epoch for fold in run.finished if (epoch := of_clip.get(run.info["folds"][fold][0])) is not None]


def selection_line(run: Run) -> str:
    """How the epoch was chosen and, where that was a choice, which ones came out over the folds."""
    if "weights" in run.info:
        return f"weights from {run.info['weights']['folder']}, not trained here"
    name, chosen = SELECT[run.info["select"]], chosen_epochs(run)
    if run.info["select"] == "last" or not chosen:
        return name
    return f"{name}: median {np.median(chosen):.0f}, {min(chosen)} to {max(chosen)}"


def calibration_line(found: Reliability) -> str:
    """Whether the probabilities can be taken at their word, in one line."""
    sure = "too sure" if found.surplus >= 0 else "not sure enough"
    return (
        f"calibration: expected error {percent(found.error)} %, Brier {found.brier:.2f}, "
        f"log loss {found.log_loss:.2f}; {percent(abs(found.surplus))} points {sure} on average"
    )


def as_printed(value: float) -> str:
    """A published percentage, rounded half up to our one decimal: 78.85 is 78.9 although no float holds 78.85."""
    return f"{value + 1e-9:.1f}"


def compare_rows(runs: Sequence[Run], against: str | None = None) -> list[CompareRow]:
    """One row per method and settings; several seeds become a mean and a standard deviation.

    Rows are in the order given; those of one method that differ in the selection of the epoch only stand beside one
    another: last, inner, oracle.

    Args:
        runs: finished on the same clips; anything else is refused, because the figures would not be comparable.
        against: a method among them; every other row then carries the paired difference to it. Of several selections
            it is the last epoch; a run whose epoch was chosen on the test subjects only where there is no other.
    """
    runs = list({run.folder.resolve(): run for run in runs}.values())
    check_comparable(runs)
    groups = by_settings(runs)
    other = None if against is None else reference(groups, against)
    return [_compare_row(group, groups, other) for group in groups]


def _compare_row(group: Sequence[Run], groups: Sequence[Sequence[Run]], other: Sequence[Run] | None) -> CompareRow:
    first, firsts = group[0], [same[0] for same in groups]
    order = np.argsort(np.array(first.clips))
    subjects, classes = [first.subjects[row] for row in order], first.info["classes"]
    truth, predicted = first.truth[order], _predicted(group)
    each = [scores(truth, row, classes, absent="skip") for row in predicted]
    values = np.array([(one.uf1, one.uar, one.accuracy) for one in each])
    recall = np.mean([one.recall for one in each], axis=0)
    uf1, uar, accuracy = (float(value) for value in values.mean(axis=0))
    spread = values.std(axis=0, ddof=1).tolist() if len(group) > 1 else None
    difference = against = None
    if other is not None and other is not group:
        difference = paired_difference(truth, predicted, _predicted(other), subjects, classes)
        against = _experiment(other[0], firsts)
    return CompareRow(
        experiment=_experiment(first, firsts),
        seeds=tuple(run.info["seed"] for run in group),
        uf1=uf1,
        uar=uar,
        accuracy=accuracy,
        recall=dict(zip(classes, recall.tolist(), strict=True)),
        spread=(spread[0], spread[1], spread[2]) if spread else None,
        interval=bootstrap(truth, predicted, subjects, classes),
        published=_published(first),
        difference=difference,
        against=against,
        warnings=tuple(dict.fromkeys(line for run in group for line in warnings(run))),
    )


def _predicted(group: Sequence[Run]) -> Int[np.ndarray, "seed clip"]:
    return np.stack([by_clip(run, run.predicted) for run in group])


def _experiment(run: Run, firsts: Sequence[Run]) -> Experiment:
    info = run.info
    return Experiment(info["method"], differing(run, firsts), info["select"])
