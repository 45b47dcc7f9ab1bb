"""Small summaries of many numbers that merge: distinct keys, and the distribution of weights."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["DistinctKeys", "WeightHistogram"]

Array = NDArray[np.float64]
Keys = NDArray[np.uint64]
_KEPT = 16_384
_PER_OCTAVE, _LOW, _HIGH = 16, -40, 60  # bins from 2^-40 to 2^60, each 4.4 % wide


class DistinctKeys:
    """How many different keys there are: exact up to 16,384, then within 1.6 % (95 %).

    Keeps the smallest hashes (k minimum values: Bar-Yossef et al. 2002; the estimate of Beyer et al. 2007).
    """

    def __init__(self) -> None:
        self.smallest = np.empty(0, np.uint64)

    def add(self, hashed: Keys) -> None:
        """Add keys that are well mixed."""
        if len(self.smallest) == _KEPT:
            hashed = hashed[hashed < self.smallest[-1]]
        if len(hashed):
            self.smallest = _distinct(self.smallest, hashed)

    def merge(self, other: DistinctKeys) -> Self:
        """Add the keys of another."""
        self.smallest = _distinct(self.smallest, other.smallest)
        return self

    @property
    def exact(self) -> bool:
        """Whether every key is still kept."""
        return len(self.smallest) < _KEPT

    def count(self) -> float:
        """Distinct keys so far."""
        if self.exact:
            return float(len(self.smallest))
        return (_KEPT - 1) / (float(self.smallest[-1]) / 2.0**64)


def _distinct(a: Keys, b: Keys) -> Keys:
    """The smallest different keys of both, rising; sorting beats the hash table of `np.unique` here."""
    both = np.sort(np.concatenate([a, b]))
    new = np.ones(len(both), np.bool_)
    new[1:] = both[1:] != both[:-1]
    return np.asarray(both[new][:_KEPT], np.uint64)


class WeightHistogram:
    """Rows and weight in bins that are 4.4 % wide, and the largest weight."""

    def __init__(self) -> None:
        bins = (_HIGH - _LOW) * _PER_OCTAVE + 1
        self.rows, self.weight, self.largest = np.zeros(bins), np.zeros(bins), 0.0

    def add(self, weight: Array) -> None:
        """Add weights of 0 or more."""
        with np.errstate(divide="ignore"):
            at = (np.log2(weight) - _LOW) * _PER_OCTAVE + 1
        at = np.clip(at, 0, len(self.rows) - 1).astype(np.intp)  # bin 0 is weight 0
        self.rows += np.bincount(at, minlength=len(self.rows))
        self.weight += np.bincount(at, weight, len(self.rows))
        self.largest = max(self.largest, float(weight.max(initial=0.0)))

    def merge(self, other: WeightHistogram) -> Self:
        """Add the weights of another."""
        self.rows += other.rows
        self.weight += other.weight
        self.largest = max(self.largest, other.largest)
        return self

    def quantile(self, share: float) -> float:
        """The weight that a share of the rows does not exceed, within a bin."""
        at = int(np.searchsorted(self.rows.cumsum(), share * self.rows.sum()))
        if at == 0 or at >= len(self.rows):
            return 0.0 if at == 0 else self.largest
        return min(float(self.weight[at] / self.rows[at]) if self.rows[at] else 0.0, self.largest)

    def top_share(self, share: float) -> float:
        """Share of the sum of weights that the heaviest `share` of the rows carries."""
        rows, weight = self.rows[::-1], self.weight[::-1]
        wanted, before = share * rows.sum(), np.concatenate([[0.0], rows.cumsum()[:-1]])
        taken = np.clip((wanted - before) / np.where(rows > 0, rows, 1.0), 0, 1)
        total = weight.sum()
        return float((weight * taken).sum() / total) if total > 0 else 0.0
