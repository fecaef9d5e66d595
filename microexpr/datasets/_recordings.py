"""Long recordings with many annotated expressions in each: their frames are listed once and shared, and oddities of
which a table has dozens are counted rather than listed."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from microexpr.datasets import _survey
from microexpr.datasets._files import NumberedFrames, frames_in, inner
from microexpr.datasets._survey import Interval, Survey
from microexpr.errors import BadInput
from microexpr.types import Clip

# What sets with macro-expressions can be asked for, the usual one first.
KINDS = ("micro", "macro", "all")


class Recordings:
    """The frames of recordings: each folder is listed when a clip first asks for it, and its clips share the frames.

    Args:
        found: takes a finding where a folder can't be read.
        folders: name of a recording -> its folder.
        pattern, shows: as for `frames_in`.
        inside: the folder in it that holds the pictures, where there is one.
    """

    def __init__(
        self,
        found: Survey,
        folders: Mapping[Any, Path],
        pattern: re.Pattern[str],
        shows: str = "frame",
        inside: str = "",
    ) -> None:
        self.folders = folders
        self._found = found
        self._pattern, self._shows, self._inside = pattern, shows, inside
        self._frames: dict[Hashable, NumberedFrames | None] = {}

    def frames(self, name: Hashable) -> NumberedFrames | None:
        """All frames of a recording; None where there is no such folder, or it has no picture or two of one number."""
        if name not in self._frames:
            folder = self.folders.get(name)
            if folder is not None and self._inside:
                folder = inner(folder, self._inside) or folder
            self._frames[name] = None
            try:
                self._frames[name] = None if folder is None else frames_in(folder, self._pattern, self._shows)
            except BadInput as error:
                self._found.error(str(folder), str(error), "its clips are left out")
        return self._frames[name]

    def note_rest(self, found: Survey, where: Path, called: str) -> None:
        """Notes how many recordings no clip asked for.

        Args:
            found: takes the note.
            where: the tree.
            called: what such recordings are: "recordings without a micro-expression".
        """
        rest = [folder for name, folder in self.folders.items() if name not in self._frames]
        if rest:
            first = rest[0].relative_to(where)
            found.note(str(where), f"{len(rest)} of {len(self.folders)} {called}, the first {first}", "not read")


class Tally:
    """Oddities that many rows of a table share: each is one note that says how many rows, and which is the first."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[str]] = {}

    def add(self, where: str, what: str, done: str) -> None:
        """One more row that shows an oddity; see `Finding`."""
        self._rows.setdefault((what, done), []).append(where)

    def note(self, found: Survey, file: Path) -> None:
        """Notes them, in the order in which they were first seen."""
        for (what, done), rows in self._rows.items():
            count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
            which = rows[0] if len(rows) == 1 else f"the first {rows[0]}"
            found.note(str(file), f"{what}: {count}, {which}", done)


def placed(found: Survey, tally: Tally, where: str, given: Interval, frames: NumberedFrames) -> Interval | None:
    """An annotated interval within a long recording, as the files and common sense allow.

    As `_survey.fitted`; but a missing number is not taken from the files, which hold much else. An offset of 0 or none
    means that the expression runs on past the end: its apex is the end. An apex under 1 or none is not annotated.

    Args:
        found: takes the findings.
        tally: takes the oddities that are counted.
        where: the clip.
        given: as in the table.
        frames: of the recording.

    Returns:
        The interval; None where the clip can't be used.
    """
    if given.apex is None or given.apex < 1:
        what = "no apex" if given.apex is None else f"apex {given.apex}"
        tally.add(where, what, "taken as not annotated: the apex rule finds one")
        given = replace(given, apex=None)
    if not given.offset:
        tally.add(where, "no offset" if given.offset is None else "offset 0", "the apex is taken as the end")
        given = replace(given, offset=given.apex)
    if given.onset is None or given.offset is None:
        lacking = "onset" if given.onset is None else "offset and no apex"
        found.error(where, f"no {lacking} in the table")
        return None
    interval = _survey.fitted(found, where, given, frames)
    if interval is None or interval.onset is None or interval.offset is None:
        return None
    wanted = interval.offset - interval.onset + 1
    held = bisect_right(frames.numbers, interval.offset) - bisect_left(frames.numbers, interval.onset)
    if held < 2:
        found.error(where, f"{held} of the {wanted} pictures from {interval.onset} to {interval.offset} are there")
        return None
    if held < wanted:
        tally.add(where, "pictures are missing within the interval", "the picture before stands in for each")
    return interval


def distinct(key: str, onset: int | None, taken: set[str]) -> str | None:
    """A key of its own for a row: the key, or with the onset appended where another row has it.

    Args:
        key: of the row.
        onset: of the row.
        taken: what earlier rows took; gets what this one takes.

    Returns:
        The key; None for the repetition of a row.
    """
    with_onset = f"{key}/{onset}"
    if with_onset in taken:
        return None
    own = with_onset if key in taken else key
    taken.update((key, with_onset))
    return own


def counts(clips: Iterable[Clip]) -> dict[str, int]:
    """`_survey.counts`, with the clips of each kind; clips without an emotion are counted as such."""
    clips = list(clips)
    found = _survey.counts(clips)
    if "" in found:
        found["without emotion"] = found.pop("")
    kinds = {kind: sum(clip.kind == kind for clip in clips) for kind in ("micro", "macro")}
    return {"clips": found.pop("clips"), **kinds, **found}
