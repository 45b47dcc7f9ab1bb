"""The seam of off-policy evaluation: an estimator is a formula over sums of per-row terms.

A new one states `rows` (its terms) and `value` (the formula of its paper); accumulating, merging, standard errors and
the bootstrap are inherited.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope.table import GroupTable, bootstrap_counts, jackknife

__all__ = ["Estimate", "Estimator", "Method"]

Array = NDArray[np.float64]
Method = Literal["normal", "bootstrap", "bernstein", "anytime"]


@dataclass(frozen=True)
class Estimate:
    """The value of a policy with an interval.

    Attributes:
        name: of the estimator.
        value: estimated mean reward a decision.
        standard_error: of the value, units kept together.
        low: lower end of the interval.
        high: upper end.
        method: that made `low` and `high`.
        confidence: of every interval, e.g. .95.
        n: decisions.
        groups: groups of units behind the standard error.
        intervals: ends by every method that applies to this estimator.
        details: what else the estimator has to say, e.g. the tuned parameter.
    """

    name: str
    value: float
    standard_error: float
    low: float
    high: float
    method: Method
    confidence: float
    n: int
    groups: int
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    details: Mapping[str, float] = field(default_factory=dict)


class Estimator(ABC):
    """An accumulator of decisions: `update` with batches, `merge` with others, `result` at any time.

    Attributes:
        name: by which it is known.
        width: number of terms, d.
        needs_model: whether batches must come with predicted rewards.
    """

    name: str
    width: int = 1
    needs_model: ClassVar[bool] = False

    def __init__(self) -> None:
        self.table = GroupTable(self.width)

    @abstractmethod
    def rows(self, batch: Any) -> Array:
        """Terms of each row of a batch, (B, d)."""

    @abstractmethod
    def value(self, sums: Array, count: Array) -> Array:
        """The formula: sums of terms (..., d) and numbers of rows (...) to values (...)."""

    def settings(self) -> tuple[Any, ...]:
        """What two estimators must share to be merged."""
        return ()

    def tune(self) -> None:  # noqa: B027  (most have nothing to tune)
        """Fix what is chosen from the whole table before `value` is used."""

    def details(self) -> dict[str, float]:
        """What else there is to say about the estimate."""
        return {}

    def update(self, batch: Any) -> Self:
        """Add decisions; any batch size and order gives the same result to 1e-12."""
        for part in batch.parts():
            self.add(part)
        return self

    def add(self, part: Any) -> None:
        """Add one part of a batch."""
        self.table.add(part, self.rows(part))

    def merge(self, other: Estimator) -> Self:
        """Add what another estimator of the same kind has seen; raises `UsageError` for another kind."""
        if type(other) is not type(self) or other.settings() != self.settings():
            raise UsageError(
                detail=f"'{other.name}' cannot be merged into '{self.name}': another estimator or other settings",
                detail_zh=f"“{other.name}” 不能并入 “{self.name}”：估计量或设置不同",
            )
        self.table.merge(other.table)
        return self

    def result(
        self,
        *,
        confidence: float = 0.95,
        method: Literal["normal", "bootstrap"] = "normal",
        bootstraps: int = 0,
        seed: int = 0,
    ) -> Estimate:
        """The estimate from what has been seen.

        Args:
            confidence: of the intervals, in (0, 1).
            method: which interval is the main one.
            bootstraps: resamples of groups for the percentile interval; 0 leaves it out unless it is the main one.
            seed: of the resamples.

        Raises:
            UsageError: nothing has been seen, or a confidence that is none.
        """
        check_confidence(confidence)
        sums, rows = self.held()
        self.tune()
        value = float(self.value(sums.sum(0), rows.sum()))
        _, error, df = jackknife(self.value, sums, rows)
        intervals = {"normal": normal_interval(value, error, df, confidence)}
        if bootstraps or method == "bootstrap":
            draws = self.resampled(bootstraps or 1000, seed)
            intervals["bootstrap"] = percentile_interval(draws, confidence)
        low, high = intervals[method]
        return Estimate(
            name=self.name,
            value=value,
            standard_error=error,
            low=low,
            high=high,
            method=method,
            confidence=confidence,
            n=int(rows.sum()),
            groups=len(rows),
            intervals=intervals,
            details=self.details(),
        )

    def resampled(self, bootstraps: int, seed: int = 0) -> Array:
        """Values of resampled logs, (bootstraps,): groups drawn with replacement (Efron 1979), all at once."""
        sums, rows = self.held()
        counts = bootstrap_counts(bootstraps, len(rows), seed)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.value(counts @ sums, counts @ rows)

    def held(self) -> tuple[Array, Array]:
        """Sums and rows of the groups that hold any; raises `UsageError` when none does."""
        sums, rows = self.table.held()
        if not len(rows):
            raise UsageError(
                detail="there are no decisions to evaluate on; is the log empty?",
                detail_zh="没有可用于评估的决策；日志是否为空？",
            )
        return sums, rows


def check_confidence(confidence: float) -> None:
    """Raise `UsageError` unless 0 < confidence < 1."""
    if not 0 < confidence < 1:
        raise UsageError(
            detail=f"confidence lies between 0 and 1, e.g. .95, not {confidence:g}",
            detail_zh=f"置信水平应在 0 与 1 之间，例如 0.95，而不是 {confidence:g}",
        )


def normal_interval(value: float, error: float, df: float, confidence: float) -> tuple[float, float]:
    """Student's interval; unbounded where the error is unknown."""
    from scipy.special import stdtrit

    half = float(stdtrit(df, (1 + confidence) / 2)) * error
    return (value - half, value + half) if np.isfinite(half) else (-np.inf, np.inf)


def percentile_interval(draws: Array, confidence: float) -> tuple[float, float]:
    """Percentile interval of resampled values; those without a value (no weight drawn) are left out."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return -np.inf, np.inf
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
