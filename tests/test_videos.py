"""The verbs that take a video, in Python: what `stream` warns of, clocks of `live`, wrong rates, latencies."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import microexpr
from microexpr.datasets._render import Movement
from microexpr.errors import BadInput
from microexpr.faces.detect import Face
from microexpr.video.feed import Unseen
from microexpr.video.latency import Latencies
from microexpr.video.source import Frame, open_source
from microexpr.video.tracking import Tracked
from tests.videos import rendered

SMILE = Movement(50, 62, 80, ("12",), 2.5)
SLOW = "40 frames a second: a movement of 40 to 500 ms has at most 21 frames at this rate"


@pytest.fixture(scope="module")
def smile():
    return rendered(100, 1.2, SMILE)


@pytest.fixture(scope="module")
def two_faces():
    """A face and a smaller one beside it, and then none."""
    frames = rendered(40, 1.0, crop=False)
    small = np.pad(frames[:, ::2, ::2], ((0, 0), (0, 240), (0, 0), (0, 0)), mode="edge")
    both = np.concatenate([frames, small], axis=2)
    both[20:] = np.random.default_rng(0).integers(100, 140, both[20:].shape).astype(np.uint8)
    return both


def test_a_stream_warns_of_what_recognize_warns_of_as_soon_as_it_is_known(two_faces):
    taken, said = [], []

    class Frames(Sequence):
        def __len__(self):
            return len(two_faces)

        def __getitem__(self, number):
            taken.append(number)
            return two_faces[number]

    source = open_source(Frames(), fps=40)
    taken.clear()
    list(microexpr.stream(source, warn=lambda sentence: said.append((sentence, len(taken)))))
    sentences = [sentence for sentence, _ in said]
    assert sorted(sentences) == sorted(microexpr.recognize(two_faces, fps=40).warnings)
    assert len(set(sentences)) == len(sentences) == 3
    assert sentences[0].startswith("2 faces in frame 0")
    assert said[0][1] < len(two_faces)  # the reader is ahead, but not at the end
    assert sentences[1].startswith(SLOW)
    assert "of 40 frames no face could be followed" in sentences[2]


def test_warnings_of_a_stream_are_python_s_by_default(smile):
    with pytest.warns(UserWarning, match=SLOW):
        assert len(list(microexpr.stream(smile[:10], fps=40, detector="precropped"))) == 0


@pytest.mark.parametrize("begin", [-0.7, 3600.0])
def test_a_recording_begins_at_zero_and_events_keep_the_clock(smile, tmp_path, monkeypatch, begin):
    source = open_source(smile, fps=100)
    plain = source._read

    def elsewhere():
        for frame in plain():
            yield replace(frame, seconds=frame.seconds + begin)

    monkeypatch.setattr(source, "_read", elsewhere)
    recording = microexpr.live(source, tmp_path / "live", detector="precropped")
    assert recording.files["video"] == tmp_path / "live" / "recording.mp4"
    seconds = np.array([frame.seconds for frame in open_source(recording.files["video"]).frames()])
    assert seconds[0] == 0
    np.testing.assert_allclose(seconds, recording.track.seconds - recording.track.seconds[0], atol=1e-5)
    assert recording.about["first_frame_seconds"] == recording.track.seconds[0] == pytest.approx(begin)
    (event,) = recording.events
    assert event.onset_seconds == pytest.approx(begin + SMILE.onset / 100, abs=0.05)
    (plate,) = recording.files["plates"]
    assert plate.is_file()


def test_a_live_run_tells_how_it_stands(smile):
    told = []
    recording = microexpr.live(smile, fps=100, detector="precropped", status=told.append)
    assert len(told) == told[-1].frames == recording.about["frames"]
    assert told[0].seconds == 0
    assert told[-1].seconds == pytest.approx(recording.track.seconds[-1])
    assert told[-1].dropped == recording.about["dropped"]
    assert all(one.latency >= 0 for one in told)
    np.testing.assert_allclose([one.box for one in told], recording.track.table[:, 2:6])
    levels = [(one.level, one.threshold) for one in told]
    np.testing.assert_allclose(levels, np.stack([recording.track.strength, recording.track.threshold], 1))


def test_a_rate_is_any_number_and_what_is_none_is_told_in_one_line():
    """In a process of its own: here the types of the arguments would be checked before."""
    code = (
        "import numpy as np, microexpr\n"
        "from microexpr.errors import BadInput\n"
        "from microexpr.videos import _source, open_source\n"
        "frames = np.zeros((2, 48, 48, 3), np.uint8)\n"
        "for verb in ('recognize', 'stream', 'spot', 'live'):\n"
        "    for fps in ('100', [100], True, 100j):\n"
        "        try:\n"
        "            list(getattr(microexpr, verb)(frames, fps=fps))\n"
        "        except BadInput as error:\n"
        "            print(error)\n"
        "for fps in (100, np.float32(100), np.int64(100)):\n"
        "    print(open_source(frames, fps=100).effective_fps == _source(frames, fps).effective_fps)\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    lines = printed.splitlines()
    assert lines[16:] == ["True"] * 3
    expected = "expected a positive number of frames a second, got "
    assert lines[0] == f"{expected}'100' (str); give the camera's rate, like fps=100"
    assert all(line.startswith(expected) for line in lines[:16])


def test_a_rate_for_an_open_source_is_refused(smile):
    with pytest.raises(BadInput, match="fps= where the source is opened, got an open source and fps=50"):
        microexpr.spot(open_source(smile, fps=100), fps=50)


def test_frames_without_a_face_are_counted():
    unseen = Unseen()
    assert unseen.sentences() == []
    for number, box in enumerate([Face(0.0, 0.0, 9.0, 9.0), None, Face(0.0, 0.0, 9.0, 9.0), None]):
        unseen.add(Tracked(Frame(number, number / 8, np.zeros((1, 1, 3), np.uint8)), box))
    (sentence,) = unseen.sentences()
    assert sentence.startswith("in 2 of 4 frames no face could be followed, the first at 0.125 s;")


def test_latencies_are_known_to_a_tenth_of_a_millisecond():
    latencies = Latencies()
    assert latencies.summary() == {}
    seconds = np.random.default_rng(0).permutation(np.arange(1000)) / 1e5 + 0.00305  # 3.05 to 13.04 ms, evenly
    for one in seconds:
        latencies.add(one)
    summary = latencies.summary()
    assert summary["p50"] == pytest.approx(1000 * np.percentile(seconds, 50), abs=0.11)
    assert summary["p99"] == pytest.approx(1000 * np.percentile(seconds, 99), abs=0.11)
    for _ in range(100):
        latencies.add(77.0)
    assert latencies.summary()["p99"] == pytest.approx(2000, abs=0.11)
