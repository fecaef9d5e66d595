"""Layers of many weights and few clips: the kernels against their twin, the Adam against PyTorch's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from microexpr.kernels import few_rows
from microexpr.methods import _torch, _wide
from microexpr.methods.dual_inception import DualInception
from tests.reference import few_rows as reference

SHAPES = [(1, 1, 1), (3, 1027, 5), (4, 16, 8), (5, 2050, 3), (13, 7, 6), (0, 4, 4)]  # clips, given, out


def problem(clips, given, out, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape).astype(np.float32) for shape in ((clips, given), (out, given), (clips, out))]


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max(initial=1e-6))


@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_those_of_the_twin(shape):
    x, weights, arrived = problem(*shape)
    close(few_rows.product(x, weights), reference.product(x, weights))
    for silent in (slice(0), slice(1, None, 3), slice(None)):  # outputs at which nothing arrives
        arrived[:, silent] = 0
        close(few_rows.transposed_product(arrived, weights), reference.transposed_product(arrived, weights))


@pytest.mark.parametrize("shape", SHAPES)
def test_adam_is_that_of_the_twin(shape):
    x, weights, arrived = problem(*shape)
    settings = {"rate": 0.01, "betas": (0.9, 0.999), "epsilon": 1e-8}
    mine = [weights.copy(), np.zeros_like(weights), np.zeros_like(weights)]
    other = [value.astype(np.float64) for value in mine]
    for step in (1, 2, 3):
        now = step * arrived
        now[:, step::2] = 0  # outputs at which nothing arrives: their moments move on
        now[4:, :1] = now[:8, 1:2] = now[8:, 2:3] = 0  # and some at which it does from a few of the clips
        few_rows.adam(*mine, now, x, step=step, **settings)
        other = reference.adam(*other, now, x, step=step, **settings)
        for found, expected in zip(mine, other, strict=True):
            close(found, expected, 1e-4)


def test_the_first_step_of_adam_is_the_rate_by_hand():
    """Against the sign of the gradient; where that is zero, nothing moves."""
    weights = np.ones((2, 3), np.float32)
    arrived, x = np.array([[1, -2]], np.float32), np.array([[5, 0, -1]], np.float32)
    moments = np.zeros((2, 2, 3), np.float32)
    few_rows.adam(weights, *moments, arrived, x, step=1, rate=0.5, betas=(0.9, 0.999), epsilon=1e-8)
    np.testing.assert_allclose(weights, [[0.5, 1, 1.5], [1.5, 1, 0.5]], atol=1e-5)


def networks(count=2):
    """Equal networks of a wide layer between two others."""
    found = []
    for _ in range(count):
        network = nn.Sequential(nn.Linear(6, 33), nn.ReLU(), _wide.Linear(33, 9), nn.ReLU(), nn.Linear(9, 3))
        _torch.initialize(network, 0)
        found.append(network)
    return found


def batch(clips=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clips, 6, generator=generator), torch.arange(clips) % 3


def stepped(network, optimizer, steps=4, passes=1):
    for step in range(steps):
        losses = []
        for number in range(passes):
            x, y = batch(seed=10 * step + number)
            losses.append(F.cross_entropy(network(x), y))
        optimizer.zero_grad()  # between the passes forward and backward, as training does it
        for loss in losses:
            loss.backward()
        optimizer.step()
    return network.state_dict()


@pytest.mark.parametrize("passes", [1, 2])
def test_adam_is_that_of_pytorch(passes):
    """Gradients of several passes before a step add up in both."""
    mine, other = networks()
    found = stepped(mine, _wide.Adam(mine, 0.01, clips=2), passes=passes)
    expected = stepped(other, torch.optim.Adam(other.parameters(), lr=0.01), passes=passes)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_without_factors_it_is_pytorchs_own():
    mine, other = networks()
    found = stepped(mine, _wide.Adam(mine, 0.01, clips=None))
    expected = stepped(other, torch.optim.Adam(other.parameters(), lr=0.01, fused=True))
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_the_gradient_is_kept_as_factors_until_it_is_released():
    network, plain = networks()
    x, y = batch()
    F.cross_entropy(plain(x), y).backward()
    optimizer = _wide.Adam(network, 0.01, clips=2)
    F.cross_entropy(network(x), y).backward()
    assert network[2].weight.grad is None
    ((arrived, given),) = network[2].factors
    torch.testing.assert_close(arrived.T @ given, plain[2].weight.grad)
    for layer in (0, 4):
        torch.testing.assert_close(network[layer].weight.grad, plain[layer].weight.grad)
    optimizer.release()
    F.cross_entropy(network(x), y).backward()
    torch.testing.assert_close(network[2].weight.grad, plain[2].weight.grad)


def test_what_saw_no_gradient_stays():
    network, _ = networks()
    before = network[2].weight.clone()
    optimizer = _wide.Adam(network, 0.01, clips=2)
    optimizer.zero_grad()
    optimizer.step()
    assert torch.equal(network[2].weight, before)


X = np.random.default_rng(0).normal(size=(7, 2, 28, 28)).astype(np.float32) / 5
Y = np.arange(7) % 3


def test_a_fit_is_that_of_plain_layers_up_to_rounding(monkeypatch):
    """Seven clips in batches of three: the last batch has one.

    Adam divides by the size of a gradient: where it is nothing but rounding, a step goes either way; few weights do.
    """
    found = DualInception(epochs=2, precision="float32").fit(X, Y, [""] * 7)
    assert found.network_.fc1.factors is None
    monkeypatch.setattr(_wide, "gains", lambda layer, clips: False)
    plain = DualInception(epochs=2, precision="float32").fit(X, Y, [""] * 7)
    untrained = plain.network()
    _torch.initialize(untrained, _torch.derived_seeds(0)[0])
    apart = np.abs(found.weights()["fc1.weight"] - plain.weights()["fc1.weight"])
    moved = np.abs(plain.weights()["fc1.weight"] - untrained.fc1.weight.detach().numpy())
    assert apart.mean() < 0.02 * moved.mean()
    np.testing.assert_allclose(found.predict_proba(X), plain.predict_proba(X), atol=2e-3)


@pytest.mark.parametrize(
    ("setting", "factored"),
    [({}, True), ({"batch_size": 4}, True), ({"batch_size": 5}, False), ({"threads": 2}, False)],
)
def test_when_there_are_factors(setting, factored, monkeypatch):
    taken = []
    monkeypatch.setattr(_wide.few_rows, "adam", lambda *given, **named: taken.append(named["step"]))
    DualInception(epochs=1, **setting).fit(X, Y, [""] * 7)
    assert bool(taken) == factored


def test_large_layers_gain_in_larger_batches():
    with torch.device("meta"):
        small, large = _wide.Linear(6272, 1024), _wide.Linear(4096, 4096)
    assert [_wide.gains(layer, 12) for layer in (small, large)] == [False, True]
    assert not _wide.gains(large, 25)
