"""What an agent that allocates the traffic of a test is told; compiled, and the same in training and in use.

Everything is a ratio of click rates or a count of clicks, so that tests of a low and of a high click rate look alike.
``m`` is the base rate of the test: pooled over its arms after taking each arm's predicted effect out of it, as if
`PSEUDO_CLICKS` clicks at the typical rate had been seen before. ``x = n m`` are the clicks that an arm of no effect
would have, and an arm's true rate is ``m exp(effect)``.

Shape letters: ``N`` tests, ``K`` arms.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.compiled import compiled
from multimodal_dql.simulation.scenarios.arm_features import Evidence

__all__ = ["ARM_FEATURES", "LIMIT", "TEST_FEATURES", "believed", "describe", "optimistic", "scattered_worth"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

ARM_FEATURES = (
    "prior_mean",
    "prior_sd",
    "log_expected_clicks",
    "log_clicks",
    "gap",
    "loose_gap",
    "posterior_sd",
    "lead",
    "raw_rate",
    "traffic",
    "index_gap",
    "posterior_mean",
    "index_closeness",
    "shown",
    "scattered_gap",
    "optimistic_gap",
    "optimistic_closeness",
)
"""Of an arm. Prior: mean and sd of its logit effect as a content model predicts it. Clicks: ``log(1 + x)`` and
``log(1 + clicks)``. Posterior (Gamma-Poisson, prior ``exp(mean)`` worth ``1 / sd^2`` clicks): logarithm of its mean
relative rate, and sd of that; `gap` to the best arm's, `loose_gap` with a quarter of the prior's worth, `lead` over
the best other arm in standard deviations. `raw_rate`: ``log((clicks + .5) / (x + .5))``. `traffic`: share of the
impressions times K, minus 1. `index_gap`, `index_closeness`: of the two-UCB index of LOLA
(`policies.bandits.two_ucb_index`, z .08, 1,000 pseudo-impressions at ``m exp(mean)``) in units of m, to the best
arm's; as it is, and as ``exp(10 gap)``. `scattered_gap`: as `gap`, where rates scatter as those of finished tests
do (`scattered_worth`). `optimistic_gap`, `optimistic_closeness`: of the upper bound `optimistic` on the same posterior,
again to the best arm's."""

TEST_FEATURES = (
    "base_rate",
    "time_left",
    "arms",
    "log_horizon",
    "log_horizon_clicks",
    "log_clicks_left",
    "heterogeneity",
    "log_clicks_so_far",
)
"""Of a test, logarithms less a typical value: m, share of the horizon left, K, the horizon in impressions and in clicks
at rate m, clicks an arm that are still to come and that have been, and the chi-square of the arms' clicks around what
the prior predicts."""

LIMIT = 10.0
"""Features lie between minus this and this."""
PSEUDO_CLICKS = 2.0
WIDTH, AUXILIARY = 0.08, 1000.0
"""z and pseudo-impressions of the index."""
SCATTER = 1.8 / 3200.0
"""Over m: variance of the logarithm of a click rate that a finished test shows, which is by so much wider than the true
ones [overdispersion and median impressions of an arm, Upworthy Research Archive]."""
OPTIMISM = 5.0
"""Width of the upper bound, in standard deviations at the start."""
SHARPNESS = 15.0
"""Exponent of `believed`: of five weightings of the true rates, the one that left least of returns unexplained."""
NEW = 1e3
"""Index of an arm that was never shown, in units of m."""


@compiled
def _index(n: float, s: float, t: float, m: float, predicted: float) -> float:
    """The two-UCB index over m."""
    if n <= 0.0:
        return NEW
    log = math.log(t + 2.0)
    with_prior = n + AUXILIARY
    free = s / n + WIDTH * math.sqrt(log / n)
    pulled = (s + AUXILIARY * m * predicted) / with_prior + WIDTH * math.sqrt(log / with_prior)
    return min(free, pulled) / m


@compiled
def scattered_worth(prior_sd: float, m: float) -> float:
    """Clicks at rate m that a prior of this standard deviation is worth where rates scatter by `SCATTER` / m more."""
    return 1.0 / (max(prior_sd, 1e-3) ** 2 + SCATTER / m)


@compiled
def optimistic(mean: float, weight: float, left: float) -> float:
    """``mean + c sqrt(left) sd`` of a Gamma posterior of `weight` clicks: `bandits.empirical_bayes_index` over m."""
    return mean + OPTIMISM * math.sqrt(max(left, 0.0) * mean / weight)


@compiled
def _typical(e: Evidence, i: int, base_rate: float) -> float:
    """The base rate m of test i; see the module."""
    clicks, expected = 0.0, 0.0
    for k in range(e.live.shape[1]):
        if e.live[i, k]:
            clicks += e.clicks[i, k]
            expected += e.impressions[i, k] * math.exp(e.prior_mean[i, k])
    return (clicks + PSEUDO_CLICKS) / (expected + PSEUDO_CLICKS / base_rate)


@compiled
def _scattered(e: Evidence, i: int, k: int, m: float) -> tuple[float, float]:
    """Posterior mean of an arm's rate over m where rates scatter as in finished tests, and its worth in clicks."""
    weight = scattered_worth(e.prior_sd[i, k], m)
    seen = weight + e.impressions[i, k] * m
    return (math.exp(e.prior_mean[i, k]) * weight + e.clicks[i, k]) / seen, seen


@compiled
def believed(e: Evidence, i: int, base_rate: float, rates: Array) -> float:
    """The click rate of test i if an arm's share of the traffic grew with what is known of it.

    Shares in proportion to ``(posterior mean of the rate over m)^SHARPNESS``, on the posterior of
    `scattered_worth`: a tenth more is four times the traffic.

    Args:
        e: evidence, (N, K) each.
        i: test.
        base_rate: typical click rate.
        rates: true ones of the test, (K,).
    """
    m, best = _typical(e, i, base_rate), 0.0
    for k in range(e.live.shape[1]):
        if e.live[i, k]:
            best = max(best, _scattered(e, i, k, m)[0])
    total, rate = 0.0, 0.0
    for k in range(e.live.shape[1]):
        if e.live[i, k]:
            share = (_scattered(e, i, k, m)[0] / best) ** SHARPNESS
            total += share
            rate += share * rates[k]
    return rate / total


@compiled
def _clip(value: float) -> float:
    return min(max(value, -LIMIT), LIMIT)


@compiled
def describe(
    e: Evidence, elapsed: Ints, horizon: Ints, base_rate: float, arms: Floats, tests: Floats
) -> None:
    """Fill `arms` (N, K, `ARM_FEATURES`) and `tests` (N, `TEST_FEATURES`).

    Args:
        e: evidence, (N, K) each.
        elapsed: impressions of the allocation so far, (N,).
        horizon: impressions planned, (N,).
        base_rate: typical click rate, where m starts.
        arms: filled here; 0 where there is no arm.
        tests: filled here.
    """
    # Per arm: x, log relative rate, the same under a loose prior, its sd, index; two of the scattered posterior.
    belief = np.zeros((7, e.live.shape[1]))
    for i in range(len(e.live)):
        shown, count, m = 0.0, 0, _typical(e, i, base_rate)
        for k in range(e.live.shape[1]):
            if e.live[i, k]:
                count += 1
                shown += e.impressions[i, k]
        left = 1.0 - elapsed[i] / horizon[i]
        chi = _believe(e, i, float(elapsed[i]), left, m, belief)
        for k in range(e.live.shape[1]):
            if e.live[i, k]:
                share = e.impressions[i, k] / max(shown, 1.0) * count
                _tell(e, i, k, share, belief, arms[i, k])
        each = horizon[i] * m / count
        told = tests[i]
        told[0], told[1] = math.log(m / base_rate), 2.0 * left - 1.0
        told[2], told[3] = math.log(float(count)) - 1.4, math.log(float(horizon[i])) - 7.5
        told[4], told[5] = math.log(horizon[i] * m) - 2.8, math.log1p(left * each) - 1.0
        told[6], told[7] = math.log1p(chi) - 1.0, math.log1p((1.0 - left) * each) - 1.0
        for f in range(8):
            told[f] = _clip(told[f])


@compiled
def _believe(e: Evidence, i: int, elapsed: float, left: float, m: float, belief: Array) -> float:
    """Fill `belief` (7, K) for test i; the chi-square of its clicks around what the prior predicts."""
    chi = 0.0
    for k in range(e.live.shape[1]):
        if e.live[i, k]:
            s, ratio = float(e.clicks[i, k]), math.exp(e.prior_mean[i, k])
            worth = 1.0 / max(e.prior_sd[i, k], 1e-3) ** 2
            x = e.impressions[i, k] * m
            belief[0, k] = x
            belief[1, k] = math.log((ratio * worth + s) / (worth + x))
            belief[2, k] = math.log((0.25 * ratio * worth + s) / (0.25 * worth + x))
            belief[3, k] = 1.0 / math.sqrt(worth + x)
            relative, seen = _scattered(e, i, k, m)
            belief[5, k] = math.log(relative)
            belief[6, k] = optimistic(relative, seen, left)
            belief[4, k] = _index(float(e.impressions[i, k]), s, elapsed, m, ratio)
            chi += (s - x * ratio) ** 2 / (x * ratio + 1.0)
    return chi


@compiled
def _tell(e: Evidence, i: int, k: int, share: float, belief: Array, row: Floats) -> None:
    """Fill the features of arm k of test i from the beliefs about all arms."""
    best, loose, index, wide, bound = -1e9, -1e9, -1e9, -1e9, -1e9
    other, other_sd = -1e9, 1.0
    for j in range(e.live.shape[1]):
        if e.live[i, j]:
            best, loose, index = max(best, belief[1, j]), max(loose, belief[2, j]), max(index, belief[4, j])
            wide, bound = max(wide, belief[5, j]), max(bound, belief[6, j])
            if j != k and belief[1, j] > other:
                other, other_sd = belief[1, j], belief[3, j]
    x, mean, sd = belief[0, k], belief[1, k], belief[3, k]
    clicks = float(e.clicks[i, k])
    row[0], row[1] = 5.0 * e.prior_mean[i, k], 5.0 * e.prior_sd[i, k] - 1.0
    row[2], row[3] = math.log1p(x) - 1.0, math.log1p(clicks) - 1.0
    row[4], row[5] = 5.0 * (mean - best), 3.0 * (belief[2, k] - loose)
    row[6] = 5.0 * sd
    row[7] = min(max((mean - other) / math.sqrt(sd**2 + other_sd**2), -5.0), 5.0)
    row[8] = math.log((clicks + 0.5) / (x + 0.5))
    row[9] = share - 1.0
    row[10] = max(2.0 * (belief[4, k] - index), -5.0)
    row[11] = 5.0 * mean
    row[12] = math.exp(10.0 * (belief[4, k] - index))
    row[13] = 1.0 if e.impressions[i, k] > 0 else 0.0
    row[14] = 5.0 * (belief[5, k] - wide)
    row[15] = max(2.0 * (belief[6, k] - bound), -5.0)
    row[16] = math.exp(10.0 * (belief[6, k] - bound))
    for f in range(len(ARM_FEATURES)):
        row[f] = _clip(row[f])
