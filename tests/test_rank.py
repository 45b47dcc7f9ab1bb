"""Ranking: probabilities by hand, honest verdicts, reasons that follow from the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.agent import Agent
from multimodal_dql.belief import believe, probability_best
from multimodal_dql.candidates import candidate_table
from multimodal_dql.datasets.catalogue import Item
from multimodal_dql.rank import rank, verdict
from multimodal_dql.training import TrainConfig, train

from .test_candidates import encoded

pytestmark = pytest.mark.usefixtures("shared_graphs")


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_probabilities_sum_to_one(log_rate: list[float]) -> None:
    k = len(log_rate)
    p = probability_best(np.array([log_rate]), 0.01 * np.eye(k)[None], np.zeros(k), np.zeros((k, k)))
    assert p.sum() == pytest.approx(1.0)


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


def test_an_agent_read_back_ranks_the_same(agent: Agent, tmp_path: Path) -> None:
    agent.save(tmp_path)
    again = Agent.load(tmp_path)
    assert rank(again, encoded(items=12)) == rank(agent, encoded(items=12))


def test_probabilities_come_from_the_last_layer(agent: Agent) -> None:
    """A layer that knows nothing but the first column of content puts it first, and is as sure as its noise."""
    features = encoded(items=12)
    table = candidate_table(features, agent.projection)
    blind = replace(table, impressions=0 * table.impressions, clicks=0 * table.clicks)
    click = agent.layer.click
    mean, root = np.zeros_like(click.mean), np.zeros_like(click.root)
    mean[:, 1] = 1.0
    for noise, sure in ((1e-6, True), (1e3, False)):
        changed = replace(click, mean=mean, root=root, scale=noise * click.shape)
        one = replace(agent, layer=replace(agent.layer, click=changed))
        belief = believe(one, blind, agent.contexts({})[:4], np.arange(12))
        for i, kept in enumerate(table.available):
            column = table.content[table.table[i, kept], 0]
            if sure:
                assert belief.chance[i, kept][column.argmax()] > 0.99
                assert belief.q[i, kept].argmax() == column.argmax()
            else:
                assert belief.chance[i, kept].max() < 0.6


def test_the_order_of_the_variants_does_not_matter(agent: Agent) -> None:
    """Three variants turned round: the same values, and the same probabilities to 4.5 errors of 4,096 draws."""
    features = encoded(items=12)
    table = candidate_table(features, agent.projection)
    whole = table.available.all(axis=1)
    turned = replace(
        table,
        **{n: getattr(table, n)[:, ::-1] for n in ("table", "available", "impressions", "clicks")},
    )
    contexts, known = agent.contexts({})[:4], np.arange(12)
    before, after = (believe(agent, t, contexts, known) for t in (table, turned))
    np.testing.assert_allclose(after.q[whole][:, ::-1], before.q[whole], rtol=1e-4)
    np.testing.assert_allclose(after.own_sd[whole][:, ::-1], before.own_sd[whole], rtol=1e-4)
    np.testing.assert_allclose(after.chance[:, ::-1], before.chance, atol=4.5 * np.sqrt(0.25 / 4096 * 2))


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
