"""Policies side by side in front of the same audience: same users, same luck, interval over stories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates
from multimodal_dql.evaluation.statistics import Comparison, ratio_interval
from multimodal_dql.policies.base import Policy
from multimodal_dql.simulation.audience import World
from multimodal_dql.simulation.sessions import Stage, run_sessions

__all__ = ["Outcome", "compare", "outcome", "permuted"]

BLOCK = 2000
"""Sessions simulated at once: memory stays the same however many are asked for."""
EVALUATION = 1 << 32
"""Added to the seed, so that no evaluation session is one of the training sessions."""


@dataclass(frozen=True)
class Outcome:
    """What a policy earned.

    Attributes:
        impressions: of each story, (items,).
        clicks: expected clicks of each story, (items,). The simulator knows the probability of every click; counting
            it instead of a coin flip leaves the mean as it is and removes noise.
        sessions: simulated.
    """

    impressions: NDArray[np.float64]
    clicks: NDArray[np.float64]
    sessions: int

    @property
    def per_visit(self) -> NDArray[np.float64]:
        """Clicks on each story a visit: how often it is met times how often it is clicked."""
        return self.clicks / self.sessions


def outcome(
    world: World, policy: Policy, *, seed: int, sessions: int, seen: Candidates | None = None
) -> Outcome:
    """Run `policy` over every story of `world`, records hidden."""
    n, stage = len(world.candidates.table), Stage.of(world)
    impressions, clicks = np.zeros(n), np.zeros(n)
    for first in range(0, sessions, BLOCK):
        ids = np.arange(first, min(first + BLOCK, sessions))
        steps = run_sessions(stage, policy, seed=seed + EVALUATION, ids=ids, seen=seen)
        item = steps.item[steps.active]
        impressions += np.bincount(item, minlength=n)
        clicks += np.bincount(item, weights=steps.click_probability[steps.active], minlength=n)
    return Outcome(impressions, clicks, sessions)


def compare(
    outcomes: Mapping[str, Outcome], pairs: Sequence[tuple[str, str]], item_ids: Sequence[str]
) -> tuple[Comparison, ...]:
    """Compare pairs of outcomes by name.

    Clicks are counted a visit, not an impression: a policy that keeps people reading earns more of both, one that
    tires them out loses later what it won at once.
    """
    out = []
    for arm, against in pairs:
        a, b = outcomes[arm].per_visit, outcomes[against].per_visit
        uplift, low, high = ratio_interval(a, b)
        out.append(
            Comparison(
                arm=arm,
                against=against,
                uplift=uplift,
                low=low,
                high=high,
                arm_rate=float(a.sum()),
                against_rate=float(b.sum()),
                sessions=outcomes[arm].sessions,
                item_ids=tuple(item_ids),
                item_uplift=a / b - 1.0,
            )
        )
    return tuple(out)


def permuted(candidates: Candidates, seed: int) -> Candidates:
    """The same catalogue with embeddings dealt anew among all variants.

    A control: an agent that chooses by content must lose its advantage, one that chooses by position or by a leak
    keeps it.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 3]))
    n = len(candidates.content) - 1
    order = np.append(rng.permutation(n), n)
    return replace(candidates, content=candidates.content[order], present=candidates.present[order])
