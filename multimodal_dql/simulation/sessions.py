"""Run policies through sessions: compiled from end to end where a policy only looks at the story, step by
step otherwise.

A session is a user with all visits. Both ways call the same functions with the same draws and give the same
numbers to the last bit, whatever the batch.

Shape letters: ``S`` sessions, ``T`` stories a session at most, ``K`` candidates, ``M`` metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.policies.base import Policy, choose
from multimodal_dql.simulation import engine
from multimodal_dql.simulation.audience import CONTEXT, World
from multimodal_dql.simulation.compiled import compiled, uniforms
from multimodal_dql.simulation.dynamics import satisfaction
from multimodal_dql.simulation.engine import Mechanics, Truth
from multimodal_dql.simulation.ledger import Ledger, synthetic_records
from multimodal_dql.state import RECORD_WIDTH, Candidates

__all__ = [
    "CONTEXT_AT",
    "LOG",
    "METRICS",
    "Sessions",
    "Stage",
    "Steps",
    "joined",
    "run_sessions",
    "run_table",
    "true_rates",
    "typical_impressions",
    "typical_users",
]

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
DEVICE_SHARE = (0.6, 0.3, 0.1)
HOURS = 256
BURSTS_KEPT = 64
"""Blocks whose factors are kept for the next batch; more would cost memory and save nothing."""
CONTEXT_AT = LOG.index("segment")
TYPICAL = 1 << 33
"""Added to the seed, so that typical users are not those of a training or an evaluation."""


@dataclass(frozen=True)
class Stage:
    """A world made ready for the compiled functions.

    Attributes:
        world: the truth.
        mechanics: its parameters.
        truth: its arrays.
        items: the stories that may be met.
    """

    world: World
    mechanics: Mechanics
    truth: Truth
    items: Ints

    @classmethod
    def of(cls, world: World, items: Ints | None = None) -> Stage:
        """Prepare a world; `items` default to all stories."""
        c, audience = world.candidates, world.audience
        score = 1.0 / (1.0 + np.exp(-world.clickbait))
        style = np.abs(world.loading).argmax(axis=1)
        truth = Truth(
            variants=np.column_stack([world.appeal, score, style, world.loading]),
            users=np.vstack([audience.taste, audience.personal]),
            table=np.where(c.available, c.table, -1),
            examination=engine.ranks(world.config),
            devices=np.cumsum(DEVICE_SHARE),
            hours=_hours(),
        )
        chosen = np.arange(len(c.table)) if items is None else np.asarray(items, dtype=np.int64)
        return cls(world, engine.mechanics(world.config), truth, chosen)

    @property
    def width(self) -> int:
        """Numbers in a user's row."""
        return int(engine.TASTE + 2 * self.truth.users.shape[1] + 2 * self.world.config.longest)

    @cached_property
    def _bursts(self) -> dict[tuple[int, int], Array]:
        return {}

    def bursts(self, seed: int, ids: Ints) -> Array:
        """Factors on clicks, (blocks, N + 1), for the blocks from the first to the last of these sessions."""
        first, last = (
            int(ids.min()) // self.mechanics.burst_sessions,
            int(ids.max()) // self.mechanics.burst_sessions,
        )
        rows = []
        for block in range(first, last + 1):
            row = self._bursts.get((seed, block))
            if row is None:
                row = _burst_row(self.mechanics, seed, block, len(self.truth.variants))
                if len(self._bursts) >= BURSTS_KEPT:
                    self._bursts.clear()
                self._bursts[seed, block] = row
            rows.append(row)
        return np.stack(rows)


def _hours() -> Array:
    """Quantiles of the hour of a first visit: more in the evening, few at night, density ``1 + .8 cos(2 pi
    (h - 19) / 24)``.
    """
    grid = np.linspace(0.0, 24.0, 2401)
    cumulated = grid / 24.0 + 0.8 / (2 * np.pi) * (
        np.sin(2 * np.pi * (grid - 19) / 24) + np.sin(2 * np.pi * 19 / 24)
    )
    return np.interp((np.arange(HOURS) + 0.5) / HOURS, cumulated, grid)


@compiled
def _burst_row(m: Mechanics, seed: int, block: int, variants: int) -> Array:
    out = np.ones(variants)
    for v in range(variants):
        out[v] = engine.burst(m, seed, block, v)
    return out


@dataclass(frozen=True)
class Sessions:
    """Outcomes of S sessions.

    Attributes:
        ids: (S,) numbers of the sessions.
        metrics: (S, M), columns `METRICS`.
        by_variant: (N + 1, 3) impressions, clicks and expected clicks of each variant, the same in any order
        of sessions. log: (S, T, L), columns `LOG`, or None.
        lengths: (S,) stories met.
    """

    ids: Ints
    metrics: Array
    by_variant: Array
    log: Array | None
    lengths: Ints

    def metric(self, name: str) -> Array:
        """One column of `metrics`, (S,)."""
        return self.metrics[:, METRICS.index(name)]

    def field(self, name: str) -> Array:
        """One column of the log, (S, T); raises ValueError when no log was kept."""
        if self.log is None:
            raise ValueError("no log was kept")
        return self.log[:, :, LOG.index(name)]


@compiled
def _show(
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
def _from_table(probabilities: Array, item: int, u: float) -> int:
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
def _clairvoyant(row: Array, m: Mechanics, truth: Truth, bursts: Array, weight: float) -> int:
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
def _run(
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
                action = _from_table(probabilities, item, u)
                p = probabilities[item, action]
            else:
                action, p = _clairvoyant(row, m, truth, burst_s, weight), 1.0
            over = _show(
                row, m, truth, items, burst_s, seed, session, action, p, metrics_s, by_variant, log_s
            )


def joined(parts: list[Sessions]) -> Sessions:
    """Sessions one after the other; sums are formed in the order of the parts."""
    logs = [part.log for part in parts if part.log is not None]
    by_variant = parts[0].by_variant
    for part in parts[1:]:
        by_variant = by_variant + part.by_variant
    return Sessions(
        ids=np.concatenate([part.ids for part in parts]),
        metrics=np.concatenate([part.metrics for part in parts]),
        by_variant=by_variant,
        log=np.concatenate(logs) if len(logs) == len(parts) else None,
        lengths=np.concatenate([part.lengths for part in parts]),
    )


def run_table(
    stage: Stage, seed: int, ids: Ints, probabilities: Array | None, *, weight: float = 0.0, log: bool = False
) -> Sessions:
    """Run sessions under a policy that is a table: the story alone decides.

    Args:
        stage: the world.
        seed: with the session's number it fixes the user and the luck.
        ids: (S,) numbers of the sessions.
        probabilities: (items, K), rows sum to 1, zero where a candidate is not available. None is the clairvoyant
            policy, which knows the truth and takes the highest click probability plus `weight` times the gain in
            satisfaction.
        weight: see `probabilities`.
        log: keep every step.
    """
    out = _empty(stage, ids, log)
    table = (
        np.zeros((0, 1)) if probabilities is None else np.ascontiguousarray(probabilities, dtype=np.float64)
    )
    if len(ids):
        kept = np.zeros((0, 1, 1)) if out.log is None else out.log
        _run(
            stage.mechanics, stage.truth, stage.items, stage.bursts(seed, ids), seed, ids, table, float(weight),
            stage.width, out.metrics, out.by_variant, kept,
        )  # fmt: skip
    return _finished(out)


def _empty(stage: Stage, ids: Ints, log: bool) -> Sessions:
    shape = (len(ids), stage.world.config.longest, len(LOG))
    metrics, by_variant = np.zeros((len(ids), len(METRICS))), np.zeros((len(stage.truth.variants), 3))
    return Sessions(ids, metrics, by_variant, np.zeros(shape) if log else None, np.zeros(len(ids), np.int64))


def _finished(out: Sessions) -> Sessions:
    out.lengths[:] = out.metrics[:, 0].astype(np.int64)
    return out


@compiled
def _start_all(
    people: Array, m: Mechanics, truth: Truth, items: Ints, seed: int, ids: Ints, metrics: Array
) -> None:
    for s in range(len(ids)):
        engine.start(people[s], m, truth, items, seed, ids[s])
        metrics[s, 9] = people[s, engine.EARLIER]
        metrics[s, 10], metrics[s, 11] = people[s, engine.SEGMENT], people[s, engine.DEVICE]


@compiled
def _draws(people: Array, going: Ints, seed: int, ids: Ints) -> Array:
    """The uniform number that decides each action, (B,)."""
    out = np.empty(len(going))
    for i in range(len(going)):
        s = going[i]
        out[i] = uniforms(seed, ids[s], engine.AT_STEP, 2 * int(people[s, engine.TOTAL]))[1]
    return out


@compiled
def _show_all(
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
    over = np.zeros(len(going), dtype=np.bool_)
    first_block = ids.min() // m.burst_sessions
    for i in range(len(going)):
        s = going[i]
        over[i] = _show(
            people[s], m, truth, items, bursts[ids[s] // m.burst_sessions - first_block], seed, ids[s], action[i],
            probability[i], metrics[s], by_variant, log[s],
        )  # fmt: skip
    return over


@dataclass(frozen=True)
class Steps:
    """Sessions step by step, as learning wants them; arrays are (S, T) unless stated.

    Attributes:
        sessions: the outcomes and the log.
        active: the session had not ended.
        item: story shown.
        action: candidate chosen.
        click_probability: what the simulator knows and an editor cannot.
        click: 0 or 1.
        done: the session ended after this step.
        context: (S, T, C) what the agent saw.
        record: (S, T, K, R) what the agent saw.
    """

    sessions: Sessions
    active: NDArray[np.bool_]
    item: Ints
    action: Ints
    click_probability: Array
    click: Array
    done: NDArray[np.bool_]
    context: NDArray[np.float32]
    record: NDArray[np.float32]

    @property
    def probability(self) -> Array:
        """Of choosing the action (the propensity)."""
        return self.sessions.field("probability")

    @property
    def dwell_seconds(self) -> Array:
        """Reading time after a click, else 0."""
        return self.sessions.field("dwell_seconds")


def run_sessions(
    stage: Stage,
    policy: Policy,
    *,
    seed: int,
    ids: Ints,
    seen: Candidates | None = None,
    record_rng: np.random.Generator | None = None,
    ledger: Ledger | None = None,
) -> Steps:
    """Run sessions under any policy, asked once a step for all sessions that go on.

    Args:
        stage: the world.
        policy: decides.
        seed: with the session's number it fixes the user and the luck.
        ids: (S,) numbers of the sessions.
        seen: the candidates as the policy sees them; by default as they are. A control passes permuted embeddings.
        record_rng: draws synthetic records; None hides every record unless the ledger shows them.
        ledger: what the running experiment has counted so far, for policies that learn from counts.
    """
    world, config = stage.world, stage.world.config
    seen = seen or world.candidates
    out = _empty(stage, ids, log=True)
    if out.log is None:
        raise ValueError("a log is kept here")
    people, bursts = np.zeros((len(ids), stage.width)), stage.bursts(seed, ids)
    _start_all(people, stage.mechanics, stage.truth, stage.items, seed, ids, out.metrics)
    shape = (len(ids), config.longest)
    contexts = np.zeros((*shape, CONTEXT.width), dtype=np.float32)
    records = np.zeros((*shape, world.candidates.size, RECORD_WIDTH), dtype=np.float32)
    going = np.arange(len(ids))
    for t in range(config.longest):
        item = people[going, engine.ITEM].astype(np.int64)
        if record_rng is not None:
            record = synthetic_records(world, item, record_rng)
        else:
            record = (ledger or Ledger.empty(world)).records(world, item)
        context = CONTEXT.encode(_told(people[going], stage.mechanics))
        state = seen.state(item, context, record)
        if ledger is not None:
            state = replace(state, counts=ledger.counts(item))
        action, probability = choose(policy, state, _draws(people, going, seed, ids))
        contexts[going, t], records[going, t] = context, record
        over = _show_all(
            people, stage.mechanics, stage.truth, stage.items, bursts, seed, ids, going, action, probability,
            out.metrics, out.by_variant, out.log,
        )  # fmt: skip
        going = going[~over]
        if not len(going):
            break
    _finished(out)
    return Steps(
        sessions=out,
        active=np.arange(config.longest) < out.lengths[:, None],
        item=out.field("item").astype(np.int64),
        action=out.field("action").astype(np.int64),
        click_probability=out.field("click_probability"),
        click=out.field("click"),
        done=(out.field("done") > 0.0) | (np.arange(config.longest) >= out.lengths[:, None]),
        context=contexts,
        record=records,
    )


@compiled
def _snapshots(
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
            variant = truth.table[item, _from_table(probabilities, item, u)]
            over = engine.respond(row, m, truth, items, variant, 1.0, seed, session).done > 0.0
        session += 1


@compiled
def _probe(rows: Array, m: Mechanics, truth: Truth) -> Array:
    out = np.zeros(len(truth.variants))
    for v in range(len(out)):
        for i in range(len(rows)):
            out[v] += engine.click_probability(rows[i], m, truth, v, 1.0)
    return out / len(rows)


def typical_impressions(stage: Stage, seed: int, count: int = 256) -> Array:
    """Users in the middle of their sessions, as they are when something is shown, under random choices.

    Returns:
        (count, width) rows of the engine; `told` says what an agent knows about them.
    """
    available = stage.world.candidates.available
    rows = np.zeros((count, stage.width))
    uniform = available / available.sum(axis=1, keepdims=True)
    _snapshots(stage.mechanics, stage.truth, stage.items, seed + TYPICAL, uniform, 7, rows)
    return rows


def true_rates(stage: Stage, rows: Array) -> Array:
    """Clicks an impression of each candidate in front of the users of `rows`, (items, K); 0 where not available."""
    c = stage.world.candidates
    return np.asarray(_probe(rows, stage.mechanics, stage.truth)[c.table] * c.available)


def typical_users(stage: Stage, seed: int, count: int = 256) -> Array:
    """What an agent knows at typical impressions, one row an impression, one column a field of `CONTEXT`."""
    told = _told(typical_impressions(stage, seed, count), stage.mechanics)
    return np.stack([told[field.name] for field in CONTEXT.fields], axis=1)


def _told(people: Array, m: Mechanics) -> Mapping[str, Array]:
    """What the agent is told about users, a column a field of `CONTEXT`."""
    mood = 2.0 / (1.0 + np.exp(-m.sensitivity * people[:, engine.EXPOSURE])) - 1.0
    return {
        "segment": people[:, engine.SEGMENT],
        "device": people[:, engine.DEVICE],
        "hour": people[:, engine.HOUR],
        "returning": people[:, engine.RETURNING],
        "step": people[:, engine.STEP] / max(m.steps - 1, 1),
        "satisfaction": np.clip(mood, -1.0, 1.0),
    }
