"""Prediction and allocation on real headline tests that nothing was learned from.

How well the content prior names the better variant, next to plain models, chance and the ceiling; and what the learned
allocation earns with it, next to the rules that newsrooms use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.allocation.policy import AllocationPolicy, OptimisticIndex
from multimodal_dql.allocation.training import ROUNDS, AllocationConfig
from multimodal_dql.bench.allocation import (
    TAUS,
    UCB_Z,
    UPDATES,
    Truth,
    allocation_table,
    by_fold,
    gap_share,
    observed_truth,
    replay,
    shrunk_truth,
    tuned,
)
from multimodal_dql.bench.arm_bound import four_arm_table
from multimodal_dql.bench.headline_parts import Case, Kept, Learning
from multimodal_dql.bench.headline_words import FOLDS, leak_demonstration
from multimodal_dql.bench.two_arms import two_arm_table
from multimodal_dql.datasets.ab_tests import ABTests, read_ab_tests
from multimodal_dql.encoders.registry import encoder_info
from multimodal_dql.policies.registry import make_policy
from multimodal_dql.prior import (
    BlockSettings,
    Contents,
    calibration,
    check_no_leak,
    fit_prior,
    headline_contents,
    pairs_of,
    ranking,
    targets,
    time_split,
)
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.engagement_noise import overdispersion
from multimodal_dql.simulation.scenarios.allocation_features import scattered_worth

__all__ = ["ENCODERS", "REFERENCE", "bench_headlines", "ceiling", "sampled"]

Float = NDArray[np.float64]

ENCODERS = ("use-multilingual", "minilm", "mpnet-layer7")
REFERENCE = {
    "random pairs, TF-IDF + logistic regression (leaks)": "0.70-0.78",
    "LOLA (Ye, Yoganarasimhan, Zheng 2025), pruned tests, top-1": "about 0.40 where chance is 0.33",
}
"""Published or usual figures of other protocols; not comparable row by row."""

SIMULATED = 8000
SEEDS, REPLAYS = 20, 60_000
"""Of the replays: how often each test is played, and how many games that may be, which keeps large files within the
hour; tests differ from each other more than the games of one test do."""
QUICK_TESTS, QUICK_SEEDS, QUICK_ROUNDS, QUICK_SIMULATED = 300, 2, 8, 1000
ABLATION_TAUS = (50, 200, 400, 1000)


def bench_headlines(
    path: Path,
    *,
    test: Path | None = None,
    run: Path | None = None,
    quick: bool = False,
    repeats: int = 5,
    seeds: int | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
    draws: int = 5,
    simulated: int = SIMULATED,
    taus: Sequence[int] = TAUS,
    settings: BlockSettings | None = None,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Prediction and allocation on tests that nothing was learned from.

    Without `test`, every figure is cross-validated inside `path`: predictions in five folds of components, the
    allocation in two halves. With `test`, everything is learned from `path` and measured there.

    Args:
        path: A/B tests to learn from (`read_ab_tests`).
        test: other tests, to measure on; `LeakError` if they share a test or a headline with `path`.
        run: folder that keeps what was learned, and gives it back when asked for the same again.
        quick: 300 sampled tests of each file, one repeat, few seeds, little learning, no table of four arms; `run`
            keeps that apart from the whole.
        repeats: of the five-fold cross-validation.
        seeds: of the replays; `SEEDS` if None, and fewer where tests are so many that it would take over `REPLAYS`.
        rounds: of learning the allocation.
        seed: of folds and bootstraps.
        draws: simulated copies of the tests behind the ceiling.
        simulated: tests behind the tables of the best rules.
        taus: impressions an arm of the replays.
        settings: blocks of the prior.
        cache: folder of the embeddings.
        progress: called with what comes next.
    """
    start = time.perf_counter()
    say = progress or (lambda _: None)
    tests = read_ab_tests(path, pool="text")
    everything = read_ab_tests(path, pool="text", srm_window="keep", one_arm="keep")
    if quick:
        everything = sampled(everything, QUICK_TESTS, seed)
        tests = tests.subset(np.isin(tests.test_ids, everything.test_ids))
        repeats, seeds, rounds = 1, min(seeds or SEEDS, QUICK_SEEDS), min(rounds, QUICK_ROUNDS)
        simulated = min(simulated, QUICK_SIMULATED)
    config = AllocationConfig().of_rounds(rounds)
    prints = [encoder_info(name).fingerprint for name in ENCODERS]
    kept = Kept.of(
        run,
        everything,
        seed=seed,
        encoders=prints,
        blocks=repr(settings or BlockSettings()),
        allocation=repr(config),
    )
    say("embeddings")
    contents = headline_contents(everything, ENCODERS, cache=cache)
    learn = Learning(tests, everything, contents, settings, config, repeats, seed, kept, say)
    if test is None:
        case = learn.crossfitted()
    else:
        other = read_ab_tests(test, pool="text")
        case = learn.for_tests(sampled(other, QUICK_TESTS, seed) if quick else other, cache)
    out = _prediction(case, seed, draws)
    if test is None:
        say("time split and leak")
        out |= {
            "time_split": _by_time(everything, contents, settings, seed),
            "leak": leak_demonstration(tests, pairs_of(tests), seed),
        }
    seeds = seeds or min(max(REPLAYS // case.tests.G, 2), SEEDS)
    shared = _allocation(case, range(seeds), taus, seed, simulated, quick, say)
    return {
        **out,
        **shared,
        "intervals": out["intervals"] | shared["intervals"],
        "protocol": {
            "split": "connected component of test id and headline"
            if test is None
            else f"learned from {path.name}",
            "folds": FOLDS,
            "repeats": repeats,
            "risk_window": "left out; the prior alone learns from it, and from tests of one arm",
            "arms": "identical text merged, none dropped",
            "intervals": "95 %, bootstrap over components",
            "allocation": f"{seeds} seeds, at most {UPDATES} updates a test, {rounds} rounds of learning",
            "quick": quick,
            "reused": kept.reused,
        },
        "reference": REFERENCE,
        "seconds": round(time.perf_counter() - start, 1),
    }


def sampled(tests: ABTests, count: int, seed: int) -> ABTests:
    """About `count` tests that may be judged, and those that go with them: whole components."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 47]))
    order = rng.permutation(np.unique(tests.component))
    sizes = np.bincount(tests.component, tests.judged, minlength=int(tests.component.max()) + 1)[order]
    used = order[: int(np.searchsorted(np.cumsum(sizes), count)) + 1]
    return tests.subset(np.isin(tests.component, used))


def _prediction(case: Case, seed: int, draws: int) -> dict[str, Any]:
    """How well each model names the better variant."""
    tests, pairs = case.tests, pairs_of(case.tests)
    figures = {name: ranking(mean, tests, pairs, seed=seed).as_dict() for name, mean in case.scores.items()}
    prior = figures.pop("prior")
    given = targets(tests, overdispersion(tests.replicates, seed=seed)[0])
    fits = calibration(given, case.mean, case.sd)
    return {
        **prior,
        "ceiling": ceiling(tests, seed=seed, draws=draws),
        "baselines": figures,
        "calibration": fits.as_dict(),
    }


def _allocation(
    case: Case,
    seeds: Sequence[int],
    taus: Sequence[int],
    seed: int,
    simulated: int,
    quick: bool,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Both truths, what the parts add, and the intervals; `simulated` tests for the tables of the best rules."""
    tests = case.tests
    truths = {
        "allocation": case.truth(observed_truth(tests)),
        "shrunk": case.truth(shrunk_truth(tests, len(seeds), seed)),
    }
    say("widths of the baselines")
    widths = {
        name: tuned(truths["allocation"], lambda z, n=name: lambda: make_policy(f"{n}:z={z}"), UCB_Z, taus)  # type: ignore[misc]
        for name in ("ucb", "lola")
    }
    out: dict[str, Any] = {"widths": widths, "intervals": {}}
    for name, truth in truths.items():
        out[name], out["intervals"][name] = allocation_table(
            truth,
            case.learned,
            seeds,
            taus=taus,
            settings=widths,
            progress=lambda who, name=name: say(f"{name} {who}"),  # type: ignore[misc]
        )
    say("parts")
    out["ablation"] = _ablation(case, seeds[: max(len(seeds) // 4, 1)], taus, widths)
    say("the best rules")
    learned = case.learned[0]
    rules = {"lola": make_policy(f"lola:z={widths['lola']}"), "index": _index(learned), "dqn": learned}
    weight = scattered_worth(float(np.median(case.sd)), learned.base_rate)
    world: dict[str, Any] = {"rate": learned.base_rate, "weight": weight, "taus": taus}
    out["two_arms"] = two_arm_table(rules, tests=simulated, **world)
    if not quick:
        out["four_arms"] = four_arm_table(rules, tests=simulated, **world)
    return out


def _index(learned: AllocationPolicy) -> AllocationPolicy:
    """The formula among the features of a learned policy, as a rule."""
    return replace(learned, network=OptimisticIndex())


def _ablation(
    case: Case, seeds: Sequence[int], taus: Sequence[int], widths: Mapping[str, float]
) -> dict[str, Any]:
    """Shares of the gap on observed rates without the content prior, the learned allocation, an encoder."""
    truth = case.truth(observed_truth(case.tests))
    some = [tau for tau in ABLATION_TAUS if tau in taus]
    index = {part: _index(policy) for part, policy in case.learned.items()}

    def lola(truth: Truth) -> Float:
        return replay(lambda: make_policy(f"lola:z={widths['lola']}"), truth, some, seeds)

    rates = {
        "everything": by_fold(truth, case.learned, some, seeds),
        "no_content_prior": by_fold(truth, case.learned, some, seeds, prior=False),
        "no_learned_allocation": lola(truth),
        "index_instead": by_fold(truth, index, some, seeds),
        "neither": replay(lambda: make_policy("eb-ucb"), truth, some, seeds, prior=False),
    }
    for name, (mean, sd) in case.single.items():
        part = case.truth(observed_truth(case.tests), mean, sd)
        rates[name] = by_fold(part, case.learned, some, seeds)
        # As published: the index with a linear model of one text encoder instead of our prior.
        rates[f"lola_{name}"] = lola(part)
    return {
        str(tau): {name: gap_share(truth, rate[i], seeds) for name, rate in rates.items()}
        for i, tau in enumerate(some)
    }


def ceiling(tests: ABTests, *, seed: int = 0, draws: int = 5) -> dict[str, float]:
    """What an oracle that knows the true rates would score against winners that are partly luck.

    Tests with the arms and impressions of the real ones are drawn from the engagement model fitted to them, and their
    true rates are held against their clicks.
    """
    model = EngagementModel.fit(tests, seed=seed)
    rows = []
    for draw in range(draws):
        simulated = model.sample(0, seed + draw, like=tests)
        found = ranking(simulated.true_rates, simulated, pairs_of(simulated), resamples=20)
        rows.append((found.pairs_all.value, found.pairs_significant.value, found.top1.value))
    mean = np.mean(rows, axis=0)
    return dict(zip(("pairs_all", "pairs_significant", "top1"), map(float, mean), strict=True))


def _by_time(
    tests: ABTests, contents: Contents, settings: BlockSettings | None, seed: int
) -> dict[str, object]:
    """Learn from the first three quarters of the time, predict the rest."""
    before, after = time_split(tests)
    past, future = tests.subset(before), tests.subset(after & tests.judged)
    check_no_leak(past, future)
    part = contents.take(before[tests.test])
    old = replace(part, story=past.test)
    new = contents.take((after & tests.judged)[tests.test])
    found = fit_prior(past, old, settings, seed=seed).predict(new)
    return {
        "train_tests": past.G,
        "linked_tests_left_out": int((~before & ~after).sum()),
        **ranking(found.mean, future, pairs_of(future), seed=seed).as_dict(),
    }
