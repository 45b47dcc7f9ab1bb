"""Typical impressions: users in the middle of their sessions, over whom rates are averaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.simulation.kernels import probe, snapshots
from multimodal_dql.simulation.sessions import run_table, told
from multimodal_dql.simulation.stage import Stage

__all__ = ["later_clicks", "true_rates", "typical_impressions", "typical_users"]

Array = NDArray[np.float64]

TYPICAL = 1 << 33
"""Added to the seed, so that typical users are not those of a training or an evaluation."""
SESSIONS_A_VARIANT, MOST_SESSIONS, SESSIONS_AT_ONCE = 400, 400_000, 8192
"""For what follows a choice; about 10 impressions a session."""


def typical_impressions(stage: Stage, seed: int, count: int = 256) -> Array:
    """Users in the middle of their sessions, as they are when something is shown, under random choices.

    Returns:
        (count, width) rows of the engine; `told`, beside `run_sessions`, says what an agent knows of them.
    """
    available = stage.world.candidates.available
    rows = np.zeros((count, stage.width))
    uniform = available / available.sum(axis=1, keepdims=True)
    snapshots(stage.mechanics, stage.truth, stage.items, seed + TYPICAL, uniform, 7, rows)
    return rows


def true_rates(stage: Stage, rows: Array) -> Array:
    """Clicks an impression of each candidate in front of the users of `rows`, (items, K); 0 where not available."""
    c = stage.world.candidates
    return np.asarray(probe(rows, stage.mechanics, stage.truth)[c.table] * c.available)


def later_clicks(stage: Stage, seed: int, discount: float) -> Array:
    """Expected clicks that follow each candidate in the same session under random choices, discounted, (items, K).

    Measured in `SESSIONS_A_VARIANT` simulated sessions a variant. What follows differs by a per cent or two between
    siblings, and hardly by the policy that follows.
    """
    c = stage.world.candidates
    uniform = c.available / c.available.sum(axis=1, keepdims=True)
    total, count = np.zeros((2, len(c.content)))
    sessions = min(SESSIONS_A_VARIANT * int(c.available.sum()), MOST_SESSIONS)
    for start in range(0, sessions, SESSIONS_AT_ONCE):
        ids = np.arange(start, min(start + SESSIONS_AT_ONCE, sessions))
        run = run_table(stage, seed + TYPICAL, ids, uniform, log=True)
        active = np.arange(stage.world.config.longest) < run.lengths[:, None]
        click = np.where(active, run.field("click_probability"), 0.0)
        follows = np.zeros_like(click)
        for t in range(click.shape[1] - 2, -1, -1):
            follows[:, t] = discount * (click[:, t + 1] + follows[:, t + 1])
        row = c.table[
            run.field("item")[active].astype(np.int64), run.field("action")[active].astype(np.int64)
        ]
        total += np.bincount(row, follows[active], len(total))
        count += np.bincount(row, minlength=len(total))
    return np.asarray((total / np.maximum(count, 1.0))[c.table] * c.available)


def typical_users(stage: Stage, seed: int, count: int = 256) -> Array:
    """What an agent knows at typical impressions, one row an impression, one column a field of `CONTEXT`."""
    known = told(typical_impressions(stage, seed, count), stage.mechanics)
    return np.stack([known[field.name] for field in CONTEXT.fields], axis=1)
