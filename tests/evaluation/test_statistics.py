"""Intervals by hand, and how often they cover."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.evaluation.statistics import ratio_interval


def test_ratio_by_hand() -> None:
    # Means 3 and 2: ratio 1.5. Residuals a - 1.5 b = (2 - 1.5, 4 - 4.5) / 2 = (.25, -.25): sd .353553, error .25.
    # Student's t with 1 degree of freedom at .975 is 12.7062.
    uplift, low, high = ratio_interval(np.array([2.0, 4.0]), np.array([1.0, 3.0]))
    assert uplift == pytest.approx(0.5)
    assert high - uplift == pytest.approx(12.7062 * 0.25, rel=1e-4)
    assert uplift - low == pytest.approx(12.7062 * 0.25, rel=1e-4)


def test_equal_arms_have_no_width() -> None:
    assert ratio_interval(np.array([1.0, 2.0, 5.0]), np.array([1.0, 2.0, 5.0])) == (0.0, 0.0, 0.0)


def test_coverage() -> None:
    """95 % intervals over 20 clusters cover the true ratio; 1,000 runs, false alarm below 1 in 10,000."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(1000):
        base = rng.lognormal(0, 0.4, 20)
        arm = base * rng.lognormal(np.log(1.1) - 0.5 * 0.2**2, 0.2, 20)
        _, low, high = ratio_interval(arm, base)
        covered += low <= 0.1 <= high
    # The standard error of the share is .007; four of them below .95, and the t interval is a little liberal here.
    assert covered >= 915
