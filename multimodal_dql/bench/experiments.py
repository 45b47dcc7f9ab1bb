"""Whether the offline A/B simulation keeps its promises: false winners, power, coverage, a planted bug.

Every experiment here goes through the same `collect` and `analyse` as `simulate` does, in the randomised design.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.simulator import small_stage
from multimodal_dql.evaluation.designs import Metric
from multimodal_dql.evaluation.power import power
from multimodal_dql.policies.base import Policy, Uniform
from multimodal_dql.simulation.analysis import Analysis, Verdict, analyse, decided
from multimodal_dql.simulation.arms import Arm
from multimodal_dql.simulation.experiment import Collected, Plan, assign, collect
from multimodal_dql.simulation.sessions import Stage, run_table
from multimodal_dql.simulation.trial import planned_error
from multimodal_dql.state import State

__all__ = ["bench_experiments"]

SESSIONS = 2000
TRUTH = 1_000_000
SEEDS = 1 << 40
"""Added to the seeds, so that no experiment meets the users of another measurement."""


def bench_experiments(null_runs: int = 10_000, effect_runs: int = 2000) -> dict[str, Any]:
    """Simulate many experiments and count how they end.

    Args:
        null_runs: A/A experiments, once read at the end and once with a look after every twentieth of the sessions and
            stopped at the first winner.
        effect_runs: A/B experiments of "always the most appealing" against "at random" for coverage and power.
    """
    start = time.perf_counter()
    stage = small_stage()
    same = (Arm("a", Uniform()), Arm("b", Uniform()))
    fixed = Analysis("a", minimum_effect=0.0)
    fixed_wins = _wins(stage, same, Plan(SESSIONS, "randomised", looks=1), fixed, null_runs)
    plan = Plan(SESSIONS, "randomised", looks=20)
    error = planned_error(stage, plan, fixed, 2)
    anytime = replace(fixed, rule="anytime", planned_error=error)
    anytime_wins = _wins(stage, same, plan, anytime, null_runs)
    sequential = replace(fixed, rule="group-sequential")
    sequential_wins = _wins(stage, same, plan, sequential, max(null_runs // 5, 1))
    effect, metric = _truth(stage)
    planned = power(metric, effect, target=0.8)
    verdicts = _verdicts(stage, effect_runs, planned.sessions_total)
    comparisons = [v.comparisons[0] for v in verdicts]
    found = np.mean([c.winner == "appealing" for c in comparisons])
    covered = np.mean([c.low <= effect <= c.high for c in comparisons])
    return {
        "false_winners": {
            "fixed": fixed_wins,
            "anytime_peeking": anytime_wins,
            "group_sequential": sequential_wins,
            "runs": null_runs,
            "monte_carlo_error": float(np.sqrt(0.05 * 0.95 / null_runs)),
        },
        "power": {
            "true_effect": effect,
            "sessions": planned.sessions_total,
            "predicted": planned.power,
            "simulated": float(found),
            "runs": effect_runs,
            "monte_carlo_error": float(np.sqrt(0.8 * 0.2 / effect_runs)),
        },
        "coverage": {"nominal": 0.95, "simulated": float(covered), "runs": effect_runs},
        "planted_bug": _planted_bug(stage),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _wins(stage: Stage, arms: tuple[Arm, ...], plan: Plan, analysis: Analysis, runs: int) -> float:
    """Share of A/A experiments with a winner."""
    stop: Callable[[Collected], bool] | None = None
    if analysis.rule != "fixed":
        stop = lambda so_far: decided(so_far, analysis)  # noqa: E731
    wins = 0
    for run in range(runs):
        collected = collect(
            stage, arms, replace(plan, seed=SEEDS + run, workers=1), stop=stop, segments=False
        )
        wins += analyse(collected, analysis, details=False).comparisons[0].winner is not None
    return wins / runs


class Appealing(Policy):
    """Always the variant that the average user likes best; knows the truth."""

    name = "appealing"
    reads_context = learns = False

    def __init__(self, stage: Stage) -> None:
        c = stage.world.candidates
        best = np.where(c.available, stage.world.appeal[c.table], -np.inf).argmax(axis=1)
        self.table = np.eye(c.size)[best]

    def probabilities(self, state: State) -> NDArray[np.float64]:
        """See `Policy`."""
        return np.asarray(self.table[state.item])


def _truth(stage: Stage) -> tuple[float, Metric]:
    """The true relative effect on clicks a session of `Appealing` over choices at random, and the spread of
    a session.
    """
    available = stage.world.candidates.available
    uniform = available / available.sum(axis=1, keepdims=True)
    ids = np.arange(TRUTH)
    a, b = (run_table(stage, SEEDS - 1, ids, table) for table in (uniform, Appealing(stage).table))
    means = [run.metric("expected_clicks").mean() for run in (a, b)]
    clicks = a.metric("clicks")
    spread = float(clicks.var() / clicks.mean())
    return float(means[1] / means[0] - 1), Metric.of(float(means[0]), overdispersion=spread)


def _verdicts(stage: Stage, runs: int, sessions: int) -> list[Verdict]:
    arms = (Arm("uniform", Uniform()), Arm("appealing", Appealing(stage)))
    analysis = Analysis("uniform", minimum_effect=0.0)
    plan = Plan(sessions, "randomised", looks=1, workers=1)
    return [
        analyse(
            collect(stage, arms, replace(plan, seed=SEEDS + run), segments=False), analysis, details=False
        )
        for run in range(runs)
    ]


def _planted_bug(stage: Stage) -> dict[str, Any]:
    """An arm that loses one session in twenty, as a crashing page would: the sample-ratio check must refuse
    the result.
    """
    arms = (Arm("a", Uniform()), Arm("b", Uniform()))
    sessions = 50_000
    whole = collect(stage, arms, Plan(sessions, "randomised", looks=1, seed=SEEDS))
    honest = analyse(whole, Analysis("a")).sample_ratio_p
    lost = int(np.count_nonzero(assign(SEEDS, np.arange(sessions), (1.0, 1.0)) == 1) * 0.05)
    whole.counts["b"] -= lost
    broken = analyse(whole, Analysis("a"))
    return {
        "p_without": honest,
        "p_with": broken.sample_ratio_p,
        "ending": broken.comparisons[0].ending,
    }
