"""CAS(ME)^3: micro-expressions at 30 frames a second, Chinese Academy of Sciences.

Li, Dong, Lu, Wang, Yan, Ma, Liu, Huang and Fu, "CAS(ME)^3: a third generation facial spontaneous micro-expression
database with depth information and high ecological validity", IEEE Transactions on Pattern Analysis and Machine
Intelligence 45(3), 2023, doi:10.1109/TPAMI.2022.3174895.

Part A (860 micro-expressions while watching videos) and part C (165 in a mock crime) are read, each on its own. Part A
has two trees: the whole recordings, and the micro-expressions cut out of them (Part_A_ME_clip). Depth pictures, macro-
expressions, part B (unlabelled), voice and physiological signals are not read.

The tables of part A (release of 2023, v2) and of part C, and the names in the tree of recordings of part A, are those
of real copies. The tree of clips, the tree of part C and the table v1 follow what public programs read, and were not
verified on the real files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from microexpr.datasets import _survey, action_units
from microexpr.datasets._files import NumberedFrames, described, entries, folders_by_name, inner
from microexpr.datasets._nearby import advice, others, require_tree
from microexpr.datasets._recordings import Recordings, Tally, distinct, placed
from microexpr.datasets._survey import Interval, Survey
from microexpr.datasets._table import Row, find_table, table
from microexpr.errors import BadInput
from microexpr.types import Clip

NAME = "casme3"
WHAT = "CAS(ME)^3: micro-expressions at 30 frames a second while watching videos (part A) and in a mock crime (part C)"
CARRIES = ("frames", "flow")
CLIPS = 860  # of part A
SUBJECTS = 94
CITATION = (
    "Li, Dong, Lu, Wang, Yan, Ma, Liu, Huang, Fu: CAS(ME)^3: a third generation facial spontaneous micro-expression "
    "database with depth information and high ecological validity, IEEE TPAMI 45(3):2782-2800, 2023, "
    "doi:10.1109/TPAMI.2022.3174895"
)
LICENCE = "for academic research, by a signed agreement; not to be passed on"
HOW_TO_GET = (
    "apply to the Chinese Academy of Sciences, Institute of Psychology (casme.psych.ac.cn/casme/e4), with an agreement "
    "that a member of the staff of your institution has signed"
)
EXPECTED_TREE = """
    ROOT/annotation/partA/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx
    ROOT/part_A/data/part_A/spNO.1/a/color/175.jpg ...
    or ROOT/Part_A_ME_clip/frame/spNO.1_a_175/175.jpg ...
    section C: ROOT/annotation/CAS(ME)3_part_C_ME.xlsx, ROOT/part_C/01/a/color/373.jpg ...
"""
# Setting -> its values, the usual one first; empty takes what is there.
OPTIONS: dict[str, tuple[str, ...]] = {
    "section": ("A", "C"),
    "tree": ("", "recordings", "clips"),
    "release": ("v2", "v1"),  # copies hold both, and v2 mends v1
}
FRAMES_A_SECOND = 30.0

SUBJECT, CLIP = re.compile(r"^spno\.\d+$"), re.compile(r"^spno\.\d+_[a-z]_\d+$")  # folders, in lower case
# Name of a tree of part A -> (its folders, the usual one first; how the folders in it are named).
TREES = {
    "recordings": (("part_A/data/part_A", "part_A/data", "data/part_A", "data", "part_A"), SUBJECT),
    "clips": (("Part_A_ME_clip/frame", "part_A/Part_A_ME_clip/frame", "part_A/data/Part_A_ME_clip/frame"), CLIP),
}
TREES_C = ("part_C/data/part_C", "part_C/RGB_Depth/part_C", "part_C/data", "data/part_C", "part_C")
TABLES = {
    "v2": ("cas(me)3_part_a_me_label_jpgindex_v2.xlsx",),
    "v1": ("cas(me)3_part_a_me_label_jpgindex_v1.xlsx", "cas(me)3_part_a_me_label_jpgindex_v1.xls"),
}
TABLES_C = {"": ("cas(me)3_part_c_me.xlsx",)}
SHEETS, SHEETS_C = ("label", "Sheet1"), ("mockCrimeME",)
COLUMNS = ("Subject", "Filename", "Onset", "Apex", "Offset", "emotion")
COLUMNS_C = ("sub", "count", "onset", "offset", "au", "emotion")
EMOTIONS = {"disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sad": 57, "happy": 55}
PUBLISHED: dict[str, dict[str, int]] = {
    "v2": {"clips": CLIPS, "subjects": SUBJECTS, **EMOTIONS},
    "v1": {"clips": 921},
}
PUBLISHED_C = {"clips": 165, "subjects": 30, "negative": 99, "surprise": 30, "others": 20, "positive": 16}
OBJECTIVE = {name: number for number, name in enumerate(("I", "II", "III", "IV", "V", "VI", "VII"), start=1)}
NUMBER = re.compile(r"^(\d+)$")
WITHOUT = "recordings without a micro-expression"
LONG = 60  # frames: 2 seconds, more than a micro-expression lasts


def read(root: Path, *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips in the order of the table; frames are read on demand.

    Args:
        root: the folder that holds the table and at least one tree.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: `OPTIONS`: ``section``, the part of the data set; of part A also ``tree``, by default the whole
            recordings where they are there, and the ``release`` of the table.

    Raises:
        BadInput: the table or the tree is missing, or a clip can't be read.
    """
    return _survey.clips_of(survey(root, **options), NAME, root, damaged)


def survey(root: Path, **options: str) -> Survey:
    """The clips and what is wrong with the copy; `read` without its judgment."""
    chosen = _survey.check_options(NAME, options, OPTIONS)
    return _part_c(root, options) if chosen["section"] == "C" else _part_a(root, chosen)


def _part_a(root: Path, chosen: Mapping[str, str]) -> Survey:
    trees = {name: _tree(root, folders, named) for name, (folders, named) in TREES.items()}
    tree = chosen["tree"] or next((name for name, folder in trees.items() if folder), "")
    wanted = " or ".join(TREES[name][0][0] for name in ([tree] if tree else TREES))
    folder = require_tree(NAME, root, trees.get(tree), wanted, others(root, trees))
    _, file = find_table(_place_of_table(root, TABLES), TABLES, chosen["release"])
    if file.suffix.lower() == ".xls":
        advice = "open it in a spreadsheet program and save it as .xlsx"
        raise BadInput(f"a workbook (.xlsx) of release {chosen['release']}", str(file), advice)
    found = Survey(published=PUBLISHED[chosen["release"]])
    found.chosen = {"section": "A", "tree": tree, "release": chosen["release"]}
    recordings = Recordings(found, _folders(folder, tree), NUMBER, inside="color")
    tally, keys, named = Tally(), set[str](), set[str]()
    for row in table(file, COLUMNS, SHEETS):
        subject, name, onset = _subject(row.text("Subject")), row.text("Filename").lower(), row.whole("Onset")
        key = f"{NAME}/{subject}/{name}/{onset}"
        if not subject or not name or onset is None:
            found.warning(row.place, "a row without subject, recording or onset", "the row is left out")
        elif key in keys:
            found.warning(row.place, f"{key} for the second time", "the first row counts")
        else:
            keys.add(key)
            _spelling(tally, key, row)
            if f"{subject}/{name}" in named:
                tally.add(key, "the subject and recording of an earlier row", "the onset tells them apart")
            named.add(f"{subject}/{name}")
            frames = recordings.frames(
                f"{subject}_{name}_{onset}".lower() if tree == "clips" else (subject.lower(), name)
            )
            if frames:
                _add_a(found, tally, key, row, frames)
            else:
                found.error(key, f"no pictures of {subject}, recording {name}, in {folder}")
    tally.note(found, file)
    _note_tree(found, recordings, folder, tree)
    return found


def _tree(root: Path, names: tuple[str, ...], named: re.Pattern[str]) -> Path | None:
    """The first of some folders that holds folders named as they should be."""
    places = (inner(root, name) for name in names)
    return next((place for place in places if place and any(map(named.match, folders_by_name(place)))), None)


def _place_of_table(root: Path, releases: Mapping[str, tuple[str, ...]]) -> Path:
    """The folder to look for the table in: the root, or one in which copies keep their tables.

    Raises:
        BadInput: no release of the table is there.
    """
    names = {name for files in releases.values() for name in files}
    for place in (root, inner(root, "annotation"), inner(root, "part_A"), inner(root, "part_C")):
        if place and any(names & {name.lower() for name in entries(near)} for near in (place, *_inside(place))):
            return place
    spelled = " or ".join(files[0] for files in releases.values())
    raise BadInput(f"the table {spelled} in {root}", described(root), advice(NAME, root))


def _inside(folder: Path) -> list[Path]:
    return list(folders_by_name(folder).values())


def _folders(tree: Path, kind: str) -> dict:
    """(subject, recording), or the name of a clip, in lower case -> folder."""
    subjects = folders_by_name(tree)
    if kind == "clips":
        return {name: folder for name, folder in subjects.items() if CLIP.match(name)}
    return {
        (subject, name): folder
        for subject, parent in subjects.items()
        if SUBJECT.match(subject)
        for name, folder in folders_by_name(parent).items()
    }


def _subject(text: str) -> str:
    """The subject as most of the table spells it; some copies write spNo."""
    return re.sub(r"^spno\.0*(?=\d)", "spNO.", text, flags=re.IGNORECASE)


def _spelling(tally: Tally, key: str, row: Row) -> None:
    """Counts what the table spells in several ways."""
    if isinstance(row.cells["Onset"], str):
        tally.add(key, "numbers stored as text", "they are read as numbers")
    if (name := row.text("Filename")) != name.lower():
        tally.add(key, f"the recording {name.lower()} is written {name}", "upper and lower case are the same")
    if (emotion := row.text("emotion")) != emotion.lower():
        tally.add(key, f"the emotion {emotion.lower()} is written {emotion}", "upper and lower case are the same")


def _add_a(found: Survey, tally: Tally, key: str, row: Row, frames: NumberedFrames) -> None:
    """The clip of a row of part A, or a finding that says why there is none."""
    given = Interval(*(row.whole(name) for name in ("Onset", "Apex", "Offset")))
    interval = placed(found, tally, key, _mended(found, key, given), frames)
    if interval is None:
        return
    if interval.offset - interval.onset >= LONG:  # type: ignore[operator]  # `placed` gives both
        tally.add(key, f"longer than {LONG} frames", "kept: so they are annotated")
    typed = row.text("Objective class")
    number = OBJECTIVE.get(typed.upper())
    if typed and number is None:
        tally.add(key, f"the objective class {typed!r} is none of I to VII", "it is not read")
    units = row.cells.get("AU", row.cells.get("Action Units"))
    _append(found, tally, key, row, frames, interval, units, number)


def _mended(found: Survey, where: str, given: Interval) -> Interval:
    """An onset behind apex and offset has one wrong digit: the last number before the apex that differs in one."""
    onset, apex, offset = given.onset, given.apex, given.offset
    if onset is None or apex is None or not offset or not apex <= offset < onset:
        return given
    typed = str(onset)
    near = {int(typed[:at] + digit + typed[at + 1 :]) for at in range(len(typed)) for digit in "0123456789"}
    fitting = [number for number in near if 0 < number < apex]
    if not fitting:
        return given
    done = f"{max(fitting)} is used, one digit away"
    found.warning(where, f"the onset {onset} lies behind the apex {apex} and the offset {offset}", done)
    return replace(given, onset=max(fitting))


def _append(
    found: Survey,
    tally: Tally,
    key: str,
    row: Row,
    frames: NumberedFrames,
    interval: Interval,
    typed_units: object,
    objective_class: int | None = None,
) -> None:
    units = action_units.parse(typed_units)
    for rest in units.rest:
        tally.add(key, f"{rest!r} among the action units", "it is not read as one")
    if "\uff0c" in str(typed_units):
        tally.add(key, "a full-width comma between action units", "it is read as a comma")
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
            objective_class=objective_class,
            frames=frames,
        )
    )


def _note_tree(found: Survey, recordings: Recordings, folder: Path, tree: str) -> None:
    """What of a tree is not read, and how its folders are spelt."""
    names = [inside.name for inside in _inside(folder) if inside.name.lower().startswith("spno.")]
    if spelt := [name for name in names if not name.startswith("spNO.")]:
        done = "upper and lower case are the same"
        found.note(str(folder), f"{len(spelt)} folders are written {spelt[0]}, the table writes spNO.", done)
    with_depth = (inner(place, "depth") for place in recordings.folders.values())
    if inner(folder.parent, "depth") if tree == "clips" else any(with_depth):
        found.note(str(folder), "depth pictures", "they are not read")
    named = "clips that no row of the table names" if tree == "clips" else WITHOUT
    recordings.note_rest(found, folder, named)


def _part_c(root: Path, options: Mapping[str, str]) -> Survey:
    """Part C: whole recordings, one of each subject; onset and offset, no apex."""
    for name, only in (("tree", "recordings"), ("release", "")):
        if options.get(name, only) not in ("", only):
            wanted = f"no {name} for section C" if not only else f"{name}={only} for section C"
            raise BadInput(wanted, repr(options[name]), "leave it out")
    folder = require_tree(NAME, root, _tree(root, TREES_C, re.compile(r"^\d+$")), "part_C")
    _, file = find_table(_place_of_table(root, TABLES_C), TABLES_C)
    found = Survey(published=PUBLISHED_C, chosen={"section": "C", "tree": "recordings"})
    subjects = {int(name): place for name, place in folders_by_name(folder).items() if name.isdecimal()}
    recordings = Recordings(found, {number: _only(place) for number, place in subjects.items()}, NUMBER, inside="color")
    tally, keys = Tally(), set[str]()
    for row in table(file, COLUMNS_C, SHEETS_C):
        number, count, onset = row.whole("sub"), row.text("count"), row.whole("onset")
        key = distinct(f"{NAME}/C{number or 0:02d}/{count}", onset, keys)
        if number is None or not count:
            found.warning(row.place, "a row without subject or count", "the row is left out")
        elif key is None:
            found.warning(row.place, f"subject {number}, count {count} for the second time", "the first row counts")
        elif frames := recordings.frames(number):
            interval = placed(found, tally, key, Interval(onset, None, row.whole("offset")), frames)
            if interval is not None:
                _append(found, tally, key, row, frames, interval, row.cells.get("au"))
        else:
            found.error(key, f"no pictures of subject {number:02d} in {folder}")
    tally.note(found, file)
    if any(inner(place, "depth") for place in recordings.folders.values()):
        found.note(str(folder), "depth pictures", "they are not read")
    recordings.note_rest(found, folder, WITHOUT)
    return found


def _only(subject: Path) -> Path:
    """The one recording in a subject's folder; the folder itself where it holds the pictures."""
    inside = [folder for name, folder in folders_by_name(subject).items() if name not in ("color", "depth")]
    return inside[0] if len(inside) == 1 else subject
