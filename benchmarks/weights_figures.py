"""The figures of trained weights: scores, calibration and abstention of a nested cross-validation, files and cards.

`weights.py` hands over the answers; nothing is trained here. Figures of a run are pooled over the clips of all folds;
scores are means over the seeds, calibration pools the answers of all seeds.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microexpr import methods
from microexpr.evaluation import calibration, metrics, record
from microexpr.methods import calibrated, card, weights
from microexpr.methods._settings import settings_of
from microexpr.motion.files import replace_file

FLOOR = "flow-linear"
CLOSE = 0.01  # how far a probability may move when weights are stored in 16 bits


@dataclass(frozen=True)
class Choice:
    """A candidate, the index of its epoch (-1: the last), and its mean negative log likelihood where it was chosen."""

    settings: dict[str, Any]
    epoch: int
    loss: float

    def refit(self, seed: int) -> dict[str, Any]:
        """Settings of a training that ends with the chosen epoch."""
        epochs = self.settings["epochs"] if self.epoch < 0 else self.epoch + 1
        return {**self.settings, "epochs": epochs, "seed": seed}

    def text(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.refit(0).items() if key != "seed")


@dataclass(frozen=True)
class Data:
    """What every training works on: clips, class numbers, people, databases, and the digest that names it."""

    name: str
    clips: Sequence[Any]
    y: np.ndarray
    subjects: Sequence[str]
    databases: np.ndarray
    classes: Sequence[str]
    digest: str


@dataclass(frozen=True)
class Studied:
    """A method after the nested cross-validation.

    Attributes:
        name: of the method, as registered.
        fitted: trained on all clips.
        x: all clips as it sees them.
        fold_of: number of the outer fold of every clip.
        answers: probabilities from the fold where the clip was left out, "seed clip class".
        choices: of the outer folds, in order.
        final: of the shipped weights.
    """

    name: str
    fitted: Any
    x: np.ndarray
    fold_of: np.ndarray
    answers: np.ndarray
    choices: Sequence[Choice]
    final: Choice

    @property
    def weights(self) -> str:
        return f"{self.name}-megc2019"


@dataclass(frozen=True)
class Calibration:
    """What becomes of the answers of a nested cross-validation; probabilities "seed clip class".

    Attributes:
        fitted: the temperature that fits all answers best.
        temperature: of the shipped weights: `fitted` where temperatures help folds they were not fitted on, else 1.
        threshold: that of the shipped weights.
        tempered: every fold with the temperature of the others.
        given: every fold as the shipped weights do it, with `tempered` or as trained.
        answered: which clips are answered then, every fold with the threshold of the others; "seed clip".
        inside: every fold with `tempered` or as trained, whichever the others alone speak for.
        folds_tempered: in how many folds that is `tempered`.
    """

    fitted: float
    temperature: float
    threshold: float
    tempered: np.ndarray
    given: np.ndarray
    answered: np.ndarray
    inside: np.ndarray
    folds_tempered: int


def calibrate(studied: Studied, y: np.ndarray) -> Calibration:
    """Temperature, if it helps, and threshold; both fitted on all answers, judged on folds they were not fitted on."""
    seeds, shape = len(studied.answers), studied.answers.shape
    truth, folds = np.tile(y, seeds), np.tile(studied.fold_of, seeds)
    trained = studied.answers.reshape(len(truth), -1)
    tempered, _ = calibrated.left_out(truth, trained, folds, tempered=True)
    inside, folds_tempered = trained.copy(), 0
    for number in np.unique(folds):
        others = folds != number
        if calibrated.helps(truth[others], trained[others], folds[others]):
            inside[~others] = tempered[~others]
            folds_tempered += 1
    helps = calibrated.helps(truth, trained, folds)
    given, answered = calibrated.left_out(truth, trained, folds, helps)
    temperature, threshold = calibrated.fit(truth, trained, helps)
    return Calibration(
        calibrated.best_temperature(truth, trained),
        temperature,
        threshold,
        tempered.reshape(shape),
        given.reshape(shape),
        answered.reshape(shape[:2]),
        inside.reshape(shape),
        folds_tempered,
    )


def row_of(studied: Studied, data: Data, database: str, after: Calibration) -> dict[str, str]:
    """The figures of a model on one database, or on "all"; shares in percent.

    Of "nll" and "ece" (log loss and expected calibration error) there are four: of the probabilities as trained,
    "_tempered", "_inside" (see `Calibration`), and "_calibrated", those that the shipped weights give.
    """
    rows = np.flatnonzero((data.databases == database) | (database == "all"))
    y, people = data.y[rows], [data.subjects[row] for row in rows.tolist()]
    answers, answered = studied.answers[:, rows], after.answered[:, rows]
    predicted, truth = answers.argmax(axis=2), np.tile(y, len(answers))
    scored = [metrics.scores(y, one, data.classes) for one in predicted]
    interval = metrics.bootstrap(y, predicted, people, data.classes)
    found = {"weights": studied.weights, "database": database, "clips": str(len(rows))}
    found |= {"subjects": str(len(set(people))), "seeds": str(len(answers))}
    for score in ("uf1", "uar", "accuracy"):
        values = [100 * getattr(one, score) for one in scored]
        low, high = getattr(interval, score)
        found |= {score: f"{np.mean(values):.1f}", f"{score}_sd": f"{np.std(values, ddof=1):.1f}"}
        found |= {f"{score}_low": f"{100 * low:.1f}", f"{score}_high": f"{100 * high:.1f}"}
    kinds = {"": answers, "_tempered": after.tempered[:, rows], "_inside": after.inside[:, rows]}
    for suffix, given in (kinds | {"_calibrated": after.given[:, rows]}).items():
        compared = calibration.reliability(truth, given.reshape(len(truth), -1))
        found |= {f"nll{suffix}": f"{compared.log_loss:.3f}", f"ece{suffix}": f"{compared.error:.3f}"}
    confusion = np.sum([one.confusion for one in scored], axis=0)
    found["coverage"] = f"{100 * answered.mean():.1f}"
    found["accuracy_answered"] = f"{100 * (predicted == y)[answered].mean():.1f}"
    found["confusion"] = " / ".join(" ".join(map(str, row)) for row in confusion.tolist())
    return found


def compared(studied: Studied, floor: Studied, data: Data) -> dict[str, str]:
    """UF1 less that of the floor, on the same resampled people."""
    predicted, reference = studied.answers.argmax(axis=2), floor.answers.argmax(axis=2)
    found = metrics.paired_difference(data.y, predicted, reference, data.subjects, data.classes)
    low, high = found.interval or (np.nan, np.nan)
    numbers = {"difference": found.uf1, "difference_low": low, "difference_high": high}
    return {**{key: f"{100 * value:+.1f}" for key, value in numbers.items()}, "difference_p": f"{found.p:.3f}"}


def bins_of(data: Data, given: np.ndarray) -> list[dict[str, str]]:
    """The reliability bins that hold clips, of probabilities "seed clip class"."""
    truth = np.tile(data.y, len(given))
    seen = calibration.reliability(truth, given.reshape(len(truth), -1))
    shown = zip(seen.count.tolist(), seen.confidence.tolist(), seen.accuracy.tolist(), strict=True)
    return [
        {
            "from": f"{number / 10:.1f}",
            "to": f"{(number + 1) / 10:.1f}",
            "answers": str(count),
            "confidence": f"{100 * confidence:.1f}",
            "accuracy": f"{100 * accuracy:.1f}",
        }
        for number, (count, confidence, accuracy) in enumerate(shown)
        if count
    ]


def default_of(tables: dict[str, list[dict[str, str]]]) -> tuple[str, str]:
    """The weights that are taken where none are named, and why.

    Those with the better UF1 where the paired interval of the difference leaves out 0; else those whose probabilities,
    as shipped, have the smaller negative log likelihood.
    """
    floor, other = (tables[f"{name}-megc2019"][0] for name in (FLOOR, "mjfn"))
    low, high = float(other["difference_low"]), float(other["difference_high"])
    between = f"{other['difference']} points of UF1 (95 % interval {low:+.1f} to {high:+.1f})"
    if low > 0 or high < 0:
        chosen = other if low > 0 else floor
        return chosen["weights"], f"mjfn differs from {FLOOR} by {between}, which leaves out 0"
    chosen = min(other, floor, key=lambda row: float(row["nll_calibrated"]))
    text = f"mjfn differs from {FLOOR} by {between}, which holds 0, so the negative log likelihood of the "
    return chosen["weights"], text + "probabilities decides: the smaller is the better"


def largest_change(studied: Studied) -> float:
    """How far storing in 16 bits moves a probability of any clip; refused where it shows."""
    halved = {key: value.astype(np.float16).astype(value.dtype) for key, value in studied.fitted.weights().items()}
    again: Any = methods.create(studied.name, **settings_of(studied.fitted))
    again.load_weights(halved)
    moved = float(np.abs(again.predict_proba(studied.x) - studied.fitted.predict_proba(studied.x)).max())
    if moved > CLOSE:
        sys.exit(f"{studied.weights}: 16 bits move a probability by {moved:.4f}")
    return moved


def tabulated(studied: Studied, floor: Studied, data: Data) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The rows of a model, that of all databases first, and its reliability bins."""
    after = calibrate(studied, data.y)
    databases = ["all", *sorted(set(data.databases.tolist()))]
    rows = [row_of(studied, data, database, after) for database in databases]
    rows[0] |= {"temperature_fitted": f"{after.fitted:.3f}", "folds_tempered": str(after.folds_tempered)}
    rows[0] |= {"temperature": f"{after.temperature:.3f}", "threshold": f"{after.threshold:.3f}"}
    rows[0] |= {"settings": studied.final.text(), "chosen": "; ".join(choice.text() for choice in studied.choices)}
    rows[0]["largest_change"] = f"{largest_change(studied):.5f}"
    if studied is not floor:
        rows[0] |= compared(studied, floor, data)
    return rows, bins_of(data, after.given)


def mean_probabilities(studied: Studied, data: Data) -> dict[str, list[float]]:
    """Of every database, by the weights in 32 bits: what a test holds those in 16 bits against."""
    given = studied.fitted.predict_proba(studied.x)
    return {
        database: given[data.databases == database].mean(axis=0).astype(float).round(5).tolist()
        for database in sorted(set(data.databases.tolist()))
    }


def write(models: Sequence[Studied], data: Data, command: str, out: Path) -> None:
    """Files and cards into the package, and the CSV with a row for each model and database."""
    floor = next(one for one in models if one.name == FLOOR)
    tables, bins = {}, {}
    for one in models:
        tables[one.weights], bins[one.weights] = tabulated(one, floor, data)
    default, why = default_of(tables)
    print(f"default: {default}; {why}")
    if default != weights.DEFAULT:
        sys.exit(f"set DEFAULT in microexpr/methods/weights.py to {default!r} and run again")
    for one in models:
        rows = tables[one.weights]
        about = {
            "dataset": data.name,
            "part": None,
            "rendered": False,
            "clips": len(data.clips),
            "subjects": len(set(data.subjects)),
            "counts": {name: int((data.y == number).sum()) for number, name in enumerate(data.classes)},
            "data": data.digest,
            "versions": record.versions(),
            "input": "flow map",
            "temperature": float(rows[0]["temperature"]),
            "threshold": float(rows[0]["threshold"]),
            "figures": {
                "folds": len(one.choices),
                "scores": rows,
                "reliability": bins[one.weights],
                "shipped": [table[0] for table in tables.values()],
                "default": default,
                "why": why,
                "mean_probabilities": mean_probabilities(one, data),
            },
        }
        file = weights.shipped_file(one.weights)
        file.parent.mkdir(exist_ok=True)
        replace_file(file, weights.to_bytes(one.fitted, one.name, data.classes, about, half=True))
        method, metadata = weights.load(file)  # the card tells what is in the file
        content = card.text(one.name, method, metadata["record"], file.name)
        replace_file(file.with_suffix(".md"), content.encode())
    machine = record.machine()
    same = {
        "processor": f"{machine['processor']}, {machine['cores']} cores",
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions().items()),
        "command": command,
    }
    _write_csv(out, [{**row, **same} for rows in tables.values() for row in rows])


def _write_csv(out: Path, rows: list[dict[str, str]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
