"""Writes replicas of 4DME: real names, tables and oddities; rows, numbers and pictures are invented.

`full` has 267 rows; `small` has a few clips of rendered faces.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import openpyxl

from tests.fake import pictures

TABLE = "4DME_Labelling_Micro_release v1.xlsx"
HEADER = ("sub_ID", "fold_name", "Emotion", "eye blink", "Onset", "Apex", "Offset", "Total", "AUs")
ONE_HOT = ("Positive", "Negative", "Surprise", "Repression", "Others")
EMOTIONS = ("Positive", "Negative", "Surprise+Positive", "Repression", "Others", "Surprise", "Negative+Repression")
UNITS = ("12", "AU4(k)+L7", "AUR2+12(k)+45", "6+12", "AU14", "1+2+5", "4", "L10+4 (k)")
EXCHANGED = (144, 145)


@dataclass(frozen=True)
class FakeRow:
    subject: str
    name: str
    emotion: str
    onset: int
    apex: int
    offset: int
    units: str

    @property
    def key(self) -> str:
        return f"4dme/{self.subject}/{self.name}"


def full_rows() -> list[FakeRow]:
    """267 rows of invented subjects, each with its own action units."""
    rows = []
    for at in range(267):
        subject = f"S{3 + at // 7:02d}"
        onset = 90 + 17 * at  # of the long video: widths change within a clip
        length = 8 + at % 11
        name = f"{subject}_{1 + at % 9:03d}_{1 + at % 7:02d}_{at % 7}"
        rows.append(FakeRow(subject, name, EMOTIONS[at % 7], onset, onset + length // 2, onset + length, UNITS[at % 8]))
    return rows


def small_rows(subjects: int = 3) -> list[FakeRow]:
    """Three clips a subject, one of each class."""
    emotions = ("Positive", "Negative", "Surprise")
    return [
        FakeRow(f"S{subject:02d}", f"S{subject:02d}_{1 + at:03d}_01_1", emotion, 96, 100, 104, UNITS[at])
        for subject, (at, emotion) in itertools.product(range(8, 8 + subjects), enumerate(emotions))
    ]


def table(root: Path, rows: Sequence[FakeRow], apostrophes: bool = False, name: str = TABLE) -> Path:
    """The workbook as described; in the table of 267 rows two of them have each other's action units."""
    book = openpyxl.Workbook()
    page = book.active
    header = (*HEADER, *ONE_HOT)
    page.append([f"{title}'" for title in header] if apostrophes else header)
    units = [row.units for row in rows]
    if len(rows) > max(EXCHANGED):
        first, second = EXCHANGED
        units[first], units[second] = units[second], units[first]
    for row, coded in zip(rows, units, strict=True):
        ones = [int(one in row.emotion.split("+")) for one in ONE_HOT]
        interval = (row.onset, row.apex, row.offset, row.offset - row.onset + 1)
        page.append((row.subject, row.name, row.emotion, 0, *interval, coded, *ones))
    root.mkdir(parents=True, exist_ok=True)
    book.save(root / name)
    return root / name


def folder_of(root: Path, row: FakeRow) -> Path:
    return root / "gray_micro" / row.subject / row.name


def names_of(row: FakeRow) -> list[str]:
    return [f"{number}.jpg" for number in range(row.onset, row.offset + 1)]


def full(root: Path, apostrophes: bool = False) -> Path:
    """267 clips whose pictures are empty files, with a folder that no row names."""
    rows = full_rows()
    table(root, rows, apostrophes)
    source = pictures.empty(root)
    for row in rows:
        pictures.linked(folder_of(root, row), names_of(row), source)
    pictures.linked(folder_of(root, rows[0]).parent / "S03_1st_001_01_1", ["1.jpg"], source)
    return root


def small(root: Path, subjects: int = 3) -> Path:
    """Three clips a subject of rendered faces, nine frames each, gray."""
    rows = small_rows(subjects)
    table(root, rows)
    for row in rows:
        kind = row.emotion.lower()
        pictures.rendered(folder_of(root, row), names_of(row), int(row.subject[1:]), kind, gray=True)
    return root
