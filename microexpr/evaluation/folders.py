"""Run folders as the runner meets them: begun, continued, or those of somebody else's experiment."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microexpr.errors import BadInput, RunMismatch
from microexpr.evaluation import record, results
from microexpr.types import Fold


@dataclass(frozen=True)
class Opened:
    """A run folder, and its run.json as it is or will be."""

    folder: Path
    info: dict[str, Any]


def is_finished(run: Opened, fold: Fold) -> bool:
    """Whether a fold has its whole file, and its trace in a run that keeps them; what is damaged is removed."""
    clips, classes = run.info["folds"][fold.name], run.info["classes"]
    try:
        done = results.read_fold(run.folder, fold.name, classes, clips) is not None
        if done and run.info["select"] == "oracle":
            results.read_fold_trace(run.folder, fold.name, len(clips), len(classes))
        return done
    except BadInput as error:
        warnings.warn(f"{error}; that fold is computed again", stacklevel=2)
        results.fold_file(run.folder, fold.name).unlink(missing_ok=True)
        return False


def open_run(runs: Path, info: dict[str, Any]) -> Opened:
    """A run folder that is to be begun, or one to be continued, which asked for the same."""
    # Absolute: a worker that was started earlier may stand in another folder.
    folder = runs.absolute() / info["name"]
    files = {results.fold_file(folder, fold) for fold in info["folds"]}
    if len(files) != len(info["folds"]):
        raise BadInput("folds whose names give different files", "two that give one", "rename the subjects")
    if not (folder / "run.json").is_file():
        return Opened(folder, info)
    begun = results.read_info(folder)
    mine, its = info["versions"]["microexpr"], begun["versions"]["microexpr"]
    if mine != its:
        raise RunMismatch(
            f"expected a run begun by microexpr {mine}, got one of {its} in {folder}; "
            "move that folder away or choose another --runs"
        )
    if begun["asked"] != info["asked"]:
        raise RunMismatch(
            f"expected the run of these settings, got another in {folder}; "
            "move that folder away or choose another --runs"
        )
    results.remove_leftovers(folder)
    return Opened(folder, begun)


def begin(run: Opened) -> bool:
    """Writes run.json where there is none; True for the one process that made the folder."""
    try:
        run.folder.mkdir(parents=True)
        made = True
    except OSError:  # it is there; a place that can't be written is told by the next line
        made = False
    if not (run.folder / "run.json").is_file():
        results.write_text(run.folder / "run.json", json.dumps(run.info, indent=2, ensure_ascii=False) + "\n")
    elif made is False:  # maybe begun since it was looked for
        check_versions(open_run(run.folder.parent, run.info))
    return made


def check_versions(run: Opened) -> None:
    """A run is one experiment: its folds are not mixed from several versions of what the numbers depend on."""
    folder, info = run.folder, run.info
    for package, now in record.versions().items():
        if (then := info["versions"].get(package)) != now:
            raise RunMismatch(
                f"expected {package} {then}, with which the run in {folder} was begun, got {now}; "
                "install that version, move the folder away or choose another --runs"
            )
    device = info["settings"].get("device", "cpu")
    part = "gpu" if device.startswith("cuda") else "processor"
    here, there = record.machine(device)[part], info["machine"].get(part)
    if here != there and info["settings"].get("precision") == "auto":
        raise RunMismatch(
            f"expected the {part} {there}, on which the run in {folder} was begun with precision=auto, got {here}; "
            "set precision to float32 or bfloat16 to work on several machines"
        )
