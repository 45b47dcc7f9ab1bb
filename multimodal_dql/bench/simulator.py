"""How many impressions a second the engagement model simulates on one thread, with every mechanism on."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np

from multimodal_dql.candidates import Candidates
from multimodal_dql.evaluation.moments import Moments
from multimodal_dql.simulation.audience import Audience, World
from multimodal_dql.simulation.config import MECHANISMS, EngagementConfig
from multimodal_dql.simulation.sessions import METRICS, Stage, run_table

__all__ = ["REFERENCE", "bench_simulator", "small_stage"]

REFERENCE = {"RecSim NG": 470_000, "RecSim": 10_000}
"""Impressions a second that published recommender simulators reached on a machine of the same type."""

STORIES, VARIANTS, WIDTHS = 40, 4, (24, 24, 24)
CHUNK = 8192


def bench_simulator(sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)) -> dict[str, Any]:
    """Stream sessions of random choices through the model; constant memory, one thread.

    Args:
        sizes: numbers of sessions, ascending; the last gives the headline figure.
    """
    stage = small_stage()
    available = stage.world.candidates.available
    uniform = available / available.sum(axis=1, keepdims=True)
    run_table(stage, 0, np.arange(CHUNK), uniform)  # compiles, fills caches
    rows = []
    for size in sizes:
        moments = Moments(METRICS)
        start = time.perf_counter()
        for first in range(0, size, CHUNK):
            ids = np.arange(first, min(first + CHUNK, size))
            moments.update(run_table(stage, 0, ids, uniform).metrics)
        seconds = time.perf_counter() - start
        impressions = moments.means[0] * size
        rows.append(
            {
                "sessions": size,
                "impressions": round(impressions),
                "seconds": round(seconds, 3),
                "impressions_per_second": round(impressions / seconds),
                "peak_memory_mb": round(_peak_memory_mb()),
            }
        )
    return {
        "impressions_per_second": rows[-1]["impressions_per_second"],
        "mechanisms": "all",
        "mechanism_names": sorted(MECHANISMS),
        "threads": 1,
        "sessions": sizes[-1],
        "scaling": rows,
        "reference": REFERENCE,
    }


def small_stage(stories: int = STORIES, config: EngagementConfig | None = None, seed: int = 0) -> Stage:
    """A catalogue of random embeddings: what a policy sees does not matter here, only how much there is of it."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 6]))
    n = stories * VARIANTS
    content = np.pad(rng.standard_normal((n, sum(WIDTHS))).astype(np.float32), ((0, 1), (0, 0)))
    table = np.arange(n).reshape(stories, VARIANTS)
    none = np.zeros(table.shape, dtype=np.int64)
    present = np.ones((n + 1, len(WIDTHS)), dtype=np.float32)
    candidates = Candidates(content, present, table, np.ones(table.shape, dtype=bool), none, none)
    audience = Audience.draw(candidates, WIDTHS, seed, config)
    return Stage.of(World.draw(audience, candidates, seed))


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
