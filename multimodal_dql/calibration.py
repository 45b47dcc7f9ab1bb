"""How far the agent is from the truth on stories it did not learn from, measured where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import Agent, Spread
from multimodal_dql.evaluation.proportions import wilson_interval
from multimodal_dql.rank import believe, mean_and_disagreement, probability_best
from multimodal_dql.simulation.audience import World
from multimodal_dql.simulation.sessions import Stage
from multimodal_dql.simulation.typical import true_rates, typical_impressions
from multimodal_dql.state import record_features

__all__ = [
    "BINS",
    "ReliabilityBin",
    "calibrate",
    "known_winners",
    "reliability",
    "reliability_bins",
    "world_rates",
]

USERS = 64
"""Typical users over which a click rate is averaged."""
BINS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Edges of the stated probabilities that are judged together."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Variants whose stated probability of being best lies between `low` and `high`, against the truth.

    Attributes:
        low: edge.
        high: edge.
        variants: how many.
        stated: mean probability stated.
        true: share of them that have the highest click rate of their story.
        true_low: 95 % Wilson interval of that share.
        true_high: its upper end.
    """

    low: float
    high: float
    variants: int
    stated: float
    true: float
    true_low: float
    true_high: float


def world_rates(world: World, seed: int = 0) -> NDArray[np.float64]:
    """Clicks an impression of each candidate over typical impressions, (items, K)."""
    stage = Stage.of(world)
    return true_rates(stage, typical_impressions(stage, seed, 1024))


def calibrate(agent: Agent, world: World) -> Spread:
    """Measure the error of log click rates from content alone; see `Spread`."""
    c = world.candidates
    items = np.arange(len(c.table))
    truth = np.log(np.where(c.available, world_rates(world), 1.0))
    voters = agent.left_out(items)[:, :, None] & c.available[None]
    none = np.zeros_like(c.impressions)
    record = record_features(none, none, c.available, agent.base_rate)
    contexts = agent.contexts({})[:USERS]
    total = np.zeros(voters.shape)
    for context in contexts:
        rows = np.broadcast_to(context, (len(items), len(context)))
        total += agent.estimate(c.state(items, rows, record)).click_rate
    mean, disagreement = mean_and_disagreement(np.log(np.where(voters, total / len(contexts), 1.0)), voters)
    error = np.where(c.available, mean - truth, 0.0)
    size = c.available.sum(1, keepdims=True)
    shared = error.sum(1, keepdims=True) / size
    # Centring on K siblings takes 1/K of the variance away.
    own = (error - shared) ** 2 * size / np.maximum(size - 1, 1)
    floor, factor = _non_negative_line(disagreement[c.available], own[c.available])
    return Spread(floor, factor, float(np.mean(shared**2)))


def reliability(agent: Agent, world: World) -> tuple[ReliabilityBin, ...]:
    """What a ranking says of training stories, records hidden, against the click rates of the audience.

    Each story is judged by the members that did not learn from it. The ranking asks for the highest Q, all that follows
    a choice; here it is judged by the click rate alone, because that truth is known. Bins without a variant are left
    out.
    """
    c = world.candidates
    blind = replace(c, impressions=np.zeros_like(c.impressions), clicks=np.zeros_like(c.clicks))
    belief = believe(agent, blind, agent.contexts({})[:USERS], np.arange(len(c.table)))
    rates = np.where(c.available, world_rates(world), -1.0)
    stated, best = [], []
    for i, kept in enumerate(c.available):
        stated.append(probability_best(belief.q[i, kept], belief.q_sd[i, kept], seed=i))
        best.append(rates[i, kept] == rates[i].max())
    return reliability_bins(np.concatenate(stated), np.concatenate(best))


def reliability_bins(
    stated: NDArray[np.float64], best: NDArray[np.bool_], edges: Sequence[float] = BINS
) -> tuple[ReliabilityBin, ...]:
    """Stated probabilities (N,) and what came of them (N,), bin by bin."""
    found = []
    for low, high in pairwise(edges):
        here = (stated >= low) & ((stated < high) | (high == edges[-1]))
        n = int(here.sum())
        if n:
            hits = int(best[here].sum())
            found.append(
                ReliabilityBin(low, high, n, float(stated[here].mean()), hits / n, *wilson_interval(hits, n))
            )
    return tuple(found)


def _non_negative_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Least squares ``y = a + b x`` with a, b >= 0 (Lawson & Hanson 1974)."""
    from scipy.optimize import nnls

    (a, b), _ = nnls(np.stack([np.ones_like(x), x], axis=1), y)
    return float(a), float(b)


def known_winners(
    world: World, item_ids: tuple[str, ...], variant_ids: list[list[str]], captions: list[list[str]]
) -> list[dict[str, Any]]:
    """The variant with the highest click rate of each story, as the simulated audience has it.

    Args:
        world: the truth.
        item_ids: (items,).
        variant_ids: by item and slot.
        captions: by item and slot, empty where there is none.
    """
    c, rate = world.candidates, world_rates(world)
    out = []
    for i, item_id in enumerate(item_ids):
        kept = c.available[i]
        best = int(rate[i].argmax())
        content = c.content[c.table[i]]
        seen = c.present[c.table[i]]
        out.append(
            {
                "item_id": item_id,
                "variant_id": variant_ids[i][best],
                "caption": captions[i][best],
                "lift": float(rate[i, best] / rate[i, kept].mean() - 1.0),
                "present": seen[best].astype(int).tolist(),
                "content": [round(float(v), 4) for v in content[best] - content[kept].mean(axis=0)],
            }
        )
    return out
