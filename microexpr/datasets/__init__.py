"""The data sets: one literal table, name -> module. Modules are imported when they are asked for."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from microexpr.errors import BadInput, DatasetNotFound, UnknownName
from microexpr.types import Clip, Dataset

DATASETS = {
    "synthetic": "microexpr.datasets.synthetic",
    "megc2019-flow": "microexpr.datasets.megc2019_flow",
    "smic": "microexpr.datasets.smic",
    "casme2": "microexpr.datasets.casme2",
    "samm": "microexpr.datasets.samm",
    "3db": "microexpr.datasets.composite",
    "casme3": "microexpr.datasets.casme3",
    "casme-sq": "microexpr.datasets.casme_sq",
    "samm-lv": "microexpr.datasets.samm_lv",
    "mmew": "microexpr.datasets.mmew",
    "casme": "microexpr.datasets.casme",
    "4dme": "microexpr.datasets.fourdme",
    "dfme": "microexpr.datasets.dfme",
}

# Sets that are made rather than read: a root is possible but not needed, and figures on them are no evidence.
RENDERED = frozenset({"synthetic"})

# A folder; of a composite set the folders of its members.
Root = Path | str | Mapping[str, Path | str]


def names() -> list[str]:
    """The registered data sets."""
    return list(DATASETS)


def adapter(name: str) -> ModuleType:
    """The module of a data set: `read`, and the constants WHAT, CARRIES, CLIPS, SUBJECTS, CITATION, LICENCE, HOW_TO_GET
    and EXPECTED_TREE; of a recorded one also `survey` and OPTIONS.

    Raises:
        UnknownName: nothing is registered under the name.
    """
    if name not in DATASETS:
        raise UnknownName("data set", name, DATASETS)
    return importlib.import_module(DATASETS[name])


def load(
    name: str, root: Root | None = None, part: str | None = None, *, damaged: str = "stop", **options: Any
) -> Dataset:
    """Reads a data set: its tables and the names of its files; pictures are read when they are asked for.

    Args:
        name: a key of `DATASETS`.
        root: its folder, of a composite set a mapping from member to folder; otherwise the environment variable
            ``MICROEXPR_<NAME>``, otherwise the user's config file.
        part: one member database of a composite set, e.g. ``"casme2"``; the folders of the others are not needed.
        damaged: ``"stop"``, or ``"skip"`` to leave out the clips of a recorded set that can't be read.
        options: settings of the set: of a recorded one those of its ``OPTIONS``; of a rendered one ``subjects``,
            ``clips_per_subject``, ``fps``, ``peak``, ``seed``, and ``crop``, which goes with a root too.

    Raises:
        DatasetNotFound: no root, or it is no folder.
        BadInput: the folder is not what the adapter expects, a setting is wrong, or the part has no clip.
    """
    module = adapter(name)
    surveyed = hasattr(module, "survey")
    if options and not surveyed and name not in RENDERED:
        raise BadInput(f"no settings for {name}, which is read", ", ".join(options), "leave them out")
    if surveyed:
        clips = module.read(root_of(name, root, part), damaged=damaged, **options)
    else:
        clips = _read_simple(name, root, options)
    given = {option: str(value) for option, value in options.items()}
    whole = Dataset(name, tuple(clips), rendered=name in RENDERED, options=given)
    return whole if part is None else part_of(whole, part)


def _read_simple(name: str, root: Root | None, options: dict[str, Any]) -> list[Clip]:
    """A set without a survey: rendered, or of one file format in one folder."""
    module = adapter(name)
    options = _typed(name, module, options)
    to_render = options.keys() - {"crop"}
    if to_render and root is not None:
        raise BadInput("a root or settings to render with", f"both for {name}", "leave one of them out")
    # Who asks for certain clips wants them rendered, whatever folder the environment names.
    if name in RENDERED and (to_render or _folder(name, root) is None):
        return module.read(None, **options)
    return module.read(root_of(name, root), **options)


def _typed(name: str, module: ModuleType, options: dict[str, Any]) -> dict[str, Any]:
    """The settings of a rendered set; numbers that came as text, from a command line, as numbers."""
    known = {key: one.default for key, one in inspect.signature(module.read).parameters.items() if key != "root"}
    typed = {}
    for option, value in options.items():
        if option not in known:
            raise BadInput(f"a setting of {name} ({', '.join(known)})", repr(option), "leave it out")
        kind = type(known[option])
        try:
            typed[option] = _value(value, kind) if isinstance(value, str) else value
        except ValueError as error:
            raise BadInput(f"{option} of {name} to be {kind.__name__}", repr(value), "write it like that") from error
    return typed


def _value(text: str, kind: type) -> Any:
    if kind is not bool:
        return kind(text)
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def root_of(name: str, root: Root | None = None, part: str | None = None) -> Any:
    """The folder of a data set, absolute (frames are read later, maybe from another folder).

    Of a composite set a mapping from member to folder; of a part of it, that member alone.

    Raises:
        DatasetNotFound: there is none, or it is no folder.
        BadInput: one folder for a composite set, or several for a single one, or no such part.
    """
    members = getattr(adapter(name), "MEMBERS", None)
    if members is not None:
        given = root if isinstance(root, Mapping) else {}
        wrong = root if root is not None and not isinstance(root, Mapping) else next(iter(given.keys() - members), None)
        if wrong is not None:
            each = " ".join(f"--root {member}=DIR" for member in members)
            raise BadInput(f"a folder for each member of {name}", str(wrong), f"give {each}")
        if part is not None and part not in members:
            raise BadInput(
                f"a part of {name} ({', '.join(members)})", repr(part), "name one of them or leave --part out"
            )
        return {member: root_of(member, given.get(member)) for member in members if part in (None, member)}
    if isinstance(root, Mapping):
        if root.keys() != {name}:
            raise BadInput(f"one folder for {name}", ", ".join(map(str, root)), "give --root DIR")
        root = root[name]
    folder = _folder(name, root)
    if folder is None or not folder.is_dir():
        module = adapter(name)
        raise DatasetNotFound(name, folder, root_variable(name), module.EXPECTED_TREE, module.HOW_TO_GET)
    return folder.absolute()


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


def _folder(name: str, root: Root | None) -> Path | None:
    """--root, else the environment, else the config file; never a search through parent folders."""
    if isinstance(root, Path | str):
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
