"""How well scores predict which arm of an A/B test wins: pairs, significant pairs, top-1, each with an interval.

A pair is two arms of one test with different observed rates; the score is right when it puts the arm with
the higher rate
first, and half right when it ties. Significant pairs differ at p < .05 by Fisher's two-sided exact test. Top-1 is the
chance that an arm drawn from those with the highest score has the highest observed rate. Pairs are pooled over tests.

Shape letters: ``G`` tests, ``A`` arms, ``M`` pairs, ``R`` repeats, ``C`` components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import ABTests

__all__ = [
    "Interval",
    "Pairs",
    "Ranking",
    "fisher_p",
    "gain",
    "pair_correct",
    "pairs_of",
    "ranking",
    "score_p",
    "top1",
]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

SIGNIFICANT_P = 0.05
_RELATIVE_TIE = 1e-7
"""Two tables whose probabilities differ by less are as likely as each other; as in R's fisher.test."""


@dataclass(frozen=True)
class Pairs:
    """Pairs with a winner. Attributes: winner and loser (M,) arms, test (M,), significant (M,)."""

    winner: Int
    loser: Int
    test: Int
    significant: Bool


@dataclass(frozen=True)
class Interval:
    """A share with its 95 % interval and standard error."""

    value: float
    low: float
    high: float
    se: float


@dataclass(frozen=True)
class Ranking:
    """How scores do.

    Attributes:
        pairs_all: share of pairs put in the observed order.
        pairs_significant: the same of pairs that differ significantly.
        top1: share of tests whose winner is named.
        top1_random: the same of random scores, exactly.
        tests, pairs, significant: counts.
    """

    pairs_all: Interval
    pairs_significant: Interval
    top1: Interval
    top1_random: float
    tests: int
    pairs: int
    significant: int

    def as_dict(self) -> dict[str, object]:
        """Values by name, ``intervals`` and ``standard_errors`` beside them; None where nothing could be counted."""
        shares = {name: getattr(self, name) for name in ("pairs_all", "pairs_significant", "top1")}
        counts = {name: getattr(self, name) for name in ("top1_random", "tests", "pairs", "significant")}
        return {
            **{name: _known(share.value) for name, share in shares.items()},
            **counts,
            "intervals": {name: [_known(share.low), _known(share.high)] for name, share in shares.items()},
            "standard_errors": {name: _known(share.se) for name, share in shares.items()},
        }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def pairs_of(tests: ABTests, p_value: Callable[[Int, Int], Float] | None = None) -> Pairs:
    """Every pair of arms of one test with different rates, in order.

    `p_value` of arms a against arms b, (M,) each, says which pairs are significant; Fisher's exact test if None.
    """
    first, second = [], []
    for arms in tests.test_slices:
        i, j = np.triu_indices(arms.stop - arms.start, 1)
        first.append(i + arms.start)
        second.append(j + arms.start)
    a, b = np.concatenate([np.zeros(0, np.int64), *first]), np.concatenate([np.zeros(0, np.int64), *second])
    n, s = tests.impressions, tests.clicks
    # whole numbers, so that equal rates are seen to be equal: s_a / n_a against s_b / n_b
    ahead = np.sign(s[a].astype(object) * n[b] - s[b].astype(object) * n[a]).astype(np.int64)
    a, b, ahead = a[ahead != 0], b[ahead != 0], ahead[ahead != 0]
    p = fisher_p(n[a], s[a], n[b], s[b]) if p_value is None else p_value(a, b)
    winner, loser = np.where(ahead > 0, a, b), np.where(ahead > 0, b, a)
    return Pairs(winner, loser, tests.test[winner], p < SIGNIFICANT_P)


def score_p(tests: ABTests, overdispersion: float, a: Int, b: Int) -> Float:
    """Two-sided p of the difference of the rates of arms a and b, (M,) each, as normal with the variance
    ``phi p (1 - p) / n`` of each rate, p with one click and one impression without added.

    For many impressions or many pairs, where Fisher's exact test is slow and knows no overdispersion.
    """
    from scipy.special import ndtr

    n, s = tests.impressions, tests.clicks
    p = (s + 1.0) / (n + 2.0)
    variance = overdispersion * p * (1.0 - p) / n
    z = (tests.rates[a] - tests.rates[b]) / np.sqrt(variance[a] + variance[b])
    return np.asarray(2.0 * ndtr(-abs(z)))


def fisher_p(n1: Int, s1: Int, n2: Int, s2: Int) -> Float:
    """Two-sided p of Fisher's exact test of s1 of n1 against s2 of n2, (M,) each.

    The sum of the hypergeometric probabilities, given the margins, that are at most that of the table (Fisher 1935).
    """
    from scipy.special import gammaln

    out = np.ones(len(n1))
    for m, (a, x, b, y) in enumerate(zip(n1.tolist(), s1.tolist(), n2.tolist(), s2.tolist(), strict=True)):
        total = x + y
        k = np.arange(max(0, total - b), min(total, a) + 1)
        log_p = -(gammaln(k + 1) + gammaln(a - k + 1) + gammaln(total - k + 1) + gammaln(b - total + k + 1))
        p = np.exp(log_p - log_p.max())
        out[m] = p[p <= p[x - k[0]] * (1 + _RELATIVE_TIE)].sum() / p.sum()
    return np.minimum(out, 1.0)


def pair_correct(scores: Float, pairs: Pairs) -> Float:
    """1, 0, or 1/2 for a tie, of each pair, (M,)."""
    return np.asarray((1.0 + np.sign(scores[pairs.winner] - scores[pairs.loser])) / 2)


def top1(scores: Float, tests: ABTests) -> Float:
    """Share of the arms with the highest score that have the highest rate, of each test (G,)."""
    named = scores == np.maximum.reduceat(scores, tests.starts)[tests.test]
    best = tests.rates == np.maximum.reduceat(tests.rates, tests.starts)[tests.test]
    return np.asarray(np.bincount(tests.test, named & best) / np.bincount(tests.test, named))


def ranking(
    scores: Float | Sequence[Float], tests: ABTests, pairs: Pairs, *, seed: int = 0, resamples: int = 2000
) -> Ranking:
    """The figures of `scores` (A,), or the mean over repeats (R, A), with a bootstrap over components.

    Linked tests are drawn together, so that intervals are not narrower than the data are independent.
    """
    repeats = np.atleast_2d(np.asarray(scores, np.float64))
    correct = np.mean([pair_correct(row, pairs) for row in repeats], axis=0)
    hits = np.mean([top1(row, tests) for row in repeats], axis=0)
    _, component = np.unique(tests.component, return_inverse=True)
    of_pair, sig = component[pairs.test], pairs.significant
    count = int(component.max()) + 1
    sums = {
        "pairs_all": (_total(of_pair, correct, count), _total(of_pair, np.ones(len(correct)), count)),
        "pairs_significant": (_total(of_pair, correct * sig, count), _total(of_pair, sig * 1.0, count)),
        "top1": (_total(component, hits, count), _total(component, np.ones(tests.G), count)),
    }
    rng = np.random.Generator(np.random.Philox(key=[seed, 41]))
    draws = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)
    flat = np.zeros(tests.A)
    return Ranking(
        **{name: _interval(right, of, draws) for name, (right, of) in sums.items()},
        top1_random=float(top1(flat, tests).mean()),
        tests=tests.G,
        pairs=len(correct),
        significant=int(sig.sum()),
    )


def gain(
    better: Float | Sequence[Float],
    worse: Float | Sequence[Float],
    tests: ABTests,
    pairs: Pairs,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Interval]:
    """How much more of ``pairs_all``, ``pairs_significant`` and ``top1`` the first scores get right than the second.

    Both are (A,) or (R, A); the same components are drawn for both, so that what tests have in common cancels out.
    """

    def right(scores: Float | Sequence[Float]) -> tuple[Float, Float]:
        repeats = np.atleast_2d(np.asarray(scores, np.float64))
        correct = np.mean([pair_correct(row, pairs) for row in repeats], axis=0)
        return np.asarray(correct), np.asarray(np.mean([top1(row, tests) for row in repeats], axis=0))

    (pairs_1, tops_1), (pairs_2, tops_2) = right(better), right(worse)
    _, component = np.unique(tests.component, return_inverse=True)
    of_pair, sig, count = component[pairs.test], pairs.significant, int(component.max()) + 1
    rng = np.random.Generator(np.random.Philox(key=[seed, 41]))
    draws = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)
    more = pairs_1 - pairs_2
    ones = np.ones(len(more))
    return {
        "pairs_all": _interval(_total(of_pair, more, count), _total(of_pair, ones, count), draws),
        "pairs_significant": _interval(
            _total(of_pair, more * sig, count), _total(of_pair, ones * sig, count), draws
        ),
        "top1": _interval(
            _total(component, tops_1 - tops_2, count), _total(component, np.ones(tests.G), count), draws
        ),
    }


def _total(index: Int, values: NDArray[np.floating[Any]], count: int) -> Float:
    return np.asarray(np.bincount(index, values, minlength=count), np.float64)


def _interval(right: Float, of: Float, draws: Float) -> Interval:
    """The share sum(right) / sum(of) with percentile ends; not a number when there is nothing to count."""
    if of.sum() == 0:
        return Interval(*[float("nan")] * 4)
    weight = draws @ of
    shares = (draws @ right)[weight > 0] / weight[weight > 0]
    low, high = np.quantile(shares, [0.025, 0.975])
    return Interval(float(right.sum() / of.sum()), float(low), float(high), float(shares.std(ddof=1)))
