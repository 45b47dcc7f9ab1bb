"""Several estimators, the diagnostics and the gate over one pass of a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.evaluation.ope.base import (
    Estimate,
    Estimator,
    check_confidence,
    normal_interval,
    percentile_interval,
)
from multimodal_dql.evaluation.ope.decisions import Decisions
from multimodal_dql.evaluation.ope.diagnostics import Diagnostics, Overlap
from multimodal_dql.evaluation.ope.embedding import MIPS, SNMIPS
from multimodal_dql.evaluation.ope.estimators import PLAIN
from multimodal_dql.evaluation.ope.table import jackknife
from multimodal_dql.evaluation.ope.tuned import TUNED
from multimodal_dql.evaluation.ope.verdict import Gate, Verdict, verdict

__all__ = ["EMBEDDED", "ESTIMATORS", "MODEL_FREE", "Evaluation", "EvaluationResult", "choose"]

Array = NDArray[np.float64]

ESTIMATORS: Mapping[str, Callable[[], Estimator]] = {**PLAIN, **TUNED}
"""Estimators of single decisions by name."""
EMBEDDED: Mapping[str, Callable[[], Estimator]] = {e.name: e for e in (MIPS, SNMIPS)}
"""Those that need to know what candidates are like: `EmbeddedDecisions` or `ClusteredDecisions`."""
MODEL_FREE = ("ips", "snips", "cips")
"""Those that need no reward model and hold for any logging policy."""


@dataclass(frozen=True)
class EvaluationResult:
    """What a log says about a policy.

    Attributes:
        estimates: by name.
        diagnostics: of the weights.
        verdict: whether the intervals can be believed.
        headline: name of the estimate to report, by `choose`.
    """

    estimates: dict[str, Estimate]
    diagnostics: Diagnostics
    verdict: Verdict
    headline: str


class Evaluation:
    """An accumulator: `update` with batches of decisions, `merge` with other parts of the log, `result`.

    Args:
        names: of `ESTIMATORS` or `EMBEDDED`, or estimators of one's own.
        bootstraps: resamples for percentile intervals; 0 for none.
        seed: of the resamples.
        confidence: of all intervals.
        method: which interval is the main one of each estimate.
        reward_range: smallest and largest reward that can occur, for the any-time interval of ``ips``.
        weight_bound: largest weight that can occur, known beforehand: its empirical-Bernstein interval, and a tighter
            any-time one.
        unit_rows: most decisions that a unit can have, known beforehand. Without it the any-time interval assumes that
            none has more than the largest group of units in the log (``anytime_unit_rows`` in its details).
        gate: thresholds of the verdict.
    """

    def __init__(
        self,
        names: Sequence[str | Estimator] = MODEL_FREE,
        *,
        bootstraps: int = 1000,
        seed: int = 0,
        confidence: float = 0.95,
        method: Literal["normal", "bootstrap"] = "normal",
        reward_range: tuple[float, float] | None = None,
        weight_bound: float | None = None,
        unit_rows: int | None = None,
        gate: Gate | None = None,
    ) -> None:
        check_confidence(confidence)
        made = [make(name) if isinstance(name, str) else name for name in names]
        self.estimators = {e.name: e for e in made}
        if not made or len(self.estimators) != len(made):
            raise UsageError(
                detail="name at least one estimator, and each once",
                detail_zh="请至少指定一个估计量，且不要重复",
            )
        self.overlap = Overlap(reward_range)
        self.bootstraps, self.seed, self.confidence = bootstraps, seed, confidence
        self.method: Literal["normal", "bootstrap"] = method
        self.weight_bound, self.unit_rows, self.gate = weight_bound, unit_rows, gate

    def update(self, batch: Decisions) -> Self:
        """Add decisions; they are read once, in parts that share what the estimators have in common."""
        for part in batch.parts():
            self.overlap.add(part)
            for estimator in self.estimators.values():
                estimator.add(part)
        return self

    def merge(self, other: Evaluation) -> Self:
        """Add what another evaluation of the same policy by the same estimators has seen."""
        if list(self.estimators) != list(other.estimators) or (
            self.overlap.reward_range != other.overlap.reward_range
        ):
            raise UsageError(
                detail="evaluations with other estimators or reward ranges cannot be merged",
                detail_zh="估计量或奖励范围不同的评估不能合并",
            )
        self.overlap.merge(other.overlap)
        for name, estimator in self.estimators.items():
            estimator.merge(other.estimators[name])
        return self

    def result(self) -> EvaluationResult:
        """Estimates, diagnostics and verdict of what has been seen; raises `UsageError` for an empty log."""
        estimates = {
            name: estimator.result(
                confidence=self.confidence, method=self.method, bootstraps=self.bootstraps, seed=self.seed
            )
            for name, estimator in self.estimators.items()
        }
        if "ips" in estimates:
            bounds, rests = self.overlap.bounds(self.confidence, self.weight_bound, self.unit_rows)
            ips = estimates["ips"]
            estimates["ips"] = replace(
                ips, intervals={**ips.intervals, **bounds}, details={**ips.details, **rests}
            )
        diagnostics = self.overlap.result()
        judged = verdict(diagnostics, self.gate)
        return EvaluationResult(
            estimates=estimates,
            diagnostics=diagnostics,
            verdict=judged,
            headline=choose(list(estimates), judged.answerable),
        )

    def difference(self, other: Evaluation) -> dict[str, Estimate]:
        """The value of this policy less another's on the same rows, paired: what both share cancels.

        Args:
            other: an evaluation of the other policy on exactly the same rows.

        Returns:
            by name, for the estimators that both have.

        Raises:
            UsageError: for other rows, or no estimator in common.
        """
        mine, theirs = self.overlap.table.rows, other.overlap.table.rows
        if not np.array_equal(mine, theirs):
            raise UsageError(
                detail="a paired difference needs the same decisions on both sides",
                detail_zh="配对差异需要两侧使用相同的决策",
            )
        common = [name for name in self.estimators if name in other.estimators]
        if not common:
            raise UsageError(
                detail="the two evaluations have no estimator in common",
                detail_zh="两次评估没有共同的估计量",
            )
        return {name: self._paired(name, other) for name in common}

    def _paired(self, name: str, other: Evaluation) -> Estimate:
        a, b = self.estimators[name], other.estimators[name]
        (first, rows), (second, _) = a.held(), b.held()
        a.tune()
        b.tune()

        def gap(sums: Array, count: Array) -> Array:
            return np.asarray(a.value(sums[..., : a.table.width], count)) - np.asarray(
                b.value(sums[..., a.table.width :], count)
            )

        both = np.concatenate([first, second], 1)
        value = float(gap(both.sum(0), rows.sum()))
        _, error, df = jackknife(gap, both, rows)
        intervals = {"normal": normal_interval(value, error, df, self.confidence)}
        if self.bootstraps:
            draws = a.resampled(self.bootstraps, self.seed) - b.resampled(self.bootstraps, self.seed)
            intervals["bootstrap"] = percentile_interval(draws, self.confidence)
        low, high = intervals[self.method if self.method in intervals else "normal"]
        return Estimate(
            name=name,
            value=value,
            standard_error=error,
            low=low,
            high=high,
            method=self.method if self.method in intervals else "normal",
            confidence=self.confidence,
            n=int(rows.sum()),
            groups=len(rows),
            intervals=intervals,
        )


def make(name: str) -> Estimator:
    """An estimator by name; raises `UnknownNameError`, which suggests the nearest."""
    known = {**ESTIMATORS, **EMBEDDED}
    if name not in known:
        raise UnknownNameError(kind="estimator", kind_zh="估计量", name=name, known=known)
    return known[name]()


def choose(names: Sequence[str], answerable: bool) -> str:
    """The estimate to report, without a look at any truth.

    Self-normalised DR where the log can answer: hardly biased, and its interval keeps its promise. Where it cannot, no
    interval is to be believed anyway, and DR with optimistic shrinkage has the smallest error (`bench ope-coverage`).
    Without a reward model SNIPS. Otherwise the first name.
    """
    wanted = ("sndr", "dr", "snips", "ips") if answerable else ("dr_os", "sndr", "dr", "snips", "ips")
    return next((name for name in wanted if name in names), next(iter(names)))
