"""The formulas, by hand and against their papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from multimodal_dql.simulation.dynamics import (
    conversion_delay_hours,
    conversion_value,
    dwell_seconds,
    examination,
    logistic,
    long_term_engagement,
    next_exposure,
    poisson,
    satisfaction,
    wear,
)

MIDDLES = (np.arange(20_000) + 0.5) / 20_000
"""Numbers that stand for a uniform one: means over them are integrals, with no luck in them."""


# A trajectory of RecSim's long-term satisfaction (Ie et al. 2019) at its defaults: memory .7, sensitivity .01,
# innovation .05 z, mean log-engagement 5 for chocolate and 4 for kale. A row is clickbait, z, mean log-engagement
# before the step, exposure after it and satisfaction after it; worked out by hand with 30 digits.
KALE = (
    0.0,
    ((0.0, 0.0, 2.0, 1.0, 0.502499979166875),
     (0.0, 0.0, 2.0099999166675, 1.7, 0.504249897648791),
     (0.0, 0.0, 2.016999590595165, 2.19, 0.505474781188432),
     (0.0, 0.0, 2.021899124753728, 2.533, 0.506332161439359)),
)  # fmt: skip
CHOCOLATE = (
    0.0,
    ((1.0, 0.0, 2.5, -1.0, 0.497500020833125),
     (1.0, 0.0, 2.487500104165625, -1.7, 0.495750102351209),
     (1.0, 0.0, 2.478750511756044, -2.19, 0.494525218811568),
     (1.0, 0.0, 2.47262609405784, -2.533, 0.493667838560641)),
)  # fmt: skip
MIXED = (
    1.25,
    ((1.0, 0.4, 2.515624796552658, -0.105, 0.499737500024117),
     (0.25, -1.2, 2.123884375102498, 0.3665, 0.500916248974395),
     (0.0, 2.0, 2.00366499589758, 1.35655, 0.503391322993433),
     (0.8, 0.0, 2.416278350368478, 0.349585, 0.500873961609945)),
)  # fmt: skip


@pytest.mark.parametrize(("exposure", "steps"), [KALE, CHOCOLATE, MIXED], ids=["kale", "chocolate", "mixed"])
def test_recsims_long_term_satisfaction(exposure: float, steps: tuple[tuple[float, ...], ...]) -> None:
    s = satisfaction(exposure, 0.01)
    for clickbait, z, engagement, exposure_after, satisfaction_after in steps:
        assert long_term_engagement(s, clickbait, 5.0, 4.0) == pytest.approx(engagement, rel=1e-13)
        exposure = next_exposure(exposure, clickbait, 0.7, 1.0, 0.0, 0.05 * z)
        s = satisfaction(exposure, 0.01)
        assert exposure == pytest.approx(exposure_after, rel=1e-13)
        assert s == pytest.approx(satisfaction_after, rel=1e-13)


def test_kale_for_ever_settles_where_memory_says() -> None:
    """The fixed point of n = .7 n + 1 is 10/3; of chocolate, -10/3."""
    kale, chocolate = 0.0, 0.0
    for _ in range(120):
        kale, chocolate = (
            next_exposure(n, c, 0.7, 1.0, 0.0, 0.0) for n, c in ((kale, 0.0), (chocolate, 1.0))
        )
    assert kale == pytest.approx(10 / 3)
    assert chocolate == pytest.approx(-10 / 3)


def test_regret_and_pleasure_by_hand() -> None:
    # .5 * 2 - 2 * .25 * (.9 - .5) + .3 - .1 = 1 - .2 + .2
    assert next_exposure(2.0, 0.9, 0.5, 0.25, 0.3, -0.1) == pytest.approx(1.0)


@settings(deadline=None)  # the first call compiles
@given(st.floats(-700, 700))
def test_logistic_is_symmetric(x: float) -> None:
    assert logistic(x) + logistic(-x) == pytest.approx(1.0)


def test_logistic_far_out() -> None:
    assert logistic(0.0) == 0.5
    assert logistic(math.log(3.0)) == pytest.approx(0.75)
    assert logistic(-1e6) == 0.0
    assert logistic(1e6) == 1.0


@settings(deadline=None)  # the first call compiles
@given(st.integers(1, 30), st.floats(0, 5))
def test_examination_has_mean_1_and_falls(ranks: int, exponent: float) -> None:
    looks = [examination(r, exponent, ranks, 0.8) for r in range(1, ranks + 1)]
    reached = [0.8 ** (r - 1) for r in range(1, ranks + 1)]
    assert np.average(looks, weights=reached) == pytest.approx(1.0)
    assert looks == sorted(looks, reverse=True)
    for r, look in enumerate(looks, start=1):
        assert look == pytest.approx(looks[0] * r**-exponent)


def test_examination_by_hand() -> None:
    # Everybody goes on: (1 + 1/2 + 1/3 + 1/4) / 4 = 25/48.
    assert examination(1, 1.0, 4, 1.0) == pytest.approx(48 / 25)
    assert examination(4, 1.0, 4, 1.0) == pytest.approx(12 / 25)
    assert examination(3, 0.0, 4, 1.0) == 1.0
    # Half go on from the first of two: (1 + 1/2 * 1/2) / (1 + 1/2) = 5/6.
    assert examination(1, 1.0, 2, 0.5) == pytest.approx(6 / 5)


def test_wear_is_an_inverted_u() -> None:
    """Gain .05 up to 3, then a loss of .15 each: by hand, and highest at the peak."""
    curve = [wear(e, 0.05, 3.0, 0.15) for e in range(8)]
    assert curve == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.0, -0.15, -0.3, -0.45])
    assert wear(2, 0.1, 1.5, 0.2) == pytest.approx(0.1 * 1.5 - 0.2 * 0.5)
    assert np.argmax(curve) == 3
    assert (np.diff(curve, 2) <= 1e-12).all()


@pytest.mark.parametrize("shape", [0.5, 0.8, 1.0, 2.0])
def test_reading_time_is_weibull(shape: float) -> None:
    seconds = np.array([dwell_seconds(u, 45.0, shape) for u in MIDDLES])
    np.testing.assert_allclose(stats.weibull_min(shape, scale=45.0).cdf(seconds), MIDDLES, rtol=1e-9)
    assert dwell_seconds(0.5, 45.0, shape) == pytest.approx(45.0 * math.log(2) ** (1 / shape))
    # What is left out beyond the last of 20,000 points is below 1 % of the mean for these shapes.
    assert seconds.mean() == pytest.approx(45.0 * math.gamma(1 + 1 / shape), rel=0.01)


def test_shapes_below_1_age_negatively() -> None:
    """Weibull hazard ``(k / x) (t / x)^(k - 1)``: who has read a minute stays longer than who has just begun."""
    seconds = np.array([dwell_seconds(u, 45.0, 0.8) for u in MIDDLES])
    chance = [((seconds > t) & (seconds <= t + 10)).sum() / (seconds > t).sum() for t in (0, 10, 60, 120)]
    assert chance == sorted(chance, reverse=True)


def test_conversions_arrive_when_chapelle_saw_them() -> None:
    assert conversion_delay_hours(0.35) == pytest.approx(1.0)
    assert conversion_delay_hours(0.5) == pytest.approx(24.0)
    assert conversion_delay_hours(1.0 - 1e-12) == pytest.approx(720.0)
    hours = np.array([conversion_delay_hours(u) for u in MIDDLES])
    assert (hours <= 1.0).mean() == pytest.approx(0.35, abs=1e-4)
    assert (hours <= 24.0).mean() == pytest.approx(0.5, abs=1e-4)
    assert hours.max() < 720.0
    assert (hours > 0).all()
    # Published, not fitted: 13 % of the conversions came after two weeks; a delay uniform in its logarithm says 11 %.
    assert (hours > 14 * 24).mean() == pytest.approx(0.13, abs=0.02)


def test_conversion_delay_is_continuous_and_increasing() -> None:
    hours = np.array([conversion_delay_hours(u) for u in MIDDLES])
    assert (np.diff(hours) > 0).all()
    # Half an hour between two of 20,000 points is a third of a percent of a window of 30 days.
    assert np.diff(hours).max() < 0.5
    for joint in (0.35, 0.5):
        left, right = (conversion_delay_hours(joint + side) for side in (-1e-12, 1e-12))
        assert left == pytest.approx(right, rel=1e-9)


def test_conversion_values_are_log_normal_with_their_mean() -> None:
    values = np.array([conversion_value(z, 20.0, 0.5) for z in stats.norm.ppf(MIDDLES)])
    assert values.mean() == pytest.approx(20.0, rel=1e-3)
    assert np.log(values).std() == pytest.approx(0.5, rel=1e-3)
    assert conversion_value(0.0, 20.0, 0.5) == pytest.approx(20.0 * math.exp(-0.125))
    assert conversion_value(3.0, 20.0, 0.0) == 20.0


@pytest.mark.parametrize("mean", [0.01, 1.0, 5.0, 40.0])
def test_poisson_inverts_its_distribution(mean: float) -> None:
    drawn = [poisson(u, mean) for u in MIDDLES]
    np.testing.assert_array_equal(drawn, stats.poisson(mean).ppf(MIDDLES))


def test_poisson_is_bounded() -> None:
    assert poisson(1.0 - 2.0**-33, 1.0) <= 20
    assert poisson(0.5, 10_000.0) == 1000
    assert poisson(0.5, 0.0) == 0
