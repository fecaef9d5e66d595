"""Weights that were trained elsewhere, one file for each left-out subject, as published evaluations come."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microexpr.errors import BadInput
from microexpr.methods._pretrain import read_state
from microexpr.methods._settings import settings_of
from microexpr.types import Method

SUFFIXES = (".safetensors", ".pth", ".pt")
MOST_CLASSES = 64  # that are tried where weights do not fit
# Settings in which files may differ from the method that they are loaded into: they change no prediction.
FREE = {"device", "precision", "seed", "threads"}


def names_of(subject: str, subjects: Sequence[str]) -> list[str]:
    """What the file of a subject may be called, without its suffix.

    Of ``"casme2/sub01"``: ``casme2/sub01``, ``casme2-sub01``, ``casme2_sub01``, and ``sub01`` where no other of the
    subjects ends in that.
    """
    short = subject.rpartition("/")[2]
    alone = sum(other.rpartition("/")[2] == short for other in subjects) == 1
    whole = [subject, subject.replace("/", "-"), subject.replace("/", "_")]
    return list(dict.fromkeys([*whole, short] if alone else whole))


def find(folder: Path, subjects: Sequence[str]) -> dict[str, Path]:
    """The file of every subject: `names_of` with one of `SUFFIXES`.

    Raises:
        BadInput: no such folder, a subject without a file, or one with several.
    """
    if not folder.is_dir():
        raise BadInput("a folder of weights", str(folder), "give one with a file for each left-out subject")
    found = {}
    for subject in subjects:
        places = [folder / f"{name}{suffix}" for name in names_of(subject, subjects) for suffix in SUFFIXES]
        files = [place for place in places if place.is_file()]
        if len(files) > 1:
            both = " and ".join(str(file.relative_to(folder)) for file in files)
            raise BadInput(f"one file for {subject} in {folder}", both, "leave only the one that is meant")
        if files:
            found[subject] = files[0]
    missing = [subject for subject in subjects if subject not in found]
    if missing:
        told = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        could = " or ".join(name + SUFFIXES[1] for name in names_of(missing[0], subjects))
        advice = f"name files like {could} ({', '.join(SUFFIXES)})"
        raise BadInput(f"weights for each of {len(subjects)} left-out subjects in {folder}", f"none for {told}", advice)
    return found


@dataclasses.dataclass(frozen=True)
class PerFold:
    """Weights of a method for every left-out subject.

    Attributes:
        method: unfitted, with the settings of the weights.
        name: as registered.
        classes: in the order of the class numbers.
        folder: where they lie, as given.
        files: left-out subject -> file.
        digests: left-out subject -> sha256 of its file, 64 hex digits.
    """

    method: Method
    name: str
    classes: tuple[str, ...]
    folder: str
    files: Mapping[str, Path]
    digests: Mapping[str, str]

    def load(self, subject: str) -> Method:
        """The fitted method of a left-out subject."""
        return load(self.method, self.name, self.classes, self.files[subject])


def gather(method: Method, name: str, classes: Sequence[str], folder: Path, subjects: Sequence[str]) -> PerFold:
    """The weights of every subject. Each file is read now, so that a wrong one is told at once, but none is kept.

    Raises:
        BadInput: as `find` and `load`, or the method has no weights to load.
    """
    if not hasattr(method, "load_weights"):
        raise BadInput("a method whose weights can be loaded", name, "give it the verbs weights and load_weights")
    # absolute: a worker may stand in another folder
    files = {subject: file.absolute() for subject, file in find(folder, subjects).items()}
    digests = {}
    for subject, file in files.items():
        load(method, name, classes, file)
        digests[subject] = hashlib.sha256(file.read_bytes()).hexdigest()
    return PerFold(method, name, tuple(classes), str(folder), files, digests)


def load(method: Method, name: str, classes: Sequence[str], file: Path) -> Method:
    """A copy of an unfitted method with the weights of a file.

    Args:
        method: with the settings that the weights were trained with.
        name: as registered.
        classes: in the order of the class numbers.
        file: safetensors, or a PyTorch state dictionary with the names of the method's `weights`. A file that
            `microexpr train` wrote also says its method, classes and settings, which must be these.

    Raises:
        BadInput: it can't be read, is of another method, or has other classes or settings.
    """
    state = read_state(file)
    _check_record(method, name, classes, file)
    halves = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    arrays = {key: value.contiguous().numpy() for key, value in halves.items()}
    try:
        return _loaded(method, arrays)
    except BadInput as error:
        expected = f"weights of {name} in {file}"
        if (count := _classes_of(method, arrays)) is not None:
            advice = "give weights of these classes"
            raise BadInput(f"{expected}, {len(classes)} classes", f"{count} classes", advice) from error
        raise BadInput(expected, f"others ({error})", f"see: microexpr methods {name}") from error


def _loaded(method: Any, arrays: Mapping[str, np.ndarray]) -> Method:
    return copy.deepcopy(method).load_weights(arrays)


def _classes_of(method: Any, arrays: Mapping[str, np.ndarray]) -> int | None:
    """Another number of classes for which the weights would fit, if there is one."""
    for count in sorted({len(value) for value in arrays.values() if value.ndim and 1 < len(value) <= MOST_CLASSES}):
        try:
            _loaded(dataclasses.replace(method, classes=count), arrays)
            return count
        except BadInput:
            continue
    return None


def _check_record(method: Method, name: str, classes: Sequence[str], file: Path) -> None:
    """Compares what a file of `microexpr train` says about itself; other files say nothing."""
    from safetensors import safe_open

    if file.suffix != ".safetensors":
        return
    with safe_open(file, framework="numpy") as stream:
        record = stream.metadata() or {}
    if record.get("format") != "microexpr-weights-1":
        return
    if record["method"] != name:
        raise BadInput(f"weights of {name} in {file}", f"those of {record['method']}", "evaluate that method")
    if (found := json.loads(record["classes"])) != list(classes):
        expected = f"weights for the classes {', '.join(classes)} in {file}"
        raise BadInput(expected, ", ".join(found), "give weights of these classes, in this order")
    its, mine = json.loads(record["settings"]), settings_of(method)
    for key in sorted(its.keys() & mine.keys() - FREE):
        if its[key] != mine[key]:
            raise BadInput(f"weights with {key}={mine[key]} in {file}", str(its[key]), f"set --set {key}={its[key]}")
