"""Proportions and the sample-ratio check: published examples, hand-worked numbers, statsmodels."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_chisquare,
    proportions_ztest,
)

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.proportions import (
    arms_chi_square,
    newcombe_interval,
    sample_ratio,
    sample_ratio_p,
    two_proportion_z,
    wilson_interval,
)


def test_wilson_published() -> None:
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_newcombe_published() -> None:
    # Newcombe (1998), Interval estimation for the difference between independent proportions, table II, method 10.
    assert newcombe_interval(48, 80, 56, 70) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe_interval(3, 10, 9, 10) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert newcombe_interval(0, 10, 10, 10) == pytest.approx((0.6075, 1.0), abs=5e-5)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_against_statsmodels(n_c: int, n_t: int, data: st.DataObject) -> None:
    c, t = data.draw(st.integers(0, n_c)), data.draw(st.integers(0, n_t))
    assert wilson_interval(c, n_c) == pytest.approx(proportion_confint(c, n_c, method="wilson"), abs=1e-9)
    assert newcombe_interval(c, n_c, t, n_t) == pytest.approx(
        confint_proportions_2indep(t, n_t, c, n_c, method="newcomb"), abs=1e-9
    )
    if 0 < c + t < n_c + n_t:
        assert two_proportion_z(c, n_c, t, n_t).p == pytest.approx(proportions_ztest([t, c], [n_t, n_c])[1])
        test = arms_chi_square([c, t], [n_c, n_t])
        assert test.p == pytest.approx(proportions_chisquare([c, t], [n_c, n_t])[1], abs=1e-12)


def test_z_by_hand() -> None:
    # 20 / 100 against 30 / 100: pooled .25, standard error sqrt(.25 * .75 / 50) = .0612372, z 1.632993, p .102470.
    pooled = two_proportion_z(20, 100, 30, 100)
    assert pooled.p == pytest.approx(0.102470, abs=1e-6)
    # Unpooled: sqrt(.0016 + .0021) = .0608276, z 1.643990, p .100178; the Wald interval uses it.
    unpooled = two_proportion_z(20, 100, 30, 100, pooled=False)
    assert unpooled.p == pytest.approx(0.100178, abs=1e-6)
    assert unpooled.high == pytest.approx(0.1 + 1.959964 * 0.0608276, rel=1e-5)
    assert two_proportion_z(0, 10, 0, 10).p == 1.0


def test_chi_square_of_three_arms_by_hand() -> None:
    # 10, 20, 30 of 100 each: pooled .2, (100 + 0 + 100) / (100 * .2 * .8) = 12.5; 2 degrees: exp(-6.25).
    test = arms_chi_square([10, 20, 30], [100, 100, 100])
    assert (test.statistic, test.df) == (pytest.approx(12.5), 2)
    assert test.p == pytest.approx(math.exp(-6.25))
    assert arms_chi_square([0, 0], [5, 5]).p == 1.0


def test_sample_ratio_by_hand() -> None:
    # Two small arms, exact: 8 or more of 10, or 2 or fewer: 2 * (45 + 10 + 1) / 1024.
    assert sample_ratio_p([8, 2], [1, 1]) == pytest.approx(112 / 1024)
    # Three arms, chi-square: (10 - 20)^2 / 20 + 0 + 100 / 20 = 10 on 2 degrees: exp(-5).
    assert sample_ratio_p([10, 20, 30], [1, 1, 1]) == pytest.approx(math.exp(-5))


def test_sample_ratio_published() -> None:
    # Kohavi, Tang & Xu (2020), Trustworthy online controlled experiments, chapter 3: p = 1.8e-6.
    check = sample_ratio([821_588, 815_482], [0.5, 0.5])
    assert check.p == pytest.approx(1.8e-6, abs=0.05e-6)
    assert not check.passed
    assert "50.19%" in check.reason
    assert "50.19%" in check.reason_zh


def test_sample_ratio_passes_what_chance_explains() -> None:
    check = sample_ratio([2023, 1977], [1, 1])
    assert check.passed
    assert check.reason == check.reason_zh == ""
    assert check.expected == (2000.0, 2000.0)
    assert sample_ratio([0, 0], [1, 1]).passed
    assert sample_ratio([90_100, 9_900], [0.9, 0.1]).passed
    assert not sample_ratio([89_000, 11_000], [0.9, 0.1]).passed


def test_exact_and_chi_square_meet() -> None:
    assert sample_ratio_p([530, 469], [1, 1]) == pytest.approx(sample_ratio_p([530, 470], [1, 1]), rel=0.1)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: wilson_interval(3, 2),
        lambda: wilson_interval(0, 0),
        lambda: two_proportion_z(-1, 5, 1, 5),
        lambda: arms_chi_square([1], [2]),
        lambda: arms_chi_square([3, 1], [2, 2]),
        lambda: sample_ratio([1, 2], [1]),
        lambda: sample_ratio([1, 2], [1, 0]),
        lambda: sample_ratio([5], [1]),
    ],
)
def test_mistakes_are_named(mistake: object) -> None:
    with pytest.raises(UsageError):
        mistake()  # type: ignore[operator]
