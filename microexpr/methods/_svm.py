"""The support vector machine that the hand-crafted methods share: its C is chosen on training subjects only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


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


def fit_linear(
    x: Float[np.ndarray, "clip feature"], y: Int[np.ndarray, " clip"], c: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def decide(
    machine: tuple[np.ndarray, np.ndarray, np.ndarray], x: Float[np.ndarray, "clip feature"], classes: int
) -> Float[np.ndarray, "clip class"]:
    """Distances to the separating planes as scores that sum to 1 (softmax); a class that was not seen gets 0.

    They order the classes as the machine does; they are not calibrated.
    """
    coefficients, intercepts, present = machine
    distances = np.full((len(x), classes), -np.inf)
    distances[:, present] = x @ coefficients.T + intercepts
    exponents = np.exp(distances - distances.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)
