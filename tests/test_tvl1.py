"""The flow kernels: properties first, then the three implementations against each other."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import torch

from microexpr.errors import BadInput, UnknownName
from microexpr.kernels import tvl1, tvl1_torch, warp
from tests.reference import tvl1 as reference

SETTINGS = [(mode, preset) for mode in tvl1.MODES for preset in ("micro", "general")]


def cat(height: int, width: int) -> np.ndarray:
    """A part of the cat's face, float64 gray levels."""
    return skimage.data.chelsea()[60 : 60 + height, 120 : 120 + width].astype(float) @ [0.299, 0.587, 0.114]


def moved(second: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """first(x) = second(x + flow(x)), exact: the picture is a quintic spline."""
    y, x = np.mgrid[: second.shape[0], : second.shape[1]]
    return scipy.ndimage.map_coordinates(second, [y + flow[1], x + flow[0]], order=5, mode="mirror")


def shifted(second: np.ndarray, right: float, down: float) -> np.ndarray:
    return moved(second, np.stack([np.full(second.shape, right), np.full(second.shape, down)]))


def bump(height: int, width: int, peak: float = 1.0) -> np.ndarray:
    """A smooth motion to the lower right, "2 h w"."""
    y, x = np.mgrid[:height, :width]
    shape = peak * np.exp(-((x - 0.6 * width) ** 2 + (y - 0.4 * height) ** 2) / (2 * (0.15 * width) ** 2))
    return np.stack([0.8 * shape, 0.6 * shape]).astype(np.float32)


def noisy_pair(height: int, width: int, peak: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 pictures with a bump of motion between them and noise of one gray level."""
    rng, second = np.random.default_rng(seed), cat(height, width)
    pictures = (moved(second, bump(height, width, peak)), second)
    first, second = (
        np.clip(np.rint(clean + rng.normal(size=clean.shape)), 0, 255).astype(np.uint8) for clean in pictures
    )
    return first, second


def error(flow: np.ndarray, truth: np.ndarray) -> float:
    return float(np.hypot(*(flow - truth)).mean())


# --- properties ---


@pytest.mark.parametrize("shift", [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("mode", tvl1.MODES)
def test_a_constant_shift_is_recovered_within_five_percent(mode: str, shift: float) -> None:
    second = cat(128, 128)
    for right, down in [(shift, 0), (0, shift), (-shift, 0), (0, -shift)]:
        u, v = tvl1.flow(shifted(second, right, down), second, mode=mode)[:, 12:-12, 12:-12]
        assert abs(np.median(u) - right) <= 0.05 * shift
        assert abs(np.median(v) - down) <= 0.05 * shift
        assert abs(u.mean() - right) + abs(v.mean() - down) <= 0.1 * shift


@pytest.mark.parametrize(("mode", "preset"), SETTINGS)
def test_equal_pictures_have_no_flow(mode: str, preset: str) -> None:
    picture = noisy_pair(90, 75)[0]
    assert np.abs(tvl1.flow(picture, picture, mode=mode, preset=preset)).max() < 1e-5  # pixels: rounding


@pytest.mark.parametrize(("mode", "preset"), SETTINGS)
def test_swapped_pictures_negate_the_flow(mode: str, preset: str) -> None:
    second = cat(128, 128)
    first = shifted(second, 0.4, -0.3)
    there = tvl1.flow(first, second, mode=mode, preset=preset)
    back = tvl1.flow(second, first, mode=mode, preset=preset)
    assert np.abs(there + back)[:, 8:-8, 8:-8].mean() < 0.02


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_batch_is_its_single_pairs_bit_for_bit(workers: int) -> None:
    pairs = [noisy_pair(64, 80, peak, seed=number) for number, peak in enumerate((0.2, 1.0, 2.0, 0.0, 1.5))]
    first, second = (np.stack(side) for side in zip(*pairs, strict=True))
    for mode in tvl1.MODES:
        flows = tvl1.flow_batch(first, second, mode=mode, workers=workers)
        assert flows.dtype == np.float32
        for number, (one, other) in enumerate(pairs):
            np.testing.assert_array_equal(flows[number], tvl1.flow(one, other, mode=mode))


def test_an_empty_batch() -> None:
    empty = np.empty((0, 32, 32), np.uint8)
    assert tvl1.flow_batch(empty, empty).shape == (0, 2, 32, 32)


@pytest.mark.parametrize(("mode", "preset"), SETTINGS)
def test_constant_pictures_have_no_flow(mode: str, preset: str) -> None:
    dark, bright = np.zeros((40, 40), np.uint8), np.full((40, 40), 255, np.uint8)
    for first, second in [(dark, dark), (bright, bright), (dark, bright)]:
        assert (tvl1.flow(first, second, mode=mode, preset=preset) == 0).all()


@pytest.mark.parametrize(("mode", "preset"), SETTINGS)
def test_noise_without_motion_stays_far_below_it(mode: str, preset: str) -> None:
    first, second = noisy_pair(128, 128, peak=0.0)
    assert error(tvl1.flow(first, second, mode=mode, preset=preset), np.zeros((2, 128, 128))) < 0.05


def test_general_follows_motion_of_several_pixels() -> None:
    first, second = noisy_pair(160, 160, peak=6.0)
    truth = bump(160, 160, 6.0)
    for mode, bound in (("clg", 0.15), ("tvl1", 0.25)):
        assert error(tvl1.flow(first, second, mode=mode, preset="general"), truth) < bound


def test_every_kind_of_array_gives_the_same() -> None:
    first, second = noisy_pair(50, 61)
    expected = tvl1.flow(first, second)
    for kind in (np.int16, np.float32, np.float64):
        np.testing.assert_array_equal(tvl1.flow(first.astype(kind), second.astype(kind)), expected)
    both = np.zeros((100, 122, 2), np.uint8)  # strides of 244 and 2, and columns from right to left
    both[::2, ::-2, 0], both[::2, ::-2, 1] = first, second
    np.testing.assert_array_equal(tvl1.flow(both[::2, ::-2, 0], both[::2, ::-2, 1]), expected)
    np.testing.assert_array_equal(tvl1.flow(np.asfortranarray(first), second), expected)


def test_the_input_is_not_written_to_and_the_result_is_ones_own() -> None:
    first, second = noisy_pair(48, 48)
    initial = bump(48, 48)
    copies = [values.copy() for values in (first, second, initial)]
    for values in (first, second, initial):
        values.flags.writeable = False
    flow = tvl1.flow(first, second, initial=initial)
    kept = flow.copy()
    tvl1.flow(second, first)  # reuses the scratch memory
    np.testing.assert_array_equal(flow, kept)
    for values, copy in zip((first, second, initial), copies, strict=True):
        np.testing.assert_array_equal(values, copy)


# --- warm start and stop ---


@pytest.mark.parametrize("mode", tvl1.MODES)
def test_a_start_at_the_truth_is_at_least_as_good(mode: str) -> None:
    first, second = noisy_pair(128, 128, peak=2.0)
    truth = bump(128, 128, 2.0)
    cold = error(tvl1.flow(first, second, mode=mode), truth)
    assert error(tvl1.flow(first, second, mode=mode, initial=truth), truth) <= cold + 0.001


@pytest.mark.parametrize("mode", tvl1.MODES)
def test_a_start_nearby_reaches_what_a_cold_start_misses(mode: str) -> None:
    second = cat(128, 128)
    truth = bump(128, 128, 14.0)
    first = moved(second, truth)
    cold = error(tvl1.flow(first, second, mode=mode), truth)
    warm = error(tvl1.flow(first, second, mode=mode, initial=0.9 * truth), truth)
    assert warm < 0.7 * cold


def test_stop_ends_early_and_close_to_the_full_result(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = noisy_pair(128, 128, peak=1.0)
    iterate, ended = tvl1.Level.iterate, []

    def watched(self: tvl1.Level, steps: int, stop: float | None) -> bool:
        ended.append(iterate(self, steps, stop))
        return ended[-1]

    monkeypatch.setattr(tvl1.Level, "iterate", watched)
    full = tvl1.flow(first, second, preset="general")
    assert not any(ended)
    ended.clear()
    stopped = tvl1.flow(first, second, preset="general", stop=2e-3)
    assert any(ended)
    assert np.hypot(*(stopped - full)).mean() < 0.05
    np.testing.assert_array_equal(tvl1.flow(first, second, preset="general", stop=0.0), full)
    assert np.abs(tvl1.flow(second, second, stop=1e-3)).max() < 1e-5


# --- three implementations ---

SIZES = [(16, 16), (17, 31), (33, 16), (96, 120), (130, 271)]


@pytest.mark.parametrize(("mode", "preset"), SETTINGS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_numba_torch_and_the_reference_agree(height: int, width: int, mode: str, preset: str) -> None:
    first, second = noisy_pair(height, width)
    for initial in (None, bump(height, width, 1.5)):
        slow = reference.flow(first, second, mode=mode, preset=preset, initial=initial)
        fast = tvl1.flow(first, second, mode=mode, preset=preset, initial=initial)
        start = None if initial is None else torch.from_numpy(initial)[None]
        pictures = (torch.from_numpy(side)[None].float() for side in (first, second))
        batched = tvl1_torch.flow_batch(*pictures, mode=mode, preset=preset, initial=start)[0].numpy()
        # TV-L1's step is clamped and the rim's pixels count or not: there a last digit can decide.
        assert np.abs(fast - slow).max() < 0.01
        assert np.abs(batched - slow).max() < 0.01
        assert np.abs(fast - slow).mean() < 1e-4


def test_torch_takes_a_batch_of_arrays() -> None:
    pairs = [noisy_pair(40, 52, seed=number) for number in range(3)]
    first, second = (np.stack(side) for side in zip(*pairs, strict=True))
    flows = tvl1_torch.flow_arrays(first, second)
    assert flows.dtype == np.float32
    np.testing.assert_allclose(flows, tvl1.flow_batch(first, second), atol=1e-3)


def test_pictures_wider_than_the_first_compiled_size() -> None:
    first, second = noisy_pair(20, 300)
    np.testing.assert_allclose(tvl1.flow(first, second), reference.flow(first, second), atol=1e-3)


def test_the_primal_dual_operators_are_adjoint() -> None:
    rng = np.random.default_rng(0)
    w, p = rng.normal(size=(2, 9, 7)), rng.normal(size=(2, 2, 9, 7))
    p[:, 0, :, -1] = p[:, 1, -1, :] = 0
    assert np.isclose((reference.gradient(w) * p).sum(), -(w * reference.divergence(p)).sum())


# --- pictures ---


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 22), (31, 45)])
def test_a_pyramid_keeps_straight_lines(height: int, width: int) -> None:
    y, x = np.mgrid[:height, :width]
    fine, coarse = warp.pyramid((3 * x - 2 * y).astype(float), 2, warp.Arena())
    inner = coarse[warp.MARGIN : -warp.MARGIN, warp.MARGIN : -warp.MARGIN]
    assert inner.shape == ((height + 1) // 2, (width + 1) // 2)
    np.testing.assert_allclose(inner[1:-1, 1:-1], (3 * x - 2 * y)[::2, ::2][1:-1, 1:-1], atol=1e-4)
    assert (fine[:, 0] == fine[:, warp.MARGIN]).all()


# --- bad input ---


def test_bad_input_is_refused_with_what_came() -> None:
    good = np.zeros((2, 32, 32), np.float32)
    broken = good.copy()
    broken[1, 5, 5] = np.nan
    for first, second, message in [
        (good, good[:, :, :31], r"\(2, 32, 32\) and \(2, 32, 31\)"),
        (good[:, :15], good[:, :15], "32x15"),
        (good[:, :, :1], good[:, :, :1], "1x32"),
        (good, broken, "NaN"),
        (broken / 0.5, good, "NaN"),
    ]:
        with pytest.raises(BadInput, match=message):
            tvl1.flow_batch(first, second)
        with pytest.raises(BadInput, match=message):
            tvl1_torch.flow_batch(torch.from_numpy(first), torch.from_numpy(second))
    with pytest.raises(BadInput, match="initial flow"):
        tvl1.flow_batch(good, good, initial=np.zeros((1, 2, 32, 32), np.float32))
    with pytest.raises(BadInput, match="NaN"):
        tvl1.flow_batch(good, good, initial=np.full((2, 2, 32, 32), np.nan, np.float32))
    with pytest.raises(UnknownName, match="did you mean 'tvl1'"):
        tvl1.flow_batch(good, good, mode="tv-l1")
    with pytest.raises(UnknownName, match="did you mean 'general'"):
        tvl1.flow_batch(good, good, preset="generel")


@pytest.mark.parametrize("factor", [1e21, 1e37, np.inf, np.nan])
@pytest.mark.parametrize("mode", tvl1.MODES)
def test_huge_values_are_refused_before_they_overflow(mode: str, factor: float) -> None:
    picture = np.random.default_rng(0).uniform(1, 255, (32, 32))
    with pytest.raises(BadInput, match="huge"):
        tvl1.flow(picture * factor, picture, mode=mode)
    with pytest.raises(BadInput, match="huge"):
        tvl1.flow(picture, picture, mode=mode, initial=np.full((2, 32, 32), factor, np.float32))


def test_kernels_work_where_compiled_code_can_not_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from microexpr.kernels import warp

    asked = []
    njit = warp.numba.njit

    def refuse(**options):
        asked.append(options["cache"])
        if options["cache"]:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(warp.numba, "njit", refuse)
    assert warp.jit(lambda x: x + 1)(2) == 3
    assert asked == [True, False]


@pytest.mark.parametrize("wrong", [{"stop": -1.0}, {"stop": float("nan")}, {"workers": 0}])
def test_wrong_options_are_refused(wrong: dict) -> None:
    pictures = np.zeros((1, 16, 16), np.uint8)
    with pytest.raises(BadInput):
        tvl1.flow_batch(pictures, pictures, **wrong)


def test_an_initial_flow_far_outside_is_survived() -> None:
    first, second = noisy_pair(32, 32)
    for far in (1e3, -1e6, 1e12):
        assert np.isfinite(tvl1.flow(first, second, initial=np.full((2, 32, 32), far, np.float32))).all()
