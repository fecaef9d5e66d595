"""CASME II: 255 clips of 26 subjects at 200 frames a second, Chinese Academy of Sciences.

Yan, Li, Wang, Zhao, Liu, Chen and Fu, "CASME II: an improved spontaneous micro-expression database and the baseline
evaluation", PLoS ONE 9(1), 2014, doi:10.1371/journal.pone.0086041.

Three trees are read, all to the same clips: RAW_selected (onset to offset of each clip, the camera's picture), RAW (the
whole recordings) and Cropped (faces that the authors cut out and aligned). Two releases of the table differ: that of
2019 calls three clips of subject 24 surprise that were sadness, and codes 57 action units otherwise. The composite set
of MEGC 2019, and with it the paper, counts by the labels of 2014.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from microexpr.datasets import _gaps, _survey, action_units
from microexpr.datasets._files import NumberedFrames, folders_by_name, inner
from microexpr.datasets._nearby import others, require_tree
from microexpr.datasets._survey import ClipFolders, Interval, Survey
from microexpr.datasets._table import Row, find_table, releases_in, table
from microexpr.errors import BadInput
from microexpr.types import Clip

NAME = "casme2"
WHAT = "CASME II: spontaneous micro-expressions at 200 frames a second, with apex and action units"
CARRIES = ("frames", "flow")
CLIPS = 255
SUBJECTS = 26
CITATION = (
    "Yan, Li, Wang, Zhao, Liu, Chen, Fu: CASME II: an improved spontaneous micro-expression database and the baseline "
    "evaluation, PLoS ONE 9(1):e86041, 2014, doi:10.1371/journal.pone.0086041"
)
LICENCE = "for academic research, by a signed agreement; not to be passed on"
HOW_TO_GET = (
    "apply to the Chinese Academy of Sciences, Institute of Psychology (casme.psych.ac.cn), with an agreement that a "
    "member of the staff of your institution has signed"
)
EXPECTED_TREE = """
    ROOT/CASME2-coding-20140508.xlsx
    ROOT/CASME2_RAW_selected/sub01/EP02_01f/img46.jpg ...
    or ROOT/Cropped/sub01/EP02_01f/reg_img46.jpg ...
    or ROOT/CASME2-RAW/sub01/EP02_01f/img1.jpg ...
"""
# Setting -> its values, the usual one first; empty takes what is there.
OPTIONS: dict[str, tuple[str, ...]] = {
    "tree": ("", "raw-selected", "cropped", "raw"),
    "release": ("", "2014", "2019"),
}
FRAMES_A_SECOND = 200.0

# Name of a tree -> its folders, the usual name first.
TREES = {
    "raw-selected": ("CASME2_RAW_selected", "CASME2-RAW_selected", "RAW_selected"),
    "cropped": (
        *("Cropped", "Cropped_original", "Cropped-updated/Cropped", "Cropped-updated"),
        "CASME2_preprocessed_Li Xiaobai/Cropped",
    ),
    "raw": ("CASME2-RAW", "CASME2_RAW", "RAW"),
}
TABLES = {
    "2014": ("casme2-coding-20140508.xlsx",),
    "2019": ("casme2-coding-20190701.xlsx",),
}
OBJECTIVE = "casme2-objectiveclasses.xlsx"
COLUMNS = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion")
EMOTIONS = {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2}
PUBLISHED = {
    "2014": {"clips": CLIPS, "subjects": SUBJECTS, **EMOTIONS},
    "2019": {"clips": CLIPS, "subjects": SUBJECTS, **EMOTIONS, "surprise": 28, "sadness": 4},
}
NUMBER = re.compile(r"^(?:reg_)?img(\d+)$", re.IGNORECASE)


def read(root: Path, *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips in the order of the table; frames are read on demand.

    Args:
        root: the folder that holds the table and at least one tree.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: `OPTIONS`: ``tree``, by default the first of raw-selected, cropped and raw that is there; ``release``
            of the table, by default the only one that is there.

    Raises:
        BadInput: the table or the tree is missing, two releases are there and none was named, or a clip can't be read.
    """
    return _survey.clips_of(survey(root, **options), NAME, root, damaged)


def survey(root: Path, **options: str) -> Survey:
    """The clips and what is wrong with the copy; `read` without its judgment."""
    chosen = _survey.check_options(NAME, options, OPTIONS)
    trees = {name: inner(root, *folders) for name, folders in TREES.items()}
    tree = chosen["tree"] or next((name for name, folder in trees.items() if folder), "")
    wanted = " or ".join(TREES[name][0] for name in ([tree] if tree else TREES))
    folder = require_tree(NAME, root, trees.get(tree), wanted, others(root, trees))
    release, file = find_table(root, TABLES, chosen["release"])
    found = Survey(published=PUBLISHED[release], chosen={"tree": tree, "release": release})
    objective = _objective_classes(found, root, file.parent)
    folders = ClipFolders(folders_by_name(folder).values())
    rows, keys = table(file, COLUMNS), set[str]()
    _survey.note_table(found, file, rows, COLUMNS[2:5])
    _note_release(found, root, release, rows)
    for row in rows:
        number, name, key = row.whole("Subject"), row.text("Filename"), _key(row)
        if number is None or not name:
            found.warning(row.place, "a row without subject or file name", "the row is left out")
        elif key in keys:
            found.warning(row.place, f"{key} for the second time", "the first row counts")
        else:
            keys.add(key)
            place, expected = folders.take(name, f"sub{number:02d}"), folder / f"sub{number:02d}" / name
            shows = "crop" if tree == "cropped" else "frame"
            frames = _survey.pictures(found, key, place, expected, NUMBER, shows)
            if frames is not None:
                _add(found, key, row, frames, objective.get(key))
    folders.note_rest(found)
    return found


def _key(row: Row) -> str:
    return f"{NAME}/sub{row.whole('Subject') or 0:02d}/{row.text('Filename')}"


def _note_release(found: Survey, root: Path, release: str, rows: Sequence[Row]) -> None:
    """Notes that labels differ between the releases: by how many, where both tables are there."""
    counted = "MEGC 2019, and with it 3db, counts by the labels of 2014"
    other = next(name for name in TABLES if name != release)
    file = releases_in(root, TABLES).get(other)
    if file is None:
        if release == "2019":
            what = "the labels of 2019, by which three clips of subject 24 are surprise that were sadness"
            found.note(f"release {release}", what, counted)
        return
    try:
        labels = {_key(row): row.text("Estimated Emotion").lower() for row in table(file, COLUMNS)}
    except BadInput:  # nobody asked for it
        return
    changed = [
        key for row in rows if labels.get(key := _key(row), "") not in ("", row.text("Estimated Emotion").lower())
    ]
    if changed:
        what = f"{len(changed)} clips have another emotion in the release of {other}, the first {changed[0]}"
        found.note(f"release {release}", what, counted)


def _add(found: Survey, key: str, row: Row, frames: NumberedFrames, objective_class: int | None) -> None:
    """The clip of a row, or a finding that says why there is none."""
    interval = _interval(found, key, row, frames)
    if interval is None:
        return
    units = action_units.parse(row.cells.get("Action Units"))
    if units.rest:
        found.note(key, f"action units {row.text('Action Units')!r}", "what is no unit is not read as one")
    found.clips.append(
        Clip(
            key=key,
            dataset=NAME,
            subject=key.rpartition("/")[0],
            emotion=row.text("Estimated Emotion").lower(),
            onset=interval.onset,
            apex=interval.apex,
            offset=interval.offset,
            fps=FRAMES_A_SECOND,
            action_units=units.texts,
            objective_class=objective_class,
            frames=frames,
        )
    )


def _interval(found: Survey, key: str, row: Row, frames: NumberedFrames) -> Interval | None:
    onset, apex, offset = (row.whole(name) for name in ("OnsetFrame", "ApexFrame", "OffsetFrame"))
    if apex is None or apex == onset:
        found.motionless.add(key)
    if apex is None:
        found.note(key, f"apex {row.text('ApexFrame')!r}", "taken as not annotated: the apex rule finds one")
    interval = _survey.fitted(found, key, Interval(onset, apex, offset), frames)
    if interval is not None:
        _gaps.tell(found, key, interval, frames)
    return interval


def _objective_classes(found: Survey, *places: Path) -> dict[str, int]:
    """Key -> class 1 to 7, of the table of 2017 where it is there (Davison et al. 2018)."""
    file = next((path for place in places for path in place.iterdir() if path.name.lower() == OBJECTIVE), None)
    if file is None:
        found.note(str(places[0]), "no CASME2-ObjectiveClasses.xlsx", "clips have no objective class")
        return {}
    try:
        rows = table(file, ("Subject", "Filename", "Objective Class"))
    except BadInput as error:
        found.warning(str(file), str(error), "clips have no objective class")
        return {}
    classes = {_key(row): row.whole("Objective Class") for row in rows if row.whole("Subject") is not None}
    return {key: number for key, number in classes.items() if number is not None and 1 <= number <= 7}
