"""One movement whose onset is known: judged, not searched for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from microexpr.errors import BadInput
from microexpr.faces.detect import Detector
from microexpr.faces.regions import NEAR_EYES
from microexpr.spotting.answers import Spotting
from microexpr.spotting.intervals import is_blink
from microexpr.spotting.noise import PRIOR_NOISE
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
        onset, apex: frame numbers; the first frame of a video is 0.
        classifier: names the emotion; None names none.
        spotting: thresholds and durations.
        keep: whether `evidence` is kept.

    Raises:
        BadInput: the onset is below 0, or the apex does not come after it.
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
        if apex is not None and apex <= onset:
            raise BadInput("an onset before the apex", f"onset {onset}, apex {apex}", "give the numbers in this order")
        self._tracker = FaceTracker(detector)
        self._settings = spotting or Spotting()
        self._classifier, self._keep = classifier, keep
        self._onset, self._apex = onset, apex
        self._first: tuple[Frame, View] | None = None
        self._best: tuple[float, Frame, View] | None = None
        self._blinks = False  # in the best frame
        self._evidence: Evidence | None = None
        self._done = False
        self._numbers: tuple[int, int] | None = None  # of the first frame and of the last so far
        self._lost: int | None = None  # the frame from which on the face of the onset can't be followed
        self._soon = 0  # frames in which the apex may be
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
            BadInput: the onset or the apex is no frame of the video or shows no face, or the face is lost between them.
        """
        self.frames += 1
        before, self._numbers = self._numbers, ((self._numbers or (frame.index,))[0], frame.index)
        self.tracked = Tracked(frame)
        if frame.index < self._onset or self._done:
            return []
        self._require_wanted(frame.index, before)
        self.tracked = self._tracker.push(frame, quiet=False)
        if self._first is None:
            if self.tracked.view is None:
                advice = "give an onset at which the face is seen from the front, or another detector"
                raise BadInput(f"a face in frame {self._onset}, the onset", "no face that can be followed", advice)
            self._first = frame, self.tracked.view
        past = frame.seconds - self._first[0].seconds
        self._compare(frame, self._first[1], past)
        ended = past >= self._settings.longest - ROUNDING if self._apex is None else frame.index == self._apex
        return self._judged() if ended else []

    def _require_wanted(self, number: int, before: tuple[int, int] | None) -> None:
        """Raises BadInput where the frame before `number` comes before the onset or the apex, and `number` after it."""
        wanted, what = (self._onset, "onset") if self._first is None else (self._apex, "apex")
        if wanted is None or number <= wanted:
            return
        there = [number] if before is None else [before[1], number]
        came = f"frame {number} first" if before is None else f"frames {before[1]} and {number} and none between them"
        if what == "apex":
            there = [one for one in there if one > self._onset]
        elif self._apex is not None:
            there = [one for one in there if one < self._apex]
        advice = f"give {' or '.join(map(str, there))}" if there else "give another onset and apex"
        raise BadInput(f"frame {wanted}, the {what}", came, advice)

    def _compare(self, frame: Frame, first: View, past: float) -> None:
        """Notes how far the face has moved since the onset, `past` seconds ago, and whether that is the most."""
        soon = self._onset < frame.index and past <= self._settings.longest + ROUNDING
        wanted = soon if self._apex is None else frame.index == self._apex
        self._soon += wanted
        tracked = self.tracked
        # A face that was lost and found again has another reference, which is not the face at the onset.
        if tracked is None or tracked.view is None or tracked.view.reference != first.reference:
            self._lost = frame.index if self._lost is None else self._lost
        else:
            self._lost = None
        if tracked is None or tracked.view is None or tracked.motion is None:
            return
        vectors, blinks = _seen(tracked)
        self.level = float(np.hypot(*vectors.T).max())
        size = float(np.linalg.norm(vectors))
        if wanted and self._lost is None and (self._best is None or size > self._best[0]):
            self._best, self._blinks = (size, frame, tracked.view), blinks

    def flush(self) -> list[Event]:
        """The end of the video; returns the event if it is not known yet.

        Raises:
            BadInput: the video ends before the onset or the apex.
        """
        if self._done:
            return []
        came = f"frames {self._numbers[0]} to {self._numbers[1]}" if self._numbers else "no frame"
        if self._first is None:
            raise BadInput(f"frame {self._onset}, the onset", came, "give an onset in the video; its first frame is 0")
        if self._apex is not None:
            raise BadInput(f"frame {self._apex}, the apex", came, "give an apex in the video; its first frame is 0")
        return self._judged()

    def evidence(self, event: Event) -> Evidence | None:
        """What the event was judged by, once."""
        evidence, self._evidence = self._evidence, None
        return evidence

    def _judged(self) -> list[Event]:
        assert self._first is not None  # for the type checker
        self._done = True
        if self._best is None:
            raise self._nothing_followed()
        (onset, first), (_, apex, view) = self._first, self._best
        evidence = between(first, view, self._classifier.flow_mode if self._classifier else "clg")
        self._evidence = evidence if self._keep else None
        lengths = strength_of(evidence.flow)
        if self._blinks:
            lengths[list(NEAR_EYES)] = 0
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

    def _nothing_followed(self) -> BadInput:
        """Why there is no frame that the onset can be compared with."""
        assert self._numbers is not None  # for the type checker
        onset, last = f"frame {self._onset}, the onset", self._numbers[1]
        if not self._soon and last == self._onset:
            return BadInput(f"frames after {onset}", "the end of the video", "give an earlier onset")
        if not self._soon:
            came = f"frame {last} next, which is later"
            advice = "give the apex too, or a video with more frames a second"
            return BadInput(f"a frame within {self._settings.longest:g} s of {onset}", came, advice)
        where = "after it" if self._apex is None else f"in frame {self._apex}, the apex"
        came = "none that could be followed" if self._lost is None else f"one that was lost in frame {self._lost}"
        numbers = "another onset" if self._apex is None else "an onset and an apex between which the face is seen"
        return BadInput(f"the face of {onset}, {where}", came, f"give {numbers}, or another detector")


def _seen(tracked: Tracked) -> tuple[Float[np.ndarray, "region 2"], bool]:
    """Motion of all regions, less what they share; zero beside the eyes in a blink, and whether there is one."""
    assert tracked.motion is not None  # for the type checker
    vectors = tracked.motion - np.median(tracked.motion, axis=0)
    if tracked.eyes is not None:
        lengths = np.concatenate([np.hypot(*vectors.T), tracked.eyes])
        if is_blink(lengths, len(vectors), NEAR_EYES):
            vectors[list(NEAR_EYES)] = 0
            return vectors, True
    return vectors, False
