"""Turning, mirroring, cropping and coloring pictures, against slices, rotations by 90 degrees and OpenCV's colors."""

import colorsys

import cv2
import numpy as np
import pytest
import torch

from microexpr.methods import _pictures

GENERATOR = np.random.default_rng(0)
PICTURES = torch.from_numpy(GENERATOR.random((3, 3, 12, 16), np.float32))
NOTHING = torch.zeros(3)
NO = torch.zeros(3, dtype=torch.bool)


def test_a_crop_without_a_turn_is_a_slice():
    top, left = torch.tensor([0, 3, 4]), torch.tensor([8, 1, 0])
    found = _pictures.cropped(PICTURES, 8, NOTHING, NO, top, left)
    for clip in range(3):
        expected = PICTURES[clip, :, top[clip] : top[clip] + 8, left[clip] : left[clip] + 8]
        torch.testing.assert_close(found[clip], expected, atol=1e-5, rtol=0)


def test_a_mirrored_crop_is_a_slice_of_the_flipped_picture():
    top, left = torch.tensor([0, 3, 4]), torch.tensor([8, 1, 0])
    found = _pictures.cropped(PICTURES, 8, NOTHING, ~NO, top, left)
    flipped = PICTURES.flip(3)
    for clip in range(3):
        expected = flipped[clip, :, top[clip] : top[clip] + 8, left[clip] : left[clip] + 8]
        torch.testing.assert_close(found[clip], expected, atol=1e-5, rtol=0)


def test_a_quarter_turn_is_clockwise_about_the_center():
    found = _pictures.turned(PICTURES, 12, torch.full((3,), 90.0))
    middle = PICTURES[:, :, :, 2:14]
    torch.testing.assert_close(found, middle.rot90(-1, (2, 3)), atol=1e-4, rtol=0)


def test_a_turn_comes_before_the_mirror():
    found = _pictures.cropped(PICTURES, 12, torch.full((3,), 90.0), ~NO, torch.zeros(3).long(), torch.full((3,), 2))
    expected = PICTURES[:, :, :, 2:14].rot90(-1, (2, 3)).flip(3)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_what_a_turn_brings_in_is_black():
    found = _pictures.turned(torch.ones(1, 3, 20, 20), 20, torch.tensor([45.0]))
    assert found[0, :, 0, 0].eq(0).all()
    assert found[0, :, 10, 10].sub(1).abs().max() < 1e-5


def test_the_middle_is_the_middle():
    torch.testing.assert_close(_pictures.centered(PICTURES, 8), PICTURES[:, :, 2:10, 4:12])
    torch.testing.assert_close(_pictures.turned(PICTURES, 8, NOTHING), PICTURES[:, :, 2:10, 4:12], atol=1e-5, rtol=0)


def test_hue_turns_as_the_standard_library_says():
    turns = torch.tensor([0.2, -0.13, 0.5])
    found = _pictures.hue_turned(PICTURES, turns)
    for clip in range(3):
        for row, column in ((0, 0), (5, 7), (11, 15)):
            hue, saturation, value = colorsys.rgb_to_hsv(*PICTURES[clip, :, row, column].tolist())
            expected = colorsys.hsv_to_rgb((hue + float(turns[clip])) % 1, saturation, value)
            np.testing.assert_allclose(found[clip, :, row, column].numpy(), expected, atol=1e-5)


def test_gray_has_no_hue_to_turn():
    level = torch.full((1, 3, 2, 2), 0.4)
    torch.testing.assert_close(_pictures.hue_turned(level, torch.tensor([0.3])), level)


def test_gray_is_that_of_opencv():
    picture = (PICTURES[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    found = _pictures.gray(_pictures.unit(torch.from_numpy(picture)[None]))[0, 0] * 255
    assert np.abs(found.numpy() - cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)).max() <= 0.51


@pytest.mark.parametrize(
    ("brightness", "contrast", "saturation", "expected"),
    [
        (1.5, 1, 1, lambda x: (x * 1.5).clamp(0, 1)),
        (1, 0.5, 1, lambda x: 0.5 * x + 0.5 * _pictures.gray(x).mean((1, 2, 3), keepdim=True)),
        (1, 1, 0, lambda x: _pictures.gray(x).expand_as(x)),
        (1, 1, 1, lambda x: x),
    ],
)
def test_colors_change_by_their_factors(brightness, contrast, saturation, expected):
    ones, start = torch.ones(3), torch.zeros(3, dtype=torch.int64)
    draws = (NOTHING, NO, start, start, brightness * ones, contrast * ones, saturation * ones, NOTHING)
    given = PICTURES[:, :, :, :12]
    torch.testing.assert_close(_pictures.augmented(given, draws, 12), expected(given), atol=1e-5, rtol=0)


def test_draws_stay_in_their_ranges_and_reach_them():
    draws = _pictures.draw(4000, torch.Generator().manual_seed(1), (12, 16), 8, 10.0, 0.2, mirror=True)
    degrees, mirrored, top, left, *changes, hue = draws
    assert 9.9 < degrees.max() <= 10
    assert -10 <= degrees.min() < -9.9
    assert set(top.tolist()) == set(range(5))
    assert set(left.tolist()) == set(range(9))
    assert abs(mirrored.float().mean() - 0.5) < 0.05
    for change in changes:
        assert 0.8 <= change.min() < 0.81
        assert 1.19 < change.max() <= 1.2
    assert 0.199 < hue.abs().max() <= 0.2
    off = _pictures.draw(50, torch.Generator().manual_seed(1), (12, 16), 8, 0.0, 0.0, mirror=False)
    assert not off[0].any()
    assert not off[1].any()


def test_resizing_averages_areas():
    picture = np.kron(np.array([[0, 100], [200, 50]]), np.ones((4, 4)))[..., None].repeat(3, 2).astype(np.uint8)
    small = _pictures.resized(picture, 2, 2)
    np.testing.assert_array_equal(small[..., 0], [[0, 100], [200, 50]])
    assert _pictures.resized(picture, 30, 31).shape == (30, 31, 3)
