"""Do real tests look like tests of the model? A posterior-predictive check (Gelman, Meng & Stern 1996).

Many copies of the real tests are drawn from the model, with the same numbers of arms and impressions, each with
parameters drawn from the uncertainty of the fit. What was measured in the real tests is then compared with the copies.
On tests that the model was not fitted to, the check is a fair one; on those it was fitted to, it is a necessary one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import ABTests
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.engagement_noise import draw_clicks

__all__ = ["QUANTILES", "STATISTICS", "EngagementCheck", "Interval", "StatisticCheck", "check", "statistics"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_GRID = (np.arange(200) + 0.5) / 200  # where quantile functions are compared
_METHOD: Final = "weibull"  # ranks over draws + 1: a further draw falls inside with the stated probability

STATISTICS: Mapping[str, tuple[str, str]] = {
    "arm_ctr": ("click rate of an arm", "单个变体的点击率"),
    "test_ctr": ("click rate of a test", "整个测试的点击率"),
    "within_sd": ("sd of observed logits in a test", "测试内观测 logit 的标准差"),
    "best_over_mean": ("best arm over the mean of its test", "最佳变体与测试均值之比"),
}
"""What is compared, in English and Chinese. Distances of rates and ratios are on the scale of natural logarithms (.05
is "5 % off"), those of the standard deviation in logits."""


@dataclass(frozen=True)
class Interval:
    """A number of the simulated tests: its mean over the draws, and the ends of its 95 % predictive interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class StatisticCheck:
    """One statistic, real against simulated.

    Attributes:
        name: a key of `STATISTICS`.
        real: its quantiles over the real tests (or arms), by name, e.g. ``q05``.
        simulated: the same of simulated tests, with a band that holds all five quantiles of 95 % of the draws.
        distance: Wasserstein-1 distance between the real distribution and the pooled draws, see `STATISTICS`.
        distance_limit: the distance that 95 % of single draws from the model stay below.
        inside: whether every real quantile lies in its band.
    """

    name: str
    real: Mapping[str, float]
    simulated: Mapping[str, Interval]
    distance: float
    distance_limit: float
    inside: bool


@dataclass(frozen=True)
class EngagementCheck:
    """The whole check.

    Attributes:
        statistics: one for each of `STATISTICS`.
        share_significant_real: share of the real tests whose arms differ at p < .05 (chi-square, as if impressions were
            independent).
        share_significant: the same of simulated tests.
        tests: real tests compared.
        arms: their arms.
        draws: simulated copies.
        seed: of the copies.
    """

    statistics: tuple[StatisticCheck, ...]
    share_significant_real: float
    share_significant: Interval
    tests: int
    arms: int
    draws: int
    seed: int

    @property
    def inside(self) -> bool:
        """Whether the share of significant tests lies in its interval, and every statistic in its band.

        Each of the five holds for 95 % of data sets from the model, all of them for about three quarters.
        """
        share = self.share_significant
        return share.low <= self.share_significant_real <= share.high and all(
            s.inside for s in self.statistics
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        share = self.share_significant
        return {
            "statistics": [
                {
                    "name": s.name,
                    "real": dict(s.real),
                    "simulated": {name: vars(value) for name, value in s.simulated.items()},
                    "distance": s.distance,
                    "distance_limit": s.distance_limit,
                    "inside": s.inside,
                }
                for s in self.statistics
            ],
            "share_significant": {
                "real": self.share_significant_real,
                "simulated": share.mean,
                "low": share.low,
                "high": share.high,
                "inside": share.low <= self.share_significant_real <= share.high,
            },
            "inside": self.inside,
            "tests": self.tests,
            "arms": self.arms,
            "draws": self.draws,
            "seed": self.seed,
        }


def statistics(test: Int, impressions: Int, clicks: Int) -> dict[str, Float]:
    """What `check` compares, from counts (A,) and each arm's test (A,), ascending.

    ``arm_ctr`` (A,) and the others (G,). Half a click is added to each arm (and one impression), so that logarithms
    exist; the p-value is that of the chi-square test of equal rates, 1 for a test without clicks.
    """
    from scipy.special import chdtrc

    n, s = impressions.astype(np.float64), clicks.astype(np.float64)
    k = np.bincount(test)
    rate = (s + 0.5) / (n + 1.0)
    logit = np.log(rate / (1.0 - rate))
    centred = logit - (np.bincount(test, logit) / k)[test]
    total_n, total_s = np.bincount(test, n), np.bincount(test, s)
    pooled = total_s / total_n
    expected = (n * (pooled * (1 - pooled))[test]).clip(1e-12)
    chi = np.bincount(test, (s - n * pooled[test]) ** 2 / expected)
    starts = np.cumsum(k) - k
    return {
        "arm_ctr": rate,
        "test_ctr": (total_s + 0.5) / (total_n + 1.0),
        "within_sd": np.sqrt(np.bincount(test, centred**2) / np.maximum(k - 1, 1)),
        "best_over_mean": np.maximum.reduceat(rate, starts) / (np.bincount(test, rate) / k),
        "p_value": np.asarray(chdtrc(np.maximum(k - 1, 1), chi)),
    }


def check(model: EngagementModel, tests: ABTests, *, seed: int, draws: int = 200) -> EngagementCheck:
    """Compare real `tests` with `draws` copies from `model`. At least 20 draws; see `EngagementCheck`."""
    if draws < 20:
        raise ValueError("at least 20 draws are needed for a 95 % interval")
    rng = np.random.Generator(np.random.Philox(key=[seed, 31]))
    real = statistics(tests.test, tests.impressions, tests.clicks)
    quantiles = {name: np.empty((draws, len(QUANTILES))) for name in STATISTICS}
    curves = {name: np.empty((draws, len(_GRID))) for name in STATISTICS}
    shares = np.empty(draws)
    for d, drawn in enumerate(model.drawn_from_uncertainty(rng, draws)):
        rates = drawn.draw_rates(rng, drawn.draw_bases(rng, tests), tests.sizes)
        clicks = draw_clicks(rng, tests.impressions, rates, drawn.overdispersion)
        copy = statistics(tests.test, tests.impressions, clicks)
        shares[d] = (copy["p_value"] < 0.05).mean()
        for name in STATISTICS:
            quantiles[name][d] = np.quantile(copy[name], QUANTILES)
            curves[name][d] = np.quantile(_scaled(name, copy[name]), _GRID)
    compared = tuple(_compare(name, real[name], quantiles[name], curves[name]) for name in STATISTICS)
    low, high = np.quantile(shares, (0.025, 0.975), method=_METHOD)
    return EngagementCheck(
        statistics=compared,
        share_significant_real=float((real["p_value"] < 0.05).mean()),
        share_significant=Interval(float(shares.mean()), float(low), float(high)),
        tests=tests.G,
        arms=tests.A,
        draws=draws,
        seed=seed,
    )


def _scaled(name: str, values: Float) -> Float:
    """The scale of distances: logarithms, except for what is in logits already."""
    return values if name == "within_sd" else np.asarray(np.log(values))


def _compare(name: str, real: Float, quantiles: Float, curves: Float) -> StatisticCheck:
    centre, spread = quantiles.mean(axis=0), np.maximum(quantiles.std(axis=0, ddof=1), 1e-12)
    # One band for all five: as wide as the largest standardised deviation of 95 % of the draws.
    reach = float(np.quantile(np.abs((quantiles - centre) / spread).max(axis=1), 0.95, method=_METHOD))
    low, high = np.maximum(centre - reach * spread, 0.0), centre + reach * spread
    found = np.quantile(real, QUANTILES)
    pooled = curves.mean(axis=0)
    names = [f"q{round(100 * q):02d}" for q in QUANTILES]
    ends = zip(names, centre, low, high, strict=True)
    return StatisticCheck(
        name=name,
        real={key: float(value) for key, value in zip(names, found, strict=True)},
        simulated={key: Interval(float(m), float(a), float(b)) for key, m, a, b in ends},
        distance=float(np.abs(np.quantile(_scaled(name, real), _GRID) - pooled).mean()),
        distance_limit=float(np.quantile(np.abs(curves - pooled).mean(axis=1), 0.95, method=_METHOD)),
        inside=bool(np.all((low <= found) & (found <= high))),
    )
