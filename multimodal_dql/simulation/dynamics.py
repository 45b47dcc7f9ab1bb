"""The formulas of the engagement model, one function each, to be held against the papers.

They are compiled, and can be called with plain numbers. Letters: ``s`` satisfaction in (0, 1), .5 is neutral; ``c``
clickbait in (0, 1); ``n`` accumulated exposure; ``u`` a uniform number in (0, 1).
"""

from __future__ import annotations

import math

from multimodal_dql.simulation.compiled import compiled

__all__ = [
    "conversion_delay_hours",
    "conversion_value",
    "dwell_seconds",
    "examination",
    "logistic",
    "long_term_engagement",
    "next_exposure",
    "poisson",
    "satisfaction",
    "wear",
]


@compiled
def logistic(x: float) -> float:
    """``1 / (1 + e^-x)``."""
    return 1.0 / (1.0 + math.exp(-x))


@compiled
def examination(rank: int, exponent: float, ranks: int, going_on: float) -> float:
    """Probability of looking at a rank (from 1), relative to its mean over the stories of visits.

    Position-based model: ``r^-exponent`` (Craswell et al. 2008, An experimental comparison of click position-bias
    models). Fewer users reach the later ranks, so rank r weighs ``going_on^(r - 1)`` in the mean.
    """
    looks, weights, weight = 0.0, 0.0, 1.0
    for r in range(1, ranks + 1):
        looks += weight * float(r) ** -exponent
        weights += weight
        weight *= going_on
    return float(float(rank) ** -exponent * weights / looks)


@compiled
def next_exposure(n: float, c: float, memory: float, regret: float, pleasure: float, noise: float) -> float:
    """``memory n - 2 regret (c - 1/2) + pleasure + noise``.

    With regret 1 and pleasure 0 it is the net exposure of RecSim's long-term satisfaction environment (Ie et al. 2019,
    RecSim: a configurable simulation platform for recommender systems): clickbait lowers it, substance raises it.
    """
    return memory * n - 2.0 * regret * (c - 0.5) + pleasure + noise


@compiled
def satisfaction(n: float, sensitivity: float) -> float:
    """``1 / (1 + exp(-sensitivity n))`` (the same)."""
    return logistic(sensitivity * n)


@compiled
def long_term_engagement(s: float, c: float, sweet: float, healthy: float) -> float:
    """Mean of the logarithm of engagement, ``s (c sweet + (1 - c) healthy)`` (the same; 5 and 4 there)."""
    return s * (c * sweet + (1.0 - c) * healthy)


@compiled
def wear(exposures: int, gain: float, peak: float, loss: float) -> float:
    """What earlier exposures to a variant do to its logit: up to `peak` they add, beyond it they take away.

    The inverted U of Pechmann & Stewart (1988), piecewise linear: ``gain min(e, peak) - loss max(e - peak, 0)``.
    """
    return gain * min(float(exposures), peak) - loss * max(float(exposures) - peak, 0.0)


@compiled
def dwell_seconds(u: float, scale_seconds: float, shape: float) -> float:
    """Reading time from its Weibull distribution: ``scale (-log(1 - u))^(1/shape)``.

    A shape below 1 is negative ageing: who has read for long is unlikely to leave now (Liu, White & Dumais 2010,
    Understanding web browsing behaviors through Weibull analysis of dwell time).
    """
    return float(scale_seconds * (-math.log1p(-u)) ** (1.0 / shape))


@compiled
def conversion_delay_hours(u: float) -> float:
    """Hours from a click to its conversion: 35 % within 1 h, 50 % within 24 h, the rest within 30 days.

    The three points are those of Chapelle (2014), Modeling delayed feedback in display advertising; between them the
    delay is uniform in its logarithm, and uniform within the first hour.
    """
    if u < 0.35:
        return u / 0.35
    if u < 0.5:
        return float(24.0 ** ((u - 0.35) / 0.15))
    return float(24.0 * 30.0 ** ((u - 0.5) / 0.5))


@compiled
def conversion_value(z: float, mean: float, log_sd: float) -> float:
    """Log-normal value with the given mean, from a standard normal number."""
    return mean * math.exp(log_sd * z - 0.5 * log_sd * log_sd)


@compiled
def poisson(u: float, mean: float) -> int:
    """A Poisson count by inversion, at most 1,000; for small means."""
    term = math.exp(-mean)
    total, k = term, 0
    while u > total and k < 1000:
        k += 1
        term *= mean / k
        total += term
    return k
