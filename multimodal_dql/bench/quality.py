"""The online agent behind a bare interface, for yardsticks that feed a learner one decision at a time.

``predict(x, A) -> probabilities`` and ``learn(x, A, k, probability, reward)``, with context x (C,), candidates A (K, P)
and whether the candidate k that was shown was clicked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.online import OnlineAgent, OnlineConfig
from multimodal_dql.state import RECORD_WIDTH, State

__all__ = ["StreamLearner", "factory"]


class StreamLearner:
    """One `OnlineAgent` with its default configuration, whatever the world."""

    def __init__(self, config: OnlineConfig) -> None:
        self.agent = OnlineAgent(config)

    def predict(self, x: NDArray[Any], candidates: NDArray[Any]) -> NDArray[np.float64]:
        """Probabilities of the candidates (K, P) for context (C,)."""
        self._state = _state(x, candidates)
        return np.asarray(self.agent.probabilities(self._state)[0])

    def learn(
        self, x: NDArray[Any], candidates: NDArray[Any], k: int, probability: float, reward: float
    ) -> None:
        """Of the candidates that were asked about last, `k` was shown and brought `reward`."""
        self.agent.update(self._state, np.array([k]), np.array([reward]))


def factory(seed: int, context_width: int, content_width: int) -> StreamLearner:
    """A learner for contexts (C,) and candidates (K, P); the widths are read from the first decision as well."""
    return StreamLearner(OnlineConfig(seed=seed))


def _state(x: NDArray[Any], candidates: NDArray[Any]) -> State:
    k = len(candidates)
    return State(
        content=np.asarray(candidates, np.float32)[None],
        present=np.ones((1, k, 1), np.float32),
        record=np.zeros((1, k, RECORD_WIDTH), np.float32),
        context=np.asarray(x, np.float32)[None],
        available=np.ones((1, k), bool),
        item=np.zeros(1, np.int64),
    )
