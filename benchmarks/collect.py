"""Measured figures: run folders -> one CSV for each experiment and machine -> the tables and pictures of the pages.

    python benchmarks/collect.py RUN ... --out results/leak-MACHINE.csv    adds or renews the rows of runs
    python benchmarks/collect.py RUN ... --out results/leak-MACHINE.csv --pictures docs/images    and draws them
    python benchmarks/collect.py RUN ... --experiment confusion --pictures docs/images            draws them only
    python benchmarks/collect.py --tables                                  writes the tables from results/

The name of the CSV begins with that of its experiment. A row is one method with its settings on one database: mean over
its seeds, 95 % subject-bootstrap interval of that mean. Only summary figures leave a run folder; no label, no clip
name. A test checks that the tables are current.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path

import numpy as np
from page_tables import experiment_of, pages, renewed
from score_tables import number_of

from microexpr import datasets, experiments, methods
from microexpr.evaluation import metrics, results

COLUMNS = (
    *("dataset", "trained_on", "database", "method", "settings", "protocol", "select", "leaks"),
    *("seeds", "clips", "subjects"),
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
KEY = ("dataset", "trained_on", "database", "method", "settings", "protocol", "select")


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
        "leaks": "LEAKS" if first.info["select"] == "oracle" else "",
        "seeds": str(len(group)),
        "clips": str(len(keep)),
        "subjects": str(len(set(subjects))),
        "uf1": f"{100 * np.mean(uf1):.4f}",
        "uf1_low": f"{100 * interval.uf1[0]:.4f}",
        "uf1_high": f"{100 * interval.uf1[1]:.4f}",
        "uar": f"{100 * np.mean([one.uar for one in scored]):.4f}",
        "uar_low": f"{100 * interval.uar[0]:.4f}",
        "uar_high": f"{100 * interval.uar[1]:.4f}",
        "accuracy": f"{100 * np.mean([one.accuracy for one in scored]):.4f}",
        "uf1_sd": f"{100 * np.std(uf1, ddof=1):.4f}" if len(uf1) > 1 else "",
        "processor": f"{first.info['machine']['processor']}, {first.info['machine']['cores']} cores",
        "versions": ", ".join(f"{name} {version}" for name, version in first.info["versions"].items()),
        "command": re.sub(r" --(root|runs|jobs|out) \S+| --json", "", first.info["command"]),
    }


def rows_settings(run: results.Run) -> str:
    """Settings that differ from the method's defaults, but for the seed and, on published flow, the flow's solver."""
    from microexpr.methods._settings import settings_of

    usual = settings_of(methods.create(run.info["method"]))
    unused = {"seed"} if "frames" in datasets.adapter(run.info["dataset"]).CARRIES else {"seed", "flow_mode"}
    settings = run.info["settings"].items()
    odd = {key: value for key, value in settings if key not in unused and usual.get(key) != value}
    return " ".join(f"{key}={value}" for key, value in odd.items())


def collect(runs: list[results.Run], out: Path) -> None:
    """Adds the rows of the runs to a results file; rows of the same experiment are replaced."""
    experiment = experiment_of(out.stem)
    fresh = [row for group in by_experiment(runs) for row in figures(group)]
    for row in fresh:
        number_of(experiment, row)  # refuses what is no variant of the experiment
    renew = [[row[column] for column in KEY] for row in fresh]
    kept: list[dict[str, str]] = []
    if out.is_file():
        with out.open(newline="", encoding="utf-8") as stream:
            kept = [row for row in csv.DictReader(stream) if [row[column] for column in KEY] not in renew]
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept + fresh)


def draw(runs: list[results.Run], experiment: str, folder: Path) -> list[Path]:
    """Draws an experiment's pictures from finished runs, those of each set of clips apart; returns the files."""
    apart: dict[str, list[results.Run]] = {}
    for run in runs:
        apart.setdefault(run.info["data"]["digest"], []).append(run)
    written = []
    for same in apart.values():
        for stem, picture in experiments.pictures(experiment, same).items():
            written.append(folder / f"{stem}.svg")
            results.write_text(written[-1], picture)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders")
    parser.add_argument("--out", type=Path, metavar="FILE", help="results/EXPERIMENT-MACHINE.csv")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw the experiment's pictures into this folder")
    parser.add_argument("--experiment", metavar="NAME", help="whose pictures (default: that of --out)")
    parser.add_argument("--tables", action="store_true", help="write the tables of the pages anew")
    options = parser.parse_args()
    if bool(options.runs) != bool(options.out or options.pictures):
        parser.error("runs go with --out FILE or --pictures DIR")
    if options.pictures and not (options.out or options.experiment):
        parser.error("--pictures needs --out or --experiment")
    if options.runs:
        runs = [results.read_run(folder) for folder in options.runs]
        if options.out:
            collect(runs, options.out)
        if options.pictures:
            draw(runs, options.experiment or experiment_of(options.out.stem), options.pictures)
    if options.tables:
        for page in pages():
            page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
