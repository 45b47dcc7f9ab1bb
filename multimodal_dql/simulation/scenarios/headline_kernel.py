"""What happens in HeadlineTest-v0, compiled: tests are drawn, and traffic goes to arms.

Shape letters: ``N`` environments, ``K`` arms.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.compiled import compiled, normals, uniforms
from multimodal_dql.simulation.dynamics import logistic
from multimodal_dql.simulation.scenarios.allocation_features import believed
from multimodal_dql.simulation.scenarios.arm_features import Evidence
from multimodal_dql.simulation.scenarios.draws import category, chi_square, click_count, log_uniform

__all__ = ["REWARDS", "Rules", "Tests", "draw", "play", "worths"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

OF_TEST, OF_ARM, OF_STAGE, OF_SPREAD, OF_RECORD = 0, 1, 2, 3, 4
"""Streams of random numbers of an episode."""
REWARDS = ("clicks", "advantage", "relative", "hindsight")
CLICKS, ADVANTAGE, HINDSIGHT = 0, 1, 3
LEAST_UNPREDICTED = 0.3
"""Of the spread of a test: what no prior predicts has at least this share of it."""
MOST_LOG_IMPRESSIONS = 16.0
"""Of an arm of a finished test: nine million."""


class Rules(NamedTuple):
    """The configuration in the form the compiled functions take."""

    base_mean: float
    base_sd: float
    within_low: float
    within_high: float
    within_df: float
    phi: float
    shares: Array
    low: float
    high: float
    stages: int
    stage_impressions: int
    correlation: float
    predicted_low: float
    predicted_high: float
    slope_low: float
    slope_high: float
    unpredicted: float
    nominal_sd: float
    reward: int
    finished: float
    record_phi: float
    traffic_mean: float
    traffic_test_sd: float
    traffic_arm_sd: float
    traffic_base_slope: float
    traffic_arms_slope: float


class Tests(NamedTuple):
    """All running tests; (N, K) and (N,)."""

    rates: Array
    evidence: Evidence
    horizon: Ints
    elapsed: Ints
    step: Ints


@compiled
def draw(r: Rules, t: Tests, envs: Ints, episodes: Ints, key: int) -> None:
    """Draw the test of each of these environments.

    An arm's effect is what the content prior predicts times a slope, plus a remainder that it cannot know; the
    remainders of a test share the scale of their t distribution, as the arms of a test do in `EngagementModel`.
    """
    for i in envs:
        u, v, w, x = uniforms(key, episodes[i], OF_TEST, 0)
        base = r.base_mean + r.base_sd * normals(u, v)[0]
        arms = category(w, r.shares) + 2
        t.horizon[i] = max(int(log_uniform(x, r.low, r.high) * arms), r.stages)
        u, v, w, x = uniforms(key, episodes[i], OF_TEST, 1)
        within = r.within_low + u * (r.within_high - r.within_low)
        predicted = r.correlation * within
        if r.predicted_high > 0.0:
            predicted = r.predicted_low + v * (r.predicted_high - r.predicted_low)
        if w < r.unpredicted:
            predicted = 0.0
        slope = r.slope_low + x * (r.slope_high - r.slope_low)
        rest = math.sqrt(max(within**2 - (slope * predicted) ** 2, (LEAST_UNPREDICTED * within) ** 2))
        told = math.sqrt(max(r.nominal_sd**2 - predicted**2, (LEAST_UNPREDICTED * r.nominal_sd) ** 2))
        rest *= math.sqrt((r.within_df - 2.0) / chi_square(r.within_df, key, episodes[i], OF_SPREAD, 0))
        t.evidence.live[i, :] = False
        t.evidence.prior_mean[i, :] = 0.0
        t.rates[i, :] = 0.0
        mean = 0.0
        for k in range(arms):
            u, v, _, _ = uniforms(key, episodes[i], OF_ARM, k)
            t.evidence.prior_mean[i, k] = predicted * normals(u, v)[0]
            mean += t.evidence.prior_mean[i, k] / arms
        for k in range(arms):
            u, v, _, _ = uniforms(key, episodes[i], OF_ARM, k)
            t.rates[i, k] = logistic(base + slope * t.evidence.prior_mean[i, k] + rest * normals(u, v)[1])
            t.evidence.live[i, k] = True
            # A prior tells how the arms of a test differ, not how good the test is.
            t.evidence.prior_mean[i, k] -= mean
            t.evidence.prior_sd[i, k] = told
        if uniforms(key, episodes[i], OF_RECORD, 0)[2] < r.finished:
            _finish(r, t, i, base, arms, episodes[i], key)
        t.evidence.impressions[i, :] = 0
        t.evidence.clicks[i, :] = 0
        t.elapsed[i], t.step[i] = 0, 0


@compiled
def _finish(r: Rules, t: Tests, i: int, base: float, arms: int, episode: int, key: int) -> None:
    """Put the click rates that a finished test would show in the place of the true ones, unless it saw no click.

    Impressions as `EngagementModel` has them, clicks with its overdispersion.
    """
    u, v, _, _ = uniforms(key, episode, OF_RECORD, 0)
    centre = r.traffic_mean + r.traffic_base_slope * (base - r.base_mean)
    centre += r.traffic_arms_slope * math.log(arms / 4.0) + r.traffic_test_sd * normals(u, v)[0]
    seen, total = np.zeros(arms), 0.0
    for k in range(arms):
        u, v, w, _ = uniforms(key, episode, OF_RECORD, 1 + k)
        n = max(round(math.exp(min(centre + r.traffic_arm_sd * normals(u, v)[0], MOST_LOG_IMPRESSIONS))), 1)
        seen[k] = click_count(w, n, t.rates[i, k], r.record_phi) / n
        total += seen[k]
    if total > 0.0:
        for k in range(arms):
            t.rates[i, k] = seen[k]


@compiled
def _stage(r: Rules, t: Tests, i: int) -> int:
    """Impressions of the next stage of a test."""
    if r.stage_impressions > 0:
        return int(min(r.stage_impressions, t.horizon[i] - t.elapsed[i]))
    return int((t.step[i] + 1) * t.horizon[i] // r.stages - t.step[i] * t.horizon[i] // r.stages)


@compiled
def _worth(r: Rules, t: Tests, i: int, k: int) -> float:
    """Expected reward of sending the next stage to an arm."""
    rate, n = t.rates[i, k], _stage(r, t, i)
    if r.reward == CLICKS:
        return float(rate * n)
    mean = _even(t, i)
    if r.reward == ADVANTAGE:
        return float((rate - mean) * n)
    return float((rate / mean - 1.0) * n / t.horizon[i])


@compiled
def _even(t: Tests, i: int) -> float:
    """Click rate of an even split."""
    total, arms = 0.0, 0
    for j in range(t.rates.shape[1]):
        if t.evidence.live[i, j]:
            total += t.rates[i, j]
            arms += 1
    return total / arms


@compiled
def hindsight(r: Rules, t: Tests, i: int) -> float:
    """What the rest of a test may bring over an even split, for one who knows the true rates; 0 at the end.

    A share of what the best arm would bring, and about what traffic shared out by today's beliefs would
    (`allocation_features.believed`). Shares are curves through least squares fits to the returns of a learned policy at
    eight times of a test; they leave less unexplained than any one arm's rate does.
    """
    left, mean, best = 1.0 - t.elapsed[i] / t.horizon[i], _even(t, i), 0.0
    for j in range(t.rates.shape[1]):
        best = max(best, t.rates[i, j])
    rate = believed(t.evidence, i, logistic(r.base_mean), t.rates[i])
    to_best, to_believed = 0.35 * left**2, 1.2 - 0.42 * left
    return float(left * (to_best * (best / mean - 1.0) + to_believed * (rate / mean - 1.0)))


@compiled
def worths(r: Rules, t: Tests, out: Array) -> None:
    """Fill `out` (N, K) with the expected reward of each arm."""
    for i in range(len(out)):
        for k in range(out.shape[1]):
            if t.evidence.live[i, k]:
                out[i, k] = _worth(r, t, i, k)


@compiled
def play(
    r: Rules, t: Tests, actions: Ints, live: Bools, episodes: Ints, key: int, out: Array, over: Bools
) -> None:
    """One stage of each live test; `out` is (N, 5): reward, expected reward, rate, impressions, clicks."""
    for i in range(len(live)):
        if not live[i]:
            continue
        k, n = actions[i], _stage(r, t, i)
        clicks = click_count(uniforms(key, episodes[i], OF_STAGE, t.step[i])[0], n, t.rates[i, k], r.phi)
        expected = _worth(r, t, i, k)
        out[i, 0], out[i, 1] = float(clicks) if r.reward == CLICKS else expected, expected
        if r.reward == HINDSIGHT:
            out[i, 0] -= hindsight(r, t, i)
        out[i, 2], out[i, 3], out[i, 4] = t.rates[i, k], n, clicks
        t.evidence.impressions[i, k] += n
        t.evidence.clicks[i, k] += clicks
        t.elapsed[i] += n
        t.step[i] += 1
        if r.reward == HINDSIGHT:
            out[i, 0] += hindsight(r, t, i)
        over[i] = t.elapsed[i] >= t.horizon[i]
