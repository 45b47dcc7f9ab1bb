"""The network's cross-fitted score, and the store of past decisions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.opinion import Decisions, Opinion, OpinionConfig

SMALL = OpinionConfig(hidden=8, first=10, updates=60, batch=32)


def filled(
    rng: np.random.Generator, n: int, candidates: int = 30, k: int = 4, capacity: int = 10_000
) -> Decisions:
    """`n` decisions among `k` of some candidates, contexts of width 2."""
    content = rng.standard_normal((candidates, 3)).astype(np.float32)
    rows = Decisions(capacity)
    for _ in range(n):
        chosen = rng.choice(candidates, k, replace=False)
        rows.append(
            [bytes([i]) for i in chosen],
            content[chosen],
            np.ones((k, 1), np.float32),
            np.zeros((k, 3), np.float32),
            rng.standard_normal(2).astype(np.float32),
            int(rng.integers(k)),
        )
    return rows


@given(
    capacity=st.integers(4, 20),
    sets=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True), min_size=1, max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_store_agrees_with_a_plain_list(capacity: int, sets: list[list[int]]) -> None:
    """What is kept is the newest decisions, each with the content it was made from, whatever was dropped."""
    rows = Decisions(capacity)
    for row, chosen in enumerate(sets):
        content = np.array([[i, 2.0 * i] for i in chosen], np.float32)
        blank = np.zeros((len(chosen), 3), np.float32)
        seen = np.ones((len(chosen), 1), np.float32)
        rows.append([bytes([i]) for i in chosen], content, seen, blank, np.float32([row]), row % len(chosen))
    kept = len(rows)
    assert capacity - capacity // 4 - 1 <= kept <= capacity or kept == len(sets)
    table = rows.table()
    for i, chosen in enumerate(sets[-kept:]):
        assert table["context"][i, 0] == len(sets) - kept + i
        assert table["content"][table["sets"][i]][: len(chosen), 0].tolist() == chosen
        assert (table["sets"][i, len(chosen) :] == len(table["content"]) - 1).all()
    referred = {i for chosen in sets[-kept:] for i in chosen}
    # Nothing is stored twice, and at most what came since the last clearing is stored without need.
    assert len(referred) <= len(rows.content) == len(rows.number) <= 10


@given(capacity=st.integers(4, 20), first=st.integers(1, 40), more=st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_a_row_keeps_its_fold(capacity: int, first: int, more: int) -> None:
    rng = np.random.Generator(np.random.Philox(key=[2, 0]))
    rows = filled(rng, first, candidates=6, k=2, capacity=capacity)
    before = dict(enumerate(rows.folds(3, 7).tolist(), rows.dropped))
    for _ in range(more):
        blank = np.zeros((2, 3), np.float32)
        rows.append([b"a", b"b"], blank, np.ones((2, 1), np.float32), blank, np.zeros(2, np.float32), 0)
    after = dict(enumerate(rows.folds(3, 7).tolist(), rows.dropped))
    assert len(after) == len(rows)
    assert set(after.values()) <= {0, 1, 2}
    assert all(after[i] == fold for i, fold in before.items() if i in after)


def test_untrained_opinion_says_nothing() -> None:
    opinion = Opinion((3,), 2, SMALL)
    ones = np.ones((4, 1), np.float32)
    assert not opinion.score(
        np.ones((4, 3), np.float32), ones, np.zeros((4, 3), np.float32), np.ones(2, np.float32)
    ).any()


@pytest.mark.slow
def test_a_score_does_not_know_the_click_of_its_own_row() -> None:
    """Clicks by coin flip: the cross-fitted score is not correlated with them, though the members that saw a row are.

    Under independence the correlation of 600 rows has a standard deviation of .041; beyond .13 is a false alarm in 600.
    """
    rng = np.random.Generator(np.random.Philox(key=[1, 0]))
    rows = filled(rng, 600)
    click = (rng.random(900) < 0.5).astype(np.float64)
    later, click = click, click[:600]
    config = OpinionConfig(
        hidden=24, first=10, updates=600, batch=64, weight_decay=0.0, content_noise=0.0, base_rate=0.5
    )
    opinion = Opinion((3,), 2, config)
    said = opinion.learn(rows, click, np.zeros(600))
    assert abs(np.corrcoef(said, click)[0, 1]) < 0.13
    table = rows.table()
    seen = [
        opinion.score(
            table["content"][table["sets"][i]],
            table["present"][table["sets"][i]],
            table["record"][i],
            table["context"][i],
        )[table["action"][i]]
        for i in range(600)
    ]
    assert np.corrcoef(seen, click)[0, 1] > 0.3
    # Consulted again with more rows, members still judge only what they never learned from, now or before.
    for i in range(300):
        content = table["content"][table["sets"][i]]
        blank = np.zeros((4, 3), np.float32)
        context = rng.standard_normal(2).astype(np.float32)
        rows.append(
            [b"%d %d" % (i, k) for k in range(4)], content, np.ones((4, 1), np.float32), blank, context, 0
        )
    again = opinion.learn(rows, later, np.zeros(900))
    assert abs(np.corrcoef(again[:600], click)[0, 1]) < 0.13


@pytest.mark.slow
def test_it_learns_what_the_last_layer_leaves_open_and_nothing_else() -> None:
    """A square of the content is found; what the offset already explains is not learned again."""
    rng = np.random.Generator(np.random.Philox(key=[2, 0]))
    rows = filled(rng, 3000, candidates=200)
    table = rows.table()
    shown = table["content"][table["sets"][np.arange(3000), table["action"]]]
    score = 2.0 * shown[:, 0] ** 2 - 2.0
    click = (rng.random(3000) < 1 / (1 + np.exp(-score))).astype(np.float64)
    config = OpinionConfig(first=10, updates=400, base_rate=0.5)
    missing = Opinion((3,), 2, config).learn(rows, click, np.zeros(3000))
    assert np.corrcoef(missing, score)[0, 1] > 0.5
    explained = Opinion((3,), 2, config).learn(rows, click, score.astype(np.float64))
    assert abs(np.corrcoef(explained, score)[0, 1]) < 0.35
    assert explained.std() < 0.5 * missing.std()
