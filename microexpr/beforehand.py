"""What a method has learned before its folds are trained: from which data, and from whose people.

Leave-one-subject-out holds nobody back from a pre-training (``pretrain_on``, ``macro_on``) or from the training of
weights that a fit begins with (``initial_weights``), so whoever is tested must not be in them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from microexpr.errors import BadInput
from microexpr.types import NEGATIVE_POSITIVE_SURPRISE, Dataset, Protocol

SETS = ("pretrain_on", "macro_on")  # fields that name a data set


def require(method: Any, protocol: Protocol) -> None:
    """Tells before any fold is trained that a method can't begin with the weights or the data set that it names.

    Raises:
        BadInput: the file or a data set can't be used, or the macro-expressions have other classes than the protocol.
    """
    if getattr(method, "macro_on", "") and tuple(protocol.classes) != NEGATIVE_POSITIVE_SURPRISE:
        expected = f"the classes {', '.join(NEGATIVE_POSITIVE_SURPRISE)} with macro_on"
        raise BadInput(expected, ", ".join(protocol.classes), "set --labels megc or leave macro_on out")
    if any(getattr(method, field, "") for field in ("initial_weights", *SETS)):
        from microexpr.methods import _pretrain

        _pretrain.require(method)


def require_apart(method: Any, data: Dataset) -> None:
    """Raises BadInput where a method was or will be trained on people who are tested."""
    tested = {person(clip.subject) for clip in data.clips}
    for field in SETS:
        if name := getattr(method, field, ""):
            from microexpr.methods._pretrain import pretraining_clips

            if shared := {clip.subject for clip in pretraining_clips(name) if person(clip.subject) in tested}:
                came = f"{field}={name}, where {len(shared)} are, e.g. {min(shared)}"
                raise BadInput(f"{field} without the subjects of {data.name}", came, "name another data set")
    if file := getattr(method, "initial_weights", ""):
        seen, _ = people_of(Path(file))
        if shared := set(seen) & sets_of(clip.subject for clip in data.clips):
            came = f"{file}, trained on people of {', '.join(sorted(shared))}"
            raise BadInput(f"initial_weights that have not seen the subjects of {data.name}", came, "give others")


def digests(method: Any) -> dict[str, str]:
    """Of each data set that a method is also trained on, the field that names it -> `record.data_digest`.

    Its name says nothing about which copy of it, or which release, is there.
    """
    from microexpr.evaluation import record

    named = {field: getattr(method, field, "") for field in SETS}
    if not any(named.values()):
        return {}
    from microexpr.methods._pretrain import pretraining_clips

    return {field: record.data_digest(pretraining_clips(name)) for field, name in named.items() if name}


def is_unknown(method: Any) -> bool:
    """Whether a fit begins with weights of which it can't be read off whose people they have seen."""
    file = getattr(method, "initial_weights", "")
    return bool(file) and not people_of(Path(file))[1]


def people_of(file: Path) -> tuple[tuple[str, ...], bool]:
    """Of whose people a file of weights knows that it was trained on them, and whether that is all of them.

    Returns:
        Names of data sets, and False for a file that `microexpr train` did not write or that itself began with one.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as stream:
            found = stream.metadata() or {}
        record = json.loads(found.get("record", "{}"))
    except (SafetensorError, OSError, ValueError):
        return (), False
    people = record.get("people") if isinstance(record, dict) else None
    if found.get("format") != "microexpr-weights-1" or not isinstance(people, dict):
        return (), False
    return tuple(people.get("of", ())), bool(people.get("all", False))


def people_in(method: Any, subjects: Iterable[str]) -> dict[str, Any]:
    """What `train` writes down for `people_of`: the data sets of the subjects, and of all that a method began with."""
    seen, known = sets_of(subjects), True
    for field in SETS:
        if name := getattr(method, field, ""):
            from microexpr.methods._pretrain import pretraining_clips

            seen |= sets_of(clip.subject for clip in pretraining_clips(name))
    if file := getattr(method, "initial_weights", ""):
        its, known = people_of(Path(file))
        seen |= set(its)
    return {"of": sorted(seen), "all": known}


def sets_of(subjects: Iterable[str]) -> set[str]:
    """The data sets that first named these subjects."""
    return {person(subject).partition("/")[0] for subject in subjects}


def person(subject: str) -> str:
    """A subject by the data set that first named it: SAMM Long Videos shows the people of SAMM."""
    from microexpr import datasets

    dataset, _, name = subject.partition("/")
    known: Collection[str] = datasets.DATASETS
    return f"{getattr(datasets.adapter(dataset), 'SAME_PEOPLE_AS', dataset) if dataset in known else dataset}/{name}"
