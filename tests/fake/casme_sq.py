"""Writes replicas of CAS(ME)^2: real names, tables and oddities; rows, numbers and pictures are invented.

`full` has 57 micro- and 300 macro-expressions of 22 subjects with the published counts of emotions; `small` has nine
clips of rendered faces that a method can learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import openpyxl

from tests.fake import pictures

TABLE, LATER = "CAS(ME)^2code_final.xlsx", "CAS(ME)^2code_final(Updated).xlsx"
FOLDERS = (15, 16, *range(19, 39), 40)[:22]  # number of a subject in the table, from 1 -> of its folder
VIDEOS = {"disgust1": "0101", "anger1": "0401", "happy1": "0502", "happy4": "0507"}
WORDS = {"0101": "disgustingteeth", "0401": "girlcrashing", "0502": "funnyerrors", "0507": "climbingthewall"}
MICRO = {"negative": 21, "others": 19, "surprise": 9, "positive": 8}
MACRO = {"negative": 105, "positive": 116, "others": 63, "surprise": 16}
UNITS = (4, 12, "4+7", "L14+R14", 1)
NO_OFFSET = 44


@dataclass(frozen=True)
class FakeRow:
    subject: int
    name: str
    onset: int
    apex: int
    offset: int
    units: int | str
    emotion: str
    kind: str

    @property
    def folder(self) -> int:
        return FOLDERS[self.subject - 1]

    @property
    def code(self) -> str:
        return VIDEOS[self.name.partition("_")[0]]

    @property
    def key(self) -> str:
        return f"casme-sq/s{self.folder}/{self.name}"

    @property
    def last(self) -> int:
        return self.offset or self.apex


def full_rows() -> list[FakeRow]:
    """357 rows with the published margins; 44 without an offset, one of the micro-expressions without an apex."""
    named = [("micro", name) for name, count in MICRO.items() for _ in range(count)]
    named += [("macro", name) for name, count in MACRO.items() for _ in range(count)]
    ends: dict[tuple[int, str], int] = {}
    counted: dict[tuple[int, str], int] = {}
    rows = []
    for at in range(len(named)):
        # A step that shares no factor with their number mixes the kinds.
        kind, emotion = named[10 * at % len(named)]
        subject, video = 1 + at % 22, list(VIDEOS)[at // 22 % 4]
        place = (subject, video)
        counted[place] = counted.get(place, 0) + 1
        onset = ends.get(place, 88) + 4  # widths change within a video
        length = 8 + at % 7 if kind == "micro" else 20 + at % 9
        ends[place] = onset + length
        offset = 0 if at % 8 == 3 and at // 8 < NO_OFFSET else onset + length
        name = f"{video}_{counted[place]}"
        rows.append(FakeRow(subject, name, onset, onset + length // 2, offset, UNITS[at % 5], emotion, kind))
    at = next(at for at, row in enumerate(rows) if row.kind == "micro" and row.offset)
    rows[at] = replace(rows[at], apex=0)
    return rows


def small_rows(subjects: int = 3) -> list[FakeRow]:
    """Three clips a subject, one of each class, the last two in one video."""
    places = (("happy1_1", 96, "positive"), ("disgust1_1", 96, "negative"), ("disgust1_2", 196, "surprise"))
    return [
        FakeRow(subject, name, onset, onset + 4, onset + 8, 12, emotion, "micro")
        for subject in range(1, subjects + 1)
        for name, onset, emotion in places
    ]


def table(root: Path, rows: Sequence[FakeRow], name: str = TABLE, page: str = "CASFEcode_final") -> Path:
    """The workbook as distributed: no headers, the sheet's name misspelt, two sheets to join."""
    book = openpyxl.Workbook()
    book.active.title = page
    subjects, videos = book.create_sheet("naming rule1"), book.create_sheet("naming rule2")
    for row in rows:
        numbers = (row.onset, row.apex, row.offset)
        kind = f"{row.kind}-expression"
        book.active.append((row.subject, row.name, *numbers, row.units, row.emotion, kind, "happyiness"))
        subjects.append((row.folder, f"s{row.folder}", row.subject))
    for video, code in VIDEOS.items():
        videos.append((code, video))
    root.mkdir(parents=True, exist_ok=True)
    book.save(root / name)
    return root / name


def folder_of(root: Path, row: FakeRow, tree: str = "rawpic") -> Path:
    if tree == "rawpic":
        name = f"{row.folder}_{row.code}{WORDS[row.code]}"
        # The one video that lies with another subject.
        subject = 19 if name == "23_0502funnyerrors" else row.folder
        return root / "rawpic" / f"s{subject}" / name
    if tree == "cropped":
        return root / "cropped" / "cropped" / str(row.folder) / row.name
    return root / "selectedpic" / "selectedpic" / f"s{row.folder}" / row.name


def full(root: Path, tree: str = "rawpic") -> Path:
    """357 clips whose pictures are empty files, with junk."""
    rows = full_rows()
    table(root, rows)
    source = pictures.empty(root)
    if tree != "rawpic":
        for at, row in enumerate(rows):
            twice = ".jpg" if at == 5 and tree == "selectedpic" else ""
            names = (f"img{number}.jpg{twice}" for number in range(row.onset, row.last + 1))
            pictures.linked(folder_of(root, row, tree), names, source)
        return root
    ends: dict[Path, int] = {}
    for row in rows:
        folder = folder_of(root, row)
        ends[folder] = max(row.last, ends.get(folder, 0))
    for folder, last in ends.items():
        pictures.linked(folder, (f"img{number:03d}.jpg" for number in range(1, last + 10)), source)
    (folder_of(root, rows[0]) / "Thumbs.db").touch()
    return root


def small(root: Path, tree: str = "rawpic", subjects: int = 3) -> Path:
    """Nine clips of rendered faces, nine frames each."""
    rows = small_rows(subjects)
    table(root, rows)
    for row in rows:
        names = [f"img{number:03d}.jpg" for number in range(row.onset, row.offset + 1)]
        folder = folder_of(root, row, tree)
        pictures.rendered(folder, names, row.subject, row.emotion, crop=tree == "cropped")
    return root
