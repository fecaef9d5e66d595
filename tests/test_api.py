"""The verbs in Python."""

import dataclasses
import importlib.util
from collections.abc import Sequence

import numpy as np
import pytest

import microexpr
from microexpr import api
from microexpr.datasets._render import Movement
from microexpr.errors import BadInput
from microexpr.types import Dataset
from microexpr.video.files import read_events
from microexpr.video.source import open_source
from tests.clips import flow_clips
from tests.videos import rendered

COMPOSITE = Dataset("megc2019-flow", tuple(flow_clips(3, 3, "casme2") + flow_clips(3, 3, "samm")))


def test_a_part_is_the_same_experiment_however_it_is_asked_for(tmp_path):
    """Restricted by `part=` or beforehand: one run folder, and the published row of that database."""
    (asked,) = api.evaluate("majority", COMPOSITE, part="samm", runs=tmp_path, jobs=1)
    kept = tuple(clip for clip in COMPOSITE.clips if clip.dataset == "samm")
    restricted = dataclasses.replace(COMPOSITE, clips=kept, part="samm")
    (given,) = api.evaluate("majority", restricted, runs=tmp_path, jobs=1)
    assert asked.folder == given.folder
    assert given.info["part"] == "samm"
    with pytest.raises(BadInput, match="casme2, samm"):
        api.evaluate("majority", COMPOSITE, part="smic", runs=tmp_path)


def test_a_composite_run_leaves_one_subject_out_of_all(tmp_path):
    (run,) = api.evaluate("flow-svm", COMPOSITE, settings={"c": 0.01}, runs=tmp_path, jobs=1)
    assert len(run.folds) == 6
    assert set(run.databases) == {"casme2", "samm"}


def test_python_and_text_settings_are_the_same_run(tmp_path):
    (one,) = api.evaluate("flow-svm", COMPOSITE, settings={"c": 0.01}, runs=tmp_path, jobs=1)
    (two,) = api.evaluate("flow-svm", COMPOSITE, settings={"c": "0.01"}, runs=tmp_path, jobs=1)
    assert one.folder == two.folder


def test_verbs_can_be_called_again(tmp_path):
    """No verb has the name of a subpackage, which an import would put in its place."""
    for _ in range(2):
        microexpr.evaluate("majority", COMPOSITE, runs=tmp_path, jobs=1)
    for verb in microexpr._VERBS:
        assert callable(getattr(microexpr, verb))
        assert importlib.util.find_spec(f"microexpr.{verb}") is None


def test_seeds_and_a_seed_are_refused(tmp_path):
    with pytest.raises(BadInput, match="seeds=2 and seed=3"):
        api.evaluate("prior", COMPOSITE, seeds=2, settings={"seed": 3}, runs=tmp_path)


def test_settings_to_render_go_with_no_root(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="a root or settings"):
        api.load("synthetic", tmp_path, subjects=2)
    with pytest.raises(BadInput, match="megc2019-flow, which is read"):
        api.load("megc2019-flow", tmp_path, subjects=2)
    monkeypatch.setenv("MICROEXPR_SYNTHETIC", str(tmp_path / "elsewhere"))
    assert len(api.load("synthetic", subjects=1, clips_per_subject=2).clips) == 2


def test_compare_takes_runs_and_folders(tmp_path):
    (svm,) = api.evaluate("flow-svm", COMPOSITE, settings={"c": 0.01}, runs=tmp_path, jobs=1)
    (floor,) = api.evaluate("majority", COMPOSITE, runs=tmp_path, jobs=1)
    rows = api.compare([svm, floor.folder], against="majority")
    assert [row.method for row in rows] == ["flow-svm", "majority"]
    assert rows[0].difference.uf1 > 0


def test_training_needs_a_place_before_it_begins(tmp_path):
    with pytest.raises(BadInput, match=r"\.safetensors"):
        api.train("majority", COMPOSITE, tmp_path / "weights.bin")


def test_a_plate_shows_its_own_clip(tmp_path, monkeypatch):
    """Frames, flow and probabilities of a plate are those of the clip it is named after."""
    from microexpr import demonstration
    from microexpr.motion.flow import clip_flow

    drawn = {}
    plate = demonstration.plate

    def record(onset, apex, flow, probabilities, onset_number, apex_number, fps):
        drawn[onset_number, apex_number] = (onset, apex, flow, probabilities)
        return plate(onset, apex, flow, probabilities, onset_number, apex_number, fps)

    monkeypatch.setattr(demonstration, "plate", record)
    made = microexpr.demo(tmp_path, seconds=1.3, subjects=2, clips_per_subject=3, epochs=1, jobs=1)
    clips = api.load("synthetic", subjects=2, clips_per_subject=3).clips[:3]
    assert len(drawn) == 3
    for clip in clips:
        onset, apex, flow, probabilities = drawn[clip.onset, clip.apex]
        assert (onset == clip.frames.read(clip.onset)).all()
        assert (apex == clip.frames.read(clip.apex)).all()
        assert (flow == clip_flow(clip, mode="tvl1")).all()
        assert list(probabilities.values()) == made.run.probabilities[made.run.clips.index(clip.key)].tolist()
    # The video went through the pipeline of `recognize`, and what it shows was found: 0.6 s is where the smile begins.
    assert made.video == tmp_path / "rendered.mp4"
    assert made.recording.about["frames"] == 130
    (event,) = made.recording.events
    assert event.onset_seconds == pytest.approx(0.6, abs=0.05)
    assert event.kind == "micro"
    assert read_events(tmp_path / "recognized") == [approximately(event)]
    assert made.recording.files["video"].is_file()
    assert made.report.is_file()
    assert sorted(made.plates.iterdir())


def approximately(event):
    """As it reads back: with six digits behind the point."""
    numbers = {
        field.name: round(value, 6)
        for field in dataclasses.fields(event)
        if isinstance(value := getattr(event, field.name), float)
    }
    probabilities = {name: round(value, 6) for name, value in event.probabilities.items()}
    return dataclasses.replace(event, **numbers, probabilities=probabilities)


def test_a_stream_is_what_recognize_finds():
    """Two movements, from an array; events come while the video still runs."""
    movements = (Movement(50, 62, 80, ("12",), 2.5), Movement(120, 132, 150, ("1", "2"), 2.5))
    given, taken = rendered(100, 1.8, *movements), []

    class Frames(Sequence):
        def __len__(self):
            return len(given)

        def __getitem__(self, number):
            taken.append(number)
            return given[number]

    settings = {"fps": 100, "detector": "precropped"}
    recording = microexpr.recognize(given, **settings)
    assert len(recording.events) == 2
    assert recording.files == {}
    assert list(microexpr.stream(given, **settings)) == recording.events
    source = open_source(Frames(), fps=100)
    taken.clear()
    events = microexpr.stream(source, detector="precropped")
    assert next(events) == recording.events[0]
    events.close()
    assert max(taken) < movements[1].onset


def test_a_stream_without_a_face_is_told():
    with pytest.raises(BadInput, match="a face in array, got none in 12 frames"):
        list(microexpr.stream(np.full((12, 240, 320, 3), 90, np.uint8), fps=100))


def test_other_numbers_of_folds_are_other_rows_not_other_seeds(tmp_path):
    two, three = (
        api.evaluate("majority", COMPOSITE, protocol="subject-k-fold", folds=folds, runs=tmp_path, jobs=1)[0]
        for folds in (2, 3)
    )
    rows = api.compare([two, three])
    assert [row.settings for row in rows] == [("folds=2",), ("folds=3",)]
    assert [row.seeds for row in rows] == [(0,), (0,)]


def test_a_run_is_counted_once_and_a_seed_is_not_counted_twice(tmp_path, monkeypatch):
    (one,) = api.evaluate("prior", COMPOSITE, runs=tmp_path / "one", jobs=1)
    (two,) = api.evaluate("prior", COMPOSITE, runs=tmp_path / "two", jobs=1)
    monkeypatch.chdir(tmp_path)
    assert len(api.compare([one.folder, one.folder.relative_to(tmp_path)])[0].seeds) == 1
    with pytest.raises(BadInput, match="seed 0 of prior twice"):
        api.compare([one, two])


def test_seeds_of_a_method_without_randomness_are_one_run(tmp_path):
    assert len(api.evaluate("majority", COMPOSITE, seeds=3, runs=tmp_path, jobs=1)) == 1
    assert len(api.evaluate("prior", COMPOSITE, seeds=3, runs=tmp_path, jobs=1)) == 3
