"""States written down as counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multimodal_dql.state import Counts, State


def counted(
    impressions: Sequence[Sequence[int]],
    clicks: Sequence[Sequence[int]],
    *,
    horizon: float | Sequence[float] = np.inf,
    prior_rate: Sequence[Sequence[float]] | None = None,
    available: Sequence[Sequence[bool]] | None = None,
    item: Sequence[int] | None = None,
    elapsed: Sequence[float] | None = None,
) -> State:
    """Decisions (B, K) with these counts; every candidate is available unless stated."""
    n = np.array(impressions, dtype=np.int64)
    b, k = n.shape
    counts = Counts(
        impressions=n,
        clicks=np.array(clicks, dtype=np.int64),
        elapsed=n.sum(axis=1).astype(float) if elapsed is None else np.array(elapsed, dtype=float),
        horizon=np.broadcast_to(np.asarray(horizon, dtype=float), (b,)),
        prior_rate=None if prior_rate is None else np.array(prior_rate, dtype=float),
    )
    return plain(b, k, counts=counts, available=available, item=item)


def plain(
    b: int,
    k: int,
    *,
    counts: Counts | None = None,
    available: Sequence[Sequence[bool]] | None = None,
    item: Sequence[int] | None = None,
    content: np.ndarray | None = None,
    context: np.ndarray | None = None,
) -> State:
    """Decisions (B, K), by default without content, context or counts."""
    mask = np.ones((b, k), dtype=bool) if available is None else np.array(available)
    return State(
        content=np.zeros((b, k, 1), np.float32) if content is None else content.astype(np.float32),
        present=np.ones((b, k, 1), np.float32),
        record=np.zeros((b, k, 3), np.float32),
        context=np.zeros((b, 1), np.float32) if context is None else context.astype(np.float32),
        available=mask,
        item=np.arange(b) if item is None else np.array(item),
        counts=counts,
    )


def random_counts(seed: int, b: int, k: int, largest: int = 1_000_000) -> State:
    """Decisions at any stage: nothing shown yet, arms never shown, ties, padding, predictions that are missing."""
    rng = np.random.default_rng(seed)
    available = rng.random((b, k)) < 0.8
    available[np.arange(b), rng.integers(0, k, b)] = True
    n = np.floor(largest ** rng.random((b, k))).astype(np.int64) * (rng.random((b, k)) < 0.8) * available
    n[: b // 5] = 10 * available[: b // 5]
    s = rng.binomial(n, rng.choice([0.0, 0.0135, 0.3], size=(b, 1)))
    prior = np.where(rng.random((b, k)) < 0.3, np.nan, rng.uniform(0.001, 0.05, (b, k)))
    horizon = np.where(rng.random(b) < 0.3, np.inf, n.sum(axis=1) * rng.uniform(0.5, 9.0, b) + 1)
    return counted(
        n.tolist(),
        s.tolist(),
        horizon=horizon.tolist(),
        prior_rate=None if seed % 3 == 0 else prior.tolist(),
        available=available.tolist(),
    )
