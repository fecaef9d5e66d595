"""The training loop that the networks share."""

import numpy as np
import pytest
import torch
from torch import nn

from microexpr.errors import MicroexprError
from microexpr.kernels import masks
from microexpr.methods import _torch


class Small(nn.Module):
    """One linear layer with dropout before it."""

    def __init__(self, dropout):
        super().__init__()
        self.dropout = _torch.Dropout(dropout)
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        return self.layer(self.dropout(x)).log_softmax(1)


class Method:
    """A `Trainable` that remembers its batches."""

    classes, batch_size, learning_rate, seed, device, threads = 3, 3, 0.05, 5, "cpu", 1
    precision, class_weights, views = "float32", "none", 1

    def __init__(self, epochs=3, shuffle=True, dropout=0.0):
        self.epochs, self.shuffle, self.dropout, self.seen = epochs, shuffle, dropout, []

    def network(self):
        return Small(self.dropout)

    def draw(self, clips, generator):
        return (torch.rand(clips, generator=generator),)

    def batch(self, x, rows, draws, dtype):
        self.seen.append((rows, draws[0]))
        return x[rows]

    def view(self, x, rows, number):
        return x[rows]


X = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
Y = np.arange(7) % 3


def test_training_is_adam_on_batches_in_a_new_order_every_epoch():
    """Against torch's own Adam on the same batches: the loop adds nothing and forgets nothing."""
    method = Method()
    trained, _ = _torch.fit(method, X, Y)
    batches = [rows for rows, _ in method.seen]
    assert [len(rows) for rows in batches] == [3, 3, 1] * 3
    epochs = [torch.cat(batches[start : start + 3]).tolist() for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    expected = Small(0)
    _torch.initialize(expected, _torch.derived_seeds(5)[0])
    optimizer = torch.optim.Adam(expected.parameters(), lr=0.05)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    for rows in batches:
        optimizer.zero_grad()
        torch.nn.functional.nll_loss(expected(x[rows]), y[rows]).backward()
        optimizer.step()
    torch.testing.assert_close(trained.state_dict(), expected.state_dict())


def test_without_shuffling_the_order_is_that_of_the_rows():
    method = Method(shuffle=False, epochs=2)
    _torch.fit(method, X, Y)
    assert torch.cat([rows for rows, _ in method.seen]).tolist() == [*range(7), *range(7)]


def test_watching_changes_nothing_and_the_last_epoch_is_the_prediction():
    method = Method(dropout=0.5)
    alone, none = _torch.fit(method, X, Y)
    watched, traced = _torch.fit(method, X, Y, X[:2])
    torch.testing.assert_close(alone.state_dict(), watched.state_dict(), rtol=0, atol=0)
    np.testing.assert_array_equal(traced[-1], _torch.predict(method, watched, X[:2]))
    assert none.shape == (0, 0, 3)
    assert traced.shape == (3, 2, 3)


def test_first_epochs_do_not_depend_on_how_many_follow():
    short = _torch.fit(Method(epochs=2, dropout=0.5), X, Y, X)[1]
    long = _torch.fit(Method(epochs=4, dropout=0.5), X, Y, X)[1]
    np.testing.assert_array_equal(short, long[:2])
    assert np.abs(long[3] - long[1]).max() > 1e-3


def test_the_three_streams_of_random_numbers_differ_and_follow_the_seed():
    seeds = _torch.derived_seeds(0)
    assert len({*seeds, *_torch.derived_seeds(1)}) == 6
    assert seeds == _torch.derived_seeds(0)


def splitmix64(state):
    """The generator's output function with Python's unbounded integers (Steele, Lea and Flood 2014)."""
    mask = 2**64 - 1
    mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)


def test_dropout_bits_are_those_of_splitmix64():
    states = [0x9E3779B97F4A7C15 * number % 2**64 for number in range(1, 200)]
    signed = torch.tensor([state - 2**64 if state >= 2**63 else state for state in states])
    assert _torch._bits(signed).tolist() == [splitmix64(state) & 0xFFFFFF for state in states]


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_compiled_mask_is_that_of_splitmix64(probability):
    mask = masks.mask(-12345, 500, probability)
    states = [(-12345 + masks.GOLDEN * number) % 2**64 for number in range(500)]
    kept = [splitmix64(state) & 0xFFFFFF >= int(probability * 2**24) for state in states]
    np.testing.assert_allclose(mask, np.array(kept) / (1 - probability), rtol=1e-6)


def test_stacked_masks_are_those_of_each_network():
    layer = _torch.Dropout(0.5).train()
    keys = torch.tensor([3, -(2**40), 77])
    x = torch.ones(3, 5, 8)
    stacked = torch.func.vmap(lambda key, row: torch.func.functional_call(layer, {"key": key}, (row,)))(keys, x)
    for key, row in zip(keys, stacked, strict=True):
        layer.key.copy_(key)
        assert torch.equal(layer(x[0]), row)


def test_dropout_keeps_the_mean_and_drops_its_share():
    dropout = _torch.Dropout(0.3).train()
    _torch.start_dropout(dropout, 0)
    dropped = dropout(torch.ones(200, 500))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(dropout.eval()(torch.ones(3)), torch.ones(3))


def test_dropout_masks_of_steps_layers_and_seeds_are_unrelated():
    layers = nn.ModuleList(_torch.Dropout(0.5) for _ in range(2)).train()
    masks = []
    for seed in (0, 1):
        _torch.start_dropout(layers, seed)
        for _ in range(3):
            masks += [layer(torch.ones(64, 1024)).flatten() - 1 for layer in layers]
            _torch.next_masks(layers)
    correlation = np.corrcoef(torch.stack(masks).numpy())
    assert np.abs(correlation - np.eye(len(masks))).max() < 0.02  # 1 / sqrt(65536) is 0.004


def test_a_stray_parameter_is_named():
    network = Small(0)
    with pytest.raises(_torch.BadInput, match=r"layer\.bias"):
        _torch.load_state(network, {"layer.weight": np.zeros((3, 2), np.float32)}, "Small")


@pytest.mark.parametrize("name", ["mps", "xpu", "meta", "cuda:99", "gpu"])
def test_devices_that_are_not_there_are_told(name):
    with pytest.raises(_torch.BadInput, match="set --device c"):
        _torch.device_of(name)


def test_a_gpu_beyond_the_last_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert _torch.device_of("cuda").index is None
    assert _torch.device_of("cuda:1").index == 1
    with pytest.raises(_torch.BadInput, match="from cuda:0 to cuda:1, got 'cuda:2'"):
        _torch.device_of("cuda:2")


def test_answers_that_are_not_finite_are_told():
    trained, _ = _torch.fit(Method(), X, Y)
    _torch.check_weights(trained)
    with torch.no_grad():
        trained.layer.weight.fill_(3e38)  # finite, but not its products
    _torch.check_weights(trained)
    with pytest.raises(MicroexprError, match=r"finite answers .*learning_rate"):
        _torch.predict(Method(), trained, X)
    with torch.no_grad():
        trained.layer.bias[1] = float("nan")
    with pytest.raises(MicroexprError, match=r"layer\.bias is not finite"):
        _torch.check_weights(trained)
