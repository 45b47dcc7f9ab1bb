"""Confidence sequences: intervals that hold at all times at once, so that one may look, and stop, whenever one likes.

Two kinds. The normal mixture (Robbins 1970) is asymptotic and serves any estimate with a standard error: a
difference, the logarithm of a ratio. Betting (Waudby-Smith & Ramdas 2023) is exact for means of bounded
observations. Functions work elementwise: looks and replications are axes of one array. T is time, L looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multimodal_dql.errors import UsageError

__all__ = [
    "always_valid_p",
    "anytime_interval",
    "anytime_relative",
    "anytime_z",
    "best_rho",
    "betting_interval",
    "betting_log_capital",
    "log_ratio",
    "mixture_bound",
    "mixture_log_e",
]

Array = NDArray[np.float64]


def best_rho(information: float, alpha: float = 0.05) -> float:
    """The mixture precision rho whose bound is tightest at a given intrinsic time.

    ``rho = V / (-W_{-1}(-alpha^2 / e) - 1)`` (Howard, Ramdas, McAuliffe & Sekhon 2021, Time-uniform, nonparametric,
    nonasymptotic confidence sequences, section 3.2; the optimum of Waudby-Smith et al. 2024, appendix B.2). It must be
    fixed before the data are seen, e.g. from the planned number of sessions.

    Args:
        information: V, the intrinsic time of interest, e.g. 1 / standard error^2 at the planned end.
        alpha: of the sequence.
    """
    from scipy.special import lambertw

    _check_alpha(alpha)
    if not 0 < information < math.inf:
        raise UsageError(
            detail="the information to tune for must be a number above 0",
            detail_zh="用于调节的信息量必须是大于 0 的数",
        )
    return information / (-float(lambertw(-(alpha**2) / math.e, k=-1).real) - 1)


def mixture_bound(information: ArrayLike, rho: float, alpha: float = 0.05) -> Array:
    """Bound of |S_V| for all V at once: ``sqrt((V + rho) log((V + rho) / (rho alpha^2)))`` (Robbins 1970, eq. 20).

    S_V is a sum with mean 0 and intrinsic time (variance) V; two-sided. Elementwise in V.
    """
    _check_alpha(alpha)
    v = np.asarray(information, np.float64)
    return np.asarray(np.sqrt((v + rho) * np.log((v + rho) / (rho * alpha**2))), np.float64)


def mixture_log_e(score: ArrayLike, information: ArrayLike, rho: float) -> Array:
    """Logarithm of the mixture martingale, ``(log(rho / (V + rho)) + S^2 / (V + rho)) / 2``: an e-process, elementwise.

    Its expectation is at most 1 at any stopping time when nothing is to be found.
    """
    s, v = np.asarray(score, np.float64), np.asarray(information, np.float64)
    return np.asarray(0.5 * (np.log(rho / (v + rho)) + s**2 / (v + rho)), np.float64)


def anytime_interval(
    estimate: ArrayLike, standard_error: ArrayLike, rho: float, alpha: float = 0.05
) -> tuple[Array, Array]:
    """Confidence sequence of an effect: the ends at each look, elementwise.

    With information V = 1 / se^2 and score S = V (estimate - effect), S_V is a Brownian motion in the limit, so the
    half width is ``mixture_bound(V) / V`` (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Time-uniform central
    limit theory and asymptotic confidence sequences, theorem 2.2; its rho^2 is 1 / rho here for unit variance).
    Unbounded where the standard error is 0 or not finite: nothing has varied yet.

    The guarantee is asymptotic, and the scale matters at early looks. The delta method's standard error of t / c - 1
    shrinks where c is large by luck, and peeking from 16 clicks on finds false winners in 7-14 % of A/A experiments;
    differences and logarithms of ratios keep 2 %. Hence relative differences go through `anytime_relative`.

    Args:
        estimate: a difference, or a `log_ratio`, at each look, any shape.
        standard_error: of each estimate, at that look, the same shape.
        rho: from `best_rho`, fixed beforehand.
        alpha: chance that the sequence ever leaves the truth out.
    """
    d, information = _information(estimate, standard_error)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = np.where(information > 0, mixture_bound(information, rho, alpha) / information, np.inf)
    centre = np.where(np.isfinite(d), d, 0.0)
    return centre - half, centre + half


def log_ratio(
    control: ArrayLike, control_error: ArrayLike, treatment: ArrayLike, treatment_error: ArrayLike
) -> tuple[Array, Array]:
    """Log(treatment / control) and its delta-method standard error, elementwise; NaN where a mean is not above 0.

    Args:
        control: means, any shape.
        control_error: their standard errors.
        treatment: means.
        treatment_error: their standard errors.
    """
    c, vc, t, vt = np.broadcast_arrays(
        *(np.asarray(x, np.float64) for x in (control, control_error, treatment, treatment_error))
    )
    c, t = np.where(c > 0, c, np.nan), np.where(t > 0, t, np.nan)
    return np.log(t / c), np.sqrt((vt / t) ** 2 + (vc / c) ** 2)


def anytime_relative(
    control: ArrayLike,
    control_error: ArrayLike,
    treatment: ArrayLike,
    treatment_error: ArrayLike,
    rho: float,
    alpha: float = 0.05,
) -> tuple[Array, Array]:
    """Confidence sequence of treatment / control - 1, built on the logarithm.

    From -1 to infinity before the first click. The arguments are those of `log_ratio`; `rho` is tuned to the
    information about the logarithm, 1 / its standard error^2.
    """
    low, high = anytime_interval(*log_ratio(control, control_error, treatment, treatment_error), rho, alpha)
    return np.asarray(np.expm1(low), np.float64), np.asarray(np.expm1(high), np.float64)


def always_valid_p(
    estimate: ArrayLike, standard_error: ArrayLike, rho: float, null: float = 0.0, axis: int = -1
) -> Array:
    """Always-valid p-values of "the effect is `null`": ``min(1, 1 / max M)`` over the looks so far.

    At most alpha exactly when some interval of `anytime_interval` up to then leaves `null` out (Johari, Koomen,
    Pekelis & Walsh 2022, Always valid inference). Looks lie along `axis`.
    """
    d, information = _information(estimate, standard_error)
    score = np.where(information > 0, (d - null) * information, 0.0)
    best = np.maximum.accumulate(mixture_log_e(score, information, rho), axis=axis)
    return np.asarray(np.exp(-np.maximum(best, 0.0)), np.float64)


def anytime_z(information_ratio: ArrayLike = 1.0, alpha: float = 0.05) -> Array:
    """Standard errors that an estimate must be away from 0, at V / V_tuned: 3.04 at the tuned time for .05."""
    ratio = np.asarray(information_ratio, np.float64)
    return mixture_bound(ratio, best_rho(1.0, alpha), alpha) / np.sqrt(ratio)


def betting_log_capital(x: ArrayLike, mean: ArrayLike, alpha: float = 0.05) -> tuple[Array, Array]:
    """Log capital of betting that the mean is above, and below, `mean`.

    Waudby-Smith & Ramdas 2023, Estimating means of bounded random variables by betting, section 4.2: bets
    ``lambda_t = sqrt(2 log(2 / alpha) / (var_{t-1} t log(1 + t)))`` from the past alone, cut at half of what could
    bankrupt, ``1 / (2 m)`` upward and ``1 / (2 (1 - m))`` downward.

    Args:
        x: observations in [0, 1], (..., T).
        mean: m, in (0, 1), broadcast against ``x[..., 0]``.
        alpha: for which the bets are tuned.

    Returns:
        log capital upward and downward after each observation, (..., T). ``max(up, down) - log 2`` is an e-process.
    """
    values, bets = _bounded(x), _bets(_bounded(x), alpha)
    up, down = _log_factors(values, bets, np.asarray(mean, np.float64))
    return np.cumsum(up, -1), np.cumsum(down, -1)


def betting_interval(
    x: ArrayLike,
    alpha: float = 0.05,
    looks: Sequence[int] | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tuple[Array, Array]:
    """Hedged-capital confidence sequence of a mean of bounded observations, exact at all times at once.

    At each look the means against which no bet has yet made 2 / alpha (theorem 3); capital falls (rises) with the
    mean bet against, so both ends are found by bisection. Ends of earlier looks stay in force.

    Args:
        x: observations, (..., T).
        alpha: chance that the sequence ever leaves the mean out.
        looks: numbers of observations at which to look, rising, (L,); only at the end by default.
        bounds: smallest and largest value an observation can take.

    Returns:
        lower and upper ends, (..., L).

    Raises:
        UsageError: for observations outside the bounds, or looks outside 1 to T.
    """
    _check_alpha(alpha)
    low, high = bounds
    raw = np.asarray(x, np.float64)
    if not low < high:
        raise UsageError(detail="the lower bound must lie below the upper", detail_zh="下界必须小于上界")
    values = _bounded((raw - low) / (high - low))
    T = values.shape[-1]
    at = [T] if looks is None else list(looks)
    if not at or at != sorted(set(at)) or at[0] < 1 or at[-1] > T:
        raise UsageError(
            detail=f"looks must rise and lie between 1 and {T}",
            detail_zh=f"查看时刻应递增并在 1 到 {T} 之间",
        )
    bets = _bets(values, alpha)
    target = math.log(2 / alpha)
    ends = [_bisect(values[..., :n], bets[..., :n], target) for n in at]
    lower = np.maximum.accumulate(np.stack([end[0] for end in ends], -1), -1)
    upper = np.minimum.accumulate(np.stack([end[1] for end in ends], -1), -1)
    # Ends that cross say that every mean has been bet away, which happens with a chance below alpha: one point is left.
    crossed, middle = lower > upper, (lower + upper) / 2
    lower, upper = np.where(crossed, middle, lower), np.where(crossed, middle, upper)
    return low + (high - low) * lower, low + (high - low) * upper


def _bets(x: Array, alpha: float) -> Array:
    """Predictable bets, (..., T): the mean and variance start from one pseudo-observation, 1/2 and 1/4."""
    t = np.arange(1, x.shape[-1] + 1)
    means = (0.5 + np.cumsum(x, -1)) / (t + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2, -1)) / (t + 1)
    before = np.concatenate([np.full((*x.shape[:-1], 1), 0.25), variances[..., :-1]], -1)
    return np.asarray(np.sqrt(2 * math.log(2 / alpha) / (before * t * np.log1p(t))), np.float64)


def _log_factors(x: Array, bets: Array, mean: Array) -> tuple[Array, Array]:
    m = np.clip(mean, 1e-12, 1 - 1e-12)[..., None]
    up = np.log1p(np.minimum(bets, 0.5 / m) * (x - m))
    down = np.log1p(-np.minimum(bets, 0.5 / (1 - m)) * (x - m))
    return up, down


def _bisect(x: Array, bets: Array, target: float, steps: int = 44) -> tuple[Array, Array]:
    """The smallest and largest mean that neither side has bet away, widened by the last step."""
    shape = x.shape[:-1]
    low, middle = np.zeros(shape), np.ones(shape)  # the lower end lies between: capital upward falls with m
    for _ in range(steps):
        m = (low + middle) / 2
        out = _log_factors(x, bets, m)[0].sum(-1) >= target
        low, middle = np.where(out, m, low), np.where(out, middle, m)
    bottom, high = np.zeros(shape), np.ones(shape)
    for _ in range(steps):
        m = (bottom + high) / 2
        out = _log_factors(x, bets, m)[1].sum(-1) >= target
        bottom, high = np.where(out, bottom, m), np.where(out, m, high)
    return low, high


def _information(estimate: ArrayLike, standard_error: ArrayLike) -> tuple[Array, Array]:
    d, se = np.broadcast_arrays(np.asarray(estimate, np.float64), np.asarray(standard_error, np.float64))
    known = np.isfinite(d) & np.isfinite(se) & (se > 0)
    return d, np.where(known, 1 / np.where(known, se, 1.0) ** 2, 0.0)


def _bounded(x: ArrayLike) -> Array:
    values = np.asarray(x, np.float64)
    if values.ndim < 1 or values.shape[-1] == 0 or not ((values >= 0) & (values <= 1)).all():
        raise UsageError(
            detail="observations must be there and lie within their bounds",
            detail_zh="观测值不能为空，且必须落在给定的上下界之内",
        )
    return values


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise UsageError(
            detail=f"alpha lies between 0 and 1, e.g. .05, not {alpha:g}",
            detail_zh=f"alpha 应在 0 与 1 之间，例如 0.05，而不是 {alpha:g}",
        )
