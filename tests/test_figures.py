"""The figures that README.md and docs/ show are those in results/, and results/ is complete and sane."""

import csv
import importlib.util
from pathlib import Path

import pytest

from microexpr import methods

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("collect", ROOT / "benchmarks" / "collect.py")
collect = importlib.util.module_from_spec(spec)
spec.loader.exec_module(collect)


@pytest.mark.parametrize("page", ["README.md", "docs/results.md", "docs/flow.md"])
def test_tables_are_current(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert "<!-- figures: " in text
    assert collect.renewed(text) == text, "run: python benchmarks/collect.py --tables"


@pytest.mark.parametrize("file", sorted((ROOT / "results").glob("megc2019-flow*.csv")), ids=lambda file: file.name)
def test_every_measured_row_says_what_it_is(file):
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    for row in rows:
        assert row["method"] in methods.names()
        assert row["command"].startswith("microexpr evaluate ")
        assert "torch" in row["versions"]
        for figure in ("uf1", "uar"):
            assert 0 <= float(row[f"{figure}_low"]) <= float(row[figure]) <= float(row[f"{figure}_high"]) <= 100
