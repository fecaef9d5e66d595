"""Measured figures: run folders -> one CSV for each experiment and machine -> the tables and pictures of the pages.

    python benchmarks/collect.py RUN ... --out results/leak-MACHINE.csv    adds or renews the rows of runs
    python benchmarks/collect.py RUN ... --out results/leak-MACHINE.csv --pictures docs/images    and draws them
    python benchmarks/collect.py RUN ... --experiment confusion --pictures docs/images            draws them only
    python benchmarks/collect.py --tables                                  writes the tables from results/

The name of the CSV begins with that of its experiment. A row is one method with its settings on one database: mean over
its seeds, 95 % subject-bootstrap interval of that mean. Beside it, results/predictions/ keeps what each run answered
(`kept_predictions.py`), so that seeds can be added one by one, wherever they were run. No label and no name of a clip
leaves a run folder. A test checks that the tables are current.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path

import kept_predictions
import numpy as np
from jaxtyping import Int
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
        groups.setdefault(kept_predictions.name_of(run), []).append(run)
    return list(groups.values())


def figures(group: list[results.Run], kept: Path) -> list[dict[str, str]]:
    """The rows of runs that differ in their seed only: the whole, then every database of a composite set.

    Args:
        kept: file of predictions; its other seeds count, too.
    """
    first = group[0]
    by_seed = kept_predictions.of_seeds(first, kept)
    for run in group:
        order = [run.clips.index(clip) for clip in first.clips]
        by_seed[run.info["seed"]] = run.predicted[order]
    predicted = np.stack([by_seed[seed] for seed in sorted(by_seed)])
    databases = sorted(set(first.databases))
    parts = [None, *databases] if len(databases) > 1 else [None]
    told = _with_seeds(command_of(first), sorted(by_seed))
    return [{**_row(first, predicted, part), "command": told} for part in parts]


def _row(first: results.Run, everything: Int[np.ndarray, "seed clip"], database: str | None) -> dict[str, str]:
    classes = first.info["classes"]
    keep = [row for row, name in enumerate(first.databases) if database in (None, name)]
    truth, subjects, predicted = first.truth[keep], [first.subjects[row] for row in keep], everything[:, keep]
    scored = [metrics.scores(truth, one, classes) for one in predicted]
    interval = metrics.bootstrap(truth, predicted, subjects, classes)
    uf1 = [one.uf1 for one in scored]
    return {
        "dataset": first.info["dataset"],
        "trained_on": first.info["part"] or "all",
        "database": database or first.info["part"] or "all",
        "method": first.info["method"],
        "settings": rows_settings(first),
        "protocol": first.info["protocol"],
        "select": first.info["select"],
        "leaks": "LEAKS" if first.info["select"] == "oracle" else "",
        "seeds": str(len(predicted)),
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
    }


def command_of(run: results.Run) -> str:
    """The command of a run without what is of this machine only."""
    return re.sub(r" --(root|runs|jobs|out) \S+| --json", "", run.info["command"])


def _with_seeds(command: str, seeds: list[int]) -> str:
    """The command that runs all of the seeds, where one does."""
    if seeds != list(range(len(seeds))):
        return command
    return re.sub(r" --seeds \d+| --set seed=\d+", "", command) + f" --seeds {len(seeds)}" * (len(seeds) > 1)


def rows_settings(run: results.Run) -> str:
    """Settings that differ from the method's defaults, but for the seed and, on published flow, the flow's solver."""
    from microexpr.methods._settings import settings_of

    usual = settings_of(methods.create(run.info["method"]))
    unused = {"seed"} if "frames" in datasets.adapter(run.info["dataset"]).CARRIES else {"seed", "flow_mode"}
    settings = run.info["settings"].items()
    odd = {key: value for key, value in settings if key not in unused and usual.get(key) != value}
    return " ".join(f"{key}={value}" for key, value in odd.items())


def collect(runs: list[results.Run], out: Path) -> None:
    """Adds the rows of the runs to a results file and keeps their predictions; those of the same are replaced."""
    experiment, kept_file = experiment_of(out.stem), kept_predictions.file_of(out)
    unfinished = [run.folder.name for run in runs if len(run.finished) < len(run.folds)]
    if unfinished:
        sys.exit(f"unfinished: {', '.join(unfinished)}")
    fresh = [row for group in by_experiment(runs) for row in figures(group, kept_file)]
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
    kept_predictions.keep(runs, kept_file, [rows_settings(run) for run in runs], [command_of(run) for run in runs])


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
