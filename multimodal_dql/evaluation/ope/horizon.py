"""Several estimators of steps over one pass of a log, and the gate: whether it can speak about a policy for so long.

What a session weighs is the product of the weights of its steps, so the overlap shrinks from step to step, and what
must suffice is the overlap at the last step that matters. Notation as in `steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.evaluation.multiple import holm
from multimodal_dql.evaluation.ope.base import Estimate, Estimator, check_confidence
from multimodal_dql.evaluation.ope.diagnostics import mean_error
from multimodal_dql.evaluation.ope.sketches import DistinctKeys
from multimodal_dql.evaluation.ope.steps import FQE, IIPS, PerDecisionDR, PerDecisionIPS, SlateIPS, Steps
from multimodal_dql.evaluation.ope.table import GroupTable
from multimodal_dql.evaluation.ope.verdict import Gate, Verdict, rounded, shortfall

__all__ = [
    "STEP_ESTIMATORS",
    "StepDiagnostics",
    "StepEvaluation",
    "StepOverlap",
    "StepResult",
    "step_verdict",
]

Array = NDArray[np.float64]

STEP_ESTIMATORS: Mapping[str, Callable[[float], Estimator]] = {
    "sips": SlateIPS,
    "iips": IIPS,
    "pdis": PerDecisionIPS,
    "pddr": PerDecisionDR,
    "fqe": FQE,
}
"""Estimators of steps by name, to be made with a discount."""
_MOST = 128
"""Steps that are looked at one by one; the last place stands for all beyond."""
_TAIL = 0.01
"""Share of the discounted steps that may lie beyond the horizon."""


@dataclass(frozen=True)
class StepDiagnostics:
    """What the weights say about a log of sessions and a target policy; tuples have one entry a step.

    Attributes:
        n: sessions.
        units: independent units, within 2 %.
        horizon: the step up to which overlap is asked for: the last one, or that beyond which a discount leaves less
            than 1 % of the steps' worth.
        effective: effective sample size of W_t, (sum W_t)^2 / sum W_t^2 (Kish 1965).
        effective_rewards: the same of the discounted sum of W r up to the step.
        largest_share: of the sum of W_t, by the heaviest session.
        mean_weight: of W_t; 1 when propensities are true and the log could show everything the target shows.
        step_weight: mean of w_t, which is 1 under the same conditions whatever went before.
        step_p: of the test that it is, Holm-adjusted over the steps.
    """

    n: int
    units: float
    horizon: int
    effective: tuple[float, ...]
    effective_rewards: tuple[float, ...]
    largest_share: tuple[float, ...]
    mean_weight: tuple[float, ...]
    step_weight: tuple[float, ...]
    step_p: tuple[float, ...]

    def shortfall(self, gate: Gate, steps: int) -> float:
        """How many times more sessions the overlap after so many steps asks for; 1 or less if these do."""
        t = steps - 1
        return shortfall(
            gate,
            units=self.units,
            effective=self.effective[t],
            effective_rewards=self.effective_rewards[t],
            largest_share=self.largest_share[t],
            mean_weight=self.mean_weight[t],
        )


class StepOverlap:
    """Accumulates what `StepDiagnostics` needs: constant memory, mergeable.

    Args:
        discount: of a step, in [0, 1].
    """

    def __init__(self, discount: float = 1.0) -> None:
        self.discount = discount
        self.steps = 0
        self.units = DistinctKeys()
        self.single = GroupTable(_MOST)  # w_t - 1
        # Sums of W, W^2, what was earned up to the step, and its square; after the last step they stay what they are.
        self.sums = np.zeros((4, _MOST))
        self.largest = np.zeros(_MOST)

    def add(self, part: Steps) -> None:
        """Add one part of a batch."""
        if not len(part):
            return
        T = part.reward.shape[1]
        shown = min(T, _MOST)
        places = [*range(shown - 1), T - 1]
        self.steps = max(self.steps, shown)
        self.units.add(part.hashed)
        self.single.add(part, part.chosen[:, :shown] / part.propensity[:, :shown] - 1)
        W = part.weights
        earned = np.cumsum(W * part.reward * self.discount ** np.arange(T), 1)[:, places]
        W = W[:, places]
        sums = np.stack([W.sum(0), (W**2).sum(0), earned.sum(0), (earned**2).sum(0)])
        self.sums += np.pad(sums, ((0, 0), (0, _MOST - shown)), mode="edge")
        self.largest = np.maximum(self.largest, np.pad(W.max(0), (0, _MOST - shown), mode="edge"))

    def merge(self, other: StepOverlap) -> Self:
        """Add what another has seen."""
        self.steps = max(self.steps, other.steps)
        self.units.merge(other.units)
        self.single.merge(other.single)
        self.sums += other.sums
        self.largest = np.maximum(self.largest, other.largest)
        return self

    def result(self) -> StepDiagnostics:
        """The diagnostics of what has been seen; raises `UsageError` for an empty log."""
        from scipy.special import ndtr

        sums, rows = self.single.held()
        n = float(rows.sum())
        if not n:
            raise UsageError(
                detail="there are no sessions to evaluate on; is the log empty?",
                detail_zh="没有可用于评估的会话；日志是否为空？",
            )
        T = self.steps
        gap, error = sums[:, :T].sum(0) / n, mean_error(sums[:, :T], rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(error > 0, np.abs(gap) / error, np.where(np.abs(gap) > 1e-9, np.inf, 0.0))
        weight, square, earned, earned_square = self.sums[:, :T]
        return StepDiagnostics(
            n=int(n),
            units=self.units.count(),
            horizon=self._horizon(T),
            effective=_ratio(weight**2, square),
            effective_rewards=_ratio(earned**2, earned_square),
            largest_share=_ratio(self.largest[:T], weight),
            mean_weight=tuple((weight / n).tolist()),
            step_weight=tuple((1 + gap).tolist()),
            step_p=tuple(holm(2 * ndtr(-z)).tolist()),
        )

    def _horizon(self, T: int) -> int:
        worth = np.cumsum(self.discount ** np.arange(T))
        return int(np.searchsorted(worth, (1 - _TAIL) * worth[-1])) + 1 if self.discount < 1 else T


def _ratio(over: Array, under: Array) -> tuple[float, ...]:
    return tuple(np.divide(over, under, out=np.zeros_like(over), where=under > 0).tolist())


def step_verdict(d: StepDiagnostics, gate: Gate | None = None) -> Verdict:
    """Judge a log of sessions by its diagnostics: the propensities first, then the overlap at the horizon."""
    g = gate or Gate()
    off = [t for t, p in enumerate(d.step_p) if p < g.calibration_p]
    if off:
        t = max(off, key=lambda t: abs(d.step_weight[t] - 1))
        return Verdict(
            False,
            f"the weights of step {t + 1} by itself have the mean {d.step_weight[t]:.3f} instead of 1 "
            f"(p = {d.step_p[t]:.2g}): the logged probabilities are wrong, or the log cannot show some of what the "
            "policy shows",
            f"第 {t + 1} 步自身的权重均值为 {d.step_weight[t]:.3f} 而非 1（p = {d.step_p[t]:.2g}）：记录的概率有误，"
            "或日志无法展示该策略的部分选择",
            "a log with the probabilities that were used when it was made, and some chance for every candidate",
            "换用一份记录了当时真实概率、且每个候选都有机会被展示的日志",
        )
    h = d.horizon
    short = d.shortfall(g, h)
    if short <= 1:
        return Verdict(
            True,
            f"{d.n:,} sessions count as {d.effective[h - 1]:,.0f} of this policy's own after {h} steps",
            f"{d.n:,} 个会话在 {h} 步之后相当于该策略自己的 {d.effective[h - 1]:,.0f} 个",
        )
    rows = d.n * short
    needed = math.ceil(rows) if rows < 1e15 and d.effective_rewards[h - 1] > 0 else None
    about = f"about {rounded(rows):,} such sessions" if needed else "far more sessions"
    about_zh = f"约 {rounded(rows):,} 个这样的会话" if needed else "多得多的会话"
    enough = max((k for k in range(1, h) if d.shortfall(g, k) <= 1), default=0)
    s = "s" if enough != 1 else ""
    fewer = f", or a question about the first {enough} step{s}, which this log can answer" if enough else ""
    fewer_zh = f"，或只问前 {enough} 步（这份日志可以回答）" if enough else ""
    return Verdict(
        False,
        f"too little overlap over {h} steps: {d.n:,} sessions count as {d.effective[0]:,.0f} of this policy's own "
        f"after the first step and as {d.effective[h - 1]:,.0f} after the last, with "
        f"{d.effective_rewards[h - 1]:,.0f} rewards among them",
        f"{h} 步的重叠太少：{d.n:,} 个会话在第一步之后相当于该策略自己的 {d.effective[0]:,.0f} 个，"
        f"最后一步之后只相当于 {d.effective[h - 1]:,.0f} 个，其中奖励约 {d.effective_rewards[h - 1]:,.0f} 次",
        f"{about}, or a log that chooses more often what this policy would choose{fewer}",
        f"{about_zh}，或一份更常选择该策略所选内容的日志{fewer_zh}",
        needed,
    )


@dataclass(frozen=True)
class StepResult:
    """What a log of sessions says about a policy.

    Attributes:
        estimates: by name.
        diagnostics: of the weights.
        verdict: whether the intervals can be believed.
        headline: name of the estimate to report: per-decision DR or IPS where the log can answer; else fitted-Q
            evaluation, whose interval is not to be believed either.
    """

    estimates: dict[str, Estimate]
    diagnostics: StepDiagnostics
    verdict: Verdict
    headline: str


class StepEvaluation:
    """An accumulator: `update` with sessions or slates, `merge` with other parts of the log, `result`.

    The gate asks for overlap of the whole product of weights, which every estimator but `iips` and `fqe` rests on;
    those two trade it for an assumption that no log can check.

    Args:
        names: of `STEP_ESTIMATORS`, or estimators of one's own.
        discount: of a step, in [0, 1].
        bootstraps: resamples for percentile intervals; 0 for none.
        seed: of the resamples.
        confidence: of all intervals.
        gate: thresholds of the verdict.
    """

    def __init__(
        self,
        names: Sequence[str | Estimator] = ("pdis",),
        *,
        discount: float = 1.0,
        bootstraps: int = 1000,
        seed: int = 0,
        confidence: float = 0.95,
        gate: Gate | None = None,
    ) -> None:
        check_confidence(confidence)
        made = [_make(name, discount) if isinstance(name, str) else name for name in names]
        self.estimators = {e.name: e for e in made}
        if not made or len(self.estimators) != len(made):
            raise UsageError(
                detail="name at least one estimator, and each once",
                detail_zh="请至少指定一个估计量，且不要重复",
            )
        self.overlap = StepOverlap(discount)
        self.bootstraps, self.seed, self.confidence, self.gate = bootstraps, seed, confidence, gate

    def update(self, batch: Steps) -> Self:
        """Add sessions."""
        for part in batch.parts():
            self.overlap.add(part)
            for estimator in self.estimators.values():
                estimator.add(part)
        return self

    def merge(self, other: StepEvaluation) -> Self:
        """Add what another evaluation of the same policy by the same estimators has seen."""
        same = list(self.estimators) == list(other.estimators)
        if not same or self.overlap.discount != other.overlap.discount:
            raise UsageError(
                detail="evaluations with other estimators or discounts cannot be merged",
                detail_zh="估计量或折扣不同的评估不能合并",
            )
        self.overlap.merge(other.overlap)
        for name, estimator in self.estimators.items():
            estimator.merge(other.estimators[name])
        return self

    def result(self) -> StepResult:
        """Estimates, diagnostics and verdict of what has been seen; raises `UsageError` for an empty log."""
        diagnostics = self.overlap.result()
        judged = step_verdict(diagnostics, self.gate)
        estimates = {
            name: estimator.result(confidence=self.confidence, bootstraps=self.bootstraps, seed=self.seed)
            for name, estimator in self.estimators.items()
        }
        wanted = [*(() if judged.answerable else ("fqe",)), "pddr", "cascade_dr", "pdis", "rips", "sips"]
        headline = next((name for name in wanted if name in estimates), next(iter(estimates)))
        return StepResult(estimates, diagnostics, judged, headline)


def _make(name: str, discount: float) -> Estimator:
    if name not in STEP_ESTIMATORS:
        raise UnknownNameError(kind="estimator", kind_zh="估计量", name=name, known=STEP_ESTIMATORS)
    return STEP_ESTIMATORS[name](discount)
