"""Several seeds together, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.seeds import interquartile_mean, level, paired


def test_interquartile_mean_by_hand() -> None:
    # Of eight the middle four; of two halves of both; an outlier in the last quarter does nothing.
    assert interquartile_mean(np.array([9.0, 0, 1, 2, 3, 4, 5, 1e9])) == pytest.approx(3.5)
    assert interquartile_mean(np.array([1.0, 3.0])) == pytest.approx(2.0)
    # Of ten: half of the third and of the eighth, all between.
    assert interquartile_mean(np.arange(10.0) ** 2) == pytest.approx(
        (0.5 * 4 + 9 + 16 + 25 + 36 + 0.5 * 49) / 5
    )


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
