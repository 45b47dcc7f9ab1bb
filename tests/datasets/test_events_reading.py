"""Reading logs: formats, folders, types that others write, repeats beyond memory, and constant memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.datasets.events import EventLog, EventWriter, event_schema, read_events
from multimodal_dql.datasets.events.ids import Seen, hash_texts
from multimodal_dql.datasets.events.reading import RowFilter
from multimodal_dql.datasets.events.schema import REQUIRED
from multimodal_dql.errors import EventsError
from tests.datasets.logs import row, rows, table, write_jsonl, write_parquet


def read(path: Path | list[Path], **how: Any) -> list[dict[str, Any]]:
    return [r for batch in EventLog(path, **how).batches() for r in batch.to_pylist()]


def test_all_formats_say_the_same_in_the_types_of_the_schema(tmp_path: Path) -> None:
    held = rows(10)
    parquet = write_parquet(tmp_path / "日志.parquet", held)
    (batch,) = EventLog(parquet).batches()
    assert batch.schema.equals(event_schema())
    wanted = read(parquet)
    assert [r["event_id"] for r in wanted] == [r["event_id"] for r in held]
    assert dict(wanted[3]["context"]) == held[3]["context"]
    assert wanted[3]["records"] == held[3]["records"]
    for name in ("日志.jsonl", "日志.jsonl.gz", "日志.ndjson"):
        path = write_jsonl(tmp_path / name, held)
        (batch,) = EventLog(path).batches()
        assert batch.schema.equals(event_schema())
        assert read(path) == wanted
    for name in ("新.parquet", "新.jsonl", "新.jsonl.gz"):
        with EventWriter(tmp_path / name) as writer:
            writer.write(next(EventLog(parquet).batches()))
        assert read(tmp_path / name) == wanted


def test_a_folder_of_parts_and_several_files_in_order(tmp_path: Path) -> None:
    parts = tmp_path / "日志"
    (parts / "day=2").mkdir(parents=True)
    write_parquet(parts / "part-1.parquet", rows(3, 3))
    write_parquet(parts / "part-0.parquet", rows(3))
    write_jsonl(parts / "day=2" / "part-2.jsonl.gz", rows(2, 6))
    (parts / "_SUCCESS").write_text("")
    (parts / ".part-9.parquet").write_text("half written")
    more = write_jsonl(tmp_path / "more.jsonl", rows(2, 8))
    ids = [r["event_id"] for r in read([parts, more])]
    assert ids == [f"事件-{n}" for n in (6, 7, 0, 1, 2, 3, 4, 5, 8, 9)]
    log = EventLog([parts, more])
    assert [b.num_rows for b in log.batches(rows=2)] == [2, 2, 1, 2, 1, 2]


def test_an_id_is_compared_across_files(tmp_path: Path) -> None:
    log = EventLog(
        [write_parquet(tmp_path / "a.parquet", rows(3)), write_jsonl(tmp_path / "b.jsonl", rows(3, 2))]
    )
    assert sum(batch.num_rows for batch in log.batches()) == 5
    assert (log.read, log.excluded) == (6, {"event_id occurs a second time": 1})
    # Counting starts anew.
    assert sum(batch.num_rows for batch in log.batches()) == 5
    assert (log.read, log.excluded) == (6, {"event_id occurs a second time": 1})


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    """A wrong value in a column that nobody asked for leaves no row out; a column that is not there is null."""
    held = [*rows(3), row(3, dwell_seconds=float("nan"))]
    path = write_jsonl(tmp_path / "log.jsonl", [{k: v for k, v in r.items() if k != "policy"} for r in held])
    log = EventLog(path, columns=["click", "probability", "policy"])
    (batch,) = log.batches()
    assert (batch.column_names, batch.num_rows, log.excluded) == (["click", "probability", "policy"], 4, {})
    assert batch["policy"].null_count == 4
    assert [b.num_rows for b in EventLog(path, columns=["dwell_seconds"]).batches()] == [3]
    with pytest.raises(ValueError, match="no column clicks"):
        EventLog(path, columns=["clicks"])


def test_types_that_others_write(tmp_path: Path) -> None:
    """Whole numbers as ids, booleans and floats as clicks, structs as contexts, large lists, reordered records."""
    n = 3
    counts = pa.struct([("clicks", pa.int32()), ("impressions", pa.uint16())])
    records = pa.array([[{"clicks": 1, "impressions": 5}] * 2] * n, pa.large_list(counts))
    held = pa.table(
        {
            "event_id": pa.array([7, 8, 9], pa.uint32()),
            "time": pa.array(["2026-01-01T09:00:00+01:00"] * n),
            "item_id": pa.array(["a", "b", "a"]).dictionary_encode(),
            "context": pa.array([{"设备": "手机", "hour": 1.5}, {"设备": None, "hour": 2.0}, None]),
            "candidates": pa.array([[1, 2]] * n, pa.large_list(pa.int64())),
            "records": records,
            "action": pa.array([1, 2, 2], pa.int8()),
            "probability": pa.array([0.5] * n, pa.float32()),
            "click": pa.array([True, False, True]),
        }
    )
    pq.write_table(held, tmp_path / "log.parquet")
    found = read(tmp_path / "log.parquet")
    assert [(r["event_id"], r["action"], r["click"], r["candidates"]) for r in found] == [
        ("7", "1", 1, ["1", "2"]), ("8", "2", 0, ["1", "2"]), ("9", "2", 1, ["1", "2"]),
    ]  # fmt: skip
    assert [r["context"] for r in found] == [[("设备", "手机"), ("hour", "1.5")], [("hour", "2")], []]
    assert found[0]["records"] == [{"impressions": 5, "clicks": 1}] * 2
    assert found[0]["time"].isoformat() == "2026-01-01T08:00:00+00:00"
    assert found[0]["schema_version"] == 1
    clicks = held.set_column(8, "click", pa.array([1.0, 0.0, 0.5]))
    pq.write_table(clicks, tmp_path / "floats.parquet")
    log = EventLog(tmp_path / "floats.parquet")
    assert sum(b.num_rows for b in log.batches()) == 2
    assert log.excluded == {"click is neither 0 nor 1": 1}


def test_ragged_candidates(tmp_path: Path) -> None:
    """One to forty candidates a decision, some with one of them twice."""
    rng = np.random.default_rng(0)
    held, wrong = [], 0
    for n in range(300):
        names = [f"候选{k}" for k in rng.permutation(60)[: rng.integers(1, 41)]]
        if n % 7 == 0 and len(names) > 1:
            names[-1], wrong = names[0], wrong + 1
        held.append(row(n, candidates=names, records=None, action=names[0]))
    log = EventLog(write_parquet(tmp_path / "log.parquet", held))
    assert sum(batch.num_rows for batch in log.batches(rows=64)) == 300 - wrong
    assert log.excluded == {"a candidate twice": wrong}


def test_personal_values_are_refused_wherever_they_stand(tmp_path: Path) -> None:
    held = rows(3)
    for changes in (
        {"session_id": "wang@example.com"},
        {"context": {"联系": "13800138000"}},
        {"邮箱": "a@b.cn"},
    ):
        for write in (write_parquet, write_jsonl):
            if "邮箱" in changes and write is write_parquet:
                path = tmp_path / "extra.parquet"
                pq.write_table(table(held).append_column("邮箱", pa.array(["a@b.cn"] * 3)), path)
            else:
                path = write(tmp_path / "log", [*held, row(3, **changes)])
            with pytest.raises(EventsError, match=r"looks? like .*--allow-personal.*events check") as refused:
                list(EventLog(path).batches())
            assert "wang@example.com" not in str(refused.value)
            assert len(read(path, allow_personal=True)) >= 3


def test_a_personal_value_late_in_the_log_is_met_in_its_batch(tmp_path: Path) -> None:
    """Of every later batch about a thousand rows are searched."""
    path = tmp_path / "log.parquet"
    held = [*rows(17_000), *(row(n, session_id=f"u{n}@example.com") for n in range(17_000, 19_000))]
    pq.write_table(table(held), path)
    log = EventLog(path)
    with pytest.raises(EventsError, match=r"session_id holds .* mail addresses"):
        list(log.batches(rows=1000))
    assert log.read == 18_000


def test_what_can_be_learned_from_needs_less(tmp_path: Path) -> None:
    """No probability, no id, no time; but what is there must be right."""
    held = [
        {k: v for k, v in row(n).items() if k in ("item_id", "context", "candidates", "action", "click")}
        for n in range(4)
    ]
    found = read_events(write_jsonl(tmp_path / "log.jsonl", [*held, held[0] | {"probability": 0}]))
    assert (found.table.num_rows, found.excluded) == (4, {"probability is zero": 1})
    assert found.table["probability"].null_count == 4
    twice = [row(1, probability=None), row(1), row(2, context=None)]
    found = read_events(write_parquet(tmp_path / "log.parquet", twice))
    assert found.excluded == {"event_id occurs a second time": 1, "context is missing": 1}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=300), max_size=40), st.integers(0, 3))
def test_hashes_stand_for_texts(texts: list[str], skip: int) -> None:
    texts = [t.encode("utf-8", "replace").decode() for t in texts]
    array = pa.array(texts, pa.string())
    whole = hash_texts(array)
    assert hash_texts(array.slice(skip)).tolist() == whole[skip:].tolist()
    by_text: dict[str, int] = {}
    for text, found in zip(texts, whole.tolist(), strict=True):
        assert by_text.setdefault(text, found) == found
    assert len(set(by_text.values())) == len(by_text)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 60), max_size=20), max_size=12),
    st.sampled_from([4, 10, 1000]),
    st.integers(1, 20),
)
def test_repeats_against_a_plain_set(batches: list[list[int]], limit: int, recent: int) -> None:
    """What memory holds is found at once; of the rest, what was missed is known at the end, exactly."""
    met: set[int] = set()
    missed = 0
    with Seen(limit, recent) as seen:
        for batch in batches:
            found = seen.add(np.array(batch, np.uint64) * np.uint64(2**57 + 1)).tolist()
            for value, repeated in zip(batch, found, strict=True):
                assert not repeated or value in met
                missed += value in met and not repeated
                met.add(value)
        if limit == 1000:
            assert missed == 0
        assert seen.far_repeats() == missed


def test_repeats_too_far_apart_are_refused_with_the_cure(tmp_path: Path) -> None:
    with Seen(limit=10, recent=10) as seen:
        keep = RowFilter(REQUIRED, seen)
        for first in (*range(0, 100, 10), 50):
            assert keep(table(rows(10, first)).select(list(REQUIRED))).num_rows == 10
        with pytest.raises(
            EventsError, match=r"repeats 10 values of event_id, too far apart .* sort the rows"
        ):
            keep.finish(tmp_path / "log.parquet")


GENERATED = """
import resource, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from multimodal_dql.datasets.events import EventLog, EventWriter, event_schema
path, count = Path(sys.argv[1]), int(sys.argv[2])
names = pa.array(["a", "b", "c"])
with EventWriter(path) as writer:
    for start in range(0, count, 50_000):
        n = 50_000
        ids = pa.array([f"e{i}" for i in range(start, start + n)])
        offsets = pa.array(np.arange(n + 1, dtype=np.int32) * 3)
        columns = {
            "event_id": ids,
            "time": pa.array(np.arange(start, start + n) * 10**6 + 10**15, pa.timestamp("us", tz="UTC")),
            "session_id": ids, "item_id": pa.array(["i"] * n), "action": names.take(pa.array(np.arange(n) % 3)),
            "candidates": pa.ListArray.from_arrays(offsets, names.take(pa.array(np.tile(np.arange(3), n)))),
            "probability": pa.array(np.full(n, 1 / 3)), "click": pa.array(np.arange(n) % 2, pa.int8()),
            "schema_version": pa.array(np.ones(n, np.int32)),
        }
        schema = event_schema()
        writer.write(pa.Table.from_arrays(
            [columns.get(f.name, pa.nulls(n, f.type)) for f in schema], schema=schema))
log = EventLog(path)
rows = sum(batch.num_rows for batch in log.batches())
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Ten times the rows: no more than the 8 bytes that each id may take, and what allocation varies by."""
    peak = {}
    for count in (200_000, 2_000_000):
        args = [sys.executable, "-c", GENERATED, str(tmp_path / "log.parquet"), str(count)]
        done = subprocess.run(args, capture_output=True, text=True, check=True)
        rows_read, peak[count] = map(int, done.stdout.split())
        assert rows_read == count
    assert peak[2_000_000] - peak[200_000] < 110, json.dumps(peak)  # the log itself would be 400 MB
