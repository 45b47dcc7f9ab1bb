"""Learn to allocate traffic: Q(lambda) on tests drawn from a fitted engagement model, as many as it takes.

The reward is the expected advantage of the chosen arm over the test's mean, which a simulation knows and which has no
luck of the draw in it, relative to the test's click rate, so that a test of few clicks teaches as much as one of many.
What one who knows the true rates would expect of a test's rest is taken out of the return, because it says nothing of
the choice (`simulation.scenarios.headline_kernel.hindsight`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

from multimodal_dql.allocation.network import AllocationNetwork
from multimodal_dql.allocation.policy import AllocationPolicy
from multimodal_dql.learning.parallel import ParallelConfig, train_parallel
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.scenarios.headline_test import HeadlineTestConfig, HeadlineTestVectorEnv

__all__ = ["ROUNDS", "STAGES", "AllocationConfig", "environment_of", "train_allocation"]

ROUNDS = 120
"""Of learning, by default."""
STAGES = 25
"""Steps of an episode; each sends that part of the traffic to one arm."""


@dataclass(frozen=True)
class AllocationConfig:
    """Settings of the training.

    Attributes:
        within_sd: spread of the true rates of a test's arms, uniform between the two: around what fits say.
        predicted_sd: standard deviation of what a content prior predicts, uniform between the two.
        prior_slope: of true effects on predicted ones, uniform between the two: a prior that another publisher's tests
            taught keeps less than it promises.
        unpredicted: share of tests without a prior.
        finished: share of tests whose rates are those that a finished test would show, which scatter more than the true
            ones; replays of past tests take them for true.
        impressions_per_arm: of the horizon, log-uniform between the two.
        environments: tests side by side.
        most_arms: tests of the model with more are not drawn.
        stages: steps of an episode.
        learning: of the network; one round is an episode of every environment.
    """

    within_sd: tuple[float, float] = (0.2, 0.32)
    predicted_sd: tuple[float, float] = (0.06, 0.2)
    prior_slope: tuple[float, float] = (0.5, 1.1)
    unpredicted: float = 0.25
    finished: float = 0.5
    impressions_per_arm: tuple[float, float] = (45.0, 1100.0)
    environments: int = 2048
    most_arms: int = 8
    stages: int = STAGES
    learning: ParallelConfig = field(
        default_factory=lambda: ParallelConfig(
            steps=ROUNDS * 2048 * STAGES,
            rollout=STAGES,
            epochs=2,
            minibatch=2048,
            discount=1.0,
            trace=1.0,
            learning_rate=1e-3,
            weight_decay=1e-4,
            clip_norm=5.0,
            epsilon=0.3,
            epsilon_end=0.01,
            epsilon_share=0.6,
            hidden=64,
        )
    )

    def of_rounds(self, rounds: int) -> Self:
        """The same with so many rounds of learning."""
        steps = rounds * self.environments * self.stages
        return replace(self, learning=replace(self.learning, steps=steps, rollout=self.stages))


def environment_of(model: EngagementModel, config: AllocationConfig) -> HeadlineTestVectorEnv:
    """The tests that it learns from. Clicks are coin flips, as `HeadlineTestConfig` has them at overdispersion 1."""
    return HeadlineTestVectorEnv(
        config.environments,
        HeadlineTestConfig(
            model=replace(model, overdispersion=1.0),
            impressions_per_arm=config.impressions_per_arm,
            stages=config.stages,
            most_arms=config.most_arms,
            within_sd=config.within_sd,
            predicted_sd=config.predicted_sd,
            prior_slope=config.prior_slope,
            unpredicted=config.unpredicted,
            finished=config.finished,
            record_overdispersion=model.overdispersion,
            reward="hindsight",
        ),
    )


def train_allocation(
    model: EngagementModel,
    config: AllocationConfig | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> AllocationPolicy:
    """Learn from tests of `model`. Raises `TrainingError` when a number became NaN or infinite."""
    config = config or AllocationConfig()
    env = environment_of(model, config)
    agent = train_parallel(env, replace(config.learning, seed=seed), progress=progress)
    network = AllocationNetwork.of(agent.network, agent.adapter)
    return AllocationPolicy(network, env.config.base_rate, model.within_logit_sd)
