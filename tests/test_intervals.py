"""The spotter on made-up motion: when movements begin, peak and end, and that nothing else is taken for one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microexpr.errors import BadInput
from microexpr.faces.regions import NAMES, NEAR_EYES
from microexpr.spotting.answers import Interval, Spotting
from microexpr.spotting.intervals import BASELINE_SECONDS, TAIL, Spotter, is_blink

REGIONS = len(NAMES)
MOUTH = tuple(NAMES.index(name) for name in ("left mouth corner", "right mouth corner"))
BROWS = NEAR_EYES[:2]
NOSE = NAMES.index("nose")
CHIN = NAMES.index("chin")
NOISE = 0.015  # pixels, of each component


def clock(fps: float | str, seconds: float, seed: int = 0) -> np.ndarray:
    """Times of frames; "uneven" is a camera whose frames lie 4 to 18 ms apart."""
    if isinstance(fps, str):
        return np.cumsum(np.random.default_rng([1, seed]).uniform(0.004, 0.018, round(seconds / 0.011)))
    return np.arange(round(seconds * fps)) / fps


def bump(times: np.ndarray, onset: float, apex: float, offset: float) -> np.ndarray:
    """Half a cosine up and half a cosine down, 0..1."""
    place = np.minimum((times - onset) / (apex - onset), (offset - times) / (offset - apex))
    return 0.5 - 0.5 * np.cos(math.pi * np.clip(place, 0, 1))


def quiet(times: np.ndarray, seed: int = 0, noise: float = NOISE, trend: float = 0.15) -> np.ndarray:
    """Noise, and trends of up to `trend` pixels with periods of 10 s or more; each region has its own."""
    random = np.random.default_rng([2, seed])
    phase = random.uniform(0, 2 * math.pi, (REGIONS, 2))
    hertz = random.uniform(0.02, 0.1, (REGIONS, 2))
    slow = trend * np.sin(2 * math.pi * hertz * times[:, None, None] + phase)
    return slow + noise * random.standard_normal((len(times), REGIONS, 2))


def moving(times: np.ndarray, *when: float, size: float = 0.6, regions: tuple[int, ...] = MOUTH) -> np.ndarray:
    """A movement of some regions by `size` pixels, each in its own direction."""
    field = np.zeros((REGIONS, 2))
    for number, region in enumerate(regions):
        field[region] = size * math.cos(number + 0.5), size * math.sin(number + 0.5)
    return bump(times, *when)[:, None, None] * field


def raised(times: np.ndarray, start: float, end: float, size: float = 0.6) -> np.ndarray:
    """The mouth corners move and stay there."""
    return moving(np.minimum(times, end), start, end, end + 1, size=size)


def blinking(times: np.ndarray, start: float, end: float, carried: float = 1.0, seed: int = 0):
    """Motion of the regions beside the eyes, and of the eyes, in a blink."""
    when = start, start + (end - start) / 3, end
    eyes = np.abs(0.02 * np.random.default_rng([3, seed]).standard_normal((len(times), 2)))
    eyes += 2.0 * bump(times, *when)[:, None]
    return moving(times, *when, size=carried, regions=NEAR_EYES), eyes


def push_all(spotter: Spotter, times: np.ndarray, motion, eyes=None) -> list[list[Interval]]:
    """What every frame ends."""
    return [spotter.push(k, float(times[k]), motion[k], None if eyes is None else eyes[k]) for k in range(len(times))]


def spot(times: np.ndarray, motion, eyes=None, **chosen: float) -> list[Interval]:
    spotter = Spotter(Spotting(**chosen), NEAR_EYES)
    return [found for each in push_all(spotter, times, motion, eyes) for found in each] + spotter.flush()


# Movements and their times


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("fps", "tolerance"), [(200, 0.021), (100, 0.021), (30, 0.034), ("uneven", 0.03)])
def test_a_movement_is_found_with_its_times(fps, tolerance, seed):
    times, truth = clock(fps, 3.2, seed), (1.5, 1.62, 1.85)
    (found,) = spot(times, quiet(times, seed) + moving(times, *truth))
    assert found.seconds == pytest.approx(truth, abs=tolerance)
    assert [times[number] for number in (found.onset, found.apex, found.offset)] == list(found.seconds)
    assert found.kind == "micro"
    assert found.cut is None
    assert not found.rising
    assert found.strength == pytest.approx(0.6, abs=0.08)
    assert found.motion[MOUTH[0]] == pytest.approx(0.6, abs=0.1)
    assert max(found.motion) == found.strength
    assert max(np.delete(found.motion, MOUTH)) < 0.15
    assert 0.5 * NOISE < found.noise < 3 * NOISE


def test_times_without_noise_are_exact_to_a_frame():
    times = clock(200, 3)
    (found,) = spot(times, moving(times, 1.0, 1.15, 1.4, size=1.0))
    assert np.abs(np.subtract((found.onset, found.apex, found.offset), (200, 230, 280))).max() <= 1
    assert found.strength == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_two_movements_close_together_are_both_found(seed):
    times = clock(100, 4.0)
    motion = quiet(times, seed) + moving(times, 1.4, 1.52, 1.7)
    motion += moving(times, 2.3, 2.42, 2.6, regions=(NOSE, CHIN), size=0.5)  # 0.6 s after the other
    first, second = spot(times, motion)
    assert first.seconds == pytest.approx((1.4, 1.52, 1.7), abs=0.025)
    assert second.seconds == pytest.approx((2.3, 2.42, 2.6), abs=0.025)
    assert int(np.argmax(first.motion)) in MOUTH
    assert int(np.argmax(second.motion)) in (NOSE, CHIN)


def test_a_movement_is_told_a_moment_after_its_end():
    times = clock(100, 4.0)
    each = push_all(Spotter(), times, quiet(times) + moving(times, 1.5, 1.62, 1.8))
    (told,) = [number for number, found in enumerate(each) if found]
    assert 1.8 < times[told] < 1.8 + TAIL + 0.02


@pytest.mark.parametrize("lasts", [0.7, 1.5])
def test_a_movement_over_half_a_second_is_a_macro_expression(lasts):
    times = clock(100, 5.0)
    (found,) = spot(times, quiet(times) + moving(times, 1.5, 1.5 + lasts / 2, 1.5 + lasts))
    assert found.kind == "macro"
    assert found.cut is None
    assert found.seconds == pytest.approx((1.5, 1.5 + lasts / 2, 1.5 + lasts), abs=0.15 * lasts)


def test_half_a_second_is_still_a_micro_expression():
    times = clock(100, 3.5)
    motion = moving(times, 1.5, 1.7, 2.0)
    assert [found.kind for found in spot(times, motion)] == ["micro"]
    assert [found.kind for found in spot(times, motion, longest=0.3)] == ["macro"]


def test_what_is_shorter_than_the_shortest_is_left_out():
    times = clock(200, 2.5)
    motion = moving(times, 1.0, 1.06, 1.14)
    assert len(spot(times, motion)) == 1
    assert spot(times, motion, shortest=0.2) == []


def test_a_held_face_ends_and_becomes_the_face_at_rest():
    times = clock(50, 7.0)
    motion = quiet(times) + raised(times, 1.5, 1.7)
    motion += moving(times, 5.0, 5.12, 5.3, regions=(NOSE,))
    held, later = spot(times, motion, held=2.0)
    assert (held.kind, held.cut) == ("macro", "it was held")
    assert held.seconds[0] == pytest.approx(1.5, abs=0.04)
    assert held.seconds[2] == pytest.approx(3.5, abs=0.15)
    assert later.kind == "micro"
    assert later.seconds == pytest.approx((5.0, 5.12, 5.3), abs=0.04)


FPS = [30, 100, 200]


def stepped(times: np.ndarray, start: float, end: float, size: float = 0.6, regions=MOUTH) -> np.ndarray:
    """The regions move and stay."""
    return moving(np.minimum(times, end), start, end, end + 1, size=size, regions=regions)


@pytest.mark.parametrize("fps", FPS)
def test_a_movement_on_a_held_face_is_one_of_its_own(fps):
    """The brows rise and stay, half a second later the mouth smiles; both have their own onset."""
    times = clock(fps, 4.0)
    motion = quiet(times) + stepped(times, 1.0, 1.2, 0.8, BROWS)
    held, smile = spot(times, motion + moving(times, 2.0, 2.12, 2.3))
    assert (held.kind, held.cut) == ("macro", "it was held")
    assert held.seconds[0] == pytest.approx(1.0, abs=0.04)
    assert 1.8 < held.seconds[2] < smile.seconds[0]
    assert (smile.kind, smile.cut) == ("micro", None)
    assert smile.seconds == pytest.approx((2.0, 2.12, 2.3), abs=0.04)
    assert smile.motion[BROWS[0]] < 0.2


@pytest.mark.parametrize("fps", FPS)
def test_a_held_face_that_goes_back_is_one_movement(fps):
    times = clock(fps, 5.0)
    (found,) = spot(times, quiet(times) + stepped(times, 1.0, 1.2) - stepped(times, 2.7, 2.9))
    assert (found.kind, found.cut) == ("macro", None)
    assert (found.seconds[0], found.seconds[2]) == pytest.approx((1.0, 2.9), abs=0.05)


@pytest.mark.parametrize("fps", FPS)
def test_the_way_back_of_a_face_told_as_held_is_no_movement(fps):
    times = clock(fps, 6.0)
    motion = quiet(times) + stepped(times, 1.0, 1.2, 0.8) - stepped(times, 3.7, 3.9, 0.8)
    held, brows = spot(times, motion + moving(times, 2.3, 2.42, 2.6, regions=BROWS))
    assert (held.kind, brows.kind) == ("macro", "micro")
    assert brows.seconds == pytest.approx((2.3, 2.42, 2.6), abs=0.04)


@pytest.mark.parametrize("fps", FPS)
def test_a_movement_that_comes_to_rest_elsewhere_has_ended_there(fps):
    times = clock(fps, 4.0)
    motion = moving(times, 1.5, 1.62, 1.8) + stepped(times, 1.5, 1.62, 0.25)
    (found,) = spot(times, quiet(times, trend=0.02) + motion)
    assert (found.kind, found.cut) == ("micro", None)
    assert found.seconds[:2] == pytest.approx((1.5, 1.62), abs=0.04)
    assert found.seconds[2] == pytest.approx(1.8, abs=0.15)


def test_a_stop_on_the_way_up_does_not_move_the_onset():
    """Half a cosine laid through both parts of the rise would begin half a second earlier."""
    times = clock(100, 4.0)
    motion = stepped(times, 1.5, 1.6, 0.3) + stepped(times, 2.0, 2.1, 1.0) - stepped(times, 2.2, 2.4, 1.3)
    (found,) = spot(times, quiet(times) + motion)
    assert found.seconds[0] == pytest.approx(1.5, abs=0.05)


def calm(times: np.ndarray, seed: int = 0) -> np.ndarray:
    return quiet(times, seed, trend=0.05)


@pytest.mark.parametrize("fps", [25, 30, 50])
@pytest.mark.parametrize("seed", range(4))
def test_short_movements_between_few_frames_end(fps, seed):
    """A movement that falls already when it is found still has the peak that it was found by."""
    times = clock(fps, 6.0, seed)
    for found in spot(times, calm(times, seed) + moving(times, 3.0, 3.05, 3.12)):
        assert found.kind == "micro"
        assert found.seconds == pytest.approx((3.0, 3.05, 3.12), abs=0.08)


def test_a_pulse_of_one_frame_without_noise_is_no_crash():
    motion = np.zeros((175, REGIONS, 2))
    motion[86:88] = moving(np.array([0.5]), 0, 0.5, 1)[0]
    assert len(spot(clock(25, 7.0), motion)) <= 1


@pytest.mark.parametrize("fps", FPS)
def test_a_blink_in_a_held_smile_does_not_end_it(fps):
    times = clock(fps, 7.0)
    near, eyes = blinking(times, 2.3, 2.55)
    motion = calm(times) + stepped(times, 2.0, 2.2, 0.8) - stepped(times, 3.5, 3.7, 0.8)
    (found,) = spot(times, motion + near, eyes)
    assert (found.kind, found.cut) == ("macro", None)
    assert (found.seconds[0], found.seconds[2]) == pytest.approx((2.0, 3.7), abs=0.06)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("fps", "size", "noise"), [(200, 0.4, 0.015), (200, 0.6, 0.03), (200, 0.8, 0.03), (30, 0.4, 0.015)]
)
def test_a_weak_smile_is_held_until_it_goes_back(fps, size, noise, seed):
    """One noisy frame of a held face, or a fast way back, is not where it comes to rest."""
    times = clock(fps, 7.0, seed)
    motion = quiet(times, seed, noise, 0.05) + stepped(times, 2, 2.25, size) - stepped(times, 4.23, 4.48, size)
    (found,) = spot(times, motion)
    assert (found.kind, found.cut) == ("macro", None)
    assert (found.seconds[0], found.seconds[2]) == pytest.approx((2.0, 4.48), abs=0.08)


@pytest.mark.parametrize("fps", FPS)
def test_the_way_home_from_where_a_movement_ended_is_no_movement(fps):
    times = clock(fps, 8.0)
    motion = calm(times) + stepped(times, 2, 2.2, 1.0) - stepped(times, 3, 3.2, 0.5) - stepped(times, 5, 5.2, 0.5)
    (found,) = spot(times, motion)
    assert found.seconds[2] < 3.3


@pytest.mark.parametrize("fps", FPS)
@pytest.mark.parametrize("later", [0.2, 0.25])
def test_movements_of_two_regions_that_overlap_leave_no_other_behind(fps, later):
    times = clock(fps, 8.0)
    motion = calm(times) + moving(times, 1.5, 1.65, 1.8)
    motion += moving(times, 1.5 + later, 1.65 + later, 1.8 + later, regions=BROWS)
    found = spot(times, motion)
    assert found
    assert all(one.kind == "micro" and 1.45 < one.seconds[0] < one.seconds[2] < 2.1 for one in found)


@pytest.mark.parametrize("fps", FPS)
def test_a_held_face_and_the_movement_on_it_do_not_overlap(fps):
    times = clock(fps, 7.0)
    motion = calm(times) + stepped(times, 2.0, 2.2, 0.8) - stepped(times, 5.0, 5.2, 0.8)
    held, micro = spot(times, motion + moving(times, 3.2, 3.35, 3.5, size=0.4))
    assert held.seconds[1] <= held.seconds[2] <= micro.seconds[0]
    assert held.strength == pytest.approx(0.8, abs=0.1)
    assert micro.seconds == pytest.approx((3.2, 3.35, 3.5), abs=0.06)


@pytest.mark.parametrize("seed", range(3))
def test_the_onset_of_a_staircase_is_its_first_step(seed):
    times = clock(100, 8.0, seed)
    steps = sum(stepped(times, 1.5 + 0.4 * k, 1.7 + 0.4 * k, 0.4) for k in range(3))
    assert spot(times, quiet(times, seed, trend=0.02) + steps)[0].seconds[0] == pytest.approx(1.5, abs=0.12)


@pytest.mark.parametrize("lasts", [2.0, 3.0])
def test_a_slow_expression_ends_where_it_comes_to_rest(lasts):
    times = clock(100, 8.0)
    (found,) = spot(times, calm(times) + moving(times, 2.0, 2.0 + lasts / 2, 2.0 + lasts, size=1.0))
    assert (found.seconds[0], found.seconds[2]) == pytest.approx((2.0, 2.0 + lasts), abs=0.25)


def test_a_video_that_begins_in_a_movement_has_no_other_one():
    times = clock(100, 6.0)
    assert spot(times, calm(times) + moving(times + 0.1, 0.0, 0.08, 0.2)) == []
    assert spot(times, calm(times) + moving(times + 0.5, 0.0, 0.3, 1.0)) == []


@pytest.mark.parametrize(("fps", "gap"), [(100, 1.0), (60, 0.6), (50, 5.0)])
def test_missing_frames_cut_a_movement(fps, gap):
    times = clock(fps, 8.0)
    late = times + gap * (times > 2.1)
    (found,) = spot(late, calm(times) + moving(times, 2.0, 2.12, 2.3))
    assert found.cut == "frames are missing"
    assert found.seconds[2] <= 2.1 + 1e-9
    (later,) = spot(times + gap * (times > 3.0), calm(times) + moving(times, 2.0, 2.12, 2.3))
    assert later.cut is None


def test_a_movement_of_other_regions_is_no_way_home():
    """The mouth sinks back by chance while the brows move: the brows are told."""
    times = clock(60, 9.0)
    motion = calm(times) + stepped(times, 0.6, 0.8, 0.8) - stepped(times, 5.3, 5.6, 0.8)
    found = spot(times, motion + stepped(times, 4.9, 5.2, 1.5, BROWS))
    assert any(one.motion[BROWS[0]] > 1 or one.motion[BROWS[1]] > 1 for one in found)


@pytest.mark.parametrize("fps", [25, 60, 200])
def test_a_weaker_movement_under_way_leaves_no_other_behind(fps):
    times = clock(fps, 9.0)
    motion = calm(times) + moving(times, 2.0, 2.13, 2.35, size=1.3)
    found = spot(times, motion + moving(times, 2.2, 2.42, 2.55, size=0.5, regions=(CHIN,)))
    assert all(one.seconds[2] < 2.8 for one in found)


@pytest.mark.parametrize("fps", [25, 60, 200])
def test_a_held_face_and_a_slow_movement_on_it_overlap_little(fps):
    """What rises slowly is seen late, and then the held face is told at once."""
    times = clock(fps, 9.0)
    motion = calm(times) + stepped(times, 2.0, 2.3, 2.0)
    held, slow = spot(times, motion + moving(times, 4.0, 5.4, 6.4, size=0.7, regions=BROWS))[:2]
    assert slow.seconds[0] == pytest.approx(4.0, abs=0.1)
    assert held.seconds[2] <= slow.seconds[0] + 0.45


# Nothing


@pytest.mark.parametrize(
    ("fps", "seconds", "seed"), [(50, 60, 0), (30, 60, 1), (30, 60, 2), (200, 8, 3), ("uneven", 15, 4)]
)
def test_quiet_video_has_no_movement(fps, seconds, seed):
    times = clock(fps, seconds, seed)
    assert spot(times, quiet(times, seed, trend=0.3)) == []


@pytest.mark.parametrize("fps", FPS)
@pytest.mark.parametrize("noise", [0.05, 0.15])
def test_a_face_noisy_from_its_first_frame_on_has_no_movement(fps, noise):
    """Noise that stands above the threshold of a quiet face is known by the differences of neighboring frames."""
    times = clock(fps, 12.0)
    assert spot(times, quiet(times, noise=noise)) == []
    (found,) = spot(times, quiet(times, noise=noise) + moving(times, 8.0, 8.12, 8.3, size=20 * noise))
    assert found.seconds == pytest.approx((8.0, 8.12, 8.3), abs=0.05)
    assert noise < found.noise < 2.2 * noise


@pytest.mark.parametrize("times_each", [2, 3, 4])
@pytest.mark.parametrize("noise", [0.05, 0.15])
def test_repeated_frames_do_not_hide_the_noise(times_each, noise):
    """25 frames a second stored as 100."""
    times = clock(100, 12.0)
    slow = quiet(times[::times_each], noise=noise)
    assert spot(times, np.repeat(slow, times_each, axis=0)[: len(times)]) == []


def test_a_clip_that_begins_with_its_onset_is_found():
    """Few frames tell little of the noise, yet enough for a movement well above it."""
    for fps in (100, 200):
        times = clock(fps, 1.0)
        (found,) = spot(times, quiet(times) + moving(times, 0.04, 0.2, 0.4, size=0.8))
        assert found.seconds[1:] == pytest.approx((0.2, 0.4), abs=0.03)


@pytest.mark.parametrize("size", [0.03, 0.07])
def test_below_the_smallest_motion_nothing_is_found(size):
    times = clock(100, 3.0)
    motion = quiet(times, noise=0.004, trend=0) + moving(times, 1.5, 1.62, 1.8, size=size)
    assert spot(times, motion) == []
    (found,) = spot(times, motion, smallest=0.02, factor=2.0)  # it is there
    assert found.seconds[1] == pytest.approx(1.62, abs=0.03)


def test_the_smallest_motion_is_a_setting():
    times = clock(100, 3.0)
    motion = quiet(times) + moving(times, 1.5, 1.62, 1.8)
    assert len(spot(times, motion, smallest=0.5)) == 1
    assert spot(times, motion, smallest=0.7) == []


def test_a_noisy_region_needs_more_motion_than_a_still_one():
    times = clock(100, 6.0)
    rest = quiet(times, noise=0.01, trend=0)
    rest[:, NOSE] += 0.05 * np.random.default_rng(7).standard_normal((len(times), 2))
    when = 4.0, 4.12, 4.3
    assert spot(times, rest) == []
    assert spot(times, rest + moving(times, *when, size=0.25, regions=(NOSE,))) == []
    (found,) = spot(times, rest + moving(times, *when, size=0.25, regions=(CHIN,)))
    assert found.seconds == pytest.approx(when, abs=0.03)
    assert found.noise < 0.03
    (strong,) = spot(times, rest + moving(times, *when, size=0.9, regions=(NOSE,)))
    assert 0.05 < strong.noise < 0.12  # 0.07 is the length of both components


def test_threshold_and_level_are_those_of_the_region_that_stands_out():
    times = clock(100, 4.0)
    rest = quiet(times, noise=0.01, trend=0)
    rest[:, NOSE] += 0.06 * np.random.default_rng(7).standard_normal((len(times), 2))
    spotter = Spotter(Spotting(factor=8.0))
    push_all(spotter, times, rest)
    assert not spotter.moving
    now = rest[-1] + moving(np.array([0.5]), 0, 0.5, 1, regions=(NOSE,))[0]
    spotter.push(400, 4.0, now)
    assert 8 * 0.06 < spotter.threshold < 8 * 0.12  # sqrt(2) * 0.06 in all
    assert spotter.level == pytest.approx(0.3, abs=0.15)  # averaged with the frame before it
    still = Spotter()
    push_all(still, times, quiet(times, noise=1e-6, trend=0))
    assert (still.level, still.threshold) == (pytest.approx(0, abs=1e-4), 0.1)


def test_moving_says_whether_a_movement_is_under_way():
    times = clock(100, 3.0)
    motion = quiet(times) + moving(times, 1.5, 1.62, 1.8)
    spotter, under_way = Spotter(), []
    for number, seconds in enumerate(times):
        spotter.push(number, float(seconds), motion[number])
        under_way.append(spotter.moving)
    assert not any(under_way[:150])
    assert all(under_way[160:180])
    assert not any(under_way[195:])


# Blinks


@pytest.mark.parametrize("carried", [0.3, 1.0, 1.9])
def test_a_blink_is_no_movement(carried):
    times = clock(100, 3.5)
    near, eyes = blinking(times, 1.5, 1.75, carried)
    motion = quiet(times) + near
    assert spot(times, motion, eyes) == []
    (taken,) = spot(times, motion)  # without the eyes nobody can tell
    assert taken.seconds[0] == pytest.approx(1.5, abs=0.03)


def test_a_movement_of_the_brows_is_no_blink():
    """The lids go along a little: up to 0.57 of the brows, as `faces.regions.eye_motion` says."""
    times = clock(100, 3.0)
    brows, eyes = blinking(times, 1.5, 1.75)
    (found,) = spot(times, quiet(times) + brows, 0.25 * eyes)
    assert found.seconds == pytest.approx((1.5, 1.583, 1.75), abs=0.025)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("after", [0.0, 0.1, 0.2, 0.25, 0.3, 0.5])
def test_a_movement_of_the_mouth_is_found_in_and_after_a_blink(after, seed):
    """The face at rest is the one with open eyes: else the open eyes would be the movement, which does not end."""
    times = clock(100, 4.5)
    near, eyes = blinking(times, 1.5, 1.75, seed=seed)
    when = 1.5 + after, 1.62 + after, 1.8 + after
    (found,) = spot(times, quiet(times, seed) + near + moving(times, *when), eyes)
    assert found.kind == "micro"
    assert int(np.argmax(found.motion)) in MOUTH
    assert found.seconds[1] == pytest.approx(when[1], abs=0.03)
    assert found.seconds == pytest.approx(when, abs=0.08 if after < 0.2 else 0.03)


@pytest.mark.parametrize("seed", range(2))
def test_a_strong_blink_before_a_movement_is_no_part_of_the_rest_before_it(seed):
    times = clock(100, 3.0)
    near, eyes = blinking(times, 1.5, 1.75, carried=1.9, seed=seed)
    (found,) = spot(times, quiet(times, seed) + near + moving(times, 1.9, 2.02, 2.2), eyes)
    assert found.seconds == pytest.approx((1.9, 2.02, 2.2), abs=0.03)
    assert max(found.motion[region] for region in NEAR_EYES) < 0.2


def test_a_movement_before_a_blink_keeps_its_times():
    times = clock(100, 4.0)
    near, eyes = blinking(times, 1.85, 2.1)
    (found,) = spot(times, quiet(times) + near + moving(times, 1.5, 1.62, 1.8), eyes)
    assert found.seconds == pytest.approx((1.5, 1.62, 1.8), abs=0.03)


def test_shut_eyes_and_their_opening_are_no_movement():
    times = clock(100, 6.0)
    near, eyes = blinking(np.clip(times, 1.0, 1.1), 1.0, 1.3)  # down
    opening = bump(times, 3.3, 3.5, 3.7) * (times <= 3.5) + (times > 3.5)
    near, eyes = near * (1 - opening)[:, None, None], eyes * (1 - opening)[:, None]
    assert spot(times, quiet(times) + near, eyes) == []


def test_is_blink_by_hand():
    lengths = np.array([1.0, 5.0, 2.0, 1.5, 0.1])  # three regions, two eyes
    assert is_blink(lengths, 3, (0, 2))  # 1.5 > 0.7 * 2
    assert not is_blink(lengths, 3, (1,))
    assert not is_blink(lengths, 3, ())
    assert not is_blink(lengths[:3], 3, (0,))


# Cut movements

RISING = [(1.62, True), (1.68, True), (1.82, False)]


def rise() -> tuple[np.ndarray, np.ndarray]:
    times = clock(100, 3.0)
    return times, quiet(times) + moving(times, 1.5, 1.7, 1.9)


@pytest.mark.parametrize(("end", "rising"), RISING)
def test_a_movement_is_cut_by_the_end_of_the_video(end, rising):
    times, motion = rise()
    last = round(100 * end)
    (found,) = spot(times[:last], motion[:last])
    assert found.cut == "the video ended"
    assert found.rising is rising
    assert found.offset == last - 1
    assert found.seconds[0] == pytest.approx(1.5, abs=0.03)
    assert found.apex == (last - 1 if rising else pytest.approx(170, abs=2))


@pytest.mark.parametrize(("end", "rising"), RISING)
def test_a_movement_is_cut_by_a_lost_face(end, rising):
    times, motion = rise()
    last = round(100 * end)
    frames = [None if last <= number < last + 40 else motion[number] for number in range(len(times))]
    spotter = Spotter()
    each = push_all(spotter, times, frames)
    assert [number for number, found in enumerate(each) if found] == [last]
    (found,) = each[last]
    assert found.cut == "the face was lost"
    assert (found.rising, found.offset) == (rising, last - 1)
    assert spotter.flush() == []


def test_a_movement_that_has_returned_is_not_cut():
    times, motion = rise()
    (found,) = spot(times[:188], motion[:188])
    assert found.cut is None
    assert found.seconds == pytest.approx((1.5, 1.7, 1.88), abs=0.03)


def test_without_a_face_there_is_no_level_and_the_next_face_starts_anew():
    times = clock(100, 4.0)
    motion = quiet(times)
    motion[200:] += 3.0 * np.arange(REGIONS)[:, None]  # the reference of another face
    spotter = Spotter()
    push_all(spotter, times[:200], motion[:200])
    assert spotter.push(200, 2.0, None) == []
    assert math.isnan(spotter.level)
    assert math.isnan(spotter.threshold)
    later = [spotter.push(number, float(times[number]), motion[number]) for number in range(201, 400)]
    assert not any(later)
    assert spotter.flush() == []


def test_flush_leaves_a_new_spotter_that_knows_the_noise():
    times = clock(100, 3.0)
    motion = quiet(times) + moving(times, 1.5, 1.62, 1.8)
    spotter = Spotter()
    push_all(spotter, times[:165], motion[:165])
    assert len(spotter.flush()) == 1
    assert spotter.flush() == []
    assert not spotter.moving
    again = [found for each in push_all(spotter, times, motion) for found in each]  # times start from zero again
    assert [found.seconds for found in again] == [pytest.approx((1.5, 1.62, 1.8), abs=0.03)]


# Order, memory, settings


def test_frames_out_of_order_are_refused():
    rest = np.zeros((REGIONS, 2))
    spotter = Spotter()
    spotter.push(0, 0.5, rest)
    for wrong in (0.5, 0.4):
        with pytest.raises(BadInput, match=rf"in the order of their times, got {wrong} s after 0\.5 s"):
            spotter.push(1, wrong, rest)
    spotter.push(1, 0.6, None)
    with pytest.raises(BadInput, match=r"got 0\.55 s after 0\.6 s"):
        spotter.push(2, 0.55, rest)  # a lost face makes no difference
    spotter.push(2, 0.7, rest)


def test_memory_is_bounded_over_ten_minutes():
    """Movements, held faces and rest: what is kept are the frames of some seconds."""
    fps, chosen = 5, Spotting(held=2.0)
    times = clock(fps, 600)
    motion = quiet(times) + moving(times % 7, 3.0, 3.4, 4.0) + moving(times % 31, 20.0, 25.0, 30.0, regions=(NOSE,))
    spotter, largest, found = Spotter(chosen, NEAR_EYES), 0, 0
    for number, seconds in enumerate(times):
        found += len(spotter.push(number, float(seconds), motion[number]))
        largest = max(largest, len(spotter._history))
    assert found > 50
    assert largest <= fps * (chosen.held + 2 * (BASELINE_SECONDS + TAIL)) + 1


@pytest.mark.parametrize("name", ["smallest", "factor"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_settings_above_zero(name, value):
    with pytest.raises(BadInput, match=f"{name} above 0, got {value:g}"):
        Spotting(**{name: value})


@pytest.mark.parametrize(
    "wrong",
    [{"shortest": -0.1}, {"shortest": 0.5}, {"longest": 4.0}, {"held": math.inf}, {"held": 0.3}, {"longest": math.nan}],
)
def test_settings_in_their_order(wrong):
    with pytest.raises(BadInput, match="shortest < longest < held"):
        Spotting(**wrong)


# Properties


def recording(fps: float = 64, seconds: float = 2.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A blink and two movements, at times that floats hold exactly."""
    times = clock(fps, seconds)
    near, eyes = blinking(times, 0.4, 0.6)
    motion = quiet(times, seed) + near + moving(times, 0.8, 0.95, 1.1) + moving(times, 1.8, 1.9, 2.0, regions=(CHIN,))
    return times, motion, eyes


def numbers(intervals: list[Interval]) -> list[tuple[int, int, int, str]]:
    return [(found.onset, found.apex, found.offset, found.kind) for found in intervals]


def test_what_was_told_does_not_depend_on_what_follows():
    times, motion, eyes = recording()
    whole = push_all(Spotter(None, NEAR_EYES), times, motion, eyes)
    assert sum(map(bool, whole)) == 2
    random = np.random.default_rng(5)
    for cut in (70, 83, 100, 125):
        other = motion.copy()
        other[cut:] += 2 * random.standard_normal(other[cut:].shape)
        assert push_all(Spotter(None, NEAR_EYES), times, other, eyes)[:cut] == whole[:cut]
        assert push_all(Spotter(None, NEAR_EYES), times[:cut], motion[:cut], eyes[:cut]) == whole[:cut]


def test_equal_frames_give_equal_movements_and_are_not_changed():
    times, motion, eyes = recording()
    before = motion.copy(), eyes.copy()
    first = spot(times, motion, eyes)
    assert spot(times, motion, eyes) == first
    np.testing.assert_array_equal(motion, before[0])
    np.testing.assert_array_equal(eyes, before[1])


@settings(max_examples=5, deadline=None)
@given(shift=st.integers(-1000, 1000), number=st.integers(0, 1000))
def test_later_seconds_give_the_same_movements_later(shift, number):
    times, motion, eyes = recording()
    here, later = spot(times, motion, eyes), spot(times + shift, motion, eyes)
    assert numbers(later) == numbers(here)
    assert len(here) == 2
    for one, other in zip(here, later, strict=True):
        assert np.subtract(other.seconds, shift) == pytest.approx(one.seconds, abs=1e-9)
        assert other.motion == pytest.approx(one.motion, rel=1e-6)
    numbered = Spotter(None, NEAR_EYES)
    found = [
        one for k, seconds in enumerate(times) for one in numbered.push(k + number, float(seconds), motion[k], eyes[k])
    ]
    assert [(one.onset - number, one.offset - number) for one in found] == [(one.onset, one.offset) for one in here]


def test_no_time_is_special():
    """Whichever frame of the fall is at zero seconds, the cut movement is the same."""
    times = clock(64, 1.1)
    motion = quiet(times) + moving(times, 0.6, 0.8, 1.0)
    last = 62
    here = spot(times[:last], motion[:last])
    assert len(here) == 1
    for zero in range(54, last):
        assert numbers(spot((times - times[zero])[:last], motion[:last])) == numbers(here)


@settings(max_examples=5, deadline=None)
@given(scale=st.floats(0.5, 4.0))
def test_stronger_motion_is_stronger_at_the_same_times(scale):
    """Well above the threshold, and with noise that no threshold sees."""
    times = clock(64, 2.0)
    motion = moving(times, 0.8, 0.95, 1.15, size=1.0)
    (one,), (other,) = spot(times, motion), spot(times, scale * motion)
    assert (other.onset, other.apex, other.offset) == pytest.approx((one.onset, one.apex, one.offset), abs=1)
    assert other.motion == pytest.approx(np.multiply(scale, one.motion), rel=0.02, abs=1e-6)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_motion_that_all_regions_share_changes_nothing(seed):
    times, motion, eyes = recording()
    walk = np.random.default_rng(seed).normal(0, 0.2, (len(times), 1, 2)).cumsum(axis=0)
    assert numbers(spot(times, motion + walk, eyes)) == numbers(spot(times, motion, eyes))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_regions_and_directions_are_equal(seed):
    """Without a blink the order of the regions is nothing but their order, and a quarter turn no more than that."""
    times = clock(64, 2.0)
    motion = quiet(times) + moving(times, 0.8, 0.95, 1.15)
    (one,) = spot(times, motion)
    order = np.random.default_rng(seed).permutation(REGIONS)
    (other,) = spot(times, np.stack([-motion[:, order, 1], motion[:, order, 0]], axis=2))
    assert numbers([other]) == numbers([one])
    assert other.motion == pytest.approx(np.array(one.motion)[order])
