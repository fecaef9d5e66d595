"""Runs as tables in a terminal, readable at 80 columns and plain text in a pipe.

The numbers are those of `evaluation.rows`; this module only sets them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from microexpr.evaluation.as_json import compare_to_json, to_json
from microexpr.evaluation.metrics import Scores
from microexpr.evaluation.rows import (
    CompareRow,
    Experiment,
    Row,
    as_printed,
    calibration_line,
    compare_rows,
    data_name,
    floor_line,
    grouped,
    notes,
    percent,
    run_rows,
    selection_line,
    shared_warnings,
    warnings,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from microexpr.evaluation.results import Run

__all__ = ["compare_rows", "compare_to_json", "print_compare", "print_run", "run_rows", "to_json"]

INTERVAL = "[low-high]: 95 % interval over resampled subjects; all figures in percent"
PUBLISHED = "published: Li et al. 2021, Table 3"


def print_run(run: Run, console: Console) -> None:
    """One run: header, scores with intervals beside the published figures, confusion matrix, notes."""
    rows, info = run_rows(run), run.info
    _say(console, f"{info['method']} on {data_name(run)}", style="bold")
    facts = (
        f"protocol {info['protocol']}",
        selection_line(run),
        f"seed {info['seed']}",
        f"{rows[0].clips} clips",
        f"{rows[0].subjects} subjects",
        f"{len(run.finished)}/{len(run.folds)} folds",
    )
    _say(console, ", ".join(facts))
    for line in warnings(run):
        _say(console, line, style="bold red")
    console.print()
    _print_fitted(console, lambda gap: _run_table(rows, gap))
    console.print()
    _print_fitted(console, lambda gap: _confusion_table(rows[0].scores, info["classes"]))
    console.print()
    _say(console, calibration_line(rows[0].reliability))
    _say(console, INTERVAL)
    _say(console, floor_line(run))
    if any(row.published for row in rows):
        _say(console, PUBLISHED)
    for line in notes(rows):
        _say(console, line)


def _run_table(rows: Sequence[Row], gap: str) -> Table:
    table = _table("", "clips", "subjects", "UF1", "UAR", "accuracy")
    for row in rows:
        result, interval = row.scores, row.interval
        cells = ((result.uf1, interval.uf1), (result.uar, interval.uar), (result.accuracy, interval.accuracy))
        _add(table, row.name, str(row.clips), str(row.subjects), *(_cell(*cell, gap) for cell in cells))
        if row.published:
            _add(
                table,
                "published",
                "",
                "",
                as_printed(row.published.uf1),
                as_printed(row.published.uar),
                "",
                style="dim",
            )
    return table


def _confusion_table(result: Scores, classes: Sequence[str]) -> Table:
    table = _table("truth \\ predicted", *classes, "recall", right=True)
    for row, name in enumerate(classes):
        _add(table, name, *map(str, result.confusion[row]), percent(result.recall[row]))
    return table


def print_compare(runs: Sequence[Run], console: Console, against: str | None = None) -> None:
    """Runs on the same clips side by side; with `against`, the paired differences to that method below.

    Args:
        runs: as `compare_rows` takes them.
        console: where to.
        against: a method among the runs.
    """
    rows, first = compare_rows(runs, against), runs[0]
    people = len(set(first.subjects))
    _say(console, f"comparison on {data_name(first)}", style="bold")
    _say(console, f"{len(first.clips)} clips, {people} subjects, the same in every row")
    for line in shared_warnings(runs):
        _say(console, line, style="bold red")
    console.print()
    _print_fitted(console, lambda gap: _compare_table(rows, _plus(console), gap))
    console.print()
    _print_fitted(console, lambda gap: _recall_table(rows))
    if any(row.difference for row in rows):
        console.print()
        _print_fitted(console, lambda gap: _difference_table(rows))
    console.print()
    _say(console, INTERVAL)
    if any(row.spread for row in rows):
        _say(console, f"{_plus(console)}: standard deviation over the seeds; the interval is that of their mean")
    _say(console, floor_line(first))
    if any(row.published for row in rows):
        _say(console, f"{PUBLISHED}, UF1/UAR")
    about = {row.method: row.published.note for row in rows if row.published and row.published.note}
    for note, methods in grouped(about).items():
        _say(console, f"published, {', '.join(methods)}: {note}.")


def _compare_table(rows: Sequence[CompareRow], plus: str, gap: str) -> Table:
    table = _table("method", "seeds", "UF1", "UAR", "accuracy", "published")
    for row in rows:
        uf1, uar, accuracy = (f" {plus}{percent(value)}" for value in row.spread) if row.spread else ("", "", "")
        _add(
            table,
            _heading(row.experiment),
            seeds_text(row.seeds),
            _cell(row.uf1, row.interval.uf1, gap, uf1),
            percent(row.uar) + uar,
            percent(row.accuracy) + accuracy,
            f"{as_printed(row.published.uf1)}/{as_printed(row.published.uar)}" if row.published else "-",
        )
    return table


def _recall_table(rows: Sequence[CompareRow]) -> Table:
    """Recall by class, the mean over the seeds: which class a UF1 owes its figure to."""
    table = _table("recall", *rows[0].recall, right=True)
    for row in rows:
        _add(table, _heading(row.experiment), *map(percent, row.recall.values()))
    return table


def _difference_table(rows: Sequence[CompareRow]) -> Table:
    against = [_heading(row.against) for row in rows if row.against]
    table = _table("UF1 less that of", against[0], "95 % interval", "p")
    for row in rows:
        if row.difference is None:
            continue
        bounds = row.difference.interval
        _add(
            table,
            _heading(row.experiment),
            f"{100 * row.difference.uf1:+.1f}",
            f"{100 * bounds[0]:+.1f} to {100 * bounds[1]:+.1f}" if bounds else "one subject",
            _p_value(row.difference.p),
        )
    return table


def _heading(experiment: Experiment) -> str:
    """Name and settings, one under the other."""
    return "\n  ".join((experiment.name, *experiment.settings))


def _p_value(p: float | None) -> str:
    if p is None:
        return "-"
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds in few characters: ``"0-4"`` for 0, 1, 2, 3, 4, else a list."""
    ordered = sorted(seeds)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[0] + len(ordered))):
        return f"{ordered[0]}-{ordered[-1]}"
    return ", ".join(map(str, ordered))


def _cell(value: float, bounds: tuple[float, float] | None, gap: str, spread: str = "") -> str:
    if bounds is None:
        return percent(value) + spread
    return f"{percent(value)}{spread}{gap}[{percent(bounds[0])}-{percent(bounds[1])}]"


def _table(*columns: str, right: bool = False) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), highlight=False)
    for number, column in enumerate(columns):
        counts = column in ("clips", "subjects", "seeds")
        justify: Literal["left", "right"] = "right" if number and (right or counts) else "left"
        table.add_column(Text(column), justify=justify, no_wrap=True)
    return table


def _add(table: Table, *cells: str, style: str = "") -> None:
    """A row of plain text: names and settings must not be read as markup."""
    from rich.text import Text

    table.add_row(*map(Text, cells), style=style)


def _print_fitted(console: Console, build: Callable[[str], Table]) -> None:
    """Prints the table with intervals beside the figures, or under them where the console is too narrow."""
    from rich.measure import Measurement

    # measured without bound: under the console's own options the answer is cut to its width
    boundless = console.options.update(width=10_000)
    for gap in (" ", "\n"):
        table = build(gap)
        table.width = Measurement.get(console, boundless, table).maximum
        if table.width <= console.width:
            break
    # a console narrower than that wraps the lines itself: no figure is ever cut off
    console.print(table, crop=False)


def _say(console: Console, text: str, style: str = "") -> None:
    """Text as it is: no markup in names, no color on numbers."""
    console.print(text, style=style, markup=False, highlight=False)


def _plus(console: Console) -> str:
    return "±" if console.encoding.lower().startswith("utf") else "+-"
