"""STSTNet: the shallow triple stream three-dimensional CNN.

Liong, Gan, See, Khor, Huang: Shallow triple stream three-dimensional CNN (STSTNet) for micro-expression recognition,
IEEE Int. Conf. on Automatic Face and Gesture Recognition (FG), 2019, doi:10.1109/FG.2019.8756567. Where the paper and
the authors' PyTorch code differ, the code is followed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Real, UInt8
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from microexpr.kernels import pooled_convolution
from microexpr.methods import _torch, _verbs
from microexpr.methods._settings import check_choice, check_range
from microexpr.motion.flow import MODES, map_channels
from microexpr.types import Clip

FILTERS = (3, 5, 8)  # of the three streams
POSITIONS = 30 * 30  # of a convolution's map


class BatchNorm(nn.BatchNorm2d):
    """Batch normalization whose statistics can leave rows out: those that only fill up a batch."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(
        self, x: Float[Tensor, "clip channel h w"], counted: Float[Tensor, " clip"] | None = None
    ) -> Float[Tensor, "clip channel h w"]:
        """Normalized by the batch while training, by what was learned of all batches otherwise.

        Args:
            counted: 1 for the rows that the statistics count, 0 for the others; None counts all.
        """
        if counted is None or not self.training:
            return super().forward(x)
        count = counted.sum() * (x.shape[2] * x.shape[3])
        share = (counted / count.clamp(min=1))[:, None, None, None]
        mean = (share * x).sum((0, 2, 3))
        centered = x - mean[:, None, None]
        variance = (share * centered**2).sum((0, 2, 3))
        self.remember(mean, variance, count)
        scale = self.weight * (variance + self.eps).rsqrt()
        return centered * scale[:, None, None] + self.bias[:, None, None]

    def remember(
        self, mean: Float[Tensor, " channel"], variance: Float[Tensor, " channel"], count: Float[Tensor, ""]
    ) -> None:
        """Moves the running statistics by a tenth to those of a batch of `count` values; in place: stacks need that.

        A batch that counts nothing changes nothing.
        """
        seen = (count > 0).to(mean.dtype)
        with torch.no_grad():
            for running, now in (
                (self.running_mean, mean.detach()),
                (self.running_var, variance.detach() * (count / (count - 1).clamp(min=1))),  # unbiased
            ):
                running.add_((now - running) * (0.1 * seen))
            self.num_batches_tracked.add_(seen.to(torch.int64))


class FirstBlock(torch.autograd.Function):
    """Convolution, ReLU, batch normalization and max-pooling of all streams by `kernels.pooled_convolution`.

    Returns the pooled maps "clip 16 10 10", and mean and variance of the batch, which have no gradient here.
    """

    @staticmethod
    def forward(
        ctx: Any, pictures: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = len(pictures) * POSITIONS
        weight, bias, gamma, beta = (value.detach() for value in (weight, bias, gamma, beta))
        kernel = weight.reshape(len(weight), -1).T.contiguous()  # 27 16
        values, places, sums = pooled_convolution.forward(
            pictures.numpy(), kernel.numpy(), bias.numpy(), gamma.sign().numpy()
        )
        mean, squares = torch.from_numpy(sums / count)
        variance = (squares - mean**2).clamp(min=0)
        inverse = (variance + eps).rsqrt().float()
        mean, variance = mean.float(), variance.float()
        centered = torch.from_numpy(values).sub_(mean)  # clip 10 10 16
        ctx.save_for_backward(pictures, kernel, bias, gamma, mean, inverse, centered, torch.from_numpy(places))
        ctx.mark_non_differentiable(mean, variance)
        return (centered * (inverse * gamma)).add_(beta).permute(0, 3, 1, 2), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        pictures, kernel, bias, gamma, mean, inverse, centered, places = ctx.saved_tensors
        count = len(pictures) * POSITIONS
        gradient = gradient.permute(0, 2, 3, 1)  # clip 10 10 16
        at_beta = gradient.sum((0, 1, 2))
        at_gamma = (gradient * centered).sum((0, 1, 2)) * inverse
        scale = gamma * inverse
        # Every position moves the mean and the variance, and through them every pooled value.
        slope = -scale * inverse * at_gamma / count
        constant = -scale * at_beta / count - slope * mean
        total = pooled_convolution.backward(
            *(array.numpy() for array in (pictures, kernel, bias, places)),
            *(array.numpy() for array in ((gradient * scale).contiguous(), constant, slope)),
        )
        sums = torch.from_numpy(total).float()
        at_weight = sums[:-1].T.reshape(-1, 3, 3, 3)
        return None, at_weight, sums[-1], at_gamma, at_beta, None


class Network(nn.Module):
    """Three streams that see all three channels, joined by one linear layer; returns log probabilities "clip class".

    Parameters and running statistics have the names of the authors' code.

    Attributes:
        plain: uses PyTorch's own layers where the compiled kernel could be used too: what `torch.func` needs.
    """

    def __init__(self, dropout: float, classes: int, *, plain: bool = False) -> None:
        super().__init__()
        self.plain = plain
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(3, filters, 3, padding=2) for filters in FILTERS)
        self.bn1, self.bn2, self.bn3 = (BatchNorm(filters) for filters in FILTERS)
        self.pool1, self.pool2, self.pool3 = (nn.MaxPool2d(3, 3, padding=1) for _ in FILTERS)
        self.dropout = _torch.Dropout(dropout)
        self.average = nn.AvgPool2d(2)
        self.fc = nn.Linear(16 * 5 * 5, classes)

    def forward(
        self, x: Real[Tensor, "clip 3 28 28"], counted: Float[Tensor, " clip"] | None = None
    ) -> Float[Tensor, "clip class"]:
        """Log probabilities.

        Args:
            x: gray levels 0..255 of strain, v, u.
            counted: see `BatchNorm.forward`.
        """
        compiled = not self.plain and counted is None and x.device.type == "cpu" and not x.requires_grad
        compiled = compiled and (self.training or not torch.is_grad_enabled())  # compiled, only training has gradients
        maps = self._compiled(x) if compiled else self._layers(x.float(), counted)  # clip 16 10 10
        return self.fc(self.average(self.dropout(maps)).flatten(1)).log_softmax(1)

    def _layers(self, x: Float[Tensor, "clip 3 28 28"], counted: Tensor | None) -> Float[Tensor, "clip 16 10 10"]:
        streams = zip(
            (self.conv1, self.conv2, self.conv3),
            (self.bn1, self.bn2, self.bn3),
            (self.pool1, self.pool2, self.pool3),
            strict=True,
        )
        return torch.cat([pool(norm(F.relu(conv(x)), counted=counted)) for conv, norm, pool in streams], 1)

    def _compiled(self, x: Real[Tensor, "clip 3 28 28"]) -> Float[Tensor, "clip 16 10 10"]:
        convs, norms = (self.conv1, self.conv2, self.conv3), (self.bn1, self.bn2, self.bn3)
        weight, gamma = torch.cat([conv.weight for conv in convs]), torch.cat([norm.weight for norm in norms])
        bias = torch.cat([conv.bias for conv in convs])  # type: ignore[misc]  # every convolution here has one
        beta = torch.cat([norm.bias for norm in norms])
        if self.training:
            maps, means, variances = FirstBlock.apply(x, weight, bias, gamma, beta, self.bn1.eps)
            count = torch.tensor(float(len(x) * POSITIONS))
            for norm, mean, variance in zip(norms, means.split(FILTERS), variances.split(FILTERS), strict=True):
                norm.remember(mean, variance, count)
            return maps
        with torch.no_grad():
            kernel = weight.reshape(16, -1).T.contiguous()
            values, *_ = pooled_convolution.forward(x.numpy(), kernel.numpy(), bias.numpy(), gamma.sign().numpy())
            mean, variance = (torch.cat([getattr(n, name) for n in norms]) for name in ("running_mean", "running_var"))
            maps = (torch.from_numpy(values) - mean) * (gamma * (variance + self.bn1.eps).rsqrt()) + beta
            return maps.permute(0, 3, 1, 2)


@dataclass
class STSTNet:
    """Shallow triple stream three-dimensional CNN (Liong et al., FG 2019).

    The input is the published map as OpenCV reads its file: strain, v, u in gray levels 0..255, not scaled.

    Attributes:
        classes: number of classes.
        flow_mode: solver of `motion.flow` for clips with frames.
        dropout: of single numbers of the pooled maps.
        epochs, batch_size, learning_rate: Adam.
        shuffle: whether every epoch has its own order of the clips; the authors' code keeps one.
        by_class: whether the clips are given class after class, as the authors' code reads them out of folders; without
            `shuffle`, most of the first batch is then of one class. Negative first is ours: the code takes the folders
            as the file system lists them.
        device: "cpu" or "cuda".
        threads: threads of PyTorch in a fit; results are the same bits only for the same number.
        seed: initial weights, dropout, and the order where it is shuffled.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"flow"})
    precision: ClassVar[str] = "float32"
    class_weights: ClassVar[str] = "none"
    views: ClassVar[int] = 1

    classes: int = 3
    flow_mode: str = "tvl1"
    dropout: float = 0.5
    epochs: int = 800
    batch_size: int = 256
    learning_rate: float = 5e-5
    shuffle: bool = False
    by_class: bool = True
    device: str = "cpu"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("flow_mode", self.flow_mode, MODES)
        check_choice("shuffle", self.shuffle, (True, False))
        check_choice("by_class", self.by_class, (True, False))
        check_range("classes", self.classes, 2)
        check_range("seed", self.seed, 0)
        check_range("dropout", self.dropout, 0, 0.95)
        check_range("epochs", self.epochs, 1)
        check_range("batch_size", self.batch_size, 1)
        check_range("learning_rate", self.learning_rate, 0)
        check_range("threads", self.threads, 1)
        _torch.device_of(self.device)
        self.network_: nn.Module | None = None

    def represent(self, clip: Clip) -> UInt8[np.ndarray, "3 28 28"]:
        """Strain, v and u of the 28x28 map, 0..255: OpenCV's blue, green and red of the published pictures."""
        return map_channels(clip, mode=self.flow_mode)[::-1].copy()

    def order(self, y: Int[np.ndarray, " clip"]) -> Int[np.ndarray, " clip"]:
        """The order in which training rows of these classes are given."""
        return np.argsort(y, kind="stable") if self.by_class else np.arange(len(y))

    def network(self) -> Network:
        """A new network of these settings whose weights are not initialized yet."""
        return _torch.empty(Network, self.dropout, self.classes)

    fit = _verbs.fit
    trace = _verbs.trace
    fit_folds = _verbs.fit_folds
    predict_proba = _verbs.predict_proba
    weights = _verbs.weights
    draw = _verbs.no_draws

    def load_weights(self, weights: dict[str, np.ndarray]) -> STSTNet:
        """Takes over what `weights` gave, or a state dictionary of the authors' code, with or without batch counts."""
        counts = {f"bn{stream}.num_batches_tracked": np.zeros((), np.int64) for stream in (1, 2, 3)}
        return _verbs.load_weights(self, {**counts, **weights})

    def layers(self) -> list[tuple[str, str, tuple[int, ...], int]]:
        """Name, kind, output shape and parameters of every layer."""
        network = self.network()
        network.plain = True
        return _torch.layer_table(network, torch.zeros(1, 3, 28, 28))

    def batch(self, x: Tensor, rows: Tensor, draws: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Network input of training rows, "clip 3 28 28"."""
        return x[rows]

    def view(self, x: Tensor, rows: Tensor, number: int) -> Tensor:
        """Network input of rows to predict, "clip 3 28 28"."""
        return x[rows]
