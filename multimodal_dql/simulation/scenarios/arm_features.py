"""What an agent is told about the arms of a running test; compiled, shared by the scenarios that allocate traffic.

Shape letters: ``N`` environments, ``K`` arms.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.compiled import compiled

__all__ = ["ARM_FEATURES", "LIMIT", "TEST_FEATURES", "Evidence", "describe"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

ARM_FEATURES = (
    "prior_mean",
    "prior_sd",
    "log_impressions",
    "log_clicks",
    "posterior_mean",
    "posterior_sd",
    "gap_to_best",
    "gap_to_pooled",
    "traffic_share",
)
"""Of an arm. Prior: mean and sd of its logit effect, as a content model predicts it. Impressions and clicks:
``log(1 + n)``, over log(10,000). Posterior: of its click rate under pseudo-impressions at the pooled rate, as
``log(rate / base rate)`` and sd over mean. Gaps: differences of log rates to the best arm and to the pooled
rate. Share of the impressions so far."""

TEST_FEATURES = ("pooled_rate", "time_left", "arms", "log_horizon")
"""Of a test: ``log(pooled rate / base rate)``, share of the horizon left, arms over K, ``log(horizon)`` over
log(10,000)."""

LIMIT = 10.0
"""Features lie between minus this and this."""
UNIT = 1.0 / math.log(1e4)


class Evidence(NamedTuple):
    """What is known about the arms of all tests; arrays are (N, K)."""

    live: NDArray[np.bool_]
    prior_mean: Array
    prior_sd: Array
    impressions: Ints
    clicks: Ints


@compiled
def describe(
    e: Evidence, elapsed: Ints, horizon: Ints, base_rate: float, pseudo: float, arms: Floats, tests: Floats
) -> None:
    """Fill `arms` (N, K, `ARM_FEATURES`) and `tests` (N, `TEST_FEATURES`); `elapsed` and `horizon` are (N,) of
    one unit.
    """
    k_all = e.live.shape[1]
    rate = np.empty(k_all)
    for i in range(len(e.live)):
        n_all, s_all, count = 0.0, 0.0, 0
        for k in range(k_all):
            n_all += e.impressions[i, k]
            s_all += e.clicks[i, k]
            count += e.live[i, k]
        pooled = (s_all + pseudo * base_rate) / (n_all + pseudo)
        best = 0.0
        for k in range(k_all):
            rate[k] = (e.clicks[i, k] + pseudo * pooled) / (e.impressions[i, k] + pseudo)
            if e.live[i, k]:
                best = max(best, rate[k])
        for k in range(k_all):
            if e.live[i, k]:
                n = float(e.impressions[i, k])
                arms[i, k, 0], arms[i, k, 1] = e.prior_mean[i, k], e.prior_sd[i, k]
                arms[i, k, 2], arms[i, k, 3] = math.log1p(n) * UNIT, math.log1p(e.clicks[i, k]) * UNIT
                arms[i, k, 4] = math.log(rate[k] / base_rate)
                arms[i, k, 5] = math.sqrt(max(1.0 - rate[k], 0.0) / (rate[k] * (n + pseudo)))
                arms[i, k, 6], arms[i, k, 7] = math.log(rate[k] / best), math.log(rate[k] / pooled)
                arms[i, k, 8] = n / max(n_all, 1.0)
                for f in range(9):
                    arms[i, k, f] = min(max(arms[i, k, f], -LIMIT), LIMIT)
        tests[i, 0] = min(max(math.log(pooled / base_rate), -LIMIT), LIMIT)
        tests[i, 1] = 1.0 - elapsed[i] / horizon[i]
        tests[i, 2], tests[i, 3] = count / k_all, math.log(horizon[i]) * UNIT
