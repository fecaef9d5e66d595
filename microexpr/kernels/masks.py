"""Dropout masks as a function of a key: splitmix64 (Steele, Lea and Flood, OOPSLA 2014) over the positions."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float32

from microexpr.kernels.warp import jit

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: splitmix64's step from one state to the next


def mask(key: int, length: int, probability: float) -> Float32[np.ndarray, " {length}"]:
    """A mask for dropout: 0 with `probability`, else 1 / (1 - probability).

    Number i is kept where the low 24 bits of splitmix64's output of the state key + i GOLDEN are large enough.

    Args:
        key: 64 bits, signed or not.
        length: how many numbers.
        probability: of a zero, from 0 to below 1.
    """
    factors = np.empty(length, np.float32)
    _mask(np.uint64(key % 2**64), np.uint64(probability * 2**24), np.float32(1 / (1 - probability)), factors)
    return factors


@no_type_check
@jit
def _mask(key, least, factor, out):
    for i in range(len(out)):
        state = key + np.uint64(i) * np.uint64(GOLDEN)
        mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = (mixed ^ (mixed >> np.uint64(31))) & np.uint64(0xFFFFFF)
        out[i] = factor if bits >= least else np.float32(0)
