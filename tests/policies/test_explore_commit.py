"""Exploring evenly, committing once, and staying with it."""

from __future__ import annotations

import numpy as np

from multimodal_dql.policies.explore_commit import ExploreCommit
from multimodal_dql.state import State
from tests.policies.states import counted

NOTHING = np.zeros(1, dtype=np.int64), np.zeros(1)


def update(policy: ExploreCommit, state: State) -> None:
    b = len(state.item)
    policy.update(state, np.zeros(b, dtype=np.int64), np.zeros(b))


def test_it_explores_for_a_fifth_of_the_horizon() -> None:
    policy = ExploreCommit()
    before = counted([[100, 99]], [[9, 1]], horizon=1000)
    after = counted([[100, 100]], [[9, 1]], horizon=1000)
    np.testing.assert_array_equal(policy.probabilities(before), [[0.5, 0.5]])
    np.testing.assert_array_equal(policy.probabilities(after), [[1, 0]])


def test_an_open_ended_experiment_explores_3200_impressions() -> None:
    policy = ExploreCommit()
    p = policy.probabilities(counted([[3198, 1], [3199, 1]], [[5, 1], [5, 1]]))
    np.testing.assert_array_equal(p, [[0.5, 0.5], [0, 1]])


def test_a_commitment_holds_whatever_comes_later() -> None:
    policy = ExploreCommit()
    update(policy, counted([[50, 40]], [[9, 1]], horizon=1000, item=[7]))  # still exploring: nothing is kept
    update(policy, counted([[110, 110]], [[1, 3]], horizon=1000, item=[7]))
    later = counted([[110, 700], [110, 700]], [[9, 0], [9, 0]], horizon=1000, item=[7, 8])
    # Experiment 8 was never committed: it follows its best rate.
    np.testing.assert_array_equal(policy.probabilities(later), [[0, 1], [1, 0]])
    update(policy, later)
    np.testing.assert_array_equal(policy.probabilities(later), [[0, 1], [1, 0]])
    policy.reset()
    np.testing.assert_array_equal(policy.probabilities(later), [[1, 0], [1, 0]])


def test_asking_commits_nothing() -> None:
    policy = ExploreCommit()
    policy.probabilities(counted([[200, 200]], [[1, 3]], horizon=1000))
    np.testing.assert_array_equal(
        policy.probabilities(counted([[200, 300]], [[5, 3]], horizon=1000)), [[1, 0]]
    )


def test_the_earliest_decision_of_a_batch_commits() -> None:
    policy = ExploreCommit()
    update(policy, counted([[150, 150], [110, 110]], [[5, 1], [1, 5]], horizon=1000, item=[3, 3]))
    np.testing.assert_array_equal(
        policy.probabilities(counted([[300, 300]], [[9, 1]], horizon=1000, item=[3])), [[0, 1]]
    )


def test_experiments_of_different_width_are_remembered_side_by_side() -> None:
    policy = ExploreCommit(explore=0.0)
    update(policy, counted([[9, 9]], [[1, 2]], item=[10**15]))
    update(policy, counted([[9, 9, 9, 9]], [[1, 2, 3, 4]], item=[-1]))
    update(policy, counted([[9, 9, 9]], [[3, 3, 0]], item=[4]))
    wide = counted([[9] * 5] * 3, [[0, 0, 0, 0, 9]] * 3, item=[4, -1, 10**15])
    np.testing.assert_allclose(
        policy.probabilities(wide), [[0.5, 0.5, 0, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 0, 0]]
    )


def test_a_winner_that_was_taken_down_is_succeeded() -> None:
    policy = ExploreCommit(explore=0.0)
    update(policy, counted([[9, 9, 9]], [[5, 1, 3]]))
    without = counted([[9, 9, 9]], [[5, 1, 3]], available=[[False, True, True]])
    np.testing.assert_array_equal(policy.probabilities(without), [[0, 0, 1]])
