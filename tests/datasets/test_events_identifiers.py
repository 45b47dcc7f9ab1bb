"""What looks personal and what does not, value by value and column by column."""

from __future__ import annotations

import hashlib
import random
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal_dql.datasets.events.checking import check_log
from multimodal_dql.datasets.events.identifiers import Identifiers, luhn, resident_check
from tests.datasets.logs import row, rows, table, write_jsonl


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
    assert kinds("session_id", value) == [kind]


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
    assert kinds("session_id", value) == ["uuid"]
    assert kinds("event_id", "a@example.com") == ["mail"]
    assert kinds("model_version", "10.0.12.3") == []
    assert kinds("item_id", "13800138000") == []


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
