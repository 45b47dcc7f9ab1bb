"""Index policies: by hand, against plain loops, and what holds for any counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.policies.bandits import (
    EbUcb,
    EpsilonGreedy,
    Lola,
    Ucb,
    empirical_bayes_index,
    two_ucb_index,
    ucb_index,
)
from multimodal_dql.policies.base import Policy, split_best
from multimodal_dql.policies.explore_commit import ExploreCommit
from multimodal_dql.state import State
from tests.policies import references as ref
from tests.policies.states import counted, plain, random_counts

PAIRS: list[tuple[Policy, ref.Index]] = [
    (EpsilonGreedy(), ref.epsilon_greedy(0.1)),
    (EpsilonGreedy(0.0), ref.epsilon_greedy(0.0)),
    (Ucb(), ref.ucb(0.08)),
    (Ucb(0.04), ref.ucb(0.04)),
    (Lola(), ref.lola(0.08, 1000)),
    (Lola(0.02, 50), ref.lola(0.02, 50)),
    (EbUcb(), ref.eb_ucb(4.0, 1200)),
    (EbUcb(0.5, 100), ref.eb_ucb(0.5, 100)),
    (ExploreCommit(), ref.explore_then_follow(0.2, 16_000)),
]
IDS = [f"{policy.name}-{i}" for i, (policy, _) in enumerate(PAIRS)]


def test_ucb_index_by_hand() -> None:
    # t = e^4 - 2, so ln(t + 2) = 4: 5/100 + .1 sqrt(4/100) = .07; never shown: infinite.
    out = ucb_index(np.array([[100.0, 0.0]]), np.array([[5.0, 0.0]]), np.array([np.exp(4) - 2]), 0.1)
    np.testing.assert_allclose(out, [[0.07, np.inf]])


def test_two_ucb_index_by_hand() -> None:
    # ln(t + 2) = 4. First arm: .07 alone; with 300 more at .01: (5 + 3)/400 + .1 sqrt(4/400) = .03.
    # Second, never shown: 300 at .02 alone, .02 + .1 sqrt(4/300).
    n, s, t = np.array([[100.0, 0.0]]), np.array([[5.0, 0.0]]), np.array([np.exp(4) - 2])
    out = two_ucb_index(n, s, t, np.array([[0.01, 0.02]]), 0.1, 300.0)
    np.testing.assert_allclose(out, [[0.03, 0.02 + 0.2 / np.sqrt(300)]])


def test_a_prediction_that_is_too_high_is_capped_by_the_counts() -> None:
    n, s, t = np.array([[5000.0]]), np.array([[50.0]]), np.array([5000.0])
    high = two_ucb_index(n, s, t, np.array([[0.9]]), 0.08, 1000.0)
    np.testing.assert_array_equal(high, ucb_index(n, s, t, 0.08))


def test_empirical_bayes_index_by_hand() -> None:
    # m = .02, worth 100; arm 1: (2 + 8)/(100 + 300) = .025, width 2 sqrt(.25) sqrt(.02/400); arm 2: (2 + 0)/200.
    out = empirical_bayes_index(
        np.array([[300.0, 100.0]]), np.array([[8.0, 0.0]]), np.array([[0.02]]), np.array([[0.25]]), 2.0, 100.0
    )
    np.testing.assert_allclose(out, [[0.025 + np.sqrt(0.02 / 400), 0.01 + np.sqrt(0.02 / 200)]])


def test_untried_arms_come_first_and_evenly() -> None:
    state = counted([[50, 0, 0, 9]], [[50, 0, 0, 1]])
    np.testing.assert_allclose(Ucb().probabilities(state), [[0, 0.5, 0.5, 0]])


def test_lola_starts_from_the_prediction_and_without_one_from_the_pooled_rate() -> None:
    nothing = [[0, 0, 0]]
    guided = counted(nothing, nothing, prior_rate=[[0.01, 0.03, 0.02]])
    np.testing.assert_array_equal(Lola().probabilities(guided), [[0, 1, 0]])
    np.testing.assert_allclose(Lola().probabilities(counted(nothing, nothing)), [[1 / 3] * 3])
    # A missing prediction reads as the mean of the others, .02, before there are counts.
    partly = counted(nothing, nothing, prior_rate=[[0.01, np.nan, 0.03]])
    np.testing.assert_array_equal(Lola().probabilities(partly), [[0, 0, 1]])


def test_curiosity_ends_with_the_horizon() -> None:
    # One arm is better so far, the other hardly known: explored at first, left alone at the end.
    counts = [[3000, 100]], [[45, 1]]
    early = counted(*counts, horizon=1e9)
    late = counted(*counts, horizon=3100)
    np.testing.assert_array_equal(EbUcb().probabilities(early), [[0, 1]])
    np.testing.assert_array_equal(EbUcb().probabilities(late), [[1, 0]])
    np.testing.assert_array_equal(EbUcb().probabilities(counted(*counts)), [[0, 1]])


@pytest.mark.parametrize(("policy", "reference"), PAIRS, ids=IDS)
@pytest.mark.parametrize("k", [1, 2, 3, 4, 7])
def test_agrees_with_a_plain_loop(policy: Policy, reference: ref.Index, k: int) -> None:
    for seed in range(6):
        state = random_counts(seed, 40, k)
        np.testing.assert_allclose(policy.probabilities(state), ref.rows(state, reference), atol=1e-14)
    np.testing.assert_allclose(
        policy.probabilities(plain(2, k)), ref.rows(plain(2, k), reference), atol=1e-14
    )


@pytest.mark.parametrize("policy", [p for p, _ in PAIRS], ids=IDS)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 6))
def test_permuting_the_candidates_permutes_the_probabilities(policy: Policy, seed: int, k: int) -> None:
    state = random_counts(seed, 12, k)
    order = np.random.default_rng(seed).permutation(k)
    p, q = policy.probabilities(state), policy.probabilities(_permuted(state, order))
    np.testing.assert_allclose(p[:, order], q, atol=1e-12)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)
    assert not p[~state.available].any()


def _permuted(state: State, order: np.ndarray) -> State:
    c = state.counts
    assert c is not None
    return counted(
        c.impressions[:, order].tolist(),
        c.clicks[:, order].tolist(),
        horizon=c.horizon.tolist(),
        prior_rate=None if c.prior_rate is None else c.prior_rate[:, order].tolist(),
        available=state.available[:, order].tolist(),
    )


def test_ties_within_rounding_are_split() -> None:
    third = 0.1 + 0.2  # .30000000000000004
    p = split_best(np.array([[0.3, third, 0.2], [np.inf, np.inf, 1.0]]), np.ones((2, 3), bool))
    np.testing.assert_allclose(p, [[0.5, 0.5, 0], [0.5, 0.5, 0]])
    assert split_best(np.array([[0.3, 0.3001]]), np.ones((1, 2), bool)).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EpsilonGreedy(1.5), "'epsilon-greedy': epsilon is 1.5; write a number from 0 to 1"),
        (lambda: Ucb(-1), "z is -1; write a number from 0 upward"),
        (lambda: Ucb(float("nan")), "z is nan"),
        (lambda: Lola(n_aux=0), "n_aux is 0; write a number from 1"),
        (lambda: EbUcb(prior_n=float("inf")), "prior_n is inf"),
        (lambda: ExploreCommit(explore=2), "explore is 2"),
    ],
)
def test_options_out_of_range_are_refused_with_the_range(make: object, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        make()  # type: ignore[operator]
    assert "策略" in caught.value.text("zh")


def test_counts_of_other_candidates_are_refused() -> None:
    from dataclasses import replace

    state = counted([[1, 2]], [[0, 0]])
    with pytest.raises(UsageError, match="one count each"):
        Ucb().probabilities(replace(plain(1, 3), counts=state.counts))
