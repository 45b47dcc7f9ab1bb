"""Writes ONNX graphs as bytes, without the package `onnx`: nodes, constants, and a model around them.

The numbers of fields are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.wire import Field, write_fields

__all__ = ["DATA_TYPES", "Node", "Writer", "tensor"]

IR_VERSION, GRAPH, OPSET = 1, 7, 8  # of a model
OPSET_DOMAIN, OPSET_VERSION = 1, 2
NODE, GRAPH_NAME, INITIALISER, INPUT, OUTPUT = 1, 2, 5, 11, 12  # of a graph
IN, OUT, OPERATOR, ATTRIBUTE, DOMAIN = 1, 2, 4, 5, 7  # of a node
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_INTS, ATTRIBUTE_TYPE = 1, 3, 8, 20
DIMS, DATA_TYPE, TENSOR_NAME, RAW_DATA = 1, 2, 8, 9  # of a tensor
VALUE_NAME, VALUE_TYPE, TENSOR_TYPE, ELEMENT, SHAPE, LENGTH, LENGTH_NAME = 1, 2, 1, 1, 2, 1, 2  # of an input

DATA_TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    7: np.dtype("<i8"),
}
_FLOAT, _INT64 = 1, 7
_IR = 8
_VERSION = 17
"""Of the standard operators: the first with LayerNormalization."""

Shape = tuple[str | int, ...]


@dataclass(frozen=True)
class Node:
    """An operator with the names of what it reads and makes, and the message that says so."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    message: bytes


@dataclass
class Writer:
    """Collects nodes and constants; every name it makes up starts with the name of what it is about."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """A constant under `name`; the name."""
        self.constants[name] = np.asarray(value)
        return name

    def add(
        self,
        output: str,
        operator: str,
        *inputs: str,
        domain: str = "",
        perm: tuple[int, ...] | None = None,
        **attributes: int,
    ) -> str:
        """A node that makes `output`; the name. `perm` is an attribute, too."""
        fields: list[Field] = [(IN, name.encode()) for name in inputs]
        fields += [(OUT, output.encode()), (OPERATOR, operator.encode()), (DOMAIN, domain.encode())]
        given: dict[str, tuple[int, ...]] = {key: (value,) for key, value in attributes.items()}
        if perm is not None:
            given["perm"] = perm
        for key, values in given.items():
            many = key in ("axes", "perm")
            number, kind = (ATTRIBUTE_INTS, 7) if many else (ATTRIBUTE_INT, 2)
            attribute: list[Field] = [(ATTRIBUTE_NAME, key.encode())]
            attribute += [(number, value) for value in values]
            fields.append((ATTRIBUTE, write_fields([*attribute, (ATTRIBUTE_TYPE, kind)])))
        self.nodes.append(Node(operator, list(inputs), [output], write_fields(fields)))
        return output

    def model(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> bytes:
        """A model of the standard operators: `inputs` are int64, `outputs` float32; a length is a number or a name."""
        graph: list[Field] = [(NODE, node.message) for node in self.nodes]
        graph.append((GRAPH_NAME, b"graph"))
        graph += [(INITIALISER, tensor(name, value)) for name, value in self.constants.items()]
        graph += [(INPUT, _value(name, _INT64, shape)) for name, shape in inputs.items()]
        graph += [(OUTPUT, _value(name, _FLOAT, shape)) for name, shape in outputs.items()]
        opset = write_fields([(OPSET_DOMAIN, b""), (OPSET_VERSION, _VERSION)])
        return write_fields([(IR_VERSION, _IR), (GRAPH, write_fields(graph)), (OPSET, opset)])


def tensor(name: str, array: NDArray[Any]) -> bytes:
    """The message of a constant."""
    kind = next(number for number, dtype in DATA_TYPES.items() if dtype == array.dtype)
    fields: list[Field] = [(DIMS, size) for size in array.shape]
    fields += [(DATA_TYPE, kind), (TENSOR_NAME, name.encode()), (RAW_DATA, array.tobytes())]
    return write_fields(fields)


def _value(name: str, kind: int, shape: Shape) -> bytes:
    lengths = [
        write_fields([(LENGTH, n) if isinstance(n, int) else (LENGTH_NAME, n.encode())]) for n in shape
    ]
    told = write_fields([(ELEMENT, kind), (SHAPE, write_fields([(1, length) for length in lengths]))])
    return write_fields([(VALUE_NAME, name.encode()), (VALUE_TYPE, write_fields([(TENSOR_TYPE, told)]))])
