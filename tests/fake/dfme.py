"""Writes replicas of DFME: real names and tables; rows, numbers and pictures are invented.

`full` has the published counts of clips and subjects; `small` has a few clips of rendered faces.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import openpyxl

from tests.fake import pictures

TABLES = {
    "train": "training_full_with_AU.xlsx",
    "testA": "testA_full_with_AU.xlsx",
    "testB": "testB_full_with_AU.xlsx",
}
TREES = {"train": "DFME_train", "testA": "DFME_testA", "testB": "DFME_testB"}
HEADER = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU")
EMOTIONS = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
COUNTS = {"train": (1856, 176), "testA": (474, 42), "testB": (299, 41)}
FIRST = {"train": 1, "testA": 301, "testB": 401}  # subject; no two sets share one
RATES = (200, 300, 500)
UNITS = ("4", "AU4+AU7", 12, "6+12", "1+2", "14")


@dataclass(frozen=True)
class FakeRow:
    subject: int
    name: str
    onset: int
    apex: int
    offset: int
    emotion: str
    rate: float
    units: int | str

    @property
    def key(self) -> str:
        return f"dfme/sub{self.subject:04d}/{self.name}"


def full_rows(split: str) -> list[FakeRow]:
    """As many rows and subjects as published."""
    count, subjects = COUNTS[split]
    rows = []
    for at in range(count):
        subject = FIRST[split] + at % subjects
        name = f"sub{subject:04d}_{at // subjects:02d}"
        onset = (0, 8, 98)[at % 3]
        rows.append(
            FakeRow(subject, name, onset, onset + 2, onset + 3, EMOTIONS[at % 7], RATES[subject % 3], UNITS[at % 6])
        )
    return rows


def small_rows(subjects: int = 3) -> list[FakeRow]:
    """Three clips a subject, one of each class."""
    emotions = ("happiness", "disgust", "surprise")
    return [
        FakeRow(subject, f"sub{subject:04d}_{at:02d}", 96, 100, 104, emotion, RATES[subject % 3], UNITS[at])
        for subject, (at, emotion) in itertools.product(range(3, 3 + subjects), enumerate(emotions))
    ]


def table(root: Path, rows: Sequence[FakeRow], split: str = "train", name: str = "") -> Path:
    book = openpyxl.Workbook()
    page = book.active
    page.append(HEADER)
    for row in rows:
        number = EMOTIONS.index(row.emotion)
        interval = (row.onset, row.apex, row.offset)
        label = (row.emotion.capitalize(), number)
        page.append((f"sub{row.subject:04d}", row.name, *interval, *label, row.rate, row.units))
    root.mkdir(parents=True, exist_ok=True)
    file = root / (name or TABLES[split])
    book.save(file)
    return file


def folder_of(root: Path, row: FakeRow, split: str = "train") -> Path:
    return root / TREES[split] / row.name


def names_of(row: FakeRow) -> list[str]:
    return [f"{number:05d}.png" for number in range(row.onset, row.offset + 1)]


def full(root: Path, splits: Sequence[str] = ("train", "testA", "testB")) -> Path:
    """Clips of four frames whose pictures are empty files."""
    source = pictures.empty(root)
    for split in splits:
        rows = full_rows(split)
        table(root, rows, split)
        for row in rows:
            pictures.linked(folder_of(root, row, split), names_of(row), source)
    return root


def small(root: Path, split: str = "train", subjects: int = 3) -> Path:
    """Three clips a subject of rendered faces, nine frames each."""
    classes = {"happiness": "positive", "disgust": "negative", "surprise": "surprise"}
    rows = small_rows(subjects)
    table(root, rows, split)
    for row in rows:
        pictures.rendered(folder_of(root, row, split), names_of(row), row.subject, classes[row.emotion])
    return root
