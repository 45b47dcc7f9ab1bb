"""Product training's gradient steps: the update of `multimodal_dql.learning.update` on transitions that name stories.

A transition holds the number of its story; embeddings stand in the graph once and are gathered in the update. To the
TD error comes the cross-entropy of the click (`NetworkConfig.advantage`, ``click_and_later``), and every member of the
ensemble learns from the stories of its own folds only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agent import NETWORK_FORM, NETWORK_SETTINGS, Agent
from multimodal_dql.candidates import Candidates
from multimodal_dql.learning.update import METRICS, Transitions, UpdateConfig, Updater, chosen
from multimodal_dql.train_config import TrainConfig

__all__ = ["Learner"]

SCALE = "optimizer/scale"
_NUMBERED = re.compile(r"^seed_generator_\d+/")


class Learner:
    """Gradient steps in one compiled call: batches go in, averaged metrics come out.

    Everything that the next step depends on, besides the batches, is in `state`: weights of both networks, counters
    of their random numbers, the optimiser's moments and step, and how far the learning rate was lowered.

    Args:
        agent: whose network learns.
        candidates: the variants of every story.
        bags: (M, items) whether a member learns from a story.
        config: settings.
    """

    def __init__(
        self, agent: Agent, candidates: Candidates, bags: NDArray[np.bool_], config: TrainConfig
    ) -> None:
        import tensorflow as tf

        from multimodal_dql.learning.losses import Bins

        self.online, self.base_rate = agent.network, agent.base_rate
        shape = agent.network.config
        settings = {name: getattr(shape, name) for name in (*NETWORK_SETTINGS, *NETWORK_FORM)}
        target = Agent.create(agent.projection, agent.context, agent.base_rate, settings, config.seed)
        self.target = target.network
        self.updater = Updater(
            self.online,
            self.target,
            UpdateConfig(
                learning_rate=config.learning_rate,
                decay_updates=config.iterations * config.updates,
                epsilon=1e-7,
                weight_decay=config.weight_decay,
                clip_norm=config.clip_norm,
                target_rate=config.target_rate,
                loss="hl_gauss" if shape.bins else "squared",
                bins=Bins(shape.bin_low, shape.bin_high, shape.bins) if shape.bins else None,
                cql=config.cql,
            ),
            observe=self._observe,
            auxiliary=self._click_loss,
            training=True,
        )
        # Embeddings live in the graph once; a transition names its story and gathers them.
        c = candidates
        self.content, self.present = tf.constant(c.content), tf.constant(c.present)
        self.table, self.available = tf.constant(c.table), tf.constant(c.available)
        self.bags = tf.constant(bags.astype(np.float32))
        # AutoGraph is not needed, and rewriting code takes longer than tracing it.
        self._run = tf.function(self._updates, autograph=False)
        self._one = tf.function(self._update, autograph=False)

    def learn(self, batches: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Take one step for each leading index of `batches`."""
        mean = self._run(dict(batches)).numpy()
        return {name: float(value) for name, value in zip(METRICS, mean, strict=True)}

    def step(self, batch: Mapping[str, NDArray[Any]]) -> tuple[dict[str, float], NDArray[np.float32]]:
        """Take one step on rows (B, ...); its metrics, and the size of each TD error (B,).

        The size is the mean over the members that learn from the story: the others' errors never shrink.
        """
        metrics, size = self._one(dict(batch))
        return dict(zip(METRICS, map(float, metrics.numpy()), strict=True)), size.numpy()

    @property
    def updates(self) -> int:
        """Steps taken."""
        return int(self.updater.adam.count)

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self.updater.adam.rate(ahead=1))

    def lower(self, factor: float) -> None:
        """Multiply the learning rate of all steps to come."""
        self.updater.adam.scale.assign(self.updater.adam.scale * factor)

    def state(self) -> dict[str, NDArray[Any]]:
        """A copy of everything that the next step depends on, by name."""
        return {name: np.array(variable.numpy()) for name, variable in self._variables().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a `state` of a learner of the same settings.

        Raises:
            ValueError: a name is missing or one too many, or an array has another shape or type.
        """
        variables = self._variables()
        if set(state) != set(variables):
            raise ValueError(f"other names: {sorted(set(state) ^ set(variables))[:3]}")
        for name, variable in variables.items():
            if state[name].shape != tuple(variable.shape) or state[name].dtype != variable.numpy().dtype:
                raise ValueError(f"{name}: {state[name].dtype} {state[name].shape}")
        if not 0.0 < float(state[SCALE]) <= 1.0:
            raise ValueError(f"{SCALE}: {state[SCALE]!r}")
        for name, variable in variables.items():
            variable.assign(state[name])

    def _variables(self) -> dict[str, Any]:
        """Every variable under ``online/``, ``target/`` or ``optimizer/``."""
        named = {f"optimizer/{name}": variable for name, variable in self.updater.adam.state.items()}
        for part, network in (("online", self.online), ("target", self.target)):
            for i, variable in enumerate(network.variables):
                # Keras numbers counters of random numbers throughout a process; here they are one each.
                named[f"{part}/{i:03d}/{_NUMBERED.sub('seed_generator/', variable.path)}"] = variable
        return named

    def _updates(self, batches: Any) -> Any:
        import tensorflow as tf

        steps = next(iter(batches.values())).shape[0]

        def once(i: Any, total: Any) -> tuple[Any, Any]:
            found = self.updater.update({name: array[i] for name, array in batches.items()})
            return i + 1, total + found.metrics

        start = (tf.constant(0), tf.zeros(len(METRICS)))
        return tf.while_loop(lambda i, _: i < steps, once, start)[1] / steps

    def _update(self, batch: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        found = self.updater.update(batch)
        learns = tf.gather(self.bags, batch["item"], axis=1)  # (M, B)
        size = tf.reduce_sum(tf.abs(found.error) * learns, axis=0)
        return found.metrics, size / tf.maximum(tf.reduce_sum(learns, axis=0), 1.0)

    def _observe(self, b: Any) -> Transitions:
        """What a batch of rows stands for."""
        import tensorflow as tf

        before = self._inputs(b["item"], b["context"], b["record"])
        after = self._inputs(b["next_item"], b["next_context"], b["next_record"])
        weight = tf.gather(self.bags, b["item"], axis=1)  # (M, B)
        weight /= tf.maximum(tf.reduce_mean(weight), 1e-3)
        return Transitions(
            observation=before,
            action=b["action"],
            reward=b["reward"],
            factor=b["factor"],
            next_observation=after,
            next_available=after["available"],
            weight=weight * b["importance"] if "importance" in b else weight,
            available=before["available"],
            label=b["click"],
        )

    def _click_loss(self, out: Any, b: Transitions) -> Any:
        """Cross-entropy of the click of the chosen candidate, (M, B).

        Divided by the base rate, its gradient is of the size of the TD error's.
        """
        import tensorflow as tf

        offset = math.log(self.base_rate / (1 - self.base_rate))
        logit = chosen(out["click_logit"], b.action) + offset
        label = tf.broadcast_to(b.label[None], tf.shape(logit))
        return tf.nn.sigmoid_cross_entropy_with_logits(label, logit) / self.base_rate

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
