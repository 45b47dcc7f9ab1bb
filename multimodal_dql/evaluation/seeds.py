"""Results of several seeds as one number with an interval. Pure functions, no state.

Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice": with few runs a mean
follows one lucky seed and a median throws most of them away; the interquartile mean does neither, and an interval from
resampled runs says how far the seeds agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multimodal_dql.errors import UsageError

__all__ = ["Level", "interquartile_mean", "level", "paired", "stratified_interval"]


@dataclass(frozen=True)
class Level:
    """A number with a 95 % interval."""

    mean: float
    low: float
    high: float


def interquartile_mean(scores: ArrayLike) -> float:
    """Mean of the middle half: the lowest and the highest quarter, rounded down, are left out.

    >>> interquartile_mean([1, 2, 3, 4, 5, 6, 7, 100])
    4.5

    Args:
        scores: of any shape, at least one, finite.

    Raises:
        ValueError: no score, or one that is not finite.
    """
    ordered = np.sort(np.asarray(scores, np.float64), axis=None)
    if not len(ordered) or not np.isfinite(ordered).all():
        raise ValueError("scores must be finite, and at least one")
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def stratified_interval(
    scores: ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the interquartile mean, runs drawn again within each task (the paper's section 4).

    Args:
        scores: (runs, tasks), or (runs,) of one task.
        confidence: of the interval.
        resamples: draws.
        seed: of the draws.

    Returns:
        its two ends; equal when there is one run.
    """
    table = np.asarray(scores, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    interquartile_mean(table)  # the same refusals
    runs, tasks = table.shape
    rng = np.random.Generator(np.random.Philox(key=[seed, 11]))
    found: NDArray[np.float64] = np.empty(resamples)
    for i in range(resamples):
        found[i] = interquartile_mean(table[rng.integers(0, runs, (runs, tasks)), np.arange(tasks)])
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(found, [tail, 1.0 - tail])
    return float(low), float(high)


def level(scores: Sequence[float], *, seed: int = 0) -> Level:
    """Interquartile mean over seeds with its bootstrap interval."""
    return Level(interquartile_mean(scores), *stratified_interval(scores, seed=seed))


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
