"""Policies on a log: states from its rows, and answers that agree with a truth that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal_dql.candidates import Candidates
from multimodal_dql.datasets.events import EventLog, event_schema
from multimodal_dql.errors import UsageError
from multimodal_dql.log_evaluation import LOGGED, LogEvaluation, evaluate_log
from multimodal_dql.log_states import KnownVariants, LogStates
from multimodal_dql.policies.base import First, Policy, Uniform
from multimodal_dql.policies.registry import make_policy
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.state import State
from tests.logs import NAMES, ROOM, Newsroom, newsroom_log

ESTIMATORS = ("ips", "snips", "dm", "dr", "sndr")


def written(table: pa.Table, folder: Path) -> Path:
    path = folder / "日志.parquet"
    pq.write_table(table, path)
    return path


def evaluated(path: Path, reward: str = "click", rows: int = 1000, **policies: Policy) -> LogEvaluation:
    log = EventLog(path, columns=LogStates.columns(reward))
    return evaluate_log(log, LogStates(reward), policies, estimators=ESTIMATORS, bootstraps=200, rows=rows)


def test_states_stand_as_in_the_log() -> None:
    states = LogStates("dwell_seconds")
    table = newsroom_log(50, 1)
    batch = states(table)
    sizes = [len(c) for c in table["candidates"].to_pylist()]
    assert batch.state.available.sum(axis=1).tolist() == sizes
    shown = [NAMES[a] for a in batch.action]
    assert shown == table["action"].to_pylist()
    assert batch.reward.tolist() == [d or 0.0 for d in table["dwell_seconds"].to_pylist()]
    same_session = table["session_id"].to_numpy()
    for a in range(10):
        assert (batch.unit == batch.unit[a]).tolist() == (same_session == same_session[a]).tolist()
    # 甲 of one story is not 甲 of another, and padding has no key.
    stories = table["item_id"].to_numpy()
    assert len({(s, k) for s, k in zip(stories, batch.keys[:, 0].tolist(), strict=True)}) == 3
    assert len(set(batch.keys[:, 0].tolist())) == 3
    assert (batch.keys[~batch.state.available] == 0).all()
    assert set(states.names.values()) == {
        (s, v) for s, c in zip(stories, table["candidates"].to_pylist(), strict=True) for v in c
    }


def test_a_click_without_its_value_is_left_out_and_counted() -> None:
    table = newsroom_log(200, 2)
    click = np.array(table["click"])
    at = int(np.flatnonzero(click == 1)[0])
    values = table["dwell_seconds"].to_pylist()
    values[at] = None
    place = table.schema.get_field_index("dwell_seconds")
    table = table.set_column(place, table.schema.field(place), pa.array(values, pa.float64()))
    states = LogStates("dwell_seconds")
    assert len(states(table)) == 199
    assert dict(states.left_out) == {"a click without dwell_seconds": 1}


def test_records_are_what_policies_are_told() -> None:
    table = newsroom_log(3, 3)
    records = [
        [{"impressions": 10 * (k + 1), "clicks": k} for k in range(len(c))]
        for c in table["candidates"].to_pylist()
    ]
    from multimodal_dql.datasets.events import event_schema

    field = event_schema().field("records")
    batch = LogStates("click")(table.append_column(field, pa.array(records, field.type)))
    counts = batch.state.counts
    assert counts is not None
    for row, c in enumerate(records):
        assert counts.impressions[row, : len(c)].tolist() == [r["impressions"] for r in c]
        assert counts.clicks[row, : len(c)].tolist() == [r["clicks"] for r in c]
        assert counts.elapsed[row] == sum(r["impressions"] for r in c)


def test_answers_agree_with_the_truth(tmp_path: Path) -> None:
    """Each of six intervals leaves its truth out in 5 % of such logs; 4 standard errors are left out once in 15,000."""
    found = evaluated(written(newsroom_log(30_000, 4), tmp_path), uniform=Uniform(), first=First())
    assert abs(found.logged.value - ROOM.logged) < 4 * found.logged.standard_error
    for policy, truth in zip(found.policies, (ROOM.uniform, ROOM.first), strict=True):
        assert policy.result.verdict.answerable
        for name in ("ips", "snips", "dr", "sndr"):
            e = policy.result.estimates[name]
            assert abs(e.value - truth) < 4 * e.standard_error < 0.05
        gap = policy.against[LOGGED]
        assert abs(gap.value - (truth - ROOM.logged)) < 4 * gap.standard_error
        # Pairing removes what both share.
        assert gap.standard_error < np.hypot(policy.headline.standard_error, found.logged.standard_error)


def test_batches_do_not_matter(tmp_path: Path) -> None:
    path = written(newsroom_log(2_000, 5), tmp_path)
    a, b = (evaluated(path, rows=rows, uniform=Uniform()) for rows in (7, 2_000))
    for name in ESTIMATORS:
        x, y = (f.policies[0].result.estimates[name] for f in (a, b))
        assert (x.value, x.low, x.high) == pytest.approx((y.value, y.low, y.high), abs=1e-12)
    for one, other in zip(a.policies[0].actions, b.policies[0].actions, strict=True):
        assert one.variant_id == other.variant_id
        assert one.effective == pytest.approx(other.effective, rel=1e-12)


def test_shares_and_periods_by_hand(tmp_path: Path) -> None:
    table = newsroom_log(3_000, 6)
    found = evaluated(written(table, tmp_path), uniform=Uniform())
    stories, actions = table["item_id"].to_numpy(), table["action"].to_numpy()
    for share in found.policies[0].actions:
        could = stories == share.item_id
        shown = could & (actions == share.variant_id)
        assert share.shown == shown.sum()
        assert share.logged == pytest.approx(shown.sum() / could.sum())
        size = int((ROOM.chances[int(share.item_id[-1])] > 0).sum())
        assert share.target == pytest.approx(1 / size)
        assert share.effective == pytest.approx(shown.sum())  # one propensity a variant: equal weights
        assert share.mean == pytest.approx(table["click"].to_numpy()[shown].mean())
    points = found.policies[0].over_time
    assert sum(p.decisions for p in points) == 3_000
    assert len(points) == 20
    clicks = table["click"].to_numpy()
    assert [p.logged for p in points[:2]] == pytest.approx([clicks[:150].mean(), clicks[150:300].mean()])


def test_sessions_of_several_decisions_have_an_any_time_interval(tmp_path: Path) -> None:
    """It holds the truth (5 % of logs may ever leave it out), is wider than a single look's, and says what it rests on;
    without sessions it rests on nothing, and a reward without a known bound has none."""
    table = newsroom_log(20_000, 9)
    path = written(table, tmp_path)
    e = evaluated(path, first=First()).policies[0].result.estimates["ips"]
    low, high = e.intervals["anytime"]
    assert low < min(ROOM.first, e.low) < max(ROOM.first, e.high) < high < e.high + 2 * (e.high - e.low)
    longest = np.unique(table["session_id"].to_numpy(), return_counts=True)[1].max()
    assert longest <= e.details["anytime_unit_rows"] < 10 * longest
    assert (
        "anytime"
        not in evaluated(path, "dwell_seconds", u=Uniform()).policies[0].result.estimates["ips"].intervals
    )
    alone = evaluated(written(table.drop_columns(["session_id"]), tmp_path), u=Uniform())
    e = alone.policies[0].result.estimates["ips"]
    assert "anytime" in e.intervals
    assert e.details == {}


def gallery(rows: int, seed: int) -> tuple[pa.Table, KnownVariants, float]:
    """One story in twelve variants of three kinds; those of a kind earn the same. What `Favourite` would earn."""
    kinds, names = np.arange(12) % 3, [f"v{k}" for k in range(12)]
    rates, chances = np.array([0.1, 0.3, 0.5])[kinds], np.repeat([0.02, 0.05, 0.08, 0.1], 3) / 0.75
    table = newsroom_log(rows, seed, Newsroom(rates[None], chances[None]), names)
    content = np.eye(3, 5, dtype=np.float32)[kinds] + np.float32(
        0.01 * np.random.default_rng(1).normal(size=(12, 5))
    )
    candidates = Candidates(
        np.pad(content, ((0, 1), (0, 0))),
        np.pad(np.ones((12, 1), np.float32), ((0, 1), (0, 0))),
        np.arange(12)[None],
        np.ones((1, 12), np.bool_),
        np.zeros((1, 12), np.int64),
        np.zeros((1, 12), np.int64),
    )
    return table, KnownVariants(["故事0"], [names], candidates, kinds=3), 0.9 * 0.5 + 0.1 * rates.mean()


class Favourite(Policy):
    """Nine times in ten the third variant, which the log shows least."""

    name = "favourite"

    def probabilities(self, state: State) -> Any:
        even = state.available / state.available.sum(axis=1, keepdims=True)
        return 0.9 * np.eye(state.available.shape[1])[2] + 0.1 * even


def test_kinds_of_variants_answer_where_single_ones_are_rare(tmp_path: Path) -> None:
    """The variant wanted has a fortieth of the log, its kind a third: the truth is held by both (4 standard errors, one
    false alarm in 15,000), and the interval of kinds is less than half as wide."""
    table, known, truth = gallery(6_000, 10)
    contexts = pa.array(
        [[(f.name, "0" if f.kind != "category" else f.values[0]) for f in CONTEXT.fields]] * len(table),
        event_schema().field("context").type,
    )
    field = event_schema().field("context")
    path = written(table.append_column(field, contexts), tmp_path)
    log, states = EventLog(path, columns=LogStates.columns("click")), LogStates("click", known)
    found = evaluate_log(
        log, states, {"favourite": Favourite()}, estimators=("mips", "snmips", "ips"), bootstraps=0, rows=1000
    )
    assert found.decisions == 6_000
    assert found.logged.value == pytest.approx(table["click"].to_numpy().mean())
    estimates = found.policies[0].result.estimates
    for e in estimates.values():
        assert abs(e.value - truth) < 4 * e.standard_error
    for name in ("mips", "snmips"):
        assert estimates[name].standard_error < 0.5 * estimates["ips"].standard_error
    assert found.policies[0].against[LOGGED].value == pytest.approx(
        found.policies[0].headline.value - found.logged.value, abs=1e-9
    )


class Certain(Policy):
    """Always the last candidate of the padded table that is available."""

    name = "last"

    def probabilities(self, state: State) -> Any:
        k = state.available.shape[1] - 1 - state.available[:, ::-1].argmax(axis=1)
        return np.eye(state.available.shape[1])[k]


def test_a_log_that_never_tried_it_cannot_say(tmp_path: Path) -> None:
    table = newsroom_log(5_000, 7)
    keep = np.array(
        [
            a != c[-1]
            for a, c in zip(table["action"].to_pylist(), table["candidates"].to_pylist(), strict=True)
        ]
    )
    found = evaluated(written(table.filter(pa.array(keep)), tmp_path), last=Certain())
    verdict = found.policies[0].result.verdict
    assert not verdict.answerable
    assert verdict.reason
    assert verdict.reason_zh
    assert verdict.needed
    assert verdict.needed_zh


def test_policies_that_learn_from_outcomes_are_refused(tmp_path: Path) -> None:
    path = written(newsroom_log(100, 8), tmp_path)
    with pytest.raises(UsageError, match="simulate"):
        evaluated(path, linucb=make_policy("linucb"))
