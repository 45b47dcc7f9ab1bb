"""How far the agent is from the truth on stories it did not learn from, measured where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import Agent
from multimodal_dql.belief import USERS, believe, features_of, follows_of, score
from multimodal_dql.candidates import Candidates
from multimodal_dql.evaluation.proportions import wilson_interval
from multimodal_dql.last_layer import LastLayer, Regression, Rows, centred, fit_regression
from multimodal_dql.simulation.audience import World
from multimodal_dql.simulation.sessions import Stage, told
from multimodal_dql.simulation.typical import later_clicks, true_rates, typical_impressions

__all__ = [
    "BINS",
    "ReliabilityBin",
    "calibrate",
    "known_winners",
    "reliability",
    "reliability_bins",
    "world_rates",
    "world_values",
]

FEW_USERS = 16
"""Typical users of a part of the audience over which a score is averaged."""
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
        true: share of them that are the best of their story.
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


def world_values(world: World, discount: float, seed: int = 0) -> NDArray[np.float64]:
    """What each candidate is worth against its siblings, in clicks: the click now and what follows, (items, K)."""
    stage = Stage.of(world)
    later = later_clicks(stage, seed, discount)
    return world_rates(world, seed) + centred(later, world.candidates.available)


def calibrate(agent: Agent, world: World) -> LastLayer:
    """Fit the last layer on the training stories, each scored by the members that did not learn from it.

    The audience is simulated, so what a variant is worth is known and no click needs to be drawn.
    """
    c, stage, discount = world.candidates, Stage.of(world), _discount(agent)
    known, everyone = np.arange(len(c.table)), agent.contexts({})
    found = score(agent, c, everyone[:USERS], known)
    people = typical_impressions(stage, 0, 1024)
    rates = np.where(c.available, true_rates(stage, people), 1.0)
    truth = np.log(rates)
    click = _regression(agent, c, features_of(found, c), truth, agent.projection.widths)
    share = later_clicks(stage, 0, discount) / np.exp(
        truth.sum(1, keepdims=True) / c.available.sum(1, keepdims=True)
    )
    later = _regression(agent, c, follows_of(found, c.available), share)
    error = np.where(c.available, found.log_rate - truth, 0.0).sum(1) / c.available.sum(1)
    audience = _audience(agent, world, people, truth)
    return LastLayer(click, audience, later, float(np.mean(error**2))).rounded()


def _audience(
    agent: Agent, world: World, people: NDArray[np.float64], truth: NDArray[np.float64]
) -> Regression:
    """How click rates differ in front of each part of the audience that a user can ask for, against how scores do."""
    c, stage = world.candidates, Stage.of(world)
    known, told_of = np.arange(len(c.table)), told(people, stage.mechanics)
    usual = score(agent, c, agent.contexts({})[:FEW_USERS], known).log_rate
    x, y = [], []
    for field in agent.context.fields:
        for value in range(len(field.values)):
            here = people[told_of[field.name] == value]
            if len(here) >= FEW_USERS:
                asked = agent.contexts({field.name: value})[:FEW_USERS]
                x.append(score(agent, c, asked, known).log_rate - usual)
                y.append(np.log(np.where(c.available, true_rates(stage, here), 1.0)) - truth)
    return _regression(agent, c, np.concatenate(x)[..., None], np.concatenate(y))


def _regression(
    agent: Agent,
    c: Candidates,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    widths: Sequence[int] = (),
) -> Regression:
    """Fit tables (items, K, ...), or several of them one below the other."""
    times = len(y) // len(c.table)
    story, slot = np.nonzero(np.tile(c.available, (times, 1)))
    rows = Rows(x[story, slot], y[story, slot], story)
    return fit_regression(rows, widths, np.tile(agent.fold, times)[story])


def _discount(agent: Agent) -> float:
    """The worth of a click one story later that the agent was trained with."""
    return float(agent.facts["training"]["discount"])


def reliability(agent: Agent, world: World) -> tuple[ReliabilityBin, ...]:
    """What a ranking says of training stories, records hidden, against what is true of the simulated audience.

    Each story is judged by the members and the last layer that did not learn from it. Best is the highest value: the
    click now and what follows. Bins without a variant are left out.
    """
    c = world.candidates
    blind = replace(c, impressions=np.zeros_like(c.impressions), clicks=np.zeros_like(c.clicks))
    belief = believe(agent, blind, agent.contexts({})[:USERS], np.arange(len(c.table)))
    values = np.where(c.available, world_values(world, _discount(agent)), -np.inf)
    best = values == values.max(axis=1, keepdims=True)
    return reliability_bins(belief.chance[c.available], best[c.available])


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
