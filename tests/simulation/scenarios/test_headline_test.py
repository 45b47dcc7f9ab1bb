"""HeadlineTest-v0: episodes worked by hand, features against a plain reference, tests that are given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.policies.base import choose
from multimodal_dql.policies.registry import make_policy
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.scenarios import headline_kernel as kernel
from multimodal_dql.simulation.scenarios.allocation_features import ARM_FEATURES, TEST_FEATURES
from multimodal_dql.simulation.scenarios.headline_test import (
    HeadlineTestConfig,
    HeadlineTestEnv,
    HeadlineTestVectorEnv,
)

from .play import oracle, random_choice, totals, z_of_difference

SURE = {"rates": np.array([[0.0, 1.0]]), "horizon": np.array([10])}


def test_an_episode_by_hand() -> None:
    """Ten impressions in five stages of two; one arm is never clicked, the other always."""
    env = HeadlineTestEnv(HeadlineTestConfig(stages=5))
    told, _ = env.reset(seed=0, options=SURE)
    np.testing.assert_array_equal(told["mask"], [1, 1, 0, 0, 0, 0, 0, 0])
    rewards, left = [], [told["test"][1]]
    for arm in (0, 1, 1, 0, 1):
        told, reward, over, cut, info = env.step(arm)
        assert reward == info["expected_reward"] == 2 * arm
        assert info["stage_impressions"] == 2
        rewards.append(reward)
        left.append(told["test"][1])
    assert (over, cut) == (True, False)
    np.testing.assert_allclose(left, [1, 0.6, 0.2, -0.2, -0.6, -1], atol=1e-6)  # twice the share left, less 1
    np.testing.assert_array_equal(info["impressions"][:2], [4, 6])
    np.testing.assert_array_equal(info["clicks"][:2], [0, 6])


def test_advantage_by_hand() -> None:
    """Against the mean rate of .5, two impressions are worth one click more or one less."""
    env = HeadlineTestEnv(HeadlineTestConfig(stages=5, reward="advantage"))
    env.reset(seed=0, options=SURE)
    assert env.step(1)[1] == 1
    assert env.step(0)[1] == -1
    np.testing.assert_allclose(env.expected_rewards()[:2], [-1, 1])


def test_stages_share_a_horizon_that_does_not_divide() -> None:
    env = HeadlineTestVectorEnv(1, HeadlineTestConfig(stages=4))
    env.reset(seed=0, options={"rates": [[0.5, 0.5]], "horizon": [10]})
    sizes = [env.step(np.array([0]))[4]["stage_impressions"][0] for _ in range(4)]
    assert sizes == [2, 3, 2, 3]


def test_one_user_at_a_time() -> None:
    """A stage of one impression: a coin flip, as many steps as the horizon, rewards 0 or 1."""
    env = HeadlineTestVectorEnv(1, HeadlineTestConfig(stage_impressions=1))
    env.reset(seed=0, options={"rates": [[0.4, 0.6]], "horizon": [30]})
    steps = [env.step(np.array([1])) for _ in range(30)]
    assert {float(step[1][0]) for step in steps} == {0.0, 1.0}
    assert [bool(step[2][0]) for step in steps] == [False] * 29 + [True]


def reference(n: Any, s: Any, mean: Any, sd: Any, horizon: int, base: float) -> dict[str, Any]:
    """Features of the arms of one test, written plainly; see `allocation_features`."""
    ratio, t = np.exp(mean), n.sum()
    m = (s.sum() + 2.0) / ((n * ratio).sum() + 2.0 / base)
    x, worth = n * m, 1.0 / sd**2
    posterior = np.log((ratio * worth + s) / (worth + x))
    loose = np.log((ratio * worth / 4 + s) / (worth / 4 + x))
    spread = 1.0 / np.sqrt(worth + x)
    lead = []
    for k in range(len(n)):
        others = [j for j in range(len(n)) if j != k]
        best = max(others, key=lambda j: posterior[j])
        lead.append((posterior[k] - posterior[best]) / np.hypot(spread[k], spread[best]))
    free = np.where(n > 0, s / np.maximum(n, 1) + 0.08 * np.sqrt(np.log(t + 2) / np.maximum(n, 1e-9)), np.inf)
    pulled = (s + 1000 * m * ratio) / (n + 1000) + 0.08 * np.sqrt(np.log(t + 2) / (n + 1000))
    index = np.where(n > 0, np.minimum(free, pulled) / m, 1000.0)
    left = 1 - t / horizon
    scattered = 1 / (sd**2 + 1.8 / 3200 / m)
    wide = (ratio * scattered + s) / (scattered + x)
    bound = wide + 5 * np.sqrt(left) * np.sqrt(wide / (scattered + x))
    return {
        "prior_mean": 5 * mean,
        "prior_sd": 5 * sd - 1,
        "log_expected_clicks": np.log(1 + x) - 1,
        "log_clicks": np.log(1 + s) - 1,
        "gap": 5 * (posterior - posterior.max()),
        "loose_gap": 3 * (loose - loose.max()),
        "posterior_sd": 5 * spread,
        "lead": np.clip(lead, -5, 5),
        "raw_rate": np.log((s + 0.5) / (x + 0.5)),
        "traffic": n / t * len(n) - 1,
        "index_gap": np.maximum(2 * (index - index.max()), -5),
        "posterior_mean": 5 * posterior,
        "index_closeness": np.exp(10 * (index - index.max())),
        "shown": n > 0,
        "scattered_gap": 5 * np.log(wide / wide.max()),
        "optimistic_gap": np.maximum(2 * (bound - bound.max()), -5),
        "optimistic_closeness": np.exp(10 * (bound - bound.max())),
        "base_rate": np.log(m / base),
        "time_left": 2 * left - 1,
        "arms": np.log(len(n)) - 1.4,
        "log_horizon": np.log(horizon) - 7.5,
        "log_horizon_clicks": np.log(horizon * m) - 2.8,
        "log_clicks_left": np.log(1 + left * horizon * m / len(n)) - 1,
        "heterogeneity": np.log(1 + ((s - x * ratio) ** 2 / (x * ratio + 1)).sum()) - 1,
        "log_clicks_so_far": np.log(1 + (1 - left) * horizon * m / len(n)) - 1,
    }


def test_features_are_those_of_a_plain_reference() -> None:
    config = HeadlineTestConfig()
    env = HeadlineTestVectorEnv(30, config)
    choose = random_choice(1)
    told, _ = env.reset(seed=5)
    for _ in range(20):
        told, _, _, _, infos = env.step(choose(env, told))
    counts = env.counts
    assert counts.prior_sd is not None
    evidence = env._tests.evidence
    for i in range(30):
        live = told["mask"][i] == 1
        n, s = infos["impressions"][i][live], infos["clicks"][i][live]
        mean, sd = evidence.prior_mean[i][live], evidence.prior_sd[i][live]
        np.testing.assert_allclose(counts.prior_sd[i][live], sd)
        wanted = reference(n, s, mean, sd, int(env.horizon[i]), config.base_rate)
        assert set(wanted) == {*ARM_FEATURES, *TEST_FEATURES}
        for name, want in wanted.items():
            if name in TEST_FEATURES:
                got = told["test"][i, TEST_FEATURES.index(name)]
            else:
                got = told["arms"][i, live, ARM_FEATURES.index(name)]
            np.testing.assert_allclose(got, np.clip(want, -10, 10), rtol=1e-4, atol=1e-5, err_msg=name)
        assert (told["arms"][i, ~live] == 0).all()


def test_the_relative_reward_by_hand() -> None:
    """Two of ten impressions at 1 where the mean is .5 gain a fifth of (1 / .5 - 1), at 0 they lose as much."""
    env = HeadlineTestEnv(HeadlineTestConfig(stages=5, reward="relative"))
    env.reset(seed=0, options=SURE)
    assert env.step(1)[1] == pytest.approx(0.2)
    assert env.step(0)[1] == pytest.approx(-0.2)


def test_hindsight_pays_what_is_relative_less_what_was_to_be_expected_at_the_start() -> None:
    """Whatever is chosen: the same tests and the same random choices, step by step and in sum."""

    def returns(reward: str) -> tuple[Any, Any]:
        env = HeadlineTestVectorEnv(500, HeadlineTestConfig(stages=9, reward=reward, predicted_sd=(0.1, 0.2)))
        told, _ = env.reset(seed=6)
        start = np.array([kernel.hindsight(env._rules, env._tests, i) for i in range(500)])
        rng, total = np.random.default_rng(1), np.zeros(500)
        for step in range(9):
            arm = np.where(told["mask"] > 0, rng.random(told["mask"].shape), -1.0).argmax(axis=1)
            told, reward_of_step, over, _, info = env.step(arm)
            assert over.all() == (step == 8)
            if reward == "relative":
                np.testing.assert_array_equal(reward_of_step, info["expected_reward"])
            total += reward_of_step
        return total, start

    (plain, _), (shaped, start) = returns("relative"), returns("hindsight")
    assert np.abs(start).mean() > 0.05
    np.testing.assert_allclose(shaped, plain - start, atol=1e-12)


def test_hindsight_by_hand() -> None:
    """Rates a third below and above .03. Nothing known: the best at .35, traffic half and half. Half of the time over,
    posterior means 5 to 6: the second has (6 / 5)^15 = 15.4 times the traffic, the first 1 / 16.4 of it.
    """
    env = HeadlineTestVectorEnv(1, HeadlineTestConfig(stages=4, reward="hindsight"))
    env.reset(seed=0, options={"rates": [[0.02, 0.04]], "horizon": [4000]})
    assert kernel.hindsight(env._rules, env._tests, 0) == pytest.approx(0.35 / 3)
    t = env._tests
    t.elapsed[0] = 2000
    t.evidence.prior_mean[0, :2] = np.log(
        [0.5, 0.6]
    )  # its posterior is the prior as long as nothing was shown
    got = kernel.hindsight(env._rules, t, 0)
    shares = np.array([1.0, (6 / 5) ** 15]) / (1 + (6 / 5) ** 15)
    assert got == pytest.approx(0.5 * (0.35 / 4 / 3 + 0.99 * (shares[1] - shares[0]) / 3))


def test_a_prior_that_promises_too_much_has_a_smaller_slope() -> None:
    """8,000 tests, slopes from .2 to .6: .4 on average within 4 standard errors (false alarm 6 in 100,000)."""
    model = EngagementModel(within_df=30.0, arm_shares=(0.0, 0.0, 1.0))
    config = HeadlineTestConfig(model=model, predicted_sd=(0.2, 0.2), prior_slope=(0.2, 0.6))
    env = HeadlineTestVectorEnv(8000, config)
    env.reset(seed=2)
    prior, rates = env._tests.evidence.prior_mean[:, :4], env.true_rates[:, :4]
    logit = np.log(rates / (1 - rates))
    effect = logit - logit.mean(axis=1, keepdims=True)
    square = (prior**2).sum(axis=1)
    slope = (prior * effect).sum() / square.sum()
    error = np.sqrt((((prior * effect).sum(axis=1) - slope * square) ** 2).sum()) / square.sum()
    assert abs(slope - 0.4) < 4 * error
    assert error < 0.01
    # The spread of all arms stays what it was.
    assert effect.var() * 4 / 3 == pytest.approx(model.within_logit_sd**2, rel=0.08)


def test_tests_for_training_vary_in_spread_and_in_what_is_predicted() -> None:
    """4,000 tests: a third without a prior; where there is one, its spread and slope on the truth are as configured.

    Slope and shares within 4 standard errors (false alarm 6 in 100,000 each).
    """
    model = EngagementModel(within_df=30.0, arm_shares=(0.0, 0.0, 1.0))
    config = HeadlineTestConfig(model=model, within_sd=(0.3, 0.5), predicted_sd=(0.1, 0.2), unpredicted=1 / 3)
    env = HeadlineTestVectorEnv(4000, config)
    env.reset(seed=2)
    e, rates = env._tests.evidence, env.true_rates
    prior, logit = e.prior_mean[:, :4], np.log(rates[:, :4] / (1 - rates[:, :4]))
    effect = logit - logit.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(prior.sum(axis=1), 0.0, atol=1e-12)
    blind = (prior == 0).all(axis=1)
    assert abs(blind.mean() - 1 / 3) < 4 * np.sqrt(2 / 9 / 4000)
    np.testing.assert_allclose(e.prior_sd[blind, 0], model.within_logit_sd)
    known = ~blind
    assert prior[known].var() * 4 / 3 == pytest.approx(
        (0.2**3 - 0.1**3) / 0.3, rel=0.08
    )  # mean square of U(.1, .2)
    rest = effect[known] - prior[known]
    slope = (prior[known] * effect[known]).sum() / (prior[known] ** 2).sum()
    error = np.sqrt(((rest * prior[known]).sum(axis=1) ** 2).sum()) / (prior[known] ** 2).sum()
    assert abs(slope - 1.0) < 4 * error
    spread = effect.var() * 4 / 3
    assert spread == pytest.approx((0.5**3 - 0.3**3) / 0.6, rel=0.08)


@pytest.mark.parametrize("phi", [1.0, 1.8])
def test_finished_tests_scatter_by_what_their_clicks_leave_open(phi: float) -> None:
    """Equal true rates p, n impressions: what is seen has the variance ``phi p (1 - p) / n``, and no bias.

    6,000 tests of 4 arms, within 4 standard errors (false alarm 6 in 100,000 each; the variance of a count of 24 clicks
    has the kurtosis 3 + 1 / 24, with overdispersion somewhat more).
    """
    model = EngagementModel(
        base_logit_sd=0.0,
        within_logit_sd=0.0,
        arm_shares=(0.0, 0.0, 1.0),
        log_impressions_mean=float(np.log(2000.0)),
        log_impressions_test_sd=0.0,
        log_impressions_arm_sd=0.0,
        overdispersion=phi,
    )
    env = HeadlineTestVectorEnv(6000, HeadlineTestConfig(model=model, finished=1.0))
    env.reset(seed=4)
    seen, p = env.true_rates[:, :4], env.config.base_rate
    variance = phi * p * (1 - p) / 2000
    assert abs(seen.mean() - p) < 4 * np.sqrt(variance / 24_000)
    assert seen.var() == pytest.approx(variance, rel=4 * np.sqrt(2.5 / 24_000))
    np.testing.assert_allclose(seen * 2000, np.rint(seen * 2000), atol=1e-9)


def test_a_share_of_the_tests_is_finished_and_one_without_clicks_keeps_its_rates() -> None:
    model = EngagementModel(
        base_logit_sd=0.0, log_impressions_mean=float(np.log(2000.0)), log_impressions_arm_sd=0.0
    )
    model = replace(model, log_impressions_test_sd=0.0, log_impressions_arms_slope=0.0)
    env = HeadlineTestVectorEnv(2000, HeadlineTestConfig(model=model, finished=0.25))
    env.reset(seed=4)
    counts = env.true_rates[:, 0] * 2000
    share = float(np.isclose(counts, np.rint(counts), atol=1e-9).mean())
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)  # false alarm 6 in 100,000
    rare = HeadlineTestVectorEnv(
        50, HeadlineTestConfig(model=replace(model, base_logit_mean=-25.0), finished=1.0)
    )
    rare.reset(seed=4)
    assert (rare.true_rates[:, 0] > 0).all()


def test_drawn_tests_follow_the_model() -> None:
    """Means over 4,000 tests within 4 standard errors (false alarm 6 in 100,000 each)."""
    model = EngagementModel(base_logit_mean=-4.0, base_logit_sd=0.5, within_logit_sd=0.3, within_df=6.0)
    env = HeadlineTestVectorEnv(4000, HeadlineTestConfig(model=model, prior_correlation=0.5))
    told, _ = env.reset(seed=1)
    live, rates = told["mask"] == 1, env.true_rates
    shares = np.array(model.arm_shares[:7]) / sum(model.arm_shares[:7])
    got = np.bincount(live.sum(axis=1), minlength=9)[2:] / 4000
    assert (np.abs(got - shares) < 4 * np.sqrt(shares * (1 - shares) / 4000)).all()
    logit = np.log(rates[live] / (1 - rates[live]))
    test = np.repeat(np.arange(4000), live.sum(axis=1))
    mean = np.bincount(test, logit) / np.bincount(test)
    spread = np.sqrt((0.25 + 0.09 / live.sum(axis=1)).mean())
    assert abs(mean.mean() + 4.0) < 4 * spread / np.sqrt(4000)
    within = (logit - mean[test]) ** 2
    variance = within.sum() / (live.sum() - 4000)
    # A t of 6 degrees of freedom has kurtosis 6; the arms of a test share its scale, so that tests count, not arms.
    assert variance == pytest.approx(0.09, abs=4 * 0.09 * np.sqrt(5 / 4000))
    prior = told["arms"][..., 0][live] / 5.0
    effect = logit - mean[test]
    centred = prior - (np.bincount(test, prior) / np.bincount(test))[test]
    assert np.corrcoef(centred, effect)[0, 1] == pytest.approx(0.5, abs=4 / np.sqrt(len(effect) - 4000))
    per_arm = env.horizon / live.sum(axis=1)
    assert per_arm.min() >= 49
    assert per_arm.max() <= 1000
    assert np.log(per_arm).mean() == pytest.approx(
        np.log(50 * 1000) / 2, abs=4 * np.log(20) / np.sqrt(12 * 4000) + 0.01
    )


def test_no_correlation_is_no_prior() -> None:
    env = HeadlineTestVectorEnv(50, HeadlineTestConfig(prior_correlation=0.0))
    told, _ = env.reset(seed=1)
    assert (told["arms"][..., 0] == 0).all()
    np.testing.assert_allclose(
        (told["arms"][..., 1][told["mask"] == 1] + 1) / 5, env.config.model.within_logit_sd, rtol=1e-6
    )


def test_overdispersion_of_a_stage() -> None:
    """Variance of the clicks of 4,000 first stages over that of coin flips: 1.78 within 4 standard errors,
    about .25."""
    model = EngagementModel(overdispersion=1.78)
    env = HeadlineTestVectorEnv(4000, HeadlineTestConfig(model=model, stages=10))
    env.reset(seed=2, options={"rates": [[0.1, 0.1]], "horizon": [2000]})
    clicks = env.step(np.zeros(4000, int))[4]["stage_clicks"]
    assert abs(clicks.mean() - 20) < 4 * np.sqrt(1.78 * 18 / 4000)
    assert clicks.var(ddof=1) / 18 == pytest.approx(1.78, abs=0.25)


def test_given_tests_are_met_in_turn() -> None:
    rates = np.array([[0.1, 0.2, np.nan], [0.3, 0.4, 0.5], [0.6, np.nan, np.nan]])
    given = {"rates": rates, "horizon": [100, 200, 300], "prior_mean": np.arange(9).reshape(3, 3) / 10}
    env = HeadlineTestVectorEnv(2, HeadlineTestConfig(stages=2, most_arms=3))
    told, _ = env.reset(seed=0, options=given)
    np.testing.assert_array_equal(env.true_rates, np.nan_to_num(rates[:2]))
    np.testing.assert_array_equal(told["mask"], [[1, 1, 0], [1, 1, 1]])
    np.testing.assert_allclose(told["arms"][:, :, 0] / 5, [[0, 0.1, 0], [0.3, 0.4, 0.5]], atol=1e-6)
    np.testing.assert_array_equal(env.horizon, [100, 200])
    env.reset()
    np.testing.assert_array_equal(env.true_rates, np.nan_to_num(rates[[2, 0]]))
    env.reset(options={"tests": None})
    assert not np.isin(env.true_rates[:, :2], np.append(rates, 0.0)).any()


def test_finished_tests_can_be_run_again_at_their_observed_rates() -> None:
    env = HeadlineTestVectorEnv(1, HeadlineTestConfig())
    env.reset(seed=0, options={"impressions": [[100, 200, 0]], "clicks": [[5, 30, 0]]})
    np.testing.assert_array_equal(env.true_rates[0, :3], [0.05, 0.15, 0])
    assert env.allowed()[0].sum() == 2
    assert 2 * 49 <= env.horizon[0] <= 2 * 1000


def test_tests_of_a_model_can_be_given() -> None:
    tests = EngagementModel().sample(20, seed=3)
    env = HeadlineTestVectorEnv(20, HeadlineTestConfig(most_arms=9))
    env.reset(seed=0, options={"tests": tests})
    np.testing.assert_array_equal(env.allowed().sum(axis=1), tests.sizes)
    np.testing.assert_allclose(env.true_rates[env.allowed()], tests.true_rates)


def test_an_experiment_under_way_can_be_taken_over() -> None:
    env = HeadlineTestVectorEnv(1, HeadlineTestConfig(stages=2, most_arms=2))
    given = {"rates": [[0.0, 1.0]], "horizon": [10], "seen_impressions": [[50, 30]], "seen_clicks": [[4, 1]]}
    env.reset(seed=0, options=given)
    _, _, _, _, infos = env.step(np.array([1]))
    np.testing.assert_array_equal(infos["impressions"], [[50, 35]])
    np.testing.assert_array_equal(infos["clicks"], [[4, 6]])


def test_counts_are_those_that_policies_take() -> None:
    env = HeadlineTestVectorEnv(1, HeadlineTestConfig(stages=5, most_arms=2))
    env.reset(seed=0, options=SURE | {"prior_mean": [[0.0, 0.5]]})
    env.step(np.array([1]))
    counts = env.counts
    np.testing.assert_array_equal(counts.impressions, [[0, 2]])
    np.testing.assert_array_equal(counts.clicks, [[0, 2]])
    assert (counts.elapsed.tolist(), counts.horizon.tolist()) == ([2], [10])
    odds = np.exp(env.config.model.base_logit_mean + np.array([[0.0, 0.5]]))
    np.testing.assert_allclose(counts.prior_rate, odds / (1 + odds))
    env.reset(options=SURE)
    assert env.counts.prior_rate is None


@pytest.mark.parametrize("spec", ["ucb:z=0.04", "thompson", "eb-ucb"])
def test_policies_of_the_package_run_here(spec: str) -> None:
    """And beat equal traffic in clicks: z above 4 over 1,000 tests (false alarm 3 in 100,000)."""
    env, rng = HeadlineTestVectorEnv(1000), np.random.default_rng(0)
    policy = make_policy(spec)
    got = totals(env, lambda *_: choose(policy, env.state, rng.random(1000))[0], 6)
    assert z_of_difference(got, totals(env, random_choice(), 6)) > 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": [10]}, "give rates"),
        ({"rates": [0.1, 0.2]}, "rates: give"),
        ({"rates": np.full((1, 9), 0.1)}, "most_arms = 8"),
        ({"rates": [[0.1, 1.2]]}, "between 0 and 1"),
        ({"rates": [[np.nan, np.nan]]}, "one arm or more"),
        ({"rates": [[0.1, 0.2]], "horizon": [[10]]}, "horizon: give"),
        ({"rates": [[0.1, 0.2]], "horizon": [0]}, "1 impression or more"),
        ({"rates": [[0.1, 0.2]], "seen_clicks": [[1, 1]]}, "together"),
        ({"impressions": [[10, 10]], "clicks": [[11, 1]]}, "between 0 and the impressions"),
    ],
)
def test_given_tests_that_make_no_sense(options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        HeadlineTestVectorEnv(1).reset(options=options)


@pytest.mark.parametrize(
    "fields",
    [
        {"reward": "money"},
        {"most_arms": 1},
        {"impressions_per_arm": (5, 2)},
        {"prior_correlation": 2},
        {"finished": 1.5},
        {"within_sd": (2, 1)},
        {"prior_slope": (1, 0.5)},
    ],
)
def test_configurations_that_make_no_sense(fields: Any) -> None:
    with pytest.raises(UsageError):
        HeadlineTestConfig(**fields)


def test_a_rule_that_looks_at_counts_beats_chance_in_clicks() -> None:
    """z above 4 over 3,000 tests (false alarm 3 in 100,000): the arm of best posterior mean plus spread, and
    the oracle."""
    env = HeadlineTestVectorEnv(3000)
    chance = totals(env, random_choice(), 9)
    mean, sd = ARM_FEATURES.index("posterior_mean"), ARM_FEATURES.index("posterior_sd")

    def ucb(_: Any, told: Any) -> Any:
        index = told["arms"][..., mean] + 0.8 * told["arms"][..., sd]
        return np.where(told["mask"] == 1, index, -np.inf).argmax(axis=1)

    learned, best = totals(env, ucb, 9), totals(env, oracle, 9)
    assert z_of_difference(learned, chance) > 4
    assert z_of_difference(best, learned) > 4
