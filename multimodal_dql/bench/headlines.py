"""How well the content prior predicts headline tests it never saw, next to plain models, chance and the ceiling."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import ABTests, component_folds, read_ab_tests
from multimodal_dql.prior import (
    BlockSettings,
    Contents,
    Pairs,
    calibration,
    check_no_leak,
    cross_validate,
    fit_prior,
    headline_contents,
    pair_correct,
    pairs_of,
    ranking,
    recalibrated,
    targets,
    time_split,
)
from multimodal_dql.simulation.engagement import EngagementModel
from multimodal_dql.simulation.engagement_noise import overdispersion

__all__ = ["ENCODERS", "REFERENCE", "bench_headlines", "ceiling", "leak_demonstration", "tf_idf_scores"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ENCODERS = ("use-multilingual", "minilm")
REFERENCE = {
    "random pairs, TF-IDF + logistic regression (leaks)": "0.70-0.78",
    "LOLA (Ye, Yoganarasimhan, Zheng 2025), pruned tests, top-1": "about 0.40 where chance is 0.33",
}
"""Published or usual figures of other protocols; not comparable row by row."""

_LINEAR = BlockSettings(style=False, words=0, topics=0)
FOLDS = 5


def bench_headlines(
    path: Path,
    *,
    repeats: int = 5,
    seed: int = 0,
    draws: int = 5,
    settings: BlockSettings | None = None,
    cache: Path | None = None,
) -> dict[str, Any]:
    """The prediction half: split by component, `repeats` x 5, and by time.

    Args:
        path: A/B tests (`read_ab_tests`).
        repeats: of the five-fold cross-validation.
        seed: of folds and bootstraps.
        draws: simulated copies of the tests behind the ceiling.
        settings: blocks of the prior.
        cache: folder of the embeddings.
    """
    start = time.perf_counter()
    tests = read_ab_tests(path, pool="text")
    contents = headline_contents(tests, ENCODERS, cache=cache)
    pairs = pairs_of(tests)
    found = cross_validate(tests, contents, settings, folds=FOLDS, repeats=repeats, seed=seed)
    scores = {"prior": found.mean}
    for name, encoders in (
        ("ridge_use", ENCODERS[:1]),
        ("ridge_minilm", ENCODERS[1:]),
        ("ridge_both", ENCODERS),
    ):
        only = Contents(
            contents.story,
            {e: contents.vectors[e] for e in encoders},
            contents.known,
            contents.style,
            contents.tokens,
        )
        scores[name] = cross_validate(tests, only, _LINEAR, folds=FOLDS, repeats=repeats, seed=seed).mean
    folds = [component_folds(tests, FOLDS, seed + r) for r in range(repeats)]
    scores["tfidf"] = np.stack([tf_idf_scores(tests, pairs, fold) for fold in folds])
    figures = {name: ranking(mean, tests, pairs, seed=seed).as_dict() for name, mean in scores.items()}
    prior = figures.pop("prior")
    given = targets(tests, overdispersion(tests.replicates, seed=seed)[0])
    shrink, factor = recalibrated(given, found.mean[0], found.sd[0])
    return {
        **prior,
        "ceiling": ceiling(tests, seed=seed, draws=draws),
        "baselines": figures,
        "time_split": _by_time(tests, contents, settings, seed),
        "leak": leak_demonstration(tests, pairs, seed),
        "calibration": calibration(given, shrink * found.mean[0], factor * found.sd[0]).as_dict(),
        "recalibration": {"shrink": shrink, "sd_factor": factor},
        "protocol": {
            "split": "connected component of test id and headline",
            "folds": FOLDS,
            "repeats": repeats,
            "risk_window": "left out",
            "arms": "identical text merged, none dropped",
            "intervals": "95 %, bootstrap over components",
        },
        "reference": REFERENCE,
        "seconds": round(time.perf_counter() - start, 1),
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


def tf_idf_scores(tests: ABTests, pairs: Pairs, fold: Int) -> Float:
    """Cross-validated scores (A,) of a bag of words: logistic regression on the difference of TF-IDF rows of a pair."""
    scores = np.zeros(tests.A)
    for k in range(int(fold.max()) + 1):
        held = fold == k
        check_no_leak(tests.subset(~held), tests.subset(held))
        texts, weights = _logistic(tests, pairs, ~held[tests.test], ~held[pairs.test])
        arms = held[tests.test]
        scores[arms] = texts.transform(_texts(tests, arms)) @ weights
    return scores


def leak_demonstration(tests: ABTests, pairs: Pairs, seed: int = 0) -> dict[str, dict[str, float]]:
    """The same bag of words, split by pair and by component: the first sees the answers of the pairs it is asked."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 42]))
    fold = rng.permutation(len(pairs.winner)) % FOLDS
    correct = np.zeros(len(fold))
    everything = np.ones(tests.A, np.bool_)
    for k in range(FOLDS):
        texts, weights = _logistic(tests, pairs, everything, fold != k)
        scores = np.asarray(texts.transform(_texts(tests, everything)) @ weights)
        correct[fold == k] = pair_correct(scores, pairs)[fold == k]
    clean = pair_correct(tf_idf_scores(tests, pairs, component_folds(tests, FOLDS, seed)), pairs)
    return {
        name: {"pairs_all": float(c.mean()), "pairs_significant": float(c[pairs.significant].mean())}
        for name, c in (("pair_split", correct), ("component_split", clean))
    }


def _logistic(
    tests: ABTests, pairs: Pairs, arms: NDArray[np.bool_], used: NDArray[np.bool_]
) -> tuple[Any, Float]:
    """The TF-IDF of the texts of `arms` (A,) and weights of its words, learned from the pairs `used` (M,)."""
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    texts.fit(_texts(tests, arms))
    rows = texts.transform(_texts(tests, np.ones(tests.A, np.bool_)))
    difference = rows[pairs.winner[used]] - rows[pairs.loser[used]]
    label = np.repeat([1, 0], difference.shape[0])
    model = LogisticRegression(C=1.0, fit_intercept=False, max_iter=1000)
    model.fit(vstack([difference, -difference]), label)
    return texts, np.asarray(model.coef_[0])


def _texts(tests: ABTests, arms: NDArray[np.bool_]) -> list[str]:
    return [tests.headlines[a] or "" for a in np.flatnonzero(arms)]


def _by_time(
    tests: ABTests, contents: Contents, settings: BlockSettings | None, seed: int
) -> dict[str, object]:
    """Learn from the first three quarters of the time, predict the rest."""
    before, after = time_split(tests)
    past, future = tests.subset(before), tests.subset(after)
    check_no_leak(past, future)
    part = contents.take(before[tests.test])
    old = Contents(past.test, part.vectors, part.known, part.style, part.tokens)
    found = fit_prior(past, old, settings, seed=seed).predict(contents.take(after[tests.test]))
    return {
        "train_tests": past.G,
        "linked_tests_left_out": int(tests.G - past.G - future.G),
        **ranking(found.mean, future, pairs_of(future), seed=seed).as_dict(),
    }
