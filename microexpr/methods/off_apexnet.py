"""OFF-ApexNet: two streams of convolutions, one for each component of the flow from onset to apex.

Gan, Liong, Yau, Huang, Tan: OFF-ApexNet on micro-expression recognition system, Signal Processing: Image Communication
74, 2019, doi:10.1016/j.image.2019.02.005. The authors' code is not published; the layers are those of the two-stream
re-implementation that comes with Off-TANet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from microexpr.methods import _torch, _verbs
from microexpr.methods._settings import check_choice, check_range
from microexpr.methods._winners import convolved_and_pooled
from microexpr.motion.flow import MODES, centered, map_channels
from microexpr.types import Clip, FlowMap


class Stream(nn.Module):
    """The convolutions of one component: 28x28 -> 16x7x7."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5, padding=2)
        self.pool2 = nn.MaxPool2d(2)
        self.rectify = activation == "relu"

    def forward(self, x: Float[Tensor, "clip 1 28 28"]) -> Float[Tensor, "clip 16 7 7"]:
        # ReLU and max-pooling commute; pooling first leaves ReLU a quarter of the values.
        x = convolved_and_pooled(self.conv1, self.pool1, x)  # clip 6 14 14
        x = convolved_and_pooled(self.conv2, self.pool2, F.relu(x) if self.rectify else x)
        return F.relu(x) if self.rectify else x


class Network(nn.Module):
    """Two streams and three fully connected layers; returns log probabilities "clip class"."""

    def __init__(self, activation: str, dropout: float, classes: int) -> None:
        super().__init__()
        self.u = Stream(activation)
        self.v = Stream(activation)
        self.fc1 = nn.Linear(2 * 16 * 7 * 7, 1024)
        self.dropout1 = _torch.Dropout(dropout)
        self.fc2 = nn.Linear(1024, 1024)
        self.dropout2 = _torch.Dropout(dropout)
        self.fc3 = nn.Linear(1024, classes)

    def forward(self, x: Float[Tensor, "clip 2 28 28"]) -> Float[Tensor, "clip class"]:
        joined = torch.cat([self.u(x[:, :1]), self.v(x[:, 1:])], 1).flatten(1)  # clip 1568
        hidden = self.dropout1(F.relu(self.fc1(joined)))
        hidden = self.dropout2(F.relu(self.fc2(hidden)))
        return self.fc3(hidden).float().log_softmax(1)


@dataclass
class OFFApexNet:
    """OFF-ApexNet (Gan, Liong, Yau, Huang, Tan, Signal Processing: Image Communication 74, 2019).

    Attributes:
        activation: after each convolution: "none", as in the known code, whose convolutions are then linear but for the
            max-pooling, or "relu".
        classes: number of classes.
        flow_mode: solver of `motion.flow` for clips with frames.
        dropout: after both hidden fully connected layers.
        epochs, batch_size, learning_rate: Adam.
        precision: "auto" (bfloat16 products where the processor has them), "float32" or "bfloat16"; on a CPU, of the
            fully connected layers: convolutions train in float32.
        device: "cpu" or "cuda".
        threads: threads of a fit; results are the same bits only for the same number.
        seed: initial weights, order and dropout.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"flow"})
    class_weights: ClassVar[str] = "none"
    shuffle: ClassVar[bool] = True
    views: ClassVar[int] = 1

    activation: str = "none"
    classes: int = 3
    flow_mode: str = "tvl1"
    dropout: float = 0.5
    epochs: int = 3000
    batch_size: int = 64
    learning_rate: float = 1e-4
    precision: str = "auto"
    device: str = "cpu"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, ("none", "relu"))
        check_choice("flow_mode", self.flow_mode, MODES)
        check_choice("precision", self.precision, _torch.PRECISIONS)
        check_range("classes", self.classes, 2)
        check_range("seed", self.seed, 0)
        check_range("dropout", self.dropout, 0, 0.95)
        check_range("epochs", self.epochs, 1)
        check_range("batch_size", self.batch_size, 1)
        check_range("learning_rate", self.learning_rate, 0)
        check_range("threads", self.threads, 1)
        _torch.device_of(self.device)
        self.network_: nn.Module | None = None

    def represent(self, clip: Clip) -> Float32[np.ndarray, "2 28 28"]:
        """u and v of the 28x28 map around zero motion, in fractions of its range.

        The scale is ours: that of the paper's input is not known.
        """
        return centered(FlowMap(map_channels(clip, mode=self.flow_mode)))

    def network(self) -> Network:
        """A new network of these settings whose weights are not initialized yet."""
        return _torch.empty(Network, self.activation, self.dropout, self.classes)

    fit = _verbs.fit
    trace = _verbs.trace
    fit_folds = _verbs.fit_folds
    predict_proba = _verbs.predict_proba
    weights = _verbs.weights
    draw = _verbs.no_draws
    load_weights = _verbs.load_weights

    def layers(self) -> list[tuple[str, str, tuple[int, ...], int]]:
        """Name, kind, output shape and parameters of every layer."""
        return _torch.layer_table(self.network(), torch.zeros(1, 2, 28, 28))

    def batch(self, x: Tensor, rows: Tensor, draws: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Network input of training rows, "clip 2 28 28"."""
        return x[rows]

    def view(self, x: Tensor, rows: Tensor, number: int) -> Tensor:
        """Network input of rows to predict, "clip 2 28 28"."""
        return x[rows]
