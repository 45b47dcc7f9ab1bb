"""A dueling network for a fixed number of actions, with its gradient written out.

``h_0 = x, h_i = relu(h_{i-1} W_i + b_i)``, then ``V = h w_V``, ``A = h W_A``, ``Q = V + A - mean A`` (Wang et al. 2016,
eq. 9). The combination is linear, so that ``Q = h C + c`` with ``C = W_A + (w_V - mean of the columns of W_A)``: one
narrow product instead of two and a subtraction, and the mean is taken over 256 weights instead of over the batch.

With ``precision="bfloat16"`` weights, their moments and Q stay float32. The products take bfloat16 and sum in float32;
what passes from layer to layer, and the gradient of a kernel before it is summed over shards, is rounded to bfloat16.

Shape letters: ``B`` rows, ``D`` observation width, ``H`` hidden width, ``A`` actions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from multimodal_dql.errors import UsageError

__all__ = ["DuelingMLP"]


class DuelingMLP:
    """See the module. Calling it gives Q (B, A) float32 and can be differentiated by TensorFlow as well.

    Args:
        width: D.
        actions: A.
        hidden: width of each hidden layer.
        precision: of the matrix products.
        seed: of the initial weights (He et al. 2015, variance 2 / fan-in; the last layer 1 / fan-in).
    """

    def __init__(
        self,
        width: int,
        actions: int,
        hidden: Sequence[int] = (256, 256),
        *,
        precision: Literal["float32", "bfloat16"] = "float32",
        seed: int = 0,
    ) -> None:
        import tensorflow as tf

        if precision not in ("float32", "bfloat16"):
            raise UsageError(
                detail=f"precision '{precision}': choose float32 or bfloat16",
                detail_zh=f"精度 “{precision}”：请选择 float32 或 bfloat16",
            )
        self.width, self.actions, self.hidden = width, actions, tuple(hidden)
        self.dtype = tf.as_dtype(precision)
        rng = np.random.Generator(np.random.Philox(key=[seed, 11]))
        sizes = [width, *self.hidden, 1 + actions]
        self.kernels, self.biases = [], []
        for i, (fan_in, units) in enumerate(itertools.pairwise(sizes)):
            gain = 2.0 if i < len(self.hidden) else 1.0
            drawn = rng.normal(scale=(gain / fan_in) ** 0.5, size=(fan_in, units))
            self.kernels.append(tf.Variable(drawn.astype(np.float32), name=f"kernel_{i}"))
            self.biases.append(tf.Variable(np.zeros(units, np.float32), name=f"bias_{i}"))

    @property
    def trainable_variables(self) -> list[Any]:
        """Kernel and bias of each layer; of the last, column 0 is the value and the others the advantages."""
        return [v for pair in zip(self.kernels, self.biases, strict=True) for v in pair]

    def __call__(self, x: Any) -> Any:
        """Q (B, A) of observations (B, D)."""
        return self.forward(self.products(), x)[1]

    def products(self) -> list[tuple[Any, Any]]:
        """Kernel and bias of each layer as the products take them; once an update, whatever the number of shards."""
        import tensorflow as tf

        *body, (kernel, bias) = zip(self.kernels, self.biases, strict=True)
        head = (tf.cast(_combine(kernel), self.dtype), _combine(bias[None])[0])
        return [*((tf.cast(k, self.dtype), tf.cast(b, self.dtype)) for k, b in body), head]

    def forward(self, products: list[tuple[Any, Any]], x: Any) -> tuple[list[Any], Any]:
        """The input of every layer, (B, D) and (B, H) each, and Q (B, A) float32."""
        import tensorflow as tf

        layers = [tf.cast(x, self.dtype)]
        for kernel, bias in products[:-1]:
            layers.append(tf.nn.relu(tf.nn.bias_add(tf.matmul(layers[-1], kernel), bias)))
        kernel, bias = products[-1]
        return layers, tf.cast(tf.matmul(layers[-1], kernel), tf.float32) + bias

    def backward(self, products: list[tuple[Any, Any]], layers: list[Any], slope: Any) -> list[Any]:
        """Gradients of the combined layers; `gather_up` turns their sum over shards into those of the variables.

        Args:
            products: as given to `forward`.
            layers: as returned by `forward`.
            slope: (B, A) derivative of the loss by Q.

        Returns:
            kernel and bias of each layer, float32; the last of shape (H, A) and (A,).
        """
        import tensorflow as tf

        out: list[Any] = [tf.reduce_sum(slope, axis=0)]
        slope = tf.cast(slope, self.dtype)
        for i in reversed(range(len(layers))):
            out.append(tf.cast(tf.matmul(layers[i], slope, transpose_a=True), tf.float32))
            if i:
                slope = tf.matmul(slope, products[i][0], transpose_b=True)
                slope = tf.raw_ops.ReluGrad(gradients=slope, features=layers[i])
                out.append(tf.reduce_sum(tf.cast(slope, tf.float32), axis=0))
        return out[::-1]

    def gather_up(self, gradients: list[Any]) -> list[Any]:
        """From the gradient of the combined head to that of value and advantages (the transpose of `_combine`)."""
        return [*gradients[:-2], _separate(gradients[-2]), _separate(gradients[-1][None])[0]]


def _combine(head: Any) -> Any:
    """(H, 1 + A), value first, to (H, A): ``A + V - mean A``."""
    import tensorflow as tf

    value, advantage = head[:, :1], head[:, 1:]
    return advantage + (value - tf.reduce_mean(advantage, axis=1, keepdims=True))


def _separate(gradient: Any) -> Any:
    """Gradient by `_combine`'s result (H, A) to the gradient by its argument (H, 1 + A)."""
    import tensorflow as tf

    total = tf.reduce_sum(gradient, axis=1, keepdims=True)
    return tf.concat([total, gradient - total / gradient.shape[1]], axis=1)
