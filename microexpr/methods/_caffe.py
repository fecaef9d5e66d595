"""Training as Caffe does it: iterations instead of epochs, its fillers, its SGD, its running statistics.

What micro-attention and ATNet share (github.com/Trunpm/ACII19-Apex-Time-Network). The list of training clips is
balanced, shuffled and gone through in batches, over and over; the rate falls in steps. An **epoch** here is
``epoch_iterations`` iterations, so that an epoch can be chosen as for other networks: ``epochs`` of them make the
paper's number of iterations. The verbs below are taken over as those of `_verbs` are: ``fit = _caffe.fit``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from microexpr.errors import BadInput
from microexpr.methods import _pretrain, _torch
from microexpr.methods._resnet10 import SMALLEST, MicroAttention
from microexpr.methods._settings import check_choice, check_range

Trained = TypeVar("Trained", bound=Any)

ONE_PIXEL = 34  # of pictures of up to this size the last maps are 1x1
HEAD = "fc"  # the last layer, which is always drawn anew
FIRST = "resnet.conv1"  # its filler counts the outputs, in the file as here
LSTM_DEVIATION = 0.1
HEAD_BIAS = 0.2


def check(method: Any) -> None:
    """Checks the settings that these methods share; there is no network yet.

    Raises:
        BadInput, UnknownName: one of them can't be.
    """
    for field, low, high in (
        ("classes", 2, math.inf),
        ("size", SMALLEST, math.inf),
        *((field, 1, math.inf) for field in ("width", "epochs", "epoch_iterations", "batch_size", "step", "threads")),
        *((field, 0, math.inf) for field in ("learning_rate", "weight_decay", "seed", "color_shift")),
        *((field, 0, 1) for field in ("gamma", "augmentation")),
        *((field, 0, 0.9999) for field in ("momentum", "average_fraction")),
        ("rotation", 0, 180),
    ):
        check_range(field, getattr(method, field), low, high)
    check_choice("balance", method.balance, (True, False))
    check_choice("precision", method.precision, _torch.PRECISIONS)
    if method.size <= ONE_PIXEL and method.batch_size < 2:
        wanted = f"a batch_size of at least 2 for pictures of up to {ONE_PIXEL} pixels"
        raise BadInput(wanted, str(method.batch_size), "their last maps have one pixel, which one clip can't normalize")
    _torch.device_of(method.device)
    _pretrain.check(method)
    method.network_ = None


def fit(self: Trained, x: np.ndarray, y: Int[np.ndarray, " clip"], subjects: Sequence[str]) -> Trained:
    """Trains on the given rows only, to the last iteration; `subjects` is not used, nothing is held back."""
    self.network_, _ = train(self, x, y)
    return self


def trace(
    self: Any, x: np.ndarray, y: Int[np.ndarray, " clip"], subjects: Sequence[str], watch: np.ndarray
) -> Float[np.ndarray, "epoch watched class"]:
    """`fit`, with the class probabilities of the rows of `watch` after every epoch of ``epoch_iterations``."""
    self.network_, traced = train(self, x, y, watch)
    return traced


def train(
    method: Any, x: np.ndarray, y: Int[np.ndarray, " clip"], watch: np.ndarray | None = None
) -> tuple[nn.Module, Float[np.ndarray, "epoch watched class"]]:
    """A new network trained on all given rows.

    Args:
        method: settings and input functions.
        x, y: training rows and their class numbers.
        watch: rows to predict after every epoch; they do not touch the training.

    Returns:
        The network, and the class probabilities of the watched rows after every epoch (no epochs without `watch`).

    Raises:
        BadInput: the weights to begin with can't be used.
        MicroexprError: the loss or a weight is not finite any more.
    """
    device = _torch.device_of(method.device)
    dtype = _torch.arithmetic(method.precision, device)
    for_weights, for_order, for_dropout = _torch.derived_seeds(method.seed)
    traced = []
    network = method.network()
    initialize(network, for_weights)
    _pretrain.start(method, network)
    with _torch.threads(method.threads):
        _torch.place(network, device)
        _torch.start_dropout(network, for_dropout)
        inputs, labels = _torch.tensor_of(x, device), torch.from_numpy(np.asarray(y, np.int64)).to(device)
        solver = Solver(network, method)
        feed = batches(method, labels.cpu(), torch.Generator().manual_seed(for_order))
        for epoch in range(method.epochs):
            network.train()
            total = torch.zeros((), device=device)
            for _ in range(method.epoch_iterations):
                rows, draws = next(feed)
                rows, draws = rows.to(device), tuple(drawn.to(device) for drawn in draws)
                batch = method.batch(inputs, rows, draws, torch.float32)
                solver.prepare()
                with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                    log_probabilities = network(batch)
                loss = F.nll_loss(log_probabilities.float(), labels[rows])
                loss.backward()
                solver.step()
                _torch.next_masks(network)
                total += loss.detach()
            _torch.check_finite(total, epoch)
            network.eval()
            if watch is not None:
                traced.append(_torch.predict(method, network, watch))
    _torch.check_weights(network)
    shape = (0, 0 if watch is None else len(watch), method.classes)
    return network, np.stack(traced) if traced else np.zeros(shape, np.float32)


def take_over(self: Any, network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Gives a network weights to begin with: all that both name but the last layer."""
    _pretrain.adopt(network, state, HEAD, source)


def initialize(network: nn.Module, seed: int) -> None:
    """Draws weights as the fillers of the authors' files do.

    Convolutions: normal with variance 2 / inputs of an output (He et al. 2015, doi:10.1109/ICCV.2015.123), in the
    first one 2 / outputs of an input; LSTM: normal with deviation 0.1; last layer: uniform with variance 1 / inputs
    (Glorot and Bengio 2010), bias 0.2; other biases 0; normalization starts as the identity.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | MicroAttention):
            outputs, inputs = layer.weight.shape[:2]
            ends = (outputs if name == FIRST else inputs) * layer.weight[0, 0].numel()
            nn.init.normal_(layer.weight, std=math.sqrt(2 / ends), generator=generator)
        elif isinstance(layer, nn.Linear):
            bound = math.sqrt(3 / layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        elif isinstance(layer, nn.LSTM):
            for key, parameter in layer.named_parameters():
                if "bias" in key:
                    nn.init.zeros_(parameter)
                else:
                    nn.init.normal_(parameter, std=LSTM_DEVIATION, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.constant_(layer.bias, HEAD_BIAS if isinstance(layer, nn.Linear) else 0.0)


def listed(y: Int[Tensor, " clip"], balance: bool, generator: torch.Generator) -> Int[Tensor, " row"]:
    """The list of training rows: all, and where it is balanced, rows of rarer classes drawn again up to the largest."""
    if not balance:
        return torch.arange(len(y))
    by_class = [torch.nonzero(y == number)[:, 0] for number in torch.unique(y)]
    most = max(len(rows) for rows in by_class)
    again = [rows[torch.randint(len(rows), (most - len(rows),), generator=generator)] for rows in by_class]
    return torch.cat([*by_class, *again])


def batches(
    method: Any, y: Int[Tensor, " clip"], generator: torch.Generator
) -> Iterator[tuple[Int[Tensor, " clip"], tuple[Tensor, ...]]]:
    """Row numbers and augmentation of batch after batch, all of one size: one may begin the list anew, reshuffled."""
    rows = listed(y, method.balance, generator)
    waiting = rows[:0]
    while True:
        while len(waiting) < method.batch_size:
            waiting = torch.cat([waiting, rows[torch.randperm(len(rows), generator=generator)]])
        yield waiting[: method.batch_size], method.draw(method.batch_size, generator)
        waiting = waiting[method.batch_size :]


class Solver:
    """Caffe's SGD and running statistics, iteration by iteration.

    v <- momentum v + rate (gradient + decay w), w <- w - v; the rate is ``learning_rate`` times ``gamma`` for every
    ``step`` iterations gone. PyTorch's SGD leaves the rate out of v, so the two part where it falls. Biases learn at
    twice the rate, that of the last layer without decay. An LSTM has one bias in Caffe and two in PyTorch, which move
    alike: each at half the rate.

    The running statistics of batch normalization are means in which a batch counts ``average_fraction`` times as much
    as the next one; the first batch alone is their start. Statistics that were taken over from a pre-training count
    on, as Caffe's do: those of a file, which does not say how many batches they have seen, as after very many.
    """

    def __init__(self, network: nn.Module, method: Any) -> None:
        self.method, self.iteration = method, 0
        self.norms = [
            (layer, self._batches_before(layer)) for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)
        ]
        self.moved = []  # parameter, factor of the rate, decay, v
        for layer in network.modules():
            for name, parameter in layer.named_parameters(recurse=False):
                bias = "bias" in name
                factor = 1.0 if not bias else 0.5 if isinstance(layer, nn.LSTM) else 2.0
                decay = 0.0 if bias and isinstance(layer, nn.Linear) else method.weight_decay
                self.moved.append((parameter, factor, decay, torch.zeros_like(parameter)))

    def _batches_before(self, layer: nn.BatchNorm2d) -> float:
        """How many batches the running statistics have seen: none where they are still those of a new layer."""
        if layer.running_mean is None or not layer.running_mean.any():
            return 0
        return self.method.pretrain_epochs * self.method.epoch_iterations if self.method.pretrain_on else math.inf

    def prepare(self) -> None:
        """Before an iteration: what the coming batch counts in the running statistics; gradients are forgotten."""
        fraction = self.method.average_fraction
        for layer, before in self.norms:
            layer.momentum = (1 - fraction) / (1 - fraction ** (before + self.iteration + 1))
        for parameter, *_ in self.moved:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Moves the parameters by their gradients."""
        rate = self.method.learning_rate * self.method.gamma ** (self.iteration // self.method.step)
        for parameter, factor, decay, moving in self.moved:
            if parameter.grad is not None:
                moving.mul_(self.method.momentum).add_(parameter.grad + decay * parameter, alpha=factor * rate)
                parameter.sub_(moving)
        self.iteration += 1
