"""What past A/B tests expect, as a column of the content and as a preference of the simulated audience."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.candidates import ContentProjection, candidate_table
from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.encoders.base import EncoderInfo
from multimodal_dql.errors import RunError
from multimodal_dql.features import Features, PastEffects
from multimodal_dql.simulation.audience import Audience, World
from multimodal_dql.simulation.config import EngagementConfig

STORIES, K = 400, 3


def encoded(effect: np.ndarray | None = None, known: np.ndarray | None = None) -> Features:
    """Stories of three variants with random embeddings, and what past tests say of them."""
    rng = np.random.Generator(np.random.Philox(key=[3, 9]))
    items = []
    for i in range(STORIES):
        variants = tuple(
            Variant(f"s{i}", str(k), None, f"标题 {i} {k}", None, line=1 + K * i + k) for k in range(K)
        )
        items.append(Item(item_id=f"s{i}", variants=variants))
    n = STORIES * K
    info = EncoderInfo("drawn", "text", 8, "drawn-1")
    past = None
    if effect is not None:
        past = PastEffects("prior-1", effect, np.ones(n, np.bool_) if known is None else known)
    vectors = {"drawn": rng.standard_normal((n, 8)).astype(np.float32)}
    catalogue = Catalogue(Path("drawn.csv"), tuple(items))
    return Features(catalogue, (info,), vectors, {"drawn": np.ones(n, np.bool_)}, (), n, 0, 0.0, past)


def effects(sd: float) -> np.ndarray:
    """Expected logit effects, centred in each story."""
    x = np.random.Generator(np.random.Philox(key=[4, 9])).standard_normal((STORIES, K)) * sd
    return (x - x.mean(axis=1, keepdims=True)).ravel()


def test_the_effect_comes_back_from_its_column_in_logits() -> None:
    given = effects(0.1)
    features = encoded(given)
    projection = ContentProjection.fit(features)
    assert projection.widths == (8, 1)
    content, present = projection.apply(features)
    assert content @ projection.past == pytest.approx(np.clip(given, -0.4, 0.4), abs=1e-5)
    assert present[:, 1].all()
    assert np.count_nonzero(projection.past) == 1


def test_what_is_not_known_is_absent_and_moves_nothing() -> None:
    known = np.arange(STORIES * K) % K != 0
    features = encoded(np.where(known, effects(0.1), 0.0), known)
    projection = ContentProjection.fit(features)
    content, present = projection.apply(features)
    assert np.array_equal(present[:, 1] > 0, known)
    assert not content[~known, 8].any()


def test_a_prior_that_says_nothing_takes_no_column() -> None:
    assert ContentProjection.fit(encoded(np.zeros(STORIES * K))).widths == (8,)


def test_the_audience_prefers_it_and_varies_no_more_than_it_would() -> None:
    """Appeal less the effect is what no test can tell: variance .25^2 less that of the effect, and no trace of it.

    400 stories, 800 degrees of freedom: a normal variance has a standard deviation of 5 %, this one somewhat more, and
    a correlation 1 / sqrt(800) = .035; four of them fail in one run of 16,000.
    """
    given = effects(0.12)
    features = encoded(given)
    projection = ContentProjection.fit(features)
    candidates = candidate_table(features, projection)
    config = EngagementConfig(within_sd=0.25, within_df=30.0, story_sd=0.0, clickbait_click=0.0)
    audience = Audience.draw(candidates, projection.widths, 7, config, projection.past)
    assert not audience.axes[8].any()
    assert audience.content[8] == audience.clickbait[8] == 0.0
    assert Audience.from_json(audience.to_json()).past == pytest.approx(audience.past)
    appeal = World.draw(audience, candidates, 7).appeal[:-1].reshape(STORIES, K)
    appeal = appeal - appeal.mean(axis=1, keepdims=True)
    told = given.reshape(STORIES, K)
    rest = appeal - told
    variance = (rest**2).sum() / (STORIES * (K - 1))
    assert variance == pytest.approx(0.25**2 - 0.12**2, rel=0.25)
    assert abs(np.corrcoef(rest.ravel(), told.ravel())[0, 1]) < 4 * 0.035


def test_without_past_tests_nothing_changes() -> None:
    features = encoded()
    projection = ContentProjection.fit(features)
    candidates = candidate_table(features, projection)
    a, b = (Audience.draw(candidates, projection.widths, 5, None, past) for past in (None, projection.past))
    assert a.to_json() == b.to_json()
    assert np.array_equal(World.draw(a, candidates, 5).appeal, World.draw(b, candidates, 5).appeal)


def test_another_prior_is_refused() -> None:
    features = encoded(effects(0.1))
    projection = ContentProjection.fit(features)
    assert features.past is not None
    for past in (None, replace(features.past, fingerprint="prior-2")):
        with pytest.raises(RunError, match="was not scored by the same prior"):
            projection.apply(replace(features, past=past))
