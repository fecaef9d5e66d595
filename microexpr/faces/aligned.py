"""A clip's frames as aligned face crops: what the methods look at, from the whole pictures of a camera."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from jaxtyping import UInt8

from microexpr.errors import BadInput, UnknownName
from microexpr.faces.align import SIZE, Registration
from microexpr.faces.detect import DETECTORS, FILE_SETTINGS, Detector, Face, choose, detector, faces_in, gray
from microexpr.types import Clip, Frames

# What a clip's own frames may show that alignment is for, as their `shows` says; frames that say nothing stay as they
# are.
UNALIGNED = ("frame", "crop")
TRIES = 5  # frames that are searched for a face, beginning with the onset


@dataclass(frozen=True)
class AlignedFrames:
    """The frames of a clip, each laid over the face of the onset frame; see `faces.align`.

    Attributes:
        frames: of the camera.
        onset: number of the frame that the others are laid over: the onset, or the apex of a still.
        face: its face.
        size: height and width of the aligned face, pixels.
    """

    frames: Frames
    onset: int
    face: Face
    size: int = SIZE

    shows = "aligned"

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, number: int) -> UInt8[np.ndarray, "size size 3"]:
        """One aligned face, RGB."""
        registration, first = self._begun
        return first.copy() if number == self.onset else registration.align(self.frames.read(number)).image

    def content(self, number: int) -> bytes:
        """What the frame is made of: the file's content, and how it is cut."""
        how = repr((self.onset, dataclasses.astuple(self.face), self.size)).encode()
        inside: Any = self.frames
        given = inside.content(number) if hasattr(inside, "content") else inside.read(number).tobytes()
        return how + given

    @cached_property
    def _begun(self) -> tuple[Registration, UInt8[np.ndarray, "size size 3"]]:
        """What the others are laid over, and the onset's own face: its picture is decoded once."""
        picture = self.frames.read(self.onset)
        registration = Registration(picture, self.face, size=self.size)
        return registration, registration.align(picture).image

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def to_align(clip: Clip) -> bool:
    """Whether a clip's frames are pictures of a camera, or crops of a data set's own, rather than aligned faces."""
    return getattr(clip.frames, "shows", None) in UNALIGNED


def find_face(clip: Clip, find: Detector) -> Face:
    """The face of the onset frame; where none is found in it, that of one of the next frames of the clip.

    A head hardly moves within a micro-expression, so a box found a few frames later serves as well. Crops in which no
    face is found are taken whole: an authors' crop is a face.

    Args:
        clip: whose frames are to be aligned, see `to_align`.
        find: what finds faces; not one that knows them by the number of a frame.

    Raises:
        BadInput: a frame can't be read, or there is no face.
    """
    assert clip.frames is not None
    numbers = searched(clip)
    for number in numbers:
        if faces := faces_in(gray(clip.frames.read(number)), number, find):
            return choose(faces, number)[0]
    if getattr(clip.frames, "shows", None) == "crop":
        return detector("precropped")(clip.frames.read(numbers[0]))[0]
    advice = "try another detector (--faces), or --faces none where the frames are aligned faces already"
    came = f"none in the frames {', '.join(map(str, numbers))} of {clip.key}"
    raise BadInput("a face", came, advice)


def searched(clip: Clip) -> list[int]:
    """The frames that are searched for a face, in their order.

    Raises:
        BadInput: as `first_of`.
    """
    first = first_of(clip)
    last = clip.offset if clip.offset is not None else clip.apex if clip.apex is not None else first
    return sorted({first + (last - first) * step // TRIES for step in range(TRIES)})


def first_of(clip: Clip) -> int:
    """The frame that the others of a clip are laid over: its onset; of a still, which has none, the apex.

    Raises:
        BadInput: it has neither.
    """
    first = clip.onset if clip.onset is not None else clip.apex
    if first is None:
        raise BadInput("a clip with an onset", f"{clip.key} without", "use dataclasses.replace(clip, onset=number)")
    return first


def aligned(clip: Clip, faces: str = "haar", size: int = SIZE) -> Clip:
    """The clip with its frames as aligned faces, where they are not yet; otherwise the clip itself.

    Args:
        clip: read for the frames that are searched for the face.
        faces: see `finder`; "none" leaves the clip as it is.
        size: height and width of the aligned face, pixels.

    Raises:
        UnknownName: no such detector.
        BadInput: as `find_face`.
    """
    if faces == "none" or not to_align(clip) or clip.frames is None:
        return clip
    return laid(clip, find_face(clip, finder(faces)), size)


def laid(clip: Clip, face: Face, size: int = SIZE) -> Clip:
    """The clip with its frames laid over a face of the onset frame that is known."""
    assert clip.frames is not None
    return dataclasses.replace(clip, frames=AlignedFrames(clip.frames, first_of(clip), face, size))


@lru_cache(maxsize=4)
def finder(faces: str) -> Detector:
    """A detector for data sets by its name; one that reads a model by name and file: ``yunet=model.onnx``.

    Raises:
        UnknownName: no such detector, or one that knows faces by the number of a frame.
        BadInput: a file for a detector that reads none, or the other way round.
    """
    name, _, file = faces.partition("=")
    if name not in DETECTORS or name == "file":
        raise UnknownName("face detector for data sets", name, [*sorted(DETECTORS.keys() - {"file"}), "none"])
    reads = name in FILE_SETTINGS
    if reads != bool(file):
        shown = f"{name}=FILE, a model of OpenCV's model zoo" if reads else name
        raise BadInput(f"--faces {shown}", repr(faces), "write it like that")
    return detector(name, **({FILE_SETTINGS[name]: file} if reads else {}))
