"""Regions of the aligned face: the mean face against rendered ones, the named boxes, grids and MDMO's division."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from microexpr.datasets._face import FEATURES, FRAME_WIDTH, MAGNIFICATION, PORTRAIT_LEFT, PORTRAIT_TOP, Identity, _bells
from microexpr.datasets._render import RenderedFrames
from microexpr.errors import BadInput
from microexpr.faces.align import crop_transform
from microexpr.faces.detect import EYE_DISTANCE, EYES_FROM_TOP, EYES_TO_MOUTH, Face, detector
from microexpr.faces.landmarks import LEFT_EYE, MOUTH_CORNERS, RIGHT_EYE, face_of_landmarks
from microexpr.faces.regions import (
    EYE_OPENINGS,
    MDMO,
    MDMO_REGIONS,
    MEAN_FACE,
    MEAN_LANDMARKS,
    MIRRORED,
    NAMED,
    NAMES,
    NEAR_EYES,
    eye_motion,
    grid,
    mdmo_regions,
    mean_landmarks,
    region_means,
)


def features_in_crop(identity: Identity) -> dict[str, np.ndarray]:
    """Where the feature points of a rendered face lie in the crop of the box that Haar finds, in its sides."""
    (face,) = detector("haar")(RenderedFrames(1, identity=identity, crop=False).read(0))
    found = {}
    for name, pair in FEATURES.items():
        there = np.array(pair).T[:, None, :]  # portrait pixels
        place = there.copy()
        for _ in range(20):  # the resting face shows at `place` what the portrait has at place - bells(place)
            place = there + _bells(place, identity.traits)
        frame = (place[:, 0].T - [PORTRAIT_LEFT, PORTRAIT_TOP] + 0.5) * MAGNIFICATION - 0.5
        if identity.mirrored:
            frame = (frame * [-1, 1] + [FRAME_WIDTH - 1, 0])[::-1]
        transform = crop_transform(face)
        found[name] = (frame @ transform[:, :2].T + transform[:, 2] + 0.5) / 224
    return found


def test_mean_face_is_the_average_of_rendered_faces():
    faces = [features_in_crop(Identity((0, subject), mirrored)) for subject in range(4) for mirrored in (False, True)]
    assert set(MEAN_FACE) == set(FEATURES)
    for name, pair in MEAN_FACE.items():
        average = np.mean([face[name] for face in faces], axis=0)
        assert np.hypot(*(average - pair).T).max() < 0.04, name


def test_mean_face_follows_the_convention_of_the_boxes():
    eyes = np.mean([MEAN_FACE["upper lid"], MEAN_FACE["lower lid"]], axis=0)
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(EYE_DISTANCE, abs=1e-9)
    assert eyes[:, 1] == pytest.approx([EYES_FROM_TOP] * 2, abs=1e-9)
    assert MEAN_FACE["mouth corner"][0][1] == pytest.approx(EYES_FROM_TOP + EYES_TO_MOUTH, abs=1e-9)


def test_no_region_touches_an_eye_or_another_region():
    def apart(one, other) -> bool:
        return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]

    for name, box in NAMED.items():
        assert 0 <= box[0] < box[2] <= 1, name
        assert 0 <= box[1] < box[3] <= 1, name
        for eye in EYE_OPENINGS:
            assert apart(box, eye), name
    for one, other in itertools.combinations(NAMED, 2):
        assert apart(NAMED[one], NAMED[other]), (one, other)


def test_regions_hold_the_features_they_are_named_for():
    places = {
        "brow": "middle brow",
        "inner brow": "inner brow",
        "cheek": "cheek",
        "mouth corner": "mouth corner",
    }
    for (region, feature), (number, side) in itertools.product(places.items(), enumerate(("left", "right"))):
        left, top, right, bottom = NAMED[f"{side} {region}"]
        x, y = MEAN_FACE[feature][number]
        assert left < x < right, (side, region)
        assert top < y < bottom, (side, region)
    for region, feature in {
        "nose": "nostril",
        "upper lip": "upper lip",
        "lower lip": "lower lip",
        "chin": "chin",
    }.items():
        left, top, right, bottom = NAMED[region]
        assert all(left < x < right and top < y < bottom for x, y in MEAN_FACE[feature]), region


def test_regions_are_mirror_images():
    for name, (left, top, right, bottom) in NAMED.items():
        other = name.replace("left", "L").replace("right", "left").replace("L", "right")
        assert NAMED[other] == pytest.approx((1 - right, top, 1 - left, bottom)), name


def test_region_means_golden():
    """u and v are column and row, so a mean is the box's middle: by hand, the left brow on 100x200 pixels."""
    v, u = np.mgrid[0:200, 0:100].astype(np.float32)
    means = region_means(np.stack([u, v]))
    assert means.shape == (len(NAMES), 2)
    assert means[NAMES.index("left brow")] == pytest.approx([(11 + 33) / 2 - 0.5, (20 + 40) / 2 - 0.5], abs=1e-3)


@pytest.mark.parametrize("size", [28, 112, 224])
def test_region_means_against_slices_of_an_enlarged_field(size: int):
    """Every pixel becomes 25x25 of its value, so that all boxes end between pixels: plain slices are exact there."""
    field = np.random.default_rng(size).normal(size=(2, size, size)).astype(np.float32)
    expected = []
    for left, top, right, bottom in NAMED.values():
        rows, columns = (
            np.arange(round(low * size * 25), round(high * size * 25)) // 25
            for low, high in ((top, bottom), (left, right))
        )
        expected.append(field[:, rows][:, :, columns].mean(axis=(1, 2), dtype=np.float64))
    assert region_means(field) == pytest.approx(np.array(expected), abs=2e-6)


def test_motion_of_the_eyes_is_in_no_region():
    field = np.zeros((2, 112, 112), np.float32)
    for left, top, right, bottom in np.array(EYE_OPENINGS) * 112:
        field[:, int(np.ceil(top)) : int(bottom), int(np.ceil(left)) : int(right)] = 5
    assert field.any()
    assert not region_means(field).any()
    assert eye_motion(field) == pytest.approx(5 * 2**0.5, abs=1)  # but for the pixels that the boxes cut


def test_eye_motion_is_the_mean_of_lengths():
    """By hand: vectors of length 5 that point up and down by turns have no mean, but move; the right eye rests."""
    field = np.zeros((2, 112, 112), np.float32)
    field[0, :, :56], field[1, :, :56] = 3, 4
    field[:, ::2] *= -1
    assert eye_motion(field) == pytest.approx([5, 0])


def test_regions_beside_the_eyes():
    beside = {NAMES[number] for number in NEAR_EYES}
    assert beside == {f"{side} {part}" for side in ("left", "right") for part in ("brow", "inner brow", "cheek")}


def test_region_means_are_quick():
    field = np.zeros((2, 112, 112), np.float32)
    region_means(field)
    times = []
    for _ in range(50):
        begin = time.perf_counter()
        region_means(field)
        times.append(time.perf_counter() - begin)
    assert min(times) < 5e-4  # 0.01 ms and the checks of the shapes while testing


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [(20, 30, 4, 5), (28, 28, 5, 5), (7, 9, 7, 1)])
def test_grid_divides_without_rest(height: int, width: int, rows: int, columns: int):
    covered = np.zeros((height, width), int)
    blocks = grid(height, width, rows, columns)
    assert len(blocks) == rows * columns
    for block in blocks:
        assert covered[block].size > 0
        covered[block] += 1
    assert (covered == 1).all()
    assert blocks[1][1].start > 0 or columns == 1  # row by row


def test_grid_with_overlap_golden():
    """By hand: three blocks that share half of their side b cover b + 2 b / 2 = 2 b = 20, so b = 10, steps of 5."""
    blocks = grid(20, 8, 3, 1, overlap=0.5)
    assert [(block[0].start, block[0].stop) for block in blocks] == [(0, 10), (5, 15), (10, 20)]
    assert {(block[1].start, block[1].stop) for block in blocks} == {(0, 8)}
    assert grid(112, 112, 8, 8, overlap=0.7)[-1] == (slice(76, 112), slice(76, 112))  # b = 112 / (8 - 4.9) = 36.1


@pytest.mark.parametrize("settings", [(8, 8, 0, 1), (8, 8, 9, 1), (8, 8, 1, 9), (8, 8, 2, 2, 1.0), (8, 8, 2, 2, -0.1)])
def test_grid_refuses(settings: tuple):
    with pytest.raises(BadInput, match="rows and columns"):
        grid(*settings)


def test_mean_landmarks_follow_the_layout():
    points = MEAN_LANDMARKS
    assert np.abs(points[list(MIRRORED)] - (points * [-1, 1] + [1, 0])).max() < 1e-12
    assert points[RIGHT_EYE].mean(axis=0) - points[LEFT_EYE].mean(axis=0) == pytest.approx([EYE_DISTANCE, 0])
    assert points[MOUTH_CORNERS].mean(axis=0) == pytest.approx([0.5, EYES_FROM_TOP + EYES_TO_MOUTH], abs=1e-9)
    assert points[[48, 54]] == pytest.approx(np.array(MEAN_FACE["mouth corner"]))
    assert 0 < points.min() < points.max() < 1
    # From left to right along jaw, brows and upper lip; downward along the nose.
    for run in (range(17), range(17, 27), range(48, 55), range(31, 36)):
        assert (np.diff(points[list(run), 0]) > 0).all()
    assert (np.diff(points[27:31, 1]) > 0).all()


def test_the_box_of_the_mean_landmarks_is_the_crop():
    face = face_of_landmarks(mean_landmarks(224))
    assert (face.x, face.y, face.width, face.height) == pytest.approx((0, 0, 224, 224), abs=1e-6)
    assert isinstance(face, Face)


def test_mdmo_has_36_regions_in_mirrored_pairs():
    labels = mdmo_regions(mean_landmarks(224), (224, 224))
    counts = np.bincount(labels.ravel(), minlength=MDMO_REGIONS + 1)
    assert MDMO_REGIONS == 36
    assert len(counts) == 37
    assert counts[1:].min() > 150
    half = len(MDMO)
    assert counts[1 : half + 1] == pytest.approx(counts[half + 1 :], rel=0.06)  # the midline's pixels have one owner
    mirrored = labels[:, ::-1]
    swapped = np.where(labels > half, labels - half, np.where(labels > 0, labels + half, 0))
    assert (mirrored == swapped).mean() > 0.98
    # In the middle of an eye there is no region.
    for x, y in (mean_landmarks(224)[LEFT_EYE].mean(axis=0), mean_landmarks(224)[RIGHT_EYE].mean(axis=0)):
        assert labels[round(y), round(x)] == 0


def test_mdmo_regions_do_not_cover_each_other():
    """The area of each outline, by the shoelace formula on the mean face, is what the label map has of it."""
    size = 672
    points, labels = mean_landmarks(size), mdmo_regions(mean_landmarks(size), (size, size))
    up = np.array([0, -EYE_DISTANCE * size])
    for number, (name, corners) in enumerate(MDMO.items(), start=1):
        pairs = [((corner,), 0.0) if isinstance(corner, int) else corner for corner in corners]
        x, y = np.array([points[list(numbers)].mean(axis=0) + rise * up for numbers, rise in pairs]).T
        area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
        assert (labels == number).sum() == pytest.approx(area, rel=0.08), name


def test_mdmo_follows_the_face():
    """66 points are as good as 68; a shifted, rolled and enlarged face takes its regions along."""
    points = mean_landmarks(112)
    here = mdmo_regions(points, (112, 112))
    assert np.array_equal(here, mdmo_regions(np.delete(points, [60, 64], axis=0), (112, 112)))
    quarter = np.stack([111 - points[:, 1], points[:, 0]], axis=1)  # a quarter turn clockwise
    assert (np.rot90(mdmo_regions(quarter, (112, 112))) == here).mean() > 0.98
    twice = mdmo_regions(2 * points + 0.5 + [10, 0], (224, 250))
    assert (twice[::2, 10:234:2] == here).mean() > 0.95


def test_mdmo_refuses_other_landmarks():
    with pytest.raises(BadInput, match="66 or 68 landmarks"):
        mdmo_regions(np.zeros((49, 2)), (20, 20))
    with pytest.raises(BadInput, match="landmarks of a face"):
        mdmo_regions(np.zeros((68, 2)), (20, 20))
    with pytest.raises(BadInput, match="landmarks of a face"):
        mdmo_regions(np.full((68, 2), np.nan), (20, 20))
