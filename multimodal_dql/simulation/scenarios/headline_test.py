"""Allocate the traffic of an A/B test over its horizon: each step chooses the arm that the next stage of
traffic goes to.

Tests are drawn from an `EngagementModel`, as many as training wants, or given (`HeadlineTestVectorEnv.reset`).
An episode is a test; that its horizon is reached is its termination.

Clicks of a stage are beta-binomial with the model's overdispersion (`draws.click_count`), drawn anew each stage:
the luck of a stage is not the arm's for the rest of the test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from multimodal_dql.simulation.dynamics import logistic
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.scenarios import headline_kernel as kernel
from multimodal_dql.simulation.scenarios.allocation_features import (
    ARM_FEATURES,
    LIMIT,
    TEST_FEATURES,
    describe,
)
from multimodal_dql.simulation.scenarios.arm_features import Evidence
from multimodal_dql.simulation.scenarios.base import (
    AllowedDiscrete,
    Observation,
    Outcome,
    ScenarioEnv,
    ScenarioVectorEnv,
    require,
)
from multimodal_dql.simulation.scenarios.given_tests import GIVEN, GivenTests
from multimodal_dql.state import Counts, State, record_features

__all__ = ["HeadlineTestConfig", "HeadlineTestEnv", "HeadlineTestVectorEnv"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class HeadlineTestConfig:
    """The tests, and what an agent is told and paid.

    Attributes:
        model: of click rates, overdispersion and numbers of arms; its defaults are those of the Upworthy Research
            Archive (base 1 to 1.35 %, standard deviation within a test about .25 logits with the tails of a t
            of 4 degrees of freedom, 1.8 times the variance of coin flips).
        most_arms: K; tests of the model with more are not drawn.
        impressions_per_arm: horizon over number of arms, log-uniform between the two [tau of Ye, Yoganarasimhan & Zheng
            2025, LOLA: 50 to 1,000].
        stages: steps of an episode, of equal traffic.
        stage_impressions: when above 0, impressions of a step instead of `stages`; 1 is one user at a time.
        prior_correlation: of the simulated content prior with the true within-test effect [measured: about .25 for a
            text prior on Upworthy]; 0 gives a prior that says nothing.
        within_sd: spread of the arms of a test, uniform between the two; that of `model` when None. An agent that is to
            allocate real tests had better meet narrower and wider ones.
        predicted_sd: standard deviation of what the content prior predicts of the arms of a test, uniform between the
            two; ``prior_correlation`` times the spread when None.
        prior_slope: of the true effects on what the content prior predicts of them, uniform between the two. 1 is a
            calibrated prior; one that was learned elsewhere promises more than it keeps, which is a slope below 1, and
            whoever is to use such a prior had better have met some.
        unpredicted: share of tests without a content prior.
        finished: share of tests whose arms have for their rates what a finished test would have shown of them: clicks
            over impressions, both drawn from `model`. Replays of real tests take these for true. They scatter more
            than true rates, and the more so the fewer clicks there are.
        record_overdispersion: of the clicks of `finished` tests; that of `model` when None.
        reward: ``clicks`` of the stage, or ``advantage``: impressions times the difference between the true rate of the
            arm and the mean true rate of the test, in expected clicks; or ``relative``: that over the mean rate and the
            horizon, so that an episode's return is the relative gain over an even split; or ``hindsight``: that, plus
            the change in `headline_kernel.hindsight`, what one who knows the true rates expects of the rest. Returns
            then differ from those of ``relative`` by a number that nothing chosen from here on changes (potential-based
            shaping, Ng, Harada & Russell 1999, with a potential hidden from the agent), so that the best policy is the
            same; and as most of what tells good tests from bad ones is gone from them, their variance given what the
            agent knows is half (first stages) to a seventh (last ones) of what it was. What a choice may expect
            (``expected_reward``) stays that of ``relative``. The last three are legitimate for training, because the
            tests are simulated, and not to be had from a real test.
    """

    model: EngagementModel = field(default_factory=EngagementModel)
    most_arms: int = 8
    impressions_per_arm: tuple[float, float] = (50.0, 1000.0)
    stages: int = 50
    stage_impressions: int = 0
    prior_correlation: float = 0.25
    within_sd: tuple[float, float] | None = None
    predicted_sd: tuple[float, float] | None = None
    prior_slope: tuple[float, float] = (1.0, 1.0)
    unpredicted: float = 0.0
    finished: float = 0.0
    record_overdispersion: float | None = None
    reward: str = "clicks"

    def __post_init__(self) -> None:
        low, high = self.impressions_per_arm
        require(
            self.reward in kernel.REWARDS,
            "reward: write clicks, advantage, relative or hindsight",
            "reward：请写 clicks、advantage、relative 或 hindsight",
        )
        require(
            self.most_arms >= 2 and self.stages >= 1 and self.stage_impressions >= 0 and 1 <= low <= high,
            "a headline test needs 2 arms or more, 1 stage or more, and impressions_per_arm (low, high) of 1 or more",
            "标题测试需要至少 2 个变体、至少 1 个阶段，以及不小于 1 的 impressions_per_arm（下限, 上限）",
        )
        require(
            all(0.0 <= x <= 1.0 for x in (self.prior_correlation, self.unpredicted, self.finished)),
            "prior_correlation, unpredicted and finished lie between 0 and 1",
            "prior_correlation、unpredicted 与 finished 应在 0 与 1 之间",
        )
        given = (self.within_sd, self.predicted_sd, self.prior_slope)
        ranges = [(0.0, 0.0) if r is None else r for r in given]
        require(
            all(0.0 <= low <= high for low, high in ranges),
            "within_sd, predicted_sd and prior_slope: give (low, high), 0 or more",
            "within_sd、predicted_sd 与 prior_slope：请给出（下限, 上限），不小于 0",
        )

    @property
    def base_rate(self) -> float:
        """Click rate of the average test; the agent's features are relative to it."""
        return float(logistic(self.model.base_logit_mean))


def _rules(c: HeadlineTestConfig) -> kernel.Rules:
    shares = np.array(c.model.arm_shares[: c.most_arms - 1], dtype=np.float64)
    within = c.within_sd or (c.model.within_logit_sd, c.model.within_logit_sd)
    predicted = c.predicted_sd or (0.0, 0.0)
    phi, traffic = c.record_overdispersion, c.model.traffic
    return kernel.Rules(
        base_mean=float(c.model.base_logit_mean),
        base_sd=float(c.model.base_logit_sd),
        within_low=float(within[0]),
        within_high=float(within[1]),
        within_df=float(c.model.within_df),
        phi=float(c.model.overdispersion),
        shares=np.cumsum(shares / shares.sum()),
        low=float(c.impressions_per_arm[0]),
        high=float(c.impressions_per_arm[1]),
        stages=int(c.stages),
        stage_impressions=int(c.stage_impressions),
        correlation=float(c.prior_correlation),
        predicted_low=float(predicted[0]),
        predicted_high=float(predicted[1]),
        slope_low=float(c.prior_slope[0]),
        slope_high=float(c.prior_slope[1]),
        unpredicted=float(c.unpredicted),
        nominal_sd=float(c.model.within_logit_sd),
        reward=kernel.REWARDS.index(c.reward),
        finished=float(c.finished),
        record_phi=float(c.model.overdispersion if phi is None else phi),
        traffic_mean=float(traffic.mean),
        traffic_test_sd=float(traffic.test_sd),
        traffic_arm_sd=float(traffic.arm_sd),
        traffic_base_slope=float(traffic.base_slope),
        traffic_arms_slope=float(traffic.arms_slope),
    )


class HeadlineTestVectorEnv(ScenarioVectorEnv):
    """`num_envs` tests side by side. See the module and `HeadlineTestConfig`.

    Observation: ``arms`` (K, `ARM_FEATURES`), ``test`` (`TEST_FEATURES`,), ``mask`` (K,). Action: the arm. Info adds
    ``impressions`` and ``clicks`` of every arm so far, (K,), as classical allocation rules want them.

    Options of `reset` run given tests instead of drawn ones: see `GivenTests`. Episode ``e`` is then test
    ``e mod G``; it stays so until a reset names other tests, or ``{"tests": None}`` returns to the model.
    """

    options = GIVEN

    def __init__(self, num_envs: int = 1, config: HeadlineTestConfig | None = None, **kwargs: Any) -> None:
        self.config = c = config or HeadlineTestConfig()
        n, k = num_envs, c.most_arms
        self._rules = _rules(c)
        evidence = Evidence(
            np.zeros((n, k), np.bool_),
            np.zeros((n, k)),
            np.zeros((n, k)),
            np.zeros((n, k), np.int64),
            np.zeros((n, k), np.int64),
        )
        counts = (np.zeros(n, np.int64) for _ in range(3))
        self._tests = kernel.Tests(np.zeros((n, k)), evidence, *counts)
        self._given: GivenTests | None = None
        super().__init__(
            num_envs,
            AllowedDiscrete(k, np.arange(k) < 2),
            {
                "arms": spaces.Box(-LIMIT, LIMIT, (k, len(ARM_FEATURES)), np.float32),
                "test": spaces.Box(-LIMIT, LIMIT, (len(TEST_FEATURES),), np.float32),
            },
            **kwargs,
        )

    @property
    def true_rates(self) -> Array:
        """Of the running tests, (N, K), 0 where there is no arm: what only a simulation knows."""
        return self._tests.rates.copy()

    @property
    def horizon(self) -> Ints:
        """Impressions of the running tests, (N,)."""
        return self._tests.horizon.copy()

    @property
    def state(self) -> State:
        """The running tests as policies of `multimodal_dql.policies` take them: counts and records, no content."""
        e = self._tests.evidence
        n, k = e.live.shape
        nothing = np.zeros((n, k, 0), np.float32)
        record = record_features(e.impressions, e.clicks, e.live, self.config.base_rate)
        context = np.zeros((n, 0), np.float32)
        return State(nothing, nothing, record, context, e.live.copy(), self.episode.copy(), self.counts)

    @property
    def counts(self) -> Counts:
        """The running tests as policies that learn from counts take them.

        The content prior is told as the click rate it predicts in the average test, and not at all when it
        knows nothing.
        """
        t, e = self._tests, self._tests.evidence
        prior = sd = None
        if e.prior_mean.any():
            rate = 1.0 / (1.0 + np.exp(-self.config.model.base_logit_mean - e.prior_mean))
            prior, sd = np.where(e.live, rate, np.nan), e.prior_sd.copy()
        return Counts(
            e.impressions.copy(),
            e.clicks.copy(),
            t.elapsed.astype(np.float64),
            t.horizon.astype(np.float64),
            prior,
            sd,
        )

    def _configure(self, options: dict[str, Any]) -> None:
        if options:
            none = set(options) == {"tests"} and options["tests"] is None
            self._given = None if none else GivenTests.of(options, self.config.most_arms)

    def _begin(self, envs: Ints) -> None:
        kernel.draw(self._rules, self._tests, envs, self.episode, self.key or 0)
        if self._given is not None:
            self._place(self._given, envs)

    def _place(self, given: GivenTests, envs: Ints) -> None:
        """Put the given tests where drawn ones are; what is not given is as drawn."""
        t, row = self._tests, self.episode[envs] % len(given.rates)
        arms = given.rates.shape[1]
        per_arm = t.horizon[envs] / t.evidence.live[envs].sum(axis=1)
        t.rates[envs] = 0.0
        t.rates[envs, :arms] = np.nan_to_num(given.rates[row])
        t.evidence.live[envs] = False
        t.evidence.live[envs, :arms] = ~np.isnan(given.rates[row])
        if given.horizon is not None:
            t.horizon[envs] = given.horizon[row]
        else:
            t.horizon[envs] = np.maximum(per_arm * t.evidence.live[envs].sum(axis=1), self.config.stages)
        mean, sd = given.prior_mean, given.prior_sd
        t.evidence.prior_mean[envs], t.evidence.prior_sd[envs] = 0.0, self.config.model.within_logit_sd
        if mean is not None:
            t.evidence.prior_mean[envs, :arms] = np.nan_to_num(mean[row])
        if sd is not None:
            t.evidence.prior_sd[envs, :arms] = np.nan_to_num(sd[row])
        if given.seen_impressions is not None and given.seen_clicks is not None:
            t.evidence.impressions[envs, :arms] = given.seen_impressions[row]
            t.evidence.clicks[envs, :arms] = given.seen_clicks[row]

    def allowed(self) -> Bools:
        """See `ScenarioVectorEnv`."""
        return self._tests.evidence.live

    def expected_rewards(self) -> Array:
        """See `ScenarioVectorEnv`."""
        out = np.zeros(self._tests.rates.shape)
        kernel.worths(self._rules, self._tests, out)
        return out

    def _advance(self, actions: Ints, live: Bools) -> Outcome:
        out, over = np.zeros((self.num_envs, 5)), np.zeros(self.num_envs, np.bool_)
        kernel.play(self._rules, self._tests, actions, live, self.episode, self.key or 0, out, over)
        e = self._tests.evidence
        info = {
            "expected_reward": out[:, 1].copy(),
            "click_probability": out[:, 2].copy(),
            "stage_impressions": out[:, 3].astype(np.int64),
            "stage_clicks": out[:, 4].astype(np.int64),
            "impressions": e.impressions.copy(),
            "clicks": e.clicks.copy(),
        }
        return Outcome(out[:, 0].copy(), over, info)

    def _observe(self) -> Observation:
        t, shape = self._tests, self._tests.rates.shape
        arms = np.zeros((*shape, len(ARM_FEATURES)), np.float32)
        tests = np.zeros((shape[0], len(TEST_FEATURES)), np.float32)
        describe(t.evidence, t.elapsed, t.horizon, self.config.base_rate, arms, tests)
        return {"arms": arms, "test": tests}


class HeadlineTestEnv(ScenarioEnv):
    """One test. See `HeadlineTestVectorEnv`."""

    def __init__(self, config: HeadlineTestConfig | None = None, **kwargs: Any) -> None:
        super().__init__(HeadlineTestVectorEnv(1, config, **kwargs))
