"""Pictures for people: a plate of one clip or event, from what was seen to what was decided, and a whole recording."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from microexpr.errors import BadInput
from microexpr.motion.color import flow_to_color, wheel_picture
from microexpr.motion.flow import magnitude
from microexpr.types import Event
from microexpr.video import canvas
from microexpr.video.canvas import BLUE, INK, ORANGE, PAPER, RULE, SKY, SOFT, Chart, write
from microexpr.video.overlay import color_of, label_of
from microexpr.video.track import Track

PANEL = 224  # pixels; side of a picture in a plate
GAP = 16
CAPTION = 30
BARS = 236  # width of the panel with the probabilities
WIDTH = 4 * GAP + 3 * PANEL + GAP + BARS
TRACE = 170  # height of the part of a plate with the trace
BAR, BAR_BEST = (176, 190, 208), (31, 98, 158)
NOISE_BAND = (222, 226, 232)
LOST = (222, 224, 228)
AROUND = 0.5  # seconds shown before and after an event, at least; a longer event has its own length around it
MOST_REGIONS = 3
LABEL_ROWS = 3


def plate(
    onset: UInt8[np.ndarray, "h w 3"],
    apex: UInt8[np.ndarray, "h w 3"],
    flow: Float[np.ndarray, "2 fh fw"],
    probabilities: Mapping[str, float],
    onset_number: int,
    apex_number: int,
    fps: float,
) -> UInt8[np.ndarray, "ph pw 3"]:
    """Onset, apex, flow picture with its wheel, and the class probabilities side by side.

    Args:
        onset, apex: the two frames, RGB.
        flow: onset -> apex, in pixels.
        probabilities: class name -> probability.
        onset_number, apex_number: frame numbers.
        fps: frames a second, for the time between them.
    """
    picture = _paper(WIDTH, 2 * GAP + PANEL + CAPTION)
    later = (apex_number - onset_number) / fps * 1000
    _draw_panels(picture, onset, apex, flow, f"frame {onset_number}", f"frame {apex_number} (+{later:.0f} ms)")
    _draw_bars(picture, probabilities)
    return picture


def event_plate(
    event: Event,
    onset: UInt8[np.ndarray, "h w 3"],
    apex: UInt8[np.ndarray, "fh fw 3"],
    flow: Float[np.ndarray, "2 gh gw"],
    track: Track,
    method: str = "",
) -> UInt8[np.ndarray, "ph pw 3"]:
    """One event: onset face, apex face, flow and probabilities, the motion around it, and what it is in a line.

    Where nothing was classified the reason stands in the place of the probabilities.

    Args:
        event: as found.
        onset, apex: the aligned face at these frames, RGB.
        flow: onset -> apex, in pixels of the aligned face.
        track: of the recording; only the time around the event is shown, with the noise as a gray band.
        method: name of the method that gave the probabilities.
    """
    picture = _paper(WIDTH, 2 * GAP + PANEL + CAPTION + TRACE + CAPTION)
    later = (event.apex_seconds - event.onset_seconds) * 1000
    _draw_panels(picture, onset, apex, flow, f"{event.onset_seconds:.3f} s", f"+{later:.0f} ms")
    if event.emotion is None:
        _draw_reason(picture, event.abstained or f"{event.kind}-expressions are not")
    else:
        _draw_bars(picture, event.probabilities)
    _draw_event_trace(picture, event, track)
    bottom = picture.shape[0] - CAPTION
    words = f"method: {method}" if method else ""
    room = WIDTH - 3 * GAP - canvas.text_size(words, 14)[0]
    write(picture, canvas.cut(caption_of(event), 14, room), GAP, bottom, INK, 14)
    write(picture, words, WIDTH - GAP, bottom, SOFT, 14, align=1.0)
    return picture


def caption_of(event: Event) -> str:
    """An event in one line: kind, times, duration, strength, regions that moved most."""
    duration = (event.offset_seconds - event.onset_seconds) * 1000
    parts = [
        f"{event.kind}-expression from {event.onset_seconds:.3f} to {event.offset_seconds:.3f} s ({duration:.0f} ms)",
        f"strength {event.strength:.2f} px",
    ]
    if event.regions:
        parts.append(f"moved most: {', '.join(event.regions[:MOST_REGIONS])}")
    return "; ".join(parts)


def timeline(
    track: Track, events: Sequence[Event], name: str = "", width: int = 1600
) -> UInt8[np.ndarray, "th {width} 3"]:
    """A whole recording: motion strength over time, events as colored spans with labels, gray where no face was found.

    A label is left out where others leave no room; its span is there. Motion far above all micro-expressions and the
    threshold is cut off, which is then said.

    Args:
        track: of the recording.
        events: all of it.
        name: of the recording.
        width: pixels of the picture, 600 or more.

    Raises:
        BadInput: no frames, or a narrower picture.
    """
    if not len(track):
        raise BadInput("a recording with frames", "an empty track", "read the recording first")
    if width < 600:
        raise BadInput("a timeline of 600 pixels or more", f"{width}", "ask for a wider one")
    motion, has_face = track.motion, track.has_face
    seconds = motion[:, 0]
    peak, highest = _timeline_peak(motion, events)
    top = 40 + 20 * LABEL_ROWS + 6
    picture = _paper(width, top + 150 + 44)
    chart = Chart(56, top, width - 56 - 20, 150, float(seconds[0]), float(seconds[-1]), peak)
    canvas.fill(picture, chart.left, chart.top, chart.width, chart.height, (250, 251, 252))
    step = (seconds[-1] - seconds[0]) / max(len(seconds) - 1, 1)
    for run in canvas.true_runs(~has_face):
        chart.span(picture, float(seconds[run.start]), float(seconds[run.stop - 1] + step), LOST)
    for event in events:
        chart.span(picture, event.onset_seconds, event.offset_seconds, color_of(event), 0.55)
    chart.line(picture, seconds, motion[:, 2], SOFT)
    chart.line(picture, seconds, motion[:, 1], INK)
    _draw_axes(picture, chart, most=max(4, width // 120))
    _draw_event_labels(picture, chart, events)
    _draw_legend(picture, chart, events, bool((~has_face).any()))
    cutoff = f"; higher than {peak:.2g} px is cut off" if highest > peak else ""
    write(picture, f"{name}: motion strength{cutoff}" if name else f"motion strength{cutoff}", 16, 12, INK, 15)
    return picture


def _paper(width: int, height: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    return np.full((height, width, 3), PAPER, np.uint8)


def _draw_panels(
    picture: np.ndarray, onset: np.ndarray, apex: np.ndarray, flow: np.ndarray, onset_words: str, apex_words: str
) -> None:
    import cv2

    panels = (
        (onset, f"onset, {onset_words}"),
        (apex, f"apex, {apex_words}"),
        (_with_wheel(flow_to_color(flow)), f"flow, largest {magnitude(flow).max():.1f} px"),
    )
    for number, (content, words) in enumerate(panels):
        left = GAP + number * (PANEL + GAP)
        kind = cv2.INTER_AREA if min(content.shape[:2]) > PANEL else cv2.INTER_CUBIC
        picture[GAP : GAP + PANEL, left : left + PANEL] = cv2.resize(content, (PANEL, PANEL), interpolation=kind)
        canvas.frame(picture, left, GAP, PANEL, PANEL, RULE)
        write(picture, words, left, GAP + PANEL + 8, SOFT, 14)


def _with_wheel(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The color wheel in the lower left corner: which color is which direction."""
    size = picture.shape[0] // 5
    marked = picture.copy()
    marked[-size - 4 : -4, 4 : size + 4] = wheel_picture(size)
    return marked


def _decision_left() -> int:
    """Where the panel with the decision begins."""
    return GAP + 3 * (PANEL + GAP) + GAP // 2


def _draw_bars(picture: np.ndarray, probabilities: Mapping[str, float]) -> None:
    best = max(probabilities, key=lambda name: probabilities[name])
    step = PANEL // len(probabilities)
    size = min(15, max(9, step // 2 - 2))  # many classes stand closer together
    thick, width, left = min(12, max(3, step // 4)), BARS - GAP, _decision_left()
    for number, (name, value) in enumerate(probabilities.items()):
        y = GAP + number * step + (step - size - thick - 17) // 2 if step >= 44 else GAP + number * step
        text = f"{100 * value:.0f} %"
        room = width - canvas.text_size(text, size)[0] - 6
        write(picture, canvas.cut(name, size, room), left, y, INK if name == best else SOFT, size)
        write(picture, text, left + width, y, INK, size, align=1.0)
        y += round(1.6 * size) if step >= 44 else round(1.25 * size)
        canvas.fill(picture, left, y, width, thick, RULE)
        canvas.fill(picture, left, y, round(width * value), thick, BAR_BEST if name == best else BAR)
    write(picture, "class probabilities", left, GAP + PANEL + 8, SOFT, 14)


def _draw_reason(picture: np.ndarray, reason: str) -> None:
    left = _decision_left()
    lines = canvas.wrapped(reason, 15, BARS - GAP, most=8)
    top = GAP + max(0, (PANEL - 26 - 21 * len(lines)) // 2)
    write(picture, "not classified:", left, top, INK, 15)
    for number, line in enumerate(lines):
        write(picture, line, left, top + 26 + 21 * number, SOFT, 15)


def _draw_event_trace(picture: np.ndarray, event: Event, track: Track) -> None:
    around = max(AROUND, event.offset_seconds - event.onset_seconds)
    start, end = event.onset_seconds - around, event.offset_seconds + around
    motion = track.motion
    motion = motion[(motion[:, 0] >= start) & (motion[:, 0] <= end)]
    strengths = motion[:, 1][np.isfinite(motion[:, 1])]
    peak = 1.15 * max([*strengths.tolist(), event.strength, 2 * event.noise])
    top = GAP + PANEL + CAPTION + 26
    chart = Chart(GAP + 44, top, WIDTH - 2 * GAP - 44 - 46, TRACE - 26 - 44, start, end, peak)
    color = color_of(event)
    chart.span(picture, event.onset_seconds, event.offset_seconds, color, 0.16)
    level = chart.y(event.noise)
    canvas.fill(picture, chart.left, level, chart.width, chart.top + chart.height - level, NOISE_BAND)
    write(picture, "noise", chart.left + chart.width + 6, (level + chart.top + chart.height) / 2 - 9, SOFT, 12)
    chart.line(picture, motion[:, 0], motion[:, 1], INK, 2)
    for word, seconds, align in (
        ("onset ", event.onset_seconds, 1.0),
        ("apex", event.apex_seconds, 0.5),
        (" offset", event.offset_seconds, 0.0),
    ):
        x = chart.x(seconds)
        canvas.fill(picture, x, chart.top - 4, 1, chart.height + 4, color)
        write(picture, word, x, chart.top - 22, INK, 13, align=align)
    _draw_axes(picture, chart, most=8)


def _draw_axes(picture: np.ndarray, chart: Chart, most: int) -> None:
    bottom = chart.top + chart.height
    canvas.fill(picture, chart.left, bottom, chart.width, 1, SOFT)
    long = chart.end - chart.start >= canvas.LONG
    times = canvas.time_ticks(chart.start, chart.end, most)
    for seconds in times:
        x = chart.x(seconds)
        canvas.fill(picture, x, bottom, 1, 4, SOFT)
        write(picture, _minutes(seconds) if long else _digits(seconds, times), x, bottom + 5, SOFT, 12, align=0.5)
    write(picture, "minutes" if long else "seconds", chart.left + chart.width, bottom + 20, SOFT, 12, align=1.0)
    values = canvas.ticks(0.0, chart.peak, 4)
    for value in values:
        y = chart.y(value)
        canvas.fill(picture, chart.left - 4, y, 4, 1, SOFT)
        write(picture, f"{value:g}" if value != values[-1] else f"{value:g} px", chart.left - 7, y - 9, SOFT, 12, 1.0)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _digits(seconds: float, times: Sequence[float]) -> str:
    """A time with the digits that tell it from the next tick."""
    step = times[1] - times[0] if len(times) > 1 else 0.1
    return f"{seconds:.{max(0, math.ceil(-math.log10(step) - 1e-9))}f}"


def _timeline_peak(motion: Float[np.ndarray, "frame 3"], events: Sequence[Event]) -> tuple[float, float]:
    """The motion at the top of a timeline, and the highest that there is: a grimace must not flatten all else."""

    def largest(values: np.ndarray) -> float:
        return float(np.max(values[np.isfinite(values)], initial=0.0))

    highest = largest(motion[:, 1])
    micro = max((event.strength for event in events if event.kind == "micro"), default=0.0)
    wanted = 4 * max(micro, largest(motion[:, 2]))
    return 1.1 * min(highest, wanted or highest) or 1.0, highest


def _draw_event_labels(picture: np.ndarray, chart: Chart, events: Sequence[Event]) -> None:
    """Labels in rows over the chart, each with a line down to its span.

    From the right to the left, so that the line of a higher label runs down in front of the lower ones.
    """
    free = [float("inf")] * LABEL_ROWS  # where the space of each row ends, the lowest row first
    for event in sorted(events, key=lambda one: one.onset_seconds, reverse=True):
        words = label_of(event)
        anchor = chart.x((event.onset_seconds + event.offset_seconds) / 2)
        length = canvas.text_size(words, 13)[0]
        left = min(anchor - 3, chart.left + chart.width - length)
        row = next((number for number in range(LABEL_ROWS) if left + length + 10 < free[number]), None)
        if row is None:
            continue
        free[: row + 1] = [left] * (row + 1)
        y = chart.top - 6 - 20 * (row + 1)
        canvas.fill(picture, anchor, y + 16, 1, chart.top - y - 16, color_of(event))
        write(picture, words, left, y, INK, 13)


def _draw_legend(picture: np.ndarray, chart: Chart, events: Sequence[Event], lost: bool) -> None:
    """What the colors of this picture mean, from the right end of the title's row."""
    meanings = {BLUE: "micro-expression", SKY: "micro-expression, unsure", ORANGE: "macro-expression"}
    used = {color_of(event) for event in events}
    shown = [(color, words) for color, words in meanings.items() if color in used]
    shown += [(LOST, "no face")] if lost else []
    x = chart.left + chart.width
    write(picture, "threshold", x, 12, SOFT, 13, align=1.0)
    x -= canvas.text_size("threshold", 13)[0] + 22
    canvas.fill(picture, x, 21, 16, 1, SOFT)
    for color, words in reversed(shown):
        x -= 18
        write(picture, words, x, 12, SOFT, 13, align=1.0)
        x -= canvas.text_size(words, 13)[0] + 18
        canvas.fill(picture, x, 15, 12, 12, color, 0.7 if color != LOST else 1.0)
