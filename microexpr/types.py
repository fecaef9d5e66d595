"""The nouns: Clip, Dataset, Protocol, Fold, Event, and the `Method` protocol.

Frames are uint8 RGB "h w 3"; flow is float32 "2 h w" in pixels, u to the right, v down, onset -> apex. Everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, runtime_checkable
from typing import Protocol as TypingProtocol

import numpy as np
from jaxtyping import Float, Int, UInt8

NEGATIVE_POSITIVE_SURPRISE = ("negative", "positive", "surprise")


@runtime_checkable
class Frames(TypingProtocol):
    """The pictures of one clip, read on demand by the frame number that the annotation uses."""

    def __len__(self) -> int: ...

    def read(self, number: int) -> UInt8[np.ndarray, "h w 3"]:
        """One frame, RGB."""
        ...


@dataclass(frozen=True)
class FlowMap:
    """A flow map as it was published: no pixels any more, every channel stretched to 0..255 on its own.

    Attributes:
        channels: uint8 "3 h w": u (right), v (down), optical strain, each min-max normalized over the picture.
            The grey value of zero motion differs from map to map; `motion.flow.centered` finds it again.
    """

    channels: UInt8[np.ndarray, "3 h w"]


@dataclass(frozen=True)
class Clip:
    """One annotated micro-expression: a face from its rest (onset) over the peak (apex) back to rest (offset).

    Attributes:
        key: unique everywhere, e.g. ``"casme2/sub01/EP02_01f"``.
        dataset: the database the clip comes from; for a composite set the member database.
        subject: unique across databases, e.g. ``"casme2/sub01"``: what leave-one-subject-out leaves out.
        emotion: the data set's own label; a `Protocol` maps it to a class.
        onset, apex, offset: frame numbers as annotated; None where the data set gives none.
        fps: frames a second of the recording.
        action_units: FACS action units, e.g. ``("6", "L12", "14 or 17")``.
        objective_class: I to VII by the action units (Davison et al. 2018) as 1 to 7; None where the set has none.
        kind: ``"micro"``, or ``"macro"`` for the longer expressions that some sets annotate too.
        frames: the pictures, where the data set has them.
        flow: the published flow map, where there are no pictures.
    """

    key: str
    dataset: str
    subject: str
    emotion: str
    onset: int | None
    apex: int | None
    offset: int | None
    fps: float
    action_units: tuple[str, ...] = ()
    objective_class: int | None = None
    kind: str = "micro"
    frames: Frames | None = field(default=None, compare=False, repr=False)
    flow: FlowMap | None = field(default=None, compare=False, repr=False)

    @property
    def carries(self) -> frozenset[str]:
        """What a method can ask of this clip: "frames" where it has pictures, "flow" where flow can be had."""
        if self.frames is not None:
            return frozenset({"frames", "flow"})
        return frozenset({"flow"}) if self.flow is not None else frozenset()


@dataclass(frozen=True)
class Dataset:
    """Clips with where they come from.

    Attributes:
        name: as registered, e.g. ``"megc2019-flow"``.
        clips: in the data set's own order.
        part: the one member database that was asked for, of a composite set; None for the whole.
        rendered: True for synthetic clips, whose figures are no evidence of accuracy on real faces.
        options: the settings it was read with, where they are not the usual ones.
        preparation: how faces were cut out and apexes found, and what was left out; empty where nothing was done.
    """

    name: str
    clips: tuple[Clip, ...]
    part: str | None = None
    rendered: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    preparation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """How clips become a classification problem: a label map and a split.

    Attributes:
        split: ``"loso"`` and others: a key of `evaluation.protocols.SPLITS`.
        classes: class names in the order of the class numbers.
        class_of: the data set's emotion -> class name; an emotion that is not in it drops the clip.
        folds: number of folds, for splits that take one.
        labels: name of the label map.
        of: the field of a clip whose value `class_of` maps.
    """

    split: str
    classes: tuple[str, ...]
    class_of: Mapping[str, str]
    folds: int = 10
    labels: str = "megc"
    of: str = "emotion"


@dataclass(frozen=True)
class Fold:
    """One train/test split: row numbers into the labelled clips. No subject stands on both sides."""

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class Event:
    """One facial movement found in a video.

    Attributes:
        onset, apex, offset: frame numbers.
        onset_seconds, apex_seconds, offset_seconds: the same on the video's own clock.
        kind: ``"micro"``, or ``"macro"`` for a movement that lasts longer than half a second.
        strength: motion of the region that moved most, at the apex, in pixels of the aligned face.
        noise: what the same measure shows while the face is quiet.
        regions: names of the regions that moved most, the strongest first.
        probabilities: class name -> probability; empty where nothing was classified.
        abstained: why no class is named, in plain words; None where one is.
    """

    onset: int
    apex: int
    offset: int
    onset_seconds: float
    apex_seconds: float
    offset_seconds: float
    kind: str
    strength: float
    noise: float
    regions: tuple[str, ...]
    probabilities: Mapping[str, float]
    abstained: str | None = None

    @property
    def emotion(self) -> str | None:
        """The most probable class; None where the recognizer abstained."""
        if self.abstained is not None or not self.probabilities:
            return None
        return max(self.probabilities, key=lambda name: self.probabilities[name])


@runtime_checkable
class Method(TypingProtocol):
    """Hand-crafted or deep: the same three verbs.

    A method is a dataclass whose fields are its settings with its paper's values as defaults; fitted state ends in
    ``_``. `represent` sees one clip and the settings, so nothing of a test fold can leak through it; `fit` is given
    training rows only, with their subjects, so that whatever it holds back it holds back by subject.

    Optional, used where a method has them:

    - ``seeded = False`` on a class whose seed changes nothing, so that several seeds are one run;
    - ``sequence = True`` on a class that needs every frame of a movement, not onset and apex alone, so that it judges
      annotated clips and no videos;
    - ``trace(x, y, subjects, watch)``, for a method with a field ``epochs``: fits like `fit` and returns the class
      probabilities of the rows ``watch`` after every epoch, "epoch clip class". The last epoch is what `fit` and
      `predict_proba` give, watching changes nothing, and the first epochs do not depend on how many follow: a method
      whose schedule depends on ``epochs`` has no trace;
    - ``fit_folds(x, y, train_sets, watch_sets, seeds)``: trains many folds together and yields (number of the fold,
      trace of its watched rows) as they end;
    - ``weights()`` and ``load_weights(arrays)``: the fitted state as named arrays, which `api.train` needs;
    - ``layers()``: the rows that ``microexpr methods NAME`` prints.
    """

    needs: ClassVar[frozenset[str]]
    classes: int
    seed: int

    def represent(self, clip: Clip) -> np.ndarray: ...

    def fit(self, x: np.ndarray, y: Int[np.ndarray, " clip"], subjects: Sequence[str]) -> Method: ...

    def predict_proba(self, x: np.ndarray) -> Float[np.ndarray, "clip class"]: ...
