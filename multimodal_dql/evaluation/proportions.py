"""Shares of sessions: two-proportion tests, score intervals, chi-square over arms, and the sample-ratio check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.means import Effect

__all__ = [
    "SAMPLE_RATIO_ALPHA",
    "ChiSquare",
    "SampleRatio",
    "arms_chi_square",
    "newcombe_interval",
    "sample_ratio",
    "sample_ratio_p",
    "two_proportion_z",
    "wilson_interval",
]

Array = NDArray[np.float64]
# A sample ratio that is off invalidates everything after it, and every experiment is checked: hence far below .05
# (Fabijan et al. 2019, Diagnosing sample ratio mismatch in online controlled experiments, section 3).
SAMPLE_RATIO_ALPHA = 0.001
_EXACT_BELOW = 1000  # rows; above, chi-square and the exact binomial agree in the second digit of p


@dataclass(frozen=True)
class ChiSquare:
    """A chi-square test. Attributes: the statistic, its degrees of freedom, and p."""

    statistic: float
    df: int
    p: float


@dataclass(frozen=True)
class SampleRatio:
    """Whether the arms got the traffic they were meant to get.

    Attributes:
        p: of "the shares are as planned".
        passed: p is at least `SAMPLE_RATIO_ALPHA`.
        counts: sessions in each arm, (A,).
        expected: sessions that the planned shares give each arm, (A,).
        reason: why it failed, in English; empty when it passed.
        reason_zh: the same in Chinese.
    """

    p: float
    passed: bool
    counts: tuple[int, ...]
    expected: tuple[float, ...]
    reason: str
    reason_zh: str


def two_proportion_z(
    control_successes: int,
    control_n: int,
    treatment_successes: int,
    treatment_n: int,
    *,
    pooled: bool = True,
    confidence: float = 0.95,
) -> Effect:
    """Difference of two proportions; the interval is Wald's, p is from the pooled or the unpooled standard error.

    For an interval that holds up with few successes, use `newcombe_interval`.
    """
    from scipy.special import ndtr, ndtri

    c, t = _share(control_successes, control_n), _share(treatment_successes, treatment_n)
    unpooled_error = math.sqrt(c * (1 - c) / control_n + t * (1 - t) / treatment_n)
    together = (control_successes + treatment_successes) / (control_n + treatment_n)
    pooled_error = math.sqrt(together * (1 - together) * (1 / control_n + 1 / treatment_n))
    error = pooled_error if pooled else unpooled_error
    p = float(2 * ndtr(-abs(t - c) / error)) if error > 0 else float(t == c)
    half = float(ndtri(0.5 + confidence / 2)) * unpooled_error
    return Effect(t - c, t - c - half, t - c + half, p, math.inf, unpooled_error, confidence)


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927): never leaves [0, 1], and holds with few successes."""
    from scipy.special import ndtri

    share = _share(successes, n)
    z2 = float(ndtri(0.5 + confidence / 2)) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def newcombe_interval(
    control_successes: int,
    control_n: int,
    treatment_successes: int,
    treatment_n: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Interval of treatment minus control from the two Wilson intervals (Newcombe 1998, method 10)."""
    c, t = _share(control_successes, control_n), _share(treatment_successes, treatment_n)
    c_low, c_high = wilson_interval(control_successes, control_n, confidence)
    t_low, t_high = wilson_interval(treatment_successes, treatment_n, confidence)
    low = t - c - math.hypot(t - t_low, c_high - c)
    return low, t - c + math.hypot(t_high - t, c - c_low)


def arms_chi_square(successes: ArrayLike, n: ArrayLike) -> ChiSquare:
    """Pearson's test that all arms share one proportion. successes, n: (A,)."""
    from scipy.special import chdtrc

    s, total = np.asarray(successes, np.float64), np.asarray(n, np.float64)
    if (
        s.ndim != 1
        or s.shape != total.shape
        or len(s) < 2
        or not ((s >= 0) & (s <= total) & (total > 0)).all()
    ):
        raise _bad_counts()
    p = s.sum() / total.sum()
    df = len(s) - 1
    if p in (0, 1):
        return ChiSquare(0.0, df, 1.0)
    statistic = float((((s - total * p) ** 2) / (total * p * (1 - p))).sum())
    return ChiSquare(statistic, df, float(chdtrc(df, statistic)))


def sample_ratio_p(counts: Sequence[int], shares: Sequence[float]) -> float:
    """The p-value of "traffic went to the arms in these shares".

    Exact binomial for two arms below 1,000 sessions together, chi-square otherwise.

    Args:
        counts: sessions in each arm, (A,).
        shares: planned, (A,), positive; scaled to sum to 1.
    """
    return sample_ratio(counts, shares).p


def sample_ratio(counts: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    """The sample-ratio check as a gate: no winner is to be named when it fails. Arguments as `sample_ratio_p`."""
    observed, weights = np.asarray(counts, np.float64), np.asarray(shares, np.float64)
    if (
        observed.ndim != 1
        or observed.shape != weights.shape
        or len(observed) < 2
        or not ((observed >= 0) & np.isfinite(observed) & (weights > 0) & np.isfinite(weights)).all()
    ):
        raise _bad_counts()
    weights = weights / weights.sum()
    total = observed.sum()
    expected = total * weights
    p = 1.0 if total == 0 else _ratio_p(observed, weights, expected)
    passed = p >= SAMPLE_RATIO_ALPHA
    share, planned = observed / max(total, 1), weights
    worst = int(np.abs(share - planned).round(12).argmax())  # of two arms, the first
    en = f"arm {worst + 1} got {share[worst]:.2%} of the sessions instead of {planned[worst]:.2%} (p = {p:.1e})"
    zh = f"第 {worst + 1} 组获得 {share[worst]:.2%} 的会话，应为 {planned[worst]:.2%}（p = {p:.1e}）"
    return SampleRatio(
        p=p,
        passed=passed,
        counts=tuple(int(count) for count in observed),
        expected=tuple(map(float, expected)),
        reason="" if passed else en,
        reason_zh="" if passed else zh,
    )


def _ratio_p(observed: Array, weights: Array, expected: Array) -> float:
    if len(observed) == 2 and observed.sum() < _EXACT_BELOW:
        from scipy.stats import binomtest

        return float(binomtest(int(observed[0]), int(observed.sum()), float(weights[0])).pvalue)
    from scipy.special import chdtrc

    return float(chdtrc(len(observed) - 1, ((observed - expected) ** 2 / expected).sum()))


def _share(successes: float, n: float) -> float:
    if not (n > 0 and 0 <= successes <= n):
        raise _bad_counts()
    return successes / n


def _bad_counts() -> UsageError:
    return UsageError(
        detail="counts must be 0 or more, no success count above its total, every total and planned share above 0",
        detail_zh="计数不得为负，成功数不得超过总数，总数与计划份额必须大于 0",
    )
