"""What happens in Recommendation-v0, compiled: people of the engine side by side, and the records of what they meet.

Shape letters: ``N`` environments, ``K`` candidates.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation import engine
from multimodal_dql.simulation.compiled import compiled, uniforms
from multimodal_dql.simulation.dynamics import logistic
from multimodal_dql.simulation.engine import Mechanics, Truth
from multimodal_dql.simulation.scenarios.draws import click_count, log_uniform

__all__ = ["foresee", "records", "respond", "start"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

OF_RECORD = 16
"""Stream of random numbers of the records; the engine's own are below it."""


@compiled
def start(
    people: Array, m: Mechanics, truth: Truth, items: Ints, envs: Ints, episodes: Ints, key: int
) -> None:
    """Start a person in each of these environments."""
    for i in envs:
        engine.start(people[i], m, truth, items, key, episodes[i])


@compiled
def _worth(row: Array, m: Mechanics, truth: Truth, variant: int, p: float, s: float, reward: int) -> float:
    """Expected reward of a story with click probability `p`, given the satisfaction `s` after it."""
    if reward == 0:
        return p
    if reward == 2:
        return s
    match = m.taste_sd * engine.taste_match(row, truth.variants, variant)
    if reward == 1:
        scale = m.dwell_scale_seconds * math.exp(match) * (2.0 * s) ** m.dwell_satisfaction
        return float(p * scale * math.gamma(1.0 + 1.0 / m.dwell_shape) / 60.0)
    c = truth.variants[variant, engine.CLICKBAIT]
    rate = logistic(m.conversion_logit + m.conversion_match * match - m.conversion_regret * c)
    return float(p * rate * m.conversion_value)


@compiled
def respond(
    people: Array,
    m: Mechanics,
    truth: Truth,
    items: Ints,
    actions: Ints,
    live: Bools,
    episodes: Ints,
    key: int,
    reward: int,
    out: Array,
    over: Bools,
) -> None:
    """Each live person meets a variant; `out` is (N, 9), in the order of `_advance`."""
    before = np.empty(people.shape[1])
    for i in range(len(live)):
        if not live[i]:
            continue
        before[:] = people[i]
        variant = truth.table[int(people[i, engine.ITEM]), actions[i]]
        factor = engine.burst(m, key, episodes[i] // m.burst_sessions, variant)
        r = engine.respond(people[i], m, truth, items, variant, factor, key, episodes[i])
        out[i, 1] = _worth(before, m, truth, variant, r.click_probability, r.satisfaction, reward)
        out[i, 2], out[i, 3], out[i, 4] = r.click_probability, r.click, r.dwell_seconds
        out[i, 5], out[i, 6], out[i, 7] = r.satisfaction, r.conversion_value, r.conversion_delay_hours
        out[i, 8] = r.visit_over
        out[i, 0] = r.click
        if reward == 1:
            out[i, 0] = r.dwell_seconds / 60.0
        elif reward == 2:
            out[i, 0] = r.satisfaction
        elif reward == 3:
            out[i, 0] = r.conversion_value
        over[i] = r.done > 0.0


@compiled
def foresee(
    people: Array, m: Mechanics, truth: Truth, episodes: Ints, key: int, reward: int, out: Array
) -> None:
    """`out` (3, N, K): expected reward, click probability, and what showing it adds to the exposure."""
    for i in range(len(people)):
        item = int(people[i, engine.ITEM])
        for k in range(truth.table.shape[1]):
            variant = truth.table[item, k]
            # A person who is gone meets nothing.
            if variant >= 0 and people[i, engine.STEP] < m.steps:
                factor = engine.burst(m, key, episodes[i] // m.burst_sessions, variant)
                p = engine.click_probability(people[i], m, truth, variant, factor)
                value = engine.value_of(people[i], m, truth, variant)
                s = logistic(m.sensitivity * (m.memory * people[i, engine.EXPOSURE] + value))
                out[0, i, k] = _worth(people[i], m, truth, variant, p, s, reward)
                out[1, i, k], out[2, i, k] = p, value


@compiled
def records(
    people: Array, truth: Truth, episodes: Ints, key: int, hidden: float, low: float, high: float, out: Ints
) -> None:
    """Fill `out` (2, N, K) with the impressions and clicks that the variants of each story met might have by now."""
    for i in range(len(people)):
        item, first = int(people[i, engine.ITEM]), int(people[i, engine.TOTAL]) << 10
        u, v, _, _ = uniforms(key, episodes[i], OF_RECORD, first)
        count = 0
        for k in range(truth.table.shape[1]):
            count += truth.table[item, k] >= 0
        if u < hidden:
            continue
        each = int(log_uniform(v, low, high) / count)
        for k in range(count):
            rate = logistic(truth.variants[truth.table[item, k], engine.APPEAL])
            out[0, i, k] = each
            w = uniforms(key, episodes[i], OF_RECORD, first + 1 + k)[0]
            out[1, i, k] = click_count(w, each, rate, 1.0)
