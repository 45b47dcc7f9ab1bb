"""The bound for many arms: by hand, against the best rule for two, and against playing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.bench.arm_bound import arm_bound, four_arm_table
from multimodal_dql.bench.gamma_arms import GammaArms, earned
from multimodal_dql.bench.two_arms import best_rule
from multimodal_dql.policies.registry import make_policy


def test_one_stage_by_hand() -> None:
    """With one stage the highest prior mean is all there is, 3 clicks times 1.2: at a price of 3.6 nobody gains."""
    bound = arm_bound(GammaArms((0.8, 1.2, 1.0), 10.0, 3.0, stages=1))
    assert bound.clicks == pytest.approx(3.6, rel=1e-9)
    assert bound(0, np.zeros((1, 3), np.int64), np.zeros((1, 3), np.int64)).tolist() == [1]


def test_two_stages_by_hand() -> None:
    """Two equal arms, prior mean 1 worth 1 click, one expected click a stage.

    At prices of 1 showing an arm once costs what it brings, and a second time pays (1 + s) / 2 - 1 if the first had
    s > 1 clicks. Clicks follow a geometric law of one half, so E max(s - 1, 0) = 1 / 2, an arm earns 1 / 4 and the sum
    is 2 + 2 / 4. The lowest bound is no higher, and no lower than the optimum, 2.25 (`test_two_arms`).
    """
    case = GammaArms((1.0, 1.0), 1.0, 2.0, stages=2)
    assert 2.25 <= arm_bound(case).clicks <= 2.5 + 1e-9


@settings(max_examples=15, deadline=None)
@given(st.floats(0.7, 1.4), st.floats(0.7, 1.4), st.floats(1.0, 30.0), st.floats(0.5, 8.0), st.integers(1, 8))
def test_no_rule_for_two_arms_exceeds_it(
    first: float, second: float, weight: float, clicks: float, stages: int
) -> None:
    case = GammaArms((first, second), weight, clicks, stages)
    best = best_rule(case).clicks
    assert best - 1e-6 <= arm_bound(case).clicks <= 1.25 * best


def test_it_is_tight_where_the_prior_decides() -> None:
    """Two arms that differ by .12 logits, five clicks: prices that have settled leave three thousandths."""
    case = GammaArms((1.06, 0.94), 14.7, 4.9)
    assert arm_bound(case).clicks <= 1.005 * best_rule(case).clicks


def test_the_order_of_the_arms_does_not_matter() -> None:
    prior = (0.7, 1.0, 1.3)
    one, other = (arm_bound(GammaArms(p, 4.0, 5.0, stages=6)) for p in (prior, prior[::-1]))
    assert one.clicks == pytest.approx(other.clicks, rel=1e-9)
    np.testing.assert_allclose(one.worth, other.worth[::-1], atol=1e-9)


def test_its_rule_is_worth_playing() -> None:
    """20,000 tests; a relative rate has a standard deviation below .4, so four standard errors are .011."""
    case = GammaArms((1.2, 1.05, 0.95, 0.85), 11.0, 10.0, stages=12)
    bound = arm_bound(case)
    found, even, best = earned(case, bound, 0.0123, 20_000, 0)
    greedy, _, _ = earned(case, None, 0.0123, 20_000, 0)
    assert even < greedy - 0.011
    assert greedy < found + 0.011
    assert found < bound.clicks / case.clicks + 0.011
    assert bound.clicks / case.clicks < best


@pytest.mark.slow
def test_every_rule_is_below_it() -> None:
    """.01 of the gap is more than three standard errors of what a rule earns."""
    rules = {"lola": make_policy("lola"), "ucb": make_policy("ucb:z=.04")}
    row = four_arm_table(rules, rate=0.0123, weight=11.0, taus=(100,), tests=8_000)["100"]
    assert set(row) == {"bound", "priced", "greedy", *rules}
    assert all(row[name] < row["bound"] + 0.01 for name in row)
    assert row["priced"] > row["lola"] > row["ucb"]
