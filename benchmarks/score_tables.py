"""Rows of results/, measured UF1 and UAR, as Markdown tables, with the published figures beside them."""

from __future__ import annotations

import re
import sys

from microexpr import experiments, methods
from microexpr.evaluation import published
from microexpr.evaluation.rows import STILL_THE_SAME

NAMES = {"all": "3DB", "casme2": "CASME II", "samm": "SAMM", "smic": "SMIC"}
PAPER = ("all", "smic", "casme2", "samm")  # as the columns of the paper's Table 3 stand
SELECT = {"last": "", "inner": ", inner", "oracle": " LEAKS"}  # after a method's name, where the word must stand
FAMILY = ("dataset", "trained_on", "database", "method", "settings", "protocol")  # of rows that differ in selection
WRONG = {"uf1": "UF1 ", "uar": "the UAR "}  # how the note begins where that published figure is wrong or looks so
EIGHT = (
    *("alexnet", "micro-attention", "atnet", "off-apexnet", "ststnet", "dual-inception", "capsulenet"),
    "neural-recognizer",
)


def table(experiment: str, measured: list[dict[str, str]], words: list[str]) -> str:
    """The table of an experiment's rows; with databases among `words`, of runs trained and tested on one of them.

    The word uar gives UAR in the place of UF1 where there is room for one of them.
    """
    measure, databases = "uar" if "uar" in words else "uf1", [word for word in words if word != "uar"]
    if databases:
        measured = [row for row in measured if row["trained_on"] == row["database"] and row["database"] in databases]
    places, selections = list(NAMES), list(SELECT)
    measured = sorted(
        measured,
        key=lambda row: (
            places.index(row["trained_on"]),
            places.index(row["database"]),
            number_of(experiment, row),
            selections.index(row["select"]),
        ),
    )
    if experiments.entry(experiment).pictures == "epochs":
        return leak_table(measured, measure)
    labels = bool(experiments.entry(experiment).variants)
    head = ["data", *["variant"] * labels, "method", "UF1 [95 %]", "UAR [95 %]", "seeds", "published UF1 / UAR"]
    lines = [
        _line(row, [experiments.variants_of(experiment)[number_of(experiment, row)].label] * labels) for row in measured
    ]
    return markdown(head, lines)


def leak_table(measured: list[dict[str, str]], measure: str) -> str:
    """UF1 or UAR of the selections side by side, one line for each method, its settings and its database."""
    families: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in measured:
        families.setdefault(tuple(row[column] for column in FAMILY), {})[row["select"]] = row
    lines = []
    for family in families.values():
        row = next(iter(family.values()))
        own = _settings(row)
        odd = (f"{name}={value}" for name, value in _odd(row).items() if name != "epochs")
        told = " ".join(filter(None, (*odd, _protocol(row))))
        known = _published(row)
        seeds = dict.fromkeys(one["seeds"] for one in family.values())
        lines.append(
            [
                _where(row),
                f"`{row['method']}`{f' ({told})' if told else ''}",
                own.get("epochs", "-"),
                *(_score(family[select], measure) if select in family else "-" for select in SELECT),
                ", ".join(seeds),
                _known(known, measure) if known else "-",
            ]
        )
    head = ["data", "method", "epochs", "last", "inner", "oracle LEAKS", "seeds", f"published {measure.upper()}"]
    return markdown(head, lines)


def networks_scores(cost: dict[str, dict[str, str]], measured: list[dict[str, str]]) -> str:
    """The eight networks of the paper's Table 3: parameters, cost, and what was measured beside what was published."""
    lines = []
    for network in EIGHT:
        own = cost.get(network)
        sizes = ["not measured yet"] * 3
        if own:
            sizes = [f"{int(own['parameters']):,}", *(milliseconds(own[what]) for what in ("forward", "training"))]
        full = _usual(network)["epochs"]
        rows = [row for row in measured if row["method"] == network and row["trained_on"] == row["database"]]
        for row in rows or [None]:
            epochs = f"{_settings(row)['epochs'] if row else 'none'} of {full}"
            known = _published(row) if row else published.published(network, "megc2019-flow", None)
            scores = [_score(row, "uf1"), _score(row, "uar"), row["seeds"]] if row else ["-"] * 3
            where = _where(row) if row else NAMES["all"]
            lines.append([f"`{network}`", *sizes, where, epochs, *scores, _both(known)])
    head = ["network", "parameters", "forward", "training", "data", "epochs", "UF1 [95 %]", "UAR [95 %]", "seeds"]
    return markdown([*head, "published UF1 / UAR"], lines)


def versus_table(measured: list[dict[str, str]], named: list[str]) -> str:
    """Published and measured figures of methods, UF1 with its interval / UAR, one column for each database."""
    lines = []
    for method in named:
        known = (published.published(method, "megc2019-flow", None if name == "all" else name) for name in PAPER)
        lines.append([f"`{method}`", "published", *map(_both, known)])
        found: dict[tuple[str, str], dict[str, str]] = {}
        for row in measured:
            if row["method"] == method and row["select"] == "last":
                how = "in one run over 3DB" if row["trained_on"] == "all" else "each alone"
                seeds = f"{row['seeds']} seed{'s' * (row['seeds'] != '1')}"
                told = ", ".join(filter(None, (row["settings"], _protocol(row), seeds)))
                cell = f"{_score(row, 'uf1')} / {float(row['uar']):.1f}"
                found.setdefault((how, told), {})[row["database"]] = cell
        for (how, told), cells in sorted(found.items(), reverse=True):
            lines.append([f"`{method}`", f"measured {how} ({told})", *(cells.get(name, "-") for name in PAPER)])
    return markdown(["method", "UF1 [95 %] / UAR", *(NAMES[name] for name in PAPER)], lines)


def number_of(experiment: str, row: dict[str, str]) -> int:
    """Which variant of the experiment a row is; in the experiment of selections the method alone decides."""
    own = _settings(row)
    for number, variant in enumerate(experiments.variants_of(experiment)):
        fixed = _usual(variant.method, **variant.settings)
        if variant.method == row["method"] and all(own[name] == fixed[name] for name in variant.settings):
            return number
    sys.exit(f"{row['method']} {row['settings']} is no variant of the experiment {experiment}")


def _usual(method: str, **settings: object) -> dict[str, str]:
    from microexpr.methods._settings import settings_of

    return {name: str(value) for name, value in settings_of(methods.create(method, **settings)).items()}


def _odd(row: dict[str, str]) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\[.*?\]|\S+)", row["settings"]))


def _settings(row: dict[str, str]) -> dict[str, str]:
    """All settings of a row as text: the method's defaults and what differs from them."""
    return _usual(row["method"]) | _odd(row)


def _published(row: dict[str, str]) -> published.PublishedRow | None:
    """The paper's figure for a row; none where the network is another than the published one."""
    if _odd(row).keys() - STILL_THE_SAME:
        return None
    database = None if row["database"] == "all" else row["database"]
    return published.published(row["method"], row["dataset"], database)


def _where(row: dict[str, str]) -> str:
    where = NAMES[row["database"]]
    return f"3DB, clips of {where}" if row["trained_on"] == "all" and row["database"] != "all" else where


def _protocol(row: dict[str, str]) -> str:
    return "" if row["protocol"] == "loso" else row["protocol"]


def _score(row: dict[str, str], measure: str) -> str:
    """UF1 or UAR with its interval, and with the spread of the seeds where the file has it."""
    value, low, high = (float(row[f"{measure}{end}"]) for end in ("", "_low", "_high"))
    spread = row.get(f"{measure}_sd")
    return f"{value:.1f}{f' ± {float(spread):.1f}' if spread else ''} [{low:.1f}, {high:.1f}]"


def _line(row: dict[str, str], labels: list[str]) -> list[str]:
    known = _published(row)
    told = " ".join(filter(None, (row["settings"], _protocol(row))))
    settings = f" ({told})" if told else ""
    return [
        _where(row),
        *labels,
        f"`{row['method']}`{SELECT[row['select']]}{settings}",
        _score(row, "uf1"),
        _score(row, "uar"),
        row["seeds"],
        _both(known),
    ]


def _both(known: published.PublishedRow | None) -> str:
    return f"{_known(known, 'uf1')} / {_known(known, 'uar')}" if known else "-"


def _known(known: published.PublishedRow, measure: str) -> str:
    mark = "\\*" if known.note.startswith(WRONG[measure]) else ""
    return f"{getattr(known, measure):.2f}{mark}"


def milliseconds(value: str) -> str:
    """Three digits that count; all of a thousand and more."""
    number = float(value)
    return f"{number:,.0f} ms" if number >= 1000 else f"{number:.3g} ms"


def markdown(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table, and what its mark means."""
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    told = "\n\n\\* wrong at its source, or looks so" if "\\*" in body else ""
    return f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n{body}{told}"
