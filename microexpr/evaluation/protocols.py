"""Label maps and splits: which clips count, as which class, and who is left out.

Every split is by subject, and a subject is unique across databases, so no face stands on both sides of a fold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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
    "happy": "positive",
    "disgust": "negative",
    "repression": "negative",
    "anger": "negative",
    "contempt": "negative",
    "fear": "negative",
    "sadness": "negative",
    "sad": "negative",
}
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")
OWN = "own"


@dataclass(frozen=True)
class LabelMap:
    """Classes, and which clip belongs to which.

    Attributes:
        classes: in the order of the class numbers.
        class_of: value of the field `of` in lower case, as text -> class; other clips are left out.
        of: the field of a clip that is looked at: "emotion" or "objective_class".
        source: who uses it.
    """

    classes: tuple[str, ...]
    class_of: Mapping[str, str]
    of: str
    source: str


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_CASME2 = ("happiness", "disgust", "repression", "surprise", "others")
_SAMM = ("anger", "contempt", "happiness", "surprise", "other")
_OBJECTIVE = "Davison, Merghani and Yap 2018, doi:10.3390/jimaging4100119"
LABELS = {
    "megc": LabelMap(
        NEGATIVE_POSITIVE_SURPRISE, MEGC_CLASSES, "emotion", "MEGC 2019, See et al. 2019, doi:10.1109/FG.2019.8756611"
    ),
    "casme2-5": LabelMap(
        _CASME2, _same(*_CASME2), "emotion", "baseline of Yan et al. 2014, doi:10.1371/journal.pone.0086041"
    ),
    "samm-5": LabelMap(
        _SAMM, _same(*_SAMM), "emotion", "the emotions of SAMM with at least 12 clips, as many papers use them"
    ),
    "objective-5": LabelMap(
        ROMAN[:5], {str(at): name for at, name in enumerate(ROMAN[:5], start=1)}, "objective_class", _OBJECTIVE
    ),
    "objective-7": LabelMap(
        ROMAN, {str(at): name for at, name in enumerate(ROMAN, start=1)}, "objective_class", _OBJECTIVE
    ),
}


@dataclass(frozen=True)
class Labelled:
    """The clips that a protocol keeps, with their class numbers."""

    clips: tuple[Clip, ...]
    labels: Int[np.ndarray, " clip"]


def megc(split: str = "loso", folds: int = 10) -> Protocol:
    """Negative, positive, surprise (MEGC 2019, the paper's Table 2) under the given split."""
    return make("megc", split, folds)


def make(labels: str = "megc", split: str = "loso", folds: int = 10, clips: Sequence[Clip] = ()) -> Protocol:
    """A protocol by the names of its label map and its split.

    Args:
        labels: a key of `LABELS`, or "own": every emotion of the clips is a class.
        split: a key of `SPLITS`.
        folds: number of folds, for splits that take one.
        clips: for "own" only.

    Raises:
        UnknownName: no such label map or split.
        BadInput: "own" for clips of fewer than two emotions.
    """
    if split not in SPLITS:
        raise UnknownName("protocol", split, SPLITS)
    if labels == OWN:
        emotions = tuple(sorted({clip.emotion.lower() for clip in clips if clip.emotion}))
        if len(emotions) < 2:
            raise BadInput("clips of at least 2 emotions", ", ".join(emotions) or "none", "use another data set")
        return Protocol(split, emotions, _same(*emotions), folds, labels)
    if labels not in LABELS:
        raise UnknownName("label map", labels, [*LABELS, OWN])
    chosen = LABELS[labels]
    return Protocol(split, chosen.classes, chosen.class_of, folds, labels, chosen.of)


def class_of(clip: Clip, protocol: Protocol) -> str | None:
    """The class of a clip; None where the protocol leaves it out."""
    value = getattr(clip, protocol.of)
    return None if value is None else protocol.class_of.get(str(value).lower())


def label(clips: Sequence[Clip], protocol: Protocol) -> Labelled:
    """Keeps the clips that have a class.

    Raises:
        BadInput: a class is left without a clip, so that UF1 and UAR are undefined.
    """
    named = [(clip, name) for clip in clips if (name := class_of(clip, protocol)) is not None]
    numbers = [protocol.classes.index(name) for _, name in named]
    for number, name in enumerate(protocol.classes):
        if number not in numbers:
            what = "emotions" if protocol.of == "emotion" else "objective classes"
            values = {str(getattr(clip, protocol.of) or "none") for clip in clips}
            raise BadInput(
                f"clips of every class ({', '.join(protocol.classes)})",
                f"none of class {name} ({what} present: {', '.join(sorted(values)) or 'none'})",
                "give the whole data set, a part that has every class, or other labels",
            )
    return Labelled(tuple(clip for clip, _ in named), np.array(numbers, dtype=np.int64))


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
