"""A sequence of frames brought to a fixed length."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8

from microexpr.errors import BadInput


def brought_to(
    frames: UInt8[np.ndarray, "frame h w"], length: int, interpolation: str = "tim"
) -> UInt8[np.ndarray, "{length} h w"]:
    """The frames at `length` evenly spread moments from the first to the last one, in whole gray levels.

    A sequence that has the length already stays as it is.

    Args:
        frames: two or more gray frames.
        length: how many there shall be, two or more.
        interpolation: a name of `INTERPOLATIONS`: ``"tim"``, the temporal interpolation model (see `tim_weights`), or
            ``"linear"`` between the two frames around each moment.

    Raises:
        BadInput: a single frame, which has no motion.
    """
    if len(frames) < 2:
        raise BadInput(
            "at least 2 frames to interpolate between", f"{len(frames)}", "give the clip from onset to offset"
        )
    weights = INTERPOLATIONS[interpolation](len(frames), length)
    flat = frames.reshape(len(frames), -1).astype(np.float32)
    found = np.rint(weights.astype(np.float32) @ flat)
    return np.clip(found, 0, 255).astype(np.uint8).reshape(length, *frames.shape[1:])


def tim_weights(frames: int, length: int) -> Float64[np.ndarray, "{length} {frames}"]:
    """What each frame counts in each interpolated one by the temporal interpolation model.

    Zhou, Zhao and Pietikainen, "Towards a practical lipreading system", CVPR 2011, doi:10.1109/CVPR.2011.5995345. The n
    frames are the nodes of a path graph, y_k the eigenvectors of its Laplacian, which are samples of cosines:

        y_k(i) = sin(pi k i / n + pi (n - k) / (2 n)) = cos(pi k (i - 1/2) / n)      i = 1..n, k = 1..n-1

    The model maps this curve of n - 1 dimensions linearly to the frames, less their mean, and reads it between them.
    The paper finds the map by a singular value decomposition of the frames. The y_k are orthogonal, of squared length
    n / 2, so it can be written down instead: frame(t) = mean + (2 / n) sum_k cos(pi k (t - 1/2) / n) sum_i y_k(i) frame
    i. That is the same where the frames are linearly independent and, unlike it, works where they are not, as in a clip
    that repeats a frame. Every given frame is met.
    """
    nodes = np.arange(1, frames + 1) - 0.5
    moments = np.linspace(1, frames, length) - 0.5
    turns = np.pi * np.arange(1, frames)[:, None] / frames
    return 1 / frames + 2 / frames * np.cos(turns * moments).T @ np.cos(turns * nodes)


def linear_weights(frames: int, length: int) -> Float64[np.ndarray, "{length} {frames}"]:
    """The same between the two frames around each moment."""
    distances = np.abs(np.linspace(0, frames - 1, length)[:, None] - np.arange(frames))
    return np.maximum(1 - distances, 0)


INTERPOLATIONS = {"tim": tim_weights, "linear": linear_weights}
