"""Bi-WOOF: what its feature does with a shift, a turn, a scale and a still face, and where its weights come from."""

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest

from microexpr import methods
from microexpr.errors import BadInput
from microexpr.methods import _svm, bi_woof, flow_svm
from microexpr.methods.bi_woof import BiWOOF, features, features_of_clip, local_histograms
from microexpr.methods.transformers import BiWOOFTransformer
from microexpr.motion.flow import centered, clip_flow, map_channels, resize_flow, strain
from microexpr.types import Clip, FlowMap
from tests.clips import flow_clip, flow_clips
from tests.reference import histogram as reference


def field(seed=0, height=30, width=37):
    return np.random.default_rng(seed).normal(size=(2, height, width)).astype(np.float32)


def rotated(flow, degrees):
    """Every vector turned, the pixels where they are; towards v, so orientations grow."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    u, v = flow.astype(float)
    return np.stack([cosine * u - sine * v, sine * u + cosine * v])


class Pictures:
    def __init__(self, *pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def read(self, number):
        return self.pictures[number]


def clip_with_frames(*pictures):
    return dataclasses.replace(flow_clip(0, 0, "sub00"), flow=None, frames=Pictures(*pictures), onset=0, apex=1)


def moved_pictures():
    generator = np.random.default_rng(0)
    coarse = np.kron(generator.integers(0, 256, (16, 16, 3)), np.ones((6, 6, 1)))
    smooth = sum(np.roll(coarse, (y, x), (0, 1)) for y in range(-3, 4) for x in range(-3, 4)) / 49
    second = smooth.copy()
    second[20:70, 20:70] = (smooth[20:70, 20:70] + smooth[20:70, 19:69]) / 2
    return smooth.astype(np.uint8), second.astype(np.uint8)


@pytest.mark.parametrize("blocks", [1, 3, 5])
@pytest.mark.parametrize("bins", [1, 8, 12])
@pytest.mark.parametrize("overlap", [0, 1, 3])
@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_equals_the_slow_twin(blocks, bins, overlap, pooling):
    flow = field(blocks + bins)
    found = features(flow, blocks=blocks, bins=bins, overlap=overlap, strain_pooling=pooling)
    np.testing.assert_allclose(found, reference.bi_woof(flow, blocks, bins, overlap, pooling), atol=2e-6)


def test_by_hand():
    """Two blocks of a row of four: u = 0 0 1 3 and v = 0 in both rows.

    Strain |u_x| is 0, 0.5, 1.5, 2 along the row: 1 in the left block and 7 in the right one, over two rows. The left
    block has no motion and gives zeros; the right one moves to the right, which is sector 4.
    """
    flow = np.zeros((2, 2, 4), np.float32)
    flow[0] = [0, 0, 1, 3]
    with pytest.raises(BadInput, match="at least 3x3"):
        features(flow, blocks=3)
    flow = np.concatenate([flow, flow], axis=1)  # 4 x 4: four blocks of 2 x 2
    found = features(flow, blocks=2, overlap=0).reshape(2, 2, 8)
    expected = np.zeros((2, 2, 8))
    expected[:, 1, 4] = np.sqrt(0.5)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # With an overlap of one pixel the left block sees the 1 of the third column, and strain 0, 0.5, 1.5 against
    # 0.5, 1.5, 2 in rows of three: 2 to 4.
    found = features(flow, blocks=2, overlap=1).reshape(2, 2, 8)
    expected[:, 0, 4], expected[:, 1, 4] = 2 / np.sqrt(40), 4 / np.sqrt(40)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("blocks", "bins"), [(5, 8), (5, 36), (1, 360), (28, 72)])
def test_a_shift_puts_all_of_its_mass_into_one_bin_however_fine(blocks, bins):
    """With strain given, since a shift has none of its own: every block has the same single number."""
    flow = np.broadcast_to(rotated(np.array([0.3, 0]).reshape(2, 1, 1), 33.3), (2, 56, 56)).astype(np.float32)
    found = features(
        flow, strain_map=np.ones((56, 56), np.float32), blocks=blocks, bins=bins, overlap=0, strain_pooling="mean"
    )
    found = found.reshape(blocks, blocks, bins)
    np.testing.assert_allclose(found[..., int(213.3 * bins / 360)], 1 / blocks, rtol=1e-6)
    assert np.count_nonzero(found) == blocks**2


@pytest.mark.parametrize("degrees", [-170, -100, -20, 0, 10, 80, 135, 170])
def test_a_shift_has_one_direction_everywhere_and_no_strain(degrees):
    flow = np.broadcast_to(rotated(np.array([1.0, 0]).reshape(2, 1, 1), degrees), (2, 28, 28))
    histograms = local_histograms(flow)
    sector = (degrees + 180) // 45
    np.testing.assert_allclose(histograms[..., sector], 1, atol=1e-12)
    assert np.delete(histograms, sector, axis=2).max() == 0
    assert not features(flow).any()


def test_a_shift_in_rounded_numbers_has_no_strain_either():
    """Resizing a constant field leaves differences in its last digits; they must not become a feature of length 1."""
    flow = resize_flow(np.full((2, 97, 61), 1.234567, np.float32), 224, 224)
    assert strain(flow).any()
    assert not features(flow).any()


def test_turning_every_vector_by_a_sector_shifts_the_local_histograms_around():
    flow = field(1)
    turned = local_histograms(rotated(flow, 45))
    np.testing.assert_allclose(turned, np.roll(local_histograms(flow), 1, axis=2), atol=1e-6)
    twelve = local_histograms(rotated(flow, -60), bins=12)
    np.testing.assert_allclose(twelve, np.roll(local_histograms(flow, bins=12), -2, axis=2), atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 3.0, 1e30])
def test_the_unit_of_the_flow_does_not_matter(scale):
    flow = field(2)
    np.testing.assert_allclose(features(flow * np.float32(scale)), features(flow), atol=1e-6)


def test_the_feature_is_not_negative_and_of_length_one():
    found = features(field(3))
    assert found.shape == (200,)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_a_still_block_gives_zeros_and_the_others_their_share():
    flow = field(4)
    flow[:, :10, :10] = 0
    histograms = local_histograms(flow, overlap=0)
    assert not histograms[0, 0].any()
    assert histograms[4, 4].sum() == pytest.approx(1)
    assert np.isfinite(features(flow, overlap=0)).all()


def test_a_still_field_gives_zeros():
    assert not features(np.zeros((2, 28, 28), np.float32)).any()


def test_given_strain_takes_the_place_of_that_of_the_field():
    flow, given = field(5), np.zeros((30, 37), np.float32)
    given[20, 20] = 7  # row 3, column 2 of blocks of 6 x 7; no overlap
    found = features(flow, strain_map=given, overlap=0).reshape(5, 5, 8)
    expected = local_histograms(flow, overlap=0)[3, 2]
    np.testing.assert_allclose(found[3, 2], expected / np.linalg.norm(expected), atol=1e-6)
    assert np.count_nonzero(found.any(2)) == 1


def test_pooling_by_mean_undoes_the_size_of_a_block():
    """28 pixels: the first block has 6, the last one 9. One and the same strain everywhere."""
    flow, given = field(6, 28, 28), np.ones((28, 28), np.float32)
    mean = features(flow, strain_map=given, strain_pooling="mean").reshape(25, 8).sum(1)
    summed = features(flow, strain_map=given).reshape(25, 8).sum(1)
    np.testing.assert_allclose(mean, mean[0], rtol=1e-5)
    assert summed[24] / summed[0] == pytest.approx(81 / 36, rel=1e-5)


@pytest.mark.parametrize(
    ("flow", "settings", "message"),
    [
        (np.full((2, 28, 28), np.nan, np.float32), {}, "finite flow"),
        (np.full((2, 28, 28), np.inf, np.float32), {}, "finite flow"),
        (np.zeros((28, 28, 2), np.float32), {}, '"2 h w"'),
        (np.zeros((28, 28), np.float32), {}, '"2 h w"'),
        (np.zeros((2, 4, 28), np.float32), {}, "at least 5x5 for 5x5 blocks, got 28x4; use fewer blocks"),
        (np.zeros((2, 28, 6), np.float32), {"blocks": 7}, "at least 7x7 for 7x7 blocks, got 6x28"),
        (np.zeros((2, 1, 28), np.float32), {"blocks": 1}, "at least 2x2"),
        (field(), {"blocks": 0}, "blocks"),
        (field(), {"overlap": -1}, "overlap"),
        (field(), {"bins": 0}, "bins"),
        (field(), {"strain_pooling": "max"}, "sum, mean"),
        (field(), {"strain_map": np.ones((30, 36), np.float32)}, "30x37"),
        (field(), {"strain_map": -np.ones((30, 37), np.float32)}, "not negative"),
    ],
)
def test_a_wrong_field_or_setting_is_told_in_a_line(flow, settings, message):
    with pytest.raises(BadInput, match=message) as caught:
        features(flow, **settings)
    assert "\n" not in str(caught.value)


def test_a_clip_with_frames_gives_the_feature_of_its_flow():
    clip = clip_with_frames(*moved_pictures())
    found = BiWOOF(size=64, flow_mode="clg").represent(clip)
    np.testing.assert_array_equal(found, features(clip_flow(clip, size=64, mode="clg")))
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_a_clip_with_frames_can_take_the_form_of_the_published_maps():
    clip = clip_with_frames(*moved_pictures())
    as_map = dataclasses.replace(clip, frames=None, flow=FlowMap(map_channels(clip, mode="clg")))
    published = BiWOOF(flow_mode="clg", representation="published")
    np.testing.assert_array_equal(published.represent(clip), published.represent(as_map))
    assert np.abs(published.represent(clip) - BiWOOF(flow_mode="clg").represent(clip)).max() > 0.01


def test_settings_reach_the_feature():
    clip, usual = clip_with_frames(*moved_pictures()), {"size": 64, "flow_mode": "clg"}
    base = BiWOOF(**usual).represent(clip)
    changes = [{"blocks": 4}, {"bins": 6}, {"overlap": 0}, {"strain_pooling": "mean"}]
    for changed in [*changes, {"size": 56}, {"flow_mode": "tvl1"}, {"representation": "published"}]:
        method = BiWOOF(**{**usual, **changed})
        found = method.represent(clip)
        assert found.shape == (method.feature_count,)
        assert found.shape != base.shape or np.abs(found - base).max() > 1e-4, changed
        np.testing.assert_array_equal(found, features_of_clip(clip, **{**usual, **changed}))


def test_constant_frames_give_zeros():
    still = np.full((96, 96, 3), 128, np.uint8)
    for representation in bi_woof.REPRESENTATIONS:
        assert not features_of_clip(clip_with_frames(still, still), representation=representation).any()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_clips_have_a_feature(length):
    """Two frames are read, onset and apex; where they are one and the same nothing moves."""
    clip = clip_with_frames(*(*moved_pictures(), np.zeros((96, 96, 3), np.uint8))[:length])
    clip = dataclasses.replace(clip, apex=min(1, length - 1), offset=length - 1)
    found = features_of_clip(clip, size=64)
    if length == 1:
        assert not found.any()
    else:
        np.testing.assert_array_equal(found, features_of_clip(clip_with_frames(*moved_pictures()), size=64))
        assert found.any()


@pytest.mark.parametrize(("lacking", "word"), [({"apex": None}, "apex"), ({"onset": None}, "onset")])
def test_a_clip_without_its_onset_or_apex_is_refused(lacking, word):
    clip = dataclasses.replace(clip_with_frames(*moved_pictures()), **lacking)
    with pytest.raises(BadInput, match=f"without an {word}"):
        features_of_clip(clip)


def test_frames_smaller_than_the_grid_of_blocks_are_enlarged_and_maps_refused():
    first, second = (picture[:12, :12] for picture in moved_pictures())
    method = BiWOOF(blocks=30, size=64)
    assert method.represent(clip_with_frames(first, second)).shape == (30 * 30 * 8,)
    with pytest.raises(BadInput, match="at least 30x30 for 30x30 blocks, got 28x28") as caught:
        method.represent(flow_clip(0, 0, "sub00"))
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="size"):
        BiWOOF(blocks=30, size=29)


def test_a_published_map_weights_its_blocks_by_its_own_strain():
    clip = flow_clip(3, 1, "sub00")
    expected = features(centered(clip.flow), strain_map=clip.flow.channels[2])
    np.testing.assert_array_equal(features_of_clip(clip), expected)
    np.testing.assert_array_equal(features_of_clip(clip, size=64, representation="published"), expected)
    assert np.abs(expected - features(centered(clip.flow))).max() > 0.01


def test_a_clip_without_flow_is_refused():
    bare = Clip(key="a/b/c", dataset="a", subject="a/b", emotion="negative", onset=0, apex=1, offset=2, fps=100.0)
    with pytest.raises(BadInput, match="neither"):
        features_of_clip(bare)


def test_c_is_chosen_where_it_is_not_set():
    clips = flow_clips(4, 3)
    method = BiWOOF()
    x = np.stack([method.represent(clip) for clip in clips])
    y, subjects = np.arange(12) % 3, [clip.subject for clip in clips]
    assert method.fit(x, y, subjects).c_ in bi_woof.GRID
    assert BiWOOF(c=0.7).fit(x, y, subjects).c_ == 0.7


def test_weights_of_other_settings_are_refused():
    x, y = np.random.default_rng(0).random((9, 200)), np.arange(9) % 3
    weights = BiWOOF(c=1.0).fit(x, y, ["a"] * 9).weights()
    with pytest.raises(BadInput, match="100 features"):
        BiWOOF(bins=4).load_weights(weights)
    with pytest.raises(BadInput, match="2 classes"):
        BiWOOF(classes=2).load_weights(weights)


@pytest.mark.parametrize("name", ["bi-woof", "flow-svm"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda given: given.pop("intercepts"),
        lambda given: given.update(more=np.zeros(2)),
        lambda given: given.update(coefficients=given["coefficients"][:, :-1]),
        lambda given: given.update(coefficients=given["coefficients"][0]),
        lambda given: given.update(coefficients=given["coefficients"][:2]),
        lambda given: given.update(intercepts=given["intercepts"][:2]),
        lambda given: given.update(classes=given["classes"] - 1),
        lambda given: given.update(classes=given["classes"][:0]),
        lambda given: given.update(classes=np.array(1)),
    ],
)
def test_arrays_that_are_no_machine_are_refused(name, damage):
    method = methods.create(name, c=1.0)
    x = np.random.default_rng(0).random((9, method.feature_count))
    given = method.fit(x, np.arange(9) % 3, ["a"] * 9).weights()
    methods.create(name).load_weights(given)
    damage(given)
    with pytest.raises(
        BadInput, match=f"the weights of {type(method).__name__} for 3 classes and {x.shape[1]} features"
    ):
        methods.create(name).load_weights(given)


@pytest.mark.parametrize(("name", "grid"), [("bi-woof", bi_woof.GRID), ("flow-svm", flow_svm.GRID)])
def test_the_shared_machine_takes_the_settings_of_its_method(name, grid, monkeypatch):
    """A linear one, its C from the method's own grid or as it is set; unknown settings of a machine are told."""
    asked = []
    monkeypatch.setattr(_svm, "choose", lambda *given: asked.append(given[2:]) or (0.25, "linear"))
    x, y, subjects = np.random.default_rng(0).random((9, 12)), np.arange(9) % 3, ["a"] * 9
    method = methods.create(name).fit(x, y, subjects)
    assert (asked, method.c_) == ([(subjects, grid, ("linear",))], 0.25)
    machine = _svm.train(x, y, 0.25)
    np.testing.assert_array_equal(method.weights()["coefficients"], machine.coefficients)
    np.testing.assert_array_equal(method.predict_proba(x), _svm.decide(machine, x, method.classes))
    methods.create(name, c=2.0).fit(x, y, subjects)
    assert asked[1:] == [(subjects, (2.0,), ("linear",))]
    with pytest.raises(BadInput, match="c to be a number"):
        methods.create(name, c=0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": "0"}, "blocks"),
        ({"bins": "2.5"}, "bins"),
        ({"overlap": "-1"}, "overlap"),
        ({"strain_pooling": "max"}, "sum, mean"),
        ({"size": "8"}, "size"),
        ({"flow_mode": "farneback"}, "flow_mode"),
        ({"representation": "color"}, "pixels, published"),
        ({"c": "0"}, "c to be a number"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_runs(settings, message):
    with pytest.raises(BadInput, match=message):
        methods.create("bi-woof", **settings)


def test_the_transformer_gives_the_same_features():
    from sklearn.base import clone

    flows = [field(7), field(8, 40, 41)]
    transformer = clone(BiWOOFTransformer(bins=6, strain_pooling="mean"))
    found = transformer.fit_transform(flows)
    expected = [features(flow, bins=6, strain_pooling="mean") for flow in flows]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(transformer)).transform(flows), expected)
    with pytest.raises(BadInput, match="at least one"):
        transformer.transform([])


def test_the_transformer_works_in_a_search():
    """Right or left in all of a field: found by its histograms, whatever the number of bins."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    flows, labels = np.stack([field(seed, 20, 20) for seed in range(12)]), np.arange(12) % 2
    flows[:, 0] = np.abs(flows[:, 0]) * (1 - 2 * labels)[:, None, None]
    search = GridSearchCV(
        make_pipeline(BiWOOFTransformer(), LinearSVC()), {"biwooftransformer__bins": [2, 4, 8]}, cv=3
    ).fit(flows, labels)
    assert search.best_params_["biwooftransformer__bins"] in (4, 8)  # two halves of the circle: up and down
    assert search.best_score_ == 1
    assert (search.predict(flows) == labels).all()


def test_the_method_itself_leaves_scikit_learn_alone():
    code = "import sys, microexpr.methods.bi_woof; sys.exit('sklearn' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
