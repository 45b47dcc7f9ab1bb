"""The best rule for two arms: by hand, against playing it, and against every other rule."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_dql.bench.gamma_arms import GammaArms, earned
from multimodal_dql.bench.two_arms import best_rule, two_arm_table
from multimodal_dql.policies.registry import make_policy


def test_one_stage_by_hand() -> None:
    """With one stage the higher prior mean is all there is: 3 clicks times 1.2."""
    best = best_rule(GammaArms((0.8, 1.2), 10.0, 3.0, stages=1))
    assert best.clicks == pytest.approx(3.6)
    assert best.second[0, 0, 0, 0]


def test_two_stages_by_hand() -> None:
    """Equal arms, prior mean 1 worth 1 click, one expected click a stage.

    After the first stage an arm with s clicks has the mean (1 + s) / 2, the other 1. No click comes with probability
    (1 / 2)^1 (negative binomial of shape 1); then the other arm is shown. Value: 1 + E max((1 + s) / 2, 1)
    = 1 + 1 + P(s = 0) (1 - 1 / 2) = 2.25.
    """
    best = best_rule(GammaArms((1.0, 1.0), 1.0, 2.0, stages=2))
    assert best.clicks == pytest.approx(2.25, abs=1e-6)
    assert best.second[1, 1, 0, 0]
    assert not best.second[1, 1, 2, 0]


def test_the_order_of_the_arms_does_not_matter() -> None:
    """Arms that differ much: each must be followed by its own law of clicks."""
    one, other = (best_rule(GammaArms(prior, 4.0, 5.0, stages=6)) for prior in ((0.6, 1.5), (1.5, 0.6)))
    assert one.clicks == pytest.approx(other.clicks, rel=1e-9)
    for stage in range(6):
        for first in range(stage + 1):
            a, b = one.second[stage, first], other.second[stage, stage - first]
            assert np.array_equal(a[:8, :8], ~b[:8, :8].T)


def test_played_it_earns_what_it_promises() -> None:
    """20,000 tests; a relative rate has a standard deviation below .4, so four standard errors are .011."""
    case = GammaArms((1.06, 0.94), 11.0, 6.0, stages=10)
    found, even, best = earned(case, best_rule(case), 0.0123, 20_000, 0)
    assert found == pytest.approx(best_rule(case).clicks / case.clicks, abs=0.011)
    assert even < found < best


def test_no_rule_earns_more() -> None:
    """Same tests, same luck of the rates: .01 of the gap is more than three standard errors of a difference."""
    rules = {"lola": make_policy("lola"), "eb-ucb": make_policy("eb-ucb"), "ucb": make_policy("ucb:z=.04")}
    row = two_arm_table(rules, rate=0.0123, weight=11.0, taus=(400,), tests=8_000)["400"]
    assert set(row) == {"optimum", "greedy", *rules}
    assert all(row[name] < row["optimum"] + 0.01 for name in row)
    assert row["ucb"] < row["optimum"] - 0.05
    assert np.all(np.isfinite(list(row.values())))
