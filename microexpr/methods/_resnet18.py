"""The convolutions of ResNet-18, with the parameter names of its well-known layout, so that weights of others load.

He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, doi:10.1109/CVPR.2016.90, Table 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from microexpr.errors import BadInput

WIDTH = 64  # channels of the first stage
FIRST = "layer1.0.conv1.weight"  # a name that no other layout has


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalization, added to what came in; a 1x1 one brings that to their shape."""

    def __init__(self, given: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or given != channels:
            self.downsample = nn.Sequential(nn.Conv2d(given, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Float[Tensor, "clip given h w"]) -> Float[Tensor, "clip channel h2 w2"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        found = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(found + shortcut)


class ResNet18(nn.Module):
    """conv1 and up to four stages of two blocks, without the classifier: "clip 3 h w" to "clip channel h2 w2".

    Args:
        stages: 4 gives width * 8 channels on 1/32 of the height and width, 3 gives width * 4 on 1/16.
        width: channels of the first stage; 64 in ResNet-18.
        pool: whether the max-pooling 3x3/2 follows the first convolution; without it the maps are twice as large.
    """

    def __init__(self, stages: int = 4, width: int = WIDTH, pool: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if pool else None
        self.stages = stages
        given = width
        for stage in range(stages):
            channels = width * 2**stage
            blocks = nn.Sequential(Block(given, channels, 1 if stage == 0 else 2), Block(channels, channels, 1))
            self.add_module(f"layer{stage + 1}", blocks)
            given = channels

    def forward(self, x: Float[Tensor, "clip 3 h w"]) -> Float[Tensor, "clip channel h2 w2"]:
        x = F.relu(self.bn1(self.conv1(x)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x


def take_over(backbone: ResNet18, given: Mapping[str, Tensor], source: str) -> None:
    """Copies the backbone's parameters and statistics out of a state dictionary; in place.

    What the dictionary holds beside them (a fourth stage, a classifier) is left. The names may have a common prefix
    ("module.", "backbone."), and the counters of batch normalization may be absent, as in old files.

    Args:
        backbone: of any number of stages.
        given: name -> tensor, in the layout of ResNet-18.
        source: where it comes from, for the message.

    Raises:
        BadInput: a parameter is missing or has another shape.
    """
    prefix = min((name.removesuffix(FIRST) for name in given if name.endswith(FIRST)), default="", key=len)
    taken = {}
    for name, own in backbone.state_dict().items():
        value = given.get(prefix + name)
        if name.endswith("num_batches_tracked"):  # a number; some files keep it as an array of one
            value = torch.zeros_like(own) if value is None else value.reshape(-1)[:1].reshape(own.shape)
        if value is None or value.shape != own.shape:
            came = f"none called {prefix + name}" if value is None else f"{name} of shape {list(value.shape)}"
            expected = f"ResNet-18 weights with {name} of shape {list(own.shape)}"
            raise BadInput(expected, f"{came} in {source}", "give a state dictionary of ResNet-18, and width=64")
        taken[name] = value
    backbone.load_state_dict(taken)
