"""SAMM: 159 clips of 29 subjects at 200 frames a second, in gray, Manchester Metropolitan University.

Davison, Lansley, Costen, Tan and Yap, "SAMM: a spontaneous micro-facial movement dataset", IEEE Transactions on
Affective Computing 9(1), 2018, doi:10.1109/TAFFC.2016.2573832. Objective classes: Davison, Merghani and Yap, "Objective
classes for micro-facial expression recognition", Journal of Imaging 4(10), 2018, doi:10.3390/jimaging4100119.

The annotations stand in one sheet under thirteen rows of notes. Two apexes lie outside their clips as distributed
(028_4_1, 032_3_1): they count as not annotated. The numbers in file names have four digits in some recordings and five
in others, whatever the number is. The table's emotions are capitalized; `Clip.emotion` has them in lower case.

The table and the file names were verified on real ones; the size and the gray of the pictures are what public programs
expect and were not.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from microexpr.datasets import _gaps, _survey, action_units
from microexpr.datasets._files import NumberedFrames, entries, folders_by_name, inner
from microexpr.datasets._nearby import require_tree
from microexpr.datasets._survey import ClipFolders, Interval, Survey
from microexpr.datasets._table import Row, find_table, table
from microexpr.errors import BadInput
from microexpr.types import Clip

NAME = "samm"
WHAT = "SAMM: spontaneous micro-movements at 200 frames a second, with apex, action units and objective classes"
CARRIES = ("frames", "flow")
CLIPS = 159
SUBJECTS = 29
CITATION = (
    "Davison, Lansley, Costen, Tan, Yap: SAMM: a spontaneous micro-facial movement dataset, IEEE Transactions on "
    "Affective Computing 9(1):116-129, 2018, doi:10.1109/TAFFC.2016.2573832"
)
LICENCE = "for academic research, by a signed agreement; not to be passed on"
HOW_TO_GET = "apply to Manchester Metropolitan University, Moi Hoon Yap, with their signed agreement"
EXPECTED_TREE = """
    ROOT/SAMM_Micro_FACS_Codes_v2.xlsx
    ROOT/006/006_1_2/006_05562.jpg ...
    or ROOT/SAMM/006/006_1_2/006_05562.jpg ...
"""
OPTIONS: dict[str, tuple[str, ...]] = {}
FRAMES_A_SECOND = 200.0

# Two names of the same release, the usual one first.
TABLES = {"v2": ("samm_micro_facs_codes_v2.xlsx", "samm_20181215_micro_facs_codes_v2.xlsx")}
SHEETS = ("MICRO_ONLY", "Sheet1")  # the second in copies that a program has saved
COLUMNS = (
    *("Subject", "Filename", "Onset Frame", "Apex Frame", "Offset Frame"),
    *("Action Units", "Estimated Emotion", "Objective Classes"),
)
EMOTIONS = {
    **{"anger": 57, "other": 26, "happiness": 26, "surprise": 15},
    **{"contempt": 12, "disgust": 9, "fear": 8, "sadness": 6},
}
PUBLISHED = {"clips": CLIPS, "subjects": SUBJECTS, **EMOTIONS}
SUBJECT = re.compile(r"\d{3}")
NUMBER = re.compile(r"^\d+_(\d+)$")
CUT_OUT = "faces that users cut out are not read; give SAMM as it was distributed"
NEAR = {"SAMM_CROP": CUT_OUT, "SAMM_cropped": CUT_OUT}


def read(root: Path, *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips in the order of the table; frames are read on demand.

    Args:
        root: the folder that holds the table and the folders of the subjects.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: none is known.

    Raises:
        BadInput: the table or the pictures are missing, or a clip can't be read.
    """
    return _survey.clips_of(survey(root, **options), NAME, root, damaged)


def survey(root: Path, **options: str) -> Survey:
    """The clips and what is wrong with the copy; `read` without its judgment."""
    _survey.check_options(NAME, options, OPTIONS)
    folder = _tree(root)
    found = Survey(published=PUBLISHED)
    release, file = _table(root, found)
    found.chosen = {"release": release}
    subjects = {name: place for name, place in folders_by_name(folder).items() if SUBJECT.fullmatch(name)}
    folders = ClipFolders(subjects.values())
    rows, keys = table(file, COLUMNS, SHEETS), set[str]()
    _survey.note_table(found, file, rows, COLUMNS[2:5])
    for row in rows:
        number, name = row.whole("Subject"), row.text("Filename")
        subject = f"{number or 0:03d}"
        key = f"{NAME}/{subject}/{name}"
        if number is None or not name:
            found.warning(row.place, "a row without subject or file name", "the row is left out")
        elif key in keys:
            found.warning(row.place, f"{key} for the second time", "the first row counts")
        else:
            keys.add(key)
            place, expected = folders.take(name, subject), folder / subject / name
            frames = _survey.pictures(found, key, place, expected, NUMBER)
            if frames is not None:
                _add(found, key, row, frames)
    folders.note_rest(found)
    _note_widths(found)
    return found


def _note_widths(found: Survey) -> None:
    """Notes that numbers in file names have different widths, whatever the numbers are."""
    firsts = [clip.frames.names[0] for clip in found.clips if isinstance(clip.frames, NumberedFrames)]
    widths = Counter(len(match[1]) for name in firsts if (match := NUMBER.match(name.rpartition(".")[0])))
    if len(widths) > 1:
        told = ", ".join(f"{width} digits in {count} clips" for width, count in sorted(widths.items()))
        found.note("names of files", told, "folders are listed, no name is composed")


def _tree(root: Path) -> Path:
    """The folder that holds those of the subjects.

    Raises:
        BadInput: there is none; the message says which folder to give where one can be seen nearby.
    """
    places = [place for place in (inner(root, "SAMM"), root) if place is not None]
    with_subjects = (place for place in places if any(map(SUBJECT.fullmatch, folders_by_name(place))))
    return require_tree(NAME, root, next(with_subjects, None), "folders of subjects (006, 007, ...)", NEAR)


def _table(root: Path, found: Survey) -> tuple[str, Path]:
    """The release of the table and its file.

    Raises:
        BadInput: it is not there, or lies beside the folder that was given.
    """
    names = TABLES["v2"]
    inside = [name.lower() for place in (root, *folders_by_name(root).values()) for name in entries(place)]
    there = [name for name in names if name in inside]
    above = [] if there else [name for name in entries(root.parent) if name.lower() in names]
    if above:
        raise BadInput(f"the table in {root}", f"{above[0]} beside it", f"give {root.parent}, which holds both")
    release, file = find_table(root, TABLES)
    if len(there) > 1:
        found.note(str(root), f"two tables: {' and '.join(there)}", f"{file.name} is read")
    return release, file


def _add(found: Survey, key: str, row: Row, frames: NumberedFrames) -> None:
    """The clip of a row, or a finding that says why there is none."""
    onset, apex, offset = (row.whole(name) for name in ("Onset Frame", "Apex Frame", "Offset Frame"))
    for name, number in (("Onset Frame", onset), ("Offset Frame", offset)):
        if number is None:
            found.warning(key, f"{name} {row.text(name)!r}", "taken from the files")
    if apex is None:
        found.warning(key, f"Apex Frame {row.text('Apex Frame')!r}", "taken as not annotated: the apex rule finds one")
    interval = _survey.fitted(found, key, Interval(onset, apex, offset), frames)
    if interval is None:
        return
    _gaps.tell(found, key, interval, frames)
    for name, other in (("onset", interval.onset), ("offset", interval.offset)):
        if interval.apex is not None and other is not None and abs(interval.apex - other) == 1:
            found.note(key, f"the apex {interval.apex} is next to the {name}", "used as annotated")
    emotion, objective_class = row.text("Estimated Emotion").lower(), row.whole("Objective Classes")
    if emotion not in EMOTIONS:
        found.warning(key, f"emotion {emotion!r}", "none of the release; kept as it is")
    if objective_class not in range(1, 8):
        found.warning(key, f"objective class {row.text('Objective Classes')!r}", "none from 1 to 7; left out")
        objective_class = None
    units = action_units.parse(row.cells.get("Action Units"))
    if units.rest:
        found.note(key, f"action units {row.text('Action Units')!r}", "what is no unit is not read as one")
    found.clips.append(
        Clip(
            key=key,
            dataset=NAME,
            subject=key.rpartition("/")[0],
            emotion=emotion,
            onset=interval.onset,
            apex=interval.apex,
            offset=interval.offset,
            fps=FRAMES_A_SECOND,
            action_units=units.texts,
            objective_class=objective_class,
            frames=frames,
        )
    )
