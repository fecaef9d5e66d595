"""Events on disk and the annotated video."""

import csv
import json
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microexpr.errors import BadInput
from microexpr.video.files import annotate, is_result, read_events, write_events
from microexpr.video.overlay import strip_height
from microexpr.video.source import open_source
from microexpr.video.track import Track
from tests import recordings

ABOUT = {
    "source": {"name": "=cmd|' /C calc'!A0.mp4", "size": (640, 480), "frames": np.int64(500), "fps": np.float32(200)},
    "detector": {"name": "haar", "version": "4.14"},
    "effective_fps": math.nan,
    "weights": Path("a/b.safetensors"),
    "spotting": {"rates": np.array([0.5, math.inf])},
    "warnings": [],
}


def rows_of(folder):
    with (folder / "events.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_events_come_back_as_they_were(tmp_path):
    write_events(tmp_path, recordings.EVENTS, ABOUT)
    assert read_events(tmp_path) == list(recordings.EVENTS)


def test_numbers_are_rounded_and_what_is_no_number_is_null(tmp_path):
    odd = replace(recordings.GRIMACE, strength=math.nan, noise=1 / 3, onset_seconds=2 / 3)
    write_events(tmp_path, [odd], ABOUT)
    content = (tmp_path / "events.json").read_text(encoding="utf-8")

    def refuse(name):
        raise AssertionError(name)  # NaN, Infinity: no JSON

    found = json.loads(content, parse_constant=refuse)
    assert found["format"] == "microexpr-events-1"
    assert found["about"]["source"] == {"name": ABOUT["source"]["name"], "size": [640, 480], "frames": 500, "fps": 200}
    assert found["about"]["effective_fps"] is None
    assert found["about"]["weights"] == str(Path("a/b.safetensors"))
    assert found["about"]["spotting"]["rates"] == [0.5, None]
    row = found["events"][0]
    assert (row["strength_px"], row["noise_px"], row["onset_seconds"]) == (None, 0.333333, 0.666667)
    back = read_events(tmp_path)[0]
    assert math.isnan(back.strength)
    assert back.noise == pytest.approx(1 / 3, abs=1e-6)


def test_the_table_row_by_row(tmp_path):
    write_events(tmp_path, recordings.EVENTS, ABOUT)
    lines = (tmp_path / "events.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == [
        "onset_seconds,apex_seconds,offset_seconds,duration_seconds,onset,apex,offset,kind,emotion,"
        "probability_negative,probability_positive,probability_surprise,strength_px,noise_px,regions,abstained",
        "0.600,0.700,0.850,0.250,120,140,170,micro,positive,0.0800,0.8300,0.0900,0.9000,0.1000,"
        "left mouth corner; right mouth corner,",
    ]
    _, _, unsure, macro = rows_of(tmp_path)
    assert unsure[7:12] == ["micro", "", "", "", ""]
    assert unsure[-1] == "the motion does not rise above the noise"
    assert macro[7:12] == ["macro", "", "", "", ""]


@pytest.mark.parametrize("about", [ABOUT, {"classes": recordings.CLASSES}])
def test_a_quiet_recording_has_a_table_with_a_header(tmp_path, about):
    write_events(tmp_path / "new" / "folder", [], about)
    (header,) = rows_of(tmp_path / "new" / "folder")
    assert header[:4] == ["onset_seconds", "apex_seconds", "offset_seconds", "duration_seconds"]
    assert [name for name in header if name.startswith("probability_")] == [
        f"probability_{name}" for name in about.get("classes", ())
    ]
    assert read_events(tmp_path / "new" / "folder") == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1"])
def test_no_text_is_a_formula(tmp_path, text):
    wicked = replace(recordings.POSITIVE, regions=(text,), abstained=text, kind=text, probabilities={text: 1.0})
    named = replace(recordings.POSITIVE, probabilities={text: 1.0})
    write_events(tmp_path, [wicked, named], {})
    cells = [cell for row in rows_of(tmp_path) for cell in row]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))]
    assert f"'{text.strip()}" in cells
    assert read_events(tmp_path) == [wicked, named]


def test_commas_and_quotes_stay_in_their_cell_and_lines_are_joined(tmp_path):
    text = 'left, "upper"\nlip'
    write_events(tmp_path, [replace(recordings.GRIMACE, regions=(text,))], {})
    assert rows_of(tmp_path)[1][-2] == 'left, "upper" lip'


def test_a_second_result_replaces_the_first(tmp_path):
    write_events(tmp_path, recordings.EVENTS, ABOUT)
    write_events(tmp_path, [], ABOUT)
    assert read_events(tmp_path) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["events.csv", "events.json"]


def test_a_folder_that_can_not_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="a folder that can be made"):
        write_events(tmp_path / "file" / "folder", [], {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("{", "as JSON"),
        ("[]", "in the format microexpr-events-1"),
        ('{"format": "microexpr-events-0"}', "microexpr-events-0"),
        ('{"format": "microexpr-events-1"}', "'events'"),
        ('{"format": "microexpr-events-1", "events": [{"onset": 1}]}', "'apex'"),
        ('{"format": "microexpr-events-1", "events": [3]}', "whole events"),
    ],
)
def test_what_is_no_events_file(tmp_path, content, message):
    if content is not None:
        (tmp_path / "events.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        read_events(tmp_path)


# The annotated video.


def small(length):
    return np.stack([np.full((120, 160, 3), 128, np.uint8)] * length)


def test_annotated_frames_carry_what_the_track_says(tmp_path):
    length = 200
    given = np.repeat(recordings.FRAMES.read(0)[None], length, axis=0)
    calls = []
    out = annotate(
        open_source(given, fps=recordings.FPS),
        recordings.track(length),
        recordings.EVENTS,
        tmp_path / "a.mp4",
        progress=lambda *state: calls.append(state),
    )
    assert out == tmp_path / "a.mp4"
    assert calls == [(done, length) for done in range(1, length + 1)]
    frames = list(open_source(out).frames())
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(length) / recordings.FPS, atol=1e-5)

    def difference(number, where):
        return np.abs(frames[number].image[where].astype(int) - given[number][where]).mean()

    label, chest = np.s_[165:190, 195:300], np.s_[-strip_height(480) :, 10:630]
    for number in (50, 100, 119):
        assert difference(number, label) < 8
    for number in (121, 140, 169, 199):
        assert difference(number, label) > 40
    assert min(difference(number, chest) for number in range(0, length, 20)) > 25


def test_a_frame_that_the_track_lacks_has_no_box(tmp_path):
    whole, short = recordings.track(20), recordings.track(10)
    pictures = {}
    for name, track in (("whole", whole), ("short", short)):
        source = open_source(np.repeat(recordings.FRAMES.read(0)[None], 20, axis=0), fps=recordings.FPS)
        pictures[name] = [f.image for f in open_source(annotate(source, track, (), tmp_path / f"{name}.mp4")).frames()]
    left = np.s_[210:400, 190]
    for number, same in ((5, True), (9, True), (10, False), (19, False)):
        one, other = (pictures[name][number][left].astype(int) for name in ("whole", "short"))
        assert (np.abs(one - other).mean() < 10) == same, number


def test_frame_numbers_with_gaps_find_their_rows(tmp_path):
    """A folder without its picture 3: the box belongs to the number, not to the place in the row."""
    from microexpr.motion.files import write_picture

    folder = tmp_path / "frames"
    folder.mkdir()
    track = Track()
    for number in (0, 1, 2, 4, 5):
        write_picture(folder / f"{number:03d}.png", small(1)[0])
        track.add(number, number / 100, (10.0 + 20 * number, 10.0, 30.0, 60.0), 0.1, 0.2)
    out = annotate(open_source(folder, fps=100), track, (), tmp_path / "a.mp4")
    frames = list(open_source(out).frames())
    np.testing.assert_allclose([frame.seconds for frame in frames], [0, 0.01, 0.02, 0.04, 0.05], atol=1e-5)
    for number, frame in zip((0, 1, 2, 4, 5), frames, strict=True):
        bright = np.flatnonzero((frame.image[20:60] > 190).all(2).all(0))
        assert bright.min() == pytest.approx(10 + 20 * number, abs=1)


@pytest.mark.parametrize("begin", [-0.02, 0.35, 3600.0])
def test_the_video_begins_at_zero_wherever_the_clock_begins(tmp_path, monkeypatch, begin):
    source = open_source(small(4), fps=100)
    plain = source._read

    def late():
        for frame in plain():
            yield replace(frame, seconds=frame.seconds + begin)

    monkeypatch.setattr(source, "_read", late)
    out = annotate(source, Track(), (), tmp_path / "a.mp4")
    np.testing.assert_allclose([f.seconds for f in open_source(out).frames()], np.arange(4) / 100, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (None, False),
        ("{", False),
        ("[]", False),
        ('{"format": 3}', False),
        ('{"format": "events-1"}', False),
        ('{"format": "microexpr-events-1"}', True),
        ('{"format": "microexpr-events-2"}', True),
    ],
)
def test_whose_events_file_it_is(tmp_path, content, is_one):
    if content is not None:
        (tmp_path / "events.json").write_text(content, encoding="utf-8")
    assert is_result(tmp_path) == is_one


def test_a_source_that_breaks_leaves_no_video(tmp_path, monkeypatch):
    source = open_source(small(4), fps=100)
    plain = source._read

    def broken():
        yield next(plain())
        raise BadInput("a frame", "none", "record it again")

    monkeypatch.setattr(source, "_read", broken)
    with pytest.raises(BadInput, match="record it again"):
        annotate(source, Track(), (), tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_length(tmp_path):
    """Frames of 900 kB; a list of them would show."""

    def peak(length):
        given = [recordings.FRAMES.read(0)] * length
        source, track = open_source(given, fps=recordings.FPS), recordings.track(length)
        tracemalloc.start()
        annotate(source, track, (), tmp_path / "a.mp4", preset="ultrafast")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(3)
    assert peak(40) < peak(8) + 2_000_000


def test_a_track_gives_back_what_was_added():
    track = Track()
    track.add(0, 0.0, (1.0, 2.0, 3.0, 4.0), 0.5, math.nan)
    track.add(2, 0.02, None, math.nan, 0.25)
    assert len(track) == 2
    np.testing.assert_array_equal(track.seconds, [0.0, 0.02])
    np.testing.assert_array_equal(track.has_face, [True, False])
    np.testing.assert_array_equal(track.strength, [0.5, math.nan])
    np.testing.assert_array_equal(track.threshold, [math.nan, 0.25])
    np.testing.assert_array_equal(track.table[0, :6], [0, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(track.motion[0], [0.0, 0.5, math.nan])
    track.add(3, 0.03, None, 0.1, 0.2)  # columns are copies: they don't keep a track from growing
    assert len(track) == 3
