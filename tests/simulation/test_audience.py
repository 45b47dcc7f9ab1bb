"""What is drawn once of an audience and its stories has the size that was asked for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from multimodal_dql.simulation.audience import DIRECTIONS, SEGMENTS, Audience, World
from multimodal_dql.simulation.config import MECHANISMS, EngagementConfig

from .worlds import WIDTHS, candidates, world


def centred(w: World, values: np.ndarray) -> np.ndarray:
    """Values of variants without their story's mean, (N,), scaled so that their mean square is the variance."""
    c = w.candidates
    kept = np.where(c.available, values[c.table], np.nan)
    spread = (kept - np.nanmean(kept, axis=1, keepdims=True))[c.available]
    return np.asarray(spread * np.sqrt(len(spread) / (len(spread) - len(c.table))))


def test_the_spread_within_a_story_is_the_one_asked_for() -> None:
    """Over 400 stories: content .25 sqrt(.7) exactly (scaled to these variants), luck .25 sqrt(.3)."""
    config = EngagementConfig(within_sd=0.25, content_share=0.7, clickbait_click=0.0)
    large = world(1, config, items=400)
    effects = large.candidates.content.astype(float) @ large.audience.content
    assert np.sqrt((centred(large, effects) ** 2).mean()) == pytest.approx(0.25 * np.sqrt(0.7), abs=1e-9)
    assert np.sqrt((centred(large, large.appeal) ** 2).mean()) == pytest.approx(0.25, abs=0.03)


def test_luck_has_the_heavy_tails_asked_for() -> None:
    """No content, one variant a story: appeal is the base logit plus a scaled t. Kolmogorov-Smirnov, p above .0001."""
    config = EngagementConfig(
        within_sd=0.25, within_df=4.0, content_share=0.0, story_sd=0.0, clickbait_click=0.0
    )
    w = world(2, config, items=3000)
    base = np.log(config.base_click_rate / (1 - config.base_click_rate))
    t = (w.appeal[:-1] - base) / 0.25 * np.sqrt(2.0)
    assert stats.kstest(t, stats.t(4).cdf).pvalue > 1e-4
    assert stats.kstest(t / np.sqrt(2.0), "norm").pvalue < 1e-4


def test_stories_differ_by_their_spread() -> None:
    """Mean of 2,000 normal story effects and their sd, each within 4.5 standard errors (false alarm 7 in a million)."""
    config = EngagementConfig(within_sd=0.0, content_share=0.0, story_sd=0.5, clickbait_click=0.0)
    w = world(3, config, items=2000)
    base = np.log(config.base_click_rate / (1 - config.base_click_rate))
    story = w.appeal[w.candidates.table[:, 0]] - base
    assert abs(story.mean()) < 4.5 * 0.5 / np.sqrt(2000)
    assert abs(story.std() / 0.5 - 1) < 4.5 / np.sqrt(2 * 2000)
    np.testing.assert_allclose(centred(w, w.appeal), 0.0, atol=1e-12)


def test_directions_of_taste_are_scaled_to_the_variants() -> None:
    w = world(4, items=100)
    for loading in (*w.loading.T, w.clickbait):
        assert np.sqrt((centred(w, loading) ** 2).mean()) == pytest.approx(1.0)


def test_taste_has_unit_variance_in_all() -> None:
    """Segments and persons: shares (1 - p) and p of one, over 500 audiences; the mean within 4.5 standard errors."""
    c = candidates()
    share = 0.3
    drawn = [Audience.draw(c, WIDTHS, seed, EngagementConfig(personal_share=share)) for seed in range(500)]
    between = np.array([(a.taste**2).mean() * DIRECTIONS for a in drawn])
    assert abs(between.mean() - (1 - share)) < 4.5 * between.std() / np.sqrt(len(between))
    for a in drawn[:3]:
        np.testing.assert_allclose(a.taste.mean(axis=0), 0.0, atol=1e-12)
        assert (a.personal**2).sum() == pytest.approx(share)
        assert a.taste.shape == (len(SEGMENTS), DIRECTIONS)


@pytest.mark.parametrize("name", sorted(MECHANISMS))
def test_switching_a_mechanism_off_draws_the_same_world(name: str) -> None:
    """Only clickbait is part of the appeal, and it is exactly what goes."""
    on, off = world(6), world(6, EngagementConfig().without(name))
    for field in ("clickbait", "loading"):
        np.testing.assert_array_equal(getattr(on, field), getattr(off, field))
    for field in ("content", "clickbait", "axes", "taste", "personal"):
        np.testing.assert_array_equal(getattr(on.audience, field), getattr(off.audience, field))
    gone = EngagementConfig().clickbait_click * on.clickbait if name == "clickbait" else 0.0
    np.testing.assert_allclose(on.appeal, off.appeal + gone, atol=1e-12)


def test_an_audience_survives_text() -> None:
    before = Audience.draw(candidates(), WIDTHS, 5, EngagementConfig(fatigue=0.125, visits=2))
    after = Audience.from_json(before.to_json())
    assert after.config == before.config
    assert after.widths == before.widths
    for name in ("content", "clickbait", "axes", "taste", "personal"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"taste": [[0.0]]}, ValueError),
        ({"content": [float("nan")] * sum(WIDTHS)}, ValueError),
        ({"config": {"memory": 2.0}}, ValueError),
        ({"config": {"no_such_number": 1.0}}, TypeError),
        ({"widths": None}, TypeError),
    ],
    ids=["shape", "nan", "config", "field", "widths"],
)
def test_something_else_is_no_audience(change: dict[str, object], error: type[Exception]) -> None:
    data = json.loads(Audience.draw(candidates(), WIDTHS, 5).to_json())
    with pytest.raises(error):
        Audience.from_json(json.dumps(data | change))
    del data["axes"]
    with pytest.raises(KeyError):
        Audience.from_json(json.dumps(data))


def test_another_audience_may_meet_the_same_stories() -> None:
    w = world(7)
    other = World.draw(replace(w.audience, taste=-w.audience.taste), w.candidates, 7)
    np.testing.assert_array_equal(w.appeal, other.appeal)
