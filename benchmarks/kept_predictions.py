"""The answers of measured runs: run folders -> results/predictions/, and their scores for who has the data set.

    python benchmarks/kept_predictions.py FILE ... [--root MAPS]    scores them anew, without any training

`collect.py` writes a file here beside each of its own. A row is one run: one digit for each clip, the predicted class,
in the order of the clips' names. Nothing else of a data set is in it, no name and no label. A seed that was run
elsewhere or long ago is so still there when another is added to it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from microexpr import load
from microexpr.errors import MicroexprError
from microexpr.evaluation import metrics, protocols, record, results

COLUMNS = (
    *("run", "data", "dataset", "part", "classes", "method", "settings", "protocol", "select", "seed", "command"),
    "predicted",
)
Rows = list[dict[str, str]]


def file_of(out: Path) -> Path:
    """Where the predictions of the rows of a results file lie."""
    return out.parent / "predictions" / out.name


def read(file: Path) -> Rows:
    """The rows of a file; none where there is none."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def name_of(run: results.Run) -> str:
    """What the runs that differ in their seed only have in common: a digest of all that was asked, data included."""
    asked = run.info["asked"]
    return results.digest({**asked, "settings": {**asked["settings"], "seed": None}})


def keep(runs: Sequence[results.Run], file: Path, settings: Sequence[str], commands: Sequence[str]) -> None:
    """Adds or renews the rows of finished runs.

    Args:
        settings, commands: of each run, as the row shall tell them.
    """
    rows = {(row["run"], row["seed"]): row for row in read(file)}
    for run, own, command in zip(runs, settings, commands, strict=True):
        by_name = sorted(range(len(run.clips)), key=run.clips.__getitem__)
        row = {
            **{"run": name_of(run), "data": run.info["data"]["digest"], "dataset": run.info["dataset"]},
            **{"part": run.info["part"] or "", "classes": " ".join(run.info["classes"])},
            **{"method": run.info["method"], "settings": own},
            **{"protocol": run.info["protocol"], "select": run.info["select"], "seed": str(run.info["seed"])},
            **{"command": command, "predicted": "".join(str(run.predicted[clip]) for clip in by_name)},
        }
        rows[row["run"], row["seed"]] = row
    file.parent.mkdir(exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows.values(), key=lambda row: [row[column] for column in COLUMNS[2:10]]))


def of_seeds(like: results.Run, file: Path) -> dict[int, Int[np.ndarray, " clip"]]:
    """Kept predictions of the runs that differ from a finished one in their seed only, in the order of its clips."""
    by_name = np.argsort(sorted(range(len(like.clips)), key=like.clips.__getitem__))
    mine = [row for row in read(file) if row["run"] == name_of(like)]
    return {int(row["seed"]): _classes(row)[by_name] for row in mine}


def _classes(row: dict[str, str]) -> Int[np.ndarray, " clip"]:
    return np.array([int(digit) for digit in row["predicted"]])


def score(file: Path, root: Path | None) -> list[str]:
    """A line of scores for each row of a file, and for each database of a composite set."""
    lines = []
    for row in read(file):
        clips, truth, classes = _labelled(row, root)
        predicted = _classes(row)
        databases = np.array([clip.dataset for clip in clips])
        for part in ("all", *(sorted(set(databases)) if len(set(databases)) > 1 else ())):
            own = (databases == part) | (part == "all")
            found = metrics.scores(truth[own], predicted[own], classes)
            what = " ".join(filter(None, (row["method"], row["settings"], row["select"], f"seed {row['seed']}")))
            trained = row["part"] or "all"
            database = trained if part == "all" else part  # as the results file has them
            lines.append(f"{what}, {trained}, {database}: UF1 {100 * found.uf1:.2f} UAR {100 * found.uar:.2f}")
    return lines


def _labelled(row: dict[str, str], root: Path | None) -> tuple[list, Int[np.ndarray, " clip"], tuple[str, ...]]:
    """Clips of a row in the order of its predictions, their classes, the names of the classes."""
    data = load(row["dataset"], root, row["part"] or None)
    protocol = protocols.make("megc", row["protocol"])
    if " ".join(protocol.classes) != row["classes"]:
        sys.exit(f"{row['method']}: expected the classes {' '.join(protocol.classes)}, got {row['classes']}")
    labelled = protocols.label(data.clips, protocol)
    if record.data_digest(labelled.clips) != row["data"]:
        sys.exit(f"{row['method']}: expected the data of digest {row['data']}, got other clips, labels or pixels")
    by_name = sorted(range(len(labelled.clips)), key=lambda number: labelled.clips[number].key)
    return [labelled.clips[number] for number in by_name], labelled.labels[by_name], protocol.classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="results/predictions/EXPERIMENT-MACHINE.csv"
    )
    parser.add_argument("--root", type=Path, metavar="MAPS", help="the data set's folder")
    options = parser.parse_args()
    for file in options.files:
        if (read(file) or [{}])[0].keys() != set(COLUMNS):
            parser.error(f"expected a file of predictions, got {file}")
        try:
            print("\n".join(score(file, options.root)))
        except MicroexprError as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()
