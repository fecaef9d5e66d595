"""Which page watches what, and which camera is taken."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from microexpr.errors import BadInput
from microexpr.page.limits import Limits, typed_rate
from microexpr.page.live import Asked, LiveRun
from microexpr.page.sessions import Session
from microexpr.page.work import Workshop

CAMERAS = 100  # from there on OpenCV takes a number for something else


class Studio:
    """Whose run is whose, and which camera is taken.

    Args:
        shop: which has the example.
        limits: as many runs go on at once as there are workers.
    """

    def __init__(self, shop: Workshop, limits: Limits) -> None:
        self._shop, self._limits = shop, limits
        self._lock = threading.Lock()
        self._runs: WeakKeyDictionary[Session, LiveRun] = WeakKeyDictionary()

    def of(self, session: Session) -> LiveRun | None:
        """The run of a page, under way or ended; None where there was none."""
        return self._runs.get(session)

    def start(self, session: Session, asked: Asked) -> LiveRun:
        """Begins a run in the place of the one before.

        Raises:
            BadInput: the page has one under way, another one has the camera, or too many go on.
        """
        with self._lock:
            going = [one for one in self._runs.values() if not one.ended.is_set()]
            before = self._runs.get(session)
            if before in going:
                raise BadInput("one live run on a page", "another one under way", "stop it first")
            same = [one for one in going if asked.camera is not None and one.asked.camera == asked.camera]
            if any(one.wanted for one in same):
                got = f"camera {asked.camera}, which another page of this program shows"
                raise BadInput("a camera that is free", got, "stop it there, or choose another number")
            wanted = sum(one.wanted for one in going)
            if wanted >= self._limits.workers:
                raise BadInput("a free place", f"{wanted} live runs on other pages", "stop one of them")
            run = self._runs[session] = LiveRun(session, self._shop, self._limits, asked, same)
            run.begin()
            return run

    def stop(self, session: Session) -> None:
        """Ends the run of a page, if there is one."""
        run = self.of(session)
        if run:
            run.stop.set()


def chosen(source: str, camera: str = "", fps: str = "") -> Asked:
    """What a visitor asks for, checked.

    Args:
        source: "camera" or "example"; there is no other.
        camera: its number.
        fps: frames a second; empty for the camera's own rate.

    Raises:
        BadInput: none of these.
    """
    if source == "example":
        return Asked(None)
    if source != "camera":
        raise BadInput("a camera or the example", repr(source[:40]), "choose one of them")
    if not (camera.isascii() and camera.isdecimal() and len(camera) < 9 and int(camera) < CAMERAS):
        raise BadInput(f"the number of a camera, 0 to {CAMERAS - 1}", repr(camera[:40]), "the first one is 0")
    return Asked(int(camera), typed_rate(fps))
