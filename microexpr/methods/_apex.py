"""The gray apex picture that micro-attention and ATNet look at, and its augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

from microexpr.errors import BadInput
from microexpr.methods._settings import check_frame
from microexpr.types import Clip, Frames

# Of each picture: mirrored, degrees, gray levels.
Draws = tuple[Tensor, ...]


def frames_of(clip: Clip) -> tuple[Frames, int]:
    """The frames of a clip and the number of its apex.

    Raises:
        BadInput: it lacks one of them.
    """
    if clip.frames is None:
        raise BadInput("a clip with frames", f"{clip.key} without", "load a data set with frames")
    if clip.apex is None:
        raise BadInput(
            "a clip with an apex",
            f"{clip.key} without one",
            "find it (spotting has rules for the apex) and use dataclasses.replace(clip, apex=number)",
        )
    return clip.frames, clip.apex


def gray(frame: Shaped[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "{size} {size}"]:
    """A frame in gray levels, its height and width brought to `size`: averaged over areas where both shrink.

    Raises:
        BadInput: it is not uint8.
    """
    import cv2

    check_frame(frame)
    how = cv2.INTER_AREA if min(frame.shape[:2]) >= size else cv2.INTER_LINEAR
    levels = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    return cv2.resize(levels, (size, size), interpolation=how).astype(np.uint8)


def draw(method: Any, clips: int, generator: torch.Generator) -> Draws:
    """The random numbers of `augmented`, each "clip"; each change happens with the probability ``augmentation``.

    Angles are drawn evenly up to ``rotation`` degrees both ways, shifts from the whole gray levels up to
    ``color_shift`` both ways.
    """
    chances = torch.rand((3, clips), generator=generator) < method.augmentation
    degrees = (2 * torch.rand(clips, generator=generator) - 1) * method.rotation
    levels = torch.randint(-method.color_shift, method.color_shift + 1, (clips,), generator=generator)
    return chances[0], degrees * chances[1], levels * chances[2]


def augmented(pictures: Float[Tensor, "clip 1 size size"], draws: Draws) -> Float[Tensor, "clip 1 size size"]:
    """Pictures in gray levels mirrored, turned about their center, and made lighter or darker.

    Interpolated linearly; what comes in at the border repeats it. Levels are not clipped.
    """
    mirrored, degrees, levels = draws
    sign = _sign(mirrored)
    cosine, sine, zero = degrees.deg2rad().cos(), degrees.deg2rad().sin(), torch.zeros_like(degrees)
    rows = torch.stack([sign * cosine, -sign * sine, zero, sine, cosine, zero], 1).reshape(-1, 2, 3)
    places = F.affine_grid(rows, list(pictures.shape), align_corners=False)
    turned = F.grid_sample(pictures, places, mode="bilinear", padding_mode="border", align_corners=False)
    return turned + levels[:, None, None, None]


def mirrored_flow(
    flow: Float[Tensor, "clip step 2 row column"], mirrored: Bool[Tensor, " clip"]
) -> Float[Tensor, "clip step 2 row column"]:
    """Flow as of the mirrored pictures, where they are: left and right change places and u changes its sign."""
    other = flow.flip(-1) * torch.tensor([-1.0, 1.0], device=flow.device)[:, None, None]
    other = other + 0.0  # no motion must not become -0, whose direction is that of moving left
    return torch.where(mirrored[:, None, None, None, None], other, flow)


def _sign(mirrored: Bool[Tensor, " clip"]) -> Float[Tensor, " clip"]:
    return 1 - 2 * mirrored.float()
