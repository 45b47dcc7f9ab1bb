"""Run policies through sessions of the simulated audience, many sessions side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.policies.base import Policy, choose
from multimodal_dql.simulation.audience import CONTEXT, Luck, World, draw_luck
from multimodal_dql.state import RECORD_WIDTH, Candidates, record_features

__all__ = ["Steps", "run_sessions", "synthetic_records"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """What happened in S sessions of at most T steps; arrays are (S, T) unless stated.

    Attributes:
        active: the session had not ended.
        item: story shown.
        action: candidate chosen.
        probability: of choosing it (the propensity).
        click_probability: what the simulator knows and an editor cannot.
        click: 0 or 1.
        dwell_seconds: reading time after a click, else 0.
        done: the session ended after this step.
        context: (S, T, C) what the agent saw.
        record: (S, T, K, R) what the agent saw.
    """

    active: NDArray[np.bool_]
    item: NDArray[np.int64]
    action: NDArray[np.int64]
    probability: Array
    click_probability: Array
    click: NDArray[np.int64]
    dwell_seconds: Array
    done: NDArray[np.bool_]
    context: NDArray[np.float32]
    record: NDArray[np.float32]


def synthetic_records(
    world: World,
    items: NDArray[np.int64],
    rng: np.random.Generator,
    hidden: float = 0.5,
    most: float = 20_000.0,
) -> NDArray[np.float32]:
    """Records that variants might have when a decision on `items` (B,) falls: (B, K, R).

    Impressions of a story are log-uniform up to `most`, split evenly; clicks follow the average user. A share
    `hidden` of the stories has no record at all, so that the agent learns to choose from content alone.
    """
    available = world.candidates.available[items]
    rate = 1.0 / (1.0 + np.exp(-world.appeal[world.candidates.table[items]]))
    n = np.exp(rng.uniform(np.log(50.0), np.log(most), size=(len(items), 1))) / available.sum(
        axis=1, keepdims=True
    )
    n = np.where((rng.random((len(items), 1)) < hidden) | ~available, 0.0, n).astype(np.int64)
    return record_features(n, rng.binomial(n, rate), available, world.config.base_click_rate)


def run_sessions(
    world: World,
    policy: Policy,
    *,
    seed: int,
    first: int,
    sessions: int,
    items: NDArray[np.int64],
    seen: Candidates | None = None,
    record_rng: np.random.Generator | None = None,
) -> Steps:
    """Simulate sessions ``first .. first + sessions`` under `policy`.

    Args:
        world: the truth.
        policy: asked once a step for all sessions that go on.
        seed: with the session's number it fixes the user and the luck.
        first: number of the first session.
        sessions: S.
        items: the stories that may be met.
        seen: the candidates as the policy sees them; by default as they are. A control passes permuted embeddings.
        record_rng: draws synthetic records; None hides every record.
    """
    config, candidates = world.config, world.candidates
    seen = seen or candidates
    luck = draw_luck(seed, first, sessions, config.steps, candidates.content.shape[1], items)
    shape = (sessions, config.steps)
    out = Steps(
        active=np.zeros(shape, dtype=bool),
        item=luck.items,
        action=np.zeros(shape, dtype=np.int64),
        probability=np.ones(shape),
        click_probability=np.zeros(shape),
        click=np.zeros(shape, dtype=np.int64),
        dwell_seconds=np.zeros(shape),
        done=np.ones(shape, dtype=bool),
        context=np.zeros((*shape, CONTEXT.width), dtype=np.float32),
        record=np.zeros((*shape, candidates.size, RECORD_WIDTH), dtype=np.float32),
    )
    taste = world.audience.taste[luck.segment] + luck.personal * world.audience.personal
    satisfaction = np.zeros(sessions)
    going = np.arange(sessions)
    for t in range(config.steps):
        item = luck.items[going, t]
        if record_rng is None:
            none = np.zeros((len(going), candidates.size), dtype=np.int64)
            record = record_features(none, none, candidates.available[item], config.base_click_rate)
        else:
            record = synthetic_records(world, item, record_rng)
        context = _context(luck, going, t / max(config.steps - 1, 1), satisfaction[going])
        state = seen.state(item, context, record)
        action, probability = choose(policy, state, luck.action[going, t])
        variant = candidates.table[item, action]
        match = np.einsum("sp,sp->s", taste[going], candidates.content[variant])
        p = 1.0 / (1.0 + np.exp(-(world.appeal[variant] + match - config.fatigue * t)))
        click = luck.click[going, t] < p
        # Satisfaction follows what was shown, read or not: people tire of a feed that is not for them.
        regret = config.clickbait_regret * world.clickbait[variant]
        mood = config.memory * satisfaction[going] + (1 - config.memory) * np.tanh(match - regret)
        stay = 1.0 / (1.0 + np.exp(-(config.stay + config.stay_satisfaction * mood)))
        done = (luck.leave[going, t] >= stay) | (t == config.steps - 1)
        scale = config.dwell_scale_seconds * np.exp(match - regret)
        dwell = scale * (-np.log1p(-luck.dwell[going, t])) ** (1.0 / config.dwell_shape)

        out.active[going, t] = True
        out.action[going, t], out.probability[going, t] = action, probability
        out.click_probability[going, t], out.click[going, t] = p, click
        out.dwell_seconds[going, t] = dwell * click
        out.done[going, t] = done
        out.context[going, t], out.record[going, t] = context, record
        satisfaction[going] = mood
        going = going[~done]
        if not len(going):
            break
    return out


def _context(luck: Luck, going: NDArray[np.int64], step: float, satisfaction: Array) -> NDArray[np.float32]:
    """What the agent is told about the sessions that go on, (B, C)."""
    return CONTEXT.encode(
        {
            "segment": luck.segment[going].astype(np.float64),
            "device": luck.device[going].astype(np.float64),
            "hour": luck.hour[going],
            "returning": luck.returning[going],
            "step": np.full(len(going), step),
            "satisfaction": np.clip(satisfaction, -1.0, 1.0),
        }
    )
