"""Replays of headline tests: worked by hand, the same luck for all, and the truths they are played on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multimodal_dql.bench.allocation import (
    ThompsonDraws,
    Truth,
    allocation_table,
    by_fold,
    gap_share,
    observed_truth,
    replay,
    shrunk_truth,
    tuned,
)
from multimodal_dql.policies.base import First, Policy, Uniform
from multimodal_dql.policies.registry import make_policy
from multimodal_dql.policies.thompson import Thompson
from multimodal_dql.state import Counts, State
from tests.prior.planted import make_tests

NAN = np.nan
RATES = np.array([[[0.5, 0.1, NAN], [0.2, 0.3, 0.4], [0.05, 0.25, NAN]]])


def truth(rates: np.ndarray = RATES) -> Truth:
    g, k = rates.shape[1:]
    prior = np.where(np.isnan(rates[0]), 0.0, np.linspace(0.3, -0.3, k))
    return Truth(rates, prior, np.full((g, k), 0.2), np.full(g, 0.2), np.arange(g), np.arange(g) % 2)


def test_always_the_first_arm_by_hand() -> None:
    np.testing.assert_allclose(replay(First, truth(), [50], [0])[0], [0.5, 0.2, 0.05])


def test_an_even_split_earns_the_mean_and_its_share_is_0() -> None:
    """Over 40 seeds: at 200 choices a test the mean rate of a seed is off by .014 at most, by .002 over all."""
    found = replay(Uniform, truth(), [200], range(40))[0]
    np.testing.assert_allclose(found, [0.3, 0.3, 0.15], atol=4 * 0.0025)
    assert gap_share(truth(), np.array([0.3, 0.3, 0.15]), [0]) == pytest.approx(0.0)
    assert gap_share(truth(), np.array([0.5, 0.4, 0.25]), [0]) == pytest.approx(1.0)


def test_the_share_weighs_tests_by_their_traffic() -> None:
    """Only the second test, of three arms, is won: 3 x .1 of 2 x .2 + 3 x .1 + 2 x .1."""
    assert gap_share(truth(), np.array([0.3, 0.4, 0.15]), [0]) == pytest.approx(0.3 / 0.9)


def test_a_replay_can_be_repeated_and_seeds_differ() -> None:
    one, two, other = (replay(lambda: make_policy("ucb"), truth(), [100], [seed]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_a_replay_is_the_same_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    both = replay(lambda: make_policy("ucb"), truth(), [100], [3])
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    np.testing.assert_array_equal(replay(lambda: make_policy("ucb"), truth(), [100], [3]), both)


class Greedy(Policy):
    """The arm of most clicks, the first of equal ones: no luck in it."""

    name = "greedy"

    def probabilities(self, state: State) -> np.ndarray:
        assert state.counts is not None
        return np.eye(state.available.shape[1])[state.counts.clicks.argmax(axis=1)]


def test_a_horizon_is_played_alike_alone_and_beside_others() -> None:
    """One of five impressions an arm, so fewer than updates, too."""
    together = replay(Greedy, truth(), [5, 100, 1000], [0, 3])
    alone = [replay(Greedy, truth(), [tau], [0, 3])[0] for tau in (5, 100, 1000)]
    np.testing.assert_array_equal(together, alone)
    assert len(np.unique(together[:, 2])) == 3


class Looks(Policy):
    """Decides as another policy, and keeps what it was told."""

    name = "looks"

    def __init__(self, inner: Policy | None = None) -> None:
        self.inner, self.states = inner or Uniform(), list[State]()

    def probabilities(self, state: State) -> np.ndarray:
        self.states.append(state)
        return self.inner.probabilities(state)


def test_a_policy_is_asked_at_most_so_often_and_is_told_the_prior_only_if_wanted() -> None:
    one = truth(RATES[:, 1:2])
    told, blind = Looks(), Looks()
    replay(lambda: told, one, [1000], [0], updates=30)
    replay(lambda: blind, one, [5], [0], updates=30, prior=False)
    assert len(told.states) == 30
    assert len(blind.states) == 15  # fifteen impressions
    last = told.states[-1].counts
    assert isinstance(last, Counts)
    assert last.impressions.sum() == last.elapsed[0] == 2900
    assert last.prior_rate is not None
    odds = last.prior_rate / (1 - last.prior_rate)
    np.testing.assert_allclose(np.log(odds[0] / 0.25), [0.3, 0.0, -0.3], atol=1e-12)
    np.testing.assert_allclose(last.prior_sd, 0.2)
    assert blind.states[-1].counts is not None
    assert blind.states[-1].counts.prior_rate is None


def test_the_same_luck_for_every_policy() -> None:
    """With equal rates it does not matter where traffic goes: both policies see the same clicks of every stage."""
    flat = truth(np.full((1, 4, 3), 0.2))
    sums = []
    for seen in (Looks(First()), Looks(Uniform())):
        replay(lambda seen=seen: seen, flat, [100], [3])
        sums.append([s.counts.clicks.sum(axis=1) for s in seen.states if s.counts is not None])
    np.testing.assert_array_equal(*sums)


def test_thompson_by_a_draw_has_the_law_of_the_exact_one() -> None:
    """Of 4,000 draws, every share within 4.5 standard errors (false alarm 3 in 100,000)."""
    n, s = np.array([[100, 200, 30]]), np.array([[2, 5, 1]])
    one = State(
        *(np.zeros((1, 3, 0), np.float32),) * 2,
        np.zeros((1, 3, 1), np.float32),
        np.zeros((1, 0), np.float32),
        np.ones((1, 3), bool),
        np.zeros(1, np.int64),
        Counts(n, s, np.array([330.0]), np.array([900.0])),
    )
    p = Thompson(epsilon=0.0).probabilities(one)[0]
    policy = ThompsonDraws(7)
    share = np.mean([policy.probabilities(one)[0] for _ in range(4000)], axis=0)
    assert (np.abs(share - p) < 4.5 * np.sqrt(p * (1 - p) / 4000)).all()


def test_each_test_is_decided_by_the_policy_of_its_own_part() -> None:
    class Last(First):
        def probabilities(self, state: State) -> np.ndarray:
            return np.eye(state.available.shape[1])[
                state.available.shape[1] - 1 - np.zeros(len(state.item), int)
            ]

    found = by_fold(truth(), {0: First(), 1: Last()}, [50], [0])[0]
    np.testing.assert_allclose(found, [0.5, 0.4, 0.05])


def test_tuning_takes_what_earns_most() -> None:
    """Sharply different arms: hardly any exploration is needed, and much of it costs."""
    sharp = truth(np.tile([[[0.02, 0.4]]], (1, 30, 1)))
    assert tuned(sharp, lambda z: lambda: make_policy(f"ucb:z={z}"), (0.05, 3.0)) == 0.05


def test_a_table_has_every_policy_and_its_interval() -> None:
    table, intervals = allocation_table(truth(), {0: First(), 1: First()}, [0, 1], taus=(50,))
    row, ends = table["50"], intervals["50"]
    assert set(row["oracle_gap_share"]) == {"prior", "ucb", "ts", "ec", "lola", "eb_ucb", "dqn"}
    # The prior puts the first arm first, as the policy in the place of the learned one does.
    assert row["dqn"] == pytest.approx(row["prior"])
    assert row["prior"] == pytest.approx(1000 * (2 * 0.5 + 3 * 0.2 + 2 * 0.05) / 7)
    assert row["uniform"] == pytest.approx(1000 * (2 * 0.3 + 3 * 0.3 + 2 * 0.15) / 7)
    assert row["oracle"] == pytest.approx(1000 * (2 * 0.5 + 3 * 0.4 + 2 * 0.25) / 7)
    best = max(v for k, v in row["oracle_gap_share"].items() if k != "dqn")
    assert row["lead"] == pytest.approx(row["oracle_gap_share"]["dqn"] - best)
    assert ends["dqn"][0] <= row["dqn"] <= ends["dqn"][1]
    assert ends["lead"][0] <= row["lead"] <= ends["lead"][1]


def test_observed_and_shrunk_truth() -> None:
    """Many impressions: the observed rates, within 4 posterior standard errors. Few: the pooled rate, with sd .25."""
    clicks = np.array([400_000, 500_000, 450_000])
    many = make_tests(np.array([3]), np.full(3, 1_000_000), clicks, ["a", "b", "c"])
    np.testing.assert_allclose(observed_truth(many)[0, 0], [0.4, 0.5, 0.45])
    # The grid of effects is .01 logits wide.
    np.testing.assert_allclose(shrunk_truth(many, 2, 0)[:, 0], [[0.4, 0.5, 0.45]] * 2, atol=0.005)
    few = make_tests(np.full(400, 2), np.full(800, 10), np.ones(800, int), [f"h{a}" for a in range(800)])
    drawn = shrunk_truth(few, 3, 1)
    effect = np.log(drawn / (1 - drawn)) - np.log(0.1 / 0.9)
    # Ten impressions hold about .9 of information against 16 of the prior: sd .243 of the posterior.
    assert effect.std() == pytest.approx(0.243, abs=4 * 0.243 / np.sqrt(2 * effect.size))
    assert (shrunk_truth(few, 1, 1) == drawn[:1]).all()


def test_more_seeds_of_truth_than_draws_go_round() -> None:
    two = replace(truth(), rates=np.concatenate([RATES, RATES / 2]))
    np.testing.assert_allclose(replay(First, two, [50], [0, 1])[0], [0.375, 0.15, 0.0375])
