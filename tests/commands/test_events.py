"""`events check|import|join|erase` and `train --log` as typed: what is printed, the exit codes, and the refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multimodal_dql.datasets.events import EventLog
from tests.commands.refusals import assert_refused
from tests.conftest import Call
from tests.datasets.logs import START, lines, row, rows, write_jsonl, write_parquet
from tests.datasets.test_events_bad_logs import WRONG_FILES, WRONG_LINES, WRONG_ROWS

pytestmark = pytest.mark.usefixtures("shared_graphs")


def test_a_clean_log(call: Call, tmp_path: Path) -> None:
    done = call("events", "check", write_parquet(tmp_path / "日志.parquet", rows(6)), "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert (found["rows"], found["usable"], found["excluded"], found["clean"]) == (6, 6, {}, True)
    assert (found["personal"], found["personal_search"], found["values"]["policy"]) == (
        [],
        "full",
        {"均匀": 6},
    )
    done = call("events", "check", tmp_path, "--lang", "zh")
    assert "1 个文件，6 行，其中 6 行可用" in done.out
    assert "已在全部 6 行中查找个人信息" in done.out


@pytest.mark.parametrize("name", [*WRONG_ROWS, *WRONG_LINES])
def test_wrong_rows_are_counted_and_the_exit_code_says_so(call: Call, tmp_path: Path, name: str) -> None:
    if name in WRONG_ROWS:
        changes, reason = WRONG_ROWS[name]
        path = write_parquet(tmp_path / "log.parquet", [*rows(3), row(77, **changes)])
    else:
        line, reason = WRONG_LINES[name]
        path = tmp_path / "log.jsonl"
        path.write_bytes(lines(rows(3)) + line)
    done = call("events", "check", path, "--json")
    found = json.loads(done.out)
    assert (done.code, found["excluded"], found["usable"]) == (2, {reason: 1}, 3)
    assert not found["clean"]


@pytest.mark.parametrize("name", sorted(set(WRONG_FILES) - {"no_decisions", "nothing_usable"}))
def test_wrong_files_are_one_line(call: Call, tmp_path: Path, name: str) -> None:
    assert_refused(call("events", "check", WRONG_FILES[name][0](tmp_path)), str(tmp_path))


@pytest.mark.parametrize("name", ["no_decisions", "nothing_usable"])
def test_nothing_to_use_is_not_clean(call: Call, tmp_path: Path, name: str) -> None:
    done = call("events", "check", WRONG_FILES[name][0](tmp_path), "--json")
    assert (done.code, json.loads(done.out)["usable"]) == (2, 0)


def test_personal_columns(call: Call, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log.jsonl", [*rows(3), row(3, session_id="wang@example.com")])
    done = call("events", "check", path, "--lang", "zh")
    assert done.code == 2
    assert "疑似个人信息：列 session_id 有 1 个值像邮箱地址（如 wa**********）" in done.out
    assert "wang@example.com" not in done.out + done.err
    assert call("events", "check", path, "--allow-personal").code == 0
    done = call("events", "check", path, "--sample", 2)
    assert "searched for identifiers: a sample of 2 rows" in done.out


def test_training_refuses_personal_logs_and_bad_ones(call: Call, stories: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log.jsonl", [*rows(3), row(3, session_id="wang@example.com")])
    some = ("--encoders", "use-multilingual", "--out", tmp_path / "run")
    done = call("train", stories, "--log", path, *some, "--iterations", 1)
    assert done.code == 2
    assert "column session_id holds 1 values that look like mail addresses" in done.lines[-1]
    done = call("train", stories, "--log", path, "--allow-personal", *some, "--iterations", 1)
    assert "holds nothing to learn from (" in done.lines[-1]  # it is of another catalogue
    assert_refused(call("train", stories, "--allow-personal"), "--allow-personal is about a log")


DSJSON = {
    "_label_cost": -1, "_label_probability": 0.5, "_label_Action": 1, "EventId": "一", "a": [1, 2], "p": [0.5, 0.5],
    "Timestamp": "2026-01-01T08:00:00Z", "c": {"设备": "手机", "_multi": [{"_tag": "甲"}, {"_tag": "乙"}]},
}  # fmt: skip


def test_import_join_check_erase(call: Call, tmp_path: Path) -> None:
    """A table without clicks is imported, joined with rewards, checked; then a person is removed."""
    table = tmp_path / "表.csv"
    body = "".join(f"{n},2026-01-0{1 + n}T08:00:00Z,读者-{n % 2},{'甲乙'[n % 2]},0.5,0\n" for n in range(4))
    table.write_text(
        f"id,时间,session_id,臂,概率,click\n{body}9,2026-01-09T08:00:00Z,读者-9,甲,0,0\n", "utf-8"
    )
    log = tmp_path / "日志.parquet"
    names = (
        "--column",
        "event_id=id",
        "--column",
        "time=时间",
        "--column",
        "action=臂",
        "--column",
        "probability=概率",
    )
    done = call("events", "import", "csv", table, "--out", log, *names, "--candidates", "甲|乙", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["rows"], found["written"], found["excluded"]) == (5, 4, {"probability is zero": 1})
    rewards = tmp_path / "奖励.jsonl"
    held: list[dict[str, Any]] = [{"event_id": "0", "time": "2026-01-01T09:00:00Z", "click": 1}]
    held += [held[0], {"event_id": "1", "time": "2026-01-03T09:00:00Z", "click": 1}]
    rewards.write_bytes(lines(held))
    joined = tmp_path / "joined.jsonl.gz"
    done = call("events", "join", log, rewards, "--out", joined, "--wait", 24, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["written"], found["parts"]) == (3, ["click"])
    assert {k: n for k, n in found["counts"].items() if n} == {
        "rewards": 3, "used": 1, "late": 1, "repeated": 1,
        "decisions": 4, "with a reward": 1, "default": 2, "censored": 1,
    }  # fmt: skip
    assert (
        "晚到，未使用"
        in call("events", "join", log, rewards, "--out", joined, "--wait", 24, "--lang", "zh").out
    )
    (batch,) = EventLog(joined).batches()
    assert batch["click"].to_pylist() == [1, 0, 0]
    done = call("events", "erase", "--subject", "读者-1", tmp_path, "--dry-run", "--json")
    assert json.loads(done.out)["rows_removed"] == 4  # two decisions, one of them joined, and its reward
    assert next(EventLog(log).batches()).num_rows == 4
    done = call("events", "erase", "--subject", "读者-1", tmp_path)
    assert done.code == 0, done.err
    assert "2 of 4 rows removed" in done.out
    assert "not reached: backups" in done.out
    assert "读者-1" not in table.read_text("utf-8")
    assert "的表格" in call("events", "erase", "--subject", "读者-0", tmp_path, "--lang", "zh").out
    assert_refused(call("events", "check", joined.with_name("无")), "there is no such log")


def test_import_dsjson(call: Call, tmp_path: Path) -> None:
    path, out = tmp_path / "log.json", tmp_path / "log.parquet"
    path.write_text(json.dumps(DSJSON) + "\n" + json.dumps({"EventId": "一", "RewardValue": 1}), "utf-8")
    done = call("events", "import", "vw-dsjson", path, "--out", out, "--lang", "zh")
    assert done.code == 0, done.err
    assert "读取 2 行，写入 1 行" in done.out
    assert "没有对应决策的观测" in done.out
    assert call("events", "check", out).code == 0


def test_wrong_options(call: Call, tmp_path: Path) -> None:
    log = write_parquet(tmp_path / "log.parquet", rows(2))
    out = ("--out", tmp_path / "out.parquet")
    assert_refused(call("events", "import", "vw-dsjon", log, *out), "did you mean 'vw-dsjson'?")
    assert_refused(call("events", "import", "vw-dsjson", log, *out, "--column", "a=b"), "are about csv")
    assert_refused(
        call("events", "import", "open-bandit", log, *out, "--item-id", "a"),
        "--item-id is not for open-bandit",
    )
    assert_refused(
        call("events", "import", "csv", log, *out, "--column", "action"), "write it as OURS=THEIRS"
    )
    assert_refused(call("events", "import", "csv", log, *out), "is not UTF-8")
    assert_refused(
        call("events", "join", log, log, *out, "--wait", 1, "--until", "heute"), "--until heute is no time"
    )
    assert_refused(call("events", "join", log, log, *out, "--wait", -1), "--wait -1 is no number of hours")
    assert_refused(call("events", "erase", log), "'--subject'")
    done = call("events", "join", log, log, *out, "--wait", 0, "--until", START.isoformat())
    assert done.code == 0, done.err
