"""Runs as JSON for ``--json``: the rows of `evaluation.rows` as plain dictionaries.

Fractions throughout; what does not exist is None, never NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from microexpr.evaluation.calibration import Reliability
from microexpr.evaluation.metrics import Interval, majority
from microexpr.evaluation.published import PublishedRow
from microexpr.evaluation.rows import LEAKS, CompareRow, Row, chosen_epochs, run_rows, warnings

if TYPE_CHECKING:
    from microexpr.evaluation.results import Run


def to_json(run: Run) -> dict[str, Any]:
    """Everything a run's table shows, for machines: fractions throughout, None where there is no figure."""
    keys = (
        "dataset",
        "part",
        "method",
        "settings",
        "protocol",
        "select",
        "seed",
        "classes",
        "rendered",
        "versions",
        "data",
    )
    name, floor = majority(run.truth, run.info["classes"])
    rows = [_row_json(row, run.info["classes"]) for row in run_rows(run)]
    return {
        **{key: run.info[key] for key in keys},
        **({"weights": run.info["weights"]} if "weights" in run.info else {}),
        "folder": str(run.folder),
        "folds": len(run.folds),
        "folds_finished": len(run.finished),
        "leaks": run.info["select"] == "oracle",
        "epochs": chosen_epochs(run),  # of each finished fold
        "warnings": warnings(run),
        "floor": {
            "always": name,
            "uf1": _number(floor.uf1),
            "uar": _number(floor.uar),
            "accuracy": _number(floor.accuracy),
        },
        "rows": rows,
    }


def _row_json(row: Row, classes: Sequence[str]) -> dict[str, Any]:
    result, interval = row.scores, row.interval
    return {
        "name": row.name,
        "clips": row.clips,
        "subjects": row.subjects,
        **{name: _number(getattr(result, name)) for name in ("uf1", "uar", "accuracy")},
        "interval": _interval_json(interval),
        "recall": {name: _number(value) for name, value in zip(classes, result.recall.tolist(), strict=True)},
        "absent": list(result.absent),
        "confusion": result.confusion.tolist(),
        "calibration": _calibration_json(row.reliability),
        "published": _published_json(row.published),
    }


def compare_to_json(rows: Sequence[CompareRow]) -> list[dict[str, Any]]:
    """The rows of `compare_rows` for machines, in the same units as `to_json`."""
    return [_compare_json(row) for row in rows]


def _compare_json(row: CompareRow) -> dict[str, Any]:
    spread = row.spread and dict(zip(("uf1", "uar", "accuracy"), map(_number, row.spread), strict=True))
    return {
        "method": row.method,
        "settings": list(row.settings),
        "select": row.experiment.select,
        "leaks": row.leaks,
        "warnings": list(row.warnings),
        "seeds": list(row.seeds),
        **{name: _number(getattr(row, name)) for name in ("uf1", "uar", "accuracy")},
        "spread": spread,
        "interval": _interval_json(row.interval),
        "recall": {name: _number(value) for name, value in row.recall.items()},
        "published": _published_json(row.published),
        "difference": _difference_json(row),
    }


def _difference_json(row: CompareRow) -> dict[str, Any] | None:
    """A difference leaks where either side does."""
    found, other = row.difference, row.against
    if found is None or other is None:
        return None
    leaks = row.leaks or other.leaks
    return {
        "against": {"method": other.method, "settings": list(other.settings), "select": other.select},
        "uf1": _number(found.uf1),
        "interval": found.interval and [_number(value) for value in found.interval],
        "p": found.p,
        "leaks": leaks,
        "warnings": [LEAKS] if leaks else [],
    }


def _calibration_json(found: Reliability) -> dict[str, Any]:
    size = len(found.count)
    columns = (found.count.tolist(), found.confidence.tolist(), found.accuracy.tolist())
    return {
        "expected_error": _number(found.error),
        "surplus": _number(found.surplus),
        "brier": _number(found.brier),
        "log_loss": _number(found.log_loss),
        "clips_below_smallest_probability": found.floored,
        "bins": [
            {
                "above": _number(number / size),
                "to": _number((number + 1) / size),
                "clips": count,
                "confidence": _number(confidence),
                "accuracy": _number(right),
            }
            for number, (count, confidence, right) in enumerate(zip(*columns, strict=True))
        ],
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _interval_json(interval: Interval) -> dict[str, Any]:
    bounds = {name: getattr(interval, name) for name in ("uf1", "uar", "accuracy")}
    return {
        "level": interval.level,
        "resamples": interval.resamples,
        "resamples_lacking_a_class": interval.incomplete,
        **{name: pair and [_number(value) for value in pair] for name, pair in bounds.items()},
    }


def _published_json(row: PublishedRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"uf1": _number(row.uf1 / 100), "uar": _number(row.uar / 100), "source": row.source, "note": row.note}
