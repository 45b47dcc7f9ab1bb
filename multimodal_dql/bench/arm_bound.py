"""More than any rule can earn in a test of four arms: a bound, and the rule that follows from it.

The best rule for four arms is out of reach of backward induction. But if a stage has a price, to be paid for each arm
that is shown in it, and may show as many as one likes, each arm can be settled on its own; what they earn together,
plus the prices, is at least what the best rule with one arm a stage earns, whatever the prices (Lagrangian relaxation
of weakly coupled dynamic programs; Hawkins 2003, doctoral thesis, MIT; Adelman & Mersereau 2008, Operations Research).
The lowest such sum is the bound. To show the arm that is most worth its price is a rule that one can play, so that the
best rule lies between the two.

Shape letters: ``K`` arms, ``L`` stages, ``S`` most clicks of an arm plus 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.bench.gamma_arms import GammaArms, Rule, next_clicks, posterior_mean, share_table
from multimodal_dql.policies.base import Policy

__all__ = ["Bound", "arm_bound", "four_arm_table"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

PLACES = (-1.03, -0.297, 0.297, 1.03)
"""Expected places of four normal numbers in order, in standard deviations."""
SPREADS = (0.075, 0.15, 0.25)
"""Standard deviations of what the prior predicts of the arms, in logits, equally often [the middle one is that of
headline tests]."""
ITERATIONS = 150
PACE = 0.3
"""First step of the prices, in expected clicks of a stage."""


@dataclass(frozen=True)
class Bound:
    """Attributes: clicks that no rule exceeds; the prices (L,) behind it; by arm what showing it in a stage is worth
    beyond its price, given its stages and clicks so far, (K, L, L, S).
    """

    clicks: float
    price: Float
    worth: Float

    def __call__(self, stage: int, shown: Int, clicks: Int) -> Int:
        """Shows the arm that is most worth its price; see `Rule`."""
        k = np.arange(shown.shape[1])[None]
        return np.asarray(self.worth[k, stage, shown, clicks].argmax(axis=1))


@dataclass(frozen=True)
class _Arm:
    """One arm on its own: laws of its clicks (L, S, S) and posterior means (L, S) by the stages that it has had."""

    law: Float
    mean: Float

    @classmethod
    def of(cls, case: GammaArms, arm: int) -> _Arm:
        stages = range(case.stages)
        return cls(
            np.stack([next_clicks(case, arm, n) for n in stages]),
            np.stack([posterior_mean(case, arm, n) for n in stages]),
        )

    def settled(self, step: float, price: Float) -> tuple[float, Float]:
        """What the arm earns at these prices (L,), and what showing it is worth beyond them, (L, L, S)."""
        stages, most = self.mean.shape
        value, worth = np.zeros((stages + 1, most)), np.zeros((stages, stages, most))
        for t in reversed(range(stages)):
            n = slice(0, t + 1)
            then = np.matmul(self.law[n], value[1 : t + 2, :, None])[..., 0]
            worth[t, n] = step * self.mean[n] - price[t] + then - value[n]
            value[n] += np.maximum(worth[t, n], 0.0)
        return float(value[0, 0]), worth

    def shown(self, worth: Float) -> Float:
        """Probability that it is shown in each stage if it is wherever that is worth its price, (L,)."""
        stages, most = self.mean.shape
        here, out = np.zeros((stages + 1, most)), np.zeros(stages)
        here[0, 0] = 1.0
        for t in range(stages):
            n = slice(0, t + 1)
            moving = here[n] * (worth[t, n] > 0.0)
            out[t] = moving.sum()
            here[n] -= moving
            here[1 : t + 2] += np.matmul(moving[:, None, :], self.law[n])[:, 0]
        return out


def arm_bound(case: GammaArms, iterations: int = ITERATIONS) -> Bound:
    """The lowest bound found by a subgradient method on the prices; any prices give a bound."""
    arms = {prior: _Arm.of(case, case.prior.index(prior)) for prior in case.prior}
    price, best = np.full(case.stages, case.step * max(case.prior)), (np.inf, np.zeros(0))
    for i in range(iterations):
        total, missing = price.sum(), np.ones(case.stages)
        for prior, arm in arms.items():
            value, worth = arm.settled(case.step, price)
            total += case.prior.count(prior) * value
            missing -= case.prior.count(prior) * arm.shown(worth)
        if total < best[0]:
            best = total, price
        price = price - case.step * PACE / np.sqrt(i + 1.0) * missing
    worth = np.stack([arms[prior].settled(case.step, best[1])[1] for prior in case.prior])
    return Bound(float(best[0]), best[1], worth)


def four_arm_table(
    policies: Mapping[str, Policy],
    *,
    rate: float,
    weight: float,
    taus: Sequence[int],
    tests: int = 20_000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Share of the gap between an even split (0) and always the best arm (1), by impressions an arm and rule.

    Args:
        policies: rules to hold against the ``bound``, the rule that follows from it (``priced``) and the highest
            posterior mean (``greedy``).
        rate: the typical click rate.
        weight: clicks that the prior is worth.
        taus: impressions an arm.
        tests: N, for each of `SPREADS`.
        seed: of the draws.
    """

    def cases(tau: int) -> list[GammaArms]:
        priors = [tuple(float(np.exp(spread * place)) for place in PLACES) for spread in SPREADS]
        return [GammaArms(prior, weight, len(PLACES) * tau * rate) for prior in priors]

    def rules(case: GammaArms) -> dict[str, Rule | Policy | float | None]:
        bound = arm_bound(case)
        return {"bound": bound.clicks, "priced": bound, "greedy": None, **policies}

    return share_table(cases, rules, rate=rate, taus=taus, tests=tests, seed=seed)
