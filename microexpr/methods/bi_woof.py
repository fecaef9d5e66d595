"""Bi-WOOF: orientation histograms of the flow, weighted twice, and a support vector machine.

Liong, See, Wong and Phan, "Less is more: micro-expression recognition from video using apex frame", Signal Processing:
Image Communication 62, 2018, doi:10.1016/j.image.2017.11.006, and the authors' script (christy1206/biwoof). "Script"
below is that script.

`features` works on any flow field, `features_of_clip` on a clip; `transformers.BiWOOFTransformer` is the same for
scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Float64, Real

from microexpr.errors import BadInput
from microexpr.kernels.histogram import block_bounds, block_sums, orientation_histograms
from microexpr.methods import _svm
from microexpr.methods._settings import check_choice, check_range
from microexpr.motion.flow import MODES, SMALLEST, centered, clip_flow, direction, magnitude, map_channels, strain
from microexpr.types import Clip, FlowMap

POOLINGS = ("sum", "mean")
REPRESENTATIONS = ("pixels", "published")
# Features are not negative and of length 1, so their products lie in 0..1: about C = 1 a clip can outweigh the margin.
GRID = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
# Strain, in fractions of the largest motion a pixel, that float32 makes of a field without any.
ROUNDING = np.float32(1e-6)


def features(
    flow: np.ndarray,
    *,
    strain_map: Real[np.ndarray, "_ _"] | None = None,
    blocks: int = 5,
    bins: int = 8,
    overlap: int = 1,
    strain_pooling: str = "sum",
) -> Float32[np.ndarray, " {blocks*blocks*bins}"]:
    """Bi-WOOF of a flow field: the local histograms times the strain of their blocks, together of length 1.

    A field without strain (no motion, or a shift of the whole picture) gives zeros, where the script divides by zero.
    The unit of the flow does not matter: what is left of it is a common factor, which the length takes away.

    Args:
        flow: "2 h w", u (right) and v (down), in any common unit.
        strain_map: the global weights; None (default) takes `motion.flow.strain` of the field.
        blocks: along each axis (script: 5).
        bins: sectors of the circle (script: 8), the first one from -180 degrees.
        overlap: pixels that a block reaches over each of its edges (script: 1).
        strain_pooling: "sum" (script) or "mean" of a block's strain.

    Returns:
        Histograms one after the other, block by block along the rows.

    Raises:
        BadInput: the field is not "2 h w" or not finite, is smaller than the grid of blocks, or a setting is wrong.
    """
    check_choice("strain_pooling", strain_pooling, POOLINGS)
    histograms = local_histograms(flow, blocks=blocks, bins=bins, overlap=overlap)
    if strain_map is None:
        strain_map = strain(_scaled(flow))
        strain_map = np.where(strain_map > ROUNDING, strain_map, 0)
    elif strain_map.shape != flow.shape[1:] or not (np.isfinite(strain_map) & (strain_map >= 0)).all():
        shape = "x".join(map(str, flow.shape[1:]))
        raise BadInput(
            f"strain that is finite, not negative and {shape} like the flow", "another map", "leave strain_map out"
        )
    rows, columns = (block_bounds(length, blocks, overlap) for length in flow.shape[1:])
    weights = block_sums(strain_map, rows, columns)
    if strain_pooling == "mean":
        weights /= np.outer(rows[:, 1] - rows[:, 0], columns[:, 1] - columns[:, 0])
    weighted = histograms * weights[:, :, None]
    length = np.linalg.norm(weighted)
    return (weighted / length if length > 0 else weighted).reshape(-1).astype(np.float32)


def local_histograms(
    flow: np.ndarray, *, blocks: int = 5, bins: int = 8, overlap: int = 1
) -> Float64[np.ndarray, "{blocks} {blocks} {bins}"]:
    """Histograms of orientation, weighted by magnitude and divided by their sums; a block without motion gives zeros.

    Bin k holds orientations atan2(v, u) from -180 + k 360 / bins degrees on: with 8 bins (script: edges -180:45:179)
    bin 4 is from right to half down, bin 0 from left to half up.

    Args and Raises: as for `features`.
    """
    for name, value, low in (("blocks", blocks, 1), ("bins", bins, 1), ("overlap", overlap, 0)):
        if not isinstance(value, int | np.integer) or value < low:
            raise BadInput(f"{name} to be a whole number of at least {low}", repr(value), f"set {name} to one")
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise BadInput('a flow field "2 h w"', f"an array of shape {flow.shape}", "stack u and v along the first axis")
    if not np.isfinite(flow).all():
        raise BadInput("a finite flow field", "vectors that are not", "mask or fill them first")
    height, width = flow.shape[1:]
    if min(height, width) < blocks:
        raise BadInput(
            f"a flow field of at least {blocks}x{blocks} for {blocks}x{blocks} blocks",
            f"{width}x{height}",
            "use fewer blocks or larger frames",
        )
    scaled = _scaled(flow)
    rows, columns = block_bounds(height, blocks, overlap), block_bounds(width, blocks, overlap)
    histograms = orientation_histograms(np.degrees(direction(scaled)), magnitude(scaled), rows, columns, bins)
    totals = histograms.sum(2, keepdims=True)
    return np.divide(histograms, totals, out=histograms, where=totals > 0)


def _scaled(flow: Real[np.ndarray, "2 h w"]) -> Float32[np.ndarray, "2 h w"]:
    """The field in fractions of its largest component: float32 can square any of it."""
    peak = np.abs(flow).max()
    return (flow / peak if peak > 0 else flow).astype(np.float32)


def features_of_clip(
    clip: Clip,
    *,
    size: int = 224,
    flow_mode: str = "tvl1",
    representation: str = "pixels",
    blocks: int = 5,
    bins: int = 8,
    overlap: int = 1,
    strain_pooling: str = "sum",
) -> Float32[np.ndarray, " {blocks*blocks*bins}"]:
    """Bi-WOOF of a clip, onset to apex.

    A clip with frames gives the flow of the resized frames, in pixels. A published map has no pixels: its u and v were
    stretched separately to 0..255, so their ratio, and with it every orientation, is distorted, and magnitudes are of
    the stretched components. They are used around zero motion, on the map's own grid. Its third channel is the strain
    of the field before that, up to a factor and an offset (the smallest strain of the map, mostly near zero), and gives
    the global weights.

    Args:
        clip: with frames or a published map.
        size, flow_mode: of `motion.flow.clip_flow`, for clips with frames.
        representation: "pixels", or "published": a clip with frames is first brought to the form of the published maps,
            28x28; `size` is then without effect. For weights that were trained on such maps.
        blocks, bins, overlap, strain_pooling: as for `features`.

    Raises:
        BadInput: the clip has no flow to give, or as for `features`.
    """
    check_choice("representation", representation, REPRESENTATIONS)
    strain_map = None
    if clip.frames is not None and representation == "pixels":
        flow = clip_flow(clip, size=size, mode=flow_mode)
    else:
        channels = map_channels(clip, mode=flow_mode)
        flow, strain_map = centered(FlowMap(channels)), channels[2]
    return features(
        flow, strain_map=strain_map, blocks=blocks, bins=bins, overlap=overlap, strain_pooling=strain_pooling
    )


@dataclass
class BiWOOF:
    """Bi-weighted oriented optical flow with an SVM, one class against the rest.

    Attributes:
        blocks: along each axis (script: 5).
        bins: sectors of the circle (script: 8, edges -180:45:179).
        overlap: pixels that a block reaches over each of its edges (script: 1).
        strain_pooling: "sum" (script) or "mean" of a block's strain.
        size: height and width to which frames are resized before the flow; ours, the script reads finished fields.
        flow_mode: solver of `motion.flow` for clips with frames.
        representation: "pixels", or "published" to bring clips with frames to the form of the published maps.
        c: the SVM's C; None (default) takes the best of `GRID` on an inner subject-disjoint split of the training rows.
        kernel: "linear" (default), "poly", "rbf", or "chosen" to take the best of them on the same split.
        classes: number of classes.
        seed: without effect; the solver starts the same way every time.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"flow"})
    seeded: ClassVar[bool] = False
    grid: ClassVar[tuple[float, ...]] = GRID
    kernels: ClassVar[tuple[str, ...]] = _svm.KERNELS

    blocks: int = 5
    bins: int = 8
    overlap: int = 1
    strain_pooling: str = "sum"
    size: int = 224
    flow_mode: str = "tvl1"
    representation: str = "pixels"
    c: float | None = None
    kernel: str = "linear"
    classes: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        _svm.start(self)
        check_range("blocks", self.blocks, 1)
        check_range("bins", self.bins, 1)
        check_range("overlap", self.overlap, 0)
        check_choice("strain_pooling", self.strain_pooling, POOLINGS)
        check_range("size", self.size, max(SMALLEST, self.blocks))
        check_choice("flow_mode", self.flow_mode, MODES)
        check_choice("representation", self.representation, REPRESENTATIONS)

    @property
    def feature_count(self) -> int:
        """Numbers that describe a clip: 200 with the script's settings."""
        return self.blocks**2 * self.bins

    def represent(self, clip: Clip) -> Float32[np.ndarray, " feature"]:
        """`features_of_clip` with these settings."""
        return features_of_clip(
            clip,
            size=self.size,
            flow_mode=self.flow_mode,
            representation=self.representation,
            blocks=self.blocks,
            bins=self.bins,
            overlap=self.overlap,
            strain_pooling=self.strain_pooling,
        )

    fit = _svm.fit
    predict_proba = _svm.predict_proba
    weights = _svm.weights
    load_weights = _svm.load_weights
