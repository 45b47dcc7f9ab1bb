"""The most that any rule can earn in a test of two arms, exactly: what a rule leaves there, and what none can get.

Each arm's click rate over the test's typical rate has a Gamma prior, the traffic comes in equal stages, the clicks of a
stage are Poisson; then what is known of an arm is its stages and clicks, and the best rule follows from the last stage
backwards (Bellman 1956, "A problem in the sequential design of experiments"). Rules that must estimate the typical rate
know less than this one does.

Shape letters: ``L`` stages, ``S`` most clicks of an arm plus 1, ``N`` tests played.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.policies.base import Policy, choose
from multimodal_dql.state import Counts, State

__all__ = ["Best", "TwoArms", "best_rule", "earned", "two_arm_table"]

Float = NDArray[np.float64]
Bools = NDArray[np.bool_]

DIFFERENCES = (0.0, 0.12, 0.25)
"""Logits by which the prior tells the two arms apart, equally often [the middle one is usual on headline tests]."""
TAIL = 8.0
"""Clicks beyond this many standard deviations are counted as that many."""


@dataclass(frozen=True)
class TwoArms:
    """A test of two arms.

    Attributes:
        prior: (2,) expected click rate of each over the typical one.
        weight: clicks that the prior is worth: Gamma of shape ``prior[a] weight`` and rate ``weight`` for arm a.
        clicks: expected in the whole test by an arm of the typical rate.
        stages: L.
    """

    prior: tuple[float, float]
    weight: float
    clicks: float
    stages: int = 25

    @property
    def step(self) -> float:
        """Clicks that a stage brings at the typical rate."""
        return self.clicks / self.stages

    @property
    def most(self) -> int:
        """S."""
        top = self.clicks * max(self.prior) * (1.0 + 2.0 / np.sqrt(self.weight))
        return int(np.ceil(top + TAIL * np.sqrt(top + 1.0))) + 1


@dataclass(frozen=True)
class Best:
    """Attributes: expected clicks of the best rule; (L, L, S, S) whether it shows the second arm in a stage, given the
    stages and clicks of the first and the clicks of the second.
    """

    clicks: float
    second: Bools


def _next_clicks(case: TwoArms, arm: int, shown: int) -> Float:
    """Law of an arm's clicks after one more stage given those after `shown`, (S, S): negative binomial steps."""
    from scipy.stats import nbinom

    s = np.arange(case.most)
    weight = case.weight + shown * case.step
    shape = case.prior[arm] * case.weight + s
    law = nbinom.pmf(s[None] - s[:, None], shape[:, None], weight / (weight + case.step))
    law[:, -1] += 1.0 - law.sum(axis=1)
    return np.asarray(law)


def _mean(case: TwoArms, arm: int, shown: int) -> Float:
    """Posterior mean of an arm's relative rate by its clicks, (S,)."""
    weight = case.weight + shown * case.step
    return np.asarray((case.prior[arm] * case.weight + np.arange(case.most)) / weight)


def best_rule(case: TwoArms) -> Best:
    """Backward induction over the stages."""
    stages, most = case.stages, case.most
    laws = [[_next_clicks(case, arm, shown) for shown in range(stages)] for arm in (0, 1)]
    value = np.zeros((stages + 1, most, most))
    second = np.zeros((stages, stages, most, most), np.bool_)
    for stage in reversed(range(stages)):
        now = np.zeros_like(value)
        for first in range(stage + 1):
            other = stage - first
            show_first = case.step * _mean(case, 0, first)[:, None] + laws[0][first] @ value[first + 1]
            show_second = case.step * _mean(case, 1, other)[None] + value[first] @ laws[1][other].T
            now[first] = np.maximum(show_first, show_second)
            second[stage, first] = show_second > show_first
        value = now
    return Best(float(value[0, 0, 0]), second)


def earned(
    case: TwoArms, rule: Best | Policy | None, rate: float, tests: int, seed: int
) -> tuple[float, float, float]:
    """Play a rule: relative click rate that it earns, that of an even split, and that of always the better arm.

    Args:
        case: the test.
        rule: the best one, a policy (told the prior), or None for the higher posterior mean.
        rate: the typical click rate, which turns clicks into impressions for a policy.
        tests: N; the same seed draws the same tests and luck for every rule.
        seed: of everything.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 48]))
    prior, each = np.array(case.prior), np.arange(tests)
    rates = rng.gamma(prior * case.weight, 1.0 / case.weight, (tests, 2))
    luck = np.random.Generator(np.random.Philox(key=[seed, 49]))
    ties = np.random.Generator(np.random.Philox(key=[seed, 50]))
    shown, clicks, total = np.zeros((tests, 2), np.int64), np.zeros((tests, 2), np.int64), 0.0
    for stage in range(case.stages):
        if isinstance(rule, Best):
            seen = np.minimum(clicks, case.most - 1)
            arm = rule.second[stage, shown[:, 0], seen[:, 0], seen[:, 1]].astype(np.int64)
        elif rule is None:
            weight = case.weight + shown * case.step
            arm = ((prior * case.weight + clicks) / weight).argmax(axis=1)
        else:
            arm, _ = choose(rule, _state(case, rate, stage, shown, clicks), ties.random(tests))
        chosen = rates[each, arm]
        total += float(chosen.mean())
        clicks[each, arm] += luck.poisson(case.step * chosen)
        shown[each, arm] += 1
    return total / case.stages, float(rates.mean()), float(rates.max(axis=1).mean())


def _state(
    case: TwoArms, rate: float, stage: int, shown: NDArray[np.int64], clicks: NDArray[np.int64]
) -> State:
    """What a policy is told, impressions in place of stages."""
    n = len(shown)
    size = case.step / rate
    told = 1.0 / (1.0 + (1.0 - rate) / (rate * np.array(case.prior)))
    counts = Counts(
        np.rint(shown * size).astype(np.int64),
        clicks.copy(),
        np.full(n, stage * size),
        np.full(n, case.stages * size),
        np.tile(told, (n, 1)),
        np.full((n, 2), 1.0 / np.sqrt(case.weight)),
    )
    nothing = np.zeros((n, 2, 0), np.float32)
    return State(
        nothing,
        nothing,
        np.zeros((n, 2, 1), np.float32),
        np.zeros((n, 0), np.float32),
        np.ones((n, 2), np.bool_),
        np.arange(n),
        counts,
    )


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
    table: dict[str, dict[str, float]] = {}
    for tau in taus:
        won: dict[str, float] = {}
        gap = 0.0
        for difference in DIFFERENCES:
            half = float(np.exp(difference / 2.0))
            case = TwoArms((half, 1.0 / half), weight, 2.0 * tau * rate)
            rules: dict[str, Best | Policy | None] = {"optimum": best_rule(case), "greedy": None, **policies}
            for name, rule in rules.items():
                found, even, best = earned(case, rule, rate, tests, seed)
                won[name] = won.get(name, 0.0) + found - even
            gap += best - even
        table[str(tau)] = {name: value / gap for name, value in won.items()}
    return table
