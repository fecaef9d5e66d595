"""CSV files of results/ -> the generated parts of the pages. Each stands between two comments:

<!-- figures: leak-MACHINE -->            table of a results file; database names after it keep those only; of the
                                          selections, uar gives UAR in the place of UF1
<!-- figures: flow-MACHINE speed -->      a table of `benchmarks/flow.py`
<!-- figures: loso-MACHINE -->            the table of `benchmarks/loso.py`
<!-- figures: networks-MACHINE -->        the table of `benchmarks/networks.py`
<!-- figures: table3-MACHINE versus mjfn -->  measured and published figures of methods, as in the paper's Table 3
<!-- figures: networks-MACHINE scores -->  the eight networks of the paper's Table 3: size, cost, ours and published
<!-- figures: page-MACHINE -->            the table of `benchmarks/page.py`
<!-- figures: features-MACHINE -->        the table of `benchmarks/features.py`
<!-- figures: spotting-MACHINE quiet -->  and stream, weights: see `video_tables`
<!-- figures: pictures leak -->           the experiment's pictures in docs/images
<!-- figures: experiments -->             every experiment, and its page where it has been measured
<!-- end of figures -->
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import numpy as np
from score_tables import markdown, milliseconds, networks_scores, table, versus_table
from video_tables import video_table

from microexpr import experiments

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- figures: {} -->", "<!-- end of figures -->"


def experiment_of(name: str) -> str:
    """The experiment that a results file is of, by its name."""
    found = [one for one in experiments.EXPERIMENTS if name.startswith(f"{one}-")]
    if not found:
        sys.exit(f"{name} should begin with one of {', '.join(experiments.EXPERIMENTS)} and go on with the machine")
    return max(found, key=len)


def read(name: str) -> list[dict[str, str]]:
    """The rows of a results file."""
    with (ROOT / "results" / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def pictures_of(experiment: str) -> str:
    """The pictures of an experiment that lie in docs/images, as Markdown for a page in docs/experiments/."""
    found = sorted((ROOT / "docs" / "images").glob(f"{experiment}*.svg"))
    titles = [re.search("<title>(.*?)</title>", file.read_text(encoding="utf-8")) for file in found]
    return "\n\n".join(
        f"![{title[1]}](../images/{file.name})" for file, title in zip(found, titles, strict=True) if title
    )


def experiments_table() -> str:
    """Every experiment, and its page where it has been measured."""
    lines = []
    for name, one in experiments.EXPERIMENTS.items():
        page = ROOT / "docs" / "experiments" / f"{name}.md"
        measured = f"[figures]({page.name})" if page.is_file() else "not yet"
        lines.append([f"`{name}`", one.paper or "not in the paper", one.title, f"`{one.select}`", measured])
    return markdown(["experiment", "paper", "what", "select", "measured here"], lines)


def training_table(name: str) -> str:
    """The table of `benchmarks/loso.py`: what a clip pass costs in three ways."""
    values = {row["what"]: float(row["value"]) for row in read(name)}
    networks = dict.fromkeys(what.partition(",")[0] for what in values if ", plain" in what)
    head = ["network", "plain loop", "workers", "stacked", "workers / plain", "stacked / plain", "full protocol"]
    lines = []
    for network in networks:
        own = {what: value for what, value in values.items() if what.startswith(f"{network}, ")}

        def of(part: str, own: dict[str, float] = own) -> float:
            return next(value for what, value in own.items() if part in what)

        passes = (f"{of(part):.3g} ms" for part in (", plain", "workers with", "folds stacked"))
        ratios = (f"{of(part):.2f}" for part in ("workers over", "stacked over"))
        lines.append([f"`{network}`", *passes, *ratios, f"{of('hours'):.2g} h"])
    return markdown(head, lines)


FOLDS = 68  # of leave-one-subject-out on 3DB


def networks_table(name: str) -> str:
    """The table of `benchmarks/networks.py`: what a clip or picture costs each network, and all folds of 3DB."""
    lines = []
    for row in read(name):
        hours = float(row["training"]) * int(row["passes"]) * int(row["epochs"]) * FOLDS / 3.6e6
        costs = (milliseconds(row[what]) for what in ("represent", "forward", "training"))
        size = f"{int(row['parameters']):,}"
        long = f"{hours:,.{1 if hours < 10 else 0}f} h"
        lines.append([f"`{row['network']}`", size, *costs, row["passes"], row["epochs"], long])
    head = ["network", "parameters", "represent", "forward", "training", "passes", "epochs", "LOSO on 3DB, one core"]
    return markdown(head, lines)


def values_table(name: str) -> str:
    """A file of single figures as it is."""
    return markdown(["what", "measured"], [[row["what"], f"{float(row['value']):g}"] for row in read(name)])


def features_table(name: str) -> str:
    """The table of `benchmarks/features.py`: a clip of each hand-crafted feature, and 442 of them."""
    value = {row["what"]: float(row["value"]) for row in read(name)}
    lines = []
    for what, seconds in value.items():
        match = re.fullmatch(r"(\S+), (60 frames of \S+), (\d+) numbers a clip, seconds a clip on one core", what)
        if match:
            start = f"{match[1]}, {match[2]}, {match[3]} numbers a clip"
            minutes = value[f"{start}, minutes for 442 clips on 2 cores, projected"]
            memory = value[f"{start}, largest memory of a worker, MiB"]
            cells = [f"`{match[1]}`", match[3], f"{seconds:.3f} s", f"{60 * minutes:.0f} s", f"{memory:.0f} MiB"]
            lines.append(cells)
    return markdown(["method", "numbers", "a clip, one core", "442 clips, two cores", "memory of a worker"], lines)


def flow_table(name: str, part: str) -> str:
    """A table of `benchmarks/flow.py`: "speed" and errors over the kinds of scenes, errors by peak, or "bias"."""
    measured = read(name)
    if part == "bias":
        return _bias_table(measured)
    named = list(dict.fromkeys(row["method"] for row in measured if row["part"] == "micro"))
    if part == "speed":
        head = ["solver", "times as fast", "ms", "micro-motion", "with drift", "4 and 8 px"]
        lines = [[m, *_times(measured, m), *(_errors(_of(measured, k, m)) for k in KINDS)] for m in named]
    else:  # a kind of scene: errors by peak
        peaks = list(dict.fromkeys(row["peak"] for row in measured if row["part"] == part))
        head = ["peak, px", *peaks]
        lines = [
            [m, *(_errors([row for row in _of(measured, part, m) if row["peak"] == peak]) for peak in peaks)]
            for m in named
            if m.startswith(("microexpr", "zero")) or "TV-L1" in m
        ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines))


KINDS = ("micro", "drift", "large")


def _times(measured: list[dict[str, str]], method: str) -> list[str]:
    """Median over the scenes of the default's time over the method's, and of the method's milliseconds."""
    if method == "zero flow":
        return ["-", "-"]
    default, own = (
        np.array([float(row["milliseconds"]) for kind in KINDS for row in _of(measured, kind, name)])
        for name in (measured[0]["method"], method)
    )
    return [f"{np.median(default / own):.3g}", f"{np.median(own):.3g}"]


def _errors(rows: list[dict[str, str]]) -> str:
    means = [np.mean([float(row[key]) for row in rows]) for key in ("mean_error", "moving_error")]
    return " / ".join(f"{mean:.4f}".lstrip("0") for mean in means)


def _bias_table(measured: list[dict[str, str]]) -> str:
    shifts = list(dict.fromkeys(row["peak"] for row in measured if row["part"] == "bias"))
    lines = ["| found / true shift of | " + " | ".join(shifts) + " px |", "|---|" + "---|" * len(shifts)]
    for method in dict.fromkeys(row["method"] for row in measured if row["part"] == "bias"):
        found = [[float(r["ratio"]) for r in _of(measured, "bias", method) if r["peak"] == s] for s in shifts]
        lines.append(f"| {method} | " + " | ".join(f"{min(f):.2f}-{max(f):.2f}" for f in found) + " |")
    return "\n".join(lines)


def _of(measured: list[dict[str, str]], part: str, method: str) -> list[dict[str, str]]:
    return [row for row in measured if (row["part"], row["method"]) == (part, method)]


def _networks_scores(name: str) -> str:
    cost = {row["network"]: row for row in read(name)}
    return networks_scores(cost, read(name.replace("networks", "table3")))


def _score_table(name: str, words: list[str]) -> str:
    if words[:1] == ["versus"]:
        return versus_table(read(name), words[1:])
    return table(experiment_of(name), read(name), words)


def renewed(text: str) -> str:
    """A page with its tables written anew."""

    def write(match: re.Match[str]) -> str:
        name, *rest = match[1].split()
        if name == "experiments":
            made = experiments_table()
        elif name.startswith("loso-"):
            made = training_table(name)
        elif name.startswith("features-"):
            made = features_table(name)
        elif name.startswith("page-"):
            made = values_table(name)
        elif name.startswith("networks-"):
            made = networks_table(name) if not rest else _networks_scores(name)
        elif name.startswith(("spotting-", "stream-", "registration-", "weights-")):
            made = video_table(name, read(name), rest)
        elif name == "pictures":
            made = pictures_of(*rest)
        else:
            made = flow_table(name, *rest) if name.startswith("flow-") else _score_table(name, rest)
        return f"{BEGIN.format(match[1])}\n{made}\n{END}"

    return re.sub(rf"{BEGIN.format('(.+?)')}\n.*?{END}", write, text, flags=re.S)


def pages() -> list[Path]:
    """The pages with generated parts."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if BEGIN.partition("{")[0] in page.read_text(encoding="utf-8")]
