"""Blinks of the rendered face and the longer videos: the lid closes the eye and touches nothing else, events stand
where they were asked for, and equal settings are equal bytes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from microexpr.datasets import _face, _render
from microexpr.datasets._blink import EYES, Blink
from microexpr.datasets._face import Identity
from microexpr.datasets._render import Movement, RenderedFrames
from microexpr.datasets.rendered_video import expression, video
from microexpr.datasets.synthetic import EMOTIONS
from microexpr.errors import BadInput, UnknownName
from microexpr.video.source import open_source
from tests.videos import rendered, write_video

BLINK = Blink(10, 60)  # shut from frame 30 to 40


def around(x, y, frames, reach=6):
    """The pixels about the place where a point of the portrait shows."""
    place = frames.identity.portrait_points(frames.view.frame_points())
    distance = np.hypot(place[0] - x, place[1] - y)
    row, column = np.unravel_index(distance.argmin(), distance.shape)
    return np.s_[row - reach : row + reach, column - reach : column + reach]


def eyes(frames):
    for eye in EYES:
        middle = (np.array(eye.left) + eye.right) / 2
        yield around(middle[0], middle[1] + (eye.below - eye.above) / 2, frames)


def blinking(subject=0, crop=True, **settings) -> RenderedFrames:
    return RenderedFrames(100, (), Identity((0, subject), subject % 2 == 1), (3,), 200.0, 0.3, crop, **settings)


# The lid


def test_the_lid_closes_fast_stays_shut_and_opens_slower():
    closed = [BLINK.closed(number) for number in range(100)]
    assert not any(closed[:11] + closed[70:])
    assert all(np.diff(closed[10:31]) > 0)
    assert closed[30:41] == [1.0] * 11
    assert all(np.diff(closed[40:71]) < 0)
    assert closed[20] == pytest.approx(0.5)  # half of 20 frames down
    assert closed[55] == pytest.approx(0.5)  # half of 30 frames up


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("subject", [0, 1, 2, 3])  # 1 and 3 are mirrored
def test_a_shut_eye_looks_like_skin_and_the_rest_of_the_face_stays(subject, crop):
    with_blink, without = blinking(subject, crop, blinks=(BLINK,)), blinking(subject, crop)
    shut, open_ = with_blink.clean(35), without.clean(35)
    skin = open_[around(225, 118, without)].mean()  # the bridge of the nose
    for eye in eyes(without):
        assert np.abs(shut[eye] - open_[eye]).mean() > 25
        assert open_[eye].mean(axis=2).min() < 0.35 * skin  # the pupil
        assert shut[eye][:6].mean(axis=2).min() > 0.55 * skin  # the lid; the lashes have gone down
    changed, view = np.abs(shut - open_).max(axis=2), without.view
    for feature in ("middle brow", "inner brow", "forehead", "cheek", "nostril", "mouth corner", "chin"):
        for x, y in _face.FEATURES[feature]:
            assert changed[around(x, y, without, reach=3)].mean() < 0.5 * _render.NOISE, feature
    assert not changed[: round((80 * 2.5 - view.top) * view.magnification)].any()
    assert not changed[round((116 * 2.5 - view.top) * view.magnification) :].any()
    assert 1500 < (changed > 5).sum() / view.magnification**2 < 6000  # frame pixels, both eyes


def test_nothing_jumps_from_frame_to_frame():
    """A blink of 60 frames moves the margin by up to 1.5 frame pixels a frame; no part appears at once."""
    frames = blinking(blinks=(BLINK,))
    steps = [np.abs(frames.clean(number + 1) - frames.clean(number)).mean() for number in range(9, 71)]
    assert max(steps) < 0.15 * np.abs(frames.clean(35) - frames.clean(10)).mean()


def test_the_lid_follows_the_head():
    still, moved = (
        RenderedFrames(400, identity=Identity(), head_pixels=head, crop=False, blinks=(Blink(200, 300),))
        for head in (0.0, 12.0)
    )
    number = 320
    right, down, roll = moved.head_motion(number)
    assert abs(right) + abs(down) > 3
    for eye in eyes(still):
        rows, columns = eye
        # The eyes lie 180 pixels above the neck, which the head rolls about.
        across = round(right + np.radians(roll) * 180)
        there = np.s_[
            rows.start + round(down) : rows.stop + round(down), columns.start + across : columns.stop + across
        ]
        same = np.abs(moved.clean(number)[there] - still.clean(number)[eye]).mean()
        assert same < 0.3 * np.abs(moved.clean(number)[eye] - still.clean(number)[eye]).mean() + 4


def test_a_blink_changes_no_frame_but_its_own_and_no_truth():
    movement = (Movement(20, 50, 80, ("6", "12"), 2.0),)
    with_blink = RenderedFrames(100, movement, crop=False, blinks=(BLINK,))
    without = RenderedFrames(100, movement, crop=False)
    for number in (0, 10, 70, 99):
        np.testing.assert_array_equal(with_blink.read(number), without.read(number))
    assert (with_blink.read(35) != without.read(35)).any()
    np.testing.assert_array_equal(with_blink.true_flow(0, 35), without.true_flow(0, 35))


def test_a_blink_that_cannot_be():
    with pytest.raises(BadInput, match="1 or more frames, got 0"):
        Blink(3, 0)


def test_flicker_has_a_strength():
    level = {
        flicker: [blinking(flicker=flicker).read(number).mean() for number in range(0, 100, 5)]
        for flicker in (0.0, _render.FLICKER, 0.04)
    }
    assert np.ptp(level[0.0]) < 0.1  # the head moves
    assert np.ptp(level[0.04]) > 5 * np.ptp(level[_render.FLICKER]) > 0
    assert np.ptp(level[0.04]) < 2 * 0.04 * np.mean(level[0.0])
    np.testing.assert_array_equal(blinking(flicker=_render.FLICKER).read(50), blinking().read(50))


# Videos


@pytest.mark.parametrize("seed", range(8))
def test_drawn_events_are_apart_and_blinks_keep_off(seed):
    frames, events = video(10.0, 100.0, 5, seed=seed, blinks_per_minute=40.0)
    assert [event.movement for event in events] == list(frames.movements)
    times = [(one.onset, one.apex, one.offset) for one in frames.movements]
    assert len(times) == 5
    assert times[0][0] >= 50
    assert times[-1][2] <= 1000 - 29
    for (_, _, end), (start, _, _) in itertools.pairwise(times):
        assert start - end >= 79  # 0.8 s, to a rounded frame
    for onset, apex, offset in times:
        assert 15 <= offset - onset <= 45
        assert 0.3 <= (apex - onset) / (offset - onset) <= 0.6
    for blink in frames.blinks:
        assert 15 <= blink.length <= 35
        assert all(blink.start + blink.length + 30 <= on or off + 30 <= blink.start for on, _, off in times)
    assert all(event.movement.action_units in EMOTIONS[event.emotion] for event in events)


def test_a_video_is_its_seed():
    one, again, other = (video(6.0, 100.0, 2, seed=seed, crop=True) for seed in (4, 4, 5))
    assert one == again
    np.testing.assert_array_equal(one[0].read(77), again[0].read(77))
    assert one[1] != other[1]
    assert one[0].blinks != other[0].blinks
    assert (one[0].read(0) != other[0].read(0)).any()


def test_about_as_many_blinks_as_asked_for():
    counts = [len(video(60.0, 100.0, seed=seed)[0].blinks) for seed in range(20)]
    assert 13 < np.mean(counts) < 17
    assert np.ptp(counts) > 3  # random, not regular
    blinks = video(60.0, 100.0, seed=1, blinks_per_minute=60.0)[0].blinks
    assert min(b.start - a.start - a.length for a, b in itertools.pairwise(blinks)) >= 29
    assert video(60.0, 100.0, seed=1, blinks_per_minute=0.0)[0].blinks == ()


def test_given_events_come_in_order_with_their_emotion():
    random = np.random.default_rng(0)
    late = expression("anger", 3.0, 100.0, 1.5, random, units=("4",))
    early = expression("happiness", 1.0, 100.0, 3.0, random)
    frames, events = video(5.0, 100.0, [late, early])
    assert [event.emotion for event in events] == ["happiness", "anger"]
    assert [one.onset for one in frames.movements] == [100, 300]
    assert events[1].movement.action_units == ("4",)
    assert frames.movements[1].amplitude == 1.5
    assert frames.strength(events[0].movement.apex) == 1.0


def test_videos_that_cannot_be():
    random = np.random.default_rng(0)
    with pytest.raises(BadInput, match=r"or more for 4 events, got 3\.0 s"):
        video(3.0, 100.0, 4)
    with pytest.raises(BadInput, match="events from frame 0 to 199, got one beyond"):
        video(2.0, 100.0, [expression("fear", 1.95, 100.0, 1.0, random)])
    with pytest.raises(BadInput, match="fps of 20 or more, got 5"):
        video(2.0, 5.0)
    with pytest.raises(BadInput, match=r"one frame or more, got 0\.0 seconds"):
        video(0.0)
    with pytest.raises(BadInput, match=r"0 to 92 blinks a minute, got 200"):
        video(2.0, blinks_per_minute=200.0)
    with pytest.raises(BadInput, match="seed of 0 or more, got -1"):
        video(2.0, seed=-1)
    with pytest.raises(UnknownName, match="'joy'"):
        expression("joy", 1.0, 100.0, 1.0, random)
    with pytest.raises(BadInput, match=r"up to 10 pixels, got 0"):
        expression("fear", 1.0, 100.0, 0.0, random)


def test_a_written_video_reads_back_equal(tmp_path):
    frames = rendered(50, 0.2, Movement(1, 4, 8, ("12",), 2.0), blinks=(Blink(2, 6),))
    assert frames.shape == (10, 224, 224, 3)
    source = open_source(write_video(tmp_path / "clip.mkv", frames, 50))
    read = list(source.frames())
    np.testing.assert_array_equal(np.stack([frame.image for frame in read]), frames)
    assert read[3].seconds == pytest.approx(0.06)
    assert source.header_fps == 50
