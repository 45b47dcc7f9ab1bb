"""What is known of variants from counts: a running experiment's own, or made up for training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.audience import World
from multimodal_dql.state import Counts, record_features

__all__ = ["Ledger", "synthetic_records"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Ledger:
    """What a running experiment has counted, story by story; grows as its sessions come in.

    Attributes:
        impressions: (items, K).
        clicks: (items, K).
        horizon: impressions planned for each story, (items,).
        shown: whether policies that look at content see the counts as records, too.
    """

    impressions: Ints
    clicks: Ints
    horizon: Array
    shown: bool = False

    @classmethod
    def empty(cls, world: World, horizon: float = np.inf, *, shown: bool = False) -> Ledger:
        """Nothing counted yet; `horizon` impressions planned for every story."""
        shape = world.candidates.table.shape
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape[0], horizon), shown)

    def counts(self, items: Ints) -> Counts:
        """The counts of decisions on `items` (B,)."""
        n = self.impressions[items]
        return Counts(n, self.clicks[items], n.sum(axis=1).astype(np.float64), self.horizon[items])

    def copy(self) -> Ledger:
        """Another ledger with the same counts."""
        return Ledger(self.impressions.copy(), self.clicks.copy(), self.horizon, self.shown)

    def records(self, world: World, items: Ints) -> NDArray[np.float32]:
        """The same as features, (B, K, R); empty records unless `shown`."""
        n, s = self.impressions[items] * self.shown, self.clicks[items] * self.shown
        return record_features(n, s, world.candidates.available[items], world.config.base_click_rate)

    def add(self, world: World, by_variant: Array) -> None:
        """Count what `Sessions.by_variant` says, (N + 1, 3)."""
        whole = np.rint(by_variant[:, :2]).astype(np.int64)
        c = world.candidates
        self.impressions += whole[c.table, 0] * c.available
        self.clicks += whole[c.table, 1] * c.available


def synthetic_records(
    world: World,
    items: Ints,
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
