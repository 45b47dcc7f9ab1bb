"""Gradient steps: double Q-learning (van Hasselt et al. 2016) with a target network that follows slowly.

The online network chooses the next action, the target network values it,
``y = G + factor * Q_target(s', argmax_a Q_online(s', a))``, and `factor` is 0 at a terminal step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import NETWORK_SETTINGS, Agent
from multimodal_dql.learning.targets import double_q
from multimodal_dql.simulation.audience import World
from multimodal_dql.train_config import TrainConfig

__all__ = ["Learner"]


SCALE = "optimizer/rate_scale"
_NUMBERED = re.compile(r"^(seed_generator|adam_?w)_\d+/")


class Learner:
    """Gradient steps in one compiled call: batches go in, averaged metrics come out.

    Everything that the next step depends on, besides the batches, is in `state`: weights of both networks, counters
    of their random numbers, the optimiser's moments and step, and how far the learning rate was lowered.
    """

    def __init__(self, agent: Agent, world: World, bags: NDArray[np.bool_], config: TrainConfig) -> None:
        import keras
        import tensorflow as tf

        self.config, self.online = config, agent.network
        settings = {name: getattr(config, name) for name in NETWORK_SETTINGS}
        target = Agent.create(agent.projection, agent.context, agent.base_rate, settings, config.seed)
        self.target = target.network
        self.target.set_weights(self.online.get_weights())
        total = config.iterations * config.updates
        self.schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, total, alpha=0.1)
        self.scale = 1.0
        self.optimizer = keras.optimizers.AdamW(
            self.schedule, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm
        )
        self.optimizer.build(self.online.trainable_variables)
        # Embeddings live in the graph once; a transition names its story and gathers them.
        c = world.candidates
        self.content, self.present = tf.constant(c.content), tf.constant(c.present)
        self.table, self.available = tf.constant(c.table), tf.constant(c.available)
        self.bags = tf.constant(bags.astype(np.float32))
        self.base_rate = world.config.base_click_rate
        self._compile()

    def learn(self, batches: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Take one step for each leading index of `batches`."""
        return {name: float(value) for name, value in self._run(dict(batches)).items()}

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self.optimizer.learning_rate)

    def lower(self, factor: float) -> None:
        """Multiply the learning rate of all steps to come."""
        self._rescale(self.scale * factor)

    def _rescale(self, scale: float) -> None:
        if scale != self.scale:
            self.scale = scale
            # A constant of the graph: as a variable it would be rounded differently even when it is 1.
            self.schedule.initial_learning_rate = self.config.learning_rate * scale
            self._compile()

    def _compile(self) -> None:
        import tensorflow as tf

        self._run = tf.function(self._updates)

    def state(self) -> dict[str, NDArray[Any]]:
        """A copy of everything that the next step depends on, by name."""
        arrays = {name: np.array(variable.numpy()) for name, variable in self._variables().items()}
        return arrays | {SCALE: np.array([self.scale])}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a `state` of a learner of the same settings.

        Raises:
            ValueError: a name is missing or one too many, or an array has another shape or type.
        """
        variables = self._variables()
        names = {*variables, SCALE}
        if set(state) != names:
            raise ValueError(f"other names: {sorted(set(state) ^ names)[:3]}")
        scale = state[SCALE]
        if scale.shape != (1,) or not 0.0 < float(scale[0]) <= 1.0:
            raise ValueError(f"{SCALE}: {scale!r}")
        for name, variable in variables.items():
            if state[name].shape != tuple(variable.shape) or state[name].dtype != variable.numpy().dtype:
                raise ValueError(f"{name}: {state[name].dtype} {state[name].shape}")
        for name, variable in variables.items():
            variable.assign(state[name])
        self._rescale(float(scale[0]))

    def _variables(self) -> dict[str, Any]:
        """Every variable under ``online/``, ``target/`` or ``optimizer/``."""
        named = {}
        parts = (("online", self.online), ("target", self.target), ("optimizer", self.optimizer))
        for part, owner in parts:
            for i, variable in enumerate(owner.variables):
                # Keras numbers optimisers and counters of random numbers throughout a process; here they are one each.
                name = _NUMBERED.sub(r"\1/", variable.path)
                named[f"{part}/{i:03d}/{name}"] = variable
        return named

    def _updates(self, batches: Any) -> Any:
        import tensorflow as tf

        names = ("loss", "td_error", "gradient_norm", "q_largest")
        total = tf.zeros(len(names))
        steps = next(iter(batches.values())).shape[0]
        for i in tf.range(steps):
            total += self._update({name: array[i] for name, array in batches.items()})
        mean = total / steps
        return {name: mean[j] for j, name in enumerate(names)}

    def _update(self, b: Any) -> Any:
        import tensorflow as tf

        after = self._inputs(b["next_item"], b["next_context"], b["next_record"])
        q_online = self.online(after, training=False)["q"]
        q_target = self.target(after, training=False)["q"]
        y = double_q(b["reward"], b["factor"], q_online, q_target, after["available"])
        weight = tf.gather(self.bags, b["item"], axis=1)  # (M, B)
        weight /= tf.maximum(tf.reduce_mean(weight), 1e-3)
        before = self._inputs(b["item"], b["context"], b["record"])
        chosen = tf.one_hot(b["action"], tf.shape(before["available"])[1])[None]
        offset = math.log(self.base_rate / (1 - self.base_rate))
        with tf.GradientTape() as tape:
            out = self.online(before, training=True)
            error = tf.reduce_sum(out["q"] * chosen, axis=-1) - y
            logit = tf.reduce_sum(out["click_logit"] * chosen, axis=-1) + offset
            label = tf.broadcast_to(b["click"][None], tf.shape(logit))
            # Divided by the base rate, the gradient of the cross-entropy is of the size of the TD error's.
            click = tf.nn.sigmoid_cross_entropy_with_logits(label, logit) / self.base_rate
            # Summed over members, so that each learns as if it were alone.
            loss = tf.reduce_sum(tf.reduce_mean(weight * (tf.square(error) + click), axis=1))
        gradients = tape.gradient(loss, self.online.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.online.trainable_variables, strict=True))
        for slow, fast in zip(self.target.trainable_variables, self.online.trainable_variables, strict=True):
            slow.assign(slow.value + self.config.target_rate * (fast.value - slow.value))
        members = float(self.config.members)
        size = tf.reduce_mean(tf.square(error))
        largest = tf.reduce_max(tf.abs(out["q"]))
        return tf.stack([loss / members, size, tf.linalg.global_norm(gradients), largest])

    def _inputs(self, item: Any, context: Any, record: Any) -> dict[str, Any]:
        """Gather what a decision on `item` sees."""
        import tensorflow as tf

        rows = tf.gather(self.table, item)
        return {
            "content": tf.gather(self.content, rows),
            "present": tf.gather(self.present, rows),
            "record": record,
            "context": context,
            "available": tf.gather(self.available, item),
        }
