"""Which epoch of a training counts: the last, one chosen on training subjects, or the best on the test subjects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from microexpr.errors import BadInput
from microexpr.evaluation.metrics import epoch_curve

SELECTIONS = ("last", "inner", "oracle")
SHARE = 5  # one subject in so many is held back by "inner"


def parse(text: str) -> tuple[str, ...]:
    """Selections from a comma list, each once, in the order of `SELECTIONS`.

    Raises:
        BadInput: none, or one that does not exist.
    """
    asked = {name.strip() for name in text.split(",") if name.strip()}
    if not asked or asked - set(SELECTIONS):
        raise BadInput(
            f"select to be of {', '.join(SELECTIONS)}", repr(text), "set --select last: set before anything is seen"
        )
    return tuple(name for name in SELECTIONS if name in asked)


def held_back(y: Int[np.ndarray, " clip"], subjects: Sequence[str]) -> Int[np.ndarray, " held"]:
    """Rows of about one training subject in five, chosen without randomness so that classes keep their shares.

    scikit-learn's StratifiedGroupKFold, the first of its five parts.

    Raises:
        BadInput: fewer than two training subjects.
    """
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    people = len(set(subjects))
    parts = min(SHARE, people, int(np.bincount(y).max(initial=0)))
    if parts < 2:
        got = f"{people} subjects with {len(y)} clips"
        raise BadInput(
            "at least 2 training subjects, and 2 clips of a class, for select inner", got, "use --select last"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer clips than parts is no reason not to split
        splits = StratifiedGroupKFold(parts).split(np.zeros(len(y)), y, subjects)
        return next(iter(splits))[1]


def inner_epoch(trace: Float[np.ndarray, "epoch clip class"], y: Int[np.ndarray, " clip"]) -> int:
    """Index of the epoch with the best UF1 on held-back rows; of equals the one with the smallest log loss.

    UF1 of few clips takes few values, so equals are the rule; the log loss tells them apart.
    """
    score = _uf1(trace, y)
    loss = -np.log(np.maximum(trace[:, np.arange(len(y)), y], 1e-6)).mean(axis=1)
    return int(np.lexsort((loss, -score))[0])


def oracle_epoch(trace: Float[np.ndarray, "epoch clip class"], y: Int[np.ndarray, " clip"]) -> int:
    """Index of the first epoch with the best UF1 on the test rows: a leak, made to measure what it is worth."""
    return int(np.argmax(_uf1(trace, y)))


def _uf1(trace: Float[np.ndarray, "epoch clip class"], y: Int[np.ndarray, " clip"]) -> Float[np.ndarray, " epoch"]:
    return epoch_curve(y, trace, [str(number) for number in range(trace.shape[2])], absent="skip")
