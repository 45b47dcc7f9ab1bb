"""Rows of JSON objects (or of a table of texts) as columns in their working types; a wrong value marks its row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from multimodal_dql.datasets.events.columns import working_type

__all__ = ["table_of_rows"]

_LARGEST = 2**63


class _Wrong(Exception):
    pass


def table_of_rows(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> tuple[pa.Table, NDArray[np.bool_], int]:
    """The columns `names` of `rows`; rows with a value of another type (N,), nulls in its place; times without zone.

    Texts are accepted for numbers: a table of texts has nothing else. An empty text is no number.
    """
    wrong, zoneless = np.zeros(len(rows), np.bool_), 0
    columns = []
    for name in names:
        kind = working_type(name)
        values = [row.get(name) for row in rows]
        plain: Callable[[Any], Any] = _number if pa.types.is_floating(kind) else _text
        convert = _CONVERT.get(name, plain)
        if name == "time":
            values, zoneless = _times(values)
        if (quick := _quick(name, values, kind)) is not None:
            columns.append(quick)
            continue
        done = []
        for i, value in enumerate(values):
            try:
                done.append(None if value is None else convert(value))
            except _Wrong:
                done.append(None)
                wrong[i] = True
        columns.append(pa.array(done, kind))
    return pa.Table.from_arrays(columns, names=list(names)), wrong, zoneless


def _quick(name: str, values: list[Any], kind: Any) -> Any:
    """A column whose values all have the type already, made at once; None where one has another."""
    # pyarrow would take a text for a list of letters, and a number for microseconds.
    strict = {"candidates": list, "records": list, "time": datetime}.get(name)
    if strict is not None and not all(value is None or isinstance(value, strict) for value in values):
        return None
    if name == "context":
        if not all(value is None or (type(value) is dict and None not in value.values()) for value in values):
            return None
        values = [None if value is None else list(value.items()) for value in values]
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # the last for 10**400
        return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise _Wrong  # half of a surrogate pair is no character
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _Wrong


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            return float(value)
        except ValueError:
            raise _Wrong from None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    raise _Wrong


def _count(value: Any) -> int | None:
    number = _number(value)
    if number is None:
        return None
    if not math.isfinite(number) or number != math.floor(number) or abs(number) >= _LARGEST:
        raise _Wrong
    return int(number)


def _context(value: Any) -> list[tuple[str, str]]:
    """A map: an object, or a list of pairs."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = [
            (p.get("key"), p.get("value"))
            if isinstance(p, Mapping)
            else tuple(p)
            if isinstance(p, list)
            else ()
            for p in value
        ]
    else:
        raise _Wrong
    out = []
    for pair in pairs:
        if len(pair) != 2:
            raise _Wrong
        if pair[1] is not None:
            out.append((_text(pair[0]), _told(pair[1])))
    return out


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.17g}" if isinstance(value, float) else _text(value)


def _names(value: Any) -> list[str | None]:
    if not isinstance(value, list):
        raise _Wrong
    return [None if name is None else _text(name) for name in value]


def _records(value: Any) -> list[dict[str, int | None] | None]:
    if not isinstance(value, list):
        raise _Wrong
    out: list[dict[str, int | None] | None] = []
    for record in value:
        if record is not None and not isinstance(record, Mapping):
            raise _Wrong
        told = record or {}
        counts = {name: told.get(name) for name in ("impressions", "clicks")}
        out.append({name: None if count is None else _count(count) for name, count in counts.items()})
    return out


def _time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    raise _Wrong


def _times(values: list[Any]) -> tuple[list[Any], int]:
    """Texts as times, what is none as it is; and how many had no zone, which are taken as UTC."""
    out, zoneless = [], 0
    for value in values:
        when = value
        if isinstance(value, str):
            try:
                when = datetime.fromisoformat(value.strip()) if value.strip() else None
            except ValueError:
                when = value
        if isinstance(when, datetime):
            if when.tzinfo is None:
                zoneless += 1
                when = when.replace(tzinfo=UTC)
            try:
                when = when.astimezone(UTC)
            except (OverflowError, ValueError):
                when = value
        out.append(when)
    return out, zoneless


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "time": _time,
    "context": _context,
    "candidates": _names,
    "records": _records,
    "schema_version": _count,
}
