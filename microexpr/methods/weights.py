"""Trained weights in a file: safetensors with the method, its settings and its classes beside the numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microexpr import methods
from microexpr.errors import BadInput
from microexpr.methods._settings import settings_of
from microexpr.types import Method


def to_bytes(method: Any, name: str, classes: Sequence[str], record: dict[str, Any]) -> bytes:
    """A fitted method as a safetensors file.

    Args:
        method: fitted, with the verb `weights`.
        name: as registered.
        classes: class names in order.
        record: what the weights come from (data digest, versions, ...), kept as JSON.
    """
    from safetensors.numpy import save

    metadata = {
        "format": "microexpr-weights-1",
        "method": name,
        "settings": json.dumps(settings_of(method), sort_keys=True),
        "classes": json.dumps(list(classes)),
        "record": json.dumps(record, sort_keys=True),
    }
    # safetensors writes the bytes as they lie in memory, in whatever order
    return save({key: np.ascontiguousarray(value) for key, value in method.weights().items()}, metadata)


def load(file: Path) -> tuple[Method, dict[str, Any]]:
    """A fitted method from a file that `to_bytes` filled, and its metadata: method, settings, classes, record.

    Raises:
        BadInput: no such file, no safetensors file (pickles are refused), or one of another program.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise BadInput(
            "a weights file", f"{file}, which does not exist", "train one: microexpr train METHOD DATASET --out FILE"
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
    metadata = {"method": found["method"], **{key: json.loads(found[key]) for key in ("settings", "classes", "record")}}
    fitted: Any = methods.create(metadata["method"], **metadata["settings"])
    return fitted.load_weights(arrays), metadata
