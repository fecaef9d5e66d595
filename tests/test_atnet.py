"""ATNet against the authors' layer list; its sequence against flow computed frame by frame."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from microexpr.errors import BadInput
from microexpr.methods import _apex, _caffe
from microexpr.methods.atnet import ATNet
from microexpr.methods.micro_attention import MicroAttention
from microexpr.motion.flow import flow_between
from tests.clips import flow_clip
from tests.frame_clips import APEX, OFFSET, ONSET, NoiseFrames, frame_clip, frame_clips

SMALL = {
    **{"size": 32, "width": 4, "hidden": 8, "steps": 6, "blocks": 4},
    **{"epochs": 1, "epoch_iterations": 3, "precision": "float32"},
}


def small(**settings):
    return ATNet(**{**SMALL, **settings})


def settled(network):
    _caffe.initialize(network, 1)
    return network.eval()


def parts(method, numbers):
    """Picture and sequence of one clip."""
    size = method.size
    picture, sequence = numbers[: size**2], numbers[size**2 :]
    return picture.reshape(size, size), sequence.reshape(method.steps, 2, method.blocks, method.blocks)


class Slides:
    """A texture that moves by so many pixels to the right and down from each frame to the next; reads are noted."""

    def __init__(self, right, down, first, last):
        import cv2

        self.moves, self.numbers, self.reads = (right, down), range(first, last + 1), []
        noise = np.random.default_rng(0).uniform(0, 255, (96, 96)).astype(np.float32)
        blurred = cv2.GaussianBlur(noise, (0, 0), 3)
        self.texture = 255 * (blurred - blurred.min()) / np.ptp(blurred)

    def __len__(self):
        return len(self.numbers)

    def read(self, number):
        import cv2

        if number not in self.numbers:
            raise IndexError(number)
        self.reads.append(number)
        shift = np.array([[1, 0, -16 + self.moves[0] * number], [0, 1, -16 + self.moves[1] * number]], np.float32)
        gray = cv2.warpAffine(self.texture, shift, (64, 64), flags=cv2.INTER_CUBIC)
        return np.repeat(np.rint(gray.clip(0, 255)).astype(np.uint8)[:, :, None], 3, axis=2)


def sliding(onset, apex, offset, right=0.0, down=0.0, last=None):
    frames = Slides(right, down, onset, offset if last is None else last)
    clip = frame_clip(0, 0, "sub01")
    return dataclasses.replace(clip, onset=onset, apex=apex, offset=offset, frames=frames)


def test_shapes():
    shapes = {layer: shape for layer, _, shape, _ in ATNet().layers()}
    assert shapes["resnet.pool1"] == (64, 56, 56)
    assert shapes["resnet.stage4.last_bn"] == (512, 7, 7)
    assert shapes["lstm1"] == shapes["lstm2"] == (64, 512)
    assert shapes["dropout"] == (1024,)
    assert shapes["fc"] == (3,)
    assert not any("attention" in layer for layer in shapes)


def test_parameters():
    residual = 4_897_794  # by hand in test_micro_attention.py
    # Four gates, each with weights for the input, for the state, and PyTorch's two biases (Caffe has one).
    lstm1, lstm2 = 4 * 512 * (128 + 512 + 2), 4 * 512 * (512 + 512 + 2)
    assert sum(value.numel() for value in ATNet().network().parameters()) == residual + lstm1 + lstm2 + 3 * 1025
    assert residual + lstm1 + lstm2 + 3 * 1025 == 8_316_933


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def unrolled(layer, x):
    """An LSTM step by step, its gates in PyTorch's order: input, forget, cell, output."""
    weights = [p.detach().numpy() for p in (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)]
    hidden = cell = np.zeros(layer.hidden_size)
    outputs = []
    for step in x:
        gates = weights[0] @ step + weights[1] @ hidden + weights[2] + weights[3]
        enter, forget, new, leave = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
        hidden = sigmoid(leave) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


@pytest.mark.parametrize("features", ["polar", "uv"])
def test_the_joined_streams_are_the_layer_list_written_out(features):
    """Two LSTMs by hand, their mean over time, both streams of length 1, one linear layer."""
    network = settled(small(features=features, width=4).network())
    generator = torch.Generator().manual_seed(0)
    for layer in (network.lstm1, network.lstm2):
        nn.init.uniform_(layer.bias_ih_l0, -0.5, 0.5, generator=generator)
    x = torch.randn(1, 32 * 32 + 6 * 32, generator=generator)
    flow = x[0, 1024:].reshape(6, 2, 16).numpy()
    u, v = flow[:, 0], flow[:, 1]
    steps = np.concatenate([np.arctan2(v, u), np.sqrt(u**2 + v**2)] if features == "polar" else [u, v], 1)
    temporal = unrolled(network.lstm2, unrolled(network.lstm1, steps)).mean(0)
    spatial = network.resnet(x[:, :1024].reshape(1, 1, 32, 32))[0].detach().numpy()
    assert np.linalg.norm(spatial) == pytest.approx(1, abs=1e-5)
    joined = np.concatenate([spatial, temporal / np.linalg.norm(temporal)])
    logits = network.fc.weight.detach().numpy() @ joined + network.fc.bias.detach().numpy()
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(network(x).exp().detach().numpy()[0], expected, atol=1e-5)


def test_spatial_stream_is_that_of_micro_attention_without_masks():
    """So weights of one residual network fit both."""
    ours = {key: value.shape for key, value in ATNet().network().resnet.state_dict().items()}
    theirs = {key: value.shape for key, value in MicroAttention().network().resnet.state_dict().items()}
    assert ours == {key: shape for key, shape in theirs.items() if "attention" not in key}


def test_gradient_reaches_every_parameter():
    network = settled(small().network()).train()
    network(torch.randn(4, 1024 + 6 * 32, generator=torch.Generator().manual_seed(0)))[:, 0].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_lstm_biases_move_together_as_caffes_one_does():
    """Each at half the rate; together they are one bias at the full rate."""
    network = settled(small().network()).train()
    solver = _caffe.Solver(network, small(learning_rate=0.1, momentum=0.0))
    solver.prepare()
    network(torch.randn(4, 1024 + 6 * 32, generator=torch.Generator().manual_seed(0)))[:, 0].sum().backward()
    solver.step()
    layer = network.lstm1
    torch.testing.assert_close(layer.bias_ih_l0, layer.bias_hh_l0)
    torch.testing.assert_close(layer.bias_ih_l0 + layer.bias_hh_l0, -0.1 * layer.bias_ih_l0.grad)


def test_fillers_of_the_lstm():
    network = settled(ATNet().network())
    for layer in (network.lstm1, network.lstm2):
        assert layer.weight_ih_l0.std().item() == pytest.approx(0.1, rel=0.01)
        assert layer.weight_hh_l0.std().item() == pytest.approx(0.1, rel=0.01)
        assert not layer.bias_ih_l0.any()
        assert not layer.bias_hh_l0.any()


def test_layout_of_the_representation():
    """The apex picture, then the sequence; its last steps are the flows from frame to frame."""
    import cv2

    clip, method = frame_clip(3, 1, "sub01"), small(size=48, steps=8)
    numbers = method.represent(clip)
    assert numbers.dtype == np.float32
    assert numbers.shape == (48 * 48 + 8 * 2 * 4 * 4,)
    picture, sequence = parts(method, numbers)
    grays = [cv2.cvtColor(clip.frames.read(number), cv2.COLOR_RGB2GRAY) for number in range(ONSET, OFFSET + 1)]
    np.testing.assert_array_equal(picture, grays[APEX - ONSET])
    assert not sequence[:3].any()
    for step, (one, other) in enumerate(itertools.pairwise(grays), start=3):
        flow = flow_between(one, other, mode="tvl1").reshape(2, 4, 12, 4, 12)
        np.testing.assert_allclose(sequence[step], flow.mean((2, 4)), atol=1e-5)
    assert ATNet().represent(clip).shape == (224 * 224 + 64 * 128,)


def test_blocks_tell_which_way_everything_moves():
    method = small(size=64)
    _, sequence = parts(method, method.represent(sliding(0, 3, 5, right=0.5, down=-0.25)))
    inner = sequence[1:, :, 1:3, 1:3]
    np.testing.assert_allclose(inner[:, 0], 0.5, atol=0.06)
    np.testing.assert_allclose(inner[:, 1], -0.25, atol=0.06)


@pytest.mark.parametrize(
    ("onset", "apex", "offset", "first", "last"),
    [
        (0, 20, 40, 17, 23),  # a window of 6 steps around the apex: 7 frames
        (19, 20, 40, 19, 23),  # what lies before the onset is left out
        (0, 20, 21, 17, 21),  # and what lies behind the offset
        (0, 20, None, 17, 20),  # without an offset the apex is the end
    ],
)
def test_the_window_lies_around_the_apex_and_within_the_clip(onset, apex, offset, first, last):
    clip = sliding(onset, apex, offset, last=40 if offset is None else None)
    method = small()
    _, sequence = parts(method, method.represent(clip))
    assert sorted(clip.frames.reads) == list(range(first, last + 1))
    flows = last - first
    assert not sequence[: method.steps - flows].any()


def test_clips_too_short_or_without_their_numbers_are_refused():
    clip = frame_clip(0, 0, "sub01")
    for changes, message in (
        ({"onset": APEX, "offset": None}, "at least 2 frames"),
        ({"onset": APEX, "offset": APEX}, "at least 2 frames"),
        ({"onset": None}, "an onset"),
        ({"apex": None}, "an apex"),
    ):
        with pytest.raises(BadInput, match=message):
            small().represent(dataclasses.replace(clip, **changes))
    with pytest.raises(BadInput, match="a clip with frames"):
        small().represent(flow_clip(0, 0, "sub01"))


def test_two_frames_are_enough():
    clip = dataclasses.replace(frame_clip(0, 0, "sub01"), onset=APEX - 1, offset=APEX)
    _, sequence = parts(small(), small().represent(clip))
    assert sequence[-1].any()
    assert not sequence[:-1].any()


@dataclasses.dataclass(frozen=True)
class Mirrored:
    """The frames of a clip seen in a mirror."""

    frames: NoiseFrames

    def __len__(self):
        return len(self.frames)

    def read(self, number):
        return self.frames.read(number)[:, ::-1].copy()


def test_a_mirrored_batch_is_the_batch_of_mirrored_clips():
    """Picture and flow alike; what the other changes do to the flow is nothing."""
    method = small(size=48)
    clip = frame_clip(2, 1, "sub01")
    other = method.represent(dataclasses.replace(clip, frames=Mirrored(clip.frames)))
    x = torch.from_numpy(method.represent(clip))[None].repeat(2, 1)
    draws = torch.tensor([True, False]), torch.tensor([0.0, 5.0]), torch.tensor([0, 3])
    mirrored, changed = method.batch(x, torch.arange(2), draws, torch.float32).numpy()
    np.testing.assert_allclose(parts(method, mirrored)[0], parts(method, other)[0], atol=1e-3)
    np.testing.assert_allclose(parts(method, mirrored)[1], parts(method, other)[1], atol=0.05)  # the solver's own
    assert np.abs(parts(method, other)[1]).max() > 0.2
    np.testing.assert_array_equal(parts(method, changed)[1], parts(method, x[0].numpy())[1])
    assert np.abs(parts(method, changed)[0] - parts(method, x[0].numpy())[0]).max() > 3


def test_mirroring_twice_changes_nothing():
    flow = torch.randn(3, 6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    drawn = torch.tensor([True, False, True])
    once = _apex.mirrored_flow(flow, drawn)
    torch.testing.assert_close(once[1], flow[1])
    torch.testing.assert_close(once[0, :, 0], -flow[0, :, 0].flip(-1))
    torch.testing.assert_close(once[0, :, 1], flow[0, :, 1].flip(-1))
    torch.testing.assert_close(_apex.mirrored_flow(once, drawn), flow)


def test_no_motion_has_no_direction_in_a_mirror_either():
    """-0 to the right is atan2's half turn: a step that lacks must stay all zero."""
    u, v = _apex.mirrored_flow(torch.zeros(1, 6, 2, 4, 4), torch.tensor([True])).unbind(2)
    assert not torch.atan2(v, u).any()


def test_settings_change_the_fit():
    clips, y = frame_clips(2, 3), np.arange(6) % 3
    x = np.stack([small().represent(clip) for clip in clips])
    plain = small().fit(x, y, ["a"] * 6).predict_proba(x)
    for settings in ({"features": "uv"}, {"dropout": 0.0}, {"hidden": 9}):
        assert np.abs(plain - small(**settings).fit(x, y, ["a"] * 6).predict_proba(x)).max() > 1e-6, settings


def test_bfloat16_stays_near_float32():
    clips, y = frame_clips(2, 3), np.arange(6) % 3
    x = np.stack([small().represent(clip) for clip in clips])
    exact, quick = (
        small(precision=precision, epoch_iterations=1).fit(x, y, ["a"] * 6).predict_proba(x)
        for precision in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(quick, exact, atol=0.03)


def test_weights_of_a_residual_network_alone_begin_a_fit(tmp_path):
    """What was trained by the other method serves the spatial stream; the LSTM stays as drawn."""
    settings = {"size": 32, "width": 4, "epochs": 1, "epoch_iterations": 1}
    other = MicroAttention(**settings)
    x = np.stack([other.represent(clip) for clip in frame_clips(2, 3)])
    other.fit(x, np.arange(6) % 3, ["a"] * 6)
    file = tmp_path / "start.pt"
    torch.save(other.network_.state_dict(), file)
    method = small(learning_rate=0, initial_weights=str(file))
    fitted = method.fit(np.stack([method.represent(clip) for clip in frame_clips(2, 3)]), np.arange(6) % 3, ["a"] * 6)
    kernel = fitted.network_.resnet.stage3.conv2.weight
    assert torch.equal(kernel, other.network_.resnet.stage3.conv2.weight)
    drawn = small(learning_rate=0).fit(np.zeros((6, 1024 + 192), np.float32), np.arange(6) % 3, ["a"] * 6)
    assert torch.equal(fitted.network_.lstm1.weight_ih_l0, drawn.network_.lstm1.weight_ih_l0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": "flow"}, "features"),
        ({"flow_mode": "farneback"}, "flow_mode"),
        ({"steps": 0}, "steps"),
        ({"blocks": 40}, "blocks"),
        ({"hidden": 0}, "hidden"),
        ({"dropout": 1.0}, "dropout"),
        ({"size": 16}, "size"),
    ],
)
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(BadInput, match=message):
        ATNet(**settings)
