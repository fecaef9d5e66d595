"""Where a network begins: weights that a user gives, or a training on another data set before the actual one.

A method takes part with three fields: ``pretrain_on``, the name of a registered data set or "", ``pretrain_epochs``,
and ``initial_weights``, a file or "", and with a method ``take_over``. `check` belongs into its ``__post_init__``,
`start` into its ``fit``; `require` is asked before any fold is trained. Nothing is ever downloaded. The last layer is
always drawn anew: its classes are others.
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
INSIDE = ("state_dict", "model_state_dict", "model")  # what checkpoints call the weights beside other things


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
    check_name(method, "pretrain_on")
    if method.initial_weights and not Path(method.initial_weights).is_file():
        missing = f"{method.initial_weights}, which does not exist"
        raise BadInput("a file of initial_weights", missing, "give a file of your own; nothing is downloaded")


def check_name(method: Any, field: str) -> None:
    """Checks the data set that a field names, "" for none, before any data is read.

    Raises:
        UnknownName: none is registered under this name.
        BadInput: it lacks what the method needs.
    """
    name = getattr(method, field)
    if name and name not in datasets.names():
        raise UnknownName("data set", name, datasets.names())
    if name and (lacking := method.needs - set(datasets.adapter(name).CARRIES)):
        wanted = f"a data set with {', '.join(sorted(lacking))} for {field}"
        raise BadInput(wanted, f"{name}, which has none", "name another one")


def require(method: Any) -> None:
    """Tells before any fold is trained what a training would stumble over at its beginning.

    The file is read and taken over by a network; of a data set, the first clip is represented.

    Args:
        method: any; one without the fields is never refused.

    Raises:
        BadInput: the file or a data set can't be used.
    """
    if getattr(method, "initial_weights", "") and hasattr(method, "take_over"):
        method.take_over(method.network(), read_state(Path(method.initial_weights)), method.initial_weights)
    for field in ("pretrain_on", "macro_on"):
        if getattr(method, field, ""):
            usable_clips(method, field)


def start(method: Any, network: nn.Module) -> None:
    """Gives an initialized network the weights that it begins with, except its last layer; in place.

    Args:
        method: has the fields named above; its ``fit`` and ``network_`` do the pre-training.
        network: of this method.

    Raises:
        BadInput: the file or the data set can't be used.
    """
    if method.initial_weights:
        method.take_over(network, read_state(Path(method.initial_weights)), method.initial_weights)
    elif method.pretrain_on:
        method.take_over(network, pretrained_state(method), method.pretrain_on)


def has_macro(name: str) -> bool:
    """Whether the clips of a data set are macro-expressions where it is asked for them."""
    return "macro" in getattr(datasets.adapter(name), "OPTIONS", {}).get("kind", ())


def pretraining_clips(name: str) -> tuple[Clip, ...]:
    """The clips of a data set that is trained on beforehand: its macro-expressions, where it has them."""
    return datasets.load(name, **({"kind": "macro"} if has_macro(name) else {})).clips


def usable_clips(method: Any, field: str) -> tuple[Clip, ...]:
    """The clips of the data set that a field names, after a look at each, and at the first with the method's eyes.

    Raises:
        DatasetNotFound: the set lies nowhere.
        BadInput: its clips do not carry what the method needs, or show one emotion only.
    """
    name, advice = getattr(method, field), "name another data set"
    clips = pretraining_clips(name)
    for clip in clips:
        if lacking := method.needs - clip.carries:
            wanted = f"a data set with {', '.join(sorted(method.needs))} for {field}"
            raise BadInput(wanted, f"{name}, whose {clip.key} lacks {', '.join(sorted(lacking))}", advice)
    emotions = {clip.emotion for clip in clips}
    if len(emotions) < 2:
        raise BadInput(f"a data set of at least 2 emotions for {field}", f"{len(emotions)} in {name}", advice)
    try:
        _represented(method, clips[0])
    except BadInput as error:
        told = str(error).partition("; ")[0]
        raise BadInput(f"clips that this method can look at for {field}", f"{name}: {told}", advice) from error
    return clips


def pretraining_set(
    method: Any, field: str = "pretrain_on"
) -> tuple[np.ndarray, Int[np.ndarray, " clip"], tuple[str, ...]]:
    """A data set as the method sees it: every clip with the label that the set itself gives it.

    Of sets that annotate macro-expressions too, these; faces are aligned, and an apex that is not annotated is found by
    the largest mean flow.

    Args:
        method: represents the clips.
        field: of the method, which names the data set; it is found as `datasets.load` finds it.

    Returns:
        The represented clips, their class numbers, and the classes: the emotions of the set by name.

    Raises:
        DatasetNotFound, BadInput: as `usable_clips`.
    """
    clips = usable_clips(method, field)
    classes = tuple(sorted({clip.emotion for clip in clips}))
    x = np.stack([_represented(method, clip) for clip in clips])
    return x, np.array([classes.index(clip.emotion) for clip in clips]), classes


def _represented(method: Any, clip: Clip) -> np.ndarray:
    """What a method sees of a clip without its label."""
    blind = dataclasses.replace(clip, subject="", emotion="", action_units=())
    return np.asarray(method.represent(with_apex(aligned(blind))))


def pretrained_state(method: Any) -> dict[str, Tensor]:
    """Parameters and running statistics of the method's network after ``pretrain_epochs`` on ``pretrain_on``.

    The same network with as many classes as the set has, trained by the method's own ``fit`` with its seed. The state
    depends on settings and data set only, so it is trained once in a process and serves every fold.
    """
    settings = {key: value for key, value in settings_of(method).items() if key not in ("classes", "epochs")}
    root = os.environ.get(datasets.root_variable(method.pretrain_on), "")
    key = json.dumps([type(method).__qualname__, settings, root], sort_keys=True)
    if key not in _kept:
        x, y, classes = pretraining_set(method)
        before = {"classes": len(classes), "epochs": method.pretrain_epochs, "pretrain_on": ""}
        fitted = dataclasses.replace(method, **before).fit(x, y, [""] * len(y))
        while len(_kept) >= MOST_KEPT:
            _kept.pop(next(iter(_kept)))
        _kept[key] = {name: value.detach().cpu().clone() for name, value in fitted.network_.state_dict().items()}
    return _kept[key]


def read_state(path: Path) -> dict[str, Tensor]:
    """Named tensors from a safetensors file, or from a PyTorch file by the reader that runs no code in it.

    A PyTorch file may hold the names themselves or keep them under one of the names in `INSIDE`.

    Raises:
        BadInput: no such file, one that is neither, one without named tensors, or with numbers that are not finite.
    """
    advice = "give a safetensors file or a PyTorch state dictionary"
    if not path.is_file():
        raise BadInput("a file of weights", f"{path}, which does not exist", advice)
    found = _safetensors(path, advice) if path.suffix == ".safetensors" else _checkpoint(path, advice)
    for name, value in found.items():
        if not torch.isfinite(value).all():
            raise BadInput(f"finite weights in {path}", f"others in {name}", "give a whole file")
    return found


def _safetensors(path: Path, advice: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadInput("a safetensors file", f"{path}: {error}", advice) from error


def _checkpoint(path: Path, advice: str) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader's errors have no common type: pickle's, the archive's, PyTorch's own
        came = f"{path}, which is no such file, or a damaged one, or holds more than tensors"
        raise BadInput("a PyTorch file of plain tensors", came, advice) from error
    for name in INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
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
