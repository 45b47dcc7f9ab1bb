"""The learned allocation as a policy: what it reads, what it must not depend on, and that it learned something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from multimodal_dql.allocation.policy import AllocationPolicy, OptimisticIndex, evidence_of
from multimodal_dql.allocation.training import environment_of, train_allocation
from multimodal_dql.bench.sequential import returns
from multimodal_dql.errors import UsageError
from multimodal_dql.state import Counts, State

from .conftest import CLICKY, SMALL


def state(impressions: Any, clicks: Any, horizon: float = 1000.0, **prior: Any) -> State:
    n = np.asarray(impressions, np.int64)
    s = np.asarray(clicks, np.int64)
    b, k = n.shape
    nothing = np.zeros((b, k, 0), np.float32)
    counts = Counts(n, s, n.sum(axis=1).astype(float), np.full(b, horizon), **prior)
    return State(
        nothing,
        nothing,
        np.zeros((b, k, 1), np.float32),
        np.zeros((b, 0), np.float32),
        np.ones((b, k), bool),
        np.arange(b),
        counts,
    )


def many(rows: int = 40, k: int = 5, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.Generator(np.random.Philox(key=[seed, 3]))
    n = rng.integers(0, 200, (rows, k))
    return n, rng.binomial(n, 0.12), rng.uniform(0.05, 0.2, (rows, k))


def test_it_earns_more_than_an_even_split_and_less_than_the_best_arm(policy: AllocationPolicy) -> None:
    """On 1,500 new tests, mean relative gain; an even split gains 0. Over 8 standard errors (false alarm 1e-15)."""
    env = environment_of(CLICKY, replace(SMALL, environments=1500))
    found = returns(env, lambda e, _: policy.probabilities(e.state).argmax(axis=1), 1500, seed=99)["expected"]
    best = returns(env, lambda e, _: e.expected_rewards().argmax(axis=1), 1500, seed=99)["expected"]
    assert found.mean() > 8 * found.std() / np.sqrt(len(found))
    assert 0.4 * best.mean() < found.mean() < best.mean()


def test_it_learns_the_same_from_the_same_seed(policy: AllocationPolicy) -> None:
    short = replace(SMALL, learning=replace(SMALL.learning, steps=2 * 256 * 50))
    one, two, other = (train_allocation(CLICKY, short, seed=s).network for s in (1, 1, 2))
    np.testing.assert_array_equal(one.fuse, two.fuse)
    assert (one.fuse != other.fuse).any()


def test_the_order_of_the_arms_and_the_other_tests_do_not_matter(policy: AllocationPolicy) -> None:
    n, s, rate = many()
    p = policy.probabilities(state(n, s, prior_rate=rate))
    order = np.array([3, 0, 4, 1, 2])
    moved = policy.probabilities(state(n[:, order], s[:, order], prior_rate=rate[:, order]))
    np.testing.assert_allclose(moved, p[:, order], atol=1e-6)
    one = policy.probabilities(state(n[7:8], s[7:8], prior_rate=rate[7:8]))
    np.testing.assert_allclose(one, p[7:8], atol=1e-6)


def test_padding_does_not_matter(policy: AllocationPolicy) -> None:
    n, s, rate = many(k=3)
    plain = policy.probabilities(state(n, s, prior_rate=rate))
    wide = state(np.pad(n, ((0, 0), (0, 2))), np.pad(s, ((0, 0), (0, 2))))
    wide = replace(wide, available=np.arange(5)[None] < np.full((40, 1), 3))
    wide = replace(wide, counts=replace(wide.counts, prior_rate=np.pad(rate, ((0, 0), (0, 2)))))
    got = policy.probabilities(wide)
    assert (got[:, 3:] == 0).all()
    np.testing.assert_allclose(got[:, :3], plain, atol=1e-6)


def test_equal_arms_share_the_traffic(policy: AllocationPolicy) -> None:
    p = policy.probabilities(state([[0, 0, 0, 0], [50, 50, 50, 50]], [[0, 0, 0, 0], [5, 5, 5, 5]]))
    np.testing.assert_allclose(p, 0.25)


def test_near_the_end_it_takes_the_arm_that_is_clearly_better(policy: AllocationPolicy) -> None:
    p = policy.probabilities(state([[480, 480]], [[10, 90]]))
    np.testing.assert_array_equal(p, [[0, 1]])


def test_a_prior_decides_where_nothing_was_seen(policy: AllocationPolicy) -> None:
    """Nothing to lose by trying the arm of which the past expects most: 30 % more than its sibling."""
    p = policy.probabilities(state([[0, 0]], [[0, 0]], horizon=20.0, prior_rate=np.array([[0.10, 0.13]])))
    np.testing.assert_array_equal(p, [[0, 1]])


def test_the_formula_among_its_features_by_hand(policy: AllocationPolicy) -> None:
    """Equal predictions, 3 clicks of 300 against 3 of 200: fewer impressions mean a higher mean and a wider bound."""
    rule = replace(policy, network=OptimisticIndex())
    np.testing.assert_array_equal(rule.probabilities(state([[300, 200]], [[3, 3]])), [[0, 1]])


def test_evidence_by_hand() -> None:
    """Logits of .2 and .1 are -1.3863 and -2.1972: effects +-.4055. What is not predicted is 0 with the blank sd."""
    counts = Counts(
        np.zeros((1, 3), np.int64),
        np.zeros((1, 3), np.int64),
        np.zeros(1),
        np.ones(1),
        np.array([[0.2, 0.1, np.nan]]),
        np.array([[0.15, np.nan, 0.1]]),
    )
    got = evidence_of(counts, np.ones((1, 3), bool), 0.24)
    np.testing.assert_allclose(got.prior_mean, [[0.4055, -0.4055, 0.0]], atol=1e-4)
    np.testing.assert_allclose(got.prior_sd, [[0.15, 0.24, 0.24]])


def test_an_open_ended_experiment_has_a_horizon_too(policy: AllocationPolicy) -> None:
    n, s, _ = many()
    p = policy.probabilities(state(n, s, horizon=np.inf))
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_an_impossible_horizon_is_refused(policy: AllocationPolicy, value: float) -> None:
    with pytest.raises(UsageError, match="open_horizon"):
        replace(policy, open_horizon=value)
