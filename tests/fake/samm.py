"""Writes replicas of SAMM: real names, tables and oddities; rows, numbers and pictures are invented.

`full` has 159 rows with the published counts of emotions, of objective classes and of clips a subject; `small` has nine
clips of rendered faces that a method can learn.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import openpyxl

from tests.fake import pictures

TABLE, DATED = "SAMM_Micro_FACS_Codes_v2.xlsx", "SAMM_20181215_Micro_FACS_Codes_v2.xlsx"
HEADER = (
    *("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro"),
    *("Action Units", "Estimated Emotion", "Objective Classes", "Notes"),
)
PREAMBLE = 13  # rows above the header
PER_SUBJECT = {
    **{6: 11, 7: 10, 9: 4, 10: 4, 11: 20, 12: 3, 13: 6, 14: 11, 15: 3, 16: 5, 17: 6, 18: 4, 19: 3, 20: 9, 21: 2},
    **{22: 5, 23: 1, 24: 1, 25: 4, 26: 13, 28: 3, 30: 3, 31: 1, 32: 6, 33: 5, 34: 3, 35: 9, 36: 1, 37: 3},
}
COUNTS = {
    **{"Anger": 57, "Happiness": 26, "Surprise": 15, "Contempt": 12, "Disgust": 9, "Fear": 8, "Sadness": 6},
    "Other": 26,
}
OBJECTIVE = {1: 24, 2: 13, 3: 20, 4: 8, 5: 3, 6: 7, 7: 84}
OTHER_ONLY = 25  # the subject whom MEGC's rule leaves without a clip
# Recordings whose file names have five digits; the others have four.
FIVE_DIGITS = (
    *("006_1", "011_1", "013_1", "014_1", "016_7", "018_7", "023_1"),
    *("026_1", "030_1", "033_1", "034_7", "035_1", "035_7", "036_7"),
)
UNITS = (4, "(R6 or R12)+R15", 12, "7B+ ref(43)", "L12 + 61", "10A/B", "A/L12", "R14+17+soft focus", "12+15 ", 2)
NAMES = {13: ("1_8", "1_9", "1_10", "1_11", "1_12", "7_1"), 28: ("4_1", "4_2", "4_3"), 32: ("3_1", "3_2", "3_3")}


@dataclass(frozen=True)
class FakeRow:
    subject: int
    name: str
    onset: int
    apex: int
    offset: int
    units: int | str
    emotion: str
    objective: int

    @property
    def key(self) -> str:
        return f"samm/{self.subject:03d}/{self.name}"

    @property
    def files(self) -> list[str]:
        """The width is that of the recording, whatever the number is."""
        width = 5 if self.name.rpartition("_")[0] in FIVE_DIGITS else 4
        return [f"{self.subject:03d}_{number:0{width}d}.jpg" for number in range(self.onset, self.offset + 1)]


def full_rows() -> list[FakeRow]:
    """159 rows with the published margins, and the four rows whose apex is odd."""
    placed = [(subject, at) for subject, count in PER_SUBJECT.items() for at in range(count)]
    late = [number for number, (_, at) in enumerate(placed) if at >= 5]
    alone = [number for number, (subject, _) in enumerate(placed) if subject == OTHER_ONLY]
    others = {*alone, *late[::2][: COUNTS["Other"] - len(alone)]}
    emotions = [name for name, count in COUNTS.items() if name != "Other" for _ in range(count)]
    # Steps that share no factor with the number of rows spread every emotion and class over the subjects.
    spread = iter(emotions[(10 * number) % len(emotions)] for number in range(len(emotions)))
    classes = [number for number, count in OBJECTIVE.items() for _ in range(count)]
    rows = []
    for number, (subject, at) in enumerate(placed):
        names = NAMES.get(subject, ())
        name = names[at] if at < len(names) else f"{1 + at // 5}_{1 + at % 5}"
        onset = (62, 706, 4871, 9951, 5562)[number % 5] + number
        length = 30 + 31 * number % 72
        emotion = "Other" if number in others else next(spread)
        objective = classes[(10 * number) % len(classes)]
        rows.append(
            FakeRow(
                *(subject, f"{subject:03d}_{name}", onset, onset + length // 2, onset + length - 1),
                *(UNITS[number % len(UNITS)], emotion, objective),
            )
        )
    return [_odd(row) for row in rows]


def _odd(row: FakeRow) -> FakeRow:
    """The apexes that lie outside their clips or at their borders."""
    apexes = {
        "028_4_1": row.offset + 9,
        "032_3_1": row.onset - 40,
        "032_3_2": row.onset + 1,
        "026_3_3": row.offset - 1,
    }
    return replace(row, apex=apexes.get(row.name, row.apex))


def small_rows() -> list[FakeRow]:
    """Three clips of three subjects each, one of each class."""
    emotions = ("Happiness", "Anger", "Surprise")
    return [
        FakeRow(subject, f"{subject:03d}_{code}_1", 98, 100, 102, UNITS[code], emotion, code)
        for subject, (code, emotion) in itertools.product((6, 7, 9), enumerate(emotions, start=1))
    ]


def table(root: Path, rows: Sequence[FakeRow], name: str = TABLE, preamble: int = PREAMBLE) -> Path:
    """The workbook as distributed: notes above the header, a formula that was never computed as duration."""
    book = openpyxl.Workbook()
    page = book.active
    page.title = "MICRO_ONLY" if preamble else "Sheet1"
    for number in range(preamble):
        page.cell(number + 1, 1, f"Note {number + 1}: please cite; symbols: L left, R right")
    for column, title in enumerate(HEADER, start=1):
        page.cell(preamble + 1, column, title)
    for number, row in enumerate(rows, start=preamble + 2):
        duration = f"=SUM(F{number}-D{number})+1"
        code = int(row.name.split("_")[1])
        cells = (f"{row.subject:03d}", row.name, code, row.onset, row.apex, row.offset, duration, "Micro - 1/2")
        for column, cell in enumerate((*cells, row.units, row.emotion, row.objective, None), start=1):
            page.cell(number, column, cell)
    root.mkdir(parents=True, exist_ok=True)
    book.save(root / name)
    return root / name


def folder_of(root: Path, row: FakeRow, nested: bool = False) -> Path:
    return (root / "SAMM" if nested else root) / f"{row.subject:03d}" / row.name


def full(root: Path, nested: bool = False, name: str = TABLE) -> Path:
    """159 clips whose pictures are empty files, with junk between them."""
    rows = full_rows()
    table(root, rows, name)
    source = pictures.empty(root)
    for row in rows:
        pictures.linked(folder_of(root, row, nested), row.files, source)
    (folder_of(root, rows[0], nested) / "Thumbs.db").touch()
    return root


def small(root: Path) -> Path:
    """Nine clips of rendered faces in gray, five frames each."""
    classes = {"Happiness": "positive", "Anger": "negative", "Surprise": "surprise"}
    rows = small_rows()
    table(root, rows)
    for row in rows:
        pictures.rendered(folder_of(root, row), row.files, row.subject, classes[row.emotion], gray=True)
    return root
