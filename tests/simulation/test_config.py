"""The parameters: what switches a mechanism off, and which numbers are refused."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

from multimodal_dql.errors import UnknownNameError
from multimodal_dql.simulation.config import MECHANISMS, EngagementConfig
from multimodal_dql.simulation.engine import Mechanics, mechanics


def test_the_defaults_are_sound() -> None:
    EngagementConfig().check()


def test_every_number_is_explained_once() -> None:
    described = EngagementConfig.__doc__ or ""
    for field in fields(EngagementConfig):
        assert described.count(f"\n        {field.name}: ") == 1, field.name


@pytest.mark.parametrize("name", sorted(MECHANISMS))
def test_without_changes_its_own_parameters_and_no_others(name: str) -> None:
    config, off = EngagementConfig(), EngagementConfig().without(name)
    changed = {f.name for f in fields(config) if getattr(config, f.name) != getattr(off, f.name)}
    assert changed == set(MECHANISMS[name])
    off.check()
    assert off.without(name) == off


def test_mechanisms_share_no_parameter() -> None:
    named = [parameter for off in MECHANISMS.values() for parameter in off]
    assert len(named) == len(set(named))


def test_mechanisms_are_switched_off_together_in_any_order() -> None:
    config = EngagementConfig()
    assert config.without("taste", "return") == config.without("return").without("taste")
    assert config.without() == config
    config.without(*MECHANISMS).check()


def test_an_unknown_mechanism_is_named_with_its_neighbour() -> None:
    with pytest.raises(UnknownNameError) as caught:
        EngagementConfig().without("taste", "fatige")
    assert str(caught.value) == "no mechanism called 'fatige'; did you mean 'fatigue'?"
    assert caught.value.text("zh") == "没有名为 “fatige” 的机制；是否想用 “fatigue”？"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["story_sd", "stay", "wear_in", "dwell_scale_seconds"])
def test_only_finite_numbers_pass(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        replace(EngagementConfig(), **{name: value}).check()


@pytest.mark.parametrize("name", ["steps", "visits", "burst_sessions"])
@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_counts_are_whole_and_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        replace(EngagementConfig(), **{name: value}).check()


@pytest.mark.parametrize("sizes", [{"steps": 1001, "visits": 1}, {"steps": 1000, "visits": 11}])
def test_sessions_have_a_limit(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="steps"):
        replace(EngagementConfig(), **sizes).check()
    replace(EngagementConfig(), steps=1000, visits=10).check()


SHARES = (
    "content_share", "personal_share", "drift", "interest_pull", "look_after_skip", "look_after_click", "boredom_decay",
    "memory", "conversion_rate",
)  # fmt: skip


@pytest.mark.parametrize("name", [*SHARES, "base_click_rate"])
@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_shares_lie_between_0_and_1(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        replace(EngagementConfig(), **{name: value}).check()


@pytest.mark.parametrize("name", SHARES)
def test_shares_may_be_0_or_1(name: str) -> None:
    for value in (0.0, 1.0):
        replace(EngagementConfig(), **{name: value}).check()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_base_click_rate_of_0_or_1_has_no_logit(value: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        EngagementConfig(base_click_rate=value).check()


@pytest.mark.parametrize(
    "name",
    [f.name for f in fields(EngagementConfig) if f.name.endswith("_sd")]
    + ["boredom_stories", "gap_hours", "wear_peak"],
)
def test_standard_deviations_and_durations_are_not_negative(name: str) -> None:
    with pytest.raises(ValueError, match="not negative"):
        replace(EngagementConfig(), **{name: -0.1}).check()
    replace(EngagementConfig(), **{name: 0.0}).check()


@pytest.mark.parametrize("value", [2.0, 1.0, -4.0])
def test_tails_without_a_variance_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not negative"):
        EngagementConfig(within_df=value).check()


@pytest.mark.parametrize("name", ["dwell_shape", "dwell_scale_seconds", "conversion_value"])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_reading_times_and_values_are_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        replace(EngagementConfig(), **{name: value}).check()


def test_mechanics_are_the_same_numbers() -> None:
    config = EngagementConfig(visits=2, stay=1, burst_sessions=5)
    found = mechanics(config)
    for name in set(Mechanics._fields) - {"conversion_logit"}:
        value = getattr(found, name)
        assert value == getattr(config, name)
        assert isinstance(value, int if name in ("steps", "visits", "burst_sessions") else float)
    assert found.conversion_logit == pytest.approx(math.log(0.03 / 0.97))
    assert mechanics(replace(config, conversion_rate=0.0)).conversion_logit == -math.inf
    assert mechanics(replace(config, conversion_rate=1.0)).conversion_logit == math.inf


def test_the_source_of_the_overdispersion_adds_up() -> None:
    """A log-normal factor of sd s multiplies the variance of a Poisson count of mean m by 1 + m (exp(s^2) - 1)."""
    assert 1 + 36 * (math.exp(EngagementConfig().burst_sd ** 2) - 1) == pytest.approx(1.76, abs=0.01)
