"""One movement whose onset is known: its apex, what it is judged by, and numbers that are none of the video."""

from __future__ import annotations

import math

import numpy as np
import pytest

from microexpr.errors import BadInput
from microexpr.faces.detect import Face
from microexpr.spotting.answers import Spotting
from microexpr.types import Event
from microexpr.video.given import GivenClip
from microexpr.video.recognizer import between
from microexpr.video.source import Frame
from tests.moments import BOX, FPS, SMILE, Boxes, Judge, Replay, frames, images, pushed, tracked


def given_clip(onset: int, apex: int | None = None, judge: Judge | None = None, **settings) -> GivenClip:
    """A clip that is given the faces of the recording, which are followed only from the onset on."""
    clip = GivenClip(Boxes(BOX), onset, apex, judge, **settings)
    clip._tracker = Replay(tracked()[0][onset:])
    return clip


def all_events(clip: GivenClip, end: int = 110) -> list[Event]:
    return [event for found in pushed(clip, frames(0, end)) for event in found] + clip.flush()


def test_onset_and_apex_are_taken_as_given():
    judge = Judge()
    clip = GivenClip(Boxes(BOX), 50, 64, judge, keep=True)  # the true apex is 62
    each = pushed(clip, frames(45, 75))
    assert [number for number, found in enumerate(each, 45) if found] == [64]  # at once
    (event,) = each[64 - 45]
    assert (event.onset, event.apex, event.offset) == (50, 64, 64)
    assert (event.onset_seconds, event.apex_seconds, event.offset_seconds) == (0.50, 0.64, 0.64)
    assert event.kind == "micro"
    assert event.emotion == "positive"
    assert set(event.regions) == {"left mouth corner", "right mouth corner"}
    assert 0.8 < event.strength < 1.6
    assert clip.flush() == []
    assert clip.evidence(event) is judge.asked[0]
    assert clip.evidence(event) is None
    assert clip.faces == 64 - 50 + 1  # it follows no face that it needs not
    assert clip.notes == []
    assert clip.frames == 30


def test_evidence_is_between_the_two_frames():
    judge = Judge()
    assert len(all_events(given_clip(50, 64, judge))) == 1
    faces = tracked()[0]
    np.testing.assert_array_equal(judge.asked[0].flow, between(faces[50].view, faces[64].view, "clg").flow)


def test_without_keep_no_evidence_is_kept():
    clip = given_clip(50, 64, Judge())
    (event,) = all_events(clip)
    assert clip.evidence(event) is None


@pytest.mark.parametrize("onset", [46, 50, 53])
def test_without_an_apex_it_is_found_within_40_ms(onset):
    """The eyes blink from frame 92 on, which is within the half second and moves the brows much more."""
    clip = given_clip(onset, None, Judge())
    each = pushed(clip, frames(0, 110))
    assert [number for number, found in enumerate(each) if found] == [onset + 50]  # after half a second
    (event,) = each[onset + 50]
    assert abs(event.apex - SMILE.apex) <= 0.04 * FPS
    assert (event.onset, event.offset) == (onset, event.apex)
    assert event.abstained is None


def test_the_apex_lies_within_the_longest_duration():
    (event,) = all_events(given_clip(50, None, Judge(), spotting=Spotting(longest=0.08)))
    assert (event.apex, event.kind) == (58, "micro")
    (event,) = all_events(given_clip(50, None, Judge(), spotting=Spotting(longest=0.085)))
    assert (event.apex, event.kind) == (58, "micro")  # no frame after it
    (event,) = all_events(given_clip(50, 64, Judge(), spotting=Spotting(longest=0.08)))
    assert (event.apex, event.kind) == (64, "macro")  # as given, though it is later


def test_the_end_of_the_video_ends_the_search():
    (event,) = all_events(given_clip(50, None, Judge()), end=70)
    assert abs(event.apex - SMILE.apex) <= 4


def test_level_is_the_motion_since_the_onset():
    clip = given_clip(50)
    assert math.isnan(clip.level)
    levels = []
    for frame in frames(0, 70):
        clip.push(frame)
        levels.append(clip.level)
        assert clip.tracked.frame.index == frame.index
    assert np.isnan(levels[:50]).all()
    assert levels[50] < 0.1
    assert 60 <= int(np.nanargmax(levels)) <= 64
    assert clip.threshold == pytest.approx(0.12)  # six times 0.02 pixels


def test_motion_under_the_noise_is_not_judged():
    judge = Judge()
    (event,) = all_events(given_clip(5, 20, judge), end=40)
    assert event.abstained == "motion does not rise above noise (0.12 px)"
    assert event.strength < 0.12
    assert event.probabilities == {}
    assert judge.asked == []


def test_without_a_classifier_nothing_is_judged():
    (event,) = all_events(given_clip(50, 62))
    assert event.abstained == "not classified"


def test_an_unsure_classifier_abstains():
    (event,) = all_events(given_clip(50, 62, Judge(0.3, 0.4, 0.3)))
    assert event.abstained == "unsure: positive at 40 %, under 50 %"
    assert event.emotion is None


# Numbers and faces that are not there


def test_numbers_that_are_no_frames_of_the_video():
    with pytest.raises(BadInput, match="an onset of 0 or more, got -1"):
        GivenClip(Boxes(BOX), -1, None)
    with pytest.raises(
        BadInput, match="frame 200, the onset, got frames 0 to 9; give an onset in the video; its first"
    ):
        all_events(GivenClip(Boxes(BOX), 200, None), end=10)
    with pytest.raises(BadInput, match="frame 90, the apex, got frames 0 to 69; give an apex in the video; its first"):
        all_events(given_clip(50, 90), end=70)
    with pytest.raises(
        BadInput, match="an onset before the apex, got onset 50, apex 40; give the numbers in this order"
    ):
        GivenClip(Boxes(BOX), 50, 40)
    with pytest.raises(BadInput, match="frame 3, the onset, got no frame;"):
        GivenClip(Boxes(BOX), 3, None).flush()


def gap(clip: GivenClip, *numbers: int) -> str:
    """The error where the frames have these numbers only."""
    with pytest.raises(BadInput) as caught:
        pushed(clip, [frames()[number] for number in numbers])
    return str(caught.value)


def test_numbers_in_a_gap_of_the_frames():
    """As folders have it whose pictures lack numbers: what is there is said, and only what would do is advised."""
    between = "got frames 6 and 10 and none between them"
    assert f"frame 7, the onset, {between}; give 6 or 10" in gap(GivenClip(Boxes(BOX), 7, None), 5, 6, 10)
    assert f"frame 7, the onset, {between}; give 6 or 10" in gap(GivenClip(Boxes(BOX), 7, 12), 5, 6, 10)
    assert f"frame 7, the onset, {between}; give 6" in gap(GivenClip(Boxes(BOX), 7, 9), 5, 6, 10)
    assert f"frame 8, the apex, {between}; give 6 or 10" in gap(GivenClip(Boxes(BOX), 5, 8), 5, 6, 10)
    assert f"frame 8, the apex, {between}; give 10" in gap(GivenClip(Boxes(BOX), 6, 8), 5, 6, 10)
    assert "frame 3, the onset, got frame 5 first; give 5" in gap(GivenClip(Boxes(BOX), 3, None), 5, 6)


def test_a_gap_that_holds_neither_is_passed_over():
    (event,) = [event for found in pushed(given_with_gap(), GAP_FRAMES) for event in found]
    assert (event.onset, event.apex) == (50, 64)


GAP_FRAMES = [frame for frame in frames(0, 70) if not 55 <= frame.index < 60]


def given_with_gap() -> GivenClip:
    clip = GivenClip(Boxes(BOX), 50, 64, Judge())
    clip._tracker = Replay([face for face in tracked()[0][50:] if not 55 <= face.frame.index < 60])
    return clip


def test_no_frame_that_could_be_the_apex():
    with pytest.raises(BadInput, match="frames after frame 69, the onset, got the end of the video; give an earlier"):
        all_events(given_clip(69), end=70)
    slow = [Frame(number, number * 0.6, images()[number]) for number in range(4)]
    clip = GivenClip(Boxes(BOX), 1, None)
    with pytest.raises(
        BadInput, match=r"within 0\.5 s of frame 1, the onset, got frame 2 next, which is later; give the"
    ):
        pushed(clip, slow)


def test_no_face_in_the_onset_frame():
    clip = GivenClip(Boxes(), 7, None)
    clip.push(frames()[6])
    with pytest.raises(
        BadInput, match="a face in frame 7, the onset, got no face that can be followed; give an onset at"
    ):
        clip.push(frames()[7])


def test_no_face_in_the_apex_frame():
    gray = np.full_like(images()[0], 90)
    clip = GivenClip(Boxes(BOX), 50, 54)
    pushed(clip, frames(50, 53))
    clip.push(Frame(53, 0.53, gray))
    with pytest.raises(
        BadInput, match="in frame 54, the apex, got one that was lost in frame 53; give an onset and an"
    ):
        clip.push(Frame(54, 0.54, gray))


def test_a_face_that_comes_back_in_time_is_still_followed():
    gray = np.full_like(images()[0], 90)
    clip = GivenClip(Boxes(BOX), 50, 62)
    given = [Frame(number, number / FPS, gray) if number in (53, 54) else frames()[number] for number in range(50, 63)]
    (event,) = pushed(clip, given)[-1]
    assert (event.onset, event.apex) == (50, 62)


def test_a_face_that_was_lost_and_found_again_is_not_compared_with_the_onset():
    """What is found again has another reference; its frames are none of the movement."""
    gray = np.full_like(images()[0], 90)
    find = Boxes(BOX)
    lost = [Frame(number, number / FPS, gray) for number in range(55, 75)]
    for apex, expected in ((None, "after it"), (80, "in frame 80, the apex")):
        clip = GivenClip(find, 50, apex)
        find.faces = [BOX]
        clip.push(frames()[50])
        find.faces = []
        pushed(clip, lost)
        find.faces = [Face(BOX.x + 3, BOX.y + 2, BOX.width - 8, BOX.height - 8)]
        told = f"the face of frame 50, the onset, {expected}, got one that was lost in frame 55"
        with pytest.raises(BadInput, match=told):
            pushed(clip, frames(76, 110))


def test_a_blink_is_no_movement_that_could_be_judged():
    """From frame 92 on the eyes close: flow carries that over to the brows, which do not count then."""
    judge = Judge()
    (event,) = all_events(given_clip(86, judge=judge), 125)
    assert event.abstained is not None
    assert event.abstained.startswith("motion does not rise above noise")
    assert not any("brow" in region for region in event.regions)
    assert judge.asked == []
