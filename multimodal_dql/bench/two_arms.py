"""The most that any rule can earn in a test of two arms, exactly: what a rule leaves there, and what none can get.

The best rule follows from the last stage backwards (Bellman 1956, "A problem in the sequential design of experiments").

Shape letters: ``L`` stages, ``S`` most clicks of an arm plus 1, ``N`` tests played.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.gamma_arms import GammaArms, Rule, next_clicks, posterior_mean, share_table
from multimodal_dql.policies.base import Policy

__all__ = ["Best", "best_rule", "two_arm_table"]

Int = NDArray[np.int64]
Bools = NDArray[np.bool_]

DIFFERENCES = (0.0, 0.12, 0.25)
"""Logits by which the prior tells the two arms apart, equally often [the middle one is usual on headline tests]."""


@dataclass(frozen=True)
class Best:
    """Attributes: expected clicks of the best rule; (L, L, S, S) whether it shows the second arm in a stage, given the
    stages and clicks of the first and the clicks of the second.
    """

    clicks: float
    second: Bools

    def __call__(self, stage: int, shown: Int, clicks: Int) -> Int:
        """See `Rule`."""
        return np.asarray(self.second[stage, shown[:, 0], clicks[:, 0], clicks[:, 1]].astype(np.int64))


def best_rule(case: GammaArms) -> Best:
    """Backward induction over the stages of a test of two arms."""
    stages, most = case.stages, case.most
    laws = [[next_clicks(case, arm, shown) for shown in range(stages)] for arm in (0, 1)]
    value = np.zeros((stages + 1, most, most))
    second = np.zeros((stages, stages, most, most), np.bool_)
    for stage in reversed(range(stages)):
        now = np.zeros_like(value)
        for first in range(stage + 1):
            other = stage - first
            show_first = (
                case.step * posterior_mean(case, 0, first)[:, None] + laws[0][first] @ value[first + 1]
            )
            show_second = case.step * posterior_mean(case, 1, other)[None] + value[first] @ laws[1][other].T
            now[first] = np.maximum(show_first, show_second)
            second[stage, first] = show_second > show_first
        value = now
    return Best(float(value[0, 0, 0]), second)


def two_arm_table(
    policies: Mapping[str, Policy],
    *,
    rate: float,
    weight: float,
    taus: Sequence[int],
    tests: int = 20_000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Share of the gap between an even split (0) and always the better arm (1), by impressions an arm and rule.

    Args:
        policies: rules to hold against the best one (``optimum``) and against the higher posterior mean (``greedy``).
        rate: the typical click rate.
        weight: clicks that the prior is worth.
        taus: impressions an arm.
        tests: N, for each of `DIFFERENCES`.
        seed: of the draws.
    """

    def cases(tau: int) -> list[GammaArms]:
        halves = [float(np.exp(difference / 2.0)) for difference in DIFFERENCES]
        return [GammaArms((half, 1.0 / half), weight, 2.0 * tau * rate) for half in halves]

    def rules(case: GammaArms) -> dict[str, Rule | Policy | float | None]:
        return {"optimum": best_rule(case), "greedy": None, **policies}

    return share_table(cases, rules, rate=rate, taus=taus, tests=tests, seed=seed)
