"""The line of a live run: a trace that keeps its width, at most ten times a second, and only on a terminal."""

import io
import math
from types import SimpleNamespace

import pytest

from microexpr import terminal


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    shown = Screen()
    monkeypatch.setattr(terminal, "sys", SimpleNamespace(stderr=shown))  # pytest exchanges the real one
    return shown


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def drawn(screen):
    return screen.getvalue().split("\r\x1b[2K")[1:]


def test_the_line_shows_the_largest_level_of_each_tenth(screen, clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    line = terminal.LiveLine()
    for step in range(30):
        clock[0] = 100 + step / 32  # every fourth one is drawn
        line.show(4.0 if step == 10 else 0.0, 2.0, f"frame {step}")
    lines = drawn(screen)
    assert [one.rpartition("frame ")[2] for one in lines] == [f"{step}" for step in range(0, 30, 4)]
    assert "█" in lines[3]  # twice the threshold fills the line; it came between two drawings
    assert "█" not in lines[2]
    assert {len(one.split("frame")[0]) for one in lines} == {terminal.LiveLine.SAMPLES + 1}


def test_no_face_and_no_threshold_yet(screen, clock):
    line = terminal.LiveLine()
    for level, threshold in ((math.nan, 1.0), (1.0, math.nan), (1.0, 0.0)):
        clock[0] += 1
        line.show(level, threshold, "text")
    assert [one.strip() for one in drawn(screen)] == ["text"] * 3


def test_a_narrow_terminal_cuts_the_line(screen, clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    terminal.LiveLine().show(1.0, 1.0, "x" * 100)
    assert [len(one) for one in drawn(screen)] == [49]


def test_nothing_where_there_is_no_terminal(monkeypatch):
    plain = io.StringIO()
    monkeypatch.setattr(terminal, "sys", SimpleNamespace(stderr=plain))
    line = terminal.LiveLine()
    line.show(1.0, 1.0, "text")
    line.clear()
    assert plain.getvalue() == ""


def test_nothing_where_it_is_not_wanted(screen):
    terminal.LiveLine(wanted=False).show(1.0, 1.0, "text")
    assert screen.getvalue() == ""
