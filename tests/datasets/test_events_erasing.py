"""A person is removed from logs: their rows go, the others stay bit for bit."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal_dql.datasets.events.erasing import Person, erase_from_log, find_person
from multimodal_dql.datasets.events.files import find_sources
from multimodal_dql.errors import EventsError
from tests.datasets.logs import lines, row, rows, table, write_jsonl, write_parquet


def erase(*paths: Path, subject: str = "会话2", dry_run: bool = False) -> list[tuple[int, int]]:
    person, sources = Person(subject), find_sources(paths)
    for source in sources:
        find_person(source, person)
    done = [erase_from_log(source, person, dry_run=dry_run) for source in sources]
    return [(e.rows, e.removed) for e in done]


def test_parquet_keeps_its_schema_and_all_other_rows(tmp_path: Path) -> None:
    nan = float("nan")
    held = table([row(n, dwell_seconds=nan) if n == 7 else row(n) for n in range(12)])
    held = held.append_column("附加", pa.array([f"x{n}" for n in range(12)])).replace_schema_metadata(
        {"谁": "我"}
    )
    path = tmp_path / "日志.parquet"
    pq.write_table(held, path, compression="snappy")
    os.chmod(path, 0o640)
    before, held = path.read_bytes(), pq.read_table(path)
    assert erase(path, dry_run=True) == [(12, 2)]
    assert path.read_bytes() == before
    assert erase(path) == [(12, 2)]
    after = pq.read_table(path)
    assert after.schema.equals(held.schema, check_metadata=True)
    left = held.filter(pa.array([n // 2 != 2 for n in range(12)]))
    assert repr(after.to_pylist()) == repr(left.to_pylist())  # NaN included
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "SNAPPY"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]
    assert erase(path) == [(10, 0)]


@pytest.mark.parametrize("name", ["日志.jsonl", "日志.jsonl.gz"])
def test_jsonl_keeps_all_other_lines_byte_by_byte(tmp_path: Path, name: str) -> None:
    odd = b'  {"event_id" : "odd", "session_id":"s",   "x": 1.50}\n'
    broken = ['{"session_id": "会话2", "broken\n'.encode(), b"no json at all\n"]
    parts = [lines(rows(4)), odd, *broken, lines(rows(4, 4))]
    path = write_jsonl(tmp_path / name, [])
    data = b"".join(parts)
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert erase(path) == [(11, 3)]
    found = path.read_bytes()
    found = gzip.decompress(found) if name.endswith("gz") else found
    assert found == lines(rows(4)) + odd + broken[1] + lines(rows(2, 6))


CONTEXTS: list[Any] = [{"user_id": "u7"}, [("subject_id", "u7")]]


@pytest.mark.parametrize("context", CONTEXTS, ids=["object", "pairs"])
def test_wherever_a_log_says_whose_it_is(tmp_path: Path, context: Any) -> None:
    others = [
        row(1, session_id="u77"),
        row(2, session_id=None),
        row(3, context={"device": "u7"}),
        row(4, action="u7"),
    ]
    theirs = [row(5, context=context), row(6, session_id="u7")]
    for write in (write_parquet, write_jsonl):
        path = write(tmp_path / "log", [*others, *theirs])
        assert erase(path, subject="u7") == [(6, 2)]
    held = table(others).append_column("user_id", pa.array([7, 8, 7, None]))
    pq.write_table(held, tmp_path / "numbers.parquet")
    assert erase(tmp_path / "numbers.parquet", subject="7") == [(4, 2)]


def test_rewards_go_with_their_decisions(tmp_path: Path) -> None:
    log = write_jsonl(tmp_path / "log.jsonl", rows(8))
    rewards = [{"event_id": f"事件-{n}", "time": "2026-01-01T09:00:00Z", "click": 1} for n in range(8)]
    as_lines = write_jsonl(tmp_path / "r.jsonl", rewards)
    pq.write_table(pa.Table.from_pylist(rewards), tmp_path / "r.parquet")
    assert erase(as_lines, log, tmp_path / "r.parquet") == [(8, 2), (8, 2), (8, 2)]
    left = pq.read_table(tmp_path / "r.parquet")["event_id"].to_pylist()
    assert left == [f"事件-{n}" for n in (0, 1, 2, 3, 6, 7)]


def test_a_damaged_log_stays_as_it_was(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log.jsonl.gz", rows(3000))
    path.write_bytes(path.read_bytes()[:-2000])
    before = path.read_bytes()
    with pytest.raises(EventsError, match="is cut short or damaged"):
        erase(path)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", rows(8))
    link = tmp_path / "link.parquet"
    link.symlink_to(path)
    assert erase(link) == [(8, 2)]
    assert link.is_symlink()
    assert pq.read_table(path).num_rows == 6
