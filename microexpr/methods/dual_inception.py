"""Dual-Inception: two streams of Inception blocks on the flow from onset to the frame in the middle of the clip.

Zhou, Mao, Xue: Dual-inception network for cross-database micro-expression recognition, IEEE Int. Conf. on Automatic
Face and Gesture Recognition (FG), 2019, doi:10.1109/FG.2019.8756579. What the abstract leaves open is taken from the
authors' code (github.com/xly135846/MEGC2019, `dual_inception.py` as of its commit 2dc306a).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from microexpr.methods import _torch, _verbs, _wide
from microexpr.methods._settings import check_choice, check_range
from microexpr.methods._winners import compiled, convolved_and_pooled
from microexpr.motion.flow import MODES, centered, clip_flow, map_channels, published_map
from microexpr.spotting.apex import apex_of
from microexpr.types import Clip, FlowMap

FILTERS = (6, 16)  # of every path of the first and the second block


class Inception(nn.Module):
    """Four paths side by side, joined, and max-pooling: "clip given h w" -> "clip 4*filters h/2 w/2".

    The paths: a 1x1 convolution; 1x1, then 3x3; 1x1, then 5x5; max-pooling 3x3 that keeps the size, then 1x1. ReLU
    after every convolution.
    """

    def __init__(self, given: int, filters: int) -> None:
        super().__init__()
        self.single = nn.Conv2d(given, filters, 1)
        self.reduce3 = nn.Conv2d(given, filters, 1)
        self.conv3 = nn.Conv2d(filters, filters, 3, padding=1)
        self.reduce5 = nn.Conv2d(given, filters, 1)
        self.conv5 = nn.Conv2d(filters, filters, 5, padding=2)
        self.largest = nn.MaxPool2d(3, 1, padding=1)
        self.project = nn.Conv2d(given, filters, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Float[Tensor, "clip given h w"]) -> Float[Tensor, "clip joined h//2 w//2"]:
        # ReLU and max-pooling commute; pooling first leaves ReLU a quarter of the values.
        if compiled(self.single, x):
            return F.relu(torch.cat([convolved_and_pooled(last, self.pool, given) for last, given in self.paths(x)], 1))
        return F.relu(self.pool(torch.cat([last(given) for last, given in self.paths(x)], 1)))

    def paths(self, x: Float[Tensor, "clip given h w"]) -> Iterator[tuple[nn.Conv2d, Tensor]]:
        """The last convolution of each path and what goes in."""
        yield self.single, x
        yield self.conv3, F.relu(self.reduce3(x))
        yield self.conv5, F.relu(self.reduce5(x))
        yield self.project, self.largest(x)


class Stream(nn.Module):
    """Both blocks of one component: 28x28 -> 64x7x7."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = Inception(1, FILTERS[0])
        self.block2 = Inception(4 * FILTERS[0], FILTERS[1])

    def forward(self, x: Float[Tensor, "clip 1 28 28"]) -> Float[Tensor, "clip 64 7 7"]:
        return self.block2(self.block1(x))


class Network(nn.Module):
    """Two streams and two fully connected layers; returns log probabilities "clip class"."""

    def __init__(self, dropout: float, classes: int) -> None:
        super().__init__()
        self.u = Stream()
        self.v = Stream()
        self.fc1 = _wide.Linear(2 * 64 * 7 * 7, 1024)
        self.dropout = _torch.Dropout(dropout)
        self.fc2 = nn.Linear(1024, classes)

    def forward(self, x: Float[Tensor, "clip 2 28 28"]) -> Float[Tensor, "clip class"]:
        with torch.autocast("cpu", enabled=False):  # in batches of three, bfloat16 costs more than it saves there
            joined = torch.cat([self.u(x[:, :1]), self.v(x[:, 1:])], 1).flatten(1)  # clip 6272
        return self.fc2(self.dropout(F.relu(self.fc1(joined)))).float().log_softmax(1)


@dataclass
class DualInception:
    """Dual-Inception (Zhou, Mao, Xue, FG 2019).

    The second frame is the one in the middle of the clip, not the apex. A published flow map is that of the apex: there
    is no other, and the method takes it.

    Attributes:
        classes: number of classes.
        flow_mode: solver of `motion.flow` for clips with frames.
        dropout: after the hidden fully connected layer; the authors' code has none.
        epochs, batch_size, learning_rate: Adam, as in the authors' code.
        precision: "auto" (bfloat16 products where the processor has them), "float32" or "bfloat16"; on a CPU, of
            the last layer: the others train in float32, the hidden one with one thread and batches of at most 4.
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
    # The paper itself was not read. These four are from the authors' code; the re-implementation that comes with
    # Off-TANet trains for 501 epochs in batches of 64 with a rate of 1e-3.
    dropout: float = 0.0
    epochs: int = 40
    batch_size: int = 3
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
        check_range("dropout", self.dropout, 0, 0.95)
        check_range("epochs", self.epochs, 1)
        check_range("batch_size", self.batch_size, 1)
        check_range("learning_rate", self.learning_rate, 0)
        check_range("threads", self.threads, 1)
        _torch.device_of(self.device)
        self.network_: nn.Module | None = None

    def represent(self, clip: Clip) -> Float32[np.ndarray, "2 28 28"]:
        """u and v of the 28x28 map around zero motion, in fractions of its range.

        Of a clip with frames, the flow from the onset to the frame in the middle between onset and offset, the later of
        two; else its published map, from onset to apex. The scale is ours: the authors' code divides gray pictures of
        the components by 255, and how these were made is not known.

        Raises:
            BadInput: frames without an annotated onset or offset.
        """
        if clip.frames is None:
            return centered(FlowMap(map_channels(clip, mode=self.flow_mode)))
        middle = dataclasses.replace(clip, apex=apex_of(clip, "middle"))
        return centered(published_map(clip_flow(middle, mode=self.flow_mode)))

    def network(self) -> Network:
        """A new network of these settings whose weights are not initialized yet."""
        return _torch.empty(Network, self.dropout, self.classes)

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
