"""Frames in, events out: against the rendered truth, the same however the frames are handed over."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest

from microexpr.datasets._render import RenderedFrames
from microexpr.errors import BadInput
from microexpr.faces.align import crop_transform
from microexpr.faces.detect import Face
from microexpr.faces.regions import NAMES
from microexpr.spotting.answers import Spotting
from microexpr.types import Event
from microexpr.video.reader import Ahead
from microexpr.video.recognizer import KEPT_SECONDS, Recognizer, between, regions_of, strength_of, unsure
from microexpr.video.source import Frame, open_source
from microexpr.video.tracking import Tracked, View
from tests.moments import BOX, BROWS, FPS, LENGTH, SMILE, Boxes, Judge, Replay, frames, images, pushed, tracked
from tests.videos import write_video


def replayed(faces: list[Tracked], judge: Judge | None = None, **settings) -> Recognizer:
    recognizer = Recognizer(Boxes(BOX), judge, **settings)
    recognizer._tracker = Replay(faces)
    return recognizer


def events_of(recognizer: Recognizer, given: list[Frame]) -> list[Event]:
    return [event for each in pushed(recognizer, given) for event in each] + recognizer.flush()


# Against the truth


def test_events_are_the_rendered_movements():
    """Within 40 ms; the blink between them is none."""
    _, each, rest = tracked()
    events = [event for found in each for event in found]
    assert rest == []
    assert len(events) == 2
    for event, truth in zip(events, (SMILE, BROWS), strict=True):
        numbers = event.onset, event.apex, event.offset
        assert np.abs(np.subtract(numbers, (truth.onset, truth.apex, truth.offset))).max() <= 0.04 * FPS
        assert (event.onset_seconds, event.apex_seconds, event.offset_seconds) == pytest.approx(np.divide(numbers, FPS))
        assert event.kind == "micro"
        assert event.strength > 0.5
        assert 0 < event.noise < 0.1
        assert event.emotion == "positive"
        assert event.abstained is None
    assert set(events[0].regions) == {"left mouth corner", "right mouth corner"}
    assert all("brow" in region or region == "forehead" for region in events[1].regions)


def test_the_recognizer_shows_level_and_threshold_of_the_last_frame():
    faces, _, _ = tracked()
    recognizer = replayed(faces)
    levels = []
    for frame in frames():
        recognizer.push(frame)
        levels.append((recognizer.level, recognizer.threshold))
        assert recognizer.tracked.frame.index == frame.index
    assert recognizer.frames == LENGTH
    rest, peak = np.array(levels[20:48]), np.array(levels[60:64])
    assert (rest[:, 0] < rest[:, 1]).all()
    assert (peak[:, 0] > 4 * peak[:, 1]).all()


# However the frames come


def test_every_way_of_handing_frames_over_gives_the_same(tmp_path):
    """From a file through a thread, frame by frame, with the same answer at the same frame."""
    _, each, rest = tracked()
    source = open_source(write_video(tmp_path / "moments.mkv", images(), FPS))
    recognizer = Recognizer(Boxes(BOX), Judge())
    handed = [recognizer.push(frame) for frame, _ in Ahead(source, queued=3).frames()]
    assert handed == each
    assert recognizer.flush() == rest
    assert recognizer.faces == recognizer.frames == LENGTH


def test_an_array_gives_the_same_as_its_frames():
    _, each, _ = tracked()
    recognizer = Recognizer(Boxes(BOX), Judge())
    assert [recognizer.push(frame) for frame in open_source(images()[:110], fps=FPS).frames()] == each[:110]


def test_what_was_told_does_not_change_with_what_follows():
    faces, each, _ = tracked()
    told = [number for number, found in enumerate(each) if found]
    assert len(told) == 2
    assert SMILE.offset < told[0] < SMILE.offset + 20
    for cut in (told[0] - 1, told[0] + 1, BROWS.apex):
        recognizer = replayed(faces, Judge())
        assert pushed(recognizer, frames(0, cut)) == each[:cut]
        recognizer.flush()
    other = list(faces)
    for number in range(told[0] + 1, LENGTH):
        other[number] = dataclasses.replace(faces[number], motion=3 * faces[number].motion)
    assert pushed(replayed(other, Judge()), frames())[: told[0] + 1] == each[: told[0] + 1]


def test_flush_in_the_middle_ends_the_movement_and_the_next_one_is_found():
    faces, each, _ = tracked()
    recognizer = replayed(faces, Judge())
    assert not any(pushed(recognizer, frames(0, 72)))
    (cut,) = recognizer.flush()
    assert (cut.onset, cut.apex) == pytest.approx((SMILE.onset, SMILE.apex), abs=2)
    assert cut.offset == 71
    assert cut.abstained is None  # it was falling already
    assert recognizer.flush() == []
    recognizer._tracker = Replay(faces[85:])
    later = [event for found in pushed(recognizer, frames(85)) for event in found]
    (brows,) = [event for found in each[100:] for event in found]
    assert [event.apex for event in later][-1] == pytest.approx(brows.apex, abs=1)


def test_after_the_end_another_video_may_be_pushed_whose_times_start_anew():
    _, each, _ = tracked()
    recognizer = Recognizer(Boxes(BOX), Judge())
    pushed(recognizer, frames(0, 60))
    recognizer.flush()
    again = [event for found in pushed(recognizer, frames(0, 110)) for event in found]
    (first,) = [event for found in each[:110] for event in found]
    assert [dataclasses.replace(event, noise=first.noise) for event in again] == [first]  # the noise is remembered


# What is judged


def test_a_movement_whose_end_is_known_late_is_judged_by_its_own_onset_and_apex():
    """It sinks to two fifths and stays there: that this is its end shows half a second later."""
    faces, _, _ = tracked()
    rest, peak = np.mean([face.motion for face in faces[30:48]], axis=0), faces[SMILE.apex].motion
    late = []
    for number, face in enumerate(faces):
        share = np.interp(number, [SMILE.apex, 92], [1, 0.4])
        motion = face.motion if number < SMILE.apex else rest + share * (peak - rest)
        late.append(dataclasses.replace(face, motion=motion, eyes=face.eyes if number < 62 else faces[40].eyes))
    judge = Judge()
    recognizer = replayed(late, judge, keep=True)
    each = pushed(recognizer, frames())
    (told,) = [number for number, found in enumerate(each) if found]
    assert told > SMILE.onset + KEPT_SECONDS * FPS
    (event,) = each[told]
    assert event.abstained is None
    assert event.onset == pytest.approx(SMILE.onset, abs=2)
    seen = between(faces[event.onset].view, faces[event.apex].view, "clg")
    np.testing.assert_array_equal(judge.asked[0].flow, seen.flow)


def test_the_classifier_sees_the_true_flow():
    faces, _, _ = tracked()
    judge = Judge()
    events = events_of(replayed(faces, judge), frames())
    assert len(judge.asked) == 2
    still = RenderedFrames(LENGTH, (SMILE, BROWS), head_pixels=0.0, fps=FPS)
    crop = crop_transform(BOX)
    for event, evidence in zip(events, judge.asked, strict=True):
        truth = np.moveaxis(still.true_flow(event.onset, event.apex) * crop[0, 0], 0, 2)
        truth = np.moveaxis(cv2.warpAffine(np.ascontiguousarray(truth), crop, (224, 224)), 2, 0)
        inside = np.s_[:, 25:210, 15:209]
        assert np.corrcoef(evidence.flow[inside].ravel(), truth[inside].ravel())[0, 1] > 0.97
        assert np.abs(evidence.flow[inside]).max() == pytest.approx(np.abs(truth[inside]).max(), rel=0.25)
        assert evidence.onset.shape == evidence.apex.shape == (224, 224, 3)
        assert strength_of(evidence.flow).max() == pytest.approx(event.strength, rel=0.15)


def test_evidence_shows_the_onset_and_the_apex():
    faces, _, _ = tracked()
    judge = Judge()
    first = events_of(replayed(faces, judge), frames())[0]
    matrix = crop_transform(BOX)
    for picture, number in ((judge.asked[0].onset, first.onset), (judge.asked[0].apex, first.apex)):
        there = cv2.warpAffine(images()[number], matrix, (224, 224), borderMode=cv2.BORDER_REPLICATE).astype(float)
        other = cv2.warpAffine(images()[5], matrix, (224, 224), borderMode=cv2.BORDER_REPLICATE).astype(float)
        mouth = np.s_[120:170, 50:175]
        error = np.abs(picture[mouth] - there[mouth]).mean()
        assert error < 2.5
        if number == first.apex:
            assert error < 0.6 * np.abs(picture[mouth] - other[mouth]).mean()


def test_evidence_is_kept_on_request_and_handed_out_once():
    faces, _, _ = tracked()
    judge = Judge()
    recognizer = replayed(faces, judge, keep=True)
    first, second = events_of(recognizer, frames())
    assert recognizer.evidence(second) is judge.asked[1]
    assert recognizer.evidence(first) is judge.asked[0]
    assert recognizer.evidence(first) is None
    careless = replayed(faces, Judge())
    first, _ = events_of(careless, frames())
    assert careless.evidence(first) is None


def test_an_unsure_classifier_abstains_and_its_probabilities_are_kept():
    faces, _, _ = tracked()
    (event,) = events_of(replayed(faces, Judge(0.2, 0.45, 0.35, threshold=0.5)), frames(0, 110))
    assert event.abstained == "unsure: positive at 45 %, under 50 %"
    assert event.probabilities == {"negative": 0.2, "positive": 0.45, "surprise": 0.35}
    assert event.emotion is None
    (event,) = events_of(replayed(faces, Judge(0.2, 0.5, 0.3, threshold=0.5)), frames(0, 110))
    assert event.emotion == "positive"


def test_a_macro_expression_is_not_judged():
    faces, _, _ = tracked()
    judge = Judge()
    (event,) = events_of(replayed(faces, judge, spotting=Spotting(longest=0.2)), frames(0, 110))
    assert (event.kind, event.abstained) == ("macro", "longer than a micro-expression")
    assert event.probabilities == {}
    assert judge.asked == []


def test_a_movement_that_still_rises_at_the_end_is_not_judged():
    faces, _, _ = tracked()
    judge = Judge()
    (event,) = events_of(replayed(faces, judge), frames(0, 60))
    assert event.abstained == "the video ended before the movement had peaked"
    assert event.kind == "micro"
    assert judge.asked == []


def test_without_a_classifier_events_are_found_only():
    faces, each, _ = tracked()
    judged = [event for found in each for event in found]
    plain = events_of(replayed(faces), frames())
    assert {event.abstained for event in plain} == {"not classified"}
    assert [
        dataclasses.replace(event, probabilities=judged[0].probabilities, abstained=None) for event in plain
    ] == judged


# Faces that get lost, memory


def test_a_face_lost_in_the_middle_of_a_movement_cuts_it():
    class Until(Boxes):
        def __call__(self, frame: np.ndarray) -> list[Face]:
            return [] if frame.std() < 1 else super().__call__(frame)

    gray = np.full_like(images()[0], 90)
    given = frames(30, 60) + [Frame(number, number / FPS, gray) for number in range(60, 80)]
    recognizer = Recognizer(Until(BOX), Judge())
    each = pushed(recognizer, given)
    (number,) = [number for number, found in enumerate(each) if found]
    assert given[number].index == 70  # after a tenth of a second of patience
    (event,) = each[number]
    assert event.abstained == "the face was lost before the movement had peaked"
    assert (event.onset, event.offset) == (pytest.approx(50, abs=2), 59)
    assert recognizer.flush() == []
    assert math.isnan(recognizer.level)
    assert (recognizer.frames, recognizer.faces) == (50, 30)


def test_a_movement_whose_face_was_lost_while_it_fell_is_not_judged_either():
    faces, _, _ = tracked()
    judge = Judge()
    gone = [*faces[:72], *(Tracked(frame, lost=True) for frame in frames(72, 80))]
    (event,) = events_of(replayed(gone, judge), frames(0, 80))
    assert event.abstained == "the face was lost before the movement had ended"
    assert (event.apex, event.offset) == (pytest.approx(SMILE.apex, abs=2), 71)
    assert judge.asked == []


def test_one_frame_that_could_not_be_registered_ends_nothing():
    faces, each, _ = tracked()
    holed = list(faces)
    holed[66] = Tracked(faces[66].frame)
    (event,) = events_of(replayed(holed, Judge()), frames(0, 110))
    (same,) = [event for found in each[:110] for event in found]
    assert (event.onset, event.apex, event.offset) == pytest.approx((same.onset, same.apex, same.offset), abs=1)
    assert event.abstained is None


def test_views_are_kept_for_a_moment_only_and_frames_without_their_pictures():
    faces, _, _ = tracked()
    recognizer = replayed([faces[10]] * 2000)
    largest = 0
    for number in range(2000):
        assert recognizer.push(Frame(number, number / FPS, images()[10])) == []
        largest = max(largest, len(recognizer._views))
    assert largest <= KEPT_SECONDS * FPS + 1
    assert all(frame.image.size == 0 for frame, _ in recognizer._views)


def test_frames_out_of_order_are_refused():
    faces, _, _ = tracked()
    recognizer = replayed(faces)
    recognizer.push(frames()[3])
    with pytest.raises(BadInput, match="in the order of their times"):
        recognizer.push(frames()[2])


def test_an_onset_under_another_reference_is_replaced_by_its_neighbor():
    """The pictures of two references have other sizes and places; those of one lie on one another."""
    faces, each, _ = tracked()
    (event,) = [event for found in each[:110] for event in found]
    renewed = event.onset + 3
    changed = list(faces)
    for number in range(renewed):
        small = View(faces[number].view.picture[5:, 5:], faces[number].view.face, -1)
        changed[number] = dataclasses.replace(faces[number], view=small)
    judge = Judge()
    (same,) = events_of(replayed(changed, judge), frames(0, 110))
    assert same == event
    whole = between(faces[event.onset].view, faces[event.apex].view, "clg")
    neighbor = between(faces[renewed].view, faces[event.apex].view, "clg")
    np.testing.assert_array_equal(judge.asked[0].flow, neighbor.flow)
    assert (judge.asked[0].flow != whole.flow).any()


# Small parts


def test_regions_by_hand():
    motion = np.zeros(len(NAMES))
    motion[[2, 5, 7, 9]] = 0.6, 1.0, 0.49, 0.9
    assert regions_of(motion) == (NAMES[5], NAMES[9], NAMES[2])
    motion[2] = 0.4
    assert regions_of(motion) == (NAMES[5], NAMES[9])
    motion[[2, 7]] = 0.8, 0.7
    assert regions_of(tuple(motion)) == (NAMES[5], NAMES[9], NAMES[2])  # no more than three


def test_unsure_by_hand():
    assert unsure({"a": 0.3, "b": 0.7}, 0.7) is None
    assert unsure({"a": 0.3, "b": 0.7}, 0.75) == "unsure: b at 70 %, under 75 %"


def test_strength_leaves_out_what_all_regions_share():
    flow = np.zeros((2, 112, 112), np.float32)
    flow[0] += 3.0
    assert strength_of(flow) == pytest.approx(np.zeros(len(NAMES)), abs=1e-5)
    flow[1, 89:104, 40:72] -= 1.0  # the chin, which is 79 to 93% down
    strength = strength_of(flow)
    assert strength[NAMES.index("chin")] == pytest.approx(1.0, abs=0.1)
    assert np.delete(strength, NAMES.index("chin")).max() < 0.05
