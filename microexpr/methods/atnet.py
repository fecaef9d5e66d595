"""ATNet: the gray apex picture through a small residual network, the flow around the apex through an LSTM.

Peng, Wang, Bi, Chen, Zhou, Shi: A novel apex-time network for cross-dataset micro-expression recognition, ACII 2019,
doi:10.1109/ACII.2019.8925525. Layers, solver and augmentation are those of the authors' Caffe files, the form of the
flow features is read off the features that lie beside them (github.com/Trunpm/ACII19-Apex-Time-Network).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from microexpr.errors import BadInput
from microexpr.kernels import tvl1
from microexpr.methods import _apex, _caffe, _torch, _verbs
from microexpr.methods._resnet10 import ResNet10
from microexpr.methods._settings import check_choice, check_range
from microexpr.motion.cache import cached
from microexpr.motion.flow import MODES, flow_between
from microexpr.types import Clip

CACHE_FORMAT = "clip-flow-sequence-1"  # raise it when the same pictures and settings give other numbers


class LSTM(nn.LSTM):
    """An LSTM (Hochreiter and Schmidhuber 1997) that begins at zero and returns its outputs alone."""

    def forward(self, x: Float[Tensor, "clip step _"]) -> Float[Tensor, "clip step hidden"]:  # type: ignore[override]
        outputs, _ = super().forward(x)
        return outputs


def direction(u: Float[Tensor, "*any"], v: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Angles in (-pi, pi], 0 where nothing moves; equal for both zeros, which an exported graph can't tell apart."""
    angles = torch.atan2(torch.where(v == 0, 1e-30, v), u)
    return torch.where((u == 0) & (v == 0), 0.0, angles)


class Network(nn.Module):
    """Both streams and the layer that joins them; returns log probabilities "clip class".

    Args:
        size, steps, blocks: of the input, see `ATNet.represent`.
        polar: whether the LSTM sees directions and lengths instead of u and v.
    """

    def __init__(
        self, *, size: int, width: int, steps: int, blocks: int, hidden: int, polar: bool, dropout: float, classes: int
    ) -> None:
        super().__init__()
        self.size, self.steps, self.cells, self.polar = size, steps, blocks**2, polar
        self.resnet = ResNet10(width, attention=False)
        self.lstm1 = LSTM(2 * blocks**2, hidden, batch_first=True)
        self.lstm2 = LSTM(hidden, hidden, batch_first=True)
        self.dropout = _torch.Dropout(dropout)
        self.fc = nn.Linear(8 * width + hidden, classes)

    def forward(self, x: Float[Tensor, "clip number"]) -> Float[Tensor, "clip class"]:
        pictures = x[:, : self.size**2].reshape(-1, 1, self.size, self.size)
        spatial = self.resnet(pictures)  # clip 512
        u, v = x[:, self.size**2 :].reshape(-1, self.steps, 2, self.cells).unbind(2)  # clip 64 64
        features = torch.cat([direction(u, v), (u**2 + v**2).sqrt()] if self.polar else [u, v], 2)
        with torch.autocast(x.device.type, enabled=False):
            temporal = F.normalize(self.lstm2(self.lstm1(features)).mean(1), dim=1)  # clip 512
        joined = self.dropout(torch.cat([spatial, temporal], 1))  # clip 1024
        return self.fc(joined).float().log_softmax(1)


@dataclass
class ATNet:
    """Apex-time network (Peng et al., ACII 2019).

    An epoch is ``epoch_iterations`` iterations, ours: the authors count iterations, 2500 of them.

    Attributes:
        classes: number of classes.
        size: height and width of the frames, the face as the data set crops it.
        width: channels of the residual network's first stage; 64 in the authors' file.
        steps: of the sequence: flows of as many frames and one more, the apex in their middle.
        blocks: rows and columns of the grid in which flow is averaged.
        features: of a block: "polar" (direction in radians and length of its mean flow) or "uv".
        hidden: width of both LSTM layers.
        dropout: of the joined streams.
        flow_mode: solver of `motion.flow`; the authors' is not known.
        epochs, epoch_iterations: their product is the number of iterations.
        batch_size, learning_rate, momentum, weight_decay: of SGD.
        step, gamma: the learning rate is multiplied by `gamma` every `step` iterations.
        average_fraction: of the running statistics of batch normalization; the default is Caffe's.
        balance: whether rows of rarer classes are listed again until all classes are equally frequent.
        augmentation: probability of each of mirroring, rotation and color shift. The flow is mirrored with the
            picture, which is ours; it is not rotated.
        rotation: largest angle in degrees, both ways.
        color_shift: largest shift in gray levels, both ways.
        pretrain_on: name of a data set to train on before; "" for none. The authors began with weights trained on
            macro-expressions, on data that they do not name.
        pretrain_epochs: of that training; ours.
        initial_weights: file of weights to begin with, instead; "" for none. It may hold the residual network alone.
        precision: "auto" (bfloat16 products where the processor has them), "float32" or "bfloat16"; the LSTM is always
            float32.
        device: "cpu" or "cuda".
        threads: threads of a fit; results are the same bits only for the same number.
        seed: initial weights, order, dropout and augmentation.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"frames"})
    sequence: ClassVar[bool] = True  # its second stream follows the flow around the apex
    class_weights: ClassVar[str] = "none"
    shuffle: ClassVar[bool] = True
    views: ClassVar[int] = 1

    classes: int = 3
    size: int = 224
    width: int = 64
    steps: int = 64
    blocks: int = 8
    features: str = "polar"
    hidden: int = 512
    dropout: float = 0.5
    flow_mode: str = "tvl1"
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
        check_choice("features", self.features, ("polar", "uv"))
        check_choice("flow_mode", self.flow_mode, MODES)
        check_range("steps", self.steps, 1)
        check_range("blocks", self.blocks, 1, 32)
        check_range("hidden", self.hidden, 1)
        check_range("dropout", self.dropout, 0, 0.95)
        self.network_: nn.Module | None = None
        _caffe.check(self)

    def represent(self, clip: Clip) -> Float32[np.ndarray, " number"]:
        """The apex picture and the flow around it, one after the other.

        Returns:
            First the gray levels of the apex frame, ``size`` x ``size``, row by row. Then the sequence, "step 2 row
            column": mean u and v in the blocks of the grid, in pixels of the resized frames. Its steps are the flows
            from one frame to the next in a window of `steps` + 1 frames with the apex in its middle, as far as they
            lie between onset and offset (apex, where there is no offset); steps that lack are zero and come first.

        Raises:
            BadInput: the clip has no frames, onset or apex, or fewer than two frames around the apex.
        """
        frames, apex = _apex.frames_of(clip)
        first, last = self._window(clip, apex)
        grays = {number: _apex.gray(frames.read(number), self.size) for number in {*range(first, last + 1), apex}}
        flows = self._flows([grays[number] for number in range(first, last + 1)])
        missing = np.zeros((self.steps - len(flows), 2, self.blocks, self.blocks), np.float32)
        return np.concatenate([grays[apex].ravel().astype(np.float32), missing.ravel(), flows.ravel()])

    def _window(self, clip: Clip, apex: int) -> tuple[int, int]:
        """First and last frame of the sequence."""
        if clip.onset is None:
            advice = "annotate it and use dataclasses.replace(clip, onset=number)"
            raise BadInput("a clip with an onset", f"{clip.key} without one", advice)
        start = apex - self.steps // 2
        last = min(apex if clip.offset is None else clip.offset, start + self.steps)
        first = max(clip.onset, start)
        if first >= last:
            came = f"{clip.key} with onset {clip.onset}, apex {apex}, offset {clip.offset}"
            raise BadInput("a clip of at least 2 frames around its apex", came, "leave it out or use another method")
        return first, last

    def _flows(self, grays: list[UInt8[np.ndarray, "size size"]]) -> Float32[np.ndarray, "flow 2 block block"]:
        """Mean flow of every block from each picture to the next; kept in the cache of `motion.cache`."""
        import cv2

        def compute() -> np.ndarray:
            fields = (flow_between(one, other, mode=self.flow_mode) for one, other in itertools.pairwise(grays))
            shape = (self.blocks, self.blocks)
            means = [[cv2.resize(part, shape, interpolation=cv2.INTER_AREA) for part in field] for field in fields]
            return np.array(means, np.float32)

        solver = cv2.__version__ if self.flow_mode == "opencv" else repr(tvl1.PRESETS[self.flow_mode, "micro"])
        settings = (CACHE_FORMAT, self.flow_mode, solver, str(self.size), str(self.blocks))
        return cached([*settings, *(picture.tobytes() for picture in grays)], compute)

    def network(self) -> Network:
        """A new network of these settings whose weights are not initialized yet."""
        return _torch.empty(
            Network,
            size=self.size,
            width=self.width,
            steps=self.steps,
            blocks=self.blocks,
            hidden=self.hidden,
            polar=self.features == "polar",
            dropout=self.dropout,
            classes=self.classes,
        )

    fit = _caffe.fit
    trace = _caffe.trace
    take_over = _caffe.take_over
    predict_proba = _verbs.predict_proba
    weights = _verbs.weights
    load_weights = _verbs.load_weights
    draw = _apex.draw

    def layers(self) -> list[tuple[str, str, tuple[int, ...], int]]:
        """Name, kind, output shape and parameters of every layer."""
        numbers = self.size**2 + self.steps * 2 * self.blocks**2
        return _torch.layer_table(self.network(), torch.zeros(1, numbers))

    def batch(self, x: Tensor, rows: Tensor, draws: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Network input of training rows, "clip number"."""
        numbers = x[rows].to(dtype)
        pictures = numbers[:, : self.size**2].reshape(-1, 1, self.size, self.size)
        flow = numbers[:, self.size**2 :].reshape(-1, self.steps, 2, self.blocks, self.blocks)
        changed = _apex.augmented(pictures, draws), _apex.mirrored_flow(flow, draws[0])
        return torch.cat([part.flatten(1) for part in changed], 1)

    def view(self, x: Tensor, rows: Tensor, number: int) -> Tensor:
        """Network input of rows to predict, "clip number"."""
        return x[rows]
