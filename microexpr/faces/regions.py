"""Regions of the aligned face: a mean face, named boxes, block grids and the 36 regions of MDMO.

Places are (x, y) in sides of the aligned crop (`faces.align.crop_transform`), 0..1 from its upper left corner to its
lower right one: on a crop of `size` pixels the place p is at p * size - 0.5, pixel centers at whole numbers. "left" and
"right" are sides of the picture as seen, so the subject's own left brow is the "right brow".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from microexpr.errors import BadInput

# Feature points of the mean face, of the left half; the right half is its mirror image. Eyes and mouth lie where the
# box convention of `faces.detect` puts them, the rest where rendered faces show it, on the average of 16 subjects.
_LEFT_HALF = {
    "forehead": (0.370, 0.090),
    "inner brow": (0.380, 0.175),
    "middle brow": (0.270, 0.150),
    "outer brow": (0.165, 0.178),
    "upper lid": (0.300, 0.228),
    "lower lid": (0.300, 0.302),
    "outer eye": (0.140, 0.285),
    "cheek": (0.228, 0.460),
    "nostril": (0.400, 0.500),
    "upper lip": (0.400, 0.597),
    "mouth corner": (0.306, 0.615),
    "lower lip": (0.428, 0.715),
    "chin": (0.412, 0.860),
}
MEAN_FACE: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    name: ((x, y), (1 - x, y)) for name, (x, y) in _LEFT_HALF.items()
}

Box = tuple[float, float, float, float]
# The eye openings and the lids around them, (left, top, right, bottom).
EYE_OPENINGS: tuple[Box, Box] = ((0.12, 0.205, 0.455, 0.345), (0.545, 0.205, 0.88, 0.345))

# Name -> (left, top, right, bottom). None touches the `EYE_OPENINGS`; no two overlap.
NAMED: dict[str, Box] = {
    "forehead": (0.30, 0.02, 0.70, 0.10),
    "left brow": (0.11, 0.10, 0.33, 0.20),
    "left inner brow": (0.33, 0.10, 0.50, 0.20),
    "right inner brow": (0.50, 0.10, 0.67, 0.20),
    "right brow": (0.67, 0.10, 0.89, 0.20),
    "left cheek": (0.14, 0.37, 0.35, 0.54),
    "right cheek": (0.65, 0.37, 0.86, 0.54),
    "nose": (0.37, 0.42, 0.63, 0.55),
    "left mouth corner": (0.23, 0.56, 0.38, 0.70),
    "right mouth corner": (0.62, 0.56, 0.77, 0.70),
    "upper lip": (0.39, 0.56, 0.61, 0.63),
    "lower lip": (0.39, 0.66, 0.61, 0.77),
    "chin": (0.35, 0.79, 0.65, 0.93),
}
NAMES: tuple[str, ...] = tuple(NAMED)
# Numbers of the regions beside the eyes. A blink covers the eye, which flow takes for a large motion and carries on to
# them: by up to two pixels of 112 in the brows of rendered faces.
NEAR_EYES: tuple[int, ...] = tuple(number for number, name in enumerate(NAMES) if "brow" in name or "cheek" in name)


def region_means(field: Float[np.ndarray, "2 h w"]) -> Float32[np.ndarray, "region 2"]:
    """The mean vector of a flow field in every named region, in the order of `NAMES`.

    Args:
        field: flow of the whole aligned crop, of any size, finite. A pixel that a box cuts counts with the part that
            lies inside, so fields of two sizes give the same means.

    Returns:
        u and v, in the unit of the field.
    """
    down, across = _weights(tuple(NAMED.values()), *field.shape[1:])
    # A box is a row weight times a column weight, so its mean is two small products: a fifth of the time of slices.
    rows = down @ np.asarray(field, np.float32)
    return np.ascontiguousarray((rows * across).sum(axis=2).T)


def eye_motion(field: Float[np.ndarray, "2 h w"]) -> Float32[np.ndarray, "eye=2"]:
    """The mean length of the flow vectors in each of the `EYE_OPENINGS`, left and right, in the unit of the field.

    It tells a blink: its flow points all ways, so it shows in the mean of the lengths more than in the mean vector. On
    112x112 pixels of rendered faces it was 0.83 or more of the largest `region_means` beside the eyes in blinks, and
    0.57 or less in movements of brows, lids and cheeks.
    """
    down, across = _weights(EYE_OPENINGS, *field.shape[1:])
    u, v = np.asarray(field, np.float32)
    return ((down @ np.hypot(u, v)) * across).sum(axis=1)


@lru_cache(maxsize=16)
def _weights(
    boxes: tuple[Box, ...], height: int, width: int
) -> tuple[Float32[np.ndarray, "box h"], Float32[np.ndarray, "box w"]]:
    """What every row and every column of pixels counts in every box; each row of both sums to one."""
    edges = np.array(boxes)
    return _cover(edges[:, 1], edges[:, 3], height), _cover(edges[:, 0], edges[:, 2], width)


def _cover(
    starts: Float64[np.ndarray, " box"], ends: Float64[np.ndarray, " box"], length: int
) -> Float32[np.ndarray, "box length"]:
    """How much of each of `length` pixels lies between start and end, summing to one."""
    edges = np.arange(length)
    low, high = starts[:, None] * length, ends[:, None] * length
    cover = np.clip(np.minimum(high, edges + 1) - np.maximum(low, edges), 0, None)
    return (cover / cover.sum(axis=1, keepdims=True)).astype(np.float32)


def grid(height: int, width: int, rows: int, columns: int, overlap: float = 0.0) -> list[tuple[slice, slice]]:
    """Blocks of a picture, row by row, each as (rows, columns) to index with.

    Args:
        overlap: what neighbors share, as a fraction of a block's side; 0 divides the picture without rest.

    Raises:
        BadInput: no block, more blocks than pixels, or an overlap outside 0..1.
    """
    if not (1 <= rows <= height and 1 <= columns <= width and 0 <= overlap < 1):
        came = f"{rows}x{columns} with overlap {overlap:g} on a picture {height} high and {width} wide"
        raise BadInput("rows and columns from 1 up to the pixels there are, and an overlap in 0..1", came, "use fewer")
    down, across = _spans(height, rows, overlap), _spans(width, columns, overlap)
    return [(above, beside) for above in down for beside in across]


def _spans(length: int, count: int, overlap: float) -> list[slice]:
    side = length / (count - (count - 1) * overlap)
    step = side * (1 - overlap)
    edges = [(round(number * step), round(number * step + side)) for number in range(count)]
    return [slice(start, max(end, start + 1)) for start, end in edges]


# The mean face in the 68-point layout of iBUG (Sagonas et al. 2013, doi:10.1109/ICCVW.2013.59): points of the left half
# and of the midline by number, drawn up by us. Eyes (means of six points) and mouth corners agree with `MEAN_FACE`.
# fmt: off
_LEFT_LANDMARKS = {
    0: (0.055, 0.280), 1: (0.060, 0.390), 2: (0.075, 0.500), 3: (0.100, 0.610), 4: (0.145, 0.715),
    5: (0.210, 0.810), 6: (0.290, 0.885), 7: (0.390, 0.940), 8: (0.500, 0.960),  # jaw
    17: (0.130, 0.195), 18: (0.185, 0.155), 19: (0.255, 0.143), 20: (0.325, 0.152), 21: (0.390, 0.172),  # brow
    27: (0.500, 0.255), 28: (0.500, 0.320), 29: (0.500, 0.385), 30: (0.500, 0.450),  # bridge of the nose
    31: (0.415, 0.500), 32: (0.455, 0.515), 33: (0.500, 0.525),  # under the nose
    36: (0.200, 0.268), 37: (0.265, 0.235), 38: (0.335, 0.235), 39: (0.400, 0.272), 40: (0.335, 0.290),
    41: (0.265, 0.290),  # eye
    48: (0.306, 0.615), 49: (0.375, 0.592), 50: (0.440, 0.577), 51: (0.500, 0.584), 57: (0.500, 0.712),
    58: (0.440, 0.705), 59: (0.370, 0.672),  # lips, outer edge
    60: (0.330, 0.617), 61: (0.430, 0.620), 62: (0.500, 0.624), 66: (0.500, 0.636), 67: (0.430, 0.632),  # inner edge
}
# fmt: on
# Where a point's mirror image is in the layout.
MIRRORED: tuple[int, ...] = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)


def _mean_landmarks() -> Float64[np.ndarray, "68 2"]:
    points = np.zeros((68, 2))
    for number, (x, y) in _LEFT_LANDMARKS.items():
        points[MIRRORED[number]] = 1 - x, y
        points[number] = x, y
    points.setflags(write=False)
    return points


MEAN_LANDMARKS: Float64[np.ndarray, "68 2"] = _mean_landmarks()


def mean_landmarks(size: int) -> Float64[np.ndarray, "68 2"]:
    """`MEAN_LANDMARKS` on an aligned crop of `size` pixels: pixel coordinates (x, y)."""
    return MEAN_LANDMARKS * size - 0.5


# The published flow maps show less of the face than our crop: eyes 0.58 of the width apart and at a quarter of the
# height, read off the mean strain of the 442 maps. (left, top, right, bottom) in sides of the aligned face.
MAP_CROP: Box = (0.155, 0.0925, 0.845, 0.7825)


def map_landmarks(size: int) -> Float64[np.ndarray, "68 2"]:
    """`MEAN_LANDMARKS` on a published map of `size` pixels; jaw, chin and temples lie outside of it."""
    left, top, right, bottom = MAP_CROP
    return (MEAN_LANDMARKS - [left, top]) / [right - left, bottom - top] * size - 0.5


# MDMO's regions of the left half. A corner is a landmark, or (landmarks, rise): their mean, moved up the face by `rise`
# distances between the eyes. The corners that touch the midline are their own mirror images.
Corner = int | tuple[tuple[int, ...], float]
_UP, _UNDER = 0.25, -0.25
_CHEEK: Corner = ((2, 31), 0.0)
MDMO: dict[str, tuple[Corner, ...]] = {
    "outer forehead": (17, 18, 19, ((19,), _UP), ((18,), _UP), ((17,), _UP)),
    "inner forehead": (19, 20, 21, ((21,), _UP), ((20,), _UP), ((19,), _UP)),
    "between the brows": (21, ((21,), _UP), ((21, 22), _UP), 27, 39),
    "upper lid, outside": (17, 18, 19, 37, 36),
    "upper lid, inside": (19, 20, 21, 39, 38, 37),
    "lower lid, outside": (36, 41, ((41, 40), 0.0), ((41, 40), _UNDER), ((36,), _UNDER)),
    "lower lid, inside": (((41, 40), 0.0), 40, 39, ((39,), _UNDER), ((41, 40), _UNDER)),
    "temple": (0, 17, 36, ((36,), _UNDER), 1),
    "bridge of the nose": (39, 27, 28, 29, ((39,), _UNDER)),
    "wing of the nose": (((39,), _UNDER), 29, 30, 33, 32, 31),
    "upper cheek, outside": (1, ((36,), _UNDER), _CHEEK, 2),
    "upper cheek, inside": (((36,), _UNDER), ((41, 40), _UNDER), ((39,), _UNDER), 31, _CHEEK),
    "lower cheek, outside": (2, _CHEEK, 48, 4, 3),
    "lower cheek, inside": (_CHEEK, 31, 49, 48),
    "over the lip": (31, 32, 33, 51, 50, 49),
    "lips": (48, 49, 50, 51, 57, 58, 59),
    "under the mouth corner": (48, 59, 58, 6, 5, 4),
    "chin": (58, 57, 8, 7, 6),
}
MDMO_REGIONS = 2 * len(MDMO)


def mdmo_regions(landmarks: Float[np.ndarray, "points 2"], shape: tuple[int, int]) -> Int[np.ndarray, "h w"]:
    """The 36 regions of MDMO as a label map: 0 outside, 1..18 the left half in the order of `MDMO`, 19..36 the right.

    Liu et al. 2016 (doi:10.1109/TAFFC.2015.2485205) divide the face into 36 regions by 66 landmarks, partly by action
    units. The corners of their regions are not in the text that we have: this division of ours has their number, is
    mirror-symmetric, leaves the eye openings out and uses no landmark that the 66-point layout (iBUG's 68 without the
    inner mouth corners) numbers otherwise.

    Args:
        landmarks: 66 or 68 points (x, y), pixels of the picture, centers at whole numbers; e.g. `mean_landmarks`.
        shape: height and width of the picture.

    Raises:
        BadInput: another number of points, points that are not finite, or eyes in one place.
    """
    import cv2

    if len(landmarks) not in (66, 68):
        raise BadInput("66 or 68 landmarks in iBUG's layout", str(len(landmarks)), "use another landmark file")
    points = np.asarray(landmarks, np.float64)
    between = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
    if not (np.isfinite(points).all() and np.hypot(*between) > 0):
        raise BadInput("landmarks of a face", "points that are not finite or all in one place", "check the landmarks")
    up = np.array([between[1], -between[0]])
    labels = np.zeros(shape, np.int32)
    for side, turned in ((0, False), (1, True)):
        for number, corners in enumerate(MDMO.values(), start=1 + side * len(MDMO)):
            outline = np.array([_place(corner, points, up, turned) for corner in corners])
            # Sixteenths of a pixel, as OpenCV's fixed point wants them.
            cv2.fillPoly(labels, [np.rint(16 * outline).astype(np.int32)], number, shift=4)
    return labels


def _place(
    corner: Corner, points: Float64[np.ndarray, "points 2"], up: Float64[np.ndarray, "axes=2"], turned: bool
) -> Float64[np.ndarray, "axes=2"]:
    numbers, rise = ((corner,), 0.0) if isinstance(corner, int) else corner
    if turned:
        numbers = tuple(MIRRORED[number] for number in numbers)
    return points[list(numbers)].mean(axis=0) + rise * up
