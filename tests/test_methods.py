"""Every registered method, because it is registered."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from microexpr import methods
from microexpr.errors import BadInput, MicroexprError, UnknownName
from microexpr.methods import weights
from microexpr.methods._settings import settings_of
from microexpr.types import Method
from tests.clips import flow_clips
from tests.frame_clips import frame_clips

# What makes a method quick to test; nothing else about it is changed.
QUICK = {"epochs": 2}
# The same for one method: its own fields.
QUICK_FOR: dict[str, dict] = {
    "lbp-top": {"size": 48, "blocks": (3, 3, 1)},
    "mdmo": {"size": 56},
    "sparse-mdmo": {"size": 48, "atoms": 4, "words": 8, "sparsity": 0.1, "smoothness": 0.1},
    "alexnet": {"size": 64, "hidden": 64, "batch_size": 3},
    "micro-attention": {"size": 32, "width": 4, "epoch_iterations": 2, "average_fraction": 0.8},
    "atnet": {"size": 32, "width": 4, "hidden": 8, "steps": 6, "epoch_iterations": 2, "average_fraction": 0.8},
    "capsulenet": {"size": 129, "width": 8, "further": (1,), "batch_size": 8},
    "neural-recognizer": {"size": 64, "width": 8, "batch_size": 4, "backbone_learning_rate": 1e-3},
}
# What a method needs to learn nine clips by heart, quickly.
OVERFIT = {"epochs": 25, "learning_rate": 3e-4}
OVERFIT_FOR: dict[str, dict] = {
    "capsulenet": {
        **{"width": 16, "further": (), "rotation": 0, "jitter": 0, "mirror": False},
        **{"epochs": 10, "batch_size": 3, "learning_rate": 3e-3, "decay": 1.0},
    },
    "dual-inception": {"epochs": 20, "batch_size": 9, "learning_rate": 1e-3},
    "flow-linear": {"epochs": 120, "learning_rate": 1e-3},
    "micro-attention": {"learning_rate": 0.05},
    "atnet": {"learning_rate": 0.05},
    "neural-recognizer": {"epochs": 12, "learning_rate": 1e-3, "batch_size": 3, "rotation": 0, "jitter": 0},
}
FLOORS_WITHOUT_PICTURES = {"majority", "prior"}
CLIPS = flow_clips(subjects=4, each=3)
FRAME_CLIPS = frame_clips(subjects=4, each=3)  # the same labels and subjects
LABELS = np.array([("negative", "positive", "surprise").index(clip.emotion) for clip in CLIPS])
SUBJECTS = [clip.subject for clip in CLIPS]
names = pytest.mark.parametrize("name", methods.names())


def quick(name, **settings):
    fields = {field.name for field in dataclasses.fields(methods.kind_of(name))}
    chosen = {**QUICK, **QUICK_FOR.get(name, {}), **settings}
    return methods.create(name, **{key: value for key, value in chosen.items() if key in fields})


def clips_for(method):
    """Clips that carry what a method needs: published maps, or frames where it asks for them."""
    return FRAME_CLIPS if "frames" in method.needs else CLIPS


def represented(method):
    return np.stack([method.represent(clip) for clip in clips_for(method)])


@names
def test_is_a_method_with_documented_settings(name):
    method = quick(name)
    assert isinstance(method, Method)
    assert dataclasses.is_dataclass(method)
    documented = "".join(kind.__doc__ or "" for kind in type(method).__mro__)
    for field in ("flow_mode", "epochs", "seed"):
        if hasattr(method, field) and name not in FLOORS_WITHOUT_PICTURES:
            assert field in documented


@names
def test_has_a_reference_or_is_a_floor(name):
    entry = methods.entry(name)
    assert re.fullmatch(r"10\.\d{4,9}/\S+", entry.doi) or entry.title.startswith("floor: ")


@names
def test_has_a_docs_page(name):
    page = Path(__file__).parent.parent / "docs" / "methods.md"
    assert f"`{name}`" in page.read_text(encoding="utf-8")


@names
def test_representation_sees_one_clip_only(name):
    """The same clip gives the same array whatever was represented before: nothing can leak through it."""
    first, fresh = quick(name), quick(name)
    clips = clips_for(first)
    for clip in clips[:4]:
        first.represent(clip)
    np.testing.assert_array_equal(first.represent(clips[5]), fresh.represent(clips[5]))


class Fractions:
    """Frames of floats in 0..1, as other packages have them."""

    def __init__(self, frames):
        self.frames = frames

    def __len__(self):
        return len(self.frames)

    def read(self, number):
        return self.frames.read(number) / np.float32(255)


@names
def test_frames_of_other_numbers_are_refused(name):
    """Not taken for black ones."""
    method = quick(name)
    if name in FLOORS_WITHOUT_PICTURES:
        return
    clip = dataclasses.replace(FRAME_CLIPS[0], frames=Fractions(FRAME_CLIPS[0].frames))
    with pytest.raises(BadInput, match="float32"):
        method.represent(clip)


@names
def test_probabilities_sum_to_one(name):
    method = quick(name)
    x = represented(method)
    probabilities = method.fit(x, LABELS, SUBJECTS).predict_proba(x)
    assert probabilities.shape == (len(CLIPS), 3)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@names
def test_representation_does_not_depend_on_the_seed(name):
    """One array serves all seeds of a run."""
    for clip in clips_for(quick(name))[:3]:
        np.testing.assert_array_equal(quick(name, seed=0).represent(clip), quick(name, seed=5).represent(clip))


@names
def test_a_trace_is_the_fit_watched(name):
    """The last epoch is what fit gives, watching changes nothing, and the first epochs do not know how many follow."""
    method = quick(name, epochs=3, seed=1)
    if not hasattr(method, "trace"):
        return  # no epochs to choose from
    x = represented(method)
    traced = method.trace(x[:9], LABELS[:9], SUBJECTS[:9], x[9:])
    assert traced.shape == (3, 3, 3)
    np.testing.assert_array_equal(traced[-1], method.predict_proba(x[9:]))
    for epochs in (1, 3):
        fitted = quick(name, epochs=epochs, seed=1).fit(x[:9], LABELS[:9], SUBJECTS[:9])
        np.testing.assert_array_equal(traced[epochs - 1], fitted.predict_proba(x[9:]))
    assert np.abs(traced[0] - traced[-1]).max() > 0


@names
def test_same_seed_same_answer(name):
    x = represented(quick(name))
    one, two = (quick(name, seed=3).fit(x, LABELS, SUBJECTS).predict_proba(x) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", [name for name in methods.names() if hasattr(methods.kind_of(name), "layers")])
def test_a_training_reaches_every_parameter_of_a_network(name, monkeypatch):
    """The gradient of the method's own loss, in its own fit."""
    made, reached = [], set()
    build, backward = methods.kind_of(name).network, torch.Tensor.backward

    def network(self):
        made.append(build(self))
        return made[-1]

    def recorded(self, *arguments, **named):
        backward(self, *arguments, **named)
        for key, parameter in made[0].named_parameters():
            if parameter.grad is not None and parameter.grad.any():
                reached.add(key)
        for key, layer in made[0].named_modules():
            if any((arrived.T @ x).any() for arrived, x in getattr(layer, "factors", None) or ()):
                reached.add(f"{key}.weight")

    monkeypatch.setattr(methods.kind_of(name), "network", network)
    monkeypatch.setattr(torch.Tensor, "backward", recorded)
    method = quick(name)
    method.fit(represented(method), LABELS, SUBJECTS)
    assert reached == {key for key, _ in made[0].named_parameters()}


@names
def test_respects_the_number_of_classes(name):
    method = quick(name, classes=5)
    x = represented(method)
    assert method.fit(x, np.arange(len(CLIPS)) % 5, SUBJECTS).predict_proba(x).shape == (len(CLIPS), 5)


@names
def test_a_class_without_training_rows_is_survived(name):
    method = quick(name)
    x = represented(method)
    labels = LABELS.copy()
    labels[labels == 2] = 0
    probabilities = method.fit(x, labels, SUBJECTS).predict_proba(x)
    assert probabilities.shape == (len(CLIPS), 3)
    if name == "flow-svm":
        assert not probabilities[:, 2].any()


@names
def test_one_class_only_is_survived(name):
    method = quick(name)
    x = represented(method)
    predicted = method.fit(x, np.ones_like(LABELS), SUBJECTS).predict_proba(x).argmax(1)
    if not hasattr(method, "network"):  # two epochs of a network promise nothing
        assert (predicted == 1).all()


@names
def test_an_unfitted_method_says_so(name):
    method = quick(name)
    with pytest.raises(BadInput, match="call fit"):
        method.predict_proba(represented(method))


@names
def test_weights_go_through_a_file(name, tmp_path):
    method = quick(name)
    x = represented(method)
    method.fit(x, LABELS, SUBJECTS)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(weights.to_bytes(method, name, ("negative", "positive", "surprise"), {"clips": len(CLIPS)}))
    loaded, metadata = weights.load(file)
    assert metadata["method"] == name
    assert metadata["record"] == {"clips": len(CLIPS)}
    assert settings_of(loaded) == settings_of(method)
    np.testing.assert_array_equal(loaded.predict_proba(x), method.predict_proba(x))


@names
def test_weights_that_do_not_fit_are_refused(name):
    method = quick(name)
    with pytest.raises(BadInput):
        method.load_weights({"something": np.zeros(3, np.float32)})


@pytest.mark.parametrize("name", [name for name in methods.names() if name not in FLOORS_WITHOUT_PICTURES])
def test_overfits_a_few_clips(name):
    method = quick(name, **{**OVERFIT, **OVERFIT_FOR.get(name, {})})
    x = represented(method)[:9]
    predicted = method.fit(x, LABELS[:9], SUBJECTS[:9]).predict_proba(x).argmax(1)
    assert (predicted == LABELS[:9]).all()


def test_majority_and_prior_know_frequencies_only():
    labels = np.array([0, 0, 0, 1, 2, 0])
    x = np.zeros((6, 0), np.float32)
    majority = methods.create("majority").fit(x, labels, ["a"] * 6).predict_proba(x)
    np.testing.assert_allclose(majority[0], [4 / 6, 1 / 6, 1 / 6])
    many = np.zeros((6000, 0), np.float32)
    drawn = methods.create("prior").fit(x, labels, ["a"] * 6).predict_proba(many).argmax(1)
    np.testing.assert_allclose(np.bincount(drawn) / 6000, [4 / 6, 1 / 6, 1 / 6], atol=0.03)


def test_prior_draws_other_numbers_for_other_folds():
    x, many = np.zeros((6, 0), np.float32), np.zeros((50, 0), np.float32)
    labels = np.array([0, 0, 1, 1, 2, 2])
    one = methods.create("prior").fit(x, labels, ["a"] * 6).predict_proba(many)
    other = methods.create("prior").fit(x, labels, ["b"] * 6).predict_proba(many)
    assert (one != other).any()


def test_an_unknown_method_gets_the_nearest_spelling():
    with pytest.raises(UnknownName, match="did you mean 'flow-linear'"):
        methods.create("flow_linear")


def test_settings_come_from_text_in_the_type_of_their_field():
    method = methods.create("mjfn", taps="(4,)", dropout="0", project_top="true", epochs="7")
    assert (method.taps, method.dropout, method.project_top, method.epochs) == ((4,), 0.0, True, 7)
    assert methods.create("mjfn-bbn", taps="()").taps == ()
    assert methods.create("flow-svm", c="0.5").c == 0.5
    assert methods.create("flow-svm", c="none").c is None
    assert methods.create("flow-svm", c="None").c is None


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mjfn", {"epochs": "many"}, "epochs"),
        ("mjfn", {"epochs": "0"}, "epochs"),
        ("flow-linear", {"epochs": "0"}, "epochs"),
        ("flow-svm", {"flow_mode": "farneback"}, "flow_mode"),
        ("flow-linear", {"flow_mode": "farneback"}, "flow_mode"),
        ("mjfn", {"fusion": "sum"}, "softmax, mean, none"),
        ("mjfn", {"taps": "(5,)"}, "taps"),
        ("mjfn", {"taps": "(4, 4)"}, "taps"),
        ("mjfn", {"taps": "four"}, "taps"),
        ("mjfn", {"fusion": "none"}, "nothing to fuse"),
        ("mjfn", {"dropout": "1.5"}, "dropout"),
        ("mjfn", {"classes": "1"}, "classes"),
        ("mjfn", {"device": "gpu"}, "device"),
        ("mjfn", {"device": "cuda:99"}, "CUDA"),
        ("mjfn", {"flow_mode": "farneback"}, "flow_mode"),
        ("mjfn", {"dropot": "0.5"}, "dropout"),
        ("flow-svm", {"c": "big"}, "c to be a number"),
        ("flow-svm", {"c": "-1"}, "c to be a number"),
        ("flow-linear", {"shift": "9"}, "shift"),
        ("flow-linear", {"mirror": "3"}, "mirror"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_runs(name, settings, message):
    with pytest.raises((BadInput, UnknownName), match=message):
        methods.create(name, **settings)


def test_weights_of_another_kind_are_refused(tmp_path):
    pickled = tmp_path / "model.pt"
    pickled.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(BadInput, match="safetensors"):
        weights.load(pickled)
    with pytest.raises(BadInput, match="does not exist"):
        weights.load(tmp_path / "none.safetensors")
    from safetensors.numpy import save_file

    save_file({"fc.weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="another program"):
        weights.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize("name", [name for name in methods.names() if hasattr(methods.kind_of(name), "layers")])
def test_a_training_that_diverges_in_its_last_step_is_told(name):
    """In its only step here: the loss is looked at before it, so the weights are looked at after it."""
    method = quick(name, epochs=1, epoch_iterations=1, batch_size=64, learning_rate=1e38, weight_decay=1e6)
    x = represented(method)[:9]
    with pytest.raises(MicroexprError, match=r"diverged: .* is not finite after the last epoch; lower learning_rate"):
        method.fit(x, LABELS[:9], SUBJECTS[:9])
