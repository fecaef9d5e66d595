"""AlexNet on the color-coded flow, the deep baseline of the MJFN paper.

Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks, Communications of the
ACM 60(6), 2017, doi:10.1145/3065386; in the layout of one stream, Krizhevsky: One weird trick for parallelizing
convolutional neural networks, 2014, arXiv:1404.5997. Table 3 of the MJFN paper has a row of it, run by that paper's
authors: "using optical flow image as input"; no settings are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from microexpr.methods import _torch, _verbs, _wide
from microexpr.methods._flow_pictures import scaled
from microexpr.methods._settings import check_choice, check_range
from microexpr.motion.color import flow_to_color
from microexpr.motion.flow import MODES, clip_flow
from microexpr.types import Clip

SMALLEST = 63  # pixels of the input; of a smaller one no map is left after three poolings


class Network(nn.Module):
    """Five convolutions and three fully connected layers; returns log probabilities "clip class"."""

    def __init__(self, hidden: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 11, stride=4, padding=2)
        self.pool1 = nn.MaxPool2d(3, 2)
        self.conv2 = nn.Conv2d(64, 192, 5, padding=2)
        self.pool2 = nn.MaxPool2d(3, 2)
        self.conv3 = nn.Conv2d(192, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 256, 3, padding=1)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.pool3 = nn.MaxPool2d(3, 2)
        self.average = nn.AdaptiveAvgPool2d(6)
        self.dropout1 = _torch.Dropout(dropout)
        self.fc1 = _wide.Linear(256 * 6 * 6, hidden)
        self.dropout2 = _torch.Dropout(dropout)
        self.fc2 = _wide.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, classes)

    def forward(self, x: Float[Tensor, "clip 3 h w"]) -> Float[Tensor, "clip class"]:
        # The shapes are those of 224x224. ReLU and max-pooling commute; pooling first leaves ReLU a quarter of the
        # values.
        x = F.relu(self.pool1(self.conv1(x)))  # clip 64 27 27
        x = F.relu(self.pool2(self.conv2(x)))  # clip 192 13 13
        x = F.relu(self.conv3(x))  # clip 384 13 13
        x = F.relu(self.conv4(x))  # clip 256 13 13
        x = F.relu(self.pool3(self.conv5(x)))  # clip 256 6 6
        x = self.average(x).flatten(1)  # clip 9216
        x = F.relu(self.fc1(self.dropout1(x)))
        x = F.relu(self.fc2(self.dropout2(x)))
        return self.fc3(x).float().log_softmax(1)


@dataclass
class AlexNet:
    """AlexNet (Krizhevsky, Sutskever, Hinton 2012) on the flow picture of MJFN, trained from random weights.

    The MJFN paper gives no settings for its row. All defaults are our choice: those that the paper trains MJFN with.

    Attributes:
        classes: number of classes.
        flow_mode: solver of `motion.flow` for clips with frames.
        size: height and width of the input in pixels; 224 is the paper's.
        hidden: width of both hidden fully connected layers.
        dropout: before both hidden fully connected layers.
        epochs, batch_size, learning_rate: Adam.
        precision: "auto" (bfloat16 products where the processor has them), "float32" or "bfloat16"; where one thread of
            a CPU trains, of the convolutions: the fully connected layers train in float32.
        device: "cpu" or "cuda".
        threads: threads of a fit; results are the same bits only for the same number.
        seed: initial weights, order and dropout.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"flow"})
    class_weights: ClassVar[str] = "none"
    shuffle: ClassVar[bool] = True
    views: ClassVar[int] = 1

    classes: int = 3
    flow_mode: str = "tvl1"
    size: int = 224
    hidden: int = 4096
    dropout: float = 0.5
    epochs: int = 300
    batch_size: int = 12
    learning_rate: float = 1e-4
    precision: str = "auto"
    device: str = "cpu"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("flow_mode", self.flow_mode, MODES)
        check_choice("precision", self.precision, _torch.PRECISIONS)
        check_range("classes", self.classes, 2)
        check_range("seed", self.seed, 0)
        check_range("size", self.size, SMALLEST)
        check_range("hidden", self.hidden, 1)
        check_range("dropout", self.dropout, 0, 0.95)
        check_range("epochs", self.epochs, 1)
        check_range("batch_size", self.batch_size, 1)
        check_range("learning_rate", self.learning_rate, 0)
        check_range("threads", self.threads, 1)
        _torch.device_of(self.device)
        self.network_: nn.Module | None = None

    def represent(self, clip: Clip) -> UInt8[np.ndarray, "h w 3"]:
        """The color picture of the flow from onset to apex, Eqs. 4-6 of the MJFN paper, "size size 3"."""
        return flow_to_color(clip_flow(clip, size=self.size, mode=self.flow_mode))

    def network(self) -> Network:
        """A new network of these settings whose weights are not initialized yet."""
        return _torch.empty(Network, self.hidden, self.dropout, self.classes)

    fit = _verbs.fit
    trace = _verbs.trace
    fit_folds = _verbs.fit_folds
    predict_proba = _verbs.predict_proba
    weights = _verbs.weights
    draw = _verbs.no_draws
    load_weights = _verbs.load_weights

    def layers(self) -> list[tuple[str, str, tuple[int, ...], int]]:
        """Name, kind, output shape and parameters of every layer."""
        return _torch.layer_table(self.network(), torch.zeros(1, 3, self.size, self.size))

    def batch(self, x: Tensor, rows: Tensor, draws: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Network input of training rows, "clip 3 h w"."""
        return scaled(x[rows], dtype)

    def view(self, x: Tensor, rows: Tensor, number: int) -> Tensor:
        """Network input of rows to predict, "clip 3 h w"."""
        return scaled(x[rows], torch.float32)
