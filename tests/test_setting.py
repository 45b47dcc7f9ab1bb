"""Settings: audiences from runs and fitted models, arms from names."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.errors import CatalogueError, RunError, UnknownNameError, UsageError
from multimodal_dql.setting import arms_of, read_config, read_setting
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.engagement_json import FILE_NAME, model_to_json
from multimodal_dql.simulation.sessions import run_table

from .test_candidates import encoded


@pytest.fixture
def fitted(tmp_path: Path) -> Path:
    model = EngagementModel(base_logit_mean=-3.0, base_logit_sd=0.3, within_logit_sd=0.5, within_df=6.0)
    (tmp_path / FILE_NAME).write_text(model_to_json(model), encoding="utf-8")
    return tmp_path


def test_a_fitted_model_sets_rates_and_spreads(fitted: Path) -> None:
    config = read_config(fitted)
    assert config.base_click_rate == pytest.approx(1 / (1 + math.exp(3.0)))
    assert (config.story_sd, config.within_sd, config.within_df) == (0.3, 0.5, 6.0)
    # phi = 1 + clicks (exp(s^2) - 1), solved for s.
    clicks = math.exp(EngagementModel().log_impressions_mean) * config.base_click_rate
    assert 1 + clicks * math.expm1(config.burst_sd**2) == pytest.approx(EngagementModel().overdispersion)
    assert config.fatigue == EngagementConfig().fatigue


def test_the_defaults_are_those_of_the_default_model() -> None:
    config, fitted = EngagementConfig(), EngagementConfig().fitted(EngagementModel())
    for name in ("base_click_rate", "story_sd", "within_sd", "within_df", "burst_sd"):
        assert getattr(config, name) == pytest.approx(getattr(fitted, name), rel=0.02)


def test_numbers_are_assumed_by_name(fitted: Path) -> None:
    config = read_config(fitted, ["fatigue=0.5", "visits=2", " story_sd = .1 "])
    assert (config.fatigue, config.visits, config.story_sd, config.within_sd) == (0.5, 2, 0.1, 0.5)


def test_without_an_agent_an_audience_is_drawn(fitted: Path) -> None:
    features = encoded(items=12)
    setting = read_setting(None, fitted, ["fatigue", "return"], seed=3)
    stage = setting.stage(features)
    assert (stage.world.config.fatigue, stage.world.config.visits) == (0.0, 1)
    again = read_setting(None, fitted, ["fatigue", "return"], seed=3).stage(features)
    np.testing.assert_array_equal(stage.world.appeal, again.world.appeal)
    available = stage.world.candidates.available
    run = run_table(stage, 0, np.arange(4000), available / available.sum(axis=1, keepdims=True))
    rate = run.metric("expected_clicks").sum() / run.metric("impressions").sum()
    assert rate == pytest.approx(0.047, rel=0.4)


def test_what_everybody_likes_is_rescaled_with_the_spread() -> None:
    features = encoded(items=12)
    stage = read_setting(None, None, seed=1).stage(features)
    wider = stage.world.audience.under(EngagementConfig(within_sd=0.48))
    np.testing.assert_allclose(wider.content, 2 * stage.world.audience.content)
    np.testing.assert_array_equal(wider.taste, stage.world.audience.taste)


def test_mistakes_are_named(fitted: Path, tmp_path: Path) -> None:
    features = encoded(items=3)
    stage = read_setting(None, None).stage(features)
    with pytest.raises(UsageError, match="--agent RUN"):
        arms_of(["first", "learned"], stage, None, features, seed=0)
    with pytest.raises(UnknownNameError, match="did you mean 'thompson'"):
        arms_of(["thomson"], stage, None, features, seed=0)
    with pytest.raises(UnknownNameError, match="did you mean 'boredom'"):
        read_setting(None, None, ["bordom"])
    with pytest.raises(UnknownNameError, match="did you mean 'fatigue'"):
        read_config(None, ["fatige=1"])
    with pytest.raises(UsageError, match="name=number"):
        read_config(None, ["fatigue"])
    for nonsense in ("fatigue=nan", "visits=0", "memory=2", "taste_sd=-1"):
        with pytest.raises(UsageError, match=nonsense):
            read_config(None, [nonsense])
    with pytest.raises(CatalogueError, match="has 1 story"):
        read_setting(None, None).stage(encoded(items=1))
    (fitted / FILE_NAME).write_text("{}", encoding="utf-8")
    with pytest.raises(RunError):
        read_setting(None, fitted)
