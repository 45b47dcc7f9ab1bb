"""The caption bench: its parts by hand, a small world through all of it, and the real contests in brief."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal_dql.bench.allocation import GRID, shrunk_truth
from multimodal_dql.bench.caption_votes import groups
from multimodal_dql.bench.captions import bench_captions, caption_ceiling, thinned
from tests.prior.planted import make_tests


def contests(sizes: list[int], rates: np.ndarray, votes: int):
    n = np.full(len(rates), 2 * votes)
    return make_tests(
        np.array(sizes), n, np.rint(n * rates).astype(int), [f"c{a}" for a in range(len(rates))]
    )


def test_groups_are_disjoint_parts_of_one_contest() -> None:
    tests = contests([12, 4], np.full(16, 0.2), 50)
    found = groups(tests, (5, 10), 2, 0)
    # Twelve captions hold two groups of five and one of ten, four hold none.
    assert [len(g) for g in found] == [5, 5, 10]
    assert not set(found[0]) & set(found[1])
    assert max(map(max, found)) < 12
    assert [g.tolist() for g in groups(tests, (5, 10), 2, 0)] == [g.tolist() for g in found]


def test_thinning_keeps_whole_captions() -> None:
    tests = contests([5, 2], np.linspace(0.1, 0.7, 7), 50)
    found = thinned(tests, 3, 1)
    assert found.sizes.tolist() == [3, 2]
    assert found.arm_ids[3:] == tests.arm_ids[5:]
    kept = [int(a) for a in found.arm_ids]
    assert found.clicks.tolist() == tests.clicks[kept].tolist()
    assert found.headlines == tuple(f"c{a}" for a in kept)


def test_shrunk_truth_follows_spread_and_noise() -> None:
    """Two arms of 100 points at .1 and .3: the pooled logit is -1.386; their posteriors are integrated on a grid."""
    tests = contests([2], np.array([0.1, 0.3]), 50)
    for sd, noise in ((0.5, 1.0), (0.5, 4.0), (0.1, 1.0)):
        logit = np.log(0.2 / 0.8) + sd * GRID
        log_p = (10 * logit - 100 * np.logaddexp(0, logit)) / noise - GRID**2 / 2
        p = np.exp(log_p - log_p.max())
        expected = (p / (1 + np.exp(-logit))).sum() / p.sum()
        drawn = shrunk_truth(tests, 2000, 3, sd=sd, noise=noise)[:, 0, 0]
        # Of 2,000 draws with a standard deviation of at most .04 the mean errs by .001.
        assert drawn.mean() == pytest.approx(expected, abs=0.004)


def test_the_ceiling_rises_with_the_votes() -> None:
    rng = np.random.Generator(np.random.Philox(key=[1, 72]))
    rates = 1 / (1 + np.exp(1.4 + 0.5 * rng.standard_normal(200)))
    few, many = (caption_ceiling(contests([20] * 10, rates, n), 1.2, 0.5, draws=2) for n in (10, 1000))
    assert few["pairs_all"] < many["pairs_all"] <= many["pairs_significant"] <= 1.0
    assert many["pairs_all"] > 0.93


def written(folder: Path, count: int = 44, captions: int = 6) -> Path:
    """Contests about a red or a blue picture; a caption that names its colour is the funnier one."""
    rng = np.random.Generator(np.random.Philox(key=[2, 72]))
    (folder / "images").mkdir(parents=True)
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["contest", "file", "caption", "funny", "somewhat_funny", "unfunny"])
        for g in range(count):
            red = bool(rng.random() < 0.5)
            colour = (220, 20, 20) if red else (20, 20, 220)
            Image.new("RGB", (64, 48), colour).save(folder / "images" / f"{g}.jpg")
            for k in range(captions):
                says_red = k % 2 == 0
                p = np.array([0.3, 0.3, 0.4] if says_red == red else [0.1, 0.2, 0.7])
                votes = rng.multinomial(150, p)
                text = f"The {'red' if says_red else 'blue'} one, number {g} {k}"
                rows.writerow([g, f"{g}_summary_Random", text, *votes])
    return folder


@pytest.mark.slow
def test_a_small_world_in_which_the_picture_decides(tmp_path: Path) -> None:
    """Half of the pairs differ, and only the picture tells which way: texts alone are right in half of the cases."""
    found = bench_captions(
        written(tmp_path / "data"),
        encoders=("use-multilingual", "efficientnet-lite0"),
        quick=True,
        seeds=1,
        rounds=1,
        draws=1,
        taus=(5, 20),
        cache=tmp_path / "cache",
    )
    assert set(found["models"]) == {
        *("style", "text_use", "plain", "text", "plain_picture", "text_picture", "tfidf"),
    }
    assert found["models"]["text_picture"]["pairs_significant"] > 0.9
    assert found["models"]["text"]["pairs_significant"] < 0.7
    assert found["picture_adds"]["text_picture over text"]["intervals"]["pairs_significant"][0] > 0.2
    assert found["ceiling"]["pairs_all"] <= found["ceiling"]["pairs_significant"] <= 1.0
    assert found["groups"] == {"5": 44}
    assert found["protocol"]["components"] == 44
    for tau in ("5", "20"):
        row = found["allocation"][tau]
        assert set(row["oracle_gap_share"]) == {"prior", "ucb", "lola", "eb_ucb", "ts", "dqn"}
        assert row["best_baseline"] in ("prior", "ucb", "lola", "eb_ucb", "ts")
        low, high = found["intervals"]["allocation"][tau]["lead"]
        assert low <= row["lead"] <= high


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MULTIMODAL_DQL_DATA"), reason="MULTIMODAL_DQL_DATA names no folder")
def test_the_real_contests_in_brief() -> None:
    """Words help a little on cartoons never seen; the votes received give the answer away."""
    data = Path(os.environ["MULTIMODAL_DQL_DATA"])
    found = bench_captions(data, quick=True, seeds=1, rounds=1, draws=1, taus=(5,))
    assert found["protocol"]["components"] == 77
    assert found["models"]["text"]["intervals"]["pairs_significant"][0] > 0.53
    assert found["ceiling"]["pairs_significant"] > 0.95
    assert found["leak"]["votes_received"]["pairs_all"] > 0.8
