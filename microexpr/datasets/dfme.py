"""DFME: the part of it that was released for a challenge of 2024, 2629 micro-expressions of 259 subjects.

Zhao, Tang, Mao, Liu, Zhang, Wang, Xu and Chen, "DFME: a new benchmark for dynamic facial micro-expression recognition",
IEEE Transactions on Affective Computing 15(3), 2024, doi:10.1109/TAFFC.2023.3341918.

Three sets of disjoint subjects: train (1856 clips of 176), test A (474 of 42) and test B (299 of 41), each with a
workbook and a folder of its own. Clips have 200, 300 or 500 frames a second, as their row says. Frames are numbered
from 0, with five digits.

The columns of the workbooks were verified; the folders of frames were not: they are read as a public program describes
those of the training set, and those of the test sets are looked for under like names.
"""

from __future__ import annotations

import re
from pathlib import Path

from microexpr.datasets import _survey
from microexpr.datasets._files import entries, inner
from microexpr.datasets._nearby import require_tree
from microexpr.datasets._survey import ClipFolders, Interval, Survey
from microexpr.datasets._table import Row, find_table, table
from microexpr.datasets._trimmed import fitted, note_missing, rows_with_frames, units_of
from microexpr.errors import BadInput
from microexpr.types import Clip

NAME = "dfme"
WHAT = "DFME: spontaneous micro-expressions at 200, 300 and 500 frames a second, with an official training set"
CARRIES = ("frames", "flow")
CLIPS = 2629
SUBJECTS = 259
CITATION = (
    "Zhao, Tang, Mao, Liu, Zhang, Wang, Xu, Chen: DFME: a new benchmark for dynamic facial micro-expression "
    "recognition, IEEE Transactions on Affective Computing 15(3):1371-1386, 2024, doi:10.1109/TAFFC.2023.3341918"
)
LICENCE = "for academic research, by a signed agreement (of students: by their supervisor); not to be passed on"
HOW_TO_GET = "apply with the agreement on the authors' page (mea-lab-421.github.io)"
EXPECTED_TREE = """
    ROOT/training_full_with_AU.xlsx (testA_..., testB_...)
    ROOT/DFME_train/sub0003_01/00000.png ... (DFME_testA, DFME_testB)
"""
OPTIONS: dict[str, tuple[str, ...]] = {"split": ("train", "testA", "testB", "all")}
FRAMES_A_SECOND = (200.0, 300.0, 500.0)

SPLITS = ("train", "testA", "testB")
# Split -> its folders, the usual name first.
TREES = {
    "train": ("DFME_train", "train_data", "train"),
    "testA": ("DFME_testA", "DFME_test_A", "testA_data", "testA"),
    "testB": ("DFME_testB", "DFME_test_B", "testB_data", "testB"),
}
# Split -> what the name of its workbook begins with, in lower case and without "dfme_".
BEGINS = {"train": ("train",), "testA": ("testa", "test_a"), "testB": ("testb", "test_b")}
USUAL = {split: f"{begin}_full_with_AU.xlsx" for split, begin in zip(SPLITS, ("training", *SPLITS[1:]), strict=True)}
COLUMNS = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU")
EMOTIONS = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")  # by EmotionId
PUBLISHED = {
    "train": {"clips": 1856, "subjects": 176},
    "testA": {"clips": 474, "subjects": 42},
    "testB": {"clips": 299, "subjects": 41},
    "all": {"clips": CLIPS, "subjects": SUBJECTS},
}
NUMBER = re.compile(r"^(\d+)$")
CLIP = re.compile(r"(sub\d+)_\w+", re.IGNORECASE)


def read(root: Path, *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips in the order of the tables, train before test A before test B; frames are read on demand.

    Args:
        root: the folder that holds the workbooks and the folders of frames.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: `OPTIONS`: ``split``, by default the training set.

    Raises:
        BadInput: a table or a tree is missing, there are two tables of a set, or a clip can't be read.
    """
    return _survey.clips_of(survey(root, **options), NAME, root, damaged)


def survey(root: Path, **options: str) -> Survey:
    """The clips and what is wrong with the copy; `read` without its judgment."""
    split = _survey.check_options(NAME, options, OPTIONS)["split"]
    found = Survey(published=PUBLISHED[split], chosen={"split": split})
    wanted = SPLITS if split == "all" else (split,)
    places = [(_tree(root, one), _table(root, one)) for one in wanted]
    rows, folders = [], {}
    for tree, file in places:
        inside = ClipFolders([tree])
        of_split = table(file, COLUMNS)
        _survey.note_table(found, file, of_split, COLUMNS[2:5])
        rows += of_split
        folders.update({row.place: inside for row in of_split})
    named = rows_with_frames(
        found, rows, _key, lambda row: folders[row.place].take(row.text("Filename")), NUMBER, "frame"
    )
    for key, row, frames in named:
        fps = _rate(found, key, row)
        note_missing(found, key, row, "ApexFrame")
        given = Interval(row.whole("OnsetFrame"), row.whole("ApexFrame"), row.whole("OffsetFrame"))
        interval = None if fps is None else fitted(found, key, given, frames)
        if interval is None or fps is None:
            continue
        found.clips.append(
            Clip(
                key=key,
                dataset=NAME,
                subject=key.rpartition("/")[0],
                emotion=_emotion(found, key, row),
                onset=interval.onset,
                apex=interval.apex,
                offset=interval.offset,
                fps=fps,
                action_units=units_of(found, key, row.cells.get("AU")),
                frames=frames,
            )
        )
    for inside in dict.fromkeys(folders.values()):
        inside.note_rest(found)
    return found


def _tree(root: Path, split: str) -> Path:
    names = TREES[split]
    folder = inner(root, *names, *(f"DFME/{name}" for name in names))
    others = [one for one in SPLITS if one != split and inner(root, *TREES[one])]
    if folder is None and others:
        raise BadInput(f"{names[0]} in {root}", f"{TREES[others[0]][0]} only", f"name what is there: split={others[0]}")
    return require_tree(NAME, root, folder, names[0])


def _table(root: Path, split: str) -> Path:
    """The workbook of a set, by what its name begins with.

    Raises:
        BadInput: there is none, or there are two.
    """
    places = [root, *(root / name for name in sorted(entries(root)) if not name.startswith("."))]
    names = {name.lower() for place in places for name in entries(place) if _is_table(name, split)}
    if len(names) > 1:
        advice = "keep the one that is to be read"
        raise BadInput(f"one table of {split} in {root}", ", ".join(sorted(names)), advice)
    return find_table(root, {split: tuple(names) or (USUAL[split],)})[1]


def _is_table(name: str, split: str) -> bool:
    lower = name.lower()
    return lower.endswith(".xlsx") and lower.removeprefix("dfme_").startswith(BEGINS[split])


def _key(row: Row) -> str | None:
    """By the clip's name, which begins with the subject; by the column Subject where a name is not built like that."""
    name, number = row.text("Filename"), re.search(r"(\d+)$", row.text("Subject"))
    if match := CLIP.fullmatch(name):
        return f"{NAME}/{match[1].lower()}/{name}"
    return f"{NAME}/sub{int(number[1]):04d}/{name}" if name and number else None


def _rate(found: Survey, key: str, row: Row) -> float | None:
    fps = row.number_in("Fps")
    if fps is None or fps <= 0:
        found.error(key, f"Fps {row.text('Fps')!r}")
        return None
    if fps not in FRAMES_A_SECOND:
        found.warning(key, f"{fps:g} frames a second, where 200, 300 and 500 are known", "used as it is")
    return fps


def _emotion(found: Survey, key: str, row: Row) -> str:
    """The label in lower case; by its number where the text is missing."""
    emotion, number = row.text("Emotion").lower(), row.whole("EmotionId")
    by_number = EMOTIONS[number] if number is not None and 0 <= number < len(EMOTIONS) else ""
    if not emotion:
        done = f"{by_number} is used, by its number" if by_number else "protocols leave the clip out"
        found.warning(key, "no emotion", done)
        return by_number
    if by_number and by_number != emotion:
        found.warning(key, f"emotion {emotion} with the number of {by_number}", f"{emotion} is used")
    return emotion
