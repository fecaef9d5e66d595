"""The pictures that an event is judged by, as files for the page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from microexpr.faces.regions import NAMES
from microexpr.motion.color import flow_to_color, wheel_picture
from microexpr.motion.files import write_picture
from microexpr.motion.flow import magnitude
from microexpr.motion.magnify import smoothed, warped
from microexpr.video.recognizer import Evidence, strength_of

WHEEL = 96  # pixels


@dataclass(frozen=True)
class Pictures:
    """Files of one event.

    Attributes:
        onset, apex, magnified, flow: the face at rest, at its peak, the same with its motion enlarged, and the flow.
        largest: of the flow, pixels.
        regions: what moved how far, pixels; the strongest first.
    """

    onset: Path
    apex: Path
    magnified: Path
    flow: Path
    largest: float
    regions: tuple[tuple[str, float], ...]


def draw(evidence: Evidence, folder: Path, number: int, factor: float) -> Pictures:
    """Writes the pictures of one event.

    Args:
        evidence: what it was judged by.
        folder: that exists.
        number: for the names of the files.
        factor: how many times as far the magnified face moves.
    """
    moved = warped(evidence.apex, smoothed(evidence.flow), factor)
    drawn = {"onset": evidence.onset, "apex": evidence.apex, "magnified": moved, "flow": flow_to_color(evidence.flow)}
    files = {kind: folder / f"event-{number:03d}-{kind}.png" for kind in drawn}
    for kind, file in files.items():
        write_picture(file, drawn[kind])
    lengths = strength_of(evidence.flow)
    order = np.argsort(lengths)[::-1]
    regions = tuple((NAMES[place], float(lengths[place])) for place in order)
    return Pictures(**files, largest=float(magnitude(evidence.flow).max()), regions=regions)


@cache
def wheel() -> bytes:
    """The color wheel of flow pictures as a PNG file: which color is which direction."""
    import cv2

    _, content = cv2.imencode(".png", cv2.cvtColor(wheel_picture(WHEEL), cv2.COLOR_RGB2BGR))
    return content.tobytes()
