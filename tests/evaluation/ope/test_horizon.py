"""Whether a log of sessions can answer: by hand, with ample overlap, over long horizons, with wrong propensities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.ope import (
    FQE,
    CascadeDR,
    PerDecisionIPS,
    StepEvaluation,
    StepOverlap,
    Steps,
)

from .logs import padded
from .worlds import Chain

CHAIN = Chain.made()
NEAR = replace(CHAIN, target=0.7 * CHAIN.logging + 0.3 * CHAIN.target)
SURE = replace(CHAIN, target=np.array([[0.0, 1.0]] * 3), end=0.0)
"""Always action 1, in sessions that never end by themselves."""


def logged(chain: Chain, n: int, T: int, seed: int) -> Steps:
    return chain.steps(*chain.draw(n, T, seed), chain.q(chain.target, 0.9))


def test_two_sessions_by_hand() -> None:
    """W = 2, 1 and .5, 1.5; with a discount of .5 they earn 2, 2.75 and .5, 1.25."""
    steps = Steps(
        unit=np.arange(2, dtype=np.uint64),
        reward=np.array([[1.0, 1.5], [1.0, 1.0]]),
        propensity=np.array([[0.25, 0.4], [0.8, 0.2]]),
        chosen=np.array([[0.5, 0.2], [0.4, 0.6]]),
    )
    overlap = StepOverlap(0.5)
    overlap.add(steps)
    d = overlap.result()
    assert (d.n, d.units, d.horizon) == (2, 2.0, 2)
    assert d.effective == pytest.approx((2.5**2 / 4.25, 2.5**2 / 3.25))
    assert d.effective_rewards == pytest.approx((2.5**2 / 4.25, 4**2 / (2.75**2 + 1.25**2)))
    assert d.largest_share == pytest.approx((0.8, 0.6))
    assert d.mean_weight == pytest.approx((1.25, 1.25))
    assert d.step_weight == pytest.approx((1.25, 1.75))


def test_pieces_of_other_lengths_equal_the_whole() -> None:
    """A batch of shorter sessions counts with its last weight in the later steps, as padding does."""
    steps = logged(CHAIN, 3000, 5, 1)
    whole = StepEvaluation(["pdis", "pddr"], discount=0.9, bootstraps=0).update(steps).result()
    first, rest = steps.part(0, 1000), steps.part(1000, 3000)
    long = StepEvaluation(["pdis", "pddr"], discount=0.9, bootstraps=0).update(padded(first))
    found = long.merge(StepEvaluation(["pdis", "pddr"], discount=0.9, bootstraps=0).update(rest)).result()
    assert found.estimates["pddr"].value == pytest.approx(whole.estimates["pddr"].value, rel=1e-12)
    assert found.diagnostics.effective[:5] == pytest.approx(whole.diagnostics.effective, rel=1e-12)
    assert found.diagnostics.effective[6] == pytest.approx(whole.diagnostics.effective[4], rel=1e-12)
    assert found.diagnostics.effective_rewards[6] == pytest.approx(whole.diagnostics.effective_rewards[4])
    assert found.diagnostics.step_weight == pytest.approx((*whole.diagnostics.step_weight, 1, 1), rel=1e-12)


def test_a_log_with_overlap_answers() -> None:
    """Of logs that pass, intervals hold the truth: 95 % of 100, fewer than 88 by chance once in 700."""
    truth = NEAR.value(NEAR.target, 0.9, 6)
    held = {"pdis": 0, "pddr": 0}
    for seed in range(100):
        found = StepEvaluation(["pdis", "pddr", "fqe"], discount=0.9, bootstraps=0)
        result = found.update(logged(NEAR, 2000, 6, seed)).result()
        assert result.verdict.answerable
        assert result.headline == "pddr"
        for name in held:
            held[name] += result.estimates[name].low <= truth <= result.estimates[name].high
    assert min(held.values()) >= 88
    assert "after 6 steps" in result.verdict.reason
    assert "6 步" in result.verdict.reason_zh


def test_a_sure_policy_over_a_long_horizon_is_refused() -> None:
    """Some .4 of the sessions go on as it would at every step: of 5,000 hardly one after twelve."""
    steps = logged(SURE, 5000, 12, 2)
    result = StepEvaluation(["pdis", "pddr", "fqe"], bootstraps=0).update(steps).result()
    d, verdict = result.diagnostics, result.verdict
    assert d.effective[0] > 1000
    assert d.effective[11] < 10
    assert not verdict.answerable
    assert result.headline == "fqe"
    assert "too little overlap over 12 steps: 5,000 sessions" in verdict.reason
    assert verdict.reason_zh.startswith("12 步的重叠太少")
    assert verdict.rows_needed is None or verdict.rows_needed > 50_000
    # It says how far this log reaches, and that is true.
    reach = max(k for k in range(1, 12) if f"the first {k} step" in verdict.needed)
    assert f"前 {reach} 步" in verdict.needed_zh
    assert 1 <= reach <= 5
    for T, answers in ((reach, True), (reach + 1, False)):
        short = Steps(steps.unit, steps.reward[:, :T], steps.propensity[:, :T], steps.chosen[:, :T])
        assert StepEvaluation(bootstraps=0).update(short).result().verdict.answerable == answers


def test_nothing_that_fits_is_no_fault_of_the_propensities() -> None:
    """Not one session of 40 steps went as the policy would: too little overlap, however many of them."""
    verdict = StepEvaluation(bootstraps=0).update(logged(SURE, 2000, 40, 3)).result().verdict
    assert not verdict.answerable
    assert "too little overlap" in verdict.reason
    assert verdict.rows_needed is None
    assert "far more sessions" in verdict.needed


def test_a_discount_brings_the_horizon_nearer() -> None:
    steps = logged(SURE, 5000, 12, 2)
    for discount, horizon in ((1.0, 12), (0.9, 12), (0.5, 7), (0.0, 1)):
        d = StepEvaluation(discount=discount, bootstraps=0).update(steps).result().diagnostics
        assert d.horizon == horizon
    assert StepEvaluation(discount=0.0, bootstraps=0).update(steps).result().verdict.answerable


def test_wrong_propensities_are_found_at_their_step() -> None:
    """Those of step 3 are a tenth too large. True ones raise an alarm in one of a thousand logs: none of these 30."""
    steps = logged(NEAR, 20_000, 5, 4)
    wrong = steps.propensity.copy()
    wrong[:, 2] = np.minimum(wrong[:, 2] * 1.1, 1.0)
    verdict = StepEvaluation(bootstraps=0).update(replace(steps, propensity=wrong)).result().verdict
    assert not verdict.answerable
    assert "step 3 by itself" in verdict.reason
    assert "第 3 步" in verdict.reason_zh
    for seed in range(30):
        assert StepEvaluation(bootstraps=0).update(logged(NEAR, 3000, 5, seed)).result().verdict.answerable


def test_more_steps_than_are_looked_at() -> None:
    """Two hundred steps: the last place is that of the whole session."""
    one = np.ones((600, 200))
    chosen, propensity = one.copy(), one.copy()
    chosen[:, 150] = np.random.default_rng(5).random(600) < 0.5
    propensity[:, 150] = 0.5
    halves = Steps(np.arange(600, dtype=np.uint64), one, propensity, chosen)
    d = StepEvaluation(bootstraps=0).update(halves).result().diagnostics
    assert d.horizon == len(d.effective) == 128
    assert d.effective[126] == 600
    assert d.effective[127] == chosen[:, 150].sum()


def test_names_and_refusals() -> None:
    steps = logged(NEAR, 500, 3, 6)
    named = StepEvaluation([CascadeDR(), "pdis"], bootstraps=50).update(steps).result()
    assert set(named.estimates) == {"cascade_dr", "pdis"}
    assert named.headline == "cascade_dr"
    assert set(named.estimates["pdis"].intervals) == {"normal", "bootstrap"}
    with pytest.raises(UsageError, match="no sessions"):
        StepEvaluation().result()
    with pytest.raises(UsageError, match="each once"):
        StepEvaluation(["fqe", FQE()])
    with pytest.raises(UsageError, match="merged"):
        StepEvaluation(discount=0.5).merge(StepEvaluation(discount=0.9))
    with pytest.raises(UsageError, match="merged"):
        StepEvaluation(["pdis"]).merge(StepEvaluation(["fqe"]))
    with pytest.raises(Exception, match="pdis"):
        StepEvaluation(["pdiss"])
    assert isinstance(StepEvaluation(discount=0.7).estimators["pdis"], PerDecisionIPS)
