"""The picture of docs/flow.md: a known micro-motion, and what each solver finds of it.

python benchmarks/flow_picture.py docs/images/recovered.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from flow import SIZE, scene
from PIL import Image, ImageDraw, ImageFont

from microexpr.motion.color import flow_to_color
from microexpr.motion.flow import flow_between

PEAK = 0.3  # pixels
GAP, CAPTION = 12, 46


def main() -> None:
    first, second, true, moving = scene("portrait", PEAK, 1)
    panels = [("the first picture", "", cv2.cvtColor(first, cv2.COLOR_GRAY2RGB))]
    panels.append(("true motion", f"peak {PEAK} px", flow_to_color(true.astype(np.float32), peak=PEAK)))
    for mode, name in (("clg", "clg micro"), ("tvl1", "tvl1 micro"), ("opencv", "OpenCV TV-L1")):
        found = flow_between(first, second, mode=mode)
        error = np.hypot(*(found - true))[moving].mean()
        panels.append((name, f"error where it moves {error:.3f} px", flow_to_color(found, peak=PEAK)))
    canvas = Image.new("RGB", (GAP + (SIZE + GAP) * len(panels), SIZE + GAP + CAPTION), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (title, text, picture) in enumerate(panels):
        left = GAP + number * (SIZE + GAP)
        canvas.paste(Image.fromarray(picture), (left, GAP))
        draw.rectangle((left, GAP, left + SIZE - 1, GAP + SIZE - 1), outline=(226, 229, 234))
        draw.text((left, SIZE + GAP + 4), title, fill=(32, 36, 44), font=ImageFont.load_default(15))
        draw.text((left, SIZE + GAP + 23), text, fill=(104, 112, 124), font=ImageFont.load_default(14))
    canvas.save(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
