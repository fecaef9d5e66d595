"""OFF-ApexNet: its layers, and what its settings do."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from microexpr import methods
from microexpr.errors import BadInput
from microexpr.methods import _torch
from microexpr.methods.off_apexnet import OFFApexNet
from microexpr.motion.flow import centered
from tests.clips import flow_clip, flow_clips

CLIPS = flow_clips(3, 3)
X = np.stack([OFFApexNet().represent(clip) for clip in CLIPS])
Y = np.arange(9) % 3
SUBJECTS = [clip.subject for clip in CLIPS]


def drawn(seed=0, **settings):
    """The untrained network of these settings with drawn weights."""
    network = OFFApexNet(**settings).network()
    _torch.initialize(network, seed)
    _torch.start_dropout(network, seed)
    return network


def test_layers():
    """Convolutions of 5x5 with a padding of 2 keep the size, each pooling halves it."""
    shapes = {layer: shape for layer, _, shape, _ in OFFApexNet().layers()}
    stream = {"conv1": (6, 28, 28), "pool1": (6, 14, 14), "conv2": (16, 14, 14), "pool2": (16, 7, 7)}
    assert shapes == {
        **{f"{component}.{layer}": shape for component in "uv" for layer, shape in stream.items()},
        **dict.fromkeys(("fc1", "dropout1", "fc2", "dropout2"), (1024,)),
        "fc3": (3,),
    }


def test_parameters():
    # By hand: two streams of 6 (25 + 1) and 16 (6 * 25 + 1), then 1024 (1568 + 1), 1024 (1024 + 1), 3 (1024 + 1).
    by_hand = 2 * (156 + 2416) + 1_606_656 + 1_049_600 + 3075
    assert by_hand == 2_664_475
    assert sum(value.numel() for value in OFFApexNet().network().parameters()) == by_hand
    assert sum(row[-1] for row in OFFApexNet().layers()) == by_hand


def test_input_is_u_and_v_around_zero_motion():
    clip = flow_clip(0, 1, "sub01")
    np.testing.assert_array_equal(OFFApexNet().represent(clip), centered(clip.flow))


def test_each_stream_sees_one_component():
    x = torch.from_numpy(X[:1]).clone().requires_grad_()
    network = drawn().eval()
    u, v = network.u(x[:, :1]), network.v(x[:, 1:])
    assert not torch.equal(u, v)
    u.sum().backward()
    assert x.grad[:, 0].abs().sum() > 0
    assert x.grad[:, 1].abs().sum() == 0


@pytest.mark.parametrize("activation", ["none", "relu"])
def test_network_is_its_list_of_layers(activation):
    """Against the layers written out one after the other."""
    network = drawn(activation=activation, dropout=0.0).eval()
    x = torch.from_numpy(X)
    state = network.state_dict()
    streams = []
    for channel, name in enumerate("uv"):
        maps = x[:, channel : channel + 1]
        for layer in ("conv1", "conv2"):
            maps = F.conv2d(maps, state[f"{name}.{layer}.weight"], state[f"{name}.{layer}.bias"], padding=2)
            maps = F.max_pool2d(maps.relu() if activation == "relu" else maps, 2)
        streams.append(maps.flatten(1))
    hidden = torch.cat(streams, 1)
    for layer in ("fc1", "fc2"):
        hidden = F.linear(hidden, state[f"{layer}.weight"], state[f"{layer}.bias"]).relu()
    expected = F.linear(hidden, state["fc3.weight"], state["fc3.bias"]).log_softmax(1)
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.train()(x), expected, rtol=1e-4, atol=1e-5)  # compiled


def test_stacked_networks_train_like_separate_ones():
    """vmap over weights: the same losses and gradients."""
    networks = [drawn(seed, dropout=0.0).train() for seed in range(3)]
    x = torch.randn(3, 5, 2, 28, 28, generator=torch.Generator().manual_seed(0))
    labels = torch.stack([torch.arange(seed, seed + 5) % 3 for seed in range(3)])
    parameters, buffers = torch.func.stack_module_state(networks)

    def loss(parameters, buffers, x, labels):
        return F.nll_loss(torch.func.functional_call(networks[0], (parameters, buffers), (x,)), labels)

    losses = torch.func.vmap(loss)(parameters, buffers, x, labels)
    losses.sum().backward()
    for number, network in enumerate(networks):
        alone = F.nll_loss(network(x[number]), labels[number])
        alone.backward()
        torch.testing.assert_close(losses[number], alone, rtol=1e-4, atol=1e-5)
        for name, value in network.named_parameters():
            torch.testing.assert_close(parameters[name].grad[number], value.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_overfits_eight_clips():
    method = OFFApexNet(epochs=20, learning_rate=1e-3).fit(X[:8], Y[:8], SUBJECTS[:8])
    assert (method.predict_proba(X[:8]).argmax(1) == Y[:8]).all()


def test_trace_is_fit():
    """After every epoch what a fit of so many epochs predicts, bit for bit; and the method is fitted afterwards."""
    method = OFFApexNet(epochs=3, batch_size=4)
    traced = method.trace(X[:7], Y[:7], SUBJECTS[:7], X[7:])
    assert traced.shape == (3, 2, 3)
    for epochs in (1, 3):
        fitted = OFFApexNet(epochs=epochs, batch_size=4).fit(X[:7], Y[:7], SUBJECTS[:7])
        np.testing.assert_array_equal(traced[epochs - 1], fitted.predict_proba(X[7:]))
    np.testing.assert_array_equal(traced[-1], method.predict_proba(X[7:]))


def test_bfloat16_stays_near_float32():
    exact, quick = (
        OFFApexNet(epochs=3, precision=precision).fit(X, Y, SUBJECTS).predict_proba(X)
        for precision in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(quick, exact, atol=0.02)
    assert np.abs(quick - exact).max() > 0


@pytest.mark.parametrize("setting", [{"activation": "relu"}, {"dropout": 0.0}, {"seed": 1}, {"batch_size": 9}])
def test_settings_change_the_fit(setting):
    default, other = (OFFApexNet(**{"epochs": 2, "batch_size": 4, **fields}) for fields in ({}, setting))
    probabilities = [method.fit(X, Y, SUBJECTS).predict_proba(X) for method in (default, other)]
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-6


def test_wrong_weights_are_refused():
    weights = OFFApexNet(epochs=1).fit(X, Y, SUBJECTS).weights()
    with pytest.raises(BadInput, match=r"fc3\.(bias|weight)"):
        OFFApexNet(classes=5).load_weights(weights)
    with pytest.raises(BadInput, match="OFFApexNet"):
        OFFApexNet().load_weights(methods.create("ststnet", epochs=1).fit(*_of_ststnet()).weights())


def _of_ststnet():
    return np.stack([methods.create("ststnet").represent(clip) for clip in CLIPS]), Y, SUBJECTS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "tanh"}, "none, relu"),
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
        methods.create("off-apexnet", **settings)
