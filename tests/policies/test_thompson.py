"""Probabilities of being best: against the exact formula for two, adaptive quadrature, and plain draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.policies.thompson import Thompson, probability_of_being_best
from tests.policies.references import better_of_two, thompson_by_quadrature
from tests.policies.states import counted, plain, random_counts


def best(a: list[float], b: list[float]) -> np.ndarray:
    return probability_of_being_best(np.array([a]), np.array([b]), np.ones((1, len(a)), bool))[0]


def test_two_arms_by_hand() -> None:
    # x1 uniform, x2 ~ Beta(2, 1) with F(x) = x^2: P(x2 > x1) = E[x2] = 2/3.
    np.testing.assert_allclose(best([1, 2], [1, 1]), [1 / 3, 2 / 3], atol=1e-6)
    # Three uniforms and one of Beta(3, 1), itself the largest of three: 3 of 6 chances.
    np.testing.assert_allclose(best([1, 1, 1, 3], [1, 1, 1, 1]), [1 / 6, 1 / 6, 1 / 6, 1 / 2], atol=1e-6)


def test_two_arms_exactly_from_nothing_to_a_million_impressions() -> None:
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(300):
        n = np.floor(10.0 ** rng.uniform(0, 6, 2)).astype(int) - 1
        rate = rng.choice([0.002, 0.0135, 0.1, 0.5, 0.95])
        s = rng.binomial(n, np.clip(rate * np.exp(rng.normal(0, 0.1, 2)), 0, 1))
        a, b = [(1, 1), (2, 97), (1, 96.1), (1, 0.5)][rng.integers(4)]
        cases.append((s[0] + a + rng.choice([0, 0.383]), n[0] - s[0] + b, s[1] + a, n[1] - s[1] + b))
    table = np.array(cases)
    found = probability_of_being_best(table[:, [0, 2]], table[:, [1, 3]], np.ones((300, 2), bool))
    exact = [better_of_two(a1, b1, int(a2), b2) for a1, b1, a2, b2 in cases]
    np.testing.assert_allclose(found[:, 1], exact, atol=1e-5)


@pytest.mark.parametrize(
    ("n", "s"),
    [
        ([0, 0, 0], [0, 0, 0]),
        ([1_000_000, 0, 50], [13_500, 0, 3]),
        ([1_000_000, 1_000_000, 900_000, 1_000_000], [13_500, 13_520, 12_000, 13_700]),
        ([300, 100, 5000, 20, 1], [0, 4, 70, 20, 1]),
    ],
)
def test_several_arms_agree_with_adaptive_quadrature(n: list[int], s: list[int]) -> None:
    a, b = [x + 1.383 for x in s], [x - y + 96.1 for x, y in zip(n, s, strict=True)]
    np.testing.assert_allclose(best(a, b), thompson_by_quadrature(a, b), atol=1e-5)


def test_several_arms_agree_with_plain_draws() -> None:
    """2 million draws have a standard error of at most 3.6e-4; 12 comparisons at 5 of them: false alarm 7e-6."""
    rng = np.random.default_rng(1)
    for n, s in (
        ([900, 1100, 40, 3000], [14, 20, 1, 41]),
        ([0, 10, 100, 1000], [0, 0, 2, 9]),
        ([50_000, 50_000, 20_000, 0], [700, 640, 275, 0]),
    ):
        a, b = np.array(s) + 1.383, np.array(n) - np.array(s) + 96.1
        wins = np.zeros(4)
        for _ in range(10):
            wins += np.bincount(rng.beta(a, b, (200_000, 4)).argmax(axis=1), minlength=4)
        share = wins / wins.sum()
        error = np.sqrt(share * (1 - share) / wins.sum()) + 1e-6
        assert (np.abs(best(list(a), list(b)) - share) < 5 * error + 1e-5).all()


def test_no_propensity_is_zero() -> None:
    state = counted([[1_000_000, 1_000_000, 0, 0]], [[500_000, 1000, 0, 0]], available=[[True] * 3 + [False]])
    p = Thompson().probabilities(state)
    np.testing.assert_allclose(p, [[0.99 + 0.01 / 3, 0.01 / 3, 0.01 / 3, 0]], atol=1e-6)
    assert Thompson(epsilon=0.0).probabilities(state)[0, 1] < 1e-12
    assert p[0, 3] == 0
    assert p[0, :3].min() > 0.00333


def test_nothing_known_is_uniform_also_without_counts() -> None:
    for k in (1, 2, 5, 30):
        np.testing.assert_allclose(Thompson().probabilities(plain(2, k)), 1 / k, atol=1e-12)


@settings(deadline=None)  # the first example imports scipy
@given(seed=st.integers(0, 2**31), k=st.integers(1, 6))
def test_permuting_the_candidates_permutes_the_probabilities(seed: int, k: int) -> None:
    state = random_counts(seed, 8, k)
    c = state.counts
    assert c is not None
    order = np.random.default_rng(seed).permutation(k)
    other = counted(
        c.impressions[:, order].tolist(),
        c.clicks[:, order].tolist(),
        available=state.available[:, order].tolist(),
    )
    p = Thompson().probabilities(state)
    np.testing.assert_allclose(p[:, order], Thompson().probabilities(other), atol=1e-12)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)
    assert not p[~state.available].any()


@settings(deadline=None)
@given(
    clicks=st.lists(st.integers(0, 40), min_size=2, max_size=5),
    misses=st.lists(st.integers(0, 4000), min_size=5, max_size=5),
    arm=st.integers(0, 1),
)
def test_one_more_click_never_makes_an_arm_less_likely(
    clicks: list[int], misses: list[int], arm: int
) -> None:
    n = [c + m + 1 for c, m in zip(clicks, misses, strict=False)]
    more = list(clicks)
    more[arm] += 1
    policy = Thompson()
    before = policy.probabilities(counted([n], [clicks]))[0, arm]
    assert policy.probabilities(counted([n], [more]))[0, arm] >= before - 1e-6


def test_a_prior_that_the_quadrature_is_not_made_for_is_refused() -> None:
    with pytest.raises(UsageError, match=r"prior_clicks is 0\.1; write a number from 0\.5 upward"):
        Thompson(prior_clicks=0.1)
