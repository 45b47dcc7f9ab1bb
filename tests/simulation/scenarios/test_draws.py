"""Draws by inversion against scipy's distributions, and a prior of known worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.simulation.scenarios.draws import (
    category,
    chi_square,
    click_count,
    heavy_tailed,
    log_uniform,
    prior_of,
)


@pytest.mark.parametrize(
    ("n", "p", "phi"),
    [
        (1, 0.3, 1.78),
        (2, 0.5, 1.78),
        (40, 0.0135, 1.0),
        (64, 0.0135, 1.78),
        (500, 0.2, 3.0),
        (20_000, 0.3, 1.78),
    ],
)
def test_click_counts_invert_the_distribution_function(n: int, p: float, phi: float) -> None:
    """Beta-binomial of scipy at the same correlation; the last case begins below the smallest float."""
    from scipy.stats import betabinom, binom

    rho = min((phi - 1) / (n - 1), 0.5) if n > 1 else 0.0
    m = 1 / rho - 1 if rho else np.inf
    law = betabinom(n, p * m, (1 - p) * m) if rho else binom(n, p)
    for u in np.linspace(0.005, 0.995, 23):
        k = click_count(u, n, p, phi)
        assert law.cdf(k) >= u - 1e-9
        assert k == 0 or law.cdf(k - 1) <= u + 1e-9


def test_a_single_impression_is_a_coin_flip() -> None:
    assert click_count(0.69, 1, 0.3, 1.78) == 0
    assert click_count(0.71, 1, 0.3, 1.78) == 1


def test_variance_is_phi_times_that_of_coin_flips() -> None:
    """At 200 impressions of rate .1 and phi 1.78: over 4,000 quantiles, within 1 %."""
    u = (np.arange(4000) + 0.5) / 4000
    clicks = np.array([click_count(x, 200, 0.1, 1.78) for x in u])
    assert clicks.mean() == pytest.approx(20, rel=0.005)
    assert clicks.var() == pytest.approx(1.78 * 18, rel=0.01)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(1e-9, 1 - 1e-9),
    st.integers(0, 300),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([1.0, 1.78]),
)
def test_a_higher_rate_never_means_fewer_clicks(u: float, n: int, p: float, q: float, phi: float) -> None:
    low, high = sorted((p, q))
    a, b = click_count(u, n, low, phi), click_count(u, n, high, phi)
    assert 0 <= a <= b <= n


def test_heavy_tails_are_those_of_t() -> None:
    """Kolmogorov-Smirnov below the 1-in-10,000 bound, 2.23 / sqrt(n)."""
    from scipy.stats import kstest, t

    rng = np.random.default_rng(0)
    draws = np.array([heavy_tailed(u, v, 4.4) for u, v in rng.random((4000, 2))])
    scale = np.sqrt((4.4 - 2) / 4.4)
    assert kstest(draws / scale, t(4.4).cdf).statistic < 2.23 / np.sqrt(4000)


@pytest.mark.parametrize("df", [2.5, 4.7, 30.0])
def test_chi_squares_are_those_of_the_law(df: float) -> None:
    """Kolmogorov-Smirnov below the 1-in-10,000 bound, 2.23 / sqrt(n)."""
    from scipy.stats import chi2, kstest

    draws = np.array([chi_square(df, 3, episode, 1, 0) for episode in range(4000)])
    assert kstest(draws, chi2(df).cdf).statistic < 2.23 / np.sqrt(4000)


def test_a_prior_has_the_correlation_it_was_given_and_is_calibrated() -> None:
    """Of 20,000 pairs; a correlation is off by 4 standard errors, .03, in 6 of 100,000 cases."""
    rng = np.random.default_rng(1)
    effect, z = 0.25 * rng.standard_normal(20_000), rng.standard_normal(20_000)
    for r in (0.25, 0.9):
        prior = np.array([prior_of(x, 0.25, r, y) for x, y in zip(effect, z, strict=True)])
        assert np.corrcoef(prior, effect)[0, 1] == pytest.approx(r, abs=0.03)
        assert np.polyfit(prior, effect, 1)[0] == pytest.approx(
            1, abs=4 * np.sqrt(1 / r**2 - 1) / np.sqrt(20_000)
        )
    assert prior_of(0.3, 0.25, 0.0, 1.0) == 0
    assert prior_of(0.3, 0.25, 1.0, 1.0) == 0.3


def test_small_draws_by_hand() -> None:
    assert [category(u, np.array([0.2, 0.5, 1.0])) for u in (0.1, 0.2, 0.49, 0.9)] == [0, 1, 1, 2]
    assert log_uniform(0.5, 1, 100) == pytest.approx(10)
