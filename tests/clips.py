"""Small clips for tests: published-style maps whose class shows."""

import numpy as np

from microexpr.types import Clip, FlowMap

EMOTIONS = ("negative", "positive", "surprise")


def flow_clip(number: int, label: int, subject: str, database: str = "casme2") -> Clip:
    """A map whose class is where its bump lies."""
    generator = np.random.default_rng(number)
    channels = generator.normal(100, 6, (3, 28, 28))
    top, left = ((4, 4), (4, 16), (16, 10))[label]
    channels[:, top : top + 8, left : left + 8] += 60
    low, high = channels.min((1, 2), keepdims=True), channels.max((1, 2), keepdims=True)
    return Clip(
        key=f"{database}/{subject}/clip{number:03d}",
        dataset=database,
        subject=f"{database}/{subject}",
        emotion=EMOTIONS[label],
        onset=None,
        apex=None,
        offset=None,
        fps=200.0,
        flow=FlowMap(np.rint(255 * (channels - low) / (high - low)).astype(np.uint8)),
    )


def flow_clips(subjects: int = 4, each: int = 3, database: str = "casme2") -> list[Clip]:
    """`each` clips of every subject, the classes in turn."""
    return [
        flow_clip(subject * each + number, number % 3, f"sub{subject:02d}", database)
        for subject in range(subjects)
        for number in range(each)
    ]
