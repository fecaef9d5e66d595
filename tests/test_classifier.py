"""Trained weights between a video and its answer."""

import math

import numpy as np
import pytest

from microexpr import methods
from microexpr.classifier import WeightsClassifier, classifier, published_form
from microexpr.errors import BadInput, UnknownName
from microexpr.faces.detect import EYE_DISTANCE, EYES_FROM_TOP
from microexpr.methods import weights
from microexpr.methods.flow_linear import FEATURES, FlowLinear
from microexpr.motion.flow import flow_between, published_map
from microexpr.types import Clip, FlowMap
from microexpr.video.recognizer import Evidence, unsure

CLASSES = ("negative", "positive", "surprise")
# 0.155 and 0.845 of 224 columns, 0.0925 and 0.7825 of 224 rows, by hand: 34.7, 189.3, 20.7 and 175.3
ROWS, COLUMNS = slice(21, 175), slice(35, 189)


def smooth_flow(height, width, seed=0):
    import cv2

    coarse = np.random.default_rng(seed).normal(0, 1, (2, 6, 6)).astype(np.float32)
    return np.stack([cv2.resize(channel, (width, height), interpolation=cv2.INTER_CUBIC) for channel in coarse])


def on_a_face(part):
    """A flow "2 154 154" at the place of the published maps in an aligned face; far larger motion around it."""
    flow = np.full((2, 224, 224), 50.0, np.float32)
    flow[:, ROWS, COLUMNS] = part
    return flow


def evidence(flow=None):
    """Onset and apex that can be told apart, and a flow."""
    onset, apex = np.full((224, 224, 3), 10, np.uint8), np.full((224, 224, 3), 20, np.uint8)
    return Evidence(onset, apex, np.zeros((2, 224, 224), np.float32) if flow is None else flow)


class Recorder:
    """A fitted method that keeps the clip it was given and answers alike."""

    def __init__(self, *probabilities):
        self.probabilities = np.array([probabilities])

    def represent(self, clip):
        self.clip = clip
        return np.zeros(1, np.float32)

    def predict_proba(self, x):
        assert len(x) == 1
        return self.probabilities


def made(method, on_maps=True, temperature=1.0, threshold=0.0):
    return WeightsClassifier("some", method, CLASSES, on_maps, temperature, threshold, "clg")


def weights_file(path, record=None, classes=CLASSES):
    method = FlowLinear().load_weights(
        {"coefficients": np.zeros((FEATURES, 3), np.float32), "intercepts": np.array([0, 1, 2], np.float32)}
    )
    path.write_bytes(weights.to_bytes(method, "flow-linear", classes, {} if record is None else record))
    return path


def test_flow_in_the_crop_of_the_maps_gives_the_map_of_training():
    """Only the maps' part of the face counts, and it is stretched as in training."""
    part = smooth_flow(154, 154)
    of_training = published_map(part)
    given = published_form(on_a_face(part))
    np.testing.assert_array_equal(given.channels, of_training.channels)
    assert (given.channels.min(axis=(1, 2)) == 0).all()
    assert (given.channels.max(axis=(1, 2)) == 255).all()


def test_the_eyes_lie_where_the_maps_have_them():
    """0.58 of the width apart and at a quarter of the height, as read off the mean strain of the published maps."""
    side = (COLUMNS.stop - COLUMNS.start) / 224
    assert EYE_DISTANCE / side == pytest.approx(0.58, abs=0.01)
    assert (EYES_FROM_TOP - ROWS.start / 224) / side == pytest.approx(0.25, abs=0.01)
    assert COLUMNS.start + COLUMNS.stop == 224  # in the middle


def test_weights_trained_on_maps_answer_as_for_a_clip_of_training(tmp_path):
    """The same probabilities as for the published map of the same flow, with coefficients that see all of it."""
    generator = np.random.default_rng(3)
    method = FlowLinear().load_weights(
        {
            "coefficients": generator.normal(0, 0.3, (FEATURES, 3)).astype(np.float32),
            "intercepts": np.zeros(3, np.float32),
        }
    )
    part = smooth_flow(154, 154, 1)
    clip = Clip("a/b/c", "a", "a/b", "", None, None, None, 200.0, flow=published_map(part))
    expected = method.predict_proba(method.represent(clip)[None])[0]
    found = made(method)(evidence(on_a_face(part)))
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-7)
    assert np.ptp(expected) > 0.1  # the flow matters


def test_weights_trained_on_maps_get_a_map_and_no_frames():
    method = Recorder(0.2, 0.3, 0.5)
    made(method)(evidence(smooth_flow(224, 224)))
    assert isinstance(method.clip.flow, FlowMap)
    assert method.clip.carries == {"flow"}


def test_weights_trained_on_frames_get_onset_and_apex():
    method = Recorder(0.2, 0.3, 0.5)
    made(method, on_maps=False)(evidence())
    clip = method.clip
    assert clip.flow is None
    assert (clip.onset, clip.apex, len(clip.frames)) == (0, 1, 2)
    assert (clip.frames.read(clip.onset) == 10).all()
    assert (clip.frames.read(clip.apex) == 20).all()


def test_weights_trained_on_frames_see_the_flow_of_the_two_frames():
    """What the method computes from the frames is the flow of onset to apex."""
    import cv2

    generator = np.random.default_rng(0)
    onset = cv2.GaussianBlur(generator.integers(0, 256, (224, 224, 3)).astype(np.uint8), (0, 0), 3)
    apex = np.roll(onset, 1, axis=1)
    seen = {}

    class Frames(Recorder):
        def represent(self, clip):
            seen["flow"] = flow_between(clip.frames.read(clip.onset), clip.frames.read(clip.apex), mode="tvl1")
            return super().represent(clip)

    made(Frames(0.2, 0.3, 0.5), on_maps=False)(Evidence(onset, apex, np.zeros((2, 224, 224), np.float32)))
    assert np.median(seen["flow"][0]) == pytest.approx(1, abs=0.1)


def test_the_temperature_is_applied():
    """By hand: the square roots of 0.64, 0.32 and 0.04 are 0.8, 0.5657 and 0.2, with the sum 1.5657."""
    found = made(Recorder(0.64, 0.32, 0.04), temperature=2.0)(evidence())
    assert found == pytest.approx(
        {"negative": 0.8 / 1.5657, "positive": 0.5657 / 1.5657, "surprise": 0.2 / 1.5657}, 1e-4
    )
    assert made(Recorder(0.64, 0.32, 0.04))(evidence()) == pytest.approx(
        dict(zip(CLASSES, (0.64, 0.32, 0.04), strict=True))
    )


def test_under_the_threshold_nothing_is_named():
    answer = made(Recorder(0.64, 0.32, 0.04), temperature=2.0)(evidence())
    assert unsure(answer, 0.5) is None
    assert unsure(answer, 0.52) == "unsure: negative at 51 %, under 52 %"


def test_the_record_says_what_training_saw(tmp_path):
    record = {"input": "flow map", "temperature": 1.5, "threshold": 0.45}
    found = classifier(weights_file(tmp_path / "one.safetensors", record))
    assert (found.on_maps, found.temperature, found.threshold) == (True, 1.5, 0.45)
    assert found.name == "flow-linear (one.safetensors)"
    assert found.classes == CLASSES
    assert found.flow_mode == FlowLinear().flow_mode
    found = classifier(weights_file(tmp_path / "two.safetensors", {"input": "frames"}))
    assert (found.on_maps, found.temperature, found.threshold) == (False, 1.0, 0.0)
    assert not classifier(weights_file(tmp_path / "three.safetensors")).on_maps


@pytest.mark.parametrize(
    ("record", "classes"),
    [
        ({"temperature": "hot"}, CLASSES),
        ({"temperature": 0}, CLASSES),
        ({"temperature": math.inf}, CLASSES),
        ({"threshold": None}, CLASSES),
        ({"threshold": -1}, CLASSES),
        ({}, ("one", "two")),
    ],
)
def test_a_damaged_record_is_told_before_any_frame_is_read(tmp_path, record, classes):
    file = weights_file(tmp_path / "one.safetensors", record, classes)
    with pytest.raises(BadInput, match="3 classes, a temperature above 0 and a threshold of 0 or more"):
        classifier(file)


def test_the_default_and_the_weights_of_a_method():
    shipped = weights.shipped()
    assert classifier().name == weights.DEFAULT
    for name in shipped:
        method = name.rpartition("-")[0]
        assert classifier(method=method).name == name
        named = classifier(name)
        assert named.name == name
        assert named.on_maps
        assert named.temperature > 0
        assert 1 / 3 < named.threshold < 1


def test_names_that_are_none():
    with pytest.raises(UnknownName, match="did you mean 'flow-linear'"):
        classifier(method="flow-liner")
    with pytest.raises(UnknownName, match="known: flow-linear, mjfn"):
        classifier(method="nonsense")
    with pytest.raises(UnknownName, match="did you mean 'mjfn-megc2019'"):
        classifier("mjfn-megc209")
    with pytest.raises(BadInput, match=r"nothing\.safetensors, which does not exist"):
        classifier("nothing.safetensors")
    with pytest.raises(BadInput, match="--weights or --method, got both"):
        classifier("mjfn-megc2019", "mjfn")


SEQUENCES = {name for name in methods.names() if getattr(methods.kind_of(name), "sequence", False)}


@pytest.mark.parametrize("name", sorted(SEQUENCES))
def test_a_method_that_looks_at_every_frame_is_refused(name, tmp_path, monkeypatch):
    """Onset and apex are all that is kept of a movement in a video."""
    method = methods.create(name)
    monkeypatch.setattr(weights, "load", lambda file: (method, {"method": name, "classes": [], "record": {}}))
    with pytest.raises(BadInput, match=f"of {name}, which looks at every frame from onset to offset"):
        classifier(tmp_path / "weights.safetensors")


def test_lbp_top_and_atnet_are_such_methods():
    assert {"lbp-top", "atnet"} == SEQUENCES
