"""Trained weights as an ONNX file, which any program can run: `export`, and `load`, which runs it by onnxruntime.

The graph has one input ``x``, what `represent` gives for each clip, stacked ("clip ...", of the same type), and one
output ``probabilities``, "clip class". Scaling of gray levels and the mean over the views of a clip are part of it; a
temperature of the record is not. The file's metadata has the keys of `weights.to_bytes`: format, method, settings,
classes and record, each as text. The extra ``onnx`` brings what is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

import microexpr
from microexpr import methods
from microexpr.errors import BadInput, MicroexprError
from microexpr.methods import _onnx_graph
from microexpr.methods._settings import elsewhere, settings_of
from microexpr.types import Clip, FlowMap, Method

FORMAT = "microexpr-weights-1"
TOLERANCE = 1e-4  # of a probability: float32 sums in another order differ by far less
AT_ONCE = 64  # clips
SAMPLES = 8  # of maps, and as many of noise


def export(method: Any, metadata: Mapping[str, Any]) -> bytes:
    """A fitted method as an ONNX file that was run and found to agree with `predict_proba`.

    Args:
        method: fitted; a network, flow-linear, or a support vector machine.
        metadata: as `weights.load` returns it; "method", "classes" and "record" are used.

    Returns:
        The file. The same weights give the same bytes.

    Raises:
        BadInput: the method has no ONNX form, or is not fitted.
        MissingExtra: onnx or onnxruntime is not installed.
        MicroexprError: the graph does not agree with the method.
    """
    name = metadata["method"]
    build = _onnx_graph.builder(type(method))
    if build is None:
        exportable = [known for known in methods.names() if _onnx_graph.builder(methods.kind_of(known))]
        raise BadInput(f"a method with an ONNX form ({', '.join(exportable)})", name, "use its safetensors file")
    helper = _onnx_graph.extra("onnx.helper")
    x = samples(method)
    method.predict_proba(x[:1])  # tells what is not fitted before anything is built
    model = build(method, x)
    model.producer_name, model.producer_version = "microexpr", microexpr.__version__
    model.doc_string = f"{methods.entry(name).title}. x: represented clips; probabilities: the classes in order."
    texts = {
        "format": FORMAT,
        "method": name,
        "settings": json.dumps(settings_of(method), sort_keys=True),
        "classes": json.dumps(list(metadata["classes"])),
        "record": json.dumps(metadata["record"], sort_keys=True),
    }
    helper.set_model_props(model, texts)
    content = model.SerializeToString()
    check(content, method, x)
    return content


class _Drawn:
    """Frames of a clip, in memory."""

    LENGTH = 7

    def __init__(self, pictures: Sequence[np.ndarray]) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def read(self, number: int) -> np.ndarray:
        return self._pictures[number]


def samples(method: Any) -> np.ndarray:
    """Inputs to compare with: what `represent` gives for smooth drawn maps or pictures, then noise of the same type."""
    import cv2

    generator = np.random.default_rng(0)
    clips = []
    for number in range(SAMPLES):
        names = f"drawn/{number}", "drawn", "drawn", ""
        if "frames" in method.needs:
            pictures = [generator.integers(0, 256, (7, 7, 3)).astype(np.uint8) for _ in range(_Drawn.LENGTH)]
            frames = _Drawn([cv2.resize(picture, (64, 64)) for picture in pictures])
            clips.append(Clip(*names, 0, _Drawn.LENGTH // 2, _Drawn.LENGTH - 1, 100.0, frames=frames))
            continue
        coarse = generator.integers(0, 256, (7, 7, 3)).astype(np.uint8)
        channels = np.ascontiguousarray(cv2.resize(coarse, (28, 28)).transpose(2, 0, 1))
        clips.append(Clip(*names, None, None, None, 1.0, flow=FlowMap(channels)))
    drawn = np.stack([method.represent(clip) for clip in clips])
    low, high = (0, 256) if drawn.dtype == np.uint8 else (-1, 1)
    return np.concatenate([drawn, generator.uniform(low, high, drawn.shape).astype(drawn.dtype)])


def check(content: bytes, method: Any, x: np.ndarray) -> float:
    """Runs an ONNX file on represented clips and compares it with a fitted method.

    Returns:
        The largest difference of a probability.

    Raises:
        MicroexprError: it is no valid ONNX model, or the difference is above `TOLERANCE`.
    """
    checker, _ = _onnx_graph.extra("onnx.checker"), _onnx_graph.extra("onnxruntime")
    try:
        checker.check_model(content, full_check=True)
        session = _session(content, None)
    except Exception as error:  # what onnx and onnxruntime raise has no other class in common
        raise MicroexprError(f"expected a valid ONNX graph, got one that is not: {_line(error)}") from error
    found = Exported(method, session).predict_proba(x)
    largest = float(np.abs(found - method.predict_proba(x)).max())
    if not largest <= TOLERANCE:  # a difference that is no number is one too
        raise MicroexprError(
            f"expected the exported graph to agree with the method, got probabilities that differ by {largest:.2g}; "
            "nothing was written, keep the safetensors file and report this"
        )
    return largest


def load(file: Path, options: Any = None) -> tuple[Method, dict[str, Any]]:
    """A method that onnxruntime runs, from a file that `export` filled, and its metadata as `weights.load` gives it.

    Args:
        file: the ONNX file.
        options: an ``onnxruntime.SessionOptions``; None is one thread, and messages only of what is fatal.

    Raises:
        BadInput: no such file, no ONNX file, or one of another program.
        MissingExtra: onnxruntime is not installed.
    """
    if not file.is_file():
        raise BadInput(
            "a weights file", f"{file}, which does not exist", "write one: microexpr export FILE --out FILE.onnx"
        )
    _onnx_graph.extra("onnxruntime")
    advice = "give a file that `microexpr export` wrote"
    try:
        session = _session(file.read_bytes(), options)
    except Exception as error:  # what onnxruntime raises has no other class in common
        raise BadInput("an ONNX file", f"{file}: {_line(error)}", advice) from error
    found = session.get_modelmeta().custom_metadata_map
    if found.get("format") != FORMAT:
        raise BadInput("weights that `microexpr export` wrote", f"{file} of another program", advice)
    try:
        metadata = {key: json.loads(found[key]) for key in ("settings", "classes", "record")}
        metadata = {"method": found["method"], **metadata}
        settings, classes = dict(metadata["settings"]), list(metadata["classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput("weights with their metadata", f"{file}, whose metadata is damaged", advice) from error
    method = methods.create(metadata["method"], **elsewhere(settings))
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if (
        [len(inputs), len(outputs)] != [1, 1]
        or inputs[0].name != "x"
        or outputs[0].shape[1:] != [method.classes]
        or len(classes) != method.classes
    ):
        raise BadInput(
            f"a graph from x to the probabilities of {method.classes} classes", f"another one in {file}", advice
        )
    model: Any = Exported(method, session)
    return model, metadata


class Exported:
    """A fitted method that onnxruntime runs: a `Method` that can't be trained.

    Attributes:
        method: the unfitted method with the settings of the file, which represents the clips.
        session: the ``onnxruntime.InferenceSession``.
        needs, classes, seed: those of the method.
    """

    def __init__(self, method: Any, session: Any) -> None:
        self.method, self.session = method, session
        self.needs, self.classes, self.seed = method.needs, method.classes, method.seed

    def represent(self, clip: Clip) -> np.ndarray:
        """A clip as the method's input."""
        return self.method.represent(clip)

    def fit(self, x: np.ndarray, y: Int[np.ndarray, " clip"], subjects: Sequence[str]) -> Method:
        """Raises BadInput: an ONNX file holds no training."""
        raise BadInput("a method that can be trained", "one from an ONNX file", "train it by its registered name")

    def predict_proba(self, x: np.ndarray) -> Float[np.ndarray, "clip class"]:
        """Class probabilities of represented clips, the mean over the views of a clip.

        Raises:
            BadInput: x is not of the type or shape that `represent` gives.
        """
        wanted = self.session.get_inputs()[0]
        form = (f"tensor({_onnx_graph.TYPES.get(str(x.dtype), str(x.dtype)).lower()})", list(x.shape[1:]))
        if form != (wanted.type, wanted.shape[1:]):
            raise BadInput(
                f"clips as {wanted.type} of shape {wanted.shape[1:]}", f"{x.dtype} {list(x.shape[1:])}", "use represent"
            )
        parts = [
            self.session.run(None, {"x": np.ascontiguousarray(x[start : start + AT_ONCE])})[0]
            for start in range(0, len(x), AT_ONCE)
        ]
        return np.concatenate([np.zeros((0, self.classes), np.float32), *parts])


def _session(content: bytes, options: Any) -> Any:
    onnxruntime = _onnx_graph.extra("onnxruntime")
    if options is None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _line(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
