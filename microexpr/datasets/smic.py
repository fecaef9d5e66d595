"""SMIC: 164 clips of 16 subjects at 100 frames a second, University of Oulu.

Li, Pfister, Huang, Zhao and Pietikainen, "A spontaneous micro-expression database: inducement, collection and
baseline", FG 2013, doi:10.1109/FG.2013.6553717.

Three cameras recorded: HS (100 frames a second), VIS and NIR (25; the later subjects only). Three trees are read:
SMIC_all_raw and SMIC_all_cropped (faces that the authors cut out and aligned), which hold each clip from onset to
offset and have no table, and SMIC-E, which holds longer recordings with a table. No apex is annotated. The names of a
clip differ (``s1/.../s1_ne_01``, ``s01/s1_ne_01``); keys are written as in the official list of MEGC 2019,
``smic/s01/s01_ne_01``, in every tree and for every camera, and clips come in the order of their keys.

SMIC-E lacks three clips of HS whose recordings were lost, so the composite set of MEGC 2019, which takes all 164, needs
the raw or the cropped tree.

Names and counts of HS were verified on the official list of MEGC 2019 and on SMIC-E's table. The folders, the missing
frames and the clip that some cropped copies lack are those that public programs name; VIS and NIR are read by the same
rule. These were not verified on the real files.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from microexpr.datasets import _gaps, _survey
from microexpr.datasets._files import NumberedFrames, described, entries, folders_by_name, inner
from microexpr.datasets._nearby import require_tree
from microexpr.datasets._survey import ClipFolders, Interval, Survey
from microexpr.datasets._table import Row, find_table, table
from microexpr.errors import BadInput
from microexpr.types import Clip

NAME = "smic"
WHAT = "SMIC: spontaneous micro-expressions by a high-speed, a usual and an infrared camera, in three classes"
CARRIES = ("frames", "flow")
CLIPS = 164
SUBJECTS = 16
CITATION = (
    "Li, Pfister, Huang, Zhao, Pietikainen: A spontaneous micro-expression database: inducement, collection and "
    "baseline, IEEE FG 2013, doi:10.1109/FG.2013.6553717"
)
LICENCE = "for academic research, by a signed agreement; not to be passed on"
HOW_TO_GET = (
    "apply to the University of Oulu, Center for Machine Vision and Signal Analysis (oulu.fi/cmvs/node/41319), with "
    "their signed agreement; ask for SMIC, not for SMIC-E alone, which lacks three clips"
)
EXPECTED_TREE = """
    ROOT/SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image034208.bmp ...
    or ROOT/SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01/reg_image034208.bmp ...
    or ROOT/SMIC-E_raw image/HS_long/SMIC-HS-E/s01/s1_ne_01/image034108.jpg ...
       beside ROOT/SMIC-E_raw image/HS_long/SMIC-HS-E_annotation.xlsx
"""
# Setting -> its values, the usual one first; empty takes what is there. The releases are those of SMIC-E's table.
OPTIONS: dict[str, tuple[str, ...]] = {
    "camera": ("HS", "VIS", "NIR"),
    "tree": ("", "raw", "cropped", "extended"),
    "release": ("", "first", "2019", "orig"),
}
FRAMES_A_SECOND = {"HS": 100.0, "VIS": 25.0, "NIR": 25.0}

# Name of a tree -> its folder for one camera, the usual name first.
TREES = {
    "raw": ("SMIC_all_raw/{}",),
    "cropped": ("SMIC_all_cropped/{}",),
    "extended": ("SMIC-E_raw image/{}_long", "SMIC-E_raw_image/{}_long", "SMIC-E/{}_long", "{}_long"),
}
RECORDINGS = ("SMIC-{}-E", "SMIC_{}_E", "{}/SMIC-{}-E", "{}/SMIC_{}_E")
TABLES = {
    "first": ("smic-{}-e_annotation.xlsx", "smic_{}_e_annotation.xlsx"),
    "2019": ("smic-{}-e_annotation_2019.xlsx", "smic_{}_e_annotation_2019.xlsx"),
    "orig": ("smic-{}-e_annotation_orig.xlsx", "smic_{}_e_annotation_orig.xlsx"),
}
# One release of the table lacks Onset3F and Offset3F, which are read where they are.
COLUMNS = ("Filename", "OnsetF", "OffsetF", "Onset2F", "Offset2F", "FirstF", "LastF")
EMOTIONS = {"ne": "negative", "po": "positive", "sur": "surprise"}
PUBLISHED = {
    "HS": {"clips": CLIPS, "subjects": SUBJECTS, "negative": 70, "positive": 51, "surprise": 43},
    "VIS": {"clips": 71},
    "NIR": {"clips": 71},
}
# Clips of HS by subject; within a subject and a class they are numbered from 1 without a gap.
PER_SUBJECT = {
    **{1: 6, 2: 6, 3: 39, 4: 19, 5: 2, 6: 4, 8: 13, 9: 4},
    **{11: 7, 12: 9, 13: 10, 14: 10, 15: 4, 18: 7, 19: 2, 20: 22},
}
# What SMIC-E lacks: the authors lost these recordings of HS.
LOST = ("s01_ne_02", "s02_sur_05", "s03_ne_20")
# Numbers without a file that a clip of the release has at most.
RELEASED_GAP = 2
SUBJECT = re.compile(r"s(\d+)", re.IGNORECASE)
CLIP = re.compile(r"s(\d+)_(ne|po|sur)_(\d+)", re.IGNORECASE)
NUMBER = re.compile(r"^(?:reg_)?image(\d+)$", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Name:
    """What the name of a clip says, however it is padded."""

    subject: int
    code: str
    number: int

    @classmethod
    def of(cls, text: str) -> Name | None:
        match = CLIP.fullmatch(text)
        return cls(int(match[1]), match[2].lower(), int(match[3])) if match else None

    def __str__(self) -> str:
        return f"s{self.subject:02d}_{self.code}_{self.number:02d}"

    @property
    def key(self) -> str:
        return f"{NAME}/s{self.subject:02d}/{self}"


@dataclass
class _Reading:
    """A tree that is being read: its settings, what was found, and the names that were seen, usable or not."""

    found: Survey
    camera: str
    tree: str
    seen: set[Name] = field(default_factory=set)

    def add(self, name: Name, given: Interval, frames: NumberedFrames) -> None:
        """The clip, or a finding that says why there is none."""
        interval = _survey.fitted(self.found, name.key, given, frames)
        if interval is None:
            return
        missing = _gaps.tell(self.found, name.key, interval, frames, usual=RELEASED_GAP)
        if missing and self.tree == "extended":
            what = f"the table counts files, so that its offset may be early by {missing}"
            self.found.note(name.key, what, "used as annotated")
        self.found.clips.append(
            Clip(
                key=name.key,
                dataset=NAME,
                subject=f"{NAME}/s{name.subject:02d}",
                emotion=EMOTIONS[name.code],
                onset=interval.onset,
                apex=None,
                offset=interval.offset,
                fps=FRAMES_A_SECOND[self.camera],
                frames=frames,
            )
        )


def read(root: Path, *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips in the order of their keys; frames are read on demand.

    Args:
        root: the folder that holds at least one tree.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: `OPTIONS`: ``camera``; ``tree``, by default the first of raw, cropped and extended that is there;
            ``release`` of SMIC-E's table, by default the only one that is there.

    Raises:
        BadInput: the tree is missing, or SMIC-E's table, or two releases of it are there and none was named, or its
            formulas have no values, or a clip is missing or can't be read.
    """
    return _survey.clips_of(survey(root, **options), NAME, root, damaged)


def survey(root: Path, **options: str) -> Survey:
    """The clips and what is wrong with the copy; `read` without its judgment."""
    chosen = _survey.check_options(NAME, options, OPTIONS)
    camera = chosen["camera"]
    tree, folder = _tree(root, camera, chosen["tree"])
    found = Survey(published=PUBLISHED[camera], chosen={"camera": camera, "tree": tree})
    reading = _Reading(found, camera, tree)
    if tree == "extended":
        release, file = find_table(folder, _for_camera(TABLES, camera.lower()), chosen["release"])
        found.chosen = {**found.chosen, "release": release}
        _read_table(reading, folder, file)
    else:
        _read_folders(reading, folder)
        found.note(str(folder), "no table", "of each clip the first file is the onset, the last the offset")
    if found.clips:
        found.note(NAME, "no apex is annotated", "the apex rule finds one")
        found.note(NAME, "clips are called s1_ne_01 here, s01_ne_01 by MEGC 2019", "keys are written as by MEGC 2019")
    if camera == "HS":
        if tree == "extended":
            _note_lost(reading)
        _check_counts(reading)
    found.clips.sort(key=lambda clip: clip.key)
    return found


def _for_camera(names: Mapping[str, tuple[str, ...]], camera: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(text.format(camera) for text in texts) for name, texts in names.items()}


def _tree(root: Path, camera: str, wanted: str) -> tuple[str, Path]:
    """The name and the folder of the tree to read.

    Raises:
        BadInput: it is not there; the message says which folder or setting to give where one can be seen nearby.
    """
    there = _trees(root, camera)
    tree = wanted or next(iter(there), "")
    if tree not in there:
        usual = _for_camera(TREES, camera)
        expected = " or ".join(usual[name][0] for name in ([wanted] if wanted else usual))
        for other in (camera, *OPTIONS["camera"]):
            if seen := _trees(root, other):
                advice = f"set camera={other} tree={next(iter(seen))}, which is there"
                raise BadInput(f"{expected} in {root}", described(root), advice)
        require_tree(NAME, root, None, expected)  # raises
    return tree, there[tree]


def _trees(root: Path, camera: str) -> dict[str, Path]:
    """The trees of a camera that are in a folder, the preferred one first."""
    places = {name: inner(root, *folders) for name, folders in _for_camera(TREES, camera).items()}
    return {name: place for name, place in places.items() if place is not None}


def _read_folders(reading: _Reading, folder: Path) -> None:
    """The clips of SMIC_all_raw or SMIC_all_cropped: what the folders say is all there is."""
    found = reading.found
    for subject in folders_by_name(folder).values():
        if SUBJECT.fullmatch(subject.name) is None:
            found.note(str(subject), "not the folder of a subject", "it is not read")
            continue
        padded = f"s{int(subject.name[1:]):02d}"
        micro = inner(subject, "micro")  # beside it lies non_micro, which has no expression
        if micro is None:
            found.error(f"{NAME}/{padded}", f"no folder micro in {subject}", "its clips are left out")
            continue
        for place in folders_by_name(micro).values():
            for clip in folders_by_name(place).values():
                _read_clip(reading, clip, padded)


def _read_clip(reading: _Reading, folder: Path, subject: str) -> None:
    """One clip of a subject's folder: its first file is the onset, its last the offset."""
    found, name = reading.found, Name.of(folder.name)
    if name is None:
        found.note(str(folder), "not the name of a clip", "it is not read")
        return
    if name in reading.seen:
        found.warning(name.key, f"{folder} is this clip for the second time", "the first folder counts")
        return
    reading.seen.add(name)
    if folder.parent.name.lower() != EMOTIONS[name.code] or not str(name).startswith(subject):
        by_name = f"its name counts: {EMOTIONS[name.code]}, subject {name.subject}"
        found.warning(name.key, f"lies among {folder.parent.name} of {subject}", by_name)
    frames = _survey.pictures(found, name.key, folder, folder, NUMBER, "crop" if reading.tree == "cropped" else "frame")
    if frames is not None:
        reading.add(name, Interval(None, None, None), frames)


def _read_table(reading: _Reading, long: Path, file: Path) -> None:
    """The clips of SMIC-E: a row for each recording, with up to three micro-expressions in it."""
    found, camera = reading.found, reading.camera
    folder = inner(long, *(name.format(camera, camera) for name in RECORDINGS))
    if folder is None:
        raise BadInput(f"{RECORDINGS[0].format(camera)} in {long}", described(long), "copy the recordings there")
    folders = ClipFolders(folders_by_name(inner(folder, camera) or folder).values())
    rows = table(file, COLUMNS, (camera, "Sheet1"))
    named = [(name, row) for row in rows if (name := Name.of(row.text("Filename")))]
    _survey.note_table(found, file, [row for _, row in named], COLUMNS[1:])
    if len(named) < len(rows):
        found.note(str(file), f"{len(rows) - len(named)} rows that name no clip", "they are not read")
    known = {name for name, _ in named}
    for name, row in named:
        if name in reading.seen:
            found.warning(row.place, f"{name.key} for the second time", "the first row counts")
            continue
        place = folders.take(row.text("Filename"), f"s{name.subject:02d}")
        if camera == "HS" and str(name) in LOST and (place is None or not entries(place)):
            continue
        reading.seen.add(name)
        expected = folder / f"s{name.subject:02d}" / row.text("Filename")
        frames = _survey.pictures(found, name.key, place, expected, NUMBER)
        if frames is not None:
            _read_row(reading, name, row, frames, known)
    folders.note_rest(found)


def _read_row(reading: _Reading, name: Name, row: Row, frames: NumberedFrames, known: set[Name]) -> None:
    """The micro-expressions of one recording; those after the first have the numbers that follow its own."""
    found = reading.found
    label = row.text("Emotion").lower()
    if label and label != EMOTIONS[name.code]:
        found.warning(name.key, f"emotion {label!r} in the table", f"its name counts: {EMOTIONS[name.code]}")
    for column in ("FirstF", "LastF"):
        if row.whole(column) is None:
            found.note(name.key, f"{column} {row.text(column)!r}", "not needed: the files say where it begins and ends")
    onset, offset = row.whole("OnsetF"), row.whole("OffsetF")
    if onset is None or offset is None:
        found.error(name.key, f"onset {row.text('OnsetF')!r}, offset {row.text('OffsetF')!r} in the table")
        return
    reading.add(name, Interval(onset, None, offset), frames)
    last = row.whole("LastF") or frames.numbers[-1]
    for place in (2, 3):
        # The columns of most rows hold what a formula made that was dragged over them.
        then, end = row.whole(f"Onset{place}F"), row.whole(f"Offset{place}F")
        if then is None or end is None or not onset < then <= end <= last:
            return
        further = Name(name.subject, name.code, name.number + place - 1)
        if further in known | reading.seen:
            return
        reading.seen.add(further)
        found.note(further.key, f"number {place} in the row of {name.key}", "read as a clip of its own")
        reading.add(further, Interval(then, None, end), frames)


def _note_lost(reading: _Reading) -> None:
    """What SMIC-E lacks, and the counts that remain."""
    lost = [name for name in _lost() if name not in reading.seen]
    for name in lost:
        done = "not a clip of SMIC-E; the raw and the cropped tree have it"
        reading.found.note(name.key, "the authors lost this recording", done)
    classes = Counter(EMOTIONS[name.code] for name in lost)
    left = {label: PUBLISHED["HS"][label] - classes[label] for label in EMOTIONS.values()}
    reading.found.published = {"clips": CLIPS - len(lost), "subjects": SUBJECTS, **left}


def _check_counts(reading: _Reading) -> None:
    """Clips of each subject against the published numbers: without a table nothing else tells that one is missing."""
    found, by_subject = reading.found, defaultdict(set)
    for name in reading.seen:
        by_subject[name.subject].add(name)
    lost = {name for name in _lost() if reading.tree == "extended"} - reading.seen
    for subject, names in sorted(by_subject.items()):
        published = PER_SUBJECT.get(subject, 0) - sum(name.subject == subject for name in lost)
        where, what = f"{NAME}/s{subject:02d}", f"{len(names)} clips, {published} published"
        missing = sorted(_skipped(names) - lost)
        if len(names) < published:
            told = f": no {', '.join(map(str, missing))}" if missing else ""
            help_ = "; the raw tree may have it" if reading.tree == "cropped" else ""
            found.error(where, what + told, f"what is missing is left out{help_}")
        elif len(names) > published:
            found.warning(where, what, "all are read")
    if absent := [subject for subject in PER_SUBJECT if subject not in by_subject]:
        shown = ", ".join(f"s{subject:02d}" for subject in absent)
        what = f"no clip of {len(absent)} of the {SUBJECTS} subjects: {shown}"
        found.warning(NAME, what, "the others are read")


def _lost() -> list[Name]:
    return [name for text in LOST if (name := Name.of(text))]


def _skipped(names: Iterable[Name]) -> set[Name]:
    """The names that a subject's numbering leaves out."""
    highest: dict[tuple[int, str], int] = {}
    for name in names:
        highest[(name.subject, name.code)] = max(name.number, highest.get((name.subject, name.code), 0))
    every = {Name(*group, number) for group, most in highest.items() for number in range(1, most + 1)}
    return every - set(names)
