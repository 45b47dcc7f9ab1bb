"""Intervals that hold for any number of rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import Decisions, Evaluation
from multimodal_dql.evaluation.ope.bounds import anytime_lower, anytime_value, bernstein_half, log_capital

from .logs import draw


def test_capital_is_below_what_the_bets_would_have_made() -> None:
    """The bound from sums against the same bets played observation by observation."""
    from multimodal_dql.evaluation.ope import bounds

    x = np.random.default_rng(0).exponential(1.0, 300)
    for m in (0.3, 0.8, 1.0, 2.0):
        usable = m * bounds._SHARES < 1
        played = np.log1p(bounds._SHARES[usable, None] * (x - m)).sum(1) + bounds._PRIOR[usable]
        bound = float(log_capital(np.array(m), len(x), x.sum(), (x**2).sum()))
        assert bound <= np.logaddexp.reduce(played) + 1e-9


def test_lower_end_is_the_largest_mean_that_is_excluded() -> None:
    n, total, square, alpha = 1000.0, 120.0, 150.0, 0.025
    low = anytime_lower(n, total, square, alpha)
    assert 0.05 < low < 0.12
    assert float(log_capital(np.array(low), n, total, square)) >= math.log(1 / alpha)
    above = np.linspace(low * 1.001, total / n, 500)
    assert (log_capital(above, n, total, square) < math.log(1 / alpha)).all()


def test_nothing_seen_excludes_nothing() -> None:
    assert anytime_lower(0, 0, 0, 0.05) == 0.0
    assert anytime_lower(10, 0, 0, 0.05) == 0.0
    assert anytime_value(1, (1.0, 1.0, 0.0, 0.0), 0.05) == (0.0, 1.0)


def test_any_time_interval_holds_at_all_looks_at_once() -> None:
    """Of 100 logs, looked at 12 times each, at most 5 % may ever leave the truth out: 12 or more would be chance in
    .4 % if it were exactly 5 %."""
    rng = np.random.default_rng(1)
    target, logging, rates = np.array([0.8, 0.2]), np.array([0.1, 0.9]), np.array([0.3, 0.6])
    truth, misses = float(target @ rates), 0
    looks = np.unique(np.geomspace(10, 20_000, 12).astype(int))
    for _ in range(100):
        action = (rng.random(20_000) < 0.9).astype(int)
        x = target[action] / logging[action]
        r = rng.random(20_000) < rates[action]
        gained, lost = x * r, x * ~r
        sums = [np.cumsum(v)[looks - 1] for v in (gained, gained**2, lost, lost**2)]
        ends = [anytime_value(float(n), tuple(s[i] for s in sums), 0.05) for i, n in enumerate(looks)]  # type: ignore[arg-type]
        misses += any(not low <= truth <= high for low, high in ends)
    assert misses < 12


def test_units_of_several_rows_pay_for_it() -> None:
    sums = (200.0, 260.0, 800.0, 1000.0)
    one, three = anytime_value(1000, sums, 0.05), anytime_value(1000, sums, 0.05, rows=3)
    assert three[0] < one[0] < 0.2 < one[1] < three[1]


def test_a_bound_of_the_weights_helps_the_upper_end_of_rare_rewards() -> None:
    sums = (200.0, 1000.0, 9800.0, 49_000.0)
    free, bounded = anytime_value(10_000, sums, 0.05), anytime_value(10_000, sums, 0.05, bound=5.0)
    assert bounded[0] == free[0]
    assert 0.02 < bounded[1] < free[1]


def test_bernstein_by_hand() -> None:
    """V = 1, log(4 / alpha) = 2, n = 101, width 3: sqrt(4 / 101) + 42 / 300."""
    assert bernstein_half(101, 1.0, 3.0, 4 / math.e**2) == pytest.approx(math.sqrt(4 / 101) + 0.14)
    assert bernstein_half(1, 1.0, 3.0, 0.05) == math.inf


def test_which_bounds_an_evaluation_offers() -> None:
    d = draw(2000, 2, seed=1)
    bound = float(d.weight.max()) + 1
    ends = (
        Evaluation(["ips"], reward_range=(0, 1), weight_bound=bound)
        .update(d)
        .result()
        .estimates["ips"]
        .intervals
    )
    assert set(ends) == {"normal", "bootstrap", "anytime", "bernstein"}
    value = (d.weight * d.reward).mean()
    assert all(low < value < high for low, high in ends.values())
    assert set(Evaluation(["ips"]).update(d).result().estimates["ips"].intervals) == {"normal", "bootstrap"}
    shared = draw(2000, 2, seed=1, unit_rows=2)  # rows of a unit may depend on each other
    found = Evaluation(["ips"], reward_range=(0, 1)).update(shared).result()
    assert "anytime" not in found.estimates["ips"].intervals
    found = Evaluation(["ips"], reward_range=(0, 1), unit_rows=2).update(shared).result()
    assert "anytime" in found.estimates["ips"].intervals


def test_reward_range_scales_the_interval() -> None:
    d = draw(2000, 2, seed=1)
    far = Decisions(d.unit, d.reward * 40 - 10, d.action, d.propensity, d.target)
    near = Evaluation(["ips"], reward_range=(0, 1)).update(d).result().estimates["ips"].intervals["anytime"]
    ends = (
        Evaluation(["ips"], reward_range=(-10, 30)).update(far).result().estimates["ips"].intervals["anytime"]
    )
    assert ends == pytest.approx((near[0] * 40 - 10, near[1] * 40 - 10), rel=1e-6)


def test_refusals() -> None:
    d = draw(100, 2)
    with pytest.raises(UsageError, match="outside the range"):
        Evaluation(["ips"], reward_range=(0, 0.5)).update(d)
    with pytest.raises(UsageError, match="below the largest"):
        Evaluation(["ips"], reward_range=(1, 0))
    with pytest.raises(UsageError, match="above the bound"):
        Evaluation(["ips"], reward_range=(0, 1), weight_bound=0.5).update(d).result()
