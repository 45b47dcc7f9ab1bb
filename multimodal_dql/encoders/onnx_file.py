"""What an ONNX file asks for, read before any runtime opens it.

A model is data only as long as its operators are ONNX's own, its weights lie in the file or in files the card
names, and its tensors hold what they declare. The file is walked in the wire format of Protocol Buffers
(`multimodal_dql.encoders.wire`) without copying a tensor, so that a large model costs no memory.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from multimodal_dql.encoders.reasons import Reason, both
from multimodal_dql.encoders.wire import skim_fields
from multimodal_dql.errors import EncoderError

__all__ = ["check_onnx", "read_onnx"]

# Numbers of fields in onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
_GRAPH, _FUNCTION = 7, 25  # of a model
_NODE, _INITIALISER, _SPARSE = 1, 5, 15  # of a graph
_FUNCTION_NODE = 7
_OPERATOR, _ATTRIBUTE, _DOMAIN = 4, 5, 7  # of a node
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSE_TENSOR, _SPARSE_TENSORS = (
    5,
    6,
    10,
    11,
    22,
    23,
)  # of an attribute
_DIMS, _DATA_TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14  # of a tensor
_VALUES, _INDICES = 1, 2  # of a sparse tensor
_KEY, _VALUE = 1, 2  # of an entry of a tensor's external data

_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
"""Bytes of a number of each data type; smaller ones (4 bits, 8-bit floats) count as half a byte."""

_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"}
"""Operators that ONNX Runtime brings; any other comes from a library of somebody's."""

_MAX_DEPTH = 32
"""Graphs within graphs."""


@dataclass
class OnnxFacts:
    """What was found.

    Attributes:
        foreign: ``domain.Operator`` of each operator that is not ONNX Runtime's.
        locations: files that hold weights outside the model.
        oversized: name -> numbers declared, of tensors that hold fewer.

    """

    foreign: set[str] = field(default_factory=set)
    locations: set[str] = field(default_factory=set)
    oversized: dict[str, int] = field(default_factory=dict)


def read_onnx(path: Path) -> OnnxFacts:
    """What the model at `path` asks for; `ValueError` if it is no ONNX model."""
    facts, graphs = OnnxFacts(), 0
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise Reason("the file is empty", "文件为空")
        # Closed when the last view of it is gone; closing it here would be refused while one is held.
        message = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    for number, value in skim_fields(message):
        if number == _GRAPH and isinstance(value, memoryview):
            graphs += 1
            _graph(value, facts, 0)
        elif number == _FUNCTION and isinstance(value, memoryview):
            for inner, node in skim_fields(value):
                if inner == _FUNCTION_NODE and isinstance(node, memoryview):
                    _node(node, facts, 0)
    if graphs != 1:
        raise Reason("it holds no graph", "其中没有计算图")
    return facts


def check_onnx(name: str, path: Path, hashed: Collection[str] = ()) -> None:
    """Raises `EncoderError` for a model of the encoder `name` that ONNX Runtime should not be given.

    Args:
        name: of the encoder.
        path: of the model.
        hashed: files that the card names, with hashes; weights may lie in these and nowhere else.

    """
    try:
        facts = read_onnx(path)
    except (ValueError, OSError, RecursionError) as error:
        reason, reason_zh = both(error)
        raise EncoderError(
            name=name,
            detail=f"{path.name} is no ONNX model: {reason}",
            detail_zh=f"{path.name} 不是 ONNX 模型：{reason_zh}",
        ) from error
    if facts.foreign:
        one = min(facts.foreign)
        raise EncoderError(
            name=name,
            detail=f"{path.name} needs the operator {one}, which is code from elsewhere and is never "
            "loaded; export the "
            "model with standard ONNX operators",
            detail_zh=f"{path.name} 需要算子 {one}，这是外来代码，绝不会加载；请仅用标准 ONNX 算子导出模型",
        )
    if outside := sorted(facts.locations - set(hashed)):
        raise EncoderError(
            name=name,
            detail=f"{path.name} keeps weights in {outside[0]!r}, which its card does not list; add that file to the "
            "card (in the folder of the model), or export one file",
            detail_zh=f"{path.name} 的权重位于 {outside[0]!r}，而卡片未列出该文件；请把它（放在模型文件夹内）写入卡片，"
            "或导出为单个文件",
        )
    if facts.oversized:
        tensor, count = next(iter(facts.oversized.items()))
        raise EncoderError(
            name=name,
            detail=f"{path.name} declares {count} numbers in the tensor {tensor!r} and holds fewer; "
            "the file is damaged "
            "or made to exhaust memory, export it again",
            detail_zh=f"{path.name} 的张量 {tensor!r} 声明了 {count} 个数，实际更少；"
            "文件已损坏或意在耗尽内存，请重新导出",
        )


def _graph(message: memoryview, facts: OnnxFacts, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise Reason("its graphs are nested too deeply", "计算图嵌套过深")
    for number, value in skim_fields(message):
        if not isinstance(value, memoryview):
            continue
        if number == _NODE:
            _node(value, facts, depth)
        elif number == _INITIALISER:
            _tensor(value, facts)
        elif number == _SPARSE:
            _sparse(value, facts)


def _node(message: memoryview, facts: OnnxFacts, depth: int) -> None:
    operator, domain = "", ""
    for number, value in skim_fields(message):
        if not isinstance(value, memoryview):
            continue
        if number == _OPERATOR:
            operator = bytes(value).decode("utf-8", "replace")
        elif number == _DOMAIN:
            domain = bytes(value).decode("utf-8", "replace")
        elif number == _ATTRIBUTE:
            _attribute(value, facts, depth)
    if domain not in _DOMAINS:
        facts.foreign.add(f"{domain}.{operator}")


def _attribute(message: memoryview, facts: OnnxFacts, depth: int) -> None:
    for number, value in skim_fields(message):
        if not isinstance(value, memoryview):
            continue
        if number in (_TENSOR, _TENSORS):
            _tensor(value, facts)
        elif number in (_SPARSE_TENSOR, _SPARSE_TENSORS):
            _sparse(value, facts)
        elif number in (_SUBGRAPH, _SUBGRAPHS):
            _graph(value, facts, depth + 1)


def _sparse(message: memoryview, facts: OnnxFacts) -> None:
    for number, value in skim_fields(message):
        if number in (_VALUES, _INDICES) and isinstance(value, memoryview):
            _tensor(value, facts)


def _tensor(message: memoryview, facts: OnnxFacts) -> None:
    dims: list[int] = []
    kind, held, name, external = 0, 0, "", False
    for number, value in skim_fields(message):
        if number == _DIMS:
            dims += [value] if isinstance(value, int) else list(_packed(value))
        elif number == _DATA_TYPE and isinstance(value, int):
            kind = value
        elif isinstance(value, int):
            external |= number == _LOCATION and value == 1
        elif number == _NAME:
            name = bytes(value).decode("utf-8", "replace")
        elif number == _EXTERNAL:
            external = True
            _external(value, facts)
        else:  # raw data, or one of the typed lists: no number takes fewer bytes in those than it takes in memory ...
            held += len(value)
    count = math.prod(dims)
    # ... but a small integer, which is a varint there: at least one byte each.
    least = count * (_BYTES.get(kind, 0) or 0.5) if kind in (1, 11) else count / 2
    if not external and held < least:
        facts.oversized[name] = count


def _external(message: memoryview, facts: OnnxFacts) -> None:
    entry = {
        number: bytes(value).decode("utf-8", "replace")
        for number, value in skim_fields(message)
        if isinstance(value, memoryview)
    }
    if entry.get(_KEY) == "location":
        facts.locations.add(entry.get(_VALUE, ""))


def _packed(message: memoryview) -> Iterator[int]:
    value = shift = 0
    for byte in message:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
