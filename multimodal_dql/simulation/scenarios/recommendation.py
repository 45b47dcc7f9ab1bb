"""A person's sessions in front of a world of stories: choose the variant of each story that is met.

The person is that of `multimodal_dql.simulation.engine`: tastes, boredom, wear-out, satisfaction, visits that
end and perhaps return. An episode is a person with all visits, so what clickbait costs later is part of it; that the
person does not come back is its termination.

Shape letters: ``N`` environments, ``K`` candidates, ``P`` content width, ``E`` encoders, ``R`` record width,
``C`` context width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates
from multimodal_dql.simulation import engine
from multimodal_dql.simulation.audience import CONTEXT, Audience, World
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.engine import Mechanics
from multimodal_dql.simulation.scenarios import recommendation_kernel as kernel
from multimodal_dql.simulation.scenarios.base import (
    AllowedDiscrete,
    Observation,
    Outcome,
    ScenarioEnv,
    ScenarioVectorEnv,
    require,
)
from multimodal_dql.simulation.sessions import Stage
from multimodal_dql.state import RECORD_WIDTH, State, record_features

__all__ = [
    "REWARDS",
    "RecommendationConfig",
    "RecommendationEnv",
    "RecommendationVectorEnv",
    "synthetic_world",
]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REWARDS = ("clicks", "dwell", "satisfaction", "value")
LIMIT = 10.0


@dataclass(frozen=True)
class RecommendationConfig:
    """The people, their world, and what an agent is told and paid.

    Attributes:
        engagement: of the people; every number has its source in `EngagementConfig`.
        reward: ``clicks``, 1 a click; ``dwell``, minutes of reading after a click; ``satisfaction``, of the
            person after the story, between 0 and 1, clicked or not, so that a long life in good spirits pays;
            ``value``, of the conversion that a click leads to, in the user's currency, at the time of the click.
        stories: of the synthetic world [assumed]. Not used with a world of one's own.
        variants: of each story there, K [assumed].
        content_width: P there: independent standard normal columns, as whitened embeddings are [assumed].
        world_seed: of the synthetic world; the seed of `reset` draws people, not the world.
        hidden_records: share of decisions at which no variant of the story has a record yet [assumed].
        record_impressions: of a story that has one, log-uniform between the two, split evenly over its
            variants [assumed].
    """

    engagement: EngagementConfig = field(default_factory=EngagementConfig)
    reward: str = "clicks"
    stories: int = 64
    variants: int = 4
    content_width: int = 12
    world_seed: int = 0
    hidden_records: float = 0.5
    record_impressions: tuple[float, float] = (50.0, 20_000.0)

    def __post_init__(self) -> None:
        low, high = self.record_impressions
        require(
            self.reward in REWARDS,
            f"reward: write one of {', '.join(REWARDS)}",
            f"reward：请写 {'、'.join(REWARDS)} 之一",
        )
        require(
            self.stories >= 1 and self.variants >= 2 and self.content_width >= 1,
            "a synthetic world needs 1 story or more, with 2 variants or more, and content_width of 1 or more",
            "合成世界至少需要 1 个故事、每个故事 2 个变体，content_width 至少为 1",
        )
        require(
            0.0 <= self.hidden_records <= 1.0 and 1.0 <= low <= high,
            "hidden_records lies between 0 and 1, record_impressions (low, high) are 1 or more",
            "hidden_records 应在 0 与 1 之间，record_impressions（下限, 上限）应不小于 1",
        )


def synthetic_world(c: RecommendationConfig) -> World:
    """A world of ``c.stories`` stories with ``c.variants`` variants each, one encoder, drawn from ``c.world_seed``."""
    n, p = c.stories * c.variants, c.content_width
    rng = np.random.Generator(np.random.Philox(key=[c.world_seed, 40]))
    content = np.clip(rng.standard_normal((n, p)), -4.0, 4.0).astype(np.float32)
    table = np.arange(n).reshape(c.stories, c.variants)
    none = np.zeros(table.shape, np.int64)
    pad = ((0, 1), (0, 0))
    present = np.ones((n, 1), np.float32)
    candidates = Candidates(
        np.pad(content, pad), np.pad(present, pad), table, np.ones(table.shape, np.bool_), none, none
    )
    return World.draw(Audience.draw(candidates, (p,), c.world_seed, c.engagement), candidates, c.world_seed)


class RecommendationVectorEnv(ScenarioVectorEnv):
    """`num_envs` people side by side. See the module and `RecommendationConfig`.

    Observation: ``content`` (K, P) and ``present`` (K, E) of the variants of the story met, ``record`` (K, R) as
    `multimodal_dql.state.record_features` has it, ``context`` (C,) as `CONTEXT` has it, ``mask`` (K,). Action:
    the variant. Info adds what the person did.

    Args:
        num_envs: N.
        config: the configuration.
        world: instead of the synthetic one; its own engagement parameters count.
        items: numbers of its stories that may be met; all by default.
        kwargs: of `ScenarioVectorEnv`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        config: RecommendationConfig | None = None,
        world: World | None = None,
        items: Ints | None = None,
        **kwargs: Any,
    ) -> None:
        self.config = config or RecommendationConfig()
        self.world = world or synthetic_world(self.config)
        self._stage = Stage.of(self.world, items)
        self._people = np.zeros((num_envs, self._stage.width))
        self._reward = REWARDS.index(self.config.reward)
        c = self.world.candidates
        require(bool(len(self._stage.items)), "items: name one story or more", "items：请至少给出一个故事")
        self._bound = float(np.ceil(max(np.abs(c.content).max(initial=0.0), 1.0)))
        fewest = int(c.available[self._stage.items].sum(axis=1).min())
        k = c.size
        super().__init__(
            num_envs,
            AllowedDiscrete(k, np.arange(k) < fewest),
            {
                "content": spaces.Box(-self._bound, self._bound, (k, c.content.shape[1]), np.float32),
                "present": spaces.MultiBinary((k, c.present.shape[1])),
                "record": spaces.Box(-LIMIT, LIMIT, (k, RECORD_WIDTH), np.float32),
                "context": spaces.Box(-1.0, 1.0, (CONTEXT.width,), np.float32),
            },
            **kwargs,
        )

    @property
    def item(self) -> Ints:
        """Number of the story that each person meets, (N,)."""
        return self._people[:, engine.ITEM].astype(np.int64)

    def state(self, told: Observation) -> State:
        """An observation as policies of `multimodal_dql.policies` take it."""
        return self.world.candidates.state(self.item, told["context"], told["record"])

    def allowed(self) -> Bools:
        """See `ScenarioVectorEnv`."""
        return np.asarray(self.world.candidates.available[self.item])

    def foresee(self) -> tuple[Array, Array, Array]:
        """What only a simulation knows of each variant now, (N, K) each, 0 where there is none.

        Returns:
            expected reward, without the chance in satisfaction; click probability; what showing it adds to the
            exposure behind satisfaction (`engine.value_of`).
        """
        out = np.zeros((3, self.num_envs, self.world.candidates.size))
        s = self._stage
        kernel.foresee(self._people, s.mechanics, s.truth, self.episode, self.key or 0, self._reward, out)
        return out[0], out[1], out[2]

    def expected_rewards(self) -> Array:
        """See `ScenarioVectorEnv`."""
        return self.foresee()[0]

    def _begin(self, envs: Ints) -> None:
        s = self._stage
        kernel.start(self._people, s.mechanics, s.truth, s.items, envs, self.episode, self.key or 0)

    def _advance(self, actions: Ints, live: Bools) -> Outcome:
        s = self._stage
        out, over = np.zeros((self.num_envs, 9)), np.zeros(self.num_envs, np.bool_)
        kernel.respond(
            self._people, s.mechanics, s.truth, s.items, actions, live, self.episode, self.key or 0,
            self._reward, out, over,
        )  # fmt: skip
        names = (
            "expected_reward", "click_probability", "click", "dwell_seconds", "satisfaction",
            "conversion_value", "conversion_delay_hours", "visit_over",
        )  # fmt: skip
        return Outcome(out[:, 0].copy(), over, {name: out[:, j + 1].copy() for j, name in enumerate(names)})

    def _observe(self) -> Observation:
        c, people, config = self.world.candidates, self._people, self.config
        rows = c.table[self.item]
        counts = np.zeros((2, *rows.shape), np.int64)
        low, high = config.record_impressions
        kernel.records(
            people, self._stage.truth, self.episode, self.key or 0, float(config.hidden_records),
            float(low), float(high), counts,
        )  # fmt: skip
        record = record_features(counts[0], counts[1], self.allowed(), self.world.config.base_click_rate)
        return {
            "content": c.content[rows],
            "present": c.present[rows].astype(np.int8),
            "record": np.clip(record, -LIMIT, LIMIT),
            "context": np.clip(CONTEXT.encode(_told(people, self._stage.mechanics)), -1.0, 1.0),
        }


def _told(people: Array, m: Mechanics) -> dict[str, Array]:
    """What the agent is told about people, a column a field of `CONTEXT`."""
    mood = 2.0 / (1.0 + np.exp(-m.sensitivity * people[:, engine.EXPOSURE])) - 1.0
    named = ("segment", "device", "hour", "returning")
    out = {name: people[:, engine.COLUMNS.index(name)] for name in named}
    return out | {"step": people[:, engine.STEP] / max(m.steps - 1, 1), "satisfaction": mood}


class RecommendationEnv(ScenarioEnv):
    """One person. See `RecommendationVectorEnv`."""

    def __init__(self, config: RecommendationConfig | None = None, **kwargs: Any) -> None:
        super().__init__(RecommendationVectorEnv(1, config, **kwargs))
