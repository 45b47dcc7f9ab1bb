"""A policy that learned for a few rounds, once for all tests here."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace

import pytest

from multimodal_dql.allocation.policy import AllocationPolicy
from multimodal_dql.allocation.training import STAGES, AllocationConfig, train_allocation
from multimodal_dql.simulation.engagement import EngagementModel
from tests.conftest import made_once
from tests.graphs import SharedAgents

SMALL = AllocationConfig(environments=256)
SMALL = replace(SMALL, learning=replace(SMALL.learning, steps=12 * 256 * STAGES, hidden=24, minibatch=512))
CLICKY = EngagementModel(base_logit_mean=-2.0)
"""Tests with many clicks, in which little learning goes a long way."""


@pytest.fixture(autouse=True, scope="module")
def _shared(shared_agents: SharedAgents) -> Iterator[None]:
    with shared_agents.used():
        yield


@pytest.fixture(scope="session")
def policy(shared_agents: SharedAgents, tmp_path_factory: pytest.TempPathFactory) -> AllocationPolicy:
    with made_once(tmp_path_factory, "allocation") as (folder, new), shared_agents.used():
        kept = folder / "policy.pickle"
        if new:
            kept.write_bytes(pickle.dumps(train_allocation(CLICKY, SMALL, seed=3)))
    made = pickle.loads(kept.read_bytes())
    assert isinstance(made, AllocationPolicy)
    return made
