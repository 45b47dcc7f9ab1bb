"""``simulate`` as its users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import Call

pytestmark = pytest.mark.usefixtures("shared_graphs")

COMPARISON = {"arm", "against", "effect", "low", "high", "p_adjusted", "ending"}


@pytest.mark.slow
def test_simulate(call: Call, stories: Path, run: Path, tmp_path: Path) -> None:
    out, events = tmp_path / "页面", tmp_path / "log" / "events.parquet"
    args = ("--sessions", 300, "--policies", "first,uniform,thompson,learned,shuffled")
    done = call("simulate", stories, "--agent", run, *args, "--out", out, "--events", events, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert set(result) >= {"arms", "comparisons", "design", "sample_ratio_p", "crn_variance_ratio"}
    assert (result["design"], result["sample_ratio_p"]) == ("paired", None)
    assert 0 < result["crn_variance_ratio"] < 1
    assert [c["arm"] for c in result["comparisons"]] == ["uniform", "thompson", "learned", "shuffled"]
    assert all(c["against"] == "first" and set(c) >= COMPARISON for c in result["comparisons"])
    assert set(result["references"]) == {"oracle", "myopic"}
    assert json.loads((out / "simulation.json").read_text("utf-8")) == result
    assert "<svg" in (out / "index.html").read_text("utf-8")
    table = pq.read_table(events)
    assert set(table["policy"].to_pylist()) == set(result["arms"])
    assert min(table["probability"].to_pylist()) > 0


@pytest.mark.slow
def test_simulate_needs_no_agent_and_speaks_chinese(call: Call, stories: Path) -> None:
    args = (
        "--policies",
        "uniform,ucb:z=.04",
        "--design",
        "randomised",
        "--rule",
        "anytime",
        "--sessions",
        400,
    )
    done = call("simulate", stories, "--encoders", "use-multilingual", *args, "--lang", "zh")
    assert done.code == 0, done.err
    assert "置信" in done.out or "区间" in done.out
    again = call("simulate", stories, "--encoders", "use-multilingual", *args, "--json")
    result = json.loads(again.out)
    assert result["design"] == "randomised"
    assert 0 <= result["sample_ratio_p"] <= 1
    assert result["crn_variance_ratio"] is None


@pytest.mark.slow
def test_simulate_gives_the_same_numbers_on_any_number_of_workers(call: Call, stories: Path) -> None:
    args = (
        "--encoders",
        "use-multilingual",
        "--policies",
        "first,thompson,linucb",
        "--sessions",
        1500,
        "--json",
    )
    one, eight = (call("simulate", stories, *args, "--workers", n) for n in (1, 8))
    assert one.code == eight.code == 0
    assert one.out == eight.out
