"""Orientation histograms over blocks: where blocks begin, which sector an angle falls in, and the slow twin."""

import numpy as np
import pytest

from microexpr.errors import BadInput
from microexpr.kernels.histogram import block_bounds, block_sums, orientation_histograms
from tests.reference import histogram as reference

WHOLE = np.array([[0, 4]])


def test_blocks_are_those_of_the_script():
    """28 pixels, 5 blocks, step 5. By the script, from 1 with both ends: 1-6, 5-11, 10-16, 15-21, 20-28."""
    assert block_bounds(28, 5, 1).tolist() == [[0, 6], [4, 11], [9, 16], [14, 21], [19, 28]]
    # 224 pixels, step 44: 1-45, 44-89, 88-133, 132-177, 176-224.
    assert block_bounds(224, 5, 1).tolist() == [[0, 45], [43, 89], [87, 133], [131, 177], [175, 224]]


def test_blocks_without_overlap_share_nothing_and_lose_nothing():
    for length in (5, 28, 29, 33, 224):
        bounds = block_bounds(length, 5)
        assert (bounds[1:, 0] == bounds[:-1, 1]).all()
        assert (bounds[0, 0], bounds[-1, 1]) == (0, length)


def test_an_overlap_stops_at_the_rim():
    assert block_bounds(6, 3, 9).tolist() == [[0, 6]] * 3
    assert block_bounds(7, 1, 2).tolist() == [[0, 7]]


@pytest.mark.parametrize("bins", range(1, 40))
def test_sectors_begin_at_their_left_edge(bins):
    """A degree on an edge belongs to the sector that begins there, the nearest number below to the one before."""
    edges = 360 * np.arange(bins) / bins - 180
    orientation = np.stack([edges, np.nextafter(np.append(edges[1:], 180), -181)])
    rows, columns = (np.arange(length)[:, None] + [0, 1] for length in (2, bins))  # every pixel is a block
    found = orientation_histograms(orientation, np.ones((2, bins)), rows, columns, bins)
    np.testing.assert_array_equal(found, np.stack([np.eye(bins)] * 2))


def test_half_a_turn_is_the_direction_where_the_circle_begins():
    found = orientation_histograms(np.full((4, 4), 180.0), np.ones((4, 4)), WHOLE, WHOLE, 8)
    assert found[0, 0].tolist() == [16, 0, 0, 0, 0, 0, 0, 0]


def test_by_hand():
    orientation = np.array([[0.0, 44.9, 45.0, 90.0], [-180, -90, -1, 179], [10, 10, 10, 10], [100, 100, 100, 100]])
    weights = np.array([[1.0, 2, 4, 8], [1, 2, 4, 8], [0.5, 0, 0, 0], [0, 0, 0, 0]])
    found = orientation_histograms(orientation, weights, WHOLE, WHOLE, 8)
    assert found[0, 0].tolist() == [1, 0, 2, 4, 3.5, 4, 8, 8]


@pytest.mark.parametrize("blocks", [1, 2, 5])
@pytest.mark.parametrize("bins", [1, 8, 9])
@pytest.mark.parametrize("overlap", [0, 1, 4])
def test_equals_the_slow_twin(blocks, bins, overlap):
    generator = np.random.default_rng(blocks + 10 * bins + 100 * overlap)
    height, width = 17, 23
    orientation = generator.uniform(-180, 180, (height, width)).astype(np.float32)
    orientation[::3] = np.rint(orientation[::3] / 45) * 45  # exactly on the edges of 8 sectors
    weights = generator.exponential(size=(height, width)).astype(np.float32)
    rows, columns = block_bounds(height, blocks, overlap), block_bounds(width, blocks, overlap)
    found = orientation_histograms(orientation, weights, rows, columns, bins)
    np.testing.assert_allclose(found, reference.histograms(orientation, weights, blocks, bins, overlap), rtol=1e-12)
    # What lies in all sectors of a block is what lies in the block.
    np.testing.assert_allclose(found.sum(2), block_sums(weights, rows, columns), rtol=1e-12)


def test_blocks_may_lie_anywhere():
    values = np.arange(20.0).reshape(4, 5)
    sums = block_sums(values, np.array([[1, 2], [0, 4]]), np.array([[2, 5], [3, 3]]))
    assert sums.tolist() == [[7 + 8 + 9, 0], [values[:, 2:].sum(), 0]]


@pytest.mark.parametrize("angle", [np.nan, np.inf, 180.5, -181])
def test_an_angle_outside_the_circle_is_refused(angle):
    with pytest.raises(BadInput, match="-180 to 180"):
        orientation_histograms(np.array([[0.0, angle]]), np.ones((1, 2)), np.array([[0, 1]]), np.array([[0, 2]]), 8)


def test_other_wrong_inputs_are_refused():
    flat = np.zeros((4, 4))
    with pytest.raises(BadInput, match="finite weights"):
        orientation_histograms(flat, np.full((4, 4), np.nan), WHOLE, WHOLE, 8)
    with pytest.raises(BadInput, match="at least 1 bin"):
        orientation_histograms(flat, flat, WHOLE, WHOLE, 0)
    with pytest.raises(BadInput, match="at least 5 pixels for 5 blocks"):
        block_bounds(4, 5)
    for blocks, overlap in ((0, 0), (5, -1)):
        with pytest.raises(BadInput, match="at least 1 block"):
            block_bounds(28, blocks, overlap)
