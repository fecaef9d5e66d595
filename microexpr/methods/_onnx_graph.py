"""The ONNX graph of a fitted method, from ``x``, what `represent` gives, to ``probabilities``.

Networks are traced by PyTorch's exporter, so a new one needs nothing here; linear methods are a handful of operators.
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
from microexpr.methods.bi_woof import BiWOOF
from microexpr.methods.flow_linear import FlowLinear
from microexpr.methods.flow_svm import FlowSVM

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
    if issubclass(kind, FlowSVM | BiWOOF):
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


def machine(method: FlowSVM | BiWOOF, x: np.ndarray) -> Any:
    """The softmax of the distances to the planes of a linear support vector machine."""
    node = extra("onnx.helper").make_node
    given = method.weights()
    coefficients = np.zeros((method.classes, x.shape[1]), np.float32)
    intercepts = np.full(method.classes, NEVER)
    coefficients[given["classes"]], intercepts[given["classes"]] = given["coefficients"], given["intercepts"]
    nodes = [
        node("Gemm", ["x", "coefficients", "intercepts"], ["distances"], transB=1),
        node("Softmax", ["distances"], ["probabilities"], axis=1),
    ]
    return _model(nodes, {"coefficients": coefficients, "intercepts": intercepts}, x, method.classes)


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
        raise MicroexprError(f"expected a network that PyTorch can export, got one that it can't: {first}") from error
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
