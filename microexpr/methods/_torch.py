"""Plain training functions that the networks share. No trainer: a loop, and what the loop needs.

Written for speed: the array stays in memory and is indexed, pictures are channels-last, arithmetic is bfloat16 where
the processor has it (weights, losses and Adam stay float32), and every fit runs on a fixed number of threads, so on a
CPU the same seed gives the same bits whatever runs beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from microexpr.errors import BadInput, MicroexprError
from microexpr.kernels import masks
from microexpr.methods import _wide

Network = TypeVar("Network", bound=nn.Module)

PRECISIONS = ("auto", "float32", "bfloat16")


def device_of(name: str) -> torch.device:
    """The device, or a clear line where it is not there."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadInput("a device like cpu or cuda", repr(name), "set --device cpu") from error
    if device.type not in ("cpu", "cuda"):
        raise BadInput("the device cpu or cuda", repr(name), "set --device cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadInput("a CUDA device that PyTorch can use", "none on this machine", "set --device cpu")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise BadInput(f"a CUDA device from cuda:0 to cuda:{count - 1}", repr(name), "set --device cuda")
    return device


def arithmetic(precision: str, device: torch.device) -> torch.dtype:
    """The type that convolutions and products compute in: "auto" is bfloat16 where the hardware has it."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
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


def empty(kind: Callable[..., Network], *settings: Any, **named: Any) -> Network:
    """A network without weights; PyTorch's own initialization would draw from global randomness."""
    with torch.device("meta"):
        network = kind(*settings, **named)
    return network.to_empty(device="cpu")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Runs the block on `count` threads: sums are split the same way everywhere, so results do not move.

    On a GPU, convolutions take their deterministic kernels, and float32 is float32, not TF32.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose masks are a function of a key, not of a generator's state.

    The mask of step t is a hash (splitmix64; Steele, Lea and Flood 2014) of the layer's key, t and the position in the
    batch. So a fold draws the same masks whether it is trained alone or stacked with others, on any device.

    Attributes:
        key: int64 "", or one per network where networks are stacked; `start_dropout` sets it, `next_masks` moves it on.
    """

    key: Tensor

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.register_buffer("key", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        return x * self._mask(x).to(x.dtype)

    def _mask(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and not torch._C._functorch.is_batchedtensor(self.key):
            return torch.from_numpy(masks.mask(int(self.key), x.numel(), self.probability)).reshape(x.shape)
        state = torch.arange(x.numel(), device=x.device) * (masks.GOLDEN - 2**64) + self.key
        kept = (_bits(state) >= int(self.probability * 2**24)).reshape(x.shape)
        return kept.float() / (1 - self.probability)


NEXT = 0x2545F4914F6CDD1D  # from the masks of one step to those of the next


def _bits(state: Int[Tensor, "*many"]) -> Int[Tensor, "*many"]:
    """What `kernels.masks` computes, in int64, whose products wrap around and whose shifts must drop the sign."""
    mixed = (state ^ ((state >> 30) & (2**34 - 1))) * (0xBF58476D1CE4E5B9 - 2**64)
    mixed = (mixed ^ ((mixed >> 27) & (2**37 - 1))) * (0x94D049BB133111EB - 2**64)
    return (mixed ^ ((mixed >> 31) & (2**33 - 1))) & 0xFFFFFF


def start_dropout(network: nn.Module, seed: int) -> None:
    """Gives every `Dropout` of the network its own key, in the order of the layers."""
    layers = [layer for layer in network.modules() if isinstance(layer, Dropout)]
    keys = np.random.SeedSequence(seed).generate_state(len(layers), np.uint64).astype(np.int64)
    for layer, key in zip(layers, keys.tolist(), strict=True):
        layer.key.fill_(key)


def next_masks(network: nn.Module) -> None:
    """Moves every `Dropout` on to the masks of the next step."""
    for layer in network.modules():
        if isinstance(layer, Dropout):
            layer.key += NEXT


def derived_seeds(seed: int) -> tuple[int, int, int]:
    """Seeds of the initial weights, of order and augmentation, and of dropout, which must not repeat each other."""
    first, second, third = np.random.SeedSequence(seed).generate_state(3, np.uint64) >> 1
    return int(first), int(second), int(third)


def initialize(network: nn.Module, seed: int) -> None:
    """PyTorch's default initialization of convolutions, linear layers and batch normalization, drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:
                bound = 1 / math.sqrt(layer.weight[0].numel())
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()  # ones and zeros: nothing is drawn


def balanced_weights(labels: Int[Tensor, " clip"], classes: int) -> Float[Tensor, " class"]:
    """Weights that give every class of the training rows the same total: n / (classes present * count)."""
    counts = torch.bincount(labels, minlength=classes).float()
    return torch.where(counts > 0, len(labels) / (counts.clamp(min=1) * (counts > 0).sum()), torch.zeros(()))


@runtime_checkable
class Trainable(Protocol):
    """What the training functions ask of a network method: its settings and three functions.

    Attributes:
        views: how many inputs of one clip are predicted and averaged.
        precision, device, threads: see `arithmetic`, `device_of` and `threads`.
        class_weights: "none" or "balanced".
        shuffle: whether every epoch sees the training rows in a new order; without it, they keep that in which they
            come, or that of the method's `order(y)` where it has one.
    """

    classes: int
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    device: str
    threads: int

    @property
    def precision(self) -> str: ...
    @property
    def class_weights(self) -> str: ...
    @property
    def shuffle(self) -> bool: ...
    @property
    def views(self) -> int: ...

    def network(self) -> nn.Module:
        """A new network, its weights not initialized yet, that returns log probabilities "clip class"."""
        ...

    def draw(self, clips: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The random numbers that augment a batch, each tensor "clip ..."; empty without augmentation."""
        ...

    def batch(self, x: Tensor, rows: Int[Tensor, " clip"], draws: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Network input of training rows."""
        ...

    def view(self, x: Tensor, rows: Int[Tensor, " clip"], number: int) -> Tensor:
        """Network input of rows to predict."""
        ...


def fit(
    method: Trainable, x: np.ndarray, y: Int[np.ndarray, " clip"], watch: np.ndarray | None = None
) -> tuple[nn.Module, Float[np.ndarray, "epoch watched class"]]:
    """A new network trained on all given rows to the last epoch.

    Adam on the negative log likelihood; every epoch sees every row once. The first epochs do not depend on how many
    follow, nor on whether anything is watched.

    Args:
        method: settings and input functions.
        x, y: training rows and their class numbers.
        watch: rows to predict after every epoch; they do not touch the training.

    Returns:
        The network, and the class probabilities of the watched rows after every epoch (no epochs without `watch`).

    Raises:
        MicroexprError: the loss or a weight is not finite any more.
    """
    device = device_of(method.device)
    dtype = arithmetic(method.precision, device)
    for_weights, for_order, for_dropout = derived_seeds(method.seed)
    generator = torch.Generator().manual_seed(for_order)
    traced = []
    if hasattr(method, "order"):
        rows = method.order(y)
        x, y = x[rows], y[rows]
    with threads(method.threads):
        network = method.network()
        initialize(network, for_weights)
        place(network, device)
        start_dropout(network, for_dropout)
        inputs, labels = tensor_of(x, device), torch.from_numpy(np.asarray(y, np.int64)).to(device)
        weights = balanced_weights(labels, method.classes) if method.class_weights == "balanced" else None
        alone = device.type == "cpu" and method.threads == 1
        optimizer = _wide.Adam(network, method.learning_rate, clips=method.batch_size if alone else None)
        for epoch in range(method.epochs):
            network.train()
            total = torch.zeros((), device=device)
            for rows, draws in batches(method, len(labels), generator):
                rows, draws = rows.to(device), tuple(drawn.to(device) for drawn in draws)
                with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                    log_probabilities = network(method.batch(inputs, rows, draws, dtype))
                loss = F.nll_loss(log_probabilities.float(), labels[rows], weight=weights)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                next_masks(network)
                total += loss.detach()
            check_finite(total, epoch)
            network.eval()
            if watch is not None:
                traced.append(predict(method, network, watch))
        optimizer.release()
    check_weights(network)
    shape = (0, 0 if watch is None else len(watch), method.classes)
    return network, np.stack(traced) if traced else np.zeros(shape, np.float32)


def batches(
    method: Trainable, clips: int, generator: torch.Generator
) -> Iterator[tuple[Int[Tensor, " clip"], tuple[Tensor, ...]]]:
    """Row numbers and augmentation of an epoch's batches; drawn on the CPU, so a GPU sees the same ones."""
    order = torch.randperm(clips, generator=generator) if method.shuffle else torch.arange(clips)
    for rows in order.split(method.batch_size):
        yield rows, method.draw(len(rows), generator)


def check_finite(total: Tensor, epoch: int) -> None:
    """Raises MicroexprError where the summed loss of an epoch is not finite."""
    if not torch.isfinite(total).all():
        raise MicroexprError(f"training diverged: the loss of epoch {epoch + 1} is not finite; lower learning_rate")


def check_weights(network: nn.Module) -> None:
    """Raises MicroexprError where a number of a trained network is not finite: the loss is looked at before a step."""
    for name, value in network.state_dict().items():
        if not torch.isfinite(value).all():
            raise MicroexprError(f"training diverged: {name} is not finite after the last epoch; lower learning_rate")


def predict(method: Trainable, network: nn.Module, x: np.ndarray) -> Float[np.ndarray, "clip class"]:
    """Class probabilities in float32, 64 clips at a time, the mean over the views of a clip.

    Raises:
        MicroexprError: an answer is not finite.
    """
    network.eval()
    if not len(x):
        return np.zeros((0, method.classes), np.float32)
    inputs = tensor_of(x, next(network.parameters()).device)
    with threads(method.threads), torch.inference_mode():
        views = [
            torch.cat([network(method.view(inputs, rows, number)).exp() for rows in torch.arange(len(x)).split(64)])
            for number in range(method.views)
        ]
        found = torch.stack(views).mean(0).cpu().numpy()
    if not np.isfinite(found).all():
        raise MicroexprError(
            "expected finite answers of the network, got others; its training diverged (lower learning_rate) or its "
            "weights are damaged"
        )
    return found


def load_state(network: nn.Module, weights: Mapping[str, np.ndarray], name: str) -> None:
    """Takes over parameters by name; in place.

    Raises:
        BadInput: they are not exactly those of the network, in name or shape.
    """
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    if expected != found:
        odd = min(set(expected.items()) ^ set(found.items()))[0]
        advice = "give the settings it was trained with"
        raise BadInput(f"the parameters of {name} with these settings", f"a difference at {odd}", advice)
    network.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})


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
