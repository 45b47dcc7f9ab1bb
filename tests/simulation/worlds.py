"""Small worlds for tests: content drawn at random, no encoder involved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates, ContentProjection, EncoderProjection
from multimodal_dql.simulation.audience import Audience, World
from multimodal_dql.simulation.config import EngagementConfig

WIDTHS = (6, 6)


def candidates(seed: int = 0, items: int = 12, sizes: tuple[int, int] = (2, 5)) -> Candidates:
    rng = np.random.default_rng(seed)
    count = rng.integers(sizes[0], sizes[1] + 1, items)
    n, width = int(count.sum()), int(count.max())
    table = np.full((items, width), n)
    start = np.cumsum(count) - count
    for i in range(items):
        table[i, : count[i]] = np.arange(start[i], start[i] + count[i])
    content = rng.standard_normal((n, sum(WIDTHS))).astype(np.float32)
    pad = ((0, 1), (0, 0))
    none = np.zeros(table.shape, dtype=np.int64)
    present = np.ones((n, len(WIDTHS)), np.float32)
    return Candidates(np.pad(content, pad), np.pad(present, pad), table, table < n, none, none)


def projection() -> ContentProjection:
    """One that fits `candidates`: two encoders, names and fingerprints of no importance."""
    return ContentProjection(
        tuple(
            EncoderProjection(name, modality, "f", np.zeros(3, np.float32), np.zeros((3, width), np.float32))
            for name, modality, width in zip(("t", "i"), ("text", "image"), WIDTHS, strict=True)
        )
    )


def world(seed: int = 0, config: EngagementConfig | None = None, **kwargs: int) -> World:
    c = candidates(seed, **kwargs)
    return World.draw(Audience.draw(c, WIDTHS, seed, config), c, seed)


def uniform_table(w: World) -> NDArray[np.float64]:
    """Every candidate of a story alike, (items, K)."""
    available = w.candidates.available
    return np.asarray(available / available.sum(axis=1, keepdims=True))


def some_table(w: World, seed: int) -> NDArray[np.float64]:
    """Any probabilities, (items, K), some of them zero although the candidate is available."""
    rng = np.random.default_rng(seed)
    weight = rng.exponential(size=w.candidates.table.shape) * w.candidates.available
    weight[:, 1:] *= rng.random(weight[:, 1:].shape) < 0.8
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))
