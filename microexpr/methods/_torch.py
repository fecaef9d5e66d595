"""Plain training functions that the networks share. No trainer: a loop, and what the loop needs.

Written for speed: the array stays in memory and is indexed, pictures are channels-last, arithmetic is bfloat16 where
the processor has it (weights, losses and Adam stay float32), and every fit runs on a fixed number of threads, so the
same seed gives the same bits whatever runs beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from microexpr.errors import BadInput, MicroexprError

Network = TypeVar("Network", bound=nn.Module)

PRECISIONS = ("auto", "float32", "bfloat16")


def device_of(name: str) -> torch.device:
    """The device, or a clear line where it is not there."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadInput("a device like cpu or cuda", repr(name), "set --device cpu") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadInput("a CUDA device that PyTorch can use", "none on this machine", "set --device cpu")
    return device


def arithmetic(precision: str, device: torch.device) -> torch.dtype:
    """The type that convolutions and products compute in: "auto" is bfloat16 where the hardware has it."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() and _has_bfloat16_units() else torch.float32


def _has_bfloat16_units() -> bool:
    """oneDNN also emulates bfloat16 on processors without the instructions, slower than float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def tensor_of(x: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor; without a copy where it is writable, which an array shared between processes is not."""
    return torch.from_numpy(x if x.flags.writeable else x.copy()).to(device)


def place(network: Network, device: torch.device) -> Network:
    """Moves a network to a device, its convolutions channels-last; in place."""
    network.to(device)
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Runs the block on `count` threads: sums are split the same way everywhere, so results do not move."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that draws from a generator it is given, never from global state."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        kept = torch.rand(x.shape, generator=self.generator, device=x.device) >= self.probability
        return x * (kept.to(x.dtype) / (1 - self.probability))


def initialize(network: nn.Module, generator: torch.Generator) -> None:
    """PyTorch's default initialization of convolutions and linear layers, drawn from `generator`."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:
                bound = 1 / math.sqrt(layer.weight[0].numel())
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def balanced_weights(labels: Int[Tensor, " clip"], classes: int) -> Float[Tensor, " class"]:
    """Weights that give every class of the training rows the same total: n / (classes present * count)."""
    counts = torch.bincount(labels, minlength=classes).float()
    return torch.where(counts > 0, len(labels) / (counts.clamp(min=1) * (counts > 0).sum()), torch.zeros(()))


def train(
    network: nn.Module,
    batch_of: Callable[[Tensor], Tensor],
    labels: Int[Tensor, " clip"],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
    dtype: torch.dtype,
    class_weights: Float[Tensor, " class"] | None = None,
) -> None:
    """Adam on the negative log likelihood; every epoch sees every training row once, in a new order.

    Args:
        network: returns log probabilities "clip class".
        batch_of: row numbers -> network input (this is where augmentation happens).
        labels: class numbers of the training rows.
        generator: all randomness: order, dropout, and whatever `batch_of` draws from it.
        dtype: arithmetic of convolutions and products; see `arithmetic`.

    Raises:
        MicroexprError: the loss is not finite any more.
    """
    for layer in network.modules():
        if isinstance(layer, Dropout):
            layer.generator = generator
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, fused=True)
    network.train()
    for epoch in range(epochs):
        order = torch.randperm(len(labels), generator=generator, device=generator.device)
        total = torch.zeros((), device=labels.device)
        for rows in order.split(batch_size):
            with torch.autocast(labels.device.type, dtype=dtype, enabled=dtype != torch.float32):
                log_probabilities = network(batch_of(rows))
            loss = F.nll_loss(log_probabilities, labels[rows], weight=class_weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        if not torch.isfinite(total):
            raise MicroexprError(f"training diverged: the loss of epoch {epoch + 1} is not finite; lower learning_rate")
    network.eval()


def predict(
    network: nn.Module, batch_of: Callable[[Tensor], Tensor], clips: int, classes: int
) -> Float[np.ndarray, "clip class"]:
    """Class probabilities in float32, 64 clips at a time."""
    network.eval()
    if not clips:
        return np.zeros((0, classes), np.float32)
    with torch.inference_mode():
        parts = [network(batch_of(rows)).exp() for rows in torch.arange(clips).split(64)]
    return torch.cat(parts).cpu().numpy()


def layer_table(network: nn.Module, inputs: Tensor) -> list[tuple[str, str, tuple[int, ...], int]]:
    """Every layer in the order it runs: name, kind, output shape without the batch, parameters."""
    rows: list[tuple[str, str, tuple[int, ...], int]] = []

    def record(name: str) -> Callable[[nn.Module, Sequence[Tensor], Tensor], None]:
        def hook(layer: nn.Module, _: Sequence[Tensor], output: Tensor) -> None:
            rows.append(
                (name, type(layer).__name__, tuple(output.shape[1:]), sum(p.numel() for p in layer.parameters()))
            )

        return hook

    leaves = [(name, layer) for name, layer in network.named_modules() if not list(layer.children())]
    handles = [layer.register_forward_hook(record(name)) for name, layer in leaves]
    try:
        with torch.inference_mode():
            network.eval()(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return rows
