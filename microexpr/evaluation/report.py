"""One self-contained HTML page about runs: no script, no request to anywhere, light and dark, screen and paper.

The page shows the rows of `evaluation.rows`; the template beside this file sets them.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microexpr.errors import BadInput
from microexpr.evaluation import results
from microexpr.evaluation.charts import Curve, Estimate, Mark, epoch_curves, intervals, reliability_diagram
from microexpr.evaluation.comparable import by_settings, identity
from microexpr.evaluation.metrics import Scores, epoch_curve, majority, scores
from microexpr.evaluation.rows import (
    LEAKS,
    NAMES,
    RENDERED,
    CompareRow,
    Row,
    as_printed,
    calibration_line,
    compare_rows,
    data_name,
    grouped,
    notes,
    percent,
    run_rows,
    selection_line,
    shared_warnings,
    warnings,
)

if TYPE_CHECKING:
    from microexpr.evaluation.results import Run

PNG = b"\x89PNG\r\n\x1a\n"
HELD_OUT = {
    "loso": "Each person was left out in turn: whoever is judged was never seen in training.",
    "leave-one-dataset-out": "Each database was left out in turn: no face of a judged database was seen in training.",
    "subject-k-fold": "People were split into {folds} folds: whoever is judged was never seen in training.",
}
CELL_WIDTH, CELL_HEIGHT, LEFT, TOP = 78, 58, 82, 46  # of the confusion picture, in its own units


def write_report(runs: Sequence[Run], out: Path, plates: Sequence[tuple[str, bytes]] = ()) -> Path:
    """Writes the page by rename and returns its path.

    Args:
        runs: one or more; runs on the same clips share a table, rendered and real data never share a page.
        out: the HTML file.
        plates: pictures to embed, each a caption and the bytes of a PNG file.

    Raises:
        BadInput: no runs, runs without a finished fold, rendered beside real data, no PNG, or `out` can't be written.
    """
    results.write_text(out, render(runs, plates))
    return out


def render(runs: Sequence[Run], plates: Sequence[tuple[str, bytes]] = ()) -> str:
    """The page's text; arguments as in `write_report`."""
    import jinja2

    runs = list({run.folder.resolve(): run for run in runs}.values())
    anchors = {run.folder: f"run-{number}" for number, run in enumerate(runs, 1)}
    context = {
        "tables": [_comparison(group, anchors) for group in _same_clips(runs)],
        "runs": [_run(run, anchors[run.folder], runs) for run in runs],
        "heading": " and ".join(dict.fromkeys(data_name(run) for run in runs)),
        "rendered": any(run.info["rendered"] for run in runs),
        "plates": [_plate(caption, picture) for caption, picture in plates],
        "version": runs[0].info["versions"]["microexpr"],
        "published": any(row.published for run in runs for row in run_rows(run)),
    }
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, as_printed=as_printed)
    source = resources.files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source).render(context)


def _same_clips(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that may share a table, in the order given."""
    if not runs:
        raise BadInput("at least one run folder", "none", "give the folders that evaluate wrote")
    if len({bool(run.info["rendered"]) for run in runs}) > 1:
        raise BadInput("only real or only rendered data on one page", "both", "write two reports")
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.info["data"]["digest"], tuple(run.info["classes"]), frozenset(run.clips)), []).append(
            run
        )
    return list(groups.values())


def _comparison(group: Sequence[Run], anchors: Mapping[Path, str]) -> dict[str, Any]:
    """The table of the runs on one set of clips."""
    rows, first = compare_rows(group), group[0]
    name, floor = majority(first.truth, first.info["classes"])
    about = {row.method: row.published.note for row in rows if row.published and row.published.note}
    return {
        "heading": data_name(first),
        # the banner on top says already that the data are rendered
        "warnings": [line for line in shared_warnings(group) if line != RENDERED],
        "summary": _summary(group, rows),
        "chart": intervals([_estimate(row) for row in rows], (f"always {name}", floor.uf1)),
        "rows": [
            {"row": row, "seeds": sorted((run.info["seed"], anchors[run.folder]) for run in same)}
            for row, same in zip(rows, by_settings(group), strict=True)
        ],
        "classes": first.info["classes"],
        "floor_name": name,
        "floor": floor,
        "notes": [f"{', '.join(methods)}: {note}." for note, methods in grouped(about).items()],
        "spread": any(row.spread for row in rows),
    }


def _summary(group: Sequence[Run], rows: Sequence[CompareRow]) -> list[str]:
    """What was done and found, in plain words."""
    first = group[0]
    classes, people = first.info["classes"], len(set(first.subjects))
    named = f"{', '.join(classes[:-1])} or {classes[-1]}"
    name, floor = majority(first.truth, classes)
    protocols = dict.fromkeys(
        HELD_OUT.get(run.info["protocol"], "").format(folds=len(run.folds))
        for run in group
        if not {"weights", "seen_by_initial_weights"} & run.info.keys()  # whom those have seen is not known here
    )
    who = rows[0].method if len(rows) == 1 else f"{len(rows)} methods or settings"
    done = (
        f"{who} judged {len(first.clips)} clips of {people} {'person' if people == 1 else 'people'}, each as {named}."
    )
    if len(rows) > 1:
        return [done, *filter(None, protocols), _summary_of_several(rows, name, floor)]
    row = rows[0]
    bounds = row.interval.uf1
    sure = f" (95 % interval {percent(bounds[0])} to {percent(bounds[1])})" if bounds else " (one subject: no interval)"
    mean = f", on average over {len(row.seeds)} seeds," if len(row.seeds) > 1 else ""
    found = (
        f"It was right on {percent(row.accuracy)} % of the clips{mean} where always answering {name} is right on "
        f"{percent(floor.accuracy)} %. UF1, which counts every class alike, is {percent(row.uf1)}{sure}; "
        f"always answering {name} gives {percent(floor.uf1)}."
    )
    return [done, *filter(None, protocols), found, *([LEAKS] if row.leaks else [])]


def _summary_of_several(rows: Sequence[CompareRow], name: str, floor: Scores) -> str:
    """The span of the honest rows; a figure that leaks is never the best one."""
    counted = [row for row in rows if not row.leaks] or rows
    low, high = min(counted, key=lambda row: row.uf1), max(counted, key=lambda row: row.uf1)
    ends = [f"{percent(row.uf1)} ({row.experiment.name})" for row in (low, high)]
    said = [f"UF1 is {ends[0]}" if low is high else f"UF1 runs from {ends[0]} to {ends[1]}"]
    said[0] += f"; always answering {name} gives {percent(floor.uf1)}."
    if low is not high:
        said.append("Where intervals overlap widely, the order may be chance.")
    if any(row.leaks for row in rows):
        said.append(
            "Rows marked LEAKS are not counted here:" if len(counted) < len(rows) else "All rows are marked LEAKS:"
        )
        said.append("their epoch was chosen on the very subjects it is tested on, so their figures are too high.")
    return " ".join(said)


def _estimate(row: CompareRow) -> Estimate:
    return Estimate(
        name=row.method,
        value=row.uf1,
        interval=row.interval.uf1,
        published=row.published.uf1 / 100 if row.published else None,
        detail=", ".join(row.settings),
        leaks=row.leaks,
    )


def _curve(run: Run, runs: Sequence[Run]) -> str | None:
    """UF1 after every epoch of an oracle run that kept its traces, with the figures of the selections on the page."""
    if run.info["select"] != "oracle" or (trace := results.read_trace(run)) is None:
        return None
    info, classes = run.info, run.info["classes"]
    values = epoch_curve(run.truth, trace, classes, absent="skip")
    marks = [Mark("best test epoch", scores(run.truth, run.predicted, classes, absent="skip").uf1, leaks=True)]
    asked = identity(run) | {"select": "inner"}
    for other in runs:
        same = identity(other) == asked and other.info["seed"] == info["seed"] and set(other.clips) == set(run.clips)
        if same and other.info["data"] == info["data"]:
            inner = scores(other.truth, other.predicted, classes, absent="skip").uf1
            marks.append(Mark("chosen on training subjects", inner))
    return epoch_curves([Curve(info["method"], values)], marks, f"UF1 of {info['method']} after every epoch")


def _run(run: Run, anchor: str, runs: Sequence[Run]) -> dict[str, Any]:
    """One run's section; `runs` are all on the page."""
    info, rows = run.info, run_rows(run)
    leaks = info["select"] == "oracle"
    return {
        "anchor": anchor,
        "info": info,
        "leaks": leaks,
        "reliability": reliability_diagram(rows[0].reliability, f"Reliability of {info['method']}", leaks),
        "calibration": calibration_line(rows[0].reliability),
        "curve": _curve(run, runs),
        "heading": f"{info['method']} on {data_name(run)}",
        "facts": [
            f"protocol {info['protocol']}",
            selection_line(run),
            f"seed {info['seed']}",
            f"{len(run.finished)} of {len(run.folds)} folds",
        ],
        "warnings": warnings(run),
        "notes": notes(rows),
        "rows": rows,
        "pictures": [_picture(row, info["classes"]) for row in rows],
        "people": _people(run),
        "record": {"settings": info["settings"], "versions": info["versions"], "machine": info["machine"]},
        "folder": run.folder.name,
    }


def _picture(row: Row, classes: Sequence[str]) -> dict[str, Any]:
    """Confusion heat map: every cell's share of its true class and its count, with where it stands."""
    counts = row.scores.confusion
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = [
        {
            "x": LEFT + column * CELL_WIDTH,
            "y": TOP + line * CELL_HEIGHT,
            "share": float(counts[line, column] / totals[line, 0]),
            "count": int(counts[line, column]),
            "truth": classes[line],
            "predicted": classes[column],
            "empty": bool(counts[line].sum() == 0),
        }
        for line in range(len(classes))
        for column in range(len(classes))
    ]
    spoken = "; ".join(
        f"of {counts[line].sum()} {name}, "
        + ", ".join(f"{count} called {classes[k]}" for k, count in enumerate(counts[line]))
        for line, name in enumerate(classes)
    )
    return {
        "name": row.name,
        "clips": row.clips,
        "subjects": row.subjects,
        "cells": cells,
        "classes": classes,
        "spoken": spoken,
        "cell_width": CELL_WIDTH,
        "cell_height": CELL_HEIGHT,
        "left": LEFT,
        "top": TOP,
        "width": LEFT + CELL_WIDTH * len(classes) + 2,
        "height": TOP + CELL_HEIGHT * len(classes) + 2,
    }


def _people(run: Run) -> list[dict[str, Any]]:
    """One row per subject: clips, right ones, and what was taken for what."""
    classes = run.info["classes"]
    rows_of: dict[str, list[int]] = {}
    for row, subject in enumerate(run.subjects):
        rows_of.setdefault(subject, []).append(row)
    found = []
    for subject in sorted(rows_of, key=_natural):
        pairs = [(classes[run.truth[row]], classes[run.predicted[row]]) for row in rows_of[subject]]
        wrong = Counter(pair for pair in pairs if pair[0] != pair[1])
        right = len(pairs) - wrong.total()
        mistakes = [(*pair, count) for pair, count in wrong.most_common()]
        database = run.databases[rows_of[subject][0]]
        found.append(
            {
                "subject": subject,
                "database": NAMES.get(database, database),
                "clips": len(pairs),
                "right": right,
                "accuracy": right / len(pairs),
                "mistakes": mistakes,
            }
        )
    return found


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts s2 before s10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _plate(caption: str, picture: bytes) -> dict[str, str]:
    if not picture.startswith(PNG):
        raise BadInput(
            "the bytes of a PNG file", f"something else for the plate {caption!r}", "encode the picture as PNG"
        )
    return {"caption": caption, "uri": "data:image/png;base64," + base64.b64encode(picture).decode("ascii")}
