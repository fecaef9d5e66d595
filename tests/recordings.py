"""A rendered recording with what recognition would have found in it, for tests of what the user sees."""

import math

from microexpr.datasets._render import Movement, RenderedFrames
from microexpr.types import Event
from microexpr.video.track import Track

FPS = 200.0
LENGTH = 500
BOX = (190.0, 198.0, 260.0, 260.0)
LOST = range(320, 360)  # frames without a face
NOISE, THRESHOLD = 0.1, 0.25
MICRO = Movement(120, 140, 170, ("12",), 1.8)
UNSURE = Movement(250, 262, 280, ("1", "2"), 1.2)
MACRO = Movement(380, 430, 490, ("4",), 4.0)
FRAMES = RenderedFrames(LENGTH, (MICRO, UNSURE, MACRO), fps=FPS, crop=False)
CLASSES = ("negative", "positive", "surprise")


def event(movement, kind="micro", probabilities=None, abstained=None):
    """The event that a rendered movement is."""
    numbers = (movement.onset, movement.apex, movement.offset)
    return Event(
        *numbers,
        *(number / FPS for number in numbers),
        kind,
        strength=movement.amplitude / 2,
        noise=NOISE,
        regions=("left mouth corner", "right mouth corner"),
        probabilities=probabilities or {},
        abstained=abstained,
    )


POSITIVE = event(MICRO, probabilities=dict(zip(CLASSES, (0.08, 0.83, 0.09), strict=True)))
ABSTAINED = event(UNSURE, abstained="the motion does not rise above the noise")
GRIMACE = event(MACRO, "macro")
EVENTS = (POSITIVE, ABSTAINED, GRIMACE)


def strength(number):
    """What a spotter would measure of a frame: the movements' envelopes over a little noise, pixels."""
    moved = sum(movement.amplitude / 2 * movement.strength(number) for movement in FRAMES.movements)
    return moved + NOISE * (0.5 + 0.5 * math.sin(number))


def track(length=LENGTH):
    """The track of the recording's first frames."""
    made = Track()
    for number in range(length):
        found = number not in LOST
        measured = strength(number) if found else math.nan
        made.add(number, number / FPS, BOX if found else None, measured, THRESHOLD if number > 20 else math.nan)
    return made
