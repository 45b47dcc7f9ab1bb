"""How observed clicks scatter around a true click rate: more widely than coin flips do.

Clicks of an arm with true rate p over n impressions are beta-binomial (Skellam 1948) with the mean n p and the variance
``phi n p (1 - p)``: phi is the overdispersion, 1 for independent impressions. The intra-class correlation is therefore
``rho = (phi - 1) / (n - 1)``, and the clicks of an arm are drawn as ``p' ~ Beta(p m, (1 - p) m)`` with
``m = 1 / rho - 1``, then ``Binomial(n, p')``. On the Upworthy archive phi grows only a little with the expected clicks
(1.5 below 29 clicks, 2.3 above 80), so one phi for all n is closer to it than one rho for all n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import Replicates

__all__ = [
    "DEFAULT_OVERDISPERSION",
    "DEFAULT_OVERDISPERSION_ERROR",
    "MINIMUM_GROUPS",
    "click_log_likelihood",
    "concentration",
    "draw_clicks",
    "overdispersion",
]

Int = NDArray[np.int64]
Float = NDArray[np.float64]

DEFAULT_OVERDISPERSION = 1.78
"""Measured on the Upworthy Research Archive (Matias et al. 2021, exploratory set without the risk window) over arms
with the same headline and picture; used where a file has too few such arms to measure it."""
DEFAULT_OVERDISPERSION_ERROR = 0.08
"""Its standard error there, from a bootstrap over groups."""
MINIMUM_GROUPS = 30
"""Groups of equal arms below which the default is used."""
_MOST_CORRELATED = 0.5
"""Cap of rho, for arms with so few impressions (n below 2 phi - 1) that no phi of this size is possible."""


def concentration(impressions: Int, phi: float) -> Float:
    """The m of each arm's beta distribution, infinite where clicks are binomial.

    >>> concentration(np.array([1001, 2]), 1.5).round(6).tolist()
    [1999.0, 1.0]
    """
    rho = np.minimum((phi - 1.0) / np.maximum(impressions - 1.0, 1.0), _MOST_CORRELATED)
    rho = np.where(impressions > 1, rho, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / rho - 1.0)


def draw_clicks(rng: np.random.Generator, impressions: Int, rates: Float, phi: float) -> Int:
    """Clicks of each arm, (A,), from its impressions and true rate, both (A,)."""
    p = np.clip(rates, 1e-12, 1.0 - 1e-12)
    m = concentration(impressions, phi)
    spread = np.isfinite(m)
    if spread.any():
        # Every arm takes its numbers, so that the luck of one does not depend on another's impressions.
        safe = np.where(spread, m, 1.0)
        p = np.where(spread, rng.beta(p * safe, (1.0 - p) * safe), p)
    return np.asarray(rng.binomial(impressions, p), dtype=np.int64)


def click_log_likelihood(impressions: Int, clicks: Int, logits: Float, phi: float) -> Float:
    """Logarithm of the probability of the clicks of each arm at true logit rates.

    Args:
        impressions: (A,).
        clicks: (A,).
        logits: (A, J) true rates to try, on the logit scale.
        phi: overdispersion, at least 1.

    Returns:
        (A, J).
    """
    from scipy.special import betaln, expit, gammaln

    n, s = impressions[:, None].astype(np.float64), clicks[:, None].astype(np.float64)
    m = concentration(impressions, phi)[:, None]
    out = s * -np.logaddexp(0.0, -logits) + (n - s) * -np.logaddexp(0.0, logits)
    beta = np.isfinite(m[:, 0])
    if beta.any():
        n, s, m, p = n[beta], s[beta], m[beta], np.clip(expit(logits[beta]), 1e-12, 1.0 - 1e-12)
        a, b = p * m, (1.0 - p) * m
        out[beta] = (
            gammaln(s + a) - gammaln(a) + gammaln(n - s + b) - gammaln(b) + gammaln(m) - gammaln(n + m)
        )
    ways = -np.log(impressions + 1.0) - betaln(impressions - clicks + 1.0, clicks + 1.0)
    return np.asarray(out + ways[:, None])


def overdispersion(replicates: Replicates, *, seed: int, resamples: int = 400) -> tuple[float, float, int]:
    """Pooled chi-square over degrees of freedom of arms that should be equal, and its standard error.

    ``phi = sum_groups sum_i (s_i - n_i p)^2 / (n_i p (1 - p)) / sum_groups (k - 1)`` with p the pooled rate of the
    group's k arms (McCullagh & Nelder 1989, section 4.5.2). Groups without a click or with nothing but
    clicks say nothing and are left out. Not below 1.

    Returns:
        phi, its standard error from a bootstrap over groups, and the groups used; the documented default and 0 groups
        when there are fewer than `MINIMUM_GROUPS`.
    """
    g, n, s = replicates.group, replicates.impressions, replicates.clicks
    total_n, total_s = np.bincount(g, n), np.bincount(g, s)
    told = (total_s > 0) & (total_s < total_n)
    if told.sum() < MINIMUM_GROUPS:
        return DEFAULT_OVERDISPERSION, DEFAULT_OVERDISPERSION_ERROR, 0
    p = np.where(told, total_s / np.maximum(total_n, 1), 0.5)[g]
    chi = np.bincount(g, (s - n * p) ** 2 / (n * p * (1 - p)))[told]
    freedom = (np.bincount(g) - 1)[told]
    rng = np.random.Generator(np.random.Philox(key=[seed, 21]))
    weights = rng.multinomial(len(chi), np.full(len(chi), 1 / len(chi)), size=resamples)
    error = float(((weights @ chi) / (weights @ freedom)).std(ddof=1))
    return max(1.0, float(chi.sum() / freedom.sum())), error, int(told.sum())
