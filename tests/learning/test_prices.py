"""Prices of a limited stock: by hand, against the dynamic program, and learned where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.learning.parallel import ParallelConfig, train_parallel
from multimodal_dql.learning.prices import Ledger, best_others, price_targets
from multimodal_dql.learning.targets import NEVER

Array = NDArray[np.float64]


def along(gain: Array, use: Array, left: int, discount: float = 1.0, unit: float = 1.0) -> Array:
    """Prices (T,) of one stock of `left` units over an episode of T + 1 steps with these gains and uses, (T + 1,)."""
    shape = (len(gain), 1, 1)
    g = np.full((len(gain) - 1, 1), discount)
    found = price_targets(
        gain.reshape(shape), use.reshape(shape) / unit, np.zeros(shape), np.full(shape, float(left)),
        g, np.ones(g.shape, np.bool_), unit,
    )  # fmt: skip
    return found[:, 0, 0] / unit


def test_two_steps_by_hand() -> None:
    """Gains 1, then 2, a unit used half of the time.

    Before the last step one unit is worth the 2, a second nothing. One step earlier a unit is kept for the 2, because
    1 - 2 / 2 = 0; a second one is free to be tried for the 1.
    """
    gain, use = np.array([9.0, 1.0, 2.0]), np.full(3, 0.5)
    np.testing.assert_allclose(along(gain, use, 1), [2.0, 2.0])
    np.testing.assert_allclose(along(gain, use, 2), [1.0, 0.0])
    np.testing.assert_allclose(along(gain, use, 1, discount=0.5), [0.75, 1.0])
    np.testing.assert_array_equal(along(gain, use, 1, discount=0.0), 0.0)


def test_the_best_of_the_others() -> None:
    worth = np.array([[3.0, 5.0, 4.0], [1.0, 2.0, 9.0]])
    free = np.array([[True, True, True], [True, False, False]])
    np.testing.assert_array_equal(best_others(worth, free), [[5.0, 4.0, 5.0], [NEVER, 1.0, 1.0]])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 5), st.sampled_from([1.0, 0.05]))
def test_prices_are_differences_of_the_dynamic_program(seed: int, steps: int, left: int, unit: float) -> None:
    """``V_t(n) = max(V_{t+1}(n), r + p V_{t+1}(n - 1) + (1 - p) V_{t+1}(n))`` for n > 0, the other action earns 0."""
    rng = np.random.default_rng(seed)
    gain, use = rng.normal(0.5, 1.0, steps + 1), rng.uniform(0.0, 1.0, steps + 1)
    value = np.zeros(left + 1)
    answer = np.empty(steps)
    for t in range(steps - 1, -1, -1):
        p, kept = use[t + 1], value.copy()
        value[1:] = np.maximum(kept[1:], gain[t + 1] + p * kept[:-1] + (1.0 - p) * kept[1:])
        answer[t] = value[left] - value[left - 1]
    found = along(gain, use, left, unit=unit)
    np.testing.assert_allclose(found, answer, atol=1e-9)
    assert found.min() >= -1e-12
    more = along(gain, use, left + 1, unit=unit)
    assert (more <= found + 1e-9).all()


def test_an_end_cuts_and_a_limit_on_top_does_not() -> None:
    """After a terminal step nothing is worth anything; after a truncated one the network's price counts."""
    shape = (3, 1, 1)
    gain, use, price = np.full(shape, 1.0), np.full(shape, 0.0), np.full(shape, 7.0)

    def found(discount: float, goes_on: bool) -> Array:
        g, on = np.array([[discount], [1.0]]), np.array([[goes_on], [True]])
        return price_targets(gain, use, price, np.ones(shape), g, on, 1.0)[:, 0, 0]

    np.testing.assert_array_equal(found(1.0, True), [9.0, 8.0])
    np.testing.assert_array_equal(found(0.0, False), [0.0, 8.0])
    np.testing.assert_array_equal(found(1.0, False), [8.0, 8.0])


class Shop:
    """A stock of `units` and `steps` visitors, who pay 1 or 3 for a unit at even odds and take it half of the time.

    Action 0 offers it, action 1 offers nothing. Worth waiting for the 3 while there are visitors enough.
    """

    def __init__(self, num_envs: int, steps: int = 8, units: int = 2) -> None:
        self.num_envs, self.steps, self.units = num_envs, steps, units
        self.single_action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.rng = np.random.default_rng(seed)
        self.left, self.time = np.full(self.num_envs, self.units), 0
        self._visit()
        return self._told(), {}

    def _visit(self) -> None:
        self.pays = self.rng.choice([1.0, 3.0], self.num_envs)

    def _told(self) -> dict[str, Any]:
        return Shop.seen(self.left, np.full(self.num_envs, self.time), self.pays, self.steps)

    @staticmethod
    def seen(left: NDArray[Any], time: NDArray[Any], pays: Array, steps: int) -> dict[str, Any]:
        n = len(left)
        stock = np.zeros((n, 2, 2), np.float32)
        # What has sold out is told as the last unit was, so that what an offer earns is known of it too.
        stock[:, 0, 0], stock[:, 1, 1] = np.maximum(left, 1), 1.0
        visitor = np.stack([pays - 2.0, time / steps], axis=1).astype(np.float32)
        mask = np.stack([left > 0, np.ones(n, bool)], axis=1).astype(np.int8)
        return {"stock": stock, "visitor": visitor, "mask": mask}

    def stocks(self) -> tuple[Array, NDArray[np.bool_]]:
        left = np.stack([self.left.astype(float), np.full(self.num_envs, np.inf)], axis=1)
        return left, np.ones(left.shape, bool)

    def shadow(self, shown: NDArray[np.bool_]) -> None:
        """Nobody tires."""

    def step(self, action: NDArray[np.int64]) -> tuple[Any, ...]:
        none = np.zeros(self.num_envs, bool)
        if self.time == self.steps:
            self.left[:], self.time = self.units, 0
            self._visit()
            nothing = np.zeros(self.num_envs)
            return self._told(), nothing, none, none, {"expected_reward": nothing, "used": nothing}
        used = 0.5 * (action == 0)
        reward = used * self.pays
        self.left -= (action == 0) & (self.rng.random(self.num_envs) < 0.5)
        self.time += 1
        self._visit()
        over = np.full(self.num_envs, self.time == self.steps)
        return self._told(), reward, over, none, {"expected_reward": reward, "used": used}


def best_offers(steps: int, units: int) -> Array:
    """By value iteration, what offering to who pays 1 is worth over not offering, (steps, units), n = 1 first."""
    value, out = np.zeros(units + 1), np.empty((steps, units))
    for t in range(steps - 1, -1, -1):
        cost = value[1:] - value[:-1]
        out[t] = 0.5 * (1.0 - cost)
        mean = np.mean([np.maximum(0.5 * (pays - cost), 0.0) for pays in (1.0, 3.0)], axis=0)
        value[1:] += mean
    return out


@pytest.mark.slow
def test_the_priced_network_keeps_the_stock_for_who_pays_more() -> None:
    """It decides as value iteration does wherever that is no close call; with discount 0 it always sells."""
    steps = 8
    answer = best_offers(steps, 2)
    clear = np.abs(answer) > 0.15
    assert (answer[clear] > 0).any()
    assert (answer[clear] < 0).any()
    time, left = np.meshgrid(np.arange(steps), [1, 2], indexing="ij")
    told = Shop.seen(left.ravel(), time.ravel(), np.ones(left.size), steps)
    config = ParallelConfig(
        steps=130_000, rollout=steps + 1, minibatch=72, discount=1.0, epsilon=0.3, epsilon_end=0.1,
        expected_reward=True, advantage="reward_and_price", spends="used", hidden=32, weight_decay=0.0,
    )  # fmt: skip
    agent = train_parallel(Shop(64), config)
    offers = (agent.greedy(told) == 0).reshape(steps, 2)
    np.testing.assert_array_equal(offers[clear], answer[clear] > 0)
    q = agent.q_values(told)
    np.testing.assert_allclose((q[:, 0] - q[:, 1]).reshape(steps, 2), answer, atol=0.15)
    agent = train_parallel(Shop(64), ParallelConfig(**{**vars(config), "discount": 0.0}), again=agent)
    assert (agent.greedy(told) == 0).all()


def test_an_environment_without_stocks_is_refused() -> None:
    with pytest.raises(UsageError, match="Ads-v0"):
        Ledger([object()], 1.0)
    with pytest.raises(UsageError, match="both or neither"):
        ParallelConfig(advantage="reward_and_price")
