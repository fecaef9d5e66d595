"""One movement whose onset is known: judged, not searched for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from microexpr.errors import BadInput
from microexpr.faces.detect import Detector
from microexpr.faces.regions import NEAR_EYES
from microexpr.spotting.intervals import PRIOR_NOISE, Spotting, is_blink
from microexpr.types import Event
from microexpr.video.recognizer import Classifier, Evidence, between, regions_of, strength_of, unsure
from microexpr.video.source import Frame
from microexpr.video.tracking import FaceTracker, Tracked, View

ROUNDING = 1e-6  # seconds; times are quotients, so half a second after an onset may come out a little more or less


class GivenClip:
    """Judges the movement that begins at a given frame; fed like a `Recognizer`.

    Without an apex it is the frame in which regions have moved most, within the longest duration of a micro-expression;
    in a blink the regions beside the eyes don't count.
    The end is not looked for: the event's offset is its apex.

    Args:
        detector: finds the face.
        onset, apex: frame numbers.
        classifier: names the emotion; None names none.
        spotting: thresholds and durations.
        keep: whether `evidence` is kept.
    """

    def __init__(
        self,
        detector: Detector,
        onset: int,
        apex: int | None,
        classifier: Classifier | None = None,
        spotting: Spotting | None = None,
        *,
        keep: bool = False,
    ) -> None:
        if onset < 0:
            raise BadInput("an onset of 0 or more", str(onset), "frames are numbered from 0")
        self._tracker = FaceTracker(detector)
        self._settings = spotting or Spotting()
        self._classifier, self._keep = classifier, keep
        self._onset, self._apex = onset, apex
        self._first: tuple[Frame, View] | None = None
        self._best: tuple[float, Frame, View] | None = None
        self._evidence: Evidence | None = None
        self._done = False
        self.tracked: Tracked | None = None
        self.level = math.nan
        self.threshold = max(self._settings.smallest, self._settings.factor * PRIOR_NOISE)
        self.frames = 0

    @property
    def notes(self) -> list[str]:
        return self._tracker.notes

    @property
    def faces(self) -> int:
        return self._tracker.faces

    def push(self, frame: Frame) -> list[Event]:
        """One frame; returns the event once its apex is known.

        Raises:
            BadInput: there is no face in the onset frame, or the face is lost before the apex.
        """
        self.frames += 1
        self.tracked = Tracked(frame)
        if frame.index < self._onset or self._done:
            return []
        self.tracked = self._tracker.push(frame, quiet=False)
        if self._first is None:
            if frame.index != self._onset or self.tracked.view is None:
                came = f"frame {frame.index} next" if frame.index != self._onset else "no face that can be followed"
                raise BadInput(f"a face in frame {self._onset}, the onset", came, "give another onset or detector")
            self._first = frame, self.tracked.view
        past = frame.seconds - self._first[0].seconds
        if self.tracked.view is not None and self.tracked.motion is not None:
            vectors = _seen(self.tracked)
            self.level = float(np.hypot(*vectors.T).max())
            size = float(np.linalg.norm(vectors))
            soon = self._onset < frame.index and past <= self._settings.longest + ROUNDING
            wanted = soon if self._apex is None else frame.index == self._apex
            # A face that was lost and found again has another reference, which is not the face at the onset.
            wanted = wanted and self.tracked.view.reference == self._first[1].reference
            if wanted and (self._best is None or size > self._best[0]):
                self._best = size, frame, self.tracked.view
        if frame.index == self._apex or past >= self._settings.longest - ROUNDING:
            return self._judged() if self._apex is None or frame.index >= self._apex else []
        return []

    def flush(self) -> list[Event]:
        """The end of the video; returns the event if it is not known yet.

        Raises:
            BadInput: the video ends before the onset or the apex.
        """
        if self._done:
            return []
        last = self.frames - 1
        if self._first is None:
            raise BadInput(f"frame {self._onset}, the onset", f"frames 0 to {last}", "give another onset")
        if self._apex is not None:
            raise BadInput(f"frame {self._apex}, the apex", f"frames up to {last}", "give another apex")
        return self._judged()

    def evidence(self, event: Event) -> Evidence | None:
        """What the event was judged by, once."""
        evidence, self._evidence = self._evidence, None
        return evidence

    def _judged(self) -> list[Event]:
        assert self._first is not None  # for the type checker
        self._done = True
        if self._best is None:
            where = "after it" if self._apex is None else f"in frame {self._apex}, the apex"
            raise BadInput(f"the face of frame {self._onset} {where}", "none that could be followed", "give others")
        (onset, first), (_, apex, view) = self._first, self._best
        evidence = between(first, view, self._classifier.flow_mode if self._classifier else "clg")
        self._evidence = evidence if self._keep else None
        lengths = strength_of(evidence.flow)
        strength = float(lengths.max())
        event = Event(
            onset=onset.index,
            apex=apex.index,
            offset=apex.index,
            onset_seconds=onset.seconds,
            apex_seconds=apex.seconds,
            offset_seconds=apex.seconds,
            kind="micro" if apex.seconds - onset.seconds <= self._settings.longest + ROUNDING else "macro",
            strength=strength,
            noise=PRIOR_NOISE,
            regions=regions_of(lengths),
            probabilities={},
        )
        if self._classifier is None:
            return [replace(event, abstained="not classified")]
        if strength < self.threshold:
            return [replace(event, abstained=f"motion does not rise above noise ({self.threshold:.2f} px)")]
        probabilities = self._classifier(evidence)
        reason = unsure(probabilities, self._classifier.threshold)
        return [replace(event, probabilities=probabilities, abstained=reason)]


def _seen(tracked: Tracked) -> Float[np.ndarray, "region 2"]:
    """Motion of all regions, less what they share; zero beside the eyes in a blink."""
    assert tracked.motion is not None  # for the type checker
    vectors = tracked.motion - np.median(tracked.motion, axis=0)
    if tracked.eyes is not None:
        lengths = np.concatenate([np.hypot(*vectors.T), tracked.eyes])
        if is_blink(lengths, len(vectors), NEAR_EYES):
            vectors[list(NEAR_EYES)] = 0
    return vectors
