"""The motion of a whole video as a picture that fits every width: an SVG that stretches, words that do not.

Lines and spans are in an SVG of 1000 x 100 units without text, stretched to the chart. Words and the buttons of events
stand over it, placed in percent, so that they can be read on a phone too.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from microexpr.types import Event
from microexpr.video import canvas
from microexpr.video.track import Track

WIDTH, HEIGHT = 1000, 100  # units of the SVG
COLUMNS = 1000  # of the line: what is finer can't be seen
HEADROOM = 1.15
CROP = 4.0  # micro-expressions: what is higher is cut off, so that a grimace does not flatten all else
TICKS = 6
APART = 8.0  # percent of the chart between two buttons in a row; a phone has 300 pixels for all of it


@dataclass(frozen=True)
class Mark:
    """One event on the chart.

    Attributes:
        number: counted from 1.
        left, width: percent of the chart.
        kind: "named", "unsure" or "macro".
        lane: row of its button, from 0, so that neighbors do not cover one another.
    """

    number: int
    left: float
    width: float
    kind: str
    lane: int

    @property
    def middle(self) -> float:
        """Percent of the chart."""
        return self.left + self.width / 2


@dataclass(frozen=True)
class Timeline:
    """What the page shows of a recording.

    Attributes:
        svg: lines and spans.
        marks: the events.
        times, strengths: ticks, each (percent of the chart, words).
        points: JSON of [seconds, strength, threshold] of what the line shows, for those who point at it.
        start, end: seconds.
        peak: strength at the top, pixels.
        cut: whether the line is higher somewhere.
        lanes: rows of buttons.
    """

    svg: str
    marks: tuple[Mark, ...]
    times: tuple[tuple[float, str], ...]
    strengths: tuple[tuple[float, str], ...]
    points: str
    start: float
    end: float
    peak: float
    cut: bool
    lanes: int


def draw(
    track: Track,
    events: Sequence[Event],
    window: tuple[float, float] | None = None,
    first: int = 1,
    least: float = 0.0,
) -> Timeline:
    """The chart of a recording; every frame of it counts, however many there are.

    Args:
        track, events: what is shown.
        window: seconds from and to which it goes; None for the whole track.
        first: number of the first event.
        least: strength that the top of the chart has at least, pixels.
    """
    motion, seconds = track.motion, track.seconds
    step = float(seconds[-1] - seconds[0]) / max(len(seconds) - 1, 1)
    start, end = window or (float(seconds[0]), float(seconds[-1]) + step)
    span = max(end - start, 1e-9)
    peak, highest = _peak(motion, events, least)

    def across(value: float) -> float:
        return 100 * min(max((value - start) / span, 0.0), 1.0)

    marks = _marks(events, across, first)
    shown = _reduced(motion)
    body = [_span("lost", across(a), across(b)) for a, b in _lost(track, step)]
    body += [_span(mark.kind, mark.left, mark.left + mark.width) for mark in marks]
    body.append(_path("threshold", shown[:, [0, 2]], start, span, peak))
    body.append(_path("motion", shown[:, [0, 1]], start, span, peak))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" '
        f'aria-hidden="true" focusable="false">{"".join(body)}</svg>'
    )
    return Timeline(
        svg=svg,
        marks=marks,
        times=tuple((across(value), words) for value, words in _times(start, end)),
        strengths=tuple((100 * value / peak, f"{value:g}") for value in canvas.ticks(0.0, peak, 4)),
        points=json.dumps([[_short(value) for value in row] for row in shown.tolist()], separators=(",", ":")),
        start=start,
        end=end,
        peak=peak,
        cut=highest > peak,
        lanes=max((mark.lane for mark in marks), default=0) + 1,
    )


def kind_of(event: Event) -> str:
    """ "named" or "unsure" for micro-expressions, "macro" for longer movements."""
    if event.kind != "micro":
        return "macro"
    return "unsure" if event.emotion is None else "named"


def clock(seconds: float, step: float) -> str:
    """A time with the digits that tell it from its neighbors; from a minute on as minutes and seconds."""
    digits = max(0, math.ceil(-math.log10(step) - 1e-9)) if step > 0 else 3
    if seconds < 60:
        return f"{seconds:.{digits}f}"
    minutes, rest = divmod(round(seconds, digits), 60)
    return f"{minutes:.0f}:{rest:0{3 + digits if digits else 2}.{digits}f}"


def _peak(motion: Float[np.ndarray, "frame 3"], events: Sequence[Event], least: float) -> tuple[float, float]:
    """The strength at the top of the chart, and the highest that there is."""
    highest = float(np.max(motion[:, 1], initial=0.0, where=np.isfinite(motion[:, 1])))
    threshold = float(np.max(motion[:, 2], initial=0.0, where=np.isfinite(motion[:, 2])))
    micro = max((event.strength for event in events if event.kind == "micro"), default=0.0)
    wanted = CROP * max(micro, threshold)
    return max(HEADROOM * min(highest, wanted or highest), least) or 1.0, highest


def _marks(events: Sequence[Event], across: Callable[[float], float], first: int) -> tuple[Mark, ...]:
    marks: list[Mark] = []
    free: list[float] = []  # the middle of the last button of every lane
    for number, event in enumerate(events, start=first):
        left, right = across(event.onset_seconds), across(event.offset_seconds)
        middle = (left + right) / 2
        lane = next((place for place, end in enumerate(free) if middle - end >= APART), len(free))
        free[lane : lane + 1] = [middle]
        marks.append(Mark(number, left, max(right - left, 0.15), kind_of(event), lane))
    return tuple(marks)


def _reduced(motion: Float[np.ndarray, "frame 3"]) -> Float[np.ndarray, "point 3"]:
    """Of every column the frame that moves most: no peak is lost, however long the video is."""
    if len(motion) <= COLUMNS:
        return motion
    edges = np.linspace(0, len(motion), COLUMNS + 1).astype(int)
    ranked = np.where(np.isfinite(motion[:, 1]), motion[:, 1], -1.0)
    best = [low + int(np.argmax(ranked[low:high])) for low, high in itertools.pairwise(edges)]
    return motion[best]


def _lost(track: Track, step: float) -> list[tuple[float, float]]:
    """From when to when there was no face."""
    seconds = track.seconds
    return [
        (float(seconds[run.start]), float(seconds[run.stop - 1]) + step) for run in canvas.true_runs(~track.has_face)
    ]


def _span(kind: str, left: float, right: float) -> str:
    scale = WIDTH / 100
    return (
        f'<rect class="{kind}" x="{scale * left:.2f}" y="0" width="{max(scale * (right - left), 1.5):.2f}" '
        f'height="{HEIGHT}"/>'
    )


def _path(kind: str, points: Float[np.ndarray, "point 2"], start: float, span: float, peak: float) -> str:
    """A line that is broken where nothing was measured."""
    x = WIDTH * (points[:, 0] - start) / span
    y = HEIGHT * (1 - np.clip(points[:, 1] / peak, 0, 1))
    parts = []
    for run in canvas.true_runs(np.isfinite(points[:, 1])):
        pairs = [f"{a:.1f} {b:.1f}" for a, b in zip(x[run].tolist(), y[run].tolist(), strict=True)]
        parts.append(f"M{'L'.join(pairs if len(pairs) > 1 else pairs * 2)}")
    return f'<path class="{kind}" d="{"".join(parts)}" fill="none" vector-effect="non-scaling-stroke"/>'


def _times(start: float, end: float) -> list[tuple[float, str]]:
    values = canvas.time_ticks(start, end, TICKS)
    step = values[1] - values[0] if len(values) > 1 else 0.1
    words = [clock(value, step) for value in values]
    if words:
        words[-1] += " min" if end >= 60 else " s"
    return list(zip(values, words, strict=True))


def _short(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
