"""The commands that take a video, from arguments to what is printed and written."""

import contextlib
import csv
import gc
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref

import av
import numpy as np
import pytest

from microexpr import videos
from microexpr.cli import main
from microexpr.datasets._render import Movement
from microexpr.errors import BadInput
from microexpr.methods import weights
from microexpr.methods.flow_linear import FEATURES, FlowLinear
from microexpr.motion.files import read_picture, write_picture
from microexpr.video.files import read_events
from tests.videos import rendered, write_video

CLASSES = ("negative", "positive", "surprise")
SMILE = Movement(50, 65, 84, ("12",), 2.5)
LENGTH, FPS = 120, 100
CROPPED = ("--detector", "precropped")


def weights_file(path, record, intercepts=(0.0, 1.0, -1.0)):
    """Weights that answer everything alike: softmax of the intercepts."""
    arrays = {
        "coefficients": np.zeros((FEATURES, 3), np.float32),
        "intercepts": np.array(intercepts, np.float32),
    }
    path.write_bytes(weights.to_bytes(FlowLinear().load_weights(arrays), "flow-linear", CLASSES, record))
    return path


@pytest.fixture(scope="module")
def frames():
    return rendered(FPS, LENGTH / FPS, SMILE)


@pytest.fixture(scope="module")
def film(frames, tmp_path_factory):
    return str(write_video(tmp_path_factory.mktemp("films") / "smile.mkv", frames, FPS))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    record = {"input": "flow map", "temperature": 2.0, "threshold": 0.4}
    return str(weights_file(tmp_path_factory.mktemp("weights") / "alike.safetensors", record))


@pytest.fixture(scope="module")
def recognized(film, trained, tmp_path_factory):
    """The folder that `recognize` wrote, and what it printed."""
    out = tmp_path_factory.mktemp("out") / "smile"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["recognize", film, "--weights", trained, *CROPPED, "--out", str(out)]) == 0
    return out, printed.getvalue()


def strict(text):
    """JSON without NaN and Infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def rows_of(printed):
    return [line for line in printed.splitlines() if re.match(r"\d+ ", line)]


def test_the_table_has_the_event_and_says_what_was_written(recognized):
    out, printed = recognized
    assert f"{LENGTH} frames of 224x224, 1.2 s at 100 frames a second" in printed
    assert "flow-linear (alike.safetensors), face by precropped (1)" in printed
    (row,) = rows_of(printed)
    # softmax of (0, 1, -1) / 2: exp(.5) / (1 + exp(.5) + exp(-.5)) = 0.5065
    found = re.match(r"1\s+micro\s+(\S+)\s+(\S+)\s+(\S+)\s+(\d+)\s+positive 51 %\s+(\S+)", row)
    onset, apex, offset, milliseconds, strength = map(float, found.groups())
    assert onset == pytest.approx(SMILE.onset / FPS, abs=0.05)
    assert apex == pytest.approx(SMILE.apex / FPS, abs=0.05)
    assert offset == pytest.approx(SMILE.offset / FPS, abs=0.05)
    assert milliseconds == pytest.approx(1000 * (offset - onset), abs=1)
    assert 0.5 < strength < 2.5
    assert "mouth corner" in row
    for name in ("events.json", "events.csv", "timeline.png", "annotated.mp4", "plates, 1 of them"):
        assert f"{out / name.split(',')[0]}" in printed
    assert "plates, 1 of them" in printed


def test_what_is_written_reads_back(recognized, frames):
    out, printed = recognized
    (event,) = read_events(out)
    assert event.emotion == "positive"
    assert event.probabilities["positive"] == pytest.approx(0.5065, abs=1e-4)
    assert f"{event.onset_seconds:.3f}" in printed
    (row,) = csv.DictReader((out / "events.csv").read_text().splitlines())
    assert (int(row["onset"]), row["emotion"], row["probability_positive"]) == (event.onset, "positive", "0.5065")
    about = strict((out / "events.json").read_text())["about"]
    assert about["frames"] == about["frames_with_face"] == LENGTH
    (plate,) = (out / "plates").iterdir()
    assert f"frame-{event.onset}" in plate.name
    assert min(read_picture(plate).shape[:2]) > 200
    assert read_picture(out / "timeline.png").ndim == 3
    with av.open(str(out / "annotated.mp4")) as video:
        decoded = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(decoded) == LENGTH
    assert decoded[0].shape == frames[0].shape
    assert all(path.suffix != ".tmp" for path in out.iterdir())


def test_json_is_strict_and_the_same_events(recognized, film, trained, capsys):
    assert main(["recognize", film, "--weights", trained, *CROPPED, "--json"]) == 0
    captured = capsys.readouterr()
    (one,) = strict(captured.out)
    assert one["input"] == film
    assert one["files"] == {}
    (event,), (kept,) = one["events"], read_events(recognized[0])
    assert {key: event[key] for key in ("onset", "apex", "offset", "kind", "emotion")} == {
        key: getattr(kept, key) for key in ("onset", "apex", "offset", "kind", "emotion")
    }
    assert one["about"]["temperature"] == 2.0


def test_weights_that_answer_nothing_are_strict_json_too(film, tmp_path, capsys):
    """Calibration gives the threshold infinity where no answer can be trusted."""
    unsure = weights_file(tmp_path / "w.safetensors", {"input": "flow map", "threshold": float("inf")})
    assert main(["recognize", film, "--weights", str(unsure), *CROPPED, "--json"]) == 0
    (one,) = strict(capsys.readouterr().out)
    assert one["about"]["abstains_under"] is None
    assert one["events"][0]["emotion"] is None
    assert one["events"][0]["abstained"].startswith("unsure: positive at 67 %")


def test_a_given_onset_and_apex_are_judged_and_nothing_else(film, trained, capsys):
    arguments = ["recognize", film, "--weights", trained, *CROPPED, "--json", "--onset", "50"]
    assert main([*arguments, "--apex", "64"]) == 0
    (event,) = strict(capsys.readouterr().out)[0]["events"]
    assert (event["onset"], event["apex"], event["emotion"]) == (50, 64, "positive")
    assert main(arguments) == 0
    (event,) = strict(capsys.readouterr().out)[0]["events"]
    assert event["onset"] == 50
    assert abs(event["apex"] - SMILE.apex) <= 3


def test_spot_names_no_emotion(film, capsys):
    assert main(["spot", film, *CROPPED]) == 0
    (row,) = rows_of(capsys.readouterr().out)
    assert "(not classified)" in row
    assert main(["spot", film, *CROPPED, "--json"]) == 0
    (one,) = strict(capsys.readouterr().out)
    assert one["events"][0]["probabilities"] == {}
    assert "method" not in one["about"]


def test_a_still_face_gives_no_event(frames, trained, tmp_path, capsys):
    still = write_video(tmp_path / "still.mkv", frames[:30], FPS)
    assert main(["recognize", str(still), "--weights", trained, *CROPPED]) == 0
    assert "no movement found" in capsys.readouterr().out


def test_one_bad_input_of_several_leaves_the_others_alone(film, frames, trained, tmp_path, capsys):
    folder = tmp_path / "smile"  # the name of the film without its suffix
    folder.mkdir()
    for number, image in enumerate(frames[:20]):
        write_picture(folder / f"{number}.png", image)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video" * 100)
    inputs = [film, str(bad), str(folder)]
    out = tmp_path / "out"
    arguments = ["recognize", *inputs, "--weights", trained, *CROPPED, "--fps", "100", "--jobs", "2"]
    assert main([*arguments, "--out", str(out), "--json"]) == 1
    captured = capsys.readouterr()
    one, two, three = strict(captured.out)
    assert [found["input"] for found in (one, two, three)] == inputs
    assert [len(found["events"]) for found in (one, three)] == [1, 0]
    assert "can't be read" in two["error"]
    assert f"microexpr: {bad}: expected a video file" in captured.err
    assert sorted(place.name for place in out.iterdir()) == ["smile", "smile-2"]
    assert len(read_events(out / "smile")) == 1
    assert read_events(out / "smile-2") == []


def test_live_prints_events_and_records(film, frames, trained, tmp_path, capsys):
    assert main(["live", "--source", film, "--weights", trained, *CROPPED, "--record", str(tmp_path / "live")]) == 0
    captured = capsys.readouterr()
    assert re.search(r"micro\s+\d+ ms  positive 51 %  .* latency \d+ ms", captured.out)
    assert captured.err.splitlines()[0] == "microexpr: press Ctrl-C to end"
    kept, dropped = map(int, re.search(r"in (\d+) frames?, (\d+) dropped", captured.err).groups())
    assert kept + dropped == LENGTH
    (event,) = read_events(tmp_path / "live")
    assert event.emotion == "positive"
    with av.open(str(tmp_path / "live" / "recording.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == kept
    assert len(list((tmp_path / "live" / "plates").iterdir())) == 1
    assert str(tmp_path / "live" / "events.json") in captured.out


def live_process(film, trained, *options):
    # Paced more slowly than recorded, so that a loaded machine keeps up.
    command = [sys.executable, "-m", "microexpr", "live", "--source", film, "--weights", trained, *CROPPED]
    return subprocess.Popen(
        [*command, "--fps", "70", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def long(frames, tmp_path_factory):
    """The film, and ten seconds more of its last frame, which a loaded machine does not get through."""
    return write_video(tmp_path_factory.mktemp("films") / "long.mkv", [*frames, *[frames[-1]] * 1000], FPS)


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_keep_what_was_found(long, trained, tmp_path, ended_by):
    with live_process(str(long), trained, "--json", "--record", str(tmp_path / "live")) as process:
        line = process.stdout.readline()
        process.send_signal(ended_by)
        _, messages = process.communicate(timeout=60)
    assert process.returncode == 0
    event = strict(line)
    assert event["latency_ms"] >= 0
    assert "Traceback" not in messages
    assert "1 event in" in messages
    (kept,) = read_events(tmp_path / "live")
    assert kept.onset == event["onset"]
    with av.open(str(tmp_path / "live" / "recording.mp4")) as video:
        assert 60 < sum(1 for _ in video.decode(video=0)) < 1000


def test_sigterm_leaves_the_earlier_result_of_recognize(recognized, long, trained, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(recognized[0], out)
    before = contents(out)
    command = [sys.executable, "-m", "microexpr", "recognize", str(long), "--weights", trained, *CROPPED]
    with subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not list(out.glob(".*/plates/*.png")):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        printed, messages = process.communicate(timeout=60)
    assert process.returncode == 143
    assert (printed, messages) == (b"", b"")
    assert contents(out) == before


def test_sigterm_with_workers_leaves_nothing(long, trained, tmp_path):
    again, out = tmp_path / "again.mkv", tmp_path / "out"
    again.symlink_to(long)
    command = [sys.executable, "-m", "microexpr", "recognize", str(long), str(again), "--weights", trained, *CROPPED]
    with subprocess.Popen([*command, "--out", str(out), "--jobs", "2"], stderr=subprocess.PIPE) as process:
        while process.poll() is None and len(list(out.glob("*/.*"))) < 2:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, messages = process.communicate(timeout=60)
    assert process.returncode == 143
    assert messages == b""
    assert list(out.iterdir()) == []


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("verb", ["recognize", "live"])
def test_sigterm_is_as_before_afterwards(film, trained, capsys, verb):
    place = ["--source", film] if verb == "live" else [film]

    def mine(number, frame):
        raise AssertionError

    first = signal.signal(signal.SIGTERM, mine)
    try:
        assert main([verb, *place, "--weights", trained, *CROPPED]) == 0
        assert signal.getsignal(signal.SIGTERM) is mine
        found = []
        thread = threading.Thread(target=lambda: found.append(main([verb, *place, "--weights", trained, *CROPPED])))
        thread.start()
        thread.join()
        assert found == [0]
    finally:
        signal.signal(signal.SIGTERM, first)


def test_what_one_input_leaves_behind_is_freed_before_the_next(monkeypatch, capsys):
    """However rarely the collector comes by itself: decoded frames lie in cycles."""
    left = []

    class Cycle:
        pass

    def spot(given, **settings):
        assert all(cycle() is None for cycle in left)
        cycle = Cycle()
        cycle.itself = cycle
        left.append(weakref.ref(cycle))
        raise BadInput("a video", "none", "give one")

    monkeypatch.setattr(videos, "spot", spot)
    gc.disable()
    try:
        assert main(["spot", "one.mp4", "two.mp4", "three.mp4"]) == 1
    finally:
        gc.enable()
    assert len(left) == 3


def test_a_recording_without_a_face_is_kept_and_said(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(100, 140, (8, 240, 320, 3)).astype(np.uint8)
    film = write_video(tmp_path / "noise.mkv", noise, FPS)
    out = tmp_path / "today"
    assert main(["live", "--source", str(film), "--record", str(out)]) == 2
    _, kept, wrong = capsys.readouterr().err.splitlines()
    assert kept == f"microexpr: the video is kept: {out / 'recording.mp4'}"
    assert "expected a face in noise.mkv" in wrong
    assert list(contents(out)) == ["recording.mp4"]
    assert main(["live", "--source", str(film), "--record", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected a folder without a recording, got" in line
    assert line.endswith("with recording.mp4; choose another")


def test_a_closed_pipe_does_not_cost_the_recording(film, trained, tmp_path):
    with live_process(film, trained, "--json", "--record", str(tmp_path / "live")) as process:
        process.stdout.close()
        messages = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in messages
    assert len(read_events(tmp_path / "live")) == 1


def test_a_closed_pipe_ends_recognize_quietly(film, trained):
    command = f"{sys.executable} -m microexpr recognize {film} --weights {trained} --detector precropped | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_the_weights_of_the_package_are_the_default(film, capsys):
    assert main(["recognize", film, *CROPPED]) == 0
    assert f"{weights.DEFAULT}, face by" in capsys.readouterr().out


def test_an_exported_file_answers_as_the_weights_do(film, trained, tmp_path, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    graph = tmp_path / "alike.onnx"
    assert main(["export", trained, "--out", str(graph)]) == 0
    assert capsys.readouterr().out.strip() == str(graph)
    events = []
    for file in (trained, str(graph)):
        assert main(["recognize", film, "--weights", file, *CROPPED, "--json"]) == 0
        events.append(strict(capsys.readouterr().out)[0]["events"])
    assert events[0][0].pop("probabilities") == pytest.approx(events[1][0].pop("probabilities"), abs=1e-4)
    assert events[0] == events[1]
    assert main(["export", str(graph), "--out", str(tmp_path / "again.onnx")]) == 2
    assert "which is ONNX already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "out", "message"),
    [
        ("nothing.safetensors", "o.onnx", "which does not exist"),
        ("trained", "o.bin", "ending in .onnx"),
        ("trained", "nowhere/o.onnx", "a folder that exists"),
    ],
)
def test_export_to_a_bad_place(trained, tmp_path, capsys, given, out, message):
    assert main(["export", trained if given == "trained" else given, "--out", str(tmp_path / out)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_onnx_without_its_extra(trained, tmp_path, capsys, monkeypatch):
    graph = tmp_path / "some.onnx"
    graph.write_bytes(b"some")
    for name in ("onnx", "onnx.helper", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["export", trained, "--out", str(tmp_path / "new.onnx")]) == 2
    assert "pip install 'microexpr[onnx]'" in capsys.readouterr().err
    assert main(["recognize", "film.mp4", "--weights", str(graph)]) == 2
    assert "pip install 'microexpr[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "new.onnx").exists()


def test_debug_shows_the_traceback(film):
    with pytest.raises(BadInput, match="an onset before the apex"):
        main(["recognize", film, "--apex", "3", "--debug"])
