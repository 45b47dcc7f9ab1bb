"""Ads-v0: money by hand, caps, budgets, and conversions that arrive when they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.simulation.compiled import uniforms
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.dynamics import conversion_delay_hours
from multimodal_dql.simulation.scenarios.ads import CAMPAIGN_FEATURES, AdsConfig, AdsEnv, AdsVectorEnv
from multimodal_dql.simulation.scenarios.ads_market import OF_CLICK, OF_TIME

from .play import oracle, random_choice, totals, z_of_difference

PLAIN = EngagementConfig(
    within_sd=0.0,
    taste_sd=0.0,
    hour_effect=0.0,
    wear_in=0.0,
    wear_out=0.0,
    conversion_rate=0.0,
    conversion_value_sd=0.0,
    conversion_match=0.0,
    conversion_regret=0.0,
)
SURE = {"click_rate": 1 - 1e-12, "value_spread": 0.0, "campaigns": 1, "users": 1, "days": 1.0}


def config(engagement: dict[str, float] | None = None, **fields: Any) -> AdsConfig:
    """Every impression is clicked, every click pays .5; one campaign, one user, one day."""
    from dataclasses import replace

    return AdsConfig(engagement=replace(PLAIN, **(engagement or {})), **(SURE | fields))


def test_a_cap_by_hand() -> None:
    """Two impressions a day and user: two clicks at .5, then only the house ad."""
    env = AdsEnv(config(impressions=4, frequency_cap=2, budget_share=(1.0, 1.0), house_value=0.01))
    told, _ = env.reset(seed=0)
    rewards = []
    for action, mask in ((0, [1, 1]), (0, [1, 1]), (1, [0, 1]), (1, [0, 1])):
        np.testing.assert_array_equal(told["mask"], mask)
        np.testing.assert_allclose(env.expected_rewards(), np.array([0.5, 0.01]) * mask)
        told, reward, over, cut, _ = env.step(action)
        rewards.append(reward)
    np.testing.assert_allclose(rewards, [0.5, 0.5, 0.01, 0.01])
    assert (over, cut) == (True, False)


def test_stocks_by_hand() -> None:
    """A budget of two clicks, every impression clicked, a cap of three a day: 2, 1, 0 clicks left, never capped.

    Then the sold-out campaign is shown in the shadow once: capped, nothing paid, nothing counted as an impression.
    """
    env = AdsVectorEnv(1, config(impressions=8, frequency_cap=3, budget_share=(0.25, 0.25)))
    env.reset(seed=0)
    for clicks in (2, 1, 0):
        left, is_open = env.stocks()
        np.testing.assert_array_equal(left, [[clicks, np.inf]])
        np.testing.assert_array_equal(is_open, [[True, True]])
        np.testing.assert_array_equal(env.allowed(), [[clicks > 0, True]])
        told, *_ = env.step(np.array([0 if clicks else 1]))
    impressions = told["campaign"][0, 0, CAMPAIGN_FEATURES.index("log_impressions")]
    env.shadow(np.array([[True, False]]))
    np.testing.assert_array_equal(env.stocks()[1], [[False, True]])
    told, reward, *_ = env.step(np.array([1]))
    assert reward[0] == 0.0
    assert told["campaign"][0, 0, CAMPAIGN_FEATURES.index("log_impressions")] == impressions
    assert told["campaign"][0, 0, CAMPAIGN_FEATURES.index("cap_left")] == 0.0


def test_a_cap_counts_days() -> None:
    """One impression a day, two days of two: allowed, capped, allowed, capped."""
    env = AdsEnv(config(impressions=4, frequency_cap=1, budget_share=(1.0, 1.0), days=2.0))
    told, _ = env.reset(seed=0)
    seen = []
    for _ in range(4):
        seen.append(int(told["mask"][0]))
        told, *_ = env.step(int(told["mask"].argmax()))
    assert seen == [1, 0, 1, 0]


def test_a_budget_by_hand() -> None:
    """Half of four clicks can be paid; the agent sees the budget fall, and its pacing."""
    env = AdsEnv(config(impressions=4, frequency_cap=9, budget_share=(0.5, 0.5)))
    told, _ = env.reset(seed=0)
    left, masks = [], []
    for _ in range(4):
        left.append(float(told["campaign"][0, CAMPAIGN_FEATURES.index("budget_left")]))
        masks.append(int(told["mask"][0]))
        told, *_ = env.step(int(told["mask"].argmax()))
    np.testing.assert_allclose(left, [1, 0.5, 0, 0], atol=1e-6)
    assert masks == [1, 1, 0, 0]
    assert told["campaign"][0, CAMPAIGN_FEATURES.index("pacing")] == pytest.approx(0, abs=1e-9)


def test_conversions_arrive_when_their_delay_is_over() -> None:
    """Every click converts at 20: rewards are the clicks, and those conversions whose time has come."""
    sure = {"conversion_rate": 1.0}
    env = AdsEnv(config(sure, impressions=48, frequency_cap=99, budget_share=(1.0, 1.0), days=2.0))
    env.reset(seed=11)
    now = np.array([(t + uniforms(11, 0, OF_TIME, t)[0]) * 1.0 for t in range(48)])
    due = now + [conversion_delay_hours(uniforms(11, 0, OF_CLICK, 2 * t + 1)[0]) for t in range(48)]
    arrived = 0
    for t in range(48):
        _, reward, over, _, info = env.step(0)
        until = now[t + 1] if t < 47 else 48.0
        count = int((due[: t + 1] <= until).sum()) - arrived
        arrived += count
        assert reward == pytest.approx(0.5 + 20 * count)
        assert info["hours"] == pytest.approx(now[t])
        assert (info["conversions"], info["pending_conversions"]) == (count, t + 1 - arrived)
        assert info["pending_value"] == pytest.approx(20 * (t + 1 - arrived))
        assert info["expected_reward"] == pytest.approx(20.5)
    assert over
    assert 0 < arrived < 48


def test_expected_rewards_come_at_the_click() -> None:
    env = AdsEnv(config({"conversion_rate": 0.1}, impressions=3, frequency_cap=9, reward="expected"))
    env.reset(seed=0)
    assert env.step(0)[1] == pytest.approx(0.5 + 0.1 * 20)
    assert env.step(1)[1] == 0


def test_nothing_is_lost_and_nothing_paid_twice() -> None:
    """Arrived plus pending is what clicks converted to: z below 4 against the expectation (false alarm 6 in
    100,000)."""
    lively = AdsConfig(impressions=200, click_rate=0.2, engagement=EngagementConfig(conversion_rate=0.2))
    env, choose = AdsVectorEnv(300, lively), random_choice(1)
    told, _ = env.reset(seed=1)
    got, want, clicks = np.zeros(300), np.zeros(300), np.zeros((300, 5), int)
    for t in range(200):
        action = choose(env, told)
        told, reward, over, _, infos = env.step(action)
        got, want = got + reward, want + infos["expected_reward"]
        clicks[np.arange(300)[action < 5], action[action < 5]] += infos["click"][action < 5].astype(int)
        assert over.all() == (t == 199)
    assert abs(z_of_difference(got + infos["pending_value"], want)) < 4
    assert (infos["pending_value"] > 0).any()
    seen = np.expm1(told["campaign"][:, :5, CAMPAIGN_FEATURES.index("log_clicks")] * np.log(1e4))
    np.testing.assert_allclose(seen, clicks, atol=1e-3)


def test_conversions_are_booked_on_their_campaign() -> None:
    """Campaigns are told apart by what a conversion pays: what arrived is conversions times that, for all campaigns."""
    lively = EngagementConfig(conversion_rate=0.5, conversion_value_sd=0.0)
    env, choose = (
        AdsVectorEnv(20, AdsConfig(impressions=200, click_rate=0.2, engagement=lively)),
        random_choice(1),
    )
    told, _ = env.reset(seed=1)
    arrived = np.zeros(20)
    for _ in range(200):
        told, _, _, _, infos = env.step(choose(env, told))
        arrived += infos["conversion_value"]
        told_of = told["campaign"][:, :5].astype(float)
        each = 20 * np.exp(told_of[..., CAMPAIGN_FEATURES.index("log_conversion_value")])
        count = np.expm1(told_of[..., CAMPAIGN_FEATURES.index("log_conversions")])
        np.testing.assert_allclose((each * count).sum(axis=1), arrived, rtol=1e-5, atol=1e-4)
    assert (count.sum(axis=1) > 5).all()


def test_no_budget_is_overspent_and_no_cap_exceeded() -> None:
    env = AdsVectorEnv(20, AdsConfig(impressions=300, users=3, click_rate=0.3))
    told, _ = env.reset(seed=2)
    choose = random_choice(2)
    for _ in range(300):
        left = told["campaign"][:, :5, CAMPAIGN_FEATURES.index("budget_left")]
        cap = told["campaign"][:, :5, CAMPAIGN_FEATURES.index("cap_left")]
        assert left.min() >= -1e-6
        assert cap.min() >= -1e-6
        assert (told["mask"][:, :5][cap < 1e-6] == 0).all()
        assert (told["mask"][:, 5] == 1).all()
        told, *_ = env.step(choose(env, told))
    assert left.min() < 0.2


def test_users_wear_out() -> None:
    """Peak 3, loss 1 a repetition: the fourth repetition is less likely to be clicked than the first showing,
    by hand."""
    tired = {"wear_in": 0.5, "wear_peak": 2.0, "wear_out": 1.0}
    env = AdsEnv(config(tired, click_rate=0.5, impressions=6, frequency_cap=9, budget_share=(2.0, 2.0)))
    env.reset(seed=0)
    got = [env.step(0)[4]["click_probability"] for _ in range(5)]
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-np.array([0.0, 0.5, 1.0, 0.0, -1.0]))))


def test_knowing_the_truth_pays_in_money() -> None:
    """z above 4 over 300 campaign periods (false alarm 3 in 100,000), in money that arrived."""
    env = AdsVectorEnv(300, AdsConfig(impressions=200, click_rate=0.1))
    assert z_of_difference(totals(env, oracle, 5), totals(env, random_choice(), 5)) > 4


@pytest.mark.parametrize(
    "fields", [{"reward": "fame"}, {"campaigns": 0}, {"budget_share": (0.0, 1.0)}, {"click_rate": 1.0}]
)
def test_configurations_that_make_no_sense(fields: Any) -> None:
    with pytest.raises(UsageError):
        AdsConfig(**fields)
