"""LBP-TOP: local binary patterns on three orthogonal planes of a clip, and a support vector machine.

Zhao and Pietikainen, "Dynamic texture recognition using local binary patterns with an application to facial
expressions", IEEE Transactions on Pattern Analysis and Machine Intelligence 29(6), 2007, doi:10.1109/TPAMI.2007.1110.
The row of the paper's Table 3 is the baseline of MEGC 2019 (See, Yap, Li, Hong and Wang, "MEGC 2019, the second facial
micro-expressions grand challenge", FG 2019, doi:10.1109/FG.2019.8756611), whose own parameters were not found. Ours are
those of the repository tvaranka/meb, "meb" below. "ELBPTOP" is Guo, Liang, Zhan, Liu, Pietikainen and Liu, "Extended
local binary patterns for efficient and robust spontaneous facial micro-expression recognition", IEEE Access 7, 2019,
doi:10.1109/ACCESS.2019.2942358.

`features` works on any frames, `features_of_clip` on a clip; `transformers.LBPTOPTransformer` is the same for
scikit-learn. Codes and histograms are made in `kernels.lbp`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, UInt8

from microexpr.errors import BadInput
from microexpr.kernels import lbp
from microexpr.methods import _svm
from microexpr.methods._directions import ends, square
from microexpr.methods._settings import check_choice, check_range
from microexpr.methods._temporal import INTERPOLATIONS, brought_to
from microexpr.types import Clip

# Features of two rendered clips are some 1.3 (one subject) to 2.1 (two) apart: from C = 3 on the linear machine hardly
# changes any more, it only takes longer.
GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# Settings with a tenth of the features: 5x5 blocks and 16 codes instead of 8x8 and 59.
FAST: dict[str, Any] = {"blocks": (5, 5, 1), "neighbors": (4, 4, 4), "coding": "full"}


def features(
    frames: Iterable[np.ndarray],
    *,
    size: int = 112,
    length: int = 10,
    interpolation: str = "tim",
    blocks: tuple[int, ...] = (8, 8, 1),
    overlap: float = 0.7,
    neighbors: tuple[int, ...] = (8, 8, 8),
    radii: tuple[float, ...] = (3, 3, 3),
    coding: str = "uniform",
) -> Float32[np.ndarray, " feature"]:
    """LBP-TOP of a sequence of frames: three histograms a block, each of which sums to 1.

    Frames are made gray (0.299 R + 0.587 G + 0.114 B), resized to a square, averaged over areas where they shrink, and
    brought to a fixed number.

    Args:
        frames: two or more of one size, uint8, RGB "h w 3" or gray "h w".
        size: height and width to which frames are resized (meb: 112).
        length: number of frames to which the sequence is brought (meb, ELBPTOP: 10).
        interpolation: "tim", the temporal interpolation model, or "linear".
        blocks: along x, y and time (meb: 8, 8, 1).
        overlap: what neighboring blocks share, in sides of a block without overlap (meb: 0.7); `kernels.lbp.spans`.
        neighbors: in the planes XY, XT and YT (meb: 8 each), from 4 to 16.
        radii: along x, y and time, in pixels and frames (meb: 3 each), at least 1.
        coding: "uniform" (meb), "full" (ELBPTOP) or "rotation-invariant"; `kernels.lbp.bins_of_codes`.

    Returns:
        Block by block, x fastest, then y, then time; of each block the histograms of XY, XT and YT.

    Raises:
        BadInput: fewer than two frames, frames of another type or shape or of several sizes, frames smaller than the
            neighborhoods and the grid of blocks, or a wrong setting.
    """
    patterns: dict[str, Any] = {
        **{"blocks": blocks, "overlap": overlap},
        **{"neighbors": neighbors, "radii": radii, "coding": coding},
    }
    _check(size, length, interpolation, patterns)
    gray = [square(frame, size) for frame in _grays(frames, blocks, radii)]
    volume = brought_to(np.array(gray, np.uint8).reshape(len(gray), size, size), length, interpolation)
    return lbp.histograms(volume, **patterns).reshape(-1)


def features_of_clip(clip: Clip, **settings: Any) -> Float32[np.ndarray, " feature"]:
    """LBP-TOP of a clip, from its onset to its offset, or to its apex where it has no offset.

    Args:
        clip: with frames.
        settings: as for `features`.

    Raises:
        BadInput: the clip has no frames, no onset or no end, or as for `features`.
    """
    if clip.frames is None:
        raise BadInput(
            "a clip with frames, whose gray levels LBP-TOP compares",
            f"{clip.key} {'with a flow map alone' if clip.flow is not None else 'with neither frames nor flow'}",
            "load a data set with frames",
        )
    onset, last = ends(clip)
    return features(map(clip.frames.read, range(onset, last + 1)), **settings)


def _check(size: int, length: int, interpolation: str, patterns: dict[str, Any]) -> None:
    check_range("size", size, 1)
    check_range("length", length, 2)
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    lbp.check((length, size, size), **patterns)


def _grays(
    frames: Iterable[np.ndarray], blocks: tuple[int, ...], radii: tuple[float, ...]
) -> Iterator[UInt8[np.ndarray, "h w"]]:
    """The frames in gray levels, one after the other, checked."""
    import cv2

    across, down = (count + 2 * math.ceil(radius) for count, radius in zip(blocks[:2], radii[:2], strict=True))
    first: tuple[int, ...] = ()
    for number, frame in enumerate(frames):
        if frame.dtype != np.uint8 or not (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)):
            came = f"frame {number} of type {frame.dtype} and shape {frame.shape}"
            raise BadInput('uint8 frames, RGB "h w 3" or gray "h w"', came, "convert, transpose or cut them")
        height, width = frame.shape[:2]
        first = first or (height, width)
        if (height, width) != first:
            came = f"{first[1]}x{first[0]} and then {width}x{height} in frame {number}"
            raise BadInput("frames of one size", came, "crop all of them alike")
        if width < across or height < down:
            needed = f"{blocks[0]}x{blocks[1]} blocks and radii of {radii[0]:g} and {radii[1]:g}"
            raise BadInput(
                f"frames of at least {across}x{down} pixels for {needed}",
                f"{width}x{height}",
                "use larger frames, fewer blocks or smaller radii",
            )
        yield frame if frame.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)


@dataclass
class LBPTOP:
    """Histograms of local binary patterns on three orthogonal planes, with an SVM, one class against the rest.

    Attributes:
        size: height and width to which frames are resized (meb: 112).
        length: number of frames to which a clip is brought (meb, ELBPTOP: 10).
        interpolation: how: "tim", the temporal interpolation model, or "linear".
        blocks: along x, y and time (meb: 8, 8, 1).
        overlap: what neighboring blocks share, in sides of a block without overlap (meb: 0.7).
        neighbors: in the planes XY, XT and YT (meb: 8 each), from 4 to 16.
        radii: along x, y and time, in pixels and frames (meb: 3 each), at least 1.
        coding: "uniform" (meb), "full" (ELBPTOP) or "rotation-invariant".
        c: the SVM's C; None (default) takes the best of `GRID` on an inner subject-disjoint split of the training rows.
        kernel: "linear", "poly", "rbf", or "chosen" (default) to take the better of the linear and the polynomial one
            on the same split.
        classes: number of classes.
        seed: without effect; the solver starts the same way every time.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"frames"})
    seeded: ClassVar[bool] = False
    sequence: ClassVar[bool] = True  # onset and apex alone are no texture over time
    grid: ClassVar[tuple[float, ...]] = GRID
    kernels: ClassVar[tuple[str, ...]] = ("linear", "poly")  # ELBPTOP: linear; meb: polynomial

    size: int = 112
    length: int = 10
    # The sources name the temporal interpolation model. It also keeps the noise of all frames equally strong, within 5%
    # for 30 frames or more, where linear interpolation averages it away half-way between two frames; codes see noise.
    interpolation: str = "tim"
    blocks: tuple[int, ...] = (8, 8, 1)
    overlap: float = 0.7
    neighbors: tuple[int, ...] = (8, 8, 8)
    radii: tuple[float, ...] = (3.0, 3.0, 3.0)
    coding: str = "uniform"
    c: float | None = None
    kernel: str = "chosen"
    classes: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        _svm.start(self)
        _check(self.size, self.length, self.interpolation, self._patterns())

    def _patterns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("blocks", "overlap", "neighbors", "radii", "coding")}

    @property
    def feature_count(self) -> int:
        """Numbers that describe a clip: 11,328 with the default settings, 1,200 with those of `FAST`."""
        return math.prod(self.blocks) * sum(lbp.bin_count(count, self.coding) for count in self.neighbors)

    def represent(self, clip: Clip) -> Float32[np.ndarray, " feature"]:
        """`features_of_clip` with these settings."""
        how = {"size": self.size, "length": self.length, "interpolation": self.interpolation}
        return features_of_clip(clip, **how, **self._patterns())

    fit = _svm.fit
    predict_proba = _svm.predict_proba
    weights = _svm.weights
    load_weights = _svm.load_weights
