"""What the network thinks of each candidate, learned online and never trusted on what it has seen.

The network's score is one feature of the Bayesian last layer, which learns how far to trust it (stacking; Wolpert
1992, "Stacked generalization"). A score is cross-fitted: the rows are dealt into folds, every member leaves one fold
out, and a row is judged by the members that never saw it. Without that the last layer takes what the network remembers
for what it knows, which cost a fifth of the clicks where it was tried (docs/evidence.md).

The network learns what the last layer leaves unexplained: the score of the last layer is added to its click logit.

Shape letters: ``M`` members, ``n`` rows, ``K`` candidates, ``P`` content, ``C`` context, ``R`` record, ``N`` distinct
candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.decider import Decider
from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.learning.optimizer import Adam, as_variables, gradients_of
from multimodal_dql.learning.update import UpdateConfig
from multimodal_dql.state import RECORD_WIDTH

__all__ = ["Decisions", "Opinion", "OpinionConfig"]

Float = NDArray[np.float32]

CHUNK = 512
"""Rows that the network judges at once."""


@dataclass(frozen=True)
class OpinionConfig:
    """Settings of an `Opinion`.

    Attributes:
        hidden: H of the network.
        members: M.
        folds: rows are dealt into so many folds; member m leaves out fold ``m mod folds``.
        first: rows at which the network first learns; before, there is too little to learn from.
        growth: it learns again when the rows have grown by this factor.
        updates: gradient steps each time.
        batch: rows in a step.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        content_noise: standard deviation of noise on the content, in standard deviations of a column.
        base_rate: clicks an impression, where the click logit starts.
        seed: of weights, noise and batches.
    """

    hidden: int = 24
    members: int = 4
    folds: int = 4
    first: int = 1500
    growth: float = 2.0
    updates: int = 250
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    content_noise: float = 0.2
    base_rate: float = 0.05
    seed: int = 0


class Decisions:
    """Past decisions; each distinct candidate is stored once and referred to by number.

    Memory is bounded by `capacity`: the oldest quarter goes when it is full, and with it the candidates that nothing
    refers to any more. A decision takes ``4 (K (1 + R) + C) + 4`` bytes.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.dropped = 0
        self.number: dict[bytes, int] = {}
        self.content: list[Float] = []
        self.present: list[Float] = []
        self.sets: list[NDArray[np.int32]] = []
        self.context: list[Float] = []
        self.record: list[Float] = []
        self.action: list[int] = []

    def __len__(self) -> int:
        return len(self.sets)

    def append(
        self, keys: list[bytes], content: Float, present: Float, record: Float, context: Float, action: int
    ) -> None:
        """Add a decision among candidates (K, P), of which `action` was shown."""
        if len(self.sets) >= self.capacity:
            self._drop(max(self.capacity // 4, 1))
        numbers = np.empty(len(keys), np.int32)
        for i, key in enumerate(keys):
            found = self.number.get(key)
            if found is None:
                found = self.number[key] = len(self.content)
                self.content.append(content[i].copy())
                self.present.append(present[i].copy())
            numbers[i] = found
        self.sets.append(numbers)
        self.context.append(context.copy())
        self.record.append(record.copy())
        self.action.append(action)

    def table(self) -> dict[str, NDArray[Any]]:
        """Every decision as arrays, the candidates padded with a blank one: see `Opinion`."""
        k = max(len(s) for s in self.sets)
        blank = len(self.content)
        sets = np.full((len(self.sets), k), blank, np.int32)
        record = np.zeros((len(self.sets), k, self.record[0].shape[1]), np.float32)
        for i, (numbers, counts) in enumerate(zip(self.sets, self.record, strict=True)):
            sets[i, : len(numbers)] = numbers
            record[i, : len(numbers)] = counts
        content, present = np.stack(self.content), np.stack(self.present)
        return {
            "content": np.concatenate([content, np.zeros_like(content[:1])]),
            "present": np.concatenate([present, np.zeros_like(present[:1])]),
            "sets": sets,
            "record": record,
            "context": np.stack(self.context),
            "action": np.array(self.action, np.int32),
        }

    def folds(self, count: int, seed: int) -> NDArray[np.int64]:
        """The fold of each row, (n,), one of `count`: drawn by its number among all rows that ever came.

        A row keeps its fold for as long as it is kept; dealt anew, it would be judged by members that learned from it.
        """
        rng = np.random.Generator(np.random.Philox(key=[seed, 24]))
        drawn = rng.random(self.dropped + len(self.sets)) * count
        return np.asarray(drawn[self.dropped :].astype(np.int64))

    def _drop(self, count: int) -> None:
        self.dropped += count
        for rows in (self.sets, self.context, self.record, self.action):
            del rows[:count]
        used = np.unique(np.concatenate(self.sets))
        new = np.full(len(self.content), -1, np.int32)
        new[used] = np.arange(len(used), dtype=np.int32)
        self.content, self.present = [self.content[i] for i in used], [self.present[i] for i in used]
        self.number = {key: int(new[i]) for key, i in self.number.items() if new[i] >= 0}
        self.sets = [new[numbers] for numbers in self.sets]


class Opinion:
    """An ensemble of candidate networks that learns from `Decisions` and scores candidates without TensorFlow.

    Args:
        widths: columns of each encoder, summing to P.
        context_width: C.
        config: settings.
    """

    def __init__(self, widths: tuple[int, ...], context_width: int, config: OpinionConfig) -> None:
        self.config, self.widths, self.context_width = config, widths, context_width
        self.decider: Decider | None = None
        self.next = config.first
        self._updates_done = 0

    def score(self, content: Float, present: Float, record: Float, context: Float) -> Float:
        """Mean over the members of the click logit of candidates (K, P), centred on past rows, (K,); 0 untrained."""
        if self.decider is None:
            return np.zeros(len(content), np.float32)
        prepared = self.decider.prepare(self._content(content, present), present, record)
        rate = np.clip(self.decider.click_rate(prepared, self._context(context)), 1e-6, 1.0 - 1e-6)
        logit = np.log(rate / (1.0 - rate)).mean(axis=0)
        return np.asarray(np.clip(logit - self._centre, -8.0, 8.0), np.float32)

    def learn(self, rows: Decisions, reward: NDArray[np.float64], offset: NDArray[np.float64]) -> Float:
        """Take ``updates`` gradient steps on all rows, then judge each row by the members that left it out.

        Args:
            rows: n decisions.
            reward: (n,) clicks.
            offset: (n,) what the last layer says of the chosen candidates without the network, as a logit.

        Returns:
            (n,) cross-fitted scores of the chosen candidates, centred.
        """
        import tensorflow as tf

        table = rows.table()
        n = len(table["sets"])
        if self.decider is None:
            self._start(table)
        table["content"] = self._content(table["content"], table["present"])
        table["context"] = self._context(table["context"])
        fold = rows.folds(self.config.folds, self.config.seed)
        out = fold[None] == (np.arange(self.config.members) % self.config.folds)[:, None]
        base = np.log(self.config.base_rate / (1 - self.config.base_rate))
        data = {
            **table,
            "reward": reward.astype(np.float32),
            "offset": (offset - base).astype(np.float32),
            "weight": (~out).astype(np.float32),
        }
        data = {name: tf.constant(array) for name, array in data.items()}
        self._fit(data, tf.constant(self._updates_done), tf.constant(self.config.updates))
        self._updates_done += self.config.updates
        tensors = {v.path: v.numpy() for v in self.network.weights if v.dtype == "float32"}
        self.decider = Decider.from_tensors(tensors, self.config.base_rate)
        logit = np.concatenate(
            [self._judge({**data, **_part(data, i)}).numpy() for i in range(0, n, CHUNK)], axis=1
        )
        self._centre = np.float32(logit.mean())
        votes = np.where(out, logit, 0.0).sum(axis=0) / np.maximum(out.sum(axis=0), 1)
        self.next = max(int(n * self.config.growth), n + 1)
        return np.asarray(np.clip(votes - self._centre, -8.0, 8.0), np.float32)

    def _start(self, table: dict[str, NDArray[Any]]) -> None:
        """Build the network; its inputs are standardised by the candidates and contexts seen by now."""
        with silenced():
            import tensorflow as tf

            from multimodal_dql.network import CandidateQNetwork, NetworkConfig

            content, context = table["content"][:-1], table["context"]
            self._shift = content.mean(axis=0), context.mean(axis=0)
            self._spread = content.std(axis=0) + 1e-3, context.std(axis=0) + 1e-3
            c = self.config
            network = NetworkConfig(
                self.widths,
                self.context_width,
                RECORD_WIDTH,
                c.base_rate,
                c.hidden,
                c.members,
                modality_dropout=0.0,
                content_noise=c.content_noise,
                seed=c.seed,
            )
            self.network = CandidateQNetwork(network)
            self.network.build()
            update = UpdateConfig(c.learning_rate, epsilon=1e-7, weight_decay=c.weight_decay, clip_norm=5.0)
            self.adam = Adam(as_variables(self.network.trainable_variables), update)
            self._fit = tf.function(self._steps, reduce_retracing=True)
            self._judge = tf.function(self._logits, reduce_retracing=True)

    def _content(self, content: Float, present: Float) -> Float:
        seen = np.repeat(present, self.widths, axis=-1)
        return np.asarray((content - self._shift[0]) / self._spread[0] * seen, np.float32)

    def _context(self, context: Float) -> Float:
        return np.asarray((context - self._shift[1]) / self._spread[1], np.float32)

    def _steps(self, data: Any, done: Any, updates: Any) -> None:
        """Gradient steps on batches drawn by number of the step."""
        import tensorflow as tf

        n = tf.shape(data["sets"])[0]
        for i in tf.range(updates):
            seed = tf.stack([self.config.seed, done + i])
            rows = tf.random.stateless_uniform((self.config.batch,), seed, 0, n, tf.int32)
            batch = {
                **data,
                **{name: tf.gather(data[name], rows) for name in _ROWS},
                "weight": tf.gather(data["weight"], rows, axis=1),
            }
            with tf.GradientTape() as tape:
                logit = self._logits(batch, training=True) + batch["offset"][None]
                label = tf.broadcast_to(batch["reward"][None], tf.shape(logit))
                error = tf.nn.sigmoid_cross_entropy_with_logits(label, logit)
                loss = tf.reduce_sum(tf.reduce_mean(batch["weight"] * error, axis=1))
            self.adam.step(gradients_of(tape, loss, self.adam.weights))

    def _logits(self, batch: Any, training: bool = False) -> Any:
        """Click logits of the chosen candidates, (M, B)."""
        import tensorflow as tf

        sets = batch["sets"]
        inputs = {
            "content": tf.gather(batch["content"], sets),
            "present": tf.gather(batch["present"], sets),
            "record": batch["record"],
            "context": batch["context"],
            "available": sets < tf.shape(batch["content"])[0] - 1,
        }
        logit = self.network(inputs, training=training)["click_logit"]
        base = np.float32(np.log(self.config.base_rate / (1 - self.config.base_rate)))
        chosen = tf.one_hot(batch["action"], tf.shape(sets)[1])[None]
        return tf.reduce_sum(logit * chosen, axis=-1) + base


_ROWS = ("sets", "record", "context", "action", "reward", "offset")


def _part(data: dict[str, Any], start: int) -> dict[str, Any]:
    return {name: data[name][start : start + CHUNK] for name in _ROWS}
