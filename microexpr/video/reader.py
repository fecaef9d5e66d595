"""Frames read ahead in a thread of their own, so that decoding and recognizing go on at once.

The queue between them is bounded. A file waits where the reader is too quick; a camera can't, so what does not fit is
dropped and counted.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Generator

from microexpr.video.source import Frame, Source

QUEUED = 16  # frames
# Videos that go through at this moment, and OpenCV's threads before the first of them: the setting is the process's.
_LOCK, _USERS, _BEFORE = threading.Lock(), list[None](), [1]


@contextlib.contextmanager
def one_opencv_thread() -> Generator[None]:
    """OpenCV with one thread while a video goes through, and as before afterwards.

    Pictures of a face are small: more threads wait for one another, and for the thread that decodes (3.3 ms a frame
    instead of 2.3 on two cores).
    """
    import cv2

    with _LOCK:
        if not _USERS:
            _BEFORE[0] = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _USERS.append(None)
    try:
        yield
    finally:
        with _LOCK:
            _USERS.pop()
            if not _USERS:
                cv2.setNumThreads(_BEFORE[0])


class Ahead:
    """The frames of a source, once, each with the time at which it came.

    Args:
        source: what is read.
        live: frames come when their time has come, and one that finds the queue full is dropped; a file is paced at
            its own rate, a camera paces itself.
        queued: largest number of frames that wait.

    Attributes:
        dropped: frames that were dropped so far.
    """

    def __init__(self, source: Source, live: bool = False, queued: int = QUEUED) -> None:
        self._source, self._live = source, live
        self._queue: queue.Queue[tuple[Frame, float] | BaseException | None] = queue.Queue(queued)
        self._stop = threading.Event()
        self.dropped = 0

    def frames(self) -> Generator[tuple[Frame, float]]:
        """Frame and arrival (seconds of `time.perf_counter`); the thread ends when the iterator ends or is dropped.

        Raises:
            BadInput: what reading the source raised.
        """
        thread = threading.Thread(target=self._read, name="microexpr-reader", daemon=True)
        thread.start()
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._stop.set()
            thread.join()

    def _read(self) -> None:
        last: BaseException | None = None
        try:
            with contextlib.closing(self._source.frames()) as frames:  # type: ignore[type-var]  # a generator
                start = None
                for frame in frames:
                    if start is None:  # the clock of a file may begin anywhere
                        start = time.perf_counter() - frame.seconds
                    if self._live and self._stop.wait(max(0.0, start + frame.seconds - time.perf_counter())):
                        return
                    self._hand_over(frame)
                    if self._stop.is_set():
                        return
        except BaseException as error:  # told where the frames are taken
            last = error
        self._put(last)

    def _hand_over(self, frame: Frame) -> None:
        item = frame, time.perf_counter()
        if not self._live:
            self._put(item)
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped += 1

    def _put(self, item: tuple[Frame, float] | BaseException | None) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return
