"""Writes replicas of SAMM Long Videos: real names, tables and oddities; rows, numbers and pictures are invented.

`full` has 159 micro- and 343 macro-movements in 147 recordings of 30 subjects; `small` has nine clips of rendered faces
that a method can learn, once the table of SAMM (`emotions`) lies beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import openpyxl

from tests.fake import pictures

TABLE, EMOTIONS = "SAMM_LongVideos_V3_Release.xlsx", "SAMM_Micro_FACS_Codes_v2.xlsx"
HEADER = (
    *("Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration", "Type", "Action Units"),
    "Notes",
)
EMOTION_HEADER = (
    *("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro"),
    *("Action Units", "Estimated Emotion", "Objective Classes", "Notes"),
)
SUBJECTS = [number for number in range(6, 38) if number not in (8, 27)]
MICRO, MACRO = "Micro - 1/2", "Macro"
COUNTS = {
    **{"Anger": 57, "Other": 26, "Happiness": 26, "Surprise": 15},
    **{"Contempt": 12, "Disgust": 9, "Fear": 8, "Sadness": 6},
}
UNITS = (4, "L12", "12+25", "7B+ ref(43)", "R14", "4+7")
FRACTIONS, NO_APEX, NO_ONSET = 143, 6, 10


@dataclass(frozen=True)
class FakeRow:
    recording: str
    number: int
    onset: float
    apex: float
    offset: float
    units: int | str
    kind: str

    @property
    def name(self) -> str:
        return f"{self.recording}_{self.number}"

    @property
    def key(self) -> str:
        return f"samm-lv/{self.recording[:3]}/{self.name}"


def recordings() -> list[str]:
    """147: four or five of each subject."""
    return [f"{SUBJECTS[at % 30]:03d}_{1 + at // 30}" for at in range(147)]


def full_rows() -> list[FakeRow]:
    """502 rows; 143 with fractions, 6 with apex -1, 10 with onset 0."""
    named = [MICRO] * 159 + [MACRO] * 343
    ends: dict[str, int] = {}
    counted: dict[str, int] = {}
    rows = []
    for at in range(len(named)):
        kind, recording = named[5 * at % len(named)], recordings()[at % 147]
        counted[recording] = counted.get(recording, 0) + 1
        onset = ends.get(recording, 8) + 3
        length = 10 + at % 7 if kind == MICRO else 24 + at % 9
        ends[recording] = onset + length
        rows.append(FakeRow(recording, counted[recording], onset, onset + 5, onset + length, UNITS[at % 6], kind))
    macro = [at for at, row in enumerate(rows) if row.kind == MACRO]
    for at in macro[-FRACTIONS:]:
        rows[at] = replace(rows[at], onset=rows[at].onset + 0.4, offset=rows[at].offset + 0.5999)
    for at in macro[20 : 20 + NO_APEX]:
        rows[at] = replace(rows[at], apex=-1)
    first = [at for at in macro if rows[at].number == 1]
    for at in first[:NO_ONSET]:
        rows[at] = replace(rows[at], onset=0)
    return rows


def small_rows(subjects: int = 3) -> list[FakeRow]:
    """Three clips a subject, one of each class, the last two in one recording."""
    places = (("1", 1, 96), ("2", 1, 96), ("2", 2, 196))
    return [
        FakeRow(f"{number:03d}_{code}", at, onset, onset + 4, onset + 8, 12, MICRO)
        for number in SUBJECTS[:subjects]
        for code, at, onset in places
    ]


def table(root: Path, rows: Sequence[FakeRow], name: str = TABLE) -> Path:
    """The workbook as distributed: nine rows of notes above the header."""
    book = openpyxl.Workbook()
    page = book.active
    page.title = "FACS_Movement_Only"
    for number in range(9):
        page.append((f"note {number + 1}",))
    page.append(HEADER)
    for row in rows:
        numbers = (row.onset, row.apex, row.offset, row.offset - row.onset + 1)
        subject, _, code = row.recording.partition("_")
        page.append((subject, row.name, int(code or 0), *numbers, row.kind, row.units, None))
    root.mkdir(parents=True, exist_ok=True)
    book.save(root / name)
    return root / name


def emotions(root: Path, rows: Sequence[FakeRow], named: Sequence[str]) -> Path:
    """The table of SAMM itself, for the micro-movements: thirteen rows above the header."""
    book = openpyxl.Workbook()
    page = book.active
    page.title = "MICRO_ONLY"
    for number in range(13):
        page.append((f"note {number + 1}",))
    page.append(EMOTION_HEADER)
    micro = [row for row in rows if row.kind == MICRO]
    for at, (row, emotion) in enumerate(zip(micro, named, strict=True)):
        subject, code = row.recording.split("_")
        page.append((subject, row.name, int(code), 1, 5, 9, "=SUM(F15-D15)+1", MICRO, 12, emotion, 1 + at % 7, None))
    book.save(root / EMOTIONS)
    return root / EMOTIONS


def full_emotions() -> list[str]:
    named = [name for name, count in COUNTS.items() for _ in range(count)]
    return [named[7 * at % 159] for at in range(159)]


def names_of(recording: str, numbers: Sequence[int]) -> list[str]:
    """Four digits at least; five in some recordings."""
    width = 5 if recording in ("006_1", "011_1") else 4
    return [f"{recording}_{number:0{width}d}.jpg" for number in numbers]


def full(root: Path) -> Path:
    """502 clips whose pictures are empty files, with junk."""
    rows = full_rows()
    table(root, rows)
    source = pictures.empty(root)
    for recording in recordings():
        last = max([int(row.offset) + 2 for row in rows if row.recording == recording], default=20)
        folder = root / "SAMM_longvideos" / recording
        pictures.linked(folder, names_of(recording, range(1, last + 4)), source)
    (root / "SAMM_longvideos" / "006_1" / "Thumbs.db").touch()
    return root


def small(root: Path, subjects: int = 3) -> Path:
    """Nine clips of rendered gray faces, nine frames each; without emotions."""
    rows = small_rows(subjects)
    table(root, rows)
    classes = ("positive", "negative", "surprise")
    for at, row in enumerate(rows):
        names = names_of(row.recording, range(int(row.onset), int(row.offset) + 1))
        folder = root / "SAMM_longvideos" / row.recording
        pictures.rendered(folder, names, int(row.recording[:3]), classes[at % 3], gray=True)
    return root


def small_emotions(subjects: int = 3) -> list[str]:
    """Those that `small` shows, in the order of its rows."""
    return ["Happiness", "Disgust", "Surprise"] * subjects
