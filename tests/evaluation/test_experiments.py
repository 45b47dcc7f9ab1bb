"""Whole experiments on synthetic click counts: do the rules keep the promises a statistician would hold them to?"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from multimodal_dql.evaluation.anytime import always_valid_p, anytime_relative, best_rho, log_ratio
from multimodal_dql.evaluation.designs import Metric
from multimodal_dql.evaluation.endings import ending
from multimodal_dql.evaluation.means import Effect, mean_estimate, relative_difference
from multimodal_dql.evaluation.moments import Summary
from multimodal_dql.evaluation.power import power
from multimodal_dql.evaluation.proportions import sample_ratio_p
from multimodal_dql.evaluation.sequential import group_sequential

Array = NDArray[np.float64]
RATE, OVERDISPERSION, SESSIONS = (
    0.4,
    1.78,
    1000,
)  # clicks a session, their variance over mean, sessions an arm


@cache
def quantiles(rate: float) -> NDArray[np.int16]:
    """The quantiles of a gamma-Poisson count with this mean at 65,536 even steps: a cheap way to draw millions."""
    steps = (np.arange(65_536) + 0.5) / 65_536
    counts = stats.nbinom.ppf(steps, rate / (OVERDISPERSION - 1), 1 / OVERDISPERSION)
    return np.asarray(counts, np.int16)


def clicks(rng: np.random.Generator, runs: int, rate: float, sessions: int = SESSIONS) -> NDArray[np.int16]:
    """Clicks of each session, (runs, sessions): negative binomial, variance `OVERDISPERSION` times the mean."""
    return quantiles(rate)[rng.integers(0, 65_536, (runs, sessions), dtype=np.uint16)]


def effects(control: NDArray[np.int16], treatment: NDArray[np.int16]) -> list[Effect]:
    """The relative difference of each run (Welch, delta method)."""
    arms = [(arm.mean(1), arm.std(1, ddof=1), arm.shape[1]) for arm in (control, treatment)]
    return [
        relative_difference(
            mean_estimate(Summary.of(arms[0][2], float(c), float(sc))),
            mean_estimate(Summary.of(arms[1][2], float(t), float(st))),
        )
        for c, sc, t, st in zip(arms[0][0], arms[0][1], arms[1][0], arms[1][1], strict=True)
    ]


def test_the_synthetic_counts_are_as_stated() -> None:
    x = clicks(np.random.Generator(np.random.Philox(40)), 200, RATE)
    assert x.mean() == pytest.approx(RATE, rel=0.01)
    assert x.var() / x.mean() == pytest.approx(OVERDISPERSION, rel=0.02)


@pytest.mark.slow
def test_false_winners_of_10_000_a_a_experiments() -> None:
    """At most 5.5 %: 5 % and two and a third standard errors (.0022); a rule that keeps 5 % fails 1 seed in 100."""
    rng = np.random.Generator(np.random.Philox(41))
    won = [
        ending(effect.low, effect.high, 0.0).name == "winner"
        for _ in range(10)
        for effect in effects(clicks(rng, 1000, RATE), clicks(rng, 1000, RATE))
    ]
    assert len(won) == 10_000
    assert 0.04 < np.mean(won) <= 0.055


def gap(control: NDArray[np.int16], treatment: NDArray[np.int16]) -> Array:
    """Welch's statistic of each run."""
    (c, c2), (t, t2) = (
        (x.mean(1), np.einsum("rs,rs->r", x, x, dtype=np.float64) / x.shape[1]) for x in (control, treatment)
    )
    return np.asarray((t - c) / np.sqrt((c2 - c**2 + t2 - t**2) / control.shape[1]), np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("looks", [1, 4])
def test_planned_power_is_the_power_found(looks: int) -> None:
    """Within 2 points of 80 %; the standard error of 4,000 runs is .6 points: false alarm below 1 in 1,000."""
    runs, effect = 4000, 0.12
    plan = power(Metric.of(RATE, overdispersion=OVERDISPERSION), effect, looks=looks)
    n = plan.sessions_per_arm
    ends = [round(n * (k + 1) / looks) for k in range(looks)]
    rng = np.random.Generator(np.random.Philox(42))
    found = 0
    for _ in range(runs // 250):
        c, t = clicks(rng, 250, RATE, n), clicks(rng, 250, RATE * (1 + effect), n)
        z = np.stack([gap(c[:, :m], t[:, :m]) for m in ends], 1)
        found += int((z >= plan.z_bounds).any(1).sum())
    assert found / runs == pytest.approx(0.8, abs=0.02)


@pytest.mark.slow
def test_intervals_cover_in_2_000_a_b_experiments() -> None:
    """At least 93 %: four standard errors (.0049) below 95 %, false alarm below 1 in 10,000."""
    rng = np.random.Generator(np.random.Philox(43))
    truth = 0.15
    found = effects(clicks(rng, 2000, RATE), clicks(rng, 2000, RATE * (1 + truth)))
    covered = np.mean([effect.low <= truth <= effect.high for effect in found])
    assert 0.93 <= covered <= 0.97


def test_a_planted_sample_ratio_bug_is_caught() -> None:
    """A bug that drops 5 % of the treatment's clickless sessions makes a false winner; the gate names none."""
    rng = np.random.Generator(np.random.Philox(44))
    sessions = 40_000
    c, t = clicks(rng, 1, RATE, sessions)[0], clicks(rng, 1, RATE, sessions)[0]
    t = t[(t > 0) | (rng.random(sessions) > 0.05)]
    effect = relative_difference(
        mean_estimate(Summary.of(len(c), float(c.mean()), float(c.std(ddof=1)))),
        mean_estimate(Summary.of(len(t), float(t.mean()), float(t.std(ddof=1)))),
    )
    p = sample_ratio_p([len(c), len(t)], [0.5, 0.5])
    assert ending(effect.low, effect.high, 0.0).name == "winner"
    assert ending(effect.low, effect.high, 0.0, p).name == "invalid: sample ratio"


def test_sound_splits_pass_the_sample_ratio_check() -> None:
    """Of 5,000 fair splits at most 12 fail at .001: 5 expected, more than 13 with a chance below 1 in 1,000."""
    rng = np.random.Generator(np.random.Philox(45))
    treated = rng.binomial(20_000, 0.5, 5000)
    failed = sum(sample_ratio_p([20_000 - int(n), int(n)], [1, 1]) < 0.001 for n in treated)
    assert 0 < failed <= 13


def looked_at(rng: np.random.Generator, rate: float, looks: int, batch: int) -> tuple[Array, Array]:
    """Means of 500 arms and their standard errors at each look, (500, looks)."""
    x = clicks(rng, 500, rate, looks * batch).reshape(500, looks, batch)
    s, n = x.sum(2).cumsum(1), np.arange(1, looks + 1) * batch
    s2 = np.einsum("rlb,rlb->rl", x, x, dtype=np.int64, casting="safe").cumsum(1)
    return s / n, np.sqrt((s2 - s * s / n) / (n - 1) / n)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "batch"), [(0.4, 40), (0.05, 100)], ids=["16 clicks", "5 clicks"])
def test_peeking_at_10_000_a_a_experiments(rate: float, batch: int) -> None:
    """50 looks each, the first at a few clicks: anytime, at most 5 % false winners; plain intervals, over 20 %.

    The share found is near .015; were it .05, its standard error would be .0022.
    """
    rng, looks = np.random.Generator(np.random.Philox(46)), 50
    rho = best_rho(looks * batch / (2 * OVERDISPERSION / rate))  # information planned about the logarithm
    plain, anytime = [], []
    for _ in range(20):
        arms = (*looked_at(rng, rate, looks, batch), *looked_at(rng, rate, looks, batch))
        estimate, error = log_ratio(*arms)
        low, high = anytime_relative(*arms, rho)
        anytime.append(((low > 0) | (high < 0)).any(1))
        assert (anytime[-1] == (always_valid_p(estimate, error, rho)[:, -1] <= 0.05)).all()
        plain.append((np.abs(estimate / error) > 1.96).any(1))
    assert np.concatenate(anytime).shape == (10_000,)
    assert 0.005 < np.mean(anytime) <= 0.05
    assert np.mean(plain) > 0.2


@pytest.mark.slow
def test_confidence_sequences_cover_a_true_effect_at_all_looks() -> None:
    """2,000 A/B experiments, 50 looks: the truth is left out, ever, in at most 5 %."""
    rng, looks, batch, truth = np.random.Generator(np.random.Philox(48)), 50, 40, 0.2
    rho = best_rho(looks * batch / (2 * OVERDISPERSION / RATE))
    missed = []
    for _ in range(4):
        low, high = anytime_relative(
            *looked_at(rng, RATE, looks, batch), *looked_at(rng, RATE * (1 + truth), looks, batch), rho
        )
        missed.append(((low > truth) | (high < truth)).any(1))
    assert np.mean(missed) <= 0.05


@pytest.mark.slow
def test_planned_looks_at_10_000_a_a_experiments() -> None:
    """Five planned looks, either spending: 5 % false winners within two and a third standard errors (.0022)."""
    rng = np.random.Generator(np.random.Philox(47))
    gaps = rng.normal(size=(10_000, 5)).cumsum(1) / np.sqrt(np.arange(1, 6))
    for spending in ("obrien-fleming", "pocock"):
        bounds = group_sequential(5, spending=spending).z_bounds
        assert (np.abs(gaps) >= bounds).any(1).mean() == pytest.approx(
            0.05, abs=2.33 * math.sqrt(0.05 * 0.95 / 1e4)
        )
