"""A source fed to a recognizer, and what has to be said of it: frames without a face, or a video without one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator

from microexpr.errors import BadInput
from microexpr.types import Event
from microexpr.video.given import GivenClip
from microexpr.video.reader import Ahead, one_opencv_thread
from microexpr.video.recognizer import Recognizer
from microexpr.video.source import Source
from microexpr.video.track import Box, Track
from microexpr.video.tracking import Tracked


def events_of(
    source: Source,
    recognizer: Recognizer | GivenClip,
    each: Callable[[Tracked], object] = lambda tracked: None,
) -> Generator[Event]:
    """Feeds a source to a recognizer, read ahead in a thread; `each` is called after every frame.

    Raises:
        BadInput: no face in any frame.
    """
    with one_opencv_thread(), contextlib.closing(Ahead(source).frames()) as frames:
        for frame, _ in frames:
            events = recognizer.push(frame)
            each(last_of(recognizer))
            yield from events
    yield from recognizer.flush()
    if not recognizer.faces:
        raise no_face(source, recognizer)


def last_of(recognizer: Recognizer | GivenClip) -> Tracked:
    """The frame that was pushed last, with its face."""
    tracked = recognizer.tracked
    assert tracked is not None  # for the type checker: a frame was pushed
    return tracked


def add_to(track: Track, recognizer: Recognizer | GivenClip) -> None:
    """The frame that was pushed last, with its motion."""
    tracked = last_of(recognizer)
    track.add(tracked.frame.index, tracked.frame.seconds, box_of(tracked), recognizer.level, recognizer.threshold)


def box_of(tracked: Tracked) -> Box | None:
    """Where the face is, frame pixels; None while there is none."""
    box = tracked.box
    return None if box is None else (box.x, box.y, box.width, box.height)


class Unseen:
    """Frames without a face, or with one that could not be followed: counted, so that memory stays bounded."""

    def __init__(self) -> None:
        self._without = self._frames = 0
        self._first = math.nan

    def add(self, tracked: Tracked) -> None:
        self._frames += 1
        if tracked.box is None:
            self._without += 1
            self._first = tracked.frame.seconds if self._without == 1 else self._first

    def sentences(self) -> list[str]:
        """What to say of them; nothing where there is none."""
        if not self._without:
            return []
        return [
            f"in {self._without} of {self._frames} frames no face could be followed, the first at {self._first:.3f} s; "
            "movements there are not found"
        ]


def no_face(source: Source, recognizer: Recognizer | GivenClip) -> BadInput:
    """The error for a video without a face."""
    said, other = f": {recognizer.notes[0]}" if recognizer.notes else "", ""
    if not said:
        other = ", try another --detector, or --detector precropped for face crops"
    advice = f"film the face from the front in good light{other}"
    return BadInput(f"a face in {source.name}", f"none in {recognizer.frames} frames{said}", advice)
