"""LBP-TOP of clips: from frames to the feature, the temporal interpolation model, and what is no clip."""

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest

from microexpr import methods
from microexpr.errors import BadInput
from microexpr.methods import lbp_top, weights
from microexpr.methods._directions import square
from microexpr.methods._temporal import INTERPOLATIONS, brought_to, linear_weights, tim_weights
from microexpr.methods.lbp_top import FAST, LBPTOP, features, features_of_clip
from microexpr.methods.transformers import LBPTOPTransformer
from microexpr.types import Clip
from tests.clips import flow_clip
from tests.frame_clips import APEX, OFFSET, ONSET, frame_clip
from tests.reference import lbp as reference

SMALL = {"size": 32, "length": 8, "blocks": (3, 2, 1)}


def texture(seed=0, frames=8, height=32, width=32, levels=256):
    return np.random.default_rng(seed).integers(0, levels, (frames, height, width)).astype(np.uint8)


@dataclasses.dataclass
class Frames:
    """Given pictures under frame numbers from 11 on; remembers what was asked for."""

    pictures: np.ndarray

    def __post_init__(self):
        self.asked = []

    def __len__(self):
        return len(self.pictures)

    def read(self, number):
        self.asked.append(number)
        return self.pictures[number - ONSET]


def clip_of(pictures, **changes):
    """A clip of RGB pictures from onset to offset."""
    rgb = np.repeat(pictures[..., None], 3, axis=3)
    last = ONSET + len(rgb) - 1
    return dataclasses.replace(frame_clip(0, 0, "sub00"), frames=Frames(rgb), offset=last, **changes)


# --- The temporal interpolation model ---


@pytest.mark.parametrize("length", [2, 7, 10, 31])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 9, 20])
def test_tim_equals_the_model_of_the_paper(count, length):
    """Built from principal components of the frames and eigenvectors of the path's Laplacian."""
    frames = np.random.default_rng(count).uniform(0, 255, (count, 40))
    np.testing.assert_allclose(tim_weights(count, length) @ frames, reference.tim(frames, length), atol=1e-8)


@pytest.mark.parametrize("how", INTERPOLATIONS)
@pytest.mark.parametrize("count", [2, 3, 10, 64])
def test_given_frames_are_met(how, count):
    """3 moments between each two frames: every fourth one is a given frame. As many frames as asked for stay."""
    weights = INTERPOLATIONS[how](count, 4 * (count - 1) + 1)
    np.testing.assert_allclose(weights[::4], np.eye(count), atol=1e-12)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
    frames = texture(count, count, 5, 6)
    np.testing.assert_array_equal(brought_to(frames, count, how), frames)


def test_two_frames_by_hand():
    """Linear: 0 and 90 in thirds. By the model, a cosine from the one to the other: 90 (1 - cos(pi k / 3)) / 2."""
    frames = np.array([0, 90], np.uint8).reshape(2, 1, 1)
    assert brought_to(frames, 4, "linear").ravel().tolist() == [0, 30, 60, 90]
    assert tim_weights(2, 4)[:, 1] == pytest.approx((1 - np.cos(np.pi * (np.arange(4) / 3 / 2 + 0.25)) * 2**0.5) / 2)
    assert brought_to(frames, 4).ravel().tolist() == [0, 29, 61, 90]


def test_levels_stay_in_their_range():
    """The model overshoots beside a jump."""
    frames = np.array([0, 0, 0, 255, 255, 255], np.uint8).reshape(6, 1, 1)
    exact = tim_weights(6, 16) @ frames.reshape(6, 1)
    assert exact.min() < -5
    assert exact.max() > 260
    found = brought_to(frames, 16).ravel()
    np.testing.assert_array_equal(found, np.rint(exact.ravel()).clip(0, 255))


def test_frames_that_repeat_are_no_trouble():
    """A singular value decomposition has too few components then."""
    frames = texture(1, 3, 5, 6)
    repeated = frames[[0, 1, 1, 2]]
    np.testing.assert_array_equal(brought_to(repeated, 10)[[0, 3, 6, 9]], repeated)
    still = np.full((4, 5, 6), 93, np.uint8)
    np.testing.assert_array_equal(brought_to(still, 10), np.full((10, 5, 6), 93))


def test_tim_keeps_the_noise_of_frames_and_linear_interpolation_does_not():
    """The variance of what is interpolated from noise: why the model is the default."""
    for count in (30, 60, 100, 247):
        assert (tim_weights(count, 10) ** 2).sum(1).min() > 0.95**2
    assert (linear_weights(60, 10) ** 2).sum(1).min() < 0.52


# --- Features of frames ---


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"coding": "full", "neighbors": (4, 4, 4)},
        {"blocks": (2, 4, 2), "overlap": 0.0, "neighbors": (8, 6, 12), "radii": (1, 2.5, 2)},
        {"coding": "rotation-invariant", "overlap": 0.3},
    ],
)
def test_equals_the_slow_twin(settings):
    """Gray frames of the size and number that are asked for: nothing but codes and histograms."""
    frames = texture(2, levels=30)
    found = features(frames, **{**SMALL, **settings})
    how = {"overlap": 0.7, "neighbors": (8, 8, 8), "radii": (3, 3, 3), "coding": "uniform", "blocks": (3, 2, 1)}
    expected = reference.histograms(frames, **{**how, **settings})
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-6)


def test_frames_are_made_gray_averaged_and_interpolated():
    frames = np.random.default_rng(3).integers(0, 256, (5, 64, 96, 3)).astype(np.uint8)
    luma = np.rint(frames @ np.array([0.299, 0.587, 0.114])).clip(0, 255).astype(np.uint8)
    areas = luma.reshape(5, 32, 2, 32, 3).mean((2, 4))
    with_areas = np.rint(tim_weights(5, 8) @ np.rint(areas).reshape(5, -1)).clip(0, 255).reshape(8, 32, 32)
    found, expected = features(frames, **SMALL), features(with_areas.astype(np.uint8), **SMALL)
    without = features(luma[:, ::2, 1::3], **SMALL)
    # OpenCV rounds gray levels in its own way, which turns some codes.
    assert np.abs(found - expected).sum() < 0.1 * np.abs(found - without).sum()


def test_enlarged_frames_are_averaged_back():
    frames = texture(4)
    enlarged = frames.repeat(3, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(features(enlarged, **SMALL), features(frames, **SMALL))


def test_frames_may_come_one_by_one_and_in_color():
    frames = texture(5)
    expected = features(frames, **SMALL)
    color = np.repeat(frames[..., None], 3, axis=3)
    for same in (list(frames), iter(frames), color, frames.transpose(2, 1, 0).copy().transpose(2, 1, 0)):
        np.testing.assert_array_equal(features(same, **SMALL), expected)
    flipped = features(color[::-1], **SMALL)
    assert (flipped != expected).any()


@pytest.mark.parametrize("count", [2, 3])
def test_two_or_three_frames_are_interpolated(count):
    found = features(texture(6, count), **SMALL)
    np.testing.assert_array_equal(found, features(brought_to(texture(6, count), 8), **SMALL))


def test_constant_frames_are_one_bin():
    found = features(np.full((6, 40, 40, 3), 120, np.uint8)).reshape(64, 3, 59)
    assert (found[:, :, 57] == 1).all()
    assert np.count_nonzero(found) == 64 * 3


def test_a_still_clip_has_ties_along_time():
    """The same frame again and again: the neighbors before and after, bits 1 and 3, are level with the center."""
    frames = np.repeat(texture(7, 1), 8, axis=0)
    found = features(frames, **{**SMALL, "blocks": (1, 1, 1), "neighbors": (4, 4, 4), "coding": "full"}).reshape(3, 16)
    for histogram in found[1:]:
        assert np.flatnonzero(histogram).tolist() == [0b1010, 0b1011, 0b1110, 0b1111]
    assert (found[0] > 0).all()


def test_the_fast_settings():
    found = features(texture(8, 12, 50, 40), **FAST)
    assert found.shape == (25 * 3 * 16,) == (LBPTOP(**FAST).feature_count,)
    assert LBPTOP().feature_count == 8 * 8 * 3 * 59


@pytest.mark.parametrize(
    ("frames", "settings", "message"),
    [
        ([], {}, "at least 2 frames to interpolate between, got 0"),
        (texture(frames=1), {}, "at least 2 frames to interpolate between, got 1; give the clip from onset to offset"),
        (texture().astype(np.float32), {}, "uint8 frames, .* got frame 0 of type float32"),
        (texture()[..., None], {}, "uint8 frames, .* shape \\(32, 32, 1\\)"),
        (texture()[0], {}, "uint8 frames, .* shape \\(32,\\)"),
        ([texture()[0], texture()[0, :30]], {}, "frames of one size, got 32x32 and then 32x30 in frame 1"),
        (texture(width=8), {}, "at least 9x8 pixels for 3x2 blocks and radii of 3 and 3, got 8x32; use larger frames"),
        (texture(height=7), {}, "at least 9x8 pixels for 3x2 blocks and radii of 3 and 3, got 32x7"),
        (texture(height=7), {"radii": (2, 3, 3)}, "at least 7x8 pixels for 3x2 blocks and radii of 2 and 3, got 32x7"),
        (texture(), {"radii": (3, 3, 4)}, "at least 9 frames long, for the radius 4 .* 1 block, got one 8 frames long"),
        (texture(), {"radii": (20, 3, 3)}, "at least 43 wide"),
        (texture(), {"length": 1}, "length"),
        (texture(), {"size": 8}, "at least 9 wide"),
        (texture(), {"size": 0}, "size"),
        (texture(), {"interpolation": "cubic"}, "tim, linear"),
        (texture(), {"blocks": (5, 5)}, "blocks to be three"),
        (texture(), {"coding": "u2"}, "coding"),
        (texture(), {"neighbors": (8, 8, 32)}, "from 4 to 16"),
    ],
)
def test_wrong_frames_and_settings_are_told_in_a_line(frames, settings, message):
    with pytest.raises(BadInput, match=message) as caught:
        features(frames, **{**SMALL, **settings})
    assert "\n" not in str(caught.value)


# --- Clips and the method ---


def test_a_clip_is_read_from_onset_to_offset():
    pictures = texture(9)
    clip = clip_of(pictures)
    np.testing.assert_array_equal(features_of_clip(clip, **SMALL), features(pictures, **SMALL))
    assert clip.frames.asked == list(range(ONSET, ONSET + 8))
    np.testing.assert_array_equal(LBPTOP(**SMALL).represent(clip), features(pictures, **SMALL))


def test_a_clip_without_offset_ends_at_its_apex():
    clip = dataclasses.replace(frame_clip(1, 1, "sub00"), offset=None)
    expected = features([clip.frames.read(number) for number in range(ONSET, APEX + 1)], **SMALL)
    np.testing.assert_array_equal(features_of_clip(clip, **SMALL), expected)
    whole = features_of_clip(dataclasses.replace(clip, offset=OFFSET), **SMALL)
    assert (whole != expected).any()


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (flow_clip(0, 0, "sub00"), "a clip with frames, .* with a flow map alone; load a data set with frames"),
        (
            Clip(key="a/b/c", dataset="a", subject="a/b", emotion="negative", onset=0, apex=1, offset=2, fps=100.0),
            "a/b/c with neither frames nor flow",
        ),
        (clip_of(texture(), onset=None), "onset None"),
        (clip_of(texture(frames=1)), "a later offset or apex"),
        (dataclasses.replace(clip_of(texture()), apex=None, offset=None), "offset None"),
    ],
)
def test_a_clip_that_is_none_is_told_in_a_line(clip, message):
    with pytest.raises(BadInput, match=message) as caught:
        LBPTOP(**SMALL).represent(clip)
    assert "\n" not in str(caught.value)


def test_settings_reach_the_feature():
    clip = frame_clip(2, 2, "sub00")
    base = LBPTOP(**SMALL).represent(clip)
    for changed in (
        {"size": 40},
        {"length": 12},
        {"interpolation": "linear"},
        {"blocks": (2, 3, 1)},
        {"overlap": 0.2},
        {"neighbors": (12, 8, 8)},
        {"radii": (2, 3, 3)},
        {"coding": "full"},
    ):
        other = LBPTOP(**{**SMALL, **changed})
        found = other.represent(clip)
        assert found.shape == (other.feature_count,)
        assert found.shape != base.shape or (found != base).any(), changed


def test_the_machine_is_chosen_on_the_training_subjects():
    clips = [frame_clip(number, number % 3, f"sub{number // 3:02d}") for number in range(12)]
    method = LBPTOP(**SMALL)
    x = np.stack([method.represent(clip) for clip in clips])
    y, subjects = np.arange(12) % 3, [clip.subject for clip in clips]
    method.fit(x, y, subjects)
    assert method.c_ in lbp_top.GRID
    assert method.kernel_ in ("linear", "poly")
    fixed = LBPTOP(**SMALL, c=0.7, kernel="rbf").fit(x, y, subjects)
    assert (fixed.c_, fixed.kernel_) == (0.7, "rbf")


def test_radii_that_are_not_whole_go_through_a_file(tmp_path):
    method = LBPTOP(**SMALL, radii=(1.5, 2.0, 3.0), c=1.0, kernel="linear")
    x = np.stack([method.represent(frame_clip(number, number % 3, "sub00")) for number in range(6)])
    method.fit(x, np.arange(6) % 3, ["a"] * 6)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(weights.to_bytes(method, "lbp-top", ("negative", "positive", "surprise"), {}))
    loaded, _ = weights.load(file)
    assert loaded == method


def test_settings_come_from_text():
    method = methods.create("lbp-top", blocks="(5, 5, 2)", neighbors="[4, 4, 4]", coding="full", overlap="0")
    assert method == LBPTOP(blocks=(5, 5, 2), neighbors=(4, 4, 4), coding="full", overlap=0.0)
    assert methods.create("lbp-top", radii="(1.5, 2, 3)").radii == (1.5, 2.0, 3.0)
    assert methods.create("lbp-top", radii=[1, 2, 3]).radii == (1.0, 2.0, 3.0)
    for settings, message in (
        ({"blocks": "8"}, "blocks to be three"),
        ({"blocks": "(8, 8, 1.5)"}, "blocks"),
        ({"radii": "(1, 2, 'x')"}, "radii"),
        ({"length": "6"}, "at least 7 frames long"),
        ({"kernel": "sigmoid"}, "kernel"),
        ({"c": "-1"}, "c to be a number"),
        ({"size": "13"}, "at least 14 wide"),
    ):
        with pytest.raises(BadInput, match=message):
            methods.create("lbp-top", **settings)


def test_the_transformer_is_the_same_for_scikit_learn():
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    clips = [texture(seed, 2 + seed, 32 + seed, 40) for seed in range(6)]
    transformer = clone(LBPTOPTransformer(**SMALL))
    np.testing.assert_array_equal(transformer.transform(clips), [features(clip, **SMALL) for clip in clips])
    pipeline = make_pipeline(transformer, SVC(kernel="linear", C=1000.0)).fit(clips, [0, 1] * 3)
    assert pipeline.predict(clips).tolist() == [0, 1] * 3
    assert pipeline.set_params(lbptoptransformer__overlap=0.0)[0].transform(clips[:1]).shape == (1, 6 * 177)
    with pytest.raises(BadInput, match="at least one clip"):
        transformer.transform([])


def test_it_goes_to_a_worker_and_imports_little():
    method = LBPTOP(**FAST)
    assert pickle.loads(pickle.dumps(method)) == method
    code = "import sys, microexpr.methods.lbp_top; sys.exit('sklearn' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_frames_are_averaged_where_they_shrink_and_interpolated_where_they_grow():
    """By hand: of four pixels the mean; between 0 and 100, at -1/4, 1/4, 3/4 and 5/4 of the way, 0, 25, 75, 100."""
    frame = texture(10, 1, 6, 6)[0]
    assert np.abs(square(frame, 3) - frame.reshape(3, 2, 3, 2).mean((1, 3))).max() <= 0.5
    assert square(np.array([[0, 100]] * 2, np.uint8), 4).tolist() == [[0, 25, 75, 100]] * 4
    assert square(np.array([[0, 100]] * 9, np.uint8), 4).tolist() == [[0, 25, 75, 100]] * 4
