"""What is drawn over the frames of a video: the face, the motion of the last two seconds, and the event of the moment.

Quick enough for every frame of a live video, and calm: nothing flickers, scales stay, and a label stands long enough to
be read although the movement that it names is over in a blink.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from microexpr.types import Event
from microexpr.video import canvas
from microexpr.video.canvas import BLUE, INK, ORANGE, PAPER, SKY, Color
from microexpr.video.track import Box

SHOWN = 2.0  # seconds of motion in the strip
LINGER = 0.5  # seconds that a label stays after its event
THRESHOLDS = 4.0  # the strip is as high as this many thresholds, unless it is told another height
STRIP, LINE, LIMIT = (18, 22, 30), (240, 243, 247), (168, 178, 192)
BACKDROP = 0.7  # how much of the picture the strip's ground covers


def label_of(event: Event) -> str:
    """The words for an event: its emotion with the probability, "unsure", or "macro-expression"."""
    if event.kind != "micro":
        return f"{event.kind}-expression"
    if event.emotion is None:
        return "unsure"
    return f"{event.emotion} {100 * event.probabilities[event.emotion]:.0f} %"


def color_of(event: Event) -> Color:
    """Blue for a micro-expression with a class, light blue for one without, orange for a macro-expression."""
    if event.kind != "micro":
        return ORANGE
    return SKY if event.emotion is None else BLUE


def overlay(
    frame: UInt8[np.ndarray, "h w 3"],
    face_box: Box | None,
    strength_history: Float[np.ndarray, "sample 3"],
    events_now: Sequence[Event],
    seconds: float,
    *,
    peak: float | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """One frame with a face box, a strip with the motion of the last `SHOWN` seconds and a label for an event.

    Args:
        frame: RGB, of any size from 120 pixels to 4K: lines and letters grow with it.
        face_box: x, y, width and height in frame pixels; None where no face was found, which is then written.
        strength_history: seconds, motion strength and threshold (pixels; NaN where there is none) of the frames up to
            this one; older ones than `SHOWN` seconds are passed over.
        events_now: events, of which those are colored that lie in the strip. The one that lasts at `seconds` colors
            the box and is named; its name stays for `LINGER` seconds, or until another event begins.
        seconds: the time of this frame, on the clock of the events.
        peak: motion strength at the top of the strip, pixels; default: `THRESHOLDS` times the threshold.

    Returns:
        A new picture.
    """
    drawn = frame.copy()
    unit = min(frame.shape[:2])
    thickness = max(1, round(unit / 400))
    size = max(10, round(unit / 27))  # of the font; smaller letters can't be read
    if face_box is not None:
        lasting = [event for event in events_now if event.onset_seconds <= seconds <= event.offset_seconds]
        _draw_box(drawn, face_box, color_of(lasting[-1]) if lasting else None, thickness)
    _draw_strip(drawn, strength_history, events_now, seconds, peak, thickness)
    if face_box is None:
        top = frame.shape[0] - strip_height(frame.shape[0])
        canvas.write(drawn, "no face", frame.shape[1] - size / 2, top + size // 8, LINE, size, align=1.0)
    fresh = [event for event in events_now if event.onset_seconds <= seconds <= event.offset_seconds + LINGER]
    if fresh:
        _draw_label(drawn, max(fresh, key=lambda event: event.onset_seconds), face_box, size)
    return drawn


def strip_height(height: int) -> int:
    """Rows that the motion strip takes of a frame of this height."""
    return max(18, round(0.12 * height))


def _draw_strip(
    drawn: UInt8[np.ndarray, "h w 3"],
    history: Float[np.ndarray, "sample 3"],
    events: Sequence[Event],
    seconds: float,
    peak: float | None,
    thickness: int,
) -> None:
    height, width = drawn.shape[:2]
    rows = strip_height(height)
    canvas.fill(drawn, 0, height - rows, width, rows, STRIP, BACKDROP)
    recent = history[history[:, 0] > seconds - SHOWN]
    limits = recent[:, 2][np.isfinite(recent[:, 2])]
    top = peak or (THRESHOLDS * float(limits[-1]) if len(limits) else 0.0)
    if not top > 0:  # nothing is known yet of how much this face moves at rest
        return
    margin = max(2, 2 * thickness)
    chart = canvas.Chart(0, height - rows + margin, width, rows - 2 * margin, seconds - SHOWN, seconds, top)
    for event in events:
        if event.offset_seconds > seconds - SHOWN and event.onset_seconds <= seconds:
            chart.span(drawn, event.onset_seconds, min(event.offset_seconds, seconds), color_of(event), 0.6)
    chart.line(drawn, recent[:, 0], recent[:, 2], LIMIT, thickness)
    chart.line(drawn, recent[:, 0], recent[:, 1], LINE, thickness)


def _draw_box(drawn: UInt8[np.ndarray, "h w 3"], box: Box, color: Color | None, thickness: int) -> None:
    """A light line with a dark one around it, so that it shows on any ground; a colored one during an event."""
    left, top, width, height = (round(value) for value in box)
    canvas.frame(drawn, left - 1, top - 1, width + 2, height + 2, STRIP)
    canvas.frame(drawn, left, top, width, height, color or LINE, thickness * (2 if color else 1))


def _draw_label(drawn: UInt8[np.ndarray, "h w 3"], event: Event, box: Box | None, size: int) -> None:
    """Above the face, or at the top of the picture where there is no room or no face."""
    color = color_of(event)
    margin, gap = size // 2, size // 4
    words = canvas.cut(label_of(event), size, drawn.shape[1] - 2 * margin)
    width, height = canvas.text_size(words, size)
    width, height = width + 2 * margin, height + gap
    left, top = (round(box[0]), round(box[1]) - gap - height) if box else (gap, gap)
    left, top = max(0, min(left, drawn.shape[1] - width)), max(top, 0)
    canvas.fill(drawn, left, top, width, height, color)
    canvas.write(drawn, words, left + margin, top + gap // 2, PAPER if color == BLUE else INK, size)
