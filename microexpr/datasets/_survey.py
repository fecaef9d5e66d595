"""What an adapter found in a folder: the clips it can read, and everything that is not as it should be."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from microexpr.datasets._files import NumberedFrames, entries, folders_by_name, frames_in
from microexpr.datasets._table import Row
from microexpr.errors import BadInput
from microexpr.types import Clip

LEVELS = ("error", "warning", "note")
ON_DAMAGE = ("stop", "skip")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        level: ``"error"``: a clip or more can't be read; ``"warning"``: something was changed so that it can;
            ``"note"``: an oddity of the release, known and harmless.
        where: the clip or the file.
        what: what was found.
        done: what is done about it.
    """

    level: str
    where: str
    what: str
    done: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.done}"


@dataclass
class Survey:
    """The clips of a folder in the order of its table, and the findings, as an adapter gathers them.

    Attributes:
        clips: that can be read.
        findings: in the order in which they were found.
        published: the published counts: of ``"clips"``, ``"subjects"`` and of each emotion; empty where there are none.
        chosen: what was read where there is a choice: the tree, the release of the table.
        motionless: keys of the clips whose table gives no number as the apex, or the onset.
    """

    clips: list[Clip] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    published: Mapping[str, int] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    motionless: set[str] = field(default_factory=set)

    def error(self, where: str, what: str, done: str = "the clip is left out") -> None:
        self.findings.append(Finding("error", where, what, done))

    def warning(self, where: str, what: str, done: str) -> None:
        self.findings.append(Finding("warning", where, what, done))

    def note(self, where: str, what: str, done: str) -> None:
        self.findings.append(Finding("note", where, what, done))

    def of_level(self, level: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == level]


def counts(clips: Iterable[Clip]) -> dict[str, int]:
    """Clips, subjects and clips of each emotion, as `Survey.published` has them."""
    clips = list(clips)
    emotions = Counter(clip.emotion for clip in clips)
    return {"clips": len(clips), "subjects": len({clip.subject for clip in clips}), **dict(emotions.most_common())}


class ClipFolders:
    """The folders of clips, looked up by name in upper or lower case; remembers which no row of the table asked for.

    Args:
        parents: the folders that hold them, e.g. those of the subjects.
    """

    def __init__(self, parents: Iterable[Path]) -> None:
        self._inside = {parent: folders_by_name(parent) for parent in parents}
        self._parents = {parent.name.lower(): parent for parent in self._inside}
        self._taken: set[Path] = set()
        self._respelt: dict[Path, str] = {}

    def take(self, name: str, parent: str = "") -> Path | None:
        """A clip's folder, by its name and that of the folder it lies in; None where it is not there."""
        around = [self._parents.get(parent.lower())] if parent else list(self._inside)
        for place in around:
            if place is not None and (folder := self._inside[place].get(name.lower())) is not None:
                self._taken.add(folder)
                if folder.name != name or parent not in ("", place.name):
                    self._respelt[folder] = f"{parent}/{name}" if parent else name
                return folder
        return None

    def note_rest(self, survey: Survey) -> None:
        """Notes the folders that were not taken or are spelt otherwise, and the files that lie among them."""
        if self._respelt:
            folder, asked = next(iter(self._respelt.items()))
            what = f"upper or lower case is not that of the table in {len(self._respelt)} names, the first {asked}"
            survey.note(str(folder), what, "upper and lower case are the same")
        for parent, inside in self._inside.items():
            for folder in inside.values():
                if folder not in self._taken:
                    survey.note(str(folder), "no row of the table names this folder", "it is not read")
            known = {folder.name for folder in inside.values()}
            if stray := sorted(name for name in entries(parent) if name not in known and not name.startswith(".")):
                more = f" and {len(stray) - 3} more" if len(stray) > 3 else ""
                survey.note(str(parent), f"files of no clip: {', '.join(stray[:3])}{more}", "they are not read")


def pictures(
    survey: Survey, where: str, folder: Path | None, expected: Path, pattern: re.Pattern[str], shows: str = "frame"
) -> NumberedFrames | None:
    """The pictures of a clip; None where there are none or two of one number, which becomes an error.

    Args:
        survey: takes the finding.
        where: the clip.
        folder: of the clip; None where there is none.
        expected: where it should be.
        pattern, shows: as for `frames_in`.
    """
    try:
        found = None if folder is None else frames_in(folder, pattern, shows)
    except BadInput as error:
        survey.error(where, str(error))
        return None
    if found is None:
        survey.error(where, f"no pictures in {folder or expected}")
    return found


def note_table(survey: Survey, file: Path, rows: Sequence[Row], numbers: Iterable[str]) -> None:
    """Notes what is odd in a table as a whole: notes above the header, and numbers stored as text.

    Args:
        survey: takes the notes.
        file: of the table.
        rows: under the header.
        numbers: the columns of numbers.
    """
    if rows and rows[0].number > 2:
        survey.note(str(file), f"the header stands in row {rows[0].number - 1}", "what is above it is passed over")
    columns = tuple(numbers)
    typed = [
        row for row in rows if any(isinstance(row.cells.get(c), str) and row.number_in(c) is not None for c in columns)
    ]
    if typed:
        what = f"numbers stored as text in {len(typed)} of {len(rows)} rows, the first row {typed[0].number}"
        survey.note(str(file), what, "they are read as numbers")


def clips_of(survey: Survey, name: str, root: Path | str, damaged: str = "stop") -> list[Clip]:
    """The clips of a survey, where nothing is missing or missing clips may be left out.

    Args:
        survey: of a folder.
        name, root: of the data set, for the message.
        damaged: ``"stop"`` refuses a folder in which a clip can't be read; ``"skip"`` leaves such clips out with a
            warning. Another number of clips than the published one is a warning, too.

    Raises:
        BadInput: something is missing and `damaged` is ``"stop"``, or no clip is left.
    """
    check_on_damage(damaged)
    errors = survey.of_level("error")
    advice = f"see all of it: microexpr check {name} {root}"
    if not survey.clips:
        came = str(errors[0]) if errors else "none"
        raise BadInput(f"clips of {name} in {root}", came, advice)
    if errors:
        more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        if damaged == "stop":
            leave = "leave them out with damaged=skip (--damaged skip)"
            raise BadInput(f"{name} whole in {root}", f"{errors[0]}{more}", f"{leave}, or {advice}")
        warnings.warn(f"{name}: left out: {errors[0].where}: {errors[0].what}{more}; {advice}", stacklevel=2)
    if len(survey.clips) != survey.published.get("clips", len(survey.clips)):
        here, there = len(survey.clips), survey.published["clips"]
        warnings.warn(f"partial copy of {name}: {here} clips, {there} published; {advice}", stacklevel=2)
    return survey.clips


def check_on_damage(damaged: str) -> None:
    """Raises BadInput where `damaged` is neither of `ON_DAMAGE`."""
    if damaged not in ON_DAMAGE:
        raise BadInput(f"damaged to be {' or '.join(ON_DAMAGE)}", repr(damaged), "set it to one of them")


def check_options(name: str, given: Mapping[str, str], known: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The settings of an adapter: those given, and for the others the first of their values.

    Args:
        name: of the data set.
        given: setting -> value.
        known: setting -> the values it can have, the usual one first.

    Raises:
        BadInput: no such setting or value.
    """
    choices = {option: tuple(values) for option, values in known.items()}
    for option, value in given.items():
        if option not in choices:
            has = ", ".join(choices) or "none"
            raise BadInput(f"a setting of {name} ({has})", repr(option), f"see: microexpr datasets {name}")
        if value not in choices[option]:
            values = ", ".join(text or "''" for text in choices[option])
            raise BadInput(f"{option} of {name} to be one of {values}", repr(value), "set it to one of them")
    return {option: given.get(option, values[0]) for option, values in choices.items()}


@dataclass(frozen=True)
class Interval:
    """Frame numbers that a table gives; None where it gives none that can be used."""

    onset: int | None
    apex: int | None
    offset: int | None


def fitted(survey: Survey, where: str, given: Interval, frames: NumberedFrames) -> Interval | None:
    """An annotated interval as the files and common sense allow; what was changed becomes a finding.

    The policy, for all sets: onset and offset are moved to the first and last file where they lie outside them; an apex
    outside onset and offset, or on the onset, counts as not annotated, so that the apex rule of the evaluation finds
    one; an onset that does not come before the offset makes the clip unusable.

    Args:
        survey: takes the findings.
        where: the clip.
        given: as in the table; a missing onset or offset is taken from the files.
        frames: of the clip, or of the recording it lies in.

    Returns:
        The interval; None where the clip can't be used.
    """
    first, last = frames.numbers[0], frames.numbers[-1]
    onset = first if given.onset is None else given.onset
    offset = last if given.offset is None else given.offset
    if onset > offset or (onset, offset) != (max(onset, first), min(offset, last)):
        moved = max(onset, first), min(offset, last)
        if moved[0] >= moved[1]:
            survey.error(where, f"annotated {onset} to {offset}, files {first} to {last}")
            return None
        survey.warning(
            where, f"annotated {onset} to {offset}, files {first} to {last}", f"{moved[0]} to {moved[1]} is used"
        )
        onset, offset = moved
    if onset == offset:
        survey.error(where, f"onset and offset are both {onset}")
        return None
    apex = given.apex
    if apex is not None and not onset < apex <= offset:
        what = "is the onset" if apex == onset else f"lies outside {onset} to {offset}"
        survey.warning(where, f"the apex {apex} {what}", "taken as not annotated: the apex rule finds one")
        apex = None
    return Interval(onset, apex, offset)
