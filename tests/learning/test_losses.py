"""Losses by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from multimodal_dql.errors import UsageError
from multimodal_dql.learning.losses import (
    Bins,
    bin_cross_entropy,
    cql_penalty,
    expectation,
    hl_gauss,
    squared_error,
)


def test_squared_error_by_hand() -> None:
    np.testing.assert_allclose(
        np.asarray(squared_error(np.array([3.0, 1.0]), np.array([1.0, 1.0]))), [4.0, 0.0]
    )


def test_bins_have_the_width_that_their_spread_is_relative_to() -> None:
    bins = Bins(-1.0, 1.0, 4)
    assert bins.width == 0.5
    assert bins.centres == (-0.75, -0.25, 0.25, 0.75)
    with pytest.raises(UsageError, match="low lies below high"):
        Bins(1.0, 1.0)


def test_hl_gauss_by_hand() -> None:
    """Three bins of width 1 around a value in the middle, sd .75: normal table at .5 / .75 and 1.5 / .75."""
    p = np.asarray(hl_gauss(np.array([0.0]), Bins(-1.5, 1.5, 3)))[0]
    middle, all_ = 2 * norm.cdf(0.5 / 0.75) - 1, 2 * norm.cdf(1.5 / 0.75) - 1  # .4950 and .9545
    np.testing.assert_allclose(
        p, [(1 - middle / all_) / 2, middle / all_, (1 - middle / all_) / 2], atol=1e-6
    )


@settings(max_examples=50, deadline=None)
@given(st.floats(-9.0, 9.0))
def test_hl_gauss_sums_to_one_and_comes_back(value: float) -> None:
    """Two bins from the edge, 51 bins of .4 give back the value to a hundredth of a bin."""
    bins = Bins(-10.2, 10.2, 51)
    p = hl_gauss(np.array([value]), bins)
    assert float(np.asarray(p).sum()) == pytest.approx(1.0, abs=1e-5)
    assert np.asarray(p).min() >= 0.0
    assert float(np.asarray(expectation(p, bins))[0]) == pytest.approx(
        value, abs=0.004 if abs(value) < 8.5 else 0.05
    )


def test_a_value_outside_the_bins_counts_as_the_nearest_end() -> None:
    bins = Bins(0.0, 1.0, 10)
    np.testing.assert_allclose(
        np.asarray(hl_gauss(np.array([7.0, -7.0]), bins)), np.asarray(hl_gauss(np.array([1.0, 0.0]), bins))
    )


def test_cross_entropy_by_hand_and_lowest_at_the_truth() -> None:
    # Even logits over two bins: log 2, whatever the target.
    even = bin_cross_entropy(np.zeros((1, 2), "float32"), np.array([[0.3, 0.7]], "float32"))
    np.testing.assert_allclose(np.asarray(even), [np.log(2.0)], rtol=1e-6)
    truth = np.log(np.array([[0.3, 0.7]], "float32"))
    lowest = bin_cross_entropy(truth, np.array([[0.3, 0.7]], "float32"))
    np.testing.assert_allclose(np.asarray(lowest), [-(0.3 * np.log(0.3) + 0.7 * np.log(0.7))], rtol=1e-5)


def test_cql_penalty_by_hand() -> None:
    # log(e^0 + e^1) - 1 = .3133; a padded action of 50 does not count.
    found = cql_penalty(
        np.array([[0.0, 1.0, 50.0]], "float32"), np.array([1], "int32"), np.array([[True, True, False]])
    )
    np.testing.assert_allclose(np.asarray(found), [0.313262], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=6), st.data())
def test_cql_penalty_is_never_negative(q: list[float], data: st.DataObject) -> None:
    action = data.draw(st.integers(0, len(q) - 1))
    found = cql_penalty(np.array([q], "float32"), np.array([action]), np.ones((1, len(q)), bool))
    assert float(np.asarray(found)[0]) >= -1e-5
