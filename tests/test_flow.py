"""Flow between two pictures, what is derived from it, and the flow of a clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from microexpr.errors import BadInput, UnknownName
from microexpr.motion import flow as motion
from microexpr.motion.flow import (
    centered,
    clip_flow,
    direction,
    flow_between,
    magnitude,
    map_channels,
    published_map,
    resize_flow,
    strain,
)
from microexpr.types import Clip, FlowMap


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MICROEXPR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def texture(height: int = 96, width: int = 96) -> np.ndarray:
    """Seeded noise, smoothed: gray, structure at the size of a few pixels everywhere."""
    noise = np.random.default_rng(7).normal(size=(height, width))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    low, high = smooth.min(), smooth.max()
    return np.rint(255 * (smooth - low) / (high - low)).astype(np.uint8)


def shifted(right: int, down: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A picture and the same with its content moved by whole pixels (exact: cut from a larger one)."""
    large = texture()
    return large[8 : 8 + size, 8 : 8 + size], large[8 - down : 8 - down + size, 8 - right : 8 - right + size]


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x, y


@dataclass
class Pictures:
    """Frames in memory that remember what was read."""

    pictures: dict[int, np.ndarray]
    read_numbers: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, number: int) -> np.ndarray:
        self.read_numbers.append(number)
        return np.repeat(self.pictures[number][..., None], 3, axis=2)


def clip(
    frames: Pictures | None = None, flow: FlowMap | None = None, onset: int | None = 10, apex: int | None = 14
) -> Clip:
    return Clip("toy/s1/a", "toy", "toy/s1", "surprise", onset, apex, 20, 200.0, frames=frames, flow=flow)


# --- flow_between ---


modes = pytest.mark.parametrize("mode", motion.MODES)


@modes
@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, 2), (-1, 1)])
def test_flow_of_a_shifted_picture_is_the_shift(right: int, down: int, mode: str) -> None:
    u, v = flow_between(*shifted(right, down), mode=mode)[:, 8:-8, 8:-8]  # the rim has no partner in the other picture
    assert abs(np.median(u) - right) < 0.05
    assert abs(np.median(v) - down) < 0.05
    assert np.abs(u - right).mean() < 0.1
    assert np.abs(v - down).mean() < 0.1


@modes
def test_equal_pictures_have_no_flow(mode: str) -> None:
    assert not flow_between(texture(48, 64), texture(48, 64), mode=mode).any()


@modes
def test_constant_pictures_have_no_flow(mode: str) -> None:
    dark, bright = np.full((40, 40), 20, np.uint8), np.full((40, 40), 60, np.uint8)
    assert np.abs(flow_between(dark, bright, mode=mode)).max() < 1e-6


@pytest.mark.parametrize("preset", motion.PRESETS)
@pytest.mark.parametrize("mode", ["clg", "tvl1"])
def test_presets_find_a_shift(mode: str, preset: str) -> None:
    u, _ = flow_between(*shifted(1, 0), mode=mode, preset=preset)[:, 8:-8, 8:-8]
    assert abs(np.median(u) - 1) < 0.05


def test_the_general_preset_finds_large_motion() -> None:
    u, _ = flow_between(*shifted(6, 0), preset="general")[:, 12:-12, 12:-12]
    assert abs(np.median(u) - 6) < 0.2


def test_float_pictures_need_their_scale() -> None:
    """The flow of the same pictures in 0..1 and in 0..255 is the same, and is never guessed."""
    first, second = shifted(1, 0)
    expected = flow_between(first, second)
    for values, scale in [(255.0, 255.0), (1.0, 1.0)]:
        one, other = ((picture / values).astype(np.float32) for picture in (first, second))
        np.testing.assert_allclose(flow_between(one, other, scale=scale), expected, atol=1e-3)
        with pytest.raises(BadInput, match=r"scale=255 for pictures in 0\.\.1"):
            flow_between(one, other)
    np.testing.assert_allclose(
        flow_between(first / 255, second / 255, mode="opencv", scale=255.0), flow_between(first, second, mode="opencv")
    )
    broken = first / 255
    broken[3, 3] = np.nan
    with pytest.raises(BadInput, match="finite"):
        flow_between(broken, second / 255, scale=255.0)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    first, second = (picture / 255 for picture in shifted(1, 0))
    with pytest.raises(BadInput, match="a scale above 0"):
        flow_between(first, second, scale=scale)


@modes
def test_a_wrong_scale_is_never_silently_wrong(mode: str) -> None:
    first, second = shifted(1, 0)
    for one, other, scale in [(first / 255, second / 255, 1.0), (first / 1.0, second / 1.0, 255.0)]:
        with pytest.raises(BadInput, match="brings to gray levels"):
            flow_between(one, other, mode=mode, scale=scale)
    with pytest.raises(BadInput, match="float pictures only"):
        flow_between(first, second, mode=mode, scale=255.0)
    with pytest.raises(BadInput, match="brings to gray levels"):
        flow_between(first * 1e37, second * 1e37, mode=mode, scale=1.0)


def test_modes_and_presets_are_not_taken_for_one_another() -> None:
    """Each mode and preset gives its own flow, also through the cache of clips."""
    first, second = shifted(1, 0)
    for mode in ("clg", "tvl1"):
        micro, general = (flow_between(first, second, mode=mode, preset=preset) for preset in motion.PRESETS)
        assert (micro != general).any()
        np.testing.assert_array_equal(general, motion.tvl1.flow(first, second, mode=mode, preset="general"))
    given = clip(Pictures({10: first, 14: second}))
    flows = [motion.clip_flow(given, size=64, mode=mode) for mode in motion.MODES]
    assert (flows[0] != flows[1]).any()
    assert (flows[1] != flows[2]).any()


def test_presets_are_ours() -> None:
    good = texture(32, 32)
    with pytest.raises(UnknownName, match="did you mean 'micro'"):
        flow_between(good, good, preset="mikro")
    with pytest.raises(BadInput, match="no preset for mode opencv"):
        flow_between(good, good, mode="opencv", preset="micro")


@modes
def test_swapped_pictures_negate_the_flow(mode: str) -> None:
    first, second = shifted(1, -1)
    there, back = flow_between(first, second, mode=mode), flow_between(second, first, mode=mode)
    assert np.abs(there + back)[:, 8:-8, 8:-8].mean() < 0.05


def test_rgb_and_gray_are_the_same_for_a_gray_picture() -> None:
    first, second = shifted(1, 0, size=32)
    rgb = [np.repeat(picture[..., None], 3, axis=2) for picture in (first, second)]
    np.testing.assert_array_equal(flow_between(*rgb), flow_between(first, second))
    np.testing.assert_array_equal(flow_between(rgb[0], second), flow_between(first, second))


def test_channels_are_weighted_as_rgb() -> None:
    # By hand: 0.299 * 200 = 59.8 -> 60 for pure red; read as BGR it would be 0.114 * 200 = 22.8.
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    assert (motion._gray(red) == 60).all()


@modes
def test_a_small_picture_does_not_spoil_the_next_large_one(mode: str) -> None:
    first, second = shifted(2, 0)
    before = flow_between(first, second, mode=mode)
    small = flow_between(first[:16, :16], second[:16, :16], mode=mode)
    assert small.shape == (2, 16, 16)
    np.testing.assert_array_equal(flow_between(first, second, mode=mode), before)


def test_bad_pictures_are_refused_with_what_came() -> None:
    good = texture(32, 32)
    for first, second, message in [
        (good, texture(32, 40), "32x32 and 40x32"),
        (good[:15], good[:15], "32x15"),
        (good / 255, good, "float64 values from .* without it"),
        (good[:, :1], good[:, :1], "1x32"),
        (np.zeros((3, 32, 32), np.uint8), good, r"\(3, 32, 32\)"),
        (good, good.astype(np.int16), "int16"),
        (good, np.zeros((32, 32, 4), np.uint8), r"\(32, 32, 4\)"),
        (good[0], good[0], r"\(32,\)"),
    ]:
        with pytest.raises(BadInput, match=message):
            flow_between(first, second)
    with pytest.raises(UnknownName, match="did you mean 'opencv'"):
        flow_between(good, good, mode="open-cv")


# --- derived fields: hand values ---


def test_magnitude_and_direction() -> None:
    flow = np.array([[[3.0, 0.0, -2.0]], [[4.0, -1.0, 0.0]]], np.float32)
    np.testing.assert_allclose(magnitude(flow), [[5, 1, 2]])
    np.testing.assert_allclose(direction(flow), [[np.arctan2(4, 3), -np.pi / 2, np.pi]], rtol=1e-6)  # up is negative


def test_strain_of_hand_calculated_fields() -> None:
    x, y = grid(9, 11)
    # A small rotation (u, v) = 0.01 (-y, x): u_x = v_y = 0 and u_y + v_x = -0.01 + 0.01 = 0.
    np.testing.assert_allclose(strain(np.stack([-0.01 * y, 0.01 * x])), 0, atol=1e-7)
    # A stretch u = 0.02 x: sqrt(0.02^2) = 0.02; the same in y.
    np.testing.assert_allclose(strain(np.stack([0.02 * x, 0 * y])), 0.02, rtol=1e-5)
    np.testing.assert_allclose(strain(np.stack([0 * x, -0.02 * y])), 0.02, rtol=1e-5)
    # A shear u = 0.04 y: sqrt(0.04^2 / 2) = 0.0282843.
    np.testing.assert_allclose(strain(np.stack([0.04 * y, 0 * x])), 0.0282843, rtol=1e-5)
    # All at once: u = 0.03 x + 0.01 y, v = 0.01 x + 0.04 y: sqrt(0.0009 + 0.0016 + 0.0004 / 2) = sqrt(0.0027).
    both = np.stack([0.03 * x + 0.01 * y, 0.01 * x + 0.04 * y])
    np.testing.assert_allclose(strain(both), 0.0027**0.5, rtol=1e-5)
    np.testing.assert_array_equal(strain(np.full((2, 4, 4), 3.0)), np.zeros((4, 4)))
    with pytest.raises(BadInput, match="3x1"):
        strain(np.zeros((2, 1, 3), np.float32))


def test_resizing_rescales_the_vectors_with_their_axis() -> None:
    flow = np.stack([np.full((20, 30), 3.0), np.full((20, 30), -2.0)])
    for height, width in [(10, 15), (40, 90), (10, 60), (40, 15), (20, 30)]:
        small = resize_flow(flow, height, width)
        assert small.shape == (2, height, width)
        # By hand: u times width/30, v times height/20.
        np.testing.assert_allclose(small[0], 3 * width / 30, rtol=1e-5)
        np.testing.assert_allclose(small[1], -2 * height / 20, rtol=1e-5)
    with pytest.raises(BadInput, match="0x5"):
        resize_flow(flow, 5, 0)


def test_shrinking_averages_areas() -> None:
    flow = np.zeros((2, 2, 4), np.float32)
    flow[0] = [[1, 3, 0, 0], [5, 7, 0, 8]]
    # By hand: the means of the two 2x2 blocks are 4 and 2, halved because the new pixels are twice as wide.
    np.testing.assert_allclose(resize_flow(flow, 1, 2), [[[2, 1]], [[0, 0]]])


def test_strain_does_not_change_when_a_field_is_resized() -> None:
    x, y = grid(64, 64)
    flow = np.stack([0.03 * x + 0.01 * y, 0.01 * x + 0.04 * y])
    np.testing.assert_allclose(strain(resize_flow(flow, 32, 32)), 0.0027**0.5, rtol=1e-4)


# --- clips ---


def test_clip_flow_reads_onset_and_apex_once_and_then_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    onset, apex = shifted(2, 0)
    pictures = Pictures({10: onset, 12: onset, 14: apex})
    flow = clip_flow(clip(pictures), size=64)
    assert pictures.read_numbers == [10, 14]
    np.testing.assert_array_equal(flow, flow_between(onset, apex))

    def never(*_: object, **__: object) -> np.ndarray:
        raise AssertionError("computed again")

    monkeypatch.setattr(motion, "flow_between", never)
    np.testing.assert_array_equal(clip_flow(clip(pictures), size=64), flow)
    with pytest.raises(AssertionError, match="again"):  # the same content the other way round is another entry
        clip_flow(clip(pictures, onset=14, apex=10), size=64)
    with pytest.raises(AssertionError, match="again"):  # and so is another apex
        clip_flow(clip(pictures, apex=12), size=64)
    monkeypatch.setattr(motion, "CACHE_FORMAT", "another")
    with pytest.raises(AssertionError, match="again"):
        clip_flow(clip(pictures), size=64)


def test_clip_flow_is_in_pixels_of_its_own_grid() -> None:
    onset, apex = shifted(4, 0)
    u, v = clip_flow(clip(Pictures({10: onset, 14: apex})), size=32)[:, 6:-6, 6:-6]
    assert abs(np.median(u) - 2) < 0.1  # 4 pixels of 64 are 2 of 32
    assert abs(np.median(v)) < 0.1


def test_frames_that_are_not_square_are_resized_to_the_square() -> None:
    picture = texture(48, 80)
    flow = clip_flow(clip(Pictures({10: picture, 14: picture})), size=64)
    assert flow.shape == (2, 64, 64)
    assert flow.dtype == np.float32


def test_apex_at_the_onset_is_no_motion() -> None:
    picture = texture(32, 32)
    assert np.abs(clip_flow(clip(Pictures({10: picture}), apex=10), size=32)).max() < 1e-6


def test_clip_flow_of_a_published_map_keeps_the_maps_own_unit() -> None:
    channels = np.full((3, 28, 28), 100, np.uint8)
    channels[0, 4:8, 4:8] = 151
    flow = clip_flow(clip(flow=FlowMap(channels), onset=None, apex=None), size=56)
    assert flow.shape == (2, 56, 56)
    assert flow[0, 12, 12] == np.float32(51) / np.float32(255)  # the value of the map, not twice it
    assert flow[0, 40, 40] == 0
    assert (flow[1] == 0).all()


def test_clip_without_what_is_needed_says_what_to_do() -> None:
    pictures = Pictures({10: texture(32, 32)})
    with pytest.raises(BadInput, match="toy/s1/a with neither"):
        clip_flow(clip())
    with pytest.raises(BadInput, match=r"without an apex.*replace\(clip, apex=number\)"):
        clip_flow(clip(pictures, apex=None))
    with pytest.raises(BadInput, match="without an onset"):
        clip_flow(clip(pictures, onset=None))
    with pytest.raises(BadInput, match="16x16"):
        clip_flow(clip(pictures, apex=10), size=8)
    with pytest.raises(BadInput, match="0x0"):
        clip_flow(clip(flow=FlowMap(np.zeros((3, 28, 28), np.uint8))), size=0)
    with pytest.raises(UnknownName, match="flow mode"):
        clip_flow(clip(pictures), mode="raft")


# --- published maps ---


def bump() -> np.ndarray:
    """A face-like field: still but for one spot that moves up and to the right. 112 x 112, pixels."""
    x, y = grid(112, 112)
    spot = np.exp(-((x - 40) ** 2 + (y - 70) ** 2) / (2 * 9**2)).astype(np.float32)
    return np.stack([0.8 * spot, -0.5 * spot])


def test_published_map_spans_the_range_of_every_channel() -> None:
    channels = published_map(bump()).channels
    assert channels.shape == (3, 28, 28)
    assert (channels.min(axis=(1, 2)) == 0).all()
    assert (channels.max(axis=(1, 2)) == 255).all()
    assert channels[0, 0, 0] == 0  # u is nowhere negative: zero motion is the darkest
    assert channels[1, 0, 0] == 255  # v is nowhere positive: zero motion is the brightest
    assert channels[2, 0, 0] == 0


def test_published_map_by_hand() -> None:
    flow = np.zeros((2, 2, 2), np.float32)
    flow[0] = [[0, 1], [0, 3]]
    # u: 0..3 -> 0, 85, 0, 255. v is constant -> 0. Differences: u_x = 1 in the upper row and 3 in the lower, u_y = 0 on
    # the left and 2 on the right. Strain: 1, sqrt(1 + 4/2) = 1.732, 3, sqrt(9 + 4/2) = 3.317; min-max:
    # 0, 0.7321/2.3166 = 0.3160 -> 80.58, 2/2.3166 = 0.8633 -> 220.15, 1 -> 255.
    expected = [[[0, 85], [0, 255]], [[0, 0], [0, 0]], [[0, 81], [220, 255]]]
    np.testing.assert_array_equal(published_map(flow, size=2).channels, expected)


@pytest.mark.parametrize("size", [28, 31, 150])
def test_constant_flow_gives_an_empty_map_whatever_the_resizing_rounds(size: int) -> None:
    flow = np.stack([np.full((112, 112), 1.2345678), np.full((112, 112), -0.7654321)])
    assert (published_map(flow, size).channels == 0).all()
    assert (published_map(np.zeros((2, 112, 112)), size).channels == 0).all()


def test_published_map_forgets_the_scale_and_nothing_else() -> None:
    np.testing.assert_array_equal(published_map(bump() * 4).channels, published_map(bump()).channels)
    with pytest.raises(BadInput, match="finite"):
        published_map(bump() * np.float32("nan"))


@pytest.mark.parametrize("center", ["median", "mode"])
def test_centered_undoes_the_normalization_up_to_scale(center: str) -> None:
    flow = resize_flow(bump(), 28, 28)
    u, v = centered(published_map(bump()), center=center)
    assert u[0, 0] == 0
    assert v[-1, -1] == 0
    # By hand: u spans 0..its maximum and zero motion is gray 0, so the map holds u/max(u); v holds v/|min(v)|.
    np.testing.assert_allclose(u, flow[0] / flow[0].max(), atol=1 / 255)
    np.testing.assert_allclose(v, flow[1] / -flow[1].min(), atol=1 / 255)


def test_centers_by_hand() -> None:
    channels = np.zeros((3, 1, 5), np.uint8)
    channels[0] = [10, 10, 61, 61, 61]
    channels[1] = [0, 20, 30, 255, 255]
    flow_map = FlowMap(channels)
    # Medians 61 and 30; modes 61 and 255.
    np.testing.assert_allclose(
        centered(flow_map)[:, 0] * 255, [[-51, -51, 0, 0, 0], [-30, -10, 0, 225, 225]], rtol=1e-6
    )
    np.testing.assert_allclose(centered(flow_map, center="mode")[1, 0] * 255, [-255, -235, -225, 0, 0], rtol=1e-6)
    with pytest.raises(UnknownName, match="did you mean 'median'"):
        centered(flow_map, center="medain")


def test_map_channels_takes_the_published_map_or_makes_it() -> None:
    channels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(map_channels(clip(flow=FlowMap(channels))), channels)


def test_map_channels_of_frames_is_the_published_map_of_their_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_224(given: Clip, *, size: int = 224, mode: str = "clg") -> np.ndarray:
        return bump()  # the real one takes a second at 224 x 224

    monkeypatch.setattr(motion, "clip_flow", at_224)
    made = map_channels(clip(Pictures({10: texture(), 14: texture()})))
    np.testing.assert_array_equal(made, published_map(bump()).channels)
