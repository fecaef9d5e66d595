"""Imports run down: DESIGN's layers, read off the source."""

import ast
from pathlib import Path

import pytest

import microexpr

PACKAGE = Path(microexpr.__file__).parent
LEVELS = [
    {"types", "errors"},
    {"kernels"},
    {"motion", "faces", "datasets", "spotting"},
    {"methods", "evaluation", "video"},
    {"api", "beforehand", "catalog", "preparation", "experiments", "videos", "classifier", "demonstration"},
    {"cli", "cli_app", "cli_data", "cli_evaluate", "cli_parser", "cli_video", "app", "page", "terminal", "__main__"},
]
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
# Within a level: the one chain, and what a part may import of its neighbors.
CHAIN = {
    *(("spotting", "motion"), ("spotting", "faces"), ("motion", "faces")),
    *(("experiments", "api"), ("api", "beforehand"), ("api", "catalog"), ("api", "preparation")),
    *(("videos", "classifier"), ("demonstration", "api"), ("demonstration", "videos")),
    *(
        ("__main__", "cli"),
        ("cli", "cli_evaluate"),
        ("cli", "cli_parser"),
        ("cli", "cli_video"),
        ("cli", "cli_data"),
        ("cli_evaluate", "cli_data"),
        ("cli_data", "terminal"),
        ("cli_evaluate", "terminal"),
        ("cli_video", "terminal"),
        ("cli", "terminal"),
        ("cli_parser", "terminal"),
        ("cli_parser", "page"),
        ("cli", "cli_app"),
        ("cli_app", "terminal"),
        ("cli_app", "page"),
        ("cli_app", "app"),
        ("app", "page"),
    ),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Parts of the package that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: a relative import hides its layer"
            names = [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("microexpr.")}
    return found & set(LEVEL)


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_part_has_a_level():
    assert {part_of(file) for file in FILES} - {"__init__"} <= set(LEVEL)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_down(file):
    part = part_of(file)
    if part == "__init__":
        return  # the public names, imported when they are asked for
    for other in imported(file) - {part}:
        below = LEVEL[other] < LEVEL[part]
        # CLI commands show what api verbs gave with the printers of evaluation: down, which is allowed.
        assert below or (part, other) in CHAIN, f"{part} imports {other}"


def test_evaluation_and_methods_never_import_each_other():
    for file in FILES:
        if part_of(file) == "evaluation":
            assert "methods" not in imported(file), file
        if part_of(file) == "methods":
            assert "evaluation" not in imported(file), file


def test_datasets_stand_alone():
    for file in FILES:
        if part_of(file) == "datasets":
            assert imported(file) <= {"datasets", "types", "errors"}, file
