"""The Open Bandit Dataset: arrays and order as obp 0.5.7 makes them, by hand and on the sample."""

from __future__ import annotations

import csv
import gzip
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.datasets.open_bandit import read_open_bandit
from multimodal_dql.errors import EventsError

ROWS = """,timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user-item_affinity_0
0,2019-11-24 00:00:02+00:00,2,3,1,0.25,b,x,0.0
1,2019-11-24 00:00:01+00:00,0,1,0,0.5,a,y,0.0
2,2019-11-24 00:00:03+00:00,1,3,0,1,c,x,1.0
"""
ITEMS = """,item_id,item_feature_0,item_feature_1,item_feature_2
0,0,-0.5,q,n
1,1,0.25,p,n
2,2,1.5,q,m
"""


def folder(tmp_path: Path, rows: str = ROWS, items: str = ITEMS, pack: bool = False) -> Path:
    place = tmp_path / "all"
    place.mkdir(exist_ok=True)
    for name, text in (("all.csv", rows), ("item_context.csv", items)):
        if pack:
            (place / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (place / name).write_text(text, encoding="utf-8")
    return place


@pytest.mark.parametrize("pack", [False, True])
def test_arrays_by_hand(tmp_path: Path, pack: bool) -> None:
    data = read_open_bandit(folder(tmp_path, pack=pack))
    assert (data.action.tolist(), data.position.tolist()) == ([0, 2, 1], [0, 1, 1])
    assert (data.reward.tolist(), data.pscore.tolist(), data.n_actions) == ([0, 1, 0], [0.5, 0.25, 1], 3)
    # Without their first category: b, c of the first feature, y of the second.
    assert data.context.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert data.action_context.tolist() == [[1, 1, -0.5], [0, 1, 0.25], [1, 0, 1.5]]
    kinds = {
        name: getattr(data, name).dtype.name for name in ("action", "position", "reward", "pscore", "context")
    }
    assert kinds == {
        "action": "int64", "position": "int64", "reward": "float64", "pscore": "float64", "context": "float64",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "nowhere", "is no campaign of the Open Bandit Dataset.*datasets show open_bandit"),
        (lambda p: folder(p, rows=ROWS.replace("0.25", "0")), "column propensity_score is wrong in 1 rows"),
        (lambda p: folder(p, rows=ROWS.replace(",3,1,0.25", ",3,2,0.25")), "column click is wrong in 1 rows"),
        (lambda p: folder(p, rows=ROWS.replace("0.25", "many")), "or is damaged; download it again"),
        (lambda p: folder(p, rows=ROWS.replace("propensity_score", "p")), "lacks propensity_score"),
        (lambda p: folder(p, rows=ROWS[: ROWS.index("\n") + 1]), "lacks rows"),
        (lambda p: folder(p, items=ITEMS.replace("item_feature_0", "price")), "lacks item_feature_0"),
    ],
)
def test_refusals(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(EventsError, match=words) as refused:
        read_open_bandit(make(tmp_path))
    assert "\n" not in refused.value.text("en") + refused.value.text("zh")


@pytest.mark.realdata
@pytest.mark.skipif("MULTIMODAL_DQL_DATA" not in os.environ, reason="MULTIMODAL_DQL_DATA names no folder")
@pytest.mark.parametrize(("policy", "campaign", "actions"), [("random", "all", 80), ("bts", "men", 34)])
def test_the_sample_against_a_plain_reading(policy: str, campaign: str, actions: int) -> None:
    place = Path(os.environ["MULTIMODAL_DQL_DATA"]) / "open_bandit" / policy / campaign
    data = read_open_bandit(place)
    with gzip.open(place / f"{campaign}.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (len(data.action), data.n_actions, len(data.action_context)) == (len(rows), actions, actions)
    assert data.reward.sum() == sum(int(row["click"]) for row in rows)
    # Rows of distinct times can stand in one order only.
    times = [row["timestamp"] for row in rows]
    met = Counter(times)
    once = sorted((row for row in rows if met[row["timestamp"]] == 1), key=lambda row: row["timestamp"])
    place_of = {time: i for i, time in enumerate(sorted(times))}
    at = np.array([place_of[row["timestamp"]] for row in once])
    np.testing.assert_array_equal(data.action[at], [int(row["item_id"]) for row in once])
    np.testing.assert_array_equal(data.pscore[at], [float(row["propensity_score"]) for row in once])
    first = [sorted({row[f"user_feature_{k}"] for row in rows}) for k in range(4)]
    assert data.context.shape[1] == sum(len(values) - 1 for values in first)
    for row, i in zip(once[:200], at[:200], strict=True):
        wanted = [row[f"user_feature_{k}"] == value for k in range(4) for value in first[k][1:]]
        assert data.context[i].tolist() == wanted
