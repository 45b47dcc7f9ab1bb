"""A plain network on context and candidate side by side, in NumPy and ONNX Runtime: what `bench decide` stands next to.

Two hidden layers of 256 and one output: no norms, no siblings, no choice at the end, and nothing prepared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.wire import Field, write_fields

__all__ = ["plain_networks"]

Float = NDArray[np.float32]
Network = Callable[[Float, Float], Float]
"""Context (C,) and content (K, P) to one number a candidate, (K, 1)."""

FLOAT = 1
"""Of onnx.proto, as the field numbers below (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto)."""


def plain_networks(rng: np.random.Generator, width: int, hidden: int = 256) -> dict[str, Network]:
    """The same network of random weights by the name of what runs it, on one thread.

    Args:
        rng: of the weights.
        width: C + P.
        hidden: of both layers.
    """
    shapes = ((width, hidden), (hidden, hidden), (hidden, 1))
    kernels = [rng.standard_normal(shape, dtype=np.float32) / np.float32(shape[0] ** 0.5) for shape in shapes]
    biases = [rng.standard_normal(shape[1], dtype=np.float32) for shape in shapes]
    session = onnx_session("plain network", _model(kernels, biases))
    names = ["out"]
    zero = np.float32(0.0)

    def in_numpy(context: Float, content: Float) -> Float:
        x = _beside(context, content)
        for kernel, bias in zip(kernels[:2], biases[:2], strict=True):
            x = x @ kernel
            x += bias
            np.maximum(x, zero, out=x)
        return np.asarray(x @ kernels[2] + biases[2])

    def in_onnx(context: Float, content: Float) -> Float:
        return np.asarray(session.run(names, {"in": _beside(context, content)})[0])

    name = f"MLP {width}-{hidden}-{hidden}-1"
    return {f"NumPy {name}": in_numpy, f"ONNX Runtime {name}": in_onnx}


def _beside(context: Float, content: Float) -> Float:
    x = np.empty((len(content), len(context) + content.shape[1]), np.float32)
    x[:, : len(context)] = context
    x[:, len(context) :] = content
    return x


def _model(kernels: list[Float], biases: list[Float]) -> bytes:
    """ModelProto: matrix product, sum and relu by turns, no relu at the end."""
    graph: list[Field] = [(2, b"plain")]
    at = "in"
    for i, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        graph += [(5, _tensor(f"kernel{i}", kernel)), (5, _tensor(f"bias{i}", bias))]
        last = i == len(kernels) - 1
        graph += [(1, _node("MatMul", [at, f"kernel{i}"], f"product{i}"))]
        at = "out" if last else f"sum{i}"
        graph += [(1, _node("Add", [f"product{i}", f"bias{i}"], at))]
        if not last:
            graph += [(1, _node("Relu", [at], f"relu{i}"))]
            at = f"relu{i}"
    graph += [(11, _value("in", kernels[0].shape[0])), (12, _value("out", kernels[-1].shape[1]))]
    return write_fields([(1, 8), (8, write_fields([(2, 17)])), (7, write_fields(graph))])


def _node(kind: str, inputs: list[str], output: str) -> bytes:
    return write_fields([*((1, name.encode()) for name in inputs), (2, output.encode()), (4, kind.encode())])


def _tensor(name: str, values: Float) -> bytes:
    dims: list[Field] = [(1, n) for n in values.shape]
    return write_fields([*dims, (2, FLOAT), (8, name.encode()), (9, values.tobytes())])


def _value(name: str, width: int) -> bytes:
    """An input or output (K, width)."""
    dims = [(1, write_fields([(2, b"K")])), (1, write_fields([(1, width)]))]
    tensor = write_fields([(1, FLOAT), (2, write_fields(dims))])
    return write_fields([(1, name.encode()), (2, write_fields([(1, tensor)]))])
