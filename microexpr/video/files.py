"""What a recording gave, on disk: events.json for programs, events.csv for people, and the annotated video."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microexpr.errors import BadInput
from microexpr.motion.files import write_file
from microexpr.types import Event
from microexpr.video.overlay import SHOWN, THRESHOLDS, overlay
from microexpr.video.source import Frame, Source
from microexpr.video.track import Box, Track
from microexpr.video.write import VideoWriter

FAMILY = "microexpr-events-"  # of all versions
FORMAT = f"{FAMILY}1"
JSON_NAME, CSV_NAME = "events.json", "events.csv"
DIGITS = 6  # behind the point: microseconds, and more of a pixel than can be measured
FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes for the beginning of a formula
HEAD_ROOM = 1.15


def write_events(folder: Path | str, events: Sequence[Event], about: Mapping[str, Any]) -> tuple[Path, Path]:
    """Writes events.json and events.csv; each is renamed into place, so a reader never meets half a file.

    The JSON object has "format", "about" and "events". It is strict: what is not a finite number is null.

    The table has one row for each event and a header even without any. Times are there in seconds to the millisecond,
    with a point; a probability that an event does not have is an empty cell. It opens in spreadsheets, and in ELAN
    with File > Import > CSV / Tab-delimited Text file: choose "Begin time" for onset_seconds, "End time" for
    offset_seconds and "Annotation" for kind and emotion, leave the other columns out, and let the data begin at row 2,
    with a comma as the delimiter.

    Args:
        folder: made where it does not exist.
        events: in the order of their onsets.
        about: where they come from: source, rates, detector, method, settings, versions, warnings. "classes", where it
            is there, names the columns of probabilities; else the events do.

    Returns:
        The two files.

    Raises:
        BadInput: the folder can't be made or written.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        advice = "choose another folder or check the permissions"
        raise BadInput("a folder that can be made", f"{place} ({error.strerror or error})", advice) from error
    content = {"format": FORMAT, "about": plain(about), "events": [event_json(event) for event in events]}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_file(place / JSON_NAME, f"{text}\n".encode())
    write_file(place / CSV_NAME, _table(events, about.get("classes") or ()).encode())
    return place / JSON_NAME, place / CSV_NAME


def read_events(folder: Path | str) -> list[Event]:
    """The events that `write_events` wrote to a folder.

    Raises:
        BadInput: no events.json there, or one that something else wrote.
    """
    file = Path(folder) / JSON_NAME
    again = "give a folder that recognition wrote"
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise BadInput(f"{JSON_NAME} in a folder", f"{file} ({error.strerror or error})", again) from error
    except ValueError as error:
        raise BadInput(f"{file} as JSON", f"something else ({error})", again) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise BadInput(f"{file} in the format {FORMAT}", repr(found), again)
    try:
        return [_event_of(row) for row in content["events"]]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"whole events in {file}", f"one with {type(error).__name__}: {error}", again) from error


def is_result(folder: Path | str) -> bool:
    """Whether `write_events` wrote to a folder, in this version or another."""
    try:
        content = json.loads((Path(folder) / JSON_NAME).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and str(content.get("format")).startswith(FAMILY)


def annotate(
    source: Source,
    track: Track,
    events: Sequence[Event],
    out: Path | str,
    *,
    preset: str = "superfast",
    progress: Callable[[int, int], object] | None = None,
    also: Callable[[Frame], object] | None = None,
) -> Path:
    """Reads a source once more and writes it with the face, the motion and the events drawn in; see `overlay`.

    One frame is in memory at a time. Between frames passes the time that passed in the source; the video begins at
    zero, wherever the source's clock begins, and what is drawn has the times of that clock.

    Args:
        source: what the track was measured on, from its start; a camera has no second time.
        track: of the whole source; a frame that it lacks is shown as one without a face.
        events: of the whole source.
        out: the video, ending in .mp4.
        preset: see `VideoWriter`.
        progress: called with (frames done, frames in all).
        also: called with every frame, for what else is made of them.

    Returns:
        `out`.

    Raises:
        BadInput: the source can't be read, or the video can't be written.
    """
    table, motion = track.table, track.motion
    waiting = sorted(events, key=lambda event: event.onset_seconds, reverse=True)
    shown: list[Event] = []
    peak = _peak(motion[:, 2], events)
    first = math.nan
    with VideoWriter(out, source.size, _rate(source, track), preset=preset) as writer:
        for done, frame in enumerate(source.frames(), start=1):
            now = frame.seconds
            first = now if done == 1 else first
            if also:
                also(frame)
            while waiting and waiting[-1].onset_seconds <= now:
                shown.append(waiting.pop())
            shown = [event for event in shown if event.offset_seconds > now - SHOWN]
            begin = int(np.searchsorted(motion[:, 0], now - SHOWN))
            end = int(np.searchsorted(table[:, 0], frame.index, side="right"))
            box = _box(table[end - 1]) if end and table[end - 1, 0] == frame.index else None
            drawn = overlay(frame.image, box, motion[min(begin, end) : end], shown, now, peak=peak)
            writer.write(drawn, now - first)
            if progress:
                progress(done, len(track))
    return Path(out)


def _box(row: np.ndarray) -> Box | None:
    x, y, width, height = (float(value) for value in row[2:6])
    return None if math.isnan(x) else (x, y, width, height)


def _rate(source: Source, track: Track) -> float:
    """Nominal frames a second: of the measured times, else what the source says, else a usual camera's."""
    seconds = track.seconds
    if len(seconds) > 1 and seconds[-1] > seconds[0]:
        return float((len(seconds) - 1) / (seconds[-1] - seconds[0]))
    return source.effective_fps or 25.0


def _peak(thresholds: np.ndarray, events: Sequence[Event]) -> float | None:
    """One height of the strip for the whole video, with room for its strongest micro-expression."""
    highest = float(np.max(thresholds[np.isfinite(thresholds)], initial=0.0))
    strongest = max((event.strength for event in events if event.kind == "micro"), default=0.0)
    return max(THRESHOLDS * highest, HEAD_ROOM * strongest) or None


def event_json(event: Event) -> dict[str, Any]:
    """An event as strict JSON has it: what is not a finite number is null."""
    return {
        **{name: getattr(event, name) for name in ("onset", "apex", "offset")},
        **{name: _number(getattr(event, name)) for name in ("onset_seconds", "apex_seconds", "offset_seconds")},
        "duration_seconds": _number(event.offset_seconds - event.onset_seconds),
        "kind": event.kind,
        "emotion": event.emotion,
        "probabilities": {name: _number(value) for name, value in event.probabilities.items()},
        "strength_px": _number(event.strength),
        "noise_px": _number(event.noise),
        "regions": list(event.regions),
        "abstained": event.abstained,
    }


def _event_of(row: Mapping[str, Any]) -> Event:
    def number(value: float | None) -> float:
        return math.nan if value is None else float(value)

    return Event(
        onset=int(row["onset"]),
        apex=int(row["apex"]),
        offset=int(row["offset"]),
        onset_seconds=number(row["onset_seconds"]),
        apex_seconds=number(row["apex_seconds"]),
        offset_seconds=number(row["offset_seconds"]),
        kind=str(row["kind"]),
        strength=number(row["strength_px"]),
        noise=number(row["noise_px"]),
        regions=tuple(row["regions"]),
        probabilities={name: number(value) for name, value in row["probabilities"].items()},
        abstained=row["abstained"],
    )


def _number(value: float) -> float | None:
    return round(float(value), DIGITS) if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """A value as strict JSON has it: no NaN, no types of NumPy, no tuples, no paths."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return _number(value)
    return str(value) if isinstance(value, Path) else value


def _table(events: Sequence[Event], classes: Sequence[str]) -> str:
    names = list(dict.fromkeys([*classes, *(name for event in events for name in event.probabilities)]))
    header = ["onset_seconds", "apex_seconds", "offset_seconds", "duration_seconds", "onset", "apex", "offset", "kind",
              "emotion", *(f"probability_{name}" for name in names), "strength_px", "noise_px", "regions",
              "abstained"]  # fmt: skip
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_cell, header))
    for event in events:
        times = (event.onset_seconds, event.apex_seconds, event.offset_seconds)
        row = [
            *(_digits(value, 3) for value in (*times, event.offset_seconds - event.onset_seconds)),
            *(event.onset, event.apex, event.offset),
            _cell(event.kind),
            _cell(event.emotion or ""),
            *(_digits(event.probabilities.get(name, math.nan), 4) for name in names),
            _digits(event.strength, 4),
            _digits(event.noise, 4),
            _cell("; ".join(event.regions)),
            _cell(event.abstained or ""),
        ]
        writer.writerow(row)
    return stream.getvalue()


def _digits(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def _cell(text: str) -> str:
    """Text in one line that no spreadsheet runs as a formula: an apostrophe stands before what looks like one."""
    line = " ".join(text.split())
    return f"'{line}" if line.startswith(FORMULA) else line
