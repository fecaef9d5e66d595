"""Measured figures: run folders -> one CSV -> the tables of README.md and docs/results.md.

    python benchmarks/collect.py runs/* --out results/megc2019-flow.csv    adds or renews the rows of runs
    python benchmarks/collect.py --tables                                  writes the tables from results/

A row is one method with its settings on one database: mean over its seeds, 95 % subject-bootstrap interval of that
mean. Only summary figures leave a run folder; no label, no clip name. A test checks that the tables are current.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path

import numpy as np

from microexpr import datasets, methods
from microexpr.evaluation import metrics, published, results

ROOT = Path(__file__).parent.parent
COLUMNS = (
    *("dataset", "trained_on", "database", "method", "settings", "protocol", "select", "seeds", "clips", "subjects"),
    *(
        "uf1",
        "uf1_low",
        "uf1_high",
        "uar",
        "uar_low",
        "uar_high",
        "accuracy",
        "uf1_sd",
        "processor",
        "versions",
        "command",
    ),
)
NAMES = {"all": "3DB", "casme2": "CASME II", "samm": "SAMM", "smic": "SMIC"}
BEGIN, END = "<!-- figures: {} -->", "<!-- end of figures -->"


def by_experiment(runs: list[results.Run]) -> list[list[results.Run]]:
    """Runs that differ in their seed only, together."""
    groups: dict[str, list[results.Run]] = {}
    for run in runs:
        asked = run.info["asked"]
        groups.setdefault(results.canonical({**asked, "settings": {**asked["settings"], "seed": None}}), []).append(run)
    return list(groups.values())


def figures(group: list[results.Run]) -> list[dict[str, str]]:
    """The rows of runs that differ in their seed only: the whole, then every database of a composite set."""
    first = group[0]
    unfinished = [run.folder.name for run in group if len(run.finished) < len(run.folds)]
    if unfinished:
        sys.exit(f"unfinished: {', '.join(unfinished)}")
    databases = sorted(set(first.databases))
    parts = [None, *databases] if len(databases) > 1 else [None]
    return [_row(group, part) for part in parts]


def _row(group: list[results.Run], database: str | None) -> dict[str, str]:
    first, classes = group[0], group[0].info["classes"]
    keep = [row for row, name in enumerate(first.databases) if database in (None, name)]
    order = [[run.clips.index(first.clips[row]) for row in keep] for run in group]
    truth, subjects = first.truth[keep], [first.subjects[row] for row in keep]
    predicted = np.stack([run.predicted[rows_] for run, rows_ in zip(group, order, strict=True)])
    scored = [metrics.scores(truth, one, classes) for one in predicted]
    interval = metrics.bootstrap(truth, predicted, subjects, classes)
    default = rows_settings(first)
    uf1 = [one.uf1 for one in scored]
    return {
        "dataset": first.info["dataset"],
        "trained_on": first.info["part"] or "all",
        "database": database or first.info["part"] or "all",
        "method": first.info["method"],
        "settings": default,
        "protocol": first.info["protocol"],
        "select": first.info["select"],
        "seeds": str(len(group)),
        "clips": str(len(keep)),
        "subjects": str(len(set(subjects))),
        "uf1": f"{100 * np.mean(uf1):.2f}",
        "uf1_low": f"{100 * interval.uf1[0]:.2f}",
        "uf1_high": f"{100 * interval.uf1[1]:.2f}",
        "uar": f"{100 * np.mean([one.uar for one in scored]):.2f}",
        "uar_low": f"{100 * interval.uar[0]:.2f}",
        "uar_high": f"{100 * interval.uar[1]:.2f}",
        "accuracy": f"{100 * np.mean([one.accuracy for one in scored]):.2f}",
        "uf1_sd": f"{100 * np.std(uf1, ddof=1):.2f}" if len(uf1) > 1 else "",
        "processor": f"{first.info['machine']['processor']}, {first.info['machine']['cores']} cores",
        "versions": ", ".join(f"{name} {version}" for name, version in first.info["versions"].items()),
        "command": re.sub(r" --(root|runs|jobs) \S+| --json", "", first.info["command"]),
    }


def rows_settings(run: results.Run) -> str:
    """Settings that differ from the method's defaults, but for the seed and, on published flow, the flow's solver."""
    from microexpr.methods._settings import settings_of

    usual = settings_of(methods.create(run.info["method"]))
    unused = {"seed"} if "frames" in datasets.adapter(run.info["dataset"]).CARRIES else {"seed", "flow_mode"}
    settings = run.info["settings"].items()
    odd = {key: value for key, value in settings if key not in unused and usual.get(key) != value}
    return " ".join(f"{key}={value}" for key, value in odd.items())


def table(name: str, databases: list[str]) -> str:
    """The Markdown table of one results file; with `databases`, only runs trained and tested on one of them."""
    with (ROOT / "results" / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        measured = list(csv.DictReader(stream))
    if databases:
        measured = [row for row in measured if row["trained_on"] == row["database"] and row["database"] in databases]
    places, order = list(NAMES), methods.names()
    measured.sort(
        key=lambda row: (places.index(row["trained_on"]), places.index(row["database"]), order.index(row["method"]))
    )
    head = "| data | method | UF1 [95 %] | UAR [95 %] | seeds | published UF1 / UAR |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(map(_line, measured))


def flow_table(name: str, part: str) -> str:
    """A table of `benchmarks/flow.py`: "speed" and errors over the kinds of scenes, errors by peak, or "bias"."""
    with (ROOT / "results" / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        measured = list(csv.DictReader(stream))
    if part == "bias":
        return _bias_table(measured)
    named = list(dict.fromkeys(row["method"] for row in measured if row["part"] == "micro"))
    if part == "speed":
        head = ["solver", "times as fast", "ms", "micro-motion", "with drift", "4 and 8 px"]
        lines = [[m, *_times(measured, m), *(_errors(_of(measured, k, m)) for k in KINDS)] for m in named]
    else:  # a kind of scene: errors by peak
        peaks = list(dict.fromkeys(row["peak"] for row in measured if row["part"] == part))
        head = ["peak, px", *peaks]
        lines = [
            [m, *(_errors([row for row in _of(measured, part, m) if row["peak"] == peak]) for peak in peaks)]
            for m in named
            if m.startswith(("microexpr", "zero")) or "TV-L1" in m
        ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines))


KINDS = ("micro", "drift", "large")


def _times(measured: list[dict[str, str]], method: str) -> list[str]:
    """Median over the scenes of the default's time over the method's, and of the method's milliseconds."""
    if method == "zero flow":
        return ["-", "-"]
    default, own = (
        np.array([float(row["milliseconds"]) for kind in KINDS for row in _of(measured, kind, name)])
        for name in (measured[0]["method"], method)
    )
    return [f"{np.median(default / own):.3g}", f"{np.median(own):.3g}"]


def _errors(rows: list[dict[str, str]]) -> str:
    means = [np.mean([float(row[key]) for row in rows]) for key in ("mean_error", "moving_error")]
    return " / ".join(f"{mean:.4f}".lstrip("0") for mean in means)


def _bias_table(measured: list[dict[str, str]]) -> str:
    shifts = list(dict.fromkeys(row["peak"] for row in measured if row["part"] == "bias"))
    lines = ["| found / true shift of | " + " | ".join(shifts) + " px |", "|---|" + "---|" * len(shifts)]
    for method in dict.fromkeys(row["method"] for row in measured if row["part"] == "bias"):
        found = [[float(r["ratio"]) for r in _of(measured, "bias", method) if r["peak"] == s] for s in shifts]
        lines.append(f"| {method} | " + " | ".join(f"{min(f):.2f}-{max(f):.2f}" for f in found) + " |")
    return "\n".join(lines)


def _of(measured: list[dict[str, str]], part: str, method: str) -> list[dict[str, str]]:
    return [row for row in measured if (row["part"], row["method"]) == (part, method)]


def _line(row: dict[str, str]) -> str:
    database = None if row["database"] == "all" else row["database"]
    known = published.published(row["method"], row["dataset"], database)
    where = NAMES[row["database"]]
    if row["trained_on"] == "all" and database:
        where = f"3DB, clips of {where}"
    settings = f" ({row['settings']})" if row["settings"] else ""
    spread = f" ± {float(row['uf1_sd']):.1f}" if row["uf1_sd"] else ""
    given = f"{known.uf1} / {known.uar}" if known else "-"
    return (
        f"| {where} | `{row['method']}`{settings} "
        f"| {float(row['uf1']):.1f}{spread} [{float(row['uf1_low']):.1f}, {float(row['uf1_high']):.1f}] "
        f"| {float(row['uar']):.1f} [{float(row['uar_low']):.1f}, {float(row['uar_high']):.1f}] "
        f"| {row['seeds']} | {given} |"
    )


def renewed(text: str) -> str:
    """A page with its tables written anew."""

    def write(match: re.Match[str]) -> str:
        name, *rest = match[1].split()
        made = flow_table(name, *rest) if name.startswith("flow-") else table(name, rest)
        return f"{BEGIN.format(match[1])}\n{made}\n{END}"

    return re.sub(rf"{BEGIN.format('(.+?)')}\n.*?{END}", write, text, flags=re.S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tables", action="store_true")
    options = parser.parse_args()
    if bool(options.runs) != bool(options.out):
        parser.error("runs go with --out FILE")
    if options.runs:
        fresh = []
        for group in by_experiment([results.read_run(folder) for folder in options.runs]):
            fresh += figures(group)
        key = ("dataset", "trained_on", "database", "method", "settings", "protocol", "select")
        renew = [[row[column] for column in key] for row in fresh]
        kept: list[dict[str, str]] = []
        if options.out.is_file():
            with options.out.open(newline="", encoding="utf-8") as stream:
                kept = [row for row in csv.DictReader(stream) if [row[column] for column in key] not in renew]
        with options.out.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept + fresh)
    if options.tables:
        for page in (ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "flow.md"):
            page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
