"""The paper's experiments by name: which methods with which settings, under which selection of the epoch.

One literal table. `run` sends every variant through `api.evaluate`, so an experiment that is stopped goes on where it
was, and variants that two experiments share are trained once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microexpr import api
from microexpr.errors import BadInput, UnknownName
from microexpr.types import Dataset, Protocol

if TYPE_CHECKING:
    from microexpr.evaluation.results import Run

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Variant:
    """One line of an experiment.

    Attributes:
        label: as the experiment's picture names it.
        method: registered name.
        settings: what the experiment sets; all else is as asked.
    """

    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One row of the table.

    Attributes:
        title: what it is, in a line.
        paper: where the paper shows it; empty for what the paper leaves out.
        variants: in the order of the paper; empty for every registered method that can work on the data set.
        select: selections of the epoch, with commas.
        pictures: "intervals", "epochs" or "confusion".
    """

    title: str
    paper: str
    variants: tuple[Variant, ...] = ()
    select: str = "last"
    pictures: str = "intervals"


EXPERIMENTS = {
    "table3": Experiment("every registered method on the same clips", "Table 3"),
    "jfm-ablation": Experiment(
        "MJFN with no to four joint feature modules, from layer 4 towards layer 1",
        "Fig. 5",
        (
            Variant("no module", "mjfn-bbn", {"taps": (), "fusion": "none"}),
            Variant("1 module", "mjfn", {"taps": (4,)}),
            Variant("2 modules", "mjfn", {"taps": (4, 3)}),
            Variant("3 modules", "mjfn", {"taps": (4, 3, 2)}),
            Variant("4 modules", "mjfn", {"taps": (4, 3, 2, 1)}),
        ),
    ),
    "fusion-ablation": Experiment(
        "MJFN with the fused decision of Eq. 11, with the mean of Eq. 12, and its backbone alone",
        "Table 3, last rows",
        (
            Variant("MJFN", "mjfn", {"fusion": "softmax"}),
            Variant("MJFN-Avg", "mjfn-avg", {"fusion": "mean"}),
            Variant("MJFN-BbN", "mjfn-bbn", {"taps": (), "fusion": "none"}),
        ),
    ),
    "confusion": Experiment(
        "confusion matrices of MJFN, over all clips and by database",
        "Fig. 4",
        (Variant("MJFN", "mjfn"),),
        pictures="confusion",
    ),
    "leak": Experiment(
        "what choosing the epoch on the test subjects is worth: last, inner and oracle from the same trainings",
        "",
        (Variant("MJFN", "mjfn"), Variant("STSTNet", "ststnet"), Variant("OFF-ApexNet", "off-apexnet")),
        select="last,inner,oracle",
        pictures="epochs",
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What an experiment gave.

    Attributes:
        name: of `EXPERIMENTS`.
        runs: in the order of the variants.
        skipped: method -> why it was left out.
        written: the report and the pictures, where a folder for them was given.
    """

    name: str
    runs: tuple[Run, ...]
    skipped: Mapping[str, str]
    written: tuple[Path, ...] = ()


def entry(name: str) -> Experiment:
    """The row of an experiment.

    Raises:
        UnknownName: there is none of that name; the nearest spelling is suggested.
    """
    if name not in EXPERIMENTS:
        raise UnknownName("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def variants_of(name: str) -> tuple[Variant, ...]:
    """The variants of an experiment; for one of every method, the registered ones."""
    from microexpr import methods

    return entry(name).variants or tuple(Variant(method, method) for method in methods.names())


def describe() -> list[dict[str, Any]]:
    """One row per experiment."""
    return [
        {
            "name": name,
            "paper": one.paper or "not in the paper",
            "what": one.title,
            "select": one.select,
            "variants": [f"{each.label} ({_text(each)})" for each in one.variants] or ["every registered method"],
        }
        for name, one in EXPERIMENTS.items()
    ]


def run(
    name: str,
    dataset: str | Dataset,
    root: api.Root | None = None,
    *,
    part: str | None = None,
    faces: str = "haar",
    apex_rule: str = "mean-flow",
    damaged: str = "stop",
    protocol: str = "loso",
    folds: int = 10,
    select: str | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
    jobs: int | None = None,
    engine: str = "local",
    stacked: bool | None = None,
    runs: Path | str = "runs",
    out: Path | str | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Outcome:
    """Runs an experiment, or continues where an earlier call was stopped.

    Args:
        name: of `EXPERIMENTS`.
        select: selections of the epoch, with commas; None for those of the experiment. Never "oracle" without "last": a
            figure that leaks does not stand alone.
        epochs, settings, device, stacked: go to the variants that have them.
        out: folder for the report and the pictures; None writes none.

    The other arguments are those of `api.evaluate`. An experiment of every method leaves out those that need what the
    clips do not carry, and those without epochs where only a chosen epoch is asked for.

    Raises:
        UnknownName: no such experiment, setting, data set or protocol.
        BadInput: a value is wrong, or the clips do not carry what the experiment's methods need.
        RunMismatch, FoldFailed: as `api.evaluate`.
    """
    from microexpr.evaluation import protocols

    experiment, variants = entry(name), variants_of(name)
    asked = _selections(name, select)
    wanted = {"epochs": epochs, "device": device}
    chosen = _settings(name, variants, settings or {}, {key: one for key, one in wanted.items() if one is not None})
    split = protocols.megc(protocol, folds)  # a wrong name is told before any data is read
    data = api.load(dataset, root, part, damaged=damaged) if isinstance(dataset, str) else dataset
    data = api.prepare(data, faces=faces, apex_rule=apex_rule, damaged=damaged, jobs=jobs, progress=progress)
    skipped = _unsuited(variants, chosen, data, split, asked)
    if skipped and (experiment.variants or len(skipped) == len(variants)):
        expected, got, advice = next(iter(skipped.values()))
        raise BadInput(f"{expected} in the experiment {name}", got, advice)
    folder = None if out is None else _folder(out)
    found: list[Run] = []
    for variant, own in zip(variants, chosen, strict=True):
        if variant.method in skipped:
            continue
        has_epochs, together = _verbs(variant.method)
        found += api.evaluate(
            variant.method,
            data,
            part=part,
            protocol=protocol,
            folds=folds,
            select=",".join(asked) if has_epochs else "last",
            seeds=seeds,
            settings=own,
            jobs=jobs,
            engine=engine,
            stacked=stacked if together else None,
            runs=runs,
            command=command,
            progress=_labelled(progress, variant.label),
        )
    written = () if folder is None else _write(name, found, folder)
    reasons = {method: f"{expected}, got {got}" for method, (expected, got, _) in skipped.items()}
    return Outcome(name, tuple(found), reasons, written)


def pictures(name: str, runs: Sequence[Run]) -> dict[str, str]:
    """The SVG pictures of an experiment from its finished runs: stem of the file name -> SVG text.

    Raises:
        UnknownName: no such experiment.
        BadInput: runs that can't stand in one picture.
    """
    from microexpr.evaluation import pictures as drawn

    kind = entry(name).pictures
    if kind == "epochs":
        return drawn.epoch_pictures(runs)
    if kind == "confusion":
        return drawn.confusion_pictures(runs)
    return drawn.interval_picture(name, runs, lambda run: _named(name, run))


def _named(name: str, run: Run) -> tuple[str, str, bool]:
    """Label, detail, and whether the settings are those of the published method."""
    from microexpr import methods
    from microexpr.methods._settings import settings_of

    usual, own = settings_of(methods.create(run.info["method"])), run.info["settings"]
    label = next((one.label for one in variants_of(name) if _is(one, run)), run.info["method"])
    told = {key: own[key] for key in ("taps", "fusion") if key in own}
    odd = {key: own[key] for key in ("epochs",) if own.get(key) != usual.get(key)}
    shown = {**(told if entry(name).variants else {}), **odd}
    detail = ", ".join(f"{key}={value}" for key, value in shown.items())
    return label, detail, all(usual[key] == value for key, value in told.items())


def _is(variant: Variant, run: Run) -> bool:
    """Whether a run is of the variant."""
    from microexpr import methods
    from microexpr.methods._settings import settings_of

    own, fixed = run.info["settings"], settings_of(methods.create(variant.method, **variant.settings))
    return variant.method == run.info["method"] and all(own[key] == fixed[key] for key in variant.settings)


def _text(variant: Variant) -> str:
    return " ".join([variant.method, *(f"{key}={value}" for key, value in variant.settings.items())])


def _selections(name: str, select: str | None) -> tuple[str, ...]:
    from microexpr.evaluation import selection

    experiment = entry(name)
    asked = selection.parse(experiment.select if select is None else select)
    needed = {"last", "oracle"} if experiment.pictures == "epochs" else {"last"} if "oracle" in asked else set()
    if lacking := needed - set(asked):
        raise BadInput(
            f"select with {' and '.join(sorted(needed))} for the experiment {name}",
            f"{select!r} without {' and '.join(sorted(lacking))}",
            "set --select last,inner,oracle: a figure that leaks never stands alone",
        )
    return asked


def _settings(
    name: str, variants: Sequence[Variant], settings: Mapping[str, Any], wanted: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Settings of every variant, checked: those asked for, where the method has them, and the variant's own."""
    from microexpr import methods

    fields = [{one.name for one in dataclasses.fields(methods.kind_of(variant.method))} for variant in variants]
    for key, value in settings.items():
        if not any(key in known for known in fields):
            methods.create(variants[0].method, **{key: value})  # refuses it, with the nearest spelling
    if fixed := {key for variant in variants for key in variant.settings if key in settings}:
        taken = ", ".join(sorted(fixed))
        raise BadInput(f"settings that the experiment {name} leaves open", taken, f"leave --set {taken} out")
    asked = {**settings, **wanted}
    chosen = []
    for variant, known in zip(variants, fields, strict=True):
        own = {**{key: value for key, value in asked.items() if key in known}, **variant.settings}
        methods.create(variant.method, **own)
        chosen.append(own)
    return chosen


def _unsuited(
    variants: Sequence[Variant],
    chosen: Sequence[Mapping[str, Any]],
    data: Dataset,
    protocol: Protocol,
    select: Sequence[str],
) -> dict[str, tuple[str, str, str]]:
    """Methods that can't work on these clips or have no epochs to choose from: (expected, got, advice)."""
    from microexpr import methods
    from microexpr.evaluation import protocols, runner

    clips = protocols.label(data.clips, protocol).clips
    found: dict[str, tuple[str, str, str]] = {}
    for variant, settings in zip(variants, chosen, strict=True):
        method = methods.create(variant.method, **settings)
        if lacking := runner.unsuited(method, variant.method, clips, data.name):
            found[variant.method] = lacking
        elif "last" not in select and not _verbs(variant.method)[0]:
            advice = "set --select last"
            found[variant.method] = (f"epochs to choose from for {variant.method}", "a method without", advice)
    return found


def _verbs(method: str) -> tuple[bool, bool]:
    """Whether a method has epochs to choose from, and whether it can train its folds together."""
    from microexpr import methods

    kind = methods.kind_of(method)
    return hasattr(kind, "trace"), hasattr(kind, "fit_folds")


def _labelled(progress: Progress | None, label: str) -> Progress | None:
    if progress is None:
        return None
    return lambda step, done, total: progress(f"{label}: {step}", done, total)


def _folder(out: Path | str) -> Path:
    """The folder for the report, made before anything is trained: a wrong place is told at once."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput("a place that can be written", f"{folder}: {error.strerror}", "choose another --out") from error
    return folder


def _write(name: str, runs: Sequence[Run], folder: Path) -> tuple[Path, ...]:
    from microexpr.evaluation import results

    written = [api.report([run.folder for run in runs], folder / "report.html")]
    for stem, content in pictures(name, runs).items():
        written.append(folder / f"{stem}.svg")
        results.write_text(written[-1], content)
    return tuple(written)
