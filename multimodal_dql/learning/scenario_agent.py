"""What comes out of learning in a scenario: a network, how observations reach it, and the choices it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import RunError
from multimodal_dql.learning import scenario_file
from multimodal_dql.learning.observations import ObservationAdapter
from multimodal_dql.learning.targets import NEVER

__all__ = ["ScenarioAgent", "explore"]

Array = NDArray[np.float64]
PARTS = ("q", "reward", "spend", "price")
"""Outputs of the network that a decision or its training reads."""


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
        learner: what trained it; kept because its compiled code can train the next one. None when it was loaded.
        facts: whatever should be saved with it, as JSON types.
    """

    network: Any
    adapter: ObservationAdapter
    unit: float
    batch: int = 256
    learner: Any = None
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import tensorflow as tf

        def means(inputs: dict[str, Any]) -> Any:
            out = self.network(inputs, training=False)
            return tf.stack(
                [tf.reduce_mean(out[name], axis=0) for name in (PARTS if "price" in out else PARTS[:1])],
                axis=1,
            )

        self._compiled = tf.function(means, jit_compile=True)

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``weights.safetensors`` into a folder of its own (see `scenario_file`)."""
        scenario_file.write(folder, self.network, self.adapter, self.unit, self.batch, self.facts)

    @classmethod
    def load(cls, folder: Path, told: Mapping[str, NDArray[Any]] | None = None) -> ScenarioAgent:
        """Read what `save` wrote: it decides by the same numbers, and is not trained further.

        Args:
            folder: of the policy.
            told: observations of the vector environment it is to decide in, (N, ...); None takes it as it is.

        Raises:
            RunError: missing, damaged, something else, or a policy for other observations than `told`.
        """
        saved, network, adapter = scenario_file.read(folder)
        if told is not None and _form(ObservationAdapter.fit([told])) != _form(adapter):
            raise RunError(
                path=folder,
                detail="is a policy for other observations than those of this environment; name a policy that was "
                "trained in it",
                detail_zh="中的策略针对的是另一种观测，与当前环境不符；请指定在该环境中训练的策略",
            )
        return cls(network, adapter, saved.unit, saved.batch, facts=dict(saved.facts))

    def score(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Mean Q over members in units of `unit`, (N, A), of what `ObservationAdapter.inputs` gives."""
        return self.parts(inputs)[:, 0]

    def parts(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Means over members, (N, parts, A): `PARTS` where the network has prices, else Q alone; as in `score`."""
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


def _form(adapter: ObservationAdapter) -> tuple[Any, ...]:
    """What observations an adapter takes."""
    a = adapter
    names = (a.by_candidate, a.by_decision)
    return (*names, a.content_width, a.actions, a.repeats, len(a.record_mean), len(a.context_mean))
