"""The verbs. The command line and the page call these and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microexpr.catalog import check as check  # the verbs of the same level are called here, too
from microexpr.catalog import describe_dataset as describe_dataset
from microexpr.catalog import describe_datasets as describe_datasets
from microexpr.catalog import describe_method as describe_method
from microexpr.catalog import describe_methods as describe_methods
from microexpr.errors import BadInput
from microexpr.types import Dataset, Method, Protocol

if TYPE_CHECKING:
    from microexpr.evaluation.record import Weights
    from microexpr.evaluation.results import Run
    from microexpr.evaluation.rows import CompareRow

Progress = Callable[[str, int, int], None]
Root = Path | str | Mapping[str, Path | str]


def load(
    name: str, root: Root | None = None, part: str | None = None, *, damaged: str = "stop", **options: Any
) -> Dataset:
    """Reads a data set by name; see `datasets.load`."""
    from microexpr import datasets

    return datasets.load(name, root, part, damaged=damaged, **options)


def prepare(
    data: Dataset,
    *,
    labels: str = "megc",
    faces: str = "haar",
    apex_rule: str = "mean-flow",
    damaged: str = "stop",
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Aligns the faces of recorded clips and finds missing apexes; see `preparation.prepare`.

    `evaluate` and `train` do so themselves; do it beforehand to look at the clips, or once for several methods. Only
    clips that have a class by `labels` are kept, unless the data set has nothing to prepare.
    """
    from microexpr import preparation
    from microexpr.evaluation import protocols

    protocol = protocols.make(labels, clips=data.clips)
    return preparation.for_protocol(
        data,
        protocol,
        faces=faces,
        apex_rule=apex_rule,
        damaged=damaged,
        jobs=jobs or available_cores(),
        progress=progress,
    )


def evaluate(
    method: str,
    dataset: str | Dataset,
    root: Root | None = None,
    *,
    part: str | None = None,
    labels: str = "megc",
    faces: str = "haar",
    apex_rule: str = "mean-flow",
    damaged: str = "stop",
    protocol: str = "loso",
    folds: int = 10,
    select: str = "last",
    seeds: int = 1,
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
    jobs: int | None = None,
    engine: str = "local",
    stacked: bool | None = None,
    weights_dir: Path | str | None = None,
    runs: Path | str = "runs",
    command: str = "",
    progress: Progress | None = None,
) -> list[Run]:
    """Evaluates one method on one data set, or continues where an earlier call was stopped.

    Args:
        method: a name of `microexpr.methods.METHODS`.
        dataset: a name of `microexpr.datasets.DATASETS`, or what `load` gave.
        root: the data set's folder.
        part: one member database of a composite set.
        labels: the classes: "megc" (negative, positive, surprise) or another key of `evaluation.protocols.LABELS`, or
            "own" for the data set's emotions.
        faces, apex_rule, damaged: for clips with frames, see `preparation.prepare`.
        protocol: "loso", "leave-one-dataset-out" or "subject-k-fold" (with `folds`).
        select: which epoch counts: "last", "inner" (chosen on held-back training subjects), "oracle" (the best on the
            test subjects: LEAKS), or several with commas, for which each fold is trained once.
        seeds: runs with the seeds 0 to seeds - 1; one run where the method's seed changes nothing.
        epochs, device: the method's settings of these names.
        settings: further settings of the method.
        jobs: worker processes, each with one thread; default one for each core, or one in all for a GPU.
        engine: "local", or "ray" or "dask" for the workers of a cluster.
        stacked: trains all folds and seeds of a network in one job; None does so on a GPU where the method can.
        weights_dir: a folder of weights that were trained elsewhere, one file for each left-out subject, which are
            scored instead of a training; see `methods.per_fold`.
        runs: folder of run folders.
        progress: called with (step, done, total).

    Returns:
        One `Run` for each seed and selection.

    Raises:
        UnknownName: no such method, setting, data set or protocol.
        BadInput: a setting or the data set's folder is wrong, or the method can't work on these clips.
        RunMismatch: the run folder was begun by another version.
        FoldFailed: folds failed; the others are kept.
    """
    from microexpr import beforehand, methods, preparation
    from microexpr.evaluation import protocols, record, results, runner, selection, workers
    from microexpr.methods._settings import settings_of

    selections = selection.parse(select)
    if engine not in workers.ENGINES:
        raise BadInput(f"an engine: {', '.join(workers.ENGINES)}", repr(engine), "set --engine local")
    if seeds < 1:
        raise BadInput("at least 1 seed", str(seeds), "set --seeds to the number of runs")
    if jobs is not None and jobs < 1:
        raise BadInput("at least 1 job", str(jobs), "set --jobs to the number of worker processes")
    asked = _asked(settings, epochs, device)
    if "seed" in asked and seeds > 1:
        raise BadInput("seeds or the setting seed", f"seeds={seeds} and seed={asked['seed']}", "leave one of them out")
    unseeded = methods.create(method, **asked)  # a wrong name or setting is told before any data is read
    data = preparation.data_of(dataset, root, part, damaged)
    split = protocols.make(labels, protocol, folds, data.clips)
    beforehand.require_apart(unseeded, data)
    beforehand.require(unseeded, split)
    asked = _with_classes(method, asked, split)
    unseeded = methods.create(method, **asked)
    cores = jobs or available_cores()
    data = preparation.for_protocol(
        data, split, faces=faces, apex_rule=apex_rule, damaged=damaged, jobs=cores, progress=progress
    )
    count = seeds if getattr(unseeded, "seeded", True) else 1
    seeded = [methods.create(method, **{"seed": seed, **asked}) for seed in range(count)]
    on_gpu = str(asked.get("device", "cpu")).startswith("cuda")
    if stacked and engine != "local":
        raise BadInput("stacked folds or an engine for single ones", f"both, engine={engine}", "leave one of them out")
    if stacked is None:
        stacked = on_gpu and engine == "local" and hasattr(unseeded, "fit_folds") and weights_dir is None
    folders = runner.evaluate(
        seeded,
        data,
        split,
        name=method,
        settings=[settings_of(one) for one in seeded],
        runs=Path(runs),
        select=selections,
        jobs=jobs or (1 if on_gpu and not stacked else available_cores()),
        engine=engine,
        stacked=stacked,
        command=command,
        usual=settings_of(methods.create(method, **_with_classes(method, {}, split))),
        begun=record.Begun(beforehand.digests(unseeded), beforehand.is_unknown(unseeded)),
        weights=None if weights_dir is None else _weights(seeded[0], method, data, split, Path(weights_dir)),
        progress=progress,
    )
    return [results.read_run(folder) for folder in folders]


def unsuited(
    settings: Mapping[str, Mapping[str, Any]], data: Dataset, labels: str = "megc"
) -> dict[str, tuple[str, str, str]]:
    """Methods that need what the clips of a data set do not carry.

    Args:
        settings: method -> its settings.
        data: prepared.
        labels: as `evaluate` takes it; clips without a class do not count.

    Returns:
        Method -> what was expected, what came, what to do.
    """
    from microexpr import methods
    from microexpr.evaluation import protocols, runner

    clips = protocols.label(data.clips, protocols.make(labels, clips=data.clips)).clips
    found = {
        name: runner.unsuited(methods.create(name, **own), name, clips, data.name) for name, own in settings.items()
    }
    return {name: reason for name, reason in found.items() if reason is not None}


def _weights(method: Method, name: str, data: Dataset, protocol: Protocol, folder: Path) -> Weights:
    """The weights of every left-out subject of a data set."""
    from microexpr.evaluation import protocols, runner
    from microexpr.methods import per_fold

    runner.check_classes(method, name, protocol)
    clips = protocols.label(data.clips, protocol).clips
    return per_fold.gather(method, name, protocol.classes, folder, sorted({clip.subject for clip in clips}))


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _asked(settings: Mapping[str, Any] | None, epochs: int | None, device: str | None) -> dict[str, Any]:
    named = {"epochs": epochs, "device": device}
    return {**(settings or {}), **{name: value for name, value in named.items() if value is not None}}


def _with_classes(method: str, asked: Mapping[str, Any], protocol: Protocol) -> dict[str, Any]:
    """The settings with the number of classes of the protocol, where another one than the usual is not asked for."""
    from microexpr import methods

    usual: Any = methods.create(method)
    return dict(asked) if usual.classes == len(protocol.classes) else {"classes": len(protocol.classes), **asked}


def read_runs(folders: Sequence[Path | str]) -> list[Run]:
    """Reads run folders."""
    from microexpr.evaluation import results

    return [results.read_run(Path(folder)) for folder in folders]


def compare(runs: Sequence[Path | str | Run], against: str | None = None) -> list[CompareRow]:
    """Run folders (or runs) on the same clips side by side; see `evaluation.rows.compare_rows`."""
    from microexpr.evaluation import results, rows

    return rows.compare_rows(
        [run if isinstance(run, results.Run) else results.read_run(Path(run)) for run in runs], against
    )


def train(
    method: str,
    dataset: str | Dataset,
    out: Path | str,
    root: Root | None = None,
    *,
    part: str | None = None,
    labels: str = "megc",
    faces: str = "haar",
    apex_rule: str = "mean-flow",
    damaged: str = "stop",
    epochs: int | None = None,
    device: str | None = None,
    settings: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> tuple[Path, Path]:
    """Trains a method on all clips of a data set and writes its weights and a card that says what they are.

    Arguments as in `evaluate`; `out` ends in ``.safetensors``. Nothing is held back, so nothing here says how good the
    weights are: evaluate the same settings for that.

    Returns:
        The weights file and the card (``.md`` beside it).
    """
    from microexpr import beforehand, methods, preparation
    from microexpr.evaluation import protocols, record, runner
    from microexpr.methods import card, weights
    from microexpr.motion.files import write_file

    file = Path(out)
    if file.suffix != ".safetensors":
        raise BadInput("an output file ending in .safetensors", repr(str(out)), "choose such a name")
    if not file.parent.is_dir():
        raise BadInput("a folder that exists", str(file.parent), "make it or choose another --out")
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise BadInput("a file that can be written", str(file), "choose another --out")
    asked = _asked(settings, epochs, device)
    if not hasattr(methods.create(method, **asked), "weights"):
        raise BadInput("a method whose weights can be kept", method, "give it the verbs weights and load_weights")
    data = preparation.data_of(dataset, root, part, damaged)
    protocol = protocols.make(labels, clips=data.clips)
    unfitted = methods.create(method, **_with_classes(method, asked, protocol))
    beforehand.require(unfitted, protocol)
    cores = jobs or available_cores()
    data = preparation.for_protocol(
        data, protocol, faces=faces, apex_rule=apex_rule, damaged=damaged, jobs=cores, progress=progress
    )
    labelled = protocols.label(data.clips, protocol)
    runner.check_classes(unfitted, method, protocol)
    runner.check_needs(unfitted, method, labelled.clips, data.name)
    x = runner.represent(unfitted, labelled.clips, cores, progress)
    if progress:
        progress("train", 0, 1)
    fitted = unfitted.fit(x, labelled.labels, [clip.subject for clip in labelled.clips])
    if progress:
        progress("train", 1, 1)
    about = {
        "dataset": data.name,
        "part": data.part,
        "rendered": data.rendered,
        "clips": len(labelled.clips),
        "subjects": len({clip.subject for clip in labelled.clips}),
        "counts": {name: int((labelled.labels == number).sum()) for number, name in enumerate(protocol.classes)},
        "data": record.data_digest(labelled.clips),
        "people": beforehand.people_in(unfitted, (clip.subject for clip in labelled.clips)),
        **({"options": dict(data.options)} if data.options else {}),
        **({"preparation": dict(data.preparation)} if data.preparation else {}),
        "input": "flow map" if all(clip.frames is None for clip in labelled.clips) else "frames",
        "versions": record.versions(),
    }
    write_file(file, weights.to_bytes(fitted, method, protocol.classes, about))
    beside = file.with_suffix(".md")
    write_file(beside, card.text(method, fitted, about, file.name).encode())
    return file, beside


def export(weights: Path | str, out: Path | str) -> Path:
    """Writes trained weights as ONNX, which any program can run, after checking that it answers as the method does.

    Args:
        weights: a file that `train` wrote, or the name of weights that come with the package.
        out: a file that ends in ``.onnx``.

    Raises:
        BadInput: no such weights, a method without an ONNX form, or a place that can't be written.
        MissingExtra: the extra ``onnx`` is not installed.
        MicroexprError: the graph does not agree with the method; nothing is written.
    """
    from microexpr.methods import onnx_file
    from microexpr.methods import weights as files
    from microexpr.motion.files import write_file

    file = Path(out)
    if file.suffix != ".onnx":
        raise BadInput("an output file ending in .onnx", repr(str(out)), "choose such a name")
    if not file.parent.is_dir():
        raise BadInput("a folder that exists", str(file.parent), "make it or choose another --out")
    fitted, metadata = files.load(files.shipped().get(str(weights), Path(weights)))
    write_file(file, onnx_file.export(fitted, metadata))
    return file


def synthesize(
    out: Path | str,
    *,
    subjects: int = 6,
    clips_per_subject: int = 6,
    fps: float = 200.0,
    peak: float = 2.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Writes a rendered data set: frames and truth; see `datasets.synthetic.write`."""
    from microexpr.datasets import synthetic

    return synthetic.write(
        Path(out),
        subjects=subjects,
        clips_per_subject=clips_per_subject,
        fps=fps,
        peak=peak,
        seed=seed,
        progress=(lambda done, total: progress("write frames", done, total)) if progress else None,
    )


def flow(first: Path | str, second: Path | str, *, mode: str = "clg", preset: str | None = None) -> np.ndarray:
    """Optical flow from one picture file to another, float32 "2 h w" in pixels; see `motion.flow.flow_between`."""
    from microexpr.motion.files import read_picture
    from microexpr.motion.flow import flow_between

    return flow_between(read_picture(Path(first)), read_picture(Path(second)), mode=mode, preset=preset)


def summarize_flow(field: np.ndarray) -> dict[str, Any]:
    """Size, motion (pixels) and strain of a flow field "2 h w" in a few numbers."""
    from microexpr.motion.flow import magnitude, strain

    length = magnitude(field)
    return {
        "width": int(field.shape[2]),
        "height": int(field.shape[1]),
        "mean_motion_px": float(length.mean()),
        "largest_motion_px": float(length.max()),
        "mean_u_px": float(field[0].mean()),
        "mean_v_px": float(field[1].mean()),
        "largest_strain": float(strain(field).max()),
    }


def report(runs: Sequence[Path | str], out: Path | str, plates: Sequence[tuple[str, bytes]] = ()) -> Path:
    """One self-contained HTML page about run folders; see `evaluation.report.write_report`."""
    from microexpr.evaluation.report import write_report

    return write_report(read_runs(runs), Path(out), plates)
