"""Motion magnification for the eye: a movement of a pixel made one of ten.

The motion that was found is exaggerated by warping. With m(x) the flow from the first frame to frame k, and a the
factor, the magnified frame M_k shows every piece of skin a times as far from its rest:

    M_k(x + a m(x)) = I_k(x + m(x))

Liu, Torralba, Freeman, Durand and Adelson, "Motion magnification", ACM Transactions on Graphics 24(3), 2005,
doi:10.1145/1073204.1073223, exaggerate trajectories so; ours are those of the flow from the first frame, without
layers. Eulerian magnification (Wu et al. 2012, doi:10.1145/2185520.2185561), which the MJFN paper names, amplifies the
change of gray levels instead: it needs no flow, but makes noise and light flicker larger with the motion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, Float32, UInt8

from microexpr.errors import BadInput
from microexpr.motion.flow import flow_between

LARGEST = 50.0  # times
SMOOTH = 1 / 40  # sides of the picture: skin moves in pieces of this size, noise in smaller ones
RIM = 0.12  # sides: towards the border of the face the magnification fades to none
ITERATIONS = 12  # of the inverse; each one brings it nearer where the magnified field does not fold
STEEPEST = 0.8  # largest slope of the magnified field: at 1 the skin would fold over itself


def magnified(
    frames: Iterable[UInt8[np.ndarray, "h w 3"]], factor: float = 10.0, *, mode: str = "clg"
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Frames of an aligned face with their motion since the first one magnified; one frame in memory at a time.

    Args:
        frames: of one size, at least 16x16, the first one at rest.
        factor: how many times as far; 1 changes nothing.
        mode: of the flow, see `motion.flow.flow_between`.

    Yields:
        As many frames; the first one as it is.

    Raises:
        BadInput: the factor is not in 0..50, or the frames differ in size.
    """
    check_factor(factor)
    first = None
    for frame in frames:
        if first is None:
            first = frame
            yield frame
        else:
            yield warped(frame, smoothed(flow_between(first, frame, mode=mode)), factor)


def check_factor(factor: float) -> None:
    """Raises BadInput where a magnification is not in 0..`LARGEST`."""
    if not (np.isfinite(factor) and 0 <= factor <= LARGEST):
        raise BadInput(f"a magnification from 0 to {LARGEST:g}", f"{factor:g}", "10 shows most micro-expressions well")


def smoothed(flow: Float[np.ndarray, "2 h w"]) -> Float32[np.ndarray, "2 h w"]:
    """A flow field without its noise, and without its mean, faded to zero towards the border of the picture.

    What all of the face shares is motion of the head that the registration left.
    """
    import cv2

    height, width = flow.shape[1:]
    sigma = SMOOTH * min(height, width)
    rim = _rim(height)[:, None] * _rim(width)[None, :]
    field = [cv2.GaussianBlur(np.ascontiguousarray(part, np.float32), (0, 0), sigma) for part in flow]
    middles = [np.median(part) for part in field]
    return np.stack([(part - middle) * rim for part, middle in zip(field, middles, strict=True)]).astype(np.float32)


def warped(
    frame: UInt8[np.ndarray, "h w *c"], flow: Float[np.ndarray, "2 h w"], factor: float
) -> UInt8[np.ndarray, "h w *c"]:
    """One frame with its motion since the first magnified.

    Where a factor would fold the skin over itself, the field is magnified less, everywhere alike.

    Args:
        frame: that the flow leads to.
        flow: from the first frame to this one, pixels; smooth, as by `smoothed`.
        factor: how many times as far.
    """
    import cv2

    flow = flow.astype(np.float32)
    factor = min(factor, _largest(flow)) if factor > 1 else factor
    height, width = flow.shape[1:]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns.copy(), rows.copy()
    moved = np.zeros_like(flow)
    for _ in range(ITERATIONS):  # x with x + a m(x) = z, for every pixel z of the result
        moved = np.stack([cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for part in flow])
        x, y = columns - np.float32(factor) * moved[0], rows - np.float32(factor) * moved[1]
    return cv2.remap(frame, x + moved[0], y + moved[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _largest(flow: Float32[np.ndarray, "2 h w"]) -> float:
    """The factor at which the steepest place of the field reaches `STEEPEST`."""
    slopes = [np.abs(np.diff(part, axis=axis)).max(initial=0) for part in flow for axis in (0, 1)]
    steepest = float(max(slopes))
    return max(1.0, STEEPEST / steepest) if steepest > 0 else LARGEST


def _rim(length: int) -> Float32[np.ndarray, " {length}"]:
    """1 in the middle, half a cosine to 0 at both ends."""
    inside = np.minimum(np.arange(length), np.arange(length)[::-1]) / max(1.0, RIM * length)
    return (0.5 - 0.5 * np.cos(np.pi * inside.clip(0, 1))).astype(np.float32)
