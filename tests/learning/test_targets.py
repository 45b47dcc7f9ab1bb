"""Targets by hand, and what ties them to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.learning import targets
from multimodal_dql.replay import n_step as replay_n_step


def test_one_step_by_hand() -> None:
    # The 9 is not available; the second step is terminal.
    y = targets.one_step(
        np.array([1.0, 1.0]),
        np.array([0.5, 0.0]),
        np.array([[2.0, 3.0, 9.0], [7.0, 7.0, 7.0]]),
        np.array([[1, 1, 0], [1, 1, 1]]),
    )
    np.testing.assert_allclose(np.asarray(y), [2.5, 1.0])


def test_a_state_without_actions_is_worth_nothing() -> None:
    v = targets.greedy_value(np.array([[5.0, 6.0], [5.0, 6.0]]), np.array([[0, 0], [1, 0]]))
    np.testing.assert_allclose(np.asarray(v), [0.0, 5.0])


@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "graph"])
def test_double_q_by_hand(kind: Any) -> None:
    """Row 0: the one prefers action 1, the other values it at 20. Row 1: it is not available. Row 2: terminal."""
    reward, discount = kind(np.float32([1, 1, 2])), kind(np.float32([0.5, 0.5, 0]))
    select = kind(np.float32([[1, 5, 3], [1, 5, 3], [0, 1, 2]]))
    value = kind(np.float32([[10, 20, 30], [10, 20, 30], [7, 8, 9]]))
    free = kind(np.array([[True, True, True], [True, False, True], [True, True, True]]))
    y = targets.double_q(reward, discount, select, value, free)
    np.testing.assert_allclose(np.asarray(y), [1 + 0.5 * 20, 1 + 0.5 * 30, 2.0])
    every = targets.double_q(reward, discount, select, value)
    np.testing.assert_allclose(np.asarray(every), [11.0, 11.0, 2.0])


@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "graph"])
def test_members_choose_for_themselves(kind: Any) -> None:
    """(M, B, K) = (2, 1, 2); rewards, discounts and what is available have no axis of members."""
    select, value = kind(np.float32([[[1, 2]], [[2, 1]]])), kind(np.float32([[[3, 4]], [[5, 6]]]))
    free = kind(np.array([[True, True]]))
    y = targets.double_q(kind(np.float32([0])), kind(np.float32([1])), select, value, free)
    np.testing.assert_allclose(np.asarray(y), [[4.0], [5.0]])


@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "graph"])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_nothing_reaches_the_target_through_a_terminal_step(kind: Any, value: float) -> None:
    q = kind(np.float32([[value, 0], [1, 0]]))
    y = targets.double_q(kind(np.float32([2, 2])), kind(np.float32([0, 0.5])), q, q)
    np.testing.assert_allclose(np.asarray(y), [2.0, 2.5])


def test_ends_of_episodes() -> None:
    discount, goes_on = targets.chain(
        np.array([False, True, False]), np.array([False, False, True]), discount=0.9
    )
    np.testing.assert_array_equal(discount, [0.9, 0.0, 0.9])
    np.testing.assert_array_equal(goes_on, [True, False, False])


def test_q_lambda_by_hand() -> None:
    # Backwards with g = .5, lambda = .5: G2 = 3 + .5 x 8 = 7; G1 = 2 + .5 (.5 x 7 + .5 x 4) = 4.75;
    # G0 = 1 + .5 (.5 x 4.75 + .5 x 6) = 3.6875.
    g = targets.q_lambda(np.array([1.0, 2, 3]), np.full(3, 0.5), np.array([6.0, 4, 8]), np.full(3, 0.5))
    np.testing.assert_allclose(g, [3.6875, 4.75, 7.0])


def test_q_lambda_stops_at_the_end_and_bootstraps_where_it_is_cut() -> None:
    # Step 0 is terminal: its reward alone. Step 1 is truncated: reward and the value of its own last state, 10.
    terminated, truncated = np.array([True, False, False]), np.array([False, True, False])
    discount, goes_on = targets.chain(terminated, truncated, 0.5)
    g = targets.q_lambda(np.array([1.0, 2, 3]), discount, np.array([99.0, 10, 4]), 0.9 * goes_on)
    np.testing.assert_allclose(g, [1.0, 7.0, 5.0])


def test_n_step_by_hand() -> None:
    # g = .5, two steps: G0 = 1 + .5 (2 + .5 x 4) = 3; G1 = 2 + .5 (3 + .5 x 8) = 5.5; G2 = 3 + .5 x 8.
    g = targets.n_step(np.array([1.0, 2, 3]), np.full(3, 0.5), np.array([6.0, 4, 8]), np.full(3, True), 2)
    np.testing.assert_allclose(g, [3.0, 5.5, 7.0])
    with pytest.raises(UsageError, match="1 or more"):
        targets.n_step(np.ones(1), np.ones(1), np.ones(1), np.ones(1, bool), 0)


def test_watkins_cuts_where_the_next_action_explores() -> None:
    q = np.array([[1.0, 2.0, 9.0], [1.0, 2.0, 9.0]])
    available = np.array([[True, True, False]] * 2)
    np.testing.assert_array_equal(targets.watkins_trace(q, np.array([1, 0]), available, 0.65), [0.65, 0.0])


episodes = st.integers(0, 2**31).map(np.random.default_rng)


@settings(max_examples=40, deadline=None)
@given(episodes, st.integers(1, 9), st.floats(0.1, 1.0))
def test_the_ends_of_lambda_are_one_step_and_the_whole_return(
    rng: np.random.Generator, steps: int, g: float
) -> None:
    r, v = rng.standard_normal((2, steps, 3))
    ended = rng.random((steps, 3)) < 0.3
    discount, goes_on = targets.chain(ended, np.zeros_like(ended), g)
    np.testing.assert_allclose(targets.q_lambda(r, discount, v, 0.0 * goes_on), r + discount * v)
    np.testing.assert_allclose(
        targets.q_lambda(r, discount, v, 1.0 * goes_on), targets.n_step(r, discount, v, goes_on, steps)
    )


@settings(max_examples=40, deadline=None)
@given(episodes, st.integers(1, 5))
def test_n_step_agrees_with_the_replay(rng: np.random.Generator, n: int) -> None:
    """Both say the same of sessions that end by themselves."""
    steps, sessions, g = 8, 5, 0.7
    length = rng.integers(1, steps + 1, sessions)
    column = np.arange(steps)
    active, done = column < length[:, None], column == length[:, None] - 1
    reward, value = rng.standard_normal((2, sessions, steps))
    total, factor, at = replay_n_step(reward * active, active, done, g, n)
    expected = total + factor * np.take_along_axis(value, at, 1)
    discount, goes_on = targets.chain(done.T, np.zeros_like(done.T), g)
    v_tp1 = np.roll(value, -1, axis=1).T
    found = targets.n_step((reward * active).T, discount, v_tp1, goes_on, n).T
    np.testing.assert_allclose(found[active], expected[active], atol=1e-12)


def test_q_lambda_is_the_mean_of_n_step_returns() -> None:
    """Sutton & Barto 2018, eq. 12.2: weights (1 - lambda) lambda^(n - 1), the rest on the longest."""
    rng = np.random.default_rng(0)
    steps, lam = 6, 0.65
    r, v = rng.standard_normal((2, steps))
    discount, goes_on = np.full(steps, 0.9), np.full(steps, True)
    returns = [targets.n_step(r, discount, v, goes_on, n)[0] for n in range(1, steps + 1)]
    weights = [(1 - lam) * lam**i for i in range(steps - 1)] + [lam ** (steps - 1)]
    found = targets.q_lambda(r, discount, v, np.full(steps, lam))[0]
    assert found == pytest.approx(np.dot(weights, returns))
