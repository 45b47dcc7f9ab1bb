"""The whole of an offline A/B simulation: arms, references that know the truth, verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.evaluation.means import mean_estimate
from multimodal_dql.evaluation.moments import Moments
from multimodal_dql.evaluation.statistics import Comparison, ratio_interval
from multimodal_dql.simulation.analysis import OUTCOMES, Analysis, Verdict, analyse, decided
from multimodal_dql.simulation.arms import TUNING, Arm, clairvoyant
from multimodal_dql.simulation.experiment import EVALUATION, Block, Collected, Plan, collect
from multimodal_dql.simulation.sessions import Sessions, Stage, run_table

__all__ = ["Reference", "Trial", "run_trial"]

REFERENCE_SESSIONS = 50_000
"""Sessions of the audience, at most, over which the references are measured."""


@dataclass(frozen=True)
class Reference:
    """What a policy that knows the truth earns in front of the same audience.

    Attributes:
        name: ``oracle`` or ``myopic``.
        outcomes: mean of every outcome.
        regret: of each arm against it, on the chosen outcome: ``1 - arm / reference``.
    """

    name: str
    outcomes: dict[str, float]
    regret: dict[str, float]


@dataclass(frozen=True)
class Trial:
    """Results of an offline A/B simulation.

    Attributes:
        verdict: effects, intervals, endings.
        references: the oracle, and greed on the next click.
        stories: each comparison over stories instead of sessions (paired design): whether it would hold for
        stories like
            these, of which there are only so many.
        collected: what it was computed from.
    """

    verdict: Verdict
    references: tuple[Reference, ...]
    stories: tuple[Comparison, ...]
    collected: Collected


def run_trial(
    stage: Stage,
    arms: Sequence[Arm],
    plan: Plan,
    analysis: Analysis,
    *,
    item_ids: Sequence[str],
    keep: Callable[[Block], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Trial:
    """Run an experiment by a rule that is fixed before it, and read it.

    Args:
        stage: the world.
        arms: compared; ``analysis.against`` names one of them.
        plan: how many sessions, which design.
        analysis: what is asked, and when one may stop.
        item_ids: names of the stories.
        keep: given every block with its log.
        progress: called with sessions done and planned.
    """
    analysis = replace(analysis, planned_error=planned_error(stage, plan, analysis, len(arms)))
    stop = None if analysis.rule == "fixed" else lambda so_far: decided(so_far, analysis)
    collected = collect(stage, arms, plan, stop=stop, keep=keep, progress=progress)
    verdict = analyse(collected, analysis)
    numerator, denominator = OUTCOMES[analysis.outcome]
    pair = clairvoyant(stage, plan.seed, lambda s: _ratio(s, numerator, denominator))
    count = min(verdict.sessions, REFERENCE_SESSIONS)
    references = tuple(_reference(stage, arm, plan.seed, count, verdict) for arm in pair)
    stories = tuple(over_stories(stage, collected, c.arm, c.against, item_ids) for c in verdict.comparisons)
    return Trial(verdict, references, stories if plan.design == "paired" else (), collected)


def _ratio(sessions: Sessions, numerator: str, denominator: str | None) -> float:
    below = sessions.metric(denominator).sum() if denominator else len(sessions.ids)
    name = "expected_clicks" if numerator == "clicks" else numerator
    return float(sessions.metric(name).sum() / max(below, 1e-12))


def _reference(stage: Stage, arm: Arm, seed: int, count: int, verdict: Verdict) -> Reference:
    """Outcomes of a clairvoyant policy over the sessions of the experiment."""
    run = run_table(stage, seed + EVALUATION, np.arange(count), None, weight=arm.weight)
    outcomes = {name: _ratio(run, *parts) for name, parts in OUTCOMES.items()}
    best, chosen = outcomes[verdict.analysis.outcome], verdict.analysis.outcome
    regret = {name: 1.0 - values[chosen][0] / best if best else 0.0 for name, values in verdict.arms.items()}
    return Reference(arm.name, outcomes, regret)


def planned_error(stage: Stage, plan: Plan, analysis: Analysis, arms: int) -> float:
    """Standard error of a relative effect that two equal arms would have at the planned end.

    Measured on users that no arm meets, under random choices, so that the rule is fixed before the data are seen.
    """
    available = stage.world.candidates.available
    uniform = available / available.sum(axis=1, keepdims=True)
    run = run_table(stage, plan.seed + TUNING, np.arange(4096), uniform)
    numerator, denominator = OUTCOMES[analysis.outcome]
    y = run.metric(numerator)
    if denominator is not None:
        below = run.metric(denominator)
        y = y.mean() / below.mean() + (y - y.mean() / below.mean() * below) / below.mean()
    e = mean_estimate(Moments(("y",)).update(y).result())
    sessions = plan.sessions if plan.design == "paired" else plan.sessions / arms
    relative = e.standard_error * np.sqrt(4096 / sessions * 2) / max(abs(e.value), 1e-12)
    return float(np.clip(relative, 1e-4, 1.0))


def over_stories(
    stage: Stage, collected: Collected, arm: str, against: str, item_ids: Sequence[str]
) -> Comparison:
    """The effect on expected clicks with stories as the units: what another catalogue of the same kind would show."""
    a, b = (clicks_by_story(stage, collected.by_variant[name]) for name in (arm, against))
    sessions = collected.counts[arm]
    uplift, low, high = ratio_interval(a, b) if len(a) > 1 and b.sum() else (float("nan"),) * 3
    return Comparison(
        arm=arm,
        against=against,
        uplift=uplift,
        low=low,
        high=high,
        arm_rate=float(a.sum() / sessions),
        against_rate=float(b.sum() / sessions),
        sessions=sessions,
        item_ids=tuple(item_ids),
        item_uplift=np.divide(a, b, out=np.ones_like(a), where=b > 0) - 1.0,
    )


def clicks_by_story(stage: Stage, by_variant: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected clicks on each story, (items,)."""
    c = stage.world.candidates
    return np.asarray((by_variant[c.table, 2] * c.available).sum(axis=1))
