"""Charts: sound SVG that stands alone, marks where the values are, LEAKS wherever something leaks."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from microexpr.errors import BadInput
from microexpr.evaluation import charts, svg
from microexpr.evaluation.calibration import reliability
from microexpr.evaluation.charts import Curve, Estimate, Mark

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<script>&\"'\x00\ud800</script>"


def parsed(text: str) -> ElementTree.Element:
    """The picture, after the checks that hold for every chart."""
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text
    assert root[1].tag == f"{SVG}desc"
    assert root[1].text
    assert not list(root.iter(f"{SVG}script"))
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    for fetches in ("url(", "@import", "href", "src=", " id="):  # ids would clash where charts share a page
        assert fetches not in text
    assert "nan" not in text
    return root


def words(root: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def marks(root: ElementTree.Element, tag: str, style: str) -> list[ElementTree.Element]:
    return [found for found in root.iter(SVG + tag) if style in found.get("class", "").split()]


def inside(root: ElementTree.Element) -> None:
    """Nothing lies outside the picture, the estimated width of text included."""
    width, height = (float(root.get(name, "")) for name in ("width", "height"))
    for text in root.iter(f"{SVG}text"):
        length = len("".join(text.itertext())) * 7.4
        start = float(text.get("x", "")) - {"end": length, "middle": length / 2}.get(text.get("text-anchor", ""), 0)
        assert start >= -2
        assert start + length <= width + 2, "".join(text.itertext())
        assert 0 < float(text.get("y", "")) < height
    for circle in root.iter(f"{SVG}circle"):
        assert 0 < float(circle.get("cx", "")) < width
        assert 0 < float(circle.get("cy", "")) < height


def rising(epochs: int, end: float) -> np.ndarray:
    return np.linspace(0.3, end, epochs)


def test_epoch_curves() -> None:
    curves = [Curve("mjfn", rising(300, 0.70)), Curve("mjfn", rising(300, 0.74))]
    root = parsed(charts.epoch_curves(curves, [Mark("best test epoch", 0.839, leaks=True), Mark("inner", 0.71)]))
    inside(root)
    found = words(root)
    assert "72.0 mjfn, last epoch" in found  # the mean of the seeds
    assert "83.9 best test epoch LEAKS" in found
    assert "71.0 inner" in found
    assert charts.LEAKS in found
    assert charts.LEAKS in (root[1].text or "")
    assert len(marks(root, "path", "thin")) == 2
    assert len(marks(root, "path", "thick")) == 1
    line = re.findall(r"[\d.]+ [\d.]+", marks(root, "path", "thick")[0].get("d", ""))
    assert len(line) == 300
    (dot,) = marks(root, "circle", "one")
    assert f"{dot.get('cx')} {dot.get('cy')}" == line[-1]
    (leak,) = (found for found in marks(root, "line", "leak") if found.get("stroke-dasharray"))
    assert leak.get("y1") == leak.get("y2")
    assert float(leak.get("y1", "")) < float(line[-1].split()[1])  # higher on the page


def test_curves_without_a_leak_do_not_speak_of_one() -> None:
    text = charts.epoch_curves([Curve("a", rising(5, 0.5)), Curve("b", rising(5, 0.6))], [Mark("inner", 0.4)])
    root = parsed(text)
    inside(root)
    assert "LEAKS" not in text
    assert not marks(root, "path", "thin")
    assert len(marks(root, "circle", "two")) == 1


@pytest.mark.parametrize("epochs", [1, 2, 7, 800])
def test_any_number_of_epochs(epochs: int) -> None:
    root = parsed(charts.epoch_curves([Curve("flat", np.full(epochs, 0.5))]))
    inside(root)
    assert "1" in words(root)
    assert "50.0 flat, last epoch" in words(root)


def test_labels_that_would_overlap_are_moved_apart() -> None:
    curves = [Curve(f"method-{number}", np.array([0.4, 0.5])) for number in range(6)]
    root = parsed(charts.epoch_curves(curves))
    inside(root)
    places = sorted(float(text.get("y", "")) for text in root.iter(f"{SVG}text") if "last" in "".join(text.itertext()))
    assert min(np.diff(places)) >= 20


def test_spread_keeps_order_and_bounds() -> None:
    assert svg.spread([50, 10, 90], 0, 100, 20) == [50, 10, 90]
    assert svg.spread([95, 97, 99], 0, 100, 20) == [60, 80, 100]
    assert svg.spread([99, 97, 95], 0, 100, 20) == [100, 80, 60]
    assert svg.spread([5, 5], 10, 100, 20) == [10, 30]


@pytest.mark.parametrize("curves", [[], [Curve("a", np.zeros(0))], [Curve("a", np.zeros(2)), Curve("b", np.zeros(3))]])
def test_curves_that_share_no_axis_are_refused(curves: list[Curve]) -> None:
    with pytest.raises(BadInput, match="one length"):
        charts.epoch_curves(curves)


def test_reliability_diagram() -> None:
    truth = np.array([0, 1, 1, 0])
    found = reliability(truth, np.array([[0.9, 0.1], [0.85, 0.15], [0.25, 0.75], [0.55, 0.45]]))
    text = charts.reliability_diagram(found, "Reliability of mjfn")
    root = parsed(text)
    inside(root)
    assert "expected error 36.2 %, Brier 0.50, log loss 0.72" in words(root)
    assert "2 clips with confidence 87.5, right on 50.0" in text
    dots = marks(root, "circle", "one")
    assert len(dots) == len(marks(root, "rect", "pale")) == 3
    # the plot is 300 px high and wide from (62, 396); the fullest bin has the largest dot
    place = {(float(dot.get("cx", "")), float(dot.get("cy", ""))): float(dot.get("r", "")) for dot in dots}
    full = (62 + 300 * 0.875, 396 - 300 * 0.5)
    assert place[full] == max(place.values())
    assert (62 + 300 * 0.75, 96) in place
    assert "LEAKS" not in text


def test_reliability_that_leaks_says_so() -> None:
    root = parsed(
        charts.reliability_diagram(reliability(np.array([0, 1]), np.eye(2)), "Reliability of mjfn", leaks=True)
    )
    inside(root)
    assert root[0].text == "Reliability of mjfn LEAKS"
    assert charts.LEAKS in (root[1].text or "")
    assert charts.LEAKS in " ".join(words(root))
    assert marks(root, "circle", "leak")
    assert not marks(root, "circle", "one")


def test_intervals() -> None:
    rows = [
        Estimate("mjfn", 0.742, (0.667, 0.810), 0.8338, "select=last"),
        Estimate("mjfn", 0.852, (0.790, 0.900), 0.8338, "select=oracle", leaks=True),
        Estimate("neural-recognizer", 0.7, None, 0.7885),
        Estimate("flow-linear", 0.742, (0.7, 0.79)),
    ]
    root = parsed(charts.intervals(rows, ("always negative", 0.241)))
    inside(root)
    found = words(root)
    for said in ("mjfn LEAKS", "select=oracle", "66.7 to 81.0", "74.2", "78.9", "always negative", charts.LEAKS):
        assert said in found
    told = root[1].text or ""
    assert "mjfn, select=last 74.2, interval 66.7 to 81.0, published 83.4;" in told
    assert f"mjfn, select=oracle 85.2, interval 79.0 to 90.0, published 83.4, {charts.LEAKS}" in told
    # one mark each and one in the legend: honest dots, leaking squares, hollow published figures
    assert len(marks(root, "circle", "one")) == 4
    assert len(marks(root, "rect", "leak")) == 2
    assert len(marks(root, "path", "hollow")) == 4
    # left to right as the values
    dots = {float(dot.get("cx", "")) for dot in marks(root, "circle", "one")[:3]}
    assert len(dots) == 2  # the same value, the same place
    (square, _) = marks(root, "rect", "leak")
    assert float(square.get("x", "")) > max(dots)


def test_intervals_without_published_figures_or_leaks() -> None:
    text = charts.intervals([Estimate("one", 0.5)])
    root = parsed(text)
    inside(root)
    assert "published" not in text
    assert "LEAKS" not in text
    with pytest.raises(BadInput, match="at least one row"):
        charts.intervals([])


def test_names_are_escaped_and_cut() -> None:
    long = "a-very-long-name-of-a-method-that-somebody-gave-" * 3
    for root in (
        parsed(
            charts.intervals([Estimate(EVIL, 0.5, detail=EVIL), Estimate(long, 0.5, detail=long)], (EVIL, 0.2), EVIL)
        ),
        parsed(
            charts.epoch_curves([Curve(EVIL, rising(3, 0.5)), Curve(long, rising(3, 0.4))], [Mark(long, 0.4)], EVIL)
        ),
        parsed(charts.reliability_diagram(reliability(np.array([0]), np.array([[1.0, 0.0]])), EVIL)),
    ):
        assert "<script>" in (root[0].text or "")
        inside(root)


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.95), (0.5, 0.5), (0.0, 0.0), (1.0, 1.0), (0.701, 0.712), (0.0, 1.0)])
def test_axes_hold_their_values_between_round_ticks(low: float, high: float) -> None:
    first, last, ticks = svg.axis([high, low])
    assert first <= low + 1e-9
    assert high <= last + 1e-9
    assert first < last
    assert 3 <= len(ticks) <= 11
    assert all(abs(100 * tick - round(100 * tick)) < 1e-9 for tick in ticks)


def luminance(color: str) -> float:
    """Relative luminance of the Web Content Accessibility Guidelines."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("shade", [0, 1])
def test_text_can_be_read_in_light_and_dark(shade: int) -> None:
    ground = luminance(svg.COLORS["ground"][shade])
    for name, colors in svg.COLORS.items():
        if name in ("ground", "grid"):
            continue
        dark, bright = sorted((ground, luminance(colors[shade])))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, name
