"""A convolution and the max-pooling of its maps as one step of training, by `kernels.winners` on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from microexpr.kernels import winners


def compiled(convolution: nn.Conv2d, x: Tensor) -> bool:
    """Whether `convolved_and_pooled` is one compiled step: where a CPU trains, and not under `torch.func.vmap`."""
    batched = any(torch._C._functorch.is_batchedtensor(tensor) for tensor in (x, convolution.weight))
    return convolution.training and torch.is_grad_enabled() and x.device.type == "cpu" and not batched


def convolved_and_pooled(
    convolution: nn.Conv2d, pooling: nn.MaxPool2d, x: Float[Tensor, "clip channel h w"]
) -> Float[Tensor, "clip filter h//2 w//2"]:
    """`pooling` of `convolution` of x.

    Where it is `compiled`, in float32, whatever the type of the other layers; elsewhere both layers themselves.

    Args:
        convolution: keeps the size: an odd kernel, a stride of 1, a padding of half the kernel; with a bias.
        pooling: of 2x2.
    """
    if not compiled(convolution, x):
        return pooling(convolution(x))
    return _ConvolvedAndPooled.apply(x, convolution.weight, convolution.bias)


class _ConvolvedAndPooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x, weight = x.detach().float().contiguous(), weight.detach().contiguous()
        with torch.autocast("cpu", enabled=False):
            maps = F.conv2d(x, weight, bias.detach(), padding=weight.shape[2] // 2)
        values, places = winners.pool(maps.numpy())
        ctx.save_for_backward(x, weight, torch.from_numpy(places))
        return torch.from_numpy(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight, places = (tensor.numpy() for tensor in ctx.saved_tensors)
        arrays = (x, weight, places, gradient.float().contiguous().numpy())
        at_weight, at_bias, at_x = winners.gradients(*arrays, at_input=ctx.needs_input_grad[0])
        return None if at_x is None else torch.from_numpy(at_x), torch.from_numpy(at_weight), torch.from_numpy(at_bias)
