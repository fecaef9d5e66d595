"""The plate: what was seen, and what was decided."""

import numpy as np

from microexpr import api
from microexpr.motion.color import flow_to_color
from microexpr.video import draw

CLIP = api.load("synthetic", subjects=1, clips_per_subject=1).clips[0]
ONSET, APEX = CLIP.frames.read(CLIP.onset), CLIP.frames.read(CLIP.apex)
FLOW = CLIP.frames.true_flow(CLIP.onset, CLIP.apex)


def made(probabilities):
    return draw.plate(ONSET, APEX, FLOW, probabilities, CLIP.onset, CLIP.apex, CLIP.fps)


def test_pictures_stand_side_by_side_unchanged():
    plate = made({"negative": 0.1, "positive": 0.8, "surprise": 0.1})
    step = draw.PANEL + draw.GAP
    inner = slice(draw.GAP + 1, draw.GAP + draw.PANEL - 1)
    for number, picture in enumerate((ONSET, APEX)):
        left = draw.GAP + number * step
        np.testing.assert_array_equal(plate[inner, left + 1 : left + draw.PANEL - 1], picture[1:-1, 1:-1])
    left = draw.GAP + 2 * step
    np.testing.assert_array_equal(
        plate[draw.GAP + 1 : draw.GAP + 100, left + 1 : left + 200], flow_to_color(FLOW)[1:100, 1:200]
    )


def test_bars_grow_with_the_probability_and_the_best_stands_out():
    def widths(probabilities):
        colored = (made(probabilities) == np.array(draw.BAR_BEST, np.uint8)).all(2)
        return colored.any(0).sum()

    few = widths({"negative": 0.3, "positive": 0.4, "surprise": 0.3})
    many = widths({"negative": 0.05, "positive": 0.9, "surprise": 0.05})
    assert many / few == np.clip(many / few, 2.1, 2.4)


def test_other_numbers_of_classes_and_frame_sizes():
    large = np.repeat(np.repeat(ONSET, 2, 0), 2, 1)
    five = {f"class {number}": 0.2 for number in range(5)}
    plate = draw.plate(large, large, FLOW, five, 3, 9, 100.0)
    assert plate.shape == made({"one": 1.0, "two": 0.0}).shape
