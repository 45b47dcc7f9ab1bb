"""What is drawn has the size that was asked for, and does not depend on how it is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.simulation.audience import Audience, AudienceConfig, draw_luck

from .worlds import WIDTHS, candidates, world


def test_luck_does_not_depend_on_the_batch() -> None:
    items = np.arange(20)
    whole = draw_luck(3, 0, 64, 5, 7, items)
    parts = [draw_luck(3, first, 16, 5, 7, items) for first in range(0, 64, 16)]
    for name in vars(whole):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(getattr(whole, name), joined, err_msg=name)


def test_another_seed_gives_other_luck() -> None:
    a, b = (draw_luck(seed, 0, 8, 3, 2, np.arange(9)).click for seed in (1, 2))
    assert not np.intersect1d(a, b).size


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**31))
def test_a_session_repeats_no_story_while_there_are_others(n: int, steps: int, seed: int) -> None:
    met = draw_luck(seed, 0, 10, steps, 0, np.arange(100, 100 + n)).items
    for session in met:
        for start in range(0, steps, n):
            block = session[start : start + n]
            assert len(set(block)) == len(block)
    assert ((met >= 100) & (met < 100 + n)).all()


def test_stories_are_met_equally_often() -> None:
    """50,000 first and second stories of 10: chi-square with 9 degrees of freedom below 33.7 (p = .0001)."""
    met = draw_luck(0, 0, 50_000, 2, 0, np.arange(10)).items
    for step in range(2):
        counts = np.bincount(met[:, step], minlength=10)
        assert ((counts - 5000) ** 2 / 5000).sum() < 33.7


def test_the_spread_within_a_story_is_the_one_asked_for() -> None:
    """Over 400 stories: content .25 * sqrt(.7), luck .25 * sqrt(.3) with heavy tails."""
    config = AudienceConfig(clickbait_click=0.0)
    large = world(1, config, items=400)
    c = large.candidates
    effects = (c.content.astype(float) @ large.audience.content)[c.table]
    logit = large.appeal[c.table]
    for values, expected, tolerance in ((effects, 0.25 * np.sqrt(0.7), 1e-9), (logit, 0.25, 0.03)):
        kept = np.where(c.available, values, np.nan)
        centred = kept - np.nanmean(kept, axis=1, keepdims=True)
        freedom = c.available.sum() - len(c.table)
        assert np.sqrt(np.nansum(centred**2) / freedom) == pytest.approx(expected, abs=tolerance)


def test_an_audience_survives_text() -> None:
    before = Audience.draw(candidates(), WIDTHS, 5, AudienceConfig(fatigue=0.125))
    after = Audience.from_json(before.to_json())
    assert after.config == before.config
    assert after.widths == before.widths
    np.testing.assert_array_equal(after.taste, before.taste)
