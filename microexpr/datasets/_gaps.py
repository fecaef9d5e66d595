"""Numbers within a clip that have no file: recordings drop frames, and so do copies."""

from __future__ import annotations

from microexpr.datasets._files import NumberedFrames
from microexpr.datasets._survey import Interval, Survey


def tell(found: Survey, where: str, interval: Interval, frames: NumberedFrames, usual: int = 0) -> int:
    """A finding for a clip in which numbers between onset and offset have no file.

    Args:
        found: takes it.
        where: the clip.
        interval: onset and offset, both within the files.
        frames: of the clip, or of the recording it lies in.
        usual: as many missing numbers as the release itself has at most; up to that it is a note, above it a warning.

    Returns:
        How many are missing.
    """
    if frames.numbers[-1] - frames.numbers[0] + 1 == len(frames) or interval.onset is None or interval.offset is None:
        return 0
    there = set(frames.numbers)
    missing = [number for number in range(interval.onset, interval.offset + 1) if number not in there]
    if missing:
        what = f"{len(missing)} frame{'s' * (len(missing) > 1)} without a file, the first {missing[0]}"
        tell_so = found.note if len(missing) <= usual else found.warning
        tell_so(where, what, "the frame before is read in its place")
    return len(missing)
