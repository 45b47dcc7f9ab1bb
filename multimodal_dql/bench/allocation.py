"""Traffic allocation replayed on real headline tests: the learned policy next to the baselines of the LOLA paper.

A test has K arms and a horizon of tau K impressions; the arms' true click rates are given, and a policy sends each
part of the traffic to an arm and sees coin flips. Twice: with the rates observed in the finished test taken for true,
and with ``shrunk`` ones, a draw from each arm's posterior, because the best arm observed is partly luck. A policy is
measured in expected clicks; its share of the gap is how far it comes from an even split (0) to always the best arm (1).

Shape letters: ``G`` tests, ``K`` arms of the largest, ``S`` seeds, ``B`` rows (a test and a seed).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import ABTests
from multimodal_dql.policies.bandits import PRIOR_CLICKS, PRIOR_MISSES
from multimodal_dql.policies.base import Policy, available_counts, choose
from multimodal_dql.policies.registry import make_policy
from multimodal_dql.simulation.compiled import compiled, uniforms
from multimodal_dql.simulation.scenarios.draws import click_count
from multimodal_dql.state import Counts, State

__all__ = [
    "TAUS",
    "UCB_Z",
    "UPDATES",
    "ThompsonDraws",
    "Truth",
    "allocation_table",
    "by_fold",
    "gap_share",
    "observed_truth",
    "replay",
    "shrunk_truth",
    "tuned",
]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

TAUS = (50, 100, 200, 400, 600, 800, 1000)
"""Impressions an arm [Ye, Yoganarasimhan & Zheng 2025]."""
UPDATES = 200
"""Times that a policy may look at the counts of a test."""
WITHIN_SD = 0.25
"""Spread of the arms of a test behind the shrunk truth, in logits."""
GRID = np.linspace(-6.0, 6.0, 301)
"""Effects, in standard deviations, over which the posterior of the shrunk truth is drawn."""
UCB_Z = (0.02, 0.03, 0.04, 0.06, 0.08)
RESAMPLES = 1000
SETTLED = 2
"""Seeds of the tuning."""


@dataclass(frozen=True)
class Truth:
    """The tests of a replay.

    Attributes:
        rates: (S or 1, G, K) true click rates, NaN where there is no arm.
        prior_mean: (G, K) predicted logit effects.
        prior_sd: (G, K).
        base_rate: (G,) click rate of the average test, which is where a predicted rate starts.
        component: (G,) tests that share a headline.
        fold: (G,) which of several learned policies has not seen the test.
    """

    rates: Float
    prior_mean: Float
    prior_sd: Float
    base_rate: Float
    component: Int
    fold: Int

    @property
    def arms(self) -> Int:
        """(G,)."""
        return np.asarray((~np.isnan(self.rates[0])).sum(axis=1))

    def take(self, rows: NDArray[np.bool_]) -> Truth:
        """The tests where `rows` (G,) is true."""
        return Truth(
            self.rates[:, rows],
            self.prior_mean[rows],
            self.prior_sd[rows],
            self.base_rate[rows],
            self.component[rows],
            self.fold[rows],
        )

    def of_seed(self, seed: int) -> Float:
        """Rates (G, K) of a seed."""
        return np.asarray(self.rates[seed % len(self.rates)])


def observed_truth(tests: ABTests) -> Float:
    """Observed rates, (1, G, K)."""
    n, s, available = tests.padded()
    return np.where(available, s / np.maximum(n, 1), np.nan)[None]


def shrunk_truth(
    tests: ABTests, draws: int, seed: int, *, sd: float = WITHIN_SD, noise: float = 1.0
) -> Float:
    """Draws (draws, G, K) of each arm's rate given its counts: binomial, effect ``N(0, sd^2)`` around the pooled logit
    of its test. Counts that are overdispersed by `noise` weigh so much less.
    """
    n, s, available = tests.padded()
    pooled = np.clip(s.sum(axis=1) / n.sum(axis=1), 1e-6, 1.0 - 1e-6)
    logit = np.log(pooled / (1.0 - pooled))[:, None, None] + sd * GRID
    log_p = s[:, :, None] * -np.logaddexp(0.0, -logit) - (n - s)[:, :, None] * np.logaddexp(0.0, logit)
    log_p = log_p / noise - 0.5 * GRID**2
    log_p -= log_p.max(axis=2, keepdims=True)
    below = np.cumsum(np.exp(log_p), axis=2)
    rng = np.random.Generator(np.random.Philox(key=[seed, 43]))
    out = np.empty((draws, *n.shape))
    for d in range(draws):
        at = (below < rng.random((*n.shape, 1)) * below[:, :, -1:]).sum(axis=2)
        drawn = np.take_along_axis(np.broadcast_to(logit, below.shape), at[:, :, None], axis=2)[:, :, 0]
        out[d] = np.where(available, 1.0 / (1.0 + np.exp(-drawn)), np.nan)
    return out


class ThompsonDraws(Policy):
    """`policies.thompson.Thompson` without its floor, by one draw a decision: the same law, without the propensities,
    which take a hundred times as long and which nothing here reads.
    """

    name = "thompson-draws"
    reads_context = False

    def __init__(self, seed: int = 0, clicks: float = PRIOR_CLICKS, misses: float = PRIOR_MISSES) -> None:
        self.clicks, self.misses = clicks, misses
        self.rng = np.random.Generator(np.random.Philox(key=[seed, 44]))

    def probabilities(self, state: State) -> Float:
        """1 for the arm drawn highest."""
        n, s, _ = available_counts(state)
        drawn = np.where(state.available, self.rng.beta(s + self.clicks, n - s + self.misses), -1.0)
        return np.asarray(np.eye(drawn.shape[1])[drawn.argmax(axis=1)])


@compiled
def _clicks(
    key: int, row: Int, step: int, arm: Int, n: Int, rates: Float, clicks: Int, impressions: Int
) -> None:
    """Coin flips of one stage of every row; the same number for every policy (common random numbers)."""
    for i in range(len(row)):
        if n[i] > 0:
            u = uniforms(key, row[i], 0, step)[0]
            clicks[i, arm[i]] += click_count(u, n[i], rates[i, arm[i]], 1.0)
            impressions[i, arm[i]] += n[i]


def replay(
    make: Callable[[], Policy],
    truth: Truth,
    taus: Sequence[float],
    seeds: Sequence[int],
    *,
    updates: int = UPDATES,
    prior: bool = True,
) -> Float:
    """Expected click rate of a policy in each test, mean over seeds, (T, G).

    Args:
        make: a new policy.
        truth: the tests.
        taus: T, impressions an arm.
        seeds: of the coin flips and of choices among equals.
        updates: stages of equal traffic.
        prior: whether the policy is told the content prior.
    """
    from threadpoolctl import threadpool_limits

    out = np.zeros((len(taus), len(truth.arms)))

    def play(k: int) -> None:
        tests = np.flatnonzero(truth.arms == k)
        out[:, tests] = _replay(make(), truth, tests, k, taus, seeds, updates, prior)

    sizes, counts = np.unique(truth.arms, return_counts=True)
    longest_first = sizes[np.argsort(-sizes * counts, kind="stable")]
    # Tests of each size are played apart from the others, so the same whatever the number of threads.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(play, longest_first.tolist()))
    return out


def _replay(
    policy: Policy,
    truth: Truth,
    tests: Int,
    k: int,
    taus: Sequence[float],
    seeds: Sequence[int],
    updates: int,
    prior: bool,
) -> Float:
    """`replay` of the tests with `k` arms, (T, tests): all horizons and seeds side by side, in that order."""
    rates = np.concatenate([_packed(truth.of_seed(seed)[tests], truth, tests, k) for seed in seeds])
    rates = np.tile(rates, (len(taus), 1))
    times = len(taus) * len(seeds)
    mean, sd = (
        np.tile(_packed(array[tests], truth, tests, k), (times, 1))
        for array in (truth.prior_mean, truth.prior_sd)
    )
    base = np.tile(np.log(truth.base_rate[tests] / (1.0 - truth.base_rate[tests])), times)[:, None]
    told = 1.0 / (1.0 + np.exp(-(base + mean))) if prior else None
    horizon = np.repeat([max(int(tau * k), 1) for tau in taus], len(seeds) * len(tests))
    row = np.tile(np.concatenate([seed * 1_000_003 + tests for seed in seeds]).astype(np.int64), len(taus))
    b = len(rates)
    item = np.arange(b)
    impressions, clicks = np.zeros((b, k), np.int64), np.zeros((b, k), np.int64)
    nothing, available = np.zeros((b, k, 0), np.float32), np.ones((b, k), np.bool_)
    record, context = np.zeros((b, k, 1), np.float32), np.zeros((b, 0), np.float32)
    earned = np.zeros(b)
    rng = np.random.Generator(np.random.Philox(key=[seeds[0], 45 + k]))
    for step in range(updates):
        start, stop = step * horizon // updates, (step + 1) * horizon // updates
        if (stop == start).all():
            continue
        counts = Counts(
            impressions.copy(),
            clicks.copy(),
            start.astype(np.float64),
            horizon.astype(np.float64),
            told,
            sd if prior else None,
        )
        state = State(nothing, nothing, record, context, available, item, counts)
        arm, _ = choose(policy, state, rng.random(b))
        policy.update(state, arm, np.zeros(b))
        earned += (stop - start) * rates[item, arm]
        _clicks(0, row, step, arm, stop - start, rates, clicks, impressions)
    return np.asarray((earned / horizon).reshape(len(taus), len(seeds), -1).mean(axis=1))


def _packed(array: Float, truth: Truth, tests: Int, k: int) -> Float:
    """The `k` arms of tests that all have so many, (tests, K) to (tests, k)."""
    return np.asarray(array[~np.isnan(truth.rates[0][tests])].reshape(len(tests), k))


def tuned(
    truth: Truth,
    make: Callable[[float], Callable[[], Policy]],
    grid: Sequence[float],
    taus: Sequence[int] = TAUS,
) -> float:
    """The value of `grid` that earns most over all horizons."""
    seeds = range(SETTLED)
    earned = [
        sum(gap_share(truth, found, seeds) for found in replay(make(z), truth, taus, seeds)) for z in grid
    ]
    return float(grid[int(np.argmax(earned))])


def gap_share(truth: Truth, found: Float, seeds: Sequence[int]) -> float:
    """How far click rates (G,) come from an even split (0) to always the best arm (1), weighted by traffic."""
    uniform, oracle = _ends(truth, seeds)
    k = truth.arms
    return float((k * (found - uniform)).sum() / (k * (oracle - uniform)).sum())


def _ends(truth: Truth, seeds: Sequence[int]) -> tuple[Float, Float]:
    """Click rate of an even split, and of always the best arm, (G,) each."""
    rates = [truth.of_seed(seed) for seed in seeds]
    return np.mean([np.nanmean(r, axis=1) for r in rates], axis=0), np.mean(
        [np.nanmax(r, axis=1) for r in rates], axis=0
    )


def _by_prior(truth: Truth, seeds: Sequence[int]) -> Float:
    """Click rate of always the arm that the prior puts first, (G,); it needs no replay."""
    mean = np.where(np.isnan(truth.rates[0]), -np.inf, truth.prior_mean)
    first = mean == mean.max(axis=1, keepdims=True)
    rates = [np.where(first, truth.of_seed(seed), 0.0).sum(axis=1) / first.sum(axis=1) for seed in seeds]
    return np.asarray(np.mean(rates, axis=0))


def allocation_table(
    truth: Truth,
    learned: Mapping[int, Policy],
    seeds: Sequence[int],
    *,
    taus: Sequence[int] = TAUS,
    settings: Mapping[str, float] | None = None,
    baselines: Mapping[str, Callable[[], Policy]] | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every policy at every horizon, and intervals of the same shape.

    Args:
        truth: the tests.
        learned: policy by fold; a test is decided by that of its own fold, which has not seen it.
        seeds: of the replay.
        taus: impressions an arm.
        settings: tuned ``ucb`` and ``lola`` widths.
        baselines: other rules than those of the LOLA paper.
        progress: called with the name of the policy.

    Returns:
        by tau clicks a thousand impressions of each policy, with ``uniform`` and ``oracle``, the shares
        ``oracle_gap_share``, and ``lead``, the share of the learned policy less that of the best baseline; the same
        with [low, high] from a bootstrap over components (95 %).
    """
    z = {"ucb": 0.04, "lola": 0.08} | dict(settings or {})
    rules: Mapping[str, Callable[[], Policy]] = baselines or {
        "ucb": lambda: make_policy(f"ucb:z={z['ucb']}"),
        "ts": ThompsonDraws,
        "ec": lambda: make_policy("explore-commit"),
        "lola": lambda: make_policy(f"lola:z={z['lola']}"),
        "eb_ucb": lambda: make_policy("eb-ucb"),
    }
    uniform, oracle = _ends(truth, seeds)
    table: dict[str, Any] = {}
    intervals: dict[str, Any] = {}
    say = progress or (lambda _: None)
    found = {"prior": np.tile(_by_prior(truth, seeds), (len(taus), 1))}
    for name, make in rules.items():
        say(name)
        found[name] = replay(make, truth, taus, seeds)
    rivals = tuple(found)
    say("dqn")
    found["dqn"] = by_fold(truth, learned, taus, seeds)
    for i, tau in enumerate(taus):
        row = {name: rates[i] for name, rates in found.items()}
        table[str(tau)], intervals[str(tau)] = _row(truth, row, rivals, uniform, oracle)
    return table, intervals


def by_fold(
    truth: Truth,
    learned: Mapping[int, Policy],
    taus: Sequence[float],
    seeds: Sequence[int],
    *,
    prior: bool = True,
) -> Float:
    """Click rate of the learned policies in each test, (T, G), each test decided by that of its fold."""
    out = np.zeros((len(taus), len(truth.arms)))
    for fold, policy in learned.items():
        rows = truth.fold == fold
        part = truth.take(rows)
        out[:, rows] = replay(lambda p=policy: p, part, taus, seeds, prior=prior)  # type: ignore[misc]
    return out


def _row(
    truth: Truth, found: dict[str, Float], rivals: Sequence[str], uniform: Float, oracle: Float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One horizon: values, and bootstrap intervals over components."""
    k = truth.arms.astype(np.float64)
    _, component = np.unique(truth.component, return_inverse=True)
    count = int(component.max()) + 1

    def summed(values: Float) -> Float:
        return np.asarray(np.bincount(component, k * values, minlength=count))

    rng = np.random.Generator(np.random.Philox(key=[0, 46]))
    draws = rng.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES).astype(np.float64)
    traffic, gap = summed(np.ones(len(k))), summed(oracle - uniform)
    everything = {**found, "uniform": uniform, "oracle": oracle}
    clicks = {name: summed(rate) for name, rate in everything.items()}
    gains = {name: summed(rate - uniform) for name, rate in found.items()}
    best = max(rivals, key=lambda name: gains[name].sum())
    gains["lead"] = gains["dqn"] - gains[best]
    row: dict[str, Any] = {
        name: 1000.0 * float(value.sum() / traffic.sum()) for name, value in clicks.items()
    }
    ends: dict[str, Any] = {name: _ends_of(1000.0 * value, traffic, draws) for name, value in clicks.items()}
    shares = {name: float(value.sum() / gap.sum()) for name, value in gains.items()}
    share_ends = {name: _ends_of(value, gap, draws) for name, value in gains.items()}
    row |= {"lead": shares.pop("lead"), "best_baseline": best, "oracle_gap_share": shares}
    ends |= {"lead": share_ends.pop("lead"), "oracle_gap_share": share_ends}
    return row, ends


def _ends_of(value: Float, of: Float, draws: Float) -> list[float]:
    low, high = np.quantile((draws @ value) / (draws @ of), [0.025, 0.975])
    return [float(low), float(high)]
