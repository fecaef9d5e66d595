"""Checks of a method's settings and frames, and settings from text. A method's fields are its settings."""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from microexpr.errors import BadInput, UnknownName


def check_choice(field: str, value: object, allowed: Collection[object]) -> None:
    """Raises BadInput where `value` is none of `allowed`."""
    if value not in allowed:
        raise BadInput(
            f"{field} to be one of {', '.join(map(str, allowed))}", repr(value), f"set {field} to one of them"
        )


def check_range(field: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raises BadInput where `value` is no number from `low` to `high`, both included."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high:
        span = f"from {low} to {high}" if high != float("inf") else f"of at least {low}"
        raise BadInput(f"{field} to be a number {span}", repr(value), f"set {field} to such a number")


def check_frame(picture: np.ndarray) -> None:
    """Raises BadInput where a frame is not uint8 (numbers in 0..1 would all be black) or not "h w 3"."""
    if picture.dtype != np.uint8:
        raise BadInput("a uint8 frame", f"{picture.dtype} values", "convert it to uint8 0..255")
    if picture.ndim != 3 or picture.shape[2] != 3:
        shape = " x ".join(map(str, picture.shape))
        raise BadInput("a frame of height x width x 3", shape, "repeat the gray levels as red, green and blue")


def check_weights(weights: Mapping[str, np.ndarray], source: str, advice: str) -> None:
    """Raises BadInput where a number is not finite; `source` says whose, e.g. " in FILE"."""
    for name, value in weights.items():
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise BadInput(f"finite weights{source}", f"others in {name}", advice)


def settings_of(method: Any) -> dict[str, Any]:
    """The fields of a method as plain values, tuples as lists: what run.json and a model card hold."""
    return {field.name: _plain(getattr(method, field.name)) for field in dataclasses.fields(method) if field.init}


def parse_settings(kind: type, texts: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a command line gives them, in the types of the method's fields.

    Args:
        kind: the method's class.
        texts: field -> value; a value that is text is read as a Python literal where it is one ("(4, 3)", "0.5",
            "none" for None), otherwise kept as text.

    Raises:
        UnknownName: the method has no such field.
    """
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    parsed = {}
    for name, value in texts.items():
        if name not in fields:
            raise UnknownName(f"setting of {kind.__name__}", name, fields)
        default = fields[name].default
        parsed[name] = _like(default, _literal(value) if isinstance(value, str) else value, name)
    return parsed


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        return text


def _like(default: Any, value: Any, name: str) -> Any:
    """The value in the type of the field's default, or BadInput; a field whose default is None takes a number."""
    if isinstance(default, tuple):
        if isinstance(value, int | float | str):
            value = (value,)
        kind = float if any(isinstance(item, float) for item in default) else int
        if isinstance(value, list | tuple) and all(isinstance(item, int | kind) for item in value):
            return tuple(map(kind, value))
    elif isinstance(default, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(default, int):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif isinstance(default, float):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(default, str):
        return str(value).lower() if value is None else str(value)
    elif value in (None, "none"):
        return None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    wanted = "a number" if default is None else f"{type(default).__name__} like {default!r}"
    raise BadInput(f"{name} to be {wanted}", repr(value), "see: microexpr methods NAME")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def elsewhere(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a fitted method without what was there where it was trained: a GPU, a file that it began with."""
    here = {"device": "cpu", "initial_weights": ""}
    return {**settings, **{name: value for name, value in here.items() if name in settings}}
