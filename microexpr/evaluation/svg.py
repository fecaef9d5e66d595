"""The parts that charts are made of: text, lines, axes and the one style, as SVG text.

The style is written out class by class, without custom properties: programs that turn SVG into pixels seldom know them.
Every rule is kept to charts by its selector, because a style inside a page counts for the whole page.

The colors are those of Okabe and Ito, Color Universal Design, 2008, darkened or lightened until they can be read.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LETTER = 7.4  # px: the mean width of a letter of the 13.5 px text, on the safe side
# name: light, dark
COLORS = {
    "ground": ("#ffffff", "#171e26"),
    "ink": ("#18212b", "#e6ebf0"),
    "soft": ("#56616d", "#9ca8b4"),
    "grid": ("#dde2e7", "#2f3a46"),
    "leak": ("#b84a00", "#ff9d5c"),
    "one": ("#0072b2", "#6cbdf2"),
    "two": ("#00795a", "#45d0a2"),
    "three": ("#a14a85", "#eba0cd"),
    "four": ("#8a6400", "#f0c44a"),
}
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'


def _rules(shade: int) -> str:
    """Fill and stroke of every color, light (0) or dark (1)."""
    found = []
    for name, colors in COLORS.items():
        color = colors[shade]
        found.append(
            f".microexpr-chart .{name} {{ fill: {color}; }} .microexpr-chart .{name}.stroke {{ stroke: {color}; }}"
        )
    ground = COLORS["ground"][shade]
    grid = COLORS["grid"][shade]
    found.append(f".microexpr-chart .ring {{ stroke: {ground}; }}")
    ink = COLORS["ink"][shade]
    found.append(f".microexpr-chart .hollow {{ fill: {ground}; stroke: {ink}; }}")
    found.append(f".microexpr-chart .frame {{ stroke: {grid}; }}")
    return "\n".join(found)


STYLE = f"""
.microexpr-chart text {{ font: 13.5px {FONT}; font-variant-numeric: tabular-nums; }}
.microexpr-chart text.small {{ font-size: 12px; }}
.microexpr-chart text.heading {{ font-size: 16px; font-weight: 650; }}
.microexpr-chart .bold {{ font-weight: 650; }} .microexpr-chart .italic {{ font-style: italic; }}
.microexpr-chart .stroke {{ fill: none !important; stroke-width: 1.5; }}
.microexpr-chart .thin {{ stroke-width: 1; opacity: .45; }} .microexpr-chart .thick {{ stroke-width: 2.2; }}
.microexpr-chart .whisker {{ stroke-width: 5; stroke-linecap: round; opacity: .5; }}
.microexpr-chart .grid.stroke {{ stroke-width: 1; }}
.microexpr-chart .hollow {{ stroke-width: 1.8; }} .microexpr-chart .ring {{ stroke-width: 1.5; }}
.microexpr-chart .pale {{ opacity: .55; }} .microexpr-chart path {{ stroke-linejoin: round; }}
{_rules(0)}
@media (prefers-color-scheme: dark) {{
{_rules(1)}
}}
@media print {{
{_rules(0)}
}}
"""


@dataclass(frozen=True)
class Plot:
    """Where values lie on the picture: edges in px, and the values at the edges."""

    left: float
    right: float
    top: float
    bottom: float
    across: tuple[float, float] = (0, 1)
    up: tuple[float, float] = (0, 1)

    def x(self, value: float) -> float:
        """Place from the left; the middle where the axis has one value only."""
        low, high = self.across
        return self.left + (self.right - self.left) * ((value - low) / (high - low) if high > low else 0.5)

    def y(self, value: float) -> float:
        """Place from the top."""
        low, high = self.up
        return self.bottom - (self.bottom - self.top) * (value - low) / (high - low)


def picture(width: float, height: float, title: str, told: Iterable[str], body: Iterable[str]) -> str:
    """The whole SVG: ground, heading, what a screen reader says, and the body.

    Args:
        width, height: in px; the picture scales.
        title: on top.
        told: the content in sentences, for those who don't see it.
        body: elements.
    """
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="microexpr-chart" role="img" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape('; '.join(told))}</desc>",
            f"<style>{STYLE}</style>",
            f'<rect class="ground frame" x=".5" y=".5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="9"/>',
            text(20, 30, title, "ink heading"),
            *body,
            "</svg>\n",
        ]
    )


def escape(content: str) -> str:
    """Text that is safe in an element or a quoted attribute; what XML can't hold becomes the replacement character."""
    return html.escape(re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", content))


def text(x: float, y: float, content: str, style: str, anchor: str = "start") -> str:
    """A line of text; `style` holds names of the style's classes."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def spans(x: float, y: float, parts: Iterable[tuple[str, str]], style: str) -> str:
    """A line of text in several styles: (content, style) each."""
    inner = "".join(f'<tspan class="{own}">{escape(content)}</tspan>' for content, own in parts if content)
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" xml:space="preserve">{inner}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str, dash: str = "") -> str:
    """A straight line; `dash` as in stroke-dasharray."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line class="{style} stroke" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{dashed}/>'


def path(points: Iterable[tuple[float, float]], style: str, dash: str = "") -> str:
    """A line through points."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="{style} stroke" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"{dashed}/>'


def diamond(x: float, y: float, size: float, style: str) -> str:
    """A square on its corner."""
    return f'<path class="{style}" d="M{x - size:.1f} {y:.1f}l{size} {-size} {size} {size} {-size} {size}z"/>'


def dot(x: float, y: float, radius: float, style: str) -> str:
    """A filled circle with a ring of the ground's color."""
    return f'<circle class="{style} ring" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'


def box(x: float, y: float, width: float, height: float, style: str) -> str:
    """A filled rectangle."""
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def cut(content: str, letters: int) -> str:
    """At most that many letters, the last an ellipsis where some were cut off."""
    return content if len(content) <= letters else content[: letters - 1] + "…"


def axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Low end, high end and round ticks of an axis of fractions that holds all values."""
    low, high = min(values), max(values)
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / step <= 8 or step == 0.2)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = first - 1, last + 1
    return first * step, last * step, [number * step for number in range(first, last + 1)]


def whole_ticks(last: int) -> list[int]:
    """1 and round numbers up to `last`."""
    step = next(
        size * 10**power for power in range(9) for size in (1, 2, 5) if last / (size * 10**power) <= 7 or power == 8
    )
    return [1, *(number for number in range(step, last + 1, step) if number > step / 3 and number > 1)]


def spread(places: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Places moved apart to neighbors `gap` from each other, in the same order, within [low, high] if they fit."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    moved = [places[number] for number in order]
    for number in range(len(moved)):
        moved[number] = max(moved[number], moved[number - 1] + gap if number else low)
    for number in reversed(range(len(moved))):
        moved[number] = min(moved[number], moved[number + 1] - gap if number + 1 < len(moved) else high)
    return [moved[order.index(number)] for number in range(len(places))]
