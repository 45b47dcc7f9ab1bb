"""Random draws that the scenarios need beyond uniform and normal ones, from uniform numbers alone and compiled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.simulation.compiled import compiled, normals, uniforms

__all__ = ["category", "chi_square", "click_count", "heavy_tailed", "log_uniform", "prior_of"]

Array = NDArray[np.float64]

MOST_CORRELATED = 0.5
"""Cap of the intra-class correlation, as in `multimodal_dql.simulation.engagement_noise`."""


@compiled
def category(u: float, cumulated: Array) -> int:
    """Index of a category from cumulated shares."""
    k = 0
    while k < len(cumulated) - 1 and u >= cumulated[k]:
        k += 1
    return k


@compiled
def log_uniform(u: float, low: float, high: float) -> float:
    """Between `low` and `high`, uniform in the logarithm."""
    return low * math.exp(u * math.log(high / low))


@compiled
def heavy_tailed(u: float, v: float, df: float) -> float:
    """Student t of `df` degrees of freedom, above 2, scaled to the standard deviation 1.

    ``sqrt(df (u^(-2/df) - 1)) cos(2 pi v)`` (Bailey 1994, Polar generation of random variates with the t-distribution).
    """
    t = math.sqrt(df * (u ** (-2.0 / df) - 1.0)) * math.cos(2.0 * math.pi * v)
    return t * math.sqrt((df - 2.0) / df)


@compiled
def chi_square(df: float, key: int, episode: int, stream: int, first: int) -> float:
    """Chi-square of `df` degrees of freedom, 2 or more, from the draws of a stream from number `first` on.

    Twice a gamma variate of shape ``df / 2``, by rejection (Marsaglia & Tsang 2000, "A simple method for generating
    gamma variables"); it takes one draw in 20 of 21 cases.
    """
    d = 0.5 * df - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    i = first
    while True:
        u, v, w, _ = uniforms(key, episode, stream, i)
        x = normals(u, v)[0]
        y = (1.0 + c * x) ** 3
        if y > 0.0 and math.log(w) < 0.5 * x * x + d * (1.0 - y + math.log(y)):
            return 2.0 * d * y
        i += 1


@compiled
def _log_none(n: int, p: float, m: float) -> float:
    """Logarithm of the probability of no click; `m` is the sum of the beta parameters, infinite for coin flips."""
    if math.isinf(m):
        return n * math.log1p(-p)
    b = (1.0 - p) * m
    return math.lgamma(b + n) - math.lgamma(b) - math.lgamma(m + n) + math.lgamma(m)


@compiled
def _ratio(k: int, n: int, p: float, m: float) -> float:
    """Probability of ``k + 1`` clicks over that of ``k``."""
    if math.isinf(m):
        return (n - k) * p / ((k + 1.0) * (1.0 - p))
    return (n - k) * (p * m + k) / ((k + 1.0) * ((1.0 - p) * m + n - k - 1.0))


@compiled
def click_count(u: float, n: int, p: float, phi: float) -> int:
    """Clicks of `n` impressions at rate `p` with ``phi`` times the variance of coin flips, by inversion.

    Beta-binomial with the intra-class correlation ``(phi - 1) / (n - 1)``, at most .5 (Skellam 1948; the noise of
    `multimodal_dql.simulation.engagement_noise`). A single impression is a coin flip whatever phi. A higher rate
    never means fewer clicks for the same `u`, so the same draw serves every arm.
    """
    if n <= 0 or p <= 0.0:
        return 0
    if p >= 1.0:
        return n
    m = math.inf
    if n > 1 and phi > 1.0:
        m = 1.0 / min((phi - 1.0) / (n - 1.0), MOST_CORRELATED) - 1.0
    log_mass, mass, total, k = _log_none(n, p, m), 0.0, 0.0, 0
    while k < n:
        # Probabilities too small for a float stay logarithms, and are left out of the sum.
        if mass == 0.0 and log_mass > -650.0:
            mass = math.exp(log_mass)
        total += mass
        if u < total:
            return k
        ratio = _ratio(k, n, p, m)
        if mass == 0.0:
            log_mass += math.log(ratio)
        else:
            mass *= ratio
            if mass < 1e-18 and ratio < 1.0:  # what is left of the tail is rounding
                return k
        k += 1
    return n


@compiled
def prior_of(effect: float, sd: float, correlation: float, z: float) -> float:
    """What a content model predicts of an effect: its mean, of the given correlation with the truth, and calibrated.

    ``r^2 effect + r sqrt(1 - r^2) sd z`` has the standard deviation ``r sd``, and for a normal effect the truth given
    the prediction has it as mean and ``sd sqrt(1 - r^2)`` as standard deviation.
    """
    return correlation * (correlation * effect + math.sqrt(1.0 - correlation * correlation) * sd * z)
