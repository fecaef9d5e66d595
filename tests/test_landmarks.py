"""Detectors that know landmarks: OpenFace's CSV, .npz files, and MediaPipe's mesh by a stand-in."""

from __future__ import annotations

import csv
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from microexpr.errors import BadInput, MissingExtra
from microexpr.faces.detect import Face, detector, faces_in
from microexpr.faces.landmarks import face_of_landmarks
from microexpr.faces.regions import MEAN_LANDMARKS

PICTURE = np.zeros((300, 400, 3), np.uint8)
HEADER = ["frame", "face_id", "timestamp", "confidence", "success", "gaze_0_x"]


def write_openface(path: Path, rows: list[tuple[int, int, np.ndarray]], space: str = " ", first: str = "") -> Path:
    """Rows of (frame, success, landmarks) as OpenFace writes them; old versions put a space after each comma."""
    names = [*HEADER, *(f"x_{n}" for n in range(68)), *(f"y_{n}" for n in range(68)), "AU01_r"]
    lines = [f",{space}".join(names)]
    for number, success, points in rows:
        values = [number, 0, 0.02 * number, 0.9, success, 0.1, *points[:, 0], *points[:, 1], 0.5]
        lines.append(f",{space}".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values))
    path.write_text(first + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def landmarks(left: float, top: float, side: float) -> np.ndarray:
    """The mean face in a box whose corner pixel's middle is (left, top)."""
    return np.round(MEAN_LANDMARKS * side - 0.5 + [left, top], 3)


def box(face: Face) -> tuple[float, float, float, float]:
    return face.x, face.y, face.width, face.height


@pytest.mark.parametrize("space", ["", " "])
@pytest.mark.parametrize("first", ["", "\ufeff"])
def test_openface_counts_from_one(tmp_path: Path, space: str, first: str):
    rows = [(number, 1, landmarks(10 * number, 20, 100)) for number in (1, 2, 3)]
    find = detector("file", path=write_openface(tmp_path / "video.csv", rows, space, first))
    for number in range(3):
        (face,) = faces_in(PICTURE, number, find)
        assert box(face) == pytest.approx((10 * (number + 1), 20, 100, 100), abs=0.2)
        assert face.score == 0.9
    assert find.landmarks(2)[0] == pytest.approx(rows[2][2], abs=1e-6)
    assert (find.name, find.version) == ("file", "video.csv")


def test_a_csv_with_a_frame_0_counts_from_zero(tmp_path: Path):
    rows = [(number, 1, landmarks(10 * number, 20, 100)) for number in (0, 1)]
    path = write_openface(tmp_path / "video.csv", rows)
    assert detector("file", path=path).at(1)[0].x == pytest.approx(10, abs=0.2)
    assert detector("file", path=path, first=1).at(0)[0].x == pytest.approx(10, abs=0.2)


def test_no_success_is_no_face_and_two_rows_are_two(tmp_path: Path):
    rows = [(1, 1, landmarks(0, 0, 100)), (1, 1, landmarks(200, 0, 100)), (2, 0, landmarks(0, 0, 100))]
    find = detector("file", path=write_openface(tmp_path / "video.csv", rows))
    assert len(find.at(0)) == 2
    assert find.at(1) == []
    with pytest.raises(BadInput, match=r"landmarks of frame 2 \(3 in the file\), got 2 frames from 1 to 2"):
        find.at(2)
    with pytest.raises(BadInput, match="the number of a frame"):
        find(PICTURE)


def test_columns_in_another_order(tmp_path: Path):
    path = write_openface(tmp_path / "video.csv", [(1, 1, landmarks(5, 6, 100))])
    with path.open(newline="") as file:
        rows = list(csv.reader(file, skipinitialspace=True))
    path.write_text("\n".join(",".join(reversed(row)) for row in rows))
    assert box(detector("file", path=path).at(0)[0]) == pytest.approx((5, 6, 100, 100), abs=0.2)


def test_npz_with_and_without_numbers(tmp_path: Path):
    points = np.stack([landmarks(0, 0, 100), landmarks(30, 0, 100), np.full((68, 2), np.nan)])
    np.savez(tmp_path / "all.npz", landmarks=points)
    every = detector("file", path=tmp_path / "all.npz")
    assert every.at(1)[0].x == pytest.approx(30, abs=0.1)
    assert every.at(2) == []
    np.savez(tmp_path / "some.npz", landmarks=points, frame=np.array([100, 104, 108]))
    some = detector("file", path=tmp_path / "some.npz", first=100)
    assert some.at(4)[0].x == pytest.approx(30, abs=0.1)
    with pytest.raises(BadInput, match=r"landmarks of frame 1 \(101 in the file\)"):
        some.at(1)


def test_a_turned_head_keeps_its_size():
    """Eyes half as far apart: their distance to the mouth still says how large the face is."""
    points = landmarks(0, 0, 100)
    points[:, 0] = 50 + 0.5 * (points[:, 0] - 50)
    assert face_of_landmarks(points).width == pytest.approx(100, abs=0.2)


def test_files_that_are_none(tmp_path: Path):
    with pytest.raises(BadInput, match="a landmark file for the face detector 'file', got none; pass path="):
        detector("file")
    with pytest.raises(BadInput, match="which is no file"):
        detector("file", path=tmp_path / "missing.csv")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(BadInput, match=r"\.csv or \.npz, got"):
        detector("file", path=tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "a table without the column frame"),
        (b"frame, x_0\n1, 2\n", "a table without the column x_1"),
        (b"\xff\xfe\x00", "a file that can't be read"),
    ],
)
def test_a_csv_that_is_none_of_openface(tmp_path: Path, content: bytes, what: str):
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=what):
        detector("file", path=path).at(0)


def test_a_broken_line_is_named(tmp_path: Path):
    path = write_openface(tmp_path / "video.csv", [(1, 1, landmarks(0, 0, 9)), (2, 1, landmarks(0, 0, 9))])
    whole = path.read_text()
    path.write_text(whole[:-300])
    with pytest.raises(BadInput, match="line 3 with"):
        detector("file", path=path).at(0)
    for value in ("nan", "inf"):
        path.write_text(whole.replace("\n2, ", f"\n{value}, "))
        with pytest.raises(BadInput, match="line 3 with"):
            detector("file", path=path).at(0)
    write_openface(path, [])
    with pytest.raises(BadInput, match="landmarks of at least one frame"):
        detector("file", path=path).at(0)


def test_an_npz_that_is_none(tmp_path: Path):
    path = tmp_path / "face.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(BadInput, match="a file that can't be read"):
        detector("file", path=path).at(0)
    np.savez(path, points=np.zeros((2, 68, 2)))
    with pytest.raises(BadInput, match="a file that can't be read"):
        detector("file", path=path).at(0)
    np.savez(path, landmarks=np.zeros((2, 49, 2)))
    with pytest.raises(BadInput, match=r"landmarks of shape \(2, 49, 2\)"):
        detector("file", path=path).at(0)
    np.savez(path, landmarks=np.zeros((2, 68, 2)), frame=np.arange(3))
    with pytest.raises(BadInput, match=r"frame of shape \(3,\)"):
        detector("file", path=path).at(0)


class Mesh:
    """In place of MediaPipe's FaceMesh: a face where the picture is bright."""

    made: list[dict] = []  # noqa: RUF012

    def __init__(self, **settings) -> None:
        self.made.append(settings)

    def process(self, picture: np.ndarray) -> types.SimpleNamespace:
        assert picture.flags.c_contiguous
        assert picture.ndim == 3
        height, width = picture.shape[:2]
        places = {33: (90, 50), 133: (110, 50), 362: (130, 50), 263: (150, 50), 61: (105, 85), 291: (135, 85)}
        empty = types.SimpleNamespace(x=0.0, y=0.0)
        mesh = [
            types.SimpleNamespace(x=(places[n][0] + 0.5) / width, y=(places[n][1] + 0.5) / height)
            if n in places
            else empty
            for n in range(468)
        ]
        found = [types.SimpleNamespace(landmark=mesh)] if picture.max() else None
        return types.SimpleNamespace(multi_face_landmarks=found)


def test_mediapipe_box_around_eyes_and_mouth(monkeypatch):
    face_mesh = types.SimpleNamespace(FaceMesh=Mesh)
    module = types.SimpleNamespace(__version__="0.10.21", solutions=types.SimpleNamespace(face_mesh=face_mesh))
    monkeypatch.setitem(sys.modules, "mediapipe", module)
    Mesh.made.clear()
    find = detector("mediapipe", most=2)
    assert (find.name, find.version) == ("mediapipe", "MediaPipe 0.10.21, face mesh")
    assert find(PICTURE) == []
    for picture in (PICTURE + np.uint8(9), PICTURE[..., 0] + np.uint8(9)):
        (face,) = find(picture)
        # By hand: eyes at (100, 50) and (140, 50), so the side is 40 / 0.40 = 35 / 0.35 = 100.
        assert box(face) == pytest.approx((120 - 49.5, 50 + 23.5 - 49.5, 100, 100))
    assert Mesh.made == [{"static_image_mode": True, "max_num_faces": 2, "min_detection_confidence": 0.5}]


def test_mediapipe_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingExtra, match=r"pip install 'microexpr\[mediapipe\]'"):
        detector("mediapipe")
    for settings in ({"most": 0}, {"threshold": 1.5}):
        with pytest.raises(BadInput, match="default"):
            detector("mediapipe", **settings)
