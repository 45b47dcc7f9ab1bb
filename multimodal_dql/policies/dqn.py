"""The learned policy: greedy on the ensemble's mean Q, or epsilon-greedy while it learns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import Agent, Estimate
from multimodal_dql.belief import Scores, follows_of
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
        believed: count the clicks that follow a choice only as far as the last layer found the members right about
            them. What follows is a small difference of large sums, and most of what a member says of it is noise;
            while it learns, the agent acts on Q as it is.
    """

    name = "learned"
    learns = False

    def __init__(
        self,
        agent: Agent,
        epsilon: float = 0.0,
        *,
        known: NDArray[np.int64] | None = None,
        believed: bool = False,
    ) -> None:
        self.agent, self.epsilon, self.known, self.believed = agent, epsilon, known, believed

    def probabilities(self, state: State) -> NDArray[np.float64]:
        """See `Policy`."""
        found, known = self.agent.estimate(state), self._known(state)
        voters = self.agent.left_out(known)[:, :, None] & state.available
        if self.believed:
            score = self._believed(found, voters, state, known)
        else:
            score = np.where(voters, found.q, 0.0).sum(0) / np.maximum(voters.sum(0), 1)
        score = np.where(state.available, score, -np.inf)
        return epsilon_floor(split_best(score, state.available), state.available, self.epsilon)

    def _known(self, state: State) -> NDArray[np.int64]:
        return np.full(len(state.item), -1) if self.known is None else self.known[state.item]

    def _believed(
        self, found: Estimate, voters: NDArray[np.bool_], state: State, known: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Clicks now, and those that follow by the last layer; (B, K)."""
        count, layer = np.maximum(voters.sum(0), 1), self.agent.layer
        log_rate = np.log(np.where(voters, found.click_rate, 1.0)).sum(0) / count
        follows = np.where(voters, found.q - found.click_rate, 0.0).sum(0) / count
        level = log_rate.sum(1, keepdims=True) / state.available.sum(1, keepdims=True)
        share = follows_of(Scores(log_rate, follows), state.available)
        later, _ = layer.later.predict(layer.which(known, self.agent.fold), share, state.available)
        return np.asarray(np.exp(log_rate) + np.exp(level) * later)
