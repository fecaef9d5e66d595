"""Support vector machines, one class against the rest: training, decisions, and the arrays that they are made of.

A machine is numbers only. scikit-learn trains it and is not needed afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

KERNELS = ("linear", "poly", "rbf")
# Of the polynomial kernel: scikit-learn's defaults.
DEGREE, OFFSET = 3, 0.0
# Features below which a linear machine is always solved in the primal.
FEW = 1000
LINEAR_ARRAYS = {"coefficients", "intercepts", "classes"}


@dataclass(frozen=True)
class Machine:
    """A trained machine: one score for every class that it has seen.

    Attributes:
        coefficients: "class feature" of a linear machine, "class vector" of another one.
        intercepts: "class".
        classes: numbers of the classes that the scores belong to, in rising order.
        kernel: one of `KERNELS`.
        vectors: the support vectors, "vector feature", of all classes together; None for a linear machine.
        parameters: of the kernel: gamma, offset and degree of "poly", gamma of "rbf"; None for a linear machine.
    """

    coefficients: Float[np.ndarray, "class _"]
    intercepts: Float[np.ndarray, " class"]
    classes: Int[np.ndarray, " class"]
    kernel: str = "linear"
    vectors: Float[np.ndarray, "vector feature"] | None = None
    parameters: Float64[np.ndarray, " parameter"] | None = None

    def scores(self, x: Float[np.ndarray, "clip feature"]) -> Float[np.ndarray, "clip class"]:
        """On which side of the boundary of each class a clip lies, and how far: above 0 inside."""
        if self.vectors is None or self.parameters is None:
            return x @ self.coefficients.T + self.intercepts
        return similarities(self.kernel, self.parameters, x, self.vectors) @ self.coefficients.T + self.intercepts


def similarities(
    kernel: str,
    parameters: Float64[np.ndarray, " parameter"],
    x: Float[np.ndarray, "clip feature"],
    vectors: Float[np.ndarray, "vector feature"],
) -> Float64[np.ndarray, "clip vector"]:
    """The kernel of every clip with every vector: (gamma <a, b> + offset)^degree or exp(-gamma |a - b|^2)."""
    left, right = x.astype(np.float64), vectors.astype(np.float64)
    return shaped(kernel, parameters, left @ right.T, _squares(left), _squares(right))


def shaped(
    kernel: str,
    parameters: Float64[np.ndarray, " parameter"],
    products: Float64[np.ndarray, "clip vector"],
    left: Float64[np.ndarray, " clip"],
    right: Float64[np.ndarray, " vector"],
) -> Float64[np.ndarray, "clip vector"]:
    """The kernel from inner products and the squared lengths of both sides."""
    if kernel == "poly":
        gamma, offset, degree = parameters
        return (gamma * products + offset) ** int(degree)
    return np.exp(-parameters[0] * np.maximum(left[:, None] + right - 2 * products, 0))


def _squares(rows: Float64[np.ndarray, "row feature"]) -> Float64[np.ndarray, " row"]:
    return np.einsum("rf,rf->r", rows, rows)


def parameters_for(kernel: str, x: Float[np.ndarray, "clip feature"]) -> Float64[np.ndarray, " parameter"]:
    """Of a kernel for these training rows; gamma is scikit-learn's "scale": one over features times their variance."""
    variance = float(x.var(dtype=np.float64))
    gamma = 1 / (x.shape[1] * variance) if variance > 0 else 1.0
    return np.array([gamma, OFFSET, DEGREE] if kernel == "poly" else [gamma])


def train(
    x: Float[np.ndarray, "clip feature"], y: Int[np.ndarray, " clip"], c: float, kernel: str = "linear"
) -> Machine:
    """A support vector machine for each class that occurs, against the rest.

    Args:
        x, y: the training rows.
        c: what a violation of the margin costs.
        kernel: one of `KERNELS`.
    """
    if kernel == "linear":
        return fit_linear(x, y, c)
    parameters = parameters_for(kernel, x)
    weights, intercepts, present = fit_gram(similarities(kernel, parameters, x, x), y, c)
    used = np.flatnonzero(weights.any(axis=0))
    if not len(used):  # a single class has no vectors; one that counts nothing keeps the arrays what they are
        used = np.zeros(1, int)
    coefficients, vectors = (np.ascontiguousarray(kept) for kept in (weights[:, used], x[used]))
    return Machine(coefficients, intercepts, present, kernel, vectors, parameters)


def fit_linear(x: Float[np.ndarray, "clip feature"], y: Int[np.ndarray, " clip"], c: float) -> Machine:
    """A linear machine (scikit-learn's LinearSVC).

    Solved in the primal where there are fewer features than rows, or than `FEW`, else in the dual. With few features
    the dual does not end where rows of several classes are equal, with many the primal is slow.
    """
    from sklearn.svm import LinearSVC

    present = np.unique(y)
    if len(present) == 1:  # one class in the training rows: nothing to separate, that class is the answer
        return Machine(np.zeros((1, x.shape[1])), np.zeros(1), present)
    dual = x.shape[1] >= max(len(x), FEW)
    machine = LinearSVC(C=c, dual=dual, max_iter=20_000, random_state=0).fit(x, y)
    coefficients, intercepts = machine.coef_, machine.intercept_
    if len(present) == 2:  # scikit-learn keeps one line for two classes
        coefficients, intercepts = np.vstack([-coefficients, coefficients]), np.concatenate([-intercepts, intercepts])
    return Machine(coefficients, intercepts, present)


def fit_gram(
    gram: Float64[np.ndarray, "clip clip"], y: Int[np.ndarray, " clip"], c: float
) -> tuple[Float64[np.ndarray, "class clip"], Float64[np.ndarray, " class"], Int[np.ndarray, " class"]]:
    """Machines with a kernel (scikit-learn's SVC) from the kernel of every training row with every other.

    Returns:
        what every row counts for each class, intercepts, and the classes that occur.
    """
    present = np.unique(y)
    if len(present) == 1:
        return np.zeros((1, len(y))), np.zeros(1), present
    # Of two classes one machine serves both: what is for the one is against the other.
    fits = [_fit_one(gram, y == number, c) for number in (present if len(present) > 2 else present[1:])]
    if len(present) == 2:
        fits.insert(0, (-fits[0][0], -fits[0][1]))
    return np.stack([weights for weights, _ in fits]), np.array([intercept for _, intercept in fits]), present


def _fit_one(
    gram: Float64[np.ndarray, "clip clip"], inside: Bool[np.ndarray, " clip"], c: float
) -> tuple[Float64[np.ndarray, " clip"], float]:
    from sklearn.svm import SVC

    machine = SVC(C=c, kernel="precomputed").fit(gram, inside)
    weights = np.zeros(len(gram))
    weights[machine.support_] = machine.dual_coef_[0]
    return weights, float(machine.intercept_[0])


def decide(machine: Machine, x: Float[np.ndarray, "clip feature"], classes: int) -> Float[np.ndarray, "clip class"]:
    """Scores that sum to 1 (softmax of those of the machine); a class that was not seen gets 0.

    They order the classes as the machine does; they are not calibrated.
    """
    distances = np.full((len(x), classes), -np.inf)
    distances[:, machine.classes] = machine.scores(x)
    exponents = np.exp(distances - distances.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def to_arrays(machine: Machine) -> dict[str, np.ndarray]:
    """A machine as arrays; with a kernel also its vectors and, under the kernel's name, its parameters."""
    arrays = {"coefficients": machine.coefficients, "intercepts": machine.intercepts, "classes": machine.classes}
    if machine.vectors is not None and machine.parameters is not None:
        arrays |= {"vectors": machine.vectors, machine.kernel: machine.parameters}
    return arrays


def from_arrays(
    arrays: Mapping[str, np.ndarray], features: int, classes: int, kernels: Collection[str] = KERNELS
) -> Machine | None:
    """The machine that `to_arrays` gave; None where they are none for these features, classes and kernels."""
    kernel = next((kernel for kernel in KERNELS if kernel in arrays), "linear")
    expected = LINEAR_ARRAYS if kernel == "linear" else LINEAR_ARRAYS | {"vectors", kernel}
    if kernel not in kernels or set(arrays) != expected:
        return None
    coefficients, intercepts, present = (arrays[name] for name in ("coefficients", "intercepts", "classes"))
    vectors, parameters = arrays.get("vectors"), arrays.get(kernel)
    seen = len(present) if present.ndim == 1 else 0
    width = features if vectors is None else len(np.atleast_1d(vectors))
    fits = seen > 0 and coefficients.shape == (seen, width) and intercepts.shape == (seen,)
    if vectors is not None and parameters is not None:
        wanted = parameters_for(kernel, np.zeros((1, 1))).shape
        fits = fits and vectors.shape == (width, features) and parameters.shape == wanted
    if not fits or present.min() < 0 or present.max() >= classes:
        return None
    return Machine(coefficients, intercepts, present, kernel, vectors, parameters)
