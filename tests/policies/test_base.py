"""Drawing from reported probabilities, and refusing broken ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from multimodal_dql.policies.base import First, Policy, PolicyError, Uniform, choose, epsilon_floor
from multimodal_dql.state import State


def state(available: list[list[bool]]) -> State:
    mask = np.array(available)
    b, k = mask.shape
    return State(
        content=np.zeros((b, k, 2), np.float32),
        present=np.zeros((b, k, 1), np.float32),
        record=np.zeros((b, k, 3), np.float32),
        context=np.zeros((b, 1), np.float32),
        available=mask,
        item=np.arange(b),
    )


class Fixed(Policy):
    name = "fixed"

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = np.array(rows)

    def probabilities(self, state: State) -> NDArray[np.float64]:
        return self.rows


def test_first_and_uniform_by_hand() -> None:
    two = state([[False, True, True], [True, True, True]])
    np.testing.assert_array_equal(First().probabilities(two), [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(Uniform().probabilities(two), [[0, 0.5, 0.5], [1 / 3] * 3])


def test_floor_by_hand() -> None:
    p = epsilon_floor(np.array([[1.0, 0.0, 0.0]]), np.array([[True, True, False]]), 0.2)
    np.testing.assert_allclose(p, [[0.9, 0.1, 0.0]])


def test_actions_come_from_the_reported_probabilities() -> None:
    one = state([[True, True, True]] * 3)
    action, probability = choose(Fixed([[0.2, 0.3, 0.5]] * 3), one, np.array([0.1, 0.2, 0.999999]))
    np.testing.assert_array_equal(action, [0, 1, 2])
    np.testing.assert_allclose(probability, [0.2, 0.3, 0.5])


@given(st.integers(0, 2**31), st.integers(1, 8))
def test_an_unavailable_candidate_is_never_drawn(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((16, k)) < 0.5
    mask[np.arange(16), rng.integers(0, k, 16)] = True
    action, probability = choose(Uniform(), state(mask.tolist()), rng.random(16))
    assert mask[np.arange(16), action].all()
    assert (probability > 0).all()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[0.5, 0.4]], "sum to 1"),
        ([[1.5, -0.5]], "negative"),
        ([[np.nan, 1.0]], "negative"),
        ([[1.0]], "shape"),
    ],
)
def test_broken_policies_are_refused(rows: list[list[float]], said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        choose(Fixed(rows), state([[True, True]]), np.array([0.5]))


def test_weight_on_an_unavailable_candidate_is_refused() -> None:
    with pytest.raises(PolicyError, match="not available"):
        choose(Fixed([[0.5, 0.5]]), state([[True, False]]), np.array([0.5]))
