"""Pairs, top-1 and Fisher's test against numbers worked by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from multimodal_dql.prior.metrics import fisher_p, pair_correct, pairs_of, ranking, top1
from tests.prior.planted import make_tests


def two_tests():
    """Rates .1, .2, .2 and .3, .1: the second test's pair differs at p < .05 by far, the first test's pairs do not."""
    return make_tests(
        np.array([3, 2]),
        np.array([10, 10, 20, 1000, 1000]),
        np.array([1, 2, 4, 300, 100]),
        list("abcde"),
    )


def test_pairs_by_hand() -> None:
    pairs = pairs_of(two_tests())
    # b and c have the same rate: no pair
    assert list(zip(pairs.winner, pairs.loser, strict=True)) == [(1, 0), (2, 0), (3, 4)]
    assert pairs.test.tolist() == [0, 0, 1]
    assert pairs.significant.tolist() == [False, False, True]


def test_correct_pairs_and_top1_by_hand() -> None:
    tests = two_tests()
    pairs = pairs_of(tests)
    scores = np.array([0.0, 0.0, 1.0, -1.0, 2.0])
    assert pair_correct(scores, pairs).tolist() == [0.5, 1.0, 0.0]
    assert top1(scores, tests).tolist() == [1.0, 0.0]
    assert top1(np.zeros(5), tests).tolist() == [2 / 3, 1 / 2]
    # named a and b, of which b is a winner
    assert top1(np.array([1.0, 1.0, 0.0, 1.0, 0.0]), tests).tolist() == [0.5, 1.0]
    found = ranking(scores, tests, pairs, resamples=50)
    assert (found.pairs_all.value, found.pairs_significant.value, found.top1.value) == (0.5, 0.0, 0.5)
    assert found.top1_random == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert (found.tests, found.pairs, found.significant) == (2, 3, 1)
    # two repeats, one of them the other way round
    assert ranking(np.stack([scores, -scores]), tests, pairs, resamples=50).pairs_all.value == 0.5
    shown = found.as_dict()
    assert shown["pairs_all"] == 0.5
    assert set(shown["intervals"]) == {"pairs_all", "pairs_significant", "top1"}


def test_where_nothing_is_significant_nothing_is_said() -> None:
    tests = make_tests(np.array([2]), np.array([10, 10]), np.array([1, 2]), ["a", "b"])
    shown = ranking(np.array([0.0, 1.0]), tests, pairs_of(tests), resamples=20).as_dict()
    assert (shown["pairs_all"], shown["pairs_significant"]) == (1.0, None)
    assert shown["intervals"]["pairs_significant"] == [None, None]


def test_an_interval_of_independent_tests_is_that_of_a_share() -> None:
    """400 tests of one pair each, half right: the standard error is .025 (its own error, 2,000 resamples: 2 %)."""
    n = np.full(800, 1000)
    tests = make_tests(np.full(400, 2), n, np.tile([10, 20], 400), list(map(str, range(800))))
    scores = np.where(np.arange(800) // 2 % 2, np.arange(800), -np.arange(800)).astype(float)
    found = ranking(scores, tests, pairs_of(tests)).pairs_all
    assert found.value == 0.5
    assert found.se == pytest.approx(0.025, rel=0.15)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.025, rel=0.15)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
def test_fisher_is_that_of_scipy(n1: int, n2: int, share1: float, share2: float) -> None:
    s1, s2 = round(n1 * share1), round(n2 * share2)
    expected = fisher_exact([[s1, n1 - s1], [s2, n2 - s2]]).pvalue
    found = fisher_p(*(np.array([value]) for value in (n1, s1, n2, s2)))
    assert found[0] == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_scores_and_their_opposite_share_the_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tests = make_tests(
        np.full(5, 3), rng.integers(50, 90, 15), rng.integers(0, 9, 15), list(map(str, range(15)))
    )
    pairs = pairs_of(tests)
    scores = rng.integers(0, 4, 15).astype(float)
    both = pair_correct(scores, pairs) + pair_correct(-scores, pairs)
    assert (both == 1.0).all()
    assert (top1(tests.rates, tests) == 1.0).all()
    assert (pair_correct(tests.rates, pairs) == 1.0).all()
