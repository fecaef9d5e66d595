"""MDMO: main directions by hand, shifts, drift of the head, averages over the frames, clips and published maps."""

import dataclasses
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from microexpr import methods
from microexpr.datasets import synthetic
from microexpr.errors import BadInput
from microexpr.faces.landmarks import LEFT_EYE, RIGHT_EYE, LandmarkFile
from microexpr.faces.regions import MDMO, MDMO_REGIONS, map_landmarks, mean_landmarks
from microexpr.methods import _svm, mdmo
from microexpr.methods._directions import STABLE, directions_of_clip, main_directions, regions_of, spread, without_drift
from microexpr.methods.mdmo import averaged, directions, features, features_of_clip, weighted
from microexpr.methods.transformers import MDMOTransformer
from microexpr.types import Clip
from tests.clips import flow_clip, flow_clips
from tests.frame_clips import frame_clip


def field(seed=0, height=64, width=64):
    return np.random.default_rng(seed).normal(size=(2, height, width)).astype(np.float32)


def shift(u, v, height=64, width=64):
    return np.broadcast_to(np.array([u, v], np.float32)[:, None, None], (2, height, width))


def polar(*pairs):
    """Vectors of magnitude and degrees as a field of one row."""
    rho, degrees = np.array(pairs, float).T
    return np.stack([rho * np.cos(np.radians(degrees)), rho * np.sin(np.radians(degrees))])[:, None].astype(np.float32)


def test_main_directions_by_hand():
    """Region 1 has three pixels in the sector around 0 (-20, 10, 22) and two elsewhere; region 2 two against one.

    Region 1: mean magnitude (1 + 2 + 6) / 3 = 3, mean angle 4 degrees. Region 2: sector from 157.5 to 202.5 with 160
    and -170, which is 190: magnitude 2, angle 175.
    """
    flow = polar((1, -20), (2, 10), (6, 22), (9, 40), (9, 90), (3, 160), (1, -170), (8, 80), (5, 5))
    regions = np.array([[1, 1, 1, 1, 1, 2, 2, 2, 0]])
    found = main_directions(flow, regions, 3)
    np.testing.assert_allclose(found[:2, 0], [3, 2], rtol=1e-6)
    np.testing.assert_allclose(np.degrees(found[:2, 1]), [4, 175], rtol=1e-5)
    assert not found[2].any()  # no pixels


@pytest.mark.parametrize(("degrees", "mean"), [((-10, 4), -3), ((172, -178), 177), ((-172, 178), -177), ((90, 80), 85)])
def test_angles_are_averaged_rightly_across_the_wrap(degrees, mean):
    flow = polar(*[(1.0, angle) for angle in degrees])
    found = main_directions(flow, np.ones((1, 2), int), 1)
    assert math.degrees(found[0, 1]) == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize("sector", range(8))
def test_sectors_are_centered_on_multiples_of_45_degrees(sector):
    """22 degrees to either side are inside: one sector of four, against three just outside of it."""
    middle = 45 * sector
    flow = polar(*[(1.0, middle + angle) for angle in (-22, -10, 10, 22, 23, 24, 25)])
    theta = math.degrees(main_directions(flow, np.ones((1, 7), int), 1)[0, 1])
    assert (theta - middle + 180) % 360 - 180 == pytest.approx(0, abs=1e-4)


def test_of_equal_sectors_the_first_is_taken():
    found = main_directions(polar((1, 200), (2, 100)), np.ones((1, 2), int), 1)
    np.testing.assert_allclose([found[0, 0], math.degrees(found[0, 1])], [2, 100], rtol=1e-6)


def test_a_pixel_that_keeps_still_points_nowhere():
    """Five still pixels would be five votes for 0 degrees."""
    flow = polar(*[(0.0, 0)] * 5, (2, 91), (2, 89))
    flow[:, 0, :5] = 0
    found = main_directions(flow, np.ones((1, 7), int), 1)
    np.testing.assert_allclose(found, [[2, math.pi / 2]], rtol=1e-6)
    assert not main_directions(flow[:, :, :5], np.ones((1, 5), int), 1).any()


@pytest.mark.parametrize("degrees", [-179, -100, -22.5, -1, 0, 45, 89, 135, 180])
def test_a_shift_is_that_shift_in_all_regions(degrees):
    u, v = 0.7 * math.cos(math.radians(degrees)), 0.7 * math.sin(math.radians(degrees))
    flows = np.stack([shift(u, v), shift(2 * u, 2 * v)])
    found = averaged(directions(flows, drift="none"))
    assert found.shape == (36, 2)
    np.testing.assert_allclose(found[:, 0], 1.05, rtol=1e-6)
    np.testing.assert_allclose(np.exp(1j * found[:, 1]), np.exp(1j * math.radians(degrees)), atol=1e-6)
    feature = features(flows, drift="none")
    np.testing.assert_allclose(feature[:36], 0.8, rtol=1e-6)
    np.testing.assert_allclose(np.abs(feature[36:]), 0.2 * math.radians(abs(degrees)), atol=1e-6)


@pytest.mark.parametrize("drift", ["translation", "affine"])
@pytest.mark.parametrize("amount", [1e-3, 1.2345679, 1e4])
def test_a_shift_is_nothing_after_compensation(drift, amount):
    flows = np.stack([shift(amount, -0.3 * amount, 90, 80), shift(-amount, amount, 90, 80)])
    assert not directions(flows, drift=drift).any()
    assert not features(flows, drift=drift).any()


def head(height=80, width=80):
    """A head that shifts, turns by 0.6 degrees, comes nearer by 1% and shears: an affine field."""
    y, x = np.mgrid[:height, :width]
    return np.stack([0.4 + 0.01 * x - 0.011 * y, -0.7 + 0.01 * x + 0.012 * y]).astype(np.float32)


def test_a_turn_of_the_head_needs_the_affine_compensation():
    assert directions(head(), drift="none")[..., 0].max() > 0.5
    assert directions(head(), drift="translation")[..., 0].max() > 0.1
    assert not directions(head(), drift="affine").any()


def test_what_an_expression_adds_to_the_motion_of_the_head_is_left():
    """Away from the jaw and the tip of the nose."""
    points = mean_landmarks(80)
    moved = np.zeros((2, 80, 80), np.float32)
    moved[1, 4:14, 10:70] = -0.5  # brows up
    expected = directions(moved, drift="none")
    np.testing.assert_allclose(directions(moved + head(), drift="affine")[..., 0], expected[..., 0], atol=1e-5)
    left = without_drift(moved + head(), points, "affine")
    np.testing.assert_allclose(left, moved, atol=1e-5)
    rows, columns = np.rint(points[list(STABLE)]).astype(int).T[::-1]
    assert not moved[:, rows, columns].any()


def test_stable_landmarks_outside_the_field_are_left_out():
    points = mean_landmarks(80) + np.array([0, 30])  # the lower jaw is cut off
    stable = points[list(STABLE)]
    assert 3 < (stable[:, 1] < 79.5).sum() < len(STABLE)
    assert not without_drift(head(), points, "affine").any()


def test_stable_landmarks_on_the_rim_of_the_field_count():
    """Pixels reach half a pixel beyond their middles: there the field goes on as it is."""
    points = mean_landmarks(80)
    points[0], points[16] = (-0.4, 30.2), (79.45, 79.3)
    assert not without_drift(head(), points, "affine").any()
    bent = head()
    bent[:, 30:32, 0] += 0.5
    assert np.abs(without_drift(bent, points, "affine")[:, 50, 50]).max() > 0.01


def test_a_drift_without_landmarks_to_go_by_is_told():
    points = mean_landmarks(80) * 3 - 80  # of the stable points only the nose is inside
    with pytest.raises(BadInput, match="for drift affine, got 1 of 13; set drift to none"):
        features(head(), landmarks=points, drift="affine")
    assert not directions(shift(1, 1, 80, 80), landmarks=points, drift="translation").any()
    with pytest.raises(BadInput, match="for drift translation, got 0 of 13"):
        features(head(), landmarks=points - [0, 80], drift="translation")


def test_frames_are_averaged_as_vectors():
    """By hand: (3, 0) and (0, 4) have the mean (1.5, 2): length 2.5. Opposite vectors have none."""
    found = averaged(np.array([[[3, 0], [1, 0.5]], [[4, math.pi / 2], [1, 0.5 - math.pi]]]))
    np.testing.assert_allclose(found[0], [2.5, math.atan2(2, 1.5)])
    assert not found[1].any()
    # The mean of the angles 170 and -170 would be 0.
    found = averaged(np.array([[[1, math.radians(170)]], [[1, math.radians(-170)]]]))
    assert abs(math.degrees(found[0, 1])) == pytest.approx(180)


def test_the_order_of_the_frames_does_not_matter():
    flows = np.stack([field(seed) for seed in range(5)])
    np.testing.assert_allclose(features(flows[[3, 0, 4, 2, 1]]), features(flows), atol=1e-6)
    assert np.abs(features(flows[:4]) - features(flows)).max() > 0.01


def test_weights_by_hand():
    found = weighted(np.array([[2, 1.0], [0.5, -2.0]]), beta=0.7)
    np.testing.assert_allclose(found, [0.7, 0.175, 0.3, -0.6], rtol=1e-6)
    np.testing.assert_allclose(weighted(np.array([[2, 1.0]]), 0.5, largest=4.0), [0.25, 0.5])
    assert not weighted(np.zeros((36, 2))).any()


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 5.0, 1e20])
def test_the_unit_of_the_flow_does_not_matter(scale):
    np.testing.assert_allclose(features(field(1) * np.float32(scale)), features(field(1)), atol=2e-5)


def test_a_mirrored_face_has_mirrored_regions():
    """But for pixels on the midline, which have one owner: a smooth field hides them."""
    y, x = np.mgrid[:224, :224] / 224
    flow = np.stack([np.cos(3 * x + 2 * y), np.sin(5 * x - 2 * y)]).astype(np.float32)
    mirrored = flow[:, :, ::-1] * np.array([-1, 1], np.float32)[:, None, None]
    one, other = directions(flow, drift="none")[0], directions(mirrored, drift="none")[0]
    half = len(MDMO)
    swapped = np.concatenate([other[half:], other[:half]])
    mirrored_angles = np.exp(1j * (math.pi - swapped[:, 1]))
    agree = np.abs(np.exp(1j * one[:, 1]) - mirrored_angles) < 0.05  # two sectors may be almost as frequent
    assert agree.mean() > 0.85
    np.testing.assert_allclose(one[agree, 0], swapped[agree, 0], atol=0.03)


def test_a_region_moves_where_it_lies():
    """Each region of the mean face by itself, of a face of one's own as well."""
    for points in (None, mean_landmarks(100) * 0.8 + [5, 12]):
        labels = regions_of(mean_landmarks(100) if points is None else points, (100, 100))
        for number in (1, 12, 20, 36):
            flow = np.zeros((2, 100, 100), np.float32)
            flow[0, labels == number] = -1
            found = directions(flow, landmarks=points, drift="none")[0]
            np.testing.assert_allclose(found[number - 1], [1, math.pi], rtol=1e-6)
            assert np.count_nonzero(found[:, 0]) == 1


def test_66_landmarks_are_as_good_as_68():
    points = mean_landmarks(64)
    np.testing.assert_array_equal(
        features(field(), landmarks=np.delete(points, [60, 64], axis=0)), features(field(), landmarks=points)
    )
    np.testing.assert_array_equal(features(field()), features(field(), landmarks=points))


def test_landmarks_of_a_file(tmp_path):
    points = mean_landmarks(64)
    np.savez(tmp_path / "face.npz", landmarks=np.stack([points, np.full((68, 2), np.nan)]))
    (read,) = LandmarkFile(tmp_path / "face.npz").landmarks(0)
    np.testing.assert_array_equal(features(field(), landmarks=read), features(field()))


def test_a_region_that_the_picture_cuts_off_gives_zeros():
    points = mean_landmarks(100) - [0, 30]  # the forehead is above the picture
    found = directions(field(0, 100, 100), landmarks=points, drift="none")[0]
    assert not found[0].any()
    assert np.count_nonzero(found[:, 0]) > 25
    assert np.isfinite(features(field(0, 100, 100), landmarks=points)).all()


@pytest.mark.parametrize(
    ("flows", "settings", "message"),
    [
        (np.full((2, 64, 64), np.nan, np.float32), {}, "finite flow"),
        (np.zeros((64, 64), np.float32), {}, '"frame 2 h w"'),
        (np.zeros((5, 3, 64, 64), np.float32), {}, '"frame 2 h w"'),
        (np.zeros((0, 2, 64, 64), np.float32), {}, '"frame 2 h w"'),
        (np.zeros((2, 12, 12), np.float32), {}, "at least 8 pixels between its eyes, got 4.8 in fields of 12x12"),
        (field(), {"landmarks": np.zeros((0, 2))}, "66 or 68 landmarks in iBUG's layout, got 0"),
        (field(), {"landmarks": np.zeros((49, 2))}, "66 or 68 landmarks"),
        (field(), {"landmarks": np.zeros((68, 2))}, "landmarks of a face"),
        (field(), {"landmarks": np.full((68, 2), np.nan)}, "landmarks of a face"),
        (field(), {"landmarks": np.zeros((68, 3))}, r'landmarks "points 2", .* shape \(68, 3\)'),
        (field(), {"landmarks": np.zeros((1, 68, 2))}, r'landmarks "points 2", .* shape \(1, 68, 2\)'),
        (field(), {"landmarks": np.zeros(136)}, r'landmarks "points 2", .* shape \(136,\)'),
        (field(), {"drift": "rigid"}, "affine, translation, none"),
        (field(), {"beta": 1.5}, "beta"),
    ],
)
def test_a_wrong_field_or_setting_is_told_in_a_line(flows, settings, message):
    with pytest.raises(BadInput, match=message) as caught:
        features(flows, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("onset", "last", "count", "expected"),
    [(10, 14, 4, [11, 12, 13, 14]), (10, 14, 2, [12, 14]), (10, 20, 3, [14, 17, 20]), (10, 12, 4, [11, 11, 12, 12])],
)
def test_frames_are_spread_evenly(onset, last, count, expected):
    assert spread(onset, last, count) == expected


def test_a_clip_gives_the_feature_of_its_flows():
    """From the onset to each later frame, by the mean face; the frames are square and have the size asked for."""
    import cv2

    from microexpr.motion.flow import flow_between

    clip = frame_clip(1, 1, "sub00")
    grays = [cv2.cvtColor(clip.frames.read(number), cv2.COLOR_RGB2GRAY) for number in range(11, 17)]
    flows = np.stack([flow_between(grays[0], gray, mode="clg") for gray in grays[1:]])
    np.testing.assert_array_equal(features_of_clip(clip, size=48), features(flows))
    np.testing.assert_array_equal(features_of_clip(clip, size=48, frames=2), features(flows[[2, 4]]))
    np.testing.assert_array_equal(features_of_clip(clip, size=48, frames=99), features(flows))
    no_offset = dataclasses.replace(clip, offset=None)  # up to the apex, 14
    np.testing.assert_array_equal(features_of_clip(no_offset, size=48), features(flows[:3]))
    assert np.abs(features(flows) - features(flows, drift="none")).max() > 0.01
    np.testing.assert_array_equal(features_of_clip(clip, size=48, drift="none"), features(flows, drift="none"))


def test_settings_reach_the_feature():
    clip = frame_clip(2, 2, "sub00")
    base = mdmo.MDMO(size=48)
    np.testing.assert_array_equal(base.represent(clip), features_of_clip(clip, size=48))
    for changed in ({"beta": 0.5}, {"drift": "none"}, {"frames": 2}, {"size": 56}, {"flow_mode": "tvl1"}):
        found = mdmo.MDMO(**{"size": 48, **changed}).represent(clip)
        assert np.abs(found - base.represent(clip)).max() > 1e-3, changed
        np.testing.assert_array_equal(found, features_of_clip(clip, **{"size": 48, **changed}))


def test_rendered_expressions_move_the_regions_they_should():
    """Brows in a surprise, mouth and cheeks in a smile; a moving head is taken off."""
    names = list(MDMO)
    clips = {clip.emotion: clip for clip in synthetic.read(subjects=1, clips_per_subject=3)}
    for emotion, strongest in (("surprise", "inner forehead"), ("happiness", "lower cheek, inside")):
        clip = clips[emotion]
        found = averaged(directions_of_clip(clip, size=224, flow_mode="clg", frames=3, drift="affine"))
        rho = found[:, 0].reshape(2, -1).max(axis=0)
        assert rho[names.index(strongest)] > 0.5 * rho.max(), emotion
        assert rho[names.index("temple" if emotion == "surprise" else "chin")] < 0.3 * rho.max(), emotion
        upward = found[[names.index(strongest), names.index(strongest) + 18], 1]
        assert (np.sin(upward) < 0).all(), emotion


@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_clips(length):
    clip = dataclasses.replace(frame_clip(0, 0, "sub00"), offset=10 + length)
    if length == 1:
        with pytest.raises(BadInput, match=r"clip with an onset and a later offset or apex, got .* offset 11"):
            features_of_clip(clip, size=48)
    else:
        found = directions_of_clip(clip, size=48, flow_mode="clg", frames=0, drift="affine")
        assert found.shape == (length - 1, 36, 2)


@pytest.mark.parametrize(
    "missing", [{"onset": None}, {"offset": None, "apex": None}, {"offset": 9}, {"offset": None, "apex": 11}]
)
def test_a_clip_without_ends_is_told(missing):
    with pytest.raises(BadInput, match="onset and a later offset or apex"):
        features_of_clip(dataclasses.replace(frame_clip(0, 0, "sub00"), **missing))


@pytest.mark.parametrize("settings", [{"frames": -1}, {"size": 31}, {"size": -48}])
@pytest.mark.parametrize("clip", [frame_clip(0, 0, "sub00"), flow_clip(0, 0, "sub00")])
def test_a_wrong_setting_of_a_clip_is_told(clip, settings):
    with pytest.raises(BadInput, match=f"{next(iter(settings))} to be a number of at least"):
        features_of_clip(clip, **settings)


class Plain:
    """Frames of one gray level, and of any size."""

    def __init__(self, *shape):
        self.shape = shape

    def __len__(self):
        return 6

    def read(self, number):
        return np.full((*self.shape, 3), 128, np.uint8)


def test_constant_frames_give_zeros():
    clip = dataclasses.replace(frame_clip(0, 0, "sub00"), frames=Plain(64, 64))
    for drift in ("affine", "translation", "none"):
        assert not features_of_clip(clip, size=64, drift=drift).any()


def test_frames_that_are_too_small_are_told():
    clip = dataclasses.replace(frame_clip(0, 0, "sub00"), frames=Plain(15, 40))
    with pytest.raises(BadInput, match="at least 16x16 pixels, got 40x15"):
        features_of_clip(clip)


def test_a_clip_with_nothing_to_see_is_refused():
    bare = Clip(key="a/b/c", dataset="a", subject="a/b", emotion="negative", onset=0, apex=1, offset=2, fps=100.0)
    with pytest.raises(BadInput, match="neither"):
        features_of_clip(bare)


def test_a_published_map_is_seen_where_it_shows_the_face():
    """Its bump, rows and columns 4 to 11 of 28, has its middle at (0.35, 0.29) of the aligned face: under an eye."""
    clip = flow_clip(3, 0, "sub00")
    found = directions_of_clip(clip, size=112, flow_mode="clg", frames=0, drift="none")
    assert found.shape == (1, 36, 2)
    assert (found[0, :, 0] > 0).all()
    names = list(MDMO)
    assert int(found[0, :, 0].argmax()) == names.index("lower lid, inside")
    assert found[0, 18:, 0].max() < 0.5 * found[0, :, 0].max()  # the right half
    affine = directions_of_clip(clip, size=112, flow_mode="clg", frames=0, drift="affine")
    np.testing.assert_array_equal(affine, found)
    np.testing.assert_array_equal(features_of_clip(clip, size=112), weighted(averaged(found)))


def test_every_region_has_pixels_on_a_published_map():
    """The eyes are 0.58 of the width apart there, at a quarter of the height."""
    eyes = np.stack([map_landmarks(100)[eye].mean(axis=0) for eye in (LEFT_EYE, RIGHT_EYE)])
    np.testing.assert_allclose(eyes, [[20.5, 24.5], [78.5, 24.5]], atol=0.6)
    for size in (32, 224):
        counts = np.bincount(regions_of(map_landmarks(size), (size, size)).ravel(), minlength=37)[1:]
        assert len(counts) == MDMO_REGIONS
        assert counts.min() > size * size / 6000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": "2"}, "beta"),
        ({"drift": "rigid"}, "affine, translation, none"),
        ({"frames": "-1"}, "frames"),
        ({"size": "31"}, "size"),
        ({"flow_mode": "farneback"}, "flow_mode"),
        ({"c": "0"}, "c to be a number"),
        ({"kernel": "cubic"}, "chosen, linear, poly, rbf"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_runs(settings, message):
    with pytest.raises(BadInput, match=message):
        methods.create("mdmo", **settings)


def test_the_machine_is_the_shared_one(monkeypatch):
    asked = []
    monkeypatch.setattr(_svm, "choose", lambda x, y, subjects, *rest: asked.append(rest) or (2.0, "poly"))
    x, y, subjects = np.random.default_rng(0).random((9, 72)), np.arange(9) % 3, ["a"] * 9
    method = mdmo.MDMO().fit(x, y, subjects)
    assert (method.c_, method.kernel_, method.machine_.kernel) == (2.0, "poly", "poly")
    assert asked == [(mdmo.GRID, _svm.KERNELS)]


def test_one_class_only_and_unseen_clips():
    """A fold with one class answers it; a fold with three tells clips of other subjects apart."""
    method = mdmo.MDMO(size=56)
    x = np.stack([method.represent(clip) for clip in flow_clips(6, 3)])
    labels, subjects = np.arange(18) % 3, [f"s{n // 3}" for n in range(18)]
    assert (method.fit(x[:6], np.full(6, 2), subjects[:6]).predict_proba(x).argmax(1) == 2).all()
    assert (method.fit(x[:12], labels[:12], subjects[:12]).predict_proba(x[12:]).argmax(1) == labels[12:]).all()


def test_the_transformer_gives_the_same_features():
    from sklearn.base import clone

    flows = [np.stack([field(1), field(2)]), field(3, 80, 70)]
    transformer = clone(MDMOTransformer(drift="translation", beta=0.6))
    found = transformer.fit_transform(flows)
    expected = [features(fields, drift="translation", beta=0.6) for fields in flows]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(transformer)).transform(flows), expected)
    points = mean_landmarks(64) * 0.9
    found = MDMOTransformer(landmarks=points).transform(flows[:1])
    np.testing.assert_array_equal(found[0], features(flows[0], landmarks=points))
    with pytest.raises(BadInput, match="at least one clip"):
        transformer.transform([])


def test_the_transformer_works_in_a_search():
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    flows, labels = np.stack([field(seed) for seed in range(12)]), np.arange(12) % 2
    flows[:, 0] += 3 - 6 * labels[:, None, None]  # all to the right or to the left
    search = GridSearchCV(
        make_pipeline(MDMOTransformer(drift="none"), SVC(C=10)), {"mdmotransformer__beta": [0.5, 0.8]}, cv=3
    ).fit(flows, labels)
    assert search.best_score_ == 1


def test_the_methods_leave_scikit_learn_alone():
    code = (
        "import sys, microexpr.methods.mdmo, microexpr.methods.sparse_mdmo; "
        "sys.exit('sklearn' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
