"""The ONNX graph of a fitted method, from ``x``, what `represent` gives, to ``probabilities``.

Networks are traced by PyTorch's exporter, and support vector machines are known by the arrays of their weights, so a
new one of either needs nothing here. Both kinds of machines, and flow-linear, are a handful of operators.
"""

from __future__ import annotations

import copy
import importlib
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jaxtyping
import numpy as np

from microexpr.errors import MicroexprError, MissingExtra
from microexpr.methods import _svm
from microexpr.methods._kernels import Machine
from microexpr.methods.flow_linear import FlowLinear

# Old enough for the runtimes of the last years; newer operators would bring nothing.
OPSET, IR_VERSION = 17, 8
TYPES = {"uint8": "UINT8", "float16": "FLOAT16", "float32": "FLOAT"}  # of NumPy -> of ONNX
# A class that was not in the training rows: e to this power is exactly 0, and unlike -inf it is a number everywhere.
NEVER = np.float32(-1e30)

Builder = Callable[[Any, np.ndarray], Any]


def extra(module: str) -> Any:
    """A module of the extra ``onnx``.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra("onnx", "ONNX files") from error


def builder(kind: type) -> Builder | None:
    """What makes the graph of a fitted method of this class from it and some of its inputs; None for the others."""
    if issubclass(kind, FlowLinear):
        return regression
    if getattr(kind, "predict_proba", None) is _svm.predict_proba:  # what it represents goes straight to its machine
        return machine
    return network if hasattr(kind, "network") else None


def regression(method: FlowLinear, x: np.ndarray) -> Any:
    """Softmax regression on the average-pooled maps, the mean over both views.

    A map in the mirror meets the coefficients as the map meets the mirrored coefficients, so one pooling serves both.
    """
    node = extra("onnx.helper").make_node
    given = {name: value.astype(np.float32) for name, value in method.weights().items()}
    weights = {"intercepts": given["intercepts"], "seen": given["coefficients"]}
    if method.mirror:
        grid = given["coefficients"].reshape(2, 14, 14, method.classes)[:, :, ::-1]
        signs = np.array([-1, 1], np.float32)[:, None, None, None]  # u changes its sign
        weights["mirrored"] = (signs * grid).reshape(-1, method.classes)
    views = [name for name in weights if name != "intercepts"]
    nodes = [
        node("AveragePool", ["x"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["pooled"], ["features"]),
    ]
    for view in views:
        nodes += [
            node("Gemm", ["features", view, "intercepts"], [f"{view}_logits"]),
            node("Softmax", [f"{view}_logits"], [f"{view}_probabilities"], axis=1),
        ]
    nodes.append(node("Mean", [f"{view}_probabilities" for view in views], ["probabilities"]))
    return _model(nodes, weights, x, method.classes)


def machine(method: Any, x: np.ndarray) -> Any:
    """The softmax of the scores of a support vector machine, linear or with a kernel."""
    trained = _svm.fitted(method)
    if trained.vectors is not None and trained.parameters is not None:
        return _kernel_machine(trained, trained.vectors, trained.parameters, x, method.classes)
    node = extra("onnx.helper").make_node
    nodes = [
        node("Gemm", ["x", "coefficients", "intercepts"], ["distances"], transB=1),
        node("Softmax", ["distances"], ["probabilities"], axis=1),
    ]
    return _model(nodes, _for_all_classes(trained, method.classes, np.dtype(np.float32)), x, method.classes)


def _for_all_classes(trained: Machine, classes: int, kind: np.dtype) -> dict[str, np.ndarray]:
    """Coefficients and intercepts of every class; one that was not in the training rows is never the answer."""
    coefficients = np.zeros((classes, trained.coefficients.shape[1]), kind)
    intercepts = np.full(classes, NEVER, kind)
    coefficients[trained.classes], intercepts[trained.classes] = trained.coefficients, trained.intercepts
    return {"coefficients": coefficients, "intercepts": intercepts}


def _kernel_machine(trained: Machine, vectors: np.ndarray, parameters: np.ndarray, x: np.ndarray, classes: int) -> Any:
    """The kernel of x with every support vector, then a linear machine on these.

    In float64: the scores are small differences of large sums. Vectors are kept as they are and cast when it is run.
    """
    helper, double = extra("onnx.helper"), extra("onnx").TensorProto.DOUBLE
    node, numbers = helper.make_node, {"gamma": parameters[0]}
    nodes = [
        node("Cast", ["x"], ["clips"], to=double),
        node("Cast", ["vectors"], ["exact_vectors"], to=double),
        node("Transpose", ["exact_vectors"], ["columns"], perm=[1, 0]),
        node("MatMul", ["clips", "columns"], ["products"]),
    ]
    if trained.kernel == "poly":
        numbers |= {"offset": parameters[1], "degree": parameters[2]}
        nodes += [
            node("Mul", ["products", "gamma"], ["scaled"]),
            node("Add", ["scaled", "offset"], ["moved"]),
            node("Pow", ["moved", "degree"], ["similarities"]),
        ]
    else:  # |a - b|^2 = |a|^2 + |b|^2 - 2 <a, b>, which rounding may bring below zero
        exact = vectors.astype(np.float64)
        numbers |= {"zero": np.float64(0), "two": np.float64(2), "lengths": np.einsum("vf,vf->v", exact, exact)[None]}
        nodes += [
            node("ReduceSumSquare", ["clips"], ["own_lengths"], axes=[1], keepdims=1),
            node("Add", ["own_lengths", "lengths"], ["both_lengths"]),
            node("Mul", ["products", "two"], ["twice"]),
            node("Sub", ["both_lengths", "twice"], ["rounded_distances"]),
            node("Max", ["rounded_distances", "zero"], ["squared_distances"]),
            node("Mul", ["squared_distances", "gamma"], ["scaled"]),
            node("Neg", ["scaled"], ["exponents"]),
            node("Exp", ["exponents"], ["similarities"]),
        ]
    nodes += [
        node("Gemm", ["similarities", "coefficients", "intercepts"], ["distances"], transB=1),
        node("Softmax", ["distances"], ["exact"], axis=1),
        node("Cast", ["exact"], ["probabilities"], to=extra("onnx").TensorProto.FLOAT),
    ]
    given = {"vectors": vectors, **_for_all_classes(trained, classes, np.dtype(np.float64)), **numbers}
    return _model(nodes, given, x, classes)


def _model(nodes: list[Any], weights: dict[str, np.ndarray], x: np.ndarray, classes: int) -> Any:
    helper, types, from_array = extra("onnx.helper"), extra("onnx").TensorProto, extra("onnx.numpy_helper").from_array
    given = getattr(types, TYPES[str(x.dtype)])
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("x", given, ["clip", *x.shape[1:]])],
        [helper.make_tensor_value_info("probabilities", types.FLOAT, ["clip", classes])],
        [from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def network(method: Any, x: np.ndarray) -> Any:
    """A network in evaluation mode with its views, traced.

    By PyTorch's older exporter: it needs no further package and gives the smaller graph. PyTorch will drop it one day
    for the one of ``dynamo=True``, which needs onnxscript; this function is then the only one to change.

    Raises:
        MicroexprError: the network has an operation that the exporter does not know.
    """
    import torch

    from microexpr.methods import _verbs

    plain: Any = copy.deepcopy(_verbs.fitted(method)).cpu().float()
    if hasattr(plain, "plain"):
        plain.plain = True  # PyTorch's own operations, which the tracer knows
    every_row = slice(None)  # indexes like the numbers of all rows, and leaves nothing in the graph

    class Averaged(torch.nn.Module):
        """What `_torch.predict` computes for a batch."""

        def __init__(self) -> None:
            super().__init__()
            self.network = plain

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            views = [self.network(method.view(x, every_row, number)).exp() for number in range(method.views)]
            return views[0] if len(views) == 1 else torch.stack(views).mean(0)

    content: Any = io.BytesIO()  # which the exporter takes, though it does not say so
    try:
        with _tracing():
            torch.onnx.export(
                Averaged().eval(),
                (torch.from_numpy(x[:2]),),
                content,
                dynamo=False,
                input_names=["x"],
                output_names=["probabilities"],
                dynamic_axes={"x": {0: "clip"}, "probabilities": {0: "clip"}},
                opset_version=OPSET,
            )
    except torch.onnx.OnnxExporterError as error:
        first = str(error).splitlines()[0]
        raise MicroexprError(
            f"expected a network that PyTorch can export, got one that it can't ({first}); "
            "train with settings that need no such operation, e.g. another size"
        ) from error
    return extra("onnx").load_from_string(content.getvalue())


@contextmanager
def _tracing() -> Iterator[None]:
    """Without the two warnings that the exporter is an old one, and without checks of shapes, which trip the tracer."""
    import torch

    checked = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with warnings.catch_warnings():
            for start in ("You are using the legacy TorchScript-based ONNX export", "The feature will be removed"):
                warnings.filterwarnings("ignore", start, DeprecationWarning)
            # An LSTM asks for sizes as it goes; whether the graph holds for any number of clips is checked afterwards.
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning, module=r"torch\.nn\.modules\.rnn")
            warnings.filterwarnings("ignore", "Exporting a model to ONNX with a batch_size other than 1")
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", checked)
