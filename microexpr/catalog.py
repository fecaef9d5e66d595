"""What there is: data sets and methods in words, and whether a copy of a data set is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microexpr.datasets.doctor import Checkup


def check(
    name: str,
    root: Path | str | Mapping[str, Path | str] | None = None,
    *,
    pictures: bool = False,
    official: Path | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    **options: str,
) -> Checkup:
    """The data set doctor; see `datasets.doctor.check`."""
    from microexpr.datasets import doctor

    told = (lambda done, total: progress("open pictures", done, total)) if progress else None
    return doctor.check(name, root, pictures=pictures, official=official, progress=told, **options)


def describe_datasets() -> list[dict[str, Any]]:
    """One row per registered data set."""
    from microexpr import datasets

    keys = ("name", "what", "clips", "subjects", "carries")
    return [{key: described[key] for key in keys} for described in map(describe_dataset, datasets.names())]


def describe_dataset(name: str) -> dict[str, Any]:
    """What a data set is, its licence, how to get it, the expected folder and how to cite it."""
    from microexpr import datasets

    module = datasets.adapter(name)
    unknown = "as asked" if name in datasets.RENDERED else "not stated"
    return {
        "name": name,
        "what": module.WHAT,
        "clips": module.CLIPS or unknown,
        "subjects": module.SUBJECTS or unknown,
        "carries": module.CARRIES,
        "licence": module.LICENCE,
        "how_to_get": module.HOW_TO_GET,
        "expected": "\n".join(line.strip() for line in module.EXPECTED_TREE.strip().splitlines()),
        "root": _root(name, getattr(module, "MEMBERS", ())),
        **({"settings": _options(module.OPTIONS)} if getattr(module, "OPTIONS", None) else {}),
        "cite": module.CITATION,
    }


def _root(name: str, members: Iterable[str]) -> str:
    """How the folder of a data set is given, or those of its members."""
    from microexpr import datasets

    options = " ".join(f"--root {member}=DIR" for member in members) or "--root"
    variables = " ".join(map(datasets.root_variable, members)) or datasets.root_variable(name)
    return f"{options}, or the environment variable{'s' if members else ''} {variables}"


def _options(options: Mapping[str, tuple[str, ...]]) -> str:
    """The settings of a data set with the values that they can have, the usual one first."""
    return "; ".join(
        f"{name}: {', '.join(value or '(by itself)' for value in values)}" for name, values in options.items()
    )


def describe_methods() -> list[dict[str, Any]]:
    """One row per registered method."""
    from microexpr import methods

    return [
        {
            "name": name,
            "what": methods.entry(name).title,
            "needs": sorted(methods.create(name).needs),
            "doi": methods.entry(name).doi,
        }
        for name in methods.names()
    ]


def describe_method(name: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A method's reference, settings and, for a network, every layer with its output shape and parameters."""
    from microexpr import methods
    from microexpr.methods._settings import settings_of

    method: Any = methods.create(name, **(settings or {}))
    layers = method.layers() if hasattr(method, "layers") else []
    columns = ("layer", "kind", "output", "parameters")
    return {
        "name": name,
        "what": methods.entry(name).title,
        "doi": methods.entry(name).doi or "none",
        "needs": sorted(method.needs),
        **({"parameters": sum(layer[-1] for layer in layers)} if layers else {}),
        "settings": settings_of(method),
        "layers": [dict(zip(columns, layer, strict=True)) for layer in layers],
    }
