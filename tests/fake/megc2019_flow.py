"""Writes replicas of the MEGC 2019 flow maps: real arrangement, names and counts; the rest is invented.

`by_list` makes the flat arrangement, `by_fold` that of the leave-one-subject-out folders. Each class moves the pixels
of its own corner, so that a method can learn the labels.
"""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

TABLE = "combined_3_class2_for_optical_flow.csv"
COUNTS = {"casme2": (88, 32, 25), "smic": (70, 51, 43), "samm": (92, 26, 15)}
SUBJECTS = {"casme2": 24, "smic": 16, "samm": 28}
NAMES = {"casme2": "sub{:02d}", "smic": "s{:02d}", "samm": "{:03d}"}


def rows() -> list[tuple[str, str, str, int]]:
    """Database, subject, clip, label in the official order."""
    made = []
    for database, counts in COUNTS.items():
        labels = [label for label, count in enumerate(counts) for _ in range(count)]
        labels = [labels[(number * 37) % len(labels)] for number in range(len(labels))]
        for number, label in enumerate(labels):
            subject = NAMES[database].format(number % SUBJECTS[database] + 1)
            clip = {"casme2": f"EP{number:03d}", "smic": f"{subject}_x_{number:03d}", "samm": f"{subject}_{number:03d}"}
            made.append((database, subject, clip[database], label))
    order = list(COUNTS)
    return sorted(made, key=lambda row: (order.index(row[0]), row[1], row[2]))


def picture(label: int, number: int) -> np.ndarray:
    """One map, 28x28 blue-green-red, every channel stretched to 0..255."""
    generator = np.random.default_rng(number)
    channels = generator.normal(100, 6, (28, 28, 3))
    top, left = ((4, 4), (4, 16), (16, 10))[label]
    channels[top : top + 8, left : left + 8] += 60
    low, high = channels.min((0, 1)), channels.max((0, 1))
    return np.rint(255 * (channels - low) / (high - low)).astype(np.uint8)


def by_list(root: Path) -> Path:
    """The flat arrangement: the list, and one folder of maps."""
    maps = root / "STSNet_whole_norm_u_v_os"
    maps.mkdir(parents=True)
    columns = ["dataset", "sub", "filename_o", "label", "apex", "imagename", "sub_filename"]
    with (root / TABLE).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for number, (database, subject, clip, label) in enumerate(rows()):
            writer.writerow([database, subject, clip, label, "", f"{subject}_{clip}.jpg", ""])
            cv2.imwrite(str(maps / f"{subject}_{clip} .png"), picture(label, number))
    return root


def by_fold(root: Path) -> Path:
    """The arrangement by fold: <subject>/u_test/<label>/ (and u_train, which repeats the others)."""
    for number, (_, subject, clip, label) in enumerate(rows()):
        folder = root / subject / "u_test" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{subject}_{clip} .png"), picture(label, number))
    return root
