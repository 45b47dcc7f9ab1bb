"""Decisions and later rewards: by hand, and against a slow plain model on 10,000 sequences."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal_dql.datasets.events import EventLog
from multimodal_dql.datasets.events.joined_log import HOUR, join_log
from multimodal_dql.datasets.events.joining import COUNTS, Rewards, join_rewards
from multimodal_dql.errors import EventsError, UsageError
from tests.datasets.logs import START, row, write_jsonl, write_parquet

Reward = tuple[str, int, float, float]


def plain(
    decisions: list[tuple[str, int]], rewards: list[Reward], wait: int, default: float, end: int
) -> tuple[dict[str, tuple[float, float] | None], dict[str, int]]:
    """One decision at a time, one reward at a time; None for a censored decision."""
    counts = dict.fromkeys(COUNTS, 0)
    counts["rewards"], counts["decisions"] = len(rewards), len(decisions)
    counts["orphan"] = sum(r[0] not in {d for d, _ in decisions} for r in rewards)
    out: dict[str, tuple[float, float] | None] = {}
    for event, time in decisions:
        own = [r for r in rewards if r[0] == event]
        if time + wait > end:
            out[event] = None
            counts["censored"] += 1
            counts["of censored decisions"] += len(own)
            continue
        counts["late"] += sum(r[1] > time + wait for r in own)
        counts["early"] += sum(r[1] < time for r in own)
        inside = [r for r in own if time <= r[1] <= time + wait]
        # NaN cannot be compared: a missing part is the last.
        keyed = sorted((r[1], *((math.isnan(x), 0.0 if math.isnan(x) else x) for x in r[2:])) for r in inside)
        distinct = sorted(set(keyed))
        counts["repeated"] += len(keyed) - len(distinct)
        counts["duplicate"] += max(len(distinct) - 1, 0)
        if not distinct:
            out[event] = (default, math.nan)
            counts["default"] += 1
            continue
        counts["used"] += 1
        counts["with a reward"] += 1
        first = distinct[0]
        out[event] = tuple(math.nan if missing else x for missing, x in first[1:])  # type: ignore[assignment]
    return out, counts


def drawn(rng: random.Random) -> tuple[list[tuple[str, int]], list[Reward], int, int | None, int]:
    """Decisions, rewards, the wait, the end of the data if it is told, and where the first batch of decisions ends."""
    part = (0.0, 1.0, 2.0, math.nan)
    decisions = [(event, rng.randint(0, 12)) for event in rng.sample("甲乙丙丁", rng.randint(0, 4))]
    wait = rng.randint(0, 6)
    rewards: list[Reward] = []
    for _ in range(rng.randint(0, 7)):
        event, time = rng.choice("甲乙丙丁戊"), rng.randint(0, 15)
        if decisions and rng.random() < 0.5:  # near the ends of a window
            event, time = rng.choice(decisions)
            time = max(time + rng.choice((-1, 0, 0, 1, wait, wait, wait + 1)), 0)
        rewards.append((event, time, rng.choice(part), rng.choice(part)))
        if rng.random() < 0.2:
            rewards.append(rng.choice(rewards))  # the same once more
    rng.shuffle(rewards)
    end = rng.randint(0, 20) if rng.random() < 0.5 else None
    return decisions, rewards, wait, end, rng.randint(0, 3)


FATES = ("used", "late", "early", "duplicate", "repeated", "orphan", "of censored decisions")


def test_against_a_plain_model() -> None:
    """Any order of arrival, late, early, repeated and stray rewards, an end before everything or after."""
    rng = random.Random(20)
    met = dict.fromkeys(COUNTS, 0)
    for _ in range(10_000):
        sequence = drawn(rng)
        counts = joined_as_the_plain_model(*sequence)
        for name, n in counts.items():
            met[name] += n > 0
    # Whatever can happen did, in hundreds of sequences.
    assert min(met.values()) > 500, met


def joined_as_the_plain_model(
    decisions: list[tuple[str, int]], rewards: list[Reward], wait: int, end: int | None, cut: int
) -> dict[str, int]:
    last = max([t for _, t in decisions] + [r[1] for r in rewards], default=0) if end is None else end
    wanted, counts = plain(decisions, rewards, wait, 0.5, last)
    parts = {"click": np.array([r[2] for r in rewards]), "value": np.array([r[3] for r in rewards])}
    held = Rewards(
        [r[0] for r in rewards], np.array([r[1] for r in rewards], np.int64), parts,
        wait=wait, default={"click": 0.5}, end=last,
    )  # fmt: skip
    # In two batches, as a log comes.
    for batch in (decisions[:cut], decisions[cut:]):
        found = held.join([d for d, _ in batch], np.array([t for _, t in batch], np.int64))
        for i, (event, _) in enumerate(batch):
            own = wanted[event]
            assert bool(found.censored[i]) == (own is None)
            told = (found.parts["click"][i], found.parts["value"][i])
            expected = (math.nan, math.nan) if own is None else own
            # NaN is nothing to be compared: equal as text.
            assert [str(float(x)) for x in told] == [str(float(x)) for x in expected]
    c = held.counts
    assert c == counts
    assert c["rewards"] == sum(c[name] for name in FATES)
    assert c["decisions"] == c["with a reward"] + c["default"] + c["censored"]
    return c


def test_by_hand() -> None:
    """Wait 10, data until 100: in time at both ends of the window, late by one, early, twice, stray, censored."""
    joined, counts = join_rewards(
        ["a", "b", "c", "d", "e"],
        np.array([0, 10, 20, 30, 95]),
        ["b", "a", "a", "c", "c", "d", "e", "x", "b"],
        np.array([21, 10, 0, 25, 25, 29, 96, 50, 100]),
        {"click": np.array([1.0, 0, 1, 1, 1, 1, 1, 1, 1])},
        wait=10,
        default={"click": 0.0},
    )
    np.testing.assert_equal(joined.parts["click"], [1.0, 0.0, 1.0, 0.0, math.nan])
    assert joined.rewarded.tolist() == [True, False, True, False, False]
    assert joined.censored.tolist() == [False, False, False, False, True]
    assert {name: n for name, n in counts.items() if n} == {
        "rewards": 9, "used": 2, "late": 2, "early": 1, "duplicate": 1, "repeated": 1, "orphan": 1,
        "of censored decisions": 1, "decisions": 5, "with a reward": 2, "default": 2, "censored": 1,
    }  # fmt: skip


def reward(n: int, hours: float, **parts: float | None) -> dict[str, Any]:
    return {"event_id": f"事件-{n}", "time": START.timestamp() + n + hours * 3600, **parts}


def write_rewards(path: Path, held: list[dict[str, Any]]) -> Path:
    names = {name for r in held for name in r}
    columns = {name: [r.get(name) for r in held] for name in names - {"time"}}
    times = pa.array([round(r["time"] * 1e6) for r in held], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({**columns, "time": times}), path)
    return path


def test_logs_are_joined(tmp_path: Path) -> None:
    """Decisions without clicks in JSONL, rewards in Parquet; a reward that is none is counted and not used."""
    decisions = [{k: v for k, v in row(n).items() if k not in ("click", "dwell_seconds")} for n in range(6)]
    decisions[4]["probability"] = 0.0
    nan = float("nan")
    rewards = [
        reward(0, 1, click=1.0, dwell_seconds=30.0),
        reward(1, 23, click=0.0),
        reward(2, 25, click=1.0),
        reward(3, 1, click=nan),
        reward(3, 2, click=7.0),
        reward(3, 3, dwell_seconds=-5.0),
        reward(5, 3),
        reward(9, 48, click=1.0),
    ]
    done = join_log(
        [write_jsonl(tmp_path / "决策.jsonl", decisions)], [write_rewards(tmp_path / "奖励.parquet", rewards)],
        tmp_path / "日志.parquet", wait_hours=24,
    )  # fmt: skip
    (batch,) = EventLog(tmp_path / "日志.parquet").batches()
    assert batch["click"].to_pylist() == [1, 0, 0, 0, 0]
    assert batch["dwell_seconds"].to_pylist() == [30.0, None, 0.0, 0.0, 0.0]
    assert (done.written, done.parts, done.excluded) == (
        5,
        ["click", "dwell_seconds"],
        {"probability is zero": 1},
    )
    assert done.excluded_rewards == {
        "click is neither 0 nor 1": 2, "dwell_seconds is negative": 1, "a reward without a value": 1,
    }  # fmt: skip
    assert {name: n for name, n in done.counts.items() if n} == {
        "rewards": 4, "used": 2, "late": 1, "orphan": 1, "decisions": 5, "with a reward": 2, "default": 3,
    }  # fmt: skip


def test_decisions_whose_wait_has_not_ended_are_left_out(tmp_path: Path) -> None:
    held = write_parquet(tmp_path / "a.parquet", [row(n, time=START.replace(day=1 + n)) for n in range(4)])
    rewards = write_rewards(tmp_path / "r.parquet", [reward(0, 5, conversion_value=-2.5)])
    out = tmp_path / "log.parquet"
    done = join_log([held], [rewards], out, wait_hours=24, default_reward=0.25)
    (batch,) = EventLog(out).batches()
    # Clicks of the decisions stay: the rewards tell of something else.
    assert (batch["click"].to_pylist(), batch["conversion_value"].to_pylist()) == (
        [0, 1, 0],
        [-2.5, 0.25, 0.25],
    )
    assert done.counts["censored"] == 1
    end = round(START.timestamp() * 1e6) + 30 * HOUR
    done = join_log([held], [rewards], out, wait_hours=24, until=end)
    assert (done.written, done.counts["censored"]) == (1, 3)
    with pytest.raises(EventsError, match="no decision whose wait of 200 hours has ended"):
        join_log([held], [rewards], out, wait_hours=200)
    assert next(EventLog(out).batches()).num_rows == 1  # as it was


def test_refusals(tmp_path: Path) -> None:
    held = write_parquet(tmp_path / "a.parquet", [row(n) for n in range(3)])
    rewards = write_rewards(tmp_path / "r.parquet", [reward(0, 0, click=1.0)])
    out = tmp_path / "log.parquet"
    with pytest.raises(UsageError, match="--wait -1 is no number of hours"):
        join_log([held], [rewards], out, wait_hours=-1)
    with pytest.raises(UsageError, match=r"--default-reward 0.5 is no click"):
        join_log([held], [rewards], out, wait_hours=0, default_reward=0.5)
    with pytest.raises(EventsError, match="is read and written at once"):
        join_log([held], [rewards], held, wait_hours=0)
    with pytest.raises(EventsError, match="holds no reward"):
        join_log([held], [write_rewards(tmp_path / "n.parquet", [reward(0, 0)])], out, wait_hours=0)
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(EventsError, match="lacks the columns event_id, time; rewards have"):
        join_log([held], [tmp_path / "x.parquet"], out, wait_hours=0)
    assert not out.exists()
