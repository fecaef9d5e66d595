"""Where a network begins: a user's weights, or a training on another data set."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from microexpr import api, datasets, methods
from microexpr.errors import BadInput, UnknownName
from microexpr.methods import _pretrain, weights
from microexpr.types import Dataset
from tests.clips import flow_clips
from tests.frame_clips import frame_clips

SMALL = {"size": 32, "width": 4, "epochs": 1, "epoch_iterations": 2, "pretrain_epochs": 2, "precision": "float32"}


@pytest.fixture
def other_set(monkeypatch):
    """What `datasets.load` gives: five emotions on ten clips with frames. Returns how often it was read."""
    emotions = ("sadness", "anger", "happiness", "fear", "disgust")
    clips = [dataclasses.replace(clip, emotion=emotions[n % 5]) for n, clip in enumerate(frame_clips(5, 2))]
    read = []

    def load(name):
        read.append(name)
        return Dataset(name, tuple(clips))

    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(_pretrain, "_kept", {})
    return read


def micro(**settings):
    return methods.create("micro-attention", **{**SMALL, **settings})


def rows(method):
    return np.stack([method.represent(clip) for clip in frame_clips(2, 3)]), np.arange(6) % 3


def test_a_set_gives_its_own_labels(other_set):
    method = micro(pretrain_on="synthetic")
    x, y, classes = _pretrain.pretraining_set(method)
    assert classes == ("anger", "disgust", "fear", "happiness", "sadness")
    assert x.shape == (10, 32, 32)
    np.testing.assert_array_equal(y, [4, 0, 3, 2, 1] * 2)
    assert other_set == ["synthetic"]


def test_the_label_is_taken_off_before_a_clip_is_represented(other_set, monkeypatch):
    method = micro(pretrain_on="synthetic")
    seen = []
    monkeypatch.setattr(method, "represent", lambda clip: (seen.append(clip), np.zeros(1))[1])
    _pretrain.pretraining_set(method)
    assert {(clip.emotion, clip.subject) for clip in seen} == {("", "")}


def test_a_set_without_what_the_method_needs_is_refused(monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name: Dataset(name, tuple(flow_clips(2, 3))))
    with pytest.raises(BadInput, match="lacks frames"):
        _pretrain.pretraining_set(micro(pretrain_on="synthetic"))


def test_a_set_of_one_emotion_is_refused(monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name: Dataset(name, tuple(frame_clips(1, 1))))
    with pytest.raises(BadInput, match="2 emotions"):
        _pretrain.pretraining_set(micro(pretrain_on="synthetic"))


def test_pretraining_changes_the_fit_and_happens_once(other_set):
    x, y = rows(micro())
    plain = micro().fit(x, y, ["a"] * 6).predict_proba(x)
    first = micro(pretrain_on="synthetic").fit(x, y, ["a"] * 6).predict_proba(x)
    second = micro(pretrain_on="synthetic").fit(x, y, ["a"] * 6).predict_proba(x)
    longer = micro(pretrain_on="synthetic", epochs=2).fit(x, y, ["a"] * 6)  # not the pre-training: it is kept
    assert other_set == ["synthetic"]
    assert np.abs(first - plain).max() > 1e-4
    np.testing.assert_array_equal(first, second)
    _pretrain._kept.clear()
    again = micro(pretrain_on="synthetic").fit(x, y, ["a"] * 6).predict_proba(x)
    assert other_set == ["synthetic"] * 2
    np.testing.assert_array_equal(first, again)  # what is kept is what would be trained
    assert longer.network_ is not None


def test_other_settings_or_seeds_are_trained_anew(other_set):
    method = micro(pretrain_on="synthetic")
    one = _pretrain.pretrained_state(method)
    other = _pretrain.pretrained_state(dataclasses.replace(method, seed=1))
    assert len(other_set) == 2
    assert (one["resnet.conv1.weight"] != other["resnet.conv1.weight"]).any()
    assert _pretrain.pretrained_state(dataclasses.replace(method, classes=5, epochs=7)) is one


def test_few_states_are_kept(other_set):
    for seed in range(_pretrain.MOST_KEPT + 2):
        _pretrain.pretrained_state(micro(pretrain_on="synthetic", seed=seed, pretrain_epochs=1))
    assert len(_pretrain._kept) == _pretrain.MOST_KEPT


def test_a_fit_does_not_change_the_kept_state(other_set):
    method = micro(pretrain_on="synthetic")
    kept = {name: value.clone() for name, value in _pretrain.pretrained_state(method).items()}
    method.fit(*rows(method), ["a"] * 6)
    for name, value in _pretrain.pretrained_state(method).items():
        assert torch.equal(value, kept[name]), name


def test_the_head_of_the_other_classes_is_left_behind(other_set):
    """A network of five classes before, three after; and even with equally many its last layer is a new one."""
    state = _pretrain.pretrained_state(micro(pretrain_on="synthetic"))
    assert state["fc.weight"].shape == (5, 32)
    network = micro(classes=5).network()
    nn.init.constant_(network.fc.weight, 7.0)
    _pretrain.start(micro(classes=5, pretrain_on="synthetic"), network)
    assert (network.fc.weight == 7).all()
    assert torch.equal(network.resnet.conv1.weight, state["resnet.conv1.weight"])
    assert torch.equal(network.resnet.bn1.running_mean, state["resnet.bn1.running_mean"])


def small_state():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    return {name: value.clone() + 1 for name, value in network.state_dict().items()}


@pytest.mark.parametrize("name", ["state.safetensors", "state.pt", "nested.pth"])
def test_reads_safetensors_and_state_dictionaries(name, tmp_path):
    state, file = small_state(), tmp_path / name
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state, "epoch": 3} if "nested" in name else state, file)
    found = _pretrain.read_state(file)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


class Harmful:
    """What a pickle could run."""

    def __reduce__(self):
        return (print, ("harm",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": Harmful()}, "plain tensors"),
        ({"a": 3}, "named tensors"),
        ([torch.zeros(2)], "named tensors"),
        ({}, "named tensors"),
    ],
)
def test_other_files_are_refused_in_one_line(content, message, tmp_path, capsys):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(BadInput, match=message) as caught:
        _pretrain.read_state(tmp_path / "model.pt")
    assert "\n" not in str(caught.value)
    assert "harm" not in capsys.readouterr().out


def test_files_that_are_no_weights_are_refused(tmp_path):
    for name in ("text.pt", "text.safetensors"):
        (tmp_path / name).write_text("no weights at all")
        with pytest.raises(BadInput, match=name):
            _pretrain.read_state(tmp_path / name)
    with pytest.raises(BadInput, match="does not exist"):
        _pretrain.read_state(tmp_path / "none.pt")


def test_adopts_what_both_name():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = network[1].weight.detach().clone()
    state = small_state()
    _pretrain.adopt(network, {"0.weight": state["0.weight"], "unknown": torch.zeros(1)}, "2", "file")
    assert torch.equal(network[0].weight, state["0.weight"])
    assert torch.equal(network[1].weight, before)
    with pytest.raises(BadInput, match=r"0\.weight of 3 x 2, got 5 x 2 in file"):
        _pretrain.adopt(network, {"0.weight": torch.zeros(5, 2)}, "2", "file")
    with pytest.raises(BadInput, match=r"names like 0\.weight"):
        _pretrain.adopt(network, {"conv.weight": torch.zeros(5, 2)}, "2", "file")


def test_initial_weights_are_where_a_fit_begins(tmp_path):
    """With a learning rate of zero nothing moves: parameters after the fit are those of the file."""
    file = tmp_path / "start.pt"
    begun = micro(seed=9)
    begun.fit(*rows(begun), ["a"] * 6)
    torch.save(begun.network_.state_dict(), file)
    method = micro(learning_rate=0, initial_weights=str(file))
    fitted = method.fit(*rows(method), ["a"] * 6).network_
    for name, parameter in fitted.resnet.named_parameters():
        assert torch.equal(parameter, begun.network_.resnet.get_parameter(name)), name
    assert (fitted.fc.weight != begun.network_.fc.weight).any()  # the last layer is drawn anew


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"pretrain_on": "synthetc"}, UnknownName, "did you mean 'synthetic'"),
        ({"pretrain_on": "megc2019-flow"}, BadInput, "frames for pretrain_on"),
        ({"initial_weights": "/nowhere/start.pt"}, BadInput, "does not exist"),
        ({"initial_weights": "start.pt", "pretrain_on": "synthetic"}, BadInput, "leave one of them out"),
        ({"pretrain_epochs": 0}, BadInput, "pretrain_epochs"),
    ],
)
def test_wrong_settings_are_told_before_anything_runs(settings, error, message):
    with pytest.raises(error, match=message):
        micro(**settings)


OWN = {
    "micro-attention": SMALL,
    "atnet": {"size": 32, "width": 4},
    "capsulenet": {"size": 129, "width": 4},
    "neural-recognizer": {"size": 64, "width": 4},
}


@pytest.mark.parametrize("name", OWN)
def test_weights_that_were_trained_here_can_be_begun_with(name, tmp_path):
    """As `train` writes them; all parameters but those of the last layer, or of the backbone."""
    trained = methods.create(name, **OWN[name])
    trained.network_ = trained.network()
    for seed, value in enumerate(trained.network_.state_dict().values()):
        value.copy_(torch.rand(value.shape, generator=torch.Generator().manual_seed(seed)) + 1)
    file = tmp_path / "own.safetensors"
    file.write_bytes(weights.to_bytes(trained, name, ("negative", "positive", "surprise"), {"dataset": "synthetic"}))
    method = methods.create(name, **OWN[name], initial_weights=str(file))
    _pretrain.require(method)
    network = method.network()
    for value in network.state_dict().values():
        value.zero_()
    _pretrain.start(method, network)
    given = trained.network_.state_dict()
    taken = {key for key, value in network.state_dict().items() if torch.equal(value, given[key])}
    left = {key.partition(".")[0] for key in given.keys() - taken}
    heads = {"micro-attention": {"fc"}, "atnet": {"fc"}, "capsulenet": {"capsules"}}
    assert left == heads.get(name, {key.partition(".")[0] for key in given} - {"backbone"})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("micro-attention", {"initial_weights": "text.pt"}, "PyTorch file of plain tensors, got .*text.pt, which"),
        ("atnet", {"initial_weights": "other.pt"}, "names like"),
        ("capsulenet", {"initial_weights": "other.pt"}, "ResNet-18 weights with conv1.weight"),
        ("neural-recognizer", {"initial_weights": "other.pt"}, "ResNet-18 weights with conv1.weight"),
        (
            "neural-recognizer",
            {"pretrain_on": "synthetic"},
            "for pretrain_on, got synthetic: expected a clip with an on",
        ),
        ("neural-recognizer", {"macro_on": "synthetic"}, "for macro_on, got synthetic: expected a clip with an onset"),
    ],
)
def test_what_a_training_can_not_begin_with_is_told_before_any_fold(name, settings, message, tmp_path, monkeypatch):
    (tmp_path / "text.pt").write_text("no weights")
    torch.save(small_state(), tmp_path / "other.pt")
    monkeypatch.chdir(tmp_path)
    stills = [
        dataclasses.replace(clip, onset=None, offset=None, emotion=emotion)
        for clip, emotion in zip(frame_clips(2, 3, "samm"), "ab" * 3, strict=True)
    ]
    monkeypatch.setattr(datasets, "load", lambda name: Dataset(name, tuple(stills)))
    data = Dataset("frames", tuple(frame_clips(3, 3)))
    settings = {**OWN[name], **settings}
    for call in (
        lambda: api.evaluate(name, data, runs=tmp_path / "runs", settings=settings, jobs=1),
        lambda: api.train(name, data, tmp_path / "out.safetensors", settings=settings, jobs=1),
    ):
        with pytest.raises(BadInput, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_people_who_are_tested_are_no_pre_training(other_set, tmp_path):
    """Leave-one-subject-out holds nobody back from a pre-training."""
    data = Dataset("frames", tuple(frame_clips(3, 3)))  # three of the other set's five subjects
    for method, settings in (
        ("micro-attention", {**SMALL, "pretrain_on": "synthetic"}),
        ("neural-recognizer", {"size": 64, "width": 8, "epochs": 1, "macro_on": "synthetic"}),
    ):
        with pytest.raises(BadInput, match=r"without the subjects of frames, got .*where 3 are, e\.g\. casme2/sub00"):
            api.evaluate(method, data, runs=tmp_path, settings=settings, jobs=1)
    apart = Dataset("frames", tuple(frame_clips(3, 3, "samm")))
    (run,) = api.evaluate(
        "micro-attention", apart, runs=tmp_path, settings={**SMALL, "pretrain_on": "synthetic"}, jobs=1
    )
    assert len(run.predicted) == 9


def test_samm_and_its_long_videos_show_the_same_people(tmp_path, monkeypatch):
    """And of a set with macro-expressions these are what is trained on beforehand."""
    from tests.fake import samm_lv

    root = samm_lv.small(tmp_path / "long")
    samm_lv.table(root, [dataclasses.replace(row, kind="Macro") for row in samm_lv.small_rows()])
    monkeypatch.setenv("MICROEXPR_SAMM_LV", str(root))
    clips = _pretrain.pretraining_clips("samm-lv")
    assert {clip.kind for clip in clips} == {"macro"}
    name = clips[0].subject.partition("/")[2]
    tested = [dataclasses.replace(clip, subject=f"samm/{name}") for clip in frame_clips(1, 3)]
    data = Dataset("samm", (*tested, *frame_clips(2, 3)))
    with pytest.raises(BadInput, match=f"where 1 are, e.g. samm-lv/{name}"):
        api.evaluate("micro-attention", data, settings={**SMALL, "pretrain_on": "samm-lv"}, jobs=1, runs=tmp_path)
