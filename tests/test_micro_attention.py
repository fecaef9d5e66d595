"""Micro-attention against the authors' layer list, and Caffe's way of training against its equations."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from microexpr.errors import BadInput
from microexpr.methods import _apex, _caffe, _resnet10
from microexpr.methods.micro_attention import MicroAttention
from tests.clips import flow_clip
from tests.frame_clips import APEX, frame_clip, frame_clips

# Channels and places after every stage, by hand: 7x7/2 halves 224 to 112, the pooling rounds (112 - 3) / 2 + 1 = 55.5
# up to 56, then one stage keeps it and three halve it.
STAGES = {"stage1": (64, 56, 56), "stage2": (128, 28, 28), "stage3": (256, 14, 14), "stage4": (512, 7, 7)}
SMALL = {"size": 32, "width": 4, "epochs": 1, "epoch_iterations": 3, "precision": "float32"}


def settled(network, seed=1):
    _caffe.initialize(network, seed)
    return network.eval()


def small(**settings):
    return MicroAttention(**{**SMALL, **settings})


def test_shapes():
    shapes = {layer: shape for layer, _, shape, _ in MicroAttention().layers()}
    assert shapes["resnet.conv1"] == (64, 112, 112)
    assert shapes["resnet.pool1"] == (64, 56, 56)
    for stage, shape in STAGES.items():
        for layer in ("conv1", "bn2", "conv2", "attention"):
            assert shapes[f"resnet.{stage}.{layer}"] == shape
    assert shapes["fc"] == (3,)


def test_parameters():
    # By hand; a normalization has 2 numbers for each channel, no convolution but the first has a bias.
    start = 2 + 64 * (49 + 1) + 2 * 64
    stage1 = 2 * 9 * 64 * 64 + 2 * 64

    def stage(inputs, channels):
        return 2 * inputs + 9 * inputs * channels + 2 * channels + 9 * channels**2 + inputs * channels

    residual = start + stage1 + stage(64, 128) + stage(128, 256) + stage(256, 512) + 2 * 512
    masks = 3 * (64**2 + 128**2 + 256**2 + 512**2)  # 3C to C; the second 1x1 convolution is fixed, not learned
    head = 3 * (512 + 1)
    assert residual == 4_897_794
    assert masks == 1_044_480
    network = MicroAttention().network()
    assert sum(value.numel() for value in network.parameters()) == residual + masks + head == 5_943_813
    assert sum(value.numel() for value in MicroAttention(classes=5).network().parameters()) == 5_943_813 + 2 * 513


def test_attention_is_the_two_convolutions_written_out():
    """3C to C, then to 1 with weights 1/C, sigmoid: out = S + M S."""
    unit = _resnet10.MicroAttention(6)
    generator = torch.Generator().manual_seed(0)
    nn.init.normal_(unit.weight, generator=generator)
    total, *parts = torch.randn(4, 2, 6, 5, 5, generator=generator)
    joined = F.conv2d(torch.cat(parts, 1), unit.weight)
    mask = torch.sigmoid(F.conv2d(joined, torch.full((1, 6, 1, 1), 1 / 6)))
    torch.testing.assert_close(unit(total, *parts), total + mask * total)


def normalized(x, layer):
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=1e-5)


def masked(total, parts, unit):
    mask = F.conv2d(torch.cat(parts, 1), unit.weight).mean(1, keepdim=True).sigmoid()
    return total + mask * total


def test_the_network_is_the_layer_list_written_out():
    """Every layer in order, on drawn weights and drawn statistics of the normalizations."""
    network = settled(small().network())
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values, low in ((layer.weight.data, 0.5), (layer.bias.data, -0.5)):
                nn.init.uniform_(values, low, low + 1, generator=generator)
            nn.init.uniform_(layer.running_mean, -0.5, 0.5, generator=generator)
            nn.init.uniform_(layer.running_var, 0.5, 1.5, generator=generator)
    pictures = torch.randn(2, 1, 33, 33, generator=generator)
    net = network.resnet
    x = F.conv2d(normalized(pictures, net.data_bn), net.conv1.weight, net.conv1.bias, stride=2, padding=3)
    x = F.max_pool2d(F.pad(F.relu(normalized(x, net.bn1)), (0, 1, 0, 1)), 3, 2)  # 17: Caffe's 8 places
    assert x.shape[2:] == (8, 8)
    for number, stage in enumerate((net.stage1, net.stage2, net.stage3, net.stage4), start=1):
        stride = 1 if number == 1 else 2
        active = x if number == 1 else F.relu(normalized(x, stage.bn1))
        shortcut = active if number == 1 else F.conv2d(active, stage.expand.weight, stride=2)
        first = F.relu(normalized(F.conv2d(active, stage.conv1.weight, stride=stride, padding=1), stage.bn2))
        second = F.conv2d(first, stage.conv2.weight, padding=1)
        total = shortcut + second
        if number == 4:
            total = F.relu(normalized(total, stage.last_bn))
        x = masked(total, (shortcut, first, second), stage.attention)
    features = x.mean((2, 3))
    features = features / features.norm(dim=1, keepdim=True)
    expected = F.linear(features, network.fc.weight, network.fc.bias).log_softmax(1)
    torch.testing.assert_close(network(pictures), expected)


def test_pooling_rounds_up_as_caffe_does():
    """A row of 6 has a third window that hangs over its end: ceil((6 - 3) / 2) + 1 = 3."""
    pool = _resnet10.ResNet10(2, attention=False).pool1
    row = torch.arange(36.0).reshape(1, 1, 6, 6)
    torch.testing.assert_close(pool(row)[0, 0, -1], torch.tensor([32.0, 34.0, 35.0]))


def test_gradient_reaches_every_parameter():
    network = settled(small().network()).train()
    network(torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)))[:, 0].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_fillers():
    network = settled(MicroAttention().network())
    conv, mask = network.resnet.stage4.conv2.weight, network.resnet.stage4.attention.weight
    assert conv.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    assert mask.std().item() == pytest.approx((2 / (3 * 512)) ** 0.5, rel=0.01)
    assert network.resnet.conv1.weight.std().item() == pytest.approx((2 / (49 * 64)) ** 0.5, rel=0.05)  # counts outputs
    assert network.fc.weight.abs().max().item() <= (3 / 512) ** 0.5
    assert (network.fc.bias == 0.2).all()
    assert (network.resnet.conv1.bias == 0).all()


def test_represents_the_apex_in_gray_levels():
    import cv2

    clip = frame_clip(3, 1, "sub01")
    picture = MicroAttention(size=48).represent(clip)
    np.testing.assert_array_equal(picture, cv2.cvtColor(clip.frames.read(APEX), cv2.COLOR_RGB2GRAY))
    assert picture.dtype == np.uint8
    assert MicroAttention().represent(clip).shape == (224, 224)
    averaged = picture.reshape(24, 2, 24, 2).mean((1, 3))
    np.testing.assert_allclose(_apex.gray(clip.frames.read(APEX), 24), averaged, atol=1)


def test_clips_without_frames_or_apex_are_refused():
    import dataclasses

    with pytest.raises(BadInput, match="a clip with frames"):
        small().represent(flow_clip(0, 0, "sub01"))
    with pytest.raises(BadInput, match="a clip with an apex"):
        small().represent(dataclasses.replace(frame_clip(0, 0, "sub01"), apex=None))


def draws(mirrored=False, degrees=0.0, levels=0):
    return torch.tensor([mirrored]), torch.tensor([degrees]), torch.tensor([levels])


def test_augmentation_mirrors_turns_and_shifts():
    picture = torch.rand(1, 1, 33, 33, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_apex.augmented(picture, draws()), picture, atol=1e-5, rtol=0)
    torch.testing.assert_close(_apex.augmented(picture, draws(mirrored=True)), picture.flip(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(_apex.augmented(picture, draws(levels=-7)), picture - 7, atol=1e-5, rtol=0)
    quarter = _apex.augmented(picture, draws(degrees=90.0))
    torch.testing.assert_close(quarter, torch.rot90(picture, 1, (2, 3)), atol=1e-5, rtol=0)
    both = _apex.augmented(picture, draws(True, 90.0))
    torch.testing.assert_close(both, torch.rot90(picture.flip(3), 1, (2, 3)), atol=1e-5, rtol=0)


def test_each_change_happens_with_its_probability():
    mirrored, degrees, levels = _apex.draw(MicroAttention(), 20_000, torch.Generator().manual_seed(0))
    for changed in (mirrored, degrees != 0, levels != 0):
        assert changed.float().mean().item() == pytest.approx(0.5, abs=0.03)  # a shift of 0 levels: one in 21
    assert degrees.abs().max() <= 5
    assert degrees.abs().max() > 4.9
    assert set(levels.tolist()) == set(range(-10, 11))
    both = (mirrored & (degrees != 0)).float().mean().item()
    assert both == pytest.approx(0.25, abs=0.02)  # each on its own
    none = _apex.draw(MicroAttention(augmentation=0), 50, torch.Generator().manual_seed(0))
    assert not any(drawn.any() for drawn in none)


def test_the_list_is_balanced():
    y = torch.tensor([0] * 7 + [1] * 3 + [2])
    rows = _caffe.listed(y, True, torch.Generator().manual_seed(0))
    assert torch.bincount(y[rows]).tolist() == [7, 7, 7]
    assert set(rows.tolist()) == set(range(11))
    assert _caffe.listed(y, False, torch.Generator()).tolist() == list(range(11))


def test_batches_go_through_the_whole_list_again_and_again():
    y = torch.arange(10) % 2
    feed = _caffe.batches(small(batch_size=4), y, torch.Generator().manual_seed(0))
    rows = torch.cat([next(feed)[0] for _ in range(5)])  # 20 rows: the list twice
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_solver_follows_caffes_equations():
    """Against numbers computed one by one, over a fall of the rate."""
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(2.0)
        layer.bias.fill_(1.0)
    settings = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.5, "step": 2, "gamma": 0.1}
    solver = _caffe.Solver(layer, small(**settings))
    w, b, v, vb = 2.0, 1.0, 0.0, 0.0
    for iteration in range(4):
        solver.prepare()
        (3 * layer.weight.sum() + 5 * layer.bias.sum()).backward()
        solver.step()
        rate = 0.1 * 0.1 ** (iteration // 2)
        v = 0.9 * v + rate * (3 + 0.5 * w)
        vb = 0.9 * vb + 2 * rate * 5  # twice the rate, no decay
        w, b = w - v, b - vb
        assert layer.weight.item() == pytest.approx(w, rel=1e-5)
        assert layer.bias.item() == pytest.approx(b, rel=1e-5)


def test_running_statistics_follow_caffes():
    """Sums in which the past fades by a factor, divided by the same sum of ones."""
    layer = nn.BatchNorm2d(1)
    solver = _caffe.Solver(layer, small(average_fraction=0.7))
    total = ones = 0.0
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        x = torch.randn(4, 1, 3, 3, generator=generator) + 2
        solver.prepare()
        layer(x).sum().backward()
        solver.step()
        total, ones = 0.7 * total + x.mean().item(), 0.7 * ones + 1
        assert layer.running_mean.item() == pytest.approx(total / ones, rel=1e-5)


def test_learns_2500_iterations_whose_rate_falls_four_times():
    method = MicroAttention()
    assert method.epochs * method.epoch_iterations == 2500
    rates = [method.learning_rate * method.gamma ** (iteration // method.step) for iteration in (0, 499, 500, 2499)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 1e-6])


def test_settings_of_the_training_change_it():
    clips = frame_clips(2, 3)
    x = np.stack([small().represent(clip) for clip in clips])
    y = np.array([0, 0, 0, 0, 1, 2])
    plain = small().fit(x, y, ["a"] * 6).predict_proba(x)
    for settings in (
        {"augmentation": 0.0},
        {"rotation": 0.0},
        {"color_shift": 0},
        {"balance": False},
        {"momentum": 0.0},
        {"weight_decay": 0.1},
        {"step": 1},
        {"average_fraction": 0.1},
        {"epoch_iterations": 4},
    ):
        other = small(**settings).fit(x, y, ["a"] * 6).predict_proba(x)
        assert np.abs(plain - other).max() > 1e-7, settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 31}, "size"),
        ({"width": 0}, "width"),
        ({"epoch_iterations": 0}, "epoch_iterations"),
        ({"augmentation": 1.5}, "augmentation"),
        ({"momentum": 1.0}, "momentum"),
        ({"average_fraction": 1.0}, "average_fraction"),
        ({"precision": "float64"}, "precision"),
        ({"device": "cuda:99"}, "CUDA"),
        ({"step": 0}, "step"),
        ({"size": 34, "batch_size": 1}, "a batch_size of at least 2 for pictures of up to 34 pixels"),
    ],
)
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(BadInput, match=message):
        MicroAttention(**settings)


def test_diverging_training_is_told():
    from microexpr.errors import MicroexprError

    x = np.stack([small().represent(clip) for clip in frame_clips(2, 3)])
    with pytest.raises(MicroexprError, match="diverged"):
        small(learning_rate=1e30, epoch_iterations=6).fit(x, np.arange(6) % 3, ["a"] * 6)


def test_global_randomness_is_neither_used_nor_touched():
    x = np.stack([small().represent(clip) for clip in frame_clips(2, 3)])
    y = np.arange(6) % 3
    first = small().fit(x, y, ["a"] * 6).predict_proba(x)
    torch.rand(10)
    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(first, small().fit(x, y, ["a"] * 6).predict_proba(x))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("size", [32, 34, 35])
def test_a_batch_of_one_clip_needs_last_maps_of_several_pixels(size):
    from microexpr.methods._caffe import ONE_PIXEL

    maps = [shape for layer, _, shape, _ in MicroAttention(size=size, width=4).layers() if layer.endswith("last_bn")]
    assert (maps[-1][1:] == (1, 1)) == (size <= ONE_PIXEL)


@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 1), (40, 40, 4)])
def test_frames_without_three_colors_are_told(shape):
    class Shaped:
        def __len__(self):
            return 6

        def read(self, number):
            return np.zeros(shape, np.uint8)

    with pytest.raises(BadInput, match=f"height x width x 3, got {' x '.join(map(str, shape))}"):
        small().represent(dataclasses.replace(frame_clips(1, 1)[0], frames=Shaped()))
