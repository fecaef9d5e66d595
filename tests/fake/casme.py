"""Writes replicas of CASME: real names, tables and oddities; rows, numbers and pictures are invented.

`full` has 189 rows; `small` has a few clips of rendered faces.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import openpyxl

from tests.fake import pictures

TABLE, LATER = "casme.xlsx", "CASME-coded-20190721.xlsx"
HEADER = ("Subject", "Filename", None, "OnsetF", "ApexF1", "ApexF2", "OffsetF", None, "Onset", "Total", "AU", "Emotion")
FOLDERS = {"raw-selected": "CASME_raw_selected", "cropped": "Cropped"}
EMOTIONS = ("tense", "disgust", "repression", "surprise", "happiness", "sadness", "fear", "contempt")
UNITS = (4, "4+17", 12, "R14", "1+2", "L10")
PADDED_FROM = 92  # rows from here on have frame numbers of three digits
BESIDE = (40, 42, 43)  # rows whose interval shares no frame with the folder
SHORT = (54, 140)  # rows whose folder ends before the offset


@dataclass(frozen=True)
class FakeRow:
    subject: int
    name: str
    onset: int
    apex: int | str
    last_apex: int | str | None
    offset: int
    units: int | str
    emotion: str
    files: tuple[int, int]  # the first and the last
    padded: bool = False

    @property
    def key(self) -> str:
        return f"casme/sub{self.subject:02d}/{self.name}"


def full_rows(count: int = 189) -> list[FakeRow]:
    """Rows of 19 subjects with the conflicts between table and folders that are known of five rows."""
    rows = []
    for at in range(count):
        onset = (7, 46, 95, 131)[at % 4]  # widths change within a clip
        offset = onset + 8 + at % 9
        last = (onset + 6, "\\", None)[at % 3]
        name = f"EP{1 + at % 14:02d}_{1 + at % 17}"
        padded = at >= PADDED_FROM
        subject = 1 + at * 19 // count
        rows.append(
            FakeRow(
                *(subject, name, onset, onset + 4, last, offset, UNITS[at % 6], EMOTIONS[at % 8]),
                *((onset, offset), padded),
            )
        )
    for at in BESIDE:
        onset, offset = rows[at].files
        rows[at] = replace(rows[at], files=(onset + 200, offset + 203))
    for at in SHORT:
        onset, offset = rows[at].files
        rows[at] = replace(rows[at], files=(onset, offset - 2))
    rows[60] = replace(rows[60], apex=rows[60].onset, last_apex=rows[60].onset + 6)
    return rows


def small_rows(subjects: int = 3) -> list[FakeRow]:
    """Three clips a subject, one of each class."""
    emotions = ("happiness", "disgust", "surprise")
    return [
        FakeRow(subject, f"EP{1 + at:02d}_5", 96, 100, 101, 104, UNITS[at], emotion, (96, 104))
        for subject, (at, emotion) in itertools.product(range(1, subjects + 1), enumerate(emotions))
    ]


def table(root: Path, rows: Sequence[FakeRow], name: str = TABLE) -> Path:
    """The workbook as described: two columns without a name, a backslash for no second apex frame, durations."""
    book = openpyxl.Workbook()
    page = book.active
    page.append(HEADER)
    for row in rows:
        interval = (row.onset, row.apex, row.last_apex, row.offset)
        page.append((row.subject, row.name, None, *interval, None, 66.7, 200.0, row.units, row.emotion))
    root.mkdir(parents=True, exist_ok=True)
    book.save(root / name)
    return root / name


def folder_of(root: Path, row: FakeRow, tree: str = "raw-selected") -> Path:
    return root / FOLDERS[tree] / f"sub{row.subject:02d}" / row.name


def names_of(row: FakeRow, tree: str = "raw-selected") -> list[str]:
    width = 3 if row.padded else 1
    before = f"{'reg_' if tree == 'cropped' else ''}{row.name}"
    return [f"{before}-{number:0{width}d}.jpg" for number in range(row.files[0], row.files[1] + 1)]


def full(root: Path, tree: str = "raw-selected", release: str = "undated") -> Path:
    """189 clips (193 in the release of 2019) whose pictures are empty files, with junk and a folder of no row."""
    rows = full_rows(193 if release == "2019" else 189)
    table(root, rows, LATER if release == "2019" else TABLE)
    source = pictures.empty(root)
    for row in rows:
        pictures.linked(folder_of(root, row, tree), names_of(row, tree), source)
    pictures.linked(folder_of(root, replace(rows[0], name="EP99_1"), tree), ["EP99_1-1.jpg"], source)
    (folder_of(root, rows[0], tree).parent / "Thumbs.db").touch()
    return root


def small(root: Path, tree: str = "raw-selected", subjects: int = 3) -> Path:
    """Three clips a subject of rendered faces, nine frames each."""
    classes = {"happiness": "positive", "disgust": "negative", "surprise": "surprise"}
    rows = small_rows(subjects)
    table(root, rows)
    for row in rows:
        names, kind = names_of(row, tree), classes[row.emotion]
        pictures.rendered(folder_of(root, row, tree), names, row.subject, kind, crop=tree == "cropped")
    return root
