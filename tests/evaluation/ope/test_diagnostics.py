"""What the weights say about a log, and the gate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from multimodal_dql.evaluation.ope import Decisions, Diagnostics, Evaluation, Gate, Overlap
from multimodal_dql.evaluation.ope.decisions import mixed
from multimodal_dql.evaluation.ope.sketches import DistinctKeys, WeightHistogram
from multimodal_dql.evaluation.ope.verdict import verdict

from .logs import THREE, draw, take


def diagnose(d: Decisions) -> Diagnostics:
    overlap = Overlap()
    for part in d.parts():
        overlap.add(part)
    return overlap.result()


def test_three_rows_by_hand() -> None:
    """Weights 2, 2, .25; rewards 1, 0, 1; w r = 2, 0, .25."""
    found = diagnose(THREE)
    assert found.n == 3
    assert found.units == 3
    assert found.effective == pytest.approx(4.25**2 / 8.0625)
    assert found.effective_share == pytest.approx(4.25**2 / 8.0625 / 3)
    assert found.effective_rewards == pytest.approx(2.25**2 / 4.0625)
    assert found.mean_weight == pytest.approx(4.25 / 3)
    assert found.mean_weight_error == pytest.approx(np.array([2, 2, 0.25]).std(ddof=1) / math.sqrt(3))
    assert found.largest_weight == 2.0
    assert found.largest_share == pytest.approx(2 / 4.25)
    first, second = found.actions
    assert (first.logged, first.target) == (pytest.approx(2 / 3), pytest.approx(1.7 / 3))
    assert first.weighted == pytest.approx(2.25 / 3)
    assert second.weighted == pytest.approx(2 / 3)


def test_true_propensities_pass_and_wrong_ones_fail_the_calibration_test() -> None:
    d = draw(5000, 3, seed=2)
    good = diagnose(d)
    assert good.calibration_p > 0.01
    assert min(a.p for a in good.actions) > 0.01
    wrong = Decisions(d.unit, d.reward, d.action, np.minimum(d.propensity * 1.2, 1.0), d.target)
    assert diagnose(wrong).calibration_p < 1e-6
    # Wrong for one action only, and hardly visible in the mean of all weights.
    one = Decisions(
        d.unit,
        d.reward,
        d.action,
        np.where(d.action == 2, np.minimum(d.propensity * 1.5, 1), d.propensity),
        d.target,
    )
    assert [a.p < 1e-4 for a in diagnose(one).actions] == [False, False, True]


def test_calibration_test_keeps_its_level() -> None:
    """Of 300 true logs, 15 are expected below .05; 29 or more, or none, would be chance in about 1 of 1,000."""
    below = sum(diagnose(draw(300, 3, seed=100 + i)).calibration_p < 0.05 for i in range(300))
    assert 1 <= below < 29


def test_pieces_equal_the_whole() -> None:
    d = draw(900, 3, seed=7, unit_rows=3)
    whole, a, b = Evaluation(["ips"]).update(d), Evaluation(["ips"]), Evaluation(["ips"])
    a.update(take(d, slice(0, 100))).update(take(d, slice(100, 450)))
    b.update(take(d, slice(450, 900)))
    found, expected = a.merge(b).result().diagnostics, whole.result().diagnostics
    assert found.units == expected.units == 300
    for name in ("effective", "mean_weight_error", "calibration_p", "top_share", "largest_weight"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-10)
    assert found.quantiles == pytest.approx(expected.quantiles)


def test_distinct_keys() -> None:
    keys = mixed(np.arange(10_000, dtype=np.uint64))
    few = DistinctKeys()
    few.add(keys)
    few.add(keys[:500])
    assert few.count() == 10_000
    many = DistinctKeys()
    for start in range(0, 500_000, 50_000):
        many.add(mixed(np.arange(start, start + 60_000, dtype=np.uint64)))
    assert many.count() == pytest.approx(510_000, rel=0.03)  # its error is .8 %
    assert DistinctKeys().merge(DistinctKeys()).count() == 0


def test_weight_quantiles_and_tail() -> None:
    weight = np.concatenate([np.zeros(500), np.ones(490), np.full(10, 100.0)])
    histogram = WeightHistogram()
    histogram.add(weight)
    assert histogram.quantile(0.4) == 0.0
    assert histogram.quantile(0.9) == 1.0
    assert histogram.quantile(0.999) == 100.0
    assert histogram.top_share(0.01) == pytest.approx(1000 / 1490)
    assert histogram.top_share(1.0) == pytest.approx(1.0)


def bandit(n: int, logging: list[float], target: list[float], rate: float = 0.3, seed: int = 0) -> Decisions:
    rng = np.random.default_rng(seed)
    action = rng.choice(len(logging), n, p=logging)
    return Decisions(
        np.arange(n, dtype=np.uint64),
        (rng.random(n) < rate).astype(float),
        action,
        np.array(logging)[action],
        np.tile(target, (n, 1)),
    )


def test_gate_passes_ample_overlap() -> None:
    judged = verdict(diagnose(bandit(2000, [0.5, 0.5], [0.2, 0.8])))
    assert judged.answerable
    assert judged.rows_needed is None
    assert judged.needed == ""


def test_gate_names_what_is_never_shown() -> None:
    judged = verdict(diagnose(bandit(2000, [0.5, 0.5, 0.0], [0.2, 0.5, 0.3])))
    assert not judged.answerable
    assert "30%" in judged.reason
    assert "position 3" in judged.needed  # counted from 1
    assert judged.rows_needed is None


def test_gate_says_how_many_rows_would_do() -> None:
    """Every hundredth row shows what the target shows: 2,000 rows count as 20, and 100 are asked for."""
    d = bandit(2000, [0.99, 0.01], [0.0, 1.0], rate=1.0, seed=3)
    matches = int((d.action == 1).sum())
    judged = verdict(diagnose(d))
    assert not judged.answerable
    assert judged.rows_needed is not None
    assert judged.rows_needed == math.ceil(2000 * 100 / matches)
    enough = verdict(diagnose(bandit(judged.rows_needed * 2, [0.99, 0.01], [0.0, 1.0], rate=1.0, seed=4)))
    assert enough.answerable


def test_gate_refuses_wrong_propensities() -> None:
    d = bandit(5000, [0.5, 0.5], [0.5, 0.5])
    wrong = Decisions(d.unit, d.reward, d.action, d.propensity * 0.8, d.target)
    judged = verdict(diagnose(wrong))
    assert not judged.answerable
    assert "1.250 instead of 1" in judged.reason


def test_gate_refuses_probabilities_that_are_wrong_in_a_way_that_cancels() -> None:
    """One action's too high, the other's too low: the mean weight is 1, and only the actions tell."""
    d = bandit(20_000, [0.5, 0.5], [0.5, 0.5])
    wrong = Decisions(d.unit, d.reward, d.action, np.where(d.action == 0, 5 / 11, 5 / 9), d.target)
    found = diagnose(wrong)
    assert found.mean_weight == pytest.approx(1, abs=0.01)
    judged = verdict(found)
    assert not judged.answerable
    assert "position" in judged.reason
    assert judged.reason_zh != judged.reason


def test_gate_refuses_when_nothing_matches_and_says_so_in_both_languages() -> None:
    d = bandit(500, [1.0, 0.0], [0.0, 1.0])
    judged = verdict(diagnose(d))
    assert not judged.answerable
    assert judged.reason_zh
    assert judged.needed_zh
    judged = verdict(diagnose(bandit(100, [0.9, 0.1], [0.1, 0.9], rate=0.0)), Gate(effective=1))
    assert not judged.answerable
    assert judged.rows_needed is None  # no reward was ever seen: no number of rows can be promised
