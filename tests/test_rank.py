"""Ranking: probabilities by hand, honest verdicts, reasons that follow from the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.agent import Agent
from multimodal_dql.datasets.catalogue import Item
from multimodal_dql.rank import believe, probability_best, rank, update_rate, verdict
from multimodal_dql.state import candidate_table
from multimodal_dql.training import TrainConfig, train

from .test_state import encoded


def test_probability_best_by_hand() -> None:
    # Two candidates one standard deviation of their difference apart: Phi(1) = .8413; error of 40,000 draws < .008.
    p = probability_best(np.array([1.0, 0.0]), np.array([np.sqrt(0.5)] * 2), draws=40_000)
    assert p[0] == pytest.approx(0.8413, abs=0.008)
    np.testing.assert_allclose(probability_best(np.zeros(4), np.ones(4), draws=40_000), 0.25, atol=0.012)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_probabilities_sum_to_one(q: list[float]) -> None:
    assert probability_best(np.array(q), np.full(len(q), 0.1)).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("p", "said"),
    [
        ([0.85, 0.15], "winner"),
        ([0.6, 0.2, 0.2], "lean"),
        ([0.55, 0.45], "no_clear_winner"),
        ([0.4, 0.3, 0.3], "no_clear_winner"),
    ],
)
def test_verdicts(p: list[float], said: str) -> None:
    assert verdict(np.array(p)) == said


def test_update_by_hand() -> None:
    # A prior of .02 with variance .25 is worth 4 clicks of 200 impressions. 17.8 clicks of 1,780 impressions count as
    # 10 of 1,000: (4 + 10) / (200 + 1000), and 14 clicks leave a variance of 1 / 14.
    mean, variance = update_rate(np.array([0.02]), np.array([0.25]), np.array([1780]), np.array([17.8]))
    assert mean[0] == pytest.approx(14 / 1200)
    assert variance[0] == pytest.approx(1 / 14)


def test_without_a_record_nothing_changes_and_with_a_long_one_the_prior_is_gone() -> None:
    rate, variance = np.array([0.02]), np.array([0.3])
    mean, unchanged = update_rate(rate, variance, np.array([0]), np.array([0]))
    assert (mean[0], unchanged[0]) == (pytest.approx(0.02), pytest.approx(0.3))
    mean, small = update_rate(rate, variance, np.array([10**7]), np.array([3 * 10**5]))
    assert mean[0] == pytest.approx(0.03, rel=1e-3)
    assert small[0] < 1e-5


def test_a_record_of_one_variant_speaks_of_it_more_than_of_its_siblings(agent: Agent) -> None:
    """One variant of three at 4 % of 50,000 impressions: it stands at 4 %, its siblings move part of the way."""
    features = encoded(items=12)
    table = candidate_table(features, agent.projection)
    none = np.zeros_like(table.impressions)
    n, s = none.copy(), none.copy()
    n[1, 0], s[1, 0] = 50_000, 2_000
    contexts, known = agent.contexts({})[:4], np.arange(12)
    before = np.exp(
        believe(agent, replace(table, impressions=none, clicks=none), contexts, known).log_rate[1, :3]
    )
    after = np.exp(believe(agent, replace(table, impressions=n, clicks=s), contexts, known).log_rate[1, :3])
    assert after[0] == pytest.approx(0.04, rel=0.02)
    assert (after[1:] > before[1:]).all()
    assert (after[1:] / before[1:] < 0.97 * after[0] / before[0]).all()


@pytest.fixture(scope="module")
def agent() -> Agent:
    config = TrainConfig(iterations=4, sessions=64, updates=4, batch=32, members=4, folds=2, hidden=8)
    return train(encoded(items=12), config)[0]


def test_a_ranking_is_complete(agent: Agent) -> None:
    features = encoded(items=12)
    ranking = rank(agent, features)
    assert [i.item_id for i in ranking.items] == [i.item_id for i in features.catalogue.items]
    for ranked, item in zip(ranking.items, features.catalogue.items, strict=True):
        assert {v.variant_id for v in ranked.variants} == {v.variant_id for v in item.variants}
        assert [v.rank for v in ranked.variants] == list(range(1, len(item.variants) + 1))
        q = [v.q_value for v in ranked.variants]
        assert q == sorted(q, reverse=True)
        assert sum(v.probability_best for v in ranked.variants) == pytest.approx(1.0)
        for v in ranked.variants:
            assert 0 < v.click_rate_low < v.click_rate < v.click_rate_high < 1
            assert v.lift_low < v.lift < v.lift_high
            assert v.lift_high - v.lift_low < (v.click_rate_high - v.click_rate_low) / v.click_rate + 1e-9
    assert "simulated" in ranking.evidence


def test_ranking_twice_gives_the_same(agent: Agent) -> None:
    assert rank(agent, encoded(items=12)) == rank(agent, encoded(items=12))


def test_the_audience_can_be_fixed(agent: Agent) -> None:
    fixed = agent.context.parse(["device=tablet", "hour=3"])
    contexts = agent.contexts(fixed)
    expected = agent.context.fields[0].width
    np.testing.assert_array_equal(
        contexts[:, expected : expected + 3], np.tile([0, 0, 1], (len(contexts), 1))
    )
    ranking = rank(agent, encoded(items=12), fixed, shown={"device": "tablet", "hour": "3"})
    assert ranking.context == {"device": "tablet", "hour": "3"}


def test_records_become_reasons(agent: Agent) -> None:
    ranking = rank(agent, encoded(items=12))
    reasons = [r for item in ranking.items for v in item.variants for r in v.reasons]
    record = next(r for r in reasons if r.kind == "record")
    assert "impressions" in record.en
    assert "展示" in record.zh
    assert ranking.evidence.startswith("the impressions and clicks in your catalogue")


def test_a_long_record_decides(agent: Agent) -> None:
    """50,000 impressions each, 3 % of the last against 1 % of the others: nothing else matters any more."""
    features = encoded(items=12)
    items = tuple(
        Item(
            item.item_id,
            tuple(
                replace(v, impressions=50_000, clicks=1500 if v is item.variants[-1] else 500)
                for v in item.variants
            ),
        )
        for item in features.catalogue.items
    )
    ranking = rank(agent, replace(features, catalogue=replace(features.catalogue, items=items)))
    for ranked, item in zip(ranking.items, items, strict=True):
        best = ranked.variants[0]
        assert best.variant_id == item.variants[-1].variant_id
        assert best.probability_best > 0.99
        assert best.click_rate == pytest.approx(0.03, rel=0.1)
        assert best.click_rate_low > 0.025
        assert ranked.verdict == "winner"
