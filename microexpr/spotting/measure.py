"""A movement measured over its whole length, once it is over: onset, apex, offset.

The motion is taken against the straight line from the rest before to the rest after, and projected on the motion at the
apex, over all regions, which averages the noise out. Onset and offset are read where that projection is a tenth of its
peak (or rises above its noise) and carried on to zero along half a cosine, because a movement starts and ends smoothly.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

SMOOTHING = 0.02  # seconds over which motion is averaged
KERNEL = 0.04  # seconds, four standard deviations of the smoothing of the projection
LEVEL = 0.1  # of its peak, where the begin and the end of a movement are read
BENT = 2.0  # times the length of a rise that one part of it tells; a longer one is not believed


class Measured(NamedTuple):
    """Places in the frames given, the share of the motion at the apex that every frame shows, and that motion."""

    onset: int
    apex: int
    offset: int
    share: Float[np.ndarray, " frame"]
    deviation: Float[np.ndarray, "frame region 2"]


def measured(
    times: Float[np.ndarray, " frame"],
    motion: Float[np.ndarray, "frame region 2"],
    usable: Bool[np.ndarray, " frame"],
    begin: float,
    returned: float,
    rest_before: float,
    rest_after: float,
    ended: bool,
) -> Measured:
    """Onset, apex and offset of a movement.

    Args:
        times: of the frames, seconds.
        motion: of the regions, pixels.
        usable: frames that may tell the rest before and after: no blink.
        begin, returned: between which times it was seen.
        rest_before, rest_after: seconds of rest before and after it that it is measured against.
        ended: whether the rest after it was seen.
    """
    inside = (times >= begin) & (times <= returned)
    before, after = usable & (times < begin - SMOOTHING), usable & (times > max(returned, times[-1] - rest_after))
    smooth = _smoothed(times, motion)
    apex = -1
    for _ in range(2):  # the second time with the begin and end that the first one found
        first = before if before.any() else np.arange(len(times)) == 0
        start = motion[first].mean(axis=0)
        later = after if ended and after.any() else first
        end = motion[later].mean(axis=0)
        line = _between(times, (float(times[first].max()), start), (float(times[later].min()), end))
        if apex < 0:  # afterwards the same movement is followed
            apex = int(np.argmax(np.where(inside, np.linalg.norm(smooth - line, axis=(1, 2)), -1.0)))
        share = _share(smooth - line, smooth[apex] - line[apex])
        apex = int(np.argmax(np.where(inside, share, -np.inf)))
        rising, falling = _share(smooth - start, smooth[apex] - start), _share(smooth - end, smooth[apex] - end)
        onset, onset_place = _foot(times, rising, apex, -1, _floor(rising, before))
        offset, offset_place = _foot(times, falling, apex, 1, _floor(rising, before))
        before = usable & (times < onset_place) & (times > onset_place - rest_before)
        after = usable & (times > offset_place) & (times < offset_place + rest_after)
        inside = (times >= onset_place) & (times <= offset_place)
        if before.sum() < 2 or not inside.any():
            break
    return Measured(onset, apex, offset if ended else len(times) - 1, rising, motion - line)


def _between(
    times: Float[np.ndarray, " frame"],
    start: tuple[float, Float[np.ndarray, "region 2"]],
    end: tuple[float, Float[np.ndarray, "region 2"]],
) -> Float[np.ndarray, "frame region 2"]:
    """Where every region would lie without the movement: on the line from the rest before to the rest after it."""
    (from_time, from_place), (to_time, to_place) = start, end
    share = np.clip((times - from_time) / max(to_time - from_time, 1e-12), 0, 1)
    return from_place + share[:, None, None] * (to_place - from_place)


def _share(
    deviation: Float[np.ndarray, "frame region 2"], peak: Float[np.ndarray, "region 2"]
) -> Float[np.ndarray, " frame"]:
    """How much of the peak every frame shows."""
    return np.einsum("frc,rc->f", deviation, peak) / max(float((peak**2).sum()), 1e-12)


def _smoothed(
    times: Float[np.ndarray, " frame"], values: Float[np.ndarray, "frame region 2"]
) -> Float[np.ndarray, "frame region 2"]:
    """A Gaussian mean over the frames up to `KERNEL` seconds away: one shift of the frames after the other."""
    total, weight = values.copy(), np.ones(len(times))
    for shift in range(1, len(times)):
        apart = times[shift:] - times[:-shift]
        if apart.min() > KERNEL:
            break
        near = np.where(apart <= KERNEL, np.exp(-0.5 * (apart / (SMOOTHING / 2)) ** 2), 0.0)
        total[shift:] += near[:, None, None] * values[:-shift]
        total[:-shift] += near[:, None, None] * values[shift:]
        weight[shift:] += near
        weight[:-shift] += near
    return total / weight[:, None, None]


def _floor(share: Float[np.ndarray, " frame"], quiet: Bool[np.ndarray, " frame"]) -> float:
    """The share of the peak below which a frame can't be told from rest."""
    return float(np.clip(3 * share[quiet].std(), LEVEL, 0.4)) if quiet.sum() > 2 else LEVEL


def _foot(
    times: Float[np.ndarray, " frame"], share: Float[np.ndarray, " frame"], apex: int, step: int, level: float
) -> tuple[int, float]:
    """Where the movement starts (`step` -1) or ends (1): frame, and seconds between frames.

    From the apex outward to where the share of the peak crosses 0.5 and `level`; half a cosine of length T is at a
    share s after T arccos(1 - 2 s) / pi, which gives T and so its foot. Where the movement stopped on its way, that
    length is too long: it is not believed to be longer than twice what any part of the way tells.
    """
    middle = (0.5 + level) / 2
    levels = (0.5, middle, min(2 * level, middle), level)
    half, between, near, low = (_crossing(times, share, apex, step, at) for at in levels)
    at_half, at_middle, at_near, at_low = (math.acos(1 - 2 * at) / math.pi for at in levels)
    lengths = (
        (low - half) / (at_half - at_low),
        BENT * (between - half) / (at_half - at_middle),
        BENT * (low - between) / (at_middle - at_low),
        BENT * (low - near) / (at_near - at_low),
    )
    foot = low + min(lengths, key=abs) * at_low
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
