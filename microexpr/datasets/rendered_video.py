"""Longer rendered videos with events at known times, eye blinks, head motion and flicker: what spotting is measured on.

Like the clips of `synthetic`, they show one portrait in several guises: they tell how exactly an event is found in time
and how often nothing is taken for something, and are no evidence of accuracy on real faces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from microexpr.datasets._blink import Blink
from microexpr.datasets._face import Identity
from microexpr.datasets._render import FLICKER, Movement, RenderedFrames
from microexpr.datasets.synthetic import EMOTIONS, LARGEST_PEAK
from microexpr.errors import BadInput, UnknownName

BEFORE, BETWEEN, AFTER = 0.5, 0.8, 0.3  # seconds at rest before, between and after random events
BLINK_LENGTH = (0.15, 0.35)  # seconds
OPEN = 0.3  # seconds between two blinks, and from a blink to an event, at the least


class Expression(NamedTuple):
    """One event of a rendered video: what is felt and how the face moves."""

    emotion: str
    movement: Movement


def expression(
    emotion: str, onset: float, fps: float, peak: float, random: np.random.Generator, units: Sequence[str] | None = None
) -> Expression:
    """An event with a duration of 0.16 to 0.44 s, of which 35 to 55% are its rise.

    Args:
        emotion: a key of `synthetic.EMOTIONS`.
        onset: seconds.
        fps: frames a second.
        peak: largest displacement of the skin at the apex, pixels of the 640x480 frame.
        random: draws duration, rise, slight asymmetry and, where none are given, one of the emotion's sets of
            action units.
        units: action units, keys of `_face.ACTION_UNITS`.
    """
    if emotion not in EMOTIONS:
        raise UnknownName("rendered emotion", emotion, EMOTIONS)
    if not 0 < peak <= LARGEST_PEAK:
        raise BadInput(f"a peak above 0 and up to {LARGEST_PEAK:g} pixels", str(peak), "the skin would fold")
    first = round(onset * fps)
    duration = max(2, round(fps * random.uniform(0.16, 0.44)))
    rise = min(max(1, round(duration * random.uniform(0.35, 0.55))), duration - 1)
    drawn = EMOTIONS[emotion][random.integers(len(EMOTIONS[emotion]))]
    asymmetry = random.uniform(-0.1, 0.1)
    chosen = drawn if units is None else tuple(units)
    return Expression(emotion, Movement(first, first + rise, first + duration, chosen, peak, asymmetry))


def video(
    seconds: float,
    fps: float = 200.0,
    events: Sequence[Expression] | int = 0,
    *,
    peak: float = 2.0,
    seed: int = 0,
    identity: Identity = Identity(),  # noqa: B008 - frozen
    blinks_per_minute: float = 15.0,
    head_pixels: float = 0.3,
    flicker: float = FLICKER,
    crop: bool = False,
) -> tuple[RenderedFrames, list[Expression]]:
    """A video whose events are known. Equal arguments give equal bytes.

    Args:
        seconds: its length.
        fps: frames a second.
        events: the events; or how many to draw, at least 0.8 s apart, with 0.5 s of rest before the first and 0.3 s
            after the last.
        peak: of events that are drawn, see `expression`.
        seed: draws events, blinks, noise, head motion and flicker.
        identity: the subject.
        blinks_per_minute: how often the eyes blink, at random times and at least 0.3 s apart. A blink nearer than
            0.3 s to an event is left out, so with many events there are fewer.
        head_pixels, flicker, crop: see `RenderedFrames`.

    Returns:
        The frames, drawn when they are read, and the events in the order of their onsets.

    Raises:
        BadInput: the events do not fit into the video, or a setting is out of range.
    """
    _check(seconds, fps, seed, blinks_per_minute)
    random = np.random.default_rng([8, seed])  # 1..7: the renderer's and the clips'
    given = _drawn(seconds, fps, events, peak, random) if isinstance(events, int) else list(events)
    shown = sorted(given, key=lambda event: event.movement.onset)
    length = round(seconds * fps)
    if shown and not (shown[0].movement.onset >= 0 and max(event.movement.offset for event in shown) < length):
        raise BadInput(f"events from frame 0 to {length - 1}", "one beyond", "give a longer video or earlier events")
    movements = tuple(event.movement for event in shown)
    blinks = _blinks(length, fps, blinks_per_minute, movements, np.random.default_rng([9, seed]))
    frames = RenderedFrames(length, movements, identity, (seed,), fps, head_pixels, crop, blinks, flicker)
    return frames, shown


def _check(seconds: float, fps: float, seed: int, blinks_per_minute: float) -> None:
    advice = "change this setting"
    if not (math.isfinite(fps) and fps >= 20):
        raise BadInput("fps of 20 or more", str(fps), "a micro-expression would fall between the frames")
    if not (math.isfinite(seconds) and round(seconds * fps) >= 1):
        raise BadInput("a video of one frame or more", f"{seconds} seconds", advice)
    if seed < 0:
        raise BadInput("a seed of 0 or more", str(seed), advice)
    most = 60 / (OPEN + max(BLINK_LENGTH))
    if not 0 <= blinks_per_minute <= most:
        raise BadInput(f"0 to {most:.0f} blinks a minute", str(blinks_per_minute), advice)


def _drawn(seconds: float, fps: float, count: int, peak: float, random: np.random.Generator) -> list[Expression]:
    """`count` events of random emotions: all their lengths first, then what time is left is dealt out between them."""
    names = list(EMOTIONS)
    events = [expression(names[random.integers(len(names))], 0.0, fps, peak, random) for _ in range(count)]
    rest = seconds - BEFORE - AFTER - BETWEEN * (count - 1) - sum(event.movement.offset for event in events) / fps
    if count and rest < 0:
        advice = "give a longer video or fewer events"
        raise BadInput(f"a video of {seconds - rest:.1f} s or more for {count} events", f"{seconds} s", advice)
    placed, start = [], BEFORE
    for event, late in zip(events, np.sort(random.uniform(0, max(rest, 0), count)), strict=True):
        old = event.movement
        onset = math.ceil((start + late) * fps)  # rounded up: BETWEEN is the least
        times = (onset, onset + old.apex, onset + old.offset)
        placed.append(Expression(event.emotion, Movement(*times, old.action_units, old.amplitude, old.asymmetry)))
        start += old.offset / fps + BETWEEN
    return placed


def _blinks(
    length: int, fps: float, per_minute: float, movements: tuple[Movement, ...], random: np.random.Generator
) -> tuple[Blink, ...]:
    """Blinks at random times, none near a movement."""
    if not per_minute:
        return ()
    found: list[Blink] = []
    free = 0.0  # seconds, from which on the next blink may start
    wait = 60 / per_minute - OPEN - sum(BLINK_LENGTH) / 2  # mean, beyond the least
    while True:
        start, lasts = free + random.exponential(wait), random.uniform(*BLINK_LENGTH)
        blink = Blink(round(start * fps), max(1, round(lasts * fps)))
        if blink.start + blink.length >= length:
            return tuple(found)
        near = OPEN * fps
        if all(
            blink.start + blink.length + near <= movement.onset or movement.offset + near <= blink.start
            for movement in movements
        ):
            found.append(blink)
        free = start + lasts + OPEN
