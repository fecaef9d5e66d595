"""The rendered data set: what a user relies on. The truth must be the truth of the pictures, and a frame must be the
same bytes whoever asks for it and whenever."""

from __future__ import annotations

import csv
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from microexpr.datasets import _face, _render, synthetic
from microexpr.datasets._face import CROP, FEATURES, FRAME, Identity
from microexpr.datasets._render import Movement, RenderedFrames
from microexpr.errors import BadInput, DatasetNotFound, UnknownName

UNITS = sorted({units for choices in synthetic.EMOTIONS.values() for units in choices})
CLASS = {"happiness": "positive", "surprise": "surprise"}  # every other emotion is negative


def one_movement(units, amplitude=2.0, crop=True, head_pixels=0.0, subject=0, asymmetry=0.0) -> RenderedFrames:
    """At rest in frame 0, at the apex in frame 2."""
    movement = Movement(0, 2, 5, units, amplitude, asymmetry)
    return RenderedFrames(6, (movement,), Identity((0, subject), subject % 2 == 1), (9,), 200.0, head_pixels, crop)


def warped(picture, flow):
    """picture(x + flow(x)), by an interpolation that is not the renderer's."""
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return map_coordinates(picture, [rows + flow[1], columns + flow[0]], order=3, mode="nearest")


def pixel(feature, view, mirrored):
    """Row and column of both points of a feature (left and right of the picture) on the unwarped face."""
    for x, y in FEATURES[feature]:
        x = (x - _face.PORTRAIT_LEFT + 0.5) * _face.MAGNIFICATION
        x = 640 - x if mirrored else x
        y = (y - _face.PORTRAIT_TOP + 0.5) * _face.MAGNIFICATION
        yield round((y - view.top) * view.magnification - 0.5), round((x - view.left) * view.magnification - 0.5)


def rms(difference, border=8):
    return float(np.sqrt((difference[border:-border, border:-border] ** 2).mean()))


# Frames


def test_a_frame_is_the_same_bytes_whatever_was_read_before():
    clip = synthetic.read(subjects=2, clips_per_subject=2)[3]
    alone = clip.frames.read(clip.apex)
    for cached in (_face.neutral, _face.action_field, _face.head_fields):
        cached.cache_clear()
    again = synthetic.read(subjects=2, clips_per_subject=2)
    for other in again:
        other.frames.read(other.onset)
    np.testing.assert_array_equal(again[3].frames.read(clip.apex), alone)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clip)).frames.read(clip.apex), alone)
    assert (clip.frames.read(clip.apex + 1) != alone).mean() > 0.5  # each frame has noise of its own
    another = synthetic.read(subjects=2, clips_per_subject=2, seed=1)[3]
    assert np.abs(another.frames.read(another.apex).astype(int) - alone).mean() > 3  # another face


def test_reading_two_frames_renders_two(monkeypatch):
    drawn = []
    clean = RenderedFrames.clean
    monkeypatch.setattr(RenderedFrames, "clean", lambda self, number: drawn.append(number) or clean(self, number))
    clip = synthetic.read(subjects=1, clips_per_subject=1)[0]
    assert drawn == []
    clip.frames.read(clip.onset), clip.frames.read(clip.apex)
    assert drawn == [clip.onset, clip.apex]


def test_geometry_of_crop_and_frame():
    crop, whole = (one_movement(("12",), crop=crop) for crop in (True, False))
    assert crop.read(0).shape == (224, 224, 3)
    assert crop.read(0).dtype == np.uint8
    assert whole.read(0).shape == (480, 640, 3)
    x, y = CROP.frame_points()
    cut = cv2.remap(whole.clean(2), x, y, cv2.INTER_CUBIC)
    assert rms(cut - crop.clean(2)) < 1.5  # one face, moved in the same way
    assert rms(cut - crop.clean(0)) > 1.5 * rms(cut - crop.clean(2))


def test_noise_and_flicker_are_small():
    frames = RenderedFrames(400, identity=Identity((0, 2)), head_pixels=0.0)
    clean = frames.clean(0)
    inside = (clean > 20) & (clean < 235)
    assert (frames.read(0) - clean)[inside].std() == pytest.approx(np.hypot(1.0, 1 / np.sqrt(12)), rel=0.03)
    light = [(frames.read(number)[inside] / clean[inside]).mean() for number in range(0, 400, 40)]
    assert 5e-4 < np.ptp(light) < 2 * _render.FLICKER
    assert np.abs(np.diff(light)).max() < _render.FLICKER


@pytest.mark.parametrize("number", [-1, 6])
def test_a_number_outside_the_clip(number):
    with pytest.raises(BadInput, match=f"from 0 to 5, got {number}"):
        one_movement(("12",)).read(number)


# Truth


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("units", [("6", "12"), ("4", "7"), ("1", "2")])
def test_true_flow_carries_the_second_frame_onto_the_first(units, crop):
    frames = one_movement(units, amplitude=3.0, crop=crop, head_pixels=20.0, subject=1)  # over 0.3 px in two frames
    first, second = (frames.clean(number)[..., 1] for number in (0, 2))
    flow = frames.true_flow(0, 2)
    still = rms(second - first)
    assert rms(warped(second, flow) - first) < 0.1 * still
    assert rms(warped(second, -flow) - first) > 1.5 * still
    back = frames.true_flow(2, 0)
    assert rms(warped(first, back) - second) < 0.1 * still


def test_true_flow_agrees_with_an_optical_flow_of_the_pictures():
    frames = one_movement(("6", "12"), amplitude=3.0, head_pixels=0.3)
    grey = [cv2.cvtColor(np.rint(frames.clean(number)).astype(np.uint8), cv2.COLOR_RGB2GRAY) for number in (0, 2)]
    found = np.moveaxis(cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 3, 21, 5, 7, 1.5, 0), 2, 0)
    true = frames.true_flow(0, 2)
    assert np.corrcoef(found[:, 20:-20, 20:-20].ravel(), true[:, 20:-20, 20:-20].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("units", UNITS)
def test_the_peak_is_what_was_asked_for(units):
    for amplitude, subject in ((0.5, 0), (3.0, 1)):
        frames = one_movement(units, amplitude, subject=subject, asymmetry=0.1)
        peak = np.hypot(*frames.true_flow(0, 2)).max() / CROP.magnification
        assert peak == pytest.approx(amplitude, rel=0.1)


def test_crop_and_frame_count_pixels_of_their_own():
    for crop, peak in ((True, 2.0 * 224 / 260), (False, 2.0)):
        assert np.hypot(*one_movement(("12",), 2.0, crop).true_flow(0, 2)).max() == pytest.approx(peak, rel=0.05)
    moving = [RenderedFrames(200, head_pixels=2.0, crop=crop).head_motion(150) for crop in (True, False)]
    np.testing.assert_allclose(moving[0], moving[1] * [224 / 260, 224 / 260, 1])


DIRECTIONS = [  # action units, feature point, outward, upward: +1, -1, or 0 where only the other one is defined
    (("6", "12"), "mouth corner", 1, 1),
    (("6", "12"), "cheek", 0, 1),
    (("4", "7"), "inner brow", -1, -1),
    (("4", "7"), "lower lid", 0, 1),
    (("1", "2"), "inner brow", 0, 1),
    (("1", "2"), "outer brow", 0, 1),
    (("1", "2", "5"), "upper lid", 0, 1),
    (("15", "17"), "mouth corner", 0, -1),
    (("15", "17"), "chin", 0, 1),
    (("9", "10"), "nostril", 0, 1),
    (("9", "10"), "upper lip", 0, 1),
    (("14",), "mouth corner", -1, 0),
    (("20",), "mouth corner", 1, 0),
]


@pytest.mark.parametrize("subject", [0, 1])  # 1 is mirrored
@pytest.mark.parametrize(("units", "feature", "out", "up"), DIRECTIONS)
def test_action_units_move_their_features_the_right_way(units, feature, out, up, subject):
    flow = one_movement(units, 2.0, subject=subject).true_flow(0, 2)
    for row, column in pixel(feature, CROP, mirrored=subject == 1):
        u, v = flow[:, row, column]
        side = 1 if column > 112 else -1
        assert side * u * out >= 0.2 * abs(out), "outward"
        assert -v * up >= 0.2 * abs(up), "upward"


@pytest.mark.parametrize("subject", [0, 1])
def test_asymmetry_favors_the_left_of_the_picture(subject):
    speed = np.hypot(*one_movement(("20",), 2.0, subject=subject, asymmetry=0.3).true_flow(0, 2))
    left, right = speed[:, :112].max(), speed[:, 112:].max()
    assert left / right == pytest.approx(1.3 / 0.7, rel=0.1)


def test_the_background_stands_still_while_the_head_moves():
    frames = RenderedFrames(400, (Movement(100, 150, 200, ("6", "12"), 3.0),), head_pixels=3.0, crop=False)
    first, second = frames.clean(0), frames.clean(150)
    motion = np.linalg.norm(frames.head_motion(150)[:2])
    assert 0.5 < motion < 3 * np.sqrt(2)
    for background in (np.s_[:300, :90], np.s_[:250, 560:], np.s_[:4, :], np.s_[470:, 450:]):
        np.testing.assert_array_equal(first[background], second[background])
    u, v = frames.true_flow(0, 150)[:, 60:120, 240:400].reshape(2, -1).T.mean(axis=0)  # hair: it only follows the head
    right, down, roll = frames.head_motion(150)
    above = np.radians(roll) * (_face.PIVOT[1] - 90)
    assert (u, v) == pytest.approx((right + above, down), abs=0.1)


def test_head_motion_is_slow_and_starts_at_rest():
    frames = RenderedFrames(200)
    np.testing.assert_array_equal(frames.head_motion(0), 0)
    shifts = np.array([frames.head_motion(number)[:2] for number in range(200)])
    assert 0.05 < np.abs(shifts).max() <= 0.3
    assert np.abs(np.diff(shifts, axis=0)).max() < 0.01


def test_the_envelope_is_zero_at_rest_and_one_at_the_apex():
    for clip in synthetic.read(subjects=3, clips_per_subject=3, fps=100.0):
        strength = [clip.frames.strength(number) for number in range(len(clip.frames))]
        assert 0 < clip.onset < clip.apex < clip.offset < len(clip.frames) - 1
        assert strength[clip.apex] == 1.0
        assert max(strength) == 1.0
        assert not any(strength[: clip.onset + 1])
        assert not any(strength[clip.offset :])
        assert all(np.diff(strength[clip.onset : clip.apex + 1]) > 0)
        assert all(np.diff(strength[clip.apex : clip.offset + 1]) < 0)
        assert 0.15 <= (clip.offset - clip.onset) / clip.fps <= 0.45


def test_a_video_of_several_movements_and_a_quiet_one():
    smile, brows = Movement(10, 20, 40, ("6", "12"), 2.0), Movement(60, 70, 90, ("1", "2"), 1.0)
    video = RenderedFrames(100, (smile, brows), head_pixels=0.0)
    assert [video.strength(number) for number in (5, 20, 50, 70, 95)] == [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(video.clean(5), video.clean(50))
    assert np.hypot(*video.true_flow(20, 70))[120:].max() > 1.5  # the smile is gone
    both = RenderedFrames(100, (smile, Movement(10, 20, 40, ("1", "2"), 1.0)), head_pixels=0.0).true_flow(0, 20)
    one = RenderedFrames(100, (smile,), head_pixels=0.0).true_flow(0, 20)
    assert np.abs((both - one)[:, 150:]).max() < 0.05 < np.abs((both - one)[:, :80]).max()  # the lower face only smiles
    quiet = RenderedFrames(100, head_pixels=0.0)
    assert not quiet.true_flow(0, 70).any()
    assert quiet.strength(70) == 0.0


def test_a_movement_that_cannot_be():
    with pytest.raises(UnknownName, match="'99'"):
        Movement(0, 1, 2, ("99",), 1.0)
    with pytest.raises(BadInput, match="onset < apex < offset, got 3, 3, 5"):
        Movement(3, 3, 5, ("12",), 1.0)


# Faces


@pytest.mark.parametrize("units", UNITS)
def test_skin_never_folds(units):
    for subject in (0, 1):
        field = np.moveaxis(_face.action_field(Identity((0, subject), subject == 1), CROP, units, 0.1), 2, 0)
        slopes = np.array([np.gradient(channel)[::-1] for channel in field])  # [u or v, along x or y]
        (a, b), (c, d) = slopes
        largest = np.linalg.norm(slopes[:, :, ::4, ::4].transpose(2, 3, 0, 1), ord=2, axis=(2, 3)).max()
        assert largest < 1.1 * _render.SLOPE  # the renderer's number of rounds relies on it
        amplitude = 1.15 * synthetic.LARGEST_PEAK
        assert ((1 + amplitude * a) * (1 + amplitude * d) - amplitude**2 * b * c).min() > 0.1


def test_subjects_differ_mildly_smoothly_and_symmetrically():
    points = FRAME.frame_points()[:, ::4, ::4]
    resting = (points - 0.5) / _face.MAGNIFICATION
    faces = []
    for subject in range(8):
        place = Identity((0, subject)).portrait_points(points)
        (xx, xy), (yx, yy) = (np.gradient(channel, 4 / _face.MAGNIFICATION)[::-1] for channel in place)
        area = xx * yy - xy * yx
        assert area.min() > 0.6
        assert area.max() < 1.6
        shift = place - resting
        shift -= shift[:, :1, :1]
        assert np.hypot(*shift).max() < 5  # portrait pixels, of a face 86 wide
        for feature in FEATURES:
            left, right = (shift[:, row // 4, column // 4] for row, column in pixel(feature, FRAME, mirrored=False))
            np.testing.assert_allclose(left * [-1, 1], right, atol=0.6)
        faces.append(RenderedFrames(1, identity=Identity((0, subject))).read(0).astype(float))
    assert min(np.abs(a - b).mean() for i, a in enumerate(faces) for b in faces[:i]) > 2


# The data set


@pytest.mark.parametrize("clips_per_subject", [3, 6, 7])
def test_every_subject_shows_every_class(clips_per_subject):
    clips = synthetic.read(subjects=5, clips_per_subject=clips_per_subject)
    assert len(clips) == len({clip.key for clip in clips}) == 5 * clips_per_subject
    for subject in {clip.subject for clip in clips}:
        own = [CLASS.get(clip.emotion, "negative") for clip in clips if clip.subject == subject]
        counts = [own.count(name) for name in ("positive", "negative", "surprise")]
        assert min(counts) >= 1
        assert max(counts) - min(counts) <= 1
    assert {clip.emotion for clip in clips} == set(synthetic.EMOTIONS)
    first = clips[0]
    assert (first.key, first.subject, first.dataset) == ("synthetic/s01/c01_happiness", "synthetic/s01", "synthetic")
    assert all(clip.action_units in synthetic.EMOTIONS[clip.emotion] for clip in clips)
    peaks = [clip.frames.movements[0].amplitude for clip in clips]
    assert 1.7 <= min(peaks) < 1.95 < 2.05 < max(peaks) <= 2.3


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"subjects": 0}, "subjects of 1 or more, got 0"),
        ({"clips_per_subject": -1}, "clips_per_subject of 1 or more, got -1"),
        ({"fps": 5.0}, "fps of 20 or more, got 5.0"),
        ({"fps": float("nan")}, "fps of 20 or more, got nan"),
        ({"peak": 0.0}, "up to 10 pixels, got 0.0"),
        ({"peak": 11.0}, "up to 10 pixels, got 11.0"),
        ({"seed": -1}, "a seed of 0 or more, got -1"),
    ],
)
def test_settings_that_cannot_be(setting, text):
    with pytest.raises(BadInput, match=text):
        synthetic.read(**setting)


def test_importing_the_adapter_is_cheap():
    code = "import sys, microexpr.datasets.synthetic; print({'cv2', 'skimage', 'torch', 'scipy'} & set(sys.modules))"
    here = Path(synthetic.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=here)
    assert done.stdout.strip() == "set()"


# Folders

SMALL = {"subjects": 1, "clips_per_subject": 2, "fps": 20.0, "peak": 3.0, "seed": 5}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "new" / "set"
    calls = []
    assert synthetic.write(out, **SMALL, progress=lambda done, total: calls.append((done, total))) == out
    assert calls == [(done, len(calls)) for done in range(1, len(calls) + 1)]
    return out


def test_a_written_set_reads_back_equal(written):
    rendered, read = synthetic.read(**SMALL, crop=False), synthetic.read(written, crop=False)
    assert read == rendered
    for here, there in zip(rendered, read, strict=True):
        assert len(here.frames) == len(there.frames)
        for number in (here.onset, here.apex, len(here.frames) - 1):
            np.testing.assert_array_equal(there.frames.read(number), here.frames.read(number))
    assert [path.name for path in written.parent.iterdir()] == ["set"]


def test_a_written_set_is_cropped_like_a_rendered_one(written):
    for here, there in zip(synthetic.read(**SMALL), synthetic.read(written), strict=True):
        assert there.frames.read(0).shape == (224, 224, 3)
        assert rms(there.frames.read(here.apex) - here.frames.clean(here.apex)) < 3


def test_a_written_set_holds_its_truth(written):
    with (written / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    clip = synthetic.read(**SMALL, crop=False)[1]
    assert rows[1]["key"] == clip.key
    assert float(rows[1]["peak"]) == clip.frames.movements[0].amplitude
    truth = written / "truth" / "s01" / clip.key.split("/")[-1]
    flow = np.load(truth / "flow.npy")
    assert flow.dtype == np.float32
    np.testing.assert_array_equal(flow, clip.frames.true_flow(clip.onset, clip.apex))
    with (truth / "head_motion.csv").open(newline="") as file:
        motion = list(csv.DictReader(file))
    assert len(motion) == len(clip.frames)
    assert float(motion[clip.apex]["strength"]) == 1.0
    head = [float(motion[clip.apex][name]) for name in ("right", "down", "roll_degrees")]
    np.testing.assert_allclose(head, clip.frames.head_motion(clip.apex), atol=1e-6)


def test_a_stopped_write_leaves_no_data_set(tmp_path, monkeypatch):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic.write(tmp_path / "stopped", **SMALL, progress=stop)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(synthetic.shutil, "rmtree", lambda *args, **kwargs: None)  # killed: nobody cleans up
    with pytest.raises(KeyboardInterrupt):
        synthetic.write(tmp_path / "killed", **SMALL, progress=stop)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".killed.partial-")
    with pytest.raises(BadInput, match=r"clips\.csv, which is written last, got a folder without it; the write was"):
        synthetic.read(left)


def test_a_folder_with_gaps_is_named_precisely(written, tmp_path):
    root = Path(shutil.copytree(written, tmp_path / "copy"))
    folder = root / "frames" / "s01" / "c01_happiness"
    total = len(list(folder.iterdir()))
    frames = synthetic.read(root)[0].frames
    (folder / "0003.png").unlink()
    with pytest.raises(BadInput, match=rf"{total} frames in .*c01_happiness, got {total - 1} of them.*number 3"):
        synthetic.read(root)
    with pytest.raises(BadInput, match=r"0003\.png, got no file"):
        frames.read(3)
    (folder / "0003.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"0003\.png, got a file that can't be decoded"):
        synthetic.read(root)[0].frames.read(3)
    (root / "clips.csv").write_text("key,subject\nsynthetic/s01/c01_happiness,synthetic/s01\n")
    with pytest.raises(BadInput, match=r"columns key, subject.* got line 2 with 'frames'"):
        synthetic.read(root)


def test_a_root_that_is_no_folder(tmp_path):
    with pytest.raises(DatasetNotFound, match=r"nowhere is not a folder; expected ROOT/clips\.csv"):
        synthetic.read(tmp_path / "nowhere")


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(BadInput, match=r"new or empty folder to write to, got .*which holds files"):
        synthetic.write(tmp_path, **SMALL)
    with pytest.raises(BadInput, match=r"got .*which is a file"):
        synthetic.write(tmp_path / "mine", **SMALL)
    assert (tmp_path / "mine").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"expected to write to .*, got Not a directory; give another place") as caught:
        synthetic.write(tmp_path / "file" / "set", **SMALL)
    assert "\n" not in str(caught.value)
