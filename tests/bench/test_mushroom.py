"""The Mushroom bench on a small made-up table, and on the real one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from multimodal_dql.bench.mushroom import (
    HEAD,
    Rounds,
    bench_mushroom,
    draw_rounds,
    joint_rows,
    play_head,
    regret_percent,
    reward_of,
)
from multimodal_dql.datasets.mushroom import Mushrooms, read_mushrooms
from tests.conftest import Call


def made_up(path: Path) -> Path:
    """200 rows: poisonous when the first category is a and the second is not c."""
    rng = np.random.Generator(np.random.Philox(key=[1, 8]))
    with path.open("w", encoding="ascii") as out:
        for row in rng.choice(list("abc"), (200, 22)):
            out.write(",".join(["p" if row[0] == "a" and row[1] != "c" else "e", *row]) + "\n")
    return path


TABLE = Mushrooms(np.eye(4, 8, dtype=np.float32), np.array([True, False, False, False]))
PLAYED = Rounds(np.array([0, 1, 0, 2]), np.array([False, True, True, False]), np.full(4, 0.5))


def test_rewards_and_regret_by_hand() -> None:
    """Even choices lose 15 / 2 on one mushroom of four and 5 / 2 on three: 3.75 a round."""
    assert [reward_of(TABLE, PLAYED, t, True) for t in range(4)] == [-35.0, 5.0, 5.0, 5.0]
    assert [reward_of(TABLE, PLAYED, t, False) for t in range(4)] == [0.0] * 4
    right = np.array([False, True, False, True])
    assert regret_percent(TABLE, PLAYED, right) == 0.0
    # Two poisonous eaten, 15 each; two safe ones left, 5 each: 40 of 4 x 3.75.
    assert regret_percent(TABLE, PLAYED, ~right) == pytest.approx(100 * 40 / 15)
    assert regret_percent(TABLE, PLAYED, np.ones(4, np.bool_)) == pytest.approx(100 * 30 / 15)


def test_even_choices_lose_100_percent() -> None:
    """40,000 rounds: the standard error is below .6 %, 5 of them allowed."""
    played = draw_rounds(TABLE, 40_000, seed=3)
    assert regret_percent(TABLE, played, played.choice < 0.5) == pytest.approx(100.0, abs=3.0)


def test_rounds_belong_to_the_seed() -> None:
    one, again, other = (draw_rounds(TABLE, 50, seed) for seed in (1, 1, 2))
    assert (one.mushroom == again.mushroom).all()
    assert (one.choice == again.choice).all()
    assert (one.choice != other.choice).any()
    assert set(np.unique(one.mushroom)) == {0, 1, 2, 3}
    # A longer run has luck of its own: rounds are drawn at once, not one by one.
    assert 0.2 < draw_rounds(TABLE, 1000, 1).lucky.mean() < 0.8


def test_eating_offers_the_mushroom_and_leaving_offers_nothing() -> None:
    layout, rows = joint_rows(TABLE)
    assert layout.blocks == {"bias": slice(0, 1), "content": slice(1, 9)}
    assert rows.shape == (4, 2, 9)
    assert rows[2].tolist() == [[1, 0, 0, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0]]


def test_the_head_learns_four_mushrooms() -> None:
    """1,500 rounds of four kinds: a few tries and the floor, some 2 %; choosing evenly is 100 %."""
    played = draw_rounds(TABLE, 1500, seed=4)
    eaten = play_head(TABLE, played, HEAD)
    assert regret_percent(TABLE, played, eaten) < 15.0
    assert (play_head(TABLE, played, HEAD) == eaten).all()


def test_the_bench_reports_both_policies(tmp_path: Path) -> None:
    found = bench_mushroom(made_up(tmp_path / "mushroom.data"), seeds=2, rounds=600)
    for name in ("head", "linear_thompson"):
        assert len(found[name]["per_seed"]) == 2
        low, high = found[name]["interval"]
        assert low <= found[name]["mean"] <= high
        assert 0.0 < found[name]["mean"] < 100.0
    assert (found["rounds"], found["seeds"], found["mushrooms"]) == (600, [0, 1], 200)
    assert found["one_hot_features"] == 66
    alone = bench_mushroom(tmp_path / "mushroom.data", seeds=1, rounds=600)
    assert alone["head"]["per_seed"] == found["head"]["per_seed"][:1]
    assert alone["head"]["interval"] is None


def test_the_command_line(call: Call, tmp_path: Path) -> None:
    made_up(tmp_path / "mushroom.data")
    args = ("bench", "mushroom", "--data", tmp_path, "--seeds", 1, "--rounds", 300)
    done = call(*args, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["head"]["mean"] > 0
    done = call(*args)
    assert "linear_thompson" in done.out
    done = call("bench", "mushroom", "--data", tmp_path / "no", "--lang", "zh")
    assert (done.code, len(done.lines)) == (2, 1)
    assert "datasets show mushroom" in done.err


@pytest.mark.slow
@pytest.mark.realdata
def test_the_published_regret_is_reached() -> None:
    """Mean of three runs below 2.5 %. A run has a standard deviation of about .6 around 1.3, so that is over three
    standard errors: a false alarm in some hundred sets of seeds, runs having a long tail; these are fixed."""
    folder = os.environ.get("MULTIMODAL_DQL_DATA")
    if not folder:
        pytest.skip("MULTIMODAL_DQL_DATA does not name the folder of real data")
    table = read_mushrooms(Path(folder))
    regrets = []
    with threadpool_limits(limits=1):  # as in the bench, which plays linear Thompson sampling, too
        for seed in range(3):
            played = draw_rounds(table, 50_000, seed)
            eaten = play_head(table, played, replace(HEAD, seed=seed))
            regrets.append(regret_percent(table, played, eaten))
    assert np.mean(regrets) < 2.5
