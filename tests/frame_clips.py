"""Small clips with frames for tests: a textured face whose class shows, and moves, in one place."""

from dataclasses import dataclass

import numpy as np

from microexpr.types import Clip
from tests.clips import EMOTIONS

ONSET, APEX, OFFSET = 11, 14, 16  # frame numbers as annotations have them: not from 0
SIZE = 48


@dataclass(frozen=True)
class NoiseFrames:
    """A fixed texture; where the class says, a bright spot grows and rises until the apex, then goes back.

    Attributes:
        number: another one is another texture.
        label: class number.
    """

    number: int
    label: int

    def __len__(self) -> int:
        return OFFSET - ONSET + 1

    def read(self, number: int) -> np.ndarray:
        """One frame, RGB; only numbers from onset to offset exist."""
        if not ONSET <= number <= OFFSET:
            raise IndexError(number)
        generator = np.random.default_rng(self.number)
        coarse = generator.uniform(60, 160, (12, 12, 3))
        picture = np.kron(coarse, np.ones((4, 4, 1)))
        strength = 1 - abs(number - APEX) / (APEX - ONSET)
        top, left = ((8, 8), (8, 28), (32, 18))[self.label]
        risen = top - round(2 * strength)
        picture[risen : risen + 10, left : left + 12] += 40 + 50 * strength
        return np.clip(picture, 0, 255).astype(np.uint8)


def frame_clip(number: int, label: int, subject: str, database: str = "casme2") -> Clip:
    """A clip of 6 frames, numbered from 11, of 48x48 pixels."""
    return Clip(
        key=f"{database}/{subject}/clip{number:03d}",
        dataset=database,
        subject=f"{database}/{subject}",
        emotion=EMOTIONS[label],
        onset=ONSET,
        apex=APEX,
        offset=OFFSET,
        fps=200.0,
        frames=NoiseFrames(number, label),
    )


def frame_clips(subjects: int = 4, each: int = 3, database: str = "casme2") -> list[Clip]:
    """`each` clips of every subject, the classes in turn: the labels of `tests.clips.flow_clips`."""
    return [
        frame_clip(subject * each + number, number % 3, f"sub{subject:02d}", database)
        for subject in range(subjects)
        for number in range(each)
    ]
