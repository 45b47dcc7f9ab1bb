"""The cross-fitted reward model: no row of a unit reaches its own prediction, rates are shrunk, parts merge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import RewardModel


def log(
    n: int, stories: int, K: int, spread: float, seed: int = 0
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    rates = 1 / (1 + np.exp(-(rng.normal(-2, 0.5, (stories, 1)) + rng.normal(0, spread, (stories, K)))))
    item = rng.integers(0, stories, n)
    action = rng.integers(0, K, n)
    rows = {
        "keys": (item[:, None] * K + np.arange(1, K + 1)).astype(np.uint64),
        "item": item.astype(np.uint64),
        "action": action,
        "reward": (rng.random(n) < rates[item, action]).astype(float),
        "unit": np.arange(n, dtype=np.uint64),
    }
    return rows, rates[item]


def predict(model: RewardModel, rows: dict[str, Any]) -> NDArray[np.float64]:
    return model.predict(rows["keys"], rows["item"], rows["unit"])


def test_own_reward_never_reaches_the_prediction() -> None:
    rows, _ = log(400, 5, 3, 0.5)
    before = predict(RewardModel().update(**rows), rows)
    for i in (0, 17, 399):
        changed = {**rows, "reward": rows["reward"].copy()}
        changed["reward"][i] = 50.0
        after = predict(RewardModel().update(**changed), changed)
        assert after[i] == pytest.approx(before[i], rel=1e-12)
        assert not np.allclose(after, before)  # others do learn from it


def test_rows_of_a_unit_share_a_fold() -> None:
    model = RewardModel(folds=7)
    unit = np.repeat(np.arange(3000, dtype=np.uint64), 2)
    fold = model.fold(unit).reshape(-1, 2)
    assert (fold[:, 0] == fold[:, 1]).all()
    # 3,000 units in 7 folds: chi-squared with 6 degrees of freedom, above 22.5 by chance in 1 of 1,000.
    counts = np.bincount(fold[:, 0], minlength=7)
    assert ((counts - 3000 / 7) ** 2 / (3000 / 7)).sum() < 22.5


def test_plenty_of_rows_find_the_rates_and_few_fall_back() -> None:
    rows, rates = log(200_000, 20, 4, 0.5)
    found = predict(RewardModel().update(**rows), rows)
    # 2,000 rows a cell at rates of .12: an error of .007 before shrinking.
    assert np.sqrt(((found - rates) ** 2).mean()) < 0.008
    rows, rates = log(400, 100, 4, 0.2)
    found = predict(RewardModel().update(**rows), rows)
    assert np.sqrt(((found - rates) ** 2).mean()) < 1.1 * rates.std()  # hardly worse than one rate for all


def test_what_was_never_shown_gets_the_rate_of_its_story() -> None:
    rows, _ = log(20_000, 2, 2, 0.0, seed=3)
    rows["reward"] = (rows["item"] == 1).astype(float) * (np.arange(20_000) % 4 < 2)
    model = RewardModel().update(**rows)
    unseen = np.array([[999, 0], [998, 0]], np.uint64)
    found = model.predict(unseen, np.array([0, 1], np.uint64), np.array([1, 2], np.uint64))
    assert found[:, 0] == pytest.approx([0.0, 0.5], abs=0.03)
    assert (found[:, 1] == 0).all()  # padding
    strange = model.predict(unseen, np.array([77, 78], np.uint64), np.array([1, 2], np.uint64))
    assert strange[:, 0] == pytest.approx([0.25, 0.25], abs=0.03)  # a new story: the mean of all


def test_parts_merge_in_any_order() -> None:
    rows, _ = log(3000, 12, 3, 0.4, seed=5)
    cut = [{k: v[s] for k, v in rows.items()} for s in (slice(0, 700), slice(700, 1900), slice(1900, None))]
    whole = predict(RewardModel().update(**rows), rows)
    a, b, c = (RewardModel().update(**part) for part in cut)
    assert predict(c.merge(a).merge(b), rows) == pytest.approx(whole, rel=1e-12)
    assert predict(RewardModel().update(**cut[2]).update(**cut[0]).update(**cut[1]), rows) == pytest.approx(
        whole, rel=1e-12
    )


def test_nothing_learned_predicts_nothing() -> None:
    assert RewardModel().predict(
        np.ones((1, 2), np.uint64), np.ones(1, np.uint64), np.ones(1, np.uint64)
    ).tolist() == [[0.0, 0.0]]


def test_refusals() -> None:
    with pytest.raises(UsageError, match="folds"):
        RewardModel(folds=1)
    with pytest.raises(UsageError, match="merged"):
        RewardModel(folds=2).merge(RewardModel(folds=3))
    rows, _ = log(10, 2, 2, 0.1)
    rows["reward"] = np.full(10, np.nan)
    with pytest.raises(UsageError, match="finite"):
        RewardModel().update(**rows)


def test_how_often_candidates_were_shown_in_the_other_folds() -> None:
    rng = np.random.default_rng(6)
    keys = np.tile(np.array([11, 22, 0], np.uint64), (300, 1))  # the third is padding
    unit, action = np.arange(300, dtype=np.uint64) // np.uint64(2), rng.integers(0, 2, 300)
    model = RewardModel().update(keys, np.ones(300, np.uint64), action, np.zeros(300), unit)
    found, fold = model.shown(keys, unit), model.fold(unit)
    for i in range(300):
        others = action[fold != fold[i]]
        assert found[i].tolist() == [(others == 0).sum(), (others == 1).sum(), 0]
