"""Logs that are wrong in one way each: a clear error, or rows that are left out and counted; never a silent number."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal_dql.datasets.events import REASONS, EventLog, reason_text
from multimodal_dql.errors import EventsError
from tests.datasets.logs import START, lines, row, rows, table, write_jsonl, write_parquet

GOOD = 4
NAN, INF = float("nan"), float("inf")
RECORD = {"impressions": 10, "clicks": 1}

# What one row says instead -> why it is left out. Both as Parquet and as JSONL.
WRONG_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "probability_zero": ({"probability": 0.0}, "probability is zero"),
    "probability_negative_zero": ({"probability": -0.0}, "probability is zero"),
    "probability_negative": ({"probability": -0.1}, "probability is negative"),
    "probability_above_one": ({"probability": 1.0000001}, "probability is above 1"),
    "probability_infinite": ({"probability": INF}, "probability is above 1"),
    "probability_nan": ({"probability": NAN}, "probability is NaN"),
    "probability_missing": ({"probability": None}, "probability is missing"),
    "action_not_offered": ({"action": "丁"}, "action is not among the candidates"),
    "action_missing": ({"action": None}, "action is missing"),
    "action_empty": ({"action": ""}, "action is missing"),
    "no_candidates": ({"candidates": [], "records": []}, "no candidates"),
    "candidates_missing": ({"candidates": None}, "no candidates"),
    "candidate_twice": ({"candidates": ["甲", "乙", "乙"]}, "a candidate twice"),
    "candidate_nameless": ({"candidates": ["甲", "乙", None]}, "a candidate without a name"),
    "click_two": ({"click": 2}, "click is neither 0 nor 1"),
    "click_negative": ({"click": -1}, "click is neither 0 nor 1"),
    "click_missing": ({"click": None}, "click is missing"),
    "reward_nan": ({"dwell_seconds": NAN}, "dwell_seconds is NaN"),
    "reward_infinite": ({"conversion_value": -INF}, "conversion_value is infinite"),
    "satisfaction_nan": ({"satisfaction": NAN}, "satisfaction is NaN"),
    "dwell_negative": ({"dwell_seconds": -1.0}, "dwell_seconds is negative"),
    "delay_negative": ({"conversion_delay_hours": -2.0}, "conversion_delay_hours is negative"),
    "event_id_missing": ({"event_id": None}, "event_id is missing"),
    "event_id_twice": ({"event_id": "事件-1"}, "event_id occurs a second time"),
    "item_missing": ({"item_id": None}, "item_id is missing"),
    "item_empty": ({"item_id": ""}, "item_id is missing"),
    "time_missing": ({"time": None}, "time is missing"),
    "records_short": ({"records": [RECORD] * 2}, "records are not one for each candidate"),
    "more_clicks_than_impressions": (
        {"records": [RECORD, RECORD, {"impressions": 1, "clicks": 2}]}, "a record with more clicks than impressions",
    ),
    "negative_impressions": (
        {"records": [RECORD, RECORD, {"impressions": -1, "clicks": -1}]}, "a record with a negative count",
    ),
    "record_without_clicks": (
        {"records": [RECORD, RECORD, {"impressions": 1, "clicks": None}]}, "a record without its counts",
    ),
    "context_name_twice": ({"context": [("hour", "1"), ("hour", "2")]}, "a name twice in the context"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize("name", WRONG_ROWS)
def test_a_wrong_row_is_left_out_and_counted(tmp_path: Path, name: str, kind: str) -> None:
    changes, reason = WRONG_ROWS[name]
    held = rows(GOOD)
    held.insert(2, row(99, **changes))
    if name == "event_id_twice":  # the first one stays
        held.append(held.pop(2))
    path = (write_parquet if kind == "parquet" else write_jsonl)(tmp_path / f"日志.{kind}", held)
    log = EventLog(path)
    passed = [r for batch in log.batches() for r in batch.to_pylist()]
    assert (log.read, log.excluded) == (GOOD + 1, {reason: 1})
    assert [r["event_id"] for r in passed] == [f"事件-{n}" for n in range(GOOD)]
    assert reason_text(reason, "zh") == REASONS[reason] != reason


# What only JSON can say wrongly.
WRONG_LINES: dict[str, tuple[bytes, str]] = {
    "cut_short": (b'{"event_id": "x", "ti', "the line is no JSON object"),
    "a_list": (b"[1, 2]", "the line is no JSON object"),
    "not_utf8": (b'{"event_id": "\xff\xfe"}', "the line is no JSON object"),
    "a_thousand_brackets": (b'{"context": ' + b"[" * 100_000, "the line is no JSON object"),
    "probability_text": (lines([row(9, probability="often")]), "a value of another type than its column"),
    "candidates_text": (lines([row(9, candidates="甲乙丙")]), "a value of another type than its column"),
    "context_text": (lines([row(9, context="手机")]), "a value of another type than its column"),
    "records_numbers": (lines([row(9, records=[1, 2, 3])]), "a value of another type than its column"),
    "time_text": (lines([row(9, time="yesterday")]), "a value of another type than its column"),
    "time_number": (lines([row(9, time=1767225600)]), "a value of another type than its column"),
    "id_object": (lines([row(9, event_id={"id": 1})]), "a value of another type than its column"),
    "half_a_surrogate": (rb'{"event_id": "\ud800"}', "a value of another type than its column"),
    "click_half": (lines([row(9, click=0.5)]), "click is neither 0 nor 1"),
    "probability_huge": (lines([row(9, probability=10**400)]), "probability is above 1"),
}


@pytest.mark.parametrize("name", WRONG_LINES)
def test_a_wrong_line_is_left_out_and_counted(tmp_path: Path, name: str) -> None:
    line, reason = WRONG_LINES[name]
    path = tmp_path / "日志.jsonl"
    path.write_bytes(lines(rows(2)) + line.rstrip(b"\n") + b"\n\n" + lines(rows(2, 2)))
    log = EventLog(path)
    assert sum(batch.num_rows for batch in log.batches()) == GOOD
    assert (log.read, log.excluded) == (GOOD + 1, {reason: 1})


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damage(path: Path) -> Path:
    """A flipped byte in the middle of a page: lengths or codes no longer fit."""
    held = bytearray(path.read_bytes())
    held[4:200] = bytes(196)
    path.write_bytes(bytes(held))
    return path


def with_column(path: Path, name: str, column: Any) -> Path:
    held = table(rows(GOOD))
    at = held.schema.get_field_index(name)
    pq.write_table(held.set_column(at, name, column) if at >= 0 else held.append_column(name, column), path)
    return path


def without(path: Path, name: str) -> Path:
    pq.write_table(table(rows(GOOD)).drop_columns([name]), path)
    return path


def raw(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def not_utf8(path: Path) -> Path:
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
    )
    return with_column(path, "action", pa.concat_arrays([pa.array(["乙"] * (GOOD - 1)), bad]))


WRONG_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no_such_file": (lambda p: p / "不存在.parquet", "there is no such log; write one with"),
    "empty_file": (lambda p: raw(p / "log.parquet", b""), "is an empty file; copy it again"),
    "empty_folder": (lambda p: folder(p / "日志"), "holds no part of a log"),
    "another_format": (
        lambda p: raw(p / "log.xlsx", b"PK\x03\x04" + bytes(99)),
        "is not a Parquet file.*events import",
    ),
    "a_picture_called_parquet": (
        lambda p: raw(p / "log.parquet", b"\x89PNG" + bytes(99)),
        "is not a Parquet file",
    ),
    "truncated_parquet": (
        lambda p: cut(write_parquet(p / "log.parquet", rows(500)), 0.5),
        "is damaged; copy it again",
    ),
    "damaged_parquet": (
        lambda p: damage(write_parquet(p / "log.parquet", rows(500))),
        "is damaged; copy it again",
    ),
    "truncated_gzip": (
        lambda p: cut(write_jsonl(p / "log.jsonl.gz", rows(5000)), 0.5),
        "is cut short or damaged",
    ),
    "no_json_at_all": (
        lambda p: raw(p / "log.jsonl", "时间,动作\n1,2\n".encode()),
        "its first line is no JSON object",
    ),
    "gzip_of_something_else": (
        lambda p: raw(p / "log.jsonl.gz", gzip.compress(bytes(999))),
        "first line is no JSON object",
    ),
    "utf16": (
        lambda p: raw(p / "log.jsonl", lines(rows(2)).decode().encode("utf-16")),
        "no JSON object in UTF-8",
    ),
    "schema_from_the_future": (
        lambda p: write_parquet(p / "a.parquet", [row(0, schema_version=9)]),
        "newer version .schema 9",
    ),
    "future_in_jsonl": (
        lambda p: write_jsonl(p / "a.jsonl", [row(0), row(1, schema_version=2)]),
        "newer version .schema 2",
    ),
    "no_decisions": (lambda p: write_parquet(p / "log.parquet", []), "holds no decisions; give a longer log"),
    "nothing_usable": (
        lambda p: write_parquet(p / "log.parquet", [row(n, probability=0.0) for n in range(3)]),
        "no decision that can be used: 3 rows were read and all left out, 3 because probability is zero",
    ),
    "column_missing": (lambda p: without(p / "log.parquet", "probability"), "lacks the columns probability"),
    "column_missing_in_jsonl": (
        lambda p: write_jsonl(
            p / "a.jsonl", [{k: v for k, v in r.items() if k != "action"} for r in rows(3)]
        ),
        "lacks the columns action",
    ),
    "ids_as_floats": (
        lambda p: with_column(p / "log.parquet", "event_id", pa.array([1.0, 2.0, 3.0, 4.0])),
        "column event_id is double, not text",
    ),
    "times_as_numbers": (
        lambda p: with_column(p / "log.parquet", "time", pa.array([1, 2, 3, 4])),
        "column time is int64, not a timestamp",
    ),
    "candidates_as_text": (
        lambda p: with_column(p / "log.parquet", "candidates", pa.array(["甲|乙"] * GOOD)),
        "column candidates is string, not a list",
    ),
    "probability_as_text": (
        lambda p: with_column(p / "log.parquet", "probability", pa.array(["oft"] * GOOD)),
        "column probability is string, not a number",
    ),
    "records_as_numbers": (
        lambda p: with_column(p / "log.parquet", "records", pa.array([[1, 2, 3]] * GOOD)),
        "column records is list",
    ),
    "text_that_is_no_utf8": (
        lambda p: not_utf8(p / "log.parquet"),
        "column action is string, not text, or holds a value",
    ),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    make, words = WRONG_FILES[name]
    path = make(tmp_path)
    with pytest.raises(EventsError, match=words) as refused:
        list(EventLog(path).batches())
    text, zh = refused.value.text("en"), refused.value.text("zh")
    assert str(path.name) in text
    assert "\n" not in text + zh
    assert any("\u4e00" <= c <= "\u9fff" for c in zh)


def test_forty_kinds() -> None:
    assert len(WRONG_ROWS) + len(WRONG_LINES) + len(WRONG_FILES) >= 40


def test_the_same_file_twice(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", rows(2))
    with pytest.raises(EventsError, match="is given twice"):
        EventLog([path, tmp_path / "." / "log.parquet"])
    with pytest.raises(EventsError, match="no log is given"):
        EventLog([])


NOTES: dict[str, tuple[dict[str, Any], str, str]] = {
    "mixed_policies": ({"policy": "新策略"}, "2 policies are mixed: 均匀 (4), 新策略 (1)", "混有 2 个策略"),
    "mixed_models": ({"model_version": None}, "2 model versions are mixed: 运行一 (4), ? (1)", "混有 2 个模型版本"),
    "mixed_catalogues": ({"catalogue_fingerprint": "f"}, "2 catalogue fingerprints are mixed", "混有 2 个目录指纹"),
    "clock_skew": ({"time": datetime.now(UTC) + timedelta(days=400)}, "1 times lie in the future", "时钟偏差"),
    "out_of_order": ({"time": START - timedelta(hours=3)}, "1 rows are out of time order, by up to 3 hours", "3 小时"),
    "clock_never_set": ({"time": datetime(1970, 1, 1, tzinfo=UTC)}, "1 times lie before 2000", "早于 2000 年"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTES)
def test_what_excludes_nothing_is_noted(tmp_path: Path, name: str) -> None:
    changes, en, zh = NOTES[name]
    log = EventLog(write_parquet(tmp_path / "log.parquet", [*rows(GOOD), row(GOOD, **changes)]))
    assert sum(batch.num_rows for batch in log.batches()) == GOOD + 1
    assert not log.excluded
    assert [note for note in log.notes if en in note and zh in note.zh]


def test_times_without_a_zone_are_utc_and_noted(tmp_path: Path) -> None:
    naive = pa.array([START.replace(tzinfo=None)] * GOOD, pa.timestamp("ns"))
    for path in (
        with_column(tmp_path / "a.parquet", "time", naive),
        with_column(tmp_path / "b.parquet", "time", pa.array(["2026-01-01T08:00:00"] * GOOD)),
        write_jsonl(tmp_path / "c.jsonl", [row(n, time="2026-01-01 08:00:00") for n in range(GOOD)]),
    ):
        log = EventLog(path)
        (batch,) = log.batches()
        assert set(batch["time"].to_pylist()) == {START}
        assert "4 times do not say their zone and were taken as UTC" in log.notes


def test_every_row_is_counted_once_by_its_first_reason(tmp_path: Path) -> None:
    worst = row(9, event_id=None, probability=NAN, click=7, candidates=[])
    log = EventLog(
        write_parquet(tmp_path / "log.parquet", [*rows(GOOD), worst, row(8, probability=2.0, click=5)])
    )
    assert sum(batch.num_rows for batch in log.batches()) == GOOD
    assert log.excluded == {"event_id is missing": 1, "probability is above 1": 1}
