"""Generated variants compete for an item while it lives: show one of those that are live, or retire one to make room.

An item lives for some stages of equal traffic. Each stage goes to one live variant, which may then wear out.
After a stage a new variant may arrive from the generator; it takes the lowest free slot, and is lost when
there is none. Retiring frees a slot and costs nothing: no traffic, no time, no reward. The last live variant
cannot be retired, so there is always something to show, and no endless retiring. The end of the item's life is
the termination.

Shape letters: ``N`` environments, ``K`` slots, ``P`` content width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from multimodal_dql.simulation.dynamics import logistic
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.scenarios import generation_kernel as kernel
from multimodal_dql.simulation.scenarios.arm_features import (
    ARM_FEATURES,
    LIMIT,
    TEST_FEATURES,
    Evidence,
    describe,
)
from multimodal_dql.simulation.scenarios.base import (
    AllowedDiscrete,
    Observation,
    Outcome,
    ScenarioEnv,
    ScenarioVectorEnv,
    require,
)

__all__ = ["VARIANT_FEATURES", "GenerationConfig", "GenerationEnv", "GenerationVectorEnv"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

VARIANT_FEATURES = (*ARM_FEATURES, "age")
"""`ARM_FEATURES`, and the share of the item's life since the variant arrived."""


@dataclass(frozen=True)
class GenerationConfig:
    """The items, their variants, and what an agent is told and paid.

    Attributes:
        model: of click rates and overdispersion; see `EngagementModel`.
        slots: K, variants live at once at most [assumed].
        initial: variants at the start, at least 2 and at most K [assumed].
        stages: of an item's life [assumed].
        stage_impressions: of each stage [assumed].
        arrival_rate: probability that a variant arrives after a stage [assumed].
        content_share: share of the variance of variants' effects that content tells
            [assumed; the `content_share` of `EngagementConfig`].
        content_width: P [assumed].
        world_seed: of what content means; the seed of `reset` draws items and variants.
        prior_correlation: of the simulated content prior with the effect, besides what ``content`` tells; see
            `HeadlineTestConfig`.
        pseudo_impressions: the same.
        novelty: logit that a variant has on top when it is new [form: novelty effect; size assumed].
        novelty_impressions: in which that falls to 1/e [assumed].
        wear_out: loss of logit for each e-fold of exposure beyond `wear_impressions` [form: Pechmann & Stewart 1988;
            size assumed].
        wear_impressions: exposure at which wear-out begins to be felt [assumed].
        reward: ``clicks`` of the stage, or ``expected``: their expectation, known to a simulation alone.
    """

    model: EngagementModel = field(default_factory=EngagementModel)
    slots: int = 6
    initial: int = 3
    stages: int = 100
    stage_impressions: int = 200
    arrival_rate: float = 0.2
    content_share: float = 0.7
    content_width: int = 8
    world_seed: int = 0
    prior_correlation: float = 0.25
    pseudo_impressions: float = 70.0
    novelty: float = 0.1
    novelty_impressions: float = 1000.0
    wear_out: float = 0.15
    wear_impressions: float = 2000.0
    reward: str = "clicks"

    def __post_init__(self) -> None:
        require(
            self.reward in ("clicks", "expected"),
            "reward: write clicks or expected",
            "reward：请写 clicks 或 expected",
        )
        counts = (self.stages, self.stage_impressions, self.content_width)
        require(
            2 <= self.initial <= self.slots and min(counts) >= 1,
            "initial lies between 2 and slots; stages, stage_impressions and content_width are 1 or more",
            "initial 应在 2 与 slots 之间；stages、stage_impressions、content_width 至少为 1",
        )
        shares = (self.arrival_rate, self.content_share, self.prior_correlation)
        scales = (self.novelty_impressions, self.wear_impressions, self.pseudo_impressions)
        require(
            all(0.0 <= share <= 1.0 for share in shares) and min(scales) > 0.0,
            "arrival_rate, content_share and prior_correlation lie between 0 and 1; scales of impressions are above 0",
            "arrival_rate、content_share、prior_correlation 应在 0 与 1 之间；各展示尺度应大于 0",
        )


def _rules(c: GenerationConfig) -> kernel.Rules:
    rng = np.random.Generator(np.random.Philox(key=[c.world_seed, 41]))
    weights = rng.standard_normal(c.content_width)
    own = ("arrival_rate", "content_share", "novelty", "novelty_impressions", "wear_out", "wear_impressions")
    return kernel.Rules(
        base_mean=float(c.model.base_logit_mean),
        base_sd=float(c.model.base_logit_sd),
        within_sd=float(c.model.within_logit_sd),
        within_df=float(c.model.within_df),
        phi=float(c.model.overdispersion),
        initial=int(c.initial),
        stages=int(c.stages),
        stage_impressions=int(c.stage_impressions),
        correlation=float(c.prior_correlation),
        expected=c.reward == "expected",
        weights=weights / np.linalg.norm(weights),
        **{name: float(getattr(c, name)) for name in own},
    )  # type: ignore[arg-type,unused-ignore]


class GenerationVectorEnv(ScenarioVectorEnv):
    """`num_envs` items side by side. See the module and `GenerationConfig`.

    Observation: ``content`` (K, P), ``arms`` (K, `VARIANT_FEATURES`), ``test`` (`TEST_FEATURES`,), ``mask`` (2
    K,). Action: ``k`` shows the variant of slot k, ``K + k`` retires it.
    """

    def __init__(self, num_envs: int = 1, config: GenerationConfig | None = None, **kwargs: Any) -> None:
        self.config = c = config or GenerationConfig()
        n, k = num_envs, c.slots
        self._rules = _rules(c)
        evidence = Evidence(
            np.zeros((n, k), np.bool_),
            np.zeros((n, k)),
            np.zeros((n, k)),
            np.zeros((n, k), np.int64),
            np.zeros((n, k), np.int64),
        )
        counts = (np.zeros(n, np.int64) for _ in range(3))
        self._items = kernel.Items(
            np.zeros((n, k, c.content_width)), np.zeros((n, k)), evidence, np.zeros((n, k), np.int64), *counts
        )
        super().__init__(
            num_envs,
            AllowedDiscrete(2 * k, np.arange(2 * k) % k < c.initial),
            {
                "content": spaces.Box(-4.0, 4.0, (k, c.content_width), np.float32),
                "arms": spaces.Box(-LIMIT, LIMIT, (k, len(VARIANT_FEATURES)), np.float32),
                "test": spaces.Box(-LIMIT, LIMIT, (len(TEST_FEATURES),), np.float32),
            },
            **kwargs,
        )

    def allowed(self) -> Bools:
        """See `ScenarioVectorEnv`."""
        live = self._items.evidence.live
        return np.concatenate([live, live & (live.sum(axis=1, keepdims=True) > 1)], axis=1)

    def expected_rewards(self) -> Array:
        """See `ScenarioVectorEnv`; retiring brings 0 by itself."""
        out = np.zeros((self.num_envs, 2 * self.config.slots))
        kernel.rates(self._rules, self._items, out[:, : self.config.slots])
        return out * self.config.stage_impressions

    def _begin(self, envs: Ints) -> None:
        kernel.draw(self._rules, self._items, envs, self.episode, self.key or 0)

    def _advance(self, actions: Ints, live: Bools) -> Outcome:
        out, over = np.zeros((self.num_envs, 4)), np.zeros(self.num_envs, np.bool_)
        kernel.play(self._rules, self._items, actions, live, self.episode, self.key or 0, out, over)
        info = {
            "expected_reward": out[:, 1].copy(),
            "click_probability": out[:, 2].copy(),
            "clicks": out[:, 3].astype(np.int64),
            "variants": self._items.variants.copy(),
        }
        return Outcome(out[:, 0].copy(), over, info)

    def _observe(self) -> Observation:
        t, c = self._items, self.config
        shape = t.logit.shape
        arms = np.zeros((*shape, len(ARM_FEATURES)), np.float32)
        tests = np.zeros((shape[0], len(TEST_FEATURES)), np.float32)
        base = float(logistic(c.model.base_logit_mean))
        describe(t.evidence, t.stage, t.life, base, float(c.pseudo_impressions), arms, tests)
        tests[:, TEST_FEATURES.index("log_horizon")] = np.log(c.stages * c.stage_impressions) / np.log(1e4)
        age = (t.stage[:, None] - t.born) * t.evidence.live / c.stages
        return {
            "content": t.content.astype(np.float32),
            "arms": np.concatenate([arms, age[..., None].astype(np.float32)], axis=2),
            "test": tests,
        }


class GenerationEnv(ScenarioEnv):
    """One item. See `GenerationVectorEnv`."""

    def __init__(self, config: GenerationConfig | None = None, **kwargs: Any) -> None:
        super().__init__(GenerationVectorEnv(1, config, **kwargs))
