"""CapsuleNet: the apex frame through ResNet-18 and capsules with dynamic routing.

Quang, Chun, Tokuyama: CapsuleNet for micro-expression recognition, IEEE Int. Conf. on Automatic Face and Gesture
Recognition (FG), 2019, doi:10.1109/FG.2019.8756544. Layers, balancing and training are those of the authors' code
(github.com/davidnvq/me_recognition). Capsules: Sabour, Frosst, Hinton: Dynamic routing between capsules, NIPS 2017,
arXiv:1710.09829.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from microexpr.errors import BadInput
from microexpr.methods import _apex, _pictures, _pretrain, _resnet18, _torch, _verbs
from microexpr.methods._settings import check_choice, check_range
from microexpr.types import Clip

SMALLEST = 129  # pixels: 17 on the backbone's map, 9 after the first 9x9 convolution, 1 after the second
PRIMARY, LENGTH = 8, 16  # numbers in a primary capsule and in a class's capsule
UPPER, LOWER, ABSENT = 0.99, 0.01, 0.5  # of the margin loss: m+, m-, lambda


def squash(x: Float[Tensor, "*many number"]) -> Float[Tensor, "*many number"]:
    """Vectors of length n brought to length n^2 / (1 + n^2), their direction kept (Sabour et al., Eq. 1)."""
    squared = x.square().sum(-1, keepdim=True)
    return x * (squared + 1e-16).sqrt() / (1 + squared)  # the small number: a root has no slope at zero


class PrimaryCapsules(nn.Conv2d):
    """A 9x9 convolution with stride 2 whose channels, eight at a time, are the capsules of each position."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 9, stride=2)

    def forward(self, x: Float[Tensor, "clip channel h w"]) -> Float[Tensor, "clip capsule 8"]:
        maps = super().forward(x).float()  # clip channel 6 6
        return squash(maps.permute(0, 2, 3, 1).unflatten(3, (-1, PRIMARY)).flatten(1, 3))


class ClassCapsules(nn.Module):
    """One capsule of 16 numbers for each class, by routing (Sabour et al., Procedure 1); in float32.

    The routing weights are found without gradient; only the last iteration passes one on.
    """

    def __init__(self, capsules: int, classes: int, routings: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, capsules, LENGTH, PRIMARY))
        self.routings = routings

    def forward(self, x: Float[Tensor, "clip capsule 8"]) -> Float[Tensor, "clip class 16"]:
        with torch.autocast(x.device.type, enabled=False):
            votes = torch.einsum("kcop,ncp->nkco", self.weight.float(), x)  # clip class capsule 16
            seen = votes.detach()
            agreement = torch.zeros(1, *self.weight.shape[:2], device=x.device)  # clip class capsule, equal at first
            for _ in range(self.routings - 1):
                found = squash((agreement.softmax(1)[..., None] * seen).sum(2))
                agreement = agreement + (found[:, :, None] * seen).sum(-1)
            return squash((agreement.softmax(1)[..., None] * votes).sum(2))


class Network(nn.Module):
    """Backbone, 9x9 convolution and two layers of capsules; returns log probabilities "clip class".

    The probability of a class is the length of its capsule divided by the sum of all lengths, so the most probable
    class is the one with the longest capsule. Lengths themselves, each in 0..1, need not sum to 1.
    """

    def __init__(self, size: int, width: int, routings: int, classes: int) -> None:
        super().__init__()
        channels = 4 * width
        side = (-(-size // 8) - 8 - 9) // 2 + 1  # of the primary capsules' map: 224 -> 28 -> 20 -> 6
        self.backbone = _resnet18.ResNet18(stages=3, width=width, pool=False)
        self.conv = nn.Conv2d(channels, channels, 9)
        self.primary = PrimaryCapsules(channels)
        self.capsules = ClassCapsules(side * side * channels // PRIMARY, classes, routings)

    def forward(self, x: Float[Tensor, "clip 3 h w"]) -> Float[Tensor, "clip class"]:
        lengths = self.lengths(x).clamp(min=1e-9)
        return (lengths / lengths.sum(1, keepdim=True)).log()

    def lengths(self, x: Float[Tensor, "clip 3 h w"]) -> Float[Tensor, "clip class"]:
        """Length of each class's capsule, 0..1: what the loss is made of."""
        x = F.relu(self.conv(self.backbone(x)))  # clip 256 20 20
        return (self.capsules(self.primary(x)).square().sum(-1) + 1e-16).sqrt()


def margin_loss(lengths: Float[Tensor, "clip class"], labels: Int[Tensor, " clip"]) -> Float[Tensor, ""]:
    """Mean over the clips of max(0, .99 - length)^2 of the true class and half of max(0, length - .01)^2 of the others.

    Sabour et al., Eq. 4, with the margins of the authors' code.
    """
    true = F.one_hot(labels, lengths.shape[1])
    missed = (UPPER - lengths).clamp(min=0).square()
    claimed = (lengths - LOWER).clamp(min=0).square()
    return (true * missed + ABSENT * (1 - true) * claimed).sum(1).mean()


@dataclass
class CapsuleNet:
    """CapsuleNet (Quang, Chun, Tokuyama, FG 2019).

    Training sees further frames around the apex, so that the classes come out about equal: every clip of the rarest
    class brings its apex frame and all the further frames, a clip of another class as many as make up the difference,
    drawn anew in every epoch. A prediction looks at the apex frame alone.

    Attributes:
        classes: number of classes.
        size: height and width of the network's input, at least 129.
        width: channels of the backbone's first stage; 64 in ResNet-18, even numbers.
        further: the further frames, counted from the apex and kept between onset and offset; () does not balance.
        routings: iterations of the routing.
        rotation: largest turn in degrees while training.
        mirror: whether half of the pictures are mirrored while training.
        jitter: largest relative change of brightness, contrast, saturation, and of the hue in turns, while training.
        random_test: turns the pictures to predict at random too, as the authors' code does; it makes their answers
            depend on chance. False: they are cut out of the middle and nothing is drawn.
        epochs, batch_size, learning_rate: Adam.
        decay: what the learning rate is multiplied with after every epoch.
        pretrain_on: a registered data set that all but the classes' capsules are trained on first; "" for none.
        pretrain_epochs: epochs of that training.
        initial_weights: a file with weights in ResNet-18's layout for the backbone; "" starts at random.
        precision: "auto" (bfloat16 products where the processor has them), "float32" or "bfloat16".
        device: "cpu" or "cuda".
        threads: threads of a fit; results are the same bits only for the same number.
        seed: initial weights, order, balancing and augmentation.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"frames"})
    class_weights: ClassVar[str] = "none"
    shuffle: ClassVar[bool] = True
    views: ClassVar[int] = 1

    classes: int = 3
    size: int = 224
    width: int = _resnet18.WIDTH
    further: tuple[int, ...] = (-2, -1, 1, 2)
    routings: int = 3
    rotation: float = 8.0
    mirror: bool = True
    jitter: float = 0.2
    random_test: bool = False
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-4
    decay: float = 0.9
    pretrain_on: str = ""
    pretrain_epochs: int = 30
    initial_weights: str = ""
    precision: str = "auto"
    device: str = "cpu"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, _torch.PRECISIONS)
        check_range("classes", self.classes, 2)
        check_range("seed", self.seed, 0)
        check_range("width", self.width, 2)
        check_range("routings", self.routings, 1)
        check_range("rotation", self.rotation, 0, 180)
        check_range("jitter", self.jitter, 0, 0.5)
        check_range("epochs", self.epochs, 1)
        check_range("batch_size", self.batch_size, 1)
        check_range("learning_rate", self.learning_rate, 0)
        check_range("decay", self.decay, 0, 1)
        check_range("threads", self.threads, 1)
        if self.size < SMALLEST:
            advice = "the two 9x9 convolutions do not fit into a smaller one"
            raise BadInput(f"a size of at least {SMALLEST}", str(self.size), advice)
        if self.width % 2:
            raise BadInput("an even width", str(self.width), "four times the width is cut into capsules of 8 numbers")
        _pretrain.check(self)
        _torch.device_of(self.device)
        self.network_: nn.Module | None = None

    @property
    def _shape(self) -> tuple[int, int]:
        """Height and width of a picture before the crop: 234x240 for 224."""
        return round(self.size * 234 / 224), round(self.size * 240 / 224)

    def represent(self, clip: Clip) -> UInt8[np.ndarray, "frame h w 3"]:
        """The apex frame and then the further ones, RGB, 234x240 for an input of 224.

        Raises:
            BadInput: the clip has no frames or no apex.
        """
        frames, apex = _apex.frames_of(clip)
        first = apex if clip.onset is None else min(clip.onset, apex)
        last = apex if clip.offset is None else max(clip.offset, apex)
        numbers = [apex, *(min(max(apex + step, first), last) for step in self.further)]
        return np.stack([_pictures.resized(frames.read(number), *self._shape) for number in numbers])

    def network(self) -> Network:
        """A new network of these settings whose weights are not initialized yet."""
        return _torch.empty(Network, self.size, self.width, self.routings, self.classes)

    fit = _verbs.fit_own
    trace = _verbs.trace_own
    predict_proba = _verbs.predict_proba
    weights = _verbs.weights
    load_weights = _verbs.load_weights

    def layers(self) -> list[tuple[str, str, tuple[int, ...], int]]:
        """Name, kind, output shape and parameters of every layer."""
        return _torch.layer_table(self.network(), torch.zeros(1, 3, self.size, self.size))

    def _train(self, x: np.ndarray, y: Int[np.ndarray, " clip"], watch: np.ndarray | None) -> list[np.ndarray]:
        """The margin loss with Adam, whose rate falls by `decay` after every epoch; keeps the network.

        Returns:
            Probabilities "watched class" after every epoch; empty without `watch`.
        """
        device = _torch.device_of(self.device)
        dtype = _torch.arithmetic(self.precision, device)
        for_weights, for_order, _ = _torch.derived_seeds(self.seed)
        generator = torch.Generator().manual_seed(for_order)
        traced = []
        with _torch.threads(self.threads):
            network = _torch.place(self._started(for_weights), device)
            inputs, labels = _torch.tensor_of(x, device), torch.from_numpy(np.asarray(y, np.int64))
            optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate, fused=True)
            for epoch in range(self.epochs):
                optimizer.param_groups[0]["lr"] = self.learning_rate * self.decay**epoch
                network.train()
                total = torch.zeros((), device=device)
                for rows, frames in self._epoch(labels, generator):
                    draws = tuple(drawn.to(device) for drawn in (frames, *self.draw(len(rows), generator)[1:]))
                    batch = self.batch(inputs, rows.to(device), draws, dtype)
                    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                        lengths = network.lengths(batch)
                    loss = margin_loss(lengths, labels[rows].to(device))
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
                    total += loss.detach()
                _torch.check_finite(total, epoch)
                network.eval()
                if watch is not None:
                    traced.append(_torch.predict(self, network, watch))
        _torch.check_weights(network)
        self.network_ = network
        return traced

    def _started(self, seed: int) -> Network:
        """A network with its first weights: random, or those of a file, or those of another data set."""
        network = self.network()
        _torch.initialize(network, seed)
        generator = torch.Generator().manual_seed(seed + 1)
        nn.init.normal_(network.capsules.weight, std=0.01, generator=generator)
        _pretrain.start(self, network)
        return network

    def take_over(self, network: Network, state: Mapping[str, Tensor], source: str) -> None:
        """Gives a network weights to begin with: all but the class capsules of its own kind, or a ResNet-18's."""
        if "capsules.weight" in state:
            _pretrain.adopt(network, state, "capsules", source)
        else:
            _resnet18.take_over(network.backbone, state, source)

    def _epoch(
        self, labels: Int[Tensor, " clip"], generator: torch.Generator
    ) -> list[tuple[Int[Tensor, " picture"], Int[Tensor, " picture"]]]:
        """The batches of an epoch: clip and frame of each picture, in a new order."""
        taken = further_frames(labels, len(self.further), generator)
        rows, frames = torch.cat([torch.ones(len(labels), 1, dtype=torch.bool), taken], 1).nonzero().T
        order = torch.randperm(len(rows), generator=generator).split(self.batch_size)
        return [(rows[some], frames[some]) for some in order]

    def draw(self, clips: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Frame of the clip (the apex; the balancing puts others there), and the draws of `_pictures.draw`."""
        drawn = _pictures.draw(clips, generator, self._shape, self.size, self.rotation, self.jitter, mirror=self.mirror)
        return torch.zeros(clips, dtype=torch.int64), *drawn

    def batch(self, x: Tensor, rows: Tensor, draws: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Network input of training rows, "clip 3 size size", in 0..1."""
        return _pictures.augmented(_pictures.unit(x[rows, draws[0]]), draws[1:], self.size).to(dtype)

    def view(self, x: Tensor, rows: Tensor, number: int) -> Tensor:
        """Network input of rows to predict, "clip 3 size size", in 0..1."""
        pictures = _pictures.unit(x[rows, 0])
        if not self.random_test:
            return _pictures.centered(pictures, self.size)
        generator = torch.Generator().manual_seed(self.seed)
        degrees = self.rotation * (2 * torch.rand(len(x), generator=generator) - 1).to(x.device)[rows]
        return _pictures.turned(pictures, self.size, degrees)


def further_frames(
    labels: Int[Tensor, " clip"], count: int, generator: torch.Generator
) -> Bool[Tensor, "clip {count}"]:
    """Which of its further frames each clip brings, so that the classes come out about equal.

    With all frames of the rarest class there are n = (1 + count) * clips of it. A clip of a class with k clips brings
    n / k - 1 further frames, none where that is negative; the fraction is a chance of one more.
    """
    numbers = torch.bincount(labels)
    wanted = (1 + count) * numbers[numbers > 0].min() / numbers[labels] - 1
    whole = (wanted.clamp(min=0) + torch.rand(len(labels), generator=generator)).floor()
    places = torch.rand(len(labels), count, generator=generator).argsort(1).argsort(1)
    return places < whole[:, None]
