"""A world made ready for the compiled functions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation import engine
from multimodal_dql.simulation.audience import World
from multimodal_dql.simulation.compiled import compiled
from multimodal_dql.simulation.engine import Mechanics, Truth

__all__ = ["DEVICE_SHARE", "Stage"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

DEVICE_SHARE = (0.6, 0.3, 0.1)
HOURS = 256
BURSTS_KEPT = 64
"""Blocks whose factors are kept for the next batch; more would cost memory and save nothing."""


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
