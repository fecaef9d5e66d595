"""How long the answers of a live video took."""

from __future__ import annotations

import numpy as np


class Latencies:
    """Counts in bins of 0.1 ms, so that memory stays bounded. Seconds in, milliseconds out."""

    BINS = 20_000

    def __init__(self) -> None:
        self._counts = np.zeros(self.BINS + 1, np.int64)

    def add(self, seconds: float) -> None:
        self._counts[min(int(seconds * 10_000), self.BINS)] += 1

    def summary(self) -> dict[str, float]:
        """Median and 99th percentile; what took longer than two seconds counts as two."""
        total = self._counts.cumsum()
        if not total[-1]:
            return {}
        return {f"p{q}": float(np.searchsorted(total, q / 100 * total[-1]) + 1) / 10 for q in (50, 99)}
