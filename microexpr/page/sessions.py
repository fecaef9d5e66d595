"""Who is at the page, and what belongs to whom: a folder for each open page, which goes when the page does.

Everything lies in one folder of the system's temporary folder that only this user can read. Nothing that a visitor
sends becomes a path: uploads get a name of ours, and what can be fetched is looked up by name, never on the disk.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import stat
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from microexpr.errors import BadInput

PREFIX = "microexpr-page-"
SWEEP_SECONDS = 20.0  # between two looks for what was left behind
# A server's folder that nobody holds and nobody has touched for so long is nobody's. Where files can't be locked, only
# the second counts.
DEAD_SECONDS = 600.0 if sys.platform == "win32" else 10.0
CLOSED = "This page was closed or left alone for long. Load it again."  # to a page whose session is gone
LONGEST_NAME = 100  # bytes; file systems take 255, and some of ours are longer by a suffix
ENDING_SECONDS = 15.0  # that work may take to notice that it is to stop
DEVICES = re.compile(r"(con|prn|aux|nul|conin|conout|(com|lpt)[0-9¹²³])[ .]*(\.|$)", re.IGNORECASE)  # on Windows


class Session:
    """One open page.

    Attributes:
        token: what its addresses begin with; only its page knows it.
        folder: everything of it.
        video: what was uploaded, under a name like the one it came with.
        files: name in the address -> file, of the result.
        watching: set while a camera or the example runs in the tab Live.
        stop: set when the work under way is no longer wanted.
    """

    def __init__(self, root: Path) -> None:
        self.token = secrets.token_urlsafe(18)
        self.folder = root / secrets.token_hex(12)
        self.folder.mkdir()
        self.video: Path | None = None
        self.files: dict[str, Path] = {}
        self.watching = threading.Event()
        self._report: Path | None = None
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._busy = self._closed = False
        self._number = self._kept = 0  # of the latest upload, and of the one whose video it is
        self.touch()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def busy(self) -> bool:
        return self._busy

    def touch(self) -> None:
        """It is in use."""
        self.touched = time.monotonic()

    def file(self, name: str) -> Path | None:
        """What may be fetched under a name; None where there is nothing."""
        report = self._report
        return report if report and name == report.name else self.files.get(name)

    def keep_report(self, page: str) -> str:
        """Keeps a report in the place of the one before, and says its name."""
        with self._lock:
            self._require_open()
            self._report = self.folder / "report.html"
            self._report.write_text(page, encoding="utf-8")
            return self._report.name

    @contextlib.contextmanager
    def working(self) -> Generator[Path]:
        """While a video is worked on: an empty folder for what is made, in the place of that of the work before.

        Raises:
            BadInput: another one is worked on, or the page was closed.
        """
        with self._lock:
            self._require_open()
            if self._busy:
                raise BadInput("one video at a time", "another one under way", "wait for it or cancel it")
            place = self._emptied("result")
            self._busy = True
            self.stop.clear()
            self.files = {}
        try:
            yield place
        finally:
            with self._lock:
                self._busy = False
                self.touch()
                if self._closed:
                    self._remove()

    @contextlib.contextmanager
    def receiving(self, name: str) -> Generator[tuple[BinaryIO, Path]]:
        """A file for an upload; an error in the block, or a later upload that was quicker, removes it.

        Args:
            name: as the visitor's file is called; the file gets one like it that is safe.

        Raises:
            BadInput: a video is worked on, the page was closed, or a later upload was quicker.
        """
        with self._lock:
            self._require_idle()
            self._number += 1
            number = self._number
            place = self.folder / f"upload-{number}"
            place.mkdir()
        file = place / safe_name(name)
        try:
            with file.open("wb") as stream:
                yield stream, file
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        with self._lock:
            self.touch()
            try:
                self._require_idle()
                if number < self._kept:
                    raise BadInput("the video that was chosen last", "one that was chosen before it", "choose it again")
            except BadInput:
                shutil.rmtree(place, ignore_errors=True)
                raise
            before, self.video, self._kept = self.video, file, number
            if before is not None:
                shutil.rmtree(before.parent, ignore_errors=True)

    def close(self) -> None:
        """Stops the work and removes all files; what is at work removes them when it has noticed."""
        with self._lock:
            self.stop.set()
            self._closed = True
            self.files, self.video = {}, None
            if not self._busy:
                self._remove()

    def _require_open(self) -> None:
        if self._closed:
            raise _closed()

    def _require_idle(self) -> None:
        self._require_open()
        if self._busy:
            raise BadInput("no upload while a video is worked on", "one", "wait for the result or cancel it")

    def _emptied(self, name: str) -> Path:
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """All open pages; a context manager that removes everything at its end.

    Args:
        idle_minutes: a page that was not used for longer loses its files.

    Attributes:
        root: the folder of all files.
    """

    def __init__(self, idle_minutes: float = 120.0) -> None:
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._alive = _held(self.root / "alive")
        self._idle = 60 * idle_minutes
        self._lock = threading.Lock()
        self._by_page: dict[str, Session] = {}
        self._by_token: dict[str, Session] = {}
        self._end = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="microexpr-page-sweeper", daemon=True)

    def __enter__(self) -> Sessions:
        _remove_dead(self.root)
        self._sweeper.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        with self._lock:
            found = list(self._by_page.values())
            self._by_page, self._by_token = {}, {}
        for session in found:
            session.close()
        deadline = time.monotonic() + ENDING_SECONDS
        while any(one.busy or one.watching.is_set() for one in found) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._sweeper.join()
        self._alive.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._by_page)

    def of_page(self, page: str) -> Session:
        """The session of an open page, by the name that Gradio has for it; a new one where there is none."""
        with self._lock:
            session = self._by_page.get(page)
            if session is None or session.closed:
                session = Session(self.root)
                self._by_page[page] = self._by_token[session.token] = session
            session.touch()
            return session

    def open_page(self, page: str) -> Session:
        """The session that an open page has already.

        Raises:
            BadInput: it was removed, for it was left alone for long.
        """
        with self._lock:
            session = self._by_page.get(page)
            if session is None:
                raise _closed()
            session.touch()
            return session

    def of_token(self, token: str) -> Session | None:
        """The session whose addresses begin with this token."""
        with self._lock:
            session = self._by_token.get(token)
            if session:
                session.touch()
            return session

    def leave(self, page: str) -> None:
        """The page was closed."""
        with self._lock:
            session = self._by_page.pop(page, None)
            if session:
                self._by_token.pop(session.token, None)
        if session:
            session.close()

    def remove_idle(self) -> None:
        """Closes what was not used for long."""
        now = time.monotonic()
        with self._lock:
            idle = [page for page, one in self._by_page.items() if not one.busy and now - one.touched > self._idle]
        for page in idle:
            self.leave(page)

    def _sweep(self) -> None:
        while not self._end.wait(SWEEP_SECONDS):
            self.remove_idle()
            with contextlib.suppress(OSError):
                (self.root / "alive").touch()
            if sys.platform != "win32":  # without locks, one that slept with the machine would look dead
                _remove_dead(self.root)


def _closed() -> BadInput:
    return BadInput("an open page", "one that was closed or left alone for long", "load it again")


def _held(file: Path) -> BinaryIO:
    """A file that is locked until it is closed or the process ends, however it ends."""
    stream = file.open("wb")
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX)
    return stream


def _remove_dead(own: Path) -> None:
    """Removes what servers that were killed left behind."""
    for folder in own.parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # gone already
            if folder != own and _is_dead(folder, own.stat().st_uid):
                shutil.rmtree(folder, ignore_errors=True)


def _is_dead(folder: Path, user: int) -> bool:
    """Whether this user's server that has the folder is no more."""
    about, alive = folder.lstat(), folder / "alive"
    if about.st_uid != user or not stat.S_ISDIR(about.st_mode):  # what others put there may be a trap
        return False
    there = alive.is_file()
    touched = alive.stat().st_mtime if there else about.st_mtime
    if time.time() - touched <= DEAD_SECONDS:
        return False
    if there and sys.platform != "win32":
        import fcntl

        with alive.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True


def safe_name(name: str) -> str:
    """A file name like the given one: letters and digits of any script, `` ._-``; no folder, not hidden, not long.

    Nor one that Windows takes for a device.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    plain = re.sub(r"[^\w. -]+", "_", last).strip(" ._-")
    stem, dot, suffix = plain.rpartition(".")
    if not dot or len(suffix) > 8:
        stem, suffix = plain, ""
    room = LONGEST_NAME - len(suffix.encode()) - 1
    stem = stem.encode()[:room].decode(errors="ignore").strip(" ._-") or "video"
    if DEVICES.match(stem):
        stem = "video"
    return f"{stem}.{suffix}" if suffix else stem
