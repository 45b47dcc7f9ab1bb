"""Learning in parallel environments: adapters by hand, every scenario, equal runs from equal seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.learning.observations import ObservationAdapter
from multimodal_dql.learning.parallel import ParallelConfig, train_parallel
from multimodal_dql.learning.scenario_agent import ScenarioAgent, explore
from multimodal_dql.simulation.scenarios.ads import AdsConfig, AdsVectorEnv
from multimodal_dql.simulation.scenarios.generation import GenerationVectorEnv
from multimodal_dql.simulation.scenarios.headline_test import HeadlineTestVectorEnv
from multimodal_dql.simulation.scenarios.recommendation import RecommendationVectorEnv

from .tabular import Mdp, TabularEnv

TINY = ParallelConfig(steps=256, rollout=8, minibatch=32, hidden=8, expected_reward=True)
MADE = {
    "recommendation": lambda: RecommendationVectorEnv(16),
    "ads": lambda: AdsVectorEnv(16, AdsConfig(impressions=50)),
    "generation": lambda: GenerationVectorEnv(16),
    "headline_test": lambda: HeadlineTestVectorEnv(16),
}


def test_an_action_that_does_something_else_with_a_candidate_has_its_features() -> None:
    """Two slots, four actions: 0 and 1 show, 2 and 3 retire."""
    told = {
        "content": np.array([[[1.0], [2.0]]] * 2, np.float32),
        "arms": np.array([[[5.0], [7.0]], [[9.0], [11.0]]], np.float32),
        "test": np.array([[1.0], [3.0]], np.float32),
        "mask": np.ones((2, 4), np.int8),
    }
    adapter = ObservationAdapter.fit([told])
    out = adapter.inputs(told)
    np.testing.assert_array_equal(out["content"][0, :, 0], [1, 2, 1, 2])
    # Arms 5, 7, 9, 11, twice: mean 8, sd sqrt 5. The flag is 0, 0, 1, 1: mean and sd a half.
    np.testing.assert_allclose(out["record"][0, :, 0], (np.array([5, 7, 5, 7]) - 8) / 5**0.5, rtol=1e-5)
    np.testing.assert_allclose(out["record"][0, :, 1], [-1, -1, 1, 1])
    np.testing.assert_allclose(out["context"][:, 0], [-1, 1])
    assert out["available"].all()


def test_features_that_do_not_move_stay_small() -> None:
    told = {"arms": np.full((3, 2, 1), 4.0, np.float32), "mask": np.ones((3, 2), np.int8)}
    out = ObservationAdapter.fit([told]).inputs(told)
    np.testing.assert_array_equal(out["record"], 0.0)
    assert out["context"].shape == (3, 1)
    assert out["content"].shape == (3, 2, 1)
    np.testing.assert_array_equal(out["present"], 0.0)


def test_observations_without_candidates_are_refused() -> None:
    with pytest.raises(UsageError, match="one row for each"):
        ObservationAdapter.fit([{"x": np.zeros((3, 5, 2)), "mask": np.ones((3, 2))}])


def test_exploration_keeps_to_the_mask_and_to_its_rate() -> None:
    """10,000 draws at .4 over 2 of 3 actions: .2 of them are the other one, sd .004; five are 1e-6."""
    q = np.tile([1.0, 2.0, 9.0], (10_000, 1))
    available = np.tile([True, True, False], (10_000, 1))
    action = explore(q, available, 0.4, np.random.default_rng(0))
    assert set(action.tolist()) == {0, 1}
    assert (action == 0).mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(explore(q, available, 0.0, np.random.default_rng(0)), 1)


def test_exploration_falls_linearly() -> None:
    c = replace(TINY, epsilon=1.0, epsilon_end=0.2, epsilon_share=0.5)
    assert [c.epsilon_at(share) for share in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


@pytest.fixture(
    scope="module",
    params=[name if name == "generation" else pytest.param(name, marks=pytest.mark.slow) for name in MADE],
)
def trained(request: pytest.FixtureRequest) -> tuple[str, ScenarioAgent]:
    config = replace(TINY, advantage="reward_and_later", relative=True)
    return request.param, train_parallel(MADE[request.param](), config)


def test_every_scenario_can_be_learned(trained: tuple[str, ScenarioAgent]) -> None:
    """Decisions keep to the mask, probabilities sum to 1, and no number depends on the batch it came in."""
    name, agent = trained
    env = MADE[name]()
    told, _ = env.reset(seed=5)
    for _ in range(3):
        told, *_ = env.step(agent.greedy(told))
    q = agent.q_values(told)
    assert q.shape == told["mask"].shape
    assert (np.isfinite(q) == (told["mask"] > 0)).all()
    p = agent.probabilities(told, 0.3)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    np.testing.assert_allclose(p[told["mask"] == 0], 0.0)
    least = 0.3 / (told["mask"] > 0).sum(axis=1)
    assert (p[told["mask"] > 0] >= np.repeat(least, (told["mask"] > 0).sum(axis=1)) - 1e-12).all()
    np.testing.assert_array_equal(p.argmax(axis=1), agent.greedy(told))
    few = {key: array[:3] for key, array in told.items()}
    np.testing.assert_array_equal(agent.q_values(few), q[:3])


@pytest.mark.slow
def test_equal_seeds_give_equal_agents_also_with_compiled_code_used_again() -> None:
    def weights(agent: ScenarioAgent) -> list[np.ndarray]:
        return [np.array(w) for w in agent.network.get_weights()]

    def envs() -> list[TabularEnv]:
        return [TabularEnv(Mdp.chain(3), 8) for _ in range(2)]

    first = train_parallel(envs(), TINY)
    kept = weights(first)
    other = weights(train_parallel(envs(), replace(TINY, seed=1, discount=0.5), again=first))
    again = weights(train_parallel(envs(), TINY, again=first))
    fresh = weights(train_parallel(envs(), TINY))
    assert any(not np.array_equal(a, b) for a, b in zip(kept, other, strict=True))
    for a, b, c in zip(kept, again, fresh, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


class Restless(TabularEnv):
    """One state and one reward a step; cut after every second step by a limit on top."""

    def __init__(self, cut: bool) -> None:
        super().__init__(Mdp(np.ones((1, 2, 1)), np.ones((1, 2)), 0.5), 16)
        self.cut, self.time = cut, 0

    def step(self, action: np.ndarray) -> tuple[object, ...]:
        told, reward, _, none, info = super().step(action)
        self.time += 1
        now = np.full(16, self.time % 3 == 2)
        self.over = now
        return told, reward, *((none, now) if self.cut else (now, none)), info


@pytest.mark.slow
@pytest.mark.parametrize(("cut", "worth"), [(True, 2.0), (False, 1.25)])
def test_a_truncated_episode_is_worth_its_future_and_a_terminal_one_is_not(cut: bool, worth: float) -> None:
    """Discount .5, one reward a step: 2 when it would go on; else 1.5 before, 1 at the last of two steps."""
    config = ParallelConfig(
        steps=12_000, rollout=6, minibatch=48, discount=0.5, hidden=8, weight_decay=0.0, average=0.5
    )
    agent = train_parallel(Restless(cut), config)
    told, _ = Restless(cut).reset(seed=0)
    assert agent.q_values(told)[0].mean() == pytest.approx(worth, abs=0.05)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="lie between 0 and 1"):
        ParallelConfig(discount=1.5)
    with pytest.raises(UsageError, match="belongs to train"):
        ParallelConfig(advantage="click_and_later")
