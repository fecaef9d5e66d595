"""Which runs may stand in one table, which of them are one experiment, and in what order they stand.

An experiment is a method with its settings, protocol and selection of the epoch; its runs differ in the seed only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from microexpr.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from microexpr.evaluation.results import Run

ORDER = ("last", "inner", "oracle")  # in which selections of one experiment stand beside one another


def by_settings(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in the seed only, together.

    Groups are in the order given, but those that differ in the selection of the epoch only stand beside one another:
    last, inner, oracle.
    """
    families: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        selections = families.setdefault(_text(identity(run) | {"select": None}), {})
        selections.setdefault(run.info["select"], []).append(run)
    return [
        family[select]
        for family in families.values()
        for select in sorted(family, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    ]


def identity(run: Run) -> dict[str, Any]:
    """All that makes two runs the same experiment but for the seed."""
    info = run.info
    settings = {name: value for name, value in info["settings"].items() if name != "seed"}
    asked = {name: info[name] for name in ("method", "protocol", "select")}
    given = info.get("weights")
    weights = f"{given['folder']} ({given['digest']})" if given else "trained here"
    begun = {f"digest of {name}": text for name, text in info.get("asked", {}).get("beforehand", {}).items()}
    return {**asked, "folds": len(run.folds), **settings, **begun, "weights": weights}


def differing(run: Run, runs: Sequence[Run]) -> tuple[str, ...]:
    """What tells a run's experiment from the others of its method, e.g. ``("epochs=40",)``."""
    mine, others = identity(run), [identity(other) for other in runs]
    same = [other for other in others if other["method"] == mine["method"]]
    changed = [name for name in mine if any(other.get(name) != mine[name] for other in same)]
    # these matter between methods, too, where they are not the default
    for name, usual in (("protocol", "loso"), ("select", "last")):
        if name not in changed and mine[name] != usual and any(other[name] != mine[name] for other in others):
            changed.append(name)
    return tuple(f"{name}={mine[name]}" for name in changed)


def reference(groups: Sequence[Sequence[Run]], against: str) -> Sequence[Run]:
    """The experiment of the method `against` that the others are compared with.

    Where there are several, the one with the last epoch, else the one that was not chosen on the test subjects, if that
    leaves exactly one.

    Raises:
        UnknownName: no run is of that method.
        BadInput: several settings remain.
    """
    found = [group for group in groups if group[0].info["method"] == against]
    if not found:
        raise UnknownName("compared method", against, sorted({group[0].info["method"] for group in groups}))
    last = [group for group in found if group[0].info["select"] == "last"]
    honest = [group for group in found if group[0].info["select"] != "oracle"]
    left = last or honest or found
    if len(left) > 1:
        firsts = [group[0] for group in left]
        settings = "; ".join(" ".join(differing(first, firsts)) for first in firsts)
        raise BadInput(f"one setting of {against} to compare against", f"{len(left)}: {settings}", "leave others out")
    return left[0]


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuses a table of runs that did not answer the same questions (and rendered beside real data: never)."""
    if not runs:
        raise BadInput("at least one run folder", "none", "give the folders that evaluate wrote")
    first = runs[0]
    for run in runs:
        pair = f"{first.folder.name} and {run.folder.name}"
        if bool(run.info["rendered"]) != bool(first.info["rendered"]):
            raise BadInput("only real or only rendered data in one table", f"both ({pair})", "compare them apart")
        if run.info["data"]["digest"] != first.info["data"]["digest"]:
            raise BadInput("runs on the same data", _two_data(first, run), "evaluate both on one copy of the data")
    _check_finished(runs)
    for run in runs:
        pair = f"{first.folder.name} and {run.folder.name}"
        if set(run.clips) != set(first.clips):
            counts = f"{len(first.clips)} and {len(run.clips)} clips ({pair})"
            raise BadInput("runs on the same clips", counts, "evaluate both with one protocol and label map")
        same = run.info["classes"] == first.info["classes"]
        if not same or not np.array_equal(by_clip(run, run.truth), by_clip(first, first.truth)):
            raise BadInput("runs with the same labels", f"different ones ({pair})", "evaluate both with one label map")
    for group in by_settings(runs):
        seeds = [run.info["seed"] for run in group]
        if repeated := {seed for seed in seeds if seeds.count(seed) > 1}:
            twice = f"seed {min(repeated)} of {group[0].info['method']} twice, in two folders"
            raise BadInput("every seed of a method once", twice, "leave one of the folders out")


def by_clip(run: Run, values: Int[np.ndarray, " clip"]) -> Int[np.ndarray, " clip"]:
    """Values in the order of the clips' names: the same in every run on the same clips."""
    return values[np.argsort(np.array(run.clips))]


def _check_finished(runs: Sequence[Run]) -> None:
    """Unfinished runs may be compared only where all have the same clips; no run may be empty."""
    unlike = len({frozenset(run.clips) for run in runs}) > 1
    begun = [run for run in runs if not run.clips or (unlike and len(run.finished) < len(run.folds))]
    if begun:
        said = "; ".join(
            f"{len(run.finished)} of {len(run.folds)} folds of {run.info['method']}, seed {run.info['seed']}, "
            f"in {run.folder.name}"
            for run in begun
        )
        one = "it" if len(begun) == 1 else "them"
        raise BadInput("finished runs", said, f"run evaluate again to finish {one}, or leave {one} out")


def _two_data(first: Run, run: Run) -> str:
    """The two digests, and what differs as far as it can be told."""
    mine, other = first.info, run.info
    told = [f"{name} {mine[name]} and {other[name]}" for name in ("dataset", "part") if mine[name] != other[name]]
    told += [
        f"{mine['data'][name]} and {other['data'][name]} {name}"
        for name in ("clips", "subjects")
        if mine["data"][name] != other["data"][name]
    ]
    told += _two_readings(mine, other)
    if not told and len(first.finished) == len(first.folds) and len(run.finished) == len(run.folds):
        lone = sorted(set(first.clips) ^ set(run.clips))
        told = (
            [f"{lone[0]} is in one only"]
            if lone
            else ["the clips have the same names, their annotations or pixels differ"]
        )
    return (
        f"two data digests, {mine['data']['digest']} ({first.folder.name}) and {other['data']['digest']} "
        f"({run.folder.name}): {', '.join(told) or 'unfinished runs tell no more'}"
    )


def _two_readings(mine: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """How one data set was read and prepared in two ways, as far as run.json says."""
    told = []
    for part in ("options", "preparation"):
        one, two = mine.get(part, {}), other.get(part, {})
        names = [name for name in dict.fromkeys((*one, *two)) if one.get(name) != two.get(name)]
        shown = {name: (_shown(one.get(name)), _shown(two.get(name))) for name in names}
        told += [f"{name} {here} and {there}" for name, (here, there) in shown.items() if here != there]
    return told


def _shown(value: Any) -> str:
    return f"{len(value)} clips" if isinstance(value, list | dict) else "as usual" if value is None else str(value)


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, default=str)
