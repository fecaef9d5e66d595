"""run.json: what was asked, on which data, with which versions, on which machine."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
import platform
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import microexpr
from microexpr.evaluation import results
from microexpr.types import Clip, Dataset, Fold, Method, Protocol


@typing.runtime_checkable
class Weights(typing.Protocol):
    """Weights that were trained elsewhere and are scored instead of a training.

    Attributes:
        folder: where they lie, as given.
        digests: left-out subject -> digest of its file.
    """

    @property
    def folder(self) -> str: ...
    @property
    def digests(self) -> Mapping[str, str]: ...

    def load(self, subject: str) -> Method:
        """The fitted method of a left-out subject; called where the workers are."""
        ...


@dataclasses.dataclass(frozen=True)
class Begun:
    """What a method has learned before its folds.

    Attributes:
        digests: of the data sets that it is also trained on: the setting that names one -> its `data_digest`.
        unknown: whether it begins with weights of which nobody can tell whose people they have seen.
    """

    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unknown: bool = False


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is evaluated on what; the same for all seeds and selections.

    Attributes:
        name: of the method, as registered.
        dataset, protocol: as asked.
        clips, folds: labelled clips and their folds.
        stacked: whether all folds are trained in one job.
        command: the command line, for the record.
        usual: the settings of the registered method when none is asked for.
        weights: given instead of a training.
        begun: what was learned before.
    """

    name: str
    dataset: Dataset
    protocol: Protocol
    clips: Sequence[Clip]
    folds: Sequence[Fold]
    stacked: bool
    command: str
    usual: Mapping[str, Any]
    weights: Weights | None = None
    begun: Begun = Begun()


def describe(
    experiment: Experiment, method: Method, settings: dict[str, Any], select: str, data: str
) -> dict[str, Any]:
    """run.json of one seed and selection. What is in ``asked`` decides the numbers and names the folder.

    Args:
        method, settings: of this seed.
        select: which epoch counts.
        data: `data_digest` of the clips.
    """
    dataset, protocol, name = experiment.dataset, experiment.protocol, experiment.name
    asked = {
        "format": results.FORMAT,
        "dataset": dataset.name,
        "part": dataset.part,
        "method": name,
        "settings": settings,
        "protocol": protocol.split,
        "protocol_folds": protocol.folds if protocol.split == "subject-k-fold" else None,
        "classes": list(protocol.classes),
        "select": select,
        "stacked": experiment.stacked,
        "data": data,
    }
    if protocol.labels != "megc":
        asked["labels"] = protocol.labels
    if protocol.of != "emotion":
        asked["labels_digest"] = results.digest([getattr(clip, protocol.of) for clip in experiment.clips])
    if file := settings.get("initial_weights"):  # its name says nothing about what is in it
        asked["initial_weights"] = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]
    if experiment.begun.digests:  # the same holds for the names of data sets
        asked["beforehand"] = dict(experiment.begun.digests)
    given: dict[str, Any] = {}
    if experiment.weights is not None:
        files = dict(experiment.weights.digests)
        given = {"folder": experiment.weights.folder, "digest": results.digest(files), "files": files}
        asked["weights"] = given["digest"]
    where = f"{dataset.name}-{dataset.part}" if dataset.part else dataset.name
    selected = "--weights" if given else "" if select == "last" else f"--{select}"
    clips = experiment.clips
    return {
        "format": results.FORMAT,
        "name": f"{where}--{name}--{protocol.split}{selected}--{results.digest(asked)}",
        "asked": asked,
        "dataset": dataset.name,
        "part": dataset.part,
        "rendered": dataset.rendered,
        **({"options": dict(dataset.options)} if dataset.options else {}),
        **({"preparation": dict(dataset.preparation)} if dataset.preparation else {}),
        "method": name,
        "settings": settings,
        "changed": sorted(key for key, value in settings.items() if experiment.usual.get(key, value) != value),
        "needs": sorted(method.needs),
        "protocol": protocol.split,
        "classes": list(protocol.classes),
        "select": select,
        **({"weights": given} if given else {}),
        **({"seen_by_initial_weights": "unknown"} if experiment.begun.unknown else {}),
        "seed": method.seed,
        "data": {"clips": len(clips), "subjects": len({clip.subject for clip in clips}), "digest": data},
        "folds": {fold.name: [clips[row].key for row in fold.test] for fold in experiment.folds},
        "versions": versions(),
        "machine": machine(settings.get("device", "cpu")),
        "command": experiment.command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def data_digest(clips: Sequence[Clip]) -> str:
    """Digest of what was evaluated: annotations and pixels.

    Of a clip with frames the onset and the apex (where there is none, the offset) stand for all: reading every frame
    would cost more than many an evaluation. Frames that come from files are taken as their files' content.
    """
    pixels = hashlib.sha256()
    for clip in clips:
        if clip.flow is not None:
            pixels.update(clip.flow.channels.tobytes())
        if clip.frames is not None:
            for number in (clip.onset, clip.offset if clip.apex is None else clip.apex):
                if number is not None:
                    content = getattr(clip.frames, "content", None)
                    pixels.update(content(number) if content else clip.frames.read(number).tobytes())
    annotations = [[c.key, c.dataset, c.subject, c.emotion, c.onset, c.apex, c.offset, c.fps] for c in clips]
    return results.digest([annotations, pixels.hexdigest()])


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on, as far as it is installed."""
    from importlib import metadata

    found = {"microexpr": microexpr.__version__, "python": platform.python_version()}
    for package in ("numpy", "torch", "numba", "opencv-contrib-python-headless", "scikit-learn", "joblib"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine(device: str = "cpu") -> dict[str, Any]:
    """The machine in words, with its GPU where the device is one; no host name."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    found = {"processor": model, "cores": os.cpu_count(), "system": platform.system()}
    if device.startswith("cuda"):
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
    return found
