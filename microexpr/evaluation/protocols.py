"""Label maps and splits: which clips count, as which class, and who is left out.

Every split is by subject, and a subject is unique across databases, so no face stands on both sides of a fold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from microexpr.errors import BadInput, UnknownName
from microexpr.types import NEGATIVE_POSITIVE_SURPRISE, Clip, Fold, Protocol

# The three classes of MEGC 2019 (See et al. 2019): the emotions of the member sets, and the classes themselves for
# maps published with classes only. "others" is in no class: such clips are left out.
MEGC_CLASSES = {
    "negative": "negative",
    "positive": "positive",
    "surprise": "surprise",
    "happiness": "positive",
    "disgust": "negative",
    "repression": "negative",
    "anger": "negative",
    "contempt": "negative",
    "fear": "negative",
    "sadness": "negative",
}


@dataclass(frozen=True)
class Labelled:
    """The clips that a protocol keeps, with their class numbers."""

    clips: tuple[Clip, ...]
    labels: Int[np.ndarray, " clip"]


def megc(split: str = "loso", folds: int = 10) -> Protocol:
    """Negative, positive, surprise (MEGC 2019, the paper's Table 2) under the given split."""
    if split not in SPLITS:
        raise UnknownName("protocol", split, SPLITS)
    return Protocol(split, NEGATIVE_POSITIVE_SURPRISE, MEGC_CLASSES, folds)


def label(clips: Sequence[Clip], protocol: Protocol) -> Labelled:
    """Keeps the clips that have a class.

    Raises:
        BadInput: a class is left without a clip, so that UF1 and UAR are undefined.
    """
    kept = [clip for clip in clips if clip.emotion.lower() in protocol.class_of]
    numbers = [protocol.classes.index(protocol.class_of[clip.emotion.lower()]) for clip in kept]
    for number, name in enumerate(protocol.classes):
        if number not in numbers:
            emotions = ", ".join(sorted({clip.emotion for clip in clips})) or "none"
            raise BadInput(
                f"clips of every class ({', '.join(protocol.classes)})",
                f"none of class {name} (emotions present: {emotions})",
                "give the whole data set, or a part that has every class",
            )
    return Labelled(tuple(kept), np.array(numbers, dtype=np.int64))


def folds(clips: Sequence[Clip], protocol: Protocol) -> list[Fold]:
    """The folds of a protocol, in a fixed order.

    Raises:
        BadInput: too few subjects or databases to leave one out.
    """
    held_out = SPLITS[protocol.split](clips, protocol)
    everything = range(len(clips))
    made = []
    for name, rows in held_out.items():
        test = set(rows)
        made.append(Fold(name, tuple(row for row in everything if row not in test), tuple(sorted(test))))
    return made


def _rows_by(keys: Sequence[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    return dict(sorted(rows.items()))


def _leave_one_subject_out(clips: Sequence[Clip], _: Protocol) -> dict[str, list[int]]:
    rows = _rows_by([clip.subject for clip in clips])
    if len(rows) < 2:
        raise BadInput("at least 2 subjects to leave one out", f"{len(rows)} ({', '.join(rows)})", "give more subjects")
    return rows


def _leave_one_dataset_out(clips: Sequence[Clip], _: Protocol) -> dict[str, list[int]]:
    rows = _rows_by([clip.dataset for clip in clips])
    if len(rows) < 2:
        raise BadInput(
            "a composite set, to leave one database out",
            f"{len(rows)} database ({', '.join(rows)})",
            "use --protocol loso",
        )
    return rows


def _subject_k_fold(clips: Sequence[Clip], protocol: Protocol) -> dict[str, list[int]]:
    """Subjects dealt to k folds, largest first, each to the fold that has the fewest clips: no randomness needed."""
    by_subject = _rows_by([clip.subject for clip in clips])
    if protocol.folds < 2:
        raise BadInput("at least 2 folds", str(protocol.folds), "set --folds to the number of groups of subjects")
    if len(by_subject) < protocol.folds:
        raise BadInput(
            f"at least {protocol.folds} subjects for {protocol.folds} folds",
            str(len(by_subject)),
            "use --protocol loso",
        )
    dealt: list[list[int]] = [[] for _ in range(protocol.folds)]
    for rows in sorted(by_subject.values(), key=len, reverse=True):
        min(dealt, key=len).extend(rows)
    return {f"fold{number:02d}": rows for number, rows in enumerate(dealt, start=1)}


SPLITS: dict[str, Callable[[Sequence[Clip], Protocol], dict[str, list[int]]]] = {
    "loso": _leave_one_subject_out,
    "leave-one-dataset-out": _leave_one_dataset_out,
    "subject-k-fold": _subject_k_fold,
}
