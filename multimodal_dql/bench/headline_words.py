"""Headlines as bags of words: the plain rival of the content prior, and how a careless split flatters it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import ABTests, component_folds
from multimodal_dql.prior import Pairs, check_no_leak, pair_correct, pairs_of

__all__ = ["FOLDS", "leak_demonstration", "tf_idf_scores", "tf_idf_transfer"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

FOLDS = 5


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


def tf_idf_transfer(tests: ABTests, other: ABTests) -> Float:
    """Scores (A,) of the arms of `other`, learned from all pairs of `tests`."""
    pairs = pairs_of(tests)
    everything = np.ones(tests.A, np.bool_)
    texts, weights = _logistic(tests, pairs, everything, np.ones(len(pairs.winner), np.bool_))
    return np.asarray(texts.transform(_texts(other, np.ones(other.A, np.bool_))) @ weights)
