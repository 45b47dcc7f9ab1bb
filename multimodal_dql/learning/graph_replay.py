"""Replay inside the TensorFlow graph: transitions in variables of fixed size, sampled without leaving the graph.

A transition refers to what it saw by row: embeddings stand once in a table of the caller, and a field of the replay
holds their row numbers. Nothing grows: every variable is made once, at its full size.

Uniform sampling draws with replacement. Prioritised sampling is the proportional variant of Schaul et al. 2016,
"Prioritized Experience Replay", section 3.3: ``P(i) = p_i^a / sum p^a``, ``p_i = |TD error| + e``, one draw from each
of B equal strata of the sum, and the importance weights of section 3.4, ``w_i = (n P(i))^-b / max_j w_j``, n the
transitions held and the maximum over the batch. New transitions get the largest priority seen so far (algorithm 1,
line 6). Instead of a binary sum tree there are two levels, sums over blocks of 64 and the priorities in a block: two
searches on contiguous numbers.

Random numbers come from Philox, keyed by the seed and a counter that is part of the state: the same seed draws the same
batches, also after a restart from `state`.

Shape letters: ``B`` transitions of a batch, ``N`` capacity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from multimodal_dql.errors import UsageError

__all__ = ["GraphReplay", "PriorityConfig", "Sample"]

BLOCK = 64
"""Priorities summed into one number of the upper level."""


@dataclass(frozen=True)
class PriorityConfig:
    """Prioritised sampling; see the module for the formulas.

    Attributes:
        exponent: a; 0 is uniform. Schaul et al. use .6.
        correction: b, 1 corrects all bias. Schaul et al. raise it from .4 to 1; a call of `sample` can say another.
        floor: e, so that an error of 0 can still be drawn.
    """

    exponent: float = 0.6
    correction: float = 0.4
    floor: float = 1e-6

    def __post_init__(self) -> None:
        if not (self.exponent >= 0 and 0 <= self.correction <= 1 and self.floor > 0):
            raise UsageError(
                detail=f"priorities: exponent {self.exponent:g} must be 0 or more, correction {self.correction:g} "
                f"from 0 to 1, floor {self.floor:g} above 0",
                detail_zh=f"优先级：exponent（{self.exponent:g}）应不小于 0，correction（{self.correction:g}）"
                f"应在 0 到 1 之间，floor（{self.floor:g}）应大于 0",
            )


class Sample(NamedTuple):
    """A batch: `rows`, field by field (B, ...); `index` (B,) int32; `weight` (B,) float32, 1 when uniform."""

    rows: dict[str, Any]
    index: Any
    weight: Any


class GraphReplay:
    """A ring of transitions in TensorFlow variables.

    `add`, `sample` and `set_priorities` work eagerly and inside a ``tf.function``.

    Args:
        capacity: N, transitions kept; the oldest is overwritten.
        fields: name -> (shape of one entry, NumPy dtype).
        priority: prioritised sampling, or None for uniform.
        seed: of the draws.
    """

    def __init__(
        self,
        capacity: int,
        fields: Mapping[str, tuple[tuple[int, ...], Any]],
        *,
        priority: PriorityConfig | None = None,
        seed: int = 0,
    ) -> None:
        import tensorflow as tf

        if not 0 < capacity < 2**31 or not fields:
            raise UsageError(
                detail=f"replay: a capacity of {capacity} with {len(fields)} fields; give from 1 to 2^31 - 1 "
                "transitions and at least one field",
                detail_zh=f"回放缓存：容量 {capacity}，字段数 {len(fields)}；容量应为 1 到 2^31 - 1，且至少一个字段",
            )
        self.capacity, self.priority, self.seed = capacity, priority, seed
        self.fields = {name: (tuple(shape), np.dtype(kind)) for name, (shape, kind) in fields.items()}
        self.data = {
            name: tf.Variable(tf.zeros((capacity, *shape), kind), trainable=False, name=name)
            for name, (shape, kind) in self.fields.items()
        }
        self.added = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.draws = tf.Variable(0, dtype=tf.int64, trainable=False)
        if priority is not None:
            blocks = -(-capacity // BLOCK)
            self.priorities = tf.Variable(tf.zeros((blocks, BLOCK)), trainable=False)
            self.sums = tf.Variable(tf.zeros(blocks, tf.float64), trainable=False)
            self.highest = tf.Variable(1.0, trainable=False)

    @property
    def bytes_per_transition(self) -> int:
        """Memory of one transition: its fields, and with priorities 4 bytes (and 1/8 of a byte for the sums) more."""
        fields = sum(int(kind.itemsize) * math.prod(shape) for shape, kind in self.fields.values())
        return fields + (4 if self.priority is not None else 0)

    @property
    def size(self) -> Any:
        """Transitions held, a scalar int64 tensor."""
        import tensorflow as tf

        return tf.minimum(self.added, self.capacity)

    @property
    def state(self) -> dict[str, Any]:
        """Every variable, by name: what a checkpoint must hold to go on drawing the same batches."""
        named = {f"field_{name}": v for name, v in self.data.items()} | {
            "added": self.added,
            "draws": self.draws,
        }
        if self.priority is not None:
            named |= {"priorities": self.priorities, "sums": self.sums, "highest": self.highest}
        return named

    def add(self, batch: Mapping[str, Any]) -> None:
        """Append a batch, field by field; every array has the batch as its first axis.

        Raises:
            UsageError: fields that are missing or unknown, or of different length.
        """
        import tensorflow as tf

        rows = {
            name: tf.convert_to_tensor(v, self.data[name].dtype)
            for name, v in batch.items()
            if name in self.data
        }
        lengths = {v.shape[0] for v in rows.values()}
        if set(batch) != set(self.data) or len(lengths) != 1:
            raise UsageError(
                detail=f"replay: a batch with the fields {sorted(batch)} of lengths {sorted(map(str, lengths))}; give "
                f"{sorted(self.data)}, all of one length",
                detail_zh=f"回放缓存：批次字段为 {sorted(batch)}，长度为 {sorted(map(str, lengths))}；"
                f"请给出 {sorted(self.data)}，且长度一致",
            )
        count = tf.shape(next(iter(rows.values())), tf.int64)[0]
        kept = tf.minimum(
            count, self.capacity
        )  # more than fit would be overwritten at once, in no certain order
        at = tf.cast((self.added + tf.range(count - kept, count)) % self.capacity, tf.int32)
        for name, store in self.data.items():
            store.scatter_update(tf.IndexedSlices(rows[name][count - kept :], at))
        self.added.assign_add(count)
        if self.priority is not None:
            self._set(at, tf.fill(tf.shape(at), self.highest.read_value()))

    def sample(self, count: int, *, correction: Any = None) -> Sample:
        """Draw `count` transitions with replacement; the replay must not be empty.

        Args:
            count: B.
            correction: b in place of `PriorityConfig.correction`; a number or a scalar tensor.
        """
        import tensorflow as tf

        seed = tf.stack([tf.constant(self.seed, tf.int64), self.draws.read_value()])
        self.draws.assign_add(1)
        if self.priority is None:
            size = tf.cast(self.size, tf.int32)
            index = tf.random.stateless_uniform((count,), seed, 0, size, tf.int32, alg="philox")
            return Sample(self.rows(index), index, tf.ones((count,)))
        index, share = self._draw(count, seed)
        power = -(self.priority.correction if correction is None else correction)
        weight = tf.pow(tf.cast(self.size, tf.float32) * share, power)
        return Sample(self.rows(index), index, weight / tf.reduce_max(weight))

    def rows(self, index: Any) -> dict[str, Any]:
        """The transitions at `index`, field by field; gathered from the variables, which are not copied."""
        import tensorflow as tf

        return {name: tf.gather(store, index) for name, store in self.data.items()}

    def set_priorities(self, index: Any, error: Any) -> None:
        """Give the transitions at `index` (B,) the priority of their TD error, (B,) or (M, B): the mean of its size.

        Where an index occurs twice, one of its two errors counts. Nothing happens when sampling is uniform.
        """
        import tensorflow as tf

        if self.priority is None:
            return
        size = tf.abs(error)
        while len(size.shape) > 1:
            size = tf.reduce_mean(size, axis=0)
        value = tf.pow(size + self.priority.floor, self.priority.exponent)
        self.highest.assign(tf.maximum(self.highest, tf.reduce_max(value)))
        self._set(index, value)

    def _set(self, index: Any, value: Any) -> None:
        """Write priorities to the power a, and sum their blocks anew, so that rounding never adds up."""
        import tensorflow as tf

        block = index // BLOCK
        self.priorities.scatter_nd_update(tf.stack([block, index % BLOCK], axis=1), value)
        sums = tf.reduce_sum(tf.cast(tf.gather(self.priorities, block), tf.float64), axis=1)
        self.sums.scatter_update(tf.IndexedSlices(sums, block))

    def _draw(self, count: int, seed: Any) -> tuple[Any, Any]:
        """Stratified draws in proportion to the priorities: index (B,) and probability (B,)."""
        import tensorflow as tf

        upper = tf.cumsum(self.sums.read_value())
        total = upper[-1]
        draw = tf.random.stateless_uniform((count,), seed, dtype=tf.float64, alg="philox")
        at = (tf.range(count, dtype=tf.float64) + draw) / count * total
        at = tf.minimum(at, total * (1.0 - 1e-12))  # rounding may reach the end, behind which nothing stands
        block = tf.searchsorted(upper, at, side="right")
        inside = at - (tf.gather(upper, block) - tf.gather(self.sums, block))
        priorities = tf.gather(self.priorities, block)
        lower = tf.cumsum(tf.cast(priorities, tf.float64), axis=1)
        # For the same reason: a draw at the end of its block means the last place that holds something.
        inside = tf.minimum(inside, lower[:, -1] * (1.0 - 1e-12))
        place = tf.searchsorted(lower, inside[:, None], side="right")[:, 0]
        chosen = tf.gather(priorities, place, batch_dims=1)
        return block * BLOCK + place, chosen / tf.cast(total, tf.float32)
