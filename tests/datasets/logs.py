"""Logs of decisions for tests: right rows, to be spoiled one field at a time."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from multimodal_dql.datasets.events import event_schema

START = datetime(2026, 1, 1, 8, tzinfo=UTC)


def row(n: int, **changes: Any) -> dict[str, Any]:
    """A decision, Chinese in every field that holds text."""
    return {
        "event_id": f"事件-{n}",
        "time": START + timedelta(seconds=n),
        "session_id": f"会话{n // 2}",
        "item_id": "彗星🌠",
        "context": {"设备": "手机", "hour": str(n % 24)},
        "candidates": ["甲", "乙", "丙"],
        "records": [{"impressions": 10, "clicks": 1}] * 3,
        "action": "乙",
        "probability": 0.25,
        "click": n % 2,
        "dwell_seconds": 1.5 * (n % 2),
        "policy": "均匀",
        "model_version": "运行一",
        "catalogue_fingerprint": "指纹",
        "schema_version": 1,
    } | changes


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [row(n) for n in range(first, first + count)]


def nullable() -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in event_schema()])


def table(held: list[dict[str, Any]]) -> pa.Table:
    told = [
        r
        | {"context": list(r["context"].items()) if isinstance(r.get("context"), dict) else r.get("context")}
        for r in held
    ]
    return pa.Table.from_pylist(told, schema=nullable())


def write_parquet(path: Path, held: list[dict[str, Any]]) -> Path:
    pq.write_table(table(held), path)
    return path


def lines(held: list[dict[str, Any]]) -> bytes:
    def plain(value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else value

    told = [{name: plain(value) for name, value in r.items()} for r in held]
    return b"".join(json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in told)


def write_jsonl(path: Path, held: list[dict[str, Any]]) -> Path:
    data = lines(held)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
