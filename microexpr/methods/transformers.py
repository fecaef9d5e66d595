"""Hand-crafted features as scikit-learn transformers, for pipelines and searches of your own.

Importing this file imports scikit-learn; the methods themselves do not need it before they are fitted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, Real
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from microexpr.errors import BadInput
from microexpr.methods import bi_woof, lbp_top, mdmo, sparse_mdmo
from microexpr.methods._settings import check_range

# Of a clip: gray "h w" or RGB "h w 3".
Frames = Sequence[np.ndarray] | np.ndarray
# Of each clip the flow from its first frame to each later one, "frame 2 h w", or a single field.
Clips = Sequence[Real[np.ndarray, "..."]] | Real[np.ndarray, "clip ..."]
Fields = Sequence[Real[np.ndarray, "2 _ _"]] | Real[np.ndarray, "field 2 h w"]


class LBPTOPTransformer(TransformerMixin, BaseEstimator):
    """Clips to LBP-TOP features: `lbp_top.features` for each clip. It learns nothing from the data.

    Parameters
    ----------
    size, length, interpolation, blocks, overlap, neighbors, radii, coding : as for `lbp_top.features`.
    """

    def __init__(
        self,
        size: int = 112,
        length: int = 10,
        interpolation: str = "tim",
        blocks: tuple[int, ...] = (8, 8, 1),
        overlap: float = 0.7,
        neighbors: tuple[int, ...] = (8, 8, 8),
        radii: tuple[float, ...] = (3, 3, 3),
        coding: str = "uniform",
    ) -> None:
        self.size = size
        self.length = length
        self.interpolation = interpolation
        self.blocks = blocks
        self.overlap = overlap
        self.neighbors = neighbors
        self.radii = radii
        self.coding = coding

    def fit(self, clips: Sequence[Frames], y: object = None) -> LBPTOPTransformer:
        """Nothing to learn."""
        return self

    def transform(self, clips: Sequence[Frames]) -> Float32[np.ndarray, "clip feature"]:
        """Features of every clip, a sequence of frames each; the clips may differ in length and size.

        Raises:
            BadInput: there is no clip, or as for `lbp_top.features`.
        """
        if len(clips) == 0:
            raise BadInput("at least one clip", "none", "pass a sequence of clips, each a sequence of frames")
        return np.stack([lbp_top.features(clip, **self.get_params()) for clip in clips])

    def __sklearn_is_fitted__(self) -> bool:
        return True


class BiWOOFTransformer(TransformerMixin, BaseEstimator):
    """Flow fields to Bi-WOOF features: `bi_woof.features` for each field. It learns nothing from the data.

    Parameters
    ----------
    blocks, bins, overlap, strain_pooling : as for `bi_woof.features`.
    """

    def __init__(self, blocks: int = 5, bins: int = 8, overlap: int = 1, strain_pooling: str = "sum") -> None:
        self.blocks = blocks
        self.bins = bins
        self.overlap = overlap
        self.strain_pooling = strain_pooling

    def fit(self, flows: Fields, y: object = None) -> BiWOOFTransformer:
        """Nothing to learn."""
        return self

    def transform(self, flows: Fields) -> Float32[np.ndarray, "field feature"]:
        """Features of every field; the fields may differ in size.

        Raises:
            BadInput: there is no field, or as for `bi_woof.features`.
        """
        if len(flows) == 0:
            raise BadInput("at least one flow field", "none", "pass a sequence of fields")
        return np.stack([bi_woof.features(flow, **self.get_params()) for flow in flows])

    def __sklearn_is_fitted__(self) -> bool:
        return True


class MDMOTransformer(TransformerMixin, BaseEstimator):
    """Flow fields of clips to MDMO: `mdmo.features` for each clip. It learns nothing from the data.

    Parameters
    ----------
    drift, beta : as for `mdmo.features`.
    landmarks : of all clips, as for `mdmo.features`; None takes the mean face.
    """

    def __init__(self, drift: str = "affine", beta: float = 0.8, landmarks: np.ndarray | None = None) -> None:
        self.drift = drift
        self.beta = beta
        self.landmarks = landmarks

    def fit(self, flows: Clips, y: object = None) -> MDMOTransformer:
        """Nothing to learn."""
        return self

    def transform(self, flows: Clips) -> Float32[np.ndarray, "clip 72"]:
        """Features of every clip; the clips may differ in length and size.

        Raises:
            BadInput: there is no clip, or as for `mdmo.features`.
        """
        _check_clips(flows)
        return np.stack([mdmo.features(fields, **self.get_params()) for fields in flows])

    def __sklearn_is_fitted__(self) -> bool:
        return True


class SparseMDMOTransformer(TransformerMixin, BaseEstimator):
    """Flow fields of clips to pooled sparse codes; `fit` learns the dictionary.

    Parameters
    ----------
    words, iterations, seed : of the dictionary, as for `sparse_mdmo.SparseMDMO`, but nothing is chosen here.
    sparsity, smoothness, neighbors, still, pooling : as for `sparse_mdmo.Coder`.
    drift, beta : as for `sparse_mdmo.features`.
    landmarks : of all clips, as for `sparse_mdmo.features`; None takes the mean face.
    """

    def __init__(
        self,
        words: int = 64,
        sparsity: float = 0.1,
        smoothness: float = 0.1,
        neighbors: int = 5,
        still: float = 0.1,
        pooling: str = "max",
        iterations: int = 20,
        drift: str = "affine",
        beta: float = 0.8,
        landmarks: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        self.words = words
        self.sparsity = sparsity
        self.smoothness = smoothness
        self.neighbors = neighbors
        self.still = still
        self.pooling = pooling
        self.iterations = iterations
        self.drift = drift
        self.beta = beta
        self.landmarks = landmarks
        self.seed = seed

    def fit(self, flows: Clips, y: object = None) -> SparseMDMOTransformer:
        """Learns the dictionary from the frames of all clips.

        Raises:
            BadInput: there is no clip, a parameter is wrong, or as for `sparse_mdmo.features`.
        """
        check_range("words", self.words, 1)
        names = ("words", "sparsity", "smoothness", "neighbors", "still", "pooling", "iterations", "drift", "beta")
        settings = sparse_mdmo.SparseMDMO(seed=self.seed, **{name: getattr(self, name) for name in names})
        self.coder_ = settings.learned(self._atoms(flows))
        return self

    def transform(self, flows: Clips) -> Float64[np.ndarray, "clip word"]:
        """Pooled codes of every clip, each coded by itself; the clips may differ in length and size.

        Raises:
            BadInput: there is no clip, or as for `sparse_mdmo.features`.
        """
        check_is_fitted(self, "coder_")
        return self.coder_.pooled([self.coder_.prepared(atoms) for atoms in self._atoms(flows)])

    def _atoms(self, flows: Clips) -> list[Float32[np.ndarray, "_ 72"]]:
        _check_clips(flows)
        return [
            sparse_mdmo.features(fields, landmarks=self.landmarks, drift=self.drift, beta=self.beta) for fields in flows
        ]


def _check_clips(flows: Clips) -> None:
    if len(flows) == 0:
        raise BadInput("the flow fields of at least one clip", "none", "pass a sequence of clips")
