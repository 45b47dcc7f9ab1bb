"""Where a training's experience comes from: sessions that are simulated as it goes, or a log of decisions.

`Source` is what the loop (`multimodal_dql.training_loop`) asks; `Simulated` answers here, a log in
`multimodal_dql.logged`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import Agent
from multimodal_dql.calibration import calibrate
from multimodal_dql.candidates import Candidates
from multimodal_dql.last_layer import LastLayer
from multimodal_dql.policies.base import Uniform
from multimodal_dql.policies.dqn import DqnPolicy
from multimodal_dql.simulation.audience import World
from multimodal_dql.simulation.sessions import Stage, run_sessions
from multimodal_dql.simulation.typical import typical_users
from multimodal_dql.train_config import TrainConfig
from multimodal_dql.transitions import Visits, labels, session_returns

__all__ = ["Met", "Simulated", "Source"]

PILOT = 1 << 34
"""Added to the seed: sessions that only measure the size of returns are not those of the training."""


@dataclass(frozen=True)
class Met:
    """What an iteration meets.

    Attributes:
        fresh: to be remembered; None when all is in the replay already.
        starts: sessions whose first step is valued, (S, at least 1).
        returns: (S,) their discounted returns, in average clicks.
        row: for the metrics.
    """

    fresh: Visits | None
    starts: Visits
    returns: NDArray[np.float64]
    row: dict[str, float]


class Source(Protocol):
    """Where experience comes from.

    Attributes:
        candidates: the variants of every story.
        base_rate: clicks an impression.
        origin: what a checkpoint must agree on: the audience as JSON, or the hash of a log.
        facts: what the run says of it.
        valued: sessions whose start is valued in an iteration, at most.
    """

    @property
    def candidates(self) -> Candidates: ...  # noqa: D102
    @property
    def base_rate(self) -> float: ...  # noqa: D102
    @property
    def origin(self) -> str: ...  # noqa: D102
    @property
    def facts(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def valued(self) -> int: ...  # noqa: D102

    def users(self, seed: int) -> NDArray[np.float64]:
        """Typical users, (users, fields of the context)."""

    def room(self, config: TrainConfig) -> int:
        """Transitions that the replay keeps."""

    def largest_return(self, config: TrainConfig) -> float:
        """The largest discounted return from any step of some sessions, in average clicks."""

    def meet(self, agent: Agent, iteration: int, config: TrainConfig, rng: np.random.Generator) -> Met:
        """The experience of an iteration, counted from 0."""

    def calibrate(self, agent: Agent) -> LastLayer:
        """How far the agent is from the truth."""


class Simulated:
    """Sessions in front of a simulated audience, chosen epsilon-greedily by the agent that learns."""

    valued = 256  # one padded batch of the agent

    def __init__(self, world: World) -> None:
        self.world, self.stage = world, Stage.of(world)
        self.candidates, self.base_rate = world.candidates, world.config.base_click_rate
        self.origin = world.audience.to_json()
        self.facts: dict[str, Any] = {"audience": asdict(world.config)}

    def users(self, seed: int) -> NDArray[np.float64]:
        """See `Source`."""
        return typical_users(self.stage, seed)

    def room(self, config: TrainConfig) -> int:
        """See `Source`."""
        return config.replay

    def largest_return(self, config: TrainConfig) -> float:
        """Of as many sessions as an iteration has, chosen at random."""
        ids = np.arange(config.sessions)
        steps = run_sessions(self.stage, Uniform(), seed=config.seed + PILOT, ids=ids)
        reward = np.where(steps.active, labels(steps, config) / self.base_rate, 0.0)
        total = np.zeros_like(reward[:, 0])
        largest = 0.0
        for t in reversed(range(reward.shape[1])):
            total = reward[:, t] + config.discount * total
            largest = max(largest, float(total.max()))
        return largest

    def meet(self, agent: Agent, iteration: int, config: TrainConfig, rng: np.random.Generator) -> Met:
        """See `Source`; `rng` draws synthetic records, sessions have streams of their own."""
        policy = DqnPolicy(agent, config.epsilon_at(iteration))
        ids = np.arange(iteration * config.sessions, (iteration + 1) * config.sessions)
        steps = run_sessions(self.stage, policy, seed=config.seed, ids=ids, record_rng=rng)
        row = {"epsilon": policy.epsilon, "click_rate": float(labels(steps, config)[steps.active].mean())}
        return Met(steps, steps, session_returns(steps, self.base_rate, config), row)

    def calibrate(self, agent: Agent) -> LastLayer:
        """See `multimodal_dql.calibration`."""
        return calibrate(agent, self.world)
