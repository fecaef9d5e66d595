"""Movements of the face in a longer video: where regional motion rises above the face's own noise and falls again.

The input is one small array a frame: how far each region of the aligned face has moved since a reference, in pixels.
`Spotter` takes it frame by frame and says of each movement when it began, peaked and ended, a moment after it ended.
What it answers depends on the frames up to then only, so a stream and a file give the same.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from microexpr.errors import BadInput

PRIOR_NOISE = 0.02  # pixels; what a region's motion shows on a quiet rendered face, believed until frames say more
PRIOR_SECONDS = 0.5  # how much of the video that belief weighs
OUTSTANDING = 2.5  # standard deviations; a larger departure counts as this much noise
NOISE_SECONDS = 2.0  # over how long a time the noise is averaged
BASELINE_SECONDS = 0.4  # of the frames that a movement is measured against
LAG = 0.1  # seconds between them and the frame in question, so that a slow rise does not pull them along
SMOOTHING = 0.02  # seconds over which motion is averaged for detection
CONFIRMATION = 0.015  # seconds that motion has to stay above the threshold
LEAK = 0.08  # of the motion of the eyes in a blink, which the registration lets through to all regions
BASELINE_FRAMES = 10  # that tell how far the eyes have moved in a movement
RETURNED = 0.25  # of its peak: a movement that fell below it has ended
TAIL = 0.12  # seconds waited after that, to see where the face came to rest
LEVEL = 0.1  # of its peak, where the begin and the end of a movement are read
BLINK = 0.7  # motion of the eyes, in that of the regions beside them: more is a blink, which drags those along
FACE_LOST, VIDEO_ENDED, HELD = "the face was lost", "the video ended", "it was held"  # why an end was not seen
STILL_RISING = 0.9  # of its peak: a movement above it at the end of a video has not begun to fall


@dataclass(frozen=True)
class Spotting:
    """The settings of a `Spotter`.

    Attributes:
        smallest: the weakest motion of a region that counts, pixels of the aligned face.
        factor: the weakest motion that counts, in standard deviations of the region's noise.
        shortest, longest: duration of a micro-expression, seconds; what lasts longer is a macro-expression.
        held: after this many seconds a macro-expression is ended where it is, and its face becomes the face at rest.
    """

    smallest: float = 0.1
    factor: float = 6.0
    shortest: float = 0.04
    longest: float = 0.5
    held: float = 4.0

    def __post_init__(self) -> None:
        for name in ("smallest", "factor"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise BadInput(f"{name} above 0", f"{getattr(self, name):g}", "change this setting of the spotter")
        if not 0 <= self.shortest < self.longest < self.held < math.inf:
            came = f"{self.shortest:g}, {self.longest:g}, {self.held:g}"
            raise BadInput("0 <= shortest < longest < held, in seconds", came, "change these settings of the spotter")


@dataclass(frozen=True)
class Interval:
    """One movement.

    Attributes:
        onset, apex, offset: frame numbers.
        seconds: the times of these three.
        kind: ``"micro"`` or ``"macro"``.
        strength: motion of the region that moved most, at the apex, pixels of the aligned face.
        noise: standard deviation of that region's motion while the face is quiet, pixels.
        motion: motion of every region at the apex, pixels, "region".
        cut: why its end was not seen, in plain words; None where it was.
        rising: whether it had not begun to fall when it was cut.
    """

    onset: int
    apex: int
    offset: int
    seconds: tuple[float, float, float]
    kind: str
    strength: float
    noise: float
    motion: tuple[float, ...]
    cut: str | None = None
    rising: bool = False


class Spotter:
    """Finds movements in the motion of facial regions, frame by frame.

    A movement begins where a region departs from where it lay in the half second before, by more than
    ``max(smallest, factor * noise)``; the noise is the region's own, measured while the face is quiet. It has ended
    when it fell to a quarter of its peak. Then it is measured once more over its whole length: against the straight
    line from the rest before to the rest after it, and projected on the motion at its apex, over all regions, which
    averages the noise out. Onset and offset are read where that projection is a tenth of its peak (or rises above its
    noise) and carried on to zero along half a cosine, because a movement starts and ends smoothly.

    A blink is a lid that comes down over the eye, a change of appearance that optical flow takes for a large motion and
    carries over to the brows and cheeks. Where the eyes move as much as these do, only the other regions count.

    Args:
        settings: thresholds and durations.
        near_eyes: numbers of the regions beside the eyes.
    """

    def __init__(self, settings: Spotting | None = None, near_eyes: Sequence[int] = ()) -> None:
        self.settings = settings or Spotting()
        self._near_eyes = list(near_eyes)
        self._history: deque[_Row] = deque()
        self._variance: Float[np.ndarray, " region"] | None = None
        self._weight = PRIOR_SECONDS
        self._above: float | None = None  # since when motion is above the threshold
        self._movement: _Movement | None = None
        self._regions = 0
        self._last = -math.inf  # time of the last frame
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

        Afterwards `level` is the motion of the region that stands out most, `threshold` what it has to exceed, both in
        pixels; NaN without a face.

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
        self._last = seconds
        if motion is None:
            ended = self._cut(FACE_LOST)
            self._history.clear()
            self._above = None
            self.level = self.threshold = math.nan
            return ended
        self._regions = len(motion)
        moved = motion - np.median(motion, axis=0)
        if eyes is not None:
            moved = np.concatenate([moved, np.stack([eyes, np.zeros_like(eyes)], axis=1)])
        row = _Row(index, seconds, moved)
        self._history.append(row)
        while self._history[0].seconds < seconds - self._kept:
            self._history.popleft()
        return self._follow(row) if self._movement else self._watch(row)

    def flush(self) -> list[Interval]:
        """The end of the video; returns a movement that was under way. Then the spotter is as new but for its noise."""
        ended = self._cut(VIDEO_ENDED)
        self._history.clear()
        self._above = None
        self._last = -math.inf
        return ended

    @property
    def _kept(self) -> float:
        """Seconds of the past that are asked for: the rest before a movement and, in one, all of it."""
        return 2 * (BASELINE_SECONDS + TAIL) + (self.settings.held if self._movement else 0.0)

    def _watch(self, row: _Row) -> list[Interval]:
        """A frame while the face is quiet."""
        rest = [past for past in self._history if row.seconds - BASELINE_SECONDS - LAG <= past.seconds]
        lagged = sum(past.seconds > row.seconds - LAG for past in self._history)
        # At the very beginning there is nothing older: the first frames are the rest.
        older = rest[: max(len(rest) - lagged, min(3, len(rest) - 1))]
        # Shut eyes are no rest: against them open ones would be a movement that does not end.
        rest = [past for past in older if not past.blink] or older
        self.level, self.threshold = 0.0, self.settings.smallest
        if not rest:
            return []
        baseline = np.mean([past.motion for past in rest], axis=0)
        now = np.mean([past.motion for past in self._history if past.seconds > row.seconds - SMOOTHING], axis=0)
        lengths = np.hypot(*(now - baseline).T)
        thresholds = np.maximum(self.settings.smallest, self.settings.factor * self._noise(len(lengths)))
        row.blink = self._shut(lengths)
        shares = self._seeing(lengths)[: self._regions] / thresholds[: self._regions]
        most = int(np.argmax(shares))
        self.level, self.threshold = float(lengths[most]), float(thresholds[most])
        if shares[most] <= 1:
            self._above = None
            if not (lengths[self._regions :] > thresholds[self._regions :]).any():
                self._learn(row, baseline)
        elif self._above is None:
            self._above = row.seconds
        if self._above is not None and row.seconds - self._above >= CONFIRMATION:
            self._movement = _Movement(self._above, baseline, row)
            self._above = None
        return []

    def _seeing(self, lengths: Float[np.ndarray, " region"]) -> Float[np.ndarray, " region"]:
        """Motion of all regions, eyes last, without that of the regions beside the eyes in a blink."""
        if not is_blink(lengths, self._regions, self._near_eyes):
            return lengths
        seen = np.where(lengths > LEAK * lengths[self._regions :].max(), lengths, 0)
        seen[self._near_eyes] = 0
        return seen

    def _shut(self, lengths: Float[np.ndarray, " region"]) -> bool:
        """Whether the eyes are closing, shut or opening: they move, and as in a blink."""
        least = np.maximum(self.settings.smallest, self.settings.factor * self._noise(len(lengths)))
        eyes = slice(self._regions, None)
        return bool((lengths[eyes] > least[eyes]).any()) and is_blink(lengths, self._regions, self._near_eyes)

    def _noise(self, regions: int) -> Float[np.ndarray, " region"]:
        if self._variance is None:
            self._variance = np.full(regions, PRIOR_NOISE**2)
        return np.sqrt(self._variance)

    def _learn(self, row: _Row, baseline: Float[np.ndarray, "region 2"]) -> None:
        """The noise of a region: its departure from rest over quiet frames, the sway of the head included."""
        assert self._variance is not None  # for the type checker: `_watch` asked for the noise
        if len(self._history) < 2:
            return
        step = min(row.seconds - self._history[-2].seconds, LAG)
        share = step / (self._weight + step)
        # What stands out is no noise: a slow rise must not lift its own threshold before it reaches it.
        departure = np.minimum(((row.motion - baseline) ** 2).sum(axis=1), OUTSTANDING**2 * self._variance)
        self._variance += share * (departure - self._variance)
        self._weight = min(self._weight + step, NOISE_SECONDS)

    def _follow(self, row: _Row) -> list[Interval]:
        """A frame while a movement is under way."""
        movement = self._movement
        assert movement is not None  # for the type checker
        share = movement.follow(row)
        lengths = np.hypot(*(row.motion - movement.baseline).T)
        row.blink = self._shut(lengths)
        self.level = float(self._seeing(lengths)[: self._regions].max())
        lasts = row.seconds - movement.begin
        if share > RETURNED and lasts < self.settings.held:
            movement.returned = None
            return []
        if movement.returned is None:
            movement.returned = row.seconds
        if row.seconds - movement.returned < TAIL and lasts < self.settings.held:
            return []
        return self._end(None if lasts < self.settings.held else HELD, movement.returned)

    def _cut(self, why: str) -> list[Interval]:
        movement = self._movement
        if movement is None or not self._history:
            self._movement = None
            return []
        if movement.returned is not None:
            return self._end(None, movement.returned)
        return self._end(why, self._history[-1].seconds)

    def _end(self, cut: str | None, returned: float) -> list[Interval]:
        """Measures the movement over its whole length and goes back to watching."""
        movement = self._movement
        assert movement is not None  # for the type checker
        self._movement = None
        rows, noise = list(self._history), self._noise(len(movement.baseline))
        found = self._measured(rows, movement.begin, returned, noise, cut)
        # The face comes to rest in the tail: what lies before it would be a wrong baseline for the next movement.
        rest = max(returned + TAIL / 2, -math.inf if found is None else found.seconds[2])
        while self._history and self._history[0].seconds < rest:
            self._history.popleft()
        return [] if found is None else [found]

    def _measured(
        self, rows: list[_Row], begin: float, returned: float, noise: Float[np.ndarray, " region"], cut: str | None
    ) -> Interval | None:
        """What a movement comes to; in a blink, what is left of it away from the eyes."""
        motion = np.stack([row.motion for row in rows])
        inside = np.array([begin <= row.seconds <= returned for row in rows])
        baseline = motion[np.array([row.seconds < begin and not row.blink for row in rows])]
        rest = baseline[-BASELINE_FRAMES:].mean(axis=0) if len(baseline) else motion[0]
        largest = np.linalg.norm(motion[inside] - rest, axis=2).max(axis=0) if inside.any() else noise
        smallest = self.settings.smallest
        if is_blink(largest, self._regions, self._near_eyes):
            motion[:, self._near_eyes] = 0
            smallest = max(smallest, LEAK * float(largest[self._regions :].max()))
        seen, settings = motion[:, : self._regions], replace(self.settings, smallest=smallest)
        return _measure(rows, seen, begin, returned, noise[: self._regions], cut, settings)


def is_blink(lengths: Float[np.ndarray, " region"], regions: int, near_eyes: Sequence[int]) -> bool:
    """Whether the eyes, which come after the regions, move as much as the regions beside them."""
    if len(lengths) <= regions or not len(near_eyes):
        return False
    return bool(lengths[regions:].max() > BLINK * lengths[list(near_eyes)].max())


@dataclass
class _Row:
    """What is kept of a frame: motion of regions and eyes less the regions' median, which is left of the head's."""

    index: int
    seconds: float
    motion: Float[np.ndarray, "region 2"]
    blink: bool = False


class _Movement:
    """A movement under way: when it was first seen, the rest before it, and its largest extent so far."""

    def __init__(self, begin: float, baseline: Float[np.ndarray, "region 2"], row: _Row) -> None:
        self.begin, self.baseline = begin, baseline
        self.returned: float | None = None  # when it had fallen to `RETURNED`
        self._peak, self._largest = row.motion - baseline, 0.0

    def follow(self, row: _Row) -> float:
        """How much of the peak this frame still shows, along the peak's own direction."""
        extent = row.motion - self.baseline
        size = float(np.linalg.norm(extent))
        if size > self._largest:
            self._peak, self._largest = extent, size
        return float((extent * self._peak).sum()) / self._largest**2


def _measure(
    rows: list[_Row],
    motion: Float[np.ndarray, "frame region 2"],
    begin: float,
    returned: float,
    noise: Float[np.ndarray, " region"],
    cut: str | None,
    settings: Spotting,
) -> Interval | None:
    """Onset, apex and offset of a movement seen from `begin` to `returned`; None if it is too weak or does not last."""
    times = np.array([row.seconds for row in rows])
    inside = (times >= begin) & (times <= returned)
    open_eyes = np.array([not row.blink for row in rows])
    before, after = open_eyes & (times < begin - SMOOTHING), open_eyes & (times > returned)
    for _ in range(2):  # the second time with the begin and end that the first one found
        deviation = motion - _rest(times, motion, before, after, cut)
        apex, share = _projected(times, deviation, inside)
        onset, onset_place = _foot(times, share, apex, -1, _floor(share, before))
        offset, offset_place = _foot(times, share, apex, 1, _floor(share, before))
        before = open_eyes & (times < onset_place) & (times > onset_place - BASELINE_SECONDS)
        after = open_eyes & (times > offset_place) & (times < offset_place + 2 * TAIL)
        inside = (times >= onset_place) & (times <= offset_place)
        if before.sum() < 2 or not inside.any():
            break
    if cut is not None:
        offset = len(rows) - 1
    near = np.abs(times - times[apex]) <= SMOOTHING
    lengths = np.hypot(*deviation[near].mean(axis=0).T)
    strongest = int(np.argmax(lengths))
    duration = float(times[offset] - times[onset])
    if lengths[strongest] < max(settings.smallest, settings.factor * float(noise[strongest])):
        return None
    if duration < settings.shortest:
        return None
    tolerance = 1.5 * float(np.median(np.diff(times)))  # onset and offset are known to a frame
    return Interval(
        onset=rows[onset].index,
        apex=rows[apex].index,
        offset=rows[offset].index,
        seconds=(rows[onset].seconds, rows[apex].seconds, rows[offset].seconds),
        kind="micro" if duration <= settings.longest + tolerance else "macro",
        strength=float(lengths[strongest]),
        noise=float(noise[strongest]),
        motion=tuple(float(length) for length in lengths),
        cut=cut,
        rising=cut is not None and float(share[-1]) > STILL_RISING,
    )


def _rest(
    times: Float[np.ndarray, " frame"],
    motion: Float[np.ndarray, "frame region 2"],
    before: Bool[np.ndarray, " frame"],
    after: Bool[np.ndarray, " frame"],
    cut: str | None,
) -> Float[np.ndarray, "frame region 2"]:
    """Where every region would lie without the movement: on the line from the rest before to the rest after it."""
    first = before if before.any() else np.arange(len(times)) == 0
    start = motion[first].mean(axis=0)
    if cut is not None or not after.any():
        return np.broadcast_to(start, motion.shape)
    end = motion[after].mean(axis=0)
    from_time, to_time = times[first].mean(), times[after].mean()
    share = np.clip((times - from_time) / (to_time - from_time), 0, 1)
    return start + share[:, None, None] * (end - start)


def _projected(
    times: Float[np.ndarray, " frame"],
    deviation: Float[np.ndarray, "frame region 2"],
    inside: Bool[np.ndarray, " frame"],
) -> tuple[int, Float[np.ndarray, " frame"]]:
    """The apex and the share of the motion there that every frame shows, smoothed."""
    weights = np.exp(-0.5 * ((times[:, None] - times[None]) / (SMOOTHING / 2)) ** 2)
    smooth = np.einsum("ft,trc->frc", weights / weights.sum(axis=1, keepdims=True), deviation)
    size = np.where(inside, np.linalg.norm(smooth, axis=(1, 2)), -1.0)
    peak = smooth[int(np.argmax(size))]
    share = np.einsum("frc,rc->f", smooth, peak) / max(float((peak**2).sum()), 1e-12)
    apex = int(np.argmax(np.where(inside, share, -np.inf)))
    return apex, share / max(float(share[apex]), 1e-12)


def _floor(share: Float[np.ndarray, " frame"], quiet: Bool[np.ndarray, " frame"]) -> float:
    """The share of the peak below which a frame can't be told from rest."""
    return float(np.clip(3 * share[quiet].std(), LEVEL, 0.4)) if quiet.sum() > 2 else LEVEL


def _foot(
    times: Float[np.ndarray, " frame"], share: Float[np.ndarray, " frame"], apex: int, step: int, level: float
) -> tuple[int, float]:
    """Where the movement starts (`step` -1) or ends (1): frame, and seconds between frames.

    From the apex outward to where the share of the peak crosses 0.5 and `level`; half a cosine of length T crosses
    them at T / 2 and T arccos(1 - 2 level) / pi, which gives T and so its foot.
    """
    half, low = _crossing(times, share, apex, step, 0.5), _crossing(times, share, apex, step, level)
    fraction = math.acos(1 - 2 * level) / math.pi
    foot = half + (low - half) / (0.5 - fraction) * 0.5
    foot = float(np.clip(foot, times[0], times[-1]))
    return int(np.argmin(np.abs(times - foot))), foot


def _crossing(
    times: Float[np.ndarray, " frame"], share: Float[np.ndarray, " frame"], apex: int, step: int, level: float
) -> float:
    """The time, interpolated, at which the share first falls to `level` on the way from the apex; or the last time."""
    place = apex
    while 0 <= place + step < len(share):
        there = place + step
        if share[there] <= level:
            portion = (share[place] - level) / max(float(share[place] - share[there]), 1e-12)
            return float(times[place] + portion * (times[there] - times[place]))
        place = there
    return float(times[place])
