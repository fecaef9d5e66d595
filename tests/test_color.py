"""The flow picture (Eqs. 5-6): golden values derived by hand from the 55-hue wheel, and properties."""

from __future__ import annotations

import numpy as np
import pytest

from microexpr.errors import BadInput
from microexpr.motion.color import flow_to_color, wheel, wheel_picture

# Derived by hand. Position on the wheel, counted from 0: fk = (atan2(-v, -u)/pi + 1)/2 * 54 (the paper counts from 1).
#   right (1, 0):  atan2(-0, -1) = -pi    -> fk = 0     -> hue 0, the first of red-yellow: (255, 0, 0)
#   down  (0, 1):  atan2(-1, 0)  = -pi/2  -> fk = 13.5  -> between hues 13 and 14 of red-yellow:
#                  (255, 255*13//15 = 221, 0) and (255, 255*14//15 = 238, 0) -> (255, 229.5, 0)
#   left  (-1, 0): atan2(-0, 1)  = 0      -> fk = 27    -> 27 - (15+6+4) = step 2 of 11 of cyan-blue:
#                  (0, 255 - 255*2//11 = 255 - 46 = 209, 255)
#   up    (0, -1): atan2(1, 0)   = pi/2   -> fk = 40.5  -> 40 - (15+6+4+11) = steps 4 and 5 of 13 of blue-magenta:
#                  (255*4//13 = 78, 0, 255) and (255*5//13 = 98, 0, 255) -> (88, 0, 255)
HUES = {(1, 0): (255, 0, 0), (0, 1): (255, 229.5, 0), (-1, 0): (0, 209, 255), (0, -1): (88, 0, 255)}


def one_pixel(u: float, v: float) -> np.ndarray:
    return np.array([u, v], np.float32).reshape(2, 1, 1)


def circle(count: int) -> np.ndarray:
    """Unit vectors at angles 0 < a < 2 pi, as a picture of one row."""
    angle = (np.arange(count) + 0.5) * 2 * np.pi / count
    return np.stack([np.cos(angle), np.sin(angle)])[:, None].astype(np.float32)


def test_wheel_has_the_corner_colors_where_the_counts_put_them() -> None:
    hues = wheel()
    assert hues.shape == (55, 3)
    starts = np.cumsum([0, 15, 6, 4, 11, 13])
    corners = [(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255)]
    np.testing.assert_array_equal(hues[starts], corners)
    np.testing.assert_array_equal(hues[54], (255, 0, 255 - 255 * 5 // 6))  # by hand: 255 - 212 = 43


@pytest.mark.parametrize(("towards", "hue"), HUES.items())
def test_four_directions_have_the_hues_derived_by_hand(towards: tuple[int, int], hue: tuple[float, ...]) -> None:
    color = flow_to_color(one_pixel(*towards))[0, 0]
    assert np.abs(color - np.array(hue)).max() <= 0.5


@pytest.mark.parametrize(("towards", "hue"), HUES.items())
def test_half_the_peak_is_halfway_to_white(towards: tuple[int, int], hue: tuple[float, ...]) -> None:
    flow = np.concatenate([one_pixel(*towards), one_pixel(*towards) / 2], axis=2)
    half = flow_to_color(flow)[0, 1]
    assert np.abs(half - (255 + np.array(hue)) / 2).max() <= 0.5


def test_beyond_a_given_peak_the_hue_is_darkened_to_three_quarters() -> None:
    # By hand: 0.75 * (0, 209, 255) = (0, 156.75, 191.25).
    np.testing.assert_array_equal(flow_to_color(one_pixel(-3, 0), peak=1.0)[0, 0], (0, 157, 191))
    np.testing.assert_array_equal(flow_to_color(one_pixel(-3, 0), peak=3.0)[0, 0], (0, 209, 255))


def test_zero_motion_is_white() -> None:
    flow = np.zeros((2, 3, 4), np.float32)
    assert (flow_to_color(flow) == 255).all()
    assert (flow_to_color(flow, peak=2.0) == 255).all()
    assert (flow_to_color(-flow) == 255).all()
    flow[:, 1, 1] = 5
    picture = flow_to_color(flow)
    assert (picture[0] == 255).all()
    assert (picture[1, 1] != 255).any()


def test_no_pixels_give_no_pixels() -> None:
    assert flow_to_color(np.zeros((2, 0, 4), np.float32)).shape == (0, 4, 3)


def test_the_sign_of_a_zero_does_not_change_the_color_of_motion_to_the_right() -> None:
    np.testing.assert_array_equal(flow_to_color(one_pixel(1, -0.0)), flow_to_color(one_pixel(1, 0.0)))


def test_hue_is_continuous_around_the_circle_but_for_the_one_seam() -> None:
    row = flow_to_color(circle(3600))[0].astype(int)
    # 54 hue steps over 3600 vectors; the steepest step of the wheel is 64 levels: at most 0.96 + rounding.
    assert np.abs(np.diff(row, axis=0)).max() <= 2
    # The seam lies at motion to the right, between the last hue and the first: (255, 0, 43) and (255, 0, 0).
    assert np.abs(row[0] - row[-1]).max() <= 43


def test_opposite_directions_differ() -> None:
    """With arctan(v/u), as the paper prints it, they would be the same color."""
    flow = circle(72)
    difference = np.abs(flow_to_color(flow).astype(int) - flow_to_color(-flow).astype(int))
    assert difference.max(axis=2).min() > 150


def test_picture_does_not_depend_on_the_scale_of_the_flow() -> None:
    flow = np.random.default_rng(0).normal(size=(2, 16, 16)).astype(np.float32)
    picture = flow_to_color(flow)
    for scale in (2.0**-100, 2.0**-20, 2.0**100):  # powers of two are exact
        np.testing.assert_array_equal(flow_to_color(flow * np.float32(scale)), picture)


def test_an_extremely_small_given_peak_divides_without_a_warning() -> None:
    # By hand: far beyond the peak, so 0.75 * (255, 0, 0) = (191.25, 0, 0).
    np.testing.assert_array_equal(flow_to_color(one_pixel(1e30, 0), peak=5e-324)[0, 0], (191, 0, 0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_non_finite_flow_is_refused(value: float) -> None:
    flow = np.zeros((2, 2, 2))
    flow[1, 0, 1] = value
    with pytest.raises(BadInput, match="1 vectors"):
        flow_to_color(flow)


@pytest.mark.parametrize("peak", [0.0, -1.0, float("nan"), float("inf")])
def test_a_peak_that_is_no_magnitude_is_refused(peak: float) -> None:
    with pytest.raises(BadInput, match="peak"):
        flow_to_color(one_pixel(1, 0), peak=peak)


def test_legend_shows_each_direction_where_it_points() -> None:
    size = 101
    disc = wheel_picture(size)
    assert disc.shape == (size, size, 3)
    assert (disc[size // 2, size // 2] == 255).all()
    assert (disc[0, 0] == 255).all()
    for (x, y), hue in HUES.items():
        rim = disc[size // 2 + y * (size // 2), size // 2 + x * (size // 2)]
        assert np.abs(rim - np.array(hue)).max() <= 4  # the rim's pixel lies at 100/101 of the radius
    assert wheel_picture(1).shape == (1, 1, 3)
    with pytest.raises(BadInput, match="legend"):
        wheel_picture(0)
