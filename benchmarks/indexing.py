"""How long it takes until a recorded data set is known: its table read, its folders listed, its clips checked.

    python -m benchmarks.indexing [--repeats 5] [--out results/indexing-<machine>.csv]

The folders are the replicas of the tests, of full size: the real names of files and columns, invented rows, and empty
files in the place of pictures, so a reader that opened a single one would fail. The time is the middle one of the
repeats, with the names of files in the memory of the system, as they are after the first look; how long a first look
takes is up to the disk. The composite is read from the replicas of its three members.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from microexpr import datasets
from microexpr.evaluation import record
from tests.fake import casme, casme2, casme3, casme_sq, dfme, fourdme, mmew, samm, samm_lv, smic

REPLICAS: dict[str, Any] = {
    **{"smic": smic, "casme2": casme2, "samm": samm, "casme3": casme3, "casme-sq": casme_sq, "samm-lv": samm_lv},
    **{"mmew": mmew, "casme": casme, "4dme": fourdme, "dfme": dfme},
}
COMPOSITE = ("smic", "casme2", "samm")


def middle_seconds(work: Callable[[], object], repeats: int) -> float:
    """The middle of the times of `repeats` calls."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def files_under(root: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(root))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of clips that are left out: the replicas have their sets' faults
    machine = record.machine()
    about = f"{machine['processor']}, {machine['cores']} cores; Python {record.versions()['python']}"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        roots = {}
        for name, replica in REPLICAS.items():
            roots[name] = Path(folder) / name
            replica.full(roots[name])
        roots["3db"] = {member: roots[member] for member in COMPOSITE}
        for name in datasets.DATASETS:
            if name not in roots:
                continue
            root = roots[name]
            read = partial(datasets.load, name, root, damaged="skip")
            found = read()
            seconds = middle_seconds(read, options.repeats)
            parts = root.values() if isinstance(root, dict) else [root]
            rows.append(
                {
                    "data set": name,
                    "clips": len(found.clips),
                    "files": sum(map(files_under, parts)),
                    "seconds": f"{seconds:.2f}",
                    "machine": about,
                }
            )
            print(" ".join(f"{value!s:>10}" for value in rows[-1].values()))
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
