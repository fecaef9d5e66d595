"""Writes replicas of CAS(ME)^3: real names, tables and oddities; rows, numbers and pictures are invented.

`full` has the 860 rows of part A with the published counts, `full_c` the 165 of part C; `small` has nine clips of
rendered faces that a method can learn.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import openpyxl

from tests.fake import pictures

TABLE, EARLIER = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", "cas(me)3_part_A_ME_label_JpgIndex_v1.xlsx"
TABLE_C = "CAS(ME)3_part_C_ME.xlsx"
HEADER = ("Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion")
HEADER_C = ("sub", "count", "onset", "offset", "au", "emotion")
COUNTS = {"disgust": 250, "surprise": 187, "others": 158, "fear": 86, "anger": 64, "sad": 57, "happy": 55, "Others": 3}
COUNTS_C = {"negative": 99, "surprise": 30, "others": 20, "positive": 16}
SUBJECTS = [number for number in range(1, 219) if number % 7 in (1, 2, 6)]
LETTERS = "abdej"
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")
UNITS = ("4", "4+7", "1+2", "12", "L14", "10")
UNITS_C = ("4,7", "4\uff0c11", "12,", "1,2", "14")
MOTIONLESS, FRACTION = 55, 15


@dataclass(frozen=True)
class FakeRow:
    subject: int
    recording: str
    onset: int
    apex: int
    offset: int
    units: str
    objective: str
    emotion: str
    first: int  # the onset and the offset that were meant, where the table has others
    last: int

    @property
    def key(self) -> str:
        return f"casme3/spNO.{self.subject}/{self.recording.lower()}/{self.onset}"


def full_rows() -> list[FakeRow]:
    """860 rows with the published margins, and the rows that can't be as they are."""
    emotions = [name for name, count in COUNTS.items() for _ in range(count)]
    ends: dict[tuple[int, str], int] = {}
    rows = []
    for at in range(len(emotions)):
        subject, letter = SUBJECTS[at % 94], LETTERS[at // 94 % 5]
        onset = ends.get((subject, letter), 7) + 3  # most recordings begin at 7 or 8; several expressions in each
        offset = onset + 6 + at % 5
        ends[subject, letter] = offset
        apex = onset if at % FRACTION == 4 and at // FRACTION < MOTIONLESS else onset + 3
        # A step that shares no factor with their number spreads every emotion over the subjects.
        emotion = emotions[7 * at % len(emotions)]
        rows.append(
            FakeRow(
                subject, letter, onset, apex, offset, UNITS[at % 6], ROMAN[at % 7], emotion, first=onset, last=offset
            )
        )
    rows[400] = replace(rows[400], recording="J")
    rows[128] = replace(rows[128], apex=rows[128].onset - 2)
    mistyped = rows[749]
    rows[749] = replace(mistyped, onset=mistyped.onset + 70)  # one digit
    for at in (796, 798):
        rows[at] = replace(rows[at], offset=0)
    return rows


def rows_c() -> list[tuple[int, int, int, int, str, str]]:
    """165 rows of 30 subjects: sub, count, onset, offset, au, emotion."""
    emotions = [name for name, count in COUNTS_C.items() for _ in range(count)]
    subjects = [number for number in range(1, 32) if number != 9]
    rows = []
    for at in range(len(emotions)):
        onset = 20 + 30 * (at // 30)
        units = UNITS_C[0] if at % 5 == 1 and at > 1 else UNITS_C[at % 5]
        rows.append((subjects[at % 30], 1 + at // 30, onset, onset + 8 + at % 5, units, emotions[7 * at % 165]))
    return rows


def small_rows(subjects: int = 3) -> list[FakeRow]:
    """Three clips a subject, one of each class, in recordings of their own."""
    emotions = ("happy", "disgust", "surprise")
    return [
        FakeRow(subject, letter, 96, 100, 104, "12", "I", emotion, first=96, last=104)
        for subject, (letter, emotion) in itertools.product(range(1, subjects + 1), zip("abc", emotions, strict=True))
    ]


def table(root: Path, rows: Sequence[FakeRow], name: str = TABLE) -> Path:
    """The workbook as distributed: every cell is text, two further sheets."""
    book = openpyxl.Workbook()
    page = book.active
    page.title = "label"
    page.append(HEADER)
    for row in rows:
        numbers = (str(number) for number in (row.onset, row.apex, row.offset))
        page.append((f"spNO.{row.subject}", row.recording, *numbers, row.units, row.objective, row.emotion))
    book.create_sheet("Sheet1")
    book.create_sheet("Sheet3")
    folder = root / "annotation" / "partA"
    folder.mkdir(parents=True, exist_ok=True)
    book.save(folder / name)
    return folder / name


def folder_of(root: Path, row: FakeRow, tree: str = "recordings", kind: str = "color") -> Path:
    if tree == "clips":
        name = f"spNo.{row.subject}_{row.recording.lower()}_{row.onset}"
        return root / "Part_A_ME_clip" / "Part_A_ME_clip" / ("frame" if kind == "color" else kind) / name
    return root / "part_A" / "data" / "part_A" / f"spNo.{row.subject}" / row.recording.lower() / kind


def full(root: Path, tree: str = "recordings") -> Path:
    """860 clips whose pictures are empty files, with depth, junk, and a recording without a micro-expression."""
    rows = full_rows()
    table(root, rows)
    source = pictures.empty(root)
    ends: dict[Path, int] = {}
    if tree == "clips":
        for row in rows:
            numbers = range(row.first, row.last + 1)
            pictures.linked(folder_of(root, row, tree), (f"{number}.jpg" for number in numbers), source)
        pictures.linked(folder_of(root, rows[0], tree, "depth"), ["10.png"], source)
        return root
    for row in rows:
        folder = folder_of(root, row)
        ends[folder] = max(row.last, ends.get(folder, 0))
    for folder, last in ends.items():
        pictures.linked(folder, (f"{number}.jpg" for number in range(7, last + 2)), source)
    first = folder_of(root, rows[0])
    pictures.linked(first.parent / "depth", ["8.png", "9.png"], source)
    (first / "Thumbs.db").touch()
    pictures.linked(first.parent.parent / "m" / "color", ["8.jpg"], source)
    (folder_of(root, rows[1]) / f"{rows[1].onset + 1}.jpg").unlink()  # one in ten clips lacks pictures
    return root


def table_c(root: Path, rows: Sequence[tuple]) -> Path:
    """The workbook of part C; nothing gives an apex."""
    book = openpyxl.Workbook()
    book.active.title = "mockCrimeME"
    book.active.append(HEADER_C)
    for row in rows:
        book.active.append(row)
    file = root / "annotation" / TABLE_C
    file.parent.mkdir(parents=True, exist_ok=True)
    book.save(file)
    return file


def full_c(root: Path) -> Path:
    """165 clips of 30 subjects, one recording of each."""
    rows = rows_c()
    table_c(root, rows)
    source = pictures.empty(root)
    for subject in {row[0] for row in rows}:
        last = max(row[3] for row in rows if row[0] == subject)
        folder = root / "part_C" / "part_C" / f"{subject:02d}" / "a"
        pictures.linked(folder / "color", (f"{number}.jpg" for number in range(1, last + 3)), source)
        pictures.linked(folder / "depth", ["1.png"], source)
    return root


def small(root: Path, tree: str = "recordings", subjects: int = 3) -> Path:
    """Nine clips of rendered faces, nine frames each."""
    classes = {"happy": "positive", "disgust": "negative", "surprise": "surprise"}
    rows = small_rows(subjects)
    table(root, rows)
    for row in rows:
        names = [f"{number}.jpg" for number in range(row.onset, row.offset + 1)]
        pictures.rendered(folder_of(root, row, tree), names, row.subject, classes[row.emotion])
    return root
