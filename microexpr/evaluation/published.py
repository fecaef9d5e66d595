"""The figures of the paper's Table 3, with a note where a figure is known to be wrong or chosen on the test fold.

They are printed beside ours and never asserted. The figures are those of the table as printed, errors included; the
note says what is known about each.

Reference: Li, Wei, Wang and Zhou, Computational Visual Media 7(3), 2021, Table 3, doi:10.1007/s41095-021-0217-9.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

COMPOSITE = "3db"
# Clips behind the figures (Table 2): a run on others says so.
CLIPS = {"3db": 442, "smic": 164, "casme2": 145, "samm": 133}
# other names under which the composite of SMIC, CASME II and SAMM (MEGC 2019) is registered
SAME_CLIPS = {"megc2019-flow": COMPOSITE}


@dataclass(frozen=True)
class PublishedRow:
    """One published figure.

    Attributes:
        method: our registered name.
        dataset: "3db", "smic", "casme2" or "samm".
        uf1, uar: in percent, as printed.
        source: where the figure was copied from.
        note: what is known to be wrong or unsaid about it; may be empty.
    """

    method: str
    dataset: str
    uf1: float
    uar: float
    source: str
    note: str


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """Every figure of Table 3 in the table's order; the cells that the paper leaves empty are left out."""
    text = resources.files(__package__).joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        PublishedRow(row["method"], row["dataset"], float(row["uf1"]), float(row["uar"]), row["source"], row["note"])
        for row in csv.DictReader(text.splitlines())
        if row["uf1"]
    )


def published(method: str, dataset: str, part: str | None = None) -> PublishedRow | None:
    """The published figure of a method on a data set, or None where the paper has none.

    Args:
        method: our registered name, e.g. ``"mjfn"``.
        dataset: ``"3db"``, ``"smic"``, ``"casme2"``, ``"samm"``, or ``"megc2019-flow"`` (the same clips as 3DB).
        part: one database of a composite set.
    """
    name = SAME_CLIPS.get(dataset, dataset)
    if part is not None and name == COMPOSITE:
        name = part
    elif part is not None and part != name:
        return None
    return next((row for row in published_rows() if (row.method, row.dataset) == (method, name)), None)
