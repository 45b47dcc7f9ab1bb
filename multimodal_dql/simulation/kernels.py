"""The compiled loops over sessions: whole sessions from a table of probabilities, or one step of many sessions.

Shape letters: ``S`` sessions, ``T`` stories a session at most, ``K`` candidates, ``M`` metrics, ``L`` log columns.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation import engine
from multimodal_dql.simulation.compiled import compiled, uniforms
from multimodal_dql.simulation.dynamics import satisfaction
from multimodal_dql.simulation.engine import Mechanics, Truth

__all__ = ["CONTEXT_AT", "LOG", "METRICS", "draws", "probe", "run", "show_all", "snapshots", "start_all"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

METRICS = (
    "impressions",
    "clicks",
    "expected_clicks",
    "dwell_seconds",
    "satisfaction",
    "conversions",
    "conversion_value",
    "visits",
    "came_back",
    "earlier",
    "segment",
    "device",
)
"""Columns of a session's outcome. Satisfaction is summed over impressions; `came_back` is whether the user
came back after the first visit; the last three were known before the session began."""

LOG = (
    "item",
    "action",
    "probability",
    "click_probability",
    "click",
    "dwell_seconds",
    "satisfaction",
    "conversion_value",
    "conversion_delay_hours",
    "visit_over",
    "done",
    "segment",
    "device",
    "hour",
    "returning",
    "step",
    "mood",
)
"""Columns of a step's log; the last six are what the agent was told, in the order of `CONTEXT`."""

GRAIN = 2.0**32
"""Expected clicks of a variant are summed in whole parts of a click; sums up to 2 million are exact in any order."""
CONTEXT_AT = LOG.index("segment")


@compiled
def show(
    row: Array,
    m: Mechanics,
    truth: Truth,
    items: Ints,
    bursts: Array,
    seed: int,
    session: int,
    action: int,
    probability: float,
    metrics: Array,
    by_variant: Array,
    log: Array,
) -> bool:
    """Show one variant, book what happened; whether the session is over."""
    t, item = int(row[engine.TOTAL]), int(row[engine.ITEM])
    keep = log.shape[0] > 0
    if keep:
        log[t, 0], log[t, 1], log[t, 2] = item, action, probability
        for k in range(4):
            log[t, CONTEXT_AT + k] = row[k]
        log[t, CONTEXT_AT + 4] = row[engine.STEP] / max(m.steps - 1, 1)
        log[t, CONTEXT_AT + 5] = 2.0 * satisfaction(row[engine.EXPOSURE], m.sensitivity) - 1.0
    first_visit = row[engine.VISIT] == 0.0
    variant = truth.table[item, action]
    r = engine.respond(row, m, truth, items, variant, bursts[variant], seed, session)
    metrics[0] += 1.0
    metrics[1] += r.click
    metrics[2] += r.click_probability
    metrics[3] += r.dwell_seconds
    metrics[4] += r.satisfaction
    metrics[5] += 1.0 if r.conversion_value > 0.0 else 0.0
    metrics[6] += r.conversion_value
    metrics[7] += r.visit_over
    if first_visit:
        metrics[8] += r.came_back
    by_variant[variant, 0] += 1.0
    by_variant[variant, 1] += r.click
    # Without this the sum would depend on its order. It is also exact: clicks are decided by a number of 32 bits.
    by_variant[variant, 2] += math.floor(r.click_probability * GRAIN + 0.5) / GRAIN
    if keep:
        log[t, 3], log[t, 4], log[t, 5], log[t, 6] = (
            r.click_probability,
            r.click,
            r.dwell_seconds,
            r.satisfaction,
        )
        log[t, 7], log[t, 8], log[t, 9] = r.conversion_value, r.conversion_delay_hours, r.visit_over
        log[t, 10] = r.done
    return r.done > 0.0


@compiled
def from_table(probabilities: Array, item: int, u: float) -> int:
    """Invert cumulated probabilities, as `multimodal_dql.policies.base.choose` does."""
    width, total = probabilities.shape[1], 0.0
    for k in range(width):
        total += probabilities[item, k]
    action, last, cumulated = 0, 0, 0.0
    for k in range(width):
        cumulated += probabilities[item, k]
        if u * total >= cumulated:
            action += 1
        if probabilities[item, k] > 0.0:
            last = k
    return min(action, last)


@compiled
def clairvoyant(row: Array, m: Mechanics, truth: Truth, bursts: Array, weight: float) -> int:
    """The candidate of highest click probability plus `weight` times what it does to satisfaction; first of equals."""
    item = int(row[engine.ITEM])
    best, most = 0, -1e300
    for k in range(truth.table.shape[1]):
        variant = truth.table[item, k]
        if variant < 0:
            break
        score = engine.click_probability(row, m, truth, variant, bursts[variant])
        score += weight * engine.value_of(row, m, truth, variant)
        if score > most:
            best, most = k, score
    return best


@compiled
def run(
    m: Mechanics,
    truth: Truth,
    items: Ints,
    bursts: Array,
    seed: int,
    ids: Ints,
    probabilities: Array,
    weight: float,
    width: int,
    metrics: Array,
    by_variant: Array,
    log: Array,
) -> None:
    """Whole sessions, one after the other. Without a table (no rows) the choice is clairvoyant."""
    row = np.empty(width)
    first_block = ids.min() // m.burst_sessions
    for s in range(len(ids)):
        session, metrics_s = ids[s], metrics[s]
        log_s = log[s] if log.shape[0] > 0 else log[:0, :, 0]
        burst_s = bursts[session // m.burst_sessions - first_block]
        engine.start(row, m, truth, items, seed, session)
        metrics_s[9], metrics_s[10], metrics_s[11] = (
            row[engine.EARLIER],
            row[engine.SEGMENT],
            row[engine.DEVICE],
        )
        over = False
        while not over:
            if probabilities.shape[0] > 0:
                item = int(row[engine.ITEM])
                u = uniforms(seed, session, engine.AT_STEP, 2 * int(row[engine.TOTAL]))[1]
                action = from_table(probabilities, item, u)
                p = probabilities[item, action]
            else:
                action, p = clairvoyant(row, m, truth, burst_s, weight), 1.0
            over = show(row, m, truth, items, burst_s, seed, session, action, p, metrics_s, by_variant, log_s)


@compiled
def start_all(
    people: Array, m: Mechanics, truth: Truth, items: Ints, seed: int, ids: Ints, metrics: Array
) -> None:
    """Fill the rows of users (S, width) before their first story, and what is known of them in `metrics` (S, M)."""
    for s in range(len(ids)):
        engine.start(people[s], m, truth, items, seed, ids[s])
        metrics[s, 9] = people[s, engine.EARLIER]
        metrics[s, 10], metrics[s, 11] = people[s, engine.SEGMENT], people[s, engine.DEVICE]


@compiled
def draws(people: Array, going: Ints, seed: int, ids: Ints) -> Array:
    """The uniform number that decides each action, (B,)."""
    out = np.empty(len(going))
    for i in range(len(going)):
        s = going[i]
        out[i] = uniforms(seed, ids[s], engine.AT_STEP, 2 * int(people[s, engine.TOTAL]))[1]
    return out


@compiled
def show_all(
    people: Array,
    m: Mechanics,
    truth: Truth,
    items: Ints,
    bursts: Array,
    seed: int,
    ids: Ints,
    going: Ints,
    action: Ints,
    probability: Array,
    metrics: Array,
    by_variant: Array,
    log: Array,
) -> NDArray[np.bool_]:
    """One step of the sessions `going` (B,), rows of `people`; whether each is over, (B,)."""
    over = np.zeros(len(going), dtype=np.bool_)
    first_block = ids.min() // m.burst_sessions
    for i in range(len(going)):
        s = going[i]
        over[i] = show(
            people[s], m, truth, items, bursts[ids[s] // m.burst_sessions - first_block], seed, ids[s], action[i],
            probability[i], metrics[s], by_variant, log[s],
        )  # fmt: skip
    return over


@compiled
def snapshots(
    m: Mechanics, truth: Truth, items: Ints, seed: int, probabilities: Array, every: int, rows: Array
) -> None:
    """Users as they are at every so many-th impression; fills `rows`."""
    row, session, seen, filled = np.empty(rows.shape[1]), 0, 0, 0
    while filled < len(rows):
        engine.start(row, m, truth, items, seed, session)
        over = False
        while not over and filled < len(rows):
            seen += 1
            if seen % every == 0:
                rows[filled] = row
                filled += 1
            u = uniforms(seed, session, engine.AT_STEP, 2 * int(row[engine.TOTAL]))[1]
            item = int(row[engine.ITEM])
            variant = truth.table[item, from_table(probabilities, item, u)]
            over = engine.respond(row, m, truth, items, variant, 1.0, seed, session).done > 0.0
        session += 1


@compiled
def probe(rows: Array, m: Mechanics, truth: Truth) -> Array:
    """Click probability of every variant, (N + 1,), averaged over the users of `rows`."""
    out = np.zeros(len(truth.variants))
    for v in range(len(out)):
        for i in range(len(rows)):
            out[v] += engine.click_probability(rows[i], m, truth, v, 1.0)
    return out / len(rows)
