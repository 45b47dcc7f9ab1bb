"""Tests whose arms have rates of which a Gamma prior knows exactly what there is to know: a world for best rules.

Each arm's click rate over the test's typical rate has a Gamma prior, the traffic comes in equal stages, each to one
arm, and the clicks of a stage are Poisson; then what is known of an arm is its stages and clicks. Rules that must
estimate the typical rate know less than the best ones (`bench.two_arms`, `bench.arm_bound`) do.

Shape letters: ``K`` arms, ``L`` stages, ``S`` most clicks of an arm plus 1, ``N`` tests played.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.policies.base import Policy, choose
from multimodal_dql.state import Counts, State

__all__ = ["GammaArms", "Rule", "earned", "next_clicks", "posterior_mean", "share_table"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

Rule = Callable[[int, Int, Int], Int]
"""The arms (N,) to show in a stage, from the stages (N, K) and clicks (N, K) that each arm has had."""

TAIL = 8.0
"""Clicks beyond this many standard deviations are counted as that many."""


@dataclass(frozen=True)
class GammaArms:
    """A test.

    Attributes:
        prior: (K,) expected click rate of each arm over the typical one.
        weight: clicks that the prior is worth: Gamma of shape ``prior[a] weight`` and rate ``weight`` for arm a.
        clicks: expected in the whole test by an arm of the typical rate.
        stages: L.
    """

    prior: tuple[float, ...]
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


def next_clicks(case: GammaArms, arm: int, shown: int) -> Float:
    """Law of an arm's clicks after one more stage given those after `shown`, (S, S): negative binomial steps."""
    from scipy.stats import nbinom

    s = np.arange(case.most)
    weight = case.weight + shown * case.step
    shape = case.prior[arm] * case.weight + s
    law = nbinom.pmf(s[None] - s[:, None], shape[:, None], weight / (weight + case.step))
    law[:, -1] += 1.0 - law.sum(axis=1)
    return np.asarray(law)


def posterior_mean(case: GammaArms, arm: int, shown: int) -> Float:
    """Posterior mean of an arm's relative rate by its clicks, (S,)."""
    weight = case.weight + shown * case.step
    return np.asarray((case.prior[arm] * case.weight + np.arange(case.most)) / weight)


def earned(
    case: GammaArms, rule: Rule | Policy | None, rate: float, tests: int, seed: int
) -> tuple[float, float, float]:
    """Play a rule: relative click rate that it earns, that of an even split, and that of always the best arm.

    Args:
        case: the test.
        rule: a policy (told the prior), a rule, or None for the highest posterior mean.
        rate: the typical click rate, which turns clicks into impressions for a policy.
        tests: N; the same seed draws the same tests and luck for every rule.
        seed: of everything.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 48]))
    prior, each = np.array(case.prior), np.arange(tests)
    rates = rng.gamma(prior * case.weight, 1.0 / case.weight, (tests, len(prior)))
    luck = np.random.Generator(np.random.Philox(key=[seed, 49]))
    ties = np.random.Generator(np.random.Philox(key=[seed, 50]))
    shown, clicks, total = np.zeros_like(rates, np.int64), np.zeros_like(rates, np.int64), 0.0
    for stage in range(case.stages):
        if rule is None:
            weight = case.weight + shown * case.step
            arm = ((prior * case.weight + clicks) / weight).argmax(axis=1)
        elif isinstance(rule, Policy):
            arm, _ = choose(rule, _state(case, rate, stage, shown, clicks), ties.random(tests))
        else:
            arm = rule(stage, shown, np.minimum(clicks, case.most - 1))
        chosen = rates[each, arm]
        total += float(chosen.mean())
        clicks[each, arm] += luck.poisson(case.step * chosen)
        shown[each, arm] += 1
    return total / case.stages, float(rates.mean()), float(rates.max(axis=1).mean())


def share_table(
    cases: Callable[[int], Sequence[GammaArms]],
    rules: Callable[[GammaArms], Mapping[str, Rule | Policy | float | None]],
    *,
    rate: float,
    taus: Sequence[int],
    tests: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Share of the gap between an even split (0) and always the best arm (1), by impressions an arm and rule.

    Args:
        cases: of a number of impressions an arm, equally often.
        rules: by name, to be played as in `earned`; a number is the clicks that one would earn.
        rate: the typical click rate.
        taus: impressions an arm.
        tests: N, of each case.
        seed: of the draws.
    """
    table: dict[str, dict[str, float]] = {}
    for tau in taus:
        won: dict[str, float] = {}
        gap = 0.0
        for case in cases(tau):
            even, best = 0.0, 0.0
            for name, rule in rules(case).items():
                if isinstance(rule, float):
                    gain = rule / case.clicks - float(np.mean(case.prior))
                else:
                    found, even, best = earned(case, rule, rate, tests, seed)
                    gain = found - even
                won[name] = won.get(name, 0.0) + gain
            gap += best - even
        table[str(tau)] = {name: value / gap for name, value in won.items()}
    return table


def _state(case: GammaArms, rate: float, stage: int, shown: Int, clicks: Int) -> State:
    """What a policy is told, impressions in place of stages."""
    n, k = shown.shape
    size = case.step / rate
    told = 1.0 / (1.0 + (1.0 - rate) / (rate * np.array(case.prior)))
    counts = Counts(
        np.rint(shown * size).astype(np.int64),
        clicks.copy(),
        np.full(n, stage * size),
        np.full(n, case.stages * size),
        np.tile(told, (n, 1)),
        np.full((n, k), 1.0 / np.sqrt(case.weight)),
    )
    nothing = np.zeros((n, k, 0), np.float32)
    return State(
        nothing,
        nothing,
        np.zeros((n, k, 1), np.float32),
        np.zeros((n, 0), np.float32),
        np.ones((n, k), np.bool_),
        np.arange(n),
        counts,
    )
