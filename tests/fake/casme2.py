"""Writes replicas of CASME II: real names, tables and oddities; rows, numbers and pictures are invented.

`full` has 255 rows with the published counts of emotions and of clips a subject; `small` has nine clips of rendered
faces that a method can learn.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import openpyxl

from tests.fake import pictures

TABLE, LATER, OBJECTIVE = "CASME2-coding-20140508.xlsx", "CASME2-coding-20190701.xlsx", "CASME2-ObjectiveClasses.xlsx"
HEADER = (
    *("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units"),
    "Estimated Emotion",
)
FOLDERS = {"raw-selected": "CASME2_RAW_selected", "cropped": "Cropped", "raw": "CASME2-RAW"}
PER_SUBJECT = (9, 13, 7, 5, 19, 5, 9, 3, 14, 14, 10, 12, 8, 4, 3, 4, 36, 3, 16, 11, 2, 2, 12, 10, 7, 17)
COUNTS = {"disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2, "others": 99}
UNITS = (4, "4+L10", 12, "R14", "1+2", "?", "6+12", "4+7")
OTHERS_ONLY = (10, 18)  # subjects whom MEGC's rule leaves without a clip
NAMES = ("EP{:02d}_{:02d}f", "EP{:02d}_{:02d}", "EP{:02d}_{:02d}_01")


@dataclass(frozen=True)
class FakeRow:
    subject: int
    name: str
    onset: int
    apex: int | str
    offset: int
    units: int | str
    emotion: str

    @property
    def key(self) -> str:
        return f"casme2/sub{self.subject:02d}/{self.name}"


def full_rows(release: str = "2014") -> list[FakeRow]:
    """255 rows with the published margins, and the two rows that MEGC's rule drops."""
    subjects = [number for number, count in enumerate(PER_SUBJECT, start=1) for _ in range(count)]
    free = [at for at, subject in enumerate(subjects) if subject not in OTHERS_ONLY]
    emotions = ["others"] * len(subjects)
    first = [name for name, count in COUNTS.items() if name != "others" for _ in range(count)]
    sad = [at for at in free if subjects[at] == 24][:3]  # of whom the later release says surprise
    rest = [at for at in free if at not in sad]
    # A step that shares no factor with their number spreads every emotion over the subjects.
    order = [rest[(7 * number) % len(rest)] for number in range(len(rest))]
    for at, emotion in zip([*sad, *order], sorted(first, key=lambda name: name != "sadness"), strict=False):
        emotions[at] = emotion
    if release == "2019":
        for at in sad:
            emotions[at] = "surprise"
    rows = []
    for at, (subject, emotion) in enumerate(zip(subjects, emotions, strict=True)):
        onset = (1, 7, 46, 96, 133)[at % 5]  # widths change within a clip
        length = 24 + 31 * at % 118
        name = NAMES[at % 3].format(1 + at % 19, at % 90)
        rows.append(FakeRow(subject, name, onset, onset + length // 2, onset + length, UNITS[at % 8], emotion))
    disgust = [at for at, row in enumerate(rows) if row.emotion == "disgust"]
    rows[disgust[3]] = replace(rows[disgust[3]], apex="/")
    rows[disgust[9]] = replace(rows[disgust[9]], apex=rows[disgust[9]].onset)
    twins = [at for at, row in enumerate(rows) if row.subject == 17][:2]  # the f tells two clips apart
    for at, name in zip(twins, ("EP05_03", "EP05_03f"), strict=True):
        rows[at] = replace(rows[at], name=name)
    return rows


def small_rows(subjects: int = 3) -> list[FakeRow]:
    """Three clips a subject, one of each class."""
    emotions = ("happiness", "disgust", "surprise")
    return [
        FakeRow(subject, f"EP{number:02d}_01f", 96, 100, 104, UNITS[number], emotion)
        for subject, (number, emotion) in itertools.product(range(1, subjects + 1), enumerate(emotions))
    ]


def table(root: Path, rows: Sequence[FakeRow], name: str = TABLE) -> Path:
    """The workbook as distributed: Subject as text, two columns without a name, two empty sheets."""
    book = openpyxl.Workbook()
    page = book.active
    page.title = "Sheet1"
    page.append(HEADER)
    for row in rows:
        page.append(
            [f"{row.subject:02d}", row.name, None, row.onset, row.apex, row.offset, None, row.units, row.emotion]
        )
    book.create_sheet("Sheet2")
    book.create_sheet("Sheet3")
    root.mkdir(parents=True, exist_ok=True)
    book.save(root / name)
    return root / name


def objective_classes(root: Path, rows: Sequence[FakeRow]) -> None:
    """The table of 2017; its order is not that of the other."""
    book = openpyxl.Workbook()
    book.active.append(("Subject", "Filename", "Objective Class"))
    for at, row in enumerate(reversed(rows)):
        book.active.append((row.subject, row.name, 1 + at % 7))
    book.save(root / OBJECTIVE)


def folder_of(root: Path, row: FakeRow, tree: str = "raw-selected", nested: bool = False) -> Path:
    tree_folder = root / FOLDERS[tree]
    return (tree_folder / FOLDERS[tree] if nested else tree_folder) / f"sub{row.subject:02d}" / row.name


def names_of(row: FakeRow, tree: str = "raw-selected") -> list[str]:
    """Unpadded numbers: onset to offset, of the whole recording from 1 on."""
    numbers = range(1, row.offset + 20) if tree == "raw" else range(row.onset, row.offset + 1)
    return [f"{'reg_' if tree == 'cropped' else ''}img{number}.jpg" for number in numbers]


def full(root: Path, tree: str = "raw-selected", release: str = "2014", nested: bool = False) -> Path:
    """255 clips whose pictures are empty files, with junk and two clips that no row names."""
    rows = full_rows(release)
    table(root, rows, TABLE if release == "2014" else LATER)
    objective_classes(root, rows)
    source = pictures.empty(root)
    for row in rows:
        pictures.linked(folder_of(root, row, tree, nested), names_of(row, tree), source)
    for subject, name in ((9, "EP02_02f"), (24, "EP02_07")):
        pictures.linked(folder_of(root, FakeRow(subject, name, 1, 2, 3, "", ""), tree, nested), ["img1.jpg"], source)
    (folder_of(root, rows[0], tree, nested).parent / "Desktop - Shortcut.lnk").touch()
    return root


def both_releases(root: Path) -> Path:
    """As `full`, nested, with the table of 2019 beside that of 2014."""
    full(root, nested=True)
    table(root, full_rows("2019"), LATER)
    return root


def small(root: Path, tree: str = "raw-selected", subjects: int = 3) -> Path:
    """Nine clips of rendered faces, nine frames each."""
    classes = {"happiness": "positive", "disgust": "negative", "surprise": "surprise"}
    rows = small_rows(subjects)
    table(root, rows)
    for row in rows:
        names = [f"{'reg_' if tree == 'cropped' else ''}img{number}.jpg" for number in range(row.onset, row.offset + 1)]
        folder = folder_of(root, row, tree)
        pictures.rendered(folder, names, row.subject, classes[row.emotion], crop=tree == "cropped")
    return root
