"""Whether the offline A/B simulation keeps its promises: false winners, power, coverage, a planted bug.

Every experiment here goes through the same `collect` and `analyse` as `simulate` does, in the randomised design.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.simulator import small_stage
from multimodal_dql.evaluation.designs import Metric
from multimodal_dql.evaluation.power import power
from multimodal_dql.policies.base import Policy, Uniform
from multimodal_dql.simulation.analysis import Analysis, analyse, decided
from multimodal_dql.simulation.arms import Arm
from multimodal_dql.simulation.effects import Rule
from multimodal_dql.simulation.experiment import Collected, Plan, assign, collect
from multimodal_dql.simulation.sessions import Stage, run_table
from multimodal_dql.simulation.trial import planned_error
from multimodal_dql.state import State

__all__ = ["bench_experiments"]

SESSIONS = 2000
TRUTH = 1_000_000
SEEDS = 1 << 40
"""Added to the seeds, so that no experiment meets the users of another measurement."""


def bench_experiments(null_runs: int = 10_000, effect_runs: int = 2000, workers: int = 0) -> dict[str, Any]:
    """Simulate many experiments and count how they end.

    Args:
        null_runs: A/A experiments, once read at the end and once with a look after every twentieth of the sessions and
            stopped at the first winner.
        effect_runs: A/B experiments of "always the most appealing" against "at random" for coverage and power.
        workers: processes; 0 is one a processor. The counts do not depend on it.
    """
    start = time.perf_counter()
    stage = small_stage()
    effect, metric = _truth(stage)
    planned = power(metric, effect, target=0.8)
    with ProcessPoolExecutor(workers or os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        fixed = _rate(pool.map(_wins, *_shares("fixed", null_runs)), null_runs)
        anytime = _rate(pool.map(_wins, *_shares("anytime", null_runs)), null_runs)
        sequential = _rate(
            pool.map(_wins, *_shares("group-sequential", max(null_runs // 5, 1))), max(null_runs // 5, 1)
        )
        shares = _shares(planned.sessions_total, effect_runs)
        comparisons = [c for part in pool.map(_comparisons, *shares) for c in part]
    found = np.mean([winner == "appealing" for _, _, winner in comparisons])
    covered = np.mean([low <= effect <= high for low, high, _ in comparisons])
    return {
        "false_winners": {
            "fixed": fixed,
            "anytime_peeking": anytime,
            "group_sequential": sequential,
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


def _shares(what: Any, runs: int) -> tuple[list[Any], list[int], list[int]]:
    """Runs in shares of at most 100: what is run, the first run and the one after the last."""
    firsts = list(range(0, runs, 100))
    return [what] * len(firsts), firsts, [min(first + 100, runs) for first in firsts]


def _rate(wins: Iterable[int], runs: int) -> float:
    return sum(wins) / runs


def _wins(rule: Rule, first: int, end: int) -> int:
    """False winners among A/A experiments read by a rule."""
    stage, arms = small_stage(), (Arm("a", Uniform()), Arm("b", Uniform()))
    plan = Plan(SESSIONS, "randomised", looks=1 if rule == "fixed" else 20, workers=1)
    analysis = Analysis("a", minimum_effect=0.0, rule=rule)
    analysis = replace(analysis, planned_error=planned_error(stage, plan, analysis, 2))
    stop: Callable[[Collected], bool] | None = None
    if rule != "fixed":
        stop = lambda so_far: decided(so_far, analysis)  # noqa: E731
    wins = 0
    for run in range(first, end):
        collected = collect(stage, arms, replace(plan, seed=SEEDS + run), stop=stop, segments=False)
        wins += analyse(collected, analysis, details=False).comparisons[0].winner is not None
    return wins


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


def _comparisons(sessions: int, first: int, end: int) -> list[tuple[float, float, str | None]]:
    """Interval and winner of A/B experiments."""
    stage = small_stage()
    arms = (Arm("uniform", Uniform()), Arm("appealing", Appealing(stage)))
    analysis = Analysis("uniform", minimum_effect=0.0)
    plan = Plan(sessions, "randomised", looks=1, workers=1)
    out = []
    for run in range(first, end):
        collected = collect(stage, arms, replace(plan, seed=SEEDS + run), segments=False)
        c = analyse(collected, analysis, details=False).comparisons[0]
        out.append((c.low, c.high, c.winner))
    return out


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
