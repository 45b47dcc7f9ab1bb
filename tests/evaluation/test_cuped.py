"""CUPED by hand, against least squares on rows, and against another library's numbers."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.cuped import cuped
from multimodal_dql.evaluation.means import difference, relative_difference, with_ratio
from multimodal_dql.evaluation.moments import Moments, Summary

# Orders of the experiment and before it, for tea-tasting's make_users_data(seed=42, covariates=True), version 1.14.0.
NAMES = ("orders", "before")
CONTROL = Summary(
    NAMES,
    2023,
    np.array([0.5304003954522986, 0.5388037567968363]),
    np.array([[0.7437588405933173, 0.5503776305425305], [0.5503776305425305, 1.0547497057821187]]),
)
TREATMENT = Summary(
    NAMES,
    1977,
    np.array([0.5730905412240769, 0.5088517956499747]),
    np.array([[0.7447815874459133, 0.49315329733227586], [0.49315329733227586, 0.9453922538340657]]),
)


def test_tea_tasting_orders() -> None:
    adjusted = cuped(CONTROL, TREATMENT, "orders", ["before"])
    absolute = difference(adjusted.control, adjusted.treatment)
    relative = relative_difference(adjusted.control, adjusted.treatment, method="log")
    assert adjusted.control.value == pytest.approx(0.5226833010781679, rel=1e-12)
    assert adjusted.treatment.value == pytest.approx(0.5809871936868316, rel=1e-12)
    assert (absolute.low, absolute.high, absolute.p) == pytest.approx(
        (0.015696510168618664, 0.1009112750487084, 0.007330409808687451), rel=1e-9
    )
    assert (relative.low, relative.high) == pytest.approx(
        (0.028806826889974158, 0.20094199383435463), rel=1e-9
    )


def test_by_hand() -> None:
    # y = 2 x in both arms: theta is 2, nothing of y's spread is left, and both means move to where x is average.
    control = Moments(tuple("yx")).update([[2, 1], [6, 3]]).result()
    treatment = Moments(tuple("yx")).update([[4, 2], [12, 6]]).result()
    adjusted = cuped(control, treatment, "y", ["x"])
    assert adjusted.theta == pytest.approx((2.0,))
    assert adjusted.variance_reduction == pytest.approx(1)
    assert adjusted.control.value == pytest.approx(6)  # 2 times the mean of 1, 3, 2, 6
    assert adjusted.treatment.value == pytest.approx(6)


def test_several_covariates_are_least_squares_over_rows() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(400, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    y = 1 + x @ [0.7, -0.4] + rng.normal(0, 0.5, 400)
    rows = np.column_stack([y, x])
    adjusted = cuped(
        *(Moments(tuple("yab")).update(half).result() for half in (rows[:150], rows[150:])), "y", ["a", "b"]
    )
    slopes = np.linalg.lstsq(np.column_stack([np.ones(400), x]), y, rcond=None)[0][1:]
    assert adjusted.theta == pytest.approx(tuple(slopes), rel=1e-9)
    by_row = y - (x - x.mean(0)) @ slopes
    assert adjusted.control.value == pytest.approx(by_row[:150].mean())
    assert adjusted.treatment.standard_error == pytest.approx(by_row[150:].std(ddof=1) / np.sqrt(250))
    assert 0.5 < adjusted.variance_reduction < 0.9


def test_collinear_and_constant_covariates_do_no_harm() -> None:
    rng = np.random.default_rng(10)
    x = rng.normal(size=300)
    rows = np.column_stack([x + rng.normal(size=300), x, 2 * x, np.ones(300)])
    arms = [Moments(tuple("yabc")).update(half).result() for half in (rows[:150], rows[150:])]
    alone, all_of_them = cuped(*arms, "y", ["a"]), cuped(*arms, "y", ["a", "b", "c"])
    assert all_of_them.control.value == pytest.approx(alone.control.value, abs=1e-9)
    assert all_of_them.variance_reduction == pytest.approx(alone.variance_reduction, abs=1e-9)


def test_a_ratio_metric_can_be_adjusted() -> None:
    rng = np.random.default_rng(11)
    habit = rng.gamma(2, 1, (4000, 1))
    rows = rng.poisson(np.hstack([habit, 3 * habit + 1, habit, 3 * habit + 1])).astype(float)
    arms = []
    for half in (rows[:2000], rows[2000:]):
        summary = Moments(("y", "n", "y0", "n0")).update(half).result()
        arms.append(with_ratio(with_ratio(summary, "ctr", "y", "n"), "ctr0", "y0", "n0"))
    adjusted = cuped(*arms, "ctr", ["ctr0"])
    raw = arms[0].mean("ctr")
    assert adjusted.control.value == pytest.approx(raw, rel=0.1)
    assert -0.01 < adjusted.variance_reduction < 1


def test_mistakes_are_named() -> None:
    for covariates in ([], ["orders"], ["nothing"]):
        with pytest.raises(UsageError):
            cuped(CONTROL, TREATMENT, "orders", covariates)
