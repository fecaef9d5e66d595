"""MJFN: the multi-scale joint feature network.

Li, Wei, Wang, Zhou: Multi-scale joint feature network for micro-expression recognition, Computational Visual Media
7(3), 2021, doi:10.1007/s41095-021-0217-9. One backbone (Table 1), joint feature modules that add shallow layers to the
deepest one (Eqs. 7-9), and the fusion of their decisions (Eqs. 10-12). MJFN-Avg and MJFN-BbN are settings of the class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from microexpr.errors import BadInput
from microexpr.methods import _torch, _verbs
from microexpr.methods._flow_pictures import scaled
from microexpr.methods._settings import check_choice, check_range
from microexpr.motion.color import flow_to_color
from microexpr.motion.flow import MODES, centered, clip_flow, map_channels
from microexpr.types import Clip, FlowMap

SIZE = 224
CHANNELS = {1: 48, 2: 128, 3: 128, 4: 128}  # of the tapped layers


class JointFeatureModule(nn.Module):
    """A shallow layer joined with the deepest one, and a decision of its own (Eqs. 7-9).

    1x1 convolution of the tapped map to 128 channels, added to X^5, ReLU, max-pooling 3x3/2 -> 5x5x128, fully
    connected. The width of the hidden layer is not printed; 256 is that of the backbone.
    """

    def __init__(self, channels: int, hidden: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, 128, 1)
        self.pool = nn.MaxPool2d(3, 2)
        self.fc1 = nn.Linear(3200, hidden)
        self.dropout = _torch.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(
        self, tapped: Float[Tensor, "clip channel 12 12"], top: Float[Tensor, "clip 128 12 12"]
    ) -> Float[Tensor, "clip class"]:
        x = self.pool(F.relu(self.project(tapped) + top))  # clip 128 5 5
        return self.fc2(self.dropout(F.relu(self.fc1(x.flatten(1)))))


class Network(nn.Module):
    """Table 1 with a joint feature module for every tapped layer; returns log probabilities "clip class"."""

    def __init__(
        self, taps: tuple[int, ...], fusion: str, project_top: bool, hidden: int, dropout: float, classes: int
    ) -> None:
        super().__init__()
        self.taps, self.fusion = taps, fusion
        self.conv1 = nn.Conv2d(3, 48, 11, stride=4)
        self.pool1 = nn.MaxPool2d(3, 2)
        self.conv2 = nn.Conv2d(48, 128, 5, padding=2)
        self.pool2 = nn.MaxPool2d(3, 2)
        self.conv3 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv5 = nn.Conv2d(128, 128, 3, padding=1)
        self.pool3 = nn.MaxPool2d(3, 2)
        self.fc1 = nn.Linear(3200, hidden)
        self.dropout1 = _torch.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, hidden)
        self.dropout2 = _torch.Dropout(dropout)
        self.fc3 = nn.Linear(hidden, classes)
        self.project_top = nn.Conv2d(128, 128, 1) if project_top and taps else None
        self.pool_tap1 = nn.MaxPool2d(3, 2) if 1 in taps else None
        self.joint = nn.ModuleDict(
            {f"layer{tap}": JointFeatureModule(CHANNELS[tap], hidden, dropout, classes) for tap in taps}
        )

    def forward(self, x: Float[Tensor, "clip 3 224 224"]) -> Float[Tensor, "clip class"]:
        # ReLU and max-pooling commute; pooling first leaves ReLU a quarter of the values.
        x1 = F.relu(self.pool1(self.conv1(x)))  # clip 48 26 26
        x2 = F.relu(self.pool2(self.conv2(x1)))  # clip 128 12 12
        x3 = F.relu(self.conv3(x2))
        x4 = F.relu(self.conv4(x3))
        x5 = F.relu(self.conv5(x4))  # clip 128 12 12
        hidden = self.dropout1(F.relu(self.fc1(self.pool3(x5).flatten(1))))
        hidden = self.dropout2(F.relu(self.fc2(hidden)))
        logits = self.fc3(hidden).float()
        if self.fusion == "none":
            return logits.log_softmax(1)
        top = x5 if self.project_top is None else self.project_top(x5)
        tapped = {4: x4, 3: x3, 2: x2}
        if self.pool_tap1 is not None:
            tapped[1] = self.pool_tap1(x1)  # layer 1 is pooled once more so that 12x12 meets 12x12
        decisions = [logits.softmax(1)]
        decisions += [self.joint[f"layer{tap}"](tapped[tap], top).float().softmax(1) for tap in self.taps]
        total = torch.stack(decisions).sum(0)  # Z, Eq. 10
        if self.fusion == "softmax":
            return total.log_softmax(1)  # Eq. 11: saturates, see MJFN
        return (total / len(decisions)).clamp(min=1e-12).log()  # Eq. 12


@dataclass
class MJFN:
    """Multi-scale joint feature network (Li, Wei, Wang, Zhou, Computational Visual Media 7(3), 2021).

    Softmax of a sum of softmaxes saturates: with four decisions and three classes the loss of ``fusion="softmax"``
    can't fall below -ln(e^4 / (e^4 + 2)) = 0.036, and its probabilities never exceed e^4 / (e^4 + 2) = 0.965. For fixed
    weights both fusions name the same class; they differ in what training does.

    Attributes:
        taps: layers with a joint feature module; Fig. 5 grows them from (4,) to (4, 3, 2, 1). Layers 2 and 1 are
            tapped after their pooling.
        fusion: "softmax" (the paper's MJFN, Eq. 11), "mean" (MJFN-Avg, Eq. 12), "none" (MJFN-BbN, with ``taps=()``).
        project_top: whether X^5 passes a 1x1 convolution as well (Sec. 3.3 can be read both ways).
        classes: number of classes.
        representation: "color", the picture of Eqs. 4-6, or "uvs": u, v and optical strain themselves.
        flow_mode: solver of `motion.flow` for clips with frames.
        hidden: width of the fully connected layers.
        dropout: after every hidden fully connected layer (Sec. 4.2 does not say on which side of it).
        epochs, batch_size, learning_rate: Adam, Sec. 4.2.
        augmentation: "none" (the paper names none), "mirror" or "mirror-shift"; a mirrored clip has its u negated,
            and with mirroring a prediction is the mean of both views.
        shift: largest shift in pixels of the 224-pixel input.
        class_weights: "none" (the paper names none) or "balanced".
        precision: "auto" (bfloat16 products where the processor has them), "float32" or "bfloat16".
        device: "cpu" or "cuda".
        threads: threads of a fit; results are the same bits only for the same number.
        seed: initial weights, order, dropout and augmentation.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"flow"})
    shuffle: ClassVar[bool] = True

    taps: tuple[int, ...] = (4, 3, 2)
    fusion: str = "softmax"
    project_top: bool = False
    classes: int = 3
    representation: str = "color"
    flow_mode: str = "tvl1"
    hidden: int = 256
    dropout: float = 0.5
    epochs: int = 300
    batch_size: int = 12
    learning_rate: float = 1e-4
    augmentation: str = "none"
    shift: int = 8
    class_weights: str = "none"
    precision: str = "auto"
    device: str = "cpu"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("fusion", self.fusion, ("softmax", "mean", "none"))
        check_choice("representation", self.representation, ("color", "uvs"))
        check_choice("augmentation", self.augmentation, ("none", "mirror", "mirror-shift"))
        check_choice("class_weights", self.class_weights, ("none", "balanced"))
        check_choice("precision", self.precision, _torch.PRECISIONS)
        check_range("classes", self.classes, 2)
        check_range("seed", self.seed, 0)
        check_range("hidden", self.hidden, 1)
        check_range("dropout", self.dropout, 0, 0.95)
        check_range("epochs", self.epochs, 1)
        check_range("batch_size", self.batch_size, 1)
        check_range("learning_rate", self.learning_rate, 0)
        check_range("shift", self.shift, 0, SIZE // 2)
        check_range("threads", self.threads, 1)
        _torch.device_of(self.device)
        check_choice("flow_mode", self.flow_mode, MODES)
        if not set(self.taps) <= set(CHANNELS) or len(set(self.taps)) != len(self.taps):
            raise BadInput("taps out of 4, 3, 2, 1, each once", repr(self.taps), "set taps like (4, 3, 2)")
        if self.fusion == "none" and self.taps:
            raise BadInput(
                "taps=() with fusion=none, which has nothing to fuse", f"taps={self.taps}", "set both or neither"
            )
        self.network_: nn.Module | None = None

    @property
    def views(self) -> int:
        """Pictures of one clip in x: the clip itself, and its mirror image where that is used."""
        return 1 if self.augmentation == "none" else 2

    def represent(self, clip: Clip) -> np.ndarray:
        """A clip as the network's input.

        Returns:
            "view 224 224 3": uint8 for "color", float16 for "uvs" (u, v around zero motion, strain; in units of the
            map's range). View 1, where there is one, is the mirrored clip.
        """
        views = []
        if self.representation == "color":
            flow = clip_flow(clip, size=SIZE, mode=self.flow_mode)
            for _ in range(self.views):
                views.append(flow_to_color(flow))
                flow = _mirrored(flow)
        else:
            channels = map_channels(clip, mode=self.flow_mode)
            maps = np.concatenate([centered(FlowMap(channels)), channels[2:].astype(np.float32) / 255])
            for _ in range(self.views):
                views.append(_enlarged(maps))
                maps = _mirrored(maps)
        return np.stack(views)

    def network(self) -> Network:
        """A new network of these settings whose weights are not initialized yet."""
        return _torch.empty(Network, self.taps, self.fusion, self.project_top, self.hidden, self.dropout, self.classes)

    fit = _verbs.fit
    trace = _verbs.trace
    fit_folds = _verbs.fit_folds
    predict_proba = _verbs.predict_proba
    weights = _verbs.weights
    load_weights = _verbs.load_weights

    def layers(self) -> list[tuple[str, str, tuple[int, ...], int]]:
        """Name, kind, output shape and parameters of every layer."""
        return _torch.layer_table(self.network(), torch.zeros(1, 3, SIZE, SIZE))

    def draw(self, clips: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Which view of a clip, and its shift down and to the right, as `augmentation` says; each "clip"."""
        if self.augmentation == "none":
            return ()
        view = torch.randint(2, (clips,), generator=generator)
        if self.augmentation == "mirror":
            return (view,)
        return view, *torch.randint(-self.shift, self.shift + 1, (2, clips), generator=generator)

    def batch(self, x: Tensor, rows: Tensor, draws: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Network input of training rows, "clip 3 224 224"."""
        pictures = x[rows, draws[0]] if draws else x[rows, 0]
        return scaled(_shifted(pictures, draws[1], draws[2]) if len(draws) > 1 else pictures, dtype)

    def view(self, x: Tensor, rows: Tensor, number: int) -> Tensor:
        """Network input of rows to predict, "clip 3 224 224"."""
        return scaled(x[rows, number], torch.float32)


def _mirrored(maps: Float[np.ndarray, "channel h w"]) -> Float[np.ndarray, "channel h w"]:
    """The face seen in a mirror: left and right change places and u changes its sign."""
    mirrored = maps[:, :, ::-1].copy()
    mirrored[0] *= -1
    return mirrored


def _enlarged(maps: Float[np.ndarray, "3 h w"]) -> Float[np.ndarray, "224 224 3"]:
    import cv2

    return cv2.resize(maps.transpose(1, 2, 0), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR).astype(np.float16)


def _shifted(pictures: Tensor, down: Int[Tensor, " clip"], right: Int[Tensor, " clip"]) -> Tensor:
    """Each picture "h w 3" shifted by its own whole pixels, its border repeated."""
    clips, height, width, _ = pictures.shape
    rows = (torch.arange(height, device=pictures.device) - down[:, None]).clamp(0, height - 1)  # clip h
    columns = (torch.arange(width, device=pictures.device) - right[:, None]).clamp(0, width - 1)  # clip w
    clip = torch.arange(clips, device=pictures.device)[:, None, None]
    return pictures[clip, rows[:, :, None], columns[:, None, :]]
