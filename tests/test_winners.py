"""Max-pooling and the gradients it leaves, against the slow twin and PyTorch's own layers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from microexpr.kernels import winners
from microexpr.methods._winners import convolved_and_pooled
from tests.reference import winners as reference

SHAPES = [  # clips, channels, filters, kernel, height, width
    (3, 1, 6, 5, 28, 28),
    (2, 6, 16, 5, 14, 14),
    (1, 2, 3, 3, 9, 8),  # the last row lies in no window
    (2, 3, 4, 1, 6, 7),
    (2, 11, 2, 7, 4, 4),  # the kernel is larger than the picture
    (0, 1, 6, 5, 28, 28),
]


def problem(clips, channels, filters, kernel, height, width, seed=0):
    """A convolution with drawn weights, pictures, and a gradient at the pooled numbers."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Conv2d(channels, filters, kernel, padding=kernel // 2)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, generator=generator)
    x = torch.randn(clips, channels, height, width, generator=generator)
    return layer, x, torch.randn(clips, filters, height // 2, width // 2, generator=generator)


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 4)])
def test_pool_is_that_of_pytorch(size):
    maps = torch.randint(0, 4, (2, 3, *size), generator=torch.Generator().manual_seed(1)).float()  # many equal numbers
    values, places = winners.pool(maps.numpy())
    if min(size) < 2:
        assert values.shape == places.shape == (2, 3, 0, 2)
        return
    expected, flat = F.max_pool2d(maps, 2, return_indices=True)
    np.testing.assert_array_equal(values, expected)
    y, x = (2 * axis + part for axis, part in zip(np.indices(places.shape)[2:], divmod(places, 2), strict=True))
    np.testing.assert_array_equal(y * size[1] + x, flat)


@pytest.mark.parametrize("position", range(4))
def test_a_number_that_is_none_wins(position):
    window = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    window[0, 0, position // 2, position % 2] = np.nan
    values, places = winners.pool(window)
    assert np.isnan(values).all()
    assert places.item() == position


def test_of_equal_numbers_the_first_wins():
    assert not winners.pool(np.ones((1, 2, 4, 4), np.float32))[1].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_the_twin(shape):
    layer, x, gradient = problem(*shape)
    with torch.no_grad():
        maps = layer(x).numpy()
    places = reference.pool(maps)[1].astype(np.uint8)
    np.testing.assert_array_equal(winners.pool(maps)[1], places)
    arrays = (x.numpy(), layer.weight.detach().numpy(), places, gradient.numpy())
    for mine, other in zip(winners.gradients(*arrays, at_input=True), reference.gradients(*arrays), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_without_the_gradient_at_the_input():
    layer, x, gradient = problem(*SHAPES[1])
    arrays = (x.numpy(), layer.weight.detach().numpy(), winners.pool(layer(x).detach().numpy())[1], gradient.numpy())
    at_weights, at_bias, at_x = winners.gradients(*arrays, at_input=False)
    assert at_x is None
    for mine, other in zip((at_weights, at_bias), winners.gradients(*arrays, at_input=True)[:2], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_by_hand():
    """One window, one lit pixel: the winner's neighborhood alone has a gradient."""
    x = np.zeros((1, 1, 2, 2), np.float32)
    x[0, 0, 1, 1] = 5
    weights = np.zeros((1, 1, 3, 3), np.float32)
    weights[0, 0, 1, 1] = 2  # maps are twice the picture: position 3 wins
    places = np.full((1, 1, 1, 1), 3, np.uint8)
    at_weights, at_bias, at_x = winners.gradients(
        x, weights, places, np.full((1, 1, 1, 1), 7, np.float32), at_input=True
    )
    assert at_weights.sum() == at_weights[0, 0, 1, 1] == 35
    assert at_bias.tolist() == [7]
    assert at_x.sum() == at_x[0, 0, 1, 1] == 14


def both_ways(shape, layout=torch.contiguous_format):
    """Pooled numbers and all gradients of the compiled step and of the two layers."""
    layer, x, gradient = problem(*shape)
    layer.to(memory_format=layout)
    x, pooling, found = x.to(memory_format=layout).requires_grad_(), nn.MaxPool2d(2), []
    for step in (lambda: convolved_and_pooled(layer, pooling, x), lambda: pooling(layer(x))):
        layer.zero_grad()
        x.grad = None
        pooled = step()
        pooled.backward(gradient)
        found.append((pooled.detach(), layer.weight.grad, layer.bias.grad, x.grad))
    return found


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", SHAPES[:5])
def test_the_step_is_that_of_its_two_layers(shape, layout):
    for mine, other in zip(*both_ways(shape, layout), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_training_is_compiled_and_the_rest_is_not(monkeypatch):
    called = []
    monkeypatch.setattr(winners, "pool", lambda maps, pool=winners.pool: called.append(len(maps)) or pool(maps))
    layer, x, _ = problem(*SHAPES[0])
    convolved_and_pooled(layer, nn.MaxPool2d(2), x)
    assert called == [3]
    with torch.no_grad():
        convolved_and_pooled(layer, nn.MaxPool2d(2), x)
    convolved_and_pooled(layer.eval(), nn.MaxPool2d(2), x)  # as an exporter does, which follows PyTorch's layers
    assert called == [3]


def test_float32_where_the_rest_is_bfloat16():
    layer, x, _ = problem(*SHAPES[1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = convolved_and_pooled(layer, nn.MaxPool2d(2), x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, F.max_pool2d(layer(x), 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):  # what comes from a layer in bfloat16
        half = convolved_and_pooled(layer, nn.MaxPool2d(2), x.bfloat16())
    torch.testing.assert_close(half, found, rtol=0.05, atol=0.5)
