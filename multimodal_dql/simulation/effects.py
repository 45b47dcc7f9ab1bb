"""What is asked of an experiment, and the effect of one arm against another with its interval, look by look."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.evaluation.anytime import always_valid_p, anytime_interval, best_rho
from multimodal_dql.evaluation.cuped import cuped
from multimodal_dql.evaluation.means import (
    Effect,
    mean_estimate,
    paired_difference,
    relative_difference,
    with_ratio,
)
from multimodal_dql.evaluation.moments import Summary
from multimodal_dql.evaluation.sequential import group_sequential
from multimodal_dql.simulation.experiment import Collected

__all__ = ["OUTCOMES", "Analysis", "Reading", "Rule", "ends", "interval", "of_arm", "read", "variable"]

OUTCOMES: dict[str, tuple[str, str | None]] = {
    "clicks": ("clicks", None),
    "click_rate": ("clicks", "impressions"),
    "dwell_seconds": ("dwell_seconds", None),
    "satisfaction": ("satisfaction", "impressions"),
    "conversions": ("conversions", None),
    "conversion_value": ("conversion_value", None),
    "return": ("came_back", None),
    "stories": ("impressions", None),
}
"""Outcomes a session: numerator and, for a ratio of two means, denominator. ``return`` is the share of users
who come back after their first visit."""

COUNTS = ("clicks", "conversions", "came_back")
EARLIEST = 40
"""Clicks (or whatever the outcome counts) that each arm needs before a result is read early: the laws behind
early stopping hold for many."""

FEWEST = 5
"""The same for the further outcomes and groups of users, below which no interval is given."""

Rule = Literal["fixed", "group-sequential", "anytime"]


@dataclass(frozen=True)
class Analysis:
    """What is asked of an experiment, fixed before it runs.

    Attributes:
        against: the arm that all others are compared with.
        outcome: one of `OUTCOMES`.
        minimum_effect: smallest relative effect that would matter.
        alpha: chance of a false winner, over all comparisons and looks together.
        rule: ``fixed`` reads the result once, at the end; ``group-sequential`` may stop at each planned look
            (O'Brien-Fleming spending); ``anytime`` may be read and stopped whenever one likes.
        planned_error: standard error of the relative effect expected at the planned end; for ``anytime``.
    """

    against: str
    outcome: str = "clicks"
    minimum_effect: float = 0.01
    alpha: float = 0.05
    rule: Rule = "fixed"
    planned_error: float = 0.05

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise UnknownNameError(kind="outcome", kind_zh="结果指标", name=self.outcome, known=OUTCOMES)
        if self.rule not in ("fixed", "group-sequential", "anytime"):
            raise UnknownNameError(
                kind="rule",
                kind_zh="停止规则",
                name=self.rule,
                known=("fixed", "group-sequential", "anytime"),
            )
        if not (math.isfinite(self.minimum_effect) and self.minimum_effect >= 0):
            raise UsageError(
                detail="the minimum useful effect is a share, for example .01 for 1 %, and not negative",
                detail_zh="最小有用效应是一个比例，例如 0.01 表示 1%，且不得为负",
            )


@dataclass(frozen=True)
class Reading:
    """An effect with its standard error, before any interval is put around it."""

    effect: Effect
    crn: float | None = None
    explained: float | None = None


def of_arm(summaries: Mapping[str, Summary], arm: str) -> Summary:
    """The summary that holds an arm's variables."""
    return summaries[arm] if arm in summaries else summaries[""]


def variable(summary: Summary, arm: str, outcome: str, design: str) -> tuple[Summary, str]:
    """The summary with the outcome of an arm as one variable, and its name.

    In the paired design clicks are counted as the simulator knows them, as probabilities: the mean is the same and the
    noise of the coin is gone. A live test, and so the randomised design, sees coins.
    """
    numerator, denominator = OUTCOMES[outcome]
    if numerator == "clicks" and design == "paired":
        numerator = "expected_clicks"
    name = f"{arm}:{numerator}"
    if denominator is None:
        return summary, name
    ratio = f"{arm}={outcome}"
    return with_ratio(summary, ratio, name, f"{arm}:{denominator}"), ratio


def read(
    collected: Collected,
    summaries: Mapping[str, Summary],
    arm: str,
    analysis: Analysis,
    outcome: str | None = None,
) -> Reading:
    """The relative effect of an arm on an outcome, 95 % interval."""
    outcome, against, design = outcome or analysis.outcome, analysis.against, collected.plan.design
    if design == "paired":
        summary, treatment = variable(summaries[""], arm, outcome, design)
        summary, control = variable(summary, against, outcome, design)
        pair = paired_difference(summary, control, treatment)
        return Reading(pair.relative, crn=pair.crn_variance_ratio)
    t, treatment = variable(summaries[arm], arm, outcome, design)
    c, control = variable(summaries[against], against, outcome, design)
    # One name for the outcome and one for what was known before, so that both arms are adjusted alike.
    t = t.extend("y", {treatment: 1.0}).extend("x", {f"{arm}:earlier": 1.0}).select(("y", "x"))
    c = c.extend("y", {control: 1.0}).extend("x", {f"{against}:earlier": 1.0}).select(("y", "x"))
    if min(t.n, c.n) < 3:
        return Reading(relative_difference(mean_estimate(c, "y"), mean_estimate(t, "y"), method="log"))
    adjusted = cuped(c, t, "y", ["x"])
    effect = relative_difference(adjusted.control, adjusted.treatment, method="log")
    return Reading(effect, explained=adjusted.variance_reduction)


def ends(
    collected: Collected,
    analysis: Analysis,
    arm: str,
    looks: list[tuple[int, dict[str, Summary]]],
    comparisons: int,
) -> tuple[tuple[tuple[int, float, float, float], ...], tuple[float, float], float]:
    """The curve over the looks, the interval in force at the last one, and its p-value."""
    alpha = analysis.alpha / max(comparisons, 1)
    readings: list[Effect] = []
    for i, (_, summaries) in enumerate(looks):
        key = (arm, analysis.against + "/" + analysis.outcome, i)
        if key not in collected.readings:
            collected.readings[key] = read(collected, summaries, arm, analysis).effect
        readings.append(collected.readings[key])
    logs = [log_effect(r, collected.plan.design) for r in readings]
    # On the logarithm: with few clicks a ratio is too skewed to be looked at again and again (`anytime_relative`).
    values, errors = np.array([v for v, _ in logs]), np.array([e for _, e in logs])
    if analysis.rule == "anytime":
        rho = best_rho(1.0 / analysis.planned_error**2, alpha)
        low, high = anytime_interval(values, errors, rho, alpha)
        p = float(always_valid_p(values, errors, rho)[-1])
    else:
        z = _quantiles(collected, analysis, alpha, readings)
        low, high = values - z * errors, values + z * errors
        p = _two_sided(values[-1], errors[-1], readings[-1])
    if analysis.rule != "fixed":
        enough = np.array([_counted(collected, s, arm, analysis) >= EARLIEST for _, s in looks])
        low, high = np.where(enough, low, -math.inf), np.where(enough, high, math.inf)
    low, high = np.where(np.isfinite(low), low, -math.inf), np.where(np.isfinite(high), high, math.inf)
    values, low, high = _relative(values), _relative(low), _relative(high)
    curve = tuple(
        (done, float(v), float(a), float(b))
        for (done, _), v, a, b in zip(looks, values, low, high, strict=True)
    )
    return curve, (float(low[-1]), float(high[-1])), p


def log_effect(effect: Effect, design: str) -> tuple[float, float]:
    """Logarithm of the ratio and its standard error; NaN where there is no ratio to speak of."""
    if not effect.value > -1 or not math.isfinite(effect.standard_error):
        return math.nan, math.nan
    # `relative_difference` gives the error of the logarithm, `paired_difference` that of the ratio.
    scale = 1.0 + effect.value if design == "paired" else 1.0
    return math.log1p(effect.value), effect.standard_error / scale


def interval(
    collected: Collected, summaries: Mapping[str, Summary], arm: str, analysis: Analysis
) -> tuple[float, float, float]:
    """Relative effect with its 95 % interval; unbounded where an arm has too few clicks, or whatever is counted."""
    from scipy.special import stdtrit

    effect = read(collected, summaries, arm, analysis).effect
    value, error = log_effect(effect, collected.plan.design)
    if math.isnan(error) or not effect.df > 0 or _counted(collected, summaries, arm, analysis) < FEWEST:
        return effect.value, -1.0, math.inf
    half = float(stdtrit(effect.df, 0.975)) * error
    low, high = _relative(np.array([value - half, value + half]))
    return effect.value, float(low), float(high)


def _two_sided(value: float, error: float, effect: Effect) -> float:
    """The p-value that goes with the interval: of the logarithm, by Student's law."""
    from scipy.special import stdtr

    if not error > 0 or not effect.df > 0:
        return effect.p
    return float(2.0 * stdtr(effect.df, -abs(value) / error))


def _relative(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """``e^x - 1``, infinite where a float cannot hold it."""
    return np.where(logs > 700.0, math.inf, np.expm1(np.minimum(logs, 700.0)))


def _counted(collected: Collected, summaries: Mapping[str, Summary], arm: str, analysis: Analysis) -> float:
    """Clicks, conversions or whatever is counted in the smaller of two arms; sessions where the outcome is no count."""
    numerator = OUTCOMES[analysis.outcome][0]
    counts = []
    for name in (arm, analysis.against):
        summary = of_arm(summaries, name)
        each = summary.mean(f"{name}:{numerator}") if numerator in COUNTS else 1.0
        counts.append(summary.n * each)
    return min(counts)


def _quantiles(
    collected: Collected, analysis: Analysis, alpha: float, readings: list[Effect]
) -> NDArray[np.float64]:
    """Standard errors to go each side, at each look: Student's quantile, or the group-sequential bound."""
    from scipy.special import stdtrit

    if analysis.rule == "group-sequential":
        planned = collected.plan.sessions
        step = planned / min(collected.plan.looks, planned)
        times = [done / planned for done, _ in collected.looks]
        rest = [
            k * step / planned
            for k in range(1, round(planned / step) + 1)
            if k * step / planned > times[-1] + 1e-9
        ]
        bounds = group_sequential([*[*times, *rest][:-1], 1.0], alpha).z_bounds
        return np.array(bounds[: len(readings)])
    return np.array([float(stdtrit(r.df, 1 - alpha / 2)) if r.df > 0 else math.inf for r in readings])
