"""All folds of a network in one job: their weights are stacked, and one step trains them all.

Every fold goes at its own pace: it has its own rows, order, augmentation, dropout masks and epochs, the ones that
`_torch.fit` would give it alone, and Adam works on each number on its own; so a fold's result differs from that of
training it alone by rounding only. Many small kernels become few large ones, which is what a GPU wants. On a CPU a
worker for each core is faster: see docs/results.md.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from microexpr.errors import BadInput
from microexpr.methods import _torch

SHARE_OF_FREE_MEMORY = 0.6
ADAM_COPIES = 4  # of every parameter: itself, its gradient and Adam's two moments

Trace = tuple[int, np.ndarray]  # number of a fold, probabilities "epoch watched class"


def fit_folds(
    method: _torch.Trainable,
    x: np.ndarray,
    y: Int[np.ndarray, " clip"],
    train_sets: Sequence[np.ndarray],
    watch_sets: Sequence[np.ndarray],
    seeds: Sequence[int],
    folds_at_once: int | None = None,
) -> Iterator[Trace]:
    """Trains many folds together, as many at once as fit into the memory.

    Args:
        method: settings and input functions; its own seed is not used.
        x, y: all clips.
        train_sets, watch_sets, seeds: of each fold, the rows it trains on, the rows it predicts, and its seed.
        folds_at_once: how many are stacked; None plans it, see `plan`.

    Yields:
        The number of a fold and the probabilities of its watched rows after every epoch, when it is done; folds that
        are stacked end at about the same time. Not finite from where a training diverged.

    Raises:
        BadInput: not even one fold fits into the memory of the GPU.
    """
    if hasattr(method, "order"):
        train_sets = [rows[method.order(y[rows])] for rows in train_sets]
    longest_first = sorted(range(len(train_sets)), key=lambda fold: -len(train_sets[fold]))
    if not longest_first:
        return
    device = _torch.device_of(method.device)
    with _torch.threads(method.threads):
        inputs, labels = _torch.tensor_of(x, device), torch.from_numpy(np.asarray(y, np.int64)).to(device)
        at_once = folds_at_once or plan(method, inputs, len(train_sets))
    waiting = longest_first
    while waiting:
        chunk = waiting[:at_once]  # folds of about one length, so that none idles for long
        try:
            with _torch.threads(method.threads):
                stack = _Stack(method, inputs, labels, *([sets[n] for n in chunk] for sets in (train_sets, watch_sets)))
                traces = list(stack.train([seeds[fold] for fold in chunk]))
        except torch.OutOfMemoryError as error:
            if at_once == 1:
                advice = "set a smaller batch_size, or --device cpu"
                raise BadInput("memory of the GPU for a fold", "too little", advice) from error
            at_once = -(-at_once // 2)  # what was planned is too much beside what else runs there
            continue
        waiting = waiting[at_once:]
        yield from zip(chunk, traces, strict=True)


def plan(method: _torch.Trainable, inputs: Tensor, folds: int) -> int:
    """How many folds to stack: what one needs is measured on one batch of one network, before anything is trained."""
    needed = bytes_of_fold(method, inputs)
    most = max(1, int(SHARE_OF_FREE_MEMORY * free_memory(inputs.device) // needed))
    chunks = -(-folds // most)
    return -(-folds // chunks)  # chunks of about one size


def bytes_of_fold(method: _torch.Trainable, inputs: Tensor) -> int:
    """Memory of one fold while it trains: weights, gradients, Adam's moments, and what a batch keeps for backward."""
    network = _plain(method)
    _torch.initialize(network, 0)
    network.to(inputs.device).train()
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    dtype = _torch.arithmetic(method.precision, inputs.device)
    rows = torch.arange(method.batch_size, device=inputs.device) % len(inputs)
    draws = tuple(d.to(inputs.device) for d in method.draw(len(rows), torch.Generator().manual_seed(0)))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        batch = method.batch(inputs, rows, draws, dtype)
        with torch.autocast(inputs.device.type, dtype=dtype, enabled=dtype != torch.float32):
            network(batch)
    parameters = sum(parameter.nbytes for parameter in network.parameters())
    return ADAM_COPIES * parameters + 2 * (sum(kept.values()) + batch.nbytes)  # backward makes as much again


def free_memory(device: torch.device) -> int:
    """Bytes that can be taken; 2 GiB where the system does not say."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by PyTorch, for what comes
        return torch.cuda.mem_get_info(device)[0] + kept
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 2 * 1024**3


def _plain(method: _torch.Trainable) -> nn.Module:
    """A new network of PyTorch's own operations, which `torch.func` can stack."""
    network: Any = method.network()
    if hasattr(network, "plain"):
        network.plain = True
    return network


class _Stack:
    """Networks that train side by side, with the rows of each."""

    def __init__(
        self,
        method: _torch.Trainable,
        inputs: Tensor,
        labels: Int[Tensor, " clip"],
        train_sets: Sequence[np.ndarray],
        watch_sets: Sequence[np.ndarray],
    ) -> None:
        self.method, self.inputs, self.labels = method, inputs, labels
        self.train_sets, self.watch_sets = train_sets, watch_sets
        self.device = inputs.device
        self.dtype = _torch.arithmetic(method.precision, self.device)
        self.network = _plain(method)
        self.counts = "counted" in inspect.signature(self.network.forward).parameters
        balanced = method.class_weights == "balanced"
        ones = torch.ones(method.classes, device=self.device)
        own = [labels[torch.from_numpy(rows).to(self.device)] for rows in train_sets]
        self.class_weights = torch.stack(
            [_torch.balanced_weights(fold, method.classes) if balanced else ones for fold in own]
        )

    def train(self, seeds: Sequence[int]) -> list[Float[np.ndarray, "epoch watched class"]]:
        """Trains to the last epoch and returns every fold's trace."""
        networks = [self._started(seed) for seed in seeds]
        self.parameters, self.buffers = torch.func.stack_module_state(networks)
        self.network.to(self.device)
        del networks
        optimizer = torch.optim.Adam(self.parameters.values(), lr=self.method.learning_rate, fused=True)
        feeds = [self._feed(rows, seed) for rows, seed in zip(self.train_sets, seeds, strict=True)]
        epochs = self.method.epochs
        steps = [-(-len(rows) // self.method.batch_size) for rows in self.train_sets]
        traces = [np.full((epochs, len(rows), self.method.classes), np.nan, np.float32) for rows in self.watch_sets]
        diverged = torch.zeros(len(seeds), dtype=torch.bool, device=self.device)
        for step in range(1, epochs * max(steps) + 1):
            losses = self._losses([next(feed) for feed in feeds])
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimizer.step()
            for name, buffer in self.buffers.items():
                if name.rpartition(".")[2] == "key":  # of a `_torch.Dropout`
                    buffer += _torch.NEXT
            diverged |= ~torch.isfinite(losses.detach())
            ended = [fold for fold, own in enumerate(steps) if step % own == 0 and step <= epochs * own]
            for fold, probabilities in zip(ended, self._predict(ended), strict=True):
                traces[fold][step // steps[fold] - 1] = np.nan if diverged[fold] else probabilities
        return traces

    def _started(self, seed: int) -> nn.Module:
        for_weights, _, for_dropout = _torch.derived_seeds(seed)
        network = _plain(self.method)
        _torch.initialize(network, for_weights)
        _torch.start_dropout(network, for_dropout)
        return network.to(self.device)

    def _feed(self, rows: np.ndarray, seed: int) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
        """A fold's batches, epoch after epoch, as row numbers of all clips and augmentation."""
        generator = torch.Generator().manual_seed(_torch.derived_seeds(seed)[1])
        own = torch.from_numpy(np.asarray(rows, np.int64))
        for _ in itertools.count():
            for chosen, draws in _torch.batches(self.method, len(own), generator):
                yield own[chosen], draws

    def _losses(self, fed: Sequence[tuple[Tensor, tuple[Tensor, ...]]]) -> Float[Tensor, " fold"]:
        """The mean loss of each fold's batch; short batches are filled up with clips that count nothing."""
        size = max(len(rows) for rows, _ in fed)
        rows = torch.stack([_filled(rows, size) for rows, _ in fed]).to(self.device)
        counted = torch.stack([(torch.arange(size) < len(rows)).float() for rows, _ in fed]).to(self.device)
        draws = tuple(
            torch.cat([_filled(drawn, size) for drawn in column]).to(self.device)
            for column in zip(*(draws for _, draws in fed), strict=True)
        )
        batch = self.method.batch(self.inputs, rows.flatten(), draws, self.dtype).unflatten(0, rows.shape)
        self.network.train()
        # Cast here: under vmap, autocast does not reach the convolutions of a CPU.
        cast = {name: parameter.to(self.dtype) for name, parameter in self.parameters.items()}
        batch = batch.to(self.dtype) if self.dtype != torch.float32 else batch
        found = self._call(cast, self.buffers, batch, counted if self.counts else None).float()
        labels = self.labels[rows]
        weights = counted * self.class_weights.gather(1, labels)
        missed = -found.gather(2, labels[..., None])[..., 0]
        return (missed * weights).sum(1) / weights.sum(1)

    def _call(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Tensor, counted: Tensor | None = None
    ) -> Float[Tensor, "fold clip class"]:
        """Log probabilities of every network on its own batch "fold clip ..."."""

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], *given: Tensor) -> Tensor:
            return torch.func.functional_call(self.network, (parameters, buffers), given)

        given = (batch,) if counted is None else (batch, counted)
        return torch.func.vmap(one)(parameters, buffers, *given)

    def _predict(self, folds: Sequence[int]) -> list[Float[np.ndarray, "watched class"]]:
        """Probabilities of the watched rows of some folds, in float32, the mean over the views of a clip."""
        if not folds:
            return []
        chosen = torch.tensor(folds, device=self.device)
        size = max(1, *(len(self.watch_sets[fold]) for fold in folds))
        own = [torch.from_numpy(np.asarray(self.watch_sets[fold], np.int64)) for fold in folds]
        rows = torch.stack([_filled(fold, size) for fold in own]).to(self.device)  # fold watched
        self.network.eval()
        with torch.no_grad():
            parameters, buffers = (
                {name: value[chosen] for name, value in state.items()} for state in (self.parameters, self.buffers)
            )
            views = []
            for number in range(self.method.views):
                parts = [
                    self._call(
                        parameters,
                        buffers,
                        self.method.view(self.inputs, part.flatten(), number).unflatten(0, part.shape),
                    ).exp()
                    for part in rows.split(self.method.batch_size, dim=1)
                ]
                views.append(torch.cat(parts, dim=1))
            found = torch.stack(views).mean(0).cpu().numpy()
        return [probabilities[: len(fold)] for probabilities, fold in zip(found, own, strict=True)]


def _filled(values: Tensor, size: int) -> Tensor:
    """Brought to `size` rows by repeating the first one (zero where there is none)."""
    if not len(values):
        return values.new_zeros((size, *values.shape[1:]))
    return torch.cat([values, values[:1].expand(size - len(values), *values.shape[1:])])
