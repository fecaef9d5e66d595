"""AlexNet: its layers, its picture, and what its settings do."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from microexpr import methods
from microexpr.errors import BadInput
from microexpr.methods import _torch
from microexpr.methods.alexnet import AlexNet
from microexpr.methods.mjfn import MJFN
from tests.clips import flow_clip, flow_clips

CLIPS = flow_clips(3, 3)
Y = np.arange(9) % 3
SUBJECTS = [clip.subject for clip in CLIPS]
SMALL = {"size": 64, "hidden": 16}  # the paper's sizes have 57 million parameters
X = np.stack([AlexNet(**SMALL).represent(clip) for clip in CLIPS])


def drawn(seed=0, **settings):
    """The untrained network of these settings with drawn weights."""
    network = AlexNet(**settings).network()
    _torch.initialize(network, seed)
    _torch.start_dropout(network, seed)
    return network


def test_layers():
    """By hand from 224: (224 + 4 - 11) // 4 + 1 = 55, pooled by 3 with stride 2 to 27, 13 and 6.

    In the order in which they run: dropout comes before the hidden layers.
    """
    shapes = {layer: shape for layer, _, shape, _ in AlexNet().layers()}
    expected = {
        "conv1": (64, 55, 55),
        "pool1": (64, 27, 27),
        "conv2": (192, 27, 27),
        "pool2": (192, 13, 13),
        "conv3": (384, 13, 13),
        "conv4": (256, 13, 13),
        "conv5": (256, 13, 13),
        "pool3": (256, 6, 6),
        "average": (256, 6, 6),
        "dropout1": (9216,),
        "fc1": (4096,),
        "dropout2": (4096,),
        "fc2": (4096,),
        "fc3": (3,),
    }
    assert list(shapes.items()) == list(expected.items())


def test_parameters():
    # By hand: convolutions of 11x11, 5x5 and three of 3x3, each filter with a bias.
    convolutions = [64 * (3 * 121 + 1), 192 * (64 * 25 + 1), 384 * (192 * 9 + 1), 256 * (384 * 9 + 1), 256 * 2305]
    assert convolutions == [23_296, 307_392, 663_936, 884_992, 590_080]
    # Three fully connected layers on 256 maps of 6x6.
    by_hand = sum(convolutions) + 4096 * (9216 + 1) + 4096 * (4096 + 1) + 3 * (4096 + 1)
    assert by_hand == 57_016_131
    assert sum(value.numel() for value in AlexNet().network().parameters()) == by_hand


def test_input_is_the_flow_picture_of_mjfn():
    clip = flow_clip(0, 1, "sub01")
    picture = AlexNet().represent(clip)
    assert picture.shape == (224, 224, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, MJFN().represent(clip)[0])
    x, rows = torch.from_numpy(picture[None]), torch.tensor([0])
    same = MJFN().view(x[None].transpose(0, 1), rows, 0)
    assert same.shape == (1, 3, 224, 224)
    torch.testing.assert_close(AlexNet().view(x, rows, 0), same, rtol=0, atol=0)
    torch.testing.assert_close(AlexNet().batch(x, rows, (), torch.float32), same, rtol=0, atol=0)


@pytest.mark.parametrize("size", [224, 64])
def test_network_is_its_list_of_layers(size):
    """Against the layers written out one after the other, ReLU before the pooling."""
    network = drawn(hidden=16).eval()
    state = network.state_dict()
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    maps = x
    for layer, stride, padding, pooled in ((1, 4, 2, True), (2, 1, 2, True), (3, 1, 1, False), (4, 1, 1, False)):
        maps = F.conv2d(maps, state[f"conv{layer}.weight"], state[f"conv{layer}.bias"], stride, padding).relu()
        maps = F.max_pool2d(maps, 3, 2) if pooled else maps
    maps = F.conv2d(maps, state["conv5.weight"], state["conv5.bias"], 1, 1).relu()
    hidden = F.adaptive_avg_pool2d(F.max_pool2d(maps, 3, 2), 6).flatten(1)
    for layer in ("fc1", "fc2"):
        hidden = F.linear(hidden, state[f"{layer}.weight"], state[f"{layer}.bias"]).relu()
    expected = F.linear(hidden, state["fc3.weight"], state["fc3.bias"]).log_softmax(1)
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)


def test_gradient_reaches_every_parameter():
    network = drawn(hidden=16, dropout=0.0).train()
    network(torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)))[:, 0].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_smallest_input():
    network = drawn(hidden=16).eval()
    assert network(torch.zeros(1, 3, 63, 63)).shape == (1, 3)
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.zeros(1, 3, 62, 62))


def test_trace_is_fit():
    """After every epoch what a fit of so many epochs predicts, bit for bit; and the method is fitted afterwards."""
    settings = {**SMALL, "batch_size": 4}
    method = AlexNet(epochs=3, **settings)
    traced = method.trace(X[:7], Y[:7], SUBJECTS[:7], X[7:])
    assert traced.shape == (3, 2, 3)
    for epochs in (1, 3):
        fitted = AlexNet(epochs=epochs, **settings).fit(X[:7], Y[:7], SUBJECTS[:7])
        np.testing.assert_array_equal(traced[epochs - 1], fitted.predict_proba(X[7:]))
    np.testing.assert_array_equal(traced[-1], method.predict_proba(X[7:]))


@pytest.mark.parametrize("setting", [{"dropout": 0.0}, {"seed": 1}, {"batch_size": 9}, {"hidden": 8}])
def test_settings_change_the_fit(setting):
    default, other = (
        AlexNet(**{**SMALL, "epochs": 2, "batch_size": 4, "learning_rate": 1e-3, **fields}) for fields in ({}, setting)
    )
    probabilities = [method.fit(X, Y, SUBJECTS).predict_proba(X) for method in (default, other)]
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-6


def test_wrong_weights_are_refused():
    weights = AlexNet(**SMALL, epochs=1).fit(X, Y, SUBJECTS).weights()
    with pytest.raises(BadInput, match=r"fc3\.(bias|weight)"):
        AlexNet(**SMALL, classes=5).load_weights(weights)
    with pytest.raises(BadInput, match="AlexNet"):
        AlexNet(size=64, hidden=8).load_weights(weights)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": "62"}, "size"),
        ({"hidden": "0"}, "hidden"),
        ({"precision": "float16"}, "precision"),
        ({"epochs": "0"}, "epochs"),
        ({"batch_size": "0"}, "batch_size"),
        ({"learning_rate": "-1"}, "learning_rate"),
        ({"dropout": "1"}, "dropout"),
        ({"classes": "1"}, "classes"),
        ({"threads": "0"}, "threads"),
        ({"seed": "-1"}, "seed"),
        ({"flow_mode": "farneback"}, "flow_mode"),
        ({"device": "cuda:99"}, "CUDA"),
    ],
)
def test_a_wrong_setting_is_told(settings, message):
    with pytest.raises(BadInput, match=message):
        methods.create("alexnet", **settings)
