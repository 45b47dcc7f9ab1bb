"""Estimators with a parameter that trades bias against variance, and how it is chosen from the log.

Every value of the grid is summed in the same pass; the choice is made at the end, so these merge like the others.
Notation as in `estimators`: w weight, r reward, q predicted reward of what was shown, d predicted reward of the target.
L values of the grid, from the most biased (0) to the unbiased (infinity).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope.base import Estimator
from multimodal_dql.evaluation.ope.decisions import Decisions

__all__ = ["ClippedIPS", "DRos", "SwitchDR", "Tuned", "mse_bound", "slope"]

Array = NDArray[np.float64]
Tuning = Literal["slope", "mse", "mse-bound"]
INF = float("inf")
CLIPS = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0, INF)
THRESHOLDS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0, INF)
SHRINKAGES = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 1e5, INF)


def slope(values: Array, errors: Array, width: float = 1.0) -> int:
    """Lepski's choice among estimates whose bias grows while their error shrinks (Su, Srinath & Krishnamurthy 2020).

    With an interval around each value, from the least biased on, the last one whose interval still meets the
    intersection of all before it (their eq. 4). Their guarantee for the worst case takes intervals of twice a bound
    that holds with high probability, 3.9 standard errors; that much bias passes unseen, and a mean squared error is
    lowest where bias and error are alike.

    Args:
        values: estimates, the least biased first, (L,).
        errors: their standard errors, (L,).
        width: half an interval, in standard errors.

    Returns:
        the position chosen; 0 when nothing is known of the errors.
    """
    half = width * errors
    low = np.maximum.accumulate(values - half)
    high = np.minimum.accumulate(values + half)
    meets = low <= high
    return int(len(values) - 1 if meets.all() else max(int(meets.argmin()) - 1, 0))


def mse_bound(
    values: Array, variances: Array, unbiased: float, n: int, mean_square: float, largest: float, delta: float
) -> Array:
    """Estimated mean squared error, ``variance + (|value - unbiased| + b)^2``, (L,) (Su, Dimakopoulou et al. 2020).

    The bias is at most what is seen of it, ``|value - unbiased|``, and a Bernstein term
    ``b = sqrt(2 E[w^2] log(2 / delta) / n) + 2 max w log(2 / delta) / (3 n)``; b = 0 when delta is 0.

    Args:
        values: biased estimates, (L,).
        variances: of them, (L,).
        unbiased: the doubly robust estimate.
        n: rows.
        mean_square: of the weights.
        largest: weight.
        delta: chance that the bound fails, or 0 for no bound.
    """
    log = np.log(2 / delta) if delta > 0 else 0.0
    extra = np.sqrt(2 * mean_square * log / n) + 2 * largest * log / (3 * n)
    return np.asarray(variances + (np.abs(values - unbiased) + extra) ** 2, np.float64)


class Tuned(Estimator):
    """An estimator ``sum(term(lambda)) / n`` for each lambda of a grid; one of them is chosen at the end.

    Standard errors and the bootstrap take the choice as given.

    Args:
        grid: values of lambda, 0 or more, infinity allowed; a single one is used as it is.
        tuning: ``slope`` (Su, Srinath & Krishnamurthy 2020), ``mse`` or ``mse-bound`` (the estimated, or bounded, mean
            squared error: Su, Dimakopoulou, Krishnamurthy & Dudik 2020, section 5).
        delta: chance that the bound of ``mse-bound`` fails.
    """

    default: ClassVar[tuple[float, ...]] = ()
    slope_width: ClassVar[float] = 1.0

    def __init__(
        self, grid: Sequence[float] | float | None = None, *, tuning: Tuning = "slope", delta: float = 0.05
    ) -> None:
        given = self.default if grid is None else (grid,) if isinstance(grid, int | float) else tuple(grid)
        if not given or not all(value >= 0 for value in given) or len(set(given)) != len(given):
            raise UsageError(
                detail=f"the grid of '{self.name}' needs different values of 0 or more",
                detail_zh=f"“{self.name}” 的参数网格需要互不相同且非负的数值",
            )
        if tuning not in ("slope", "mse", "mse-bound") or not 0 < delta < 1:
            raise UsageError(
                detail="tuning is slope, mse or mse-bound, and delta lies between 0 and 1",
                detail_zh="tuning 应为 slope、mse 或 mse-bound，delta 应在 0 与 1 之间",
            )
        self.grid = tuple(sorted(float(value) for value in given))
        self.tuning: Tuning = tuning
        self.delta = delta
        self.index = len(self.grid) - 1
        self.largest = 0.0
        L = len(self.grid)
        self._scored = L > 1 and tuning != "slope"
        self.width = L * (2 if self._scored else 1) + 2 * self._scored
        super().__init__()

    @abstractmethod
    def terms(self, batch: Any) -> Array:
        """The term of each row for each lambda of the grid, (B, L)."""

    def unbiased(self, batch: Any) -> Array:
        """The term of each row at lambda = infinity, (B,)."""
        return np.asarray(batch.direct + batch.weight * batch.residual)

    def settings(self) -> tuple[Any, ...]:
        """Grid and rule."""
        return (self.grid, self.tuning, self.delta)

    def rows(self, batch: Any) -> Array:
        """The terms; and for the scores their squares, the unbiased term and w^2."""
        found = self.terms(batch)
        if not self._scored:
            return found
        more = (found**2, self.unbiased(batch)[:, None], batch.weight[:, None] ** 2)
        return np.concatenate([found, *more], 1)

    def add(self, part: Any) -> None:
        """See `Estimator`."""
        self.largest = max(self.largest, float(part.weight.max(initial=0.0)))
        super().add(part)

    def merge(self, other: Estimator) -> Self:
        """See `Estimator`."""
        super().merge(other)
        assert isinstance(other, Tuned)
        self.largest = max(self.largest, other.largest)
        return self

    def value(self, sums: Array, count: Array) -> Array:
        """The mean of the chosen term."""
        return np.asarray(sums[..., self.index] / count)

    def curve(self) -> tuple[Array, Array]:
        """Value and standard error for every lambda of the grid, (L,) each."""
        sums, rows = self.held()
        L, G = len(self.grid), len(rows)
        total, n = sums[:, :L].sum(0), rows.sum()
        if G < 2:
            return total / n, np.full(L, np.nan)
        left = (total - sums[:, :L]) / (n - rows)[:, None]
        errors = np.sqrt((G - 1) / G * ((left - left.mean(0)) ** 2).sum(0))
        return total / n, np.asarray(errors, np.float64)

    def tune(self) -> None:
        """Choose lambda."""
        L = len(self.grid)
        if L == 1:
            self.index = 0
        elif self.tuning == "slope":
            values, errors = self.curve()
            self.index = L - 1 - slope(values[::-1], np.nan_to_num(errors[::-1], nan=INF), self.slope_width)
        else:
            sums, rows = self.held()
            total, n = sums.sum(0), int(rows.sum())
            values = total[:L] / n
            variances = np.maximum(total[L : 2 * L] / n - values**2, 0) / n
            delta = self.delta if self.tuning == "mse-bound" else 0.0
            scores = mse_bound(
                values, variances, total[2 * L] / n, n, total[2 * L + 1] / n, self.largest, delta
            )
            self.index = int(scores.argmin())

    def details(self) -> dict[str, float]:
        """The lambda that was used."""
        return {"lambda": self.grid[self.index]}


class SwitchDR(Tuned):
    """SWITCH-DR, ``sum(d + w 1[w <= lambda] (r - q)) / n`` (Wang, Agarwal & Dudik 2017, eq. 4).

    Trusts the model where the weight exceeds lambda, and there has the model's bias; infinity is DR, 0 the direct
    method (except where w is 0).
    """

    name, needs_model, default = "switch_dr", True, THRESHOLDS

    def terms(self, batch: Decisions) -> Array:
        """See the class."""
        correction = (batch.weight * batch.residual)[:, None]
        kept = batch.weight[:, None] <= np.asarray(self.grid)
        return np.asarray(batch.direct[:, None] + kept * correction, np.float64)


class DRos(Tuned):
    """DR with optimistic shrinkage, ``sum(d + lambda w / (w^2 + lambda) (r - q)) / n`` (Su, Dimakopoulou,
    Krishnamurthy & Dudik 2020, eq. 8).

    Large weights are shrunk, so the model's bias shows where they are; infinity is DR, 0 the direct method.
    """

    name, needs_model, default = "dr_os", True, SHRINKAGES

    def terms(self, batch: Decisions) -> Array:
        """See the class."""
        correction = (batch.weight * batch.residual)[:, None]
        square = batch.weight[:, None] ** 2
        grid = np.asarray(self.grid)
        shrunk = (grid > 0) & np.isfinite(grid)
        found = np.empty((len(batch), len(grid)))
        found[:, shrunk] = correction * (grid[shrunk] / (square + grid[shrunk]))
        found[:, grid == 0] = 0.0
        found[:, np.isinf(grid)] = correction
        found += batch.direct[:, None]
        return found


class ClippedIPS(Tuned):
    """IPS with weights cut off, ``sum(min(w, lambda) r) / n`` (Ionides 2008; Bottou et al. 2013, section 4.5).

    Biased downwards, for rewards of 0 or more, by at most the mean weight that was cut times the largest reward;
    `details` gives that bound (`bias_bound`), the share of rows that were cut (`clipped_rows`) and the weight that
    was lost (`clipped_weight`). As the mean weight is 1, what is missing to 1 counts as cut: the heaviest rows of a
    target that the log hardly overlaps are those that were not drawn.
    """

    name, default = "cips", CLIPS
    slope_width = 0.5  # the bias of all has one sign, and builds up unseen

    def __init__(
        self, grid: Sequence[float] | float | None = None, *, tuning: Tuning = "slope", delta: float = 0.05
    ) -> None:
        super().__init__(grid, tuning=tuning, delta=delta)
        self.reward = 0.0
        self._scores = self.width
        self.width += 2 * len(self.grid) + 1
        Estimator.__init__(self)

    def unbiased(self, batch: Decisions) -> Array:
        """Terms: w r."""
        return np.asarray(batch.weight * batch.reward)

    def terms(self, batch: Decisions) -> Array:
        """See the class."""
        return np.asarray(np.minimum(batch.weight[:, None], self.grid) * batch.reward[:, None], np.float64)

    def rows(self, batch: Decisions) -> Array:
        """Those of `Tuned`; the weight kept, whether it was cut, and the weight itself."""
        weight = batch.weight[:, None]
        kept = np.minimum(weight, self.grid)
        return np.concatenate([super().rows(batch), kept, (weight > kept).astype(np.float64), weight], 1)

    def add(self, part: Decisions) -> None:
        """See `Estimator`."""
        self.reward = max(self.reward, float(np.abs(part.reward).max(initial=0.0)))
        super().add(part)

    def merge(self, other: Estimator) -> Self:
        """See `Estimator`."""
        super().merge(other)
        assert isinstance(other, ClippedIPS)
        self.reward = max(self.reward, other.reward)
        return self

    def details(self) -> dict[str, float]:
        """How much was cut, and the bound that follows."""
        sums, rows = self.held()
        means = sums.sum(0)[self._scores :] / rows.sum()
        kept, weight = float(means[self.index]), float(means[-1])
        finite = np.isfinite(self.grid[self.index])
        missing = max(weight, 1.0) - kept if finite else 0.0
        return {
            **super().details(),
            "clipped_rows": float(means[len(self.grid) + self.index]),
            "clipped_weight": weight - kept,
            "bias_bound": missing * self.reward,
        }


TUNED: dict[str, type[Tuned]] = {e.name: e for e in (ClippedIPS, SwitchDR, DRos)}
