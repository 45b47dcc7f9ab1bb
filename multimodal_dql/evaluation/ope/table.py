"""Sums of terms by group of units: constant memory, merging is addition, and every interval comes from them.

G groups (`GROUPS`, by a hash of the unit), d terms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.evaluation.ope.decisions import GROUPS, Batch

__all__ = ["GroupTable", "bootstrap_counts", "jackknife"]

Array = NDArray[np.float64]
Value = Callable[[Array, Array], Array]
"""A formula: sums of terms (..., d) and rows (...) -> (...)."""


class GroupTable:
    """Compensated float64 sums of d terms in each group, and the number of rows.

    A batch is summed on its own and added with Neumaier's correction, so batch sizes and order change the sums by
    less than 1e-13 of the sum of absolute values.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows = np.zeros(GROUPS)
        self._sums = np.zeros((width, GROUPS))
        self._lost = np.zeros((width, GROUPS))

    @property
    def sums(self) -> Array:
        """Sums of the terms in each group, (G, d)."""
        return (self._sums + self._lost).T

    def add(self, part: Batch, terms: Array) -> Self:
        """Add rows (B, d) of terms; with fewer columns the other terms are 0."""
        batch = np.zeros_like(self._sums)
        batch[: terms.shape[1]] = (part.scatter @ np.ascontiguousarray(terms)).T
        self._add(batch)
        self.rows += np.bincount(part.group, minlength=GROUPS)
        return self

    def merge(self, other: GroupTable) -> Self:
        """Add what another table of the same terms holds."""
        self._add(other._sums)
        self._lost += other._lost
        self.rows += other.rows
        return self

    def _add(self, batch: Array) -> None:
        total = self._sums + batch
        larger = np.abs(self._sums) >= np.abs(batch)
        self._lost += np.where(larger, (self._sums - total) + batch, (batch - total) + self._sums)
        self._sums = total

    def held(self) -> tuple[Array, Array]:
        """Sums (G', d) and rows (G',) of the groups that hold any."""
        there = self.rows > 0
        return self.sums[there], self.rows[there]


def jackknife(value: Value, sums: Array, rows: Array) -> tuple[Array, float, float]:
    """Leave-one-group-out pseudo-influences, the standard error, and its degrees of freedom.

    Groups are made of whole units, so this is the cluster-robust delta method without derivatives (Efron & Stein
    1981). The degrees of freedom are Satterthwaite's, 2 / (squared coefficient of variation of the variance), which is
    2 G' / (kurtosis - 1): a variance that a few groups make up is itself uncertain, and the interval says so.

    Args:
        value: the formula.
        sums: (G', d) of the groups that hold rows.
        rows: (G',).

    Returns:
        deviations of the leave-one-out values (G',), standard error, degrees of freedom; NaN below two groups.
    """
    G = len(rows)
    if G < 2:
        return np.full(G, np.nan), float("nan"), float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        left = value(sums.sum(0) - sums, rows.sum() - rows)
    deviation = left - left.mean()
    squares = deviation**2
    total = float(squares.sum())
    error = float(np.sqrt((G - 1) / G * total))
    kurtosis = G * float((squares**2).sum()) / total**2 if total > 0 else 3.0
    return deviation, error, float(min(max(2 * G / max(kurtosis - 1, 1e-9), 1.0), G - 1))


@lru_cache(4)
def bootstrap_counts(draws: int, groups: int, seed: int) -> Array:
    """How often each group is drawn in each of `draws` resamples with replacement, (draws, groups)."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 29]))
    drawn = rng.integers(0, groups, (draws, groups), dtype=np.int32)
    drawn += np.arange(draws, dtype=np.int32)[:, None] * groups
    counts = np.bincount(drawn.ravel(), minlength=draws * groups).astype(np.float64)
    counts = counts.reshape(draws, groups)
    counts.setflags(write=False)
    return counts
