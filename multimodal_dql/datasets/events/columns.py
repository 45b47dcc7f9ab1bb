"""Columns as others wrote them, cast to the types of the schema; what cannot be cast is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from multimodal_dql.datasets.events.schema import event_schema, refused
from multimodal_dql.errors import EventsError

__all__ = ["absent", "cast_column", "finished", "working_type"]

_PAIRS = pa.list_(pa.struct([pa.field("key", pa.string()), pa.field("value", pa.string())]))
_SAID = {
    "time": "a timestamp or a text such as 2026-01-31T12:00:00Z",
    "context": "a map or struct of texts",
    "candidates": "a list of texts",
    "records": "a list of structs with impressions and clicks",
}


def working_type(name: str) -> Any:
    """The type a column has while it is checked: that of the schema, but clicks are floats and no dictionaries."""
    if name == "click":
        return pa.float64()
    kind = event_schema().field(name).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def absent(name: str, rows: int) -> Any:
    """A column of nulls, in its working type."""
    return pa.nulls(rows, working_type(name))


def cast_column(path: Path, name: str, held: Any) -> tuple[Any, bool]:
    """A `pyarrow` array in its working type, and whether it is of times without a zone.

    Raises:
        EventsError: the column is of another type, or holds what is no value of its type.
    """
    try:
        return _cast(name, held)
    except (pa.ArrowException, _OtherType, UnicodeDecodeError) as error:
        kind = working_type(name)
        said = _SAID.get(name, str(kind).replace("string", "text").replace("double", "a number"))
        said = "0 or 1" if name == "click" else said
        raise _wrong(path, name, held.type, said) from error


def _wrong(path: Path, name: str, kind: Any, said: str) -> EventsError:
    return refused(
        path,
        f"column {name} is {kind}, not {said}, or holds a value that is none; convert it, e.g. with pyarrow or pandas",
        f"列 {name} 的类型为 {kind}，应为 {said}，或含有不合类型的值；请先转换，例如用 pyarrow 或 pandas",
    )


class _OtherType(Exception):
    pass


def _cast(name: str, held: Any) -> tuple[Any, bool]:
    kind, types = working_type(name), pa.types
    if types.is_null(held.type):
        return pa.nulls(len(held), kind), False
    if types.is_dictionary(held.type):
        held = held.cast(held.type.value_type)
    if name == "time":
        return _times(held, kind)
    if name == "context":
        return _context(held), False
    if name == "records":
        return _records(held), False
    if types.is_list(kind) or types.is_string(kind):
        inner = getattr(held.type, "value_type", None) if types.is_list(kind) else held.type
        if inner is None or not _is_name(inner):
            raise _OtherType
        out = held.cast(kind)
        (out.flatten() if types.is_list(kind) else out).validate(full=True)  # it may be no UTF-8
        return out, False
    if types.is_boolean(held.type):
        held = held.cast(pa.int8())
    return held.cast(kind, safe=types.is_integer(kind)), False


def _is_name(kind: Any) -> bool:
    """Types that ids come in; a float is none, for it has lost digits or gained a point."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_null(kind)
    )


def _times(held: Any, kind: Any) -> tuple[Any, bool]:
    types = pa.types
    if types.is_timestamp(held.type):
        naive = held.type.tz is None
        return held.cast(pa.timestamp("us"), safe=False).cast(kind) if naive else held.cast(
            kind, safe=False
        ), naive
    if types.is_date(held.type):
        return held.cast(pa.timestamp("us")).cast(kind), True
    if not (types.is_string(held.type) or types.is_large_string(held.type)):
        raise _OtherType
    try:
        return held.cast(kind), False
    except pa.ArrowInvalid:
        return held.cast(pa.timestamp("us")).cast(kind), True


def _context(held: Any) -> Any:
    """A map of texts, from a map, a list of key and value, or a struct with a field for each name."""
    kind, types = working_type("context"), pa.types
    if types.is_map(held.type):
        out = held.cast(kind)
        out.cast(_PAIRS).flatten().validate(full=True)
        return out
    if types.is_list(held.type) and types.is_struct(held.type.value_type):
        return held.cast(_PAIRS).cast(kind)
    if not types.is_struct(held.type):
        raise _OtherType
    names = [field.name for field in held.type]
    values = [field.cast(pa.string()) for field in held.flatten()]
    n = len(held)
    if not names:
        return pa.array([[]] * n, kind)
    # Field by field turned to row by row, without what is null.
    across = (np.arange(n)[:, None] + np.arange(len(names)) * n).ravel()
    every = pa.concat_arrays(values).take(pa.array(across))
    there = every.is_valid().to_numpy(zero_copy_only=False).reshape(n, len(names))
    keys = pa.array(names, pa.string()).take(pa.array(np.tile(np.arange(len(names)), n)))
    keys = keys.filter(every.is_valid())
    offsets = pa.array(np.append(0, there.sum(axis=1).cumsum()).astype(np.int32))
    return pa.MapArray.from_arrays(offsets, keys, every.drop_null())


def _records(held: Any) -> Any:
    """Impressions and clicks by name, whatever their order and whole-number type."""
    kind, types = working_type("records"), pa.types
    if held.type == kind:
        return held
    if not (types.is_list(held.type) or types.is_large_list(held.type)):
        raise _OtherType
    inner = held.type.value_type
    if not types.is_struct(inner) or any(
        inner.get_field_index(name) < 0 for name in ("impressions", "clicks")
    ):
        raise _OtherType
    flat = held.flatten()
    counts = [pc.struct_field(flat, name).cast(pa.int64()) for name in ("impressions", "clicks")]
    structs = pa.StructArray.from_arrays(counts, ["impressions", "clicks"], mask=flat.is_null())
    lengths = pc.list_value_length(held)
    ends = pc.cumulative_sum(lengths.fill_null(0)).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    return pa.ListArray.from_arrays(offsets, structs, mask=held.is_null())


def finished(name: str, held: Any) -> Any:
    """From the working type, after all checks, to that of the schema."""
    kind = event_schema().field(name).type
    if pa.types.is_dictionary(kind):
        return held.dictionary_encode()
    return held.cast(kind) if held.type != kind else held
