"""Sessions to what is learned from: n-step transitions, and which of them are sound.

Shape letters: ``S`` sessions, ``T`` steps, ``K`` candidates, ``N`` transitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates
from multimodal_dql.replay import n_step
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.state import RECORD_WIDTH
from multimodal_dql.train_config import TrainConfig

__all__ = ["LARGEST_REWARD", "Visits", "fields_of", "labels", "session_returns", "sound", "transitions_of"]

LARGEST_REWARD = 1e4
"""In average clicks: n certain clicks at a base rate of 1 in 1,000 sum to n thousand."""


class Visits(Protocol):
    """What is learned from, (S, T, ...); `Steps` is one. Fields as there."""

    @property
    def active(self) -> NDArray[np.bool_]: ...  # noqa: D102
    @property
    def item(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def action(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def click_probability(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def click(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def done(self) -> NDArray[np.bool_]: ...  # noqa: D102
    @property
    def context(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def record(self) -> NDArray[np.float32]: ...  # noqa: D102


def fields_of(candidates: Candidates) -> dict[str, tuple[tuple[int, ...], Any]]:
    """What a transition holds: stories by number, records as features, context before and after."""
    record = (candidates.size, RECORD_WIDTH)
    return {
        "item": ((), np.int32),
        "context": ((CONTEXT.width,), np.float32),
        "record": (record, np.float32),
        "action": ((), np.int32),
        "reward": ((), np.float32),
        "factor": ((), np.float32),
        "click": ((), np.float32),
        "next_item": ((), np.int32),
        "next_context": ((CONTEXT.width,), np.float32),
        "next_record": (record, np.float32),
    }


def labels(steps: Visits, config: TrainConfig) -> NDArray[np.float64]:
    """What is learned as the click of each step, (S, T): its probability, or the coin."""
    return np.asarray(steps.click_probability if config.expected_reward else steps.click, np.float64)


def transitions_of(steps: Visits, base_rate: float, config: TrainConfig) -> dict[str, NDArray[Any]]:
    """Sessions to n-step transitions, N of them, one for each step that happened.

    Rewards are in units of `base_rate`, clicks an impression, so that they are about 1.
    """
    click = labels(steps, config)
    reward = click / base_rate
    total, factor, at = n_step(reward, steps.active, steps.done, config.discount, config.n_step)
    keep = steps.active
    row = np.broadcast_to(np.arange(len(at))[:, None], at.shape)[keep]
    after = at[keep]
    return {
        "item": steps.item[keep],
        "context": steps.context[keep],
        "record": steps.record[keep],
        "action": steps.action[keep],
        "reward": total[keep],
        "factor": factor[keep],
        "click": click[keep],
        "next_item": steps.item[row, after],
        "next_context": steps.context[row, after],
        "next_record": steps.record[row, after],
    }


def session_returns(steps: Visits, base_rate: float, config: TrainConfig) -> NDArray[np.float64]:
    """Discounted return of each session from its first step, (S,), in average clicks: the unit of Q."""
    reward = np.where(steps.active, labels(steps, config) / base_rate, 0.0)
    return np.asarray(reward @ config.discount ** np.arange(reward.shape[1]))


def sound(batch: Mapping[str, NDArray[Any]], available: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which transitions can be learned from, (..., N) as the leading axes of ``batch["item"]``.

    Numbers are finite, rewards at most `LARGEST_REWARD`, labels and factors within 0 and 1, stories known, and the
    chosen candidate was available.

    Args:
        batch: transitions by field.
        available: (items, K).
    """
    item, action = batch["item"], batch["action"]
    lead = item.ndim
    good = np.ones(item.shape, dtype=bool)
    for array in batch.values():
        if array.dtype.kind == "f":
            good &= np.isfinite(array).all(axis=tuple(range(lead, array.ndim)))
    stories, size = available.shape
    for number, limit in ((item, stories), (batch["next_item"], stories), (action, size)):
        good &= (number >= 0) & (number < limit)
    good &= available[np.clip(item, 0, stories - 1), np.clip(action, 0, size - 1)]
    with np.errstate(invalid="ignore"):  # a NaN is refused above
        good &= np.abs(batch["reward"]) <= LARGEST_REWARD
        for name in ("factor", "click"):
            good &= (batch[name] >= 0.0) & (batch[name] <= 1.0)
    return good
