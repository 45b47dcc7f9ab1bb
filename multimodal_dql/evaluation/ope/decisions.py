"""Batches of a log of decisions, seen through one target policy.

Shape letters: B decisions of a batch, K candidates (padded; padding has target 0 and predicted 0).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError

__all__ = ["GROUPS", "Batch", "Decisions", "mixed"]

Array = NDArray[np.float64]
Keys = NDArray[np.uint64]

GROUPS = 1024
"""Groups of units of every table of sums: enough for a standard error known to 2 %, few enough to be kept."""
_PART = 32_768  # rows worked on at a time: what is computed from them stays in the processor's cache


def mixed(keys: Keys, salt: int = 0) -> Keys:
    """64 well-mixed bits of each key (SplitMix64's finaliser: Steele, Lea & Flood 2014)."""
    z = keys + np.uint64((salt + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


@dataclass(frozen=True)
class Batch:
    """Rows that say to which independent unit they belong: what every accumulator of this package takes.

    Other fields of a subclass are arrays with one row a decision, or None.

    Attributes:
        unit: (B,) opaque key of the unit, e.g. a hash of the session; its rows stay together in every variance.
    """

    unit: Keys

    def __len__(self) -> int:
        return len(self.unit)

    @cached_property
    def hashed(self) -> Keys:
        """Mixed bits of the unit, (B,)."""
        return mixed(np.asarray(self.unit, np.uint64))

    @cached_property
    def group(self) -> NDArray[np.intp]:
        """Group of each row, (B,), 0 to GROUPS - 1; a unit lies in one group."""
        return (self.hashed >> np.uint64(64 - GROUPS.bit_length() + 1)).astype(np.intp)

    @cached_property
    def scatter(self) -> Any:
        """Sparse matrix (GROUPS, B) whose product with terms (B, d) sums them by group."""
        from scipy.sparse import csc_matrix

        B = len(self)
        entries = (np.ones(B), self.group.astype(np.int32), np.arange(B + 1, dtype=np.int32))
        return csc_matrix(entries, shape=(GROUPS, B))

    def part(self, start: int, stop: int) -> Self:
        """Some of the rows, as views; checked already."""
        found = object.__new__(type(self))
        for f in fields(self):
            value = getattr(self, f.name)
            found.__dict__[f.name] = None if value is None else value[start:stop]
        return found

    def only(self, rows: NDArray[np.bool_]) -> Self:
        """The rows that are marked, (B,), as copies; checked already."""
        found = object.__new__(type(self))
        for f in fields(self):
            value = getattr(self, f.name)
            found.__dict__[f.name] = None if value is None else value[rows]
        return found

    def parts(self) -> Iterator[Self]:
        """The rows in parts that fit into the processor's cache."""
        if len(self) <= _PART:
            yield self
            return
        for start in range(0, len(self), _PART):
            yield self.part(start, start + _PART)


@dataclass(frozen=True)
class Decisions(Batch):
    """Single decisions, each with one reward.

    Attributes:
        unit: (B,) key of the independent unit.
        reward: (B,) finite.
        action: (B,) column of the candidate that was shown.
        propensity: (B,) logged probability of showing it, in (0, 1].
        target: (B, K) the target policy's probabilities; rows sum to 1.
        predicted: (B, K) expected reward of each candidate by a model that has not seen the row's unit, or None.

    Raises:
        UsageError: for another shape, or a value outside its range.
    """

    reward: Array
    action: NDArray[np.int64]
    propensity: Array
    target: Array
    predicted: Array | None = None

    def __post_init__(self) -> None:
        B = len(self.unit)
        shapes = {n: np.shape(getattr(self, n)) for n in ("unit", "reward", "action", "propensity")}
        wrong = [n for n, shape in shapes.items() if shape != (B,)]
        if np.ndim(self.target) != 2 or len(self.target) != B or np.shape(self.target)[1] < 1:
            wrong.append("target")
        elif self.predicted is not None and np.shape(self.predicted) != np.shape(self.target):
            wrong.append("predicted")
        if wrong:
            raise UsageError(
                detail=f"decisions do not agree in shape: {', '.join(wrong)}",
                detail_zh=f"决策数据的形状不一致：{'、'.join(wrong)}",
            )
        for part in self.parts():
            _check(part)

    @cached_property
    def weight(self) -> Array:
        """Importance weight, target[action] / propensity, (B,)."""
        return np.asarray(self.chosen / self.propensity, np.float64)

    @cached_property
    def chosen(self) -> Array:
        """Target policy's probability of what was shown, (B,)."""
        return np.asarray(self.target[np.arange(len(self)), self.action], np.float64)

    @cached_property
    def direct(self) -> Array:
        """Predicted reward of the target policy, sum over candidates of target * predicted, (B,)."""
        return np.asarray(np.einsum("bk,bk->b", self.target, self.model), np.float64)

    @cached_property
    def shown(self) -> Array:
        """Predicted reward of what was shown, (B,)."""
        return np.asarray(self.model[np.arange(len(self)), self.action], np.float64)

    @cached_property
    def residual(self) -> Array:
        """Reward less the predicted reward of what was shown, (B,)."""
        return np.asarray(self.reward - self.shown, np.float64)

    @property
    def model(self) -> Array:
        """The predictions; raises `UsageError` when there are none."""
        if self.predicted is None:
            raise UsageError(
                detail="this estimator needs predicted rewards; fit a RewardModel, or use ips or snips",
                detail_zh="该估计量需要奖励预测；请先拟合 RewardModel，或改用 ips、snips",
            )
        return self.predicted


def _check(d: Decisions) -> None:
    """Every value in its range: a bad one is an error here, never a silent number."""
    K = d.target.shape[1]
    faults = (
        (np.isfinite(d.reward).all(), "a reward is not a finite number", "奖励含有非有限数值"),
        (
            ((d.propensity > 0) & (d.propensity <= 1)).all(),
            "a logged propensity is missing, 0 or above 1; such rows cannot be weighted",
            "日志中的倾向概率缺失、为 0 或大于 1；这些行无法加权",
        ),
        (
            ((d.action >= 0) & (d.action < K)).all(),
            "an action is not one of the candidates",
            "动作不在候选之中",
        ),
        (
            (d.target >= 0).all() and (np.abs(d.target.sum(1) - 1) <= 1e-6).all(),
            "the target policy's probabilities must be 0 or more and sum to 1",
            "目标策略的概率必须非负且总和为 1",
        ),
        (
            d.predicted is None or np.isfinite(d.predicted).all(),
            "a predicted reward is not a finite number",
            "奖励预测含有非有限数值",
        ),
    )
    for good, detail, detail_zh in faults:
        if not good:
            raise UsageError(detail=detail, detail_zh=detail_zh)
