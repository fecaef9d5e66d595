"""A camera, or the rendered example at its own rate, watched while it runs: what `microexpr live` shows, for the page.

The server opens the camera, so that no picture is sent anywhere but to the page, small. Nothing is written to the disk,
and no more is kept than what is shown: the motion of the last seconds, the last events, the last picture.
"""

from __future__ import annotations

import contextlib
import gc
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from microexpr import videos
from microexpr.page import timeline
from microexpr.page.limits import Limits
from microexpr.page.sessions import Session
from microexpr.page.work import Cancelled, State, Workshop, told
from microexpr.types import Event
from microexpr.video.latency import Latencies
from microexpr.video.source import Frame, Source, open_source
from microexpr.video.track import Box, Track

WINDOW_SECONDS = 10.0  # of motion that are shown
KEPT_EVENTS = 100
LONGEST_MINUTES = 60.0  # nobody leaves a camera on for longer by mistake; and what a run notes stays small
ENDING_SECONDS = 5.0  # that a run before may take to free its camera
PREVIEW_WIDTH, PREVIEW_QUALITY = 240, 80  # pixels, percent
AROUND = 1.7  # sides of the face that the preview shows
HEADROOM = 2.0  # thresholds that the chart shows at least


@dataclass(frozen=True)
class Asked:
    """What is watched.

    Attributes:
        camera: its number; None for the rendered example.
        fps: frames a second that the camera is asked for; None for its own rate.
    """

    camera: int | None
    fps: float | None = None


@dataclass(frozen=True)
class Noted:
    """An event of a live run.

    Attributes:
        number: counted from 1.
        event: the event.
        latency: seconds from the arrival of the frame that ended it.
    """

    number: int
    event: Event
    latency: float


@dataclass(frozen=True)
class Seen:
    """A live run at one moment.

    Attributes:
        state: "waiting" while it begins, "working", "done" or "failed".
        status: after the last frame; None before the first.
        rate: frames a second that were answered lately; None where that can't be said.
        latency: median and 99th percentile of all frames, ms; empty before the first.
        chart: the last seconds; None before the first frame.
        events: the last of them, the latest first.
        count: of all events.
        picture: the face, JPEG; None before the first frame.
        warnings: plain sentences, once it has ended.
    """

    state: State
    status: videos.Status | None
    rate: float | None
    latency: dict[str, float]
    chart: timeline.Timeline | None
    events: list[Noted]
    count: int
    picture: bytes | None
    warnings: list[str]


class Watched(Source):
    """Another source that ends when nobody wants more of it.

    Attributes:
        picture: of the frame that came last, RGB; None before the first.
        over: it ended without an error.
    """

    def __init__(self, source: Source, wanted: Callable[[], bool]) -> None:
        super().__init__(source.name, source.size, source.header_fps, source.expected)
        self.repeats = source.repeats
        self._source, self._wanted = source, wanted
        self.picture: UInt8[np.ndarray, "h w 3"] | None = None
        self.over = False

    def _read(self) -> Generator[Frame, None, list[str] | None]:
        remarks: list[str] | None = None
        with contextlib.closing(self._source._read()) as frames:
            while self._wanted():
                try:
                    frame = next(frames)
                except StopIteration as end:
                    remarks = end.value
                    break
                self.picture = frame.image
                yield frame
        self.over = True
        return remarks


class LiveRun:
    """One camera, or the example, at work in a thread of its own; `look` may be called at any time.

    Args:
        session: of the page that shows it; it ends when that is closed.
        shop: which has the example.
        limits: of frames.
        asked: what is watched.
        before: runs that are about to free the camera.

    Attributes:
        stop: set when it is no longer wanted.
        ended: set when the camera is free again.
    """

    def __init__(
        self, session: Session, shop: Workshop, limits: Limits, asked: Asked, before: Iterable[LiveRun] = ()
    ) -> None:
        self.asked = asked
        self.stop, self.ended = threading.Event(), threading.Event()
        self._session, self._shop, self._limits, self._before = session, shop, limits, tuple(before)
        self._deadline = time.monotonic() + 60 * LONGEST_MINUTES
        self._lock = threading.Lock()
        self._state, self._warnings = State("waiting", "Starting"), list[str]()
        self._source: Watched | None = None
        self._status: videos.Status | None = None
        self._recent: deque[videos.Status] = deque()
        self._events: deque[Noted] = deque(maxlen=KEPT_EVENTS)
        self._count, self._faces, self._latencies = 0, 0, Latencies()

    def begin(self) -> None:
        self._session.watching.set()
        threading.Thread(target=self._run, name="microexpr-page-live", daemon=True).start()

    @property
    def wanted(self) -> bool:
        """Whether it is to go on."""
        return not self.stop.is_set() and not self._session.closed and time.monotonic() < self._deadline

    def look(self) -> Seen:
        """What there is to see now."""
        with self._lock:
            state, status, warnings = self._state, self._status, list(self._warnings)
            recent, events = list(self._recent), list(self._events)
            count, latency = self._count, self._latencies.summary()
        if state.kind == "working" and not self.wanted:
            state = State("working", "Stopping")  # a camera may think before its next picture
        shown = self._source.picture if self._source and status else None
        return Seen(
            state=state,
            status=status,
            rate=_rate(recent),
            latency=latency,
            chart=_chart(recent, events) if recent else None,
            events=events[::-1],
            count=count,
            picture=None if shown is None or status is None else preview(shown, status.box),
            warnings=warnings,
        )

    def _run(self) -> None:
        last = State("failed", "it broke off")
        try:
            last = self._answer()
        finally:
            self._session.watching.clear()
            self.ended.set()
            self._state = last  # told last: who reads it may begin the next run
            gc.collect()  # a decoded frame that only the collector can free stays behind

    def _answer(self) -> State:
        try:
            self._source = self._opened()
            self._state = State("waiting", "Getting ready")
            recording = videos.live(self._source, each=self._found, begun=self._begun, status=self._answered)
        except Cancelled:
            return State("done", "Stopped.")
        except Exception as error:
            if self._source and self._source.over and not self._faces:
                return State("done", self._without_face())
            return State("failed", told(error, self._session))
        self._warnings = recording.warnings
        return State("done", f"{self._how()} Nothing was recorded.")

    def _opened(self) -> Watched:
        if self.asked.camera is None:
            file = self._shop.example(self, self._progress)
            return Watched(open_source(file), lambda: self.wanted)
        self._state = State("waiting", f"Opening camera {self.asked.camera}")
        for one in self._before:
            one.ended.wait(ENDING_SECONDS)
        if not self.wanted:
            raise Cancelled
        source = open_source(self.asked.camera, self.asked.fps)
        self._limits.check_video(source.size, None)
        return Watched(source, lambda: self.wanted)

    def _progress(self, step: str, done: int, total: int) -> None:
        if not self.wanted:
            raise Cancelled
        self._state = State("waiting", "Rendering the example", done, total)

    def _begun(self) -> None:
        self._state = State("working", "Running")

    def _answered(self, status: videos.Status) -> None:
        with self._lock:
            self._status = status
            self._faces += status.box is not None
            self._latencies.add(status.latency)
            self._recent.append(status)
            while self._recent[0].seconds < status.seconds - WINDOW_SECONDS:
                self._recent.popleft()

    def _found(self, event: Event, latency: float) -> None:
        with self._lock:
            self._count += 1
            self._events.append(Noted(self._count, event, latency))

    def _how(self) -> str:
        """Why it ended."""
        if self.stop.is_set():
            return "Stopped."
        return "Ended." if self.wanted else f"Ended: a run lasts {LONGEST_MINUTES:g} minutes at most."

    def _without_face(self) -> str:
        said = "No face was found: film it from the front, in good light." if self._status else "No frame had come yet."
        return f"{self._how()} {said}"


def preview(image: UInt8[np.ndarray, "h w 3"], box: Box | None) -> bytes:
    """The face with its surroundings, or the whole picture where there is none, as a small JPEG file.

    Args:
        image: RGB.
        box: left, top, width and height of the face.
    """
    import cv2

    if box is not None:
        left, top, width, height = box
        side = max(1, min(round(AROUND * max(width, height)), *image.shape[:2]))
        x = min(max(0, round(left + width / 2 - side / 2)), image.shape[1] - side)
        y = min(max(0, round(top + height / 2 - side / 2)), image.shape[0] - side)
        image = image[y : y + side, x : x + side]
    rows, columns = image.shape[:2]
    scale = PREVIEW_WIDTH / max(rows, columns)
    if scale < 1:
        size = max(1, round(scale * columns)), max(1, round(scale * rows))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    picture = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, PREVIEW_QUALITY])
    return content.tobytes()


def _rate(recent: list[videos.Status]) -> float | None:
    span = recent[-1].seconds - recent[0].seconds if recent else 0.0
    return (len(recent) - 1) / span if span > 0 else None


def _chart(recent: list[videos.Status], events: list[Noted]) -> timeline.Timeline:
    track = Track()
    for one in recent:
        track.add(one.frames, one.seconds, one.box, one.level, one.threshold)
    end = max(recent[-1].seconds, WINDOW_SECONDS)
    shown = [one for one in events if one.event.offset_seconds > end - WINDOW_SECONDS]
    thresholds = [one.threshold for one in recent if math.isfinite(one.threshold)]
    return timeline.draw(
        track,
        [one.event for one in shown],
        window=(end - WINDOW_SECONDS, end),
        first=shown[0].number if shown else 1,
        least=HEADROOM * max(thresholds, default=0.0),
    )
