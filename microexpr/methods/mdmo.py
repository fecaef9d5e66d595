"""MDMO: the main direction of the flow in 36 regions of the face, its mean over the frames, and an SVM.

Liu, Zhang, Yan, Wang, Zhao and Fu, "A main directional mean optical flow feature for spontaneous micro-expression
recognition", IEEE Transactions on Affective Computing 7(4), 2016, doi:10.1109/TAFFC.2015.2485205. We have its abstract;
what that leaves open follows the re-implementation in tvaranka/meb, "meb" below.

`features` works on any flow fields, `features_of_clip` on a clip; `transformers.MDMOTransformer` is the same for
scikit-learn. `directions` is what they see in each frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Float64

from microexpr.faces.regions import MDMO_REGIONS
from microexpr.methods import _svm
from microexpr.methods._directions import ROUNDING, check_settings, directions, directions_of_clip
from microexpr.methods._settings import check_range
from microexpr.types import Clip

__all__ = ["MDMO", "averaged", "directions", "features", "features_of_clip", "weighted"]

GRID = (0.1, 1.0, 10.0, 100.0)


def features(
    flows: np.ndarray,
    *,
    landmarks: np.ndarray | None = None,
    drift: str = "affine",
    beta: float = 0.8,
) -> Float32[np.ndarray, " 72"]:
    """MDMO of the flow from the first frame to each later one: `weighted` of the `averaged` `directions`.

    Args:
        flows: "frame 2 h w", or "2 h w" of a single later frame: u (right) and v (down), in any common unit.
        landmarks: 66 or 68 points (x, y) of the first frame, pixels of the fields, see `directions`; None (default)
            takes the mean face.
        drift: motion of the head that is taken off each field first: "affine", "translation" or "none".
        beta: weight of the magnitudes; that of the angles is 1 - beta.

    Returns:
        beta rho of the 36 regions, rho in fractions of the largest, then (1 - beta) theta in radians.

    Raises:
        BadInput: as for `directions`, or beta is not in 0..1.
    """
    return weighted(averaged(directions(flows, landmarks=landmarks, drift=drift)), beta)


def averaged(found: Float64[np.ndarray, "frame region 2"]) -> Float64[np.ndarray, "region 2"]:
    """The mean vector of every region over the frames, as (rho, theta); zeros where the vectors cancel out."""
    rho, theta = found[..., 0], found[..., 1]
    x, y = (rho * np.cos(theta)).mean(axis=0), (rho * np.sin(theta)).mean(axis=0)
    length = np.hypot(x, y)
    moves = length > ROUNDING * rho.max(initial=0)
    return np.stack([length, np.arctan2(y, x)], axis=1) * moves[:, None]


def weighted(
    found: Float64[np.ndarray, "region 2"], beta: float = 0.8, largest: float | None = None
) -> Float32[np.ndarray, " numbers"]:
    """[beta rho / largest, (1 - beta) theta]: magnitudes of all regions, then their angles in radians.

    Args:
        found: rho and theta of every region.
        beta: from 0 to 1.
        largest: what magnitudes are divided by; None (default) takes the largest of them. Where that is 0 they stay 0.
    """
    check_range("beta", beta, 0, 1)
    rho, theta = found.T
    peak = rho.max(initial=0) if largest is None else largest
    return np.concatenate([beta * rho / (peak if peak > 0 else 1), (1 - beta) * theta]).astype(np.float32)


def features_of_clip(
    clip: Clip, *, size: int = 224, flow_mode: str = "clg", frames: int = 0, drift: str = "affine", beta: float = 0.8
) -> Float32[np.ndarray, " 72"]:
    """MDMO of a clip, by the mean face.

    Args:
        clip: aligned crops of a face from onset to offset (apex where there is no offset), or a published map, which is
            a single field on which `drift` has no effect, see `_directions.directions_of_clip`.
        size: height and width to which frames and maps are resized.
        flow_mode: solver of `motion.flow`, for frames.
        frames: frames after the onset that are taken, evenly spread, the last one included; 0 takes all of them.
        drift, beta: as for `features`.

    Raises:
        BadInput: the clip has neither frames nor a map, fewer than two frames, or frames under 16x16 pixels; or a
            setting is wrong.
    """
    found = directions_of_clip(clip, size=size, flow_mode=flow_mode, frames=frames, drift=drift)
    return weighted(averaged(found), beta)


@dataclass
class MDMO:
    """Main directional mean optical flow with a support vector machine, one class against the rest.

    The face is where the mean face of `faces.regions` is, as on every aligned crop. For landmarks of your own there is
    `features`.

    Attributes:
        beta: weight of the magnitudes against the angles (meb: 0.8).
        drift: motion of the head, taken off the field of each frame: "affine", "translation" or "none".
        frames: frames after the onset that are taken, evenly spread; 0 takes all of them.
        size: height and width to which frames are resized before the flow; ours.
        flow_mode: solver of `motion.flow` for clips with frames.
        c: the SVM's C; None (default) takes the best of `GRID` on an inner subject-disjoint split of the training rows.
        kernel: "linear", "poly" or "rbf"; "chosen" takes the best of them on the same split.
        classes: number of classes.
        seed: without effect; the solver starts the same way every time.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"flow"})
    seeded: ClassVar[bool] = False
    grid: ClassVar[tuple[float, ...]] = GRID
    kernels: ClassVar[tuple[str, ...]] = _svm.KERNELS
    feature_count: ClassVar[int] = 2 * MDMO_REGIONS

    beta: float = 0.8
    # The abstract names an alignment of all frames that is driven by the flow; meb has this one, switched off.
    drift: str = "affine"
    frames: int = 0
    size: int = 224
    flow_mode: str = "clg"
    c: float | None = None
    kernel: str = "chosen"
    classes: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        _svm.start(self)
        check_settings(self)
        check_range("beta", self.beta, 0, 1)
        check_range("frames", self.frames, 0)

    def represent(self, clip: Clip) -> Float32[np.ndarray, " 72"]:
        """`features_of_clip` with these settings."""
        return features_of_clip(
            clip, size=self.size, flow_mode=self.flow_mode, frames=self.frames, drift=self.drift, beta=self.beta
        )

    fit = _svm.fit
    predict_proba = _svm.predict_proba
    weights = _svm.weights
    load_weights = _svm.load_weights
