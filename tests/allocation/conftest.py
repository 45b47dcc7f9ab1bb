"""A policy that learned for a few rounds, once for all tests here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multimodal_dql.allocation.policy import AllocationPolicy
from multimodal_dql.allocation.training import STAGES, AllocationConfig, train_allocation
from multimodal_dql.simulation.engagement import EngagementModel

SMALL = AllocationConfig(environments=256)
SMALL = replace(SMALL, learning=replace(SMALL.learning, steps=12 * 256 * STAGES, hidden=24, minibatch=512))
CLICKY = EngagementModel(base_logit_mean=-2.0)
"""Tests with many clicks, in which little learning goes a long way."""


@pytest.fixture(scope="session")
def policy() -> AllocationPolicy:
    return train_allocation(CLICKY, SMALL, seed=3)
