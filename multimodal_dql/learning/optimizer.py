"""Gradient clipping, Adam and AdamW, and the moving target, on plain TensorFlow variables, each in one pass.

TensorFlow's fused kernels do the arithmetic: a step of Adam reads and writes each number once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["Adam", "AdamSettings", "as_variables", "follow", "gradients_of"]


class AdamSettings(Protocol):
    """What `Adam` needs to know; `UpdateConfig` has it, with the formulas."""

    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def decay_updates(self) -> int: ...  # noqa: D102
    @property
    def beta1(self) -> float: ...  # noqa: D102
    @property
    def beta2(self) -> float: ...  # noqa: D102
    @property
    def epsilon(self) -> float: ...  # noqa: D102
    @property
    def weight_decay(self) -> float: ...  # noqa: D102
    @property
    def clip_norm(self) -> float: ...  # noqa: D102


def as_variables(variables: Sequence[Any]) -> list[Any]:
    """The TensorFlow variables behind Keras variables; TensorFlow variables stay as they are."""
    import tensorflow as tf

    return [v if isinstance(v, tf.Variable) else v.value for v in variables]


class Adam:
    """Clipping by the global norm, then Adam or AdamW.

    Args:
        weights: float32 TensorFlow variables.
        settings: see `UpdateConfig`.

    Attributes:
        scale: a variable that multiplies every learning rate; 1 at the start.
    """

    def __init__(self, weights: Sequence[Any], settings: AdamSettings) -> None:
        import tensorflow as tf

        self.weights, self.settings = list(weights), settings
        self.first = [tf.Variable(tf.zeros_like(w), trainable=False) for w in weights]
        self.second = [tf.Variable(tf.zeros_like(w), trainable=False) for w in weights]
        self.count = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.scale = tf.Variable(1.0, trainable=False)

    @property
    def state(self) -> dict[str, Any]:
        """Moments, the number of steps, and how far the learning rate was lowered, by name."""
        named = {f"first_{i}": m for i, m in enumerate(self.first)}
        named |= {f"second_{i}": v for i, v in enumerate(self.second)}
        return named | {"updates": self.count, "scale": self.scale}

    def rate(self, ahead: int = 0) -> Any:
        """The learning rate of the step being taken, for which `count` has been raised, or of one `ahead` of it."""
        import tensorflow as tf

        s = self.settings
        if not s.decay_updates:
            return s.learning_rate * self.scale
        share = tf.minimum(tf.cast(self.count - 1 + ahead, tf.float32) / s.decay_updates, 1.0)
        return s.learning_rate * self.scale * (0.1 + 0.9 * 0.5 * (1.0 + tf.cos(math.pi * share)))

    def step(self, gradients: Sequence[Any]) -> Any:
        """Take a step; returns the norm of the gradient before clipping. To be traced."""
        import tensorflow as tf

        s, ops = self.settings, tf.raw_ops
        self.count.assign_add(1)
        norm = tf.sqrt(2.0 * tf.add_n([tf.nn.l2_loss(g) for g in gradients]))
        scale = s.clip_norm / tf.maximum(norm, s.clip_norm)
        rate, steps = self.rate(), tf.cast(self.count, tf.float32)
        powers = {"beta1_power": tf.pow(s.beta1, steps), "beta2_power": tf.pow(s.beta2, steps)}
        rest = {"beta1": s.beta1, "beta2": s.beta2, "epsilon": s.epsilon, "lr": rate}
        for w, m, v, g in zip(self.weights, self.first, self.second, gradients, strict=True):
            if s.weight_decay:
                shrink = {"alpha": rate * s.weight_decay, "delta": tf.identity(w)}
                ops.ResourceApplyGradientDescent(var=w.handle, **shrink)
            ops.ResourceApplyAdam(var=w.handle, m=m.handle, v=v.handle, grad=g * scale, **powers, **rest)
        return norm


def gradients_of(tape: Any, loss: Any, weights: Sequence[Any]) -> list[Any]:
    """Of a recorded loss, one dense tensor a variable: zeros where the loss does not reach. To be traced."""
    import tensorflow as tf

    zero = tf.UnconnectedGradients.ZERO
    return [tf.convert_to_tensor(g) for g in tape.gradient(loss, weights, unconnected_gradients=zero)]


def follow(slow: Sequence[Any], fast: Sequence[Any], rate: float) -> None:
    """``slow += rate (fast - slow)`` for every pair of variables (Polyak averaging). To be traced."""
    import tensorflow as tf

    for s, f in zip(slow, fast, strict=True):
        tf.raw_ops.ResourceApplyGradientDescent(
            var=s.handle, alpha=rate, delta=tf.identity(s) - tf.identity(f)
        )
