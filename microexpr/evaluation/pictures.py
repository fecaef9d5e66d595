"""Pictures of runs as files of their own: intervals, UF1 after every epoch, and confusion matrices by database.

They are drawn from finished run folders, so they can be drawn again without any training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from microexpr.errors import BadInput
from microexpr.evaluation import charts, results, svg
from microexpr.evaluation.comparable import by_settings, check_comparable, identity
from microexpr.evaluation.metrics import epoch_curve, majority, scores
from microexpr.evaluation.rows import RENDERED, compare_rows, data_name, percent, run_rows

if TYPE_CHECKING:
    from microexpr.evaluation.results import Run

CELL_WIDTH, CELL_HEIGHT, NAMES_WIDTH = 88, 52, 100  # px
PANEL_WIDTH, PANEL_HEIGHT = 404, 226


def epoch_pictures(runs: Sequence[Run]) -> dict[str, str]:
    """UF1 after every epoch of every experiment among the runs whose oracle run kept its traces.

    The end of the curve is the last epoch. Lines across are the means over the seeds of the oracle selection, marked
    LEAKS, and of the inner one.

    Args:
        runs: the selections "oracle" and, for its line, "inner" of the same experiments; others are passed over.

    Returns:
        Stem of a file name -> SVG text, e.g. ``"leak-ststnet"`` or ``"leak-ststnet-casme2"``.
    """
    drawn: dict[str, str] = {}
    for oracle in by_settings(runs):
        traces = [results.read_trace(run) for run in oracle]
        if oracle[0].info["select"] != "oracle" or any(trace is None for trace in traces):
            continue
        first = oracle[0]
        method, classes = first.info["method"], first.info["classes"]
        marks = [charts.Mark("best test epoch", _mean_uf1(oracle), leaks=True)]
        asked = identity(first) | {"select": "inner"}
        inner = [run for run in runs if identity(run) == asked and run.info["data"] == first.info["data"]]
        if inner:
            marks.append(charts.Mark("chosen on training subjects", _mean_uf1(inner)))
        curves = [
            charts.Curve(method, epoch_curve(run.truth, trace, classes, absent="skip"))
            for run, trace in zip(oracle, traces, strict=True)
            if trace is not None
        ]
        title = _titled(f"UF1 of {method} after every epoch, {data_name(first)}", first)
        drawn[_free(f"leak-{method}", first, drawn)] = charts.epoch_curves(curves, marks, title)
    return drawn


def interval_picture(stem: str, runs: Sequence[Run], named: Callable[[Run], tuple[str, str, bool]]) -> dict[str, str]:
    """UF1 of every experiment among the runs with its interval, one under the other.

    Args:
        stem: of the file name.
        runs: on the same clips.
        named: gives the label and the detail of a run's line, and whether the published figure belongs beside it.

    Returns:
        Stem of the file name -> SVG text.
    """
    lines, first = [], runs[0]
    for group, row in zip(by_settings(runs), compare_rows(runs), strict=True):
        label, detail, same = named(group[0])
        chosen = "" if row.experiment.select == "last" else f"select={row.experiment.select}"
        published = row.published.uf1 / 100 if row.published and same else None
        told = ", ".join(filter(None, (detail, chosen)))
        lines.append(charts.Estimate(label, row.uf1, row.interval.uf1, published, told, row.leaks))
    name, floor = majority(first.truth, first.info["classes"])
    title = _titled(f"UF1 with 95 % intervals, {data_name(first)}", first)
    return {_free(stem, first, {}): charts.intervals(lines, (f"always {name}", floor.uf1), title)}


def confusion_pictures(runs: Sequence[Run]) -> dict[str, str]:
    """The confusion matrices of every experiment among the runs: all clips, then each database.

    Rows are the truth. A cell's number is the percentage of its row, the small one the clips; of several seeds both
    count the clips of every seed.

    Returns:
        Stem of a file name -> SVG text, e.g. ``"confusion-mjfn"``.
    """
    drawn: dict[str, str] = {}
    for same in by_settings(runs):
        info = same[0].info
        selected = "" if info["select"] == "last" else f"-{info['select']}"
        drawn[_free(f"confusion-{info['method']}{selected}", same[0], drawn)] = _confusion_picture(same)
    return drawn


def confusions(runs: Sequence[Run]) -> list[tuple[str, Int[np.ndarray, "truth predicted"]]]:
    """Name and confusion matrix of all clips and of each database, summed over the runs, which are seeds of one."""
    check_comparable(runs)
    summed: dict[str, Int[np.ndarray, "truth predicted"]] = {}
    for run in runs:
        for row in run_rows(run):
            summed[row.name] = summed.get(row.name, 0) + row.scores.confusion
    return list(summed.items())


def confusion_tables(runs: Sequence[Run]) -> dict[str, list[dict[str, Any]]]:
    """The same as tables: title -> a row for each true class, of every experiment among the runs."""
    tables = {}
    for same in by_settings(runs):
        info, classes = same[0].info, same[0].info["classes"]
        leaks = " LEAKS" if info["select"] == "oracle" else f" ({info['select']})" if info["select"] != "last" else ""
        for name, counts in confusions(same):
            tables[f"{info['method']}{leaks}, {name}"] = [
                {
                    "truth \\ predicted": label,
                    **dict(zip(classes, counts[row].tolist(), strict=True)),
                    "recall": percent(counts[row, row] / counts[row].sum()) if counts[row].any() else "-",
                }
                for row, label in enumerate(classes)
            ]
    return tables


def _confusion_picture(runs: Sequence[Run]) -> str:
    info, found = runs[0].info, confusions(runs)
    leaks, classes = info["select"] == "oracle", info["classes"]
    across = PANEL_WIDTH + CELL_WIDTH * (len(classes) - 3)
    down = PANEL_HEIGHT + CELL_HEIGHT * (len(classes) - 3)
    body: list[str] = []
    told: list[str] = []
    for number, (name, counts) in enumerate(found):
        left, top = charts.LEFT + across * (number % 2), 62 + down * (number // 2)
        body += _panel(name, counts, classes, left, top, "leak" if leaks else "one")
        told += [
            f"{name}, of {counts[row].sum()} {label}: "
            + ", ".join(f"{count} called {classes[column]}" for column, count in enumerate(counts[row]))
            for row, label in enumerate(classes)
        ]
    height = 62 + down * ((len(found) + 1) // 2)
    if leaks:
        body.append(svg.text(charts.LEFT, height, charts.LEAKS, "leak"))
        told.append(charts.LEAKS)
        height += 22
    seeds = f", {len(runs)} seeds together" if len(runs) > 1 else ""
    epochs = (
        f", epochs={info['settings']['epochs']}" if info["select"] == "last" and "epochs" in info["settings"] else ""
    )
    named = f"{info['method']}{' LEAKS' if leaks else ''}, {data_name(runs[0])}{epochs}{seeds}"
    title = _titled(f"Confusion of {named}", runs[0])
    return svg.picture(charts.LEFT + across * min(len(found), 2) + 12, height, title, told, body)


def _panel(
    name: str, counts: Int[np.ndarray, "truth predicted"], classes: Sequence[str], left: float, top: float, color: str
) -> Iterable[str]:
    """One matrix: name, class names, cells."""
    yield svg.text(left, top, name, "ink bold")
    yield svg.text(left, top + 26, "truth \\ predicted", "soft small")
    for row, label in enumerate(classes):
        y = top + 36 + CELL_HEIGHT * row
        total = int(counts[row].sum())
        yield svg.text(left, y + CELL_HEIGHT / 2 + 4, svg.cut(label, 12), "ink")
        x = left + NAMES_WIDTH + CELL_WIDTH * (row + 0.5)
        yield svg.text(x, top + 26, svg.cut(label, 11), "ink", "middle")
        for column in range(len(classes)):
            x, count = left + NAMES_WIDTH + CELL_WIDTH * column, int(counts[row, column])
            share = count / total if total else 0.0
            # half the color at most: the ink on it stays readable, light and dark
            yield (
                f'<rect class="{color}" fill-opacity="{0.04 + 0.46 * share:.3f}" x="{x + 1:.1f}" y="{y + 1:.1f}" '
                f'width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}" rx="3"/>'
            )
            shown = f"{percent(share)} %" if total else "-"
            yield svg.text(x + CELL_WIDTH / 2, y + 24, shown, "ink bold", "middle")
            yield svg.text(x + CELL_WIDTH / 2, y + 41, str(count), "ink small", "middle")


def _mean_uf1(runs: Sequence[Run]) -> float:
    return float(np.mean([scores(run.truth, run.predicted, run.info["classes"], absent="skip").uf1 for run in runs]))


def _titled(title: str, run: Run) -> str:
    """The title with what a reader must know first: another protocol than leave-one-subject-out, rendered data."""
    other = "" if run.info["protocol"] == "loso" else f", {run.info['protocol']}"
    return f"{title}{other}" + (f". {RENDERED.partition(':')[0]}" if run.info["rendered"] else "")


def _free(stem: str, run: Run, taken: dict[str, Any]) -> str:
    """The stem with the database of the run; two experiments that would share a file are refused."""
    part = run.info["part"]
    name = f"{stem}-{part}" if part else stem
    if name in taken:
        advice = "draw the runs of one number of epochs and of one protocol at a time"
        raise BadInput(f"one experiment for the picture {name}", "two with different settings", advice)
    return name
