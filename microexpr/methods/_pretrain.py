"""Where a network begins: weights that a user gives, or a training on another data set before the actual one.

A method takes part with three fields: ``pretrain_on``, the name of a registered data set or "", ``pretrain_epochs``,
and ``initial_weights``, a file or "". `check` belongs into its ``__post_init__``, `start` into its ``fit``. Nothing is
ever downloaded. The last layer is always drawn anew: its classes are others.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from microexpr import datasets
from microexpr.errors import BadInput, UnknownName
from microexpr.faces.aligned import aligned
from microexpr.methods._settings import check_range, settings_of
from microexpr.spotting.apex import with_apex
from microexpr.types import Clip

# States of networks after their pre-training, the newest last: every fold begins with the same one.
_kept: dict[str, dict[str, Tensor]] = {}
MOST_KEPT = 4


def check(method: Any) -> None:
    """Checks the settings before any data is read.

    Raises:
        UnknownName: no data set is registered under ``pretrain_on``.
        BadInput: both ways to begin are set, the data set lacks what the method needs, or the file is not there.
    """
    check_range("pretrain_epochs", method.pretrain_epochs, 1)
    if method.pretrain_on and method.initial_weights:
        both = f"pretrain_on={method.pretrain_on} and initial_weights={method.initial_weights}"
        raise BadInput("pretrain_on or initial_weights", both, "leave one of them out")
    if method.pretrain_on and method.pretrain_on not in datasets.names():
        raise UnknownName("data set", method.pretrain_on, datasets.names())
    if method.pretrain_on and (lacking := method.needs - set(datasets.adapter(method.pretrain_on).CARRIES)):
        wanted = f"a data set with {', '.join(sorted(lacking))} to pretrain_on"
        raise BadInput(wanted, f"{method.pretrain_on}, which has none", "name another one")
    if method.initial_weights and not Path(method.initial_weights).is_file():
        missing = f"{method.initial_weights}, which does not exist"
        raise BadInput("a file of initial_weights", missing, "give a file of your own; nothing is downloaded")


def start(method: Any, network: nn.Module, head: str) -> None:
    """Gives an initialized network the weights that it begins with, except its last layer; in place.

    Args:
        method: has the fields named above; its ``fit`` and ``network_`` do the pre-training.
        network: of this method.
        head: name of the last layer.

    Raises:
        BadInput: the file or the data set can't be used.
    """
    if method.initial_weights:
        adopt(network, read_state(Path(method.initial_weights)), head, method.initial_weights)
    elif method.pretrain_on:
        adopt(network, pretrained_state(method), head, method.pretrain_on)


def pretraining_clips(name: str) -> tuple[Clip, ...]:
    """The clips of a data set that is trained on beforehand: its macro-expressions, where it has them."""
    macro = "macro" in getattr(datasets.adapter(name), "OPTIONS", {}).get("kind", ())
    return datasets.load(name, **({"kind": "macro"} if macro else {})).clips


def pretraining_set(method: Any, name: str) -> tuple[np.ndarray, Int[np.ndarray, " clip"], tuple[str, ...]]:
    """A data set as the method sees it: every clip with the label that the set itself gives it.

    Of sets that annotate macro-expressions too, these; faces are aligned, and an apex that is not annotated is found by
    the largest mean flow.

    Args:
        method: represents the clips.
        name: of a registered data set, found as `datasets.load` finds it.

    Returns:
        The represented clips, their class numbers, and the classes: the emotions of the set by name.

    Raises:
        DatasetNotFound: the set lies nowhere.
        BadInput: its clips do not carry what the method needs, or show one emotion only.
    """
    clips = pretraining_clips(name)
    for clip in clips:
        if lacking := method.needs - clip.carries:
            raise BadInput(
                f"a data set with {', '.join(sorted(method.needs))} to pretrain_on",
                f"{name}, whose {clip.key} lacks {', '.join(sorted(lacking))}",
                "name another one",
            )
    classes = tuple(sorted({clip.emotion for clip in clips}))
    if len(classes) < 2:
        raise BadInput("a data set of at least 2 emotions to pretrain_on", f"{len(classes)} in {name}", "name another")
    blind = [dataclasses.replace(clip, subject="", emotion="", action_units=()) for clip in clips]
    x = np.stack([method.represent(with_apex(aligned(clip))) for clip in blind])
    return x, np.array([classes.index(clip.emotion) for clip in clips]), classes


def pretrained_state(method: Any) -> dict[str, Tensor]:
    """Parameters and running statistics of the method's network after ``pretrain_epochs`` on ``pretrain_on``.

    The same network with as many classes as the set has, trained by the method's own ``fit`` with its seed. The state
    depends on settings and data set only, so it is trained once in a process and serves every fold.
    """
    settings = {key: value for key, value in settings_of(method).items() if key not in ("classes", "epochs")}
    root = os.environ.get(datasets.root_variable(method.pretrain_on), "")
    key = json.dumps([type(method).__qualname__, settings, root], sort_keys=True)
    if key not in _kept:
        x, y, classes = pretraining_set(method, method.pretrain_on)
        before = {"classes": len(classes), "epochs": method.pretrain_epochs, "pretrain_on": ""}
        fitted = dataclasses.replace(method, **before).fit(x, y, [""] * len(y))
        while len(_kept) >= MOST_KEPT:
            _kept.pop(next(iter(_kept)))
        _kept[key] = {name: value.detach().cpu().clone() for name, value in fitted.network_.state_dict().items()}
    return _kept[key]


def read_state(path: Path) -> dict[str, Tensor]:
    """Named tensors from a safetensors file, or from a PyTorch file by the reader that runs no code in it.

    A PyTorch file may hold the names themselves or keep them under "state_dict".

    Raises:
        BadInput: no such file, one that is neither, or one without named tensors.
    """
    advice = "give a safetensors file or a PyTorch state dictionary"
    if not path.is_file():
        raise BadInput("a file of weights", f"{path}, which does not exist", advice)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise BadInput("a safetensors file", f"{path}: {error}", advice) from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader's errors have no common type: pickle's, the archive's, PyTorch's own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput("a PyTorch file of plain tensors", f"{path}: {reason}", advice) from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    tensors = isinstance(found, Mapping) and all(isinstance(value, Tensor) for value in found.values())
    if not tensors or not found:
        raise BadInput("named tensors", f"{path}, which holds others", advice)
    return {str(name): value for name, value in found.items()}


def adopt(network: nn.Module, state: Mapping[str, Tensor], head: str, source: str) -> None:
    """Takes over what the network and the state both name; the last layer and what the state lacks stay; in place.

    Args:
        network: its weights are drawn already.
        state: named tensors; further names are left alone.
        head: name of the last layer.
        source: where the state comes from, for the error.

    Raises:
        BadInput: a tensor has another shape, or no name is known.
    """
    own = network.state_dict()
    common = [name for name in own if name in state and name.partition(".")[0] != head]
    if not any(own[name].dim() for name in common):
        known = next(iter(own))
        raise BadInput(f"weights with names like {known}", f"none in {source}", "rename them to those of the network")
    for name in common:
        given = state[name].reshape(own[name].shape) if state[name].numel() == own[name].numel() == 1 else state[name]
        if given.shape != own[name].shape:
            shapes = [" x ".join(map(str, shape)) for shape in (own[name].shape, given.shape)]
            raise BadInput(f"{name} of {shapes[0]}", f"{shapes[1]} in {source}", "give weights of this network")
        own[name].copy_(given)
