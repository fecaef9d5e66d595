"""Dual-Inception: its layers, which two frames it looks at, and what its settings do."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from microexpr import datasets, methods
from microexpr.errors import BadInput
from microexpr.methods import _torch
from microexpr.methods.dual_inception import DualInception
from microexpr.motion.flow import centered, flow_between, published_map
from tests.clips import flow_clip, flow_clips

CLIPS = flow_clips(3, 3)
X = np.stack([DualInception().represent(clip) for clip in CLIPS])
Y = np.arange(9) % 3
SUBJECTS = [clip.subject for clip in CLIPS]
QUICK = {"epochs": 2, "batch_size": 5}


class Shifts:
    """Frame k is one fixed texture moved by k tenths of a pixel, first right, from frame 6 on also down."""

    def __init__(self):
        self.read_frames = []

    def __len__(self):
        return 12

    def read(self, number):
        self.read_frames.append(number)
        down, right = np.mgrid[:224, :224].astype(np.float64)
        right, down = right - 0.1 * number, down - 0.2 * max(0, number - 6)
        gray = 128 + 50 * np.sin(right / 9) * np.cos(down / 11) + 40 * np.cos((right + 2 * down) / 17)
        return np.repeat(np.rint(gray).astype(np.uint8)[..., None], 3, axis=2)


def with_frames(**annotated):
    clip = dataclasses.replace(flow_clip(0, 1, "sub01"), flow=None, frames=Shifts(), onset=1, apex=9, offset=8)
    return dataclasses.replace(clip, **annotated)


def drawn(seed=0, **settings):
    """The untrained network of these settings with drawn weights."""
    network = DualInception(**settings).network()
    _torch.initialize(network, seed)
    _torch.start_dropout(network, seed)
    return network


def test_layers():
    """28x28, halved by each of the two blocks; every path of a block has 6 or 16 maps, and four are joined."""
    shapes = {layer: shape for layer, _, shape, _ in DualInception().layers()}
    expected = {"fc1": (1024,), "dropout": (1024,), "fc2": (3,)}
    for component in "uv":
        for block, given, filters, size in (("block1", 1, 6, 28), ("block2", 24, 16, 14)):
            paths = dict.fromkeys(("single", "reduce3", "conv3", "reduce5", "conv5", "project"), (filters, size, size))
            paths |= {"largest": (given, size, size), "pool": (4 * filters, size // 2, size // 2)}
            expected |= {f"{component}.{block}.{layer}": shape for layer, shape in paths.items()}
    assert shapes == expected


def test_parameters():
    # By hand. A block of f filters on c maps: four 1x1 of f (c + 1), 3x3 of f (9 f + 1), 5x5 of f (25 f + 1).
    first = 4 * 6 * 2 + 6 * 55 + 6 * 151
    second = 4 * 16 * 25 + 16 * 145 + 16 * 401
    # Two streams of 64 maps of 7x7, then 1024 (6272 + 1) and 3 (1024 + 1).
    by_hand = 2 * (first + second) + 6_423_552 + 3075
    assert by_hand == 6_449_867  # published for the re-implementation: 6.45 million
    assert sum(value.numel() for value in DualInception().network().parameters()) == by_hand
    assert sum(row[-1] for row in DualInception().layers()) == by_hand


def test_a_published_map_is_taken_as_it_is():
    clip = flow_clip(0, 1, "sub01")
    np.testing.assert_array_equal(DualInception().represent(clip), centered(clip.flow))


@pytest.mark.parametrize(("onset", "offset", "middle"), [(1, 9, 5), (1, 8, 5), (0, 1, 1)])
def test_the_second_frame_is_the_one_in_the_middle(onset, offset, middle):
    """By hand: the mean of onset and offset, the later one of two; the apex is not read."""
    clip = with_frames(onset=onset, offset=offset, apex=11)
    given = DualInception().represent(clip)
    assert set(clip.frames.read_frames) == {onset, middle}
    flow = flow_between(Shifts().read(onset), Shifts().read(middle), mode="tvl1")
    np.testing.assert_array_equal(given, centered(published_map(flow)))


def test_the_apex_changes_nothing_and_may_be_missing():
    """SMIC has none."""
    given = [DualInception().represent(with_frames(apex=apex)) for apex in (3, 8, None)]
    np.testing.assert_array_equal(given[0], given[1])
    np.testing.assert_array_equal(given[0], given[2])
    assert np.abs(given[0] - DualInception().represent(with_frames(offset=11))).max() > 0.1


def test_frames_go_before_a_map():
    clip = dataclasses.replace(with_frames(), flow=flow_clip(0, 1, "sub01").flow)
    np.testing.assert_array_equal(DualInception().represent(clip), DualInception().represent(with_frames()))


@pytest.mark.parametrize("missing", ["onset", "offset"])
def test_a_clip_without_its_ends_is_told(missing):
    with pytest.raises(BadInput, match=f"without {missing}"):
        DualInception().represent(with_frames(**{missing: None}))


def test_each_stream_sees_one_component():
    x = torch.from_numpy(X[:1]).clone().requires_grad_()
    network = drawn().eval()
    u, v = network.u(x[:, :1]), network.v(x[:, 1:])
    assert not torch.equal(u, v)
    u.sum().backward()
    assert x.grad[:, 0].abs().sum() > 0
    assert x.grad[:, 1].abs().sum() == 0


def test_network_is_its_list_of_layers():
    """Against the layers written out one after the other, ReLU before the pooling."""
    network = drawn().eval()
    state = network.state_dict()

    def convolved(maps, layer):
        weight = state[f"{layer}.weight"]
        return F.conv2d(maps, weight, state[f"{layer}.bias"], padding=weight.shape[-1] // 2).relu()

    streams = []
    for channel, component in enumerate("uv"):
        maps = torch.from_numpy(X)[:, channel : channel + 1]
        for block in (f"{component}.block1", f"{component}.block2"):
            paths = [
                convolved(maps, f"{block}.single"),
                convolved(convolved(maps, f"{block}.reduce3"), f"{block}.conv3"),
                convolved(convolved(maps, f"{block}.reduce5"), f"{block}.conv5"),
                convolved(F.max_pool2d(maps, 3, 1, 1), f"{block}.project"),
            ]
            maps = F.max_pool2d(torch.cat(paths, 1), 2)
        streams.append(maps.flatten(1))
    hidden = F.linear(torch.cat(streams, 1), state["fc1.weight"], state["fc1.bias"]).relu()
    expected = F.linear(hidden, state["fc2.weight"], state["fc2.bias"]).log_softmax(1)
    torch.testing.assert_close(network(torch.from_numpy(X)), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.train()(torch.from_numpy(X)), expected, rtol=1e-4, atol=1e-5)  # compiled


def test_gradient_reaches_every_parameter():
    network = drawn().train()
    network(torch.from_numpy(X))[:, 0].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_authors_input_of_three_equal_channels_is_one_channel():
    """They read a gray picture as three channels: a first layer on those is one on their sum of weights."""
    generator = torch.Generator().manual_seed(3)
    x, weight = torch.rand(2, 1, 28, 28, generator=generator), torch.randn(6, 3, 1, 1, generator=generator)
    torch.testing.assert_close(F.conv2d(x.expand(-1, 3, -1, -1), weight), F.conv2d(x, weight.sum(1, keepdim=True)))


def test_trace_is_fit():
    """After every epoch what a fit of so many epochs predicts, bit for bit; and the method is fitted afterwards."""
    method = DualInception(epochs=3, batch_size=4)
    traced = method.trace(X[:7], Y[:7], SUBJECTS[:7], X[7:])
    assert traced.shape == (3, 2, 3)
    for epochs in (1, 3):
        fitted = DualInception(epochs=epochs, batch_size=4).fit(X[:7], Y[:7], SUBJECTS[:7])
        np.testing.assert_array_equal(traced[epochs - 1], fitted.predict_proba(X[7:]))
    np.testing.assert_array_equal(traced[-1], method.predict_proba(X[7:]))


@pytest.mark.parametrize("setting", [{"dropout": 0.5}, {"seed": 1}, {"batch_size": 9}, {"learning_rate": 1e-3}])
def test_settings_change_the_fit(setting):
    default, other = (DualInception(**{**QUICK, **fields}) for fields in ({}, setting))
    probabilities = [method.fit(X, Y, SUBJECTS).predict_proba(X) for method in (default, other)]
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-6


def test_a_rendered_clip_can_be_represented():
    clip = datasets.load("synthetic", subjects=1, clips_per_subject=1).clips[0]
    given = DualInception().represent(clip)
    assert given.shape == (2, 28, 28)
    assert np.abs(given).max() > 0.2


def test_wrong_weights_are_refused():
    weights = DualInception(**QUICK).fit(X, Y, SUBJECTS).weights()
    with pytest.raises(BadInput, match=r"fc2\.(bias|weight)"):
        DualInception(classes=5).load_weights(weights)
    with pytest.raises(BadInput, match="DualInception"):
        DualInception().load_weights({name: value for name, value in weights.items() if name != "fc1.bias"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
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
        methods.create("dual-inception", **settings)
