"""How well frames are aligned to the onset frame: the flow after it against the true one, on rendered 640x480 frames.

    python benchmarks/registration.py [--subjects 4] [--peak 2.0] [--rounds 20] [--out results/X.csv]

Each pair is an onset and an apex frame of the rendered set. At the apex the head, not the background, has moved by
exactly 0.5 or 2 pixels in a random direction and rolled about the neck by half that much at the hair. The face is found
on the onset frame, both frames are aligned, and the flow between the aligned faces (mode clg) is correlated with the
true flow of the facial action, over u and v of the pixels inside the face. A row gives the mean and, in brackets, the
lowest over subjects and emotions. The error is the largest distance, over the corners of the middle half of the face
box, between where the transform and where the head's true motion takes them: its 99th percentile over all pairs, frame
pixels. The time is wall time of `Registration.align` with one thread, the least of all rounds of all variants by turns;
finding the face and reading the frame are not part of it.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import os
import time
from pathlib import Path

import cv2
import numpy as np

from microexpr.datasets._face import FACE as OUTLINE
from microexpr.datasets._face import FRAME, PIVOT, Identity, mask_picture
from microexpr.datasets._render import Movement, RenderedFrames
from microexpr.datasets.synthetic import EMOTIONS
from microexpr.evaluation import record
from microexpr.faces.align import Registration
from microexpr.faces.detect import choose, detector
from microexpr.motion.flow import flow_between

SHIFTS = (0.5, 2.0)
VARIANTS: dict[str, dict] = {
    "onset crop (residual off)": {"residual": "off"},
    "points (default: 100 within 0.18 px)": {},
    "100 points within 0.25 px": {"threshold": 0.25},
    "60 points within 0.18 px": {"points": 60},
    "150 points within 0.25 px, closer": {"points": 150, "threshold": 0.25, "distance": 0.018},
    "300 points within 0.35 px, closer": {"points": 300, "threshold": 0.35, "distance": 0.018},
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
    inside = cv2.remap(mask_picture(OUTLINE, True), *frames.identity.portrait_points(FRAME.frame_points()), 1)
    size, scale = (registration.size, registration.size), registration.crop[0, 0]
    u, v, face = (cv2.warpAffine(one, registration.crop, size) for one in (*still, inside))
    return np.stack([u, v]) * scale, face > 0.5


def correlation(found: np.ndarray, true: np.ndarray, inside: np.ndarray) -> float:
    return float(np.corrcoef(found[:, inside].ravel(), true[:, inside].ravel())[0, 1])


def error(found: np.ndarray, frames: Shifted, registration: Registration) -> float:
    """Frame pixels, at frame 1; the roll to first order, as it is rendered."""
    right, down, roll = frames.head_motion(1) * [1, 1, math.pi / 180]
    true = np.array([[1, -roll, right + roll * PIVOT[1]], [roll, 1, down - roll * PIVOT[0]]])
    face = registration.face
    quarters = (0.25, 0.75)
    corners = [(face.x + a * face.width, face.y + b * face.height, 1.0) for a in quarters for b in quarters]
    return max(float(np.hypot(*((found - true) @ corner))) for corner in corners)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--peak", type=float, default=2.0, help="largest motion of the skin, frame pixels")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, help="CSV of the table")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    find = detector("haar")
    scores: dict[tuple[str, float], list[float]] = {}
    times: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    for subject in range(options.subjects):
        for shift in SHIFTS:
            for units in (sets[0] for sets in EMOTIONS.values()):
                frames = scene(subject, units, options.peak, shift)
                onset, apex = frames.read(0), frames.read(1)
                face, _ = choose(find(onset), 0)
                registrations = {name: Registration(onset, face, **settings) for name, settings in VARIANTS.items()}
                for name, registration in registrations.items():
                    pictures = [registration.align(one).image for one in (onset, apex)]
                    score = correlation(flow_between(*pictures, mode="clg"), *true_flow(frames, registration))
                    scores.setdefault((name, shift), []).append(score)
                    errors.setdefault(name, []).append(error(registration.transform(apex)[0], frames, registration))
                for _ in range(options.rounds):
                    for name, registration in registrations.items():
                        begin = time.perf_counter()
                        registration.align(apex)
                        times.setdefault(name, []).append(time.perf_counter() - begin)
    print("| alignment | 0.5 px | 2 px | error, px | ms per frame |\n|---|---|---|---|---|")
    rows = []
    for name in VARIANTS:
        rows.append(
            {
                "alignment": name,
                **{f"correlation at {shift:g} px": f"{np.mean(scores[name, shift]):.4f}" for shift in SHIFTS},
                **{f"lowest at {shift:g} px": f"{min(scores[name, shift]):.4f}" for shift in SHIFTS},
                "99th percentile of the error, px": f"{np.percentile(errors[name], 99):.3f}",
                "ms": f"{1000 * min(times[name]):.2f}",
                "machine": f"{record.machine()['processor']}, {os.cpu_count()} cores; OpenCV {cv2.__version__}",
            }
        )
        cells = [f"{np.mean(scores[name, shift]):.3f} ({min(scores[name, shift]):.3f})" for shift in SHIFTS]
        cells += [f"{np.percentile(errors[name], 99):.2f}", f"{1000 * min(times[name]):.1f}"]
        print(f"| {name} | {' | '.join(cells)} |")
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
