"""3DB: the composite set of MEGC 2019, 442 clips of 68 subjects out of CASME II, SMIC and SAMM.

See, Yap, Li, Hong and Wang, "MEGC 2019, the second facial micro-expressions grand challenge", FG 2019,
doi:10.1109/FG.2019.8756611; the paper's Table 2. The clips follow by rule from the member sets, in the official order:

- CASME II, labels of 2014: happiness is positive, disgust and repression negative, surprise surprise; clips without an
  apex, or whose apex is the onset, are out. 145 clips of 24 subjects.
- SMIC: all clips of the high-speed camera. 164 of 16.
- SAMM: all but Other. 133 of 28.

A copy of the official list can be checked against them: `check_list`.
"""

from __future__ import annotations

import csv
import importlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from microexpr.datasets import _survey
from microexpr.datasets._survey import Survey
from microexpr.errors import BadInput
from microexpr.types import Clip

NAME = "3db"
WHAT = "the composite set of MEGC 2019, the paper's 3DB: CASME II, SMIC and SAMM by their common three classes"
CARRIES = ("frames", "flow")
CLIPS = 442
SUBJECTS = 68
CITATION = (
    "See, Yap, Li, Hong, Wang: MEGC 2019, the second facial micro-expressions grand challenge, IEEE FG 2019, "
    "doi:10.1109/FG.2019.8756611; and the three member sets"
)
LICENCE = "those of the three member sets"
HOW_TO_GET = "get the three member sets; nothing else is needed: microexpr datasets casme2, smic, samm"
EXPECTED_TREE = """
    --root casme2=DIR --root smic=DIR --root samm=DIR
    (or the environment variables MICROEXPR_CASME2, MICROEXPR_SMIC, MICROEXPR_SAMM)
"""
MEMBERS = {  # in the official order
    "casme2": "microexpr.datasets.casme2",
    "smic": "microexpr.datasets.smic",
    "samm": "microexpr.datasets.samm",
}
# Settings that a member is read with, unless others are given.
MEMBER_OPTIONS: dict[str, dict[str, str]] = {"casme2": {"release": "2014"}, "smic": {"camera": "HS"}, "samm": {}}
# Emotions that count; what is not named is left out.
CLASSES: dict[str, dict[str, str]] = {
    "casme2": {"happiness": "positive", "disgust": "negative", "repression": "negative", "surprise": "surprise"},
    "smic": {"positive": "positive", "negative": "negative", "surprise": "surprise"},
    "samm": {
        "happiness": "positive",
        "surprise": "surprise",
        **dict.fromkeys(("anger", "contempt", "disgust", "fear", "sadness"), "negative"),
    },
}
# Table 2 of Li et al. 2021: clips of each class (negative, positive, surprise) and subjects.
TABLE_2 = {"casme2": (88, 32, 25, 24), "smic": (70, 51, 43, 16), "samm": (92, 26, 15, 28)}
LABELS = ("negative", "positive", "surprise")  # 0, 1, 2 in the official list


def read(roots: Mapping[str, Path], *, damaged: str = "stop", **options: str) -> list[Clip]:
    """The clips in the official order; frames are read on demand.

    Args:
        roots: member -> its folder; members without one are left out.
        damaged: ``"skip"`` leaves out clips that can't be read, see `_survey.clips_of`.
        options: settings of a member as ``casme2.tree="cropped"``.

    Raises:
        BadInput: a member's folder is not what it should be, or a clip can't be read.
    """
    found = survey(roots, **options)
    if len(roots) == 1:
        ((member, root),) = roots.items()
        return _survey.clips_of(found, member, root, damaged)
    where = " ".join(f"--root {name}={root}" for name, root in roots.items())
    return _survey.clips_of(found, NAME, where, damaged)


def survey(roots: Mapping[str, Path], **options: str) -> Survey:
    """The clips, and what is wrong with the members' copies."""
    whole = Survey(published=_published(roots))
    for member, module in members().items():
        if member not in roots:
            continue
        whole_options = {**MEMBER_OPTIONS[member], **_options_of(member, options)}
        found = module.survey(roots[member], **whole_options)
        kept = [clip for clip in found.clips if clip.emotion.lower() in CLASSES[member]]
        if member == "casme2":
            kept = [clip for clip in kept if clip.key not in found.motionless]
        whole.clips += sorted(kept, key=_official_place)
        whole.findings += found.findings
        whole.chosen = {**whole.chosen, **{f"{member}.{name}": value for name, value in found.chosen.items()}}
    _note_numbers(whole)
    return whole


def _note_numbers(found: Survey) -> None:
    """Notes that people of different sets have the same number."""
    people = {clip.subject for clip in found.clips}
    numbers = Counter(int(re.sub(r"\D", "", subject.partition("/")[2])) for subject in people)
    if shared := [number for number, count in numbers.items() if count > 1]:
        what = f"{len(shared)} numbers of subjects occur in several sets, the first {min(shared)}"
        found.note(NAME, what, "a subject's name begins with that of the set, so that each is left out alone")


def _published(members: Iterable[str]) -> dict[str, int]:
    """Table 2, of some members, as `counts` has them."""
    table = {member: TABLE_2[member] for member in TABLE_2 if member in set(members)}
    published = {
        "clips": sum(sum(numbers[:-1]) for numbers in table.values()),
        "subjects": sum(numbers[-1] for numbers in table.values()),
    }
    for member, numbers in table.items():
        names = (*(f"{member} {label}" for label in LABELS), f"{member} subjects")
        published.update(zip(names, numbers, strict=True))
    return published


def members() -> dict[str, ModuleType]:
    """The adapters of the member sets, in the official order."""
    return {name: importlib.import_module(path) for name, path in MEMBERS.items()}


def counts(clips: list[Clip]) -> dict[str, int]:
    """Clips of each class and subjects of each member, as `survey` says that they are published."""
    found: dict[str, int] = {"clips": len(clips), "subjects": len({clip.subject for clip in clips})}
    for member, classes in CLASSES.items():
        of_member = [clip for clip in clips if clip.dataset == member]
        named = [classes.get(clip.emotion.lower()) for clip in of_member]
        found.update({f"{member} {label}": named.count(label) for label in LABELS})
        found[f"{member} subjects"] = len({clip.subject for clip in of_member})
    return found


def check_list(file: Path, clips: Sequence[Clip]) -> list[_survey.Finding]:
    """What differs between the clips and the user's copy of the official list (combined_3class_gt.csv).

    Raises:
        BadInput: the file can't be read, or is no such list.
    """
    rule = {_official_row(clip): clip for clip in clips}
    found = []
    expected, advice = f"the official list of MEGC 2019 at {file}", "give combined_3class_gt.csv as it was distributed"
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(expected, str(error), advice) from error
    listed = {}
    for number, row in enumerate(rows, start=1):
        if len(row) != 4 or row[0] not in MEMBERS or row[3] not in ("0", "1", "2"):
            raise BadInput(expected, f"row {number}: {','.join(row)[:60]}", advice)
        listed[(row[0], row[1], row[2])] = LABELS[int(row[3])]
    for row_key, clip in rule.items():
        label = CLASSES[clip.dataset][clip.emotion.lower()]
        if row_key not in listed:
            found.append(_survey.Finding("error", clip.key, f"not in {file.name}", "the rule of MEGC 2019 has it"))
        elif listed[row_key] != label:
            came = f"{listed[row_key]} in {file.name}, {label} by the rule"
            found.append(_survey.Finding("error", clip.key, came, "check the release of its table"))
    for row_key in listed.keys() - rule.keys():
        where = "/".join(row_key)
        found.append(_survey.Finding("error", where, f"in {file.name}, not among the clips", "check that set's copy"))
    if not found and list(listed) != list(rule):
        found.append(
            _survey.Finding("warning", str(file), "the same clips in another order", "the rule's order is used")
        )
    return found


def _official_row(clip: Clip) -> tuple[str, str, str]:
    """Database, subject and clip as the official list writes them: SAMM's subjects without zeros in front."""
    member, subject, name = clip.key.split("/")
    return member, str(int(subject)) if member == "samm" else subject, name


def _official_place(clip: Clip) -> tuple[str, ...]:
    return tuple(clip.key.split("/"))


def _options_of(member: str, options: Mapping[str, str]) -> dict[str, str]:
    for option in options:
        name, dot, _ = option.partition(".")
        if not dot or name not in MEMBERS:
            wanted = f"a setting of a member of {NAME} ({', '.join(MEMBERS)}), as casme2.tree"
            raise BadInput(wanted, repr(option), "see: microexpr datasets casme2")
    return {option.partition(".")[2]: value for option, value in options.items() if option.startswith(f"{member}.")}
