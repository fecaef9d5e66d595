"""Whether a run that is killed again and again ends with the bytes of one that nobody disturbed.

    python benchmarks/resume.py [--kills 20] [--method flow-linear] [--out results/resume-<machine>.csv]

An evaluation of the rendered set runs as a process of its own with two workers. At a random moment it gets SIGKILL:
by turns the whole process group, and the parent alone, whose workers must notice. Then the same command starts again.
After the last kill it is left to finish, and its fold files are compared byte for byte with those of an undisturbed
run. A run that finishes before its kill came counts as no kill and begins anew in another folder, compared as well.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from microexpr.evaluation import record

EVALUATE = """
import sys
from microexpr import api
method, runs, epochs = sys.argv[1:]
data = api.load("synthetic", subjects=10, clips_per_subject=3)
api.evaluate(method, data, epochs=int(epochs), jobs=2, runs=runs)
"""


def start(options: argparse.Namespace, runs: Path) -> subprocess.Popen:
    given = [options.method, str(runs), str(options.epochs)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-c", EVALUATE, *given], start_new_session=True, **quiet)


def folds(runs: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(runs.glob("*/folds/*.csv"))}


def members(group: int) -> int:
    """Living processes of a process group."""
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            found += int(its_group) == group and state != "Z"
    return found


def kill(process: subprocess.Popen, whole_group: bool) -> None:
    """SIGKILL, and waits until no process of the group is left."""
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while members(process.pid):
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            raise SystemExit("workers outlived their parent by 30 seconds")
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--method", default="flow-linear")
    parser.add_argument("--epochs", type=int, default=6000, help="many: kills should come while folds are trained")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        begun = time.monotonic()
        if start(options, Path(place) / "undisturbed").wait():
            raise SystemExit("the undisturbed run failed")
        seconds = time.monotonic() - begun
        undisturbed = folds(Path(place) / "undisturbed")
        print(f"{len(undisturbed)} folds, {seconds:.1f} s when nobody disturbs", flush=True)
        same, done, kills, number = True, [], 0, 0
        runs = Path(place) / "0"
        while kills < options.kills:
            process = start(options, runs)
            # Early and late, also while it starts.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0.05, 1) * seconds)
            if process.poll() is not None:  # finished before the kill
                same = same and process.returncode == 0 and folds(runs) == undisturbed
                number += 1
                runs = Path(place) / str(number)
                continue
            kill(process, whole_group=kills % 2 == 0)
            kills += 1
            done.append(len(folds(runs)))
            print(f"kill {kills}: {'group' if kills % 2 else 'parent'}, {done[-1]} folds done", flush=True)
        same = same and start(options, runs).wait() == 0 and folds(runs) == undisturbed
    print(f"runs: {number + 1}; identical: {'yes' if same else 'no'}")
    machine = record.machine()
    about = f"{machine['processor']}, {machine['cores']} cores; Python {platform.python_version()}"
    rows = [
        (f"kills of {options.method} on synthetic, 2 workers, by turns of the group and of the parent", kills),
        ("runs that they were spread over", number + 1),
        ("kills with some but not all folds done", sum(0 < count < len(undisturbed) for count in done)),
        ("runs with all fold files identical to the undisturbed run (1 yes, 0 no)", int(same)),
    ]
    if options.out:
        with options.out.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["what", "value", "machine"], lineterminator="\n")
            writer.writeheader()
            writer.writerows({"what": what, "value": value, "machine": about} for what, value in rows)
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
