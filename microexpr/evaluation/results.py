"""Run folders: ``run.json`` says what was asked, ``folds/<name>.csv`` holds one fold's predictions.

Predictions are stored, numbers are derived. Every file is written by rename, so a run can be killed at any moment:
what has a file is done, what has none is not.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import time
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from microexpr.errors import BadInput, RunMismatch
from microexpr.motion.files import replace_file

REQUIRED = {"asked", "dataset", "part", "rendered", "method", "settings", "protocol", "classes", "select", "seed"} | {
    *("data", "folds", "versions", "machine", "command"),
}
LEFTOVER = 3600  # seconds after which a temporary file is nobody's
FORMAT = 2  # of the run folder; a change of run.json or of the fold files raises it


@dataclass(frozen=True)
class Run:
    """A run folder as it was read: finished folds only.

    Attributes:
        folder: where it lies.
        info: run.json.
        folds, finished: names of all folds, and of those that have a file.
        clips, databases, subjects: of every predicted clip.
        truth, predicted: class numbers "clip".
        epochs: of every clip, the epoch whose weights answered; None for a method without epochs.
        probabilities: "clip class".
    """

    folder: Path
    info: dict[str, Any]
    folds: tuple[str, ...]
    finished: tuple[str, ...]
    clips: tuple[str, ...]
    databases: tuple[str, ...]
    subjects: tuple[str, ...]
    truth: Int[np.ndarray, " clip"]
    predicted: Int[np.ndarray, " clip"]
    probabilities: Float[np.ndarray, "clip class"]
    epochs: tuple[int | None, ...]


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spare blanks: equal content, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(value: Any) -> str:
    """First 12 hex digits of the sha256 of the canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]


def write_text(file: Path, text: str) -> None:
    """`write_bytes` of text in UTF-8."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Writes by rename: the file is there whole or not at all.

    Raises:
        BadInput: the place can't be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, content)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "make space and give the same command again" if full else "choose another output folder"
        raise BadInput("a place that can be written", f"{file}: {error.strerror or error}", advice) from error


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files of killed writers from a run folder.

    Only those an hour old: a younger one may belong to a process at work here or on another machine, and a write takes
    far less.
    """
    for file in (*folder.glob(".*.tmp"), *folder.glob("folds/.*.tmp"), *folder.glob("traces/.*.tmp")):
        with contextlib.suppress(OSError):  # its writer was faster, or the folder can't be written: told when it is
            if time.time() - file.stat().st_mtime > LEFTOVER:
                file.unlink()


def fold_file(folder: Path, fold: str) -> Path:
    """Where a fold's predictions lie."""
    return folder / "folds" / (fold.replace("/", "-") + ".csv")


def columns(classes: Sequence[str]) -> list[str]:
    """Header of a fold file."""
    return ["clip", "dataset", "subject", "truth", "predicted", "epoch", *(f"probability_{name}" for name in classes)]


def write_fold(folder: Path, fold: str, classes: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one fold's predictions; each row has the fields of `columns`."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns(classes), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(fold_file(folder, fold), stream.getvalue())


def trace_file(folder: Path, fold: str) -> Path:
    """Where the probabilities of a fold after every epoch lie, in the folder of an oracle run."""
    return folder / "traces" / (fold.replace("/", "-") + ".npz")


def write_trace(folder: Path, fold: str, trace: Float[np.ndarray, "epoch clip class"]) -> None:
    """Writes the probabilities of a fold's clips after every epoch."""
    stream = io.BytesIO()
    np.savez_compressed(stream, probabilities=trace.astype(np.float32))
    write_bytes(trace_file(folder, fold), stream.getvalue())


def read_fold_trace(folder: Path, fold: str, clips: int, classes: int) -> Float[np.ndarray, "epoch clip class"]:
    """The trace of one fold.

    Raises:
        BadInput: it is damaged or missing.
    """
    file = trace_file(folder, fold)
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            trace = stored["probabilities"]
        if trace.shape[1:] != (clips, classes):
            raise ValueError("another shape")
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        advice = f"delete {fold_file(folder, fold)} and evaluate again"
        raise BadInput(f"the trace of fold {fold}", f"a damaged or missing file {file}", advice) from error
    return trace


def read_trace(run: Run) -> Float[np.ndarray, "epoch clip class"] | None:
    """Probabilities of every clip of the finished folds after every epoch, in the order of ``run.clips``.

    None where the run keeps no traces: its epoch is not that of the oracle.

    Raises:
        BadInput: a trace is damaged, or that of a finished fold is missing.
    """
    if not (run.folder / "traces").is_dir():
        return None
    clips, classes = run.info["folds"], len(run.info["classes"])
    traces = [read_fold_trace(run.folder, fold, len(clips[fold]), classes) for fold in run.finished]
    if len({len(trace) for trace in traces}) > 1:
        raise BadInput("traces of equally many epochs", "different ones", f"delete {run.folder} and evaluate again")
    return np.concatenate(traces, axis=1) if traces else None


def read_fold(folder: Path, fold: str, classes: Sequence[str], clips: Sequence[str]) -> list[dict[str, str]] | None:
    """One fold's rows, or None where the fold is not done.

    Raises:
        BadInput: there is a file, but it does not hold exactly the fold's clips.
    """
    file = fold_file(folder, fold)
    if not file.is_file():
        return None
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            header = list(reader.fieldnames or ())
            rows = list(reader)
        whole = header == columns(classes) and [row["clip"] for row in rows] == list(clips)
        sound = whole and all(_is_sound(row, classes) for row in rows)
    except (ValueError, TypeError, csv.Error):  # not UTF-8, no number, a row cut short
        sound, rows = False, []
    if not sound:
        raise BadInput(
            f"{len(clips)} whole rows of fold {fold}",
            f"a damaged or edited file {file}",
            "delete that file and evaluate again",
        )
    return rows


def _is_sound(row: Mapping[str, str], classes: Sequence[str]) -> bool:
    """A row whose labels are classes and whose prediction is that of its probabilities."""
    given = [float(row[f"probability_{name}"]) for name in classes]
    known = row["truth"] in classes and row["predicted"] in classes and bool(row["dataset"] and row["subject"])
    best = max(given)
    known = known and (row["epoch"] == "" or int(row["epoch"]) > 0)
    return known and bool(np.isfinite(given).all()) and given[classes.index(row["predicted"])] >= best - 1e-6


def read_info(folder: Path) -> dict[str, Any]:
    """run.json of a run folder.

    Raises:
        BadInput: the folder holds no run.
        RunMismatch: another format.
    """
    file = folder / "run.json"
    if not file.is_file():
        raise BadInput("a run folder with run.json", str(folder), "give a folder that `microexpr evaluate` wrote")
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
        found = info["format"]
        if found == FORMAT and (lacking := REQUIRED - info.keys()):
            raise KeyError(*sorted(lacking))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            "a run.json that `microexpr evaluate` wrote", f"{file}, which is damaged", "move the run folder away"
        ) from error
    if found != FORMAT:
        raise RunMismatch(
            f"expected run format {FORMAT}, got {found} in {folder} (written by microexpr "
            f"{info.get('versions', {}).get('microexpr', 'of unknown version')}); "
            "read it with that version or move it away"
        )
    return info


def read_run(folder: Path) -> Run:
    """Reads a run folder: run.json and the folds that are finished.

    Raises:
        BadInput: no run folder, or a damaged file, which is named.
        RunMismatch: another format.
    """
    info = read_info(folder)
    classes = info["classes"]
    done = {
        name: rows
        for name, clips in info["folds"].items()
        if (rows := read_fold(folder, name, classes, clips)) is not None
    }
    rows = [row for fold in done.values() for row in fold]
    return Run(
        folder=folder,
        info=info,
        folds=tuple(info["folds"]),
        finished=tuple(done),
        clips=tuple(row["clip"] for row in rows),
        databases=tuple(row["dataset"] for row in rows),
        subjects=tuple(row["subject"] for row in rows),
        truth=np.array([classes.index(row["truth"]) for row in rows], dtype=np.int64),
        predicted=np.array([classes.index(row["predicted"]) for row in rows], dtype=np.int64),
        probabilities=np.array(
            [[float(row[f"probability_{name}"]) for name in classes] for row in rows], dtype=np.float64
        ).reshape(len(rows), len(classes)),
        epochs=tuple(int(row["epoch"]) if row["epoch"] else None for row in rows),
    )
