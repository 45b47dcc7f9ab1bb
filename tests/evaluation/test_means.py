"""Differences and relative differences: by hand, against independent libraries, and a published table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.means import (
    Estimate,
    difference,
    mean_estimate,
    paired_difference,
    ratio_estimate,
    relative_difference,
    with_ratio,
)
from multimodal_dql.evaluation.moments import Moments, Summary
from multimodal_dql.evaluation.statistics import ratio_interval

# Sums over the users in the example of tea-tasting's README (make_users_data, seed 42, version 1.14.0, MIT licence):
# users; sums of sessions, orders, revenue; sums of their products.
CONTROL = Moments(("sessions", "orders", "revenue")).update_sums(
    2023,
    [4038.0, 1073.0, 10602.6],
    [[10098.0, 2648.0, 25951.34], [2648.0, 2073.0, 20072.84], [25951.34, 20072.84, 243736.4268]],
)
TREATMENT = Moments(("sessions", "orders", "revenue")).update_sums(
    1977,
    [3920.0, 1133.0, 11328.43],
    [[9698.0, 2730.0, 27030.29], [2730.0, 2121.0, 20982.39], [27030.29, 20982.39, 278029.8889]],
)
# As printed there: control, treatment, relative effect, its interval, p; then each number's decimals.
README_TABLE = {
    "sessions": (2.00, 1.98, -0.0066, -0.037, 0.025, 0.674),
    "orders/sessions": (0.266, 0.289, 0.088, -0.0089, 0.19, 0.0762),
    "orders": (0.530, 0.573, 0.080, -0.020, 0.19, 0.118),
    "revenue": (5.24, 5.73, 0.093, -0.024, 0.22, 0.123),
}


def significant(x: float, digits: int) -> float:
    return float(f"{x:.{digits}g}")


@pytest.mark.parametrize("metric", README_TABLE)
def test_tea_tasting_readme(metric: str) -> None:
    numerator, _, denominator = metric.partition("/")
    control, treatment = (
        ratio_estimate(arm.result(), numerator, denominator)
        if denominator
        else mean_estimate(arm.result(), numerator)
        for arm in (CONTROL, TREATMENT)
    )
    relative = relative_difference(control, treatment, method="log")
    got = (
        significant(control.value, 3),
        significant(treatment.value, 3),
        significant(relative.value, 2),
        significant(relative.low, 2),
        significant(relative.high, 2),
        significant(difference(control, treatment).p, 3),
    )
    assert got == README_TABLE[metric]


def test_tea_tasting_orders_per_session_in_full() -> None:
    control = ratio_estimate(CONTROL.result(), "orders", "sessions")
    treatment = ratio_estimate(TREATMENT.result(), "orders", "sessions")
    absolute = difference(control, treatment)
    relative = relative_difference(control, treatment, method="log")
    assert absolute.value == pytest.approx(0.02330500550889003, rel=1e-12)
    assert (absolute.low, absolute.high) == pytest.approx(
        (-0.0024594336679094504, 0.04906944468568951), rel=1e-10
    )
    assert absolute.p == pytest.approx(0.07623759978168305, rel=1e-10)
    assert (relative.low, relative.high) == pytest.approx(
        (-0.008944184133335975, 0.19377576095526305), rel=1e-10
    )


def test_welch_against_two_libraries() -> None:
    rng = np.random.default_rng(1)
    c, t = rng.normal(2, 1, 23), rng.normal(2.4, 3, 41)
    effect = difference(
        mean_estimate(Moments("x").update(c).result()), mean_estimate(Moments("x").update(t).result())
    )
    theirs = stats.ttest_ind(t, c, equal_var=False)
    assert (effect.p, effect.df) == pytest.approx((theirs.pvalue, theirs.df))
    low, high = CompareMeans(DescrStatsW(t), DescrStatsW(c)).tconfint_diff(usevar="unequal")
    assert (effect.low, effect.high) == pytest.approx((low, high))


def test_delta_by_hand() -> None:
    # t = 3, c = 2, both variances .04: (.04 + 2.25 * .04) / 4 = .0325, its root .180278; z 1.959964 with df infinite.
    effect = relative_difference(Estimate(2.0, 0.2, math.inf), Estimate(3.0, 0.2, math.inf))
    assert effect.value == pytest.approx(0.5)
    assert effect.standard_error == pytest.approx(math.sqrt(0.0325))
    assert effect.high - effect.value == pytest.approx(1.959964 * 0.1802776, rel=1e-6)


def test_log_by_hand() -> None:
    # var log = .04 / 9 + .04 / 4 = .0144444, root .1201850; 1.5 exp(-1.959964 * .1201850) = 1.185194.
    effect = relative_difference(Estimate(2.0, 0.2, math.inf), Estimate(3.0, 0.2, math.inf), method="log")
    assert 1 + effect.low == pytest.approx(1.185194, rel=1e-6)
    assert (1 + effect.low) * (1 + effect.high) == pytest.approx(1.5**2)


@given(st.floats(0.5, 5), st.floats(0.5, 5), st.floats(0.01, 0.2), st.floats(0.01, 0.2))
def test_fieller_ends_are_where_the_test_just_rejects(c: float, t: float, se_c: float, se_t: float) -> None:
    control, treatment = Estimate(c, se_c, 50), Estimate(t, se_t, 70)
    effect = relative_difference(control, treatment, method="fieller")
    q = stats.t.ppf(0.975, effect.df)
    for end in (effect.low, effect.high):
        r = 1 + end
        assert abs(t - r * c) / math.sqrt(se_t**2 + r**2 * se_c**2) == pytest.approx(q, rel=1e-6)
    welch = difference(control, treatment)
    assert effect.p == pytest.approx(welch.p, rel=1e-9, abs=1e-300)
    if abs(welch.p - 0.05) > 1e-6:
        assert (effect.low > 0 or effect.high < 0) == (welch.p < 0.05)


def test_fieller_is_unbounded_where_the_control_may_be_0() -> None:
    effect = relative_difference(Estimate(1.0, 0.8, 100), Estimate(3.0, 0.2, 100), method="fieller")
    assert (effect.low, effect.high) == (-math.inf, math.inf)


@pytest.mark.parametrize("method", ["delta", "log", "fieller"])
def test_large_samples_agree_whatever_the_method(method: str) -> None:
    effect = relative_difference(Estimate(2.0, 0.001, 1e6), Estimate(2.1, 0.001, 1e6), method=method)  # type: ignore[arg-type]
    assert (effect.low, effect.high) == pytest.approx((0.05 - 0.001421, 0.05 + 0.001421), abs=2e-6)


def test_ratio_by_hand() -> None:
    # Clicks 1 0 2, impressions 2 1 3: R = 3 / 6 = .5; residuals (y - R x) / 2 = 0, -.25, .25: variance .0625.
    summary = Moments(("clicks", "impressions")).update([[1, 2], [0, 1], [2, 3]]).result()
    ratio = ratio_estimate(summary, "clicks", "impressions")
    assert ratio.value == pytest.approx(0.5)
    assert ratio.standard_error == pytest.approx(math.sqrt(0.0625 / 3))
    assert with_ratio(summary, "ctr", "clicks", "impressions").mean("ctr") == pytest.approx(0.5)


def test_pairs_by_hand() -> None:
    # Differences 1, 0, 2: mean 1, variance 1, standard error 1 / sqrt 3; t(2) at .975 is 4.302653.
    summary = Moments(("c", "t")).update([[1, 2], [3, 3], [5, 7]]).result()
    effect = paired_difference(summary, "c", "t")
    assert effect.difference.value == pytest.approx(1)
    assert effect.difference.high - 1 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    # var c 4, var t 7: 1 / 11.
    assert effect.crn_variance_ratio == pytest.approx(1 / 11)


def test_pairs_agree_with_the_row_by_row_interval() -> None:
    rng = np.random.default_rng(2)
    c = rng.gamma(3, 1, 200)
    t = c * rng.gamma(20, 1.1 / 20, 200)
    effect = paired_difference(Moments(tuple("ct")).update(np.column_stack([c, t])).result(), "c", "t")
    assert (effect.relative.value, effect.relative.low, effect.relative.high) == pytest.approx(
        ratio_interval(t, c), rel=1e-9
    )
    assert (effect.difference.p, effect.difference.low) == pytest.approx(
        (stats.ttest_rel(t, c).pvalue, stats.ttest_rel(t, c).confidence_interval().low)
    )


def test_independent_streams_have_a_variance_ratio_near_1() -> None:
    rows = np.random.default_rng(8).normal(size=(20_000, 2))
    effect = paired_difference(Moments(tuple("ct")).update(rows).result(), "c", "t")
    assert effect.crn_variance_ratio == pytest.approx(1, abs=0.05)  # seven standard errors


def test_nothing_to_tell_is_no_error() -> None:
    few = mean_estimate(Summary.of(1, 0.0, math.nan))
    some = mean_estimate(Summary.of(10, 0.5, 1.0))
    for effect in (difference(few, some), relative_difference(few, some), relative_difference(some, few)):
        assert (effect.low, effect.high, effect.p) == (-math.inf, math.inf, 1.0)
    nobody = Moments(("c", "t")).update([[0, 0], [0, 1]]).result()
    assert paired_difference(nobody, "c", "t").relative.high == math.inf
    assert math.isnan(ratio_estimate(nobody, "t", "c").value)


def test_arms_without_spread() -> None:
    same = mean_estimate(Summary.of(10, 2.0, 0.0))
    more = mean_estimate(Summary.of(10, 3.0, 0.0))
    assert difference(same, same).p == 1.0
    assert difference(same, more).p == 0.0
    assert relative_difference(same, more).low == pytest.approx(0.5)


def test_mistakes_are_named() -> None:
    one = Estimate(1.0, 0.1, 10)
    with pytest.raises(UsageError, match="between 0 and 1"):
        difference(one, one, confidence=95)
    with pytest.raises(UsageError, match="method"):
        relative_difference(one, one, method="wald")  # type: ignore[arg-type]
