"""Neural-Recognizer: a flow picture through ResNet-18, upper and lower face apart, macro-expressions beside them.

Liu, Du, Zheng, Gedeon: A neural micro-expression recognizer, IEEE Int. Conf. on Automatic Face and Gesture Recognition
(FG), 2019, doi:10.1109/FG.2019.8756583. Picture, layers and training are those of the authors' code
(github.com/xiaobaishu0097/MEGC2019). Gradient reversal: Ganin and Lempitsky: Unsupervised domain adaptation by
backpropagation, ICML 2015, arXiv:1409.7495.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from microexpr.errors import BadInput
from microexpr.methods import _apex, _pictures, _pretrain, _resnet18, _torch, _verbs
from microexpr.methods._settings import check_choice, check_range
from microexpr.types import NEGATIVE_POSITIVE_SURPRISE, Clip

SMALLEST = 33  # pixels: two rows on the last map, one for each half of the face
HIDDEN = 64  # features of a half
NEGATIVE = ("negative", "anger", "contempt", "disgust", "fear", "repression", "sadness")
MACRO = {**dict.fromkeys(NEGATIVE, 0), "positive": 1, "happiness": 1, "surprise": 2}  # emotion -> class
RENDERED = "synthetic"  # made to try things out: its clips may stand in for macro-expressions
FARNEBACK = {"pyr_scale": 0.5, "levels": 1, "winsize": 15, "iterations": 2, "poly_n": 5, "poly_sigma": 1.1, "flags": 0}


class Reversal(torch.autograd.Function):
    """The identity, whose gradient is multiplied with a negative number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, coefficient: float) -> Tensor:
        ctx.coefficient = coefficient
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.coefficient * gradients[0], None


class Answers(NamedTuple):
    """What the network says of a batch: scores of the classes, and of being a micro-expression, "clip"."""

    joint: Tensor
    top: Tensor
    bottom: Tensor
    domain: Tensor | None


class Network(nn.Module):
    """Backbone, 64 features for each half of the face, four heads; returns log probabilities "clip class"."""

    def __init__(self, size: int, width: int, dropout: float, classes: int, domains: bool) -> None:
        super().__init__()
        self.upper = max(1, -(-size // 32) * 3 // 7)  # rows of the last map; three of seven
        self.backbone = _resnet18.ResNet18(width=width)
        self.fc_top = nn.Linear(8 * width, HIDDEN)
        self.dropout_top = _torch.Dropout(dropout)
        self.fc_bottom = nn.Linear(8 * width, HIDDEN)
        self.dropout_bottom = _torch.Dropout(dropout)
        self.classifier = nn.Linear(2 * HIDDEN, classes)
        self.classifier_top = nn.Linear(HIDDEN, classes)
        self.classifier_bottom = nn.Linear(HIDDEN, classes)
        self.discriminator: nn.Sequential | None = None
        if domains:
            self.discriminator = nn.Sequential(
                *(nn.Linear(2 * HIDDEN, 64), nn.ReLU(), _torch.Dropout(0.5)),
                *(nn.Linear(64, 32), nn.ReLU(), _torch.Dropout(0.5)),
                nn.Linear(32, 1),
            )

    def forward(self, x: Float[Tensor, "clip 3 h w"]) -> Float[Tensor, "clip class"]:
        return self.answers(x).joint.float().log_softmax(1)

    def answers(self, x: Float[Tensor, "clip 3 h w"], coefficient: float = 0.0) -> Answers:
        """All heads; the gradient of the domain's is reversed and multiplied with `coefficient`."""
        maps = self.backbone(x)  # clip 512 7 7
        top = self.dropout_top(self.fc_top(maps[:, :, : self.upper].mean((2, 3))).tanh())
        bottom = self.dropout_bottom(self.fc_bottom(maps[:, :, self.upper :].mean((2, 3))).tanh())
        joined = torch.cat([top, bottom], 1)  # clip 128
        domain = None
        if self.discriminator is not None:
            domain = self.discriminator(Reversal.apply(joined, coefficient))[:, 0]
        return Answers(self.classifier(joined), self.classifier_top(top), self.classifier_bottom(bottom), domain)

    def heads(self) -> list[nn.Module]:
        """The parts beside the backbone that are trained at the higher rate, without the discriminator."""
        return [self.fc_top, self.fc_bottom, self.classifier, self.classifier_top, self.classifier_bottom]


@dataclass
class NeuralRecognizer:
    """Neural-Recognizer, also EMR (Liu, Du, Zheng, Gedeon, FG 2019).

    Attributes:
        classes: number of classes.
        size: height and width of the network's input, at least 33; the flow is computed on 320 pixels for 224.
        width: channels of the backbone's first stage; 64 in ResNet-18.
        dropout: after the 64 features of each half of the face.
        rotation: largest turn in degrees while training.
        jitter: largest relative change of brightness, contrast, saturation, and of the hue in turns, while training.
        random_test: turns, crops and colors the pictures to predict at random too, as the authors' code does; it makes
            their answers depend on chance. False: they are cut out of the middle and nothing is drawn.
        epochs, batch_size: Adam on three cross-entropies, and that of the domain where `macro_on` is set.
        learning_rate: of everything but the backbone.
        backbone_learning_rate: of the backbone.
        halve_every: epochs after which `learning_rate` is halved,
        lowest_rate: as long as it lies above this.
        weight_decay: of Adam.
        clip_norm: largest norm of the gradient of the backbone, and of each head.
        macro_on: a registered data set of macro-expressions that is always trained on too, the second domain, or
            "synthetic" to try it out; "" for none, and then there is no discriminator. Needs the classes negative,
            positive and surprise in this order.
        alpha, ramp: after i steps the reversed gradient is multiplied with 2 / (1 + exp(-alpha i / ramp)) - 1.
        pretrain_on: a registered data set that the backbone is trained on first; "" for none.
        pretrain_epochs: epochs of that training.
        initial_weights: a file with weights in ResNet-18's layout for the backbone; "" starts at random.
        precision: "auto" (bfloat16 products where the processor has them), "float32" or "bfloat16".
        device: "cpu" or "cuda".
        threads: threads of a fit; results are the same bits only for the same number.
        seed: initial weights, order, dropout and augmentation.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"frames"})
    class_weights: ClassVar[str] = "none"
    shuffle: ClassVar[bool] = True
    views: ClassVar[int] = 1

    classes: int = 3
    size: int = 224
    width: int = _resnet18.WIDTH
    dropout: float = 0.1
    rotation: float = 10.0
    jitter: float = 0.2
    random_test: bool = False
    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-3
    backbone_learning_rate: float = 1e-5
    halve_every: int = 10
    lowest_rate: float = 1e-5
    weight_decay: float = 1e-6
    clip_norm: float = 1.0
    macro_on: str = ""
    alpha: float = 10.0
    ramp: int = 10_000
    pretrain_on: str = ""
    pretrain_epochs: int = 100
    initial_weights: str = ""
    precision: str = "auto"
    device: str = "cpu"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, _torch.PRECISIONS)
        for field in ("epochs", "batch_size", "halve_every", "ramp", "threads", "width"):
            check_range(field, getattr(self, field), 1)
        for field in ("learning_rate", "backbone_learning_rate", "lowest_rate", "weight_decay", "alpha", "seed"):
            check_range(field, getattr(self, field), 0)
        check_range("classes", self.classes, 2)
        check_range("dropout", self.dropout, 0, 0.95)
        check_range("rotation", self.rotation, 0, 180)
        check_range("jitter", self.jitter, 0, 0.5)
        check_range("clip_norm", self.clip_norm, 1e-9)
        if self.size < SMALLEST:
            advice = "the last map of a smaller one can't be split into an upper and a lower face"
            raise BadInput(f"a size of at least {SMALLEST}", str(self.size), advice)
        _pretrain.check_name(self, "macro_on")
        if self.macro_on and not (_pretrain.has_macro(self.macro_on) or self.macro_on == RENDERED):
            advice = "name one that has them, e.g. casme-sq, or leave macro_on out"
            raise BadInput("a data set of macro-expressions for macro_on", f"{self.macro_on}, which has none", advice)
        if self.macro_on and self.classes != len(NEGATIVE_POSITIVE_SURPRISE):
            advice = "macro-expressions are told apart as negative, positive and surprise"
            raise BadInput("three classes with macro_on", str(self.classes), advice)
        _pretrain.check(self)
        _torch.device_of(self.device)
        self.network_: nn.Module | None = None

    @property
    def _side(self) -> int:
        """Height and width of a picture before the crop: 256 for 224."""
        return round(self.size * 256 / 224)

    def represent(self, clip: Clip) -> UInt8[np.ndarray, "h w 3"]:
        """The flow picture from onset to apex, RGB, 256x256 for an input of 224.

        Raises:
            BadInput: the clip has no frames, no onset or no apex.
        """
        frames, last = _apex.frames_of(clip)
        if clip.onset is None:
            advice = "use dataclasses.replace(clip, onset=number)"
            raise BadInput("a clip with an onset", f"{clip.key} without one", advice)
        side = round(self.size * 320 / 224)
        onset, apex = (_pictures.resized(frames.read(number), side, side) for number in (clip.onset, last))
        return _pictures.resized(flow_picture(onset, apex), self._side, self._side)

    def network(self) -> Network:
        """A new network of these settings whose weights are not initialized yet."""
        return _torch.empty(Network, self.size, self.width, self.dropout, self.classes, bool(self.macro_on))

    fit = _verbs.fit_own
    trace = _verbs.trace_own
    predict_proba = _verbs.predict_proba
    weights = _verbs.weights
    load_weights = _verbs.load_weights

    def layers(self) -> list[tuple[str, str, tuple[int, ...], int]]:
        """Name, kind, output shape and parameters of every layer."""
        return _torch.layer_table(self.network(), torch.zeros(1, 3, self.size, self.size))

    def _train(self, x: np.ndarray, y: Int[np.ndarray, " clip"], watch: np.ndarray | None) -> list[np.ndarray]:
        """Adam on all losses; keeps the network.

        Returns:
            Probabilities "watched class" after every epoch; empty without `watch`.
        """
        device = _torch.device_of(self.device)
        dtype = _torch.arithmetic(self.precision, device)
        for_weights, for_order, for_dropout = _torch.derived_seeds(self.seed)
        generator = torch.Generator().manual_seed(for_order)
        x, y, micro = self._with_macro(x, np.asarray(y, np.int64))
        traced, steps = [], 0
        with _torch.threads(self.threads):
            network = _torch.place(self._started(for_weights), device)
            _torch.start_dropout(network, for_dropout)
            inputs, labels, domains = (_torch.tensor_of(values, device) for values in (x, y, micro))
            optimizer = self._optimizer(network)
            for epoch in range(self.epochs):
                optimizer.param_groups[1]["lr"] = self._rate(epoch)
                network.train()
                total = torch.zeros((), device=device)
                for rows, draws in _torch.batches(self, len(labels), generator):
                    rows, draws = rows.to(device), tuple(drawn.to(device) for drawn in draws)
                    steps += 1
                    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                        answers = network.answers(self.batch(inputs, rows, draws, dtype), self.coefficient(steps))
                    loss = losses(answers, labels[rows], domains[rows])
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    for part in (network.backbone, *network.heads()):  # not the discriminator, as in the code
                        nn.utils.clip_grad_norm_(part.parameters(), self.clip_norm)
                    optimizer.step()
                    _torch.next_masks(network)
                    total += loss.detach()
                _torch.check_finite(total, epoch)
                network.eval()
                if watch is not None:
                    traced.append(_torch.predict(self, network, watch))
        _torch.check_weights(network)
        self.network_ = network
        return traced

    def _optimizer(self, network: Network) -> torch.optim.Adam:
        """Adam with the backbone and the rest in groups of their own."""
        backbone = list(network.backbone.parameters())
        rest = [parameter for name, parameter in network.named_parameters() if not name.startswith("backbone.")]
        groups = [{"params": backbone, "lr": self.backbone_learning_rate}, {"params": rest, "lr": self.learning_rate}]
        return torch.optim.Adam(groups, weight_decay=self.weight_decay, fused=True)

    def _rate(self, epoch: int) -> float:
        """Learning rate of the heads in an epoch, the first of which is 0."""
        rate = self.learning_rate
        for _ in range(epoch // self.halve_every):
            rate = rate / 2 if rate > self.lowest_rate else rate
        return rate

    def coefficient(self, steps: int) -> float:
        """What the reversed gradient is multiplied with in a step, the first of which is 1: from 0 to 1."""
        return 2 / (1 + math.exp(-self.alpha * steps / self.ramp)) - 1

    def _with_macro(
        self, x: np.ndarray, y: Int[np.ndarray, " clip"]
    ) -> tuple[np.ndarray, Int[np.ndarray, " all"], Float[np.ndarray, " all"]]:
        """The training rows and those of `macro_on` after them; and 1 for the micro-expressions, 0 for the others."""
        if not self.macro_on:
            return x, y, np.ones(len(y), np.float32)
        more, emotions, names = _pretrain.pretraining_set(self, "macro_on")
        labels = np.array([MACRO.get(names[number].lower(), -1) for number in emotions])
        known = labels >= 0  # others show no class, and are left out
        if not known.any():
            raise BadInput(f"macro-expressions of {', '.join(MACRO)}", ", ".join(names), "name another data set")
        micro = np.r_[np.ones(len(y), np.float32), np.zeros(known.sum(), np.float32)]
        return np.concatenate([x, more[known]]), np.concatenate([y, labels[known]]), micro

    def _started(self, seed: int) -> Network:
        """A network with its first weights; those of the backbone may come from a file or another data set."""
        network = self.network()
        _torch.initialize(network, seed)
        generator = torch.Generator().manual_seed(seed + 1)
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
        _pretrain.start(replace(self, macro_on=""), network)
        return network

    def take_over(self, network: Network, state: Mapping[str, Tensor], source: str) -> None:
        """Gives a network's backbone the weights to begin with, out of a whole network or of a ResNet-18."""
        _resnet18.take_over(network.backbone, state, source)

    def draw(self, clips: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The draws of `_pictures.draw`; nothing is mirrored: a mirrored flow has other colors."""
        shape = (self._side, self._side)
        return _pictures.draw(clips, generator, shape, self.size, self.rotation, self.jitter, mirror=False)

    def batch(self, x: Tensor, rows: Tensor, draws: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Network input of training rows, "clip 3 size size", in -1..1."""
        return (2 * _pictures.augmented(_pictures.unit(x[rows]), draws, self.size) - 1).to(dtype)

    def view(self, x: Tensor, rows: Tensor, number: int) -> Tensor:
        """Network input of rows to predict, "clip 3 size size", in -1..1."""
        pictures = _pictures.unit(x[rows])
        if not self.random_test:
            return 2 * _pictures.centered(pictures, self.size) - 1
        draws = self.draw(len(x), torch.Generator().manual_seed(self.seed))
        own = tuple(drawn.to(x.device)[rows] for drawn in draws)
        return 2 * _pictures.augmented(pictures, own, self.size) - 1


def losses(answers: Answers, labels: Int[Tensor, " clip"], micro: Float[Tensor, " clip"]) -> Float[Tensor, ""]:
    """Cross-entropy of all three class heads, and of the domain where it is asked for, added up."""
    joint, top, bottom = (
        F.cross_entropy(scores.float(), labels) for scores in (answers.joint, answers.top, answers.bottom)
    )
    total = joint + top + bottom
    if answers.domain is not None:
        total = total + F.binary_cross_entropy_with_logits(answers.domain.float(), micro)
    return total


def flow_picture(onset: UInt8[np.ndarray, "h w 3"], apex: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The flow (Farneback 2003) as colors: its direction the hue, its length, stretched to 0..255, the value.

    The saturation is that of the apex frame; a gray recording has none, and its picture shows the length alone.
    """
    import cv2

    first, second = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (onset, apex))
    if np.array_equal(first, second):  # no rounding error that would be stretched to full length
        return np.zeros_like(apex)
    field = cv2.calcOpticalFlowFarneback(first, second, None, **FARNEBACK)  # type: ignore[call-overload]
    length, degrees = cv2.cartToPolar(field[..., 0], field[..., 1], angleInDegrees=True)
    hue = np.rint(degrees / 2).astype(np.uint8) % 180  # OpenCV's circle of 8 bits has 180 steps
    value = np.rint(cv2.normalize(length, None, 0, 255, cv2.NORM_MINMAX)).astype(np.uint8)  # type: ignore[call-overload]
    saturation = cv2.cvtColor(apex, cv2.COLOR_RGB2HSV)[..., 1]
    return cv2.cvtColor(np.dstack([hue, saturation, value]), cv2.COLOR_HSV2RGB).astype(np.uint8)
