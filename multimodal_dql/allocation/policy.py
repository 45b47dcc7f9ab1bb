"""The learned allocation as a policy: it reads counts, the horizon and the content prior, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.policies.base import Policy, available_counts, check_option, split_best
from multimodal_dql.simulation.scenarios.allocation_features import ARM_FEATURES, TEST_FEATURES, describe
from multimodal_dql.simulation.scenarios.arm_features import Evidence
from multimodal_dql.state import Counts, State

__all__ = ["AllocationPolicy", "OptimisticIndex", "Scores", "evidence_of"]

Float = NDArray[np.float64]


class Scores(Protocol):
    """What ranks the arms: a learned network, or a formula."""

    def advantages(
        self, arms: NDArray[np.float32], tests: NDArray[np.float32], available: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """See `multimodal_dql.allocation.network.AllocationNetwork.advantages`."""
        ...


class OptimisticIndex:
    """The upper bound `allocation_features.optimistic`, one of the features of the network, as a rule of its own."""

    def advantages(
        self, arms: NDArray[np.float32], tests: NDArray[np.float32], available: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """See `Scores`."""
        return np.asarray(arms[:, :, ARM_FEATURES.index("optimistic_gap")])


@dataclass
class AllocationPolicy(Policy):
    """The arm of highest advantage; equal ones share the traffic evenly.

    Attributes:
        network: what ranks the arms, learned.
        base_rate: click rate of the average test that it learned from.
        blank_sd: standard deviation of an arm's logit effect when no content prior says anything about it.
        open_horizon: impressions taken as what is left of an experiment without a planned end.
    """

    network: Scores
    base_rate: float
    blank_sd: float
    open_horizon: float = 16_000.0

    name = "allocation"
    reads_context = False

    def __post_init__(self) -> None:
        self.open_horizon = check_option(self.name, "open_horizon", self.open_horizon, 1.0)

    def probabilities(self, state: State) -> Float:
        """See `Policy`."""
        _, _, counts = available_counts(state)
        evidence = evidence_of(counts, state.available, self.blank_sd)
        planned = np.isfinite(counts.horizon)
        horizon = np.where(planned, counts.horizon, counts.elapsed + self.open_horizon)
        b, k = state.available.shape
        arms = np.zeros((b, k, len(ARM_FEATURES)), np.float32)
        tests = np.zeros((b, len(TEST_FEATURES)), np.float32)
        elapsed = np.minimum(counts.elapsed, horizon)
        describe(evidence, elapsed, np.maximum(horizon, 1.0), self.base_rate, arms, tests)
        advantage = self.network.advantages(arms, tests, state.available).astype(np.float64)
        return split_best(advantage, state.available)


def evidence_of(counts: Counts, available: NDArray[np.bool_], blank_sd: float) -> Evidence:
    """Counts as `describe` takes them; a predicted rate becomes an effect around the mean of its siblings'."""
    shape = available.shape
    mean, sd = np.zeros(shape), np.full(shape, blank_sd)
    if counts.prior_rate is not None:
        known = available & np.isfinite(counts.prior_rate)
        rate = np.clip(np.where(known, counts.prior_rate, 0.5), 1e-9, 1.0 - 1e-9)
        logit = np.where(known, np.log(rate / (1.0 - rate)), 0.0)
        centre = logit.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
        mean = np.where(known, logit - centre, 0.0)
        if counts.prior_sd is not None:
            sd = np.where(known & np.isfinite(counts.prior_sd), counts.prior_sd, blank_sd)
    return Evidence(
        np.ascontiguousarray(available),
        mean,
        np.asarray(sd, np.float64),
        np.where(available, counts.impressions, 0).astype(np.int64),
        np.where(available, counts.clicks, 0).astype(np.int64),
    )
