"""The verbs that take a video: `stream`, `recognize`, `spot` and `live`.

All of them feed one `video.recognizer.Recognizer`: ``recognize(video).events`` is ``list(stream(video))``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from microexpr.classifier import WeightsClassifier, classifier
from microexpr.errors import BadInput
from microexpr.faces.detect import Detector
from microexpr.spotting.intervals import Spotting
from microexpr.types import Event
from microexpr.video.given import GivenClip
from microexpr.video.output import Output
from microexpr.video.recognizer import Evidence, Recognizer
from microexpr.video.source import Source, open_source
from microexpr.video.track import Track
from microexpr.video.tracking import ALIGNED_SIZE, MOTION_SIZE

Given = Path | str | np.ndarray | Sequence[np.ndarray] | int | Source
Progress = Callable[[str, int, int], None]
PROGRESS_STEP = 25  # frames


@dataclass(frozen=True, eq=False)
class Recording:
    """What `recognize` found.

    Attributes:
        events: in the order of their ends.
        warnings: plain sentences about the video and the search.
        about: source, rates, detector, method, settings and versions.
        track: time, face box and motion of every frame.
        files: what was written: "events", "table", "video", "timeline" and "plates".
    """

    events: list[Event]
    warnings: list[str]
    about: dict[str, Any]
    track: Track = field(repr=False)
    files: dict[str, Path | list[Path]] = field(default_factory=dict)


def stream(
    given: Given,
    *,
    fps: float | None = None,
    weights: Path | str | None = None,
    method: str | None = None,
    detector: str = "haar",
    detector_options: Mapping[str, Any] | None = None,
    spotting: Spotting | None = None,
) -> Generator[Event]:
    """The facial movements of a video, each as soon as it has ended.

    Arguments as in `recognize`. Memory stays bounded however long the video is.

    Raises:
        BadInput: the video can't be read, or there was no face in any frame.
    """
    source = _source(given, fps)
    recognizer = Recognizer(_detector(detector, detector_options), classifier(weights, method), spotting)
    with contextlib.closing(_events(source, recognizer)) as events:
        yield from events


def recognize(
    given: Given,
    out: Path | str | None = None,
    *,
    fps: float | None = None,
    weights: Path | str | None = None,
    method: str | None = None,
    detector: str = "haar",
    detector_options: Mapping[str, Any] | None = None,
    spotting: Spotting | None = None,
    onset: int | None = None,
    apex: int | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Finds the facial movements of a video and names the emotion of the micro-expressions among them.

    Args:
        given: a video file, a folder of pictures, an array "frame h w 3" of RGB, or a `Source`.
        out: a folder for events.json, events.csv, the annotated video, a timeline and a plate for each event; None
            writes nothing.
        fps: frames a second; needed for pictures, and for files that state a wrong rate.
        weights: a file of trained weights, or the name of weights that come with the package.
        method: the weights of this method that come with the package.
        detector, detector_options: see `faces.detect.detector`.
        spotting: thresholds and durations.
        onset: number of the frame at which the movement begins, where it is known: then only this one is judged, by
            the frame of the largest motion in the half second after it.
        apex: number of the frame at which it is largest, where that is known too.
        progress: called with (step, done, total).

    Raises:
        BadInput: the video can't be read, no frame has a face, or onset and apex are not frames of it.
        UnknownName: no such detector, weights or method.
    """
    named = classifier(weights, method)
    return _recorded(given, out, fps, named, detector, detector_options, spotting, onset, apex, progress)


def spot(
    given: Given,
    *,
    fps: float | None = None,
    detector: str = "haar",
    detector_options: Mapping[str, Any] | None = None,
    spotting: Spotting | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Finds the facial movements of a video without naming what they show. Arguments as in `recognize`."""
    return _recorded(given, None, fps, None, detector, detector_options, spotting, None, None, progress)


def live(
    given: Given = 0,
    record: Path | str | None = None,
    *,
    fps: float | None = None,
    weights: Path | str | None = None,
    method: str | None = None,
    detector: str = "haar",
    detector_options: Mapping[str, Any] | None = None,
    spotting: Spotting | None = None,
    each: Callable[[Event, float], object] = lambda event, latency: None,
    begun: Callable[[], object] = lambda: None,
) -> Recording:
    """Recognizes a camera, or a file paced at its own rate, until it ends or Ctrl-C is pressed.

    What the recognizer is too slow for is dropped and counted, never queued up.

    Args:
        given: the number of a camera, or what `recognize` takes.
        record: a folder for events.json, events.csv, a timeline, a plate for each event and the video itself; None
            writes nothing.
        each: called with every event when it is found, and its latency: seconds from the arrival of the frame that
            ended it.
        begun: called when everything is ready, before the first frame.
        fps, weights, method, detector, detector_options, spotting: see `recognize`; a camera is asked for `fps`.

    Returns:
        The events; ``about`` has "dropped" and "latency_ms", the time from a frame's arrival to its answer.

    Raises:
        BadInput: no such camera or file, or no face in any frame.
    """
    from microexpr.video.reader import Ahead, one_opencv_thread

    source = _source(given, fps)
    named = classifier(weights, method)
    finder = _detector(detector, detector_options)
    output = None if record is None else Output(Path(record), given)
    _warm_up(named)
    recognizer = Recognizer(finder, named, spotting, keep=output is not None)
    ahead = Ahead(source, live=True)
    track, events, latencies = Track(), [], Latencies()
    begun()
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_opencv_thread())
        frames = stack.enter_context(contextlib.closing(ahead.frames()))
        video = stack.enter_context(output.recording(source)) if output else None
        with contextlib.suppress(KeyboardInterrupt):
            for frame, arrival in frames:
                for event in recognizer.push(frame):
                    events.append(event)
                    each(event, time.perf_counter() - arrival)
                    if output:
                        output.keep(event, recognizer.evidence(event), track, named.name)
                latencies.add(time.perf_counter() - arrival)
                _add(track, recognizer)
                if video:
                    video.write(frame.image, frame.seconds)
    for event in recognizer.flush():
        events.append(event)
        each(event, 0.0)
        if output:
            output.keep(event, recognizer.evidence(event), track, named.name)
    if not recognizer.faces:
        raise no_face(source, recognizer)
    warnings = [*source.warnings, *recognizer.notes, *_lost(track)]
    if ahead.dropped:
        warnings.append(f"{ahead.dropped} of {ahead.dropped + recognizer.frames} frames were dropped")
    about = {
        **_about(source, recognizer, finder, named, spotting),
        "dropped": ahead.dropped,
        "latency_ms": latencies.summary(),
        "warnings": warnings,
    }
    files = output.finish(source, events, about, track, annotated=False) if output else {}
    return Recording(events, warnings, about, track, files)


class Latencies:
    """How long answers took: counts in bins of 0.1 ms, so that memory stays bounded. Seconds in, milliseconds out."""

    BINS = 20_000

    def __init__(self) -> None:
        self._counts = np.zeros(self.BINS + 1, np.int64)

    def add(self, seconds: float) -> None:
        self._counts[min(int(seconds * 10_000), self.BINS)] += 1

    def summary(self) -> dict[str, float]:
        """Median and 99th percentile; what took longer than two seconds counts as two."""
        total = self._counts.cumsum()
        if not total[-1]:
            return {}
        return {f"p{q}": float(np.searchsorted(total, q / 100 * total[-1]) + 1) / 10 for q in (50, 99)}


def _recorded(
    given: Given,
    out: Path | str | None,
    fps: float | None,
    named: WeightsClassifier | None,
    detector: str,
    detector_options: Mapping[str, Any] | None,
    spotting: Spotting | None,
    onset: int | None,
    apex: int | None,
    progress: Progress | None,
) -> Recording:
    if apex is not None and (onset is None or apex <= onset):
        first = "no onset" if onset is None else f"onset {onset}"
        raise BadInput("an onset before the apex", f"{first}, apex {apex}", "give both, --onset N --apex N")
    source = _source(given, fps)
    output = None if out is None else Output(Path(out), given)
    finder = _detector(detector, detector_options)
    recognizer: Recognizer | GivenClip
    if onset is None:
        recognizer = Recognizer(finder, named, spotting, keep=output is not None)
    else:
        recognizer = GivenClip(finder, onset, apex, named, spotting, keep=output is not None)
    track = Track()

    def each(recognizer: Recognizer | GivenClip) -> None:
        _add(track, recognizer)
        if progress and len(track) % PROGRESS_STEP == 0:
            progress("recognize" if named else "spot", len(track), max(source.expected or 0, len(track)))

    events = []
    for event in _events(source, recognizer, each):
        events.append(event)
        if output:
            output.keep(event, recognizer.evidence(event), track, named.name if named else "")
    warnings = [*source.warnings, *recognizer.notes, *(_lost(track) if onset is None else [])]
    about = {**_about(source, recognizer, finder, named, spotting), "warnings": warnings}
    files = output.finish(source, events, about, track, progress=progress) if output else {}
    return Recording(events, warnings, about, track, files)


def _add(track: Track, recognizer: Recognizer | GivenClip) -> None:
    """The frame that was pushed last."""
    tracked = recognizer.tracked
    assert tracked is not None  # for the type checker: a frame was pushed
    box = tracked.box
    place = None if box is None else (box.x, box.y, box.width, box.height)
    track.add(tracked.frame.index, tracked.frame.seconds, place, recognizer.level, recognizer.threshold)


def _lost(track: Track) -> list[str]:
    """What to say of frames without a face, or with one that could not be followed."""
    without = ~track.has_face
    if not without.any():
        return []
    first = float(track.seconds[without][0])
    return [
        f"in {without.sum()} of {len(track)} frames no face could be followed, the first at {first:.3f} s; "
        "movements there are not found"
    ]


def _about(
    source: Source,
    recognizer: Recognizer | GivenClip,
    finder: Detector,
    named: WeightsClassifier | None,
    spotting: Spotting | None,
) -> dict[str, Any]:
    """What the events come from, for the files."""
    from microexpr.evaluation.record import versions

    weights = named and {
        "method": named.name,
        "classes": list(named.classes),
        "temperature": named.temperature,
        "abstains_under": named.threshold,
        "flow_mode": named.flow_mode,
    }
    return {
        "source": source.name,
        "size": list(source.size),
        "frames": recognizer.frames,
        "frames_with_face": recognizer.faces,
        "header_fps": source.header_fps,
        "effective_fps": source.effective_fps,
        "detector": f"{finder.name} ({finder.version})",
        **(weights or {}),
        "spotting": asdict(spotting or Spotting()),
        "versions": versions(),
    }


def _source(given: Given, fps: float | None) -> Source:
    if isinstance(given, Source) and fps is not None:
        raise BadInput("fps= where the source is opened", f"an open source and fps={fps:g}", "open_source(given, fps)")
    return given if isinstance(given, Source) else open_source(given, fps)


def _warm_up(named: WeightsClassifier) -> None:
    """Does once what takes a second the first time, so that a camera's first frames need not wait for it."""
    from microexpr.motion.flow import flow_between

    first, second = np.random.default_rng(0).integers(0, 256, (2, ALIGNED_SIZE, ALIGNED_SIZE, 3), np.uint8)
    gray = (np.ascontiguousarray(picture[:MOTION_SIZE, :MOTION_SIZE, 0]) for picture in (first, second))
    flow_between(*gray)
    named(Evidence(first, second, flow_between(first, second, mode=named.flow_mode)))


def _detector(name: str, options: Mapping[str, Any] | None) -> Any:
    from microexpr.faces.detect import detector

    return detector(name, **(options or {}))


def _events(
    source: Source,
    recognizer: Recognizer | GivenClip,
    each: Callable[[Recognizer | GivenClip], object] = lambda recognizer: None,
) -> Generator[Event]:
    """Feeds a source to a recognizer, read ahead in a thread; `each` is called after every frame.

    Raises:
        BadInput: no face in any frame.
    """
    from microexpr.video.reader import Ahead, one_opencv_thread

    with one_opencv_thread(), contextlib.closing(Ahead(source).frames()) as frames:
        for frame, _ in frames:
            events = recognizer.push(frame)
            each(recognizer)
            yield from events
    yield from recognizer.flush()
    if not recognizer.faces:
        raise no_face(source, recognizer)


def no_face(source: Source, recognizer: Recognizer | GivenClip) -> BadInput:
    """The error for a video without a face."""
    said, other = f": {recognizer.notes[0]}" if recognizer.notes else "", ""
    if not said:
        other = ", try another --detector, or --detector precropped for face crops"
    advice = f"film the face from the front in good light{other}"
    return BadInput(f"a face in {source.name}", f"none in {recognizer.frames} frames{said}", advice)
