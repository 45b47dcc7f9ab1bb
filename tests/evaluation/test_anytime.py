"""Confidence sequences: closed forms, published values, and false alarms under peeking."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.anytime import (
    always_valid_p,
    anytime_interval,
    anytime_relative,
    anytime_z,
    best_rho,
    betting_interval,
    betting_log_capital,
    log_ratio,
    mixture_bound,
    mixture_log_e,
)


def test_confseq_values() -> None:
    # The confseq package's own unit test (reference values from R): two-sided normal mixture tuned for V = 100 at .05.
    # Its rho is the closed approximation V / (2 log(1 / alpha) + log(1 + 2 log(1 / alpha))).
    rho = 100 / (2 * math.log(20) + math.log1p(2 * math.log(20)))
    assert rho == pytest.approx(12.60056, abs=1e-5)
    assert float(mixture_bound(100, rho, 0.05)) == pytest.approx(30.35209, abs=1e-5)
    assert float(mixture_log_e(10, 100, rho)) == pytest.approx(-0.6510052, abs=1e-5)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_best_rho_is_best(alpha: float) -> None:
    best = minimize_scalar(lambda log: float(mixture_bound(100.0, math.exp(log), alpha)), (0, 4), tol=1e-12)
    assert best_rho(100.0, alpha) == pytest.approx(math.exp(best.x), rel=1e-4)


def test_half_width_by_hand() -> None:
    # se 1, rho 1, alpha .05: V = 1, sqrt(2 log(2 / .0025)) = sqrt(2 * 6.684612) = 3.656395.
    low, high = anytime_interval(2.0, 1.0, rho=1.0)
    assert (float(low), float(high)) == pytest.approx((2 - 3.656395, 2 + 3.656395), rel=1e-6)
    # In units of one observation: Waudby-Smith et al. (2024), theorem 2.2, t = 50, sd 3, rho .4.
    t, sd, rho, alpha = 50, 3.0, 0.4, 0.1
    theirs = sd * math.sqrt(
        2 * (t * rho**2 + 1) / (t * rho) ** 2 * math.log(math.sqrt(t * rho**2 + 1) / alpha)
    )
    low, high = anytime_interval(0.0, sd / math.sqrt(t), rho=1 / (rho * sd) ** 2, alpha=alpha)
    assert float(high) == pytest.approx(theirs, rel=1e-12)
    assert float(anytime_z()) == pytest.approx(3.0351, abs=1e-4)


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0.1, 2)), min_size=1, max_size=8), st.floats(0.1, 50))
def test_p_and_interval_say_the_same(looks: list[tuple[float, float]], rho: float) -> None:
    d, se = np.array(looks).T
    low, high = anytime_interval(d, se, rho)
    excluded = np.logical_or.accumulate((low > 0) | (high < 0))
    p = always_valid_p(d, se, rho)
    assert (np.diff(p) <= 0).all()
    decided = np.abs(p - 0.05) > 1e-9
    assert ((p < 0.05) == excluded)[decided].all()


def test_nothing_varied_yet() -> None:
    low, high = anytime_interval([0.0, np.nan, 0.5, 0.2], [0.0, 1.0, np.inf, 0.01], rho=1.0)
    assert np.isinf(low[:3]).all()
    assert np.isinf(high[:3]).all()
    assert low[3] > 0
    assert always_valid_p([0.0, 0.2], [0.0, 0.01], rho=1.0)[0] == 1.0


def test_relative_by_hand() -> None:
    # log(3 / 2) = .405465; errors .2 / 3 and .1 / 2: sqrt(.0044444 + .0025) = .0833333.
    estimate, error = log_ratio(2.0, 0.1, 3.0, 0.2)
    assert (float(estimate), float(error)) == pytest.approx((math.log(1.5), 0.0833333), rel=1e-6)
    # V = 144 = rho: sqrt(288 log(2 / .0025)) / 144 = .304700.
    low, high = anytime_relative(2.0, 0.1, 3.0, 0.2, rho=144.0)
    assert (1 + float(low), 1 + float(high)) == pytest.approx(
        (1.5 * math.exp(-0.304700), 1.5 * math.exp(0.304700)), rel=1e-5
    )
    low, high = anytime_relative([0.0, 2.0], 0.1, [1.0, 0.0], 0.1, rho=1.0)
    assert (low == -1).all()
    assert np.isinf(high).all()


def test_false_alarms_of_peeking_at_normal_data() -> None:
    """10,000 A/A paths, 50 looks each: at most 5 % ever cross; plain intervals would in about a third."""
    runs, looks = 10_000, 50
    rng = np.random.Generator(np.random.Philox(21))
    path = np.cumsum(rng.normal(size=(runs, looks)), 1)
    n = np.arange(1, looks + 1)
    d, se = path / n, np.broadcast_to(1 / np.sqrt(n), path.shape)
    ever = always_valid_p(d, se, best_rho(25.0))[:, -1] <= 0.05
    # Two standard errors of a share of .05 are .0044; the true share is near .02, so this cannot fail by chance.
    assert 0.005 < ever.mean() <= 0.05
    assert (np.abs(d / se) > 1.96).any(1).mean() > 0.25


def slow_log_capital(x: list[float], m: float, alpha: float) -> tuple[float, float]:
    """The hedged capital one observation at a time, as the paper writes it."""
    up = down = 1.0
    total, squares = 0.5, 0.25
    for t, value in enumerate(x, start=1):
        variance = squares / t
        bet = math.sqrt(2 * math.log(2 / alpha) / (variance * t * math.log(t + 1)))
        up *= 1 + min(bet, 0.5 / m) * (value - m)
        down *= 1 - min(bet, 0.5 / (1 - m)) * (value - m)
        total += value
        squares += (value - total / (t + 1)) ** 2
    return math.log(up), math.log(down)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.02, 0.98))
def test_capital_against_the_slow_reference(x: list[float], m: float) -> None:
    up, down = betting_log_capital(x, m)
    assert (up[-1], down[-1]) == pytest.approx(slow_log_capital(x, m, 0.05), abs=1e-9)


def test_betting_interval_ends_where_the_bet_is_won() -> None:
    x = np.random.default_rng(31).beta(2, 6, 400)
    low, high = betting_interval(x)
    for end, side in ((low[0], 0), (high[0], 1)):
        assert betting_log_capital(x, end)[side][-1] == pytest.approx(math.log(40), abs=1e-6)
    assert low[0] < x.mean() < high[0]


def test_betting_interval_scales_and_shrinks() -> None:
    x = np.random.default_rng(32).binomial(1, 0.1, (3, 2000)).astype(float)
    low, high = betting_interval(x, looks=[10, 100, 2000])
    assert low.shape == high.shape == (3, 3)
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()
    assert ((low[:, -1] < 0.1) & (high[:, -1] > 0.1)).all()
    assert (high[:, -1] - low[:, -1] < 0.06).all()
    scaled = betting_interval(10 * x - 5, looks=[10, 100, 2000], bounds=(-5, 5))
    assert scaled[0] == pytest.approx(10 * low - 5, abs=1e-9)
    all_ones = betting_interval(np.ones(50))
    assert all_ones[0][0] > 0.8
    assert all_ones[1][0] == 1.0


def test_false_alarms_of_betting_under_peeking() -> None:
    """4,000 streams of 200 skewed observations, a look at each: at most 5 % ever bet the truth away."""
    x = np.random.Generator(np.random.Philox(33)).beta(0.2, 1.8, (4000, 200))
    up, down = betting_log_capital(x, 0.1)
    ever = (np.maximum(up, down) >= math.log(2 / 0.05)).any(1).mean()
    # Ville's inequality is exact, so the share expected is below .05; three standard errors are .010.
    assert ever <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    assert ever > 0


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: best_rho(0.0),
        lambda: best_rho(10.0, 1.5),
        lambda: betting_interval([0.2, 1.2]),
        lambda: betting_interval([np.nan]),
        lambda: betting_interval([]),
        lambda: betting_interval([0.2, 0.3], looks=[3]),
        lambda: betting_interval([0.2, 0.3], looks=[2, 1]),
        lambda: betting_interval([0.2], bounds=(1, 1)),
        lambda: betting_interval([0.2], alpha=0.0),
        lambda: betting_log_capital([2.0], 0.5),
    ],
)
def test_mistakes_are_named(mistake: object) -> None:
    with pytest.raises(UsageError):
        mistake()  # type: ignore[operator]
