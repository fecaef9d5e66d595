"""Trained weights in a file: safetensors with the method, its settings and its classes beside the numbers.

Some files ship with the package: `shipped`. What they are good for is in the card beside each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microexpr import methods
from microexpr.errors import BadInput, UnknownName
from microexpr.methods._settings import check_weights, elsewhere, settings_of
from microexpr.types import Method

FOLDER = Path(__file__).parents[1] / "weights"
# Which of them is taken where none is named; docs: the card of each has the figures of both.
DEFAULT = "flow-linear-megc2019"
SHIPPED = ("flow-linear-megc2019", "mjfn-megc2019")
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def shipped() -> dict[str, Path]:
    """The weights that come with the package: name -> file; a card (``.md``) lies beside each."""
    return {name: FOLDER / f"{name}.safetensors" for name in SHIPPED}


def shipped_file(name: str = DEFAULT) -> Path:
    """The file of weights that come with the package.

    Raises:
        UnknownName: none are called so; the nearest spelling is suggested.
    """
    if name not in SHIPPED:
        raise UnknownName("shipped weights", name, SHIPPED)
    return shipped()[name]


def to_bytes(method: Any, name: str, classes: Sequence[str], record: dict[str, Any], half: bool = False) -> bytes:
    """A fitted method as a safetensors file.

    Args:
        method: fitted, with the verb `weights`.
        name: as registered.
        classes: class names in order.
        record: what the weights come from (data digest, versions, ...), kept as JSON; further keys as `load` says.
        half: stores floating-point numbers in 16 bits, 11 of them significant: half the size of float32.

    Raises:
        BadInput: a number is not finite or does not fit into 16 bits.
    """
    from safetensors.numpy import save

    metadata = {
        "format": "microexpr-weights-1",
        "method": name,
        "settings": json.dumps(settings_of(method), sort_keys=True),
        "classes": json.dumps(list(classes)),
        "record": json.dumps(record, sort_keys=True),
    }
    arrays = method.weights()
    check_weights(arrays, f" of {name}", "the training diverged: lower learning_rate")
    if half:
        arrays = {key: _halved(key, value) for key, value in arrays.items()}
    # safetensors writes the bytes as they lie in memory, in whatever order
    return save({key: np.ascontiguousarray(value) for key, value in arrays.items()}, metadata)


def _halved(key: str, value: np.ndarray) -> np.ndarray:
    if not np.issubdtype(value.dtype, np.floating):
        return value
    largest = float(np.finfo(np.float16).max)
    if not (np.abs(value) <= largest).all():
        raise BadInput(f"numbers up to {largest:.0f} to store in 16 bits", f"others in {key}", "store them in full")
    return value.astype(np.float16)


def load(file: Path) -> tuple[Method, dict[str, Any]]:
    """A fitted method from a file that `to_bytes` filled, and its metadata: method, settings, classes, record.

    Numbers of 16 bits become float32. The record of weights that know how sure they are holds also "input" ("flow map"
    or "frames": what they were trained on), "temperature" and "threshold" (see `calibrated`), and "figures" (`card`).

    Raises:
        BadInput: no such file, a pickle, no safetensors file, one of another program, or weights that are not finite
            or do not fit the settings beside them.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise BadInput(
            "a weights file", f"{file}, which does not exist", "train one: microexpr train METHOD DATASET --out FILE"
        )
    if file.suffix == ".onnx":
        from microexpr.methods import onnx_file

        return onnx_file.load(file)
    if _is_pickle(file):
        raise BadInput(
            "a safetensors file",
            f"{file}, a pickle: reading one runs whatever code is in it, so none is read",
            "give a file that `microexpr train` wrote",
        )
    try:
        with safe_open(file, framework="numpy") as stream:
            found = stream.metadata() or {}
            arrays = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise BadInput("a safetensors file", f"{file}: {error}", "give a file that `microexpr train` wrote") from error
    if found.get("format") != "microexpr-weights-1":
        raise BadInput(
            "weights that `microexpr train` wrote", f"{file} of another program", "train them with this package"
        )
    try:
        metadata = {key: json.loads(found[key]) for key in ("settings", "classes", "record")}
        metadata, settings = {"method": found["method"], **metadata}, dict(metadata["settings"])
    except (KeyError, TypeError, ValueError) as error:
        again = "train them again"
        raise BadInput("weights with their metadata", f"{file}, whose metadata is damaged", again) from error
    check_weights(arrays, f" in {file}", "train them again")
    fitted: Any = methods.create(metadata["method"], **elsewhere(settings))
    whole = {key: value.astype(np.float32) if value.dtype == np.float16 else value for key, value in arrays.items()}
    return fitted.load_weights(whole), metadata


def _is_pickle(file: Path) -> bool:
    """By its name, or by its first bytes: those of a pickle of protocol 2 to 5, or of the archive around one."""
    with file.open("rb") as stream:
        start = stream.read(8)
    # A safetensors file begins with the length of its header in 8 bytes, the last of them 0.
    pickled = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and start[2:] != bytes(6)
    return file.suffix.lower() in PICKLES or pickled or start[:4] == b"PK\x03\x04"
