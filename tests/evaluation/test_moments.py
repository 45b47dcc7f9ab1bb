"""Streaming moments by hand, against numpy, and under any split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.moments import Moments, Summary


def test_by_hand() -> None:
    # x 1 2 6: mean 3, squares of deviations 4 + 1 + 9 = 14; y 0 3 3: mean 2, 4 + 1 + 1 = 6;
    # products (-2)(-2) + (-1)(1) + (3)(1) = 6. Over n - 1 = 2: 7, 3, 3.
    summary = Moments(("x", "y")).update([[1, 0], [2, 3], [6, 3]]).result()
    assert summary.n == 3
    assert summary.means == pytest.approx([3, 2])
    assert summary.covariance == pytest.approx(np.array([[7, 3], [3, 3]]))
    assert summary.mean("y") == pytest.approx(2)
    assert summary.variance("x") == pytest.approx(7)
    assert summary.covariance_of("x", "y") == pytest.approx(3)


def test_merge_by_hand() -> None:
    left, right = Moments("x").update([1.0, 3.0]), Moments("x").update([8.0])
    # Squares about the mean 4: 9 + 1 + 16 = 26.
    merged = left.merge(right)
    assert (merged.n, merged.means[0], merged.cross[0, 0]) == (3, 4.0, pytest.approx(26))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_any_split_and_order_gives_the_same(seed: int, sizes: list[int]) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    batches = [rng.normal([3, -50], [1, 20], (size, 2)) for size in sizes]
    whole = Moments(("a", "b")).update(np.concatenate(batches))
    parts = [Moments(("a", "b")).update(batch) for batch in batches]
    merged = Moments(("a", "b"))
    for at in rng.permutation(len(parts)):
        merged.merge(parts[at])
    assert merged.n == whole.n
    scale = np.sqrt(np.outer(np.diag(whole.cross), np.diag(whole.cross))) + 1e-30
    assert np.abs(merged.means - whole.means).max() <= 1e-12 * 50
    assert (np.abs(merged.cross - whole.cross) / scale).max() <= 1e-12 * max(whole.n, 1)


def test_agrees_with_numpy() -> None:
    rows = np.random.default_rng(3).lognormal(0, 1, (1000, 4))
    summary = Moments(tuple("abcd")).update(rows[:17]).update(rows[17:]).result()
    assert summary.covariance == pytest.approx(np.cov(rows.T), rel=1e-12)


def test_means_far_from_zero_cost_no_digits() -> None:
    # Sums of squares would lose everything here: 1e9 squared has no room for a variance of 1 in float64.
    moments = Moments("x")
    for _ in range(100):
        moments.update(1e9 + np.array([-1.0, 0.0, 1.0]))
    assert moments.result().variance("x") == pytest.approx(200 / 299, rel=1e-9)


def test_sums_are_enough() -> None:
    rows = np.random.default_rng(4).poisson(2.0, (500, 2)).astype(float)
    known = Moments(("a", "b")).update_sums(500, rows.sum(0), rows.T @ rows)
    assert known.covariance == pytest.approx(Moments(("a", "b")).update(rows).covariance, rel=1e-12)
    assert known.update_sums(0, [0, 0], np.zeros((2, 2))).n == 500


def test_linear_combinations_are_those_of_the_rows() -> None:
    rows = np.random.default_rng(5).normal(size=(50, 3))
    summary = Moments(tuple("abc")).update(rows).result()
    made = 2 * rows[:, 0] - rows[:, 2] + 5
    one = summary.combine("a", {"a": 2, "c": -1}, shift=5)  # may take the name of a variable it replaces
    assert one.names == ("a",)
    assert one.means[0] == pytest.approx(made.mean())
    assert one.variance("a") == pytest.approx(made.var(ddof=1))
    more = summary.extend("d", {"a": 2, "c": -1}, shift=5)
    assert more.covariance == pytest.approx(np.cov(np.column_stack([rows, made]).T))
    assert more.select(("d", "b")).covariance_of("b", "d") == pytest.approx(np.cov(made, rows[:, 1])[0, 1])


def test_a_summary_can_be_continued() -> None:
    rows = np.random.default_rng(6).normal(size=(30, 2))
    half = Moments(tuple("ab")).update(rows[:11]).result()
    assert Moments.from_summary(half).update(rows[11:]).covariance == pytest.approx(np.cov(rows.T))
    assert Moments.from_summary(Moments(tuple("ab")).result()).update(rows).n == 30


def test_plain_numbers() -> None:
    summary = Summary.of(100, 2.0, 3.0)
    assert (summary.n, summary.mean("value"), summary.variance("value")) == (100, 2.0, 9.0)


def test_below_two_rows_there_is_no_variance() -> None:
    assert np.isnan(Moments("x").covariance[0, 0])
    assert np.isnan(Moments("x").update([1.0]).covariance[0, 0])
    assert Moments("x").update(np.empty((0, 1))).n == 0


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: Moments(()),
        lambda: Moments(("a", "a")),
        lambda: Moments(("a", "")),
        lambda: Moments(tuple("ab")).update([1.0, 2.0]),
        lambda: Moments("a").update([[1.0], [np.nan]]),
        lambda: Moments("a").update([np.inf]),
        lambda: Moments("a").update_sums(3, [1.0, 2.0], [[1.0]]),
        lambda: Moments("a").update_sums(-1, [1.0], [[1.0]]),
        lambda: Moments("a").merge(Moments("b")),
        lambda: Moments("a").result().mean("z"),
        lambda: Moments("a").result().extend("a", {"a": 1.0}),
    ],
)
def test_mistakes_are_named(mistake: object) -> None:
    with pytest.raises(UsageError) as told:
        mistake()  # type: ignore[operator]
    assert told.value.text("zh") != told.value.text("en")
