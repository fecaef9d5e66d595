"""Floor: a linear support vector machine on the 28x28 flow. What a network adds, it adds to this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from microexpr.methods import _svm
from microexpr.methods._settings import check_choice
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
    grid: ClassVar[tuple[float, ...]] = GRID
    feature_count: ClassVar[int] = 2 * 28 * 28

    c: float | None = None
    classes: int = 3
    flow_mode: str = "tvl1"
    seed: int = 0

    def __post_init__(self) -> None:
        _svm.start(self)
        check_choice("flow_mode", self.flow_mode, MODES)

    def represent(self, clip: Clip) -> Float32[np.ndarray, " 1568"]:
        """u and v of the 28x28 map, in fractions of its range."""
        return centered(FlowMap(map_channels(clip, mode=self.flow_mode))).reshape(-1)

    fit = _svm.fit
    predict_proba = _svm.predict_proba
    weights = _svm.weights
    load_weights = _svm.load_weights
