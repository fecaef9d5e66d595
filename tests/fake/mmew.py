"""Writes replicas of MMEW: real names, tables and oddities; rows, numbers and pictures are invented.

`full` has 300 micro-expressions of 30 subjects and 900 stills; `small` has a few clips of rendered faces.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import openpyxl

from tests.fake import pictures

TABLE = "MMEW_Micro_Exp.xlsx"
HEADER = (
    *("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion"),
    "remarks",
)
EMOTIONS = ("happiness", "surprise", "anger", "disgust", "fear", "sadness", "others")  # 01, 02, ... in a clip's name
UNITS = (12, "6+12", "1+2", "L10+4", "7", None)
# Rows from 0 that have no usable apex or offset, as many as the table has.
UNUSABLE = (33, *range(35, 43), 142, 143, 145, 146, 148, 154, 156)


@dataclass(frozen=True)
class FakeRow:
    subject: int
    name: str
    onset: int | str | None
    apex: int | str | None
    offset: int | str | None
    units: int | str | None
    emotion: str
    files: int

    @property
    def key(self) -> str:
        return f"mmew/S{self.subject:02d}/{self.name}"


def full_rows() -> list[FakeRow]:
    """300 rows, ten of each subject; 16 of them without an apex or an offset, in several ways."""
    rows = []
    for at in range(300):
        subject, emotion = 1 + at // 10, at % 7
        files = 8 + at % 7  # numbers of one digit and of two
        name = f"S{subject:02d}-{1 + emotion:02d}-{1 + at % 10:03d}"
        rows.append(FakeRow(subject, name, 1, 2 + files // 2, files, UNITS[at % 6], EMOTIONS[emotion], files))
    for number, at in enumerate(UNUSABLE):
        row = rows[at]
        wrong = (
            {"apex": None, "offset": None},
            {"apex": "/", "offset": row.files},
            {"apex": row.apex, "offset": 1},  # not after the onset
            {"apex": 3000, "offset": 3100},  # of the recording, not of the clip
        )
        rows[at] = replace(row, **wrong[number % 4])
    return rows


def small_rows(subjects: int = 3) -> list[FakeRow]:
    """Three clips a subject, one of each class."""
    return [
        FakeRow(subject, f"S{subject:02d}-{1 + at:02d}-001", 1, 5, 9, 12, EMOTIONS[at], 9)
        for subject, at in itertools.product(range(1, subjects + 1), (0, 1, 3))
    ]


def table(root: Path, rows: Sequence[FakeRow], name: str = TABLE) -> Path:
    book = openpyxl.Workbook()
    page = book.active
    page.append(HEADER)
    for row in rows:
        page.append([row.subject, row.name, row.onset, row.apex, row.offset, row.units, row.emotion, None])
    root.mkdir(parents=True, exist_ok=True)
    book.save(root / name)
    return root / name


def folder_of(root: Path, row: FakeRow, by_subject: bool = False) -> Path:
    """Copies have emotions in the tree, or emotions in subjects, where those called others are in repression."""
    tree = root / "Micro_Expression"
    if by_subject:
        emotion = "repression" if row.emotion == "others" else row.emotion
        return tree / f"S{row.subject:02d}" / emotion / row.name
    return tree / row.emotion / row.name


def names_of(row: FakeRow) -> list[str]:
    return [f"{number}.jpg" for number in range(1, row.files + 1)]


def stills(root: Path, source: Path, subjects: int = 30, samples: int = 5) -> None:
    """Macro-expressions: pictures in emotions in subjects, under names that micro-expressions have, too."""
    for subject, emotion in itertools.product(range(1, subjects + 1), range(6)):
        folder = root / "Macro_Expression" / f"S{subject:02d}" / EMOTIONS[emotion]
        names = [f"S{subject:02d}-{1 + emotion:02d}-{sample:03d}.jpg" for sample in range(1, samples + 1)]
        pictures.linked(folder, names, source)


def full(root: Path, by_subject: bool = False) -> Path:
    """300 clips and 900 stills whose pictures are empty files, with junk and a folder that no row names."""
    rows = full_rows()
    table(root, rows)
    source = pictures.empty(root)
    for row in rows:
        pictures.linked(folder_of(root, row, by_subject), names_of(row), source)
    stills(root, source)
    pictures.linked(folder_of(root, rows[0], by_subject).parent / "S01-01-099", ["1.jpg"], source)
    (folder_of(root, rows[0], by_subject) / "Thumbs.db").touch()
    return root


def small(root: Path, subjects: int = 3) -> Path:
    """Three clips a subject of rendered faces, nine frames each."""
    classes = {"happiness": "positive", "disgust": "negative", "surprise": "surprise"}
    rows = small_rows(subjects)
    table(root, rows)
    for row in rows:
        pictures.rendered(folder_of(root, row), names_of(row), row.subject, classes[row.emotion], crop=True)
    return root
