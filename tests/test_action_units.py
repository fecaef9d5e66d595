"""Action units as the tables spell them; the spellings are those of CASME II, SAMM and CAS(ME)^3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microexpr.datasets.action_units import ActionUnit, parse


@pytest.mark.parametrize(
    ("typed", "texts", "rest"),
    [
        ("4+L10", ("4", "L10"), ()),
        (12, ("12",), ()),
        (12.0, ("12",), ()),
        ("(R6 or R12)+R15", ("R6 or R12", "R15"), ()),
        ("7B+ ref(43)", ("7B",), ("ref(43)",)),
        ("L12 + 61", ("L12", "61"), ()),
        ("10A/B", ("10A/B",), ()),
        ("A/L12", ("A/L12",), ()),
        ("R14+17+soft focus", ("R14", "17"), ("soft focus",)),
        ("R14A or 17A or 24A", ("R14A or 17A or 24A",), ()),
        ("12+15 ", ("12", "15"), ()),
        ("4，11", ("4", "11"), ()),  # noqa: RUF001
        ("1+2,", ("1", "2"), ()),
        ("?", (), ("?",)),
        (None, (), ()),
        ("", (), ()),
        ("AU4+AU7", ("4", "7"), ()),
        ("0+100", (), ("0", "100")),
    ],
)
def test_spellings(typed, texts, rest):
    found = parse(typed)
    assert found.texts == texts
    assert found.rest == rest


def test_structure():
    found = parse("(R6 or L12C)+B15")
    assert found.groups == ((ActionUnit(6, "R"), ActionUnit(12, "L", "C")), (ActionUnit(15, "B"),))
    assert found.numbers == {6, 12, 15}


@given(st.text(alphabet="0123456789+LRABTUor ,()/?xyz", max_size=30))
def test_nothing_is_dropped_and_texts_read_again(text):
    found = parse(text)
    assert parse("+".join(f"({one})" for one in found.texts)).groups == found.groups
    digits = [letter for letter in text if letter.isdigit()]
    kept = [letter for part in (*found.texts, *found.rest) for letter in part if letter.isdigit()]
    leading = text.count("0")  # 04 is read as 4
    assert len(digits) - leading <= len(kept) <= len(digits)
