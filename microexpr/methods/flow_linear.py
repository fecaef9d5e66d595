"""Floor: multinomial logistic regression on the 14x14 flow, trained on mirrored, shifted and mixed clips.

A network that does not beat it has not earned its weights: docs/results.md has both. Mixup: Zhang et al. 2018,
arXiv:1710.09412.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int

from microexpr.errors import BadInput, MicroexprError
from microexpr.methods._settings import check_choice, check_range
from microexpr.motion.flow import MODES, centered, map_channels
from microexpr.types import Clip, FlowMap

FEATURES = 2 * 14 * 14


@dataclass
class FlowLinear:
    """Softmax regression on u and v of the 28x28 map, average-pooled to 14x14.

    Adam on mini-batches of mixed pairs: x = t x1 + (1 - t) x2, y likewise, t ~ Beta(mixup, mixup). A prediction is the
    mean over the clip and its mirror image. The learning rate, weight decay and balance were chosen by subject-disjoint
    10-fold on the published maps of 3DB, which makes its figures on those maps a little too good.

    Attributes:
        mirror: whether clips are mirrored (u changes its sign), in training and when predicting.
        shift: largest shift in pixels of the 28x28 map, both ways, before pooling.
        mixup: parameter of the Beta distribution; 0 mixes nothing.
        balance: whether every class is seen equally often, rarer ones by repetition.
        weight_decay: weight of the squared coefficients in the loss.
        epochs, batch_size, learning_rate: Adam, decaying linearly to zero.
        flow_mode: solver of `motion.flow` for clips with frames.
        seed: order, mirroring, shifts and mixing; the coefficients start at zero.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"flow"})

    mirror: bool = True
    shift: int = 1
    mixup: float = 0.4
    balance: bool = True
    weight_decay: float = 1e-3
    epochs: int = 120
    batch_size: int = 32
    learning_rate: float = 1e-3
    classes: int = 3
    flow_mode: str = "tvl1"
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("shift", self.shift, 0, 6)
        check_range("mixup", self.mixup, 0)
        check_range("weight_decay", self.weight_decay, 0)
        check_range("epochs", self.epochs, 1)
        check_range("batch_size", self.batch_size, 1)
        check_range("learning_rate", self.learning_rate, 0)
        check_range("classes", self.classes, 2)
        check_range("seed", self.seed, 0)
        check_choice("flow_mode", self.flow_mode, MODES)
        self.coefficients_: np.ndarray | None = None
        self.intercepts_: np.ndarray | None = None

    def represent(self, clip: Clip) -> Float32[np.ndarray, "2 28 28"]:
        """u and v of the 28x28 map around zero motion, in fractions of its range."""
        return centered(FlowMap(map_channels(clip, mode=self.flow_mode)))

    def fit(
        self, x: Float[np.ndarray, "clip 2 28 28"], y: Int[np.ndarray, " clip"], subjects: Sequence[str]
    ) -> FlowLinear:
        """Trains on the given rows only, to the last epoch; `subjects` is not used, nothing is held back."""
        generator = np.random.default_rng(self.seed)
        variants = self._variants(x)  # variant clip feature
        targets = np.eye(self.classes, dtype=np.float32)[y]
        parameters = np.zeros((FEATURES + 1, self.classes), np.float32)  # the last row is the intercept
        first, second = np.zeros_like(parameters), np.zeros_like(parameters)  # Adam's moments
        rows = _balanced(y, generator) if self.balance else np.arange(len(y))
        steps = self.epochs * -(-len(rows) // self.batch_size)
        step = 0
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging fit is told below
            for _ in range(self.epochs):
                order = generator.permutation(rows)
                for start in range(0, len(rows), self.batch_size):
                    step += 1
                    batch, wanted = self._mixed(variants, targets, order[start : start + self.batch_size], generator)
                    gradient = batch.T @ (_softmax(batch @ parameters) - wanted) / len(batch)
                    gradient[:-1] += self.weight_decay * parameters[:-1]
                    first = 0.9 * first + 0.1 * gradient
                    second = 0.999 * second + 0.001 * gradient**2
                    rate = self.learning_rate * (1 - (step - 1) / steps)
                    parameters -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        if not np.isfinite(parameters).all():
            raise MicroexprError("training diverged: coefficients are not finite; lower learning_rate")
        self.coefficients_, self.intercepts_ = parameters[:-1], parameters[-1]
        return self

    def predict_proba(self, x: Float[np.ndarray, "clip 2 28 28"]) -> Float[np.ndarray, "clip class"]:
        """Class probabilities; the mean over both views where training mirrored."""
        if self.coefficients_ is None or self.intercepts_ is None:
            raise BadInput("a fitted method", "one without weights", "call fit or load weights first")
        views = [x, _mirrored(x)] if self.mirror else [x]
        return np.mean([_softmax(_features(view) @ self.coefficients_ + self.intercepts_) for view in views], axis=0)

    def weights(self) -> dict[str, np.ndarray]:
        """Coefficients "392 class" and intercepts "class"."""
        if self.coefficients_ is None or self.intercepts_ is None:
            raise BadInput("a fitted method", "one without weights", "call fit first")
        return {"coefficients": self.coefficients_, "intercepts": self.intercepts_}

    def load_weights(self, weights: dict[str, np.ndarray]) -> FlowLinear:
        """Takes over what `weights` gave."""
        expected = {"coefficients": (FEATURES, self.classes), "intercepts": (self.classes,)}
        if {name: value.shape for name, value in weights.items()} != expected:
            raise BadInput(
                f"the weights of flow-linear for {self.classes} classes",
                f"{sorted(weights)}",
                "give the weights of this method",
            )
        self.coefficients_, self.intercepts_ = weights["coefficients"], weights["intercepts"]
        return self

    def _variants(self, x: Float[np.ndarray, "clip 2 28 28"]) -> Float32[np.ndarray, "variant clip feature"]:
        """Every mirrored and shifted version once: cheaper than making them batch by batch."""
        views = [x, _mirrored(x)] if self.mirror else [x]
        span = range(-self.shift, self.shift + 1)
        return np.stack([_features(_shifted(view, down, right)) for view in views for down in span for right in span])

    def _mixed(
        self, variants: np.ndarray, targets: np.ndarray, rows: Int[np.ndarray, " row"], generator: np.random.Generator
    ) -> tuple[Float32[np.ndarray, "row feature"], Float32[np.ndarray, "row class"]]:
        """A batch with its intercept column, each row mixed with another of the batch."""
        batch = variants[generator.integers(len(variants), size=len(rows)), rows]
        wanted = targets[rows]
        if self.mixup > 0:
            share = generator.beta(self.mixup, self.mixup, size=(len(rows), 1)).astype(np.float32)
            partner = generator.permutation(len(rows))
            batch = share * batch + (1 - share) * batch[partner]
            wanted = share * wanted + (1 - share) * wanted[partner]
        return np.concatenate([batch, np.ones((len(rows), 1), np.float32)], axis=1), wanted


def _balanced(y: Int[np.ndarray, " clip"], generator: np.random.Generator) -> Int[np.ndarray, " row"]:
    """Rows in which every class that occurs has as many as the largest one."""
    by_class = [np.flatnonzero(y == number) for number in np.unique(y)]
    most = max(len(rows) for rows in by_class)
    return np.concatenate([np.append(rows, generator.choice(rows, most - len(rows))) for rows in by_class])


def _features(x: Float[np.ndarray, "clip 2 28 28"]) -> Float32[np.ndarray, "clip 392"]:
    """u and v averaged over 2x2 pixels."""
    return x.reshape(len(x), 2, 14, 2, 14, 2).mean(axis=(3, 5)).reshape(len(x), FEATURES)


def _mirrored(x: Float[np.ndarray, "clip 2 28 28"]) -> Float[np.ndarray, "clip 2 28 28"]:
    mirrored = x[..., ::-1].copy()
    mirrored[:, 0] *= -1
    return mirrored


def _shifted(x: Float[np.ndarray, "clip 2 28 28"], down: int, right: int) -> Float[np.ndarray, "clip 2 28 28"]:
    """Shifted by whole pixels; what comes in at the border does not move."""
    shifted = np.zeros_like(x)
    height, width = x.shape[-2:]
    to_rows, from_rows = _overlap(down, height)
    to_columns, from_columns = _overlap(right, width)
    shifted[..., to_rows, to_columns] = x[..., from_rows, from_columns]
    return shifted


def _overlap(by: int, length: int) -> tuple[slice, slice]:
    return slice(max(by, 0), length + min(by, 0)), slice(max(-by, 0), length + min(-by, 0))


def _softmax(logits: Float[np.ndarray, "row class"]) -> Float[np.ndarray, "row class"]:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)
