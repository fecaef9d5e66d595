"""The data sets: one literal table, name -> module. Modules are imported when they are asked for."""

from __future__ import annotations

import dataclasses
import importlib
import os
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

from microexpr.errors import BadInput, DatasetNotFound, UnknownName
from microexpr.types import Dataset

DATASETS = {
    "synthetic": "microexpr.datasets.synthetic",
    "megc2019-flow": "microexpr.datasets.megc2019_flow",
}

# Sets that are made rather than read: a root is possible but not needed, and figures on them are no evidence.
RENDERED = frozenset({"synthetic"})


def names() -> list[str]:
    """The registered data sets."""
    return list(DATASETS)


def adapter(name: str) -> ModuleType:
    """The module of a data set: `read`, and the constants WHAT, CARRIES, CLIPS, SUBJECTS, CITATION, LICENCE, HOW_TO_GET
    and EXPECTED_TREE.

    Raises:
        UnknownName: nothing is registered under the name.
    """
    if name not in DATASETS:
        raise UnknownName("data set", name, DATASETS)
    return importlib.import_module(DATASETS[name])


def load(name: str, root: Path | str | None = None, part: str | None = None, **options: Any) -> Dataset:
    """Reads a data set.

    Args:
        name: a key of `DATASETS`.
        root: its folder; otherwise the environment variable ``MICROEXPR_<NAME>``, otherwise the user's config file.
        part: one member database of a composite set, e.g. ``"casme2"``.
        options: settings of a rendered set (``subjects``, ``clips_per_subject``, ``fps``, ``peak``, ``seed``; and
            ``crop``, which goes with a root too).

    Raises:
        DatasetNotFound: no root, or it is no folder.
        BadInput: the folder is not what the adapter expects, or the part has no clip.
    """
    module = adapter(name)
    to_render = options.keys() - {"crop"}
    if options and name not in RENDERED:
        raise BadInput(f"no settings for {name}, which is read", ", ".join(options), "leave them out")
    if to_render and root is not None:
        raise BadInput("a root or settings to render with", f"both for {name}", "leave one of them out")
    # Who asks for certain clips wants them rendered, whatever folder the environment names.
    folder = None if to_render else _root(name, root)
    if folder is None and name in RENDERED:
        clips = module.read(None, **options)
    else:
        if folder is None or not folder.is_dir():
            raise DatasetNotFound(name, folder, root_variable(name), module.EXPECTED_TREE, module.HOW_TO_GET)
        clips = module.read(folder.absolute(), **options)  # frames are read later, maybe from another folder
    whole = Dataset(name, tuple(clips), rendered=name in RENDERED)
    return whole if part is None else part_of(whole, part)


def part_of(data: Dataset, part: str) -> Dataset:
    """The clips of one member database of a composite set.

    Raises:
        BadInput: no clip comes from that database.
    """
    known = sorted({clip.dataset for clip in data.clips})
    if part not in known:
        raise BadInput(
            f"a part of {data.name} ({', '.join(known)})", repr(part), "name one of them or leave --part out"
        )
    kept = tuple(clip for clip in data.clips if clip.dataset == part)
    return dataclasses.replace(data, clips=kept, part=part)


def root_variable(name: str) -> str:
    """Environment variable that may name a data set's folder."""
    return "MICROEXPR_" + name.upper().replace("-", "_")


def _root(name: str, root: Path | str | None) -> Path | None:
    """--root, else the environment, else the config file; never a search through parent folders."""
    if root is not None:
        return Path(root).expanduser()
    if text := os.environ.get(root_variable(name)):
        return Path(text).expanduser()
    from platformdirs import user_config_path

    config = user_config_path("microexpr") / "config.toml"
    if not config.is_file():
        return None
    try:
        roots = tomllib.loads(config.read_text(encoding="utf-8")).get("roots", {})
        return Path(roots[name]).expanduser() if name in roots else None
    except (tomllib.TOMLDecodeError, TypeError, AttributeError) as error:
        raise BadInput(
            "a TOML file with a table [roots]", f"{config}: {error}", 'write: [roots] and "name" = "folder"'
        ) from error
