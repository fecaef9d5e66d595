"""Motion magnification: what moves by a pixel moves by ten, what rests rests, and the skin does not fold."""

import cv2
import numpy as np
import pytest

from microexpr.datasets._face import Identity
from microexpr.datasets._render import Movement, RenderedFrames
from microexpr.errors import BadInput
from microexpr.motion.flow import flow_between
from microexpr.motion.magnify import LARGEST, magnified, smoothed, warped

SIZE = 96


def bump(strength, size=SIZE):
    """A field that pushes the middle to the right, and fades within a quarter of the picture."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32) - size / 2
    field = strength * np.exp(-(rows**2 + columns**2) / (2 * (size / 8) ** 2))
    return np.stack([field, np.zeros_like(field)])


def texture(size=SIZE):
    picture = np.random.default_rng(0).uniform(0, 255, (size, size)).astype(np.float32)
    return cv2.GaussianBlur(picture, (0, 0), 3)


def moved(picture, field, factor):
    """The picture whose point x went to x + factor * field(x), by many small steps of the inverse: the reference."""
    rows, columns = np.mgrid[: len(picture), : len(picture)].astype(np.float32)
    x, y = columns.copy(), rows.copy()
    for _ in range(200):
        at = [cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for part in field]
        x, y = columns - np.float32(factor) * at[0], rows - np.float32(factor) * at[1]
    return cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 5.0])
def test_a_known_motion_is_magnified(factor):
    first = texture()
    first = (first - first.min()) / (first.max() - first.min()) * 255
    field = bump(0.8)
    second = moved(first, field, 1).clip(0, 255).astype(np.uint8)
    expected = moved(first, field, factor)
    found = warped(second, field, factor).astype(np.float32)
    inside = np.s_[8:-8, 8:-8]
    assert np.abs(found - expected)[inside].mean() < 1.0
    if factor > 1:
        assert np.abs(found - second)[inside].mean() > 3 * np.abs(found - expected)[inside].mean()


def test_a_factor_of_one_changes_hardly_anything():
    second = moved(texture(), bump(0.8), 1).clip(0, 255).astype(np.uint8)
    assert np.abs(warped(second, bump(0.8), 1.0).astype(int) - second).max() <= 2


def test_a_rendered_smile_grows():
    movement = Movement(0, 6, 12, ("6", "12"), 0.5)
    frames = RenderedFrames(13, (movement,), Identity((0, 1)), (0, 1, 13), 200.0, crop=True)
    pictures = [frames.read(number) for number in (0, 6)]
    first, apex = magnified(pictures, 8.0)
    np.testing.assert_array_equal(first, pictures[0])
    before = np.abs(smoothed(flow_between(*pictures))).max()
    after = np.abs(smoothed(flow_between(first, apex, preset="general"))).max()
    assert 5 < after / before < 10


def test_rest_stays_rest():
    picture = texture().clip(0, 255).astype(np.uint8)
    colors = np.repeat(picture[..., None], 3, axis=2)
    for frame in magnified([colors] * 3, 20.0):
        np.testing.assert_array_equal(frame, colors)


def test_motion_that_all_of_the_face_shares_is_the_heads():
    field = smoothed(np.full((2, 64, 64), 0.7, np.float32))
    assert np.abs(field).max() < 1e-6


def test_the_border_stays():
    field = smoothed(bump(1.0) + np.random.default_rng(0).normal(0, 1, (2, SIZE, SIZE)))
    assert np.abs(field[:, [0, -1]]).max() == 0
    assert np.abs(field[:, :, [0, -1]]).max() == 0


def test_the_skin_does_not_fold():
    """A factor that would turn the field over is taken back: columns stay in their order."""
    ramp = np.tile(np.linspace(0, 255, SIZE, dtype=np.float32), (SIZE, 1)).astype(np.uint8)
    row = warped(ramp, bump(2.0), LARGEST)[SIZE // 2].astype(int)
    assert (np.diff(row) >= -1).all()
    assert np.abs(row - ramp[SIZE // 2]).max() > 5


@pytest.mark.parametrize("factor", [-1, 51, float("nan"), float("inf")])
def test_wrong_factors(factor):
    with pytest.raises(BadInput, match="a magnification from 0 to 50"):
        list(magnified([np.zeros((16, 16, 3), np.uint8)], factor))
