"""Gradient steps on transitions with given targets: whole epochs of minibatches in one compiled call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MinibatchLearner"]

INPUTS = ("content", "present", "record", "context", "available")
FORGETS = 0.95
"""Share of the old mean that a running mean of a loss keeps after a round."""
SMALLEST = 1e-12
"""No loss is divided by less."""
SMALLEST_PRICE = 1e-2
"""Nor that of prices, in units of a typical reward: where they are all zero, nothing is made of their rounding."""
LOSSES = ("td_error", "reward_error", "spend_error", "price_error")


class MinibatchLearner:
    """AdamW on ``(q(s_t, a_t) - target)^2``, and on ``(reward(s_t, a_t) - r_t)^2`` where the network has such a head.

    Each loss is divided by its own running mean, so that neither drowns the other, whatever their units.

    Args:
        network: a `CandidateQNetwork` with any advantage but ``click_and_later``.
        learning_rate: at the start.
        weight_decay: of AdamW.
        clip_norm: largest gradient norm.
    """

    def __init__(self, network: Any, learning_rate: float, weight_decay: float, clip_norm: float) -> None:
        import keras
        import tensorflow as tf

        self.network = network
        self.optimizer = keras.optimizers.AdamW(
            learning_rate, weight_decay=weight_decay, global_clipnorm=clip_norm
        )
        self.size: NDArray[np.float32] | None = None
        self._run = tf.function(self._updates, jit_compile=True)

    def restart(self) -> None:
        """Forget everything but the compiled code."""
        self.size = None
        for variable in self.optimizer.variables:
            variable.assign(np.zeros(variable.shape))

    def learn(
        self, data: Mapping[str, NDArray[Any]], index: NDArray[np.int32], rate: float
    ) -> dict[str, float]:
        """One gradient step for each row of `index`.

        Args:
            data: the network's inputs and ``action``, ``target``, ``reward``, ``weight``, one row a transition.
            index: (updates, minibatch) rows of `data`.
            rate: learning rate.
        """
        import tensorflow as tf

        if not self.optimizer.built:
            self.network({name: data[name][:2] for name in INPUTS})
            self.optimizer.build(self.network.trainable_variables)
        self.optimizer.learning_rate.assign(rate)
        if self.size is None:
            some = {name: tf.convert_to_tensor(array) for name, array in data.items()}
            self.size = self._floored(self._losses(some).numpy())
        found = self._run(dict(data), tf.constant(index), tf.constant(self.size)).numpy()
        self.size = FORGETS * self.size + (1.0 - FORGETS) * self._floored(found)
        return dict(zip(LOSSES, map(float, found), strict=False))

    def _floored(self, losses: NDArray[np.float32]) -> NDArray[np.float32]:
        floor = np.asarray([SMALLEST, SMALLEST, SMALLEST, SMALLEST_PRICE], np.float32)
        return np.maximum(losses, floor[: len(losses)])

    def _updates(self, data: Any, index: Any, size: Any) -> Any:
        import tensorflow as tf

        steps = tf.shape(index)[0]
        total = tf.zeros(4 if self.network.config.advantage == "reward_and_price" else 2)
        for i in tf.range(steps):
            total += self._update({name: tf.gather(array, index[i]) for name, array in data.items()}, size)
        return total / tf.cast(steps, "float32")

    def _update(self, batch: Any, size: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            losses = self._losses(batch)
            loss = tf.reduce_sum(losses / size)
        variables = self.network.trainable_variables
        # Parts that serve another form of the advantage have no gradient here.
        found = tape.gradient(loss, variables)
        gradients = [tf.zeros_like(v) if g is None else g for g, v in zip(found, variables, strict=True)]
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return losses

    def _losses(self, batch: Any) -> Any:
        """TD error and reward error, (2,), means over rows that count, summed over members."""
        import tensorflow as tf

        out = self.network({name: batch[name] for name in INPUTS}, training=False)
        chosen = tf.one_hot(batch["action"], tf.shape(batch["available"])[1])[None]
        weight = batch["weight"] / tf.maximum(tf.reduce_mean(batch["weight"]), 1e-6)

        def mean_square(q: Any, y: Any) -> Any:
            error = tf.reduce_sum(q * chosen, axis=-1) - y[None]
            return tf.reduce_sum(tf.reduce_mean(weight[None] * tf.square(error), axis=1))

        reward = mean_square(out["reward"], batch["reward"]) if "reward" in out else tf.zeros(())
        found = [mean_square(out["q"], batch["target"]), reward]
        if "price" in out:
            counts = batch["weight"][:, None] * batch["stocked"]
            error = tf.square(out["price"] - batch["price"][None]) * counts[None]
            per_row = tf.reduce_sum(error, axis=-1) / tf.maximum(
                tf.reduce_mean(tf.reduce_sum(counts, axis=-1)), 1e-6
            )
            found[1] += mean_square(out["worth"] * batch["spend"][None, :, None], batch["reward"])
            found += [
                mean_square(out["spend"], batch["spend"]),
                tf.reduce_sum(tf.reduce_mean(per_row, axis=1)),
            ]
        return tf.stack(found)
