"""Recorded clips become clips that methods take: faces aligned, apexes found, and what can't be used is said."""

import dataclasses
import pickle

import cv2
import joblib
import numpy as np
import pytest

from microexpr import api, datasets, preparation
from microexpr.datasets._files import NumberedFrames
from microexpr.errors import BadInput, MicroexprError, UnknownName
from microexpr.evaluation import record
from microexpr.faces.aligned import AlignedFrames, aligned, find_face, searched, to_align
from microexpr.faces.detect import Face, detector
from microexpr.types import Dataset
from tests.fake import casme2 as fake


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    return fake.small(tmp_path_factory.mktemp("casme2"), subjects=2)


@pytest.fixture(scope="module")
def data(replica):
    return datasets.load("casme2", replica)


@pytest.fixture(scope="module")
def prepared(data):
    return preparation.prepare(data)


def test_faces_are_aligned(data, prepared):
    for before, after in zip(data.clips, prepared.clips, strict=True):
        assert to_align(before)
        assert not to_align(after)
        assert before == after  # frames apart: keys, labels, numbers
        face = after.frames.read(after.apex)
        assert face.shape == (224, 224, 3)
        # The rendered face does not leave its place, so its crop is part of the frame that was found.
        box = after.frames.face
        assert 120 < box.width < 420
    done = {"faces": "haar", "apex_rule": "mean-flow", "apexes_found": 0, "apexes": {}, "left_out": []}
    assert prepared.preparation == done
    assert preparation.prepare(prepared, faces="none") is prepared


def test_aligned_frames_go_to_workers(prepared):
    clip = prepared.clips[0]
    clip.frames.read(clip.onset)
    again = pickle.loads(pickle.dumps(clip.frames))
    np.testing.assert_array_equal(again.read(clip.apex), clip.frames.read(clip.apex))
    assert len(pickle.dumps(clip.frames)) < 5000  # the pictures stay behind


def test_a_missing_apex_is_found(data):
    """The rendered movement is largest in the middle frame."""
    lacking = dataclasses.replace(data, clips=tuple(dataclasses.replace(clip, apex=None) for clip in data.clips))
    found = preparation.prepare(lacking)
    assert found.preparation["apexes_found"] == len(data.clips)
    assert found.preparation["apexes"] == {clip.key: clip.apex for clip in found.clips}  # for run.json
    for clip, truth in zip(found.clips, data.clips, strict=True):
        assert abs(clip.apex - truth.apex) <= 1
    assert {clip.apex for clip in preparation.prepare(lacking, apex_rule="middle").clips} == {100}


def test_a_still_is_laid_over_itself(data):
    still = dataclasses.replace(data.clips[0], onset=None, offset=None)
    (found,) = preparation.prepare(dataclasses.replace(data, clips=(still,))).clips
    assert (found.onset, found.apex) == (None, still.apex)
    assert found.frames.read(still.apex).shape == (224, 224, 3)
    bare = dataclasses.replace(still, apex=None)
    with pytest.raises(BadInput, match="a clip with an onset"):
        preparation.prepare(dataclasses.replace(data, clips=(bare,)))


def test_clips_without_apex_can_be_dropped(data):
    first = dataclasses.replace(data.clips[0], apex=None)
    found = preparation.prepare(dataclasses.replace(data, clips=(first, *data.clips[1:])), apex_rule="drop")
    assert [clip.key for clip in found.clips] == [clip.key for clip in data.clips[1:]]
    assert found.preparation["left_out"] == [first.key]


def test_the_answer_is_kept(data, monkeypatch):
    preparation.prepare(data)
    monkeypatch.setattr(preparation, "_search", lambda *_: pytest.fail("searched again"))
    preparation.prepare(data)


def test_a_changed_file_is_looked_at_again(tmp_path):
    root = fake.small(tmp_path, subjects=1)
    clips = datasets.load("casme2", root).clips[:1]
    data = Dataset("casme2", clips)
    preparation.prepare(data)
    clips[0].frames.file(clips[0].onset).write_bytes(b"")
    with pytest.raises(BadInput, match=r"casme2/sub01/EP00_01f: .* can't be decoded; .*--damaged skip"):
        preparation.prepare(data)


def test_damaged_clips_stop_or_are_skipped_and_recorded(tmp_path):
    root = fake.small(tmp_path, subjects=2)
    data = datasets.load("casme2", root)
    bad = data.clips[2]
    bad.frames.file(bad.apex).write_bytes(b"\xff\xd8 half a picture")
    with pytest.raises(BadInput, match=bad.key):
        preparation.prepare(data)
    with pytest.warns(UserWarning, match=f"left out: {bad.key}"):
        found = preparation.prepare(data, damaged="skip")
    assert [clip.key for clip in found.clips] == [clip.key for clip in data.clips if clip is not bad]
    assert found.preparation["left_out"] == [bad.key]


def test_frames_without_a_face(tmp_path):
    for number in range(1, 6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((96, 128, 3), 90, np.uint8))
    names = tuple(f"{number}.png" for number in range(1, 6))
    clip = dataclasses.replace(
        datasets.load("synthetic", subjects=1, clips_per_subject=1).clips[0],
        **{"onset": 1, "apex": 3, "offset": 5, "frames": NumberedFrames(tmp_path, (1, 2, 3, 4, 5), names)},
    )
    with pytest.raises(BadInput, match=r"expected a face, got none in the frames 1, 2, 3, 4 .*--faces none"):
        aligned(clip)
    assert aligned(clip, "none") is clip
    crop = dataclasses.replace(clip, frames=NumberedFrames(tmp_path, (1, 2, 3, 4, 5), names, "crop"))
    assert find_face(crop, detector("haar")) == Face(16, 0, 96, 96)  # an authors' crop is a face
    with pytest.raises(UnknownName, match="face detector"):
        aligned(clip, "nobody")


def test_a_face_of_a_later_frame_serves(data):
    class Late:
        name, version = "late", "1"

        def __call__(self, frame):
            self.calls = getattr(self, "calls", 0) + 1
            return [Face(1, 2, 100, 100)] if self.calls == 3 else []

    assert find_face(data.clips[0], Late()) == Face(1, 2, 100, 100)


def test_rendered_clips_and_maps_stay_as_they_are():
    rendered = datasets.load("synthetic", subjects=1, clips_per_subject=1)
    assert preparation.prepare(rendered) is rendered


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"faces": "file"}, "face detector for data sets"),
        ({"faces": "dlib"}, "face detector for data sets"),
        ({"apex_rule": "best"}, "apex rule"),
        ({"damaged": "ignore"}, "stop or skip"),
    ],
)
def test_wrong_settings(data, setting, told):
    with pytest.raises((UnknownName, BadInput), match=told):
        preparation.prepare(data, **setting)


def test_the_run_knows_what_was_done(replica, tmp_path):
    (run,) = api.evaluate("flow-svm", "casme2", replica, jobs=1, runs=tmp_path)
    assert run.info["preparation"]["faces"] == "haar"
    (again,) = api.evaluate("flow-svm", "casme2", replica, jobs=1, runs=tmp_path)
    assert again.folder == run.folder
    (other,) = api.evaluate("flow-svm", "casme2", replica, faces="none", jobs=1, runs=tmp_path)
    assert other.folder != run.folder


def test_the_digest_sees_files_and_faces(data, prepared):
    digest = record.data_digest(prepared.clips)
    assert record.data_digest(data.clips) != digest
    clip = prepared.clips[0]
    moved = AlignedFrames(clip.frames.frames, clip.onset, dataclasses.replace(clip.frames.face, x=3.0))
    assert record.data_digest([dataclasses.replace(clip, frames=moved), *prepared.clips[1:]]) != digest


def test_other_labels_make_other_classes(replica, tmp_path):
    (run,) = api.evaluate("flow-svm", "casme2", replica, labels="own", jobs=1, runs=tmp_path)
    assert run.info["classes"] == ["disgust", "happiness", "surprise"]
    assert run.info["asked"]["labels"] == "own"
    with pytest.raises(BadInput, match="none of class I "):
        api.evaluate("flow-svm", "casme2", replica, labels="objective-5", jobs=1, runs=tmp_path)


def test_frames_as_they_are_stay_so_in_what_follows(replica, tmp_path):
    """What was prepared without looking for faces is not prepared anew by an evaluation."""
    data = api.prepare(datasets.load("casme2", replica), faces="none", jobs=1)
    assert data.preparation["faces"] == "none"
    (run,) = api.evaluate("majority", data, jobs=1, runs=tmp_path)
    assert run.info["preparation"]["faces"] == "none"
    (other,) = api.evaluate("majority", "casme2", replica, jobs=1, runs=tmp_path)
    assert other.info["preparation"]["faces"] == "haar"
    assert other.folder != run.folder


@pytest.mark.parametrize("faces", ["haar", "none"])
def test_skip_opens_every_picture_so_that_no_method_stops_later(tmp_path, faces):
    """A picture between apex and offset, which methods of onset and apex never read."""
    root = fake.small(tmp_path / "CASME2", subjects=2)
    data = datasets.load("casme2", root)
    bad = data.clips[2]
    bad.frames.file(bad.offset - 1).write_bytes(b"torn")
    run = {"settings": {"size": 64}, "faces": faces, "jobs": 1, "runs": tmp_path}
    with pytest.raises(MicroexprError, match=rf"^{bad.key}: .*img103\.jpg, which can't be decoded"):
        api.evaluate("lbp-top", data, **run)
    with pytest.warns(UserWarning, match=f"left out: {bad.key}"):
        (found,) = api.evaluate("lbp-top", data, damaged="skip", **run)
    assert bad.key not in found.clips
    assert found.info["preparation"]["left_out"] == [bad.key]


def test_pictures_of_several_sizes_are_told(tmp_path):
    data = datasets.load("casme2", fake.small(tmp_path, subjects=1))
    odd = data.clips[0].frames.file(102)
    cv2.imwrite(str(odd), np.zeros((48, 64, 3), np.uint8))
    with pytest.warns(UserWarning, match="pictures of one size"):
        found = preparation.prepare(data, damaged="skip")
    assert [clip.key for clip in found.clips] == [clip.key for clip in data.clips[1:]]


def test_each_picture_of_an_aligned_clip_is_decoded_once(prepared, monkeypatch):
    clip = prepared.clips[0]
    frames = pickle.loads(pickle.dumps(clip.frames))
    decoded = []
    real = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *given: decoded.append(1) or real(*given))
    faces = [frames.read(number) for number in range(clip.onset, clip.offset + 1)]
    assert len(decoded) == len(faces)
    faces[0][:] = 0  # the caller's own
    assert frames.read(clip.onset).any()


def test_a_face_of_a_later_frame_is_looked_for_again_when_that_frame_changes(tmp_path):
    """Frames that the search may have looked at decide the answer, too."""
    data = datasets.load("casme2", fake.small(tmp_path, subjects=1))
    clip = data.clips[0]
    before = preparation._key(clip, "haar", "mean-flow", every=False)
    later = clip.frames.file(searched(clip)[1])
    later.write_bytes(later.read_bytes() + b" ")
    assert preparation._key(clip, "haar", "mean-flow", every=False) != before


def test_a_detector_that_reads_a_model(data, tmp_path):
    for faces, told in (("yunet", "--faces yunet=FILE"), ("haar=x.xml", "--faces haar, got")):
        with pytest.raises(BadInput, match=told):
            preparation.prepare(data, faces=faces)
    with pytest.raises(BadInput, match=r"none\.onnx, which is no file"):
        preparation.prepare(data, faces=f"yunet={tmp_path / 'none.onnx'}")


def test_dropping_every_clip_names_the_rule(data):
    lacking = dataclasses.replace(data, clips=tuple(dataclasses.replace(clip, apex=None) for clip in data.clips))
    with pytest.raises(BadInput, match="with an annotated apex, got none; use another --apex-rule"):
        preparation.prepare(lacking, apex_rule="drop")


@pytest.mark.parametrize("setting", [{"faces": "nobody"}, {"apex_rule": "best"}, {"damaged": "maybe"}])
def test_settings_are_checked_where_there_is_nothing_to_prepare(setting):
    rendered = datasets.load("synthetic", subjects=1, clips_per_subject=3)
    maps = tuple(dataclasses.replace(clip, frames=None) for clip in rendered.clips)
    with pytest.raises((BadInput, UnknownName)):
        api.prepare(dataclasses.replace(rendered, clips=maps), **setting)


@pytest.fixture
def new_workers():
    """Worker processes that begin, with the environment of the test, and end with it."""
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
    yield
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_cache_that_can_not_be_written_costs_one_warning(replica, tmp_path, monkeypatch, new_workers, jobs):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MICROEXPR_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="can't be written") as caught:
        (run,) = api.evaluate("flow-svm", "casme2", replica, jobs=jobs, runs=tmp_path)
    assert sum("can't be written" in str(one.message) for one in caught) == 1
    assert len(run.finished) == len(run.folds)
