"""The interquartile mean by hand, and how often its interval holds the truth."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation import seeds
from multimodal_dql.evaluation.seeds import interquartile_mean, level, paired, stratified_interval

finite = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], (3 + 4 + 5 + 6) / 4),
        ([8, 1, 7, 2, 1000, 3, -1000, 4], (2 + 3 + 4 + 7) / 4),
        ([5, 1, 3], 3.0),  # a quarter of three is none
        ([0, 1, 2, 3, 50], 2.0),  # one from each end of five
        ([[1, 5], [3, 7]], 4.0),  # 1, 3, 5, 7: one from each end
        ([2.5], 2.5),
    ],
)
def test_by_hand(scores: list, wanted: float) -> None:
    assert interquartile_mean(scores) == pytest.approx(wanted)


def test_the_example_in_the_docstring() -> None:
    assert doctest.testmod(seeds).failed == 0


@given(st.lists(finite, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_it_lies_within(scores: list[float], random) -> None:
    found = interquartile_mean(scores)
    assert min(scores) - 1e-6 <= found <= max(scores) + 1e-6
    random.shuffle(scores)
    assert interquartile_mean(scores) == found


@pytest.mark.parametrize("scores", [[], [1.0, np.nan], [np.inf]])
def test_what_has_no_mean_is_refused(scores: list) -> None:
    with pytest.raises(ValueError, match="finite"):
        interquartile_mean(scores)
    with pytest.raises(ValueError, match="finite"):
        stratified_interval(scores)


def test_tasks_are_resampled_apart() -> None:
    """Two tasks far apart, no spread within either: however runs are drawn, the mean stays. Mixed, it would not."""
    scores = np.array([[0.0, 10.0]] * 6)
    assert stratified_interval(scores, resamples=200) == (5.0, 5.0)


def test_an_interval_of_one_run_is_a_point() -> None:
    assert stratified_interval([0.3]) == (0.3, 0.3)


def test_the_interval_holds_the_truth() -> None:
    """Normal scores of 20 runs. A percentile interval of so few is somewhat narrow: about 92 % for 95.

    Fails at a true coverage of .93 with probability 2e-4 (binomial, 300 draws, fewer than 262).
    """
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        low, high = stratified_interval(rng.normal(1.0, 2.0, 20), resamples=200)
        held += low <= 1.0 <= high
    assert 262 <= held < 300


def test_level_has_its_mean_inside_and_no_width_without_spread() -> None:
    found = level(np.arange(10.0).tolist())
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(4.5)
    flat = level([2.0] * 5)
    assert (flat.low, flat.high) == (2.0, 2.0)


def test_paired_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, sd 1, t(.975, 2) = 4.3027, half 4.3027 / sqrt 3 = 2.4841.
    found = paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert found.mean == pytest.approx(2.0)
    assert (found.low, found.high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-4)
    with pytest.raises(UsageError, match="two seeds or more"):
        paired([1.0], [1.0])


def test_paired_covers_the_truth_as_often_as_it_says() -> None:
    """2,000 experiments of ten normal seeds: 95 % give or take 2 is outside with probability below 1e-4."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        ours, theirs = rng.normal(0.3, 1.0, 10), rng.normal(0.0, 1.0, 10)
        found = paired(ours.tolist(), theirs.tolist())
        held += found.low <= 0.3 <= found.high
    assert 0.93 <= held / 2000 <= 0.97
