"""Faces: the detectors by name, the one convention of their boxes, and which face is taken."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

from microexpr.datasets._face import FEATURES, MAGNIFICATION, PORTRAIT_LEFT, PORTRAIT_TOP, Identity
from microexpr.datasets._render import RenderedFrames
from microexpr.errors import BadInput, UnknownName
from microexpr.faces import detect
from microexpr.faces.detect import DETECTORS, Face, choose, detector, face_of_row, faces_in


def in_frame(feature: str) -> np.ndarray:
    """A pair of hand-located feature points, frame pixels."""
    points = np.array(FEATURES[feature])
    return (points - [PORTRAIT_LEFT, PORTRAIT_TOP] + 0.5) * MAGNIFICATION - 0.5


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return RenderedFrames(1, identity=Identity((0, 0)), crop=False).read(0)


def test_every_registered_detector_can_be_made(tmp_path: Path, monkeypatch):
    model, table = tmp_path / "model.onnx", tmp_path / "face.csv"
    for file in (model, table):
        file.write_bytes(b"not read before the first frame")
    monkeypatch.setitem(sys.modules, "mediapipe", types.SimpleNamespace(__version__="0"))
    settings = {"yunet": {"model": model}, "file": {"path": table}}
    for name in DETECTORS:
        made = detector(name, **settings.get(name, {}))
        assert made.name == name
        assert made.version


@pytest.mark.parametrize("cascade", detect.CASCADES)
def test_haar_box_holds_brows_to_chin(portrait: np.ndarray, cascade: str):
    find = detector("haar", cascade=cascade)
    (face,) = find(portrait)
    for feature in FEATURES:
        relative = (in_frame(feature) - [face.x, face.y]) / face.width
        assert relative.min() > 0.05, feature
        assert relative.max() < 0.95, feature
    brows, chin = in_frame("middle brow")[:, 1].mean(), in_frame("chin")[:, 1].mean()
    assert (brows - face.y) / face.height == pytest.approx(0.15, abs=0.05)
    assert (chin - face.y) / face.height == pytest.approx(0.86, abs=0.05)
    assert face.width == face.height
    assert find.version == f"OpenCV {cv2.__version__}, haarcascade_frontalface_{cascade}"


def test_haar_box_follows_the_face(portrait: np.ndarray):
    (here,) = detector("haar")(portrait)
    (there,) = detector("haar")(np.roll(portrait, (-40, 60), axis=(0, 1)))
    assert np.subtract(there.center, here.center) == pytest.approx([60, -40], abs=6)
    large = cv2.resize(portrait, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    (twice,) = detector("haar")(large)
    assert twice.width == pytest.approx(2 * here.width, rel=0.05)
    assert twice.center == pytest.approx(2 * np.array(here.center) + 0.5, abs=12)
    gray = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    assert detector("haar")(gray) == [here]


def test_haar_finds_none_in_a_plain_frame():
    assert detector("haar")(np.full((240, 320, 3), 128, np.uint8)) == []


def test_haar_finds_two(portrait: np.ndarray):
    small = cv2.resize(portrait, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    frame = np.full((480, 640 + small.shape[1], 3), 190, np.uint8)
    frame[:, :640] = portrait
    frame[-small.shape[0] :, 640:] = small
    faces = detector("haar", smallest=0.3, width=1100)(frame)
    assert len(faces) == 2
    face, note = choose(faces, 7)
    assert face.center[0] < 640
    assert note is not None
    assert note.startswith("2 faces in frame 7; took the largest")


def test_choose():
    small, large, sure = Face(0, 0, 10, 10, 9.0), Face(5, 0, 20, 20, 0.1), Face(9, 0, 20, 20, 0.2)
    assert choose([small], 3) == (small, None)
    face, note = choose([small, large, sure], 3)
    assert face is sure
    assert note == "3 faces in frame 3; took the largest, 20 pixels wide"
    with pytest.raises(BadInput, match="expected a face, got none in frame 12; begin the clip"):
        choose([], 12)


def test_faces_in_asks_by_number_where_a_detector_knows_numbers():
    class ByNumber:
        name, version = "by number", "1"

        def __call__(self, frame: np.ndarray) -> list[Face]:
            raise AssertionError

        def at(self, number: int) -> list[Face]:
            return [Face(number, 0, 10, 10)]

    frame = np.zeros((20, 30, 3), np.uint8)
    assert faces_in(frame, 7, ByNumber()) == [Face(7, 0, 10, 10)]
    assert faces_in(frame, 7, detector("precropped")) == [Face(5, 0, 20, 20)]


@pytest.mark.parametrize(("width", "height", "corner"), [(224, 224, (0, 0)), (100, 60, (20, 0)), (60, 100, (0, 20))])
def test_precropped_takes_the_largest_middle_square(width: int, height: int, corner: tuple[int, int]):
    (face,) = detector("precropped")(np.zeros((height, width, 3), np.uint8))
    side = min(width, height)
    assert face == Face(*corner, side, side)


def test_yunet_rows_become_boxes_of_the_same_convention(portrait: np.ndarray):
    (haar,) = detector("haar")(portrait)
    upper, lower, mouth = in_frame("upper lid"), in_frame("lower lid"), in_frame("mouth corner")
    points = np.stack([*((upper + lower) / 2), [320, 300], *mouth])
    face = face_of_row(np.array([250, 200, 140, 230, *points.ravel(), 0.9], np.float32))
    assert face.center == pytest.approx(haar.center, abs=0.04 * haar.width)
    assert face.width == pytest.approx(haar.width, rel=0.05)
    assert face.score == pytest.approx(0.9)


def test_a_turned_head_keeps_its_size_in_yunet_rows():
    front = np.array([[30, 40], [70, 40], [50, 60], [35, 75], [65, 75]], np.float32)
    turned = front.copy()
    turned[:, 0] = 50 + 0.5 * (front[:, 0] - 50)
    rows = [np.concatenate([[0, 0, 1, 1], points.ravel(), [1]]).astype(np.float32) for points in (front, turned)]
    assert [face_of_row(row).width for row in rows] == pytest.approx([100, 100])  # 40 / 0.40 and 35 / 0.35


def test_yunet_needs_a_model(tmp_path: Path):
    with pytest.raises(BadInput, match="a model file for the face detector 'yunet', got none; pass model="):
        detector("yunet")
    with pytest.raises(BadInput, match="which is no file"):
        detector("yunet", model=tmp_path / "missing.onnx")


def test_yunet_says_when_the_model_is_none(tmp_path: Path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no network")
    with pytest.raises(BadInput, match="which OpenCV can't run"):
        detector("yunet", model=model)(np.zeros((64, 64, 3), np.uint8))


def test_wrong_names_and_settings_are_named():
    with pytest.raises(UnknownName, match="did you mean 'haar'"):
        detector("har")
    with pytest.raises(UnknownName, match="no cascade is called 'alt3'"):
        detector("haar", cascade="alt3")
    with pytest.raises(BadInput, match="got model; it has cascade, width, smallest, neighbors"):
        detector("haar", model="x")
    with pytest.raises(BadInput, match="it has none"):
        detector("precropped", width=3)
    for settings in ({"width": 10}, {"smallest": 0.0}, {"neighbors": 0}):
        with pytest.raises(BadInput, match=r"default|few"):
            detector("haar", **settings)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("haar", {"smallest": "big"}, "smallest of the face detector 'haar' to be a number, got 'big'; 0.15 is the de"),
        ("haar", {"smallest": True}, "to be a number, got True"),
        ("haar", {"smallest": float("nan")}, "in 0..1 of the frame, got nan"),
        ("haar", {"width": None}, "to be a whole number, got None; 480 is the default"),
        ("haar", {"neighbors": 2.5}, "to be a whole number, got 2.5"),
        ("haar", {"cascade": 3}, "to be text, got 3"),
        ("yunet", {"nonsense": 1}, "settings of the face detector 'yunet', got nonsense; it has model, threshold"),
        ("yunet", {"model": 5}, "model of the face detector 'yunet' to be a path or text, got 5"),
        ("mediapipe", {"most": "two"}, "most of the face detector 'mediapipe' to be a whole number, got 'two'"),
        ("file", {"path": "x.csv", "first": "1"}, "first of the face detector 'file' to be a whole number, got '1'"),
    ],
)
def test_wrong_types_of_settings_are_told_in_a_line(name, settings, message: str):
    with pytest.raises(BadInput, match=re.escape(message)) as caught:
        detector(name, **settings)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_text_is_told_in_a_line():
    code = "from microexpr.faces.detect import detector; detector(3)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert "BadInput: expected the name of a face detector, got 3; give one of file, haar" in told


def test_numbers_of_numpy_are_numbers():
    found = detector("haar", width=np.int64(320), smallest=np.float32(0.5), neighbors=np.uint8(3))
    assert found == detect.Haar(width=320, smallest=0.5, neighbors=3)
    assert [type(value) for value in vars(found).values()] == [str, int, float, int]


def test_a_frame_of_another_shape_is_refused():
    with pytest.raises(BadInput, match="frame"):
        detect.gray(np.zeros((20, 20, 4), np.uint8))
