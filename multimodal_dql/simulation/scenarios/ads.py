"""Place ads: for each impression choose a campaign, whose clicks pay at once and whose conversions arrive much later.

An episode is a campaign period of some days. Users come back and wear out, are capped, budgets run dry, and
most of the value of a click may arrive after others have been shown: 35 % of conversions within an hour, half
within a day, the rest within 30 days (Chapelle 2014). The end of the period is the termination; what has not
arrived by then is in the info (``pending_conversions``, ``pending_value``) and is not paid.

Campaigns are drawn anew for every episode; what content means stays the same, so it can be learned.

Shape letters: ``N`` environments, ``K`` campaigns, ``P`` content width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from multimodal_dql.simulation.audience import SEGMENTS
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.scenarios import ads_market as market
from multimodal_dql.simulation.scenarios.base import (
    AllowedDiscrete,
    Observation,
    Outcome,
    ScenarioEnv,
    ScenarioVectorEnv,
    require,
)
from multimodal_dql.simulation.scenarios.recommendation import RecommendationConfig, synthetic_world

__all__ = ["CAMPAIGN_FEATURES", "INFO", "USER_FEATURES", "AdsConfig", "AdsEnv", "AdsVectorEnv"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CAMPAIGN_FEATURES = (
    "log_click_value",
    "log_conversion_value",
    "budget_left",
    "pacing",
    "click_share_of_budget",
    "log_exposures_of_user",
    "cap_left",
    "log_impressions",
    "log_clicks",
    "log_rate",
    "log_conversions",
)
"""Of a campaign. Values are relative to the mean value; ``pacing`` is the share of the budget spent minus the
share of the period gone; ``cap_left`` is the share of the user's daily cap; ``log_rate`` is the click rate so
far over the base rate, under 200 pseudo-impressions; conversions are those that have arrived. The house ad has
zeros."""

USER_FEATURES = (*SEGMENTS, "hour_sin", "hour_cos", "time_gone", "log_exposures")
"""Of the user who looks now, and of the time."""

INFO = (
    "expected_reward",
    "click_probability",
    "click",
    "conversions",
    "conversion_value",
    "pending_conversions",
    "pending_value",
    "hours",
)
"""Names in the info of a step. ``expected_reward`` counts the click and the conversion it will bring, whenever
that arrives; ``conversions`` and ``conversion_value`` are those that arrived before the next impression;
``hours`` is the time of the impression."""


@dataclass(frozen=True)
class AdsConfig:
    """The market, and what an agent is paid.

    Attributes:
        engagement: of users; clicks, wear-out, tastes and conversions follow it, each number with its source there.
        campaigns: K [assumed]. One more action, the last, shows a house ad.
        days: of the campaign period [assumed].
        impressions: of an episode, T, spread evenly over the period [assumed].
        users: among whom the impressions fall, a few of whom come often [assumed].
        frequency_cap: impressions of a campaign to one user in a day [assumed; 3 is a common setting].
        click_rate: of the average campaign [assumed; display ads get less, search ads more].
        click_value: mean over campaigns of what a click pays, in the publisher's currency [assumed].
        conversion_value: mean over campaigns of what a conversion pays on top [assumed].
        value_spread: standard deviation of the logarithm of both between campaigns [assumed].
        budget_share: budget of a campaign in clicks, over those that the whole traffic brings at the average rate;
            log-uniform between the two, and never below one click [assumed]. It pays clicks; conversions are
            not limited.
        house_value: of an impression of the house ad.
        content_width: P [assumed].
        world_seed: of what content means and of the segments' tastes; the seed of `reset` draws campaigns and users.
        reward: ``arrived``: value of the click now, and of the conversions that arrive before the next impression;
            ``expected``: expected value of the click and of the conversion that it will bring, without luck and
            without delay. The latter is known to a simulation alone.
    """

    engagement: EngagementConfig = field(default_factory=EngagementConfig)
    campaigns: int = 5
    days: float = 3.0
    impressions: int = 1000
    users: int = 100
    frequency_cap: int = 3
    click_rate: float = 0.02
    click_value: float = 0.5
    conversion_value: float = 20.0
    value_spread: float = 0.4
    budget_share: tuple[float, float] = (0.1, 0.5)
    house_value: float = 0.0
    content_width: int = 8
    world_seed: int = 0
    reward: str = "arrived"

    def __post_init__(self) -> None:
        require(
            self.reward in ("arrived", "expected"),
            "reward: write arrived or expected",
            "reward：请写 arrived 或 expected",
        )
        counts = (self.campaigns, self.impressions, self.users, self.frequency_cap, self.content_width)
        low, high = self.budget_share
        require(
            min(counts) >= 1 and min(self.days, self.click_value, self.conversion_value) > 0,
            "campaigns, impressions, users, frequency_cap and content_width are 1 or more; days and values are above 0",
            "campaigns、impressions、users、frequency_cap、content_width 至少为 1；days 与各项价值应大于 0",
        )
        require(
            0 < self.click_rate < 1 and 0 < low <= high and self.value_spread >= 0,
            "click_rate lies between 0 and 1; budget_share (low, high) is above 0; value_spread is not negative",
            "click_rate 应在 0 与 1 之间；budget_share（下限, 上限）应大于 0；value_spread 不为负",
        )


def _rules(c: AdsConfig) -> market.Rules:
    e = c.engagement
    world = RecommendationConfig(engagement=e, content_width=c.content_width, world_seed=c.world_seed)
    audience = synthetic_world(world).audience
    rate = e.conversion_rate
    logit = math.log(rate / (1.0 - rate)) if 0.0 < rate < 1.0 else math.copysign(math.inf, rate - 0.5)
    own = ["taste_sd", "hour_effect", "wear_in", "wear_peak", "wear_out"]
    own += ["conversion_match", "conversion_regret", "conversion_value_sd"]
    paid = ("click_value", "conversion_value", "house_value", "value_spread")
    return market.Rules(
        impressions=int(c.impressions),
        hours=24.0 * c.days,
        users=int(c.users),
        cap=int(c.frequency_cap),
        base_logit=math.log(c.click_rate / (1.0 - c.click_rate)),
        luck_sd=math.sqrt(1.0 - e.content_share) * e.within_sd,
        luck_df=float(e.within_df),
        conversion_logit=logit,
        budget_low=float(c.budget_share[0]),
        budget_high=float(c.budget_share[1]),
        on_arrival=c.reward == "arrived",
        content=audience.content,
        clickbait=audience.clickbait,
        axes=np.ascontiguousarray(audience.axes),
        taste=audience.taste,
        personal=audience.personal,
        **{name: float(getattr(e, name)) for name in own},
        **{name: float(getattr(c, name)) for name in paid},
    )  # type: ignore[arg-type,unused-ignore]


class AdsVectorEnv(ScenarioVectorEnv):
    """`num_envs` campaign periods side by side. See the module and `AdsConfig`.

    Observation: ``content`` (K + 1, P), ``campaign`` (K + 1, `CAMPAIGN_FEATURES`), ``user``
    (`USER_FEATURES`,), ``mask`` (K + 1,). Action: the campaign; K, the last, is the house ad. Masked are
    campaigns that this user has seen as often today as the cap allows, and those that cannot pay one more click.
    """

    def __init__(self, num_envs: int = 1, config: AdsConfig | None = None, **kwargs: Any) -> None:
        self.config = c = config or AdsConfig()
        self._rules = _rules(c)
        self._market = market.empty_market(num_envs, c.campaigns, self._rules)
        k = c.campaigns + 1
        limit = market.LIMIT
        super().__init__(
            num_envs,
            AllowedDiscrete(k, np.ones(k, np.bool_)),
            {
                "content": spaces.Box(-4.0, 4.0, (k, c.content_width), np.float32),
                "campaign": spaces.Box(-limit, limit, (k, len(CAMPAIGN_FEATURES)), np.float32),
                "user": spaces.Box(-limit, limit, (len(USER_FEATURES),), np.float32),
            },
            **kwargs,
        )

    def allowed(self) -> Bools:
        """See `ScenarioVectorEnv`."""
        out = np.zeros((self.num_envs, self.config.campaigns + 1), np.bool_)
        market.allowed(self._rules, self._market, out)
        return out

    def stocks(self) -> tuple[Array, Bools]:
        """What the actions use up, (N, K + 1) each.

        Returns:
            left: clicks that the campaign's budget can still pay; inf for the house ad.
            open: not capped for the user who looks now, so allowed if the budget pays.
        """
        left, free = np.full((self.num_envs, self.config.campaigns + 1), np.inf), self.allowed()
        market.stocks(self._rules, self._market, left, free)
        return left, free

    def shadow(self, shown: Bools) -> None:
        """Wear out and cap sold-out campaigns as if they had been shown to the user who looks now, (N, K + 1)."""
        market.shadow(self._market, shown)

    def expected_rewards(self) -> Array:
        """Expected value of each action, conversions included whenever they arrive; see `ScenarioVectorEnv`."""
        out = np.zeros((self.num_envs, self.config.campaigns + 1))
        market.worths(self._rules, self._market, self.allowed(), out)
        return out

    def _begin(self, envs: Ints) -> None:
        market.draw(self._rules, self._market, envs, self.episode, self.key or 0)

    def _advance(self, actions: Ints, live: Bools) -> Outcome:
        out, over = np.zeros((self.num_envs, 1 + len(INFO))), np.zeros(self.num_envs, np.bool_)
        market.show(self._rules, self._market, actions, live, self.episode, self.key or 0, out, over)
        info: dict[str, NDArray[Any]] = {name: out[:, j + 1].copy() for j, name in enumerate(INFO)}
        for name in ("conversions", "pending_conversions"):
            info[name] = info[name].astype(np.int64)
        return Outcome(out[:, 0].copy(), over, info)

    def _observe(self) -> Observation:
        n, k, c = self.num_envs, self.config.campaigns, self._market.content
        content = np.zeros((n, k + 1, c.shape[2]), np.float32)
        content[:, :k] = c
        campaigns = np.zeros((n, k + 1, len(CAMPAIGN_FEATURES)), np.float32)
        users = np.zeros((n, len(USER_FEATURES)), np.float32)
        market.describe(self._rules, self._market, campaigns, users)
        return {"content": content, "campaign": campaigns, "user": users}


class AdsEnv(ScenarioEnv):
    """One campaign period. See `AdsVectorEnv`."""

    def __init__(self, config: AdsConfig | None = None, **kwargs: Any) -> None:
        super().__init__(AdsVectorEnv(1, config, **kwargs))
