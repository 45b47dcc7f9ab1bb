"""What is wrong with a row of a log: every row is left out by the first reason that holds, and counted.

Rows come as `multimodal_dql.datasets.events.columns` makes them: types of the schema, ``click`` still as a float.
Shape letters: ``N`` rows, ``L`` candidates of all rows end to end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from multimodal_dql.datasets.events.schema import REWARD_PARTS

__all__ = ["BAD_LINE", "REASONS", "REPEATED", "WRONG_TYPE", "reason_text", "row_faults"]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

BAD_LINE, WRONG_TYPE, REPEATED = (
    "the line is no JSON object",
    "a value of another type than its column",
    "event_id occurs a second time",
)
REASONS: dict[str, str] = {
    BAD_LINE: "该行不是 JSON 对象",
    WRONG_TYPE: "值的类型与列不符",
    "event_id is missing": "缺少 event_id",
    "time is missing": "缺少时间",
    "item_id is missing": "缺少 item_id",
    "no candidates": "没有候选",
    "a candidate without a name": "候选没有名称",
    "a candidate twice": "候选重复",
    "action is missing": "缺少 action",
    "action is not among the candidates": "action 不在候选之中",
    "probability is missing": "缺少概率",
    "probability is NaN": "概率为 NaN",
    "probability is zero": "概率为零",
    "probability is negative": "概率为负",
    "probability is above 1": "概率大于 1",
    "click is missing": "缺少 click",
    "click is neither 0 nor 1": "click 既不是 0 也不是 1",
    **{f"{part} is NaN": f"{part} 为 NaN" for part in REWARD_PARTS[1:]},
    **{f"{part} is infinite": f"{part} 为无穷大" for part in REWARD_PARTS[1:]},
    "dwell_seconds is negative": "dwell_seconds 为负",
    "conversion_delay_hours is negative": "conversion_delay_hours 为负",
    "records are not one for each candidate": "records 与候选数量不符",
    "a record without its counts": "records 缺少次数",
    "a record with a negative count": "records 的次数为负",
    "a record with more clicks than impressions": "records 的点击多于展示",
    "context is missing": "缺少 context",
    "a name twice in the context": "context 中名称重复",
    REPEATED: "event_id 重复出现",
}
"""English reason -> Chinese, in the order in which they are looked for."""
_PLACE = {reason: i for i, reason in enumerate(REASONS, 1)}


def reason_text(reason: str, lang: str) -> str:
    """A reason in ``en`` or ``zh``."""
    return REASONS.get(reason, reason) if lang == "zh" else reason


class _Faults:
    """For each row the number of the first reason that held, 0 for none."""

    def __init__(self, rows: int) -> None:
        self.code = np.zeros(rows, np.int8)

    def mark(self, reason: str, wrong: Bools) -> None:
        if wrong.any():
            self.code[wrong & (self.code == 0)] = _PLACE[reason]


def row_faults(table: pa.Table, needed: Collection[str], wrong_type: Bools | None = None) -> NDArray[np.int8]:
    """For each row the place in `REASONS` (from 1) of the first reason to leave it out, 0 for none, (N,).

    Args:
        table: columns of the schema, any of them may be absent; one chunk each.
        needed: columns in which a missing value is a reason; in the others only a wrong one is.
        wrong_type: (N,) rows that hold a value of another type.
    """
    column = {name: _one(table[name]) for name in table.column_names}
    faults = _Faults(table.num_rows)
    if wrong_type is not None:
        faults.mark(WRONG_TYPE, wrong_type)
    for name in ("event_id", "time", "item_id"):
        if name in needed:
            faults.mark(f"{name} is missing", _missing(column[name]))
    _choice(column, faults)
    if "probability" in column:
        _probability(column["probability"], faults, "probability" in needed)
    if "click" in column:
        click = _floats(column["click"])
        if "click" in needed:
            faults.mark("click is missing", _missing(column["click"]))
        faults.mark("click is neither 0 nor 1", _present(column["click"]) & (click != 0) & (click != 1))
    for part in REWARD_PARTS[1:]:
        if part in column and column[part].null_count < table.num_rows:
            value = _floats(column[part])
            faults.mark(f"{part} is NaN", np.isnan(value) & _present(column[part]))
            faults.mark(f"{part} is infinite", np.isinf(value))
            if part in ("dwell_seconds", "conversion_delay_hours"):
                faults.mark(f"{part} is negative", value < 0)
    if "records" in column:
        _records(column, faults)
    if "context" in column:
        _context(column["context"], faults, "context" in needed)
    return faults.code


def _choice(column: dict[str, Any], faults: _Faults) -> None:
    """Candidates and the action among them."""
    if "candidates" not in column or "action" not in column:
        return
    lists = column["candidates"]
    lengths = _lengths(lists)
    faults.mark("no candidates", lengths == 0)
    names = lists.flatten()
    nameless = _missing(names)
    if nameless.any():
        row = np.repeat(np.arange(len(lengths)), lengths)
        faults.mark("a candidate without a name", np.bincount(row[nameless], minlength=len(lengths)) > 0)
    encoded = names.dictionary_encode()
    code = _codes(encoded.indices)
    faults.mark("a candidate twice", _repeated(lengths, code, len(encoded.dictionary)))
    faults.mark("action is missing", _missing(column["action"]))
    action = _codes(pc.index_in(column["action"], value_set=encoded.dictionary))
    offered = np.zeros(len(lengths), np.bool_)
    for rows, table in _same_length(lengths, code):
        offered[rows] = (table == action[rows, None]).any(axis=1)
    faults.mark("action is not among the candidates", ~offered)


def _probability(held: Any, faults: _Faults, needed: bool) -> None:
    value, present = _floats(held), _present(held)
    if needed:
        faults.mark("probability is missing", ~present)
        faults.mark("probability is NaN", np.isnan(value) & present)
    faults.mark("probability is zero", value == 0)
    faults.mark("probability is negative", value < 0)
    faults.mark("probability is above 1", value > 1)


def _records(column: dict[str, Any], faults: _Faults) -> None:
    """Impressions and clicks of each candidate, where a row has any."""
    held = column["records"]
    present = _present(held)
    if not present.any():
        return
    lengths = _lengths(held)
    if "candidates" in column:
        faults.mark(
            "records are not one for each candidate", present & (lengths != _lengths(column["candidates"]))
        )
    flat = held.flatten()
    counts = [flat.field(name) for name in ("impressions", "clicks")]
    seen, clicks = (_filled(count, 0) for count in counts)
    empty = ~_present(flat) | ~_present(counts[0]) | ~_present(counts[1])
    for reason, wrong in (
        ("a record without its counts", empty),
        ("a record with a negative count", (seen < 0) | (clicks < 0)),
        ("a record with more clicks than impressions", clicks > seen),
    ):
        if wrong.any():
            row = np.repeat(np.arange(len(lengths)), lengths)
            faults.mark(reason, np.bincount(row[wrong], minlength=len(lengths)) > 0)


def _context(held: Any, faults: _Faults, needed: bool) -> None:
    if needed:
        faults.mark("context is missing", ~_present(held))
    pair = pa.struct([pa.field("key", pa.string()), pa.field("value", pa.string())])
    lists = held.cast(pa.list_(pair))
    lengths = _lengths(lists)
    if not lengths.any():
        return
    encoded = lists.flatten().field("key").dictionary_encode()
    repeated = _repeated(lengths, _codes(encoded.indices), len(encoded.dictionary))
    faults.mark("a name twice in the context", repeated)


def _repeated(lengths: Ints, code: Ints, codes: int) -> Bools:
    """Which rows hold a code twice, (N,).

    Args:
        lengths: (N,) codes of each row.
        code: (L,), below `codes`.
        codes: how many.
    """
    out = np.zeros(len(lengths), np.bool_)
    kind = np.int16 if codes < 2**15 else np.int64  # short numbers sort faster
    for rows, table in _same_length(lengths, code.astype(kind)):
        ordered = np.sort(table, axis=1)
        out[rows] = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    return out


def _same_length(lengths: Ints, values: NDArray[Any]) -> Iterator[tuple[Ints | slice, NDArray[Any]]]:
    """Rows of one length at a time: which they are, and their values as a table."""
    sizes = np.unique(lengths)
    start = np.cumsum(lengths) - lengths
    for size in sizes[sizes > 0].tolist():
        if len(sizes) == 1:
            yield slice(None), values.reshape(-1, size)
        else:
            rows = np.flatnonzero(lengths == size)
            yield rows, values[start[rows, None] + np.arange(size)]


def _one(column: Any) -> Any:
    """A column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _lengths(lists: Any) -> Ints:
    return _filled(pc.list_value_length(lists), 0).astype(np.int64)


def _codes(indices: Any) -> Ints:
    """Places in a dictionary, -1 for none."""
    return _filled(indices, -1)


def _filled(held: Any, value: int) -> NDArray[Any]:
    """Whole numbers (N,), `value` where there is none."""
    return np.asarray((held.fill_null(value) if held.null_count else held).to_numpy(zero_copy_only=False))


def _floats(held: Any) -> NDArray[np.float64]:
    """(N,), NaN where there is none."""
    return np.asarray(held.to_numpy(zero_copy_only=False), np.float64)


def _present(held: Any) -> Bools:
    if not held.null_count:
        return np.ones(len(held), np.bool_)
    return np.asarray(held.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _missing(held: Any) -> Bools:
    """Null, or a text of no characters, (N,)."""
    out = ~_present(held)
    if pa.types.is_string(held.type) and len(held):
        out |= _filled(pc.binary_length(held), 0) == 0
    return out
