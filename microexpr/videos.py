"""The verbs that take a video: `stream`, `recognize`, `spot` and `live`.

All of them feed one `video.recognizer.Recognizer`: ``recognize(video).events`` is ``list(stream(video))``.
"""

from __future__ import annotations

import contextlib
import math
import time
import warnings as python_warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from microexpr.classifier import WeightsClassifier, classifier
from microexpr.errors import BadInput
from microexpr.faces.detect import Detector
from microexpr.spotting.answers import Spotting
from microexpr.types import Event
from microexpr.video.feed import Unseen, add_to, box_of, events_of, last_of, no_face
from microexpr.video.given import GivenClip
from microexpr.video.latency import Latencies
from microexpr.video.output import Output
from microexpr.video.reader import Ahead, one_opencv_thread
from microexpr.video.recognizer import Evidence, Recognizer
from microexpr.video.source import Source, open_source
from microexpr.video.track import Box, Track
from microexpr.video.tracking import ALIGNED_SIZE, MOTION_SIZE, Tracked

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
        files: what was written: "events", "table", "video", "timeline", "plates" and "magnified".
    """

    events: list[Event]
    warnings: list[str]
    about: dict[str, Any]
    track: Track = field(repr=False)
    files: dict[str, Path | list[Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """How a live run stands after a frame.

    Attributes:
        seconds: of the frame, on the source's clock, from the first one.
        level, threshold: motion of the region that stands out most, and what it has to exceed, pixels; NaN without a
            face.
        frames, dropped: answered and dropped so far.
        latency: seconds from the arrival of the frame to its answer.
        box: the face: left, top, width and height, frame pixels; None without one.
    """

    seconds: float
    level: float
    threshold: float
    frames: int
    dropped: int
    latency: float
    box: Box | None


def _warn(sentence: str) -> None:
    python_warnings.warn(sentence, UserWarning, stacklevel=2)


def stream(
    given: Given,
    *,
    fps: float | None = None,
    weights: Path | str | None = None,
    method: str | None = None,
    detector: str = "haar",
    detector_options: Mapping[str, Any] | None = None,
    spotting: Spotting | None = None,
    warn: Callable[[str], object] = _warn,
) -> Generator[Event]:
    """The facial movements of a video, each as soon as it has ended.

    Memory stays bounded however long the video is.

    Args:
        given, fps, weights, method, detector, detector_options, spotting: see `recognize`.
        warn: called once with each sentence that `recognize` gives as a warning, as soon as it is known: of the face
            while the video runs, of the video after its last frame. By default it is a `UserWarning` of Python's.

    Raises:
        BadInput: the video can't be read, or there was no face in any frame.
    """
    source = _source(given, fps)
    recognizer = Recognizer(_detector(detector, detector_options), classifier(weights, method), spotting)
    unseen, told = Unseen(), 0

    def each(tracked: Tracked) -> None:
        nonlocal told
        unseen.add(tracked)
        while told < len(recognizer.notes):
            told += 1
            warn(recognizer.notes[told - 1])

    with contextlib.closing(events_of(source, recognizer, each)) as events:
        yield from events
    for sentence in [*source.warnings, *unseen.sentences()]:
        warn(sentence)


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
    magnify: float | None = None,
    evidence: Callable[[Event, Evidence], object] | None = None,
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
        magnify: also writes a film of each micro-expression with its motion so many times as large, see
            `motion.magnify`; needs `out`.
        evidence: called with each event that was judged and the pictures that it was judged by, as soon as it is found.
        progress: called with (step, done, total).

    Raises:
        BadInput: the video can't be read, no frame has a face, or onset and apex are not frames of it.
        UnknownName: no such detector, weights or method.
    """
    if magnify is not None and out is None:
        raise BadInput("an output folder for magnified films", "none", "give one: --out DIR")
    named = classifier(weights, method)
    return _recorded(
        given, out, fps, named, detector, detector_options, spotting, onset, apex, progress, magnify, evidence
    )


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
    status: Callable[[Status], object] | None = None,
) -> Recording:
    """Recognizes a camera, or a file paced at its own rate, until it ends or Ctrl-C is pressed.

    What the recognizer is too slow for is dropped and counted, never queued up.

    Args:
        given: the number of a camera, or what `recognize` takes.
        record: a folder for events.json, events.csv, a timeline, a plate for each event and the video itself, which
            begins at zero and is kept where an error ends the run, which gets a note that says so; None writes
            nothing.
        each: called with every event when it is found, and its latency: seconds from the arrival of the frame that
            ended it.
        begun: called when everything is ready, before the first frame.
        status: called after every frame, before the next one is taken: be quick.
        fps, weights, method, detector, detector_options, spotting: see `recognize`; a camera is asked for `fps`.

    Returns:
        The events; ``about`` has "dropped" and "latency_ms", the time from a frame's arrival to its answer.

    Raises:
        BadInput: no such camera or file, no face in any frame, or there is a recording in the folder already.
    """
    source = _source(given, fps)
    named = classifier(weights, method)
    finder = _detector(detector, detector_options)
    track, events, latencies, unseen = Track(), list[Event](), Latencies(), Unseen()
    begin = math.nan
    with contextlib.ExitStack() as stack:
        output = None if record is None else stack.enter_context(Output(Path(record), given, records=True))
        recognizer = Recognizer(finder, named, spotting, keep=output is not None)
        ahead = Ahead(source, live=True)

        def found(event: Event, latency: float) -> None:
            events.append(event)
            each(event, latency)
            if output:
                output.keep(event, recognizer.evidence(event), track, named.name)

        _warm_up(named)
        begun()
        with contextlib.ExitStack() as running:
            running.enter_context(one_opencv_thread())
            frames = running.enter_context(contextlib.closing(ahead.frames()))
            video = running.enter_context(output.recording(source)) if output else None
            with contextlib.suppress(KeyboardInterrupt):
                for frame, arrival in frames:
                    begin = frame.seconds if math.isnan(begin) else begin
                    for event in recognizer.push(frame):
                        found(event, time.perf_counter() - arrival)
                    latency = time.perf_counter() - arrival
                    latencies.add(latency)
                    if status:
                        now, level, threshold = frame.seconds - begin, recognizer.level, recognizer.threshold
                        box = box_of(last_of(recognizer))
                        status(Status(now, level, threshold, recognizer.frames, ahead.dropped, latency, box))
                    add_to(track, recognizer)
                    unseen.add(last_of(recognizer))
                    if video:
                        video.write(frame.image, frame.seconds - begin)
        for event in recognizer.flush():
            found(event, 0.0)
        if not recognizer.faces:
            raise no_face(source, recognizer)
        warnings = [*source.warnings, *recognizer.notes, *unseen.sentences()]
        if ahead.dropped:
            warnings.append(f"{ahead.dropped} of {ahead.dropped + recognizer.frames} frames were dropped")
        about = {
            **_about(source, recognizer, finder, named, spotting, track),
            "dropped": ahead.dropped,
            "latency_ms": latencies.summary(),
            "warnings": warnings,
        }
        files = output.finish(source, events, about, track) if output else {}
    return Recording(events, warnings, about, track, files)


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
    magnify: float | None = None,
    evidence: Callable[[Event, Evidence], object] | None = None,
) -> Recording:
    if apex is not None and (onset is None or apex <= onset):
        first = "no onset" if onset is None else f"onset {onset}"
        raise BadInput("an onset before the apex", f"{first}, apex {apex}", "give both, --onset N --apex N")
    source = _source(given, fps)
    finder = _detector(detector, detector_options)
    track, events, unseen = Track(), list[Event](), Unseen()
    with contextlib.ExitStack() as stack:
        output = None if out is None else stack.enter_context(Output(Path(out), given, magnify=magnify))
        recognizer: Recognizer | GivenClip
        if onset is None:
            recognizer = Recognizer(finder, named, spotting, keep=bool(output or evidence))
        else:
            recognizer = GivenClip(finder, onset, apex, named, spotting, keep=bool(output or evidence))

        def each(tracked: Tracked) -> None:
            add_to(track, recognizer)
            unseen.add(tracked)
            if progress and len(track) % PROGRESS_STEP == 0:
                progress("recognize" if named else "spot", len(track), max(source.expected or 0, len(track)))

        for event in events_of(source, recognizer, each):
            events.append(event)
            seen = recognizer.evidence(event)
            if evidence and seen:
                evidence(event, seen)
            if output:
                output.keep(event, seen, track, named.name if named else "")
        warnings = [*source.warnings, *recognizer.notes, *(unseen.sentences() if onset is None else [])]
        about = {**_about(source, recognizer, finder, named, spotting, track), "warnings": warnings}
        files = output.finish(source, events, about, track, progress=progress) if output else {}
    return Recording(events, warnings, about, track, files)


def _about(
    source: Source,
    recognizer: Recognizer | GivenClip,
    finder: Detector,
    named: WeightsClassifier | None,
    spotting: Spotting | None,
    track: Track,
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
        "first_frame_seconds": float(track.seconds[0]),
        "detector": f"{finder.name} ({finder.version})",
        **(weights or {}),
        "spotting": asdict(spotting or Spotting()),
        "versions": versions(),
    }


def _source(given: Given, fps: float | None) -> Source:
    if isinstance(given, Source):
        if fps is not None:
            raise BadInput(
                "fps= where the source is opened", f"an open source and fps={fps}", "open_source(given, fps)"
            )
        return given
    return open_source(given, fps)


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
