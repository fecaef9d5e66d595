"""Hand-crafted features as scikit-learn transformers, for pipelines and searches of your own.

Importing this file imports scikit-learn; the methods themselves do not need it before they are fitted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Real
from sklearn.base import BaseEstimator, TransformerMixin

from microexpr.errors import BadInput
from microexpr.methods import bi_woof

Fields = Sequence[Real[np.ndarray, "2 _ _"]] | Real[np.ndarray, "field 2 h w"]


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
