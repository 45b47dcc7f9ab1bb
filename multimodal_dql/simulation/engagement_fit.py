"""Fit the engagement model to A/B tests: maximum marginal likelihood for rates, moments for traffic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import ABTests
from multimodal_dql.errors import ABTestsError
from multimodal_dql.simulation.engagement_likelihood import (
    Rates,
    Tables,
    base_posterior,
    log_likelihood,
    tables,
)

__all__ = [
    "BOUNDS",
    "MINIMUM_TESTS",
    "RateFit",
    "Traffic",
    "arm_shares",
    "fit_rates",
    "fit_traffic",
    "traffic_errors",
]

Float = NDArray[np.float64]

MINIMUM_TESTS = 20
BOUNDS = ((-20.0, 20.0), *(tuple(np.log(b)) for b in ((0.01, 5.0), (0.01, 3.0), (0.1, 98.0))))
_REFERENCE_ARMS = 4.0


@dataclass(frozen=True)
class RateFit:
    """Rates and how sure they are.

    Attributes:
        rates: the estimate.
        covariance: (5, 5) of ``Rates.unbounded()`` and the logarithm of phi. Robust to tests of one component going
            together (sandwich over components, Liang & Zeger 1986), and it counts that phi is estimated too.
        log_likelihood: of all tests, at the estimate.
        base_mean: (G,) posterior mean of each test's base, in logits.
        base_variance: (G,) its posterior variance.
    """

    rates: Rates
    covariance: Float
    log_likelihood: float
    base_mean: Float
    base_variance: Float


def check_fittable(tests: ABTests) -> None:
    """Raises `ABTestsError` when there is too little to learn from."""
    if tests.G < MINIMUM_TESTS:
        raise ABTestsError(
            path=tests.path,
            detail=f"has {tests.G} usable tests; an engagement model needs at least {MINIMUM_TESTS}: add tests",
            detail_zh=f"只有 {tests.G} 个可用的测试；拟合互动模型至少需要 {MINIMUM_TESTS} 个，请补充",
        )
    if not 0 < tests.clicks.sum() < tests.impressions.sum():
        raise ABTestsError(
            path=tests.path,
            detail="has no clicks, or nothing but clicks; check the columns clicks and impressions",
            detail_zh="没有点击，或全部是点击；请检查 clicks 和 impressions 列",
        )


def fit_rates(tests: ABTests, phi: float, phi_error: float) -> RateFit:
    """Maximum marginal likelihood of `Rates` at a given overdispersion (and its standard error).

    Raises `ABTestsError` when there is too little to learn from.
    """
    from scipy.optimize import minimize

    check_fittable(tests)
    table = tables(tests, phi)
    start = Rates(float(table.centre.mean()), max(float(table.centre.std()), 0.05), 0.25, 5.0).unbounded()
    low, high = np.array(BOUNDS).T

    def loss(x: Float) -> tuple[float, Float]:
        value, slope = log_likelihood(table, Rates.of(x))
        return -float(value.mean()), -slope.mean(axis=0)

    found = minimize(
        loss,
        np.clip(start, low, high),
        jac=True,
        method="L-BFGS-B",
        bounds=BOUNDS,
        options={"ftol": 1e-12, "gtol": 1e-6},
    )
    x = np.asarray(found.x, np.float64)
    rates = Rates.of(x)
    covariance = _covariance(tests, table, x, phi, phi_error, free=(x > low + 1e-3) & (x < high - 1e-3))
    return RateFit(rates, covariance, -float(found.fun) * tests.G, *base_posterior(table, rates))


def _scores(table: Tables, x: Float) -> Float:
    """Derivative of each test's log-likelihood along each parameter, (G, 4)."""
    return log_likelihood(table, Rates.of(x))[1]


def _covariance(
    tests: ABTests, table: Tables, x: Float, phi: float, phi_error: float, free: NDArray[np.bool_]
) -> Float:
    """Sandwich covariance over components, widened by the uncertainty of phi; see `RateFit.covariance`.

    A parameter at its limit (`free` is false) has no covariance.
    """
    step = 1e-2
    hessian = np.stack(
        [
            (_scores(table, x + unit).sum(axis=0) - _scores(table, x - unit).sum(axis=0)) / (2 * step)
            for unit in np.eye(len(x)) * step
        ]
    )
    bread = _inverse_information(-(hessian + hessian.T)[np.ix_(free, free)] / 2)
    scores = _scores(table, x)[:, free]
    _, component = np.unique(tests.component, return_inverse=True)
    clusters = np.stack([np.bincount(component, column) for column in scores.T], axis=1)
    meat = clusters.T @ clusters * len(clusters) / max(len(clusters) - 1, 1)
    out = np.zeros((len(x) + 1, len(x) + 1))
    out[:-1, :-1][np.ix_(free, free)] = bread @ meat @ bread
    # How the estimate moves with log phi: one Newton step from a slightly larger phi.
    log_error = phi_error / phi
    nudge = max(log_error, 1e-3)
    moved = _scores(tables(tests, phi * float(np.exp(nudge))), x).sum(axis=0)
    slope = np.zeros(len(x) + 1)
    slope[:-1][free] = bread @ ((moved - _scores(table, x).sum(axis=0)) / nudge)[free]
    slope[-1] = 1.0
    out += np.outer(slope, slope) * log_error**2
    return np.asarray(out)


def _inverse_information(information: Float) -> Float:
    """Inverse of a symmetric matrix whose directions without information count as known only to within 10 units."""
    values, vectors = np.linalg.eigh(information)
    return np.asarray((vectors / np.maximum(values, 1e-2)) @ vectors.T)


@dataclass(frozen=True)
class Traffic:
    """How impressions are spread, on the scale of natural logarithms.

    ``log n_ga = mean + base_slope (mu_g - base_mean) + arms_slope log(K_g / 4) + u_g + e_ga``, u and e normal.

    Attributes:
        mean: of an arm of a test with four arms and the average base.
        test_sd: of u, between tests.
        arm_sd: of e, between the arms of a test.
        base_slope: for each logit of the test's base.
        arms_slope: for each unit of the logarithm of the number of arms.
    """

    mean: float
    test_sd: float
    arm_sd: float
    base_slope: float
    arms_slope: float


def fit_traffic(tests: ABTests, fit: RateFit) -> Traffic:
    """Least squares on the tests' mean log impressions, and variances by the method of moments (Searle et al. 1992).

    The base of a test is its posterior mean, which makes the slope unbiased (regression calibration).
    """
    return _traffic(_Moments.of(tests, fit), np.ones(tests.G))


@dataclass(frozen=True)
class _Moments:
    """What the traffic needs of each test, (G,) each."""

    mean: Float
    squares: Float
    sizes: Float
    base: Float
    base_variance: Float

    @classmethod
    def of(cls, tests: ABTests, fit: RateFit) -> _Moments:
        logs = np.log(tests.impressions)
        sizes = tests.sizes.astype(np.float64)
        mean: Float = np.bincount(tests.test, logs) / sizes
        squares = np.bincount(tests.test, np.square(logs - mean[tests.test]))
        return cls(
            mean,
            np.asarray(squares, np.float64),
            sizes,
            fit.base_mean - fit.rates.base_mean,
            fit.base_variance,
        )


def _traffic(m: _Moments, weight: Float) -> Traffic:
    """`fit_traffic` with each test counted `weight` (G,) times."""
    arms = np.log(m.sizes / _REFERENCE_ARMS)
    columns = [np.ones(len(arms)), m.base]
    if np.ptp(arms[weight > 0]) > 0:
        columns.append(arms)
    design = np.stack(columns, axis=1)
    root = np.sqrt(weight)
    beta, *_ = np.linalg.lstsq(design * root[:, None], m.mean * root, rcond=None)
    arm_variance = float(weight @ m.squares) / max(float(weight @ (m.sizes - 1)), 1.0)
    rest = float(weight @ (m.mean - design @ beta) ** 2) / max(float(weight.sum()) - len(beta), 1.0)
    known = float(weight @ (arm_variance / m.sizes + beta[1] ** 2 * m.base_variance) / weight.sum())
    return Traffic(
        mean=float(beta[0]),
        test_sd=float(np.sqrt(max(rest - known, 0.0))),
        arm_sd=float(np.sqrt(arm_variance)),
        base_slope=float(beta[1]),
        arms_slope=float(beta[2]) if len(beta) > 2 else 0.0,
    )


def traffic_errors(tests: ABTests, fit: RateFit, *, seed: int, resamples: int = 200) -> dict[str, float]:
    """Standard errors of `Traffic` by name, from a bootstrap over components."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 22]))
    moments = _Moments.of(tests, fit)
    names, component = np.unique(tests.component, return_inverse=True)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    draws = [vars(_traffic(moments, weight[component].astype(np.float64))) for weight in times]
    return {name: float(np.std([draw[name] for draw in draws], ddof=1)) for name in draws[0]}


def arm_shares(tests: ABTests) -> tuple[float, ...]:
    """Share of tests with 2, 3, ... arms."""
    counts = np.bincount(tests.sizes)[2:]
    return tuple(float(share) for share in counts / counts.sum())
