"""The wire format of Protocol Buffers, as much as it takes to edit or look through a message without its schema.

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from multimodal_dql.encoders.reasons import Reason

__all__ = ["Field", "read_fields", "skim_fields", "write_fields"]

Field = tuple[int, int | bytes]
"""Number and value. A varint is an int; everything of a length is bytes, a message within included."""

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


def read_fields(message: bytes) -> list[Field]:
    """Fields of `message` in their order; `ValueError` if it is none, or has numbers of fixed size.

    Fixed-size numbers (floats of the message itself, not of packed lists) occur in no message that is edited.
    """
    fields: list[Field] = []
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == _VARINT:
            value, at = _varint(message, at)
            fields.append((tag >> 3, value))
        elif tag & 7 == _LENGTH:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise Reason("a field ends behind the message", "字段超出消息末尾")
            fields.append((tag >> 3, message[at : at + length]))
            at += length
        else:
            raise Reason(f"wire type {tag & 7} at byte {at}", f"第 {at} 字节处的线路类型为 {tag & 7}")
    return fields


def skim_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of `message`, of any wire type and without copying.

    A number of fixed size is given as its bytes. `ValueError` where the message breaks off or is none.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _LENGTH:
            length, at = _varint(message, at)
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            length = 4 if kind == _FOUR_BYTES else 8
        else:
            raise Reason(f"wire type {kind} at byte {at}", f"第 {at} 字节处的线路类型为 {kind}")
        if at + length > len(message):
            raise Reason("a field ends behind the message", "字段超出消息末尾")
        yield tag >> 3, message[at : at + length]
        at += length


def write_fields(fields: Iterable[Field]) -> bytes:
    """The message of `fields`; negative ints are written as 64-bit two's complement."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _as_varint(number << 3 | _VARINT) + _as_varint(value & (1 << 64) - 1)
        else:
            out += _as_varint(number << 3 | _LENGTH) + _as_varint(len(value))
            out += value
    return bytes(out)


def _varint(message: bytes | memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise Reason("the message ends within a number", "消息在数字中途结束")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Reason("a number of more than ten bytes", "数字超过十个字节")


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
