"""The floors that look at no picture: what class frequencies alone are worth.

On 3DB, with 250 of 442 clips negative, `Majority` reaches UF1 .241 and UAR .333. A method that does not clear these has
learned nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from microexpr.errors import BadInput
from microexpr.methods._settings import check_range
from microexpr.types import Clip


@dataclass
class _Frequencies:
    """Class frequencies of the training rows."""

    needs: ClassVar[frozenset[str]] = frozenset()

    classes: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("classes", self.classes, 2)
        check_range("seed", self.seed, 0)
        self.frequencies_: np.ndarray | None = None
        self.draws_: list[int] = []

    def represent(self, clip: Clip) -> np.ndarray:
        """Nothing: "0"."""
        return np.zeros(0, np.float32)

    def fit(self, x: np.ndarray, y: Int[np.ndarray, " clip"], subjects: Sequence[str]) -> _Frequencies:
        """Counts the classes."""
        self.frequencies_ = np.bincount(y, minlength=self.classes) / len(y)
        # Each fold draws its own numbers, whatever order folds run in: the training subjects tell folds apart.
        self.draws_ = [self.seed, zlib.crc32("\n".join(sorted(set(subjects))).encode())]
        return self

    def _fitted(self) -> np.ndarray:
        if self.frequencies_ is None:
            raise BadInput("a fitted method", "one without class frequencies", "call fit or load weights first")
        return self.frequencies_

    def weights(self) -> dict[str, np.ndarray]:
        """The class frequencies, and the numbers that start the draws."""
        return {"frequencies": self._fitted(), "draws": np.array(self.draws_, np.int64)}

    def load_weights(self, weights: dict[str, np.ndarray]) -> _Frequencies:
        """Takes over what `weights` gave."""
        if set(weights) != {"frequencies", "draws"} or weights["frequencies"].shape != (self.classes,):
            raise BadInput(
                f"frequencies of {self.classes} classes", f"{sorted(weights)}", "give the weights of this method"
            )
        self.frequencies_, self.draws_ = weights["frequencies"], [int(value) for value in weights["draws"]]
        return self


@dataclass
class Majority(_Frequencies):
    """Always the most frequent class of the training rows; its probabilities are the class frequencies."""

    seeded: ClassVar[bool] = False

    def predict_proba(self, x: np.ndarray) -> Float[np.ndarray, "clip class"]:
        """The class frequencies, for every clip."""
        return np.tile(self._fitted(), (len(x), 1))


@dataclass
class Prior(_Frequencies):
    """A class drawn with its frequency in the training rows: the score of guessing with the right base rates."""

    def predict_proba(self, x: np.ndarray) -> Float[np.ndarray, "clip class"]:
        """One drawn class with probability 1 for every clip; the same seed draws the same."""
        frequencies = self._fitted()
        drawn = np.random.default_rng(self.draws_).choice(self.classes, size=len(x), p=frequencies)
        return np.eye(self.classes)[drawn]
