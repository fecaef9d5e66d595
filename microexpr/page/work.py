"""One video at work: a thread of its own that says how far it is, stops when it is told to, and cleans up."""

from __future__ import annotations

import contextlib
import gc
import logging
import re
import shutil
import threading
import zipfile
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from microexpr import videos
from microexpr.demonstration import rendered_film
from microexpr.errors import BadInput, MicroexprError
from microexpr.page.limits import Limits
from microexpr.page.pictures import Pictures, draw
from microexpr.page.sessions import Session
from microexpr.types import Event
from microexpr.video.recognizer import Evidence
from microexpr.video.source import open_source

POLL_SECONDS = 0.2  # between two looks at how far the work is
PICTURED = 100  # events that get pictures; more of them in a video are no micro-expressions
STEPS = {
    "render a video": "Rendering the example",
    "recognize": "Following the face",
    "annotate": "Drawing the result",
}


# What the command line's advice is called on the page.
ADVICE = {
    ", try another --detector, or --detector precropped for face crops": (
        ", or choose that the video shows nothing but the face"
    ),
    "give the rate (fps=100, or --fps 100)": "type the camera's frames a second",
}


class Cancelled(Exception):
    """The visitor wants no answer any more."""


@runtime_checkable
class Stoppable(Protocol):
    """Who waits for something, and may not want it any more: a session, or a live run."""

    stop: threading.Event


@dataclass(frozen=True)
class Settings:
    """What a visitor may set.

    Attributes:
        fps: frames a second, for files that state a wrong rate.
        weights: name of weights that come with the package.
        detector: "haar", or "precropped" for videos of face crops.
        magnify: how many times as far the magnified face moves.
    """

    fps: float | None = None
    weights: str | None = None
    detector: str = "haar"
    magnify: float = 10.0


@dataclass(frozen=True)
class Found:
    """What became of a video.

    Attributes:
        name: of the video, for people.
        recording: as `videos.recognize` gave it.
        pictures: of events, by the number of the onset frame.
        archive: plates and films in one file; None where there are none.
        settings: as asked.
    """

    name: str
    recording: videos.Recording
    pictures: dict[int, Pictures]
    archive: Path | None
    settings: Settings


@dataclass(frozen=True)
class State:
    """How far the work is.

    Attributes:
        kind: "waiting", "working", "done", "cancelled" or "failed".
        words: what happens, or what went wrong, in a line.
        done, total: frames of the step under way; 0 where it is not known.
        found: the result, once there is one.
    """

    kind: str
    words: str
    done: int = 0
    total: int = 0
    found: Found | None = field(default=None, repr=False)


class Workshop:
    """Where videos are worked on, so many at once.

    Args:
        limits: of videos, workers and those who wait.
        folder: for the rendered example, which is made once.
    """

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._limits, self._folder = limits, folder
        self._workers = threading.Semaphore(limits.workers)
        self._lock, self._rendering = threading.Lock(), threading.Lock()
        self._inside = 0

    def run(self, session: Session, settings: Settings, example: bool = False) -> Generator[State]:
        """Recognizes a session's video, or the rendered example, and says how far it is until it ends.

        Who stops listening does not stop the work; `Session.stop` and `Session.close` do. From the first state on they
        are heard.

        Raises:
            BadInput: there is work of this session under way, or its page was closed.
        """
        work = _Work(self, session, settings, example)
        work.start()
        yield work.state
        while not work.ended.wait(POLL_SECONDS):
            yield work.state
        yield work.state

    @contextlib.contextmanager
    def worker(self, session: Session) -> Generator[None]:
        """Waits for a free worker and has it.

        Raises:
            BadInput: too many wait already.
            Cancelled: while waiting.
        """
        with self._lock:
            if self._inside >= self._limits.workers + self._limits.waiting:
                raise BadInput("a free place", f"{self._inside} videos before yours", "try again in a few minutes")
            self._inside += 1
        try:
            _acquire(self._workers, session)
            try:
                yield
            finally:
                self._workers.release()
        finally:
            with self._lock:
                self._inside -= 1

    def example(self, session: Stoppable, progress: videos.Progress) -> Path:
        """The rendered video."""
        file = self._folder / "rendered-example.mp4"
        _acquire(self._rendering, session)
        try:
            if not file.exists():
                rendered_film(file, progress=progress)
        finally:
            self._rendering.release()
        return file

    @property
    def limits(self) -> Limits:
        return self._limits


def _acquire(lock: threading.Semaphore | threading.Lock, session: Stoppable) -> None:
    """Takes a lock, or raises Cancelled where who waits stops first."""
    while not lock.acquire(timeout=POLL_SECONDS):
        if session.stop.is_set():
            raise Cancelled


class _Work:
    """One run; `state` may be read at any time."""

    def __init__(self, shop: Workshop, session: Session, settings: Settings, example: bool) -> None:
        self._shop, self._session, self._settings, self._example = shop, session, settings, example
        self.state = State("waiting", "Waiting for a free worker")
        self.ended = threading.Event()
        self._known = True  # whether it is known how many frames there are

    def start(self) -> None:
        """Takes the session at once, so that whoever stops it from now on is heard; the rest is done by a thread."""
        with contextlib.ExitStack() as taken:
            folder = taken.enter_context(self._session.working())
            threading.Thread(
                target=self._run, args=(folder, taken.pop_all()), name="microexpr-page-work", daemon=True
            ).start()

    def _run(self, folder: Path, taken: contextlib.ExitStack) -> None:
        try:
            with taken:
                self.state = self._answer(folder)
        finally:
            self.ended.set()
            gc.collect()  # a decoded frame that only the collector can free stays behind

    def _answer(self, folder: Path) -> State:
        try:
            with self._shop.worker(self._session):
                return State("done", "", found=self._recognized(folder))
        except Cancelled:
            last = State("cancelled", "Cancelled. Nothing of it was kept.")
        except Exception as error:
            last = State("failed", told(error, self._session))
        shutil.rmtree(folder, ignore_errors=True)
        return last

    def _recognized(self, folder: Path) -> Found:
        session, asked = self._session, self._settings
        self.state = State("working", "Opening the video")
        file = self._shop.example(session, self._progress) if self._example else session.video
        if file is None:
            raise BadInput("a video", "none", "drop one, or choose the rendered example")
        source = open_source(file, asked.fps)
        self._shop.limits.check_video(source.size, source.expected)
        self._known = bool(source.expected)
        pictures: dict[int, Pictures] = {}

        def keep(event: Event, evidence: Evidence) -> None:
            if len(pictures) < PICTURED:
                pictures[event.onset] = draw(evidence, folder, len(pictures) + 1, asked.magnify)

        recording = videos.recognize(
            source,
            folder / "result",
            weights=asked.weights,
            detector=asked.detector,
            magnify=asked.magnify,
            evidence=keep,
            progress=self._progress,
        )
        found = Found(file.name, recording, pictures, _archive(recording, folder), asked)
        session.files = {one.name: one for one in _shared(found)}
        return found

    def _progress(self, step: str, done: int, total: int) -> None:
        if self._session.stop.is_set():
            raise Cancelled
        if step == "recognize":
            self._shop.limits.check_frames(done)
            total = total if self._known else 0
        self.state = replace(self.state, words=STEPS.get(step, step), done=done, total=total)


def _archive(recording: videos.Recording, folder: Path) -> Path | None:
    """Plates, films and the timeline in one file; they are packed already, so they are only put together."""
    films = [*_listed(recording, "plates"), *_listed(recording, "magnified")]
    if not films:
        return None
    archive = folder / "plates.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as pack:
        for file in [*films, *_listed(recording, "timeline")]:
            pack.write(file, file.relative_to(folder / "result"))
    return archive


def _listed(recording: videos.Recording, kind: str) -> list[Path]:
    files = recording.files.get(kind, [])
    return [files] if isinstance(files, Path) else files


def _shared(found: Found) -> Iterable[Path]:
    """What the page may fetch."""
    for kind in ("events", "table", "video", "timeline", "magnified"):
        yield from _listed(found.recording, kind)
    if found.archive:
        yield found.archive
    for one in found.pictures.values():
        yield from (one.onset, one.apex, one.magnified, one.flow)


def told(error: Exception, session: Session) -> str:
    """An error in one line, without our folders in it; one that nobody foresaw is logged."""
    if isinstance(error, MicroexprError):
        words = str(error)
    elif isinstance(error, OSError):
        words = f"a file can't be written or read: {error.strerror or error}; see whether the disk is full"
    else:
        logging.getLogger(__name__).error("unexpected", exc_info=error)
        words = f"unexpected {type(error).__name__}: {error}; please report it, with what the terminal says"
    for theirs, here in ADVICE.items():
        words = words.replace(theirs, here)
    ours = re.escape(str(session.folder)) + r"[/\\](?:[\w-]+[/\\])?"
    return " ".join(re.sub(ours, "", words).split())
