"""The setting of an offline A/B simulation: which audience, which agent, which policies by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from multimodal_dql.agent import Agent
from multimodal_dql.allocation.file import read_allocation
from multimodal_dql.allocation.policy import AllocationPolicy
from multimodal_dql.candidates import ContentProjection, candidate_table
from multimodal_dql.errors import CatalogueError, RunError, UsageError
from multimodal_dql.features import Features
from multimodal_dql.online import OnlineAgent, online_policy
from multimodal_dql.policies.base import Policy
from multimodal_dql.policies.dqn import DqnPolicy
from multimodal_dql.policies.registry import make_policy
from multimodal_dql.simulation.arms import Arm
from multimodal_dql.simulation.audience import Audience, World
from multimodal_dql.simulation.compare import permuted
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.engagement_json import read_engagement
from multimodal_dql.simulation.sessions import Stage
from multimodal_dql.training import read_audience

__all__ = ["FURTHER", "Setting", "arms_of", "read_config", "read_setting", "split_specs"]

LEARNED, SHUFFLED = "learned", "shuffled"


def _allocation(run: str = "run", open_horizon: float = 16_000.0) -> Policy:
    """The learned allocation of a run directory (`allocation fit`)."""
    return replace(read_allocation(Path(run)), open_horizon=open_horizon)


FURTHER: dict[str, Callable[..., Policy]] = {
    OnlineAgent.name: online_policy,
    AllocationPolicy.name: _allocation,
}
"""Policies that are no plain bandits: one that learns during the simulation, one that learned from past tests."""


@dataclass(frozen=True)
class Setting:
    """Where policies are compared.

    Attributes:
        agent: the trained agent, if one takes part.
        audience: the one it was trained in front of; None draws one when the catalogue is known.
        config: parameters of the engagement model.
        seed: of the audience, if it is drawn, and of the world.
    """

    agent: Agent | None
    audience: Audience | None
    config: EngagementConfig
    seed: int

    def stage(self, encoded: Features) -> Stage:
        """The audience in front of a catalogue. Raises `CatalogueError` for fewer than two stories."""
        if len(encoded.catalogue.items) < 2:
            raise CatalogueError(
                path=encoded.catalogue.path,
                detail="has 1 story, and a simulation needs at least 2; add stories",
                detail_zh="只有 1 个条目，而模拟至少需要 2 个；请增加条目",
            )
        projection = self.agent.projection if self.agent else ContentProjection.fit(encoded)
        candidates = candidate_table(encoded, projection)
        audience = self.audience or Audience.draw(
            candidates, projection.widths, self.seed, self.config, projection.past
        )
        return Stage.of(World.draw(audience.under(self.config), candidates, self.seed))


def read_config(
    engagement: Path | None, assume: Sequence[str] = (), base: EngagementConfig | None = None
) -> EngagementConfig:
    """The parameters of a fitted engagement model, then those assumed by name, everything else as in `base`.

    Raises:
        RunError: no fitted model there.
        UnknownNameError: no such parameter.
        UsageError: a number that it cannot have.
    """
    base = base or EngagementConfig()
    return (base if engagement is None else base.fitted(read_engagement(engagement))).assuming(assume)


def read_setting(
    agent: Path | None,
    engagement: Path | None,
    without: Sequence[str] = (),
    *,
    assume: Sequence[str] = (),
    seed: int = 0,
) -> Setting:
    """Read a run and a fitted model, change parameters, and switch mechanisms off.

    Raises:
        RunError: a run that is damaged, from a newer version, or put together from two.
        UnknownNameError: a mechanism or a parameter that there is not.
    """
    if agent is None:
        return Setting(None, None, read_config(engagement, assume).without(*without), seed)
    learned = Agent.load(agent)
    if "log" in learned.facts:
        # It never met an audience: one is drawn.
        return Setting(learned, None, read_config(engagement, assume).without(*without), seed)
    audience = read_audience(agent)
    if audience.widths != learned.projection.widths:
        raise RunError(
            path=agent,
            detail="its audience.json belongs to another run; copy the run again or train anew",
            detail_zh="其中的 audience.json 属于另一个运行；请重新复制或重新训练",
        )
    config = read_config(engagement, assume, audience.config).without(*without)
    return Setting(learned, audience, config, seed)


def arms_of(
    specs: Sequence[str],
    stage: Stage,
    agent: Agent | None,
    encoded: Features,
    *,
    seed: int,
    records: bool = False,
) -> list[Arm]:
    """Policies from their names; ``learned`` is the agent, ``shuffled`` the agent made blind as a control.

    A story of the training catalogue is decided by the members that left it out, a new story by all.

    Raises:
        UsageError: an agent is asked for and there is none.
        UnknownNameError: no such policy.
    """
    arms = []
    for spec in specs:
        if spec not in (LEARNED, SHUFFLED, "dqn"):
            arms.append(Arm(spec, make_policy(spec, seed=seed, extra=FURTHER)))
            continue
        if agent is None:
            raise UsageError(
                detail=f"policy '{spec}' is a trained agent; name its run with --agent RUN",
                detail_zh=f"策略 “{spec}” 是训练好的智能体；请用 --agent RUN 指明其运行目录",
            )
        item_ids = [item.item_id for item in encoded.catalogue.items]
        policy = DqnPolicy(agent, known=agent.known(item_ids), believed=True)
        seen = permuted(stage.world.candidates, seed) if spec == SHUFFLED else None
        arms.append(Arm(spec, policy, seen=seen, records=records and spec != SHUFFLED))
    return arms


def split_specs(policies: str) -> list[str]:
    """Split at the commas between policies, not at those between options of one: ``ucb:z=.04,first``."""
    parts: list[str] = []
    for part in policies.split(","):
        if "=" in part and ":" not in part and parts:
            parts[-1] += "," + part
        elif part.strip():
            parts.append(part)
    return parts
