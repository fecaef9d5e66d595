"""What people see: plates, the timeline and what is drawn over a frame."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from microexpr import api
from microexpr.errors import BadInput
from microexpr.motion.color import flow_to_color
from microexpr.video import canvas, draw
from microexpr.video.overlay import LINGER, color_of, label_of, overlay, strip_height
from microexpr.video.track import Track
from tests import recordings

CLIP = api.load("synthetic", subjects=1, clips_per_subject=1).clips[0]
ONSET, APEX = CLIP.frames.read(CLIP.onset), CLIP.frames.read(CLIP.apex)
FLOW = CLIP.frames.true_flow(CLIP.onset, CLIP.apex)


def made(probabilities):
    return draw.plate(ONSET, APEX, FLOW, probabilities, CLIP.onset, CLIP.apex, CLIP.fps)


def test_pictures_stand_side_by_side_unchanged():
    plate = made({"negative": 0.1, "positive": 0.8, "surprise": 0.1})
    step = draw.PANEL + draw.GAP
    inner = slice(draw.GAP + 1, draw.GAP + draw.PANEL - 1)
    for number, picture in enumerate((ONSET, APEX)):
        left = draw.GAP + number * step
        np.testing.assert_array_equal(plate[inner, left + 1 : left + draw.PANEL - 1], picture[1:-1, 1:-1])
    left = draw.GAP + 2 * step
    np.testing.assert_array_equal(
        plate[draw.GAP + 1 : draw.GAP + 100, left + 1 : left + 200], flow_to_color(FLOW)[1:100, 1:200]
    )


def test_bars_grow_with_the_probability_and_the_best_stands_out():
    def widths(probabilities):
        colored = (made(probabilities) == np.array(draw.BAR_BEST, np.uint8)).all(2)
        return colored.any(0).sum()

    few = widths({"negative": 0.3, "positive": 0.4, "surprise": 0.3})
    many = widths({"negative": 0.05, "positive": 0.9, "surprise": 0.05})
    assert many / few == np.clip(many / few, 2.1, 2.4)


def test_other_numbers_of_classes_and_frame_sizes():
    large = np.repeat(np.repeat(ONSET, 2, 0), 2, 1)
    five = {f"class {number}": 0.2 for number in range(5)}
    plate = draw.plate(large, large, FLOW, five, 3, 9, 100.0)
    assert plate.shape == made({"one": 1.0, "two": 0.0}).shape


def test_many_classes_stand_under_each_other_without_touching():
    names = {f"class {number}": 0.125 for number in range(8)}
    drawn = made(names)
    left = draw.GAP + 3 * (draw.PANEL + draw.GAP) + draw.GAP // 2
    ground = (drawn[draw.GAP : draw.GAP + draw.PANEL, left + 120] == draw.RULE).all(1)
    assert np.count_nonzero(np.diff(ground.astype(int)) == 1) == 8


# One event.

FACE, MOVED = (recordings.FRAMES.read(number) for number in (recordings.MICRO.onset, recordings.MICRO.apex))
TRACK = recordings.track()
PLATES = {
    name: draw.event_plate(one, FACE, MOVED, FLOW, TRACK, "mjfn")
    for name, one in (
        ("positive", recordings.POSITIVE),
        ("abstained", recordings.ABSTAINED),
        ("macro", recordings.GRIMACE),
    )
}
DECISION = np.s_[draw.GAP : draw.GAP + draw.PANEL, -draw.BARS - draw.GAP // 2 :]
TRACE = np.s_[draw.GAP + draw.PANEL + draw.CAPTION + 26 : -draw.CAPTION - 46, draw.GAP + 44 :]


def colored(picture, color, tolerance=0):
    return (np.abs(picture.astype(int) - np.array(color)) <= tolerance).all(2)


def columns(picture, color, tolerance=0):
    return np.flatnonzero(colored(picture, color, tolerance).any(0))


def test_a_classified_event_shows_bars_and_others_a_reason():
    assert len(columns(PLATES["positive"][DECISION], draw.BAR_BEST)) == round(0.83 * (draw.BARS - draw.GAP))
    for name in ("abstained", "macro"):
        assert not colored(PLATES[name][DECISION], draw.BAR_BEST).any()
        assert not colored(PLATES[name][DECISION], draw.RULE).any()
        assert (PLATES[name][DECISION] < 128).all(2).sum() > 50  # words


@pytest.mark.parametrize("kind", ["positive", "abstained", "macro"])
def test_the_trace_peaks_between_marks_at_onset_apex_and_offset(kind):
    one = {"positive": recordings.POSITIVE, "abstained": recordings.ABSTAINED, "macro": recordings.GRIMACE}[kind]
    trace = PLATES[kind][TRACE]
    onset, mark, offset = columns(trace[:1], color_of(one))
    ink = colored(trace[2:, :offset], canvas.INK, 40)
    ink[:, :onset] = False
    peak = int(np.median(np.flatnonzero(ink[np.flatnonzero(ink.any(1))[0]])))
    highest = max(range(one.onset, one.offset + 1), key=recordings.strength)  # the noise may move it off the apex
    for column, number in ((mark, one.apex), (peak, highest)):
        share = (number - one.onset) / (one.offset - one.onset)
        assert (column - onset) / (offset - onset) == pytest.approx(share, abs=0.04)


def test_the_noise_is_a_band_as_high_as_it_is():
    """The chart is 100 rows high and ends 15 % above the strongest motion."""
    trace = PLATES["positive"][TRACE]
    rows = np.flatnonzero(colored(trace, draw.NOISE_BAND)[:, :20].any(1))
    window = [recordings.strength(number) for number in range(20, 271)]
    expected = recordings.NOISE / (1.15 * max(window)) * 99
    assert len(rows) == pytest.approx(expected, abs=2.5)


def test_the_caption_says_what_it_is():
    text = draw.caption_of(recordings.POSITIVE)
    assert text == (
        "micro-expression from 0.600 to 0.850 s (250 ms); strength 0.90 px; "
        "moved most: left mouth corner, right mouth corner"
    )
    assert "moved" not in draw.caption_of(replace(recordings.POSITIVE, regions=()))


def test_words_that_do_not_fit_are_cut_inside_of_the_plate():
    long = replace(recordings.POSITIVE, regions=("a region with a name that has no end at all",) * 3)
    drawn = draw.event_plate(long, FACE, MOVED, FLOW, TRACK, "mjfn")
    line = (drawn[-draw.CAPTION :] < 200).any(2).any(0)
    gap = np.diff(np.flatnonzero(line)).max()
    assert gap >= draw.GAP  # between the caption and the method
    assert not line[-draw.GAP :].any()


def test_an_event_at_the_end_of_a_short_recording_has_a_plate():
    drawn = draw.event_plate(recordings.POSITIVE, FACE, MOVED, FLOW, recordings.track(172), "")
    assert drawn.shape == PLATES["positive"].shape


# Over a frame.

FRAME = recordings.FRAMES.read(140)
MOTION = TRACK.motion


def over(number, frame=FRAME, events=recordings.EVENTS, box=recordings.BOX, **more):
    return overlay(frame, box, MOTION[: number + 1], events, number / recordings.FPS, **more)


def changed(drawn, frame=FRAME):
    return (drawn != frame).any(2)


def test_the_frame_itself_is_not_touched():
    before = FRAME.copy()
    over(140)
    np.testing.assert_array_equal(FRAME, before)


def test_only_box_strip_and_label_change_the_picture():
    where = changed(over(140))
    strip = 480 - strip_height(480)
    assert where[strip:].mean() > 0.95
    assert where[198 : strip - 2, 190].all()  # the box's left side
    assert where[198, 190:450].all()  # and its top
    assert not where[205:strip, 196:444].any()  # the face is free
    assert not where[:strip, :188].any()
    assert not where[:150].any()


def test_a_label_stands_while_the_event_lasts_and_half_a_second_more():
    label = np.s_[160:196, 190:320]
    shown = [
        number for number in range(60, 500, 5) if changed(over(number, events=(recordings.POSITIVE,)))[label].any()
    ]
    first, last = recordings.MICRO.onset, recordings.MICRO.offset + LINGER * recordings.FPS
    assert shown == [number for number in range(60, 500, 5) if first <= number <= last]


@pytest.mark.parametrize(
    ("one", "color"),
    [(recordings.POSITIVE, canvas.BLUE), (recordings.ABSTAINED, canvas.SKY), (recordings.GRIMACE, canvas.ORANGE)],
)
def test_each_kind_has_its_color_in_the_label_the_box_and_the_strip(one, color):
    drawn = over(one.apex, events=recordings.EVENTS)
    assert color_of(one) == color
    assert colored(drawn[160:196, 190:330], color).sum() > 300
    assert colored(drawn[300:301, 185:196], color).any()
    assert not colored(over(one.offset + 4, events=recordings.EVENTS)[300:301, 185:196], color).any()


def test_a_new_event_takes_the_place_of_a_label_that_lingers():
    label = np.s_[160:196, 190:330]
    both = over(recordings.UNSURE.apex, events=(recordings.POSITIVE, recordings.ABSTAINED))
    newer = over(recordings.UNSURE.apex, events=(recordings.ABSTAINED,))
    np.testing.assert_array_equal(both[label], newer[label])


def test_labels_in_words():
    assert [label_of(one) for one in recordings.EVENTS] == ["positive 83 %", "unsure", "macro-expression"]


def test_the_trace_moves_left_and_its_peak_is_high():
    """A peak at the right edge at its time; a quarter of the strip, which shows two seconds, further left at 0.51 s."""

    def peak_column(number):
        strip = over(number, events=())[-strip_height(480) :]
        rows, columns = np.nonzero((strip > 225).all(2))
        return np.median(columns[rows == rows.min()])

    assert peak_column(recordings.MICRO.apex + 2) > 625
    assert peak_column(recordings.MICRO.apex + 102) == pytest.approx(640 * (1 - 0.51 / 2), abs=6)


def test_no_trace_without_a_threshold_and_none_where_the_face_was_lost():
    assert not (over(15, events=())[-strip_height(480) + 2 :] > 225).all(2).any()
    strip = over(400, events=())[-strip_height(480) :]
    lost = slice(*(round(639 * (2 - (400 - number) / 200) / 2) for number in (LOST_FROM + 2, LOST_TO - 2)))
    assert not (strip[:, lost] > 225).all(2).any()
    assert (strip[:, lost.start - 30 : lost.start - 8] > 225).all(2).any()


LOST_FROM, LOST_TO = recordings.LOST.start, recordings.LOST.stop


def test_a_lost_face_is_said_and_has_no_box():
    where = changed(over(140, box=None, events=()))
    assert not where[: 480 - strip_height(480)].any()
    words = over(140, box=None, events=())[-strip_height(480) : -strip_height(480) + 24, -70:]
    assert (words > 225).all(2).sum() > 40


@pytest.mark.parametrize("size", [(160, 120), (120, 160), (121, 120), (640, 480), (1280, 720), (2560, 1440)])
@pytest.mark.parametrize("events", [recordings.EVENTS, (recordings.GRIMACE, replace(recordings.GRIMACE, kind="micro"))])
def test_every_frame_size(size, events):
    width, height = size
    frame = np.full((height, width, 3), 128, np.uint8)
    box = (0.3 * width, 0.4 * height, 0.4 * width, 0.55 * height)
    for place in (box, (-5.0, -5.0, width + 10.0, height + 10.0), None):
        drawn = over(430, frame, events, place)
        assert drawn.shape == frame.shape
        assert 300 < colored(drawn, canvas.ORANGE).sum() < 0.2 * width * height  # it can be read, and hides little


def test_letters_grow_with_the_frame():
    def label_height(scale):
        frame = np.full((480 * scale, 640 * scale, 3), 128, np.uint8)
        box = tuple(scale * value for value in recordings.BOX)
        drawn = over(430, frame, (recordings.GRIMACE,), box)[: 198 * scale - 2 * scale]
        return colored(drawn, canvas.ORANGE).any(1).sum()

    assert label_height(4) == pytest.approx(4 * label_height(1), rel=0.1)


def test_a_given_height_of_the_strip_is_kept():
    def highest(peak):
        strip = over(142, events=(), peak=peak)[-strip_height(480) :]
        return np.nonzero((strip > 225).all(2))[0].min()

    assert highest(4.0) > highest(1.0) + 20


# A whole recording.


def test_the_timeline_shows_spans_gaps_and_motion_at_their_times():
    drawn = draw.timeline(TRACK, recordings.EVENTS, "a.mp4", width=1000)
    left, wide = 56, 1000 - 56 - 20
    row = drawn[-44 - 140]  # high in the chart: above the motion of the quiet face

    def share(number):
        return left + number / (recordings.LENGTH - 1) * (wide - 1)

    for one in recordings.EVENTS:
        tint = np.rint(0.45 * 250.5 + 0.55 * np.array(color_of(one)))
        inside = np.flatnonzero((np.abs(row - tint) <= 2).all(1))
        assert inside.min() == pytest.approx(share(one.onset), abs=2)
        assert inside.max() == pytest.approx(share(one.offset), abs=2)
    gray = np.flatnonzero((row == draw.LOST).all(1))
    assert (gray.min(), gray.max()) == (pytest.approx(share(320), abs=2), pytest.approx(share(360), abs=2))


def test_timeline_labels_never_overlap():
    """As many labels as there is room for: the words of one row have gaps between them."""
    many = [replace(recordings.POSITIVE, onset_seconds=t, offset_seconds=t + 0.1) for t in np.linspace(0, 2.3, 40)]
    boxes = []
    original = draw.write

    def remember(picture, text, x, y, *rest, **more):
        if text == "positive 83 %":
            boxes.append((x, y, *canvas.text_size(text, 13)))
        original(picture, text, x, y, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "write", remember)
        draw.timeline(TRACK, many, width=900)
    assert 10 < len(boxes) < 40
    for (x, y, width, _), (other_x, other_y, *_) in itertools.permutations(boxes, 2):
        assert other_y != y or other_x >= x + width or other_x < x


def test_a_timeline_of_an_hour_keeps_its_short_peaks():
    made = Track()
    for number in range(50_000):
        made.add(number, number / 10, recordings.BOX, 1.0 if number == 31_033 else 0.05, 0.25)
    drawn = draw.timeline(made, (), width=800)
    chart = drawn[106 + 30 : 106 + 100, 56:-20]
    found = columns(chart, canvas.INK, 60)
    assert 1 <= len(found) <= 3
    np.testing.assert_allclose(found, 0.62066 * 723, atol=2)


def test_a_timeline_says_when_a_grimace_is_cut_off():
    titles = []
    grimace = Track()
    for number in range(200):
        grimace.add(number, number / 100, recordings.BOX, 50.0 if number == 100 else 0.1, 0.25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "write", lambda picture, text, *rest, **more: titles.append(text))
        draw.timeline(grimace, (), "a.mp4")
    assert "a.mp4: motion strength; higher than 1.1 px is cut off" in titles


def test_what_can_not_be_a_timeline():
    with pytest.raises(BadInput, match="an empty track"):
        draw.timeline(Track(), ())
    with pytest.raises(BadInput, match="600 pixels"):
        draw.timeline(TRACK, (), width=300)
    assert draw.timeline(recordings.track(1), (), width=600).shape[1] == 600


@pytest.mark.parametrize(
    ("start", "end", "most", "expected"),
    [
        (0.0, 1.0, 6, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.93, 1.52, 4, [1.0, 1.2, 1.4]),
        (0.0, 600.0, 12, [60.0 * n for n in range(11)]),
        (5.0, 5.0, 4, [5.0]),
        (0.0, 86400.0, 5, [28800.0 * n for n in range(4)]),
    ],
)
def test_ticks_are_round_and_few(start, end, most, expected):
    np.testing.assert_allclose(canvas.time_ticks(start, end, most), expected)
