"""Detectors that know landmarks: a file that OpenFace or a program of yours wrote, and MediaPipe's face mesh.

Both lay the box of `faces.detect` around eyes and mouth. A single frame's landmarks jitter by a tenth of a pixel and
more, so they place the onset frame's box only; the frames after it are aligned by `faces.align`.
"""

from __future__ import annotations

import csv
import importlib
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, UInt8

from microexpr.errors import BadInput, MissingExtra
from microexpr.faces.detect import Face, around

POINTS = 68
# Six points of each eye and the two mouth corners in the 68-point layout, the picture's left first.
LEFT_EYE, RIGHT_EYE, MOUTH_CORNERS = slice(36, 42), slice(42, 48), [48, 54]
# The same in MediaPipe's mesh of 468 points: the two corners of each eye, the corners of the mouth.
MESH_LEFT_EYE, MESH_RIGHT_EYE, MESH_MOUTH = [33, 133], [362, 263], [61, 291]

# The faces of one frame: landmarks and how sure they are.
Found = list[tuple[Float64[np.ndarray, "68 2"], float]]


def face_of_landmarks(landmarks: Float[np.ndarray, "68 2"], score: float = 1.0) -> Face:
    """A box around eyes and mouth, of landmarks in iBUG's layout, frame pixels."""
    points = landmarks.astype(np.float64)
    eyes = np.stack([points[LEFT_EYE].mean(axis=0), points[RIGHT_EYE].mean(axis=0)])
    return around(eyes, points[MOUTH_CORNERS], score)


@dataclass(frozen=True)
class LandmarkFile:
    """68 landmarks a frame (iBUG's layout, pixels, centers at whole numbers) from a file; the picture is not looked at.

    A ``.csv`` is read as OpenFace's (Baltrusaitis et al. 2018, doi:10.1109/FG.2018.00019): columns ``frame``,
    ``x_0`` to ``x_67`` and ``y_0`` to ``y_67``, and where they are there ``success`` (0: no face in this frame) and
    ``confidence``. Several rows of one frame are several faces. An ``.npz`` holds ``landmarks`` "frame 68 2",
    not-a-number where there is no face, and where frames are left out their numbers in ``frame``.

    Attributes:
        path: the file.
        first: what the file calls the first frame of the video or the first picture of the folder. By default 0 for an
            ``.npz`` and for a CSV that has a frame 0, and 1, as OpenFace counts, for any other CSV.
    """

    path: Path | str | None = None
    first: int | None = None

    name = "file"

    def __post_init__(self) -> None:
        expected, advice = "a landmark file for the face detector 'file'", "pass path=, an OpenFace CSV or an .npz"
        if self.path is None:
            raise BadInput(expected, "none", advice)
        if not Path(self.path).is_file():
            raise BadInput(expected, f"{self.path}, which is no file", advice)
        if Path(self.path).suffix.lower() not in (".csv", ".npz"):
            raise BadInput(f"{expected}, .csv or .npz", str(self.path), advice)

    @property
    def version(self) -> str:
        return Path(str(self.path)).name

    def __call__(self, frame: UInt8[np.ndarray, "h w *c"]) -> list[Face]:
        raise BadInput("the number of a frame", "its picture", "ask the detector 'file' with at(number)")

    def at(self, number: int) -> list[Face]:
        """The faces of a frame by its number, from 0; none where the file says that there is none.

        Raises:
            BadInput: the file can't be read, or it doesn't have this frame.
        """
        return [face_of_landmarks(points, score) for points, score in self._found(number)]

    def landmarks(self, number: int) -> list[Float64[np.ndarray, "68 2"]]:
        """The landmarks of every face of a frame, as `at` counts and raises."""
        return [points for points, _ in self._found(number)]

    def _found(self, number: int) -> Found:
        first = self.first
        if first is None:
            first = 1 if Path(str(self.path)).suffix.lower() == ".csv" and 0 not in self._frames else 0
        if number + first not in self._frames:
            low, high = min(self._frames), max(self._frames)
            came = f"{len(self._frames)} frames from {low} to {high} in {self.path}, counted from {first}"
            advice = "give the landmarks of the whole recording, or first=, the number of its first frame in the file"
            raise BadInput(f"landmarks of frame {number} ({number + first} in the file)", came, advice)
        return self._frames[number + first]

    @cached_property
    def _frames(self) -> dict[int, Found]:
        path = Path(str(self.path))
        frames = _read_csv(path) if path.suffix.lower() == ".csv" else _read_npz(path)
        if not frames:
            raise BadInput("landmarks of at least one frame", f"{path}, which has none", "write it again")
        return frames


def _read_csv(path: Path) -> dict[int, Found]:
    wanted = ["frame", *(f"x_{n}" for n in range(POINTS)), *(f"y_{n}" for n in range(POINTS))]
    expected = f"an OpenFace CSV at {path}"
    advice = "write it with OpenFace's FeatureExtraction and 2D landmarks (-2Dfp)"
    frames: dict[int, Found] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, skipinitialspace=True)
            header = [name.strip() for name in next(rows, [])]
            if missing := [name for name in wanted if name not in header]:
                raise BadInput(expected, f"a table without the column {missing[0]}", advice)
            columns = [header.index(name) for name in wanted]
            success = header.index("success") if "success" in header else None
            confidence = header.index("confidence") if "confidence" in header else None
            for row in filter(None, rows):
                try:
                    number, *values = (float(row[column]) for column in columns)
                    found = frames.setdefault(int(number), [])
                    score = 1.0 if confidence is None else float(row[confidence])
                    seen = success is None or float(row[success]) != 0
                except (ValueError, IndexError, OverflowError) as error:
                    raise BadInput(expected, f"line {rows.line_num} with {error}", advice) from error
                if seen and np.isfinite(values).all():
                    found.append((np.array(values).reshape(2, POINTS).T.copy(), score))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(expected, f"a file that can't be read ({error})", advice) from error
    return frames


def _read_npz(path: Path) -> dict[int, Found]:
    expected = f'an .npz with landmarks "frame {POINTS} 2" at {path}'
    advice = "write it with numpy.savez(path, landmarks=...), and frame=, the numbers, where frames are left out"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            landmarks = np.asarray(arrays["landmarks"], np.float64)
            numbers = arrays["frame"] if "frame" in arrays else np.arange(len(landmarks))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BadInput(expected, f"a file that can't be read ({error})", advice) from error
    if landmarks.shape[1:] != (POINTS, 2) or numbers.shape != landmarks.shape[:1]:
        raise BadInput(expected, f"landmarks of shape {landmarks.shape}, frame of shape {numbers.shape}", advice)
    return {
        int(number): [(points, 1.0)] if np.isfinite(points).all() else []
        for number, points in zip(numbers, landmarks, strict=True)
    }


@dataclass(frozen=True)
class MediaPipe:
    """MediaPipe's face mesh, doi:10.48550/arXiv.1907.06724; every frame for itself, without tracking.

    Attributes:
        most: the largest number of faces that are found.
        threshold: the smallest confidence of its own detector, 0..1.
    """

    most: int = 4
    threshold: float = 0.5

    name = "mediapipe"

    def __post_init__(self) -> None:
        if self.most < 1:
            raise BadInput("faces of 1 or more", str(self.most), "4 is the default")
        if not 0 <= self.threshold <= 1:
            raise BadInput("a threshold in 0..1", str(self.threshold), "0.5 is the default")
        _mediapipe()  # says at once where it is missing

    @property
    def version(self) -> str:
        return f"MediaPipe {_mediapipe().__version__}, face mesh"

    def __call__(self, frame: UInt8[np.ndarray, "h w *c"]) -> list[Face]:
        height, width = frame.shape[:2]
        colors = np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame
        found = self._mesh.process(np.ascontiguousarray(colors)).multi_face_landmarks or []
        faces = []
        for mesh in found:
            points = np.array([(point.x * width - 0.5, point.y * height - 0.5) for point in mesh.landmark])
            eyes = np.stack([points[MESH_LEFT_EYE].mean(axis=0), points[MESH_RIGHT_EYE].mean(axis=0)])
            faces.append(around(eyes, points[MESH_MOUTH], 1.0))
        return faces

    @cached_property
    def _mesh(self) -> Any:
        return _mediapipe().solutions.face_mesh.FaceMesh(
            static_image_mode=True, max_num_faces=self.most, min_detection_confidence=self.threshold
        )


def _mediapipe() -> Any:
    try:
        return importlib.import_module("mediapipe")
    except ImportError as error:
        raise MissingExtra("mediapipe", "the face detector 'mediapipe'") from error
