"""Run policies through sessions: compiled from end to end where a policy only looks at the story, step by
step otherwise.

A session is a user with all visits. Both ways call the same functions with the same draws and give the same
numbers to the last bit, whatever the batch.

Shape letters: ``S`` sessions, ``T`` stories a session at most, ``K`` candidates, ``M`` metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates
from multimodal_dql.policies.base import Policy, choose
from multimodal_dql.simulation import engine
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.simulation.engine import Mechanics
from multimodal_dql.simulation.kernels import LOG, METRICS, draws, run, show_all, start_all
from multimodal_dql.simulation.ledger import Ledger, synthetic_records
from multimodal_dql.simulation.stage import Stage
from multimodal_dql.state import RECORD_WIDTH

__all__ = ["LOG", "METRICS", "Sessions", "Stage", "Steps", "joined", "run_sessions", "run_table", "told"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sessions:
    """Outcomes of S sessions.

    Attributes:
        ids: (S,) numbers of the sessions.
        metrics: (S, M), columns `METRICS`.
        by_variant: (N + 1, 3) impressions, clicks and expected clicks of each variant, the same in any order of
            sessions.
        log: (S, T, L), columns `LOG`, or None.
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
        run(
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
    start_all(people, stage.mechanics, stage.truth, stage.items, seed, ids, out.metrics)
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
        context = CONTEXT.encode(told(people[going], stage.mechanics))
        state = seen.state(item, context, record)
        if ledger is not None:
            state = replace(state, counts=ledger.counts(item))
        action, probability = choose(policy, state, draws(people, going, seed, ids))
        contexts[going, t], records[going, t] = context, record
        over = show_all(
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


def told(people: Array, m: Mechanics) -> Mapping[str, Array]:
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
