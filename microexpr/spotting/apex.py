"""Rules that name the apex of an annotated clip: onset and offset are known, the frame in between is chosen."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float32

from microexpr.errors import BadInput, UnknownName
from microexpr.faces.align import Registration
from microexpr.faces.detect import Detector, choose, detector, faces_in, gray
from microexpr.faces.regions import NAMES, NEAR_EYES, eye_motion, region_means
from microexpr.motion.flow import check_mode, flow_between, magnitude
from microexpr.spotting.intervals import is_blink
from microexpr.types import Clip, Frames

SIZE = 112  # pixels, of the aligned face that regional motion is measured on

# name -> what it chooses
RULES: dict[str, str] = {
    "annotated": "the apex that the data set gives",
    "middle": "the frame in the middle between onset and offset, the later of two",
    "mean-flow": "the frame with the largest mean flow from the onset, the MJFN paper's rule for SMIC",
    "peak": "the frame in which one region has moved most, less the slow trend from onset to offset",
}


def apex_of(clip: Clip, rule: str, mode: str = "clg", *, find: Detector | None = None) -> int:
    """The apex of a clip by a rule's name, a frame number.

    ``"mean-flow"`` is the rule of Li, Wei, Wang and Zhou 2021 (MJFN) for SMIC: the largest mean of sqrt(u^2 + v^2) over
    the picture as it is; the onset is left out, the offset is not, and of equal frames the first counts. Whatever else
    moves counts too: where the head drifts, the motion grows to the end of the clip, and so it picks late frames.

    ``"peak"`` aligns every frame to the onset frame (`faces.align`), takes the mean flow of each named region
    (`faces.regions`) from the onset, subtracts the straight line from zero at the onset to its value at the offset, and
    chooses the frame in which the longest of these vectors is longest. Frames with a lost head are passed over; in a
    blink (`spotting.intervals.is_blink`) the regions beside the eyes don't count.

    Args:
        clip: frames are read for ``"mean-flow"`` and ``"peak"`` only, each once.
        rule: a key of `RULES`.
        mode: of the flow, see `motion.flow.flow_between`.
        find: what finds the face in the onset frame, for ``"peak"``; None where the frames are face crops, which should
            reach from the brows to the chin as `faces.detect` says: in another crop the regions lie elsewhere.

    Raises:
        UnknownName: no such rule or flow mode.
        BadInput: the clip lacks what the rule needs: an annotated apex, onset and offset, two frames, pictures, a face.
    """
    if rule not in RULES:
        raise UnknownName("apex rule", rule, RULES)
    check_mode(mode)
    if rule == "annotated":
        if clip.apex is None:
            others = ", ".join(name for name in RULES if name != rule)
            raise BadInput("a clip with an annotated apex", f"{clip.key} without one", f"use another rule: {others}")
        return clip.apex
    onset, offset = _ends(clip, rule)
    if rule == "middle":
        return (onset + offset + 1) // 2
    if clip.frames is None:
        advice = "load its data set with frames, or use the rule annotated or middle"
        raise BadInput(f"a clip with frames for the apex rule {rule!r}", f"{clip.key} without", advice)
    if rule == "mean-flow":
        return _mean_flow(clip.frames, onset, offset, mode)
    return _peak(clip.frames, onset, offset, mode, find or detector("precropped"))


def with_apex(clip: Clip, rule: str = "mean-flow") -> Clip:
    """The clip with an apex: its own, or that of a rule where it has frames and no apex."""
    if clip.apex is not None or clip.frames is None:
        return clip
    return dataclasses.replace(clip, apex=apex_of(clip, rule))


def _ends(clip: Clip, rule: str) -> tuple[int, int]:
    """Onset and offset of a clip that has both, in their order."""
    onset, offset = clip.onset, clip.offset
    if onset is None or offset is None:
        missing = "onset" if onset is None else "offset"
        advice = f"use dataclasses.replace(clip, {missing}=number)"
        raise BadInput(
            f"a clip with onset and offset for the apex rule {rule!r}", f"{clip.key} without {missing}", advice
        )
    if offset <= onset:
        came = f"{clip.key} from frame {onset} to {offset}"
        raise BadInput("a clip of two frames or more, the offset after the onset", came, "check its annotation")
    return onset, offset


def _mean_flow(frames: Frames, onset: int, offset: int, mode: str) -> int:
    first = frames.read(onset)
    numbers = range(onset + 1, offset + 1)
    means = [float(magnitude(flow_between(first, frames.read(number), mode=mode)).mean()) for number in numbers]
    return numbers[int(np.argmax(means))]


def _peak(frames: Frames, onset: int, offset: int, mode: str, find: Detector) -> int:
    moved = _regional_motion(frames, onset, offset, mode, find)
    followed = np.flatnonzero(np.isfinite(moved).all(axis=(1, 2)))
    if not len(followed):
        came = f"none in the frames {onset + 1} to {offset}"
        raise BadInput("a face that can be followed", came, "use larger or sharper pictures, or another rule")
    # The trend ends at the last frame that could be followed: the offset, as a rule.
    steps = np.arange(1, len(moved) + 1, dtype=np.float32)
    last = followed[-1]
    left = moved[followed] - (steps[followed] / steps[last])[:, None, None] * moved[last]
    strongest = np.hypot(left[..., 0], left[..., 1]).max(axis=1)
    return onset + 1 + int(followed[np.argmax(strongest)])


def _regional_motion(
    frames: Frames, onset: int, offset: int, mode: str, find: Detector
) -> Float32[np.ndarray, "frame region 2"]:
    """Mean flow of the regions from the onset to every frame after it; not-a-number where the head is lost.

    Zero beside the eyes in a blink.
    """
    first = gray(frames.read(onset))
    face, _ = choose(faces_in(first, onset, find), onset)
    registration = Registration(first, face, size=SIZE)
    rest = registration.align(first).image
    moved = np.full((offset - onset, len(NAMES), 2), np.nan, np.float32)
    for row, number in enumerate(range(onset + 1, offset + 1)):
        aligned = registration.align(gray(frames.read(number)))
        if not aligned.lost:
            field = flow_between(rest, aligned.image, mode=mode)
            moved[row] = region_means(field)
            if is_blink(np.concatenate([np.hypot(*moved[row].T), eye_motion(field)]), len(NAMES), NEAR_EYES):
                moved[row, list(NEAR_EYES)] = 0
    return moved
