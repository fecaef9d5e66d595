"""The tab Evaluations: the runs of a folder with their figures, and a report about chosen ones."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microexpr import api
from microexpr.errors import BadInput, MicroexprError
from microexpr.evaluation.report import render as report_page
from microexpr.evaluation.results import Run
from microexpr.evaluation.rows import data_name
from microexpr.page import views

MOST = 500  # runs that are shown
REPORTED = 40  # runs in one report


@dataclass(frozen=True)
class Line:
    """One run in the table; figures are fractions.

    Attributes:
        name: of its folder.
        method, settings, data, protocol: in words.
        uf1, uar: with their intervals, None for a single subject.
        clips: that were predicted.
        leaks, unfinished, rendered: what must be said beside any figure.
    """

    name: str
    method: str
    settings: str
    data: str
    protocol: str
    uf1: float
    uf1_interval: tuple[float, float] | None
    uar: float
    uar_interval: tuple[float, float] | None
    clips: int
    leaks: bool
    unfinished: bool
    rendered: bool


class Runs:
    """A folder of run folders, read when it is looked at; a run that did not change is not read again.

    Args:
        folder: it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, Line | str]] = {}

    def table(self) -> str:
        """The runs as HTML, and what could not be read."""
        lines = self._lines()
        shown = sorted(
            (one for one in lines.values() if isinstance(one, Line)),
            key=lambda one: (one.rendered, one.data, one.leaks, -one.uf1),
        )
        unread = [f"{name}: {one}" for name, one in lines.items() if isinstance(one, str)]
        if len(unread) > 3:
            unread = [*unread[:3], f"and {len(unread) - 3} more folders that can't be read"]
        if len(self._folders()) > MOST:
            unread.append(f"only the first {MOST} runs by name are listed; see the others with microexpr report")
        return views.render("runs", runs=shown, unread=unread, folder=str(self._folder))

    def report(self, names: Sequence[str]) -> str:
        """The page about chosen runs.

        Args:
            names: of folders; one that is not in the table is refused.

        Raises:
            BadInput: none or too many chosen, an unknown one, or runs that may not stand on one page.
        """
        known = {name for name, one in self._lines().items() if isinstance(one, Line)}
        if not names:
            raise BadInput("at least one run", "none", "tick the runs that the report is to be about")
        if len(names) > REPORTED:
            raise BadInput(f"at most {REPORTED} runs in a report", str(len(names)), "tick fewer")
        if strange := [name for name in names if name not in known]:
            raise BadInput("runs of this folder", f"{strange[0][:80]!r}", "load the page again")
        chosen = [self._folder / name for name in dict.fromkeys(names)]
        try:
            return report_page(api.read_runs(chosen))
        except MicroexprError:
            raise
        except Exception as error:
            came = f"one whose run.json is damaged ({type(error).__name__}: {error})"
            raise BadInput("runs as `microexpr evaluate` writes them", came, "leave it out") from error

    def _lines(self) -> dict[str, Line | str]:
        with self._lock:
            found = {folder.name: self._line(folder) for folder in self._folders()[:MOST]}
            self._known = {name: self._known[name] for name in found}
            return found

    def _folders(self) -> list[Path]:
        try:
            found = [folder for folder in self._folder.iterdir() if (folder / "run.json").is_file()]
        except OSError:
            return []
        return sorted(found)

    def _line(self, folder: Path) -> Line | str:
        folds = folder / "folds"
        stamp = [(file.stat().st_mtime_ns if file.exists() else 0) for file in (folder / "run.json", folds)]
        known = self._known.get(folder.name)
        if known is None or known[0] != stamp:
            known = self._known[folder.name] = stamp, _read(folder)
        return known[1]


def _read(folder: Path) -> Line | str:
    try:
        (run,) = api.read_runs([folder])
        (row,) = api.compare([run])
    except Exception as error:  # it may have been made by hand or by another program; the other runs are shown
        words = str(error) if isinstance(error, MicroexprError) else f"damaged ({type(error).__name__}: {error})"
        return words.replace(str(folder), folder.name)
    return Line(
        name=folder.name,
        method=row.method,
        settings=_settings(run),
        data=data_name(run),
        protocol=run.info["protocol"],
        uf1=row.uf1,
        uf1_interval=row.interval.uf1,
        uar=row.uar,
        uar_interval=row.interval.uar,
        clips=len(run.clips),
        leaks=row.leaks,
        unfinished=len(run.finished) < len(run.folds),
        rendered=bool(run.info["rendered"]),
    )


def _settings(run: Run) -> str:
    """What tells a run from others of its method."""
    info, settings = run.info, run.info["settings"]
    names = [name for name in dict.fromkeys([*info.get("changed", ()), "epochs"]) if name in settings]
    words = [f"{name}={settings[name]}" for name in names if name not in ("seed", "device", "threads")]
    if info["select"] != "last":
        words.append(f"select {info['select']}")
    return ", ".join([*words, *([f"seed {info['seed']}"] if info["seed"] else [])])
