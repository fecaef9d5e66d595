"""The verbs that every network method has, written once; a class takes them over in its body: ``fit = _verbs.fit``.

They need what `_torch.Trainable` names, and keep the trained network as ``network_``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int
from torch import nn

from microexpr.errors import BadInput
from microexpr.methods import _stacked, _torch

Trained = TypeVar("Trained", bound=Any)


def fit(self: Trained, x: np.ndarray, y: Int[np.ndarray, " clip"], subjects: Sequence[str]) -> Trained:
    """Trains on the given rows only, to the last epoch; `subjects` is not used, nothing is held back."""
    self.network_, _ = _torch.fit(self, x, y)
    return self


def trace(
    self: Any, x: np.ndarray, y: Int[np.ndarray, " clip"], subjects: Sequence[str], watch: np.ndarray
) -> Float[np.ndarray, "epoch watched class"]:
    """`fit`, with the class probabilities of the rows of `watch` after every epoch."""
    self.network_, traced = _torch.fit(self, x, y, watch)
    return traced


def fit_own(self: Trained, x: np.ndarray, y: Int[np.ndarray, " clip"], subjects: Sequence[str]) -> Trained:
    """`fit` of a network that writes its own training: `_train`, which gives "watched class" after every epoch."""
    self._train(x, y, None)
    return self


def trace_own(
    self: Any, x: np.ndarray, y: Int[np.ndarray, " clip"], subjects: Sequence[str], watch: np.ndarray
) -> Float[np.ndarray, "epoch watched class"]:
    """`trace` of a network that writes its own training."""
    return np.stack(self._train(x, y, watch))


def fit_folds(
    self: Any,
    x: np.ndarray,
    y: Int[np.ndarray, " clip"],
    train_sets: Sequence[np.ndarray],
    watch_sets: Sequence[np.ndarray],
    seeds: Sequence[int],
) -> Iterator[_stacked.Trace]:
    """Many folds trained together; see `_stacked.fit_folds`."""
    return _stacked.fit_folds(self, x, y, train_sets, watch_sets, seeds)


def predict_proba(self: Any, x: np.ndarray) -> Float[np.ndarray, "clip class"]:
    """Class probabilities, the mean over the views of a clip."""
    return _torch.predict(self, fitted(self), x)


def weights(self: Any) -> dict[str, np.ndarray]:
    """The trained parameters and running statistics by name."""
    return {name: value.cpu().contiguous().numpy() for name, value in fitted(self).state_dict().items()}


def load_weights(self: Trained, weights: Mapping[str, np.ndarray]) -> Trained:
    """Takes over parameters that `weights` gave; they must fit the settings.

    Raises:
        BadInput: they do not.
    """
    network = self.network()
    counts = {name for name, value in network.state_dict().items() if not value.dim()}
    # files of weights know no scalars: there the count of a batch normalization is an array of one
    whole = {
        name: value.reshape(()) if name in counts and value.size == 1 else value for name, value in weights.items()
    }
    _torch.load_state(network, whole, type(self).__name__)
    self.network_ = _torch.place(network, _torch.device_of(self.device)).eval()
    return self


def fitted(self: Any) -> nn.Module:
    """The trained network.

    Raises:
        BadInput: there is none yet.
    """
    if self.network_ is None:
        raise BadInput("a fitted method", "one without weights", "call fit or load weights first")
    return self.network_


def no_draws(self: Any, clips: int, generator: object) -> tuple[()]:
    """`_torch.Trainable.draw` of a method that does not augment: nothing."""
    return ()
