"""The compiled first block of STSTNet against its slow twin."""

import numpy as np
import pytest

from microexpr.kernels import pooled_convolution
from tests.reference import pooled_convolution as reference


def problem(clips=2, seed=0):
    """Pictures, weights, bias and signs of all three kinds."""
    generator = np.random.default_rng(seed)
    pictures = generator.integers(0, 256, (clips, 3, 28, 28)).astype(np.uint8)
    weights = generator.normal(size=(27, 16)).astype(np.float32) / 5
    sign = np.array([1, -1, 1, 0] * 4, np.float32)
    return pictures, weights, generator.normal(size=16).astype(np.float32), sign


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max(initial=1e-3))


@pytest.mark.parametrize("clips", [0, 1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_forward_is_that_of_the_twin(clips, kind):
    pictures, weights, bias, sign = problem(clips)
    values, places, sums = pooled_convolution.forward(pictures.astype(kind), weights, bias, sign)
    expected = reference.forward(pictures, weights, bias, sign)
    close(values, expected[0])
    close(sums, expected[2], 1e-6)
    # Two numbers of a window may be nearly equal: the number at the place is what counts.
    r, _ = reference.maps(pictures, weights, bias)
    clip, row, column, channel = np.indices(places.shape)
    y, x = 3 * row - 1 + places // 3, 3 * column - 1 + places % 3
    assert (y >= 0).all()
    assert (x >= 0).all()
    np.testing.assert_allclose(r[clip, y, x, channel], values, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("fill", [0, 7])
def test_of_equal_numbers_the_first_is_taken(fill):
    """Pictures of one value: all inner positions are equal, and those on the rim often."""
    _, weights, bias, sign = problem()
    weights = np.round(8 * weights) / 8  # exact sums, so that equal numbers are equal in both
    pictures = np.full((1, 3, 28, 28), fill, np.uint8)
    values, places, _ = pooled_convolution.forward(pictures, weights, np.round(8 * bias) / 8, sign)
    expected = reference.forward(pictures, weights, np.round(8 * bias) / 8, sign)
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(places, expected[1])
    assert (places[0, 1:-1, 1:-1] == 0).all()
    assert (places[0, 0, 0, sign == 0] == 4).all()  # its first row and column lie outside


@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_backward_is_that_of_the_twin(clips, kind):
    pictures, weights, bias, sign = problem(clips)
    generator = np.random.default_rng(1)
    places = reference.forward(pictures, weights, bias, sign)[1].astype(np.uint8)
    gradient = generator.normal(size=places.shape).astype(np.float32)
    constant, slope = generator.normal(size=(2, 16)).astype(np.float32)
    arguments = (weights, bias, places, gradient, constant, slope)
    found = pooled_convolution.backward(pictures.astype(kind), *arguments)
    expected = reference.backward(pictures, *arguments)
    close(found, expected)


def test_the_rim_that_no_window_pools_counts_in_the_sums():
    """Row and column 29 see the last row and column of the picture: by hand, one lit corner and one tap."""
    picture = np.zeros((1, 3, 28, 28), np.float32)
    picture[0, 1, 27, 27] = 3
    weights, zero = np.zeros((27, 16), np.float32), np.zeros(16, np.float32)
    weights[9, 5] = 2  # channel 1, first row, first column: position (29, 29) sees pixel (27, 27) through it
    values, _, sums = pooled_convolution.forward(picture, weights, zero, zero + 1)
    assert not values.any()
    assert sums[:, 5].tolist() == [6, 36]
    assert sums.sum() == 42
    places = np.full((1, 10, 10, 16), 4, np.uint8)
    none = np.zeros(places.shape, np.float32)
    total = pooled_convolution.backward(picture, weights, zero, places, none, zero + 1, zero + 0.5)
    assert total[9, 5] == 3 * (1 + 0.5 * 6)
    assert total[27, 5] == 1 + 0.5 * 6


def test_the_same_clip_gives_the_same_bits_in_any_batch():
    pictures, weights, bias, sign = problem(5)
    values, places, _ = pooled_convolution.forward(pictures, weights, bias, sign)
    alone = pooled_convolution.forward(pictures[3:4], weights, bias, sign)
    np.testing.assert_array_equal(values[3:4], alone[0])
    np.testing.assert_array_equal(places[3:4], alone[1])


def test_a_number_that_is_none_does_not_vanish():
    """A diverged weight must show in the sums, and so in the loss; ReLU by comparison could hide it."""
    pictures, weights, bias, sign = problem(1)
    weights[0, 2] = np.nan
    _, _, sums = pooled_convolution.forward(pictures, weights, bias, sign)
    assert np.isnan(sums[:, 2]).all()
    assert np.isfinite(np.delete(sums, 2, axis=1)).all()
