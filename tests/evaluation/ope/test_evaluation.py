"""Several estimators over one pass, paired differences, the headline."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.evaluation.ope import ESTIMATORS, Decisions, Evaluation, choose

from .logs import draw, take


def other_target(d: Decisions, seed: int = 1) -> Decisions:
    target = np.random.default_rng(seed).dirichlet(np.ones(d.target.shape[1]), len(d))
    return Decisions(d.unit, d.reward, d.action, d.propensity, target, d.predicted)


def test_same_numbers_as_each_estimator_alone() -> None:
    d = draw(3000, 4, seed=3)
    result = Evaluation(list(ESTIMATORS), bootstraps=100, seed=5).update(d).result()
    assert list(result.estimates) == list(ESTIMATORS)
    for name, estimate in result.estimates.items():
        alone = ESTIMATORS[name]().update(d).result(bootstraps=100, seed=5)
        assert (estimate.value, estimate.standard_error) == (alone.value, alone.standard_error)
        assert estimate.intervals["bootstrap"] == alone.intervals["bootstrap"]


def test_merges_and_survives_pickling() -> None:
    d = draw(1000, 3, seed=4)
    whole = Evaluation(list(ESTIMATORS)).update(d).result()
    parts = [Evaluation(list(ESTIMATORS)).update(take(d, s)) for s in (slice(0, 300), slice(300, 1000))]
    merged = pickle.loads(pickle.dumps(parts[0])).merge(parts[1]).result()
    for name in ESTIMATORS:
        assert merged.estimates[name].value == pytest.approx(whole.estimates[name].value, rel=1e-12)
    with pytest.raises(UsageError, match="merged"):
        parts[0].merge(Evaluation(["ips"]))


def test_paired_difference_is_narrower_than_two_intervals() -> None:
    d = draw(4000, 3, seed=6)
    near = Decisions(d.unit, d.reward, d.action, d.propensity, 0.9 * d.target + 0.1 / 3, d.predicted)
    a, b = (Evaluation(["ips", "snips", "dr"], bootstraps=500).update(x) for x in (d, near))
    found, one, two = a.difference(b), a.result().estimates, b.result().estimates
    for name in ("ips", "snips", "dr"):
        assert found[name].value == pytest.approx(one[name].value - two[name].value, abs=1e-14)
        apart = math.hypot(one[name].standard_error, two[name].standard_error)
        assert found[name].standard_error < 0.3 * apart
        low, high = found[name].intervals["bootstrap"]
        # Percentiles of 500 draws: the width is known to about 7 %.
        assert high - low == pytest.approx(2 * 1.96 * found[name].standard_error, rel=0.25)
    same = a.difference(Evaluation(["ips"]).update(d))["ips"]
    assert (same.value, same.standard_error) == (0.0, 0.0)


def test_paired_difference_covers() -> None:
    """95 % of 200 intervals hold the true difference; 18 or more misses would be chance in 1 of 200."""
    misses = 0
    for seed in range(200):
        d = draw(400, 3, seed=1000 + seed)
        gap = (
            Evaluation(["ips"], bootstraps=0)
            .update(d)
            .difference(Evaluation(["ips"], bootstraps=0).update(other_target(d, seed)))["ips"]
        )
        misses += not gap.low <= 0 <= gap.high  # rewards do not depend on the action
    assert misses < 18


def test_difference_needs_the_same_rows() -> None:
    d = draw(500, 3)
    a = Evaluation(["ips"]).update(d)
    with pytest.raises(UsageError, match="same decisions"):
        a.difference(Evaluation(["ips"]).update(take(d, slice(0, 400))))
    with pytest.raises(UsageError, match="in common"):
        a.difference(Evaluation(["dr"]).update(d))


def test_main_interval_is_the_one_asked_for() -> None:
    d = draw(500, 3, seed=2)
    found = Evaluation(["snips"], method="bootstrap", bootstraps=200).update(d).result().estimates["snips"]
    assert (found.low, found.high) == found.intervals["bootstrap"]
    narrow = Evaluation(["snips"], confidence=0.5).update(d).result().estimates["snips"]
    wide = Evaluation(["snips"], confidence=0.99).update(d).result().estimates["snips"]
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("names", "answerable", "chosen"),
    [
        (list(ESTIMATORS), True, "sndr"),
        (list(ESTIMATORS), False, "dr_os"),
        (["ips", "snips", "cips"], True, "snips"),
        (["ips", "snips", "cips"], False, "snips"),
        (["ips", "mips"], True, "ips"),
        (["mips", "offcem"], True, "mips"),
    ],
)
def test_headline(names: list[str], answerable: bool, chosen: str) -> None:
    assert choose(names, answerable) == chosen


def test_refusals() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'snips'"):
        Evaluation(["snip"])
    with pytest.raises(UsageError, match="at least one"):
        Evaluation([])
    with pytest.raises(UsageError, match="once"):
        Evaluation(["ips", "ips"])
    with pytest.raises(UsageError, match="confidence"):
        Evaluation(["ips"], confidence=0)
    with pytest.raises(UsageError, match="empty"):
        Evaluation(["ips"]).result()
