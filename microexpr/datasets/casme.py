"""CASME: the first micro-expression set of the Chinese Academy of Sciences, 60 frames a second.

Yan, Wu, Liu, Wang and Fu, "CASME database: a dataset of spontaneous micro-expressions collected from neutralized
faces", FG 2013, doi:10.1109/FG.2013.6553799. The paper counts 195 micro-expressions; the tables that are in use have
189 rows (casme.xlsx) or 193 (CASME-coded-20190721).

Two trees are read to the same clips: raw_selected (the camera's picture) and Cropped (faces that the authors cut out).
The table has two apex columns: ApexF1 is the first frame of the apex phase, ApexF2 its last, where it lasts longer than
a frame. The apex of a clip is ApexF1.

Not verified on the real files: trees and tables are read as public loaders and a public notebook describe them.
"""

from __future__ import annotations

import re
from pathlib import Path

from microexpr.datasets import _survey
from microexpr.datasets._files import folders_by_name, inner
from microexpr.datasets._nearby import others, require_tree
from microexpr.datasets._survey import ClipFolders, Interval, Survey
from microexpr.datasets._table import Row, find_table, table
from microexpr.datasets._trimmed import fitted_to_folder, note_missing, rows_with_frames, units_of
from microexpr.errors import BadInput
from microexpr.types import Clip

NAME = "casme"
WHAT = "CASME (2013): spontaneous micro-expressions at 60 frames a second, with apex and action units"
CARRIES = ("frames", "flow")
CLIPS = 189
SUBJECTS = None
CITATION = (
    "Yan, Wu, Liu, Wang, Fu: CASME database: a dataset of spontaneous micro-expressions collected from neutralized "
    "faces, IEEE FG 2013, doi:10.1109/FG.2013.6553799"
)
LICENCE = "by a signed license agreement; read its terms before use"
HOW_TO_GET = (
    "apply to the Chinese Academy of Sciences, Institute of Psychology (casme.psych.ac.cn/casme/e1): an application "
    "form and a signed license agreement"
)
EXPECTED_TREE = """
    ROOT/casme.xlsx
    ROOT/CASME_raw_selected/sub01/EP01_5/EP01_5-113.jpg ...
    or ROOT/Cropped/sub01/EP01_5/reg_EP01_5-113.jpg ...
"""
OPTIONS: dict[str, tuple[str, ...]] = {"tree": ("", "raw-selected", "cropped"), "release": ("", "undated", "2019")}
FRAMES_A_SECOND = 60.0

# Name of a tree -> its folders, the usual name first.
TREES = {
    "raw-selected": ("CASME_raw_selected", "raw_selected"),
    "cropped": ("Cropped", "CASME_cropped_selected"),
}
# The release of 2019 is distributed in the older format; see `_readable`.
TABLES = {
    "undated": ("casme.xlsx", "casme.xls"),
    "2019": ("casme-coded-20190721.xlsx", "casme-coded-20190721.xls"),
}
CASME2_TABLES = ("casme2-coding-20140508.xlsx", "casme2-coding-20190701.xlsx")
COLUMNS = ("Subject", "Filename", "OnsetF", "ApexF1", "OffsetF", "AU", "Emotion")
PUBLISHED = {"undated": {"clips": CLIPS}, "2019": {"clips": 193}}
NUMBER = re.compile(r"-(\d+)$")


def read(root: Path, *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips in the order of the table; frames are read on demand.

    Args:
        root: the folder that holds the table and at least one tree.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: `OPTIONS`: ``tree``, by default the first of raw-selected and cropped that is there; ``release`` of the
            table, by default the only one that is there.

    Raises:
        BadInput: the table or the tree is missing, two releases are there and none was named, or a clip can't be read.
    """
    return _survey.clips_of(survey(root, **options), NAME, root, damaged)


def survey(root: Path, **options: str) -> Survey:
    """The clips and what is wrong with the copy; `read` without its judgment."""
    chosen = _survey.check_options(NAME, options, OPTIONS)
    tree, folder = _tree(root, chosen["tree"])
    release, file = find_table(root, TABLES, chosen["release"])
    found = Survey(published=PUBLISHED[release], chosen={"tree": tree, "release": release})
    folders = ClipFolders(folders_by_name(folder).values())
    rows = table(_readable(file), COLUMNS)
    _survey.note_table(found, file, rows, ("OnsetF", "ApexF1", "ApexF2", "OffsetF"))
    shows = "crop" if tree == "cropped" else "frame"
    phases = 0
    named = rows_with_frames(
        found, rows, _key, lambda row: folders.take(row.text("Filename"), _subject(row)), NUMBER, shows
    )
    for key, row, frames in named:
        phases += row.whole("ApexF2") is not None
        given = Interval(row.whole("OnsetF"), _apex(found, key, row), row.whole("OffsetF"))
        interval = fitted_to_folder(found, key, given, frames)
        if interval is not None:
            found.clips.append(
                Clip(
                    key=key,
                    dataset=NAME,
                    subject=key.rpartition("/")[0],
                    emotion=row.text("Emotion").lower(),
                    onset=interval.onset,
                    apex=interval.apex,
                    offset=interval.offset,
                    fps=FRAMES_A_SECOND,
                    action_units=units_of(found, key, row.cells.get("AU")),
                    frames=frames,
                )
            )
    if phases:
        found.note(str(file), f"{phases} rows with an apex phase, ApexF1 to ApexF2", "its first frame is the apex")
    folders.note_rest(found)
    return found


def _tree(root: Path, tree: str) -> tuple[str, Path]:
    """Name and folder of the tree that is read."""
    trees = {name: inner(root, *folders) for name, folders in TREES.items()}
    tree = tree or next((name for name, folder in trees.items() if folder), "")
    wanted = " or ".join(TREES[name][0] for name in ([tree] if tree else TREES))
    # CASME II has a folder Cropped, too.
    if {path.name.lower() for path in root.iterdir()} & set(CASME2_TABLES):
        require_tree(NAME, root, None, f"CASME ({wanted})")  # raises
    return tree, require_tree(NAME, root, trees.get(tree), wanted, others(root, trees))


def _readable(file: Path) -> Path:
    """The table, where its format can be read.

    Raises:
        BadInput: it is an .xls.
    """
    if file.suffix.lower() == ".xls":
        advice = "open it in a spreadsheet program and save it as .xlsx in the same folder"
        raise BadInput("the table as .xlsx", f"{file}, an older format", advice)
    return file


def _subject(row: Row) -> str:
    number = row.whole("Subject")
    return f"sub{number:02d}" if number is not None else row.text("Subject").lower()


def _key(row: Row) -> str | None:
    subject, name = _subject(row), row.text("Filename")
    return f"{NAME}/{subject}/{name}" if subject and name else None


def _apex(found: Survey, key: str, row: Row) -> int | None:
    """ApexF1; where it can't be used and ApexF2 can, that."""
    onset, first, last, offset = (row.whole(name) for name in ("OnsetF", "ApexF1", "ApexF2", "OffsetF"))

    def usable(apex: int | None) -> bool:
        return apex is not None and (onset is None or onset < apex) and (offset is None or apex <= offset)

    if usable(first) or not usable(last):
        note_missing(found, key, row, "ApexF1")
        return first
    found.warning(key, f"ApexF1 {row.text('ApexF1')!r} can't be used", f"ApexF2, {last}, is taken as the apex")
    return last
