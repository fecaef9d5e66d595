"""MJFN against the paper's tables and equations."""

import numpy as np
import pytest
import torch

from microexpr import methods
from microexpr.methods import _torch
from microexpr.methods.mjfn import MJFN
from microexpr.motion.color import flow_to_color
from microexpr.motion.flow import clip_flow
from tests.clips import flow_clip, flow_clips

# Table 1 of Li et al. 2021, "height x width x channels" turned to PyTorch's order.
TABLE_1 = {
    "conv1": (48, 54, 54),
    "pool1": (48, 26, 26),
    "conv2": (128, 26, 26),
    "pool2": (128, 12, 12),
    "conv3": (128, 12, 12),
    "conv4": (128, 12, 12),
    "conv5": (128, 12, 12),
    "pool3": (128, 5, 5),
    "fc1": (256,),
    "fc2": (256,),
    "fc3": (3,),
}


def settled(method):
    """The untrained network of a method with drawn weights."""
    network = method.network()
    _torch.initialize(network, 1)
    return network.eval()


@pytest.mark.parametrize("name", ["mjfn", "mjfn-avg", "mjfn-bbn"])
def test_shapes_are_those_of_table_1(name):
    shapes = {layer: shape for layer, _, shape, _ in methods.create(name).layers()}
    assert {layer: shapes[layer] for layer in TABLE_1} == TABLE_1


def test_parameters():
    # By hand. Backbone: 48(3*121+1) + 128(48*25+1) + 3*128(128*9+1) + 256(3200+1) + 256(256+1) + 3(256+1).
    backbone = 17_472 + 153_728 + 3 * 147_584 + 819_456 + 65_792 + 771
    # A joint feature module: 128(128+1) + 256(3200+1) + 3(256+1); from layer 1 the projection has 48 inputs.
    module = 16_512 + 819_456 + 771

    def parameters(**settings):
        return sum(value.numel() for value in MJFN(**settings).network().parameters())

    assert parameters(taps=(), fusion="none") == backbone == 1_499_971
    assert parameters() == backbone + 3 * module == 4_010_188
    assert parameters(taps=(4, 3, 2, 1)) == backbone + 4 * module - 128 * 80
    assert parameters(project_top=True) == backbone + 3 * module + 16_512


@pytest.mark.parametrize("taps", [(), (4,), (4, 3), (4, 3, 2), (4, 3, 2, 1), (2,)])
def test_ablation_of_figure_5_runs(taps):
    network = settled(MJFN(taps=taps))
    log_probabilities = network(torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert log_probabilities.shape == (2, 3)
    torch.testing.assert_close(log_probabilities.exp().sum(1), torch.ones(2))
    assert list(network.joint) == [f"layer{tap}" for tap in taps]


def test_fusion_follows_equations_10_to_12():
    """For the same weights: softmax of the sum of decisions, their mean, and the same class from both."""
    x = torch.randn(5, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    softmax, mean = settled(MJFN(fusion="softmax")), settled(MJFN(fusion="mean"))
    mean.load_state_dict(softmax.state_dict())
    decided, averaged = softmax(x).exp(), mean(x).exp()
    torch.testing.assert_close(decided, (4 * averaged).softmax(1))
    assert (decided.argmax(1) == averaged.argmax(1)).all()


def test_joint_feature_module_follows_equations_7_to_9():
    """Against the equations written out: 1x1 convolution of X^l, plus X^5, ReLU, pooling, two linear layers."""
    module = settled(MJFN(taps=(2,))).joint["layer2"]
    generator = torch.Generator().manual_seed(0)
    tapped, top = torch.randn(2, 2, 128, 12, 12, generator=generator)
    projected = torch.einsum("oc,bchw->bohw", module.project.weight[:, :, 0, 0], tapped)
    joined = torch.relu(projected + module.project.bias[:, None, None] + top)
    pooled = joined.unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5)).flatten(1)
    hidden = torch.relu(pooled @ module.fc1.weight.T + module.fc1.bias)
    torch.testing.assert_close(module(tapped, top), hidden @ module.fc2.weight.T + module.fc2.bias)


def test_saturation_of_the_fused_loss():
    """Four certain decisions still cost -ln(e^4 / (e^4 + 2)) = 0.036 (computed by hand)."""
    network = settled(MJFN())
    with torch.no_grad():
        for layer in (network.fc3, *(module.fc2 for module in network.joint.values())):
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor([100.0, 0.0, 0.0]))
    log_probabilities = network(torch.zeros(1, 3, 224, 224))
    assert -log_probabilities[0, 0].item() == pytest.approx(0.036, abs=5e-4)


def test_gradient_reaches_every_parameter():
    network = settled(MJFN(taps=(4, 3, 2, 1), project_top=True)).train()
    network(torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)))[:, 0].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_color_representation_is_the_flow_picture():
    clip = flow_clip(0, 1, "sub01")
    picture = MJFN().represent(clip)
    assert picture.shape == (1, 224, 224, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[0], flow_to_color(clip_flow(clip, size=224)))


def test_mirror_view_negates_u():
    """A mirrored face moves the other way sideways: view 1 of a clip is view 0 of the mirrored clip."""
    clip = flow_clip(0, 1, "sub01")
    maps = MJFN(representation="uvs", augmentation="mirror").represent(clip).astype(np.float32)
    assert maps.shape == (2, 224, 224, 3)
    np.testing.assert_allclose(maps[1, :, ::-1, 0], -maps[0, :, :, 0], atol=1e-3)
    np.testing.assert_allclose(maps[1, :, ::-1, 1:], maps[0, :, :, 1:], atol=1e-3)
    colors = MJFN(augmentation="mirror").represent(clip)
    flow = clip_flow(clip, size=224)[:, :, ::-1].copy()
    flow[0] *= -1
    np.testing.assert_array_equal(colors[1], flow_to_color(flow))


def test_mirrored_clips_get_the_same_probabilities():
    """With mirroring a prediction is the mean of both views, so the mirrored clip is predicted the same."""
    clips = flow_clips(2, 3)
    method = MJFN(representation="uvs", augmentation="mirror-shift", epochs=1)
    x = np.stack([method.represent(clip) for clip in clips])
    method.fit(x, np.arange(6) % 3, ["a"] * 6)
    np.testing.assert_allclose(method.predict_proba(x), method.predict_proba(x[:, ::-1].copy()), atol=1e-6)


def test_fit_of_one_fold_does_not_depend_on_what_ran_before():
    x = np.stack([MJFN().represent(clip) for clip in flow_clips(2, 3)])
    y = np.arange(6) % 3
    method = MJFN(epochs=1)
    first = method.fit(x, y, ["a"] * 6).predict_proba(x)
    torch.rand(10)  # global randomness is neither used nor touched
    state = torch.random.get_rng_state()
    again = MJFN(epochs=1).fit(x, y, ["a"] * 6).predict_proba(x)
    np.testing.assert_array_equal(first, again)
    assert torch.equal(state, torch.random.get_rng_state())


def test_balanced_weights_give_every_class_the_same_total():
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2])
    weights = _torch.balanced_weights(labels, 4)
    totals = torch.stack([weights[labels][labels == number].sum() for number in range(3)])
    torch.testing.assert_close(totals, torch.full((3,), 3.0))
    assert weights[3] == 0


def test_class_weights_change_the_fit():
    x = np.stack([MJFN().represent(clip) for clip in flow_clips(2, 3)])
    y = np.array([0, 0, 0, 0, 1, 2])
    plain, balanced = (
        MJFN(epochs=1, class_weights=weights).fit(x, y, ["a"] * 6).predict_proba(x) for weights in ("none", "balanced")
    )
    assert np.abs(plain - balanced).max() > 1e-6


def test_bfloat16_stays_near_float32():
    x = np.stack([MJFN().represent(clip) for clip in flow_clips(3, 3)])
    y = np.arange(9) % 3
    exact, quick = (
        MJFN(epochs=2, precision=precision).fit(x, y, ["a"] * 9).predict_proba(x)
        for precision in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(quick, exact, atol=0.03)


def test_diverging_training_is_told():
    x = np.stack([MJFN(representation="uvs").represent(clip) for clip in flow_clips(2, 3)])
    x[0] = np.inf
    from microexpr.errors import MicroexprError

    with pytest.raises(MicroexprError, match="diverged"):
        MJFN(representation="uvs", epochs=1).fit(x, np.arange(6) % 3, ["a"] * 6)
