"""``rank`` as its users meet it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.commands.refusals import assert_refused
from tests.conftest import ROWS, Call, Done, run_command, write_catalogue

pytestmark = pytest.mark.usefixtures("shared_graphs")

LEFT_OUT = "left out: 彗星 / 丙, image: "


@pytest.fixture(scope="module")
def ranked(stories: Path, trained_run: tuple[Path, Done], cache: Path) -> tuple[Path, Done]:
    """The folder that ``rank --out --json`` wrote, in a process of its own, and what the command said."""
    folder = stories.parent / "页"
    args = ("rank", stories, "--agent", trained_run[0], "--out", folder, "--json")
    return folder, run_command(*args, cache=cache)


@pytest.mark.slow
def test_rank_prints_one_object_and_writes_three_files(ranked: tuple[Path, Done]) -> None:
    folder, done = ranked
    assert done.code == 0, done.err
    assert len(done.lines) == 3, done.err  # the count, the variant left out, and what was written
    assert LEFT_OUT in done.lines[1]
    assert "correct the path" in done.lines[1]
    assert done.out.count("\n") == 1
    result = json.loads(done.out)
    assert [item["item_id"] for item in result["items"]] == ["彗星", "noodles", "القطار", "tea"]
    for item in result["items"]:
        assert sum(v["probability_best"] for v in item["variants"]) == pytest.approx(1.0)
        assert [v["rank"] for v in item["variants"]] == list(range(1, len(item["variants"]) + 1))
    assert {v["variant_id"] for v in result["items"][0]["variants"]} == {"甲", "乙"}
    assert {path.name for path in folder.iterdir()} == {"index.html", "ranking.csv", "ranking.json"}
    page = (folder / "index.html").read_text("utf-8")
    assert "قطار الليل يصل قبل الفجر" in page
    assert "七岁的她抬头许愿🌠" in page
    assert json.loads((folder / "ranking.json").read_text("utf-8")) == result
    assert len((folder / "ranking.csv").read_text("utf-8-sig").splitlines()) == 1 + len(ROWS) - 1


@pytest.mark.slow
def test_the_same_rows_rank_the_same_in_another_encoding(
    call: Call, stories: Path, run: Path, ranked: tuple[Path, Done]
) -> None:
    again = write_catalogue(stories.with_name("gb18030.csv"), encoding="gb18030")
    done = call("rank", again, "--agent", run, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["items"] == json.loads(ranked[1].out)["items"]


@pytest.mark.slow
def test_an_audience_in_chinese(
    call: Call, stories: Path, run: Path, ranked: tuple[Path, Done], tmp_path: Path
) -> None:
    options = ("--context", "device=mobile", "--context", "hour=7.5", "--lang", "zh", "--out", tmp_path)
    done = call("rank", stories, "--agent", run, *options)
    assert done.code == 0, done.err
    assert "变体" in done.out
    assert "已略过：彗星 / 丙" in done.err
    assert re.search(r'<html[^>]* lang="zh', (tmp_path / "index.html").read_text("utf-8"))
    told = json.loads((tmp_path / "ranking.json").read_text("utf-8"))
    assert told["context"] == {"device": "mobile", "hour": "7.5"}
    assert told["items"] != json.loads(ranked[1].out)["items"]
    assert_refused(call("rank", "none.csv", "--agent", run, "--lang", "zh"), "没有这个文件")


@pytest.mark.slow
def test_markup_in_texts_is_text(call: Call, run: Path, tmp_path: Path) -> None:
    rows = [
        ("[b]x[/i]", "a", "", "[/] <script>alert(1)</script> {{7*7}}", ""),
        ("[b]x[/i]", "b", "", "y", ""),
    ]
    done = call("rank", write_catalogue(tmp_path / "c.csv", rows), "--agent", run, "--out", tmp_path)
    assert done.code == 0, done.err
    assert "[b]x[/i]" in done.out
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "{{7*7}}" in page


@pytest.mark.slow
def test_strict_stops_at_the_bad_path(call: Call, stories: Path, run: Path) -> None:
    assert_refused(call("rank", stories, "--agent", run, "--strict"), "missing.png", "correct the path")


@pytest.mark.slow
@pytest.mark.parametrize("better", [0, 1, 2])
def test_a_large_record_outweighs_any_content(call: Call, run: Path, tmp_path: Path, better: int) -> None:
    lines = [
        f"s,{name},{name} headline,50000,{1500 if place == better else 500}"
        for place, name in enumerate(("first", "second", "third"))
    ]
    (tmp_path / "c.csv").write_text("\n".join(["item_id,variant_id,caption,impressions,clicks", *lines]))
    done = call("rank", tmp_path / "c.csv", "--agent", run, "--json")
    assert done.code == 0, done.err
    (item,) = json.loads(done.out)["items"]
    best = item["variants"][0]
    assert (item["verdict"], best["variant_id"]) == ("winner", ("first", "second", "third")[better])
    assert best["probability_best"] > 0.99
    assert best["click_rate"] == pytest.approx(0.03, rel=0.1)
    assert item["variants"][1]["click_rate"] == pytest.approx(0.01, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["device"], "write it as name=value"),
        (["device=mobil"], "did you mean 'mobile'?"),
        (["device=mobile", "device=tablet"], "given twice"),
    ],
)
def test_a_wrong_context(call: Call, stories: Path, run: Path, pairs: list[str], words: str) -> None:
    options = [part for pair in pairs for part in ("--context", pair)]
    assert_refused(call("rank", stories, "--agent", run, *options), words)
