"""What looks personal and what does not, value by value and column by column."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal_dql.datasets.events import EventLog, read_events
from multimodal_dql.datasets.events.checking import check_log
from multimodal_dql.datasets.events.identifiers import Identifiers, luhn, resident_check
from multimodal_dql.errors import EventsError
from tests.datasets.logs import START, row, rows, table, write_jsonl


def kinds(column: str, *values: str) -> list[str]:
    found = Identifiers()
    found.look(column, pa.array(values))
    return [finding.kind for finding in found.findings]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("wang.wei@example.com", "mail"),
        ("请写信给 王伟@例子.中国 谢谢", "mail"),
        ("13800138000", "phone"),
        ("电话：13800138000。", "phone"),
        ("138 0013 8000", "phone"),
        ("+86 138-0013-8000", "phone"),
        ("+14155552671", "phone"),
        ("(415) 555-2671", "phone"),
        ("010-62345678", "phone"),
        ("6D92078A-8246-4BA4-AE5B-76104861E7DC", "uuid"),
        ("gaid=38400000-8cf0-11bd-b23e-10b96e40000d", "uuid"),
        ("490154203237518", "imei"),
        ("00:1B:44:11:3A:B7", "mac"),
        ("00-1b-44-11-3a-b7", "mac"),
        ("001b.4411.3ab7", "mac"),
        ("192.168.1.7", "ip"),
        ("2001:db8::8a2e:370:7334", "ip"),
        ("11010519491231002X", "resident id"),
    ],
)
def test_personal(value: str, kind: str) -> None:
    assert kinds("context.x", value) == [kind]
    # Whether a UUID is a session's or a device's, its use must show.
    assert kinds("session_id", value) == ([] if value.startswith("6D92078A") else [kind])


@pytest.mark.parametrize(
    "value",
    [
        "s123", "会话-77", "uniform-123-4", "v1.2.3", "mobile", "0.123456789", "-3.5e-07", "1767225600",
        "2026-01-31T12:00:00.123456+08:00", "2026-01-31 12:00:00", "10:20:30", "127.0.0.1", "::1", "logo@2x.png",
        "1767225600123", "@王伟", "490154203237519", "110105194912310021", "110105194913310029", "999.1.2.3",
        "00000000-0000-0000-0000-000000000000", hashlib.sha256(b"s1").hexdigest(), hashlib.md5(b"s1").hexdigest(),
        "a1b2c3d4e5f60718", "x13800138000y", "7218849012345678901",
    ],
)  # fmt: skip
def test_not_personal(value: str) -> None:
    assert kinds("context.x", value) == []


def test_uuids_name_events_and_variants_but_in_other_columns_perhaps_devices() -> None:
    value = str(uuid.UUID(int=2**127 + 12345678901234567890))
    for column in ("event_id", "item_id", "candidates", "action"):
        assert kinds(column, value) == []
    for column in ("context.user", "subject", "user_id", "设备"):
        assert kinds(column, value) == ["uuid"]
    assert kinds("event_id", "a@example.com") == ["mail"]
    assert kinds("model_version", "10.0.12.3") == []
    assert kinds("item_id", "13800138000") == []


def visits(
    path: Path, hours: Callable[[int, int], float], days: int, **more: Callable[[int, int], Any]
) -> Path:
    """200 UUIDs as session ids with three decisions each; `hours` says when decision k of id i falls after it begins,
    `more` what other columns hold."""
    rng = random.Random(1)
    held = []
    for i in range(200):
        name = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        begin = 24 * days * i / 200
        for k in range(3):
            time = START + timedelta(hours=begin + hours(i, k))
            changes = {name: of(i, k) for name, of in more.items()}
            held.append(row(3 * i + k, session_id=name, time=time) | changes)
    held.sort(key=lambda r: r["time"])
    return write_jsonl(path, held)


def test_random_session_ids_are_let_pass_with_a_note(tmp_path: Path) -> None:
    """Visits of half an hour, two in a hundred of them left open for days: a log of ten days shows what they are."""
    path = visits(tmp_path / "log.jsonl", lambda i, k: 60.0 * k if i % 50 == 0 else 0.25 * k, 10)
    report = check_log([path])
    assert report.personal == []
    assert not report.must_fix()
    assert any("behave like sessions: 2.0% of 200" in note for note in report.notes)
    assert any("表现与会话相符" in note.zh for note in report.notes)
    log = EventLog(path)
    assert sum(t.num_rows for t in log.batches(50)) == 600
    assert [str(n) for n in log.notes] == [str(n) for n in report.notes]
    assert read_events(path).table.num_rows == 600


def test_a_short_log_cannot_show_it_and_says_so(tmp_path: Path) -> None:
    path = visits(tmp_path / "log.jsonl", lambda _, k: 0.25 * k, 1)
    assert any(
        "too short to tell sessions from devices (1.0 days, 200 ids" in n for n in check_log([path]).notes
    )
    log = EventLog(path)
    assert sum(t.num_rows for t in log.batches()) == 600
    assert any("日志太短" in n.zh for n in log.notes)
    assert not any("UUID" in n for n in EventLog(path, allow_personal=True).notes)


def test_session_ids_that_come_back_for_days_are_devices(tmp_path: Path) -> None:
    path = visits(tmp_path / "log.jsonl", lambda i, k: 30.0 * k if i % 10 == 0 else 0.25 * k, 10)
    (finding,) = check_log([path]).personal
    assert (finding.column, finding.kind, finding.values) == ("session_id", "uuid", 200)
    assert "10% of 200 that come back span more than a day" in finding.text("en")
    assert "跨越一天以上" in finding.text("zh")
    for read in (read_events, lambda p: list(EventLog(p).batches(50))):
        with pytest.raises(EventsError, match="--allow-personal"):
            read(path)
    assert sum(t.num_rows for t in EventLog(path, allow_personal=True).batches()) == 600


def test_devices_show_only_later_in_a_long_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The beginning of a file spans hours; that its ids come back is seen in the batches that follow."""
    monkeypatch.setattr("multimodal_dql.datasets.events.reading.FIRST", 100)
    monkeypatch.setattr("multimodal_dql.datasets.events.session_ids.KEPT", 50)
    path = visits(tmp_path / "log.jsonl", lambda _, k: 240.0 * k, 1)
    log = EventLog(path)
    batches = log.batches(100)
    assert next(batches).num_rows == 100
    with pytest.raises(EventsError, match="100% of 50 that come back"):
        list(batches)


def test_session_ids_of_several_subjects_are_devices(tmp_path: Path) -> None:
    """A device that a family shares, by a column of numbers or a name in the context."""
    for name, more in (
        ("a", {"user_id": lambda i, k: 10 * i + k % 2}),
        ("b", {"context": lambda i, k: {"subject": f"p{10 * i + k % 2}", "hour": "1"}}),
    ):
        path = visits(tmp_path / f"{name}.jsonl", lambda _, k: 0.25 * k, 10, **more)
        (finding,) = check_log([path]).personal
        assert "100% of 200 that come back belong to several subjects" in finding.text("en")
        with pytest.raises(EventsError, match="several subjects"):
            next(EventLog(path).batches())
    own = visits(tmp_path / "c.jsonl", lambda _, k: 0.25 * k, 10, user_id=lambda i, _: i)
    assert check_log([own]).personal == []


def test_numbers_are_judged_as_a_column() -> None:
    """Of random numbers a tenth has a right check digit, and a twelfth looks like a mobile number: no alarm."""
    rng = random.Random(0)
    for digits in (11, 15, 17, 18, 19):
        values = [str(rng.randrange(10 ** (digits - 1), 10**digits)) for _ in range(20_000)]
        assert kinds("session_id", *values) == []
    imeis = [
        stem + next(d for d in "0123456789" if luhn(stem + d))
        for stem in ("35693803564380", "86012345678901")
    ]
    assert kinds("session_id", *imeis, "123456789012345") == ["imei"]


def test_check_digits() -> None:
    """The examples of GB 11643-1999 and of the IMEI's allocation guidelines."""
    assert [resident_check(t) for t in ("11010519491231002X", "440524188001010014", "110105194912310029")] == [
        True, False, False,
    ]  # fmt: skip  # the second is right, but born before 1900
    assert (luhn("490154203237518"), luhn("490154203237517")) == (True, False)


def test_structs_maps_and_lists_of_others_are_searched(tmp_path: Path) -> None:
    """In columns that the schema does not know, however deep a value lies."""
    deep = pa.array([{"谁": [{"邮箱": "a@例子.中国"}], "数": 1.5}] * 3)
    pairs = pa.array([[("k", "13800138000")]] * 3, pa.map_(pa.string(), pa.string()))
    numbers = pa.array([490154203237518, None, 490154203237518])
    held = table(rows(3)).append_column("附", deep).append_column("对", pairs).append_column("号", numbers)
    pq.write_table(held, tmp_path / "log.parquet")
    found = check_log([tmp_path / "log.parquet"]).personal
    assert [(f.column, f.kind) for f in found] == [
        ("号", "imei"),
        ("对.value", "phone"),
        ("附.谁.邮箱", "mail"),
    ]


def test_the_report_names_columns_and_hides_values(tmp_path: Path) -> None:
    held = [
        row(n, context={"联系": f"1380013{n:04}", "hour": "1"}, 备注=[{"邮箱": f"u{n}@例子.中国"}])
        for n in range(50)
    ]
    report = check_log([write_jsonl(tmp_path / "log.jsonl", held)])
    assert [(f.column, f.kind, f.values) for f in report.personal] == [
        ("context.联系", "phone", 50), ("备注.邮箱", "mail", 50),
    ]  # fmt: skip
    assert (report.read, report.usable, report.searched) == (50, 50, 50)
    assert report.must_fix()
    assert not report.must_fix(allow_personal=True)
    assert "1380013" not in str(report.as_dict("zh"))
    assert "疑似" not in report.personal[0].text("en")
    assert "像电话号码" in report.personal[0].text("zh")
    part = check_log([tmp_path / "log.jsonl"], sample=10)
    assert (part.searched, part.as_dict("en")["personal_search"]) == (10, "sample")
    assert {f.kind for f in part.personal} == {"phone", "mail"}
