"""The headline bench on small planted tests: it measures what it says, and its leak is a leak."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.bench.headlines import bench_headlines, ceiling, leak_demonstration, tf_idf_scores
from multimodal_dql.datasets.ab_tests import component_folds
from multimodal_dql.prior.blocks import BlockSettings
from multimodal_dql.prior.metrics import pair_correct, pairs_of
from tests.prior.planted import make_tests


def worded(tests: int, words: list[tuple[str, float]], seed: int):
    """Tests of three arms; a headline is one word, which has an effect, and a name of its own."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 9]))
    arms = tests * 3
    chosen = rng.integers(0, len(words), arms)
    logits = -3.5 + np.array([words[c][1] for c in chosen])
    n = np.full(arms, 5000)
    headlines = [f"{words[c][0]} arm{a}" for a, c in enumerate(chosen)]
    return make_tests(np.full(tests, 3), n, rng.binomial(n, 1 / (1 + np.exp(-logits))), headlines)


def test_a_bag_of_words_learns_what_words_do() -> None:
    """About 250 pairs, two thirds of them of words 3 standard errors apart or more: 80 % right is far from chance."""
    tests = worded(100, [("plain", 0.0), ("bold", 0.3), ("wild", 0.6)], 1)
    pairs = pairs_of(tests)
    scores = tf_idf_scores(tests, pairs, component_folds(tests, 5, 0))
    assert pair_correct(scores, pairs)[pairs.significant].mean() > 0.9


def test_splitting_by_pair_leaks_and_splitting_by_component_does_not() -> None:
    """Every headline has words and an effect of its own: nothing can be learned from other tests.

    By component 300 significant pairs give .5 with a standard error of .03; by pair the model has met the arms.
    """
    rng = np.random.Generator(np.random.Philox(key=[2, 9]))
    n = np.full(600, 5000)
    rates = 1 / (1 + np.exp(3.5 - 0.4 * rng.standard_normal(600)))
    # Each headline occurs in two linked tests, because the bag holds only words that occur twice.
    clicks = np.concatenate([rng.binomial(n, rates), rng.binomial(n, rates)])
    headlines = [f"only{a} here{a}" for a in range(600)] * 2
    linked = np.tile(np.arange(100), 2)
    twice = replace(make_tests(np.full(200, 6), np.tile(n, 2), clicks, headlines), component=linked)
    found = leak_demonstration(twice, pairs_of(twice))
    assert found["pair_split"]["pairs_significant"] > 0.8
    assert abs(found["component_split"]["pairs_significant"] - 0.5) < 0.15


def test_the_ceiling_is_below_1_because_winners_are_partly_luck() -> None:
    tests = worded(60, [("plain", 0.0), ("bold", 0.2)], 3)
    found = ceiling(tests, draws=2)
    assert 0.5 < found["top1"] < 1.0
    assert 0.6 < found["pairs_all"] < found["pairs_significant"] <= 1.0


@pytest.mark.slow
def test_the_bench_reports_every_figure(tmp_path: Path) -> None:
    tests = worded(40, [("plain", 0.0), ("bold", 0.3), ("wild", 0.6)], 4)
    path = tmp_path / "tests.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["test", "variant", "impressions", "clicks", "headline", "created"])
        for a in range(tests.A):
            g = tests.test[a]
            day = f"2020-01-{1 + g % 28:02d}"
            rows.writerow([g, a, tests.impressions[a], tests.clicks[a], tests.headlines[a], day])
    small = BlockSettings(words=20, topics=0)
    found = bench_headlines(path, repeats=1, draws=1, settings=small, cache=tmp_path / "cache")
    assert {"pairs_all", "pairs_significant", "top1", "top1_random", "ceiling", "intervals"} <= set(found)
    assert set(found["baselines"]) == {"tfidf", "ridge_use", "ridge_minilm", "ridge_both"}
    assert set(found["ceiling"]) == {"pairs_all", "pairs_significant", "top1"}
    assert found["pairs_significant"] > 0.7
    assert found["time_split"]["tests"] + found["time_split"]["train_tests"] == 40
    assert found["protocol"]["repeats"] == 1
