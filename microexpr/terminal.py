"""What the commands print: results on stdout, bars on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Results as text: colors only where the output is a terminal."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on stderr for long work; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks or done == 0:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield show


class LiveLine:
    """One line at the bottom of a terminal that is drawn anew; nothing where stderr is no terminal.

    Whoever prints anything else clears it first.
    """

    SAMPLES = 40
    LEVELS = " ▁▂▃▄▅▆▇█"
    PERIOD = 0.1  # seconds between two drawings

    def __init__(self, wanted: bool = True) -> None:
        self.on = wanted and sys.stderr.isatty()
        self._recent: deque[float] = deque(maxlen=self.SAMPLES)
        self._peak, self._drawn = 0.0, -math.inf

    def show(self, level: float, threshold: float, text: str) -> None:
        """A trace of the levels (the largest of each tenth of a second; 1 is the threshold), and a text."""
        if not self.on:
            return
        share = level / threshold if threshold > 0 else 0.0
        self._peak = max(self._peak, 0.0 if math.isnan(share) else share)
        now = time.monotonic()
        if now - self._drawn < self.PERIOD:
            return
        self._recent.append(self._peak)
        self._peak, self._drawn = 0.0, now
        steps = len(self.LEVELS) - 1
        trace = "".join(self.LEVELS[min(steps, round(value * steps / 2))] for value in self._recent)
        line = f"{trace:>{self.SAMPLES}} {text}"
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[2K{line[:width]}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Takes the line away."""
        if self.on:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def note(text: str) -> None:
    """A message, not a result: one line on stderr."""
    print(f"microexpr: {text}", file=sys.stderr)  # noqa: T201


def print_json(value: Any) -> None:
    """A result for machines."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))  # noqa: T201


def print_fields(fields: dict[str, Any]) -> None:
    """Name and value, a line each."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        table.add_row(name.replace("_", " "), _shown(value))
    console().print(table)


def print_table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """The given columns of every row; numbers to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        numbers = all(isinstance(row[column], int) for row in rows)
        table.add_column(column, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(Text(_shown(row[column])) for column in columns))
    console().print(table)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return (
            " x ".join(map(str, value))
            if value and isinstance(value[0], int) and isinstance(value, tuple)
            else ", ".join(map(str, value)) or "-"
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
