"""Trained weights as the recognizer uses them: what was seen of a movement in, probabilities out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from microexpr.errors import BadInput, UnknownName
from microexpr.faces.regions import MAP_CROP
from microexpr.types import Clip, FlowMap
from microexpr.video.recognizer import Evidence


@dataclass(frozen=True)
class WeightsClassifier:
    """Trained weights as the recognizer uses them: evidence in, probabilities out.

    Attributes:
        name: the weights and the method, for the output.
        method: fitted.
        classes: names in the order of the method's classes.
        on_maps: whether the method was trained on published flow maps, so that flow is brought into their form.
        temperature: see `methods.calibrated.temper`.
        threshold: a top probability below it is not trusted.
        flow_mode: solver of `motion.flow`.
    """

    name: str
    method: Any
    classes: tuple[str, ...]
    on_maps: bool
    temperature: float
    threshold: float
    flow_mode: str

    def __call__(self, evidence: Evidence) -> Mapping[str, float]:
        from microexpr.methods.calibrated import temper

        x = self.method.represent(self._clip(evidence))
        probabilities = temper(np.asarray(self.method.predict_proba(x[None])[0], float), self.temperature)
        return {name: float(value) for name, value in zip(self.classes, probabilities, strict=True)}

    def _clip(self, evidence: Evidence) -> Clip:
        """The evidence as the clip that training would have seen."""
        about: dict[str, Any] = {"key": "video", "dataset": "", "subject": "", "emotion": "", "fps": math.nan}
        if self.on_maps:
            return Clip(**about, onset=None, apex=None, offset=None, flow=published_form(evidence.flow))
        return Clip(**about, onset=0, apex=1, offset=1, frames=_Pair(evidence.onset, evidence.apex))


@dataclass(frozen=True)
class _Pair:
    """Onset and apex as the frames 0 and 1 of a clip."""

    onset: UInt8[np.ndarray, "h w 3"]
    apex: UInt8[np.ndarray, "h w 3"]

    def __len__(self) -> int:
        return 2

    def read(self, number: int) -> UInt8[np.ndarray, "h w 3"]:
        return (self.onset, self.apex)[number]


def published_form(flow: Float[np.ndarray, "2 h w"]) -> FlowMap:
    """Flow of the aligned face "2 h w" in the form of the published maps: their part of the face, their stretching."""
    from microexpr.motion.flow import published_map

    height, width = flow.shape[1:]
    left, top, right, bottom = MAP_CROP
    part = flow[:, round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    return published_map(part)


def classifier(weights: Path | str | None = None, method: str | None = None) -> WeightsClassifier:
    """The classifier of trained weights.

    Args:
        weights: a file that `api.train` or `api.export` wrote, or the name of weights that come with the package; the
            default is `methods.weights.DEFAULT`.
        method: the weights of this method that come with the package.

    Raises:
        BadInput: both were given, or the file holds no weights of ours, ones whose record is damaged, or ones of a
            method that needs every frame of a movement.
        UnknownName: no weights of that name or method come with the package.
    """
    from microexpr.methods import weights as files

    if weights is not None and method is not None:
        raise BadInput("--weights or --method", "both", "weights know their method: leave one of them out")
    shipped = files.shipped()
    if weights is None:
        names = {name.rpartition("-")[0]: name for name in shipped}
        if method is not None and method not in names:
            raise UnknownName("method with weights in the package", method, names)
        weights = files.DEFAULT if method is None else names[method]
    file = shipped.get(str(weights), Path(weights))
    if not (file.suffix or file.exists()):  # a name, not a path
        file = files.shipped_file(str(weights))
    fitted, metadata = files.load(file)
    if getattr(fitted, "sequence", False):
        came = f"{file}, of {metadata['method']}, which looks at every frame from onset to offset"
        expected = "weights that judge a movement by its onset and apex, all that is kept of a video"
        raise BadInput(expected, came, "use weights of another method; evaluate tells how good these are")
    classes, record = metadata["classes"], metadata["record"]
    known = record if isinstance(record, dict) else {}
    temperature, threshold = known.get("temperature", 1.0), known.get("threshold", 0.0)
    if not (
        isinstance(record, dict)
        and isinstance(classes, list)
        and len(classes) == fitted.classes
        and _is_number(temperature)
        and 0 < temperature < math.inf
        and _is_number(threshold)
        and threshold >= 0  # infinity where nothing is to be answered
    ):
        came = f"{file}, which has {classes!r}, {temperature!r} and {threshold!r}"
        expected = f"weights with {fitted.classes} classes, a temperature above 0 and a threshold of 0 or more"
        raise BadInput(expected, came, "train them again, or give others")
    return WeightsClassifier(
        name=file.stem if file in shipped.values() else f"{metadata['method']} ({file.name})",
        method=fitted,
        classes=tuple(classes),
        on_maps=record.get("input") == "flow map",
        temperature=float(temperature),
        threshold=float(threshold),
        flow_mode=metadata["settings"].get("flow_mode", "clg"),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
