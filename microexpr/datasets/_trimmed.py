"""Clips that lie in a folder each: the rows of a table with their pictures, and numbers that do not fit the folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from microexpr.datasets import _gaps, _survey, action_units
from microexpr.datasets._files import NumberedFrames, frames_in
from microexpr.datasets._survey import Interval, Survey
from microexpr.datasets._table import Row
from microexpr.errors import BadInput


def rows_with_frames(
    found: Survey,
    rows: Iterable[Row],
    key_of: Callable[[Row], str | None],
    folder_of: Callable[[Row], Path | None],
    pattern: re.Pattern[str],
    shows: str,
) -> Iterator[tuple[str, Row, NumberedFrames]]:
    """Key, row and pictures of every row that has pictures; the other rows become findings.

    Args:
        found: takes the findings.
        rows: of the table.
        key_of: the clip's key; None where the row names none.
        folder_of: the clip's folder; None where there is none.
        pattern, shows: as for `frames_in`.
    """
    keys: set[str] = set()
    for row in rows:
        key = key_of(row)
        if key is None:
            found.warning(row.place, "a row without subject or file name", "the row is left out")
        elif key in keys:
            found.warning(row.place, f"{key} for the second time", "the first row counts")
        else:
            keys.add(key)
            folder = folder_of(row)
            try:
                frames = folder and frames_in(folder, pattern, shows)
            except BadInput as error:
                found.error(key, str(error))
                continue
            if frames:
                yield key, row, frames
            else:
                found.error(key, f"no pictures in {folder}" if folder else "no folder of this name")


def fitted_to_folder(found: Survey, key: str, given: Interval, frames: NumberedFrames) -> Interval | None:
    """An annotated interval where the folder holds the clip from onset to offset and nothing else.

    Beyond what `_survey.fitted` does: an offset that does not come after the onset is taken from the last file. An
    interval that shares no frame with the files is moved onto them where it is as long as they are, for then it counts
    from elsewhere; otherwise the first and the last file are taken and the apex counts as not annotated.

    Args:
        found: takes the findings.
        key: of the clip.
        given: as in the table.
        frames: of the clip's folder.

    Returns:
        The interval; None where the clip can't be used.
    """
    first, last = frames.numbers[0], frames.numbers[-1]
    onset, apex, offset = given.onset, given.apex, given.offset
    if onset is not None and offset is not None and offset <= onset:
        found.warning(key, f"annotated {onset} to {offset}", f"the last file, {last}, is taken as the offset")
        offset = None
    start, end = (first if onset is None else onset), (last if offset is None else offset)
    if start < last and end > first:
        return fitted(found, key, Interval(onset, apex, offset), frames)
    what = f"annotated {start} to {end}, files {first} to {last}"
    shift = first - start
    if end + shift == last:
        found.warning(key, what, f"as long as the files are: moved to {first} to {last}")
        return fitted(found, key, Interval(first, None if apex is None else apex + shift, last), frames)
    found.warning(key, what, "the files count, and the apex as not annotated: the apex rule finds one")
    return fitted(found, key, Interval(first, None, last), frames)


def fitted(found: Survey, key: str, given: Interval, frames: NumberedFrames) -> Interval | None:
    """As `_survey.fitted`; numbers within the clip that have no file are told, too."""
    interval = _survey.fitted(found, key, given, frames)
    if interval is not None:
        _gaps.tell(found, key, interval, frames)
    return interval


def note_missing(found: Survey, key: str, row: Row, apex: str, offset: str = "") -> None:
    """Notes an apex, and an offset, that is no number.

    Args:
        found, key, row: of the clip.
        apex, offset: the columns; empty for one that is not to be looked at.
    """
    if apex and row.whole(apex) is None:
        found.note(key, f"apex {row.text(apex)!r}", "taken as not annotated: the apex rule finds one")
    if offset and row.whole(offset) is None:
        found.note(key, f"offset {row.text(offset)!r}", "the last file is taken as the offset")


def units_of(found: Survey, key: str, text: object) -> tuple[str, ...]:
    """Action units of a cell; what is none becomes a note."""
    units = action_units.parse(text)
    if units.rest:
        found.note(key, f"action units {str(text).strip()!r}", f"{', '.join(units.rest)} is not read as one")
    return units.texts
