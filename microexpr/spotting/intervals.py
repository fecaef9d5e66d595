"""Movements of the face in a longer video: where regional motion rises above the face's own noise and falls again.

The input is one small array a frame: how far each region of the aligned face has moved since a reference, in pixels.
`Spotter` takes it frame by frame and says of each movement when it began, peaked and ended, a moment after it ended.
What it answers depends on the frames up to then only, so a stream and a file give the same.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from microexpr.errors import BadInput
from microexpr.spotting.answers import FACE_LOST, FRAMES_MISSING, HELD, VIDEO_ENDED, Interval, Spotting
from microexpr.spotting.measure import SMOOTHING, measured
from microexpr.spotting.movement import Departure, Movement, Row, same_way
from microexpr.spotting.noise import Noise

BASELINE_SECONDS = 0.4  # of the frames that a movement is measured against
LAG = 0.1  # seconds between them and the frame in question, so that a slow rise does not pull them along
CONFIRMATION = 0.015  # seconds that motion has to stay above the threshold
LEAK = 0.08  # of the motion of the eyes in a blink, which the registration lets through to all regions
BASELINE_FRAMES = 10  # that tell how far the eyes have moved in a movement
RETURNED = 0.25  # of its peak: a movement that fell below it has ended
TAIL = 0.12  # seconds waited after that, to see where the face came to rest
SETTLED = 0.5  # seconds; a face that keeps still for so long has come to rest, wherever that is
SUNK = 0.6  # of its peak: a movement that came to rest below it has ended there, with a new face at rest
BLINK = 0.7  # motion of the eyes, in that of the regions beside them: more is a blink, which drags those along
CALM = 0.5  # of the threshold: a held face below it has not begun the next movement
GAP_SECONDS = 0.4  # between two frames: what was before is not gone on with
LONGEST_TAIL = 0.5  # seconds; a slow movement comes to rest slowly
MOST = 0.75  # of its peak: from there to `RETURNED` a movement takes as long as from there to rest
STILL = 0.35  # of the farthest reach of a region: while one is as far, another movement goes on
STILL_RISING = 0.9  # of its peak: a movement above it at the end of a video has not begun to fall


class Spotter:
    """Finds movements in the motion of facial regions, frame by frame.

    A movement begins where a region departs from where it lay in the half second before, by more than
    ``max(smallest, factor * noise)``; the noise is the region's own, see `spotting.noise`. It has ended when it fell to
    a quarter of its peak, or when the face kept still for half a second somewhere below. A face that keeps still near
    the peak is held: what departs from there, but not back to where it came from, is a movement of its own. Then the
    movement is measured once more over its whole length, see `spotting.measure`.

    A blink is a lid that comes down over the eye, a change of appearance that optical flow takes for a large motion and
    carries over to the brows and cheeks. Where the eyes move as much as these do, only the other regions count.

    Args:
        settings: thresholds and durations.
        near_eyes: numbers of the regions beside the eyes.
    """

    def __init__(self, settings: Spotting | None = None, near_eyes: Sequence[int] = ()) -> None:
        self.settings = settings or Spotting()
        self._near_eyes = list(near_eyes)
        self._history: deque[Row] = deque()
        self._noise = Noise()
        self._above: float | None = None  # since when motion is above the threshold
        self._movement: Movement | None = None
        self._home: Float[np.ndarray, "region 2"] | None = None  # the rest before a face that was held
        self._regions = 0
        self._first, self._last = math.inf, -math.inf  # times of the first and last of frames that follow one another
        self.level = math.nan
        self.threshold = math.nan

    @property
    def moving(self) -> bool:
        """Whether a movement is under way, or one may have begun."""
        return self._movement is not None or self._above is not None

    @property
    def begin(self) -> float | None:
        """Since when a movement is under way, seconds; None where none is."""
        return None if self._movement is None else self._movement.begin

    def push(
        self,
        index: int,
        seconds: float,
        motion: Float[np.ndarray, "region 2"] | None,
        eyes: Float[np.ndarray, " eye"] | None = None,
    ) -> list[Interval]:
        """One frame; returns the movements that it ends.

        Afterwards `level` is the motion of the region that stands out most and `threshold` what it has to exceed, both
        in pixels; while a movement is under way, how far the farthest region is from the rest before it and the
        threshold at its begin; NaN without a face.

        Args:
            index: number of the frame; grows.
            seconds: its time; grows.
            motion: of every region since the reference, pixels of the aligned face; None where the face is lost. The
                reference may change between frames only if the caller keeps the values continuous.
            eyes: how far the pixels of the eye openings have moved on average, pixels, likewise continuous; None where
                that is not known: then no blink is recognized.

        Raises:
            BadInput: the time is not after that of the frame before.
        """
        if seconds <= self._last:
            came = f"{seconds:g} s after {self._last:g} s"
            raise BadInput("frames in the order of their times", came, "push every frame once, in order")
        ended = self._cut(FRAMES_MISSING) if seconds - self._last > GAP_SECONDS else []
        if seconds - self._last > GAP_SECONDS:
            self._forget()
        self._last, self._first = seconds, min(self._first, seconds)
        if motion is None:
            ended += self._cut(FACE_LOST)
            self._forget()
            self.level = self.threshold = math.nan
            return ended
        self._regions = len(motion)
        moved = motion - np.median(motion, axis=0)
        if eyes is not None:
            moved = np.concatenate([moved, np.stack([eyes, np.zeros_like(eyes)], axis=1)])
        row = Row(index, seconds, moved)
        self._noise.see(seconds, moved)
        self._history.append(row)
        self._drop(seconds - self._kept)
        return ended + (self._follow(row) if self._movement else self._watch(row))

    def flush(self) -> list[Interval]:
        """The end of the video; returns a movement that was under way. Then the spotter is as new but for its noise."""
        ended = self._cut(VIDEO_ENDED)
        self._forget()
        self._last = -math.inf
        return ended

    def _forget(self) -> None:
        """What comes next does not go on from here."""
        self._history.clear()
        self._noise.interrupt()
        self._home, self._first = None, math.inf
        self._above = None

    @property
    def _kept(self) -> float:
        """Seconds of the past that are asked for: the rest before a movement and, in one, all of it."""
        return 2 * (BASELINE_SECONDS + TAIL) + (self.settings.held if self._movement else 0.0)

    def _watch(self, row: Row) -> list[Interval]:
        """A frame while the face is quiet."""
        departure = self._departure(row)
        self.level, self.threshold = 0.0, self.settings.smallest
        if departure is None:
            return []
        lengths, most = departure.lengths, departure.most
        row.blink = self._shut(lengths)
        self.level, self.threshold = float(departure.seen[most]), float(departure.thresholds[most])
        if self._stands_out(row, departure):
            assert self._above is not None  # for the type checker
            self._begin(self._above, departure.rest, row)
        elif departure.share <= 1 and not (lengths > departure.thresholds)[self._regions :].any():
            self._noise.rest(row.motion - departure.rest)
        return []

    def _stands_out(self, row: Row, departure: Departure) -> bool:
        """Whether a movement has begun: a departure above the threshold that has lasted a moment."""
        if departure.share <= 1:
            self._above = None
            return False
        if self._above is None:
            self._above = row.seconds
        return row.seconds - self._above >= CONFIRMATION

    def _departure(self, row: Row) -> Departure | None:
        """How far the regions lie from where they lay a moment ago; None where that is not known."""
        rest = [past for past in self._history if row.seconds - BASELINE_SECONDS - LAG <= past.seconds]
        lagged = sum(past.seconds > row.seconds - LAG for past in self._history)
        # At the very beginning there is nothing older: the first frames are the rest.
        older = rest[: max(len(rest) - lagged, min(3, len(rest) - 1))]
        # Shut eyes are no rest: against them open ones would be a movement that does not end.
        rest = [past for past in older if not past.blink] or older
        if not rest:
            return None
        baseline = np.mean([past.motion for past in rest], axis=0)
        now = np.mean([past.motion for past in self._history if past.seconds > row.seconds - SMOOTHING], axis=0)
        lengths = np.hypot(*(now - baseline).T)
        return Departure(now, baseline, lengths, self._seeing(lengths)[: self._regions], self._least(len(lengths)))

    def _least(self, regions: int) -> Float[np.ndarray, " region"]:
        """How far each region has to move to stand out."""
        return np.maximum(self.settings.smallest, self.settings.factor * self._noise(regions))

    def _seeing(self, lengths: Float[np.ndarray, " region"]) -> Float[np.ndarray, " region"]:
        """Motion of all regions, eyes last, without that of the regions beside the eyes in a blink."""
        if not is_blink(lengths, self._regions, self._near_eyes):
            return lengths
        seen = np.where(lengths > LEAK * lengths[self._regions :].max(), lengths, 0)
        seen[self._near_eyes] = 0
        return seen

    def _shut(self, lengths: Float[np.ndarray, " region"]) -> bool:
        """Whether the eyes are closing, shut or opening: they move, and as in a blink."""
        eyes = slice(self._regions, None)
        moved = (lengths[eyes] > self._least(len(lengths))[eyes]).any()
        return bool(moved) and is_blink(lengths, self._regions, self._near_eyes)

    def _begin(self, begin: float, rest: Float[np.ndarray, "region 2"], row: Row) -> None:
        self._movement, self._above = Movement(begin, rest, row.seconds), None
        self._reach(self._movement, row)

    def _reach(self, movement: Movement, row: Row) -> tuple[Float[np.ndarray, " region"], float]:
        """How far each region is from the rest before, without a blink's motion, and the share of the peak."""
        extent = row.motion - movement.baseline
        lengths = np.hypot(*extent.T)
        row.blink = self._shut(lengths)
        hidden = self._near_eyes if is_blink(lengths, self._regions, self._near_eyes) else ()
        share = movement.follow(extent[: self._regions], hidden)
        return self._seeing(lengths)[: self._regions], share

    def _follow(self, row: Row) -> list[Interval]:
        """A frame while a movement is under way."""
        movement = self._movement
        assert movement is not None  # for the type checker
        seen, share = self._reach(movement, row)
        self.level = float(seen.max())
        lasts = row.seconds - movement.begin
        if lasts >= self.settings.held:
            return self._end(HELD, row.seconds if movement.returned is None else movement.returned)
        movement.high = row.seconds if share > MOST else movement.high
        if (
            share <= RETURNED
            and not (seen > np.maximum(STILL * movement.reach, self._least(len(row.motion))[: self._regions])).any()
        ):
            movement.returned = row.seconds if movement.returned is None else movement.returned
            tail = min(max(TAIL, movement.returned - movement.high), LONGEST_TAIL)
            return self._end(None, movement.returned) if row.seconds - movement.returned >= tail else []
        movement.returned = None
        return self._settle(row, movement)

    def _settle(self, row: Row, movement: Movement) -> list[Interval]:
        """Whether the face came to rest away from where it began, and whether another movement begins there."""
        departure = self._departure(row)
        if departure is None:
            return []
        stands_out = self._stands_out(row, departure)
        if departure.share < CALM:
            movement.calm = row.seconds
        if departure.share <= 1:
            return self._keep_still(row, movement) if row.seconds - movement.steady >= SETTLED else []
        if not movement.held:
            movement.steady, self._above = row.seconds, None
            return []
        if not stands_out:
            return []
        begin = self._above
        assert begin is not None  # for the type checker
        if departure.goes_back(movement.baseline):
            movement.held, movement.steady, self._above = False, row.seconds, None
            return []
        # What rose in the moments before belongs to the next movement.
        ended = self._end(HELD, max(min(begin - LAG, movement.calm), movement.steady + LAG), movement.steady)
        self._begin(begin, departure.rest, row)
        return ended

    def _keep_still(self, row: Row, movement: Movement) -> list[Interval]:
        """The face has kept still for long: it is held, or has come home, or to rest somewhere on the way back."""
        movement.held = True
        still = [past.motion for past in self._history if past.seconds > row.seconds - SETTLED and not past.blink]
        place = np.mean(still, axis=0)[: self._regions] if still else row.motion[: self._regions]
        if self._is_home(place, movement):
            # The end of an expression that was told when it was held.
            self._movement, self._home = None, None
            self._drop(movement.steady)
            return []
        if movement.share(place - movement.baseline[: self._regions]) < SUNK:
            return self._end(None, movement.steady)
        if movement.begin - self._first < BASELINE_SECONDS + LAG:
            # It was under way when the video began: what was taken for the rest was none.
            self._movement = None
            self._drop(movement.steady)
        return []

    def _cut(self, why: str) -> list[Interval]:
        movement = self._movement
        if movement is None or not self._history:
            self._movement = None
            return []
        if movement.returned is not None:
            return self._end(None, movement.returned)
        return self._end(why, self._history[-1].seconds)

    def _end(self, cut: str | None, returned: float, rest: float | None = None) -> list[Interval]:
        """Measures the movement over its whole length and goes back to watching.

        Args:
            cut: why its end was not seen.
            returned: when it ended.
            rest: since when the face rests; then the movement is measured up to `returned` only.
        """
        movement = self._movement
        assert movement is not None  # for the type checker
        self._movement = None
        settled = cut is None and movement.held
        rows = [row for row in self._history if rest is None or row.seconds <= returned]
        found = self._measured(rows, movement.begin, returned, cut)
        if rest is None:
            # The face comes to rest in the tail: what lies before it would be a wrong baseline for the next movement.
            rest = max(returned + TAIL / 2, -math.inf if found is None else found.seconds[2])
        self._home = movement.baseline if cut is HELD or settled else self._home
        self._drop(rest)
        return [] if found is None else [found]

    def _drop(self, before: float) -> None:
        """Forgets the frames before a time."""
        while self._history and self._history[0].seconds < before:
            self._history.popleft()

    def _is_home(self, place: Float[np.ndarray, "region 2"], movement: Movement) -> bool:
        """Whether a movement led from a held face back to where the rest had been before that."""
        if self._home is None:
            return False
        start = movement.baseline[: self._regions]
        back = self._home[: self._regions] - start
        lengths = np.hypot(*back.T)
        moved = lengths > 0.5 * lengths.max()  # the others may have drifted
        others = np.hypot(*(place - start).T)[~moved]
        if (
            others > np.maximum(self._least(len(movement.baseline))[: self._regions][~moved], 0.5 * lengths.max())
        ).any():
            return False  # something else moved
        way, back = (place - start)[moved], back[moved]
        return bool(np.linalg.norm(way - back) < np.linalg.norm(back)) and same_way(way, back)

    def _measured(self, rows: list[Row], begin: float, returned: float, cut: str | None) -> Interval | None:
        """A movement, in a blink what is left of it away from the eyes; None if it is too weak or short."""
        motion, times = np.stack([row.motion for row in rows]), np.array([row.seconds for row in rows])
        noise, smallest = self._noise(motion.shape[1]), self.settings.smallest
        inside = (times >= begin) & (times <= returned)
        open_eyes = np.array([not row.blink for row in rows])
        baseline = motion[(times < begin) & open_eyes]
        rest = baseline[-BASELINE_FRAMES:].mean(axis=0) if len(baseline) else motion[0]
        largest = np.linalg.norm(motion[inside] - rest, axis=2).max(axis=0) if inside.any() else noise
        if is_blink(largest, self._regions, self._near_eyes):
            motion[:, self._near_eyes] = 0
            smallest = max(smallest, LEAK * float(largest[self._regions :].max()))
        seen = motion[:, : self._regions]
        found = measured(times, seen, open_eyes, begin, returned, BASELINE_SECONDS, 2 * TAIL, cut is None)
        near = np.abs(times - times[found.apex]) <= SMOOTHING
        lengths = np.hypot(*found.deviation[near].mean(axis=0).T)
        strongest = int(np.argmax(lengths))
        duration = float(times[found.offset] - times[found.onset])
        weak = lengths[strongest] < max(smallest, self.settings.factor * float(noise[strongest]))
        if weak or duration < self.settings.shortest:
            return None
        tolerance = 1.5 * float(np.median(np.diff(times)))  # onset and offset are known to a frame
        onset, apex, offset = (rows[place] for place in (found.onset, found.apex, found.offset))
        return Interval(
            onset=onset.index,
            apex=apex.index,
            offset=offset.index,
            seconds=(onset.seconds, apex.seconds, offset.seconds),
            kind="micro" if duration <= self.settings.longest + tolerance else "macro",
            strength=float(lengths[strongest]),
            noise=float(noise[strongest]),
            motion=tuple(float(length) for length in lengths),
            cut=cut,
            rising=cut is not None and float(found.share[-1]) > STILL_RISING,
        )


def is_blink(lengths: Float[np.ndarray, " region"], regions: int, near_eyes: Sequence[int]) -> bool:
    """Whether the eyes, which come after the regions, move as much as the regions beside them."""
    if len(lengths) <= regions or not len(near_eyes):
        return False
    return bool(lengths[regions:].max() > BLINK * lengths[list(near_eyes)].max())
