"""The learned policy: greedy on the ensemble's mean Q, or epsilon-greedy while it learns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import Agent
from multimodal_dql.policies.base import Policy, epsilon_floor, split_best
from multimodal_dql.state import State

__all__ = ["DqnPolicy"]


class DqnPolicy(Policy):
    """Choose the candidate of highest mean Q, evenly among equals; with probability `epsilon` any candidate.

    Args:
        agent: the ensemble.
        epsilon: share of random choices.
        known: number of each story among the training stories, -1 when new (`Agent.known`). Given, a story is decided
            only by the members that never learned from it: for measuring what the agent does with unseen stories.
    """

    name = "learned"
    learns = False

    def __init__(self, agent: Agent, epsilon: float = 0.0, *, known: NDArray[np.int64] | None = None) -> None:
        self.agent, self.epsilon, self.known = agent, epsilon, known

    def probabilities(self, state: State) -> NDArray[np.float64]:
        """See `Policy`."""
        q = self.agent.estimate(state).q
        if self.known is not None:
            voters = self.agent.left_out(self.known[state.item])[:, :, None]
            score = np.where(state.available, np.where(voters, q, 0.0).sum(0) / voters.sum(0), -np.inf)
        else:
            score = q.mean(axis=0)
        return epsilon_floor(split_best(score, state.available), state.available, self.epsilon)
