"""The support vector machine that the hand-crafted methods share: its C is chosen on training subjects only.

Below are the verbs, written once; a class takes them over in its body (``fit = _svm.fit``) and says its features
(`represent`, ``feature_count``), the grid that its C is chosen from (``grid``) and its settings, among them ``c``,
``classes`` and ``seed``, which `start` checks. The trained machine is kept as ``machine_``, its C as ``c_``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

from microexpr.errors import BadInput
from microexpr.methods._settings import check_range

Machine = tuple[np.ndarray, np.ndarray, np.ndarray]  # coefficients, intercepts, classes: see `fit_linear`
ARRAYS = ("coefficients", "intercepts", "classes")

Trained = TypeVar("Trained", bound=Any)


def start(self: Any) -> None:
    """Checks the settings that all these methods have; there is no machine yet.

    Raises:
        BadInput: one is out of its range.
    """
    check_range("classes", self.classes, 2)
    check_range("seed", self.seed, 0)
    if self.c is not None:
        check_range("c", self.c, 1e-9)
    self.machine_ = None


def fit(
    self: Trained, x: Float[np.ndarray, "clip feature"], y: Int[np.ndarray, " clip"], subjects: Sequence[str]
) -> Trained:
    """Chooses C where it is not set, then trains on all given rows."""
    self.c_ = self.c if self.c is not None else choose_c(x, y, subjects, self.grid)
    self.machine_ = fit_linear(x, y, self.c_)
    return self


def predict_proba(self: Any, x: Float[np.ndarray, "clip feature"]) -> Float[np.ndarray, "clip class"]:
    """Scores that sum to 1 and order the classes as the machine does; not calibrated."""
    return decide(fitted(self), x, self.classes)


def weights(self: Any) -> dict[str, np.ndarray]:
    """Coefficients "class feature", intercepts "class" and the classes they belong to."""
    return dict(zip(ARRAYS, fitted(self), strict=True))


def load_weights(self: Trained, weights: Mapping[str, np.ndarray]) -> Trained:
    """Takes over what `weights` gave.

    Raises:
        BadInput: they are another method's, or do not fit the settings.
    """
    if not _fit_together(weights, self.feature_count, self.classes):
        raise BadInput(
            f"the weights of {type(self).__name__} for {self.classes} classes and {self.feature_count} features",
            ", ".join(f"{name} of shape {np.shape(value)}" for name, value in sorted(weights.items())) or "none",
            "give the weights of this method, and its settings",
        )
    self.machine_ = tuple(weights[name] for name in ARRAYS)
    return self


def _fit_together(weights: Mapping[str, np.ndarray], features: int, classes: int) -> bool:
    if set(weights) != set(ARRAYS):
        return False
    coefficients, intercepts, present = (weights[name] for name in ARRAYS)
    seen = len(present) if present.ndim == 1 else 0
    fits = seen > 0 and coefficients.shape == (seen, features) and intercepts.shape == (seen,)
    return fits and bool(present.min() >= 0 and present.max() < classes)


def fitted(self: Any) -> Machine:
    """The trained machine.

    Raises:
        BadInput: there is none yet.
    """
    if self.machine_ is None:
        raise BadInput("a fitted method", "one without weights", "call fit or load weights first")
    return self.machine_


def choose_c(
    x: Float[np.ndarray, "clip feature"],
    y: Int[np.ndarray, " clip"],
    subjects: Sequence[str],
    grid: Sequence[float],
    folds: int = 5,
) -> float:
    """The C with the best UF1 over an inner, subject-disjoint split of the training rows; the smallest of equals.

    With fewer subjects than folds there are as many folds as subjects; with one subject nothing can be held back and
    the middle of the grid is taken.
    """
    from sklearn.metrics import f1_score
    from sklearn.model_selection import GroupKFold

    subject_count = len(set(subjects))
    if subject_count < 2 or len(grid) == 1:
        return sorted(grid)[len(grid) // 2]
    splits = list(GroupKFold(min(folds, subject_count)).split(x, y, subjects))
    scores = []
    for c in sorted(grid):
        predicted = np.empty_like(y)
        for train, held_back in splits:
            predicted[held_back] = decide(fit_linear(x[train], y[train], c), x[held_back], int(y.max()) + 1).argmax(1)
        scores.append(f1_score(y, predicted, average="macro", zero_division=0))
    return sorted(grid)[int(np.argmax(scores))]


def fit_linear(x: Float[np.ndarray, "clip feature"], y: Int[np.ndarray, " clip"], c: float) -> Machine:
    """A linear SVM, one class against the rest (scikit-learn's LinearSVC, dual).

    Returns:
        coefficients "class feature" and intercepts "class" of the classes that occur, and these classes.
    """
    from sklearn.svm import LinearSVC

    present = np.unique(y)
    if len(present) == 1:  # one class in the training rows: nothing to separate, that class is the answer
        return np.zeros((1, x.shape[1])), np.zeros(1), present
    machine = LinearSVC(C=c, dual=True, max_iter=20_000, random_state=0).fit(x, y)
    coefficients, intercepts = machine.coef_, machine.intercept_
    if len(present) == 2:  # scikit-learn keeps one line for two classes
        coefficients, intercepts = np.vstack([-coefficients, coefficients]), np.concatenate([-intercepts, intercepts])
    return coefficients, intercepts, present


def decide(machine: Machine, x: Float[np.ndarray, "clip feature"], classes: int) -> Float[np.ndarray, "clip class"]:
    """Distances to the separating planes as scores that sum to 1 (softmax); a class that was not seen gets 0.

    They order the classes as the machine does; they are not calibrated.
    """
    coefficients, intercepts, present = machine
    distances = np.full((len(x), classes), -np.inf)
    distances[:, present] = x @ coefficients.T + intercepts
    exponents = np.exp(distances - distances.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)
