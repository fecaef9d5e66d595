"""SAMM Long Videos: 147 recordings of SAMM at 200 frames a second with their micro- and macro-movements.

Yap, Kendrick and Yap, "SAMM long videos: a spontaneous facial micro- and macro-expressions dataset", IEEE FG 2020,
arXiv:1911.01519; made at Manchester Metropolitan University.

The table gives intervals and action units, no emotions. Those of the micro-movements stand in the table of SAMM itself
(SAMM_Micro_FACS_Codes_v2.xlsx): where a copy of it lies in the same folder, they are taken from there, by file name and
type. The people are those of SAMM: never train on the one and test on the other.

The table and the names of the files are those of real copies.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from microexpr.datasets import _survey, action_units
from microexpr.datasets._files import NumberedFrames, entries, folders_by_name, inner
from microexpr.datasets._nearby import require_tree
from microexpr.datasets._recordings import KINDS, Recordings, Tally, counts, distinct, placed
from microexpr.datasets._survey import Interval, Survey
from microexpr.datasets._table import Row, find_table, table
from microexpr.types import Clip

__all__ = ["counts", "read", "survey"]

NAME = "samm-lv"
SAME_PEOPLE_AS = "samm"  # under the same numbers
WHAT = "SAMM Long Videos: 147 recordings at 200 frames a second with 159 micro- and 343 macro-movements"
CARRIES = ("frames", "flow")
CLIPS = 159  # micro-movements
SUBJECTS = 30
VIDEOS = 147
CITATION = (
    "Yap, Kendrick, Yap: SAMM long videos: a spontaneous facial micro- and macro-expressions dataset, IEEE FG 2020, "
    "pp. 771-776, arXiv:1911.01519"
)
LICENCE = "for academic research, by a signed agreement; not to be passed on"
HOW_TO_GET = (
    "apply to Manchester Metropolitan University (helward.mmu.ac.uk/STAFF/m.yap/dataset.php), with an agreement that a "
    "member of the staff of your institution has signed"
)
EXPECTED_TREE = """
    ROOT/SAMM_LongVideos_V3_Release.xlsx
    ROOT/SAMM_longvideos/006_1/006_1_0001.jpg ...
    and, for emotions, ROOT/SAMM_Micro_FACS_Codes_v2.xlsx of SAMM
"""
# Setting -> its values, the usual one first; empty takes what is there.
OPTIONS: dict[str, tuple[str, ...]] = {"kind": KINDS, "release": ("", "v1", "v2", "v3")}
FRAMES_A_SECOND = 200.0

TREE = "SAMM_longvideos"
TABLES = {f"v{number}": (f"samm_longvideos_v{number}_release.xlsx",) for number in (1, 2, 3)}
SHEETS = ("FACS_Movement_Only",)
COLUMNS = ("Filename", "Onset", "Apex", "Offset", "Type", "Action Units")
EMOTION_TABLE = "SAMM_Micro_FACS_Codes_v2.xlsx"
EMOTION_TABLES = (EMOTION_TABLE.lower(), "samm_20181215_micro_facs_codes_v2.xlsx")
EMOTION_COLUMNS = ("Filename", "Micro", "Estimated Emotion", "Objective Classes")
PUBLISHED: dict[str, dict[str, int]] = {
    "micro": {"clips": 159, "micro": 159, "macro": 0},
    "macro": {"clips": 343, "micro": 0, "macro": 343},
    "all": {"clips": 502, "micro": 159, "macro": 343, "subjects": SUBJECTS},
}
FILENAME = re.compile(r"^(\d+)_(\d+)_\d+$")  # subject, inducement code, number within the recording
NUMBER = re.compile(r"_(\d+)$")


@dataclass(frozen=True)
class Emotion:
    """What the table of SAMM says of a movement."""

    name: str
    objective_class: int | None


def read(root: Path, *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips in the order of the table; frames are read on demand.

    Args:
        root: the folder that holds the table and the recordings.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: `OPTIONS`: ``kind`` of movement; ``release`` of the table, by default the only one that is there.

    Raises:
        BadInput: the table or the recordings are missing, two releases are there and none was named, or a clip can't be
            read.
    """
    return _survey.clips_of(survey(root, **options), NAME, root, damaged)


def survey(root: Path, **options: str) -> Survey:
    """The clips and what is wrong with the copy; `read` without its judgment."""
    chosen = _survey.check_options(NAME, options, OPTIONS)
    folder = require_tree(NAME, root, inner(root, TREE), TREE)
    release, file = find_table(root, TABLES, chosen["release"])
    emotions, source = _emotions(root)
    found = Survey(published=PUBLISHED[chosen["kind"]])
    found.chosen = {"kind": chosen["kind"], "release": release, "emotions": source or "none"}
    recordings = Recordings(found, folders_by_name(folder), NUMBER)
    if len(recordings.folders) != VIDEOS:
        found.warning(str(folder), f"{len(recordings.folders)} recordings, {VIDEOS} were published", "those are read")
    if not source and chosen["kind"] != "macro":
        done = f"put a copy of SAMM's table {EMOTION_TABLE} there to have those of the micro-movements"
        found.note(str(root), "no emotions", done)
    tally, keys = Tally(), set[str]()
    rows = table(file, COLUMNS, SHEETS)
    _survey.note_table(found, file, rows, COLUMNS[1:4])
    for row in rows:
        name, kind = row.text("Filename"), row.text("Type").lower().partition(" ")[0]
        named = FILENAME.match(name)
        if named is None or kind not in ("micro", "macro"):
            found.warning(row.place, f"no movement is called {name!r}, {row.text('Type')!r}", "the row is left out")
            continue
        key = distinct(f"{NAME}/{named[1]}/{name}", _whole(row, "Onset"), keys)
        if key is None:
            found.warning(row.place, f"{name} for the second time", "the first row counts")
        elif chosen["kind"] not in (kind, "all"):
            continue
        elif frames := recordings.frames(f"{named[1]}_{named[2]}"):
            emotion = emotions.get((name, row.text("Type").lower()))
            if source and kind == "micro" and emotion is None:
                tally.add(key, f"no emotion in {source}", "the clip has none")
            _add(found, tally, key, row, frames, kind, emotion or Emotion("", None))
        else:
            found.error(key, f"no pictures of recording {named[1]}_{named[2]} in {folder}")
    tally.note(found, file)
    recordings.note_rest(found, folder, "recordings without a movement that was asked for")
    return found


def _whole(row: Row, column: str) -> int | None:
    """A frame number, rounded half up where it has a fraction."""
    number = row.number_in(column)
    return None if number is None else math.floor(number + 0.5)


def _add(found: Survey, tally: Tally, key: str, row: Row, frames: NumberedFrames, kind: str, emotion: Emotion) -> None:
    """The clip of a row, or a finding that says why there is none."""
    if any((row.number_in(name) or 0.0) % 1 for name in ("Onset", "Apex", "Offset")):
        tally.add(key, "frame numbers with a fraction", "rounded, halves up")
    onset, apex, offset = (_whole(row, name) for name in ("Onset", "Apex", "Offset"))
    if onset == 0 < frames.numbers[0]:
        tally.add(key, "onset 0: the recording begins within the movement", "its first picture is taken as the onset")
        onset = frames.numbers[0]
    interval = placed(found, tally, key, Interval(onset, apex, offset), frames)
    if interval is None:
        return
    units = action_units.parse(row.cells.get("Action Units"))
    for rest in units.rest:
        tally.add(key, f"{rest!r} among the action units", "it is not read as one")
    found.clips.append(
        Clip(
            key=key,
            dataset=NAME,
            subject="/".join(key.split("/")[:2]),
            emotion=emotion.name,
            onset=interval.onset,
            apex=interval.apex,
            offset=interval.offset,
            fps=FRAMES_A_SECOND,
            action_units=units.texts,
            objective_class=emotion.objective_class,
            kind=kind,
            frames=frames,
        )
    )


def _emotions(root: Path) -> tuple[dict[tuple[str, str], Emotion], str]:
    """(file name, type in lower case) -> emotion, and the name of SAMM's table; empty where there is none."""
    file = next((root / name for name in sorted(entries(root)) if name.lower() in EMOTION_TABLES), None)
    if file is None:
        return {}, ""
    rows = table(file, EMOTION_COLUMNS)
    return {
        (row.text("Filename"), row.text("Micro").lower()): Emotion(
            row.text("Estimated Emotion").lower(), row.whole("Objective Classes")
        )
        for row in rows
    }, file.name
