"""Bayesian linear regression of within-test effects on blocks of columns, prior variances by marginal likelihood.

The observed logit of arm a of test g is

    z_a = base_g + x_a' beta + e_a + noise_a,   beta_p ~ N(0, s_block(p)),   e_a ~ N(0, tau^2),   noise_a ~ N(0, v_a)

The base has a flat prior: it drops out when each test is centred with the weights ``w_a = 1 / (tau^2 + v_a)``, and the
marginal likelihood becomes the restricted one (Patterson & Thompson 1971). The block variances s and the spread tau
that content does not explain maximise it (MacKay 1992, evidence; Rasmussen & Williams 2006, section 5.4.1).

Shape letters: ``A`` arms, ``P`` columns, ``B`` blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import ABTests

__all__ = ["Hyperparameters", "Posterior", "Targets", "fit_hyperparameters", "posterior", "targets"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

STEADYING_SD = 0.25
"""Spread of the arms of a test, in logits, whose worth in impressions at the file's click rate steadies the rate in the
variance of an arm: 1,200 at 1.35 %, 100 at 20 %."""
_LOWEST, _HIGHEST = -14.0, 1.0  # of log s
_START_TAU, _START_LOG_S = 0.17, np.log(0.005)
_TAU_STEP = 0.25  # of log tau
_LEAST_TAU, _MOST_TAU = 0.03, 3.0
"""Where tau is looked for: below, arms with a hundred thousand impressions each could not tell it from 0."""
_ENOUGH = 0.05
"""Gain in log-likelihood below which a step is not worth taking; data tell apart differences of about 1."""
_MOST_STEPS, _LONGEST_STEP, _DAMPING = 30, 2.0, 1e-3


@dataclass(frozen=True)
class Targets:
    """Observed logits z (A,) with the variances v (A,) of their noise, and the index of the test of each arm (A,)."""

    test: Int
    z: Float
    v: Float


@dataclass(frozen=True)
class Hyperparameters:
    """What is estimated first.

    Attributes:
        tau: standard deviation of effects that content does not explain.
        log_s: (B,) logarithms of block variances.
        nll: the restricted negative log-likelihood, up to a constant.
    """

    tau: float
    log_s: Float
    nll: float = 0.0


@dataclass(frozen=True)
class Posterior:
    """Attributes: mean of beta (P,); root (P, P) with ``cov(beta) = root' root``."""

    mean: Float
    root: NDArray[np.float32]


def targets(tests: ABTests, overdispersion: float) -> Targets:
    """Logits of the arms with their noise ``v = phi / (n p (1 - p))``, p pulled towards the test's pooled rate.

    The pull keeps an arm that had luck from looking more exact than one that had none.
    """
    n, s = tests.impressions.astype(np.float64), tests.clicks.astype(np.float64)
    typical = (s.sum() + 0.5) / (n.sum() + 1.0)
    worth = 1.0 / (STEADYING_SD**2 * typical * (1.0 - typical))
    pooled = (np.bincount(tests.test, s) + 0.5) / (np.bincount(tests.test, n) + 1.0)
    p = (s + worth * pooled[tests.test]) / (n + worth)
    return Targets(tests.test, np.log((s + 0.5) / (n - s + 0.5)), overdispersion / (n * p * (1 - p)))


@dataclass(frozen=True)
class _Sums:
    """What the likelihood needs at one tau, weighted and centred: X'X (P, P), X'z (P,), z'z, the log determinant."""

    xx: Float
    xz: Float
    zz: float
    log_det: float


def _sums(x: Float, given: Targets, tau: float) -> _Sums:
    w = 1.0 / (tau**2 + given.v)
    _, index = np.unique(given.test, return_inverse=True)
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    total = np.add.reduceat(w, starts)
    z = given.z - (np.add.reduceat(w * given.z, starts) / total)[index]
    root = np.sqrt(w)
    x = (x - (np.add.reduceat(x * w[:, None], starts) / total[:, None])[index]) * root[:, None]
    z = z * root
    return _Sums(x.T @ x, x.T @ z, float(z @ z), float(np.log(total).sum() - np.log(w).sum()))


def _likelihood(log_s: Float, block: Int, sums: _Sums) -> tuple[float, Float, Float]:
    """The restricted negative log-likelihood, its slope (B,) along `log_s` and its Fisher information (B, B).

    By the P x P form of the matrix determinant lemma; with ``M = S^(1/2) X'X S^(1/2) + I`` and ``H = I - M^-1`` the
    information of blocks k and l is half the sum of squares of the entries of H in rows of k and columns of l.
    """
    from scipy.linalg import lapack, solve_triangular

    variance = np.exp(log_s)[block]
    root = np.sqrt(variance)
    lower = np.linalg.cholesky(root[:, None] * sums.xx * root + np.eye(len(root)))
    c = solve_triangular(lower, root * sums.xz, lower=True)
    value = 0.5 * (sums.zz - c @ c) + float(np.log(np.diag(lower)).sum()) + 0.5 * sums.log_det
    beta = root * solve_triangular(lower, c, lower=True, trans="T")
    # dpotri fills one triangle of the inverse; it is handed the transpose so that nothing is copied.
    inverse, _ = lapack.dpotri(lower.T, lower=0, overwrite_c=1)
    diagonal = np.diag(inverse).copy()
    slope = 0.5 * (1.0 - diagonal) - 0.5 * beta**2 / variance
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    upper = np.triu(inverse, 1)
    squares = np.add.reduceat(np.add.reduceat(upper * upper, starts, axis=0), starts, axis=1)
    own = np.bincount(block, (1.0 - diagonal) ** 2)
    information = 0.5 * (squares + squares.T + np.diag(own))
    return float(value), np.asarray(np.bincount(block, slope), np.float64), information


def _fit_blocks(log_s: Float, block: Int, sums: _Sums, tau: float) -> Hyperparameters:
    """Block variances of the largest likelihood at one tau, by Fisher scoring with steps that never go up."""
    log_s = np.clip(log_s, _LOWEST, _HIGHEST)
    value, slope, information = _likelihood(log_s, block, sums)
    for _ in range(_MOST_STEPS):
        step = -np.linalg.solve(information + _DAMPING * np.eye(len(log_s)), slope)
        step *= min(1.0, _LONGEST_STEP / max(float(abs(step).max()), 1e-12))
        trial = np.clip(log_s + step, _LOWEST, _HIGHEST)
        expected = -float(slope @ (trial - log_s))
        if expected < _ENOUGH:
            break
        found = _likelihood(trial, block, sums)
        while found[0] > value and expected > _ENOUGH:
            trial, expected = (log_s + trial) / 2, expected / 2
            found = _likelihood(trial, block, sums)
        if found[0] > value:
            break
        log_s, (value, slope, information) = trial, found
    return Hyperparameters(tau, log_s, value)


def fit_hyperparameters(
    x: Float, block: Int, given: Targets, start: Hyperparameters | None = None
) -> Hyperparameters:
    """The tau and block variances of the largest restricted likelihood; `start` only saves time.

    tau is found on the parabola through three values that enclose the best.
    """

    def at(tau: float, log_s: Float) -> Hyperparameters:
        return _fit_blocks(log_s, block, _sums(x, given, tau), tau)

    blocks = int(block.max()) + 1
    best = at(start.tau, start.log_s) if start else at(_START_TAU, np.full(blocks, _START_LOG_S))
    tried = {best.tau: best}
    for _ in range(12):  # walk until the best has a worse neighbour on either side
        for tau in (best.tau * np.exp(_TAU_STEP), best.tau * np.exp(-_TAU_STEP)):
            seen = any(abs(np.log(tau / old)) < _TAU_STEP / 2 for old in tried)
            if not seen and _LEAST_TAU < tau < _MOST_TAU:
                tried[tau] = at(tau, best.log_s)
        lowest = min(tried.values(), key=lambda h: h.nll)
        near_enough = best.nll - lowest.nll < _ENOUGH
        best = lowest
        if near_enough:
            break
    logs, values = np.log(list(tried)), np.array([h.nll for h in tried.values()])
    near = np.argsort(abs(logs - np.log(best.tau)))[:3]
    if len(near) < 3:
        return best
    a, b, _ = np.polyfit(logs[near], values[near], 2)
    if a <= 0:
        return best
    vertex = np.clip(-b / (2 * a), np.log(best.tau) - _TAU_STEP, np.log(best.tau) + _TAU_STEP)
    found = at(float(np.exp(vertex)), best.log_s)
    return found if found.nll < best.nll else best


def posterior(x: Float, block: Int, given: Targets, hyper: Hyperparameters) -> Posterior:
    """Mean and covariance of beta given the tests."""
    from scipy.linalg import solve_triangular

    sums = _sums(x, given, hyper.tau)
    scale = np.sqrt(np.exp(hyper.log_s)[block])
    lower = np.linalg.cholesky(scale[:, None] * sums.xx * scale + np.eye(len(scale)))
    root = solve_triangular(lower, np.diag(scale), lower=True)
    # In row order, as it comes back from a file: the order decides how sums are rounded.
    return Posterior(root.T @ (root @ sums.xz), np.ascontiguousarray(root, np.float32))
