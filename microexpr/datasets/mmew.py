"""MMEW: 300 micro-expressions of 30 subjects at 90 frames a second, and 900 macro-expressions, Shandong University.

Ben, Ren, Zhang, Wang, Kpalma, Meng and Liu, "Video-based facial micro-expression analysis: a survey of datasets,
features and algorithms", IEEE TPAMI 44(9), 2022, doi:10.1109/TPAMI.2021.3067464.

The micro-expressions are crops of the face (231x231), one folder a clip, numbered within the clip from 1 on, with a
table. The macro-expressions have no table. As the authors name the files ("S03/happiness/S03-01-001.jpg means the 1st
sample with happiness emotion for the 3rd subject") each of them is one still picture: a clip with an apex and without
onset and offset. Where a sample is a folder instead, its first file is the onset and its last the offset.

Not verified on the real files: tree and table are read as the authors' page and public loaders describe them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from microexpr.datasets import _survey
from microexpr.datasets._files import LAST_NUMBER, NumberedFrames, folders_by_name, frames_in, inner
from microexpr.datasets._nearby import require_tree
from microexpr.datasets._survey import ClipFolders, Interval, Survey
from microexpr.datasets._table import Row, find_table, table
from microexpr.datasets._trimmed import fitted_to_folder, note_missing, rows_with_frames, units_of
from microexpr.errors import BadInput
from microexpr.types import Clip

NAME = "mmew"
WHAT = "MMEW: micro-expressions at 90 frames a second as crops of the face, and macro-expressions of the same subjects"
CARRIES = ("frames", "flow")
CLIPS = 300
SUBJECTS = 30
CITATION = (
    "Ben, Ren, Zhang, Wang, Kpalma, Meng, Liu: Video-based facial micro-expression analysis: a survey of datasets, "
    "features and algorithms, IEEE Transactions on Pattern Analysis and Machine Intelligence 44(9):5826-5846, 2022, "
    "doi:10.1109/TPAMI.2021.3067464"
)
LICENCE = "by a signed license agreement; read its terms before use"
HOW_TO_GET = "sign the license agreement on the authors' page (www.dpailab.com/database.html) and send it to them"
EXPECTED_TREE = """
    ROOT/MMEW_Micro_Exp.xlsx
    ROOT/Micro_Expression/anger/S01-07-001/1.jpg ...
    ROOT/Macro_Expression/S01/anger/S01-07-001.jpg ...
"""
OPTIONS: dict[str, tuple[str, ...]] = {"kind": ("micro", "macro", "all"), "release": ("", "v1", "v2")}
FRAMES_A_SECOND = 90.0

TREES = {"micro": "Micro_Expression", "macro": "Macro_Expression"}
ABOVE = ("", "MMEW_Final/", "MMEW/")  # a root may be the folder above
TABLES = {"v1": ("mmew_micro_exp.xlsx",), "v2": ("mmew_micro_exp_v2.xlsx",)}
COLUMNS = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion")
PUBLISHED = {"micro": {"clips": CLIPS, "subjects": SUBJECTS}, "macro": {"clips": 900}, "all": {"clips": 1200}}
# A folder's name -> the table's word for the same emotion.
SAME = {"repression": "others"}
CLIP = re.compile(r"S(\d+)-\d+-(\d+)", re.IGNORECASE)  # person, emotion, sample
NUMBER = re.compile(r"^(\d+)$")
STILL = re.compile(r"^S\d+-\d+-(\d+)$", re.IGNORECASE)


def read(root: Path, *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips: micro-expressions in the order of the table, macro-expressions by the names of their files.

    Args:
        root: the folder that holds the table and the trees, or the one above it.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: `OPTIONS`: ``kind``, by default the micro-expressions; ``release`` of the table, by default the only
            one that is there.

    Raises:
        BadInput: the table or a tree is missing, two releases are there and none was named, or a clip can't be read.
    """
    return _survey.clips_of(survey(root, **options), NAME, root, damaged)


def survey(root: Path, **options: str) -> Survey:
    """The clips and what is wrong with the copy; `read` without its judgment."""
    chosen = _survey.check_options(NAME, options, OPTIONS)
    kind = chosen["kind"]
    found = Survey(published=PUBLISHED[kind])
    trees = [_tree(root, name) for name in TREES if kind in (name, "all")]
    if kind != "macro":
        release, file = find_table(root, TABLES, chosen["release"])
        found.chosen = {"kind": kind, "release": release}
        _micro(found, trees[0], file)
    else:
        found.chosen = {"kind": kind}
    if kind != "micro":
        found.clips += _macro(found, trees[-1])
    return found


def _tree(root: Path, kind: str) -> Path:
    wanted = TREES[kind]
    trees = {name: inner(root, *(above + tree for above in ABOVE)) for name, tree in TREES.items()}
    folder, there = trees[kind], next((name for name, tree in trees.items() if tree), None)
    if folder is None and there is not None:
        raise BadInput(f"{wanted} in {root}", f"{TREES[there]} only", f"name what is there: kind={there}")
    return require_tree(NAME, root, folder, wanted)


def _micro(found: Survey, tree: Path, file: Path) -> None:
    """The rows of the table with their folders, which lie in emotions, or in emotions in subjects."""
    folders = ClipFolders(_parents(tree))
    renamed = 0
    read = table(file, COLUMNS)
    _survey.note_table(found, file, read, COLUMNS[2:5])
    rows = rows_with_frames(found, read, _key, lambda row: folders.take(row.text("Filename")), NUMBER, "crop")
    for key, row, frames in rows:
        _check_subject(found, key, row)
        emotion, folder = row.text("Estimated Emotion").lower(), frames.folder.parent.name.lower()
        renamed += folder != emotion and SAME.get(folder) == emotion
        if SAME.get(folder, folder) != SAME.get(emotion, emotion):
            found.warning(key, f"{emotion} in the table, its folder is {folder}", "the table's label is used")
        given = Interval(row.whole("OnsetFrame"), row.whole("ApexFrame"), row.whole("OffsetFrame"))
        note_missing(found, key, row, "ApexFrame", "OffsetFrame")
        interval = fitted_to_folder(found, key, given, frames)
        if interval is not None:
            units = units_of(found, key, row.cells.get("Action Units"))
            found.clips.append(_clip(key, emotion, interval, frames, units, "micro"))
    if renamed:
        what = f"{renamed} clips that the table calls others lie in folders called repression"
        found.note(str(tree), what, "the table's label is used")
    folders.note_rest(found)


def _parents(tree: Path) -> Iterator[Path]:
    """The folders that hold folders of clips: those in the tree, or in its folders."""
    for folder in folders_by_name(tree).values():
        inside = folders_by_name(folder)
        if any(CLIP.fullmatch(name) for name in inside):
            yield folder
        else:
            yield from inside.values()


def _key(row: Row) -> str | None:
    """By the clip's name, which begins with the subject; by the column Subject where a name is not built like that."""
    name, number = row.text("Filename"), _number(row.text("Subject"))
    if match := CLIP.fullmatch(name):
        number = int(match[1])
    return f"{NAME}/S{number:02d}/{name}" if name and number is not None else None


def _number(text: str) -> int | None:
    match = re.search(r"(\d+)$", text)
    return int(match[1]) if match else None


def _check_subject(found: Survey, key: str, row: Row) -> None:
    told = _number(row.text("Subject"))
    if told is not None and told != _number(key.split("/")[1]):
        found.warning(key, f"subject {told} in the table", "the subject in the clip's name is used")


def _macro(found: Survey, tree: Path) -> Iterator[Clip]:
    """Macro-expressions: stills in folders of emotions in folders of subjects, or folders of frames in their place."""
    for subject in folders_by_name(tree).values():
        for emotion in folders_by_name(subject).values():
            stills = frames_in(emotion, STILL, "crop")
            for number, name in zip(stills.numbers, stills.names, strict=True) if stills else ():
                one = NumberedFrames(emotion, (number,), (name,), "crop")
                yield _sample(name.rpartition(".")[0], subject.name, emotion.name, one)
            for folder in folders_by_name(emotion).values():
                if frames := frames_in(folder, LAST_NUMBER, "crop"):
                    yield _sample(folder.name, subject.name, emotion.name, frames)
                else:
                    found.error(f"{NAME}/{subject.name}/macro_{folder.name}", f"no pictures in {folder}")


def _sample(name: str, subject: str, emotion: str, frames: NumberedFrames) -> Clip:
    first, last = frames.numbers[0], frames.numbers[-1]
    interval = Interval(first, None, last) if len(frames) > 1 else Interval(None, first, None)
    match = CLIP.fullmatch(name)
    person = f"S{int(match[1]):02d}" if match else subject
    # Micro- and macro-expressions use the same names.
    return _clip(f"{NAME}/{person}/macro_{name}", emotion.lower(), interval, frames, (), "macro")


def _clip(
    key: str, emotion: str, interval: Interval, frames: NumberedFrames, units: tuple[str, ...], kind: str
) -> Clip:
    return Clip(
        key=key,
        dataset=NAME,
        subject=key.rpartition("/")[0],
        emotion=emotion,
        onset=interval.onset,
        apex=interval.apex,
        offset=interval.offset,
        fps=FRAMES_A_SECOND,
        action_units=units,
        kind=kind,
        frames=frames,
    )
