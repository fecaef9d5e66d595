"""The main direction of the flow in each of 36 regions of the face: what MDMO and Sparse MDMO are made of.

Liu et al. 2016, doi:10.1109/TAFFC.2015.2485205; what their abstract leaves open follows the re-implementation in
tvaranka/meb, "meb" below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Shaped, UInt8

from microexpr.errors import BadInput
from microexpr.faces.regions import MDMO_REGIONS, MEAN_LANDMARKS, map_landmarks, mdmo_regions
from microexpr.methods._settings import check_choice, check_frame, check_range
from microexpr.motion.flow import MODES, SMALLEST, clip_flow, flow_between
from microexpr.types import Clip, Frames

DRIFTS = ("affine", "translation", "none")
SECTORS = 8  # of 45 degrees, the first one around 0 (meb)
# Landmarks that an expression hardly moves (meb): jaw outline without the chin, tip of the nose.
STABLE = (*range(6), *range(11, 17), 30)
# A vector shorter than this part of the largest component of its field is none: rounding leaves such vectors of a shift
# that was taken off, and of vectors that cancel out.
ROUNDING = 1e-5
SMALLEST_FACE = 8  # pixels between the eyes: below, 36 regions have no pixels of their own
SMALLEST_SIZE = 32  # of a clip's fields: the mean face has 12 pixels between its eyes there


def directions(
    flows: np.ndarray, *, landmarks: np.ndarray | None = None, drift: str = "affine"
) -> Float64[np.ndarray, "frame 36 2"]:
    """The main direction of every region in every frame.

    Args:
        flows: "frame 2 h w", or "2 h w" of a single frame: the flow from the first frame to each later one, u (right)
            and v (down), in any common unit.
        landmarks: 66 or 68 points (x, y) of the first frame in iBUG's layout, pixels of the fields, e.g. one of
            `faces.landmarks.LandmarkFile.landmarks(number)`; None (default) lays the mean face over the fields, which
            must then be of an aligned crop (`faces.align`).
        drift: motion of the head that is taken off each field first, see `without_drift`.

    Returns:
        rho, the magnitude in the unit of the flow, and theta, radians in -pi..pi, 0 to the right and pi/2 down. Zeros
        for a region that has no pixels, because the picture cuts it off, or none that moves.

    Raises:
        BadInput: the fields are not "frame 2 h w" or not finite, the face is too small, landmarks are not those of a
            face, or `drift` is unknown or has too few landmarks to go by.
    """
    check_choice("drift", drift, DRIFTS)
    fields = flows[None] if flows.ndim == 3 else flows
    if fields.ndim != 4 or fields.shape[1] != 2 or not fields.size:
        came = f"an array of shape {flows.shape}"
        raise BadInput('flow fields "frame 2 h w"', came, "stack u and v along the second axis")
    if not np.isfinite(fields).all():
        raise BadInput("finite flow fields", "vectors that are not", "mask or fill them first")
    height, width = fields.shape[2:]
    points = MEAN_LANDMARKS * [width, height] - 0.5 if landmarks is None else np.asarray(landmarks, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        came = f"an array of shape {points.shape}"
        raise BadInput('landmarks "points 2", x and y of each', came, "leave out what else there is of a point")
    regions = regions_of(points, (height, width))
    return np.stack([main_directions(without_drift(field, points, drift), regions) for field in fields])


def regions_of(points: Float[np.ndarray, "points 2"], shape: tuple[int, int]) -> Int[np.ndarray, "h w"]:
    """`faces.regions.mdmo_regions` of a face that is large enough for them."""
    regions = mdmo_regions(points, shape)
    apart = math.dist(points[36:42].mean(axis=0), points[42:48].mean(axis=0))
    if apart < SMALLEST_FACE:
        came = f"{apart:.1f} in fields of {shape[1]}x{shape[0]}"
        raise BadInput(f"a face with at least {SMALLEST_FACE} pixels between its eyes", came, "use larger frames")
    return regions


def without_drift(
    flow: Float[np.ndarray, "2 h w"], points: Float[np.ndarray, "points 2"], drift: str = "affine"
) -> Float[np.ndarray, "2 h w"]:
    """The field less the motion of the head: what a least-squares fit makes of it at the `STABLE` landmarks.

    Args:
        flow: the field.
        points: landmarks in pixels; a stable one outside the field is left out.
        drift: "translation" fits a shift, "affine" also a turn, a scale and a shear; "none" takes nothing off.

    Raises:
        BadInput: too few stable landmarks lie in the field.
    """
    if drift == "none":
        return flow
    height, width = flow.shape[1:]
    stable = points[list(STABLE)]
    places = stable[((stable >= -0.5) & (stable <= [width - 0.5, height - 0.5])).all(axis=1)]
    terms = np.ones((len(places), 1))
    if drift == "affine":
        terms = np.column_stack([terms, places])
    if not len(places) or np.linalg.matrix_rank(terms) < terms.shape[1]:
        came = f"{len(places)} of {len(STABLE)}"
        raise BadInput(f"stable landmarks in the field for drift {drift}", came, "set drift to none")
    shift, *slopes = np.linalg.lstsq(terms, _sampled(flow, places), rcond=None)[0].astype(np.float32)
    left = flow - shift[:, None, None]
    for slope, ramp in zip(slopes, (np.arange(width), np.arange(height)[:, None]), strict=False):
        left -= slope[:, None, None] * ramp.astype(np.float32)
    left[:, np.hypot(*left) <= ROUNDING * np.abs(flow).max()] = 0
    return left


def _sampled(flow: Float[np.ndarray, "2 h w"], places: Float[np.ndarray, "place 2"]) -> Float64[np.ndarray, "place 2"]:
    """The field at places (x, y), linear between the pixels and half a pixel beyond them."""
    last = np.array(flow.shape[:0:-1]) - 1  # x, y
    corner = np.floor(places).clip(0, last - 1).astype(int)
    x, y = (places - corner).T
    left, top = corner.T
    above = flow[:, top, left] * (1 - x) + flow[:, top, left + 1] * x
    below = flow[:, top + 1, left] * (1 - x) + flow[:, top + 1, left + 1] * x
    return np.asarray(above * (1 - y) + below * y, np.float64).T


def main_directions(
    flow: Float[np.ndarray, "2 h w"], regions: Int[np.ndarray, "h w"], count: int = MDMO_REGIONS
) -> Float64[np.ndarray, "{count} 2"]:
    """The main direction of one field in each region: (rho, theta).

    The circle has 8 sectors of 45 degrees, the first one from -22.5 to 22.5. Of the sector that most of a region's
    pixels point to, the first one of equals, rho is their mean magnitude and theta their mean angle. Angles are
    averaged as deviations from the middle of the sector, so those on both sides of 0 or of 180 degrees average rightly.
    A pixel that keeps still points nowhere and does not count; a region without any other gives zeros.

    Args:
        flow: the field.
        regions: 0 outside, else the number of the region, from 1 to `count`.
    """
    pixels = np.flatnonzero(regions)
    u, v = np.asarray(flow, np.float32).reshape(2, -1)[:, pixels]
    rho = np.hypot(u, v)
    moves = rho > 0
    region, rho = regions.reshape(-1)[pixels][moves] - 1, rho[moves]
    turns = np.arctan2(v[moves], u[moves]).astype(np.float64) * (SECTORS / math.tau)
    turns = turns.clip(-SECTORS / 2, SECTORS / 2)  # pi as float32 is more than pi
    nearest = np.floor(turns + 0.5)
    sector = nearest.astype(np.int64) % SECTORS
    counts = np.bincount(region * SECTORS + sector, minlength=count * SECTORS).reshape(count, SECTORS)
    main = counts.argmax(axis=1)
    chosen = sector == main[region]
    region, many = region[chosen], np.maximum(counts.max(axis=1), 1)
    mean_rho = np.bincount(region, rho[chosen], minlength=count) / many
    deviation = np.bincount(region, (turns - nearest)[chosen], minlength=count) / many
    theta = (main + deviation) * (math.tau / SECTORS)  # from a little below 0 to a little below 2 pi
    return np.stack([mean_rho, np.where(theta > math.pi, theta - math.tau, theta)], axis=1)


def directions_of_clip(
    clip: Clip, *, size: int, flow_mode: str, frames: int, drift: str
) -> Float64[np.ndarray, "frame 36 2"]:
    """The main directions from the onset to each later frame, by the mean face; one frame at a time is in memory.

    A published map has one field, onset to apex, and no pixels: it is enlarged to `size` and the mean face is laid over
    it where the maps show the face (`faces.regions.MAP_CROP`). Its u and v were stretched separately, so every angle is
    distorted. Nothing is taken off it, whatever `drift` says: zero motion was found by the median of the map, and of
    the stable landmarks only the nose is on it.

    Args:
        clip: aligned crops of a face from onset to offset (apex where there is no offset), or a published map.
        size: height and width to which frames and maps are resized.
        flow_mode: solver of `motion.flow`, for frames.
        frames: later frames that are taken, by `spread`, each once; 0 takes all of them.
        drift: as for `directions`.

    Raises:
        BadInput: the clip has neither frames nor a map, fewer than two frames, or frames that are too small; or a
            setting is wrong.
    """
    check_choice("drift", drift, DRIFTS)
    check_range("size", size, SMALLEST_SIZE)
    check_range("frames", frames, 0)
    if clip.frames is None:
        enlarged = clip_flow(clip, size=size)
        return main_directions(enlarged, regions_of(map_landmarks(size), (size, size)))[None]
    onset, last = ends(clip)
    numbers = sorted(set(spread(onset, last, frames or last - onset)))
    points = MEAN_LANDMARKS * size - 0.5
    regions = regions_of(points, (size, size))
    fields = _fields(clip.frames, onset, numbers, size, flow_mode)
    return np.stack([main_directions(without_drift(field, points, drift), regions) for field in fields])


def ends(clip: Clip) -> tuple[int, int]:
    """The first and the last frame of a clip: onset and offset, or apex where there is no offset.

    Raises:
        BadInput: one of them is missing, or they are one frame.
    """
    last = clip.offset if clip.offset is not None else clip.apex
    if clip.onset is None or last is None or last <= clip.onset:
        came = f"{clip.key} with onset {clip.onset}, apex {clip.apex}, offset {clip.offset}"
        advice = "annotate it and use dataclasses.replace(clip, onset=number, offset=number)"
        raise BadInput("a clip with an onset and a later offset or apex", came, advice)
    return clip.onset, last


def spread(onset: int, last: int, count: int) -> list[int]:
    """`count` frame numbers after the onset, evenly spread and in order; the last one is `last`.

    Of fewer frames than `count` some come more than once.
    """
    steps = last - onset
    return [onset + -(-steps * number // count) for number in range(1, count + 1)]


def _fields(
    frames: Frames, onset: int, numbers: Sequence[int], size: int, flow_mode: str
) -> Iterator[Float32[np.ndarray, "2 {size} {size}"]]:
    """The flow from the onset frame to each frame of the given numbers, of gray frames resized to `size`."""
    rest = _gray(frames.read(onset), size)
    for number in numbers:
        yield flow_between(rest, _gray(frames.read(number), size), mode=flow_mode)


def _gray(frame: Shaped[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "{size} {size}"]:
    import cv2

    check_frame(frame)
    height, width = frame.shape[:2]
    if min(height, width) < SMALLEST:
        expected, advice = f"frames of at least {SMALLEST}x{SMALLEST} pixels", "use a larger crop of the face"
        raise BadInput(expected, f"{width}x{height}", advice)
    return square(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY), size)


def square(gray: UInt8[np.ndarray, "h w"], size: int) -> UInt8[np.ndarray, "{size} {size}"]:
    """Gray levels in a square: averaged over areas where both sides shrink, else interpolated linearly."""
    import cv2

    how = cv2.INTER_AREA if min(gray.shape) >= size else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(gray), (size, size), interpolation=how).astype(np.uint8)


def check_settings(method: Any) -> None:
    """Raises BadInput where a setting of a method that says how its clips are seen is wrong."""
    check_choice("drift", method.drift, DRIFTS)
    check_range("size", method.size, SMALLEST_SIZE)
    check_choice("flow_mode", method.flow_mode, MODES)
