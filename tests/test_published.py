"""published.csv holds the paper's Table 3 whole, with the notes that a reader must see."""

from __future__ import annotations

import csv
from importlib import resources

import pytest

from microexpr.evaluation.published import published, published_rows

METHODS = [
    *("lbp-top", "bi-woof", "mdmo", "sparse-mdmo", "alexnet", "micro-attention", "atnet", "off-apexnet"),
    *("ststnet", "dual-inception", "capsulenet", "neural-recognizer", "mjfn-bbn", "mjfn-avg", "mjfn"),
]
SETS = ("3db", "smic", "casme2", "samm")


def test_the_file_is_the_whole_table() -> None:
    text = resources.files("microexpr.evaluation").joinpath("published.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == ["method", "dataset", "uf1", "uar", "source", "note"]
    assert [(row["method"], row["dataset"]) for row in rows] == [(name, data) for name in METHODS for data in SETS]
    assert all(row["source"] for row in rows)
    empty = {(row["method"], row["dataset"]) for row in rows if not row["uf1"]}
    assert empty == {(name, data) for name in ("mdmo", "sparse-mdmo") for data in ("3db", "samm")}
    assert all(bool(row["uf1"]) == bool(row["uar"]) for row in rows)


def test_figures_are_percent() -> None:
    assert len(published_rows()) == 56
    assert all(20 <= row.uf1 <= 100 and 20 <= row.uar <= 100 for row in published_rows())


@pytest.mark.parametrize(
    ("method", "dataset", "part", "uf1", "uar"),
    [
        ("mjfn", "3db", None, 83.38, 80.56),
        ("mjfn", "megc2019-flow", None, 83.38, 80.56),
        ("mjfn", "megc2019-flow", "smic", 80.78, 79.95),
        ("mjfn-avg", "3db", "casme2", 91.51, 88.71),
        ("mjfn-bbn", "samm", None, 71.77, 64.87),
        ("lbp-top", "smic", "smic", 20.00, 52.80),
        ("neural-recognizer", "3db", None, 78.85, 78.24),
    ],
)
def test_look_up(method: str, dataset: str, part: str | None, uf1: float, uar: float) -> None:
    row = published(method, dataset, part)
    assert row is not None
    assert (row.uf1, row.uar) == (uf1, uar)


def test_no_figure_is_none() -> None:
    assert published("mdmo", "3db") is None
    assert published("flow-linear", "3db") is None
    assert published("mjfn", "synthetic") is None
    assert published("mjfn", "smic", "samm") is None


def test_the_known_errors_are_noted() -> None:
    true = {"3db": "71.86", "smic": "67.03", "casme2": "81.90", "samm": "64.15"}
    for row in published_rows():
        if row.method == "ststnet":
            assert f"true UAR {true[row.dataset]}" in row.note
        if row.method in ("capsulenet", "neural-recognizer"):
            assert "best epoch on each test subject" in row.note
        if row.method.startswith("mjfn"):
            assert "does not say how the epoch was chosen" in row.note
    samm, smic = published("capsulenet", "samm"), published("lbp-top", "smic")
    assert samm
    assert "62.09" in samm.note
    assert "435" in samm.note
    assert smic
    assert "looks wrong" in smic.note
