"""What a method has learned before its folds: from which data, and from whose people."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from microexpr import api, beforehand, datasets, methods
from microexpr.errors import BadInput
from microexpr.evaluation import results, rows
from microexpr.methods import _caffe, _pretrain
from microexpr.types import Dataset
from tests.frame_clips import frame_clips

SMALL = {"size": 32, "width": 4, "epochs": 1, "epoch_iterations": 2, "pretrain_epochs": 2, "precision": "float32"}
SMIC, SAMM, CASME = (Dataset(name, tuple(frame_clips(3, 3, name))) for name in ("smic", "samm", "casme2"))


def evaluated(data, runs, **settings):
    (run,) = api.evaluate("micro-attention", data, runs=runs, settings={**SMALL, **settings}, jobs=1)
    return run


def trained(data, out, **settings):
    """A file that `train` wrote."""
    return str(api.train("micro-attention", data, out, settings={**SMALL, **settings}, jobs=1)[0])


def loads(monkeypatch, clips):
    """Lets every data set that is read by name be these clips."""
    monkeypatch.setattr(datasets, "load", lambda name: Dataset(name, tuple(clips)))
    monkeypatch.setattr(_pretrain, "_kept", {})


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("micro-attention", {**SMALL, "pretrain_on": "synthetic"}),
        ("neural-recognizer", {"size": 64, "width": 8, "epochs": 1, "macro_on": "synthetic"}),
    ],
)
def test_another_copy_of_a_pre_training_set_is_another_run(method, settings, tmp_path, monkeypatch):
    """Its name is the same; what is trained on is not."""
    folders = set()
    for clips in (SAMM.clips, SAMM.clips[:6], SAMM.clips):
        loads(monkeypatch, clips)
        (run,) = api.evaluate(method, SMIC, runs=tmp_path, settings=settings, jobs=1)
        folders.add(run.folder)
    assert len(folders) == 2
    digests = [results.read_run(folder).info["asked"]["beforehand"] for folder in folders]
    assert all(digest.keys() == settings.keys() & {"pretrain_on", "macro_on"} for digest in digests)
    assert len({tuple(digest.values()) for digest in digests}) == 2


def test_weights_that_have_seen_people_who_are_tested_are_refused(tmp_path):
    file = trained(SMIC, tmp_path / "smic.safetensors")
    with pytest.raises(BadInput, match=r"not seen the subjects of smic, got .*smic\.safetensors, trained on people of"):
        evaluated(SMIC, tmp_path / "runs", initial_weights=file)
    assert not (tmp_path / "runs").exists()
    run = evaluated(SAMM, tmp_path / "runs", initial_weights=file)
    assert not [line for line in rows.warnings(run) if "Begins with" in line]


def test_what_weights_began_with_counts_too(tmp_path, monkeypatch):
    """A chain of trainings, and a pre-training on a data set, are in the file."""
    first = trained(SMIC, tmp_path / "first.safetensors")
    second = trained(SAMM, tmp_path / "second.safetensors", initial_weights=first)
    assert beforehand.people_of(tmp_path / "second.safetensors") == (("samm", "smic"), True)
    with pytest.raises(BadInput, match="people of smic"):
        evaluated(SMIC, tmp_path / "runs", initial_weights=second)
    loads(monkeypatch, CASME.clips)
    trained(SMIC, tmp_path / "third.safetensors", pretrain_on="synthetic")
    assert beforehand.people_of(tmp_path / "third.safetensors") == (("casme2", "smic"), True)


def test_long_videos_of_samm_show_the_people_of_samm(tmp_path):
    file = trained(Dataset("samm-lv", tuple(frame_clips(3, 3, "samm-lv"))), tmp_path / "long.safetensors")
    with pytest.raises(BadInput, match="people of samm"):
        evaluated(SAMM, tmp_path / "runs", initial_weights=file)


def test_a_file_of_others_can_not_tell_and_every_table_says_so(tmp_path):
    method = methods.create("micro-attention", **SMALL)
    drawn = {name: torch.rand(value.shape) for name, value in method.network().state_dict().items()}
    for name in ("others.pth", "others.safetensors"):
        file = tmp_path / name
        torch.save(drawn, file) if file.suffix == ".pth" else save_file(drawn, file)
        run = evaluated(SMIC, tmp_path / "runs", initial_weights=str(file))
        (told,) = [line for line in rows.warnings(run) if "Begins with" in line]
        assert str(file) in told
        assert "can't be read off" in told
        trained(SAMM, tmp_path / "later.safetensors", initial_weights=str(file))
        assert beforehand.people_of(tmp_path / "later.safetensors") == (("samm",), False)


def test_macro_expressions_have_three_classes_in_one_order(tmp_path):
    """Three classes of other names would be taught under the wrong numbers."""
    clips = [
        dataclasses.replace(clip, emotion=emotion)
        for clip, emotion in zip(SMIC.clips, ("happiness", "sadness", "surprise") * 3, strict=True)
    ]
    data, settings = Dataset("own", tuple(clips)), {"size": 64, "width": 8, "epochs": 1, "macro_on": "synthetic"}
    message = "classes negative, positive, surprise with macro_on, got happiness, sadness, surprise"
    for call in (
        lambda: api.evaluate("neural-recognizer", data, labels="own", runs=tmp_path / "r", settings=settings, jobs=1),
        lambda: api.train("neural-recognizer", data, tmp_path / "w.safetensors", labels="own", settings=settings),
    ):
        with pytest.raises(BadInput, match=message):
            call()


def test_running_statistics_that_were_taken_over_count_on(tmp_path):
    """Caffe copies the number of batches seen with them; a file of ours, or of others, does not say it."""
    method = methods.create("micro-attention", **{**SMALL, "epoch_iterations": 1, "learning_rate": 0.0})
    start = method.network()
    _caffe.initialize(start, 0)
    means = {name: value for name, value in start.state_dict().items() if name.endswith("running_mean")}
    assert means
    for value in means.values():
        value.fill_(1000.0)
    save_file(start.state_dict(), tmp_path / "start.safetensors")
    x, y = np.stack([method.represent(clip) for clip in SMIC.clips]), np.arange(9) % 3
    begun = dataclasses.replace(method, initial_weights=str(tmp_path / "start.safetensors")).fit(x, y, ["a"] * 9)
    for name in means:
        # one batch counts 1 - average_fraction: 0.999 of what was there stays
        assert begun.weights()[name].mean() == pytest.approx(999, abs=2), name
    fresh = method.fit(x, y, ["a"] * 9)
    assert all(np.abs(fresh.weights()[name]).max() < 500 for name in means)
