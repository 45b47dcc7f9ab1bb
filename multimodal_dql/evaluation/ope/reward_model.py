"""Cross-fitted rates of items and variants: the reward model behind doubly robust estimates.

One streaming pass, constant memory, mergeable; fitting knows nothing of the target policy. A row is predicted from the
folds in which its unit is not, so the doubly robust estimate stays unbiased (Chernozhukov et al. 2018, section 3).
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope.decisions import mixed

__all__ = ["RewardModel"]

Array = NDArray[np.float64]
Keys = NDArray[np.uint64]
_FOLD_SALT, _CELL_SALT, _ITEM_SALT = 101, 102, 103  # so that folds, groups and cells are unrelated
_PART = 32_768


class RewardModel:
    """Mean reward of each (item, variant), shrunk to its item's mean, and that to the mean of all.

    Both strengths are empirical Bayes: the variance within cells over the variance between them, by the moments of
    the one-way layout with unequal sizes (Searle, Casella & McCulloch 1992, section 3.6). Cells live in a table of
    2^bits places by hash: a collision mixes two rates, which costs precision, never validity.

    Args:
        folds: 2 or more.
        bits: of the table; memory is 16 (folds + 1) 2^bits bytes, 25 MB by default.
    """

    def __init__(self, folds: int = 5, bits: int = 18) -> None:
        if not 2 <= folds <= 100 or not 4 <= bits <= 26:
            raise UsageError(
                detail="a reward model has 2 to 100 folds and 4 to 26 bits",
                detail_zh="奖励模型的折数应为 2 到 100，位数应为 4 到 26",
            )
        self.folds, self.bits = folds, bits
        size = 1 << bits
        self._count, self._sum = np.zeros((folds, size)), np.zeros((folds, size))
        self._items = np.zeros((folds, size)), np.zeros((folds, size))
        self._item_of = np.full(size, -1, np.int32)
        self._square = np.zeros(folds)
        self._fitted: tuple[Array, Array, Array] | None = None

    def update(self, keys: Keys, item: Keys, action: Any, reward: Any, unit: Keys) -> Self:
        """Learn from logged decisions.

        Args:
            keys: of the candidates, (B, K), the same for the same variant of the same item; 0 is padding.
            item: key of the story, (B,).
            action: column shown, (B,).
            reward: (B,), finite.
            unit: key of the independent unit, (B,), as in `Decisions`.
        """
        r = np.asarray(reward, np.float64)
        if not np.isfinite(r).all():
            raise UsageError(
                detail="a reward is not a finite number; leave such rows out",
                detail_zh="奖励含有非有限数值；请删除这些行",
            )
        keys = np.asarray(keys, np.uint64)
        shown = self._place(keys[np.arange(len(keys)), np.asarray(action)], _CELL_SALT)
        story, fold = self._place(item, _ITEM_SALT), self.fold(unit)
        np.add.at(self._count, (fold, shown), 1.0)
        np.add.at(self._sum, (fold, shown), r)
        np.add.at(self._items[0], (fold, story), 1.0)
        np.add.at(self._items[1], (fold, story), r)
        np.maximum.at(self._item_of, shown, story.astype(np.int32))
        self._square += np.bincount(fold, r**2, self.folds)
        self._fitted = None
        return self

    def merge(self, other: RewardModel) -> Self:
        """Add what another model of the same folds and bits has learned."""
        if (self.folds, self.bits) != (other.folds, other.bits):
            raise UsageError(
                detail="reward models with other folds or bits cannot be merged",
                detail_zh="折数或位数不同的奖励模型不能合并",
            )
        self._count += other._count
        self._sum += other._sum
        self._items[0][:] += other._items[0]
        self._items[1][:] += other._items[1]
        np.maximum(self._item_of, other._item_of, out=self._item_of)
        self._square += other._square
        self._fitted = None
        return self

    def fold(self, unit: Keys) -> NDArray[np.intp]:
        """Fold of each unit, (B,)."""
        high = mixed(np.asarray(unit, np.uint64), _FOLD_SALT) >> np.uint64(32)
        return ((high * np.uint64(self.folds)) >> np.uint64(32)).astype(np.intp)

    def shown(self, keys: Keys, unit: Keys) -> Array:
        """How often each candidate was shown, (B, K), in folds without the row's unit; 0 on padding."""
        keys = np.asarray(keys, np.uint64)
        place = self._place(keys, _CELL_SALT)
        found = self._count.sum(0)[place] - self._count[self.fold(unit)[:, None], place]
        return np.asarray(np.where(keys == 0, 0.0, found), np.float64)

    def predict(self, keys: Keys, item: Keys, unit: Keys) -> Array:
        """Expected reward of every candidate, (B, K), from folds without the row's unit; 0 on padding."""
        keys, item = np.asarray(keys, np.uint64), np.asarray(item, np.uint64)
        if self._fitted is None:
            self._fitted = self._fit()
        own, share, rate = self._fitted
        found = np.empty(keys.shape)
        for start in range(0, len(keys), _PART):
            part = slice(start, start + _PART)
            fold = self.fold(unit[part])
            at = (fold[:, None] << self.bits) + self._place(keys[part], _CELL_SALT)
            story = rate[fold, self._place(item[part], _ITEM_SALT)]
            found[part] = own.take(at) + share.take(at) * story[:, None]
            found[part][keys[part] == 0] = 0.0
        return found

    def _place(self, keys: Keys, salt: int) -> NDArray[np.intp]:
        return (mixed(np.asarray(keys, np.uint64), salt) >> np.uint64(64 - self.bits)).astype(np.intp)

    def _fit(self) -> tuple[Array, Array, Array]:
        """For each left-out fold: a cell's own part and its item's share in the prediction, and the items' rates."""
        own, share = np.zeros(self._count.shape), np.ones(self._count.shape)
        rate = np.zeros(self._count.shape)
        totals = [table.sum(0) for table in (self._count, self._sum, *self._items)]
        for f in range(self.folds):
            n, s, item_n, item_s = (
                total - table[f]
                for total, table in zip(totals, (self._count, self._sum, *self._items), strict=True)
            )
            rows = n.sum()
            if rows == 0:
                continue
            mean, square = s.sum() / rows, self._square.sum() - self._square[f]
            of = self._item_of
            seen = n > 0
            parent = np.zeros(len(n))
            parent[seen] = item_n[of[seen]]
            between_items = _strength(item_n, item_s, rows, np.full(len(n), rows), square, mean)
            rate[f] = (item_s + between_items * mean) / (item_n + between_items)
            within = _mean_of(item_s, item_n)
            centre = np.zeros(len(n))
            centre[seen] = within[of[seen]]
            strength = _strength(n, s, rows, parent, square, centre)
            own[f], share[f] = s / (n + strength), strength / (n + strength)
        return own, share, rate


def _mean_of(total: Array, n: Array) -> Array:
    return np.divide(total, n, out=np.zeros_like(total), where=n > 0)


def _strength(n: Array, s: Array, rows: float, parent: Array, square: float, centre: Array | float) -> float:
    """Rows that the prior of a cell is worth: variance within cells / variance of their means about `centre`.

    Args:
        n: rows of each cell.
        s: sums of the rewards.
        rows: of all cells.
        parent: rows of what each cell is part of.
        square: sum of squared rewards.
        centre: mean of what each cell is part of.
    """
    seen = n > 0
    n, s = n[seen], s[seen]
    parent = np.maximum(parent[seen], n)  # less only where hashes collide
    c = centre[seen] if isinstance(centre, np.ndarray) else centre
    means = s / n
    parents = float((n / parent).sum())  # each parent's cells add up to 1
    cells = len(n)
    # Cells of one row say nothing of the variance within them; for them that of all rows stands in, which is larger.
    inside = max(square - float((n * means**2).sum()), 0.0)
    inside += cells / rows * max(square - float(s.sum()) ** 2 / rows, 0.0)
    inside /= rows
    spread = float((n * (means - c) ** 2).sum()) - inside * (cells - parents)
    # One standard error less: with a row or two a cell, chance alone would look like a difference half of the time.
    spread -= inside * math.sqrt(2 * max(cells - parents, 0.0))
    room = rows - float((n**2 / parent).sum())
    if inside <= 0:
        return 1e-9 if spread > 0 else 1.0
    between = spread / room if room > 0 else 0.0
    return float(np.clip(inside / between if between > 0 else 1e9, 1e-9, 1e9))
