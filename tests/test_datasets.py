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
    members = getattr(datasets.adapter(name), "MEMBERS", None)
    with pytest.raises(MicroexprError) as told:
        datasets.load(name, tmp_path if members is None else dict.fromkeys(members, tmp_path))
    assert str(tmp_path) in str(told.value)


def test_a_composite_set_wants_a_folder_for_each_member(tmp_path):
    with pytest.raises(BadInput, match=r"a folder for each member of 3db, got .*; give --root casme2=DIR"):
        datasets.load("3db", tmp_path)
    with pytest.raises(BadInput, match="a folder for each member of 3db, got casme;"):
        datasets.load("3db", {"casme": tmp_path})
    with pytest.raises(BadInput, match="one folder for casme2"):
        datasets.load("casme2", {"smic": tmp_path})
    with pytest.raises(BadInput, match=r"a setting of a member of 3db .* got 'tree'"):
        datasets.load("3db", dict.fromkeys(("casme2", "smic", "samm"), tmp_path), tree="raw")


@names
def test_a_missing_root_says_what_is_expected(name, tmp_path):
    members = getattr(datasets.adapter(name), "MEMBERS", None)
    root = tmp_path / "none" if members is None else dict.fromkeys(members, tmp_path / "none")
    with pytest.raises(DatasetNotFound, match="expected") as told:
        datasets.load(name, root)
    name = next(iter(members)) if members else name  # the first member is missed first
    assert datasets.adapter(name).EXPECTED_TREE.split()[0] in str(told.value)


def test_an_unknown_name_gets_the_nearest_spelling():
    with pytest.raises(UnknownName, match="did you mean 'synthetic'"):
        datasets.load("sinthetic")


def test_part_of_a_set_that_has_none_is_refused():
    with pytest.raises(BadInput, match="synthetic"):
        datasets.load("synthetic", part="casme2")
