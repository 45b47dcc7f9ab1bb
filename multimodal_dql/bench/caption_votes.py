"""Votes of caption contests allocated: groups of captions compete for readers' votes, replayed on shrunk true scores.

A vote is a coin flip at the caption's mean score between 0 and 1; a real one scatters by a third less. The truth is a
draw from each caption's posterior, because the best one observed is partly luck.

Shape letters: ``G`` contests, ``J`` groups, ``K`` captions of the largest group, ``S`` seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.allocation.policy import AllocationPolicy
from multimodal_dql.allocation.training import AllocationConfig, train_allocation
from multimodal_dql.bench.allocation import (
    ThompsonDraws,
    Truth,
    allocation_table,
    shrunk_truth,
    tuned,
)
from multimodal_dql.datasets.ab_tests import ABTests, component_folds
from multimodal_dql.policies.base import Policy
from multimodal_dql.policies.registry import make_policy
from multimodal_dql.simulation.dynamics import logistic
from multimodal_dql.simulation.engagement import EngagementModel

__all__ = ["GROUP_SIZES", "VOTES_A_CAPTION", "allocation_of_votes", "groups"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

VOTES_A_CAPTION = (5, 10, 20, 50, 100)
GROUP_SIZES = (5, 10, 20)
GROUPS = 2
"""Of each size in a contest."""
UCB_Z = (0.05, 0.1, 0.2, 0.3, 0.5)
LOLA_AUX = (10, 30, 100)
"""Votes that a prediction is worth to LOLA's index; the paper's 1,000 are for click rates of 1 %."""
EB_C = (0.5, 1.0, 2.0)
HALVES = 2
STAGES = 25
ENVIRONMENTS = 1024


def groups(tests: ABTests, sizes: Sequence[int], each: int, seed: int) -> list[Int]:
    """Arms of groups of `sizes`, `each` of every size from every test that has enough, drawn without replacement."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 64]))
    out = []
    for arms in tests.test_slices:
        for k in sizes:
            order = arms.start + rng.permutation(arms.stop - arms.start)
            out += [np.sort(order[i * k : (i + 1) * k]) for i in range(each) if (i + 1) * k <= len(order)]
    return out


def allocation_of_votes(
    tests: ABTests,
    noise: float,
    mean: Float,
    sd: Float,
    seeds: Sequence[int],
    taus: Sequence[int],
    rounds: int,
    seed: int,
    *,
    quick: bool = False,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Every policy at every budget of `taus` votes a caption, with intervals over contests.

    Args:
        tests: contests.
        noise: overdispersion of points.
        mean: (A,) expected logit effects, learned without the contest.
        sd: (A,) standard deviations of them.
        seeds: of the replays; each has its own draw of the true scores.
        taus: votes a caption.
        rounds: of learning the allocation from contests simulated from the half without the contest.
        seed: of halves and groups.
        quick: one group of each size.
        say: called with what comes next.
    """
    half = component_folds(tests, HALVES, seed + 1000)
    learned: dict[int, Policy] = {}
    base, spread = np.zeros(tests.G), np.zeros(tests.G)
    for h in range(HALVES):
        model = EngagementModel.fit(tests.subset(half != h), seed=seed, noise=noise)
        base[half == h], spread[half == h] = logistic(model.base_logit_mean), model.within_logit_sd
        say(f"learning to allocate, half {h + 1}")
        learned[h] = _learned(model, float(np.std(mean[half[tests.test] != h])), taus, rounds, seed)
    truth = _truth(
        tests,
        groups(tests, GROUP_SIZES, 1 if quick else GROUPS, seed),
        noise,
        mean,
        sd,
        base,
        half,
        seeds,
        seed,
    )
    say("widths of the baselines")
    baselines, widths = _baselines(truth, float(np.mean(spread)), taus)
    table, intervals = allocation_table(
        truth,
        learned,
        seeds,
        taus=taus,
        baselines=baselines,
        progress=say,
    )
    return {
        "allocation": table,
        "intervals": {"allocation": intervals},
        "widths": widths,
        "groups": {str(k): int((truth.arms == k).sum()) for k in np.unique(truth.arms)},
    }


def _learned(
    model: EngagementModel, predicted: float, taus: Sequence[int], rounds: int, seed: int
) -> AllocationPolicy:
    """An allocation learned from simulated groups of captions."""
    shares = np.zeros(max(GROUP_SIZES) - 1)
    shares[np.array(GROUP_SIZES) - 2] = 1.0 / len(GROUP_SIZES)
    within = model.within_logit_sd
    config = AllocationConfig(
        within_sd=(0.8 * within, 1.2 * within),
        predicted_sd=(0.6 * predicted, 1.4 * predicted),
        impressions_per_arm=(0.9 * min(taus), 1.1 * max(taus)),
        environments=ENVIRONMENTS,
        most_arms=max(GROUP_SIZES),
        stages=STAGES,
    ).of_rounds(rounds)
    return train_allocation(replace(model, arm_shares=tuple(map(float, shares))), config, seed=seed)


def _truth(
    tests: ABTests,
    chosen: list[Int],
    noise: float,
    mean: Float,
    sd: Float,
    base: Float,
    half: Int,
    seeds: Sequence[int],
    seed: int,
) -> Truth:
    """The groups with scores drawn for each seed, from the posterior under the spread of all contests."""
    whole = EngagementModel.fit(tests, seed=seed, noise=noise).within_logit_sd
    drawn = shrunk_truth(tests, len(seeds), seed, sd=whole, noise=noise)
    place = np.arange(tests.A) - tests.starts[tests.test]
    flat = drawn[:, tests.test, place]
    k = max(map(len, chosen))
    rates = np.full((len(drawn), len(chosen), k), np.nan)
    prior_mean, prior_sd = np.zeros((len(chosen), k)), np.ones((len(chosen), k))
    for j, arms in enumerate(chosen):
        rates[:, j, : len(arms)] = flat[:, arms]
        prior_mean[j, : len(arms)] = mean[arms] - mean[arms].mean()
        prior_sd[j, : len(arms)] = sd[arms]
    contest = tests.test[[arms[0] for arms in chosen]]
    return Truth(rates, prior_mean, prior_sd, base[contest], tests.component[contest], half[contest])


def _baselines(
    truth: Truth, spread: float, taus: Sequence[int]
) -> tuple[dict[str, Callable[[], Policy]], dict[str, str]]:
    """Rules with the base rate and spread of contests, their widths tuned on these groups: that favours them."""
    rate = float(truth.base_rate.mean())
    worth = 1.0 / (spread**2 * rate * (1.0 - rate))
    names = {
        "ucb": [f"ucb:z={z}" for z in UCB_Z],
        "lola": [f"lola:z={z},n_aux={n}" for z in UCB_Z for n in LOLA_AUX],
        "eb_ucb": [f"eb-ucb:c={c},prior_n={worth:.1f}" for c in EB_C],
    }
    best = {}
    for name, options in names.items():

        def make(i: float, options: list[str] = options) -> Callable[[], Policy]:
            return lambda: make_policy(options[int(i)])

        best[name] = options[int(tuned(truth, make, range(len(options)), taus))]
    rules: dict[str, Callable[[], Policy]] = {
        name: partial(make_policy, option) for name, option in best.items()
    }
    rules["ts"] = lambda: ThompsonDraws(0, rate * worth, (1.0 - rate) * worth)
    return rules, best
