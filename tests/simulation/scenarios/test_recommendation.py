"""Recommendation-v0: the same people as in `simulation.sessions`, and what greed on clicks costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.policies.base import First
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.scenarios.recommendation import (
    REWARDS,
    RecommendationConfig,
    RecommendationVectorEnv,
)
from multimodal_dql.simulation.sessions import Stage, run_sessions
from tests.simulation.worlds import world

from .play import Choose, oracle, random_choice, totals, z_of_difference

CLICKBAIT = EngagementConfig(
    base_click_rate=0.15,
    clickbait_click=0.5,
    clickbait_regret=3.0,
    sensitivity=1.5,
    stay=0.5,
    stay_satisfaction=4.0,
    come_back_satisfaction=4.0,
    visits=6,
)
"""Clickbait draws and is regretted; who regrets it leaves and does not come back."""


def far_sighted(weight: float) -> Choose:
    """Click probability, plus `weight` times what the story does to the person."""

    def choose(env: Any, told: Any) -> Any:
        _, click, value = env.foresee()
        return np.where(told["mask"] == 1, click + weight * value, -np.inf).argmax(axis=1)

    return choose


def test_people_are_those_of_the_engine() -> None:
    """Everybody shown the first variant: the same outcomes and the same context as `run_sessions` gives."""
    w = world(config=EngagementConfig(base_click_rate=0.2))
    steps = run_sessions(Stage.of(w), First(), seed=5, ids=np.arange(40))
    env = RecommendationVectorEnv(40, RecommendationConfig(), world=w)
    told, _ = env.reset(seed=5)
    going = np.ones(40, bool)
    for t in range(w.config.longest):
        np.testing.assert_array_equal(going, steps.active[:, t])
        np.testing.assert_allclose(told["context"][going], steps.context[going, t], atol=1e-6)
        np.testing.assert_array_equal(env.item[going], steps.item[going, t])
        np.testing.assert_array_equal(told["mask"], w.candidates.available[env.item])
        np.testing.assert_array_equal(env.state(told).content, told["content"])
        told, reward, over, _, infos = env.step(np.zeros(40, int))
        np.testing.assert_array_equal(reward[going], steps.click[going, t])
        np.testing.assert_array_equal(infos["click_probability"][going], steps.click_probability[going, t])
        np.testing.assert_array_equal(infos["dwell_seconds"][going], steps.dwell_seconds[going, t])
        going &= ~over
        if not going.any():
            break
    assert not going.any()


def test_what_is_foreseen_happens() -> None:
    env = RecommendationVectorEnv(50)
    told, _ = env.reset(seed=1)
    choose = random_choice(1)
    for _ in range(5):
        action = choose(env, told)
        want = env.foresee()[1][np.arange(50), action]
        told, _, _, _, infos = env.step(action)
        live = infos["_click_probability"]
        np.testing.assert_allclose(infos["click_probability"][live], want[live])


@pytest.mark.parametrize("reward", REWARDS)
def test_each_reward_is_what_it_says_and_what_is_expected(reward: str) -> None:
    """z below 4 (false alarm 6 in 100,000) against the expectations, over 1,500 people."""
    lively = EngagementConfig(base_click_rate=0.2, conversion_rate=0.3)
    env = RecommendationVectorEnv(1500, RecommendationConfig(engagement=lively, reward=reward))
    told, _ = env.reset(seed=2)
    choose, key = (
        random_choice(0),
        {"clicks": "click", "dwell": "dwell_seconds"}.get(reward, "conversion_value"),
    )
    going, got, want = np.ones(1500, bool), np.zeros(1500), np.zeros(1500)
    while going.any():
        told, paid, over, _, infos = env.step(choose(env, told))
        named = infos["satisfaction" if reward == "satisfaction" else key] / (60 if reward == "dwell" else 1)
        np.testing.assert_allclose(paid, named)
        got, want = got + going * paid, want + going * infos["expected_reward"]
        going &= ~over
    assert want.mean() > 0
    if reward == "satisfaction":
        np.testing.assert_allclose(got, want)
    else:
        assert abs(z_of_difference(got, want)) < 4


def test_greed_on_clicks_loses_where_clickbait_is_regretted() -> None:
    """Clicks of 1,500 people: z above 4 for looking further (false alarm 3 in 100,000), in expectation and in fact."""
    env = RecommendationVectorEnv(1500, RecommendationConfig(engagement=CLICKBAIT))
    for key in ("expected_reward", ""):
        greedy, far = totals(env, oracle, 3, key), totals(env, far_sighted(0.2), 3, key)
        assert z_of_difference(far, greedy) > 4


def test_greed_on_clicks_cannot_lose_when_nothing_lasts() -> None:
    """Satisfaction off, and all else that one story does to the next: greed is best for every person, so no chance."""
    off = CLICKBAIT.without("satisfaction", "cascade", "wear", "boredom", "drift")
    env = RecommendationVectorEnv(300, RecommendationConfig(engagement=off))
    greedy = totals(env, oracle, 3, "expected_reward")
    for other in (far_sighted(0.2), far_sighted(0.02), random_choice()):
        assert (greedy >= totals(env, other, 3, "expected_reward") - 1e-12).all()


def test_records_tell_something_of_the_variants() -> None:
    """Where there are records, their gap goes with the true appeal; a hidden share of 1 shows none.

    Without any relation the correlation has a standard error below .13 (64 stories), and .6 is above 4 of these.
    """
    env = RecommendationVectorEnv(
        400, RecommendationConfig(hidden_records=0.0, record_impressions=(2e5, 2e5))
    )
    told, _ = env.reset(seed=1)
    assert (told["record"][..., 2] > 0).all()
    rows = env.world.candidates.table[env.item]
    appeal = env.world.appeal[rows]
    gap = told["record"][..., 0]
    inner = [x - x.mean(axis=1, keepdims=True) for x in (gap, appeal)]
    assert np.corrcoef(inner[0].ravel(), inner[1].ravel())[0, 1] > 0.6
    hidden = RecommendationVectorEnv(50, RecommendationConfig(hidden_records=1.0))
    told, _ = hidden.reset(seed=1)
    np.testing.assert_array_equal(told["record"], np.broadcast_to([0, 1, 0], (50, 4, 3)))


def test_only_the_named_stories_are_met() -> None:
    env = RecommendationVectorEnv(64, items=np.array([3, 5]))
    env.reset(seed=0)
    assert set(env.item.tolist()) == {3, 5}
    with pytest.raises(UsageError, match="items"):
        RecommendationVectorEnv(1, items=np.array([], int))


@pytest.mark.parametrize("fields", [{"reward": "fame"}, {"variants": 1}, {"hidden_records": 1.5}])
def test_configurations_that_make_no_sense(fields: Any) -> None:
    with pytest.raises(UsageError):
        RecommendationConfig(**fields)
    assert replace(RecommendationConfig(), stories=2).stories == 2
