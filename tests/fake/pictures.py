"""Pictures for replicas: rendered faces, noise, or empty files under real names. No face of a real subject."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from microexpr.datasets._face import Identity
from microexpr.datasets._render import Movement, RenderedFrames

UNITS = {"negative": ("4", "7"), "positive": ("6", "12"), "surprise": ("1", "2")}


def linked(folder: Path, names: Iterable[str], source: Path) -> None:
    """Every name a hard link to one file: thousands of frames in the time of one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.link(source, folder / name)


def empty(root: Path) -> Path:
    """A file without content: what is never opened."""
    file = root / ".empty"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def noise(file: Path, size: tuple[int, int] = (64, 48), gray: bool = False, seed: int = 0) -> Path:
    """A small picture of noise, width and height as given."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = size[::-1] if gray else (*size[::-1], 3)
    cv2.imwrite(str(file), np.random.default_rng(seed).integers(0, 256, shape, np.uint8))
    return file


def rendered(
    folder: Path,
    names: list[str],
    subject: int,
    kind: str,
    *,
    gray: bool = False,
    crop: bool = False,
    peak: float = 2.0,
) -> None:
    """A rendered face that shows a class, from rest over the peak in the middle back to rest.

    Args:
        names: of the files, in the order of the frames; at least 4.
        subject: another one is another face.
        kind: negative, positive or surprise.
        gray: one channel.
        crop: the face only, as the cropped releases have it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = len(names) - 1
    movement = Movement(0, max(1, last // 2), last, UNITS[kind], peak)
    frames = RenderedFrames(len(names), (movement,), Identity((0, subject)), (0, subject, len(names)), 200.0, crop=crop)
    for number, name in enumerate(names):
        picture = frames.read(number)
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if gray else picture[..., ::-1]
        cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 97] if name.endswith(".jpg") else [])
