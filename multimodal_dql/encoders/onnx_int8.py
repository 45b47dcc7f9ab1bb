"""Rewrites an ONNX model whose weights are kept in int8 so that it also multiplies in int8.

Such a file turns its weights to float32 before each product. Here activations become 8-bit integers instead,
each row (token) with a scale of its own, so that a row's result depends on that row alone (Dettmers et al.,
2022, LLM.int8(), arXiv:2208.07339, section 2). Weights stay what they are. A model in which nothing of the
kind is found is left alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.onnx_writer import (
    DATA_TYPE,
    DATA_TYPES,
    DIMS,
    GRAPH,
    IN,
    INITIALISER,
    NODE,
    OPERATOR,
    OPSET,
    OPSET_DOMAIN,
    OPSET_VERSION,
    OUT,
    OUTPUT,
    RAW_DATA,
    TENSOR_NAME,
    Node,
    Writer,
    tensor,
)
from multimodal_dql.encoders.wire import Field, read_fields, write_fields

__all__ = ["int8_products"]

_OPSETS = range(13, 18)
"""Versions whose ReduceMax has its axes as an attribute, and whose QuantizeLinear knows an axis."""

_VENDOR = "com.microsoft"
_TINY = np.float32(1e-20)
"""Stands in for the largest number of a row of zeros."""


@dataclass(frozen=True)
class _Weights:
    """The int8 matrix called `name` (K, N) and its scales (N,), as float32."""

    name: str
    values: NDArray[np.int8]
    scales: NDArray[np.float32]


def int8_products(model: bytes) -> bytes | None:
    """`model` with integer products, or None where none can be had: other patterns, another version.

    What a layer normalisation gives is written as two 8-bit digits (an error of about 1e-5), because what
    follows, attention above all, amplifies errors; other activations as one digit.
    """
    try:
        return _rewritten(read_fields(model))
    except (ValueError, LookupError):  # not what onnx.proto says
        return None


def _rewritten(model: list[Field]) -> bytes | None:
    versions = [dict(_message(value)) for number, value in model if number == OPSET]
    opsets = {item.get(OPSET_DOMAIN, b""): item.get(OPSET_VERSION) for item in versions}
    (graph,) = [_message(value) for number, value in model if number == GRAPH]
    if opsets.get(b"") not in _OPSETS:
        return None
    nodes = [_node(value) for number, value in graph if number == NODE]
    tensors = dict(_named(value) for number, value in graph if number == INITIALISER)
    makers = {name: node for node in nodes for name in node.outputs}
    writer, digits = Writer(), dict[str, tuple[str, ...]]()
    found = False
    for node in nodes:
        weights = _int8_weights(node, makers, tensors)
        if weights is None:
            writer.nodes.append(node)
            continue
        found = True
        source = node.inputs[0]
        exact = source in makers and makers[source].operator == "LayerNormalization"
        if source not in digits:
            digits[source] = (_two_digits if exact else _one_digit)(writer, source, len(weights.values))
        (_two_products if exact else _one_product)(writer, node.outputs[0], digits[source], weights)
    if not found:
        return None
    outputs = {_text(dict(_message(value))[1]) for number, value in graph if number == OUTPUT}
    rest = [item for item in graph if item[0] != NODE]
    rest += [(NODE, node.message) for node in _needed(writer.nodes, outputs)]
    rest += [(INITIALISER, tensor(name, value)) for name, value in writer.constants.items()]
    edited = [item for item in model if item[0] != GRAPH]
    edited.append((GRAPH, write_fields(rest)))
    if _VENDOR.encode() not in opsets:
        edited.append((OPSET, write_fields([(OPSET_DOMAIN, _VENDOR.encode()), (OPSET_VERSION, 1)])))
    return write_fields(edited)


def _int8_weights(node: Node, makers: dict[str, Node], tensors: dict[str, bytes]) -> _Weights | None:
    """The weights of `node` if it is MatMul(x, Mul(Cast(int8 matrix), scales of its columns))."""
    if node.operator != "MatMul" or node.inputs[1] not in makers:
        return None
    scaled = makers[node.inputs[1]]
    if scaled.operator != "Mul" or scaled.inputs[0] not in makers or scaled.inputs[1] not in tensors:
        return None
    cast = makers[scaled.inputs[0]]
    if cast.operator != "Cast" or cast.inputs[0] not in tensors:
        return None
    values, scales = _array(tensors[cast.inputs[0]]), _array(tensors[scaled.inputs[1]])
    if values is None or scales is None or values.dtype != np.int8 or scales.dtype != np.float32:
        return None
    if values.ndim != 2 or scales.shape not in ((1, values.shape[1]), (values.shape[1],)):
        return None
    return _Weights(cast.inputs[0], values, scales.reshape(-1))


def _two_digits(w: Writer, x: str, width: int) -> tuple[str, ...]:
    """Names of coarse, fine and step, such that x = step (coarse - 128) + step / 254 (fine - 128)."""
    p = f"{x}/int8/"
    low = w.add(p + "negative", "Neg", w.add(p + "low", "ReduceMin", x, axes=-1, keepdims=1))
    high = w.add(p + "high", "ReduceMax", x, axes=-1, keepdims=1)
    largest = w.add(p + "largest", "Max", high, low, w.constant(p + "tiny", _TINY))
    step = w.add(p + "step", "Mul", largest, w.constant(p + "share", np.float32(1 / 127)))
    rows, steps, zeros = _rows(w, p, x, step, width, zero=128)
    coarse = w.add(p + "coarse_rows", "QuantizeLinear", rows, steps, zeros, axis=0)
    back = w.add(p + "back", "DequantizeLinear", coarse, steps, zeros, axis=0)
    rest = w.add(p + "rest", "Sub", rows, back)
    fine_steps = w.add(p + "fine_steps", "Mul", steps, w.constant(p + "fine_share", np.float32(1 / 254)))
    fine = w.add(p + "fine_rows", "QuantizeLinear", rest, fine_steps, zeros, axis=0)
    shape = w.add(p + "shape", "Shape", x)
    return (
        w.add(p + "coarse", "Reshape", coarse, shape),
        w.add(p + "fine", "Reshape", fine, shape),
        step,
    )


def _one_digit(w: Writer, x: str, width: int) -> tuple[str, ...]:
    """Names of digit, step and low, such that x = low + step digit up to rounding."""
    p = f"{x}/int8/"
    low = w.add(p + "low", "ReduceMin", x, axes=-1, keepdims=1)
    span = w.add(p + "span", "Sub", w.add(p + "high", "ReduceMax", x, axes=-1, keepdims=1), low)
    largest = w.add(p + "largest", "Max", span, w.constant(p + "tiny", _TINY))
    step = w.add(p + "step", "Mul", largest, w.constant(p + "share", np.float32(1 / 255)))
    rows, steps, zeros = _rows(w, p, w.add(p + "above", "Sub", x, low), step, width, zero=0)
    digit = w.add(p + "digit_rows", "QuantizeLinear", rows, steps, zeros, axis=0)
    return w.add(p + "digit", "Reshape", digit, w.add(p + "shape", "Shape", x)), step, low


def _rows(w: Writer, p: str, x: str, step: str, width: int, *, zero: int) -> tuple[str, str, str]:
    """Names of x as (rows, width), its steps (rows,) and zero points (rows,), as QuantizeLinear wants them."""
    rows = w.add(p + "rows", "Reshape", x, w.constant(p + "flat", np.array([-1, width], np.int64)))
    steps = w.add(p + "steps", "Reshape", step, w.constant(p + "all", np.array([-1], np.int64)))
    point = w.constant(p + "zero", np.array([zero], np.uint8))
    return rows, steps, w.add(p + "zeros", "Expand", point, w.add(p + "count", "Shape", steps))


def _two_products(w: Writer, y: str, digits: tuple[str, ...], weights: _Weights) -> None:
    coarse, fine, step = digits
    large = _product(w, y + "/coarse", coarse, weights, weights.scales, zero=128)
    small = _product(w, y + "/fine", fine, weights, weights.scales / np.float32(254), zero=128)
    w.add(y, "Mul", w.add(y + "/sum", "Add", large, small), step)


def _one_product(w: Writer, y: str, digits: tuple[str, ...], weights: _Weights) -> None:
    digit, step, low = digits
    product = _product(w, y + "/digit", digit, weights, weights.scales, zero=0)
    sums = (weights.values.sum(axis=0, dtype=np.int64) * weights.scales).astype(np.float32)
    base = w.add(y + "/base", "Mul", low, w.constant(y + "/sums", sums))
    w.add(y, "Add", w.add(y + "/scaled", "Mul", product, step), base)


def _product(
    w: Writer, p: str, digit: str, weights: _Weights, scales: NDArray[np.float32], *, zero: int
) -> str:
    one, point = w.constant(p + "/one", np.float32(1)), w.constant(p + "/zero", np.uint8(zero))
    scale = w.constant(p + "/scales", scales)
    inputs = (digit, weights.name, one, scale, point)
    return w.add(p + "/product", "MatMulIntegerToFloat", *inputs, domain=_VENDOR)


def _needed(nodes: list[Node], outputs: set[str]) -> list[Node]:
    """Nodes in their order, without those (the casts of weights) that lead to no output."""
    wanted, kept = set(outputs), list[Node]()
    for node in reversed(nodes):
        # Only what makes weights: the body of a loop may read names that are not among its inputs.
        if wanted.isdisjoint(node.outputs) and node.operator in ("Cast", "Mul"):
            continue
        wanted.update(node.inputs)
        kept.append(node)
    return kept[::-1]


def _message(value: int | bytes) -> list[Field]:
    return read_fields(_bytes(value))


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where there should be a message")
    return value


def _node(value: int | bytes) -> Node:
    fields = _message(value)
    texts = {number: [_text(value) for at, value in fields if at == number] for number in (IN, OUT, OPERATOR)}
    return Node("".join(texts[OPERATOR]), texts[IN], texts[OUT], _bytes(value))


def _named(value: int | bytes) -> tuple[str, bytes]:
    names = [_text(name) for number, name in _message(value) if number == TENSOR_NAME]
    return "".join(names), _bytes(value)


def _array(message: bytes) -> NDArray[Any] | None:
    """The tensor of `message` if it is of a known type and holds its numbers as raw bytes."""
    fields = read_fields(message)
    shape = [value for number, value in fields if number == DIMS and isinstance(value, int)]
    known = dict(fields)
    kind, raw = known.get(DATA_TYPE), known.get(RAW_DATA)
    if not isinstance(kind, int) or not isinstance(raw, bytes) or kind not in DATA_TYPES:
        return None
    dtype = DATA_TYPES[kind]
    return np.frombuffer(raw, dtype).reshape(shape) if len(raw) == dtype.itemsize * math.prod(shape) else None


def _text(value: int | bytes) -> str:
    return _bytes(value).decode("utf-8")
