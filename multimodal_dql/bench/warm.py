"""Compile the engagement model now, so that the first simulation need not: ``python -m multimodal_dql.bench.warm``."""

from __future__ import annotations

import numpy as np

from multimodal_dql.bench.simulator import small_stage
from multimodal_dql.policies.base import Uniform
from multimodal_dql.simulation.sessions import run_sessions, run_table
from multimodal_dql.simulation.typical import true_rates, typical_impressions

__all__ = ["warm"]


def warm() -> None:
    """Run a few sessions every way there is; machine code stays on disk."""
    stage, ids = small_stage(), np.arange(4)
    available = stage.world.candidates.available
    table = available / available.sum(axis=1, keepdims=True)
    run_table(stage, 0, ids, table)
    run_table(stage, 0, ids, None, log=True)
    run_sessions(stage, Uniform(), seed=0, ids=ids)
    true_rates(stage, typical_impressions(stage, 0, 4))


if __name__ == "__main__":
    warm()
