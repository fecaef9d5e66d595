"""Neural-Recognizer: shapes and counts, the flow picture, the split, the reversed gradient, schedules, both domains."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from microexpr import datasets
from microexpr.errors import BadInput, UnknownName
from microexpr.methods import _pretrain
from microexpr.methods.neural_recognizer import Answers, Network, NeuralRecognizer, Reversal, flow_picture, losses
from microexpr.types import Dataset
from tests.clips import flow_clips
from tests.frame_clips import frame_clips
from tests.test_resnet18 import state_of

CLIPS = frame_clips(subjects=2, each=3)
LABELS = np.array([0, 1, 2, 0, 1, 2])
SUBJECTS = [clip.subject for clip in CLIPS]
SMALL = {"size": 64, "width": 4, "epochs": 2, "precision": "float32", "batch_size": 4}
GENERATOR = torch.Generator().manual_seed(0)
X = np.stack([NeuralRecognizer(**SMALL).represent(clip) for clip in CLIPS])


def fitted(**settings):
    return NeuralRecognizer(**{**SMALL, **settings}).fit(X, LABELS, SUBJECTS)


@pytest.fixture
def macro(monkeypatch):
    """A data set of macro-expressions: the classes by other names, and an emotion that is in no class."""
    names = {"negative": "disgust", "positive": "happiness", "surprise": "surprise"}
    clips = [dataclasses.replace(clip, emotion=names[clip.emotion]) for clip in frame_clips(2, 3, "macro")]
    clips.append(dataclasses.replace(clips[0], emotion="others"))
    monkeypatch.setattr(datasets, "load", lambda name: Dataset(name, tuple(clips)))
    monkeypatch.setattr(_pretrain, "_kept", {})
    return "synthetic"


def test_layers_are_those_of_the_code():
    table = {name: (shape, count) for name, _, shape, count in NeuralRecognizer().layers()}
    assert table["backbone.layer4.1.bn2"][0] == (512, 7, 7)
    assert table["fc_top"] == table["fc_bottom"] == ((64,), 512 * 64 + 64)
    assert table["classifier"] == ((3,), 128 * 3 + 3)
    assert table["classifier_top"] == table["classifier_bottom"] == ((3,), 64 * 3 + 3)
    assert not any(name.startswith("discriminator") for name in table)
    total = 11_176_512 + 2 * 32_832 + 387 + 2 * 195
    assert sum(count for _, count in table.values()) == total == 11_242_953
    both = {name: (shape, count) for name, _, shape, count in NeuralRecognizer(macro_on="synthetic").layers()}
    assert [both[f"discriminator.{layer}"][0] for layer in (0, 3, 6)] == [(64,), (32,), (1,)]
    assert sum(count for _, count in both.values()) == total + 128 * 64 + 64 + 64 * 32 + 32 + 32 + 1


def test_defaults_are_those_of_the_code():
    method = NeuralRecognizer()
    assert (method.epochs, method.batch_size, method.clip_norm, method.weight_decay) == (100, 32, 1, 1e-6)
    assert (method.rotation, method.jitter, method.dropout, method.macro_on) == (10, 0.2, 0.1, "")
    assert NeuralRecognizer.needs == {"frames"}


def test_the_upper_face_is_three_rows_of_seven():
    """Rows 0 to 2 reach the upper layer, rows 3 to 6 the lower one."""
    network = NeuralRecognizer(width=4)._started(0).eval()
    maps = torch.rand(1, 32, 7, 7, generator=GENERATOR)
    network.backbone.forward = lambda x: maps
    with torch.no_grad():
        answers = network.answers(torch.zeros(1, 3, 224, 224))
        top = network.fc_top(maps[:, :, :3].mean((2, 3))).tanh()
        bottom = network.fc_bottom(maps[:, :, 3:].mean((2, 3))).tanh()
        torch.testing.assert_close(answers.top, network.classifier_top(top))
        torch.testing.assert_close(answers.bottom, network.classifier_bottom(bottom))
        torch.testing.assert_close(answers.joint, network.classifier(torch.cat([top, bottom], 1)))


@pytest.mark.parametrize(
    ("right", "down", "hue"),
    [(1.5, 0, 0), (0, 1.5, 45), (-1.5, 0, 90), (0, -1.5, 135)],  # of OpenCV's circle of 180; v points down
)
def test_direction_is_the_hue_and_length_the_value(right, down, hue):
    texture = cv2.GaussianBlur(np.random.default_rng(1).uniform(0, 255, (120, 120)).astype(np.float32), (0, 0), 4)
    texture = (texture - texture.min()) / np.ptp(texture) * 200
    y, x = np.mgrid[:120, :120].astype(np.float32)
    strength = np.exp(-((x - 60) ** 2 + (y - 60) ** 2) / (2 * 25**2))
    moved = cv2.remap(
        texture, x - right * strength, y - down * strength, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    onset, apex = (np.dstack([gray, gray * 0.8, gray * 0.5]).clip(0, 255).astype(np.uint8) for gray in (texture, moved))
    found = cv2.cvtColor(flow_picture(onset, apex), cv2.COLOR_RGB2HSV).astype(int)
    middle = found[45:75, 45:75]
    away = (middle[..., 0] - hue + 90) % 180 - 90
    assert np.abs(np.median(away)) <= 6
    assert np.median(middle[..., 2]) > 3 * np.median(found[:15, :15, 2])
    assert found[..., 2].max() == 255
    saturation = cv2.cvtColor(apex, cv2.COLOR_RGB2HSV)[45:75, 45:75, 1]
    assert np.median(np.abs(middle[..., 1] - saturation)) <= 3


def test_a_gray_recording_keeps_the_length_alone():
    onset, apex = (
        CLIPS[0].frames.read(number).mean(2, keepdims=True).repeat(3, 2).astype(np.uint8) for number in (11, 14)
    )
    picture = flow_picture(onset, apex)
    assert picture.max() == 255
    np.testing.assert_array_equal(picture[..., 0], picture[..., 2])


def test_a_clip_without_motion_is_black():
    frame = CLIPS[0].frames.read(12)
    assert not flow_picture(frame, frame).any()


def test_the_gradient_is_reversed():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = Reversal.apply(x, 0.3)
    torch.testing.assert_close(y, x)
    (y * torch.tensor([2.0, 5.0])).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([-0.6, -1.5]))


def test_the_discriminator_learns_what_the_features_unlearn():
    """Its own gradient does not know the coefficient; that of the features has it as a factor, with its sign turned."""
    network = NeuralRecognizer(**SMALL, macro_on="synthetic")._started(0).eval()
    x, micro = torch.rand(4, 3, 64, 64, generator=GENERATOR), torch.tensor([1.0, 1, 0, 0])
    gradients = []
    for coefficient in (-1.0, 0.25):  # -1 is no reversal
        network.zero_grad()
        F.binary_cross_entropy_with_logits(network.answers(x, coefficient).domain, micro).backward()
        gradients.append(
            {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
        )
    plain, reversed_ = gradients
    for name, value in plain.items():
        factor = 1 if name.startswith("discriminator") else -0.25
        torch.testing.assert_close(reversed_[name], factor * value, rtol=1e-3, atol=1e-6, msg=name)
    assert "fc_top.weight" in plain
    assert "classifier.weight" not in plain


def test_the_coefficient_grows_to_one():
    method = NeuralRecognizer()
    assert math.isclose(method.coefficient(1), math.tanh(0.0005), rel_tol=1e-9)  # 2 / (1 + e^-t) - 1 = tanh(t / 2)
    assert math.isclose(method.coefficient(10_000), math.tanh(5), rel_tol=1e-9)


def test_rates_halve_until_they_are_low():
    rates = [NeuralRecognizer()._rate(epoch) for epoch in range(100)]
    assert rates[:10] == [1e-3] * 10
    assert rates[10] == rates[19] == 5e-4
    assert rates[69] == 1e-3 / 64
    assert rates[70] == rates[99] == 1e-3 / 128  # 7.8e-6, no longer above 1e-5


def test_only_the_heads_rates_fall(monkeypatch):
    rates = []
    adam = torch.optim.Adam.step

    def step(self, *args):
        rates.append([(group["lr"], group["weight_decay"], len(group["params"])) for group in self.param_groups])
        return adam(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    fitted(epochs=2, halve_every=1, batch_size=6)
    assert rates == [[(1e-5, 1e-6, 60), (1e-3, 1e-6, 10)], [(1e-5, 1e-6, 60), (5e-4, 1e-6, 10)]]


def test_gradients_are_clipped_part_by_part(monkeypatch):
    norms = []
    adam = torch.optim.Adam.step

    def step(self, *args):
        (backbone, heads) = (group["params"] for group in self.param_groups)
        norms.append([torch.cat([p.grad.flatten() for p in part]).norm() for part in (backbone, heads[:2], heads[4:6])])
        return adam(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    fitted(epochs=1, clip_norm=1e-3)
    np.testing.assert_allclose(norms, 1e-3, rtol=1e-2)


def test_losses_are_added_up():
    scores = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    labels, micro = torch.tensor([1]), torch.tensor([1.0])
    without = losses(Answers(scores, scores, scores, None), labels, micro)
    torch.testing.assert_close(without, torch.tensor(3 * math.log(4)))
    domain = torch.tensor([math.log(3)])  # probability 3/4
    torch.testing.assert_close(
        losses(Answers(scores, scores, scores, domain), labels, micro), without + math.log(4 / 3)
    )


@pytest.mark.parametrize("macro_on", ["", "synthetic"])
def test_gradient_reaches_every_parameter(macro_on):
    network = NeuralRecognizer(**SMALL, macro_on=macro_on)._started(0).train()
    answers = network.answers(torch.rand(6, 3, 64, 64, generator=GENERATOR), 0.5)
    losses(answers, torch.from_numpy(LABELS), torch.tensor([1.0, 1, 1, 0, 0, 0])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert any(name.startswith("discriminator") for name, _ in network.named_parameters()) == bool(macro_on)


def test_macro_expressions_join_the_training(macro):
    method = NeuralRecognizer(**SMALL, macro_on=macro)
    x, y, micro = method._with_macro(X, LABELS)
    np.testing.assert_array_equal(x[:6], X)
    np.testing.assert_array_equal(y, [*LABELS, 0, 1, 2, 0, 1, 2])  # the clip of no class is left out
    np.testing.assert_array_equal(micro, [1] * 6 + [0] * 6)
    alone, together, again = fitted(), fitted(macro_on=macro), fitted(macro_on=macro)
    assert np.abs(alone.predict_proba(X) - together.predict_proba(X)).max() > 0
    np.testing.assert_array_equal(again.predict_proba(X), together.predict_proba(X))
    assert not any(name.startswith("discriminator") for name in alone.weights())
    assert any(name.startswith("discriminator") for name in together.weights())


def test_every_step_reverses_more_and_drops_out_anew(macro, monkeypatch):
    seen, keys = [], []
    answers = Network.answers

    def recorded(self, x, coefficient=0.0):
        if self.training:
            seen.append(coefficient)
            keys.append(int(self.dropout_top.key))
        return answers(self, x, coefficient)

    monkeypatch.setattr(Network, "answers", recorded)
    method = fitted(macro_on=macro)
    assert seen == [method.coefficient(step) for step in range(1, 7)]  # 12 clips in batches of 4, two epochs
    assert len(set(keys)) == 6


def test_macro_expressions_of_no_class_are_refused(macro, monkeypatch):
    clips = [dataclasses.replace(clip, emotion=emotion) for clip, emotion in zip(CLIPS, "ab" * 3, strict=True)]
    monkeypatch.setattr(datasets, "load", lambda name: Dataset(name, tuple(clips)))
    with pytest.raises(BadInput, match="got a, b"):
        fitted(macro_on=macro)


def test_a_prediction_draws_nothing_unless_asked_to():
    plain = fitted()
    view = plain.view(torch.from_numpy(X), torch.tensor([1]), 0)
    top = (X.shape[1] - 64) // 2
    np.testing.assert_allclose((view[0].permute(1, 2, 0) + 1) * 127.5, X[1, top : top + 64, top : top + 64], atol=1e-3)
    drawn = dataclasses.replace(plain, random_test=True).load_weights(plain.weights())
    assert np.abs(drawn.predict_proba(X) - plain.predict_proba(X)).max() > 0
    np.testing.assert_array_equal(drawn.predict_proba(X), drawn.predict_proba(X))


def test_it_begins_with_weights_that_a_user_gives(tmp_path):
    given = state_of(4, counts=False)
    file = tmp_path / "faces.safetensors"
    save_file(given, file)
    weights = fitted(learning_rate=0.0, backbone_learning_rate=0.0, initial_weights=str(file)).weights()
    np.testing.assert_array_equal(weights["backbone.conv1.weight"], given["conv1.weight"])
    np.testing.assert_array_equal(weights["backbone.layer4.1.conv2.weight"], given["layer4.1.conv2.weight"])


def test_its_backbone_begins_where_another_data_set_left_it(macro):
    method = fitted(pretrain_on=macro, pretrain_epochs=1, macro_on=macro)
    (before,) = _pretrain._kept.values()
    assert before["classifier.weight"].shape[0] == 4  # all emotions of the set
    start = method._started(5).state_dict()
    for name, value in start.items():
        if name.startswith("backbone."):
            torch.testing.assert_close(value, before[name])
    assert not torch.equal(start["fc_top.weight"], before["fc_top.weight"])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"size": 32}, BadInput, "at least 33, got 32"),
        ({"macro_on": "ck"}, UnknownName, "ck"),
        ({"macro_on": "megc2019-flow"}, BadInput, "frames for macro_on"),
        ({"macro_on": "casme3"}, BadInput, "macro-expressions for macro_on, got casme3, which has none"),
        ({"macro_on": "synthetic", "classes": 5}, BadInput, "three classes with macro_on, got 5"),
        ({"pretrain_on": "synthetics"}, UnknownName, "did you mean 'synthetic'"),
        ({"clip_norm": 0}, BadInput, "clip_norm"),
        ({"ramp": 0}, BadInput, "ramp"),
    ],
)
def test_wrong_settings_are_told(settings, error, message):
    with pytest.raises(error, match=message):
        NeuralRecognizer(**settings)


@pytest.mark.parametrize("missing", ["onset", "apex"])
def test_clips_that_lack_something_are_told(missing):
    with pytest.raises(BadInput, match=missing):
        NeuralRecognizer().represent(dataclasses.replace(CLIPS[0], **{missing: None}))
    with pytest.raises(BadInput, match="frames"):
        NeuralRecognizer().represent(flow_clips(1, 1)[0])


def test_the_input_is_256_pixels():
    assert NeuralRecognizer().represent(CLIPS[0]).shape == (256, 256, 3)
