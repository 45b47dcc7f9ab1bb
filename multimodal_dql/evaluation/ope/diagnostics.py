"""Whether a log can speak about a policy: effective sample size, overlap, weight tails, calibration of propensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.multiple import holm
from multimodal_dql.evaluation.ope.bounds import Bets, anytime_value, bernstein_half
from multimodal_dql.evaluation.ope.decisions import Decisions
from multimodal_dql.evaluation.ope.sketches import DistinctKeys, WeightHistogram
from multimodal_dql.evaluation.ope.table import GroupTable

__all__ = ["ActionOverlap", "Diagnostics", "Overlap", "mean_error"]

Array = NDArray[np.float64]
_FEW = 64  # actions up to which each is looked at
_COLUMNS = 8
_FINE = 17
"""Bits of the finer groups that the any-time interval bets on: at 10^8 rows a group is small enough not to bind."""


@dataclass(frozen=True)
class ActionOverlap:
    """One action (column of the candidates).

    Attributes:
        action: its column.
        logged: share of the rows that show it.
        target: mean probability that the target shows it.
        weighted: mean of w where it was shown, which equals `target` when the propensities are true.
        p: of the test that it does, Holm-adjusted over the actions.
    """

    action: int
    logged: float
    target: float
    weighted: float
    p: float


@dataclass(frozen=True)
class Diagnostics:
    """What the weights say about a log and a target policy.

    Attributes:
        n: decisions.
        units: independent units, within 2 %.
        effective: effective sample size, (sum w)^2 / sum w^2 (Kish 1965).
        effective_share: of n.
        effective_rewards: the same of w r, (sum w r)^2 / sum (w r)^2: how many rewards the estimate stands on.
        effective_groups: 1 / sum of squared shares of the weight by group of units.
        mean_weight: 1 when propensities are true and the log could show everything the target shows.
        mean_weight_error: its standard error, units kept together.
        calibration_p: of the test that the mean weight is 1.
        largest_weight: of a row.
        largest_share: of the sum of weights, by the heaviest row.
        top_share: of the sum of weights, by the heaviest 1 % of the rows.
        quantiles: weights not exceeded by 50, 90, 99 and 99.9 % of the rows.
        unlogged_target: target's mass on actions (columns) that the log never shows; NaN for too many columns.
        actions: one entry a column, at most 64 columns; empty beyond.
    """

    n: int
    units: float
    effective: float
    effective_share: float
    effective_rewards: float
    effective_groups: float
    mean_weight: float
    mean_weight_error: float
    calibration_p: float
    largest_weight: float
    largest_share: float
    top_share: float
    quantiles: tuple[float, float, float, float]
    unlogged_target: float
    actions: tuple[ActionOverlap, ...]


class Overlap:
    """Accumulates what `Diagnostics` and the intervals by bounds need: constant memory, mergeable.

    Args:
        reward_range: smallest and largest reward that can occur; needed for the intervals by bounds only.
    """

    def __init__(self, reward_range: tuple[float, float] | None = None) -> None:
        if reward_range is not None and not reward_range[0] < reward_range[1]:
            raise UsageError(
                detail="the smallest reward must lie below the largest",
                detail_zh="奖励范围的下界必须小于上界",
            )
        self.reward_range = reward_range
        self.table = GroupTable(_COLUMNS)
        self.units = DistinctKeys()
        self.weights = WeightHistogram()
        self.columns = 0
        self.actions = GroupTable(_FEW)
        self.logged, self.target = np.zeros(_FEW), np.zeros(_FEW)
        self.fine = np.zeros((3, 1 << _FINE))  # rows, w r and w (1 - r), rewards scaled to [0, 1]
        # The smallest and the largest hash of a group's units: the same where it holds one.
        self.ends = np.stack([np.full(1 << _FINE, 2**64 - 1, np.uint64), np.zeros(1 << _FINE, np.uint64)])

    def add(self, part: Decisions) -> None:
        """Add one part of a batch."""
        w, r = part.weight, part.reward
        low, high = self.reward_range or (0.0, 1.0)
        if self.reward_range is not None and len(r) and (r.min() < low or r.max() > high):
            raise UsageError(
                detail=f"a reward lies outside the range {low:g} to {high:g}; name the range that rewards can have",
                detail_zh=f"有奖励超出范围 {low:g} 到 {high:g}；请指定奖励可能的范围",
            )
        unit = (r - low) / (high - low)
        gained, lost = w * unit, w * (1 - unit)
        own = w * r
        terms = (w, w**2, gained, gained**2, lost, lost**2, own, own**2)
        self.table.add(part, np.stack(terms, 1))
        self.units.add(part.hashed)
        fine = (part.hashed >> np.uint64(64 - _FINE)).astype(np.intp)
        for k, values in enumerate((np.ones(len(w)), gained, lost)):
            np.add.at(self.fine[k], fine, values)
        np.minimum.at(self.ends[0], fine, part.hashed)
        np.maximum.at(self.ends[1], fine, part.hashed)
        self.weights.add(w)
        K = part.target.shape[1]
        self.columns = max(self.columns, K)
        if K <= _FEW:
            self.logged[:K] += np.bincount(part.action, minlength=K)
            self.target[:K] += np.ones(len(w)) @ part.target
            gap = -part.target
            gap[np.arange(len(w)), part.action] += w
            self.actions.add(part, gap)

    def merge(self, other: Overlap) -> Self:
        """Add what another has seen."""
        self.table.merge(other.table)
        self.units.merge(other.units)
        self.weights.merge(other.weights)
        self.fine += other.fine
        self.ends[0] = np.minimum(self.ends[0], other.ends[0])
        self.ends[1] = np.maximum(self.ends[1], other.ends[1])
        self.columns = max(self.columns, other.columns)
        self.actions.merge(other.actions)
        self.logged += other.logged
        self.target += other.target
        return self

    def clustered(self) -> bool:
        """Whether rows share units: fewer units than rows, by more than the count of units is unsure of."""
        return bool(self.units.count() < (1.0 if self.units.exact else 0.96) * self.table.rows.sum())

    def bounds(
        self, confidence: float, weight_bound: float | None, unit_rows: int | None
    ) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
        """Intervals of the value that hold for any number of rows, see `bounds`, and on what that rests.

        None without a range of rewards. Where a unit may have several rows, units are bet on, by way of groups of them,
        and ``anytime_unit_rows`` says how many rows none of them may exceed: `unit_rows`, or as many as the largest
        can have, for all that is known of groups of several. The empirical Bernstein interval needs a bound of the
        weights, and rows that are independent.
        """
        if self.reward_range is None:
            return {}, {}
        low, high = self.reward_range
        n, alpha = float(self.table.rows.sum()), 1 - confidence
        if weight_bound is not None and self.weights.largest > weight_bound * (1 + 1e-9):
            raise UsageError(
                detail=f"a weight of {self.weights.largest:g} lies above the bound {weight_bound:g}",
                detail_zh=f"权重 {self.weights.largest:g} 超过了给定上界 {weight_bound:g}",
            )
        _, _, gained, gained_square, lost, lost_square, *_ = map(float, self.table.sums.sum(0))
        rests: dict[str, float] = {}
        alone = not self.clustered() and (unit_rows == 1 or self.units.exact)
        if alone:
            bets = Bets.of_rows(n, gained, gained_square), Bets.of_rows(n, lost, lost_square)
        else:
            there = self.fine[0] > 0
            (rows, *sums), several = self.fine[:, there], self.ends[0, there] < self.ends[1, there]
            unit = float(unit_rows or (rows - several).max())
            of, against = (Bets.of_groups(x, rows, unit, several) for x in sums)
            bets, rests = (of, against), {"anytime_unit_rows": unit}
        found = {"anytime": anytime_value(*bets, alpha, weight_bound)}
        if weight_bound is not None and alone:
            mean = gained / n
            variance = max(gained_square / n - mean**2, 0.0) * n / max(n - 1, 1)
            half = bernstein_half(n, variance, weight_bound, alpha)
            found["bernstein"] = (max(mean - half, 0.0), min(mean + half, 1.0))
        scaled = {name: (low + (high - low) * a, low + (high - low) * b) for name, (a, b) in found.items()}
        return scaled, rests

    def result(self) -> Diagnostics:
        """The diagnostics of what has been seen."""
        from scipy.special import ndtr

        sums, rows = self.table.held()
        n = float(rows.sum())
        w, square, *_, own, own_square = map(float, sums.sum(0))
        error = mean_error(sums[:, :1], rows)[0]
        z = abs(w / n - 1) / error if error > 0 else (0.0 if abs(w / n - 1) < 1e-9 else np.inf)
        shares = sums[:, 0] / w if w > 0 else np.zeros(len(rows))
        few = self.columns <= _FEW
        return Diagnostics(
            n=int(n),
            units=self.units.count(),
            effective=w**2 / square if square > 0 else 0.0,
            effective_share=w**2 / square / n if square > 0 else 0.0,
            effective_rewards=own**2 / own_square if own_square > 0 else 0.0,
            effective_groups=float(1 / (shares**2).sum()) if w > 0 else 0.0,
            mean_weight=w / n,
            mean_weight_error=float(error),
            calibration_p=float(2 * ndtr(-z)),
            largest_weight=self.weights.largest,
            largest_share=self.weights.largest / w if w > 0 else 0.0,
            top_share=self.weights.top_share(0.01),
            quantiles=tuple(self.weights.quantile(s) for s in (0.5, 0.9, 0.99, 0.999)),  # type: ignore[arg-type]
            unlogged_target=float(self.target[self.logged == 0].sum() / n) if few else float("nan"),
            actions=self._by_action(n) if few else (),
        )

    def _by_action(self, n: float) -> tuple[ActionOverlap, ...]:
        from scipy.special import ndtr

        K = self.columns
        sums, rows = self.actions.held()
        gap, error = sums[:, :K].sum(0) / n, mean_error(sums[:, :K], rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(error > 0, np.abs(gap) / error, np.where(np.abs(gap) > 1e-9, np.inf, 0.0))
        p = holm(2 * ndtr(-z))
        logged, target = self.logged[:K] / n, self.target[:K] / n
        return tuple(
            ActionOverlap(a, float(logged[a]), float(target[a]), float(target[a] + gap[a]), float(p[a]))
            for a in range(K)
        )


def mean_error(sums: Array, rows: Array) -> Array:
    """Standard error of each mean, groups kept together, (d,); infinite below two groups."""
    G, n = len(rows), rows.sum()
    if G < 2:
        return np.full(sums.shape[1], np.inf)
    influence = (sums - rows[:, None] * (sums.sum(0) / n)) / n
    return np.asarray(np.sqrt(G / (G - 1) * (influence**2).sum(0)), np.float64)
