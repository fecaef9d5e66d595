"""The support vector machine that the hand-crafted methods share: C and kernel are chosen on training subjects only.

Below are the verbs, written once; a class takes them over in its body (``fit = _svm.fit``) and says its features
(`represent`, ``feature_count``), the grid that its C is chosen from (``grid``) and its settings, among them ``c``,
``classes`` and ``seed``, which `start` checks. With a setting ``kernel`` ("chosen", or one of `KERNELS`) it may have
another machine than the linear one; ``kernels`` is then what "chosen" chooses from. The trained machine is kept as
``machine_``, its C as ``c_``, its kernel as ``kernel_``. The machine itself is in `_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

from microexpr.errors import BadInput
from microexpr.methods._kernels import (
    KERNELS,
    Machine,
    decide,
    fit_gram,
    fit_linear,
    from_arrays,
    parameters_for,
    shaped,
    to_arrays,
    train,
)
from microexpr.methods._settings import check_choice, check_range

__all__ = ["KERNELS", "Machine", "choose", "decide", "from_arrays", "inner_folds", "to_arrays", "train"]

CHOSEN = "chosen"
# Features from which on the linear machines of the search see the rows in a basis of their own span: the same machine
# up to rounding, in as many coordinates as there are rows.
WIDE = 4096

Trained = TypeVar("Trained", bound=Any)
Rows = Int[np.ndarray, " _"]


def start(self: Any) -> None:
    """Checks the settings that all these methods have; there is no machine yet.

    Raises:
        BadInput: one is out of its range.
    """
    check_range("classes", self.classes, 2)
    check_range("seed", self.seed, 0)
    if self.c is not None:
        check_range("c", self.c, 1e-9)
    if hasattr(self, "kernel"):
        check_choice("kernel", self.kernel, (CHOSEN, *KERNELS))
    self.machine_ = None


def kernels_of(self: Any) -> tuple[str, ...]:
    """The kernels that a method's machine may have: the one that is set, or those that are chosen from."""
    kernel = getattr(self, "kernel", "linear")
    return tuple(self.kernels) if kernel == CHOSEN else (kernel,)


def fit(
    self: Trained, x: Float[np.ndarray, "clip feature"], y: Int[np.ndarray, " clip"], subjects: Sequence[str]
) -> Trained:
    """Chooses C and the kernel where they are not set, then trains on all given rows."""
    grid, kernels = self.grid if self.c is None else (self.c,), kernels_of(self)
    self.c_, self.kernel_ = choose(x, y, subjects, grid, kernels)
    self.machine_ = train(x, y, self.c_, self.kernel_)
    return self


def predict_proba(self: Any, x: Float[np.ndarray, "clip feature"]) -> Float[np.ndarray, "clip class"]:
    """Scores that sum to 1 and order the classes as the machine does; not calibrated."""
    return decide(fitted(self), x, self.classes)


def weights(self: Any) -> dict[str, np.ndarray]:
    """Coefficients, intercepts "class" and the classes they belong to; of a kernel also its vectors and parameters."""
    return to_arrays(fitted(self))


def load_weights(self: Trained, weights: Mapping[str, np.ndarray]) -> Trained:
    """Takes over what `weights` gave.

    Raises:
        BadInput: they are another method's, or do not fit the settings.
    """
    machine = from_arrays(weights, self.feature_count, self.classes, kernels_of(self))
    if machine is None:
        kernels = f", kernel {' or '.join(kernels_of(self))}" if hasattr(self, "kernel") else ""
        raise BadInput(
            f"the weights of {type(self).__name__} for {self.classes} classes and {self.feature_count} features"
            + kernels,
            ", ".join(f"{name} of shape {np.shape(value)}" for name, value in sorted(weights.items())) or "none",
            "give the weights of this method, and its settings",
        )
    self.machine_, self.kernel_ = machine, machine.kernel
    return self


def fitted(self: Any) -> Machine:
    """The trained machine.

    Raises:
        BadInput: there is none yet.
    """
    if self.machine_ is None:
        raise BadInput("a fitted method", "one without weights", "call fit or load weights first")
    return self.machine_


def inner_folds(y: Int[np.ndarray, " clip"], subjects: Sequence[str], folds: int = 5) -> list[tuple[Rows, Rows]]:
    """A subject-disjoint split of training rows: which to train on, which to hold back; every row is held back once.

    With fewer subjects than folds there are as many folds as subjects; with one subject there are none.
    """
    from sklearn.model_selection import GroupKFold

    subject_count = len(set(subjects))
    if subject_count < 2:
        return []
    return list(GroupKFold(min(folds, subject_count)).split(y, y, subjects))


def choose(
    x: Float[np.ndarray, "clip feature"],
    y: Int[np.ndarray, " clip"],
    subjects: Sequence[str],
    grid: Sequence[float],
    kernels: Sequence[str] = KERNELS,
    folds: int = 5,
) -> tuple[float, str]:
    """C and kernel with the best UF1 over an inner, subject-disjoint split of the training rows.

    Of equals the first kernel is taken and its smallest C. With one subject nothing can be held back: it is the first
    kernel and the middle of the grid. A kernel's gamma is that of all given rows, whichever of them are held back.

    Args:
        x, y, subjects: the training rows.
        grid: values of C.
        kernels: of `KERNELS`.
        folds: of the split.
    """
    from sklearn.metrics import f1_score

    values, splits = sorted(grid), inner_folds(y, subjects, folds)
    if not splits or len(values) * len(kernels) == 1:
        return values[len(values) // 2], kernels[0]
    scorer = _answers(x, y, kernels)
    best, taken = -1.0, (values[0], kernels[0])
    for kernel in kernels:
        for c in values:
            predicted = np.empty_like(y)
            for trained, held_back in splits:
                predicted[held_back] = scorer(kernel, c, trained, held_back)
            score = f1_score(y, predicted, average="macro", zero_division=0)
            if score > best:
                best, taken = score, (c, kernel)
    return taken


def _answers(
    x: Float[np.ndarray, "clip feature"], y: Int[np.ndarray, " clip"], kernels: Sequence[str]
) -> Callable[[str, float, Rows, Rows], Rows]:
    """(kernel, C, rows to train on, rows held back) -> the classes of those held back.

    What costs most, products of rows with many features, is done once for all.
    """
    wide = x.shape[1] >= WIDE and x.shape[1] > len(x)
    grams, seen = {}, x
    if wide or set(kernels) != {"linear"}:
        exact = x.astype(np.float64)
        products = exact @ exact.T
        squares = np.diag(products)
        grams = {
            kernel: shaped(kernel, parameters_for(kernel, x), products, squares, squares)
            for kernel in kernels
            if kernel != "linear"
        }
        if wide and "linear" in kernels:
            lengths, basis = np.linalg.eigh(products)
            seen = basis * np.sqrt(np.maximum(lengths, 0))

    def answer(kernel: str, c: float, trained: Rows, held_back: Rows) -> Rows:
        if kernel == "linear":
            machine = fit_linear(seen[trained], y[trained], c)
            return decide(machine, seen[held_back], int(y.max()) + 1).argmax(1)
        gram = grams[kernel]
        weights, intercepts, present = fit_gram(gram[np.ix_(trained, trained)], y[trained], c)
        return present[(gram[np.ix_(held_back, trained)] @ weights.T + intercepts).argmax(1)]

    return answer
