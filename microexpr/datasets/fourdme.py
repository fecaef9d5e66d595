"""4DME: 267 micro-expressions filmed in four ways, of which the gray frontal video (60 frames a second) is read.

Li, Cheng, Li, Behzad, Shen, Zafeiriou, Pantic and Zhao, "4DME: a spontaneous 4D micro-expression dataset with
multimodalities", IEEE Transactions on Affective Computing, doi:10.1109/TAFFC.2022.3182342.

A clip may have two emotions at once, `Surprise+Positive`. They are kept as one label, `surprise+positive`: label maps
of single emotions leave such clips out, and the map "own" takes each pair for a class of its own. Action units that are
marked (k) were kept from before the expression to after it; they are no part of the movement and are left out.

Not verified on the real files: tree and table are read as a public loader describes them. Macro-expressions, the long
videos, depth and 3D are not read.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from microexpr.datasets import _survey
from microexpr.datasets._files import LAST_NUMBER, folders_by_name, inner
from microexpr.datasets._nearby import require_tree
from microexpr.datasets._survey import ClipFolders, Interval, Survey
from microexpr.datasets._table import Row, find_table, sheet, table
from microexpr.datasets._trimmed import fitted_to_folder, note_missing, rows_with_frames, units_of
from microexpr.types import Clip

NAME = "4dme"
WHAT = "4DME: spontaneous micro-expressions, gray frontal video at 60 frames a second, some with two emotions at once"
CARRIES = ("frames", "flow")
CLIPS = 267
SUBJECTS = None
CITATION = (
    "Li, Cheng, Li, Behzad, Shen, Zafeiriou, Pantic, Zhao: 4DME: a spontaneous 4D micro-expression dataset with "
    "multimodalities, IEEE Transactions on Affective Computing, doi:10.1109/TAFFC.2022.3182342"
)
LICENCE = "by a license agreement; read its terms before use"
HOW_TO_GET = "ask the University of Oulu, Center for Machine Vision and Signal Analysis, for the license agreement"
EXPECTED_TREE = """
    ROOT/4DME_Labelling_Micro_release v1.xlsx
    ROOT/gray_micro/<sub_ID>/<fold_name>/<frame>.jpg ...
"""
OPTIONS: dict[str, tuple[str, ...]] = {}
FRAMES_A_SECOND = 60.0

TREE = "gray_micro"
TABLES = {"v1": ("4dme_labelling_micro_release v1.xlsx", "4dme_labelling_micro_release_v1.xlsx")}
COLUMNS = ("sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs")
SPELLED = {"AUs": ("aus", "au")}  # column -> spellings in lower case, where there are several
ONE_HOT = ("Positive", "Negative", "Surprise", "Repression", "Others")
PUBLISHED = {"clips": CLIPS}
# Rows of data, from 0, whose action units stand in each other's row in the table of 267 rows.
EXCHANGED = (144, 145)
KEPT = re.compile(r"\(\s*k\s*\)", re.IGNORECASE)


def read(root: Path, *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips in the order of the table; frames are read on demand.

    Args:
        root: the folder that holds the table and gray_micro.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: none.

    Raises:
        BadInput: the table or the tree is missing, or a clip can't be read.
    """
    return _survey.clips_of(survey(root, **options), NAME, root, damaged)


def survey(root: Path, **options: str) -> Survey:
    """The clips and what is wrong with the copy; `read` without its judgment."""
    _survey.check_options(NAME, options, OPTIONS)
    long = "these are the long videos; give the folder that holds gray_micro"
    near = {"long gray video": long, "long_gray_video": long}
    folder = require_tree(NAME, root, inner(root, TREE), TREE, near)
    release, file = find_table(root, TABLES)
    found = Survey(published=PUBLISHED, chosen={"tree": TREE, "release": release})
    rows = _exchanged_back(found, _rows(file))
    _survey.note_table(found, file, rows, COLUMNS[3:6])
    folders = ClipFolders(folders_by_name(folder).values())
    named = rows_with_frames(
        found, rows, _key, lambda row: folders.take(row.text("fold_name"), _subject(row)), LAST_NUMBER, "frame"
    )
    kept = 0
    for key, row, frames in named:
        given = Interval(row.whole("Onset"), row.whole("Apex"), row.whole("Offset"))
        note_missing(found, key, row, "Apex", "Offset")
        interval = fitted_to_folder(found, key, given, frames)
        if interval is None:
            continue
        moving, held = _moving(row.text("AUs"))
        kept += held
        found.clips.append(
            Clip(
                key=key,
                dataset=NAME,
                subject=key.rpartition("/")[0],
                emotion=_emotion(found, key, row),
                onset=interval.onset,
                apex=interval.apex,
                offset=interval.offset,
                fps=FRAMES_A_SECOND,
                action_units=units_of(found, key, moving),
                frames=frames,
            )
        )
    _note_labels(found, file, kept)
    folders.note_rest(found)
    return found


def _rows(file: Path) -> list[Row]:
    """The rows of the table under the columns' own names: some sheets end them in an apostrophe."""
    spelled = {}
    for _, values in sheet(file):
        typed = {str(value).strip().rstrip("'").lower(): str(value).strip() for value in values if value is not None}
        names = {column: SPELLED.get(column, (column.lower(),)) for column in (*COLUMNS, *ONE_HOT)}
        spelled = {column: typed[name] for column, known in names.items() for name in known if name in typed}
        if spelled.keys() >= set(COLUMNS):
            break
    rows = table(file, [spelled.get(column, column) for column in COLUMNS])
    back = {name: column for column, name in spelled.items()}
    return [
        dataclasses.replace(row, cells={back.get(name, name): cell for name, cell in row.cells.items()}) for row in rows
    ]


def _exchanged_back(found: Survey, rows: list[Row]) -> list[Row]:
    """Gives the two rows of `EXCHANGED` their own action units, in the table that is known to have them exchanged."""
    if sum(_key(row) is not None for row in rows) != CLIPS:
        return rows
    first, second = (rows[at] for at in EXCHANGED)
    if first.text("AUs") == second.text("AUs"):
        return rows
    rows = list(rows)
    for at, row, other in ((EXCHANGED[0], first, second), (EXCHANGED[1], second, first)):
        rows[at] = dataclasses.replace(row, cells={**row.cells, "AUs": other.cells.get("AUs")})
        what = f"action units {row.text('AUs')!r}, which belong to row {other.number}"
        found.warning(row.place, what, f"{other.text('AUs')!r} is used, as a public loader does")
    return rows


def _subject(row: Row) -> str:
    number = row.whole("sub_ID")
    return row.text("sub_ID") if number is None else f"S{number:02d}"


def _key(row: Row) -> str | None:
    subject, name = _subject(row), row.text("fold_name")
    return f"{NAME}/{subject}/{name}" if subject and name else None


def _emotion(found: Survey, key: str, row: Row) -> str:
    """The label in lower case, two joined by a plus sign; from the columns of ones where the text is missing."""
    emotion = "+".join(part.strip() for part in row.text("Emotion").lower().split("+") if part.strip())
    ones = [name.lower() for name in ONE_HOT if row.whole(name) == 1]
    if not emotion and ones:
        found.warning(key, "no emotion", f"{'+'.join(ones)} is used, by the columns of ones")
        return "+".join(ones)
    if not emotion:
        found.warning(key, "no emotion", "protocols leave the clip out")
    elif ones and set(ones) != set(emotion.split("+")):
        found.warning(key, f"emotion {emotion}, by the columns of ones {'+'.join(ones)}", f"{emotion} is used")
    return emotion


def _moving(text: str) -> tuple[str, bool]:
    """The action units without those marked (k), and whether there were such."""
    moving = [part for part in text.split("+") if not KEPT.search(part)]
    return "+".join(moving), len(moving) < len(text.split("+"))


def _note_labels(found: Survey, file: Path, kept: int) -> None:
    if joined := sum("+" in clip.emotion for clip in found.clips):
        what = f"{joined} clips with two emotions, as surprise+positive"
        found.note(str(file), what, "kept as one label: label maps of single emotions leave them out")
    if kept:
        found.note(str(file), f"{kept} clips with action units marked (k)", "such units are left out: they do not move")
