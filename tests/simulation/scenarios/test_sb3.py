"""Stable-Baselines3 learns in a flattened scenario. Run where it is installed: ``pytest -m sb3``."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.scenarios.headline_test import HeadlineTestConfig, HeadlineTestEnv
from multimodal_dql.simulation.scenarios.wrappers import FlatMasked

from .play import z_of_difference

pytestmark = [pytest.mark.sb3, pytest.mark.slow]

# Arms that differ much, and a prior that is nearly right: a few thousand steps are enough to see that it counts.
EASY = HeadlineTestConfig(
    model=EngagementModel(
        base_logit_mean=-2.2, base_logit_sd=0.3, within_logit_sd=0.6, arm_shares=(0.0, 1.0)
    ),
    most_arms=3,
    impressions_per_arm=(100.0, 100.0),
    stages=10,
    prior_correlation=0.95,
    reward="advantage",
)
TESTS = 200


def flat() -> gymnasium.Env[NDArray[np.float32], np.int64]:
    return FlatMasked(HeadlineTestEnv(EASY))


def play(choose: Callable[[NDArray[np.float32]], int]) -> NDArray[np.float64]:
    """Expected advantage in each of the same 200 tests, none of which was trained on."""
    env, out = flat(), np.zeros(TESTS)
    told, _ = env.reset(seed=1_000)
    for test in range(TESTS):
        over = False
        while not over:
            told, reward, over, _, _ = env.step(np.int64(choose(told)))
            out[test] += reward
        told, _ = env.reset()
    return out


def test_dqn_learns_to_allocate_traffic() -> None:
    """z above 4 against chance over 200 tests (false alarm 3 in 100,000 for an agent that learned nothing)."""
    sb3 = pytest.importorskip("stable_baselines3", reason="install stable-baselines3 to run this")
    env = flat()
    env.reset(seed=0)
    agent = sb3.DQN(
        "MlpPolicy", env, learning_rate=1e-3, buffer_size=5_000, learning_starts=500, batch_size=64, gamma=0.9,
        target_update_interval=500, exploration_fraction=0.5, seed=0, device="cpu",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    chance = play(lambda _: int(rng.integers(3)))
    agent.learn(5_000)
    learned = play(lambda told: int(agent.predict(told, deterministic=True)[0]))
    print(f"\nadvantage in clicks a test: DQN {learned.mean():.2f}, chance {chance.mean():.2f}")
    assert z_of_difference(learned, chance) > 4
