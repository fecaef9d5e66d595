"""Apex rules on annotated clips: rendered ones, whose apex is known, and drawn ones, whose answer is plain."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from microexpr.datasets import synthetic
from microexpr.datasets._blink import Blink
from microexpr.datasets._render import RenderedFrames
from microexpr.errors import BadInput, UnknownName
from microexpr.faces.detect import detector
from microexpr.faces.regions import NAMES
from microexpr.spotting import apex
from microexpr.spotting.apex import RULES, apex_of
from microexpr.types import Clip


def rendered(subjects: int = 1, head: float = 0.3, **settings) -> list[Clip]:
    """Clips whose apex is at a known frame, their head moving by up to `head` pixels."""
    clips = synthetic.read(subjects=subjects, clips_per_subject=3, fps=70.0, peak=1.5, **settings)
    changed = []
    for clip in clips:
        assert isinstance(clip.frames, RenderedFrames)
        changed.append(dataclasses.replace(clip, frames=dataclasses.replace(clip.frames, head_pixels=head)))
    return changed


@dataclasses.dataclass(frozen=True)
class Shifted:
    """A random texture, shifted to the right by so many whole pixels in each frame."""

    shifts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.shifts)

    def read(self, number: int) -> np.ndarray:
        texture = np.random.default_rng(3).integers(60, 200, (12, 12)).astype(np.uint8)
        picture = np.kron(texture, np.ones((6, 6), np.uint8))
        return np.repeat(np.roll(picture, self.shifts[number], axis=1)[..., None], 3, axis=2)


def clip_of(frames=None, onset: int | None = 0, apex: int | None = None, offset: int | None = 4) -> Clip:
    return Clip("drawn/s/c", "drawn", "drawn/s", "happiness", onset, apex, offset, 100.0, frames=frames)


@pytest.mark.parametrize("head", [0.3, 3.0])
def test_peak_finds_the_apex_whatever_the_head_does(head: float):
    for clip in rendered(head=head):
        found = apex_of(clip, "peak")
        assert abs(found - clip.apex) / clip.fps <= 0.04, clip.key
        assert abs(found - clip.apex) <= 2, clip.key


def test_peak_is_no_blink(monkeypatch):
    """The eyes shut as the movement ends, which is the largest flow beside them; it must be known for what it is."""
    clip = rendered(crop=False)[2]
    length = round(0.15 * clip.fps)
    frames = dataclasses.replace(clip.frames, blinks=(Blink(clip.offset - length, length + 2),))
    blinking, find = dataclasses.replace(clip, frames=frames), detector("haar")
    assert abs(apex_of(blinking, "peak", find=find) - clip.apex) <= 2
    monkeypatch.setattr(apex, "is_blink", lambda *given: False)
    assert apex_of(blinking, "peak", find=find) > clip.apex + 2


def test_peak_less_the_trend_by_hand(monkeypatch):
    """A region drifts by 1 px a frame and moves by 0.9 px more at frame 2. The drift alone would choose the offset."""
    drift = np.zeros((4, len(NAMES), 2), np.float32)
    drift[:, 5, 0] = [1, 2.9, 3, 4]
    monkeypatch.setattr(apex, "_regional_motion", lambda *given: drift)
    assert apex_of(clip_of(Shifted((0,) * 5)), "peak") == 2
    drift[1] = np.nan  # lost there: of the rest the largest departure counts
    drift[2, 5, 1] = 0.1
    assert apex_of(clip_of(Shifted((0,) * 5)), "peak") == 3
    drift[3] = np.nan  # lost at the offset too: the trend ends where the head was last followed
    drift[0, 5, 1] = 0.5
    assert apex_of(clip_of(Shifted((0,) * 5)), "peak") == 1


def test_peak_in_whole_frames_needs_a_detector():
    clip = rendered(head=3.0, crop=False)[0]
    assert abs(apex_of(clip, "peak", find=detector("haar")) - clip.apex) <= 2


def test_mean_flow_picks_late_frames_where_the_head_drifts():
    """Not a fault of ours but of the rule: the head's motion counts and grows."""
    still, drifting = rendered(head=0.0), rendered(head=3.0)
    late = [apex_of(clip, "mean-flow") - clip.apex for clip in drifting]
    assert np.median(late) / 70 > 0.1
    early = [apex_of(clip, "mean-flow") - clip.apex for clip in still]
    assert np.median(np.abs(early)) / 70 <= 0.03


def test_mean_flow_by_hand():
    """The largest shift counts; of equal frames the first; the offset counts, what lies outside does not."""
    assert apex_of(clip_of(Shifted((0, 1, 2, 1, 0))), "mean-flow") == 2
    assert apex_of(clip_of(Shifted((0, 2, 1, 2, 0))), "mean-flow") == 1
    assert apex_of(clip_of(Shifted((0, 0, 1, 1, 2))), "mean-flow") == 4
    assert apex_of(clip_of(Shifted((2, 0, 1, 0, 0, 2)), onset=1), "mean-flow") == 2


def test_annotated_and_middle_read_no_frame():
    assert apex_of(clip_of(apex=3), "annotated") == 3
    assert apex_of(clip_of(onset=2, offset=8), "middle") == 5
    assert apex_of(clip_of(onset=2, offset=3), "middle") == 3  # the onset itself would have no motion


def test_every_rule_is_described_and_answers_inside_the_clip():
    clip = rendered()[0]
    for rule, what in RULES.items():
        assert what
        assert clip.onset < apex_of(clip, rule) <= clip.offset


def test_what_a_clip_lacks_is_named():
    with pytest.raises(UnknownName, match="did you mean 'peak'"):
        apex_of(clip_of(), "peek")
    with pytest.raises(UnknownName, match="flow mode"):
        apex_of(clip_of(), "middle", mode="fast")
    with pytest.raises(BadInput, match="an annotated apex, got drawn/s/c without one; use another rule: middle"):
        apex_of(clip_of(), "annotated")
    for rule in ("middle", "mean-flow", "peak"):
        with pytest.raises(BadInput, match="without onset"):
            apex_of(clip_of(onset=None), rule)
        with pytest.raises(BadInput, match="without offset"):
            apex_of(clip_of(offset=None), rule)
        with pytest.raises(BadInput, match=r"two frames or more, .* got drawn/s/c from frame 4 to 4"):
            apex_of(clip_of(onset=4), rule)
    for rule in ("mean-flow", "peak"):
        with pytest.raises(BadInput, match=f"frames for the apex rule '{rule}', got drawn/s/c without"):
            apex_of(clip_of(), rule)


def test_peak_says_where_no_head_can_be_followed():
    class Plain:
        def __len__(self) -> int:
            return 5

        def read(self, number: int) -> np.ndarray:
            return np.full((64, 64, 3), 90, np.uint8)

    with pytest.raises(BadInput, match="a face that can be followed, got none in the frames 1 to 4"):
        apex_of(clip_of(Plain()), "peak")
    with pytest.raises(BadInput, match="expected a face, got none in frame 0"):
        apex_of(clip_of(Plain()), "peak", find=detector("haar"))
