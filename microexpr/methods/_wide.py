"""Fully connected layers of many weights that train on few clips at a time, and the Adam that goes with them.

On a CPU such a layer waits for its memory. Here the gradient of its weights stays a product of two small arrays until
Adam takes it (`kernels.few_rows`): it is never written, read or converted. Everything is float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from microexpr.kernels import few_rows

LARGE = 2**24  # weights of a layer


class Linear(nn.Linear):
    """A fully connected layer; while an `Adam` has it in its care, its gradient is kept as factors.

    Attributes:
        factors: what arrived at the outputs and what came in, for each backward pass since the last step; None where
            the weights have a gradient as those of any other layer.
    """

    factors: list[tuple[Tensor, Tensor]] | None = None

    def forward(self, x: Float[Tensor, "clip given"]) -> Float[Tensor, "clip out"]:
        if self.factors is None or not torch.is_grad_enabled():
            return super().forward(x)
        return _Factored.apply(x, self.weight, self) + self.bias


def gains(layer: Linear, clips: int) -> bool:
    """Whether a layer trains faster with factors on batches of so many clips.

    With more clips, the products count, and PyTorch's are faster. Measured by `benchmarks/wide.py`, ours over PyTorch's
    in bfloat16: 6272x1024 0.74 with 4 clips, 1.03 with 8; 4096x4096 0.53 with 12; 9216x4096 0.42 with 12, 0.62 with 24.
    """
    return clips <= (24 if layer.weight.numel() >= LARGE else 4)


class _Factored(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: Linear) -> Tensor:
        x, weight = x.detach().float().contiguous(), weight.detach()
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        return torch.from_numpy(few_rows.product(x.numpy(), weight.numpy()))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.float().contiguous()
        ctx.layer.factors.append((gradient, x))
        if not ctx.needs_input_grad[0]:
            return None, None, None
        return torch.from_numpy(few_rows.transposed_product(gradient.numpy(), weight.numpy())), None, None


class Adam:
    """PyTorch's Adam, but for the weights of `Linear` layers, of which it takes the factors of the gradient.

    Args:
        network: its parameters are trained in place.
        rate: the learning rate; all else is PyTorch's default.
        clips: of a batch, by which the layers with factors are chosen (`gains`); None: all is PyTorch's.
    """

    def __init__(self, network: nn.Module, rate: float, *, clips: int | None) -> None:
        linear = [layer for layer in network.modules() if isinstance(layer, Linear)]
        self.layers = [layer for layer in linear if clips is not None and gains(layer, clips)]
        own = {id(layer.weight) for layer in self.layers}
        others = [parameter for parameter in network.parameters() if id(parameter) not in own]
        self.others = torch.optim.Adam(others, lr=rate, fused=True)
        self.moments = [np.zeros((2, *layer.weight.shape), np.float32) for layer in self.layers]
        self.steps = 0
        for layer in self.layers:
            layer.factors = []

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        self.others.zero_grad(set_to_none=True)
        for layer in self.layers:
            layer.factors = []

    def step(self) -> None:
        """Moves the parameters; those that have no gradient stay where they are."""
        self.others.step()
        self.steps += 1
        given = self.others.defaults
        for layer, moments in zip(self.layers, self.moments, strict=True):
            if layer.factors:
                arrived, x = (torch.cat(factor).numpy() for factor in zip(*layer.factors, strict=True))
                few_rows.adam(
                    *(layer.weight.detach().numpy(), moments[0], moments[1], arrived, x),
                    step=self.steps,
                    rate=given["lr"],
                    betas=given["betas"],
                    epsilon=given["eps"],
                )

    def release(self) -> None:
        """The layers have gradients like any other again."""
        for layer in self.layers:
            layer.factors = None
