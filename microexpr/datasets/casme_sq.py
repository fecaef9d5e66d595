"""CAS(ME)^2: long videos with macro- and micro-expressions at 30 frames a second, Chinese Academy of Sciences.

Qu, Wang, Yan, Li, Wu and Fu, "CAS(ME)^2: a database for spontaneous macro-expression and micro-expression spotting and
recognition", IEEE Transactions on Affective Computing 9(4), 2018, doi:10.1109/TAFFC.2017.2654440.

Three trees are read, all to the same clips: rawpic (the whole videos), selectedpic (the expressions cut out of them)
and cropped (the same, faces that the authors cut out). The table has no header: its columns are known by their places,
and two further sheets say which subject and which video a row means.

The table and the tree rawpic are those of real copies. The trees selectedpic and cropped follow what public programs
read, and were not verified on the real files. The videos themselves (rawvideo) are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

from microexpr.datasets import _survey, action_units
from microexpr.datasets._files import NumberedFrames, folders_by_name, inner
from microexpr.datasets._nearby import others, require_tree
from microexpr.datasets._recordings import KINDS, Recordings, Tally, counts, distinct, placed
from microexpr.datasets._survey import Interval, Survey
from microexpr.datasets._table import Row, find_table, sheet
from microexpr.types import Clip

__all__ = ["counts", "read", "survey"]

NAME = "casme-sq"
WHAT = "CAS(ME)^2: long videos at 30 frames a second with 57 micro- and 300 macro-expressions"
CARRIES = ("frames", "flow")
CLIPS = 57  # micro-expressions
SUBJECTS = 22
CITATION = (
    "Qu, Wang, Yan, Li, Wu, Fu: CAS(ME)^2: a database for spontaneous macro-expression and micro-expression spotting "
    "and recognition, IEEE Transactions on Affective Computing 9(4):424-436, 2018, doi:10.1109/TAFFC.2017.2654440"
)
LICENCE = "for academic research, by a signed agreement; not to be passed on"
HOW_TO_GET = (
    "apply to the Chinese Academy of Sciences, Institute of Psychology (casme.psych.ac.cn), with an agreement that a "
    "member of the staff of your institution has signed"
)
EXPECTED_TREE = """
    ROOT/CAS(ME)^2code_final.xlsx
    ROOT/rawpic/s15/15_0101disgustingteeth/img001.jpg ...
    or ROOT/selectedpic/s15/anger1_1/img557.jpg ...
    or ROOT/cropped/15/anger1_1/img557.jpg ...
"""
# Setting -> its values, the usual one first; empty takes what is there.
OPTIONS: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "tree": ("", "rawpic", "selectedpic", "cropped"),
    "release": ("", "final", "updated"),
}
FRAMES_A_SECOND = 30.0

TREES = ("rawpic", "selectedpic", "cropped")
TABLES = {
    "final": ("cas(me)^2code_final.xlsx", "code_final.xlsx"),
    "updated": ("cas(me)^2code_final(updated).xlsx",),
}
SHEETS = ("CASFEcode_final", "CASMEcode_final")  # the first is what is distributed
SUBJECT_SHEET, VIDEO_SHEET = "naming rule1", "naming rule2"
COLUMNS = ("subject", "name", "onset", "apex", "offset", "units", "emotion", "kind", "self-report")
MICRO = {"negative": 21, "others": 19, "surprise": 9, "positive": 8}
ALL = {"negative": 126, "positive": 124, "others": 82, "surprise": 25}
PUBLISHED: dict[str, dict[str, int]] = {
    "micro": {"clips": 57, "micro": 57, "macro": 0, **MICRO},
    "macro": {"clips": 300, "micro": 0, "macro": 300, **{name: ALL[name] - MICRO[name] for name in ALL}},
    "all": {"clips": 357, "micro": 57, "macro": 300, "subjects": SUBJECTS, **ALL},
}
VIDEO = re.compile(r"^(\d+)_(\d{4})")  # folder of a video: subject, code, words
NUMBER = re.compile(r"^img_?(\d+)(?:\.jpe?g)?$", re.IGNORECASE)  # some are called img2977.jpg.jpg


def read(root: Path, *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips in the order of the table; frames are read on demand.

    Args:
        root: the folder that holds the table and at least one tree.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: `OPTIONS`: ``kind`` of expression; ``tree``, by default the first of rawpic, selectedpic and cropped
            that is there; ``release`` of the table, by default the only one that is there.

    Raises:
        BadInput: the table or the tree is missing, two releases are there and none was named, or a clip can't be read.
    """
    return _survey.clips_of(survey(root, **options), NAME, root, damaged)


def survey(root: Path, **options: str) -> Survey:
    """The clips and what is wrong with the copy; `read` without its judgment."""
    chosen = _survey.check_options(NAME, options, OPTIONS)
    trees = {name: inner(root, name) for name in TREES}
    tree = chosen["tree"] or next((name for name, folder in trees.items() if folder), "")
    folder = require_tree(NAME, root, trees.get(tree), tree or " or ".join(TREES), others(root, trees))
    release, file = find_table(root, TABLES, chosen["release"])
    found = Survey(published=PUBLISHED[chosen["kind"]], chosen={**chosen, "tree": tree, "release": release})
    found.note(str(file), f"no header in the sheet {SHEETS[0]} (sic)", "columns are known by their places")
    folders = _videos_in(found, folder) if tree == "rawpic" else _clips_in(folder)
    recordings = Recordings(found, folders, NUMBER, "crop" if tree == "cropped" else "frame")
    subjects, videos = _subjects(file), _videos(file)
    tally, keys = Tally(), set[str]()
    rows = _rows(file)
    _survey.note_table(found, file, rows, COLUMNS[2:5])
    for row in rows:
        number, name, kind = row.whole("subject"), row.text("name"), row.text("kind").lower().partition("-")[0]
        subject, video = subjects.get(number), videos.get(name.partition("_")[0].lower())
        key = distinct(f"{NAME}/s{subject}/{name}", row.whole("onset"), keys)
        if number is None or not name or kind not in ("micro", "macro"):
            found.warning(row.place, "a row without subject, name or kind of expression", "the row is left out")
        elif key is None:
            found.warning(row.place, f"{name} of subject {number} for the second time", "the first row counts")
        elif chosen["kind"] not in (kind, "all"):
            continue
        elif subject is None or (video is None and tree == "rawpic"):
            lacking = f"subject {number} in {SUBJECT_SHEET}" if subject is None else f"video {name} in {VIDEO_SHEET}"
            found.error(row.place, f"no {lacking}")
        elif frames := recordings.frames((subject, video if tree == "rawpic" else name.lower())):
            _add(found, tally, key, row, frames, kind)
        else:
            found.error(key, f"no pictures of s{subject}, {name} ({video}), in {folder}")
    tally.note(found, file)
    called = "videos" if tree == "rawpic" else "folders"
    recordings.note_rest(found, folder, f"{called} without an expression that was asked for")
    return found


def _rows(file: Path) -> list[Row]:
    """The rows of the table, which has no header."""
    return [
        Row(number, dict(zip(COLUMNS, values, strict=False)), f"{file}, row {number}")
        for number, values in sheet(file, SHEETS)
    ]


def _subjects(file: Path) -> dict[int | None, int]:
    """Number of a subject in the table -> that of the folder: 1 -> 15, of rows (15, s15, 1)."""
    rows = [Row(number, dict(zip("abc", values, strict=False)), "") for number, values in sheet(file, (SUBJECT_SHEET,))]
    pairs = [(row.whole("c"), re.sub(r"\D", "", row.text("b"))) for row in rows]
    return {number: int(folder) for number, folder in pairs if number is not None and folder}


def _videos(file: Path) -> dict[str, str]:
    """Name of a video in the table -> its code in the folders: disgust1 -> 0101, of rows (0101, disgust1)."""
    rows = [Row(number, dict(zip("ab", values, strict=False)), "") for number, values in sheet(file, (VIDEO_SHEET,))]
    return {row.text("b").lower(): row.text("a").zfill(4) for row in rows if row.text("b")}


def _videos_in(found: Survey, tree: Path) -> dict[tuple[int, str], Path]:
    """(subject, code) -> folder of a video; a video belongs to the subject that its own name says."""
    videos: dict[tuple[int, str], Path] = {}
    strays: dict[tuple[int, str], Path] = {}
    for parent in folders_by_name(tree).values():
        for folder in folders_by_name(parent).values():
            if match := VIDEO.match(folder.name):
                name = (int(match[1]), match[2])
                own = parent.name.lower() == f"s{name[0]}"
                (videos if own else strays).setdefault(name, folder)
            else:
                found.note(str(folder), "no folder of a video, which is called as 15_0101...", "it is not read")
    for name, folder in strays.items():
        subject = f"s{name[0]}"
        done = f"not read: {subject} has this video, too" if name in videos else f"it is read as a video of {subject}"
        found.note(str(folder), f"by its name a video of {subject}, but it lies in {folder.parent.name}", done)
    return {**strays, **videos}


def _clips_in(tree: Path) -> dict[tuple[int, str], Path]:
    """(subject, name of the clip in lower case) -> folder of an expression."""
    return {
        (int(number), name): folder
        for parent in folders_by_name(tree).values()
        if (number := parent.name.lower().removeprefix("s")).isdecimal()
        for name, folder in folders_by_name(parent).items()
    }


def _add(found: Survey, tally: Tally, key: str, row: Row, frames: NumberedFrames, kind: str) -> None:
    """The clip of a row, or a finding that says why there is none."""
    given = Interval(*(row.whole(name) for name in ("onset", "apex", "offset")))
    interval = placed(found, tally, key, given, frames)
    if interval is None:
        return
    units = action_units.parse(row.cells.get("units"))
    for rest in units.rest:
        tally.add(key, f"{rest!r} among the action units", "it is not read as one")
    found.clips.append(
        Clip(
            key=key,
            dataset=NAME,
            subject="/".join(key.split("/")[:2]),
            emotion=row.text("emotion").lower(),
            onset=interval.onset,
            apex=interval.apex,
            offset=interval.offset,
            fps=FRAMES_A_SECOND,
            action_units=units.texts,
            kind=kind,
            frames=frames,
        )
    )
