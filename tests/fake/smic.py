"""Writes replicas of SMIC: real folders, tables and oddities; the numbers and pictures are invented.

`full` has 164 clips with the published counts of classes and of clips a subject; `small` has eight clips of rendered
faces that a method can learn.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import openpyxl
from openpyxl.utils import get_column_letter

from tests.fake import pictures

# Subject -> clips of each class; the sums over a subject and over a class are the published ones.
COUNTS = {
    **{1: (4, 1, 1), 2: (1, 0, 5), 3: (22, 10, 7), 4: (9, 6, 4), 5: (1, 1, 0), 6: (1, 2, 1), 8: (5, 6, 2)},
    **{9: (0, 2, 2), 11: (3, 3, 1), 12: (4, 3, 2), 13: (4, 3, 3), 14: (4, 4, 2), 15: (2, 1, 1), 18: (1, 2, 4)},
    **{19: (1, 0, 1), 20: (8, 7, 7)},
}
EMOTIONS = {"ne": "negative", "po": "positive", "sur": "surprise"}
GAPS = {"s03_po_08": 2, "s03_sur_01": 1, "s03_sur_05": 1, "s03_ne_16": 1}  # frames that the release lacks
LOST = ("s01_ne_02", "s02_sur_05", "s03_ne_20")  # recordings that SMIC-E lacks
# Clips that SMIC-E has in the row of another: clip -> (the other, which place in its row).
SECOND = {
    "s03_ne_03": ("s03_ne_02", 2),
    "s04_ne_05": ("s04_ne_04", 2),
    "s04_ne_06": ("s04_ne_04", 3),
    "s09_sur_02": ("s09_sur_01", 2),
}
ONSETS = (34208, 142641, 999990, 5155975, 32600000)  # five to eight digits; one clip crosses from six to seven
SMALL = (5, 6, 19)
FOLDERS = {"raw": "SMIC_all_raw", "cropped": "SMIC_all_cropped", "extended": "SMIC-E_raw image"}
HEADER = (
    *("Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", "Onset3F", "Offset3F", None),
    *("FirstF", "LastF", "TotalMF1", "TotalMF2", "TotalMF3", "TotalVL", "Emotion"),
)


@dataclass(frozen=True)
class FakeClip:
    subject: int
    code: str
    number: int
    onset: int
    offset: int

    @property
    def name(self) -> str:
        """As the official list writes it."""
        return f"s{self.subject:02d}_{self.code}_{self.number:02d}"

    @property
    def folder(self) -> str:
        return f"s{self.subject}_{self.code}_{self.number:02d}"

    @property
    def key(self) -> str:
        return f"smic/s{self.subject:02d}/{self.name}"

    @property
    def numbers(self) -> list[int]:
        """Of the files that are there."""
        missing = range(self.onset + 5, self.onset + 5 + GAPS.get(self.name, 0))
        return [number for number in range(self.onset, self.offset + 1) if number not in missing]


def full_clips(length: int = 0) -> list[FakeClip]:
    """164 clips; all of one length, where one is given."""
    clips: list[FakeClip] = []
    for subject, counts in COUNTS.items():
        for code, count in zip(EMOTIONS, counts, strict=True):
            for number in range(1, count + 1):
                at = len(clips)
                onset = ONSETS[at % 5] + 200 * (at // 5) * (at % 5 != 2)
                clips.append(FakeClip(subject, code, number, onset, onset + (length or 11 + 17 * at % 48) - 1))
    return clips


def small_clips() -> list[FakeClip]:
    return [clip for clip in full_clips(length=5) if clip.subject in SMALL]


def clip_folder(root: Path, clip: FakeClip, tree: str = "raw", camera: str = "HS", nested: bool = False) -> Path:
    top = root / FOLDERS[tree]
    top = top / FOLDERS[tree] if nested else top
    if tree == "extended":
        return top / f"{camera}_long" / f"SMIC-{camera}-E" / f"s{clip.subject:02d}" / clip.folder
    return top / camera / f"s{clip.subject}" / "micro" / EMOTIONS[clip.code] / clip.folder


def file_names(numbers: Sequence[int], tree: str = "raw") -> list[str]:
    """Numbers of six digits, longer ones as they are."""
    before, ending = {"raw": ("", "bmp"), "cropped": ("reg_", "bmp"), "extended": ("", "jpg")}[tree]
    return [f"{before}image{number:06d}.{ending}" for number in numbers]


def full(
    root: Path,
    tree: str = "raw",
    camera: str = "HS",
    *,
    nested: bool = False,
    without: Sequence[str] = (),
    subjects: Sequence[int] = tuple(COUNTS),
) -> Path:
    """All clips of a camera with empty files for pictures, and junk between them.

    Args:
        root: is made.
        tree: one of `FOLDERS`.
        camera: VIS and NIR recorded the subjects from 11 on.
        nested: the folder in itself, as some archives have it.
        without: clips that this copy lacks.
        subjects: of whom it has clips.
    """
    clips = [clip for clip in full_clips() if clip.subject in subjects and (camera == "HS" or clip.subject > 10)]
    source = pictures.empty(root)
    if tree == "extended":
        rows = extended_rows(clips, camera)
        table(root / FOLDERS[tree] / f"{camera}_long", rows, camera)
        for row in rows:
            pictures.linked(clip_folder(root, row.clip, tree, camera), file_names(row.files, tree), source)
        return root
    for clip in clips:
        if clip.name not in without:
            folder = clip_folder(root, clip, tree, camera, nested)
            pictures.linked(folder, file_names(clip.numbers, tree), source)
    for subject in {clip.subject: clip for clip in clips}.values():
        at_rest = (
            clip_folder(root, subject, tree, camera, nested).parents[2] / "non_micro" / f"s{subject.subject}_non_01"
        )
        pictures.linked(at_rest, file_names([1, 2, 3], tree), source)
    (clip_folder(root, clips[0], tree, camera, nested) / "Thumbs.db").touch()
    if tree == "cropped":
        (root / FOLDERS[tree] / "li2013microexpressions.pdf").touch()
    return root


def cropped_but_one(root: Path) -> Path:
    """The cropped faces as they are handed out: without one clip."""
    return full(root, "cropped", without=["s18_sur_03"])


def small(root: Path, tree: str = "raw") -> Path:
    """Eight clips of three subjects, rendered, five frames each."""
    clips = small_clips()
    if tree == "extended":
        table(root / FOLDERS[tree] / "HS_long", extended_rows(clips, "HS", around=0), "HS")
    for clip in clips:
        names = file_names(clip.numbers, tree)
        folder = clip_folder(root, clip, tree)
        pictures.rendered(folder, names, clip.subject, EMOTIONS[clip.code], crop=tree == "cropped")
    return root


@dataclass(frozen=True)
class ExtendedRow:
    """A row of SMIC-E's table: a recording with the micro-expressions in it."""

    clip: FakeClip
    further: tuple[FakeClip, ...]
    first: int
    last: int

    @property
    def files(self) -> list[int]:
        missing = set(range(self.clip.onset, self.clip.offset + 1)) - set(self.clip.numbers)
        return [number for number in range(self.first, self.last + 1) if number not in missing]


def extended_rows(clips: Sequence[FakeClip], camera: str = "HS", around: int = 8) -> list[ExtendedRow]:
    """A row for each recording, in the order of a text, the last first; `around` frames before and after the clip."""
    second = SECOND if camera == "HS" else {}
    lost = LOST if camera == "HS" else ()
    rows = []
    for clip in clips:
        if clip.name in lost or clip.name in second:
            continue
        further, offset = [], clip.offset
        for name, (other, _) in second.items():
            if other == clip.name:
                subject, code, number = re.fullmatch(r"s(\d+)_(\w+)_(\d+)", name).groups()
                further.append(FakeClip(int(subject), code, int(number), offset + 6, offset + 20))
                offset += 20
        rows.append(ExtendedRow(clip, tuple(further), clip.onset - around, offset + around))
    return sorted(rows, key=lambda row: f"s{row.clip.subject}", reverse=True)


def extended_clips(rows: Sequence[ExtendedRow]) -> list[FakeClip]:
    """What the rows hold; a gap within a clip makes the table's offset too early."""
    first = [FakeClip(r.clip.subject, r.clip.code, r.clip.number, r.clip.onset, _offset(r)) for r in rows]
    return sorted([*first, *(clip for row in rows for clip in row.further)], key=lambda clip: clip.key)


def _offset(row: ExtendedRow) -> int:
    return row.clip.onset + len(row.clip.numbers) - 1


def table(
    folder: Path,
    rows: Sequence[ExtendedRow],
    camera: str = "HS",
    name: str = "",
    third: bool = True,
    computed: bool = True,
) -> Path:
    """The workbook of SMIC-E: formulas with the values they had when it was saved, text under the rows.

    Args:
        folder: of the camera.
        rows: of the table.
        camera: whose sheet is filled.
        name: of the file.
        third: with the columns of a third micro-expression.
        computed: with the values of the formulas; a program that is no spreadsheet saves none.
    """
    book = openpyxl.Workbook()
    book.active.title = "HS"
    for title in ("VIS", "Sheet2", "Sheet3", *([camera] if camera == "NIR" else [])):
        book.create_sheet(title)
    page, other = book[camera], book["VIS" if camera == "HS" else "HS"]
    page.append(_shown(HEADER, third))
    other.append(_shown(HEADER, False))
    values: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        cells = _cells(row, number, values)
        if not third:  # the formulas would have to name other columns
            cells = [values.get(f"{get_column_letter(at)}{number}", cell) for at, cell in enumerate(cells, start=1)]
        page.append(_shown(cells, third))
        other.append((row.clip.subject, row.clip.folder, None, 2000 + number, None, None, None, None, 1998 + number))
    if camera == "HS":
        page.append((3, "s3_ne_20", None, 426700, 426720, None, None, None, None, None, "MISSING <-426679", 426730))
    page.append(())
    page.append(("Note: times are in frames",))
    page.append((None, "Average", None, None, None, None, None, None, None, None, None, None, 34))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / (name or f"SMIC-{camera}-E_annotation.xlsx")
    book.save(file)
    if computed and third:
        remember(file, book.sheetnames.index(camera) + 1, values)
    return file


def _shown(cells: Sequence[object], third: bool) -> list[object]:
    return [cell for at, cell in enumerate(cells) if third or at not in (7, 8, 14)]


def _cells(row: ExtendedRow, number: int, values: dict[str, int]) -> list[object]:
    """The cells of a row; the values of its formulas go into `values`."""
    clip = row.clip
    later: list[object] = [cell for one in row.further for cell in (one.onset, one.offset)]
    if not later and number % 3 == 0:  # what a formula makes that was dragged over the rows
        later = [f"=L{number}+40", f"=F{number}+M{number}", f"=D{number}-F{number}", f"=H{number}-7"]
        values[f"F{number}"] = row.last + 40
        values[f"G{number}"] = row.last + 40 + len(clip.numbers)
        values[f"H{number}"] = clip.onset - row.last - 40
        values[f"I{number}"] = clip.onset - row.last - 47
    values[f"E{number}"] = _offset(row)
    values[f"K{number}"] = row.first
    values[f"O{number}"] = -6
    first = f"=D{number}-100*(VIS!D{number}-VIS!I{number})/25-{clip.onset - row.first - 8}"
    return [
        *(clip.subject, clip.folder, None, clip.onset, f"=D{number}+M{number}-1"),
        *(*later, None, None, None, None)[:4],
        *(None, first, row.last, len(clip.numbers), None, f"=I{number}-H{number}+1"),
        *(row.last - row.first + 1, EMOTIONS[clip.code]),
    ]


def remember(file: Path, sheet: int, values: Mapping[str, int]) -> None:
    """Puts values beside the formulas of a saved workbook, as a spreadsheet program does."""
    with zipfile.ZipFile(file) as saved:
        parts = {name: saved.read(name) for name in saved.namelist()}
    name = f"xl/worksheets/sheet{sheet}.xml"

    def with_value(cell: re.Match[str]) -> str:
        return f"{cell[1]}<v>{values[cell[2]]}</v></c>" if cell[2] in values else cell[0]

    pattern = r'(<c r="([A-Z]+\d+)"[^>]*><f>[^<]*</f>)<v\s*(?:/>|></v>)</c>'
    text, count = re.subn(pattern, with_value, parts[name].decode())
    assert count >= len(values)
    parts[name] = text.encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as saved:
        for part, content in parts.items():
            saved.writestr(part, content)
