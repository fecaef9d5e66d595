"""CapsuleNet: shapes and counts, routing against a slow twin, the loss by hand, balancing, and how it begins."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from microexpr import datasets
from microexpr.errors import BadInput, UnknownName
from microexpr.methods import _pretrain, _torch, capsulenet
from microexpr.methods.capsulenet import CapsuleNet, ClassCapsules, further_frames, margin_loss, squash
from microexpr.types import Dataset
from tests.clips import flow_clips
from tests.frame_clips import APEX, OFFSET, ONSET, frame_clips
from tests.test_resnet18 import state_of

CLIPS = frame_clips(subjects=2, each=3)
LABELS = np.array([0, 1, 2, 0, 1, 2])
SUBJECTS = [clip.subject for clip in CLIPS]
SMALL = {"size": 129, "width": 4, "further": (1,), "epochs": 1, "precision": "float32"}
GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def table():
    return {name: (shape, count) for name, _, shape, count in CapsuleNet().layers()}


def fitted(x=None, **settings):
    method = CapsuleNet(**{**SMALL, **settings})
    x = represented(method) if x is None else x
    return method.fit(x, LABELS, SUBJECTS)


def represented(method):
    return np.stack([method.represent(clip) for clip in CLIPS])


def test_layers_are_those_of_the_code(table):
    assert table["backbone.layer3.1.bn2"][0] == (256, 28, 28)
    assert table["conv"] == ((256, 20, 20), 256 * 256 * 81 + 256)
    assert table["primary"] == ((1152, 8), 256 * 256 * 81 + 256)
    assert table["capsules"] == ((3, 16), 3 * 1152 * 16 * 8)
    backbone = 11_176_512 - 8_393_728  # ResNet-18 without classifier and fourth stage
    assert sum(count for _, count in table.values()) == backbone + 2 * 5_308_672 + 442_368 == 13_842_496


def test_defaults_are_those_of_the_code():
    method = CapsuleNet()
    assert (method.epochs, method.batch_size, method.learning_rate, method.decay) == (30, 32, 1e-4, 0.9)
    assert (method.rotation, method.jitter, method.mirror, method.routings) == (8, 0.2, True, 3)
    assert CapsuleNet.needs == {"frames"}


def test_squash_keeps_the_direction_and_bends_the_length():
    found = squash(torch.tensor([[3.0, 4.0], [0.0, 0.5]]))
    # lengths 25 / 26 and 0.25 / 1.25
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.0, 1.0]]) * torch.tensor([[25 / 26], [0.2]]))
    still = torch.zeros(2, 8, requires_grad=True)
    squash(still).sum().backward()
    assert still.grad.isfinite().all()


@pytest.mark.parametrize("routings", [1, 2, 3])
def test_routing_is_that_of_the_procedure(routings):
    """Procedure 1 of Sabour et al., capsule by capsule in float64."""
    layer = ClassCapsules(5, 3, routings)
    torch.nn.init.normal_(layer.weight, std=0.7, generator=GENERATOR)
    x = torch.randn(2, 5, 8, generator=GENERATOR)
    weight = layer.weight.detach().double().numpy()

    def bent(s):
        length = np.linalg.norm(s)
        return s * length / (1 + length**2)

    for clip in range(2):
        votes = [[weight[j, i] @ x[clip, i].double().numpy() for j in range(3)] for i in range(5)]
        b = np.zeros((5, 3))
        for _ in range(routings):
            c = np.exp(b) / np.exp(b).sum(1, keepdims=True)
            v = [bent(sum(c[i, j] * votes[i][j] for i in range(5))) for j in range(3)]
            b = b + [[votes[i][j] @ v[j] for j in range(3)] for i in range(5)]
        np.testing.assert_allclose(layer(x)[clip].detach().numpy(), v, atol=1e-5)


def test_routing_weights_pass_no_gradient():
    """Only the last iteration's votes do: their coefficients are numbers by then."""
    layer = ClassCapsules(4, 2, 3)
    torch.nn.init.normal_(layer.weight, generator=GENERATOR)
    x = torch.randn(1, 4, 8, generator=GENERATOR)
    layer(x).sum().backward()
    with torch.no_grad():
        votes = torch.einsum("kcop,ncp->nkco", layer.weight, x)
        b = torch.zeros(1, 2, 4)
        for _ in range(2):
            b += (squash((b.softmax(1)[..., None] * votes).sum(2))[:, :, None] * votes).sum(-1)
    weight = layer.weight.detach().clone().requires_grad_()
    squash((b.softmax(1)[..., None] * torch.einsum("kcop,ncp->nkco", weight, x)).sum(2)).sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)


def test_the_margin_loss_by_hand():
    lengths = torch.tensor([[0.5, 0.21, 0.0], [0.1, 1.0, 0.0]])
    # (0.49^2 + 0.5 * 0.2^2 + 0) and (0.5 * 0.09^2 + 0 + 0), the mean of both
    expected = (0.2401 + 0.02 + 0.00405) / 2
    torch.testing.assert_close(margin_loss(lengths, torch.tensor([0, 1])), torch.tensor(expected))


def test_probabilities_are_shares_of_the_lengths():
    method = CapsuleNet(**SMALL)
    network = method._started(0).eval()
    x = torch.rand(4, 3, 129, 129, generator=GENERATOR)
    with torch.no_grad():
        lengths, found = network.lengths(x), network(x).exp()
    torch.testing.assert_close(found, lengths / lengths.sum(1, keepdim=True))
    assert (found.argmax(1) == lengths.argmax(1)).all()


def test_gradient_reaches_every_parameter():
    network = CapsuleNet(**SMALL)._started(0).train()
    margin_loss(network.lengths(torch.rand(6, 3, 129, 129, generator=GENERATOR)), torch.from_numpy(LABELS)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_apex_comes_first_and_further_frames_stay_in_the_clip():
    read = []
    clip = CLIPS[0]

    class Frames:
        def __len__(self):
            return len(clip.frames)

        def read(self, number):
            read.append(number)
            return clip.frames.read(number)

    x = CapsuleNet().represent(dataclasses.replace(clip, frames=Frames()))
    assert read == [APEX, APEX - 2, APEX - 1, APEX + 1, APEX + 2]
    assert x.shape == (5, 234, 240, 3)
    read.clear()
    far = CapsuleNet(further=(-9, 9)).represent(dataclasses.replace(clip, frames=Frames()))
    assert read == [APEX, ONSET, OFFSET]
    np.testing.assert_array_equal(far[0], x[0])


def test_classes_come_out_about_equal():
    """The counts of the composite set: 250 negative, 109 positive, 83 surprise."""
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([250, 109, 83]))
    seen = torch.zeros(3)
    for seed in range(20):
        taken = further_frames(labels, 4, torch.Generator().manual_seed(seed))
        extra = taken.sum(1)
        assert extra[labels == 2].eq(4).all()
        assert set(extra[labels == 1].tolist()) == {2, 3}  # 5 * 83 / 109 - 1 = 2.81
        assert set(extra[labels == 0].tolist()) == {0, 1}  # 5 * 83 / 250 - 1 = 0.66
        seen += torch.bincount(labels, weights=1 + extra.float())
    np.testing.assert_allclose(seen / 20, 415, atol=8)
    assert taken[labels == 0].any(0).all()  # each of the four has its turn


def test_nothing_further_is_taken_where_a_class_has_enough():
    labels = torch.repeat_interleave(torch.arange(2), torch.tensor([60, 2]))
    taken = further_frames(labels, 4, GENERATOR)
    assert not taken[:60].any()
    assert taken[60:].all()


def test_an_epoch_sees_every_apex_once():
    method = CapsuleNet(**{**SMALL, "batch_size": 4})
    rows, frames = (torch.cat(part) for part in zip(*method._epoch(torch.from_numpy(LABELS), GENERATOR), strict=True))
    assert sorted(rows[frames == 0].tolist()) == list(range(6))
    assert len({*zip(rows.tolist(), frames.tolist(), strict=True)}) == len(rows) == 12


def test_the_rate_falls_after_every_epoch(monkeypatch):
    rates = []
    adam = torch.optim.Adam.step

    def step(self, *args):
        rates.append(self.param_groups[0]["lr"])
        return adam(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    fitted(epochs=3, further=())
    np.testing.assert_allclose(rates, [1e-4, 0.9e-4, 0.81e-4])


def test_a_prediction_sees_the_middle_of_the_apex_frame_and_draws_nothing():
    method = fitted(further=(-1, 1))
    x = represented(method)
    expected = method.predict_proba(x)
    other = x.copy()
    other[:, 1:] = 0
    np.testing.assert_array_equal(method.predict_proba(other), expected)
    np.testing.assert_allclose(method.predict_proba(x[2:4]), expected[2:4], atol=1e-6)
    view = method.view(torch.from_numpy(x), torch.tensor([1]), 0)
    top, left = (x.shape[2] - 129) // 2, (x.shape[3] - 129) // 2
    np.testing.assert_allclose(view[0].permute(1, 2, 0) * 255, x[1, 0, top : top + 129, left : left + 129], atol=1e-3)


def test_training_sees_the_further_frames():
    x = represented(CapsuleNet(**SMALL))
    other = x.copy()
    other[:, 1:] = 255 - other[:, 1:]
    assert np.abs(fitted(x).weights()["conv.weight"] - fitted(other).weights()["conv.weight"]).max() > 0
    np.testing.assert_array_equal(fitted(x).weights()["conv.weight"], fitted(x.copy()).weights()["conv.weight"])


def test_a_random_test_turns_what_is_predicted():
    plain = fitted()
    x = represented(plain)
    turned = dataclasses.replace(plain, random_test=True).load_weights(plain.weights())
    assert np.abs(turned.predict_proba(x) - plain.predict_proba(x)).max() > 0
    np.testing.assert_array_equal(turned.predict_proba(x), turned.predict_proba(x))


def test_it_begins_with_weights_that_a_user_gives(tmp_path):
    given = state_of(4)
    torch.save({"state_dict": given}, tmp_path / "faces.pth")
    save_file(given, tmp_path / "faces.safetensors")
    for file in ("faces.pth", "faces.safetensors"):
        weights = fitted(learning_rate=0.0, initial_weights=str(tmp_path / file)).weights()
        np.testing.assert_array_equal(weights["backbone.conv1.weight"], given["conv1.weight"])
        np.testing.assert_array_equal(weights["backbone.layer3.1.conv2.weight"], given["layer3.1.conv2.weight"])


def test_it_begins_where_another_data_set_left_it(monkeypatch):
    monkeypatch.setattr(_pretrain, "_kept", {})
    monkeypatch.setattr(datasets, "load", lambda name: Dataset(name, tuple(frame_clips(1, 3))))
    trained = fitted(pretrain_on="synthetic", pretrain_epochs=1)
    (before,) = _pretrain._kept.values()
    start = trained._started(_torch.derived_seeds(0)[0]).state_dict()
    for name, value in start.items():
        assert torch.equal(value, before[name]) == (name != "capsules.weight") or not value.dim(), name


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"size": 128}, BadInput, "at least 129, got 128; the two 9x9 convolutions"),
        ({"width": 7}, BadInput, "even width"),
        ({"routings": 0}, BadInput, "routings"),
        ({"decay": 1.5}, BadInput, "decay"),
        ({"pretrain_on": "synthetics"}, UnknownName, "did you mean 'synthetic'"),
        ({"device": "cuda"}, BadInput, "CUDA"),
    ],
)
def test_wrong_settings_are_told(settings, error, message):
    if settings.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(error, match=message):
        CapsuleNet(**settings)


def test_clips_that_lack_something_are_told():
    with pytest.raises(BadInput, match="frames"):
        CapsuleNet().represent(flow_clips(1, 1)[0])
    with pytest.raises(BadInput, match="apex"):
        CapsuleNet().represent(dataclasses.replace(CLIPS[0], apex=None))


def test_the_smallest_size_fits():
    assert capsulenet.SMALLEST == 129
    assert {row[0]: row[2] for row in CapsuleNet(size=129, width=2).layers()}["primary"] == (1, 8)
