"""Typical impressions: users in the middle of their sessions, over whom rates are averaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.simulation.kernels import probe, snapshots
from multimodal_dql.simulation.sessions import told
from multimodal_dql.simulation.stage import Stage

__all__ = ["true_rates", "typical_impressions", "typical_users"]

Array = NDArray[np.float64]

TYPICAL = 1 << 33
"""Added to the seed, so that typical users are not those of a training or an evaluation."""


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


def typical_users(stage: Stage, seed: int, count: int = 256) -> Array:
    """What an agent knows at typical impressions, one row an impression, one column a field of `CONTEXT`."""
    known = told(typical_impressions(stage, seed, count), stage.mechanics)
    return np.stack([known[field.name] for field in CONTEXT.fields], axis=1)
