"""Intervals that hold for any number of rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import Decisions, Evaluation, Overlap
from multimodal_dql.evaluation.ope.bounds import (
    Bets,
    anytime_lower,
    anytime_value,
    bernstein_half,
    log_capital,
)

from .logs import draw


def test_capital_is_below_what_the_bets_would_have_made() -> None:
    """The bound from sums against the same bets played observation by observation."""
    from multimodal_dql.evaluation.ope import bounds

    x = np.random.default_rng(0).exponential(1.0, 300)
    for m in (0.3, 0.8, 1.0, 2.0):
        usable = m * bounds._SHARES < 1
        played = np.log1p(bounds._SHARES[usable, None] * (x - m)).sum(1) + bounds._PRIOR[usable]
        bound = float(log_capital(np.array(m), Bets.of_rows(len(x), x.sum(), (x**2).sum())))
        assert bound <= np.logaddexp.reduce(played) + 1e-9


def test_lower_end_is_the_largest_mean_that_is_excluded() -> None:
    x, alpha = Bets.of_rows(1000.0, 120.0, 150.0), 0.025
    low = anytime_lower(x, alpha)
    assert 0.05 < low < 0.12
    assert float(log_capital(np.array(low), x)) >= math.log(1 / alpha)
    above = np.linspace(low * 1.001, x.total / x.n, 500)
    assert (log_capital(above, x) < math.log(1 / alpha)).all()


def test_nothing_seen_excludes_nothing() -> None:
    assert anytime_lower(Bets.of_rows(0, 0, 0), 0.05) == 0.0
    assert anytime_lower(Bets.of_rows(10, 0, 0), 0.05) == 0.0
    assert anytime_value(Bets.of_rows(1, 1, 1), Bets.of_rows(1, 0, 0), 0.05) == (0.0, 1.0)


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
        bets = [
            (Bets.of_rows(n, *s[:2]), Bets.of_rows(n, *s[2:])) for n, *s in zip(looks, *sums, strict=True)
        ]
        ends = [anytime_value(*pair, 0.05) for pair in bets]
        misses += any(not low <= truth <= high for low, high in ends)
    assert misses < 12


def visits(n: int, rng: np.random.Generator) -> Decisions:
    """Visitors who like nothing, or nearly everything and then stay longer: 1 to 6 decisions, or 1 to 20."""
    likes = rng.random(n) < 0.3
    length = np.where(likes, rng.integers(1, 21, n), rng.integers(1, 7, n))
    unit = np.repeat(np.arange(n), length)
    action = (rng.random(len(unit)) < 0.7).astype(np.int64)
    rate = likes[unit] * np.where(action == 0, 0.9, 0.7)
    return Decisions(
        unit=unit.astype(np.uint64),
        reward=(rng.random(len(unit)) < rate).astype(np.float64),
        action=action,
        propensity=np.where(action == 0, 0.3, 0.7),
        target=np.tile([0.4, 0.6], (len(unit), 1)),
    )


VISITED = 0.3 * 10.5 * (0.4 * 0.9 + 0.6 * 0.7) / (0.3 * 10.5 + 0.7 * 3.5)
"""Clicks a decision of the target: those of a visit over the decisions of a visit."""


def test_any_time_interval_of_visits_holds_at_all_looks_at_once() -> None:
    """Of 100 logs of 2,000 visits, looked at 8 times each, at most 5 % may ever leave the truth out: 12 or more would
    be chance in .4 %. Betting row by row, as if decisions of a visit were independent, leaves it out far more often."""
    visited, alone = 0, 0
    for seed in range(100):
        d = visits(2000, np.random.default_rng([3, seed]))
        overlap, missed, missed_alone, before = Overlap((0, 1)), False, False, 0
        for visit in (30, 60, 125, 250, 500, 1000, 1500, 2000):
            until = int(np.searchsorted(d.unit, visit))
            part = d.part(before, until)
            before = until
            overlap.add(part)
            low, high = overlap.bounds(0.95, None, None)[0]["anytime"]
            missed |= not low <= VISITED <= high
            seen = d.part(0, until)
            x, y = seen.weight * seen.reward, seen.weight * (1 - seen.reward)
            low, high = anytime_value(*(Bets.of_rows(len(v), v.sum(), (v**2).sum()) for v in (x, y)), 0.05)
            missed_alone |= not low <= VISITED <= high
        visited, alone = visited + missed, alone + missed_alone
    assert visited < 12
    assert alone > 12


def test_groups_of_visits_say_almost_what_the_visits_say() -> None:
    """A million rows of 180,000 visits in 131,072 groups: the ends are those of bets on every visit, to a tenth of the
    width."""
    d = visits(180_000, np.random.default_rng(5))
    found = Evaluation(["ips"], reward_range=(0, 1), bootstraps=0).update(d).result().estimates["ips"]
    assert found.details["anytime_unit_rows"] > 20
    rows = np.bincount(d.unit.astype(np.int64)).astype(np.float64)
    gained, lost = (np.bincount(d.unit.astype(np.int64), d.weight * r) for r in (d.reward, 1 - d.reward))
    low, high = anytime_value(Bets.of_groups(gained, rows, 20), Bets.of_groups(lost, rows, 20), 0.05)
    assert found.intervals["anytime"] == pytest.approx((low, high), abs=0.1 * (high - low))
    assert low < VISITED < high


def test_groups_by_hand() -> None:
    """Two groups: X = 3, 1 and N = 2, 4; single rows are groups of their own that cannot grow."""
    sums, rows = np.array([3.0, 1.0]), np.array([2.0, 4.0])
    found = Bets.of_groups(sums, rows, 3, np.array([False, True]))  # the second may have grown from 3 to 6
    assert found == Bets(n=6, total=4, square=10, cross=10, sizes=20, largest=4, limit=6)
    assert found.below(2.0) == Bets(n=6, total=8, square=10 + 80 - 40, cross=30, sizes=20, largest=4, limit=6)
    assert Bets.of_groups(sums, rows, 5, np.array([True, False])).limit == 6
    assert Bets.of_groups(sums, rows, 5).limit == 5
    x = np.array([0.0, 0.5, 4.0])
    assert Bets.of_groups(x, np.ones(3), 1) == Bets.of_rows(3, x.sum(), (x**2).sum())


def test_longer_units_to_come_cost_width() -> None:
    x, rows = np.array([2.0, 0.0, 3.0] * 100), np.array([3.0, 1.0, 4.0] * 100)
    lows = [anytime_lower(Bets.of_groups(x, rows, unit), 0.05) for unit in (4, 40, 400)]
    assert lows[0] > lows[1] > lows[2] > 0


def test_a_bound_of_the_weights_helps_the_upper_end_of_rare_rewards() -> None:
    gained, lost = Bets.of_rows(10_000, 200.0, 1000.0), Bets.of_rows(10_000, 9800.0, 49_000.0)
    free, bounded = anytime_value(gained, lost, 0.05), anytime_value(gained, lost, 0.05, bound=5.0)
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
    for unit_rows, rests in ((None, {"anytime_unit_rows": 3.0}), (2, {"anytime_unit_rows": 2.0})):
        of = Evaluation(["ips"], reward_range=(0, 1), weight_bound=bound, unit_rows=unit_rows)
        found = of.update(shared).result().estimates["ips"]
        assert set(found.intervals) == {"normal", "bootstrap", "anytime"}
        assert found.details == rests


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
