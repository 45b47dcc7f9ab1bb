"""How many sessions an experiment needs, what it can find with those it has, and its power in between.

Everything is a function of the drift, the mean of Z at the end of the experiment: a design (one look, several planned
looks, looks at any time) turns a drift into power, and sessions turn an effect into a drift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.designs import Design, Metric, make_design, normal_power, z_alpha

__all__ = ["Metric", "Power", "power", "power_of_means", "power_of_proportions", "sessions_needed"]

Correction = Literal["holm", "bonferroni", "none"]
_MOST_SESSIONS = 1e15
_MOST_ARMS = 1000


@dataclass(frozen=True)
class Power:
    """A plan. Effects are relative to the control's mean: .05 is "5 % more".

    Attributes:
        sessions_per_arm: on average over the arms, rounded up; every arm's when the shares are equal.
        sessions_by_arm: control first, (A,).
        sessions_total: their sum.
        expected_sessions: expected under the minimum effect, when a design may stop early; else `sessions_total`.
        power: of the weakest comparison of a treatment with the control, at `sessions_total` and `minimum_effect`.
        alpha: of the whole experiment.
        alpha_per_comparison: after correction for several treatments.
        minimum_effect: planned for.
        sessions: for which the next is computed: those given, else `sessions_total`.
        minimum_detectable_effect: smallest effect found with the target power; None when no effect is large enough.
        power_at_sessions: power for `minimum_effect` with `sessions`.
        inflation: sessions over those of one look with the same alpha and power.
        design: ``fixed``, ``group-sequential`` or ``anytime``.
        looks: planned; 0 for ``anytime``.
        z_bounds: what |Z| must reach at each look, the tuned end for ``anytime``.
        metric: what is measured.
        shares: of the arms, control first, (A,).
    """

    sessions_per_arm: int
    sessions_by_arm: tuple[int, ...]
    sessions_total: int
    expected_sessions: int
    power: float
    alpha: float
    alpha_per_comparison: float
    minimum_effect: float
    sessions: int
    minimum_detectable_effect: float | None
    power_at_sessions: float
    inflation: float
    design: str
    looks: int
    z_bounds: tuple[float, ...]
    metric: Metric
    shares: tuple[float, ...]


def power(
    metric: Metric,
    minimum_effect: float,
    *,
    target: float = 0.8,
    alpha: float = 0.05,
    arms: int = 2,
    treatment_shares: Sequence[float] = (),
    looks: int = 1,
    spending: str = "obrien-fleming",
    anytime: bool = False,
    correction: Correction = "holm",
    sessions: int | None = None,
) -> Power:
    """Plan an experiment of treatments against one control, two-sided.

    Args:
        metric: what is measured.
        minimum_effect: smallest relative effect worth finding, above -1, not 0.
        target: power, between alpha and 1.
        alpha: chance of any false winner.
        arms: control included, A.
        treatment_shares: of the traffic, one a treatment (or one for all); the control gets the rest. Equal by default.
        looks: planned looks, equally spaced; 1 is the end alone.
        spending: of alpha over the looks, see `sequential.group_sequential`.
        anytime: plan for a confidence sequence tuned to the planned sessions instead.
        correction: over the treatments. Holm is planned as Bonferroni, its first step: it can only do better.
        sessions: in total, for `minimum_detectable_effect`.

    Raises:
        UsageError: for arguments that make no experiment.
    """
    shares = _shares(arms, treatment_shares)
    _check(metric, minimum_effect, target, alpha, looks, anytime, sessions)
    each = alpha / (arms - 1) if correction != "none" else alpha
    design = make_design(each, looks, spending, anytime)

    def reached(total: float, effect: float, plan: Design = design) -> float:
        z = plan.z
        return min(
            plan.power(metric.drift(effect, shares[0] * total, share * total, z)) for share in set(shares[1:])
        )

    needed = sessions_needed(lambda total: reached(total, minimum_effect), target)
    fixed = Design("fixed", each)
    one_look = sessions_needed(lambda total: reached(total, minimum_effect, fixed), target)
    by_arm = tuple(max(2, math.ceil(share * needed - 1e-9)) for share in shares)
    total = sum(by_arm)
    smallest = min(shares[1:])
    drift = metric.drift(minimum_effect, shares[0] * total, smallest * total, design.z)
    expected = design.bounds.expected_fraction(drift) if design.bounds else 1.0
    given = total if sessions is None else sessions
    return Power(
        sessions_per_arm=math.ceil(total / arms),
        sessions_by_arm=by_arm,
        sessions_total=total,
        expected_sessions=math.ceil(expected * total),
        power=reached(total, minimum_effect),
        alpha=alpha,
        alpha_per_comparison=each,
        minimum_effect=minimum_effect,
        sessions=given,
        minimum_detectable_effect=_detectable(
            metric, lambda effect: reached(given, effect), target, math.copysign(1.0, minimum_effect)
        ),
        power_at_sessions=reached(given, minimum_effect),
        inflation=needed / one_look,
        design=design.name,
        looks=0 if anytime else looks,
        z_bounds=design.bounds.z_bounds if design.bounds else (design.z,),
        metric=metric,
        shares=shares,
    )


def sessions_needed(power_at: Callable[[float], float], target: float) -> float:
    """The number of sessions (not rounded) at which an increasing power reaches its target."""
    from scipy.optimize import brentq

    low, high = 2.0, 4.0
    if power_at(low) >= target:
        return low
    while power_at(high) < target:
        low, high = high, high * 4
        if high > _MOST_SESSIONS:
            raise UsageError(
                detail="no number of sessions finds so small an effect; choose a larger minimum effect",
                detail_zh="该效应过小，任何会话数都无法检出；请设定更大的最小效应",
            )
    return float(brentq(lambda n: power_at(n) - target, low, high, xtol=1e-6, rtol=1e-12))


def power_of_means(
    difference: float,
    sd: float,
    n_control: float,
    n_treatment: float,
    alpha: float = 0.05,
    *,
    student: bool = False,
) -> float:
    """Two-sided power for a difference of means, equal sd; with `student`, exact for the t test (noncentral t)."""
    drift = abs(difference) / (sd * math.sqrt(1 / n_control + 1 / n_treatment))
    if not student:
        return normal_power(drift, z_alpha(alpha))
    from scipy.special import nctdtr, stdtrit

    df = n_control + n_treatment - 2
    bound = stdtrit(df, 1 - alpha / 2)
    # Where a tail is too small for it, the noncentral t answers NaN instead of 0.
    wrong_side, missed = (float(nctdtr(df, drift, end)) for end in (-bound, bound))
    return 1 - (0.0 if math.isnan(missed) else missed) + (0.0 if math.isnan(wrong_side) else wrong_side)


def power_of_proportions(
    control: float, treatment: float, n_control: float, n_treatment: float, alpha: float = 0.05
) -> float:
    """Two-sided power of the pooled two-proportion z test (Fleiss, Levin & Paik 2003, section 4.2, uncorrected)."""
    z = z_alpha(alpha)
    metric = Metric(control, "bernoulli")
    return normal_power(metric.drift(treatment / control - 1, n_control, n_treatment, z), z)


def _detectable(
    metric: Metric, power_at: Callable[[float], float], target: float, sign: float
) -> float | None:
    """The smallest effect in a direction that is found with the target power."""
    from scipy.optimize import brentq

    largest = (1 - 1e-9) / metric.mean - 1 if metric.kind == "bernoulli" else 1e6
    most = largest if sign > 0 else 1 - 1e-9
    # Power need not rise all the way (the spread moves with the mean), so it is followed up to its first crossing.
    low = 0.0
    steps = [most * 2.0**-k for k in range(60, -1, -1)]
    for high in steps:
        if power_at(sign * high) >= target:
            found = brentq(lambda effect: power_at(sign * effect) - target, low, high, xtol=1e-12)
            return sign * float(found)
        low = high
    return None


def _shares(arms: int, treatment_shares: Sequence[float]) -> tuple[float, ...]:
    if not 2 <= arms <= _MOST_ARMS:
        raise UsageError(
            detail=f"an experiment has 2 to {_MOST_ARMS} arms, the control among them, not {arms}",
            detail_zh=f"实验应有 2 到 {_MOST_ARMS} 组（含对照组），而不是 {arms}",
        )
    if not treatment_shares:
        return (1 / arms,) * arms
    given = tuple(treatment_shares) * (arms - 1 if len(treatment_shares) == 1 else 1)
    if len(given) != arms - 1 or not all(share > 0 for share in given) or sum(given) >= 1:
        raise UsageError(
            detail=f"give one share for each of the {arms - 1} treatments (or one for all), above 0, together below 1: "
            "the control gets the rest",
            detail_zh=f"请为 {arms - 1} 个实验组各给一个份额（或共用一个），均大于 0 且合计小于 1；其余归对照组",
        )
    return (1 - sum(given), *given)


def _check(
    metric: Metric,
    effect: float,
    target: float,
    alpha: float,
    looks: int,
    anytime: bool,
    sessions: int | None,
) -> None:
    checks = (
        (
            -1 < effect < math.inf and effect != 0,
            f"the minimum effect is relative, above -1 and not 0 (.05 is 5 % more), not {effect:g}",
            f"最小效应是相对值，须大于 -1 且不为 0（0.05 即多 5%），而不是 {effect:g}",
        ),
        (
            metric.kind != "bernoulli" or metric.mean * (1 + effect) < 1,
            f"a click rate of {metric.mean:g} with an effect of {effect:+g} exceeds 1; "
            "give an sd or an overdispersion if these are clicks a session",
            f"点击率 {metric.mean:g} 加上效应 {effect:+g} 会超过 1；若为每次会话的点击数，请给出标准差或过度离散系数",
        ),
        (
            0 < alpha < 0.5,
            f"alpha lies between 0 and .5, not {alpha:g}",
            f"alpha 应在 0 与 0.5 之间，而不是 {alpha:g}",
        ),
        (
            alpha < target < 1,
            f"the power lies between alpha ({alpha:g}) and 1, not {target:g}",
            f"功效应在 alpha（{alpha:g}）与 1 之间，而不是 {target:g}",
        ),
        (looks >= 1, "there is at least 1 look", "至少要查看 1 次"),
        (
            not (anytime and looks > 1),
            "planned looks and looks at any time exclude each other; choose one",
            "计划查看与随时查看不能同时使用；请选择其一",
        ),
        (
            sessions is None or 4 <= sessions <= _MOST_SESSIONS,
            f"the sessions must number from 4 to {_MOST_SESSIONS:g}",
            f"会话总数应在 4 到 {_MOST_SESSIONS:g} 之间",
        ),
    )
    for holds, en, zh in checks:
        if not holds:
            raise UsageError(detail=en, detail_zh=zh)
