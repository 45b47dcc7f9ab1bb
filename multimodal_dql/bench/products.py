"""The matrix products of an update, alone: how much of the time of an update they would take if nothing else were done.

Every product of the traced update is found by its name in the graph, and done again with the same shapes, transposes,
precision and number of threads on numbers that lie ready. What remains of an update's time is everything else:
gathering, normalising, the optimiser, and moving data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from multimodal_dql.learning.learner import Learner

__all__ = ["Product", "bare_products", "products_of"]


class Product(NamedTuple):
    """One (batched) matrix product."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    transpose_left: bool
    transpose_right: bool
    dtype: str

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        inner = self.left[-2] if self.transpose_left else self.left[-1]
        rows = self.left[-1] if self.transpose_left else self.left[-2]
        columns = self.right[-2] if self.transpose_right else self.right[-1]
        batch = np.broadcast_shapes(self.left[:-2], self.right[:-2])
        return 2 * inner * rows * columns * int(np.prod(batch))


def products_of(learner: Learner) -> list[Product]:
    """Every matrix product of one update of `learner`."""
    import tensorflow as tf

    def once() -> Any:
        return learner.updater.update(learner.replay.sample(learner.batch).rows).metrics

    graph = tf.function(once, autograph=False).get_concrete_function().graph
    found = []
    for op in graph.get_operations():
        if op.type in ("MatMul", "BatchMatMulV2"):
            flags = ("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y")
            first, second = (bool(op.get_attr(flag)) for flag in flags)
            left, right = (tuple(map(int, x.shape)) for x in op.inputs)
            found.append(Product(left, right, first, second, op.inputs[0].dtype.name))
    return found


def bare_products(products: Sequence[Product]) -> Callable[[int], object]:
    """A function that does the products of n updates and nothing else."""
    import tensorflow as tf

    # Variables, so that TensorFlow can neither do a product ahead of time nor take two for the same.
    pairs = [
        tuple(
            tf.Variable(tf.cast(tf.random.normal(shape), p.dtype), trainable=False)
            for shape in (p.left, p.right)
        )
        for p in products
    ]

    def multiply(product: Product, left: Any, right: Any) -> Any:
        done = tf.matmul(left, right, transpose_a=product.transpose_left, transpose_b=product.transpose_right)
        return tf.cast(tf.reshape(done, [-1])[0], tf.float32)

    def once(i: Any, total: Any) -> tuple[Any, Any]:
        each = [multiply(p, *pair) for p, pair in zip(products, pairs, strict=True)]
        return i + 1, total + tf.add_n(each)

    def loop(updates: Any) -> Any:
        return tf.while_loop(lambda i, _: i < updates, once, (tf.constant(0), tf.constant(0.0)))[1]

    traced = tf.function(loop, autograph=False)
    return lambda updates: traced(tf.constant(updates)).numpy()
