"""The benchmarks of off-policy evaluation, small: the truth they judge by, and what they report."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from multimodal_dql.bench.evaluate import bench_evaluate
from multimodal_dql.bench.ope_coverage import NAMES, _cover, _coverage, _errors, _selection
from multimodal_dql.bench.ope_worlds import Setting, World, draw_setting, grid
from multimodal_dql.errors import UsageError


def test_truth_is_what_the_target_would_have_earned() -> None:
    """Show what the target would show: its mean reward is within 4 standard errors of the truth (1 in 15,000)."""
    for unit_rows in (1, 3):
        setting = Setting(40_000, 4, 0.5, insight=0.8, unit_rows=unit_rows)
        world = World.draw(setting, 3)
        own = dataclasses.replace(world, logging=world.target)
        reward = own.log(5, model=False).reward
        visits = np.add.reduceat(reward, np.arange(0, len(reward), unit_rows))
        error = visits.std() / np.sqrt(len(visits)) / unit_rows
        assert abs(reward.mean() - world.truth) < 4 * error


def test_settings_are_24_different_ones() -> None:
    assert len(set(grid())) == 24
    assert {s.noisy for s in grid()} == {s.deterministic for s in grid()} == {True, False}
    assert draw_setting(1) == draw_setting(1) != draw_setting(2)


def test_coverage_of_a_few_logs() -> None:
    """25 logs: 18 of 20 and more covered is what 95 % gives in all but 1 of 1,000 cases; any-time misses none."""
    drawn = _cover(40, 50)
    found = _coverage(drawn)
    assert found["logs"] + found["refused"] == 25
    assert found["headline"] > 0.7
    assert found["anytime_all_logs"] == 1.0
    assert set(found["passed"]) == set(NAMES)


def test_selection_compares_with_the_best_single_estimator() -> None:
    tables = [_errors(i, 3, 0) for i in (0, 23)]
    found = _selection(tables, 3)
    mse = {name: np.mean([t["mse"][name] for t in tables]) for name in NAMES}
    assert found["best_single"] == min(mse, key=mse.__getitem__)
    assert found["chosen_over_best_single"] == pytest.approx(found["mse"]["chosen"] / min(mse.values()))
    assert tables[0]["mse"][tables[0]["chosen"]] == pytest.approx(tables[0]["mse"]["chosen"])


def test_held_and_streamed_rows_give_the_same_values() -> None:
    held = bench_evaluate(3000, 4, 50)
    streamed = bench_evaluate(3000, 4, 50, stream=True, only=True)
    assert held["values"] == streamed["values"]
    assert held["estimators"] == 7
    assert held["seconds"] > 0
    assert held["peak_mb"] > 30
    assert [line["rows"] for line in streamed["scaling"]] == [3000]
    growing = bench_evaluate(11_000, 2, 0, stream=True)
    assert [line["rows"] for line in growing["scaling"]] == [10_000, 11_000]


def test_a_file_that_would_not_fit_is_refused_before_it_is_written() -> None:
    with pytest.raises(UsageError, match="TMPDIR"):
        bench_evaluate(10**14, stream=True, only=True)
