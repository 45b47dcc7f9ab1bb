"""The offline test that follows every training: the agent against simple rules, and against itself made blind."""

from __future__ import annotations

from dataclasses import dataclass

from multimodal_dql.agent import Agent
from multimodal_dql.calibration import ReliabilityBin, reliability
from multimodal_dql.errors import CatalogueError
from multimodal_dql.evaluation.statistics import Comparison
from multimodal_dql.features import Features
from multimodal_dql.policies.base import First, Uniform
from multimodal_dql.policies.dqn import DqnPolicy
from multimodal_dql.simulation.audience import World
from multimodal_dql.simulation.compare import compare, outcome, permuted

__all__ = ["OfflineTest", "offline_test"]


@dataclass(frozen=True)
class OfflineTest:
    """Results of `offline_test`.

    Attributes:
        comparisons: learned over first, learned over uniform.
        control: learned over first with embeddings permuted among the variants; its interval should include 0.
        reliability: what the agent says of being best against what is true; see `reliability`.
    """

    comparisons: tuple[Comparison, ...]
    control: Comparison
    reliability: tuple[ReliabilityBin, ...] = ()


def offline_test(agent: Agent, world: World, encoded: Features, *, seed: int, sessions: int) -> OfflineTest:
    """Measure the agent on stories it did not learn from, records hidden, in paired simulated sessions.

    A story of the training catalogue is decided by the members that left it out; a new story by all. Raises
    `CatalogueError` for fewer than two stories.
    """
    if len(encoded.catalogue.items) < 2:
        raise CatalogueError(
            path=encoded.catalogue.path,
            detail="has 1 story, and an interval over stories needs at least 2; add stories",
            detail_zh="只有 1 个条目，而针对条目的区间至少需要 2 个；请增加条目",
        )
    item_ids = [item.item_id for item in encoded.catalogue.items]
    learned = DqnPolicy(agent, known=agent.known(item_ids), believed=True)
    outcomes = {
        policy.name: outcome(world, policy, seed=seed, sessions=sessions)
        for policy in (learned, First(), Uniform())
    }
    blind = permuted(world.candidates, seed)
    outcomes["permuted"] = outcome(world, learned, seed=seed, sessions=sessions, seen=blind)
    pairs = [("learned", "first"), ("learned", "uniform"), ("permuted", "first")]
    first, uniform, control = compare(outcomes, pairs, item_ids)
    return OfflineTest((first, uniform), control, reliability(agent, world))
