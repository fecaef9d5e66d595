"""Micro-attention: a small residual network on the gray apex picture whose stages mask their own output.

Wang, Peng, Bi, Chen: Micro-attention for micro-expression recognition, Neurocomputing 410, 2020,
doi:10.1016/j.neucom.2020.06.005. Layers, solver and augmentation are those of the Caffe files with which the authors
of ATNet compared it on the composite data set (github.com/Trunpm/ACII19-Apex-Time-Network).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from microexpr.methods import _apex, _caffe, _torch, _verbs
from microexpr.methods._resnet10 import ResNet10
from microexpr.types import Clip


class Network(nn.Module):
    """`ResNet10` with micro-attention and one linear layer; returns log probabilities "clip class"."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.resnet = ResNet10(width, attention=True)
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, x: Float[Tensor, "clip 1 size size"]) -> Float[Tensor, "clip class"]:
        return self.fc(self.resnet(x)).float().log_softmax(1)


@dataclass
class MicroAttention:
    """Residual network with micro-attention on the apex picture (Wang, Peng, Bi, Chen, Neurocomputing 410, 2020).

    An epoch is ``epoch_iterations`` iterations, ours: the authors count iterations, 2500 of them.

    Attributes:
        classes: number of classes.
        size: height and width of the picture, the face as the data set crops it.
        width: channels of the first stage; 64 in the authors' file.
        epochs, epoch_iterations: their product is the number of iterations.
        batch_size, learning_rate, momentum, weight_decay: of SGD.
        step, gamma: the learning rate is multiplied by `gamma` every `step` iterations.
        average_fraction: of the running statistics of batch normalization; the default is Caffe's.
        balance: whether rows of rarer classes are listed again until all classes are equally frequent.
        augmentation: probability of each of mirroring, rotation and color shift.
        rotation: largest angle in degrees, both ways.
        color_shift: largest shift in gray levels, both ways.
        pretrain_on: name of a data set to train on before; "" for none. The authors began with weights trained on
            macro-expressions, on data that they do not name.
        pretrain_epochs: of that training; ours.
        initial_weights: file of weights to begin with, instead; "" for none.
        precision: "auto" (bfloat16 products where the processor has them), "float32" or "bfloat16".
        device: "cpu" or "cuda".
        threads: threads of a fit; results are the same bits only for the same number.
        seed: initial weights, order and augmentation.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"frames"})
    class_weights: ClassVar[str] = "none"
    shuffle: ClassVar[bool] = True
    views: ClassVar[int] = 1

    classes: int = 3
    size: int = 224
    width: int = 64
    epochs: int = 25
    epoch_iterations: int = 100
    batch_size: int = 16
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-6
    step: int = 500
    gamma: float = 0.1
    average_fraction: float = 0.999
    balance: bool = True
    augmentation: float = 0.5
    rotation: float = 5.0
    color_shift: int = 10
    pretrain_on: str = ""
    pretrain_epochs: int = 25
    initial_weights: str = ""
    precision: str = "auto"
    device: str = "cpu"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        self.network_: nn.Module | None = None
        _caffe.check(self)

    def represent(self, clip: Clip) -> UInt8[np.ndarray, "size size"]:
        """The apex frame in gray levels."""
        frames, apex = _apex.frames_of(clip)
        return _apex.gray(frames.read(apex), self.size)

    def network(self) -> Network:
        """A new network of these settings whose weights are not initialized yet."""
        return _torch.empty(Network, self.width, self.classes)

    fit = _caffe.fit
    trace = _caffe.trace
    take_over = _caffe.take_over
    predict_proba = _verbs.predict_proba
    weights = _verbs.weights
    load_weights = _verbs.load_weights
    draw = _apex.draw

    def layers(self) -> list[tuple[str, str, tuple[int, ...], int]]:
        """Name, kind, output shape and parameters of every layer."""
        return _torch.layer_table(self.network(), torch.zeros(1, 1, self.size, self.size))

    def batch(self, x: Tensor, rows: Tensor, draws: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Network input of training rows, "clip 1 size size" in gray levels."""
        return _apex.augmented(x[rows, None].to(dtype), draws)

    def view(self, x: Tensor, rows: Tensor, number: int) -> Tensor:
        """Network input of rows to predict, "clip 1 size size" in gray levels."""
        return x[rows, None].float()
