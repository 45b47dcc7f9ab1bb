"""Logs from other formats: row by row by hand, and everything that is left out counted."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from multimodal_dql.datasets.events import EventLog
from multimodal_dql.datasets.events.csv_log import CsvImporter
from multimodal_dql.datasets.events.dsjson_log import DsjsonImporter
from multimodal_dql.datasets.events.importing import Imported, import_events
from multimodal_dql.datasets.events.open_bandit_log import OpenBanditImporter
from multimodal_dql.datasets.open_bandit import read_open_bandit
from multimodal_dql.errors import EventsError, UnknownNameError, UsageError
from tests.datasets.test_open_bandit import ROWS, folder


def read(path: Path) -> list[dict[str, Any]]:
    return [row for batch in EventLog(path).batches() for row in batch.to_pylist()]


def test_open_bandit_by_hand(tmp_path: Path) -> None:
    (tmp_path / "bts").mkdir()
    place = folder(tmp_path / "bts")
    out = tmp_path / "log.parquet"
    done = import_events(OpenBanditImporter(), [place], out)
    assert (done.read, done.written, done.excluded) == (3, 3, {})
    assert "1 columns of affinities between user and item were left out" in done.notes
    first = read(out)[0]
    assert first | {"time": None} == first | {
        "event_id": "bts-all-0", "time": None, "item_id": "all", "candidates": ["0", "1", "2"], "action": "2",
        "context": [("position", "3"), ("user_feature_0", "b"), ("user_feature_1", "x")],
        "probability": 0.25, "click": 1, "policy": "bts", "schema_version": 1,
    }  # fmt: skip
    assert first["time"].isoformat() == "2019-11-24T00:00:02+00:00"
    # The table itself may be named, packed too; a wrong propensity is left out and counted.
    packed = folder(tmp_path / "bts", rows=ROWS.replace("0.25", "0"), pack=True)
    (packed / "all.csv").unlink()
    (packed / "item_context.csv").unlink()
    done = import_events(OpenBanditImporter(), [packed / "all.csv.gz"], out)
    assert (done.written, done.excluded) == (2, {"probability is zero": 1})


@pytest.mark.realdata
@pytest.mark.skipif("MULTIMODAL_DQL_DATA" not in os.environ, reason="MULTIMODAL_DQL_DATA names no folder")
def test_the_sample_as_a_log(tmp_path: Path) -> None:
    place = Path(os.environ["MULTIMODAL_DQL_DATA"]) / "open_bandit" / "random" / "men"
    out, arrays = tmp_path / "log.parquet", read_open_bandit(place)
    assert import_events(OpenBanditImporter(), [place], out).written == len(arrays.action)
    held = read(out)
    assert sum(row["click"] for row in held) == arrays.reward.sum()
    assert {len(row["candidates"]) for row in held} == {34}
    assert {row["probability"] for row in held} == set(arrays.pscore.tolist())


def decision(n: int, **changes: Any) -> dict[str, Any]:
    """As the decision service wrote it, with tags for names."""
    return {
        "_label_cost": -1,
        "_label_probability": 0.8,
        "_label_Action": 2,
        "_labelIndex": 1,
        "Timestamp": f"2018-11-15T00:13:{n:02}.9070000Z",
        "Version": "1",
        "EventId": f"决策{n}",
        "a": [2, 1],
        "p": [0.8, 0.2],
        "c": {
            "用户": {"设备": "手机", "年级": 3, "标签": ["新", "热"], "空": None},
            "_multi": [{"_tag": "甲", "f": {"长度": 1}}, {"_tag": "乙", "f": {"长度": 2}}],
        },
        "VWState": {"m": "模型一"},
    } | changes


def test_dsjson_by_hand(tmp_path: Path) -> None:
    good = [
        decision(0),
        decision(1, _label_cost=0, _label_Action=1, _label_probability=0.2),
        decision(2, _label_cost=0.5),
    ]
    untagged = decision(3)
    untagged["c"] = {"_multi": [{"f": 1}, {"f": 2}]}
    left_out: list[tuple[Any, str]] = [
        (
            {"EventId": "决策0", "RewardValue": 1.0, "EnqueuedTimeUtc": "2018-11-15T00:14:00Z"},
            "an observation without its decision",
        ),
        (decision(4, _skipLearn=True), "a decision that was not activated (_skipLearn)"),
        (decision(5, _outcomes=[]), "a decision of several slots, or a continuous one"),
        (
            {k: v for k, v in decision(6).items() if k != "_label_cost"},
            "a decision without its label (_label_Action, _label_cost, _label_probability)",
        ),
        (decision(7, c={"_multi": []}), "no actions (c._multi)"),
        (decision(8, _label_Action=3), "_label_Action is not one of the actions"),
        (decision(9, _label_probability=0.5), "_label_probability is not that of the action in p"),
        (decision(10, p=[0.8, 0.4]), "the probabilities do not sum to 1"),
        (decision(11, _label_probability=0.0), "probability is zero"),
        (decision(12, _label_cost=float("nan")), "conversion_value is NaN"),
        (decision(13, EventId="决策0"), "event_id occurs a second time"),
        (decision(14, Timestamp="gestern"), "a value of another type than its column"),
    ]
    path, out = tmp_path / "日志.json.gz", tmp_path / "log.jsonl"
    lines = [
        json.dumps(line, ensure_ascii=False) for line in [*good, untagged, *(line for line, _ in left_out)]
    ]
    path.write_bytes(gzip.compress("\n".join([*lines, '{"EventId": "cut']).encode()))
    done = import_events(DsjsonImporter("新闻"), [path], out)
    assert (done.read, done.written) == (17, 4)
    assert done.excluded == {reason: 1 for _, reason in left_out} | {"the line is no JSON object": 1}
    assert set(done.excluded) <= set(done.reasons_zh)
    held = read(out)
    assert held[0]["candidates"] == ["甲", "乙"]
    assert [(r["action"], r["probability"], r["click"], r["conversion_value"]) for r in held] == [
        ("乙", 0.8, 1, 1.0), ("甲", 0.2, 0, 0.0), ("乙", 0.8, 0, -0.5), ("2", 0.8, 1, 1.0),
    ]  # fmt: skip
    assert dict(held[0]["context"]) == {
        "用户.设备": "手机",
        "用户.年级": "3",
        "用户.标签.0": "新",
        "用户.标签.1": "热",
    }
    assert (held[0]["item_id"], held[0]["policy"], held[0]["model_version"]) == ("新闻", "vw", "模型一")
    assert held[0]["time"].isoformat() == "2018-11-15T00:13:00.907000+00:00"
    sampled = tmp_path / "sampled.json"
    sampled.write_text(json.dumps(decision(0, pdrop=0.5)))
    assert (
        "1 decisions are a sample (pdrop above 0)" in import_events(DsjsonImporter(), [sampled], out).notes[0]
    )


CSV = """时间,臂,概率,点击,设备,context.小时
2026-01-01T08:00:00Z,甲,0.5,1,手机,8
2026-01-01T08:00:01Z,乙,0.5,0,"电脑, 旧",9
2026-01-01T08:00:02Z,丙,0.5,0,手机,9
2026-01-01T08:00:03Z,甲,,0,手机,
2026-01-01T08:00:04Z,甲,0.5,0
2026-01-01T08:00:05Z,甲,oft,0,手机,1
"""
NAMES = {"time": "时间", "action": "臂", "probability": "概率", "click": "点击"}


def import_csv(path: Path, out: Path, text: str, *options: Any, **how: Any) -> Imported:
    path.write_text(text, "utf-8-sig")
    return import_events(CsvImporter(*options, **how), [path], out)


def test_csv_by_hand(tmp_path: Path) -> None:
    out = tmp_path / "log.parquet"
    done = import_csv(tmp_path / "表.csv", out, CSV, NAMES, ["设备"], candidates=["甲", "乙"], item_id="故事")
    assert (done.read, done.written) == (6, 2)
    assert done.excluded == {
        "action is not among the candidates": 1, "probability is missing": 1,
        "a row with other cells than the header has columns": 1, "a value of another type than its column": 1,
    }  # fmt: skip
    assert set(done.excluded) <= set(done.reasons_zh)
    held = read(out)
    assert [(r["event_id"], r["action"], r["click"], r["item_id"]) for r in held] == [
        ("表-1", "甲", 1, "故事"), ("表-2", "乙", 0, "故事"),
    ]  # fmt: skip
    assert [dict(r["context"]) for r in held] == [
        {"设备": "手机", "小时": "8"},
        {"设备": "电脑, 旧", "小时": "9"},
    ]
    assert "5 rows have no event_id and were numbered" in done.notes


def test_csv_in_the_names_of_the_schema(tmp_path: Path) -> None:
    text = (
        "event_id,time,session_id,item_id,context,candidates,records,action,probability,click,dwell_seconds,policy\n"
        '1,2026-01-01T08:00:00Z,s1,a,"{""设备"": ""手机""}",x|y,"[{""impressions"": 3, ""clicks"": 1}, '
        '{""impressions"": 2, ""clicks"": 0}]",x,.5,1,,p\n'
        '2,2026-01-01T08:00:01Z,,a,,"[""x"", ""y|z""]",,y|z,1e-1,0,2.5,\n'
        "3,2026-01-01T08:00:01Z,,a,{,x|y,,x,1,0,,\n"
    )
    out = tmp_path / "log.parquet"
    done = import_csv(tmp_path / "t.csv", out, text)
    assert done.excluded == {"candidates, records or context is no list or object of JSON": 1}
    first, second = read(out)
    assert (first["records"], first["dwell_seconds"]) == (
        [{"impressions": 3, "clicks": 1}, {"impressions": 2, "clicks": 0}], None,
    )  # fmt: skip
    assert (first["session_id"], second["session_id"], second["policy"]) == ("s1", None, None)
    assert (second["candidates"], second["probability"], second["dwell_seconds"]) == (["x", "y|z"], 0.1, 2.5)


def test_refusals(tmp_path: Path) -> None:
    out, path = tmp_path / "log.parquet", tmp_path / "t.csv"
    cases: list[tuple[Any, type[Exception], str]] = [
        (
            lambda: import_csv(path, out, CSV, NAMES),
            EventsError,
            "lacks the columns candidates; name them with --column",
        ),
        (lambda: import_csv(path, out, CSV, {"acton": "臂"}), UnknownNameError, "did you mean 'action'?"),
        (
            lambda: import_csv(path, out, CSV, {"time": "时刻"}),
            UnknownNameError,
            "no column in .* called '时刻'",
        ),
        (lambda: import_csv(path, out, CSV, separator=""), UsageError, "--separator is empty"),
        (lambda: import_csv(path, out, ""), EventsError, "has no header"),
        (
            lambda: import_csv(path, path, CSV, NAMES, candidates=["甲"]),
            EventsError,
            "is read and written at once",
        ),
        (
            lambda: import_csv(path, out, CSV, NAMES, candidates=["丁"]),
            EventsError,
            "no decision that can be used",
        ),
        (
            lambda: import_events(CsvImporter(), [tmp_path / "无.csv"], out),
            EventsError,
            "there is no such file",
        ),
        (
            lambda: import_events(OpenBanditImporter(), [tmp_path], out),
            EventsError,
            "is no campaign of the Open Bandit",
        ),
        (
            lambda: import_events(DsjsonImporter(), [path], out),
            EventsError,
            "its first line is no JSON object",
        ),
    ]
    for make, kind, words in cases:
        with pytest.raises(kind, match=words) as refused:
            make()
        assert "\n" not in refused.value.text("zh")  # type: ignore[attr-defined]
    path.write_bytes(CSV.encode("utf-16"))
    with pytest.raises(EventsError, match="is not UTF-8; save it as UTF-8"):
        import_events(CsvImporter(), [path], out)
    assert not out.exists()
