"""Charts as SVG text: epoch curves, reliability, estimates with their intervals.

Each chart is one self-contained picture with its own style and ground for light and dark, a title and a description for
screen readers, text as text, no script and no reference to anything outside. It can be set in a page, shown in a
Markdown page or opened on its own. Values are fractions and are shown in percent. What leaks is drawn in another color
and in another shape, and carries the word LEAKS.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from microexpr.errors import BadInput
from microexpr.evaluation import svg
from microexpr.evaluation.calibration import Reliability

LEAKS = "LEAKS: the epoch was chosen on the very subjects it is tested on; the figure is too high."
WIDTH = 840
SERIES = ("one", "two", "three", "four")
HALF_UP = 1e-11  # published figures are decimal: 78.85 is 78.9, although no float holds 78.85
LEFT = 20  # px: where headings and names begin


@dataclass(frozen=True)
class Curve:
    """UF1 after every epoch; curves of one name are the seeds of one thing."""

    name: str
    values: Float[np.ndarray, " epoch"]


@dataclass(frozen=True)
class Mark:
    """A figure to compare curves with, drawn as a line across."""

    name: str
    value: float
    leaks: bool = False


@dataclass(frozen=True)
class Estimate:
    """One row of an interval chart.

    Attributes:
        name, detail: what it is; the detail stands under the name.
        value: the score.
        interval: (low, high), or None where there is none.
        published: the published score of the same name.
        leaks: whether the epoch was chosen on the test subjects.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    published: float | None = None
    detail: str = ""
    leaks: bool = False


def epoch_curves(curves: Sequence[Curve], marks: Sequence[Mark] = (), title: str = "UF1 after every epoch") -> str:
    """UF1 against the epoch, with other figures as lines across: SVG text.

    Several curves of one name are thin lines and their mean a thick one. The last value of each name, the figure for
    which nothing was chosen on test clips, is written at the end of its curve.

    Raises:
        BadInput: no curves, or curves of different lengths.
    """
    lengths = {len(curve.values) for curve in curves}
    if len(lengths) != 1 or 0 in lengths:
        raise BadInput("curves of one length", f"lengths {sorted(lengths)}", "draw runs with one number of epochs")
    seeds: dict[str, list[np.ndarray]] = {}
    for curve in curves:
        seeds.setdefault(curve.name, []).append(curve.values)
    means = {name: np.mean(values, axis=0) for name, values in seeds.items()}
    labels = [
        *((float(mean[-1]), f"{svg.cut(name, 28)}, last epoch", False) for name, mean in means.items()),
        *((mark.value, svg.cut(mark.name, 40), mark.leaks) for mark in marks),
    ]
    colors = [SERIES[number % 4] for number in range(len(seeds))] + [_color(mark.leaks, "ink") for mark in marks]
    longest = max(len(name) + 6 * leaks for _, name, leaks in labels)
    low, high, ticks = svg.axis([*np.concatenate([curve.values for curve in curves]), *(mark.value for mark in marks)])
    right = max(WIDTH - 84 - svg.LETTER * longest, WIDTH / 2)
    plot = svg.Plot(52, right, 76, 390, (1, lengths.pop()), (low, high))
    subtitle = "UF1 in percent, all folds pooled, the same epoch in each"
    subtitle += "; thin: seeds, thick: their mean" if len(curves) > len(seeds) else ""
    leaks = any(mark.leaks for mark in marks)
    body = [
        svg.text(LEFT, 51, subtitle, "soft"),
        *_epoch_axes(plot, ticks),
    ]
    for (name, values), color in zip(seeds.items(), colors, strict=False):  # the marks have colors, too
        body += [svg.path(_points(plot, value), f"{color} thin") for value in values if len(values) > 1]
        body.append(svg.path(_points(plot, means[name]), f"{color} thick"))
        body.append(svg.dot(plot.x(plot.across[1]), plot.y(float(means[name][-1])), 5, color))
    body += [_mark_line(plot, mark, number) for number, mark in enumerate(marks)]
    body += _end_labels(plot, labels, colors)
    if leaks:
        body.append(svg.text(LEFT, plot.bottom + 70, LEAKS, "leak"))
    height = plot.bottom + (88 if leaks else 58)
    return svg.picture(WIDTH, height, title, [subtitle, *_told_curves(curves, marks)], body)


def _epoch_axes(plot: svg.Plot, ticks: Sequence[float]) -> Iterable[str]:
    for tick in ticks:
        yield svg.line(plot.left, plot.y(tick), plot.right, plot.y(tick), "grid")
        yield svg.text(plot.left - 10, plot.y(tick) + 4.5, _percent(tick, 0), "soft", "end")
    for epoch in svg.whole_ticks(int(plot.across[1])):
        yield svg.line(plot.x(epoch), plot.bottom, plot.x(epoch), plot.bottom + 5, "soft")
        yield svg.text(plot.x(epoch), plot.bottom + 21, str(epoch), "soft", "middle")
    yield svg.text((plot.left + plot.right) / 2, plot.bottom + 42, "epoch", "soft", "middle")


def _mark_line(plot: svg.Plot, mark: Mark, number: int) -> str:
    dash = "9 5" if mark.leaks else ("3 3", "10 3 2 3")[number % 2]
    return svg.line(plot.left, plot.y(mark.value), plot.right, plot.y(mark.value), _color(mark.leaks, "ink"), dash)


def _points(plot: svg.Plot, values: Float[np.ndarray, " epoch"]) -> list[tuple[float, float]]:
    return [(plot.x(epoch), plot.y(value)) for epoch, value in enumerate(values.tolist(), 1)]


def _end_labels(plot: svg.Plot, labels: Sequence[tuple[float, str, bool]], colors: Sequence[str]) -> Iterable[str]:
    """The value and name of every line at its right end, moved apart where they would overlap."""
    places = svg.spread([plot.y(value) for value, _, _ in labels], plot.top - 4, plot.bottom + 4, 20)
    for (value, name, leaks), color, place in zip(labels, colors, places, strict=True):
        yield svg.path([(plot.right + 8, plot.y(value)), (plot.right + 21, place)], color)
        parts = [(f"{_percent(value)} ", "bold"), (name, ""), (" LEAKS" if leaks else "", "bold")]
        yield svg.spans(plot.right + 26, place + 4.5, parts, color)


def _told_curves(curves: Sequence[Curve], marks: Sequence[Mark]) -> Iterable[str]:
    for curve in curves:
        first, last = _percent(curve.values[0]), _percent(curve.values[-1])
        yield f"{curve.name}: {first} after epoch 1, {last} after epoch {len(curve.values)}"
    for mark in marks:
        yield f"{mark.name} {_percent(mark.value)}{', ' + LEAKS if mark.leaks else ''}"


def reliability_diagram(found: Reliability, title: str = "Reliability", leaks: bool = False) -> str:
    """Accuracy against confidence, bin by bin, beside the diagonal of a method that knows what it knows: SVG text.

    The area of a dot grows with the clips of its bin; the stem to the diagonal is what the bin adds to the expected
    calibration error, before its weight. The strip below counts the clips.

    Args:
        found: what `reliability` found.
        title: on top.
        leaks: whether the epoch was chosen on the test subjects.
    """
    plot = svg.Plot(62, 362, 96, 396)
    foot, color = plot.bottom + 76, _color(leaks, "one")  # of the strip, with room for the counts
    figures = f"expected error {_percent(found.error)} %, Brier {found.brier:.2f}, log loss {found.log_loss:.2f}"
    body = [svg.text(LEFT, 51, figures, "soft"), *_reliability_axes(plot, foot)]
    told = [figures]
    for number in np.flatnonzero(found.count).tolist():
        sure, right = float(found.confidence[number]), float(found.accuracy[number])
        told.append(f"{found.count[number]} clips with confidence {_percent(sure)}, right on {_percent(right)}")
        body += ["<g>", f"<title>{svg.escape(told[-1])}</title>", *_bin(plot, foot, found, number, color), "</g>"]
    if leaks:
        first, second = LEAKS.split(" it is ")
        body.append(svg.text(LEFT, foot + 70, first, "leak small"))
        body.append(svg.text(LEFT, foot + 86, f"it is {second}", "leak small"))
        told.append(LEAKS)
    heading = title + (" LEAKS" if leaks else "")
    return svg.picture(400, foot + (102 if leaks else 58), heading, told, body)


def _reliability_axes(plot: svg.Plot, foot: float) -> Iterable[str]:
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        yield svg.line(plot.left, plot.y(tick), plot.right, plot.y(tick), "grid")
        yield svg.line(plot.x(tick), plot.top, plot.x(tick), plot.bottom, "grid")
        yield svg.text(plot.left - 10, plot.y(tick) + 4.5, _percent(tick, 0), "soft", "end")
        yield svg.text(plot.x(tick), foot + 20, _percent(tick, 0), "soft", "middle")
    yield svg.line(plot.left, plot.bottom, plot.right, plot.top, "soft", "5 4")
    yield svg.text(plot.left + 8, plot.top + 20, "not sure enough", "soft small italic")
    yield svg.text(plot.right - 12, plot.bottom - 14, "too sure", "soft small italic", "end")
    yield svg.text(LEFT, plot.top - 15, "right, in percent", "soft small")
    yield svg.line(plot.left, foot, plot.right, foot, "grid")
    yield svg.text(plot.left - 10, foot, "clips", "soft small", "end")
    yield svg.text((plot.left + plot.right) / 2, foot + 42, "confidence in percent", "soft", "middle")


def _bin(plot: svg.Plot, foot: float, found: Reliability, number: int, color: str) -> Iterable[str]:
    """Stem, dot, bar and count of one bin."""
    bins, count = len(found.count), int(found.count[number])
    share = count / int(found.count.max())
    sure, right = float(found.confidence[number]), float(found.accuracy[number])
    yield svg.line(plot.x(sure), plot.y(sure), plot.x(sure), plot.y(right), color)
    yield svg.dot(plot.x(sure), plot.y(right), 2.5 + 8.5 * share**0.5, color)
    height, width = max(46 * share, 1.5), plot.x(1 / bins) - plot.left
    yield svg.box(plot.x(number / bins) + 1.5, foot - height, width - 3, height, f"{color} pale")
    yield svg.text(plot.x((number + 0.5) / bins), foot - height - 4, str(count), "soft small", "middle")


def intervals(
    rows: Sequence[Estimate], floor: tuple[str, float] | None = None, title: str = "UF1 with 95 % intervals"
) -> str:
    """Estimates with their intervals, one under the other, and the published figures as hollow marks: SVG text.

    Args:
        rows: from top to bottom.
        floor: name and value of a score to beat, drawn as a line down.
        title: on top.

    Raises:
        BadInput: no rows.
    """
    if not rows:
        raise BadInput("at least one row", "none", "give the estimates to draw")
    published, leaks = any(row.published is not None for row in rows), any(row.leaks for row in rows)
    longest = max(max(len(svg.cut(row.name, 34)) + 7 * row.leaks, 0.85 * len(svg.cut(row.detail, 46))) for row in rows)
    height = 42 if any(row.detail for row in rows) else 32
    low, high, ticks = svg.axis([value for row in rows for value in _values(row)] + ([floor[1]] if floor else []))
    right = WIDTH - (268 if published else 192)
    plot = svg.Plot(LEFT + 26 + svg.LETTER * longest, right, 84, 84 + height * len(rows), (low, high))
    body = [svg.text(LEFT, 51, "in percent", "soft"), *_interval_axes(plot, ticks, published, floor)]
    for number, row in enumerate(rows):
        body += ["<g>", f"<title>{svg.escape(_told_estimate(row))}</title>"]
        body += [*_estimate(plot, row, plot.top + height * (number + 0.5)), "</g>"]
    foot = plot.bottom + 54
    body += _legend(foot, published, leaks, floor)
    told = [_told_estimate(row) for row in rows] + ([f"{floor[0]} {_percent(floor[1])}"] if floor else [])
    if leaks:
        foot += 26
        body.append(svg.text(LEFT, foot, LEAKS, "leak"))
    return svg.picture(WIDTH, foot + 20, title, told, body)


def _interval_axes(
    plot: svg.Plot, ticks: Sequence[float], published: bool, floor: tuple[str, float] | None
) -> Iterable[str]:
    for tick in ticks:
        yield svg.line(plot.x(tick), plot.top - 4, plot.x(tick), plot.bottom, "grid")
        yield svg.text(plot.x(tick), plot.bottom + 18, _percent(tick, 0), "soft", "middle")
    columns = {"estimate": 66, "interval": 172} | ({"published": 248} if published else {})
    for name, place in columns.items():
        yield svg.text(plot.right + place, plot.top - 14, name, "soft small", "end")
    if floor:
        yield svg.line(plot.x(floor[1]), plot.top - 4, plot.x(floor[1]), plot.bottom, "soft", "3 3")


def _estimate(plot: svg.Plot, row: Estimate, middle: float) -> Iterable[str]:
    """Name, interval, marks and figures of one row."""
    name = [(svg.cut(row.name, 34), "bold"), (" LEAKS" if row.leaks else "", "bold leak")]
    yield svg.spans(LEFT, middle + (-3 if row.detail else 4.5), name, "ink")
    if row.detail:
        yield svg.text(LEFT, middle + 13, svg.cut(row.detail, 46), "soft small")
    color, x = _color(row.leaks, "one"), plot.x(row.value)
    if row.interval:
        low, high = row.interval
        yield svg.line(plot.x(low), middle, plot.x(high), middle, f"{color} whisker")
        bounds = f"{_percent(low)} to {_percent(high)}"
        yield svg.text(plot.right + 172, middle + 4.5, bounds, "soft", "end")
    if row.published is not None:
        yield svg.diamond(plot.x(row.published), middle, 6.5, "hollow")
        yield svg.text(plot.right + 248, middle + 4.5, _percent(row.published + HALF_UP), "soft", "end")
    yield svg.box(x - 5, middle - 5, 10, 10, f"{color} ring") if row.leaks else svg.dot(x, middle, 5.5, color)
    yield svg.text(plot.right + 66, middle + 4.5, _percent(row.value), "ink bold", "end")


def _legend(y: float, published: bool, leaks: bool, floor: tuple[str, float] | None) -> Iterable[str]:
    entries = ["estimate and interval"] + ["LEAKS"] * leaks + ["published"] * published + ([floor[0]] if floor else [])
    x: float = LEFT + 4
    for number, name in enumerate(entries):
        if floor and number == len(entries) - 1:
            yield svg.line(x + 8, y - 12, x + 8, y + 3, "soft", "3 3")
        elif name == "published":
            yield svg.diamond(x + 8, y - 4.5, 6.5, "hollow")
        else:
            color = _color(name == "LEAKS", "one")
            yield svg.line(x - 2, y - 4.5, x + 18, y - 4.5, f"{color} whisker")
            yield (
                svg.box(x + 3, y - 9.5, 10, 10, f"{color} ring")
                if name == "LEAKS"
                else svg.dot(x + 8, y - 4.5, 5.5, color)
            )
        yield svg.text(x + 25, y, name, "soft")
        x += 52 + svg.LETTER * len(name)


def _values(row: Estimate) -> Iterable[float]:
    yield from (row.value, *(row.interval or ()))
    if row.published is not None:
        yield row.published


def _told_estimate(row: Estimate) -> str:
    name = ", ".join(filter(None, (row.name, row.detail)))
    interval = f", interval {_percent(row.interval[0])} to {_percent(row.interval[1])}" if row.interval else ""
    published = "" if row.published is None else f", published {_percent(row.published + HALF_UP)}"
    return f"{name} {_percent(row.value)}{interval}{published}{', ' + LEAKS if row.leaks else ''}"


def _color(leaks: bool, honest: str) -> str:
    return "leak" if leaks else honest


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}"
