"""Pictures for people: a plate of one clip, from what was seen to what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from microexpr.motion.color import flow_to_color, wheel_picture
from microexpr.motion.flow import magnitude

PANEL = 224  # pixels; side of a picture in a plate
GAP = 16
CAPTION = 30
BARS = 236  # width of the panel with the probabilities
INK, SOFT, PAPER, RULE = (32, 36, 44), (104, 112, 124), (255, 255, 255), (226, 229, 234)
BAR, BAR_BEST = (176, 190, 208), (31, 98, 158)


def plate(
    onset: UInt8[np.ndarray, "h w 3"],
    apex: UInt8[np.ndarray, "h w 3"],
    flow: Float[np.ndarray, "2 fh fw"],
    probabilities: Mapping[str, float],
    onset_number: int,
    apex_number: int,
    fps: float,
) -> UInt8[np.ndarray, "ph pw 3"]:
    """Onset, apex, flow picture with its wheel, and the class probabilities side by side.

    Args:
        onset, apex: the two frames, RGB.
        flow: onset -> apex, in pixels.
        probabilities: class name -> probability.
        onset_number, apex_number: frame numbers.
        fps: frames a second, for the time between them.
    """
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (4 * GAP + 3 * PANEL + GAP + BARS, 2 * GAP + PANEL + CAPTION), PAPER)
    draw = ImageDraw.Draw(canvas)
    later = (apex_number - onset_number) / fps * 1000
    panels = (
        (onset, f"onset, frame {onset_number}"),
        (apex, f"apex, frame {apex_number} (+{later:.0f} ms)"),
        (_with_wheel(flow_to_color(flow)), f"flow, largest {magnitude(flow).max():.1f} px"),
    )
    for number, (picture, caption) in enumerate(panels):
        left = GAP + number * (PANEL + GAP)
        canvas.paste(Image.fromarray(picture).resize((PANEL, PANEL), Image.Resampling.LANCZOS), (left, GAP))
        draw.rectangle((left, GAP, left + PANEL - 1, GAP + PANEL - 1), outline=RULE)
        draw.text((left, GAP + PANEL + 8), caption, fill=SOFT, font=_font(14))
    _draw_bars(draw, GAP + 3 * (PANEL + GAP) + GAP // 2, GAP, probabilities)
    return np.asarray(canvas)


def _with_wheel(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The color wheel in the lower left corner: which color is which direction."""
    size = picture.shape[0] // 5
    marked = picture.copy()
    marked[-size - 4 : -4, 4 : size + 4] = wheel_picture(size)
    return marked


def _draw_bars(draw: Any, left: int, top: int, probabilities: Mapping[str, float]) -> None:
    best = max(probabilities, key=lambda name: probabilities[name])
    step = PANEL // len(probabilities)
    width = BARS - GAP
    for number, (name, value) in enumerate(probabilities.items()):
        y = top + number * step + (step - 44) // 2
        draw.text((left, y), name, fill=INK if name == best else SOFT, font=_font(15))
        text = f"{100 * value:.0f} %"
        draw.text((left + width - draw.textlength(text, font=_font(15)), y), text, fill=INK, font=_font(15))
        draw.rectangle((left, y + 24, left + width, y + 36), fill=RULE)
        draw.rectangle((left, y + 24, left + round(width * value), y + 36), fill=BAR_BEST if name == best else BAR)
    draw.text((left, top + PANEL + 8), "class probabilities", fill=SOFT, font=_font(14))


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
