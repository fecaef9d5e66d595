"""How well frames are aligned to the onset frame: the flow after it against the true one, on rendered 640x480 frames.

    python benchmarks/registration.py [--subjects 4] [--peak 2.0] [--rounds 20]

Each pair is an onset and an apex frame of the rendered set. At the apex the head, not the background, has moved by
exactly 0.5 or 2 pixels in a random direction and rolled about the neck by half that much at the hair. The face is found
on the onset frame, both frames are aligned, and the flow between the aligned faces (mode clg) is correlated with the
true flow of the facial action, over u and v of the pixels inside the face. A row gives the mean and, in brackets, the
lowest over subjects and emotions. The time is wall time of `Registration.align` with one thread, the least of all
rounds; finding the face and reading the frame are not part of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time

import cv2
import numpy as np

from microexpr.datasets._render import FACE as OUTLINE
from microexpr.datasets._render import FRAME, Identity, Movement, RenderedFrames, _mask_picture
from microexpr.datasets.synthetic import EMOTIONS
from microexpr.faces.align import Registration
from microexpr.faces.detect import choose, detector
from microexpr.motion.flow import flow_between

SHIFTS = (0.5, 2.0)
VARIANTS: dict[str, dict] = {
    "onset crop (residual off)": {"residual": "off"},
    "points (default: 150 within 0.25 px)": {},
    "300 points within 0.35 px": {"points": 300, "threshold": 0.35},
    "80 points within 0.25 px": {"points": 80},
}


@dataclasses.dataclass(frozen=True)
class Shifted(RenderedFrames):
    """Frames whose head has moved by `shift` pixels toward `toward` (radians) in every frame but the first."""

    shift: float = 0.0
    toward: float = 0.0

    def head_motion(self, number: int) -> np.ndarray:
        roll = math.degrees(0.5 * self.shift / 400) * math.copysign(1, math.cos(7 * self.toward))
        motion = np.array([math.cos(self.toward) * self.shift, math.sin(self.toward) * self.shift, roll])
        return motion if number else 0 * motion


def scene(subject: int, units: tuple[str, ...], peak: float, shift: float) -> Shifted:
    """Frame 0 is the onset, frame 1 the apex."""
    toward = np.random.default_rng([11, subject, len(units)]).uniform(0, 2 * math.pi)
    movement = Movement(0, 1, 2, units, peak)
    identity = Identity((0, subject), mirrored=subject % 2 == 1)
    return Shifted(3, (movement,), identity, (0, subject), crop=False, shift=shift, toward=toward)


def true_flow(frames: Shifted, registration: Registration) -> tuple[np.ndarray, np.ndarray]:
    """The facial action alone in pixels of the aligned face "2 h w", and where the face is "h w".

    The onset frame has no head motion, so the action is the flow of the same clip with a head that keeps still.
    """
    still = dataclasses.replace(frames, shift=0.0).true_flow(0, 1)
    inside = cv2.remap(_mask_picture(OUTLINE, True), *frames.identity.portrait_points(FRAME.frame_points()), 1)
    size, scale = (registration.size, registration.size), registration.crop[0, 0]
    u, v, face = (cv2.warpAffine(one, registration.crop, size) for one in (*still, inside))
    return np.stack([u, v]) * scale, face > 0.5


def correlation(found: np.ndarray, true: np.ndarray, inside: np.ndarray) -> float:
    return float(np.corrcoef(found[:, inside].ravel(), true[:, inside].ravel())[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--peak", type=float, default=2.0, help="largest motion of the skin, frame pixels")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    find = detector("haar")
    scores: dict[tuple[str, float], list[float]] = {}
    times: dict[str, list[float]] = {}
    for subject in range(options.subjects):
        for shift in SHIFTS:
            for units in (sets[0] for sets in EMOTIONS.values()):
                frames = scene(subject, units, options.peak, shift)
                onset, apex = frames.read(0), frames.read(1)
                face, _ = choose(find(onset), 0)
                for name, settings in VARIANTS.items():
                    registration = Registration(onset, face, **settings)
                    pictures = [registration.align(one).image for one in (onset, apex)]
                    score = correlation(flow_between(*pictures, mode="clg"), *true_flow(frames, registration))
                    scores.setdefault((name, shift), []).append(score)
                    for _ in range(options.rounds):
                        begin = time.perf_counter()
                        registration.align(apex)
                        times.setdefault(name, []).append(time.perf_counter() - begin)
    print("| alignment | 0.5 px | 2 px | ms per frame |\n|---|---|---|---|")
    for name in VARIANTS:
        cells = [f"{np.mean(scores[name, shift]):.3f} ({min(scores[name, shift]):.3f})" for shift in SHIFTS]
        print(f"| {name} | {' | '.join(cells)} | {1000 * min(times[name]):.1f} |")


if __name__ == "__main__":
    main()
