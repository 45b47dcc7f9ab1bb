"""Many updates in one call: sampling, observing and learning in one traced loop, without Python in it."""

from __future__ import annotations

from typing import Any

from multimodal_dql.learning.graph_replay import GraphReplay
from multimodal_dql.learning.update import METRICS, Updater

__all__ = ["Learner"]


class Learner:
    """An `Updater` on what a `GraphReplay` samples.

    Args:
        updater: the networks and the update; its `observe` takes the fields of `replay`, and in ``weight`` the
            importance weights (B,), which it must pass on when `replay` is prioritised.
        replay: where the transitions come from.
        batch: B, transitions of an update.
    """

    def __init__(self, updater: Updater, replay: GraphReplay, batch: int) -> None:
        import tensorflow as tf

        self.updater, self.replay, self.batch = updater, replay, batch
        # AutoGraph is not needed: the loop is written as one, which also keeps the trace free of rewritten code.
        self._run = tf.function(self._loop, autograph=False, reduce_retracing=True)

    def learn(self, updates: int) -> dict[str, float]:
        """Take `updates` steps; the mean of every metric over them (see `update.METRICS`)."""
        import tensorflow as tf

        mean = self._run(tf.constant(updates))
        return dict(zip(METRICS, map(float, mean.numpy()), strict=True))

    def _loop(self, updates: Any) -> Any:
        import tensorflow as tf

        def once(i: Any, total: Any) -> tuple[Any, Any]:
            drawn = self.replay.sample(self.batch)
            found = self.updater.update(drawn.rows | {"weight": drawn.weight})
            self.replay.set_priorities(drawn.index, found.error)
            return i + 1, total + found.metrics

        start = (tf.constant(0), tf.zeros(len(METRICS)))
        total = tf.while_loop(lambda i, _: i < updates, once, start)[1]
        return total / tf.cast(updates, tf.float32)

    @property
    def state(self) -> dict[str, Any]:
        """Every variable that learning changes: with it restored, learning goes on as if never interrupted."""
        return self.updater.state | {f"replay_{name}": v for name, v in self.replay.state.items()}
