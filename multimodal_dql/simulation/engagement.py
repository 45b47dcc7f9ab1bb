"""The engagement model: how click rates, luck and traffic are spread over A/B tests, fitted to past ones.

    m = EngagementModel.fit(read_ab_tests(path))
    tests = m.sample(100_000, seed=1)          # tests like the past ones, with their true rates

A test has a base rate, its arms scatter around it, clicks scatter around the arms' true rates, and impressions
follow the traffic (`engagement_likelihood`, `engagement_noise` and `engagement_fit` have the formulas). All logits are
of clicks an impression. Whether real tests look like tests of the model is what `engagement_check` answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import ABTests, Replicates
from multimodal_dql.simulation.engagement_fit import (
    BOUNDS,
    Traffic,
    arm_shares,
    fit_rates,
    fit_traffic,
    traffic_errors,
)
from multimodal_dql.simulation.engagement_likelihood import Rates
from multimodal_dql.simulation.engagement_noise import draw_clicks, overdispersion

__all__ = ["PARAMETERS", "EngagementModel", "Evidence", "SimulatedTests"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_MOST_IMPRESSIONS = 2**40
_Z95 = 1.959964

PARAMETERS: Mapping[str, tuple[str, str]] = {
    "base_logit_mean": ("base rate, mean over tests (logit)", "基准点击率，测试间均值（logit）"),
    "base_logit_sd": ("base rate, sd between tests (logit)", "基准点击率，测试间标准差（logit）"),
    "within_logit_sd": (
        "arms of a test, sd of true rates (logit)",
        "同一测试各变体真实点击率的标准差（logit）",
    ),
    "within_df": ("arms of a test, t degrees of freedom", "同一测试各变体，t 分布自由度"),
    "overdispersion": ("overdispersion of clicks (1 = coin flips)", "点击的过度离散（1 为独立抛硬币）"),
    "log_impressions_mean": ("log impressions of an arm, mean", "每个变体展示次数的对数，均值"),
    "log_impressions_test_sd": ("log impressions, sd between tests", "展示次数的对数，测试间标准差"),
    "log_impressions_arm_sd": ("log impressions, sd within a test", "展示次数的对数，测试内标准差"),
    "log_impressions_base_slope": (
        "log impressions for each logit of the base",
        "基准每增加一个 logit 时展示对数的变化",
    ),
    "log_impressions_arms_slope": (
        "log impressions for each log of arms",
        "变体数的对数每增加一时展示对数的变化",
    ),
}
"""Every fitted number with what it is, in English and Chinese."""


@dataclass(frozen=True)
class SimulatedTests(ABTests):
    """A/B tests drawn from a model, with what only a simulation knows.

    Attributes:
        true_rates: (A,) clicks an impression.
        base_logits: (G,) the tests' base.
    """

    true_rates: Float
    base_logits: Float


@dataclass(frozen=True)
class Evidence:
    """What a model was fitted to. All zero for a model that was written down and not fitted."""

    tests: int = 0
    arms: int = 0
    impressions: int = 0
    clicks: int = 0
    replicate_groups: int = 0
    pool: str = "arm"
    seed: int = 0
    log_likelihood: float = 0.0


@dataclass(frozen=True)
class EngagementModel:
    """The parameters; the defaults are those of the Upworthy Research Archive (exploratory set, arms pooled by text).

    Attributes:
        base_logit_mean: mean over tests of the logit of the base rate; the base is normal on that scale (a skew or
            heavier tails raise the log-likelihood of 1,537 Upworthy tests by less than 1 for two parameters).
        base_logit_sd: its standard deviation between tests.
        within_logit_sd: standard deviation of the arms' true logits around the base of their test, over all tests.
        within_df: degrees of freedom, above 2, of the t distribution of these deviations, whose scale the arms of a
            test share; small: tests differ much in how far their arms are apart.
        overdispersion: phi of ``var(clicks) = phi n p (1 - p)``, at least 1.
        log_impressions_mean: natural logarithm of the impressions of an arm: mean, in a test with four arms and the
            average base.
        log_impressions_test_sd: its standard deviation between tests that are alike in base and number of arms.
        log_impressions_arm_sd: its standard deviation between the arms of a test.
        log_impressions_base_slope: its change for each logit of the test's base.
        log_impressions_arms_slope: its change for each unit of the logarithm of the test's number of arms.
        arm_shares: share of tests with 2, 3, ... arms.
        intervals: 95 % interval of each fitted number by name.
        covariance: (5, 5) of base_logit_mean, log base_logit_sd, log within_logit_sd, log (within_df - 2) and log
            overdispersion; empty when not known.
        evidence: what it was fitted to.
    """

    base_logit_mean: float = -4.63
    base_logit_sd: float = 0.643
    within_logit_sd: float = 0.241
    within_df: float = 4.7
    overdispersion: float = 1.76
    log_impressions_mean: float = 8.22
    log_impressions_test_sd: float = 0.354
    log_impressions_arm_sd: float = 0.161
    log_impressions_base_slope: float = -0.105
    log_impressions_arms_slope: float = -0.518
    arm_shares: tuple[float, ...] = (0.128, 0.045, 0.435, 0.169, 0.185, 0.018, 0.013, 0.007)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    covariance: tuple[tuple[float, ...], ...] = ()
    evidence: Evidence = Evidence()

    @classmethod
    def fit(cls, tests: ABTests, *, seed: int = 0, noise: float | None = None) -> Self:
        """Fit to past tests. `seed` is of the bootstraps behind some of the intervals.

        `noise` is the overdispersion if it is known; None measures it on the replicates.

        Raises `ABTestsError` when there are fewer than 20 tests, or no clicks.
        """
        phi, phi_error, groups = (
            overdispersion(tests.replicates, seed=seed) if noise is None else (noise, 0.0, 0)
        )
        fit = fit_rates(tests, phi, phi_error)
        traffic, errors = fit_traffic(tests, fit), traffic_errors(tests, fit, seed=seed)
        intervals = _rate_intervals(fit.rates, phi, fit.covariance)
        for name, error in errors.items():
            value = getattr(traffic, name)
            low = 0.0 if name.endswith("_sd") else -np.inf
            ends = (max(low, value - _Z95 * error), value + _Z95 * error)
            intervals[f"log_impressions_{name}"] = (float(ends[0]), float(ends[1]))
        return cls(
            base_logit_mean=fit.rates.base_mean,
            base_logit_sd=fit.rates.base_sd,
            within_logit_sd=fit.rates.within_sd,
            within_df=fit.rates.within_df,
            overdispersion=phi,
            **{f"log_impressions_{name}": value for name, value in vars(traffic).items()},
            arm_shares=arm_shares(tests),
            intervals=intervals,
            covariance=tuple(tuple(map(float, row)) for row in fit.covariance),
            evidence=Evidence(
                tests=tests.G,
                arms=tests.A,
                impressions=int(tests.impressions.sum()),
                clicks=int(tests.clicks.sum()),
                replicate_groups=groups,
                pool=tests.pool,
                seed=seed,
                log_likelihood=fit.log_likelihood,
            ),
        )

    @property
    def rates(self) -> Rates:
        """The parameters of true click rates."""
        return Rates(self.base_logit_mean, self.base_logit_sd, self.within_logit_sd, self.within_df)

    @property
    def traffic(self) -> Traffic:
        """The parameters of impressions."""
        names = ("mean", "test_sd", "arm_sd", "base_slope", "arms_slope")
        return Traffic(*(getattr(self, f"log_impressions_{name}") for name in names))

    def sample(
        self, tests: int, seed: int, *, like: ABTests | None = None, replicates: int = 0
    ) -> SimulatedTests:
        """Draw tests, with the rates that are true of them.

        Args:
            tests: G, how many; with `like` it must be that many, or 0 for "as many".
            seed: the same seed gives the same tests.
            like: real tests whose numbers of arms and impressions are taken over; bases are then drawn given that
                traffic.
            replicates: pairs of equal arms to draw beside them, so that a fit can measure the overdispersion.

        Raises ValueError when `tests` and `like` disagree.
        """
        rng = np.random.Generator(np.random.Philox(key=[seed, 30]))
        if like is not None and tests not in (0, like.G):
            raise ValueError(f"{tests} tests are wanted like {like.G}")
        if like is None:
            sizes = rng.choice(len(self.arm_shares), size=tests, p=_shares(self.arm_shares)) + 2
            base = self.base_logit_mean + self.base_logit_sd * rng.standard_normal(tests)
            impressions = self._draw_impressions(rng, sizes, base)
        else:
            sizes, impressions = like.sizes, like.impressions
            base = self.draw_bases(rng, like)
        rates = self.draw_rates(rng, base, sizes)
        clicks = draw_clicks(rng, impressions, rates, self.overdispersion)
        count = len(sizes)
        place = np.arange(len(rates)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        names = tuple(str(k + 1) for k in range(int(sizes.max(initial=0))))
        nothing = (None,) * len(rates)
        return SimulatedTests(
            path=Path("simulated"),
            pool="none",
            test_ids=like.test_ids if like else tuple(map(str, range(count))),
            created=np.full(count, np.datetime64("NaT", "s")),
            component=np.arange(count),
            test=np.repeat(np.arange(count), sizes),
            arm_ids=like.arm_ids if like else tuple(names[k] for k in place.tolist()),
            headlines=nothing,
            images=nothing,
            audios=nothing,
            impressions=impressions,
            clicks=clicks,
            risky=np.zeros(count, np.bool_),
            confounded=np.zeros(count, np.bool_),
            replicates=self._draw_replicates(rng, replicates, impressions, rates),
            cleaning={},
            true_rates=rates,
            base_logits=base,
        )

    def drawn_from_uncertainty(self, rng: np.random.Generator, draws: int) -> list[Self]:
        """The model with click parameters drawn from the uncertainty of its fit; itself if that is not known."""
        if not self.covariance:
            return [self] * draws
        centre = np.append(self.rates.unbounded(), np.log(self.overdispersion))
        values, vectors = np.linalg.eigh(np.array(self.covariance))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        moved = centre + rng.standard_normal((draws, len(centre))) @ root.T
        # A fit with little information says "anything": a draw stays in the range in which a fit is looked for.
        low, high = np.array(BOUNDS).T
        moved = np.clip(moved, np.append(low, 0.0), np.append(high, 5.0))
        return [self._with(_natural(vector)) for vector in moved]

    def _with(self, numbers: Mapping[str, float]) -> Self:
        return replace(self, **numbers)  # type: ignore[arg-type]

    def draw_rates(self, rng: np.random.Generator, base: Float, sizes: Int) -> Float:
        """True rates of the arms of tests with these bases and numbers of arms, both (G,)."""
        df = self.within_df
        spread = self.within_logit_sd * np.sqrt((df - 2) / rng.chisquare(df, size=len(sizes)))
        logits = np.repeat(base, sizes) + np.repeat(spread, sizes) * rng.standard_normal(int(sizes.sum()))
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))))

    def draw_bases(self, rng: np.random.Generator, tests: ABTests) -> Float:
        """Bases (G,) of tests with the impressions that these had: normal, pulled by what traffic tells."""
        t = self.traffic
        k = tests.sizes
        logs = np.bincount(tests.test, np.log(tests.impressions)) / k
        noise = t.test_sd**2 + t.arm_sd**2 / k
        explained = (t.base_slope * self.base_logit_sd) ** 2
        pull = t.base_slope * self.base_logit_sd**2 / np.maximum(explained + noise, 1e-12)
        mean = self.base_logit_mean + pull * (logs - t.mean - t.arms_slope * np.log(k / 4.0))
        sd = self.base_logit_sd * np.sqrt(np.maximum(1.0 - pull * t.base_slope, 0.0))
        return np.asarray(mean + sd * rng.standard_normal(len(k)))

    def _draw_replicates(
        self, rng: np.random.Generator, groups: int, impressions: Int, rates: Float
    ) -> Replicates:
        """Pairs of equal arms, each like an arm drawn at random from those given."""
        arm = np.repeat(rng.integers(0, max(len(rates), 1), size=groups), 2)
        clicks = draw_clicks(rng, impressions[arm], rates[arm], self.overdispersion)
        return Replicates(np.repeat(np.arange(groups), 2), impressions[arm], clicks)

    def _draw_impressions(self, rng: np.random.Generator, sizes: Int, base: Float) -> Int:
        t = self.traffic
        centre = t.mean + t.base_slope * (base - self.base_logit_mean) + t.arms_slope * np.log(sizes / 4.0)
        centre = centre + t.test_sd * rng.standard_normal(len(sizes))
        logs = np.repeat(centre, sizes) + t.arm_sd * rng.standard_normal(int(sizes.sum()))
        return np.clip(np.rint(np.exp(np.clip(logs, 0.0, 27.0))), 1, _MOST_IMPRESSIONS).astype(np.int64)

    def to_dict(self) -> dict[str, object]:
        """The model as numbers, lists and names; `engagement_json` writes and reads it."""
        return asdict(self)


def _shares(shares: tuple[float, ...]) -> Float:
    p = np.asarray(shares, np.float64)
    return np.asarray(p / p.sum())


def _rate_intervals(rates: Rates, phi: float, covariance: Float) -> dict[str, tuple[float, float]]:
    """95 % intervals, symmetric on the scale of the covariance and turned back from it."""
    centre = np.append(rates.unbounded(), np.log(phi))
    half = _Z95 * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    out: dict[str, tuple[float, float]] = {}
    ends = [_natural(centre + sign * half) for sign in (-1.0, 1.0)]
    for name in ends[0]:
        out[name] = (ends[0][name], ends[1][name])
    return out


def _natural(vector: Float) -> dict[str, float]:
    """Parameters by name from the vector (5,) whose covariance a model holds."""
    rates = Rates.of(vector[:4])
    return {
        "base_logit_mean": rates.base_mean,
        "base_logit_sd": rates.base_sd,
        "within_logit_sd": rates.within_sd,
        "within_df": rates.within_df,
        "overdispersion": max(1.0, float(np.exp(vector[4]))),
    }
