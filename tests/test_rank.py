"""Ranking: probabilities by hand, honest verdicts, reasons that follow from the network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.agent import Agent, Spread
from multimodal_dql.rank import probability_best, rank, verdict
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


def test_spread_by_hand() -> None:
    spread = Spread((0.0, 99.0), (0.4, 0.2), (2.0, 1.0), (0.1, 0.0))
    # log(1 + 9) is half of log(1 + 99): half way between the two.
    assert spread.variance(np.array([0.1]), np.array([9]))[0] == pytest.approx(0.3 + 1.5 * 0.1)
    assert spread.story_variance(np.array([10**6]))[0] == 0.0


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
