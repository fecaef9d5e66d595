"""Every registered data set, because it is registered."""

from pathlib import Path

import pytest

from microexpr import api, datasets
from microexpr.errors import BadInput, DatasetNotFound, MicroexprError, UnknownName

names = pytest.mark.parametrize("name", datasets.names())


@names
def test_says_what_it_is_and_how_to_get_it(name):
    module = datasets.adapter(name)
    for constant in ("WHAT", "CITATION", "LICENCE", "HOW_TO_GET", "EXPECTED_TREE"):
        text = getattr(module, constant)
        assert isinstance(text, str)
        assert text.strip()
    assert set(module.CARRIES) <= {"frames", "flow"}
    assert module.__doc__
    described = api.describe_dataset(name)
    assert described["cite"] == module.CITATION


@names
def test_has_a_docs_section(name):
    page = Path(__file__).parent.parent / "docs" / "datasets.md"
    assert f"`{name}`" in page.read_text(encoding="utf-8")


@names
def test_a_folder_of_something_else_is_told(name, tmp_path):
    (tmp_path / "holiday.txt").write_text("")
    with pytest.raises(MicroexprError) as told:
        datasets.load(name, tmp_path)
    assert str(tmp_path) in str(told.value)


@names
def test_a_missing_root_says_what_is_expected(name, tmp_path):
    with pytest.raises(DatasetNotFound, match="expected") as told:
        datasets.load(name, tmp_path / "none")
    assert datasets.adapter(name).EXPECTED_TREE.split()[0] in str(told.value)


def test_an_unknown_name_gets_the_nearest_spelling():
    with pytest.raises(UnknownName, match="did you mean 'synthetic'"):
        datasets.load("sinthetic")


def test_part_of_a_set_that_has_none_is_refused():
    with pytest.raises(BadInput, match="synthetic"):
        datasets.load("synthetic", part="casme2")
