"""The only video pipeline: frames in, events out.

`Recognizer` is a state machine that is fed frame by frame: a file, a camera and a page use the same one, and what it
says of a frame never depends on how many follow or how they were handed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, UInt8

from microexpr.faces.align import Registration
from microexpr.faces.detect import Detector, gray
from microexpr.faces.regions import NAMES, NEAR_EYES, region_means
from microexpr.motion.flow import flow_between
from microexpr.spotting.answers import FACE_LOST, FRAMES_MISSING, Interval, Spotting
from microexpr.spotting.intervals import Spotter
from microexpr.types import Event
from microexpr.video.source import Frame
from microexpr.video.tracking import FaceTracker, Light, Tracked, View

KEPT_SECONDS = 0.95  # of views: a micro-expression, and the moment until it is known to have ended
BEFORE_SECONDS = 0.3  # of them before a movement was seen to begin: its onset is found afterwards
NO_IMAGE = np.empty((0, 0, 3), np.uint8)  # an empty slice of a frame would keep all of it
NAMED_REGIONS = 3  # of an event
REGION_SHARE = 0.5  # of the strongest region's motion, which the others that are named reach


@dataclass(frozen=True, eq=False)
class Evidence:
    """What an event was judged by.

    Attributes:
        onset, apex: the aligned face, RGB.
        flow: from the one to the other, pixels of these pictures.
    """

    onset: UInt8[np.ndarray, "224 224 3"]
    apex: UInt8[np.ndarray, "224 224 3"]
    flow: Float32[np.ndarray, "2 224 224"]


@runtime_checkable
class Classifier(Protocol):
    """Names the emotion of a movement; made by `microexpr.classifier.classifier`.

    Attributes:
        name: what goes into the output.
        flow_mode: solver of `motion.flow` for the evidence.
        threshold: a top probability below it is not trusted.
    """

    @property
    def name(self) -> str: ...

    @property
    def flow_mode(self) -> str: ...

    @property
    def threshold(self) -> float: ...

    def __call__(self, evidence: Evidence) -> Mapping[str, float]: ...


class Recognizer:
    """Finds the facial movements of a video and names what they show.

    Args:
        detector: finds the face; see `faces.detect.detector`.
        classifier: names emotions; None finds movements only.
        spotting: thresholds and durations.
        residual: "points", or "off" for the onset frame's crop alone; see `faces.align.Registration`.
        keep: whether `evidence` is kept for every event until it is taken.

    Attributes:
        tracked: the last frame with its face.
        level, threshold: motion of the region that stands out most, and what it has to exceed, pixels; NaN without a
            face.
        notes: what the user should know.
        frames, faces: how many frames came, and in how many there was a face.
    """

    def __init__(
        self,
        detector: Detector,
        classifier: Classifier | None = None,
        spotting: Spotting | None = None,
        *,
        residual: str = "points",
        keep: bool = False,
    ) -> None:
        self._tracker = FaceTracker(detector, residual)
        self._spotter = Spotter(spotting, NEAR_EYES)
        self._classifier = classifier
        self._views: deque[tuple[Frame, View]] = deque()  # frames without their pictures
        self._keep = keep
        self._evidence: dict[int, Evidence] = {}
        self.tracked: Tracked | None = None
        self.frames = 0

    @property
    def level(self) -> float:
        return self._spotter.level

    @property
    def threshold(self) -> float:
        return self._spotter.threshold

    @property
    def notes(self) -> list[str]:
        return self._tracker.notes

    @property
    def faces(self) -> int:
        return self._tracker.faces

    def push(self, frame: Frame) -> list[Event]:
        """One frame; returns the events that have ended with it.

        Raises:
            BadInput: its time is not after that of the frame before.
        """
        self.frames += 1
        tracked = self._tracker.push(frame, not self._spotter.moving)
        self.tracked = tracked
        # Of a movement under way the views that could judge it are kept, however late it is known to have ended.
        begin = self._spotter.begin
        now = frame.seconds if begin is None else min(frame.seconds, begin - BEFORE_SECONDS + KEPT_SECONDS)
        if tracked.view is not None and frame.seconds <= now:
            self._views.append((Frame(frame.index, frame.seconds, NO_IMAGE), tracked.view))
        while self._views and self._views[0][0].seconds < now - KEPT_SECONDS:
            self._views.popleft()
        if tracked.motion is None and not tracked.lost:
            return []  # one frame that could not be registered
        found = self._spotter.push(frame.index, frame.seconds, tracked.motion, tracked.eyes)
        return [self._event(interval) for interval in found]

    def flush(self) -> list[Event]:
        """The end of the video; returns an event that was under way. Then another video may be pushed."""
        events = [self._event(interval) for interval in self._spotter.flush()]
        self._tracker.flush()
        self._views.clear()
        return events

    def evidence(self, event: Event) -> Evidence | None:
        """What an event was judged by, once; None for one that was not classified or whose evidence was taken."""
        return self._evidence.pop(event.onset, None)

    def _event(self, interval: Interval) -> Event:
        event = Event(
            onset=interval.onset,
            apex=interval.apex,
            offset=interval.offset,
            onset_seconds=interval.seconds[0],
            apex_seconds=interval.seconds[1],
            offset_seconds=interval.seconds[2],
            kind=interval.kind,
            strength=interval.strength,
            noise=interval.noise,
            regions=regions_of(interval.motion),
            probabilities={},
        )
        if interval.kind == "macro":
            return replace(event, abstained="longer than a micro-expression")
        if interval.cut is not None and (interval.rising or interval.cut in (FACE_LOST, FRAMES_MISSING)):
            return replace(
                event, abstained=f"{interval.cut} before the movement had {'peaked' if interval.rising else 'ended'}"
            )
        return self._classified(event)

    def _classified(self, event: Event) -> Event:
        if self._classifier is None:
            return replace(event, abstained="not classified")
        onset, apex = self._views_of(event)
        if onset is None or apex is None:
            return replace(event, abstained="its onset and apex lie too far apart to be judged")
        mode = self._classifier.flow_mode
        evidence = between(onset, apex, mode)
        if self._keep:
            self._evidence[event.onset] = evidence
        probabilities = self._classifier(evidence)
        return replace(event, probabilities=probabilities, abstained=unsure(probabilities, self._classifier.threshold))

    def _views_of(self, event: Event) -> tuple[View | None, View | None]:
        """The views of onset and apex; where the onset has another reference, the nearest frame of the apex's own."""
        apex = next((view for frame, view in self._views if frame.index == event.apex), None)
        if apex is None:
            return None, None
        of_reference = [
            (abs(frame.index - event.onset), view) for frame, view in self._views if view.reference == apex.reference
        ]
        return min(of_reference, key=lambda pair: pair[0])[1], apex


def between(onset: View, apex: View, mode: str) -> Evidence:
    """The faces of two frames laid over one another, and the flow between them.

    Both are aligned to the onset frame itself, not to the reference that the face was followed by.
    """
    registration = Registration(onset.picture, onset.face)
    first, second = registration.align(onset.picture).image, registration.align(apex.picture).image
    lit = gray(first).astype(np.float32), Light(gray(first)).matched(gray(second))
    return Evidence(first, second, flow_between(*lit, mode=mode, scale=1))


def unsure(probabilities: Mapping[str, float], threshold: float) -> str | None:
    """Why the top class is not named; None where it is."""
    name, value = max(probabilities.items(), key=lambda pair: pair[1])
    if value >= threshold:
        return None
    return f"unsure: {name} at {100 * value:.0f} %, under {100 * threshold:.0f} %"


def strength_of(flow: Float[np.ndarray, "2 h w"]) -> Float[np.ndarray, " region"]:
    """Motion of every region, less what all regions share, in pixels."""
    vectors = region_means(flow)
    return np.hypot(*(vectors - np.median(vectors, axis=0)).T)


def regions_of(motion: Sequence[float] | Float[np.ndarray, " region"]) -> tuple[str, ...]:
    """The regions that moved most, the strongest first."""
    order = np.argsort(motion)[::-1]
    least = REGION_SHARE * motion[order[0]]
    return tuple(NAMES[i] for i in order[:NAMED_REGIONS] if motion[i] >= least)
