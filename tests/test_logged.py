"""Learning from a log of decisions: what is read from it, what it teaches, and the whole way by command."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal_dql.agent import Agent
from multimodal_dql.candidates import ContentProjection, candidate_table
from multimodal_dql.datasets.demo import build_demo
from multimodal_dql.datasets.events import event_schema
from multimodal_dql.errors import EventsError, RunError, UsageError
from multimodal_dql.logged import Logged
from multimodal_dql.rank import rank
from multimodal_dql.training import TrainConfig, train_from_log
from multimodal_dql.transitions import transitions_of

from .conftest import Call
from .test_candidates import encoded

pytestmark = pytest.mark.usefixtures("shared_graphs")

FEATURES = encoded(items=6)
CONTEXT = {
    "segment": "planner",
    "device": "mobile",
    "hour": "6",
    "returning": "0",
    "step": "0",
    "satisfaction": "0",
}
SMALL = TrainConfig(
    iterations=6, updates=8, batch=64, members=2, folds=2, hidden=8, expected_reward=False, content_noise=0.0,
    modality_dropout=0.0,
)  # fmt: skip


def event(
    n: int, story: int, action: int, click: int, session: str | None = "s0", **changes: Any
) -> dict[str, Any]:
    ids = [v.variant_id for v in FEATURES.catalogue.items[story].variants]
    return {
        "event_id": str(n),
        "time": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n),
        "session_id": session,
        "item_id": f"s{story}",
        "context": list(CONTEXT.items()),
        "candidates": ids,
        "records": [{"impressions": 100 * (k + 1), "clicks": k} for k in range(len(ids))],
        "action": ids[action],
        "probability": 1 / len(ids),
        "click": click,
        "policy": "uniform",
        "schema_version": 1,
    } | changes


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=event_schema()), path)
    return path


def read(path: Path, seed: int = 0) -> Logged:
    projection = ContentProjection.fit(FEATURES)
    return Logged(path, FEATURES.catalogue, candidate_table(FEATURES, projection), seed)


def random_log(path: Path, decisions: int, seed: int = 0, never: bool = False) -> Path:
    """Sessions of four; candidate 0 is clicked half of the time, others a tenth. `never`: the last is not tried."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(decisions):
        story = int(rng.integers(6))
        size = len(FEATURES.catalogue.items[story].variants)
        action = int(rng.integers(size - never))
        click = int(rng.random() < (0.5 if action == 0 else 0.1))
        rows.append(event(n, story, action, click, f"s{n // 4}", probability=1 / (size - never)))
    return write(path, rows)


def test_a_log_by_hand(tmp_path: Path) -> None:
    """Two sessions and a decision without one, out of order; candidates in another order than the catalogue's."""
    turned = event(2, 1, 2, 1)
    turned |= {"candidates": turned["candidates"][::-1], "records": turned["records"][::-1]}
    rows = [
        turned,
        event(1, 0, 1, 0),
        event(3, 2, 3, 0, "s1"),
        event(4, 0, 0, 1, None),
        event(5, 0, 0, 0, None),
    ]
    log = read(write(tmp_path / "log.parquet", rows))
    seen = log.rows
    by_story = dict(zip(seen.item[0].tolist(), zip(seen.action[0], seen.click[0], strict=True), strict=True))
    assert (by_story[1], by_story[2]) == ((2, 1.0), (3, 0.0))
    at = seen.item[0].tolist().index(1)
    assert (seen.item[0, at - 1], seen.done[0, at - 1], seen.done[0, at]) == (0, False, True)
    assert seen.done[0].sum() == 4  # s0, s1, and each decision that has no session
    assert log.base_rate == pytest.approx(2 / 5)
    assert log.facts["log"] == {
        "decisions": 5,
        "sessions": 4,
        "clicks": 2,
        "left_out": {},
        "policies": ["uniform"],
        "sha256": hashlib.sha256((tmp_path / "log.parquet").read_bytes()).hexdigest(),
    }
    # n-step rewards end with the session: the first of s0 sees the click that follows at half its worth.
    batch = transitions_of(seen, log.base_rate, replace(SMALL, n_step=3, discount=0.5))
    np.testing.assert_allclose(batch["reward"][at - 1 : at + 1], np.array([0.5, 1.0]) / log.base_rate)
    np.testing.assert_array_equal(batch["factor"], 0.0)
    # Where records are shown they are those of the candidates, whatever their order in the log.
    shown = [read(tmp_path / "log.parquet", seed).rows.record[0, at] for seed in range(8)]
    more = [r for r in shown if r[0, 2] > 0]
    assert 0 < len(more) < 8
    assert all(r[0, 2] < r[1, 2] < r[2, 2] for r in more)


def test_paired_arms_do_not_share_their_sessions(tmp_path: Path) -> None:
    rows = [event(n, n % 6, 0, n % 2, "s0", policy=("a", "b")[n % 2]) for n in range(6)]
    log = read(write(tmp_path / "log.parquet", rows))
    assert (log.facts["log"]["sessions"], log.facts["log"]["policies"]) == (2, ["a", "b"])


def test_what_does_not_fit_is_left_out_and_counted(tmp_path: Path) -> None:
    good = [event(n, n % 6, 0, n % 2) for n in range(6)]
    bad = [
        event(10, 0, 0, 1, item_id="elsewhere"),
        event(11, 1, 0, 1, candidates=["0", "1"], records=None),
        event(12, 1, 0, 1) | {"action": "9"},
        event(13, 0, 0, 1, context=[("segment", "planner")]),
        event(14, 0, 0, 1, context=list((CONTEXT | {"hour": "25"}).items())),
        event(15, 0, 0, 2),
    ]
    log = read(write(tmp_path / "log.parquet", good + bad))
    assert len(log.rows.item[0]) == 6
    assert log.left_out == {
        "stories that are not in the catalogue": 1,
        "action is not among the candidates": 1,
        "click is neither 0 nor 1": 1,
        "candidates that are not those of the catalogue": 1,
        "a context that is incomplete or out of range": 2,
    }


def test_refusals(tmp_path: Path) -> None:
    """One line each, in both languages."""
    log = tmp_path / "log.parquet"
    cases: list[tuple[Any, str]] = [
        (lambda: None, "there is no such log; write one with"),
        (lambda: log.write_bytes(b"PAR1"), "is not a Parquet file"),
        (lambda: pq.write_table(pa.table({"item_id": ["a"]}), log), "lacks the columns context, candidates"),
        (lambda: write(log, [event(0, 0, 0, 1, schema_version=9)]), "newer version .schema 9.*upgrade"),
        (lambda: write(log, [event(0, 0, 0, 1, item_id="x")]), "nothing to learn from .stories that are not"),
        (lambda: write(log, [event(n, n, 0, 0) for n in range(6)]), "has 6 decisions and 0 clicks"),
        (lambda: write(log, []), "nothing to learn from .no decisions"),
    ]
    for make, words in cases:
        make()
        with pytest.raises(EventsError, match=words) as refused:
            read(log)
        assert "\n" not in refused.value.text("en") + refused.value.text("zh")
    with pytest.raises(UsageError, match="expected_reward is true, and a log"):
        train_from_log(FEATURES, replace(SMALL, expected_reward=True), log)


def test_it_learns_who_is_clicked_and_says_what_it_rests_on(tmp_path: Path) -> None:
    """Candidate 0 is the best of every story that a member learned from."""
    log = random_log(tmp_path / "log.parquet", 4000)
    agent, source = train_from_log(FEATURES, replace(SMALL, iterations=30), log, run=tmp_path / "run")
    agent = Agent.load(tmp_path / "run")
    c, contexts = source.candidates, np.repeat(agent.contexts({})[:1], 6, axis=0)
    record = np.zeros((6, c.size, 3), np.float32)
    record[..., 1] = c.available
    rate = agent.estimate(c.state(np.arange(6), contexts, record)).click_rate
    learned = ~agent.left_out(np.arange(6))
    for m, i in zip(*np.nonzero(learned), strict=True):
        assert rate[m, i].argmax() == 0
        assert rate[m, i, 0] > 2 * rate[m, i, 1]
    ranking = rank(agent, FEATURES)
    assert "a log of 4,000 decisions with" in ranking.evidence
    assert "4,000 个决策" in ranking.evidence_zh
    assert "simulated" not in ranking.evidence
    value = source.value(agent)
    assert value is not None
    assert value.low < value.uplift < value.high


def test_inverse_propensity_by_hand(tmp_path: Path) -> None:
    """An agent that always shows candidate 0, in a log that shows each alike: .5 clicks against the log's mean."""
    source = read(random_log(tmp_path / "log.parquet", 6000))
    source._choices_of = lambda agent: np.zeros(6000, np.int64)  # type: ignore[method-assign]
    value = source.value(None)  # type: ignore[arg-type]
    assert value is not None
    assert value.followed == pytest.approx(1 / 3, abs=0.05)
    assert value.low < 0.5 / source.base_rate - 1 < value.high
    # Certain choices say nothing of others.
    source.probability[:] = 1.0
    assert source.value(None) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("value_loss", "least"), [("mse", 0.02), ("hl_gauss", 0.2)])
def test_cql_presses_down_what_the_log_never_did(value_loss: str, least: float, tmp_path: Path) -> None:
    """The last candidate of every story looks alike and is never shown: the larger alpha, the lower its Q."""
    log = random_log(tmp_path / "log.parquet", 2000, never=True)
    ends = np.cumsum([len(item.variants) for item in FEATURES.catalogue.items]) - 1
    vectors = FEATURES.vectors["e"].copy()
    vectors[ends, 0] += 5.0
    features = replace(FEATURES, vectors={"e": vectors})
    gaps = []
    for alpha in (0.0, 3.0):
        agent, source = train_from_log(
            features, replace(SMALL, iterations=20, cql=alpha, value_loss=value_loss), log
        )
        c, contexts = source.candidates, np.repeat(agent.contexts({})[:1], 6, axis=0)
        record = np.zeros((6, c.size, 3), np.float32)
        q = agent.estimate(c.state(np.arange(6), contexts, record)).q / agent.base_rate
        last = c.available.sum(axis=1) - 1
        unseen = q[:, np.arange(6), last]
        seen = np.where(np.isfinite(q), q, 0.0).sum(axis=2) - unseen
        gaps.append(float((unseen - seen / last).mean()))
    assert gaps[1] < gaps[0] - least


def test_interrupted_it_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    def stop(done: int, total: int, row: dict[str, float]) -> None:
        if done == 3:
            raise Cut

    log = random_log(tmp_path / "log.parquet", 800)
    config = replace(SMALL, checkpoint_every=1, cql=0.1)
    train_from_log(FEATURES, config, log, run=tmp_path / "whole")
    with pytest.raises(Cut):
        train_from_log(FEATURES, config, log, run=tmp_path / "cut", progress=stop)
    other = random_log(tmp_path / "other.parquet", 800, seed=1)
    with pytest.raises(RunError, match="another audience or log"):
        train_from_log(FEATURES, config, other, run=tmp_path / "cut", resume=True)
    train_from_log(FEATURES, config, log, run=tmp_path / "cut", resume=True)
    for name in ("weights.safetensors", "config.json", "metrics.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_from_simulation_to_log_to_agent_to_fresh_sessions(call: Call, tmp_path: Path) -> None:
    """By command alone: uniform choices are logged, an agent learns from the log, and beats them on other sessions."""
    stories, log, run = build_demo(), tmp_path / "log.parquet", tmp_path / "run"
    world = ("--assume", "base_click_rate=.05", "--assume", "content_share=1", "--assume", "within_sd=.5")
    some = ("--encoders", "use-multilingual")
    done = call(
        "simulate",
        stories,
        *some,
        *world,
        "--policies",
        "uniform",
        "--sessions",
        6000,
        "--events",
        log,
    )
    assert done.code == 0, done.err
    few = ("--iterations", 20)
    done = call("train", stories, *some, *few, "--log", log, "--out", run, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["log"]["policies"] == ["uniform"]
    assert result["log"]["left_out"] == {}
    assert result["value"]["low"] < result["value"]["uplift"] < result["value"]["high"]
    assert json.loads((run / "config.json").read_text())["facts"]["training"]["cql"] == 0.1
    # The same tastes and variants, other people and other luck.
    fresh = ("--audience-seed", 0, "--seed", 1, "--sessions", 3000, "--policies", "uniform,learned", "--json")
    done = call("simulate", stories, "--agent", run, *world, *fresh)
    assert done.code == 0, done.err
    comparison = json.loads(done.out)["comparisons"][0]
    assert comparison["low"] > 0
    ranked = call("rank", stories, "--agent", run, "--json")
    assert ranked.code == 0, ranked.err
    assert json.loads(ranked.out)["evidence"].startswith("a log of ")
