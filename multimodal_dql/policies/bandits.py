"""Policies that read the counts of the running experiment and nothing else; each one an index and its highest value.

Letters: ``n`` impressions and ``s`` clicks of a candidate so far, ``t`` impressions of the experiment so far, ``T``
those planned for it. Candidates of equal index share the probability evenly. A state without counts reads as all zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.policies.base import (
    Policy,
    available_counts,
    check_option,
    epsilon_floor,
    split_best,
)
from multimodal_dql.state import State

__all__ = ["EbUcb", "EpsilonGreedy", "Lola", "Ucb", "empirical_bayes_index", "two_ucb_index", "ucb_index"]

Array = NDArray[np.float64]

PRIOR_CLICKS = 1.383
PRIOR_MISSES = 96.1
"""A Beta(1.383, 96.1) prior for a click rate: mean 1.4 %, worth 97 impressions. Fitted to the arms of real headline
tests by Ye, Yoganarasimhan and Zheng, LOLA, Marketing Science 2025."""


def ucb_index(n: Array, s: Array, t: Array, z: float) -> Array:
    """``s/n + z sqrt(ln(t + 2) / n)``, infinite where n = 0.

    Args:
        n: impressions (B, K); pseudo-impressions may be among them.
        s: clicks (B, K).
        t: impressions of the experiment so far, (B,).
        z: width of the bound.
    """
    shown = np.maximum(n, 1e-300)
    index = s / shown + z * np.sqrt(np.log(t + 2.0)[:, None] / shown)
    return np.asarray(np.where(n > 0, index, np.inf))


def two_ucb_index(n: Array, s: Array, t: Array, rate: Array, z: float, n_aux: float) -> Array:
    """The smaller of two `ucb_index`: from the counts alone, and with `n_aux` pseudo-impressions at `rate` (B, K)."""
    return np.minimum(ucb_index(n, s, t, z), ucb_index(n + n_aux, s + n_aux * rate, t, z))


def empirical_bayes_index(n: Array, s: Array, m: Array, left: Array, c: float, prior_n: float) -> Array:
    """``(m prior_n + s) / (prior_n + n) + c sqrt(left) sqrt(m / (prior_n + n))``.

    Args:
        n: impressions (B, K).
        s: clicks (B, K).
        m: pooled click rate of the experiment, (B, 1).
        left: share of the horizon that is left, (B, 1).
        c: width of the bound at the start, in posterior standard deviations.
        prior_n: impressions that the pooled rate is worth.
    """
    return (m * prior_n + s) / (prior_n + n) + c * np.sqrt(left) * np.sqrt(m / (prior_n + n))


def pooled_rate(n: Array, s: Array) -> Array:
    """Clicks an impression over all candidates, (B, 1); 0 before the first impression."""
    return np.asarray(s.sum(axis=1, keepdims=True) / np.maximum(n.sum(axis=1, keepdims=True), 1.0))


class EpsilonGreedy(Policy):
    """The candidate of highest posterior mean ``(s + 1.383) / (n + 97.483)``; with probability `epsilon` any.

    The baseline of Sutton and Barto (Reinforcement Learning, 2018, section 2.2), on the posterior mean instead of the
    raw rate, so that one lucky click on ten impressions does not win.

    Args:
        epsilon: share of random choices; .1 is the book's example.
    """

    name = "epsilon-greedy"
    reads_context = False

    def __init__(self, epsilon: float = 0.1) -> None:
        self.epsilon = check_option(self.name, "epsilon", epsilon, 0.0, 1.0)

    def probabilities(self, state: State) -> Array:
        """See `Policy`."""
        n, s, _ = available_counts(state)
        mean = (s + PRIOR_CLICKS) / (n + PRIOR_CLICKS + PRIOR_MISSES)
        return epsilon_floor(split_best(mean, state.available), state.available, self.epsilon)


class Ucb(Policy):
    """The highest upper bound ``s/n + z sqrt(ln(t + 2) / n)``; candidates never shown come first, evenly.

    UCB1 of Auer, Cesa-Bianchi and Fischer (Machine Learning 47, 2002) with a width fit for click rates, as in the LOLA
    paper (Marketing Science 2025).

    Args:
        z: width; .08 is the paper's. UCB1 proves its bound for rewards anywhere in [0, 1] with z = 1.41; a click at
            1.4 % varies far less, with a standard deviation of .12, and z = .04 earned more on real headline tests.
    """

    name = "ucb"
    reads_context = False

    def __init__(self, z: float = 0.08) -> None:
        self.z = check_option(self.name, "z", z, 0.0)

    def probabilities(self, state: State) -> Array:
        """See `Policy`."""
        n, s, counts = available_counts(state)
        return split_best(ucb_index(n, s, counts.elapsed, self.z), state.available)


class Lola(Policy):
    """The highest of `two_ucb_index`: a content model's prediction may lower an upper bound, never raise it.

    LOLA (Ye, Yoganarasimhan and Zheng, Marketing Science 2025). Because the bound is the smaller of two, a wrong
    prediction that is too high costs nothing once there are counts.

    A candidate without `Counts.prior_rate` is predicted at the pooled click rate of its experiment; before the first
    impression, at the mean of the predictions of its siblings.

    Args:
        z: width of both bounds; the paper's .08.
        n_aux: impressions that a prediction is worth; the paper's 1000.
    """

    name = "lola"
    reads_context = False

    def __init__(self, z: float = 0.08, n_aux: float = 1000.0) -> None:
        self.z = check_option(self.name, "z", z, 0.0)
        self.n_aux = check_option(self.name, "n_aux", n_aux, 1.0)

    def probabilities(self, state: State) -> Array:
        """See `Policy`."""
        n, s, counts = available_counts(state)
        rate = _predicted(counts.prior_rate, n, s, state.available)
        return split_best(two_ucb_index(n, s, counts.elapsed, rate, self.z, self.n_aux), state.available)


def _predicted(prior: Array | None, n: Array, s: Array, available: NDArray[np.bool_]) -> Array:
    """A rate for every candidate, (B, K): predicted, or pooled where nothing is predicted."""
    if prior is None:
        return np.broadcast_to(pooled_rate(n, s), n.shape)
    known = available & np.isfinite(prior)
    given = np.where(known, prior, 0.0)
    siblings = given.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    missing = np.where(n.sum(axis=1, keepdims=True) > 0, pooled_rate(n, s), siblings)
    return np.where(known, given, missing)


class EbUcb(Policy):
    """Horizon-aware empirical Bayes: `empirical_bayes_index` with m the pooled rate and ``left = 1 - t / T``.

    Candidates of one experiment resemble each other, so each rate is pulled to their pooled rate (Efron and Morris,
    JASA 70, 1975), and curiosity fades to none at the end of the horizon, where nothing can be gained by it. An
    open-ended experiment keeps its full width. Before the first click all candidates are alike.

    Args:
        c: width in posterior standard deviations. Replaying real headline tests at 400 impressions an arm, 4 earned the
            most of 1 to 8, on the observed click rates and on rates drawn from their posteriors; 3 to 5 are close.
        prior_n: impressions that the pooled rate is worth. 1,200 is what a within-test standard deviation of .25 in
            log odds at 1.35 % clicks amounts to: 1 / (.0135 * .25^2).
    """

    name = "eb-ucb"
    reads_context = False

    def __init__(self, c: float = 4.0, prior_n: float = 1200.0) -> None:
        self.c = check_option(self.name, "c", c, 0.0)
        self.prior_n = check_option(self.name, "prior_n", prior_n, 1e-6)

    def probabilities(self, state: State) -> Array:
        """See `Policy`."""
        n, s, counts = available_counts(state)
        left = np.clip(1.0 - counts.elapsed / np.maximum(counts.horizon, 1.0), 0.0, 1.0)[:, None]
        index = empirical_bayes_index(n, s, pooled_rate(n, s), left, self.c, self.prior_n)
        return split_best(index, state.available)
