"""The backbone: names and shapes of the well-known layout, its arithmetic step by step, and weights of others."""

import pytest
import torch
import torch.nn.functional as F

from microexpr.errors import BadInput
from microexpr.methods import _resnet18, _torch


def drawn(**settings):
    backbone = _resnet18.ResNet18(**settings)
    _torch.initialize(backbone, 3)
    with torch.no_grad():
        for name, value in backbone.state_dict().items():  # statistics that matter
            if name.endswith("running_mean"):
                value.uniform_(-0.5, 0.5)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 2)
    return backbone.eval()


def layout(width=64):
    """Names and shapes of the layout, written down on their own."""
    shapes = {"conv1.weight": (width, 3, 7, 7)}

    def normalization(name, channels):
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    normalization("bn1", width)
    given = width
    for stage, channels in enumerate((width, 2 * width, 4 * width, 8 * width), start=1):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (channels, given, 3, 3)
            shapes[f"{name}.conv2.weight"] = (channels, channels, 3, 3)
            normalization(f"{name}.bn1", channels)
            normalization(f"{name}.bn2", channels)
            if given != channels:
                shapes[f"{name}.downsample.0.weight"] = (channels, given, 1, 1)
                normalization(f"{name}.downsample.1", channels)
            given = channels
    return shapes


def state_of(width, *, counts=True, prefix=""):
    """A state dictionary as others have them: the whole network, with its classifier."""
    generator = torch.Generator().manual_seed(0)
    shapes = {**layout(width), "fc.weight": (1000, 8 * width), "fc.bias": (1000,)}
    return {
        prefix + name: torch.rand(shape, generator=generator) + 0.1 if shape else torch.tensor(7)
        for name, shape in shapes.items()
        if counts or shape
    }


def test_names_and_shapes_are_those_of_the_layout():
    backbone = _resnet18.ResNet18()
    assert {name: tuple(value.shape) for name, value in backbone.state_dict().items()} == layout()
    # 11,689,512 parameters of ResNet-18 less the 513,000 of its classifier
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 11_176_512


def slowly(state, x, pool, stages):
    def normalized(x, name):
        return F.batch_norm(
            x, *(state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")), training=False
        )

    x = F.relu(normalized(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, 2, 1) if pool else x
    for stage in range(1, stages + 1):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            found = F.relu(
                normalized(F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1")
            )
            found = normalized(F.conv2d(found, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in state:
                x = normalized(F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
            x = F.relu(found + x)
    return x


@pytest.mark.parametrize(("stages", "pool", "shape"), [(4, True, (64, 2, 2)), (3, False, (32, 8, 8))])
def test_it_computes_what_the_paper_draws(stages, pool, shape):
    backbone = drawn(stages=stages, width=8, pool=pool)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = backbone(x)
        expected = slowly(backbone.state_dict(), x, pool, stages)
    assert found.shape[1:] == shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stages", [3, 4])
@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_weights_of_the_layout_are_taken_over(stages, counts, prefix):
    backbone = drawn(stages=stages, width=8)
    given = state_of(8, counts=counts, prefix=prefix)
    _resnet18.take_over(backbone, given, "file.pth")
    for name, value in backbone.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert value == (7 if counts else 0)
        else:
            torch.testing.assert_close(value, given[prefix + name])


def test_weights_of_another_width_or_layout_are_refused():
    backbone = drawn(width=8)
    with pytest.raises(BadInput, match=r"conv1\.weight of shape \[8, 3, 7, 7\].*\[16, 3, 7, 7\] in file\.pth"):
        _resnet18.take_over(backbone, state_of(16), "file.pth")
    with pytest.raises(BadInput, match=r"none called conv1\.weight in file\.pth"):
        _resnet18.take_over(backbone, {"features.0.weight": torch.zeros(8, 3, 7, 7)}, "file.pth")
    lacking = state_of(8)
    del lacking["layer4.1.bn2.bias"]
    with pytest.raises(BadInput, match=r"none called layer4\.1\.bn2\.bias"):
        _resnet18.take_over(backbone, lacking, "file.pth")
