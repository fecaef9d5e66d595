"""STSTNet: its layers, the compiled first block inside the network, and what the authors' code does."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from microexpr import datasets, methods
from microexpr.errors import BadInput
from microexpr.methods import _torch
from microexpr.methods.ststnet import BatchNorm, STSTNet
from tests.clips import flow_clip, flow_clips

# What the authors' PyTorch code stores: name -> shape.
STATE = {"fc.weight": (3, 400), "fc.bias": (3,)}
for stream, filters in enumerate((3, 5, 8), start=1):
    STATE |= {f"conv{stream}.weight": (filters, 3, 3, 3), f"conv{stream}.bias": (filters,)}
    STATE |= {f"bn{stream}.{name}": (filters,) for name in ("weight", "bias", "running_mean", "running_var")}
    STATE |= {f"bn{stream}.num_batches_tracked": ()}

PUBLISHED = os.environ.get("MICROEXPR_MEGC2019_FLOW", "")
CLIPS = flow_clips(3, 3)
X = np.stack([STSTNet().represent(clip) for clip in CLIPS])
Y = np.arange(9) % 3
SUBJECTS = [clip.subject for clip in CLIPS]


def drawn(seed=0, *, plain=False, dropout=0.0):
    """A network with drawn weights, those of the batch normalization of both signs."""
    network = STSTNet(dropout=dropout).network()
    _torch.initialize(network, seed)
    _torch.start_dropout(network, seed)
    network.plain = plain
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, BatchNorm):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
                layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator))
    return network.train()


def pictures(clips, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (clips, 3, 28, 28)).astype(np.uint8))


def test_layers():
    """Sizes by hand: 28 + 2 * 2 - 2 = 30, pooled by 3 with a padding of 1 to 10, averaged by 2 to 5."""
    shapes = {layer: shape for layer, _, shape, _ in STSTNet().layers()}
    assert shapes == {
        **{f"conv{k}": (filters, 30, 30) for k, filters in ((1, 3), (2, 5), (3, 8))},
        **{f"bn{k}": (filters, 30, 30) for k, filters in ((1, 3), (2, 5), (3, 8))},
        **{f"pool{k}": (filters, 10, 10) for k, filters in ((1, 3), (2, 5), (3, 8))},
        "dropout": (16, 10, 10),
        "average": (16, 5, 5),
        "fc": (3,),
    }


def test_parameters():
    # By hand: 16 filters of 3 * 9 + 1, scale and shift of 16 channels, 3 (400 + 1).
    assert 16 * 28 + 2 * 16 + 3 * 401 == 1683
    assert sum(value.numel() for value in STSTNet().network().parameters()) == 1683
    assert sum(row[-1] for row in STSTNet().layers()) == 1683


def test_input_is_the_published_picture_as_opencv_reads_it():
    clip = flow_clip(0, 1, "sub01")
    np.testing.assert_array_equal(STSTNet().represent(clip), clip.flow.channels[[2, 1, 0]])
    assert STSTNet().represent(clip).dtype == np.uint8


@pytest.mark.skipif(not PUBLISHED, reason="needs the published maps: set MICROEXPR_MEGC2019_FLOW")
def test_input_is_opencvs_own_reading_of_a_published_file():
    import cv2

    root = Path(PUBLISHED)
    clips = datasets.load("megc2019-flow", root=root).clips[:3]
    files = {cv2.imread(str(file)).transpose(2, 0, 1).tobytes() for file in root.rglob("*.png")}
    for clip in clips:
        assert STSTNet().represent(clip).tobytes() in files


@pytest.mark.parametrize("clips", [1, 7])
@pytest.mark.parametrize("fill", [None, 0, 200])
def test_the_compiled_block_is_pytorchs_layers(clips, fill):
    """Probabilities, gradients and running statistics of a training step, and what is predicted after it."""
    x = pictures(clips) if fill is None else torch.full((clips, 3, 28, 28), fill, dtype=torch.uint8)
    labels = torch.arange(clips) % 3
    compiled, plain = drawn(), drawn(plain=True)
    outputs = [network(x) for network in (compiled, plain)]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    for output in outputs:
        F.nll_loss(output, labels).backward()
    for (name, one), other in zip(compiled.named_parameters(), plain.parameters(), strict=True):
        # The same number everywhere has no variance: dividing by it makes 1e-4 of rounding, in float64 1e-13.
        tolerance = 1e-3 if fill is not None and "conv" in name else 1e-5
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=tolerance, msg=name)
    for (name, one), other in zip(compiled.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4, msg=name)
    with torch.inference_mode():
        torch.testing.assert_close(compiled.eval()(x), plain.eval()(x), rtol=1e-4, atol=1e-5)


def test_a_weight_of_zero_pools_the_first_position():
    """Normalization by a weight of 0 makes all of a window equal; its gradient is that of the first position."""
    networks = [drawn(), drawn(plain=True)]
    for network in networks:
        with torch.no_grad():
            network.bn2.weight[1] = 0
        F.nll_loss(network(pictures(4)), torch.tensor([0, 1, 2, 0])).backward()
    torch.testing.assert_close(networks[0].bn2.weight.grad, networks[1].bn2.weight.grad, rtol=1e-4, atol=1e-6)


def test_statistics_leave_out_what_is_not_counted():
    """A batch filled up with rows that do not count trains like the batch itself; only such rows change nothing."""
    whole, filled = drawn(plain=True), drawn(plain=True)
    x, labels = pictures(5), torch.tensor([0, 1, 2, 0, 1])
    expected = whole(x)
    counted = torch.tensor([1.0, 1, 1, 1, 1, 0, 0])
    found = filled(torch.cat([x, pictures(2, seed=9)]), counted)[:5]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for output in (expected, found):
        F.nll_loss(output, labels).backward()
    for one, other in zip(whole.parameters(), filled.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)
    for one, other in zip(whole.buffers(), filled.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    before = [value.clone() for value in filled.buffers()]
    assert torch.isfinite(filled(x, torch.zeros(5))).all()
    assert all(torch.equal(one, other) for one, other in zip(before, filled.buffers(), strict=True))


def test_stacked_networks_train_like_separate_ones():
    """vmap over weights and running statistics: the same losses, gradients and statistics, rows of padding left out."""
    networks = [drawn(seed, plain=True) for seed in range(3)]
    x = torch.stack([pictures(6, seed) for seed in range(3)])
    labels = torch.stack([torch.arange(seed, seed + 6) % 3 for seed in range(3)])
    counted = torch.ones(3, 6)
    counted[1, 4:] = 0
    parameters, buffers = torch.func.stack_module_state(networks)

    def loss(parameters, buffers, x, labels, counted):
        output = torch.func.functional_call(networks[0], (parameters, buffers), (x, counted))
        return (F.nll_loss(output, labels, reduction="none") * counted).sum() / counted.sum()

    losses = torch.func.vmap(loss)(parameters, buffers, x, labels, counted)
    losses.sum().backward()
    for number, network in enumerate(networks):
        rows = counted[number] > 0
        alone = F.nll_loss(network(x[number, rows]), labels[number, rows])
        alone.backward()
        torch.testing.assert_close(losses[number], alone, rtol=1e-4, atol=1e-5)
        for name, value in network.named_parameters():
            torch.testing.assert_close(parameters[name].grad[number], value.grad, rtol=1e-3, atol=1e-4, msg=name)
        for name, value in network.named_buffers():
            torch.testing.assert_close(buffers[name][number], value, rtol=1e-4, atol=1e-4, msg=name)


def test_overfits_eight_clips():
    method = STSTNet(epochs=60, learning_rate=3e-3, dropout=0.0).fit(X[:8], Y[:8], SUBJECTS[:8])
    assert (method.predict_proba(X[:8]).argmax(1) == Y[:8]).all()


def test_trace_is_fit():
    """After every epoch what a fit of so many epochs predicts, bit for bit; and the method is fitted afterwards."""
    settings = {"batch_size": 4, "learning_rate": 1e-3}
    method = STSTNet(epochs=3, **settings)
    traced = method.trace(X[:7], Y[:7], SUBJECTS[:7], X[7:])
    assert traced.shape == (3, 2, 3)
    for epochs in (1, 3):
        fitted = STSTNet(epochs=epochs, **settings).fit(X[:7], Y[:7], SUBJECTS[:7])
        np.testing.assert_array_equal(traced[epochs - 1], fitted.predict_proba(X[7:]))
    np.testing.assert_array_equal(traced[-1], method.predict_proba(X[7:]))


def test_the_clips_are_given_class_after_class():
    """As the authors' code reads them; in the order of the data set within a class."""
    rows = np.argsort(Y, kind="stable")
    assert (rows != np.arange(len(Y))).any()
    settings = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-3}
    of_the_set = STSTNet(**settings, by_class=False)
    expected = of_the_set.fit(X[rows], Y[rows], SUBJECTS).predict_proba(X)
    np.testing.assert_array_equal(STSTNet(**settings).fit(X, Y, SUBJECTS).predict_proba(X), expected)
    assert np.abs(of_the_set.fit(X, Y, SUBJECTS).predict_proba(X) - expected).max() > 1e-6


@pytest.mark.parametrize(
    "setting", [{"shuffle": True}, {"by_class": False}, {"dropout": 0.0}, {"seed": 1}, {"learning_rate": 1e-3}]
)
def test_settings_change_the_fit(setting):
    settings = {"epochs": 2, "batch_size": 4, **setting}
    default, other = (STSTNet(**{"epochs": 2, "batch_size": 4, **s}) for s in ({}, settings))
    probabilities = [method.fit(X, Y, SUBJECTS).predict_proba(X) for method in (default, other)]
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-6


def test_weights_have_the_names_of_the_authors_code():
    method = STSTNet(epochs=1).fit(X, Y, SUBJECTS)
    weights = method.weights()
    assert {name: value.shape for name, value in weights.items()} == STATE
    assert int(weights["bn1.num_batches_tracked"]) == 1
    for counts in (True, False):
        given = {name: value for name, value in weights.items() if counts or "num_batches" not in name}
        loaded = STSTNet().load_weights(given)
        np.testing.assert_array_equal(loaded.predict_proba(X), method.predict_proba(X))


def test_a_state_of_the_authors_gives_what_their_layers_give():
    """Against the network as the authors write it: three nn.Sequential streams of PyTorch's own layers."""
    generator = np.random.default_rng(4)
    state = {name: generator.normal(size=shape).astype(np.float32) / 10 for name, shape in STATE.items()}
    state |= {name: np.abs(value) + 1 for name, value in state.items() if "running_var" in name}
    state = {name: value for name, value in state.items() if "num_batches" not in name}
    tensors = {name: torch.from_numpy(value) for name, value in state.items()}
    streams = []
    for k in (1, 2, 3):
        maps = F.relu(F.conv2d(torch.from_numpy(X).float(), tensors[f"conv{k}.weight"], tensors[f"conv{k}.bias"], 1, 2))
        statistics = (tensors[f"bn{k}.running_mean"], tensors[f"bn{k}.running_var"])
        maps = F.batch_norm(maps, *statistics, tensors[f"bn{k}.weight"], tensors[f"bn{k}.bias"])
        streams.append(F.max_pool2d(maps, 3, 3, 1))
    joined = F.avg_pool2d(torch.cat(streams, 1), 2).flatten(1)
    expected = F.linear(joined, tensors["fc.weight"], tensors["fc.bias"]).softmax(1).numpy()
    np.testing.assert_allclose(STSTNet().load_weights(state).predict_proba(X), expected, rtol=1e-4, atol=1e-6)


def test_wrong_weights_are_refused():
    weights = STSTNet(epochs=1).fit(X, Y, SUBJECTS).weights()
    with pytest.raises(BadInput, match=r"fc\.(bias|weight)"):
        STSTNet(classes=5).load_weights(weights)
    with pytest.raises(BadInput, match="STSTNet"):
        STSTNet().load_weights({name: value for name, value in weights.items() if name != "bn2.running_var"})
    with pytest.raises(BadInput, match="STSTNet"):
        STSTNet().load_weights({**weights, "conv4.weight": weights["conv1.weight"]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": "0"}, "epochs"),
        ({"batch_size": "0"}, "batch_size"),
        ({"learning_rate": "-1"}, "learning_rate"),
        ({"dropout": "1"}, "dropout"),
        ({"shuffle": "2"}, "shuffle"),
        ({"by_class": 1.5}, "by_class"),
        ({"classes": "1"}, "classes"),
        ({"threads": "0"}, "threads"),
        ({"seed": "-1"}, "seed"),
        ({"flow_mode": "farneback"}, "flow_mode"),
        ({"device": "cuda:99"}, "CUDA"),
    ],
)
def test_a_wrong_setting_is_told(settings, message):
    with pytest.raises(BadInput, match=message):
        methods.create("ststnet", **settings)
