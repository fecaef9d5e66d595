"""Optical flow of micro-motion: speed, error and bias against other solvers, on pictures whose motion is known exactly.

    python benchmarks/flow.py [--quick] [--seeds 1 2] [--rounds 3] [--out results/flow-<machine>.csv]

Ground truth. A photograph B is taken as a quintic spline. The second picture is B, the first is B(x + u(x)): exact, no
field is inverted. u is two to four Gaussian bumps where brows, lids, mouth and chin lie in a portrait, the strongest
of them with the peak asked for; with drift, a shift of the head by 0.3 pixel and a rotation come on top. Both
pictures get noise of one gray level and are rounded to 8 bits.

Measure. All methods run on each pair in turn, in one process with one thread; times are medians over rounds, speed is
the ratio to OpenCV's TV-L1 with its defaults on the same pair in the same round. Error is the length of the difference
of flow vectors (end-point error), its mean over the picture and over the moving pixels, where the bumps exceed a quarter
of their peak. Zero flow has the least mean error at the smallest peaks: read both columns.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before numpy

import cv2
import numpy as np
import scipy.ndimage
import skimage.data
import skimage.registration

SIZE = 224
PEAKS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
LARGE_PEAKS = (4.0, 8.0)
SHIFTS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
PLACES = ((0.30, 0.33), (0.70, 0.33), (0.33, 0.42), (0.67, 0.42), (0.38, 0.72), (0.62, 0.72), (0.5, 0.76), (0.5, 0.9))

Solver = Callable[[np.ndarray, np.ndarray], np.ndarray]


# --- pictures whose motion is known ---


def photograph(name: str, size: int = SIZE) -> np.ndarray:
    """The head of scikit-image's astronaut ("portrait"), its cat or its cameraman as float64 gray levels "size size"."""
    if name == "portrait":
        picture = cv2.cvtColor(skimage.data.astronaut()[50:200, 150:300], cv2.COLOR_RGB2GRAY)
    elif name == "cat":
        picture = cv2.cvtColor(skimage.data.chelsea()[0:300, 60:360], cv2.COLOR_RGB2GRAY)
    else:
        picture = skimage.data.camera()
    grows = picture.shape[0] < size
    resized = cv2.resize(
        picture.astype(np.float64), (size, size), interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    )
    return np.clip(resized, 0, 255)


def bumps(peak: float, rng: np.random.Generator, size: int = SIZE, spread: tuple[float, float] = (0.04, 0.09)):
    """Two to four Gaussian bumps of motion, "2 size size"; the strongest vector is `peak` pixels long."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    field = np.zeros((2, size, size))
    for place in rng.choice(len(PLACES), size=rng.integers(2, 5), replace=False):
        center_x, center_y = (np.array(PLACES[place]) + rng.normal(0, 0.02, 2)) * size
        width, height = rng.uniform(*spread, 2) * size
        angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1)
        shape = strength * np.exp(-((x - center_x) ** 2) / (2 * width**2) - (y - center_y) ** 2 / (2 * height**2))
        field += np.array([np.cos(angle), np.sin(angle)])[:, None, None] * shape
    return field * (peak / np.hypot(*field).max())


def drifting(rng: np.random.Generator, shift: float = 0.3, degrees: float = 0.1, size: int = SIZE) -> np.ndarray:
    """The head's own motion: a shift of `shift` pixels in any direction and a rotation about the center."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    direction, turn = rng.uniform(0, 2 * np.pi), np.deg2rad(degrees) * rng.choice([-1, 1])
    return np.stack([shift * np.cos(direction) - turn * y, shift * np.sin(direction) + turn * x])


def observed(
    picture: np.ndarray, flow: np.ndarray, rng: np.random.Generator, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Two uint8 pictures with first(x) = second(x + flow(x)), noisy and rounded."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float64)
    warped = scipy.ndimage.map_coordinates(picture, [y + flow[1], x + flow[0]], order=5, mode="mirror")
    pair = (np.clip(clean + rng.normal(0, noise, clean.shape), 0, 255) for clean in (warped, picture))
    first, second = (np.rint(noisy).astype(np.uint8) for noisy in pair)
    return first, second


def scene(name: str, peak: float, seed: int, drift: bool = False, large: bool = False):
    """One pair with its truth: (first, second, flow, moving)."""
    rng = np.random.default_rng([seed, round(1000 * peak), drift, large])
    local = bumps(peak, rng, spread=(0.08, 0.16) if large else (0.04, 0.09))
    flow = local + drifting(rng) if drift else local
    first, second = observed(photograph(name), flow, rng)
    return first, second, flow, np.hypot(*local) > 0.25 * peak
