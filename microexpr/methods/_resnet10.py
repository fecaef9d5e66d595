"""The residual network of ten layers that micro-attention and ATNet share.

Layers, paddings and their order are those of the authors' Caffe files (github.com/Trunpm/ACII19-Apex-Time-Network):
Peng, Wang, Bi, Chen, Zhou, Shi: A novel apex-time network for cross-dataset micro-expression recognition, ACII 2019,
doi:10.1109/ACII.2019.8925525, which compares itself with Wang, Peng, Bi, Chen: Micro-attention for micro-expression
recognition, Neurocomputing 410, 2020, doi:10.1016/j.neucom.2020.06.005.
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, empty, nn

SMALLEST = 32  # pixels: the network halves a picture five times


class MicroAttention(nn.Module):
    """A mask over the places of a stage's output, computed from the stage's own maps: out = S + M S.

    The shortcut, the output of the first convolution (after its ReLU) and that of the second are joined to 3C channels,
    taken to C by a 1x1 convolution and from there to one by a second 1x1 convolution, then a sigmoid gives M. In the
    authors' file all weights of the second one are 1/C and are not trained. So both together are one convolution, with
    the mean of the first one's kernels; this is how it is computed.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(empty(channels, 3 * channels, 1, 1))

    def forward(
        self,
        total: Float[Tensor, "clip channel h w"],
        shortcut: Float[Tensor, "clip channel h w"],
        first: Float[Tensor, "clip channel h w"],
        second: Float[Tensor, "clip channel h w"],
    ) -> Float[Tensor, "clip channel h w"]:
        """The masked sum; `total` is S, shortcut plus second convolution."""
        kernels = self.weight.mean(0, keepdim=True).chunk(3, 1)
        # One by one, so that the three are never copied into one array.
        shares = [F.conv2d(*pair) for pair in zip((shortcut, first, second), kernels, strict=True)]
        return total + (shares[0] + shares[1] + shares[2]).sigmoid() * total


class Stage(nn.Module):
    """One residual block, with its attention where the network has it.

    Pre-activation: batch normalization and ReLU, then 3x3 with stride 2, normalization, ReLU, 3x3; the shortcut is a
    1x1 convolution with stride 2 of the activated input. The first stage is given what is activated already: it keeps
    the resolution, and its shortcut is its input. In the last stage the attention comes after one more normalization
    and ReLU.
    """

    def __init__(self, inputs: int, channels: int, *, attention: bool, last: bool) -> None:
        super().__init__()
        first = inputs == channels
        self.bn1 = None if first else nn.BatchNorm2d(inputs)
        self.expand = None if first else nn.Conv2d(inputs, channels, 1, stride=2, bias=False)
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride=1 if first else 2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.last_bn = nn.BatchNorm2d(channels) if last else None
        self.attention = MicroAttention(channels) if attention else None

    def forward(self, x: Float[Tensor, "clip _ _ _"]) -> Float[Tensor, "clip channel h w"]:
        if self.bn1 is not None:
            x = F.relu(self.bn1(x))
        shortcut = x if self.expand is None else self.expand(x)
        first = F.relu(self.bn2(self.conv1(x)))
        second = self.conv2(first)
        total = shortcut + second
        if self.last_bn is not None:
            total = F.relu(self.last_bn(total))
        return total if self.attention is None else self.attention(total, shortcut, first, second)


class ResNet10(nn.Module):
    """Gray pictures to feature vectors of length 1.

    Batch normalization of the input; convolution 7x7 with stride 2, normalization, ReLU; max-pooling 3x3 with stride 2
    that rounds its size up, as Caffe does; four stages of one block each, 64, 128, 256 and 512 channels; the mean over
    all places; division by the Euclidean norm.

    Args:
        width: channels of the first stage; each stage has twice as many as the one before.
        attention: whether every stage has a micro-attention unit.
    """

    def __init__(self, width: int, attention: bool) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm2d(1)
        self.conv1 = nn.Conv2d(1, width, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.stage1, self.stage2, self.stage3, self.stage4 = (
            Stage(inputs, channels, attention=attention, last=channels == widths[-1])
            for inputs, channels in itertools.pairwise(widths)
        )

    def forward(self, x: Float[Tensor, "clip 1 size size"]) -> Float[Tensor, "clip feature"]:
        x = self.pool1(F.relu(self.bn1(self.conv1(self.data_bn(x)))))  # clip 64 56 56
        x = self.stage2(self.stage1(x))  # clip 128 28 28
        x = self.stage4(self.stage3(x))  # clip 512 7 7
        return F.normalize(x.float().mean((2, 3)), dim=1)
