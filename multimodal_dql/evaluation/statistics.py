"""Intervals for comparisons between policies. Pure functions, no state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Comparison", "ratio_interval"]


@dataclass(frozen=True)
class Comparison:
    """One policy against another, over stories that neither was trained on.

    Attributes:
        arm: the policy asked about, e.g. ``learned``.
        against: the policy it is compared with, e.g. ``first``.
        uplift: relative difference in clicks a visit, 0.08 is "8 % more".
        low: lower end of the 95 % interval of `uplift`.
        high: upper end of the 95 % interval of `uplift`.
        arm_rate: clicks a visit under `arm`.
        against_rate: clicks a visit under `against`.
        sessions: simulated sessions behind the numbers, each seen by both policies.
        item_ids: the stories, in order.
        item_uplift: relative difference of each story, shape (stories,).
    """

    arm: str
    against: str
    uplift: float
    low: float
    high: float
    arm_rate: float
    against_rate: float
    sessions: int
    item_ids: tuple[str, ...]
    item_uplift: NDArray[np.float64]


def ratio_interval(
    arm: NDArray[np.float64], against: NDArray[np.float64], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Relative difference of two means over the same clusters, with a Student interval (delta method).

    ``r = mean(a) / mean(b)``; its standard error is that of ``(a - r b) / mean(b)`` over the clusters (Cochran 1977,
    Sampling Techniques, section 6.3). The clusters are stories: the interval speaks about stories like these,
    not about more sessions of the same ones.

    Args:
        arm: a, one value a cluster, (n,), n at least 2.
        against: b, paired with `arm`, (n,), mean not 0.
        confidence: of the interval.

    Returns:
        r - 1 and the two ends of its interval.
    """
    from scipy.stats import t

    n = len(arm)
    ratio = arm.mean() / against.mean()
    error = ((arm - ratio * against) / against.mean()).std(ddof=1) / np.sqrt(n)
    half = float(t.ppf(0.5 + confidence / 2, n - 1)) * error
    return float(ratio - 1), float(ratio - 1 - half), float(ratio - 1 + half)
