"""Local binary patterns on three planes: against their definition, scikit-image, and what must not change them."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from skimage.feature import local_binary_pattern

from microexpr.errors import BadInput
from microexpr.kernels import lbp
from tests.reference import lbp as reference

RADII = [(1, 1, 1), (3, 3, 3), (2, 1, 3), (1.5, 2.25, 1), (2.3, 1.7, 2.9)]
EVERY = [*lbp.NEIGHBORS]
# The axes of "time h w" in the order (from picture to picture, its rows, its columns).
SLICES = {"XY": (0, 1, 2), "XT": (1, 0, 2), "YT": (2, 0, 1)}


def volume(seed=0, shape=(10, 13, 14), levels=256):
    return np.random.default_rng(seed).integers(0, levels, shape).astype(np.uint8)


@pytest.mark.parametrize("radii", RADII)
@pytest.mark.parametrize("neighbors", EVERY)
def test_codes_equal_the_slow_twin(neighbors, radii):
    """Of random levels, of few levels with many ties, and of the two that are farthest apart."""
    for given in (volume(neighbors), volume(neighbors, levels=3), 255 * volume(neighbors, levels=2)):
        for plane in lbp.PLANES:
            found = lbp.codes(given, plane, neighbors=neighbors, radii=radii)
            np.testing.assert_array_equal(found, reference.codes(given, plane, neighbors, radii))


@pytest.mark.parametrize("radius", [1, 2, 3])
@pytest.mark.parametrize("neighbors", EVERY)
def test_codes_and_bins_equal_those_of_scikit_image(neighbors, radius):
    """In all planes, where the three radii are one: "default" has our codes and "uniform" our rotation-invariant bins.

    "nri_uniform" numbers uniform codes by their ones and rotation, we by size: one label must be one bin and the other
    way round. Both keep the last one for the other codes. scikit-image rounds places to five decimals and breaks ties
    between pixels by rounding; where a gray level between pixels is as near as that to the center nothing is compared.
    """
    given, labels, ours = volume(radius, (12, 15, 14)), [], []
    inner = (slice(radius, -radius),) * 3
    for plane, order in SLICES.items():
        found = lbp.codes(given, plane, neighbors=neighbors, radii=(radius,) * 3)
        clear = np.ones(found.shape, bool)
        for step, above in reference.differences(given, plane, neighbors, (radius,) * 3):
            clear &= (np.abs(above) > 0.01) | all(length.is_integer() for length in step)
        assert clear.mean() > 0.98
        theirs = {}
        for how in ("default", "uniform", "nri_uniform"):
            pictures = [local_binary_pattern(picture, neighbors, radius, how) for picture in given.transpose(order)]
            theirs[how] = np.array(pictures).astype(int).transpose(np.argsort(order))[inner][clear]
        np.testing.assert_array_equal(found[clear], theirs["default"])
        invariant = lbp.bins_of_codes(neighbors, "rotation-invariant")[found[clear]]
        np.testing.assert_array_equal(invariant, theirs["uniform"])
        labels += theirs["nri_uniform"].tolist()
        ours += lbp.bins_of_codes(neighbors, "uniform")[found[clear]].tolist()
    pairs = set(zip(labels, ours, strict=True))
    assert len(pairs) == len(set(labels)) == len(set(ours)) > neighbors
    last = neighbors * (neighbors - 1) + 2
    assert {number for label, number in pairs if label == last} == {last}


def test_by_hand():
    """A slope along an axis: what lies up it is above the center, what lies across is a tie, which counts.

    Eight neighbors begin on the right and go up, so up along x are bits 7, 0, 1 and level are 2 and 6; down the picture
    and forward in time are 5, 6, 7 and level are 0 and 4.
    """
    t, y, x = np.meshgrid(*[np.arange(3)] * 3, indexing="ij")
    along, against, level = 0b11000111, 0b11110001, 0b11111111
    for slope, expected in ((x, (along, along, level)), (y, (against, level, along)), (t, (level, against, against))):
        for plane, code in zip(("XY", "XT", "YT"), expected, strict=True):
            found = lbp.codes((10 * slope).astype(np.uint8), plane, neighbors=8, radii=(1, 1, 1))
            assert found.tolist() == [[[code]]]


@pytest.mark.parametrize("level", [0, 1, 77, 255])
@pytest.mark.parametrize("neighbors", EVERY)
def test_a_constant_volume_is_a_tie_everywhere(neighbors, level):
    given = np.full((9, 9, 10), level, np.uint8)
    for radii, plane in itertools.product(RADII, lbp.PLANES):
        assert (lbp.codes(given, plane, neighbors=neighbors, radii=radii) == 2**neighbors - 1).all()


@pytest.mark.parametrize("tenths", range(1, 10))
@pytest.mark.parametrize("times", [-9, -4, -1, 1, 2, 5, 8])
def test_ties_are_ties_however_weights_are_rounded(tenths, times):
    """A tenth has no finite binary form. Between the two pixels on the right the level is just that of the center."""
    given = np.full((3, 5, 5), 100, np.uint8)
    given[1, 2, 3:] = 100 + times * np.array([tenths, tenths - 10])
    assert lbp.codes(given, "XY", neighbors=4, radii=(1 + tenths / 10, 1, 1))[0, 0, 0] & 1


@pytest.mark.parametrize("tenths", range(1, 5))
@pytest.mark.parametrize("times", [-1, 1])
def test_ties_between_four_pixels_are_ties(tenths, times):
    """Right and up: the near pixel has (1 - tenths)^2 of the weight, the far one tenths^2."""
    given = np.full((3, 5, 5), 100, np.uint8)
    given[1, 1, 3] = 100 + times * tenths**2
    given[1, 0, 4] = 100 - times * (10 - tenths) ** 2
    radius = np.sqrt(2) * (1 + tenths / 10)
    assert lbp.codes(given, "XY", neighbors=8, radii=(radius, radius, 1))[0, 0, 0] & 2


@pytest.mark.parametrize("plane", lbp.PLANES)
def test_what_keeps_the_order_of_gray_levels_keeps_the_codes(plane):
    """Neighbors on whole pixels are compared as they are, so any rising map will do; others need a straight one."""
    given = volume(3, levels=60)
    rising = np.sort(np.random.default_rng(4).choice(256, 60, replace=False)).astype(np.uint8)
    whole = {"neighbors": 4, "radii": (2, 1, 3)}
    np.testing.assert_array_equal(lbp.codes(rising[given], plane, **whole), lbp.codes(given, plane, **whole))
    round_about = {"neighbors": 12, "radii": (2.5, 3, 2)}
    np.testing.assert_array_equal(
        lbp.codes(4 * given + 7, plane, **round_about), lbp.codes(given, plane, **round_about)
    )
    falling = lbp.codes(59 - given, plane, **whole)
    assert (falling != lbp.codes(given, plane, **whole)).mean() > 0.9


@pytest.mark.parametrize("coding", lbp.CODINGS)
@pytest.mark.parametrize("neighbors", EVERY)
def test_bins_of_codes(neighbors, coding):
    many, expected = reference.bins(neighbors, coding)
    assert lbp.bin_count(neighbors, coding) == many
    found = lbp.bins_of_codes(neighbors, coding)
    assert found.tolist() == expected
    assert set(expected) == set(range(many))


def test_numbers_of_bins_as_published():
    """59 for 8 neighbors: Zhao and Pietikainen 2007. Of four, 0101 and 1010 are the only codes that are not uniform."""
    assert lbp.bin_count(8, "uniform") == 59
    assert lbp.bins_of_codes(4, "uniform").tolist() == [0, 1, 2, 3, 4, 14, 5, 6, 7, 8, 14, 9, 10, 11, 12, 13]
    assert lbp.bins_of_codes(4, "rotation-invariant").tolist() == [0, 1, 1, 2, 1, 5, 2, 3, 1, 2, 5, 3, 2, 3, 3, 4]


def test_spans_by_hand():
    """106 pixels in 8 blocks with 70% of 13.25 pixels shared: blocks of 21.4 pixels, 12.1 apart."""
    assert lbp.spans(12, 4, 0.0).tolist() == [[0, 3], [3, 6], [6, 9], [9, 12]]
    assert lbp.spans(10, 4, 0.0).tolist() == [[0, 3], [3, 5], [5, 8], [8, 10]]
    assert lbp.spans(12, 2, 0.5).tolist() == [[0, 8], [5, 12]]  # 7.5 long, 4.5 apart; halves are rounded up
    found = lbp.spans(106, 8, 0.7)
    assert found.tolist() == [[0, 21], [12, 33], [24, 46], [36, 58], [48, 70], [60, 82], [73, 94], [85, 106]]


def test_spans_without_overlap_divide_their_axis():
    for blocks in range(1, 30):
        for length in range(blocks, 300):
            begins, ends = lbp.spans(length, blocks, 0.0).T
            assert (begins[1:] == ends[:-1]).all()


@hypothesis.given(st.integers(1, 300), st.integers(1, 20), st.floats(0, 1))
def test_spans_fill_their_axis(length, blocks, overlap):
    hypothesis.assume(length >= blocks)
    found = lbp.spans(length, blocks, overlap)
    begins, ends = found.T
    assert begins[0] == 0
    assert ends[-1] == length
    assert (ends > begins).all()
    assert (begins[1:] <= ends[:-1]).all()
    assert np.ptp(ends - begins) <= 1
    assert (np.diff(found, axis=0) >= 0).all()


@pytest.mark.parametrize("coding", lbp.CODINGS)
@pytest.mark.parametrize(
    ("blocks", "overlap"), [((1, 1, 1), 0.0), ((3, 2, 2), 0.0), ((4, 3, 1), 0.7), ((2, 5, 3), 0.45), ((3, 3, 2), 1.0)]
)
def test_histograms_equal_the_slow_twin(blocks, overlap, coding):
    for neighbors, radii in (((8, 8, 8), (3, 3, 3)), ((4, 9, 6), (1, 2.5, 1.5))):
        given = volume(7, (12, 17, 15), levels=9)
        how = {"blocks": blocks, "overlap": overlap, "neighbors": neighbors, "radii": radii, "coding": coding}
        found = lbp.histograms(given, **how)
        np.testing.assert_allclose(found, reference.histograms(given, **how), rtol=1e-6)
        assert found.dtype == np.float32


def test_histograms_of_large_blocks_equal_the_slow_twin():
    """Blocks of more rows than are coded together."""
    given = volume(8, (7, 2 * lbp.ROWS + 9, 40))
    how = {"blocks": (1, 1, 1), "overlap": 0.0, "neighbors": (8, 8, 8), "radii": (2, 2, 3), "coding": "uniform"}
    np.testing.assert_allclose(lbp.histograms(given, **how), reference.histograms(given, **how), rtol=1e-6)


@pytest.mark.parametrize("coding", lbp.CODINGS)
@pytest.mark.parametrize("neighbors", [(8, 8, 8), (4, 16, 9)])
def test_each_histogram_sums_to_one(neighbors, coding):
    found = lbp.histograms(volume(5), blocks=(3, 2, 2), overlap=0.5, neighbors=neighbors, coding=coding)
    edges = np.cumsum([0, *(lbp.bin_count(count, coding) for count in neighbors)])
    assert found.shape == (2, 2, 3, edges[-1])
    assert (found >= 0).all()
    for begin, end in itertools.pairwise(edges):
        np.testing.assert_allclose(found[..., begin:end].sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize(("axis", "side"), [(0, 4), (1, 5), (2, 6)])
def test_a_shift_by_a_block_shifts_the_blocks(axis, side):
    """Blocks of 6x5x4 pixels and frames. The last of an axis, which see where the volume was closed, are left out."""
    given = volume(6, (3 * 4 + 2, 3 * 5 + 4, 3 * 6 + 6), levels=20)
    how = {"blocks": (3, 3, 3), "radii": (3, 2, 1)}
    before, after = lbp.histograms(given, **how), lbp.histograms(np.roll(given, side, axis), **how)
    np.testing.assert_array_equal(after.take([1, 2], axis), before.take([0, 1], axis))
    assert (after.take(0, axis) != before.take(0, axis)).any()


def test_a_constant_volume_has_one_bin():
    """All ones: the last but one of the uniform bins."""
    found = lbp.histograms(np.full((8, 30, 30), 9, np.uint8)).reshape(64, 3, 59)
    assert (found[:, :, 57] == 1).all()
    assert found.sum() == 3 * 64


def test_the_layout_in_memory_does_not_matter():
    given = volume(9)
    expected = lbp.histograms(given, blocks=(2, 2, 1))
    frozen = given.copy()
    frozen.setflags(write=False)
    for same in (np.asfortranarray(given), np.repeat(given, 2, axis=2)[:, :, ::2], frozen):
        np.testing.assert_array_equal(lbp.histograms(same, blocks=(2, 2, 1)), expected)


def test_the_smallest_volume_and_one_below_it():
    how = {"blocks": (2, 3, 4), "radii": (1, 2.5, 3)}
    shape = (4 + 6, 3 + 6, 2 + 2)
    assert lbp.histograms(np.zeros(shape, np.uint8), **how).shape == (4, 3, 2, 177)
    for axis, message in enumerate(("10 frames long, for the radius 3 .* 4 blocks, got one 9", "9 high", "4 wide")):
        smaller = list(shape)
        smaller[axis] -= 1
        with pytest.raises(BadInput, match=message):
            lbp.histograms(np.zeros(smaller, np.uint8), **how)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neighbors": (3, 8, 8)}, "from 4 to 16 neighbors, got 3"),
        ({"neighbors": (8, 17, 8)}, "from 4 to 16 neighbors, got 17"),
        ({"neighbors": (8, 8)}, "neighbors to be three"),
        ({"radii": (0.5, 1, 1)}, "radii of at least 1"),
        ({"radii": (np.nan, 1, 1)}, "radii of at least 1"),
        ({"radii": (np.inf, 1, 1)}, "radii of at least 1"),
        ({"radii": (9, 1, 1)}, "at least 20 wide"),
        ({"radii": (1, 1, 5)}, "at least 11 frames long"),
        ({"blocks": (2, 0, 1)}, "blocks to be whole"),
        ({"blocks": (2, 1)}, "blocks to be three"),
        ({"blocks": (9, 1, 1)}, "at least 15 wide, for the radius 3 on both sides and 9 blocks, got one 14 wide"),
        ({"overlap": -0.1}, "from 0 to 1"),
        ({"overlap": 1.1}, "from 0 to 1"),
        ({"overlap": np.nan}, "from 0 to 1"),
        ({"coding": "u2"}, "full, uniform, rotation-invariant"),
    ],
)
def test_wrong_settings_are_told_in_a_line(settings, message):
    with pytest.raises(BadInput, match=message) as caught:
        lbp.histograms(volume(), **{"blocks": (2, 2, 1), **settings})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("radii", [*RADII, (6, 6, 6)])
@pytest.mark.parametrize("neighbors", EVERY)
def test_nothing_outside_the_volume_is_read(neighbors, radii):
    """Compiled code does not check: the pixels seen from the only center of the smallest volume are in it."""
    shape = tuple(2 * int(np.ceil(radius)) + 1 for radius in reversed(radii))
    center = np.prod(shape) // 2
    for plane in lbp.PLANES:
        offsets, weights = lbp._taps(plane, neighbors, radii, shape)
        assert offsets.min() >= -center
        assert offsets.max() <= center
        assert (weights.sum(1) == lbp.WHOLE).all()


def test_an_unknown_plane_is_refused():
    with pytest.raises(BadInput, match="XY, XT, YT"):
        lbp.codes(volume(), "TX")
