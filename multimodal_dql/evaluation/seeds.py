"""What several training seeds say together: the interquartile mean with a bootstrap, and paired differences.

Shape letters: ``S`` seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError

__all__ = ["Level", "interquartile_mean", "level", "paired"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """A number with a 95 % interval."""

    mean: float
    low: float
    high: float


def interquartile_mean(scores: Array) -> Array:
    """Mean of the middle half along the last axis (Agarwal et al. 2021, "Deep reinforcement learning at the edge of the
    statistical precipice"); a quarter that is no whole number of seeds counts in part, so that 5 of 10 always weigh.
    """
    s = scores.shape[-1]
    ranked = np.sort(scores, axis=-1)
    # Seed i covers the share from i / S to (i + 1) / S; its weight is the part of it between 1/4 and 3/4.
    edges = np.arange(s + 1) / s
    weight = np.clip(edges[1:], 0.25, 0.75) - np.clip(edges[:-1], 0.25, 0.75)
    return np.asarray((ranked * weight).sum(axis=-1) / weight.sum())


def level(scores: Sequence[float], *, draws: int = 5000, seed: int = 0) -> Level:
    """Interquartile mean over seeds with a percentile bootstrap over seeds."""
    values = np.asarray(scores, np.float64)
    rng = np.random.Generator(np.random.Philox(key=[seed, 70]))
    resampled = interquartile_mean(values[rng.integers(0, len(values), (draws, len(values)))])
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Level(float(interquartile_mean(values)), float(low), float(high))


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Level:
    """Mean of the differences of equal seeds, with Student's interval over seeds."""
    from scipy.stats import t

    if len(ours) != len(theirs) or len(ours) < 2:
        raise UsageError(
            detail="a paired difference needs the same two seeds or more on both sides",
            detail_zh="配对差异需要两侧相同的种子，且至少两个",
        )
    difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    mean = float(difference.mean())
    half = float(t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference)))
    return Level(mean, mean - half, mean + half)
