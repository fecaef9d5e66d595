"""Alignment of the frames of a clip to its onset frame, exact to a few hundredths of a pixel.

One crop, found on the onset frame, serves the whole clip. What the head has moved since then is taken out by a residual
similarity from tracked points. A crop per frame would follow the jitter of its detector, which is as large as the
motion of the skin. Both are composed, so a frame is resampled once.

A transform is a 2x3 matrix that takes (x, y, 1) to (x, y); pixel centers are at whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from microexpr.errors import BadInput, UnknownName
from microexpr.faces.detect import Face, gray

RESIDUALS = ("points", "off")
SIZE = 224  # pixels, of the aligned face
WORKING_SIDE = 224.0  # the largest side that a face is tracked at; a larger one is shrunk to it
PADDING = 0.12  # sides of the face box around it, for points that move over its border

# Where no points are taken, in sides of the face box (left, top, right, bottom): what moves in an expression.
BROWS = (0.06, 0.06, 0.94, 0.22)
EYES = ((0.10, 0.22, 0.45, 0.38), (0.55, 0.22, 0.90, 0.38))
MOUTH = (0.22, 0.54, 0.78, 0.82)

WINDOW, LEVELS = 17, 2  # of the Lucas-Kanade pyramid
ITERATIONS, PRECISION = 10, 0.03  # of a point in a level: the most steps, and the step in pixels that ends them
FEWEST = 12  # points and inliers; a similarity has four unknowns
FEWEST_FRACTION = 0.2  # inliers to points
LARGEST_ZOOM = 1.25  # a face that grew or shrank by more is another one, or a wrong fit


@dataclass(frozen=True)
class Aligned:
    """One frame, laid over the onset frame's face.

    Attributes:
        image: the face, uint8, RGB "size size 3" or gray "size size" like the frame.
        transform: where points of the onset frame's head are in this frame, frame pixels, "2 3".
        shift_px: how far the middle of the face has moved since the onset frame, frame pixels.
        inliers: tracked points that move with the head; 0 with ``residual="off"``.
        lost: the points could not be followed, so only the onset frame's crop was applied.
    """

    image: UInt8[np.ndarray, "size size *c"]
    transform: Float64[np.ndarray, "2 3"]
    shift_px: float
    inliers: int
    lost: bool


def crop_transform(face: Face, size: int = SIZE, margin: float = 0.0) -> Float64[np.ndarray, "2 3"]:
    """The similarity from the frame to an upright `size` x `size` picture of the face.

    Args:
        face: a box that holds brows to chin, as the detectors of `faces.detect` return it.
        margin: what is added on every side of the box, in its sides; negative cuts.

    Raises:
        BadInput: a box or a size without extent.
    """
    side = max(face.width, face.height) * (1 + 2 * margin)
    if not (np.isfinite(side) and side > 0 and size > 0):
        came = f"a box of {face.width:g}x{face.height:g} with margin {margin:g} and size {size}"
        raise BadInput("a face box and a size above 0", came, "check the detector's box")
    scale = size / side
    middle = (size - 1) / 2
    return np.array([[scale, 0, middle - scale * face.center[0]], [0, scale, middle - scale * face.center[1]]])


def after(second: Float64[np.ndarray, "2 3"], first: Float64[np.ndarray, "2 3"]) -> Float64[np.ndarray, "2 3"]:
    """The transform that applies `first`, then `second`."""
    return second @ np.vstack([first, [0.0, 0.0, 1.0]])


def inverse(transform: Float64[np.ndarray, "2 3"]) -> Float64[np.ndarray, "2 3"]:
    """The transform back."""
    return np.linalg.inv(np.vstack([transform, [0.0, 0.0, 1.0]]))[:2]


class Registration:
    """The alignment of a clip: made of its onset frame, applied to any of its frames, in any order.

    Points of the onset frame's face, without brows, eyes and mouth, are found once (Shi and Tomasi 1994,
    doi:10.1109/CVPR.1994.323794) and followed into a frame by pyramidal Lucas-Kanade. A similarity is fitted by RANSAC,
    which leaves out the points that move against the head. OpenCV seeds it anew at every call: same frame, same result.

    Args:
        onset: the onset frame, RGB "h w 3" or gray "h w"; all frames have its size.
        face: its face.
        residual: ``"points"``, or ``"off"`` for the onset frame's crop alone, the common practice.
        points: largest number of points.
        quality: the weakest corner that is taken, as a fraction of the strongest.
        distance: smallest distance of two points, sides of the face box; what lies close together errs together.
        threshold: largest distance of an inlier from the fit, pixels of the tracked picture.
        size, margin: see `crop_transform`.

    Pixels of the tracked picture are frame pixels up to a face of `WORKING_SIDE`; larger faces are shrunk to it.
    The defaults are the quickest of those that were not less exact than any slower ones, see
    ``benchmarks/registration.py``: a tight threshold leaves out more of what moves with the face, and a hundred points
    that keep apart serve better than more of them close together. Gray frames are aligned in less time than RGB ones.

    Raises:
        BadInput: the frame is not RGB or gray, the face box lies outside it, or a setting is out of range.
        UnknownName: no such residual.
    """

    def __init__(
        self,
        onset: UInt8[np.ndarray, "h w *c"],
        face: Face,
        residual: str = "points",
        points: int = 100,
        quality: float = 0.005,
        distance: float = 0.035,
        threshold: float = 0.18,
        *,
        size: int = SIZE,
        margin: float = 0.0,
    ) -> None:
        if residual not in RESIDUALS:
            raise UnknownName("residual alignment", residual, RESIDUALS)
        if points < FEWEST or not 0 < quality < 1 or distance < 0 or threshold <= 0:
            came = f"points {points}, quality {quality:g}, distance {distance:g}, threshold {threshold:g}"
            wanted = f"points of {FEWEST} or more, quality in 0..1, distance and threshold of 0 or more"
            raise BadInput(wanted, came, "the defaults serve faces of any size")
        self.face, self.residual, self.size, self.threshold = face, residual, size, threshold
        self.crop = crop_transform(face, size, margin)
        self._shape = onset.shape[:2]
        self._region = _region(face, self._shape)
        self._scale = min(1.0, WORKING_SIDE / max(face.width, face.height))
        self._points: Float32[np.ndarray, "points 2"] = np.zeros((0, 2), np.float32)
        if residual == "points":
            picture = self._tracked(onset)
            apart = distance * self._scale * max(face.width, face.height)
            self._points = _corners(picture, self._mask(picture.shape), points, quality, apart)
            self._onset = picture

    def transform(self, frame: UInt8[np.ndarray, "h w *c"]) -> tuple[Float64[np.ndarray, "2 3"], int]:
        """Where points of the onset frame's head are in this frame: a similarity, frame pixels; and its inliers.

        The identity with 0 inliers where too few points could be followed or with ``residual="off"``.
        """
        import cv2

        self._check(frame)
        identity = np.eye(2, 3)
        if len(self._points) < FEWEST:
            return identity, 0
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, PRECISION)
        # OpenCV builds the onset's pyramid anew each time: its Python binding takes pictures only.
        there, found, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]  # OpenCV's stubs forbid None
            self._onset,
            self._tracked(frame),
            self._points,
            None,
            winSize=(WINDOW, WINDOW),
            maxLevel=LEVELS,
            criteria=criteria,
        )
        kept = found.ravel() == 1
        if kept.sum() < FEWEST:
            return identity, 0
        fit, inside = cv2.estimateAffinePartial2D(
            self._points[kept], there[kept], method=cv2.RANSAC, ransacReprojThreshold=self.threshold
        )
        inliers = 0 if fit is None else int(inside.sum())
        if inliers < max(FEWEST, FEWEST_FRACTION * len(self._points)):
            return identity, 0
        if not 1 / LARGEST_ZOOM < np.hypot(fit[0, 0], fit[1, 0]) < LARGEST_ZOOM:
            return identity, 0
        to_tracked = self._to_tracked()
        return after(inverse(to_tracked), after(fit, to_tracked)), inliers

    def align(self, frame: UInt8[np.ndarray, "h w *c"]) -> Aligned:
        """A frame, laid over the onset frame's face: resampled once; beyond its border it is continued.

        Between pixels it is linear: a bicubic picture takes ten times as long and gives no better flow.

        Raises:
            BadInput: the frame is of another size than the onset frame.
        """
        import cv2

        frame = np.ascontiguousarray(frame)
        moved, inliers = self.transform(frame)
        # From the aligned face to the onset frame, on to this frame.
        lookup = after(moved, inverse(self.crop))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image = cv2.warpAffine(frame, lookup, (self.size, self.size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        middle = np.array([*self.face.center, 1.0])
        shift = float(np.hypot(*(moved @ middle - middle[:2])))
        return Aligned(image, moved, shift, inliers, self.residual == "points" and inliers == 0)

    def _check(self, frame: np.ndarray) -> None:
        if frame.shape[:2] != self._shape:
            sizes = [f"{width}x{height}" for height, width in (self._shape, frame.shape[:2])]
            raise BadInput(f"frames of {sizes[0]}, like the onset frame", sizes[1], "use frames of one video")

    def _to_tracked(self) -> Float64[np.ndarray, "2 3"]:
        """From the frame to the tracked picture."""
        left, top, _, _ = self._region
        shift = 0.5 * (self._scale - 1)  # shrinking keeps the corners of the outer pixels, not their middles
        return np.array([[self._scale, 0, shift - self._scale * left], [0, self._scale, shift - self._scale * top]])

    def _tracked(self, frame: UInt8[np.ndarray, "h w *c"]) -> UInt8[np.ndarray, "_ _"]:
        """What points are tracked in: the gray face and its surroundings."""
        import cv2

        left, top, right, bottom = self._region
        picture = gray(np.ascontiguousarray(frame[top:bottom, left:right]))
        if self._scale == 1:
            return picture
        # The scale as given, not the quotient of rounded sizes: the picture may lose a part of a pixel at its end.
        matrix = np.array([[self._scale, 0, 0.5 * (self._scale - 1)], [0, self._scale, 0.5 * (self._scale - 1)]])
        size = tuple(max(1, int(length * self._scale)) for length in picture.shape[::-1])
        if self._scale < 0.75:
            picture = cv2.GaussianBlur(picture, (0, 0), 0.5 / self._scale)
        return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _mask(self, shape: tuple[int, ...]) -> UInt8[np.ndarray, "h w"]:
        """255 where points may be: in the ellipse of the face box, outside brows, eyes and mouth."""
        x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
        to_tracked = self._to_tracked()
        corner = to_tracked @ np.array([self.face.x - 0.5, self.face.y - 0.5, 1.0])
        across = (x - corner[0]) / (self._scale * self.face.width)
        down = (y - corner[1]) / (self._scale * self.face.height)
        inside = ((across - 0.5) / 0.46) ** 2 + ((down - 0.5) / 0.5) ** 2 <= 1
        for left, top, right, bottom in (BROWS, *EYES, MOUTH):
            inside &= ~((left <= across) & (across <= right) & (top <= down) & (down <= bottom))
        return np.where(inside, np.uint8(255), np.uint8(0))


def _region(face: Face, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the face and its padding, cut at the frame; the last two are not part of it."""
    x, y = PADDING * face.width, PADDING * face.height
    left, right = max(0, int(face.x - x)), min(shape[1], int(np.ceil(face.x + face.width + x)))
    top, bottom = max(0, int(face.y - y)), min(shape[0], int(np.ceil(face.y + face.height + y)))
    if right - left < WINDOW or bottom - top < WINDOW:
        came = f"a box of {face.width:.0f}x{face.height:.0f} at ({face.x:.0f}, {face.y:.0f})"
        raise BadInput(f"a face of {WINDOW} pixels or more in the frame", came, "check the detector's box")
    return left, top, right, bottom


def _corners(
    picture: UInt8[np.ndarray, "h w"], mask: UInt8[np.ndarray, "h w"], points: int, quality: float, distance: float
) -> Float32[np.ndarray, "points 2"]:
    import cv2

    found = cv2.goodFeaturesToTrack(picture, points, quality, distance, mask=mask)
    return np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)
