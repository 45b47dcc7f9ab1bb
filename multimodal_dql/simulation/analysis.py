"""From collected sessions to a verdict: effects with intervals, corrected for many arms and many looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from multimodal_dql.errors import UnknownNameError
from multimodal_dql.evaluation.endings import ending
from multimodal_dql.evaluation.means import Estimate, mean_estimate
from multimodal_dql.evaluation.moments import Summary
from multimodal_dql.evaluation.multiple import holm
from multimodal_dql.evaluation.proportions import sample_ratio_p
from multimodal_dql.simulation.effects import OUTCOMES, Analysis, ends, interval, of_arm, read, variable
from multimodal_dql.simulation.experiment import Collected

__all__ = ["OUTCOMES", "Analysis", "ArmComparison", "Verdict", "analyse", "decided"]


@dataclass(frozen=True)
class ArmComparison:
    """One arm against the arm of reference; effects are relative, .08 is "8 % more".

    Attributes:
        arm: asked about.
        against: compared with.
        effect: of the chosen outcome.
        low: lower end of its interval.
        high: upper end; the intervals of all comparisons hold together (Bonferroni).
        p: of "no difference".
        p_adjusted: the same by Holm over the comparisons.
        ending: "winner", "no meaningful difference", "not enough data" or "invalid: sample ratio".
        winner: name of the arm that won, or None.
        crn_variance_ratio: variance of the difference over the sum of the variances (paired design); below 1, common
            random numbers narrow the interval by its root.
        cuped_variance_reduction: share of the variance explained by what was known before (randomised design).
        segments: effect, low and high for each group of users, 95 % each, uncorrected.
        outcomes: effect, low and high of every outcome, 95 % each, uncorrected.
        curve: sessions, effect, low and high at each look.
    """

    arm: str
    against: str
    effect: float
    low: float
    high: float
    p: float
    p_adjusted: float
    ending: str
    winner: str | None
    crn_variance_ratio: float | None
    cuped_variance_reduction: float | None
    segments: dict[str, tuple[float, float, float]]
    outcomes: dict[str, tuple[float, float, float]]
    curve: tuple[tuple[int, float, float, float], ...]


@dataclass(frozen=True)
class Verdict:
    """What an experiment says.

    Attributes:
        analysis: as asked.
        design: ``paired`` or ``randomised``.
        arms: mean and 95 % interval of every outcome of every arm.
        comparisons: every arm against `Analysis.against`.
        sample_ratio_p: of "the arms got their planned shares"; None in the paired design.
        sessions: that were run.
        stopped_early: before the planned end.
    """

    analysis: Analysis
    design: str
    arms: dict[str, dict[str, tuple[float, float, float]]]
    comparisons: tuple[ArmComparison, ...]
    sample_ratio_p: float | None
    sessions: int
    stopped_early: bool


def analyse(collected: Collected, analysis: Analysis, *, details: bool = True) -> Verdict:
    """Read an experiment by the rule that was fixed before it; without `details` only the chosen outcome."""
    plan, arms = collected.plan, collected.arms
    if analysis.against not in arms:
        raise UnknownNameError(
            kind="arm to compare with", kind_zh="对照策略", name=analysis.against, known=arms
        )
    others = [arm for arm in arms if arm != analysis.against]
    ratio = None
    if plan.design == "randomised" and len(arms) > 1:
        ratio = sample_ratio_p([collected.counts[a] for a in arms], plan.shares or [1.0] * len(arms))
    final = collected.summaries()
    looks = collected.looks
    rows = [read(collected, final, arm, analysis) for arm in others]
    found = [ends(collected, analysis, arm, looks, len(others)) for arm in others]
    p_values = [end[2] for end in found]
    adjusted = holm(p_values).tolist() if others else []
    comparisons = []
    for arm, row, (curve, (low, high), p), p_adjusted in zip(others, rows, found, adjusted, strict=True):
        said = ending(low, high, analysis.minimum_effect, ratio)
        winner = {"treatment": arm, "control": analysis.against, None: None}[said.side]
        comparisons.append(
            ArmComparison(
                arm=arm,
                against=analysis.against,
                effect=row.effect.value,
                low=low,
                high=high,
                p=p,
                p_adjusted=p_adjusted,
                ending=said.name,
                winner=winner,
                crn_variance_ratio=row.crn,
                cuped_variance_reduction=row.explained,
                segments=_segments(collected, arm, analysis) if details else {},
                outcomes={
                    name: interval(collected, final, arm, replace(analysis, outcome=name))
                    for name in OUTCOMES
                    if details or name == analysis.outcome
                },
                curve=curve,
            )
        )
    done = looks[-1][0] if looks else plan.sessions
    return Verdict(
        analysis=analysis,
        design=plan.design,
        arms={arm: _levels(of_arm(final, arm), arm, plan.design) for arm in arms},
        comparisons=tuple(comparisons),
        sample_ratio_p=ratio,
        sessions=done,
        stopped_early=done < plan.sessions,
    )


def decided(collected: Collected, analysis: Analysis) -> bool:
    """Whether the rule allows stopping now: every comparison has found a winner, or shown that there is none
    to find.
    """
    if analysis.rule == "fixed":
        return False
    others = [arm for arm in collected.arms if arm != analysis.against]
    endings = []
    for arm in others:
        _, (low, high), _ = ends(collected, analysis, arm, collected.looks, len(others))
        endings.append(ending(low, high, analysis.minimum_effect).name)
    return bool(endings) and all(name != "not enough data" for name in endings)


def _segments(collected: Collected, arm: str, analysis: Analysis) -> dict[str, tuple[float, float, float]]:
    out = {}
    for name, parts in collected.groups.items():
        summaries = {key: moments.result() for key, moments in parts.items()}
        needed = [of_arm(summaries, a).n for a in (arm, analysis.against)]
        if min(needed) > 2:
            out[name] = interval(collected, summaries, arm, analysis)
    return out


def _levels(summary: Summary, arm: str, design: str) -> dict[str, tuple[float, float, float]]:
    """Mean and 95 % interval of every outcome of an arm."""
    out = {}
    for outcome in OUTCOMES:
        with_it, name = variable(summary, arm, outcome, design)
        out[outcome] = _interval(mean_estimate(with_it, name))
    return out


def _interval(e: Estimate) -> tuple[float, float, float]:
    half = 1.96 * e.standard_error
    return e.value, e.value - half, e.value + half
