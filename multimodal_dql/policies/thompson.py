"""Thompson sampling on counts, with its propensities by quadrature instead of by counting draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.policies.bandits import PRIOR_CLICKS, PRIOR_MISSES
from multimodal_dql.policies.base import Policy, available_counts, check_option, epsilon_floor
from multimodal_dql.state import State

__all__ = ["Thompson", "probability_of_being_best"]

Array = NDArray[np.float64]
Bool = NDArray[np.bool_]

KNOTS = np.array([-5.3, -4.0, -2.9, -1.8, -0.9, 0.0, 0.9, 1.8, 2.9, 4.0, 5.3])
"""Where the segments of the quadrature end, in standard deviations of each posterior; 1e-7 lies beyond."""
POINTS = 5
"""Gauss-Legendre nodes a segment; 4 err by 2e-5 in the worst case, 5 by 2e-6."""
CELLS = 1 << 18
"""Array cells worked on at once, so that the temporaries stay in the processor's cache."""


class Thompson(Policy):
    """Each candidate with the probability that it is the best one under Beta posteriors of the click rates.

    Thompson (Biometrika 25, 1933); Chapelle and Li (NeurIPS 2011) for clicks. Drawing from each posterior and showing
    the highest is the same policy; here the probability itself is computed, `probability_of_being_best`, so the log
    carries exact propensities.

    Args:
        epsilon: share of choices dealt evenly, so that no propensity falls below epsilon / K and any other policy can
            be evaluated on the log. .01 costs at most 1 % of what there is to gain; 0 switches it off, and
            propensities may then underflow to 0.
        prior_clicks: first parameter of the Beta prior, at least .5; 1.383 as in the LOLA paper.
        prior_misses: second parameter, at least .5; 96.1.
    """

    name = "thompson"
    reads_context = False

    def __init__(
        self, epsilon: float = 0.01, prior_clicks: float = PRIOR_CLICKS, prior_misses: float = PRIOR_MISSES
    ) -> None:
        self.epsilon = check_option(self.name, "epsilon", epsilon, 0.0, 1.0)
        self.prior_clicks = check_option(self.name, "prior_clicks", prior_clicks, 0.5)
        self.prior_misses = check_option(self.name, "prior_misses", prior_misses, 0.5)

    def probabilities(self, state: State) -> Array:
        """See `Policy`."""
        n, s, _ = available_counts(state)
        p = probability_of_being_best(s + self.prior_clicks, n - s + self.prior_misses, state.available)
        return epsilon_floor(p, state.available, self.epsilon)


def probability_of_being_best(a: Array, b: Array, available: Bool) -> Array:
    """``P(x_k = max_j x_j)`` for independent ``x_k ~ Beta(a_k, b_k)``, (B, K).

    The integral of ``f_k prod_{j != k} F_j`` over the log odds ``y = logit x``, in which every density is smooth:
    ``f(y)`` is proportional to ``e^(a y) / (1 + e^y)^(a + b)``. The segments of one row end at knots of ALL its
    posteriors, so that the narrowest is resolved inside the widest; in each segment Gauss-Legendre nodes carry the
    densities, and the integral of the polynomial through them gives the distribution functions. Error below 1e-5 for
    parameters from .5 (Jeffreys) up and 0 to 1e6 impressions.

    Args:
        a: first parameters (B, K), at least .5; smaller ones cost accuracy (6e-4 at .2).
        b: second parameters (B, K), likewise.
        available: (B, K); the others are left out, and get 0.
    """
    out = np.zeros(a.shape)
    size = available.sum(axis=1)
    # Decisions of as many candidates together: the work grows with the square of K, and padding costs nothing.
    for k in np.unique(size):
        alike = np.flatnonzero(size == k)
        slot = np.argsort(~available[alike], axis=1, kind="stable")[:, :k]
        rows = max(1, CELLS // (int(k) ** 2 * len(KNOTS) * POINTS))
        for first in range(0, len(alike), rows):
            part = slice(first, first + rows)
            row, column = alike[part, None], slot[part]
            out[row, column] = _best(a[row, column], b[row, column])
    return out


def _best(a: Array, b: Array) -> Array:
    """`probability_of_being_best` of a few rows without padding. R rows, S segments, Q nodes."""
    unit, weight, antiderivative = _gauss_legendre(POINTS)
    edges = _edges(a, b)
    y0, h = edges[:, :-1], np.diff(edges, axis=1)
    y = y0[:, :, None] + h[:, :, None] * unit  # (R, S, Q)
    f = _density(a, b, y)  # (R, K, S, Q), not normalised
    f *= h[:, None, :, None]
    mass = f @ weight  # (R, K, S)
    below = np.cumsum(mass, axis=2)
    total = below[:, :, -1]
    cdf = f @ antiderivative.T
    cdf += (below - mass)[..., None]
    cdf /= total[:, :, None, None]
    np.clip(cdf, 0.0, 1.0, out=cdf)
    f *= _product_of_others(cdf)
    p = (f @ weight).sum(axis=2) / total
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _density(a: Array, b: Array, y: Array) -> Array:
    """Density of the log odds at y (R, S, Q), divided by that at the mode: (R, K, S, Q)."""
    softplus = np.maximum(y, 0.0) + np.log1p(np.exp(-np.abs(y)))
    mode = np.log(a / b)
    peak = a * mode - (a + b) * (np.maximum(mode, 0.0) + np.log1p(np.exp(-np.abs(mode))))
    exponent = a[:, :, None, None] * y[:, None]
    exponent -= (a + b)[:, :, None, None] * softplus[:, None]
    exponent -= peak[:, :, None, None]
    return np.asarray(np.exp(exponent, out=exponent))


def _edges(a: Array, b: Array) -> Array:
    """Ends of the segments, ascending, (R, S + 1): the knots of every posterior.

    The log odds of a Beta are a difference of two log-gammas, ``ln G(a) - ln G(b)``. Few clicks make a long left tail,
    which is the first one's, few misses a long right tail, the second one's: the knots on that side are stretched as
    in a Cornish-Fisher expansion with the skewness of that log-gamma.
    """
    from scipy.special import digamma, polygamma

    mean = digamma(a) - digamma(b)
    variance_a, variance_b = polygamma(1, a), polygamma(1, b)
    sd = np.sqrt(variance_a + variance_b)
    left, right = polygamma(2, a) / variance_a**1.5, -polygamma(2, b) / variance_b**1.5
    bend = np.maximum(KNOTS**2 - 1.0, 0.0) / 6.0
    skew = np.where(KNOTS < 0, left[..., None], right[..., None])
    knots = mean[..., None] + sd[..., None] * (KNOTS + skew * bend)
    return np.asarray(np.sort(knots.reshape(len(a), -1), axis=1))


def _product_of_others(x: Array) -> Array:
    """``prod_{j != k} x_j`` along axis 1, without dividing: the x may be zero."""
    out = np.ones_like(x)
    left, right = np.ones_like(x[:, 0]), np.ones_like(x[:, 0])
    last = x.shape[1] - 1
    for k in range(last + 1):
        out[:, k] *= left
        out[:, last - k] *= right
        left *= x[:, k]
        right *= x[:, last - k]
    return out


def _gauss_legendre(points: int) -> tuple[Array, Array, Array]:
    """Nodes t (Q,) and weights (Q,) on [0, 1], and ``integral_0^{t_q} l_r`` (Q, Q), l the Lagrange basis."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    unit = (nodes + 1.0) / 2.0
    powers = np.arange(points)
    to_coefficients = np.linalg.inv(unit[:, None] ** powers)
    return unit, weights / 2.0, np.asarray((unit[:, None] ** (powers + 1) / (powers + 1)) @ to_coefficients)
