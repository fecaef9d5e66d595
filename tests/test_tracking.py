"""One face followed through made-up frames: its box, the motion of its regions, and the references in between."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from microexpr.datasets._render import Movement, RenderedFrames
from microexpr.faces.detect import Face, detector
from microexpr.faces.regions import EYE_OPENINGS, NAMES
from microexpr.video.source import Frame
from microexpr.video.tracking import SHRUNK_FACE, FaceTracker, Tracked
from tests.videos import rendered

BOX = Face(181.5, 186.2, 271.8, 271.8)  # of the 640x480 portrait
CROPPED = Face(-7.3, -10.2, 234.0, 234.0)  # the same box in the 224x224 crop
MOVEMENT = Movement(0, 20, 40, ("12",), 2.0)


class Boxes:
    """A detector that finds what it is told, and counts how often it is asked."""

    name, version = "boxes", "1"

    def __init__(self, *faces: Face) -> None:
        self.faces, self.calls = list(faces), 0

    def __call__(self, frame: np.ndarray) -> list[Face]:
        self.calls += 1
        return list(self.faces)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return RenderedFrames(1, crop=False).read(0)


@pytest.fixture(scope="module")
def smile() -> tuple[np.ndarray, np.ndarray]:
    """The resting and the smiling face, head still."""
    frames = RenderedFrames(41, (MOVEMENT,), head_pixels=0.0, crop=False)
    return frames.read(0), frames.read(20)


def moved(image: np.ndarray, right: float, down: float = 0.0) -> np.ndarray:
    matrix = np.array([[1, 0, right], [0, 1, down]], float)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def follow(tracker: FaceTracker, images, fps: float, quiet: bool = True, start: int = 0) -> list[Tracked]:
    return [tracker.push(Frame(k, k / fps, image), quiet) for k, image in enumerate(images, start)]


def references(tracked: list[Tracked]) -> list[int | None]:
    return [one.view.reference if one.view else None for one in tracked]


# The face


def test_the_face_is_found_on_the_first_frame_and_searched_for_no_more(portrait):
    find = Boxes(BOX)
    tracker = FaceTracker(find)
    tracked = follow(tracker, [portrait] * 4, 100)
    assert find.calls == 1
    assert tracker.faces == 4
    assert tracker.notes == []
    assert tracked[0].box == BOX
    for one in tracked:
        assert not one.lost
        assert one.box.center == pytest.approx(BOX.center, abs=1e-6)
        assert one.motion.shape == (len(NAMES), 2)
        assert one.eyes.shape == (len(EYE_OPENINGS),)
        assert np.abs(one.motion).max() < 1e-4
        assert np.abs(one.eyes).max() < 1e-4
    assert references(tracked) == [0] * 4


def test_a_detector_of_the_package_serves(portrait):
    (one,) = follow(FaceTracker(detector("haar")), [portrait], 100)
    assert one.box.center == pytest.approx(BOX.center, abs=3)


def test_the_box_follows_the_head(portrait):
    shifts = [(0, 0), (1.5, 0.5), (4, -3), (8, 2), (12.3, 0)]
    tracked = follow(FaceTracker(Boxes(BOX)), [moved(portrait, *shift) for shift in shifts], 100)
    for shift, one in zip(shifts, tracked, strict=True):
        assert np.subtract(one.box.center, BOX.center) == pytest.approx(shift, abs=0.05)
        assert (one.box.width, one.box.height) == (BOX.width, BOX.height)
        assert np.abs(one.motion).max() < 0.05


def test_head_motion_does_not_show_in_the_motion_of_regions():
    frames = rendered(50, 0.4, head_pixels=4.0, seed=3)
    head = RenderedFrames(20, (), seed=(3,), fps=50, head_pixels=4.0)
    assert max(np.abs(head.head_motion(number)[:2]).max() for number in range(20)) > 2
    tracked = follow(FaceTracker(Boxes(CROPPED)), frames, 50)
    motion = np.stack([one.motion for one in tracked])
    assert np.abs(motion).max() < 0.25


def test_motion_is_that_of_the_skin_in_pixels_of_the_aligned_face(smile):
    rest, apex = smile
    tracked = follow(FaceTracker(Boxes(BOX)), [rest, apex], 100)[1]
    left, right = (tracked.motion[NAMES.index(f"{side} mouth corner")] for side in ("left", "right"))
    assert left[0] < -0.5  # out
    assert right[0] > 0.5
    assert left[1] < -0.5  # up
    assert right[1] < -0.5
    assert np.hypot(*tracked.motion[NAMES.index("forehead")]) < 0.1
    assert tracked.eyes.max() < 0.2
    # The movement's largest, 2 pixels of the frame, is 2 * 224 / 271.8 of the aligned face; a region's mean is less.
    assert 0.5 * 1.65 < np.hypot(*left) < 1.65


def test_a_large_face_is_kept_small_and_moves_as_much(smile):
    """4K: what is kept is bounded, the box is in pixels of the frame, motion in those of the aligned face."""
    large = Face(6 * BOX.x + 2.5, 6 * BOX.y + 2.5, 6 * BOX.width, 6 * BOX.height)
    frames = [cv2.resize(image, (3840, 2880), interpolation=cv2.INTER_LINEAR) for image in smile]
    frames.append(moved(frames[0], 24, 12))
    first, apex, shifted = follow(FaceTracker(Boxes(large)), frames, 100)
    assert first.view.picture.shape[1] < 1.5 * SHRUNK_FACE
    assert first.view.face.width == pytest.approx(SHRUNK_FACE, abs=1)
    small = follow(FaceTracker(Boxes(BOX)), smile, 100)[1]
    assert np.abs(apex.motion - small.motion).max() < 0.15
    assert np.subtract(shifted.box.center, large.center) == pytest.approx((24, 12), abs=0.5)


def test_a_view_holds_the_face_with_a_margin(portrait):
    (one,) = follow(FaceTracker(Boxes(BOX)), [portrait], 100)
    height, width = one.view.picture.shape[:2]
    left, top = math.floor(BOX.x - 0.2 * BOX.width), math.floor(BOX.y - 0.2 * BOX.height)
    assert (one.view.face.x, one.view.face.y) == pytest.approx((BOX.x - left, BOX.y - top))
    assert width == pytest.approx(1.4 * BOX.width, abs=2)
    assert height == pytest.approx(480 - top)  # to the frame's lower border
    np.testing.assert_array_equal(one.view.picture, portrait[top:, left : left + width])
    assert not np.shares_memory(one.view.picture, portrait)  # the frame is let go


@pytest.mark.parametrize("corner", [(-60.0, -60.0), (500.0, 300.0), (181.5, 330.0)])
def test_a_face_at_the_rim_of_the_frame(portrait, corner):
    image = moved(portrait, corner[0] - BOX.x, corner[1] - BOX.y)
    face = Face(*corner, BOX.width, BOX.height)
    _, last = follow(FaceTracker(Boxes(face)), [image, moved(image, -2, 1)], 100)
    assert np.subtract(last.box.center, face.center) == pytest.approx((-2, 1), abs=0.25)
    assert np.isfinite(last.motion).all()


# References


def drifting(image: np.ndarray, count: int, step: float) -> list[np.ndarray]:
    return [moved(image, step * number) for number in range(count)]


def test_the_reference_is_renewed_when_the_head_has_drifted_and_nothing_moves(portrait):
    """2% of 271.8 pixels are 5.4: at 1 pixel in 0.2 s that is after 1.2 s; once in a second at the most."""
    frames = drifting(portrait, 16, 1.0)
    tracked = follow(FaceTracker(Boxes(BOX)), frames, 5)
    assert references(tracked) == [0] * 6 + [6] * 6 + [12] * 4
    assert np.subtract(tracked[-1].box.center, BOX.center) == pytest.approx((15, 0), abs=0.3)
    assert np.abs([one.motion for one in tracked]).max() < 0.1
    fast = follow(FaceTracker(Boxes(BOX)), frames[:11], 10)  # the drift would be enough after 0.6 s
    assert references(fast) == [0] * 11


def test_the_reference_stays_while_something_moves_or_the_head_is_still(portrait):
    tracked = follow(FaceTracker(Boxes(BOX)), drifting(portrait, 16, 1.0), 5, quiet=False)
    assert references(tracked) == [0] * 16
    assert references(follow(FaceTracker(Boxes(BOX)), [portrait] * 10, 2)) == [0] * 10


def test_an_old_reference_is_renewed_although_the_head_is_still(portrait):
    tracked = follow(FaceTracker(Boxes(BOX)), [portrait] * 14, 2)
    assert references(tracked) == [0] * 11 + [11] * 3  # after more than 5 s


def test_motion_is_continuous_where_the_reference_is_renewed(smile):
    """The face smiles when the reference is taken: the smile goes on, and when it ends motion is back at zero."""
    rest, apex = smile
    frames = [rest, *drifting(apex, 9, 1.0), moved(rest, 9.0), moved(rest, 10.0)]
    tracked = follow(FaceTracker(Boxes(BOX)), frames, 5)
    refs = references(tracked)
    assert refs[6:8] == [0, 7]
    corner = NAMES.index("left mouth corner")
    smiling = np.stack([one.motion[corner] for one in tracked[1:10]])
    assert np.abs(smiling - smiling[0]).max() < 0.1
    assert np.hypot(*smiling[0]) > 0.8
    assert np.abs(tracked[-1].motion).max() < 0.15
    assert abs(tracked[8].eyes - tracked[6].eyes).max() < 0.1


# Lost faces


def test_a_lost_face_is_said_after_a_moment_and_found_again(portrait):
    gray = np.full_like(portrait, 90)
    find = Boxes(BOX)
    tracker = FaceTracker(find)
    assert not follow(tracker, [portrait] * 5, 50)[-1].lost
    find.faces = []
    gone = follow(tracker, [gray] * 25, 50, start=5)  # 0.5 s
    assert [one.lost for one in gone] == [False] * 5 + [True] * 20  # 0.1 s of patience after frame 4
    assert all(one.box is None and one.motion is None and one.view is None for one in gone)
    assert 1 + 4 <= find.calls <= 1 + 5  # 10 searches a second
    assert tracker.faces == 5
    find.faces = [Face(BOX.x + 40, BOX.y, BOX.width, BOX.height)]
    back = follow(tracker, [moved(portrait, 40)] * 8, 50, start=30)
    assert not back[-1].lost
    assert back[-1].box.x == pytest.approx(BOX.x + 40, abs=0.1)
    assert np.abs(back[-1].motion).max() < 0.05  # it starts anew
    assert tracker.notes == []


def test_one_frame_that_cannot_be_registered_is_passed_over(portrait):
    find = Boxes(BOX)
    tracked = follow(FaceTracker(find), [portrait, np.full_like(portrait, 90), portrait], 50)
    assert [one.lost for one in tracked] == [False] * 3
    assert tracked[1].motion is None
    assert tracked[2].motion is not None
    assert references(tracked) == [0, None, 0]
    assert find.calls == 1


def test_a_video_without_a_face_is_searched_ten_times_a_second(portrait):
    find = Boxes()
    tracked = follow(FaceTracker(find), [portrait] * 100, 100)
    assert all(one.lost for one in tracked)
    assert 9 <= find.calls <= 11


def test_another_face_in_another_place_is_followed_after_two_looks(portrait):
    """What is followed looks like before, but twice, 5 s apart, the detector finds a face elsewhere only."""
    find = Boxes(BOX)
    tracker = FaceTracker(find)
    follow(tracker, [portrait], 2)
    find.faces = [Face(20.0, 20.0, 200.0, 200.0)]
    tracked = follow(tracker, [portrait] * 24, 2, start=1)
    boxes = [one.box.width for one in tracked]
    assert boxes[:21] == [BOX.width] * 21
    assert boxes[21:] == [200.0] * 3


def test_a_face_that_the_detector_misses_is_still_followed(portrait):
    find = Boxes(BOX)
    tracker = FaceTracker(find)
    follow(tracker, [portrait], 2)
    find.faces = []
    assert all(one.box is not None for one in follow(tracker, [portrait] * 36, 2, start=1))
    assert find.calls > 3


# Notes


def test_of_several_faces_the_largest_is_followed_and_it_is_said_once(portrait):
    find = Boxes(Face(10, 10, 80, 80), BOX)
    tracker = FaceTracker(find)
    gray = np.full_like(portrait, 90)
    tracked = follow(tracker, [portrait, *[gray] * 6, portrait, portrait], 20)
    assert tracked[0].box == BOX
    assert find.calls > 1
    assert len([note for note in tracker.notes if "2 faces in frame 0; took the largest" in note]) == 1
    assert len([note for note in tracker.notes if "faces in frame" in note]) == 1


def test_a_face_without_texture_is_noted_once(portrait):
    tracker = FaceTracker(Boxes(BOX))
    tracked = follow(tracker, [np.full_like(portrait, 90)] * 10, 5)
    assert all(one.lost for one in tracked)
    assert tracker.notes == ["the face in frame 0 has too little texture to be followed"]
    assert tracker.faces == 0


@pytest.mark.parametrize(
    ("face", "said"), [(Face(700, 500, 90, 90), "inside the frame"), (Face(300, 200, 9, 9), "17 pixels or more")]
)
def test_a_face_that_cannot_be_followed_is_noted_once(portrait, face, said):
    tracker = FaceTracker(Boxes(face))
    assert all(one.lost for one in follow(tracker, [portrait] * 5, 5))
    assert len(tracker.notes) == 1
    assert said in tracker.notes[0]


def test_without_residual_the_head_is_not_followed(portrait):
    _, last = follow(FaceTracker(Boxes(BOX), "off"), [portrait, moved(portrait, 1.0)], 100)
    assert last.box.center == pytest.approx(BOX.center)
    assert np.median(last.motion, axis=0) == pytest.approx((224 / 271.8, 0), abs=0.2)
