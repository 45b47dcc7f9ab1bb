"""What is measured of a network between two iterations, beside its loss; nothing here changes it.

Shape letters as in `multimodal_dql.network`, ``U`` hidden units.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import Agent
from multimodal_dql.candidates import Candidates
from multimodal_dql.state import record_features
from multimodal_dql.transitions import Visits

__all__ = ["HIDDEN", "PROBE", "Probe", "start_values"]

PROBE = 128
"""Decisions that every iteration is asked about."""
HIDDEN = ("fuse_norm", "audience_norm", "set_norm", "value_norm")
"""Layers of `CandidateQNetwork` that a rectifier follows; a unit that is never above 0 there passes nothing on."""


class Probe:
    """A fixed set of decisions: stories in turn, typical users, no record. Remembers the last greedy choices."""

    def __init__(self, agent: Agent, candidates: Candidates) -> None:
        import tensorflow as tf

        c = candidates
        items = np.arange(PROBE) % len(c.table)
        available = c.available[items]
        none = np.zeros(available.shape, np.int64)
        record = record_features(none, none, available, agent.base_rate)
        context = np.resize(agent.contexts({}), (PROBE, agent.context.width)).astype(np.float32)
        self.network = agent.network
        self.state = c.state(items, context, record)
        self._look = tf.function(self._forward, autograph=False)
        self.greedy, _, _ = self._ask()

    def renew(self) -> None:
        """Take the network as it is now for the last one; after its weights were put back."""
        self.greedy, _, _ = self._ask()

    def measure(self) -> dict[str, float]:
        """Compare with the last time.

        Returns:
            ``churn``, share of decisions whose greedy candidate changed; ``dead_share`` of hidden units; and
            ``preference``, the largest difference of Q among the candidates of a decision, in average clicks, 1 when
            no decision has two of them.
        """
        greedy, preference, dead = self._ask()
        churn = float(np.mean(greedy != self.greedy))
        self.greedy = greedy
        return {"churn": churn, "dead_share": dead, "preference": preference}

    def _ask(self) -> tuple[NDArray[np.int64], float, float]:
        q, alive = self._look(self.state.inputs())
        q, available = q.numpy(), self.state.available
        top, low = (np.where(available, q, end) for end in (-np.inf, np.inf))
        several = available.sum(axis=1) > 1
        spread = (top.max(axis=1) - low.min(axis=1))[several]
        preference = float(spread.max()) if len(spread) else 1.0
        return top.argmax(axis=1), preference, 1.0 - float(alive)

    def _forward(self, inputs: Any) -> tuple[Any, Any]:
        """Mean Q, (B, K), and the share of hidden units that some decision and candidate raise above 0."""
        import tensorflow as tf

        with _recorded(self.network) as seen:
            q = self.network(inputs, training=False)["q"]
        # A unit is (member, place).
        alive = [tf.reduce_any(x > 0, axis=list(range(1, len(x.shape) - 1))) for x in seen]
        flat = tf.concat([tf.reshape(a, [-1]) for a in alive], axis=0)
        return tf.reduce_mean(q, axis=0), tf.reduce_mean(tf.cast(flat, tf.float32))


@contextlib.contextmanager
def _recorded(network: Any) -> Iterator[list[Any]]:
    """What the layers of `HIDDEN` give while the block runs or is traced, each (M, ..., U)."""
    seen: list[Any] = []
    layers = [getattr(network, name) for name in HIDDEN]
    original = [layer.call for layer in layers]

    def recording(call: Any) -> Any:
        def recorded(x: Any) -> Any:
            seen.append(call(x))
            return seen[-1]

        return recorded

    try:
        for layer, call in zip(layers, original, strict=True):
            layer.call = recording(call)
        yield seen
    finally:
        for layer in layers:
            del layer.call


def start_values(
    agent: Agent, candidates: Candidates, steps: Visits, returns: NDArray[np.float64], most: int = 256
) -> dict[str, float]:
    """What Q promised at the start of visits, and what they brought, where the greedy candidate was shown.

    The choice between greedy and random does not look at what follows, so that leaving out the random ones is fair.

    Args:
        agent: as it was when it decided.
        candidates: of the stories.
        steps: S sessions.
        returns: (S,) realised discounted returns in average clicks.
        most: sessions that are valued, at most.

    Returns:
        ``q_mean`` and ``return_mean`` in average clicks; NaN where no greedy candidate was shown.
    """
    first = slice(0, most)
    state = candidates.state(steps.item[first, 0], steps.context[first, 0], steps.record[first, 0])
    q = agent.q_values(state) / agent.base_rate
    best = q.max(axis=1)
    # An action that is not there is greedy for nobody: the monitors have its transition left out.
    greedy = (q >= best[:, None]) & (np.arange(q.shape[1]) == steps.action[first, :1])
    shown = steps.active[first, 0] & greedy.any(axis=1)
    if not shown.any():
        return {"q_mean": math.nan, "return_mean": math.nan}
    return {"q_mean": float(best[shown].mean()), "return_mean": float(returns[first][shown].mean())}
