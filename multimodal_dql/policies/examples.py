"""States to try a policy on, and parts of states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.state import Counts, State

__all__ = ["candidates", "decisions", "example_states"]

Int = NDArray[np.int64]


def example_states(content: int = 3, context: int = 2, seed: int = 0) -> list[State]:
    """States of 1 to 6 candidates: padded, tied, without counts, with many, with and without a predicted rate.

    Args:
        content: P.
        context: C.
        seed: of everything drawn.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 31]))
    states = [_example_state(rng, k, content, context) for k in (1, 2, 3, 4, 6)]
    states.append(replace(states[3], counts=None))
    twins = states[3]
    row = np.zeros(twins.available.shape, dtype=np.int64)
    states.append(replace(candidates(twins, row), available=twins.available))
    return states


def _example_state(rng: np.random.Generator, k: int, content: int, context: int) -> State:
    """Ten decisions among at most k candidates, at ever more impressions."""
    b = 10
    available = rng.random((b, k)) < 0.8
    available[np.arange(b), rng.integers(0, k, b)] = True
    shown = np.floor(10.0 ** np.linspace(0.0, 5.0, b)[:, None] * rng.random((b, k)) * available).astype(
        np.int64
    )
    shown[0] = 0
    rate = rng.uniform(0.005, 0.03, (b, k))
    total = shown.sum(axis=1).astype(np.float64)
    counts = Counts(
        impressions=shown,
        clicks=rng.binomial(shown, rate),
        elapsed=total,
        horizon=np.where(np.arange(b) % 3 == 0, np.inf, total * rng.uniform(1.0, 8.0, b) + 1.0),
        prior_rate=rng.uniform(0.005, 0.03, (b, k)) if k % 2 else None,
    )
    mask = available[:, :, None].astype(np.float32)
    return State(
        content=rng.standard_normal((b, k, content)).astype(np.float32) * mask,
        present=mask,
        record=np.zeros((b, k, 3), dtype=np.float32),
        context=rng.standard_normal((b, context)).astype(np.float32),
        available=available,
        item=np.arange(b),
        counts=counts,
    )


def decisions(state: State, rows: Int) -> State:
    """Some decisions of a batch."""
    counts = state.counts
    if counts is not None:
        prior = counts.prior_rate
        counts = Counts(
            counts.impressions[rows],
            counts.clicks[rows],
            counts.elapsed[rows],
            counts.horizon[rows],
            None if prior is None else prior[rows],
        )
    return State(
        content=state.content[rows],
        present=state.present[rows],
        record=state.record[rows],
        context=state.context[rows],
        available=state.available[rows],
        item=state.item[rows],
        counts=counts,
    )


def candidates(state: State, slots: Int) -> State:
    """The candidates at `slots` (B, k), in that order; one may stand in it twice."""
    row = np.arange(len(slots))[:, None]
    counts = state.counts
    if counts is not None:
        prior = counts.prior_rate
        counts = replace(
            counts,
            impressions=counts.impressions[row, slots],
            clicks=counts.clicks[row, slots],
            prior_rate=None if prior is None else prior[row, slots],
        )
    return replace(
        state,
        content=state.content[row, slots],
        present=state.present[row, slots],
        record=state.record[row, slots],
        available=state.available[row, slots],
        counts=counts,
    )
