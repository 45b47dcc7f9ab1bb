"""A flat view of the scenarios for algorithms without masks."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.simulation.scenarios import IDS
from multimodal_dql.simulation.scenarios.headline_test import HeadlineTestEnv
from multimodal_dql.simulation.scenarios.wrappers import FlatMasked, nearest_allowed


@pytest.mark.parametrize(
    ("action", "mask", "want"),
    [(0, [1, 1], 0), (2, [1, 0, 0, 0, 1], 0), (3, [1, 0, 0, 0, 1], 4), (1, [0, 0, 1], 2)],
)
def test_nearest_allowed(action: int, mask: list[int], want: int) -> None:
    assert nearest_allowed(action, np.array(mask, np.int8)) == want


@pytest.mark.parametrize("env_id", IDS)
def test_any_action_may_be_sent_to_any_scenario(env_id: str) -> None:
    env = FlatMasked(gymnasium.make(env_id))
    env.action_space.seed(0)
    told, info = env.reset(seed=0)
    for _ in range(30):
        assert told in env.observation_space
        np.testing.assert_array_equal(told[-len(info["mask"]) :], info["mask"])
        mask = info["mask"]
        told, reward, over, _, info = env.step(env.action_space.sample())
        assert mask[info["action"]] == 1
        assert np.isfinite(reward)
        if over:
            told, info = env.reset()


def test_parts_stand_in_the_order_of_their_names() -> None:
    inner = HeadlineTestEnv()
    parts, _ = inner.reset(seed=4)
    flat, _ = FlatMasked(HeadlineTestEnv()).reset(seed=4)
    want = np.concatenate([parts["arms"].ravel(), parts["test"], parts["mask"]])
    np.testing.assert_array_equal(flat, want.astype(np.float32))


def test_other_environments_are_refused() -> None:
    with pytest.raises(UsageError, match="mask"):
        FlatMasked(gymnasium.make("CartPole-v1"))
