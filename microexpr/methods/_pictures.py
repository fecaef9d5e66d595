"""Pictures as training augments them: turned, mirrored, cropped, their colors changed. Every random number is passed.

Batches are tensors "clip 3 h w" in 0..1, on any device. The order is ours: colors change after the crop, so that only
what the network sees is computed.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from microexpr.methods._settings import check_frame

# Of each picture: degrees, mirrored, top, left, and brightness, contrast, saturation, hue.
Draws = tuple[Tensor, ...]


def resized(picture: Shaped[np.ndarray, "_ _ 3"], height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """A picture in another size, averaged over areas where it shrinks, interpolated linearly where it grows.

    Raises:
        BadInput: it is not uint8.
    """
    import cv2

    check_frame(picture)
    shrinks = height <= picture.shape[0] and width <= picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=how).astype(np.uint8)


def unit(pictures: UInt8[Tensor, "clip h w 3"]) -> Float[Tensor, "clip 3 h w"]:
    """Pictures as they are kept, brought to 0..1."""
    return pictures.permute(0, 3, 1, 2).float() / 255


def draw(
    clips: int,
    generator: torch.Generator,
    shape: tuple[int, int],
    size: int,
    rotation: float,
    jitter: float,
    *,
    mirror: bool,
) -> Draws:
    """The random numbers of `augmented`, each "clip": always as many, whatever is switched off.

    Args:
        shape, size: height and width of the pictures, and both of the square cut out of them.
        rotation: largest angle in degrees, both ways.
        jitter: largest relative change of brightness, contrast and saturation, and of the hue in turns.
        mirror: whether every other picture is mirrored.
    """
    degrees, brightness, contrast, saturation, hue = 2 * torch.rand((5, clips), generator=generator) - 1
    mirrored = torch.rand(clips, generator=generator) < (0.5 if mirror else 0)
    top = torch.randint(shape[0] - size + 1, (clips,), generator=generator)
    left = torch.randint(shape[1] - size + 1, (clips,), generator=generator)
    changes = (1 + jitter * brightness, 1 + jitter * contrast, 1 + jitter * saturation, jitter * hue)
    return rotation * degrees, mirrored, top, left, *changes


def augmented(pictures: Float[Tensor, "clip 3 h w"], draws: Draws, size: int) -> Float[Tensor, "clip 3 {size} {size}"]:
    """Turned, mirrored, cropped, and then brightness, contrast, saturation and hue changed in this order."""
    degrees, mirrored, top, left, brightness, contrast, saturation, hue = draws
    found = cropped(pictures, size, degrees, mirrored, top, left)
    found = (found * _each(brightness)).clamp(0, 1)
    found = _blended(found, gray(found).mean((1, 2, 3), keepdim=True), contrast)
    found = _blended(found, gray(found), saturation)
    return hue_turned(found, hue)


def cropped(
    pictures: Float[Tensor, "clip 3 h w"],
    size: int,
    degrees: Float[Tensor, " clip"],
    mirrored: Bool[Tensor, " clip"],
    top: Int[Tensor, " clip"],
    left: Int[Tensor, " clip"],
) -> Float[Tensor, "clip 3 {size} {size}"]:
    """A square out of each picture that was turned about its center (clockwise) and then mirrored.

    Interpolated linearly; black where the turned picture does not reach.
    """
    height, width = pictures.shape[2:]
    steps = torch.arange(size, device=pictures.device) + 0.5
    across = (left[:, None] + steps - width / 2) * torch.where(mirrored, -1.0, 1.0)[:, None]  # clip size
    down = top[:, None] + steps - height / 2
    sine, cosine = (value[:, None, None] for value in (degrees.deg2rad().sin(), degrees.deg2rad().cos()))
    x = cosine * across[:, None, :] + sine * down[:, :, None]  # where the pixel was before the picture was turned
    y = cosine * down[:, :, None] - sine * across[:, None, :]
    places = torch.stack([2 * x / width, 2 * y / height], -1)
    return F.grid_sample(pictures, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def centered(pictures: Float[Tensor, "clip 3 h w"], size: int) -> Float[Tensor, "clip 3 {size} {size}"]:
    """The square in the middle of each picture."""
    top, left = (pictures.shape[2] - size) // 2, (pictures.shape[3] - size) // 2
    return pictures[:, :, top : top + size, left : left + size]


def turned(
    pictures: Float[Tensor, "clip 3 h w"], size: int, degrees: Float[Tensor, " clip"]
) -> Float[Tensor, "clip 3 {size} {size}"]:
    """The square in the middle of each picture after it was turned about its center (clockwise)."""
    top, left = (torch.full_like(degrees, (side - size) // 2).long() for side in pictures.shape[2:])
    return cropped(pictures, size, degrees, torch.zeros_like(degrees, dtype=torch.bool), top, left)


def gray(pictures: Float[Tensor, "clip 3 h w"]) -> Float[Tensor, "clip 1 h w"]:
    """0.299 R + 0.587 G + 0.114 B."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=pictures.device)[:, None, None]
    return (pictures * weights).sum(1, keepdim=True)


def hue_turned(pictures: Float[Tensor, "clip 3 h w"], turns: Float[Tensor, " clip"]) -> Float[Tensor, "clip 3 h w"]:
    """Hue turned in HSV, in turns of the color circle; saturation and value stay (Smith 1978)."""
    red, green, blue = pictures.unbind(1)
    value, largest = pictures.max(1)
    spread = value - pictures.min(1).values
    safe = torch.where(spread > 0, spread, 1)  # gray has no hue; any does
    sixths = torch.where(
        largest == 0,
        (green - blue) / safe,
        torch.where(largest == 1, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    sixths = sixths + 6 * turns[:, None, None]
    channels = []
    for start in (5, 3, 1):
        place = (start + sixths) % 6
        channels.append(value - spread * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, 1)


def _blended(
    pictures: Float[Tensor, "clip 3 h w"], other: Float[Tensor, "clip 1 _ _"], share: Float[Tensor, " clip"]
) -> Float[Tensor, "clip 3 h w"]:
    return (_each(share) * pictures + (1 - _each(share)) * other).clamp(0, 1)


def _each(values: Float[Tensor, " clip"]) -> Float[Tensor, "clip 1 1 1"]:
    return values[:, None, None, None]
