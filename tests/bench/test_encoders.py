"""`bench encoders` in small worlds whose outcomes are planted: it finds what an encoder adds."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal_dql.bench.encoder_cost import encoder_cost
from multimodal_dql.bench.encoders import _Drawn, _linked, bench_encoders, chosen_combinations, read_outcomes
from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.errors import ABTestsError, EncoderError, UsageError
from tests.bench.test_headlines import worded
from tests.commands.refusals import assert_refused
from tests.conftest import Call
from tests.prior.planted import make_tests

READERS = """import zlib
import numpy as np
from multimodal_dql.encoders import Encoder, check_images, check_texts

class Knows(Encoder):  # the number in the headline
    name, modality, dim, fingerprint = "knows", "text", 1, "1"

    def encode(self, items):
        return np.array([[float(t.split()[-1])] for t in check_texts(self.name, items)], np.float32).reshape(-1, 1)

class Guesses(Encoder):
    name, modality, dim, fingerprint = "guesses", "text", 1, "1"

    def encode(self, items):
        return np.array([[zlib.crc32(t.encode()) % 97] for t in items], np.float32).reshape(-1, 1)

class Greys(Encoder):
    name, modality, dim, fingerprint = "greys", "image", 1, "1"

    def encode(self, items):
        return np.array([[p.mean()] for p in check_images(self.name, items)], np.float32).reshape(-1, 1)

class Dies(Guesses):
    name = "dies"

    def encode(self, items):
        import os
        os.abort()
"""


@pytest.fixture
def readers(install) -> None:
    points = {name.lower(): f"bench_readers:{name}" for name in ("Knows", "Guesses", "Greys", "Dies")}
    install("bench_readers", READERS, **points)


def clicks(rng: np.random.Generator, effect: np.ndarray, impressions: int) -> np.ndarray:
    return rng.binomial(impressions, 1 / (1 + np.exp(3.0 - effect)))


def written(path: Path, columns: dict[str, list]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.fixture
def headline_tests(tmp_path: Path) -> Path:
    """80 tests of three arms. A number in the headline, unlike any other, is its effect."""
    rng = np.random.Generator(np.random.Philox(key=[3, 14]))
    arms = 240
    signal = rng.permutation(arms) / arms
    return written(
        tmp_path / "tests.csv",
        {
            "test": [a // 3 for a in range(arms)],
            "variant": [a % 3 for a in range(arms)],
            "headline": [f"story {s:.5f}" for s in signal],
            "impressions": [4000] * arms,
            "clicks": clicks(rng, 1.5 * signal, 4000).tolist(),
        },
    )


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """60 items of two variants, a picture each and no text; the brighter one wins. One picture is missing."""
    rng = np.random.Generator(np.random.Philox(key=[4, 14]))
    light = rng.integers(0, 255, 120)
    for a, level in enumerate(light):
        if a != 7:
            Image.new("L", (8, 8), int(level)).save(tmp_path / f"{a}.png")
    return written(
        tmp_path / "catalogue.csv",
        {
            "item_id": [a // 2 for a in range(120)],
            "variant_id": [a % 2 for a in range(120)],
            "image": [f"{a}.png" for a in range(120)],
            "impressions": [4000] * 120,
            "clicks": clicks(rng, light / 255, 4000).tolist(),
        },
    )


def test_what_knows_the_effect_adds_and_what_guesses_does_not(readers, headline_tests, tmp_path, call: Call):
    """95 % intervals: what only guesses is taken for more in one world of forty, and this one is fixed by its seed."""
    done = call("bench", "encoders", headline_tests, "--encoders", "knows,guesses", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    knows, guesses = found["encoders"]
    assert knows["adds"]["pairs"]["low"] > 0.2
    assert knows["adds"]["lift"]["low"] > 0.1
    assert guesses["adds"]["pairs"]["low"] <= 0 <= guesses["adds"]["pairs"]["high"]
    assert [c["encoders"] for c in found["combinations"]] == [
        [],
        ["knows"],
        ["guesses"],
        ["knows", "guesses"],
    ]
    assert "knows" in found["best"]
    alone = found["combinations"][1]
    assert alone["pairs_significant"]["value"] > alone["pairs"]["value"] > 0.85
    for encoder in found["encoders"]:
        assert encoder["milliseconds"] > 0
        assert encoder["peak_megabytes"] > 20
    shown = call("bench", "encoders", headline_tests, "--encoders", "knows", "--lang", "zh")
    assert "有增益" in shown.out
    assert "仅文体与用词" in shown.out


def test_pictures_without_a_word_are_measured_against_nothing(readers, pictures, tmp_path):
    found = bench_encoders(pictures, ["greys"], cache=tmp_path / "cache")
    none, greys = found["combinations"]
    assert none["pairs"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert none["lift"]["value"] == pytest.approx(0)
    assert greys["pairs"]["low"] > 0.8
    assert found["baseline"].startswith("nothing")
    assert found["tests"] == 60


def test_a_catalogue_without_outcomes_is_told_what_is_needed(call: Call, stories: Path):
    assert_refused(
        call("bench", "encoders", stories), "no variant has impressions", "columns impressions and clicks"
    )
    assert_refused(call("bench", "encoders", stories, "--lang", "zh"), "真实结果")


def test_tests_without_clicks_are_told_the_column(call: Call, tmp_path: Path):
    file = written(
        tmp_path / "t.csv", {"test": [1, 1], "variant": [1, 2], "headline": ["a", "b"], "impressions": [9, 9]}
    )
    assert_refused(call("bench", "encoders", file), "no column 'clicks'")


def test_too_few_tests_and_a_modality_that_is_not_there(readers, headline_tests, tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("\n".join(headline_tests.read_text().splitlines()[: 1 + 3 * 29]) + "\n")
    with pytest.raises(ABTestsError, match="29 tests have two arms that can be read and differ; it takes 30"):
        bench_encoders(few, ["knows"], cache=tmp_path / "cache")
    with pytest.raises(UsageError, match="has no image for the encoder 'greys'; leave it out of --encoders"):
        bench_encoders(headline_tests, ["knows", "greys"], cache=tmp_path / "cache")


def test_one_whose_process_dies_is_named(readers):
    with pytest.raises(
        EncoderError, match=r"encoder 'dies': its process ended with -6; is there enough memory\?"
    ):
        encoder_cost("dies", "text", ["one", "two"])
    with pytest.raises(EncoderError, match=r"encoder 'knows': ValueError: could not convert"):
        encoder_cost("knows", "text", ["one", "two"])


def test_all_combinations_while_they_are_few():
    assert chosen_combinations("ab") == [(), ("a",), ("b",), ("a", "b")]
    assert len(chosen_combinations("abcd")) == 16
    six = chosen_combinations("abcdef")
    assert len(six) == 1 + 6 + 15 + 6 + 1
    assert six[0] == ()
    assert six[-1] == tuple("abcdef")


def test_figures_worked_by_hand():
    """Two tests of two arms: rates .1 < .2 and .3 > .1. "right" puts both in order, "half" the first only."""
    made = make_tests(np.array([2, 2]), np.full(4, 1000), np.array([100, 200, 300, 100]), list("abcd"))
    scores = {
        (): np.zeros((1, 4)),
        ("right",): np.array([[0.0, 1.0, 1.0, 0.0]]),
        ("half",): np.array([[0.0, 1.0, 0.0, 1.0]]),
    }
    drawn = _Drawn.of(made, scores, 0)
    assert drawn.figures(())["pairs"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert drawn.figures(("right",))["pairs"]["value"] == 1.0
    half = drawn.figures(("half",))["pairs"]
    assert (half["value"], half["low"], half["high"]) == (0.5, 0.0, 1.0)  # either test may be drawn twice
    # Named .2 and .3, averages .15 and .2: .5 over .35; named .2 and .1: .3 over .35.
    assert drawn.figures(("right",))["lift"]["value"] == pytest.approx(0.5 / 0.35 - 1)
    assert drawn.figures(("half",))["lift"]["value"] == pytest.approx(0.3 / 0.35 - 1)
    assert drawn.best() == ("right",)
    assert drawn.adds("right")["pairs"]["value"] == 0.5
    assert drawn.adds("half")["pairs"]["value"] == -0.5


def test_tests_that_share_a_picture_are_linked(tmp_path: Path):
    tests = replace(worded(4, [("plain", 0.0)], 1), component=np.array([0, 1, 1, 3]))
    Image.new("L", (4, 4), 9).save(tmp_path / "one.png")
    Image.new("L", (4, 4), 9).save(tmp_path / "copy.png")
    shown = {0: tmp_path / "one.png", 10: tmp_path / "copy.png"}
    rows = tuple(Variant("arms", str(a), shown.get(a), None, None) for a in range(tests.A))
    linked = _linked(tests, Catalogue(tmp_path / "t.csv", (Item("arms", rows),)))
    assert linked.component.tolist() == [0, 1, 1, 0]


def test_a_catalogue_and_the_same_tests_are_the_same(tmp_path: Path):
    rows = {"headline": ["a", "b", "c", "a"], "impressions": [5, 6, 7, 8], "clicks": [1, 2, 3, 4]}
    ids = ["x", "x", "y", "y"]
    tests = read_outcomes(written(tmp_path / "t.csv", {"test": ids, "variant": [1, 2, 1, 2], **rows}))
    rows = {("caption" if k == "headline" else k): v for k, v in rows.items()}
    same = read_outcomes(written(tmp_path / "c.csv", {"item_id": ids, "variant_id": [1, 2, 1, 2], **rows}))
    for field in ("test_ids", "arm_ids", "headlines"):
        assert getattr(tests, field) == getattr(same, field)
    for field in ("test", "component", "impressions", "clicks"):
        assert getattr(tests, field).tolist() == getattr(same, field).tolist()
    assert tests.component.tolist() == [0, 0]
