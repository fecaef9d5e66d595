"""Floor: a linear support vector machine on the 28x28 flow. What a network adds, it adds to this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int

from microexpr.errors import BadInput
from microexpr.methods import _svm
from microexpr.methods._settings import check_choice, check_range
from microexpr.motion.flow import MODES, centered, map_channels
from microexpr.types import Clip, FlowMap

GRID = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


@dataclass
class FlowSVM:
    """Linear SVM, one class against the rest, on u and v of the 28x28 map around zero motion.

    Attributes:
        c: the SVM's C; None (default) takes the best of `GRID` on an inner subject-disjoint split of the training rows.
        flow_mode: solver of `motion.flow` for clips with frames.
        seed: without effect; the solver starts the same way every time.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"flow"})
    seeded: ClassVar[bool] = False

    c: float | None = None
    classes: int = 3
    flow_mode: str = "tvl1"
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("classes", self.classes, 2)
        check_range("seed", self.seed, 0)
        check_choice("flow_mode", self.flow_mode, MODES)
        if self.c is not None:
            check_range("c", self.c, 1e-9)
        self.machine_: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def represent(self, clip: Clip) -> Float32[np.ndarray, " 1568"]:
        """u and v of the 28x28 map, in fractions of its range."""
        return centered(FlowMap(map_channels(clip, mode=self.flow_mode))).reshape(-1)

    def fit(self, x: Float[np.ndarray, "clip 1568"], y: Int[np.ndarray, " clip"], subjects: Sequence[str]) -> FlowSVM:
        """Chooses C where it is not set, then trains on all given rows."""
        self.c_ = self.c if self.c is not None else _svm.choose_c(x, y, subjects, GRID)
        self.machine_ = _svm.fit_linear(x, y, self.c_)
        return self

    def predict_proba(self, x: Float[np.ndarray, "clip 1568"]) -> Float[np.ndarray, "clip class"]:
        """Scores that sum to 1 and order the classes as the SVM does; not calibrated."""
        return _svm.decide(self._fitted(), x, self.classes)

    def _fitted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.machine_ is None:
            raise BadInput("a fitted method", "one without weights", "call fit or load weights first")
        return self.machine_

    def weights(self) -> dict[str, np.ndarray]:
        """Coefficients "class 1568", intercepts "class" and the classes they belong to."""
        return dict(zip(("coefficients", "intercepts", "classes"), self._fitted(), strict=True))

    def load_weights(self, weights: dict[str, np.ndarray]) -> FlowSVM:
        """Takes over what `weights` gave."""
        names = ("coefficients", "intercepts", "classes")
        if (
            set(weights) != set(names)
            or weights["coefficients"].shape[1:] != (1568,)
            or max(weights["classes"]) >= self.classes
        ):
            raise BadInput(
                f"the weights of flow-svm for {self.classes} classes",
                f"{sorted(weights)}",
                "give the weights of this method",
            )
        self.machine_ = (weights["coefficients"], weights["intercepts"], weights["classes"])
        return self
