"""Color-coded flow as the networks get it."""

from __future__ import annotations

import torch
from torch import Tensor


def scaled(pictures: Tensor, dtype: torch.dtype) -> Tensor:
    """Pictures "clip h w 3" as channels-last "clip 3 h w"; uint8 is brought to [-1, 1]."""
    values = pictures.permute(0, 3, 1, 2)
    if values.dtype == torch.uint8:
        return values.to(dtype) / 127.5 - 1
    return values.to(dtype)
