"""Alignment to the onset frame: against known head motion, and the flow of the face that is left after it."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
import scipy.ndimage

from microexpr.datasets._face import FACE, FRAME, FRAME_HEIGHT, FRAME_WIDTH, PIVOT, Identity, mask_picture
from microexpr.datasets._render import Movement, RenderedFrames
from microexpr.errors import BadInput, UnknownName
from microexpr.faces.align import BROWS, EYES, MOUTH, Registration, after, crop_transform, inverse
from microexpr.faces.detect import Face, detector
from microexpr.motion.flow import flow_between


@dataclasses.dataclass(frozen=True)
class Shifted(RenderedFrames):
    """The head, not the background, moves by `motion` (right, down, degrees) from frame 0 to every other frame."""

    motion: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def head_motion(self, number: int) -> np.ndarray:
        return np.array(self.motion) * (number > 0)


def scene(subject: int, units: tuple[str, ...], pixels: float, peak: float = 2.0) -> Shifted:
    """Frame 0 is the onset, frame 1 the apex; the head has moved by `pixels` and rolled by half of them at the hair."""
    movements = (Movement(0, 1, 2, units, peak),) if peak else ()
    motion = (0.8 * pixels, -0.6 * pixels, math.degrees(0.5 * pixels / 400))
    identity = Identity((0, subject), mirrored=subject % 2 == 1)
    return Shifted(3, movements, identity, (0, subject), crop=False, motion=motion)


def head(frames: Shifted) -> np.ndarray:
    """The true similarity: a shift and a roll about the neck (to first order, like the renderer's)."""
    right, down, roll = (*frames.motion[:2], math.radians(frames.motion[2]))
    return np.array([[1, -roll, right + roll * PIVOT[1]], [roll, 1, down - roll * PIVOT[0]]])


def largest_error(found: np.ndarray, true: np.ndarray, face: Face) -> float:
    """Pixels, over the corners of the box's middle half."""
    corners = [(face.x + a * face.width, face.y + b * face.height, 1.0) for a in (0.25, 0.75) for b in (0.25, 0.75)]
    return max(float(np.hypot(*((found - true) @ corner))) for corner in corners)


def face_of(frame: np.ndarray) -> Face:
    (face,) = detector("haar")(frame)
    return face


def correlation(frames: Shifted, residual: str) -> float:
    """Of the flow between the aligned faces with the facial action alone, over u and v inside the face."""
    onset, apex = frames.read(0), frames.read(1)
    registration = Registration(onset, face_of(onset), residual)
    found = flow_between(registration.align(onset).image, registration.align(apex).image, mode="clg")
    # The head rests in the onset frame, so the action is the flow of the same clip with a head that keeps still.
    true = dataclasses.replace(frames, motion=(0.0, 0.0, 0.0)).true_flow(0, 1)
    mask = cv2.remap(mask_picture(FACE, True), *frames.identity.portrait_points(FRAME.frame_points()), cv2.INTER_LINEAR)
    u, v, inside = (cv2.warpAffine(one, registration.crop, (224, 224)) for one in (*true, mask))
    inside = inside > 0.5
    assert 0.3 < inside.mean() < 0.8
    return float(np.corrcoef(found[:, inside].ravel(), np.stack([u, v])[:, inside].ravel())[0, 1])


@pytest.mark.parametrize("pixels", [0.5, 2.0])
@pytest.mark.parametrize(("subject", "units"), [(0, ("6", "12")), (1, ("4", "7")), (2, ("15", "17"))])
def test_flow_of_the_face_survives_a_head_shift(subject: int, units: tuple[str, ...], pixels: float):
    frames = scene(subject, units, pixels)
    aligned = correlation(frames, "points")
    assert aligned > 0.99
    # Without the residual the head's shift is in the flow: worse at half a pixel already, far worse at two.
    assert correlation(frames, "off") < (0.95 if pixels < 1 else 0.75)


@pytest.mark.parametrize("subject", [0, 1])
@pytest.mark.parametrize("units", [("6", "12"), ("4", "7"), ("9", "10")])
def test_transform_is_the_heads_motion(subject: int, units: tuple[str, ...]):
    frames = scene(subject, units, 2.0)
    onset = frames.read(0)
    registration = Registration(onset, face_of(onset))
    found, inliers = registration.transform(frames.read(1))
    assert largest_error(found, head(frames), registration.face) < 0.12
    assert 45 <= inliers <= 100


def test_transform_of_a_large_face_is_in_frame_pixels():
    """Faces above the working side are shrunk for tracking; the half pixel of the grids must not show."""
    frames = scene(0, ("12",), 1.0, peak=0.5)
    onset, apex = (cv2.resize(frames.read(n), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC) for n in (0, 1))
    enlarged = np.array([[3.0, 0, 1], [0, 3, 1]])  # pixel centers at whole numbers: x -> 3 (x + 0.5) - 0.5
    true = after(enlarged, after(head(frames), inverse(enlarged)))
    registration = Registration(onset, face_of(onset))
    assert largest_error(registration.transform(apex)[0], true, registration.face) < 3 * 0.12


def test_gray_crops_are_aligned_too():
    moved = np.array([[1.0, 0, 1.3], [0, 1, -0.7]])
    onset = cv2.cvtColor(RenderedFrames(1).read(0), cv2.COLOR_RGB2GRAY)
    # A quintic spline: OpenCV's cubic kernel alone moves a picture by up to 0.05 pixel more or less than asked for.
    exact = scipy.ndimage.shift(onset.astype(float), (-0.7, 1.3), order=5, mode="nearest")
    apex = np.rint(exact).clip(0, 255).astype(np.uint8)
    registration = Registration(onset, detector("precropped")(onset)[0])
    found, _ = registration.transform(apex)
    assert largest_error(found, moved, registration.face) < 0.05
    aligned = registration.align(apex)
    assert aligned.image.shape == (224, 224)
    assert aligned.shift_px == pytest.approx(math.hypot(1.3, 0.7), abs=0.05)
    inner = np.s_[20:-20, 20:-20]
    assert np.abs(aligned.image[inner].astype(int) - onset[inner]).mean() < 2
    assert np.abs(apex[inner].astype(int) - onset[inner]).mean() > 4


def test_a_quiet_face_stays():
    frames = scene(1, (), 0.0, peak=0.0)
    onset = frames.read(0)
    registration = Registration(onset, face_of(onset))
    aligned = registration.align(frames.read(1))
    assert aligned.shift_px < 0.05
    assert aligned.inliers > 75
    assert not aligned.lost
    first = registration.align(onset).image.astype(int)
    assert np.abs(first - aligned.image).mean() < 2  # noise only


def test_result_depends_on_the_frame_alone():
    """OpenCV's RANSAC brings its own seed: neither the global one nor earlier frames count."""
    frames = scene(0, ("6", "12"), 2.0)
    onset, apex = frames.read(0), frames.read(1)
    registration = Registration(onset, face_of(onset))
    first = registration.transform(apex)
    cv2.randu(np.zeros(5), 0, 1)
    registration.transform(np.zeros_like(onset))
    again = registration.transform(apex)
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]


def test_residual_off_is_the_onset_crop():
    frames = scene(0, ("12",), 2.0)
    onset, apex = frames.read(0), frames.read(1)
    registration = Registration(onset, face_of(onset), residual="off")
    aligned = registration.align(apex)
    crop = cv2.warpAffine(apex, crop_transform(registration.face), (224, 224), flags=cv2.INTER_LINEAR)
    assert np.abs(aligned.image.astype(int) - crop).max() <= 1
    assert (aligned.shift_px, aligned.inliers, aligned.lost) == (0.0, 0, False)


@pytest.mark.parametrize("what", ["black", "noise", "mirrored"])
def test_lost_where_the_face_cannot_be_followed(what: str):
    onset = scene(0, (), 0.0, peak=0.0).read(0)
    noise = np.random.default_rng(0).integers(0, 256, onset.shape, np.uint8)
    frame = {"black": np.zeros_like(onset), "noise": noise, "mirrored": np.ascontiguousarray(onset[:, ::-1])}[what]
    registration = Registration(onset, face_of(onset))
    found, inliers = registration.transform(frame)
    assert np.array_equal(found, np.eye(2, 3))
    assert inliers == 0
    aligned = registration.align(frame)
    assert aligned.lost
    assert aligned.shift_px == 0.0


def test_a_face_without_corners_is_lost():
    plain = np.full((100, 100, 3), 90, np.uint8)
    assert Registration(plain, Face(10, 10, 80, 80)).align(plain).lost


def test_no_points_where_the_face_moves():
    onset = scene(0, (), 0.0, peak=0.0).read(0)
    registration = Registration(onset, face_of(onset))
    face, points = registration.face, registration._points
    frame = points @ inverse(registration._to_tracked())[:, :2].T + inverse(registration._to_tracked())[:, 2]
    across, down = (frame - [face.x - 0.5, face.y - 0.5]).T / face.width
    assert len(points) == 100
    for left, top, right, bottom in (BROWS, *EYES, MOUTH):
        assert not ((across > left) & (across < right) & (down > top) & (down < bottom)).any()
    assert (np.hypot(across - 0.5, down - 0.5) < 0.51).all()


def test_crop_transform_golden():
    """By hand: a box of 100 pixels from 49.5 to 149.5 and from 9.5 to 109.5, drawn on 200, doubles lengths."""
    found = crop_transform(Face(50, 10, 100, 100), size=200)
    assert found == pytest.approx(np.array([[2, 0, -99.5], [0, 2, -19.5]]))
    # The corner of the box is the corner of the picture: both half a pixel outside the first center.
    assert found @ [49.5, 9.5, 1] == pytest.approx([-0.5, -0.5])
    wider = crop_transform(Face(50, 10, 100, 100), size=200, margin=0.5)
    assert wider @ [-0.5, -40.5, 1] == pytest.approx([-0.5, -0.5])
    assert wider[0, 0] == 1
    # The whole of a precropped frame, unchanged.
    assert crop_transform(Face(0, 0, 224, 224)) == pytest.approx(np.eye(2, 3))


def test_transforms_compose():
    turn, move = np.array([[0.0, -1, 5], [1, 0, 2]]), np.array([[2.0, 0, 1], [0, 2, -3]])
    point = np.array([3.0, 4.0, 1.0])
    assert after(turn, move) @ point == pytest.approx(turn @ [*(move @ point), 1])
    assert after(inverse(turn), turn) == pytest.approx(np.eye(2, 3))


def test_wrong_input_is_named():
    onset = np.zeros((FRAME_HEIGHT, FRAME_WIDTH, 3), np.uint8)
    face = Face(200, 150, 200, 200)
    with pytest.raises(UnknownName, match="did you mean 'points'"):
        Registration(onset, face, residual="point")
    for settings in ({"points": 3}, {"quality": 0.0}, {"distance": -1}, {"threshold": 0.0}):
        with pytest.raises(BadInput, match="the defaults serve"):
            Registration(onset, face, **settings)
    with pytest.raises(BadInput, match="in the frame, got a box of 200x200 at"):
        Registration(onset, Face(2000, 150, 200, 200))
    with pytest.raises(BadInput, match="frames of 640x480, like the onset frame, got 320x480"):
        Registration(onset, face).align(onset[:, :320])
    with pytest.raises(BadInput, match="a face box and a size above 0"):
        crop_transform(Face(0, 0, 0, 0))
    with pytest.raises(BadInput, match="RGB"):
        Registration(np.zeros((100, 100, 4), np.uint8), Face(10, 10, 80, 80))
