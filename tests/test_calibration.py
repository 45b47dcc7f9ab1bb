"""Stated probabilities against what came true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multimodal_dql.bench.calibration import bench_new_stories
from multimodal_dql.calibration import reliability, reliability_bins, world_rates, world_values
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.sessions import Stage
from multimodal_dql.simulation.typical import later_clicks
from multimodal_dql.training import TrainConfig, train_in_world

from .simulation.worlds import projection, world

pytestmark = pytest.mark.usefixtures("shared_graphs")


def test_bins_by_hand() -> None:
    stated = np.array([0.0, 0.05, 0.3, 0.4, 0.75, 1.0])
    best = np.array([False, True, False, True, True, True])
    low, middle, high = reliability_bins(stated, best)
    assert (low.variants, low.true, low.stated) == (2, 0.5, pytest.approx(0.025))
    assert (middle.low, middle.high, middle.variants, middle.true) == (0.25, 0.5, 2, 0.5)
    assert (high.low, high.variants, high.true) == (0.75, 2, 1.0)
    # Wilson, 2 of 2: n / (n + z^2) = 2 / (2 + 3.8415).
    assert (high.true_low, high.true_high) == (pytest.approx(0.34238, abs=1e-5), pytest.approx(1.0))


def test_probabilities_worth_believing_fall_into_their_intervals() -> None:
    """5,000 honest statements: each of five 95 % intervals misses once in 20; two or more miss in 1 of 44 seeds."""
    rng = np.random.default_rng(4)
    stated = rng.random(5000)
    bins = reliability_bins(stated, rng.random(5000) < stated)
    assert sum(not b.true_low <= b.stated <= b.true_high for b in bins) < 2
    sure = reliability_bins(stated, rng.random(5000) < stated**3)
    assert sum(not b.true_low <= b.stated <= b.true_high for b in sure) >= 4


def test_an_agent_is_judged_on_every_variant_and_records_are_hidden() -> None:
    small = TrainConfig(iterations=4, sessions=64, updates=4, batch=32, members=4, folds=2, hidden=8)
    w = world(0, EngagementConfig(), items=20)
    agent = train_in_world(w, projection(), small)
    bins = reliability(agent, w)
    assert sum(b.variants for b in bins) == int(w.candidates.available.sum())
    assert sum(b.variants * b.stated for b in bins) == pytest.approx(20.0)
    c = w.candidates
    shown = replace(c, impressions=np.where(c.available, 10_000, 0), clicks=np.where(c.available, 900, 0))
    assert reliability(agent, replace(w, candidates=shown)) == bins


def test_new_stories_are_scored_whole() -> None:
    small = TrainConfig(iterations=2, sessions=32, updates=2, batch=32, members=2, folds=2, hidden=8)
    result = bench_new_stories((3,), small, new=12)
    rows = result["probability_of_being_best"]
    assert result["stories"] == 12
    assert sum(row["variants"] * row["stated"] for row in rows) == pytest.approx(12.0)
    assert sum(row["variants"] * row["true"] for row in rows) == pytest.approx(12.0)
    assert -np.log(8192) <= result["log_score"] < 0.0
    assert 0.0 < result["brier"] < 2.0


def test_what_follows_a_choice() -> None:
    """Nothing at discount 0. Where clickbait disappoints and satisfaction keeps people reading, it costs later clicks:
    over 40 or so variants an accidental correlation beyond -.6 has odds of 1 in 50,000.
    """
    w = world(0, EngagementConfig(clickbait_regret=3.0, stay_satisfaction=4.0, taste_sd=0.0), items=12)
    c, stage = w.candidates, Stage.of(w)
    assert not later_clicks(stage, 0, 0.0).any()
    later = world_values(w, 0.5) - world_rates(w)
    np.testing.assert_allclose(later.sum(axis=1), 0.0, atol=1e-12)
    size = c.available.sum(1, keepdims=True)
    bait = np.where(c.available, w.clickbait[c.table], 0.0)
    bait = np.where(c.available, bait - bait.sum(1, keepdims=True) / size, 0.0)
    assert np.corrcoef(later[c.available], bait[c.available])[0, 1] < -0.6
