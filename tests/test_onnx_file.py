"""ONNX files: what is exported agrees with the method, carries its metadata, and what is no such file is refused."""

import json
import sys

import jaxtyping
import numpy as np
import pytest
import torch

from microexpr import methods
from microexpr.errors import BadInput, MicroexprError, MissingExtra
from microexpr.methods import _onnx_graph, _torch, onnx_file, weights
from microexpr.methods._settings import settings_of
from microexpr.types import NEGATIVE_POSITIVE_SURPRISE
from tests.clips import flow_clips
from tests.frame_clips import frame_clips

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CLIPS = flow_clips(3, 3)
FRAME_CLIPS = frame_clips(3, 3)
Y = np.arange(9) % 3
SUBJECTS = [clip.subject for clip in CLIPS]
# Floors of class frequencies alone, which compute nothing from a clip, and codes that are found by iteration.
REFUSED = ("majority", "prior", "sparse-mdmo")
QUICK = {
    "alexnet": {"epochs": 4, "hidden": 64, "batch_size": 3, "learning_rate": 0.0003},
    "atnet": {
        "size": 32,
        "width": 8,
        "hidden": 16,
        "steps": 6,
        "epochs": 8,
        "epoch_iterations": 10,
        "learning_rate": 0.05,
    },
    "bi-woof": {"c": 1.0},
    "lbp-top": {"c": 1.0},
    "mdmo": {"c": 1.0, "kernel": "rbf"},
    "sparse-mdmo": {"c": 1.0, "words": 4, "sparsity": 0.1, "smoothness": 0.1},
    "capsulenet": {"size": 129, "width": 8, "further": (), "epochs": 4, "batch_size": 3, "learning_rate": 0.003},
    "micro-attention": {"size": 32, "width": 8, "epochs": 8, "epoch_iterations": 10, "learning_rate": 0.05},
    "neural-recognizer": {"size": 64, "width": 8, "epochs": 8, "batch_size": 3, "backbone_learning_rate": 0.001},
    "flow-svm": {"c": 0.01},
    "flow-linear": {"epochs": 20},
    "off-apexnet": {"epochs": 2, "learning_rate": 0.001},
    "ststnet": {"epochs": 10},
    "dual-inception": {"epochs": 5, "learning_rate": 0.001},
}
VARIANTS = {
    "mirror": ("mjfn", {"augmentation": "mirror-shift"}),
    "uvs": ("mjfn", {"representation": "uvs", "augmentation": "mirror", "fusion": "mean"}),
    "taps": ("mjfn", {"taps": (1, 3), "project_top": True, "classes": 2}),
    "relu": ("off-apexnet", {"activation": "relu", "classes": 5}),
}


def represented(method, clips=None):
    of_its_kind = FRAME_CLIPS if "frames" in method.needs else CLIPS
    return np.stack([method.represent(clip) for clip in clips or of_its_kind])


def fitted(name, **settings):
    method = methods.create(name, **QUICK.get(name, {}), **settings)
    return method.fit(represented(method), Y, SUBJECTS)


def drawn(name, **settings):
    """A network method with initial weights, those of the hidden layers larger so that its answers differ."""
    method = methods.create(name, **settings)
    network = method.network()
    _torch.initialize(network, 1)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data *= 5
    method.network_ = _torch.place(network, torch.device("cpu")).eval()
    return method


def metadata(name, method):
    classes = [*NEGATIVE_POSITIVE_SURPRISE, "fear", "disgust"][: method.classes]
    return {"method": name, "classes": classes, "record": {"temperature": 1.5, "dataset": "drawn"}}


def export(name, method):
    return onnx_file.export(method, metadata(name, method))


def run(content, x):
    """By onnxruntime alone, as another program would."""
    return onnxruntime.InferenceSession(content).run(["probabilities"], {"x": x})[0]


@pytest.fixture(scope="module")
def linear():
    return fitted("flow-linear")


@pytest.fixture(scope="module")
def content(linear):
    return export("flow-linear", linear)


@pytest.fixture
def file(content, tmp_path):
    file = tmp_path / "weights.onnx"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("name", methods.names())
def test_every_method_is_exported_or_refused(name, tmp_path):
    method = drawn(name) if name.startswith("mjfn") else fitted(name)
    if name in REFUSED:
        with pytest.raises(BadInput, match=rf"ONNX form \(.*mjfn.*flow-linear\), got {name}"):
            export(name, method)
        return
    file = tmp_path / "weights.onnx"
    file.write_bytes(export(name, method))
    loaded, kept = onnx_file.load(file)
    assert kept == {**metadata(name, method), "settings": settings_of(method)}
    assert (loaded.needs, loaded.classes, loaded.seed) == (method.needs, method.classes, method.seed)
    x = represented(loaded)
    expected = method.predict_proba(x)
    assert np.ptp(expected, axis=0).min() > 0.01, "answers that do not differ show nothing"
    for batch in (x[:1], x[2:7]):
        assert run(file.read_bytes(), batch).shape == (len(batch), 3)
        np.testing.assert_allclose(run(file.read_bytes(), batch), method.predict_proba(batch), atol=1e-5)
    np.testing.assert_allclose(loaded.predict_proba(x), expected, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_reach_the_graph(variant):
    name, settings = VARIANTS[variant]
    method = drawn(name, **settings)
    x = represented(method, CLIPS[:5])
    found = run(export(name, method), x)
    assert found.shape == (5, method.classes)
    np.testing.assert_allclose(found, method.predict_proba(x), atol=1e-5)
    if method.views == 2:  # the first view alone is another answer
        alone = np.repeat(x[:, :1], 2, axis=1)
        assert np.abs(method.predict_proba(alone) - found).max() > 1e-4


@pytest.mark.parametrize("mirror", [True, False])
def test_flow_linear_by_the_reference_of_onnx(mirror):
    """ONNX comes with operators of its own in plain NumPy."""
    from onnx.reference import ReferenceEvaluator

    method = fitted("flow-linear", mirror=mirror)
    x = represented(method)
    (found,) = ReferenceEvaluator(onnx.load_from_string(export("flow-linear", method))).run(None, {"x": x})
    np.testing.assert_allclose(found, method.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
@pytest.mark.parametrize("labels", [Y, np.where(Y == 1, 2, Y), np.full(9, 1)], ids=["three", "two", "one"])
def test_machines_with_a_kernel(kernel, labels):
    """Also where classes have no training clips; by onnxruntime and by the operators of ONNX in plain NumPy."""
    from onnx.reference import ReferenceEvaluator

    method = methods.create("bi-woof", kernel=kernel, c=10.0)
    x = represented(method)
    method.fit(x, labels, SUBJECTS)
    content = export("bi-woof", method)
    x = np.concatenate([x, onnx_file.samples(method)])
    expected = method.predict_proba(x)
    found = run(content, x)
    assert (found.dtype, found.shape) == (np.float32, (len(x), 3))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    (plain,) = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x": x})
    np.testing.assert_allclose(plain, expected, atol=1e-6)
    assert not found[:, [number for number in range(3) if number not in labels]].any()
    if kernel != "linear":
        kept = {weight.name: weight for weight in onnx.load_from_string(content).graph.initializer}
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(kept["vectors"]), method.weights()["vectors"])


def test_large_weights_of_a_kernel_machine_keep_their_digits():
    """Scores are small differences of large sums, which float32 would lose."""
    generator = np.random.default_rng(0)
    method = methods.create("bi-woof", kernel="rbf", c=1e6)
    x = generator.normal(size=(300, 200)).astype(np.float32) * np.float32(0.01)
    x[:, 0] += 1
    method.fit(x, generator.integers(0, 3, 300), ["a"] * 300)
    assert np.abs(method.machine_.coefficients).sum(1).min() > 1e4
    np.testing.assert_allclose(run(export("bi-woof", method), x), method.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("name", ["flow-svm", "bi-woof"])
def test_a_class_without_training_clips_gets_nothing(name):
    method = methods.create(name, c=0.1)
    x = represented(method)
    method.fit(x[Y != 1], Y[Y != 1], [subject for subject, label in zip(SUBJECTS, Y, strict=True) if label != 1])
    found = run(export(name, method), x)
    assert not found[:, 1].any()
    np.testing.assert_allclose(found, method.predict_proba(x), atol=1e-6)


def test_compiled_layers_are_exported_as_plain_ones():
    """Without gradients STSTNet runs a compiled kernel, which a tracer sees as a constant."""
    method = fitted("ststnet")
    x = represented(method)
    with torch.no_grad():
        found = run(export("ststnet", method), x)
    np.testing.assert_allclose(found, method.predict_proba(x), atol=1e-5)
    assert not method.network_.plain, "the method keeps its kernel"


def test_both_kinds_of_files_are_loaded_alike(linear, file, tmp_path):
    about = metadata("flow-linear", linear)
    other = tmp_path / "weights.safetensors"
    other.write_bytes(weights.to_bytes(linear, about["method"], about["classes"], about["record"]))
    (stored, kept), (exported, same) = weights.load(other), weights.load(file)
    assert kept == same
    assert onnx_file.export(stored, kept) == file.read_bytes()
    x = represented(stored)
    np.testing.assert_allclose(exported.predict_proba(x), stored.predict_proba(x), atol=1e-6)


def test_the_same_weights_give_the_same_bytes(linear, content):
    assert export("flow-linear", linear) == content


def test_metadata_is_text_under_the_keys_of_safetensors(linear, content):
    model = onnx.load_from_string(content)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert found.pop("format") == "microexpr-weights-1"
    assert found.pop("method") == "flow-linear"
    assert {key: json.loads(value) for key, value in found.items()} == {
        "settings": settings_of(linear),
        "classes": ["negative", "positive", "surprise"],
        "record": {"temperature": 1.5, "dataset": "drawn"},
    }


@pytest.mark.parametrize("name", ["flow-linear", "ststnet"])
def test_a_changed_weight_is_found(name):
    method = fitted(name)
    model = onnx.load_from_string(export(name, method))
    weight = next(w for w in model.graph.initializer if w.name in ("intercepts", "network.fc.bias"))
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0] += 0.01
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    x = onnx_file.samples(method)
    assert onnx_file.check(export(name, method), method, x) < 1e-5
    with pytest.raises(MicroexprError, match="differ by"):
        onnx_file.check(model.SerializeToString(), method, x)


def test_a_graph_that_does_not_agree_is_not_given_out(linear, monkeypatch):
    half = methods.create("flow-linear", **settings_of(linear))
    half.load_weights({name: value / 2 for name, value in linear.weights().items()})
    monkeypatch.setattr(_onnx_graph, "regression", lambda _, x: REGRESSION(half, x))
    with pytest.raises(MicroexprError, match="differ by"):
        export("flow-linear", linear)


REGRESSION = _onnx_graph.regression


def test_answers_that_are_no_numbers_do_not_agree(linear, content):
    x = onnx_file.samples(linear)
    x[3, 0, 0, 0] = np.nan
    with pytest.raises(MicroexprError, match="differ by nan"):
        onnx_file.check(content, linear, x)


def test_an_invalid_graph_is_one_line(linear, content):
    model = onnx.load_from_string(content)
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(MicroexprError, match=r"valid ONNX graph.*NoSuchOperator") as caught:
        onnx_file.check(model.SerializeToString(), linear, onnx_file.samples(linear))
    assert "\n" not in str(caught.value)


def test_samples_are_what_represent_gives():
    x = onnx_file.samples(methods.create("ststnet"))
    assert (x.shape, x.dtype) == ((16, 3, 28, 28), np.uint8)
    assert len(np.unique(x.reshape(16, -1), axis=0)) == 16


def test_a_method_without_weights_is_refused():
    for name in ("flow-linear", "off-apexnet"):
        with pytest.raises(BadInput, match="a fitted method"):
            export(name, methods.create(name))


def test_an_operation_that_can_not_be_exported_is_one_line():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.linalg.svd(x.flatten(1))[0][:, :3]

    method = methods.create("off-apexnet")
    method.network_ = Odd()
    with pytest.raises(MicroexprError, match=r"can export.*linalg_svd") as caught:
        _onnx_graph.network(method, onnx_file.samples(method))
    assert "\n" not in str(caught.value)
    assert not jaxtyping.config.jaxtyping_disable, "shapes are checked again"


def test_a_file_must_be_one_of_export(file, tmp_path, content):
    with pytest.raises(BadInput, match=r"a weights file.*missing.*does not exist"):
        onnx_file.load(tmp_path / "missing.onnx")
    for bad in (b"", b"no protobuf" * 20, content[: len(content) // 2]):
        file.write_bytes(bad)
        with pytest.raises(BadInput, match=r"an ONNX file, got .*weights\.onnx") as caught:
            onnx_file.load(file)
        assert "\n" not in str(caught.value)


def changed(content, **texts):
    """The file with other metadata; None leaves a key out."""
    model = onnx.load_from_string(content)
    kept = {entry.key: entry.value for entry in model.metadata_props} | texts
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: value for key, value in kept.items() if value is not None})
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"format": None}, "another program"),
        ({"format": "other-1"}, "another program"),
        ({"settings": "{"}, "metadata is damaged"),
        ({"settings": "[1]"}, "metadata is damaged"),
        ({"record": None}, "metadata is damaged"),
        ({"method": None}, "metadata is damaged"),
        ({"classes": '["one", "two"]'}, "3 classes"),
        ({"settings": '{"classes": 4}', "classes": '["a", "b", "c", "d"]'}, "4 classes"),
        ({"method": "flow-lineal"}, "did you mean 'flow-linear'"),
    ],
)
def test_metadata_must_be_ours(file, content, texts, words):
    file.write_bytes(changed(content, **texts))
    with pytest.raises(MicroexprError, match=words):
        onnx_file.load(file)


def test_weights_of_a_gpu_load_without_one(tmp_path):
    content = export("ststnet", fitted("ststnet"))
    file = tmp_path / "weights.onnx"
    file.write_bytes(changed(content, settings='{"device": "cuda"}'))
    loaded, kept = onnx_file.load(file)
    assert kept["settings"] == {"device": "cuda"}
    assert loaded.method.device == "cpu"


def test_clips_must_be_represented(file, linear):
    loaded, _ = onnx_file.load(file)
    x = represented(linear)
    for wrong in (x.astype(np.float64), x[:, :1], x[0]):
        with pytest.raises(BadInput, match=r"tensor\(float\) of shape \[2, 28, 28\]"):
            loaded.predict_proba(wrong)
    assert loaded.predict_proba(x[:0]).shape == (0, 3)
    many = np.tile(x, (15, 1, 1, 1))  # more than one run takes
    np.testing.assert_allclose(loaded.predict_proba(many), linear.predict_proba(many), atol=1e-6)


def test_a_file_can_not_be_trained(file, linear):
    loaded, _ = onnx_file.load(file)
    with pytest.raises(BadInput, match="can be trained"):
        loaded.fit(represented(linear), Y, SUBJECTS)


def test_options_of_the_session(file):
    loaded, _ = onnx_file.load(file)
    assert loaded.session.get_session_options().intra_op_num_threads == 1
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    loaded, _ = onnx_file.load(file, options)
    assert loaded.session.get_session_options().intra_op_num_threads == 2


@pytest.mark.parametrize("missing", ["onnx", "onnx.helper", "onnxruntime"])
def test_without_the_extra(missing, file, linear, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=r"microexpr\[onnx\]"):
        export("flow-linear", linear)
    if missing == "onnxruntime":
        with pytest.raises(MissingExtra, match=r"microexpr\[onnx\]"):
            onnx_file.load(file)
