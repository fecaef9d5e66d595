"""A frame -> the boxes of its faces, by a detector chosen by name.

Every detector returns boxes of one convention, which is what alignment cuts out: upright squares from above the brows
to the chin, a little wider than the cheeks. How a detector's own box becomes one is measured on a portrait.
"""

from __future__ import annotations

import importlib
import typing
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from microexpr.errors import BadInput, UnknownName

# name -> ("module:class", what it is)
DETECTORS: dict[str, tuple[str, str]] = {
    "file": ("microexpr.faces.landmarks:LandmarkFile", "landmarks from an OpenFace CSV or an .npz file of yours"),
    "haar": ("microexpr.faces.detect:Haar", "frontal faces, by the cascades that come with OpenCV (default)"),
    "mediapipe": ("microexpr.faces.landmarks:MediaPipe", "MediaPipe's face mesh (the extra 'mediapipe')"),
    "precropped": ("microexpr.faces.detect:Precropped", "the frame is a face crop already: its largest middle square"),
    "yunet": ("microexpr.faces.detect:YuNet", "OpenCV's FaceDetectorYN, with a model file of yours"),
}
# What `--detector-file` is for those that read one.
FILE_SETTINGS = {"yunet": "model", "file": "path"}
CASCADES = ("default", "alt2")
# The types that settings of detectors have: what is taken for each, and its name in a message.
KINDS: dict[type, tuple[type, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
    Path: (Path, "a path"),
}

# A cascade's box ends above the chin: it is moved down and enlarged, in sides of the box. Measured on the portrait.
HAAR_DOWN = {"default": 0.13, "alt2": 0.12}
HAAR_SIDE = {"default": 1.04, "alt2": 1.10}
# Where the features lie in a box, in sides of the box: the same portrait.
EYE_DISTANCE, EYES_TO_MOUTH, EYES_FROM_TOP = 0.40, 0.35, 0.265


@dataclass(frozen=True)
class Face:
    """A box in frame pixels, pixel centers at whole numbers: it holds brows to chin, and may reach over the frame.

    Attributes:
        x, y: the middle of its top left pixel.
        width, height: its size.
        score: how sure the detector is, in its own unit; larger is surer.
    """

    x: float
    y: float
    width: float
    height: float
    score: float = 1.0

    @property
    def center(self) -> tuple[float, float]:
        return self.x + (self.width - 1) / 2, self.y + (self.height - 1) / 2


@runtime_checkable
class Detector(Protocol):
    """Finds faces; `name` and `version` go into the output.

    Optional: ``at(number) -> list[Face]``, for a detector that knows the faces by the frame's number (`Frame.index` of
    the source, from 0) and not by the picture. Where a detector has it, it is used instead of the call; `faces_in` does
    so.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def __call__(self, frame: UInt8[np.ndarray, "h w *c"]) -> list[Face]: ...


def detector(name: str = "haar", **options: Any) -> Detector:
    """A detector by name.

    Args:
        name: a key of `DETECTORS`.
        options: settings of its class.

    Raises:
        UnknownName: no such detector.
        BadInput: a setting that it doesn't have, or one with a value that it can't have.
    """
    if not isinstance(name, str):
        raise BadInput("the name of a face detector", repr(name), f"give one of {', '.join(DETECTORS)}")
    if name not in DETECTORS:
        raise UnknownName("face detector", name, DETECTORS)
    module, _, kind = DETECTORS[name][0].partition(":")
    made = getattr(importlib.import_module(module), kind)
    known = made.__dataclass_fields__
    if unknown := [option for option in options if option not in known]:
        advice = f"it has {', '.join(known)}" if known else "it has none"
        raise BadInput(f"settings of the face detector {name!r}", unknown[0], advice)
    hints = typing.get_type_hints(made)
    typed = {}
    for option, value in options.items():
        default = known[option].default
        advice = f"give {option}= another value" if default is None else f"{default!r} is the default"
        typed[option] = _as_hinted(f"{option} of the face detector {name!r}", value, hints[option], advice)
    return made(**typed)


def _as_hinted(what: str, value: Any, hint: Any, advice: str) -> Any:
    """A value in a type that the hint allows, or BadInput: numbers of numpy are numbers, text is none."""
    allowed = typing.get_args(hint) or (hint,)
    if value is None and type(None) in allowed:
        return None
    kinds = [kind for kind in allowed if kind in KINDS]
    for kind in kinds:
        if isinstance(value, KINDS[kind][0]) and not isinstance(value, bool):
            return kind(value)
    raise BadInput(f"{what} to be {' or '.join(KINDS[kind][1] for kind in kinds)}", repr(value), advice)


def faces_in(frame: UInt8[np.ndarray, "h w *c"], number: int, find: Detector) -> list[Face]:
    """The faces of a frame, asked for by its number where the detector knows them by number.

    Raises:
        BadInput: the frame is not RGB or gray, or the detector's file holds no such number.
    """
    by_number = getattr(find, "at", None)
    return find(frame) if by_number is None else by_number(number)


def choose(faces: list[Face], frame_number: int) -> tuple[Face, str | None]:
    """The largest face, and a note where there were several; of equally large ones, the surest.

    Raises:
        BadInput: there is no face.
    """
    if not faces:
        advice = (
            "begin the clip where the face is seen from the front and in good light, try another detector, "
            "or use 'precropped' where the frames are face crops"
        )
        raise BadInput("a face", f"none in frame {frame_number}", advice)
    face = max(faces, key=lambda one: (one.width * one.height, one.score))
    if len(faces) == 1:
        return face, None
    return face, f"{len(faces)} faces in frame {frame_number}; took the largest, {face.width:.0f} pixels wide"


@dataclass(frozen=True)
class Haar:
    """Viola and Jones' cascade of boosted Haar features, doi:10.1109/CVPR.2001.990517, as OpenCV ships it.

    Attributes:
        cascade: one of `CASCADES`.
        width: frames wider than this are shrunk to it for the search, pixels.
        smallest: the smallest face that is looked for, as a fraction of the frame's shorter side.
        neighbors: how many overlapping finds make a face; fewer finds more faces and more that are none.
    """

    cascade: str = "default"
    width: int = 480
    smallest: float = 0.15
    neighbors: int = 5

    name = "haar"

    def __post_init__(self) -> None:
        if self.cascade not in CASCADES:
            raise UnknownName("cascade", self.cascade, CASCADES)
        if self.width < 48:
            raise BadInput("a width of 48 or more", str(self.width), "no face is found in so few pixels")
        if not 0 < self.smallest <= 1:
            raise BadInput("a smallest face in 0..1 of the frame", str(self.smallest), "0.15 is the default")
        if self.neighbors < 1:
            raise BadInput("neighbors of 1 or more", str(self.neighbors), "5 is the default")

    @property
    def version(self) -> str:
        import cv2

        return f"OpenCV {cv2.__version__}, haarcascade_frontalface_{self.cascade}"

    def __call__(self, frame: UInt8[np.ndarray, "h w *c"]) -> list[Face]:
        import cv2

        path = Path(cv2.__file__).parent / "data" / f"haarcascade_frontalface_{self.cascade}.xml"
        cascade = cv2.CascadeClassifier(str(path))
        if cascade.empty():
            raise BadInput(f"OpenCV's {path.name}", "an OpenCV without it", "install OpenCV 4.11 or later, below 5")
        picture = gray(frame)
        scale = min(1.0, self.width / picture.shape[1])
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        side = max(24, round(self.smallest * min(picture.shape)))
        boxes, _, weights = cascade.detectMultiScale3(
            cv2.equalizeHist(picture), 1.1, self.neighbors, minSize=(side, side), outputRejectLevels=True
        )
        faces = []
        for (x, y, width, height), weight in zip(boxes, np.ravel(weights), strict=True):
            across, down = (x + width / 2) / scale - 0.5, (y + (0.5 + HAAR_DOWN[self.cascade]) * height) / scale - 0.5
            faces.append(_square(across, down, HAAR_SIDE[self.cascade] * width / scale, float(weight)))
        return faces


@dataclass(frozen=True)
class Precropped:
    """No search: the largest square in the middle of the frame is the face."""

    name = "precropped"
    version = "1"

    def __call__(self, frame: UInt8[np.ndarray, "h w *c"]) -> list[Face]:
        height, width = frame.shape[:2]
        return [_square((width - 1) / 2, (height - 1) / 2, min(width, height), 1.0)]


@dataclass(frozen=True)
class YuNet:
    """YuNet, doi:10.1007/s11633-023-1423-y, through OpenCV's FaceDetectorYN. The box is laid around eyes and mouth.

    Attributes:
        model: the ONNX file; none comes with OpenCV or with this package.
        threshold: the smallest score, 0..1.
    """

    model: Path | str | None = None
    threshold: float = 0.7

    name = "yunet"

    def __post_init__(self) -> None:
        advice = "pass model=, a face_detection_yunet ONNX file of OpenCV's model zoo"
        if self.model is None:
            raise BadInput("a model file for the face detector 'yunet'", "none", advice)
        if not Path(self.model).is_file():
            raise BadInput("a model file for the face detector 'yunet'", f"{self.model}, which is no file", advice)
        if not 0 <= self.threshold <= 1:
            raise BadInput("a threshold in 0..1", str(self.threshold), "0.7 is the default")

    @property
    def version(self) -> str:
        import cv2

        return f"OpenCV {cv2.__version__}, {Path(str(self.model)).name}"

    def __call__(self, frame: UInt8[np.ndarray, "h w *c"]) -> list[Face]:
        import cv2

        height, width = frame.shape[:2]
        colors = cv2.COLOR_GRAY2BGR if frame.ndim == 2 else cv2.COLOR_RGB2BGR
        try:
            network = cv2.FaceDetectorYN.create(str(self.model), "", (width, height), self.threshold)
            _, rows = network.detect(cv2.cvtColor(frame, colors))
        except cv2.error as error:
            came = f"{self.model}, which OpenCV can't run"
            raise BadInput("a YuNet model", came, "download it again, in the version for this OpenCV") from error
        return [] if rows is None else [face_of_row(row) for row in rows]


def face_of_row(row: Float[np.ndarray, "fields=15"]) -> Face:
    """One row of FaceDetectorYN (box, eyes, nose tip, mouth corners, score) -> a box around eyes and mouth."""
    points = row[4:14].reshape(5, 2).astype(float)
    return around(points[:2], points[3:], float(row[14]))


def around(eyes: Float[np.ndarray, "eyes=2 2"], mouth: Float[np.ndarray, "corners=2 2"], score: float) -> Face:
    """The box of a face by the middles of its eyes and the corners of its mouth, (x, y) in frame pixels.

    Of the two distances the one that asks for the larger box counts: a turned head brings the eyes together.
    """
    middle, lips = eyes.mean(axis=0), mouth.mean(axis=0)
    between, below = np.hypot(*(eyes[1] - eyes[0])), np.hypot(*(lips - middle))
    side = float(max(between / EYE_DISTANCE, below / EYES_TO_MOUTH))
    return _square(float(middle[0]), float(middle[1]) + (0.5 - EYES_FROM_TOP) * side, side, score)


def _square(across: float, down: float, side: float, score: float) -> Face:
    """The box around a middle (across, down)."""
    return Face(float(across - (side - 1) / 2), float(down - (side - 1) / 2), float(side), float(side), score)


def gray(frame: UInt8[np.ndarray, "h w *c"]) -> UInt8[np.ndarray, "h w"]:
    """A frame as gray levels; gray stays as it is.

    Raises:
        BadInput: it is neither RGB "h w 3" nor gray "h w".
    """
    import cv2

    if frame.ndim == 2:
        return frame
    if frame.ndim == 3 and frame.shape[2] == 3:
        return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    raise BadInput('a frame "h w 3" (RGB) or "h w" (gray)', f"an array of shape {frame.shape}", "transpose or cut it")
