"""The headline bench on small planted tests: it measures what it says, and its leak is a leak."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.bench.headline_words import leak_demonstration, tf_idf_scores
from multimodal_dql.bench.headlines import bench_headlines, ceiling, sampled
from multimodal_dql.datasets.ab_tests import component_folds
from multimodal_dql.prior.blocks import BlockSettings
from multimodal_dql.prior.metrics import pair_correct, pairs_of
from multimodal_dql.prior.split import LeakError
from tests.graphs import SharedAgents
from tests.prior.planted import make_tests


@pytest.fixture(autouse=True, scope="module")
def _shared(shared_agents: SharedAgents) -> Iterator[None]:
    with shared_agents.used():
        yield


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


def test_a_sample_takes_whole_components() -> None:
    tests = worded(90, [("plain", 0.0)], 5)
    linked = replace(tests, component=np.arange(90) // 3)
    part = sampled(linked, 20, 1)
    assert part.G == 21
    assert all(count == 3 for count in np.unique(part.component, return_counts=True)[1])
    assert sampled(linked, 20, 1).test_ids == part.test_ids != sampled(linked, 20, 2).test_ids


def written(path: Path, seed: int, tests: int = 60) -> Path:
    made = worded(tests, [("plain", 0.0), ("bold", 0.3), ("wild", 0.6)], seed)
    with path.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["test", "variant", "impressions", "clicks", "headline", "created"])
        for a in range(made.A):
            g = made.test[a]
            day = f"2020-01-{1 + g % 28:02d}"
            headline = f"{made.headlines[a]} of{seed}"
            rows.writerow([f"{seed}-{g}", a, made.impressions[a], made.clicks[a], headline, day])
    return path


SMALL = BlockSettings(words=20, topics=0)


@pytest.mark.slow
def test_the_bench_reports_every_figure_and_learns_only_once(tmp_path: Path) -> None:
    path, run, cache = written(tmp_path / "tests.csv", 4), tmp_path / "run", tmp_path / "cache"
    few = {"repeats": 1, "draws": 1, "seeds": 1, "rounds": 1, "taus": (50, 400), "simulated": 3000}
    asked = few | {"settings": SMALL, "run": run, "cache": cache}
    found = bench_headlines(path, **asked)
    assert {"pairs_all", "pairs_significant", "top1", "top1_random", "ceiling", "intervals"} <= set(found)
    assert set(found["baselines"]) == {"tfidf", "ridge_use", "ridge_minilm", "ridge_mpnet", "ridge_all"}
    assert set(found["ceiling"]) == {"pairs_all", "pairs_significant", "top1"}
    assert found["pairs_significant"] > 0.7
    assert found["time_split"]["tests"] + found["time_split"]["train_tests"] == 60
    assert found["protocol"]["repeats"] == 1
    for name in ("pairs_all", "pairs_significant", "top1"):
        low, high = found["intervals"][name]
        assert low <= found[name] <= high
    policies = {"dqn", "prior", "ucb", "ts", "ec", "lola", "eb_ucb"}
    for name in ("allocation", "shrunk"):
        assert set(found[name]) == {"50", "400"}
        for tau, row in found[name].items():
            assert set(row["oracle_gap_share"]) == policies
            assert policies <= set(row)
            assert max(row[p] for p in policies) <= row["oracle"]
            low, high = found["intervals"][name][tau]["oracle_gap_share"]["lola"]
            assert low <= row["oracle_gap_share"]["lola"] <= high
    assert set(found["ablation"]["400"]) == {
        *("everything", "no_content_prior", "no_learned_allocation", "index_instead", "neither"),
        *("ridge_use", "ridge_minilm", "ridge_mpnet"),
        *("lola_ridge_use", "lola_ridge_minilm", "lola_ridge_mpnet"),
    }
    assert found["protocol"]["reused"] == []
    again = bench_headlines(path, **asked)
    assert set(again["protocol"]["reused"]) >= {"allocation-0", "allocation-1", "predictions-prior-1"}
    best = found["two_arms"]["400"]
    assert set(found["four_arms"]["400"]) == {"bound", "priced", "greedy", "lola", "index", "dqn"}
    assert set(best) == {"optimum", "greedy", "lola", "index", "dqn"}
    assert all(share < best["optimum"] + 0.05 for share in best.values())
    for name in ("allocation", "shrunk", "pairs_all", "baselines", "ablation", "two_arms"):
        assert again[name] == found[name]


@pytest.mark.slow
def test_other_tests_are_measured_with_what_was_learned_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = written(tmp_path / "tests.csv", 4), written(tmp_path / "other.csv", 5, 30)
    cache, asked = tmp_path / "cache", {"draws": 1, "rounds": 1, "taus": (50,), "settings": SMALL}
    monkeypatch.setattr("multimodal_dql.bench.headlines.REPLAYS", 100)  # three for each of thirty tests
    asked |= {"simulated": 1000}
    shared = other.read_text("utf-8").splitlines()[1].split(",")
    with path.open("a", encoding="utf-8") as more:  # compares nothing, so it leaks nothing: it is left out
        more.write(",".join(["alone", *shared[1:]]) + "\n")
    found = bench_headlines(path, test=other, cache=cache, **asked)
    assert found["tests"] == 30
    assert found["protocol"]["allocation"].startswith("3 seeds, ")
    assert found["pairs_significant"] > 0.7
    assert "leak" not in found
    with pytest.raises(LeakError):
        bench_headlines(path, test=path, cache=cache, **asked)
