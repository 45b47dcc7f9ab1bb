"""The restricted likelihood against its definition, the posterior against a dense solution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import null_space

from multimodal_dql.prior.reliability import calibration, recalibrated
from multimodal_dql.prior.ridge import (
    Hyperparameters,
    Targets,
    _likelihood,
    _sums,
    fit_hyperparameters,
    posterior,
    targets,
)
from tests.prior.planted import make_tests


def small(seed: int = 0):
    rng = np.random.default_rng(seed)
    test = np.repeat(np.arange(6), [2, 3, 4, 2, 3, 2])
    x = rng.standard_normal((16, 5))
    given = Targets(test, rng.standard_normal(16), rng.uniform(0.1, 0.5, 16))
    return x, np.array([0, 0, 0, 1, 1]), given


def dense(x, block, given, tau, log_s):
    """Likelihood of contrasts that no base changes, from the covariance of all arms."""
    bases = (given.test[:, None] == np.arange(6)).astype(float)
    contrast = null_space(bases.T).T
    full = np.diag(tau**2 + given.v) + (x * np.exp(log_s)[block]) @ x.T
    cov, z = contrast @ full @ contrast.T, contrast @ given.z
    return 0.5 * (np.linalg.slogdet(cov)[1] + z @ np.linalg.solve(cov, z))


def test_the_restricted_likelihood_is_that_of_contrasts() -> None:
    """Up to a constant that neither tau nor s moves."""
    x, block, given = small()
    gaps = []
    for tau, log_s in ((0.3, [-1.0, -2.0]), (0.6, [0.0, -3.0]), (0.1, [-4.0, 0.5])):
        value, slope, _ = _likelihood(np.array(log_s), block, _sums(x, given, tau))
        gaps.append(value - dense(x, block, given, tau, np.array(log_s)))
        for b in range(2):
            step = np.eye(2)[b] * 1e-5
            rise = dense(x, block, given, tau, log_s + step) - dense(x, block, given, tau, log_s - step)
            assert slope[b] == pytest.approx(rise / 2e-5, abs=1e-5)
    np.testing.assert_allclose(gaps, gaps[0], atol=1e-8)


def test_the_information_is_that_of_the_dense_covariance() -> None:
    """Half the trace of ``P dV_k P dV_l`` for contrasts (Searle, Casella & McCulloch 1992, section 6.6)."""
    x, block, given = small(2)
    log_s = np.array([-1.0, -2.0])
    _, _, found = _likelihood(log_s, block, _sums(x, given, 0.3))
    contrast = null_space((given.test[:, None] == np.arange(6)).astype(float).T).T
    parts = [np.exp(log_s[b]) * x[:, block == b] @ x[:, block == b].T for b in range(2)]
    cov = contrast @ (np.diag(0.09 + given.v) + sum(parts)) @ contrast.T
    solved = [np.linalg.solve(cov, contrast @ part @ contrast.T) for part in parts]
    wanted = [[0.5 * np.trace(a @ b) for b in solved] for a in solved]
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_the_posterior_is_that_of_the_dense_solution() -> None:
    x, block, given = small(1)
    hyper = Hyperparameters(0.3, np.array([-1.0, -2.0]))
    found = posterior(x, block, given, hyper)
    bases = (given.test[:, None] == np.arange(6)).astype(float)
    noise = np.diag(1 / (0.09 + given.v))
    # bases with a flat prior are columns without a penalty
    both = np.hstack([x, bases])
    penalty = np.diag([*np.exp(-np.array([-1.0, -2.0]))[block], *np.zeros(6)])
    inverse = np.linalg.inv(both.T @ noise @ both + penalty)
    np.testing.assert_allclose(found.mean, (inverse @ both.T @ noise @ given.z)[:5], atol=1e-9)
    np.testing.assert_allclose(found.root.T @ found.root, inverse[:5, :5], atol=1e-5)


def test_hyperparameters_are_found_wherever_the_search_starts() -> None:
    """400 tests of 4 arms: tau has a standard error of about 4 %."""
    rng = np.random.default_rng(3)
    test = np.repeat(np.arange(400), 4)
    x = rng.standard_normal((1600, 10))
    block = np.repeat([0, 1], 5)
    beta = rng.standard_normal(10) * np.repeat([0.2, 0.0], 5)
    v = np.full(1600, 0.02)
    z = x @ beta + 0.25 * rng.standard_normal(1600) + np.sqrt(v) * rng.standard_normal(1600)
    given = Targets(test, z + rng.standard_normal(400)[test], v)
    found = fit_hyperparameters(x, block, given)
    assert found.tau == pytest.approx(0.25, abs=0.03)
    assert np.exp(found.log_s[0]) > 10 * np.exp(found.log_s[1])
    again = fit_hyperparameters(x, block, given, Hyperparameters(0.6, np.array([-10.0, 0.0])))
    assert again.nll == pytest.approx(found.nll, abs=0.1)
    assert again.tau == pytest.approx(found.tau, rel=0.05)


def test_targets_by_hand() -> None:
    tests = make_tests(np.array([2]), np.array([99, 99]), np.array([9, 0]), ["a", "b"])
    found = targets(tests, 2.0)
    np.testing.assert_allclose(found.z, np.log([9.5 / 90.5, 0.5 / 99.5]))
    pooled = 9.5 / 199
    worth = 16 / (pooled * (1 - pooled))  # of a spread of .25: 1 / (.25^2 p (1 - p)), here 352 impressions
    p = (np.array([9, 0]) + worth * pooled) / (99 + worth)
    np.testing.assert_allclose(found.v, 2.0 / (99 * p * (1 - p)))


def test_calibration_by_hand() -> None:
    """Two tests of two arms, every weight 1: observed +-2 and +-1, predicted +-1 each."""
    given = Targets(np.array([0, 0, 1, 1]), np.array([5.0, 1.0, 0.0, 2.0]), np.full(4, 0.5))
    found = calibration(given, np.array([1.0, -1.0, -1.0, 1.0]), np.full(4, np.sqrt(0.5)))
    assert found.residual_variance == pytest.approx(1.0)  # residuals 1, -1, 0, 0; two degrees of freedom
    assert found.blank_variance == pytest.approx(5.0)
    assert found.slope == pytest.approx(6 / 4)
    # each residual has variance 1/2: 1.41 and 0 standard deviations
    assert found.coverage == {"0.5": 0.5, "0.8": 0.5, "0.95": 1.0}
    assert [b.arms for b in found.table] == [1, 1, 1, 1]


def test_recalibration_by_hand() -> None:
    """Predictions that are twice too large and sds a fifth too small; the truth is known exactly."""
    rng = np.random.default_rng(4)
    test = np.repeat(np.arange(4000), 3)
    effect, rest = rng.standard_normal(12000) * 0.2, rng.standard_normal(12000) * 0.25
    given = Targets(test, effect + rest, np.full(12000, 1e-9))
    shrink, factor = recalibrated(given, 2 * effect, np.full(12000, 0.2))
    # standard errors: .25 / (.4 sqrt(8000)) = .007 and 1.25 / sqrt(16000) = .010
    assert shrink == pytest.approx(0.5, abs=0.03)
    assert factor == pytest.approx(1.25, abs=0.04)
    fits = calibration(given, shrink * 2 * effect, np.full(12000, 0.2 * factor))
    assert fits.residual_variance == pytest.approx(1.0, abs=1e-6)
