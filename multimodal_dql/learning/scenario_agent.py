"""What comes out of learning in a scenario: a network, how observations reach it, and the choices it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.learning.observations import ObservationAdapter
from multimodal_dql.learning.targets import NEVER

__all__ = ["ScenarioAgent", "explore"]

Array = NDArray[np.float64]


def explore(
    q: Array, available: NDArray[np.bool_], epsilon: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Epsilon-greedy: a random available action with probability `epsilon`, else the best; (N, A) -> (N,)."""
    best = np.where(available, q, NEVER).argmax(axis=1)
    other = np.where(available, rng.random(q.shape), -1.0).argmax(axis=1)
    return np.asarray(np.where(rng.random(len(q)) < epsilon, other, best))


@dataclass
class ScenarioAgent:
    """A trained network in one scenario.

    Attributes:
        network: a `CandidateQNetwork`.
        adapter: observations to its inputs.
        unit: reward that counts as 1 in the network.
        batch: decisions scored at once; batches are padded to it, so that a result does not depend on the batch it
            came in.
        learner: what trained it; kept because its compiled code can train the next one.
    """

    network: Any
    adapter: ObservationAdapter
    unit: float
    batch: int = 256
    learner: Any = None

    def __post_init__(self) -> None:
        import tensorflow as tf

        def mean_q(inputs: dict[str, Any]) -> Any:
            return tf.reduce_mean(self.network(inputs, training=False)["q"], axis=0)

        self._compiled = tf.function(mean_q, jit_compile=True)

    def score(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Mean Q over members in units of `unit`, (N, A), of what `ObservationAdapter.inputs` gives."""
        n, out = len(inputs["available"]), []
        for start in range(0, n, self.batch):
            part = {name: array[start : start + self.batch] for name, array in inputs.items()}
            held = len(part["available"])
            if held < self.batch:
                part = {
                    name: np.concatenate([array, np.repeat(array[:1], self.batch - held, axis=0)])
                    for name, array in part.items()
                }
            out.append(self._compiled(part).numpy()[:held])
        return np.concatenate(out).astype(np.float64)

    def q_values(self, told: Mapping[str, NDArray[Any]]) -> Array:
        """Expected discounted return of each action, (N, A), in the unit of the reward; -inf where not allowed."""
        return np.where(told["mask"] > 0, self.score(self.adapter.inputs(told)) * self.unit, -np.inf)

    def greedy(self, told: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """The best allowed action of each environment, (N,)."""
        return np.asarray(self.q_values(told).argmax(axis=1))

    def probabilities(self, told: Mapping[str, NDArray[Any]], epsilon: float = 0.0) -> Array:
        """Of an epsilon-greedy choice, (N, A); they sum to 1 over allowed actions."""
        allowed = (told["mask"] > 0).astype(np.float64)
        best = np.eye(allowed.shape[1])[self.greedy(told)]
        return np.asarray((1.0 - epsilon) * best + epsilon * allowed / allowed.sum(axis=1, keepdims=True))
