"""Text, lines and charts on an RGB array: what plates, overlays and timelines share.

Everything draws in place, cuts off what lies outside of the picture and is quick enough for every frame of a video:
text is rendered once, then pasted. The colors of meanings are those of Okabe and Ito, which people with a color vision
deficiency can tell apart; each also differs in lightness, and none stands without a word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, UInt8

from microexpr.errors import MicroexprError

Color = tuple[int, int, int]

INK, SOFT, PAPER, RULE = (32, 36, 44), (104, 112, 124), (255, 255, 255), (226, 229, 234)
BLUE, SKY, ORANGE = (0, 114, 178), (86, 180, 233), (230, 159, 0)
SUBPIXEL = 4  # bits: OpenCV takes points in sixteenths of a pixel
DENSE = 4  # points in a column of pixels; beyond it a line is drawn as the range of every column
LONG = 180.0  # seconds; longer recordings are counted in minutes
FARTHEST = 1e6  # pixels; keeps points far outside of the picture within OpenCV's integers


@lru_cache(maxsize=512)
def _text(text: str, size: int) -> UInt8[np.ndarray, "h w"]:
    """A line of text as coverage 0..255, as high as the font's line whatever its letters are."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise MicroexprError(
            "this Pillow has no FreeType, which renders text; run: pip install --force-reinstall pillow"
        )
    ascent, descent = font.getmetrics()
    picture = Image.new("L", (max(1, math.ceil(font.getlength(text))), ascent + descent))
    ImageDraw.Draw(picture).text((0, 0), text, fill=255, font=font)
    coverage = np.array(picture)
    coverage.flags.writeable = False  # it is shared
    return coverage


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width and height of a line of text, pixels; `size` is that of the font."""
    height, width = _text(text, size).shape
    return width, height


def cut(text: str, size: int, width: float) -> str:
    """The text, or as much of it as fits into `width` pixels, ending in three dots."""
    if text_size(text, size)[0] <= width:
        return text
    while text and text_size(f"{text}...", size)[0] > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def wrapped(text: str, size: int, width: float, most: int) -> list[str]:
    """The text in at most `most` lines of `width` pixels, broken between words; what is left over is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and (len(lines) == most or text_size(f"{lines[-1]} {word}", size)[0] <= width):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [cut(line, size, width) for line in lines]


def write(
    picture: UInt8[np.ndarray, "h w 3"],
    text: str,
    x: float,
    y: float,
    color: Color = INK,
    size: int = 14,
    align: float = 0.0,
) -> None:
    """Writes a line of text.

    Args:
        x, y: its left end (its middle with `align` 0.5, its right end with 1) and the top of its line.
        size: of the font, pixels.
    """
    coverage = _text(text, size)
    left, top = round(x - align * coverage.shape[1]), round(y)
    coverage = coverage[max(-top, 0) : max(picture.shape[0] - top, 0), max(-left, 0) : max(picture.shape[1] - left, 0)]
    place = picture[max(top, 0) :, max(left, 0) :][: coverage.shape[0], : coverage.shape[1]]
    share = coverage[..., None].astype(np.float32) / 255
    place[:] = (place + share * (np.array(color, np.float32) - place) + np.float32(0.5)).astype(np.uint8)


def fill(
    picture: UInt8[np.ndarray, "h w 3"],
    left: float,
    top: float,
    width: float,
    height: float,
    color: Color,
    share: float = 1.0,
) -> None:
    """Fills a rectangle; a `share` under 1 lets the picture shine through."""
    import cv2

    rows = slice(max(_whole(top), 0), max(_whole(top + height), 0))
    place = picture[rows, max(_whole(left), 0) : max(_whole(left + width), 0)]
    if share >= 1:
        place[:] = color
    elif place.size:
        place[:] = cv2.LUT(place, _mixture(color, share))


def _whole(value: float) -> int:
    """Rounds halves up: `round` takes them to even numbers, and lines of one width would come out as zero or two."""
    return math.floor(value + 0.5)


@lru_cache(maxsize=64)
def _mixture(color: Color, share: float) -> UInt8[np.ndarray, "1 256 3"]:
    """What each level 0..255 of each channel becomes under a color that covers `share` of it."""
    return np.rint((1 - share) * np.arange(256)[None, :, None] + share * np.array(color)).astype(np.uint8)


def frame(
    picture: UInt8[np.ndarray, "h w 3"],
    left: float,
    top: float,
    width: float,
    height: float,
    color: Color,
    thickness: int = 1,
) -> None:
    """Outlines a rectangle; the line lies inside of it."""
    right, bottom = left + width - thickness, top + height - thickness
    fill(picture, left, top, width, thickness, color)
    fill(picture, left, bottom, width, thickness, color)
    fill(picture, left, top, thickness, height, color)
    fill(picture, right, top, thickness, height, color)


@dataclass(frozen=True)
class Chart:
    """Where values over time lie on a picture.

    Attributes:
        left, top, width, height: pixels.
        start, end: seconds at its left and right side.
        peak: the value at its top; its bottom is 0, and what is higher is cut off at the top.
    """

    left: int
    top: int
    width: int
    height: int
    start: float
    end: float
    peak: float

    def x(self, seconds: float) -> float:
        """Column of a time."""
        span = max(self.end - self.start, 1e-9)
        return self.left + (seconds - self.start) / span * (self.width - 1)

    def y(self, value: float) -> float:
        """Row of a value."""
        share = min(max(value / max(self.peak, 1e-9), 0.0), 1.0)
        return self.top + (1 - share) * (self.height - 1)

    def _places(
        self, seconds: Float[np.ndarray, " sample"], values: Float[np.ndarray, " sample"]
    ) -> tuple[Float[np.ndarray, " sample"], Float[np.ndarray, " sample"]]:
        """`x` and `y` of many."""
        span, peak = max(self.end - self.start, 1e-9), max(self.peak, 1e-9)
        x = self.left + (seconds - self.start) * ((self.width - 1) / span)
        return x, self.top + (1 - np.clip(values / peak, 0, 1)) * (self.height - 1)

    def span(
        self, picture: UInt8[np.ndarray, "h w 3"], start: float, end: float, color: Color, share: float = 1.0
    ) -> None:
        """Colors the chart from one time to another, two pixels wide at least."""
        left = min(max(self.x(start), self.left), self.left + self.width - 2)
        right = min(max(self.x(end), left + 2), self.left + self.width)
        fill(picture, left, self.top, right - left, self.height, color, share)

    def line(
        self,
        picture: UInt8[np.ndarray, "h w 3"],
        seconds: Float[np.ndarray, " sample"],
        values: Float[np.ndarray, " sample"],
        color: Color,
        thickness: int = 1,
    ) -> None:
        """Values as a line; it is broken where one is NaN, and where there are many, each column shows their range."""
        import cv2

        inside = (seconds >= self.start) & (seconds <= self.end)
        seconds, values = seconds[inside], values[inside]
        for run in true_runs(np.isfinite(values)):
            points = self._points(*self._places(seconds[run], values[run]))
            cv2.polylines(picture, [points], False, color, thickness, cv2.LINE_AA, SUBPIXEL)

    def _points(self, x: Float[np.ndarray, " sample"], y: Float[np.ndarray, " sample"]) -> np.ndarray:
        """Points of a line in OpenCV's unit, "point 1 2"."""
        if len(x) > DENSE * self.width:
            columns = np.rint(x).astype(int)
            first = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
            # Up and down by turns, so that the line between two columns follows the range's edge.
            pairs = np.stack([np.minimum.reduceat(y, first), np.maximum.reduceat(y, first)], axis=1)
            pairs[1::2] = pairs[1::2, ::-1]
            x, y = np.repeat(columns[first], 2).astype(float), pairs.ravel()
        points = np.clip(np.stack([x, y], axis=1), -FARTHEST, FARTHEST)
        return np.rint(points * (1 << SUBPIXEL)).astype(np.int32)[:, None]


def true_runs(flags: Bool[np.ndarray, " sample"]) -> Iterator[slice]:
    """Where a row of flags is True, run by run."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(start), int(end))


def ticks(start: float, end: float, most: int) -> list[float]:
    """At most `most` round numbers from start to end, in steps of 1, 2 or 5 times a power of ten."""
    if not end > start:
        return [start]
    power = 10.0 ** math.floor(math.log10((end - start) / most))
    return _multiples(start, end, [factor * power for factor in (1, 2, 5, 10, 20, 50)], most)


def time_ticks(start: float, end: float, most: int) -> list[float]:
    """The same for seconds, which from three minutes on go in steps that a clock knows."""
    if end - start < LONG:
        return ticks(start, end, most)
    steps = [10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600]
    return _multiples(start, end, steps + [3600 * 2.0**power for power in range(1, 20)], most)


def _multiples(start: float, end: float, steps: Sequence[float], most: int) -> list[float]:
    """The multiples from start to end of the smallest step that gives at most `most` of them."""
    for step in steps:
        first, last = math.ceil(start / step - 1e-9), math.floor(end / step + 1e-9)
        if last - first < most:
            break
    return [number * step for number in range(first, last + 1)]
