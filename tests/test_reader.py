"""Reading ahead: order, errors, the end of the thread, and what a live source drops."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator

import cv2
import numpy as np
import pytest

from microexpr.errors import BadInput
from microexpr.video._base import Frame, Source
from microexpr.video.reader import Ahead, one_opencv_thread
from microexpr.video.source import open_source

WAIT = 20.0  # seconds, after which a test that would hang fails


class Made(Source):
    """Frames with a hook before each; it notes how many were read and whether it was closed."""

    def __init__(self, count: int, fps: float = 1000.0, before: Callable[[int], object] = lambda number: None) -> None:
        super().__init__("made", (4, 4), fps, count)
        self._length, self._fps, self._before = count, fps, before
        self.read, self.closed = 0, threading.Event()

    def _read(self) -> Generator[Frame]:
        try:
            for number in range(self._length):
                self._before(number)
                self.read += 1
                yield Frame(number, number / self._fps, np.full((4, 4, 3), number % 256, np.uint8))
        finally:
            self.closed.set()


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "microexpr-reader"]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    assert not readers()
    yield
    assert not readers()


@pytest.mark.parametrize("queued", [1, 3, 16])
def test_all_frames_come_in_order_each_with_its_arrival(queued):
    source = Made(60)
    start = time.perf_counter()
    came = list(Ahead(source, queued=queued).frames())
    assert [frame.index for frame, _ in came] == list(range(60))
    assert [frame.image[0, 0, 0] for frame, _ in came] == list(range(60))
    arrivals = [start, *(arrival for _, arrival in came), time.perf_counter()]
    assert arrivals == sorted(arrivals)
    assert source.closed.is_set()
    assert source.count == 60


def test_what_the_source_says_of_itself_is_complete_at_the_end():
    images = np.zeros((3, 4, 4, 3), np.uint8)
    source = open_source(images, fps=10)
    assert len(list(Ahead(source).frames())) == 3
    assert any("10 frames a second" in warning for warning in source.warnings)


@pytest.mark.parametrize("live", [False, True])
def test_an_error_of_the_source_arrives_after_the_frames_before_it(live):
    def fail(number: int) -> None:
        if number == 3:
            raise BadInput("a frame", "a torn one", "copy the file again")

    source = Made(10, before=fail)
    frames = Ahead(source, live).frames()
    assert [next(frames)[0].index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(BadInput, match="got a torn one; copy the file again"):
        next(frames)
    assert source.closed.is_set()


def test_an_error_of_any_kind_is_not_swallowed():
    def fail(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Ahead(Made(1, before=fail)).frames())


def test_an_error_arrives_although_the_queue_is_full():
    failed = threading.Event()

    def fail(number: int) -> None:
        if number == 2:
            failed.set()
            raise BadInput("a frame", "none", "check the camera")

    frames = Ahead(Made(10, before=fail), queued=1).frames()
    assert next(frames)[0].index == 0
    assert failed.wait(WAIT)  # frame 1 fills the queue
    time.sleep(0.15)  # longer than one attempt to put the error in
    assert next(frames)[0].index == 1
    with pytest.raises(BadInput, match="check the camera"):
        next(frames)


@pytest.mark.parametrize("live", [False, True])
def test_dropping_the_iterator_ends_the_thread_and_closes_the_source(live):
    source = Made(100_000)
    with contextlib.closing(Ahead(source, live, queued=2).frames()) as frames:
        next(frames)
        assert len(readers()) == 1
    assert not readers()
    assert source.closed.is_set()
    assert source.read < 100_000


def test_an_error_of_the_consumer_ends_the_thread():
    source = Made(100_000)

    def consume() -> None:
        with contextlib.closing(Ahead(source, queued=2).frames()) as frames:
            for _ in frames:
                raise ValueError("of the consumer")

    with pytest.raises(ValueError, match="of the consumer"):
        consume()
    assert not readers()
    assert source.closed.is_set()


def test_closing_does_not_wait_for_the_time_of_the_next_live_frame():
    frames = Ahead(Made(3, fps=0.02), live=True).frames()  # the second frame is due after 50 s
    next(frames)
    start = time.perf_counter()
    frames.close()
    assert time.perf_counter() - start < 10


def test_a_file_waits_for_a_slow_consumer():
    source = Made(50)
    ahead = Ahead(source, queued=3)
    frames = ahead.frames()
    assert next(frames)[0].index == 0
    time.sleep(0.2)
    assert source.read <= 1 + 3 + 1  # taken, queued, in hand
    assert [frame.index for frame, _ in frames] == list(range(1, 50))
    assert ahead.dropped == 0


def test_live_frames_that_find_the_queue_full_are_dropped_and_counted():
    taken, done = threading.Event(), threading.Event()

    def before(number: int) -> None:
        if number == 1:
            assert taken.wait(WAIT)  # the consumer has frame 0
        if number == 9:
            done.set()

    source = Made(10, fps=1e6, before=before)
    ahead = Ahead(source, live=True, queued=2)
    frames = ahead.frames()
    seen = [next(frames)[0].index]
    taken.set()
    assert done.wait(WAIT)
    assert source.closed.wait(WAIT)
    seen += [frame.index for frame, _ in frames]
    assert seen == [0, 1, 2]
    assert ahead.dropped == 7


def test_a_live_file_is_paced_at_its_own_rate():
    start = time.perf_counter()
    came = list(Ahead(Made(6, fps=40.0), live=True).frames())
    arrivals = np.array([arrival for _, arrival in came])
    assert [frame.index for frame, _ in came] == list(range(6))
    assert (arrivals - start >= np.arange(6) / 40 - 0.002).all()
    start = time.perf_counter()
    assert len(list(Ahead(Made(6, fps=0.1)).frames())) == 6  # 50 s long
    assert time.perf_counter() - start < 10


def test_opencv_has_its_threads_back_when_the_last_of_two_videos_ends():
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        first, second = one_opencv_thread(), one_opencv_thread()
        first.__enter__()
        second.__enter__()
        assert cv2.getNumThreads() == 1
        first.__exit__(None, None, None)
        assert cv2.getNumThreads() == 1
        second.__exit__(None, None, None)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
