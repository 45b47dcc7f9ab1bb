"""What pictures add: planted worlds in which they decide, and in which they say nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal_dql.datasets.ab_tests import read_ab_tests
from multimodal_dql.errors import ABTestsError, UsageError
from multimodal_dql.prior.blocks import BlockSettings, fit_blocks
from multimodal_dql.prior.contents import Contents, encode, headline_contents
from multimodal_dql.prior.file import read_prior, write_prior
from multimodal_dql.prior.metrics import Pairs, gain, pairs_of, score_p
from multimodal_dql.prior.model import cross_validate, fit_prior
from multimodal_dql.prior.ridge import targets
from multimodal_dql.prior.split import LeakError, check_no_leak
from tests.prior.planted import make_tests

SETTINGS = BlockSettings(style=False, words=0, topics=0, deviations=6, pictures=2)


def captioned(seed: int, decides: bool, contests: int = 60, captions: int = 12):
    """Contests of one picture each. Which caption wins depends on its first number, upwards or downwards: on which side
    of zero the picture's first number is, if it `decides`, else always upwards.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 70]))
    picture = rng.standard_normal((contests, 5)) * [3.0, 1.0, 1.0, 1.0, 1.0]
    text = rng.standard_normal((contests * captions, 6))
    side = np.sign(picture[:, 0]) if decides else np.ones(contests)
    logits = -1.4 + 0.4 * np.repeat(side, captions) * text[:, 0]
    n = np.full(len(text), 600)
    clicks = rng.binomial(n, 1 / (1 + np.exp(-logits)))
    sizes = np.full(contests, captions)
    names = [f"caption {a}" for a in range(len(text))]
    tests = make_tests(sizes, n, clicks, names)
    contents = Contents.of(
        names, tests.test, {"text": text}, None, {"eye": np.repeat(picture, captions, axis=0)}
    )
    return tests, contents


def added(seed: int, decides: bool):
    tests, contents = captioned(seed, decides)
    pairs = pairs_of(tests)
    both, text = (
        cross_validate(tests, c, SETTINGS, repeats=1, noise=1.0).mean
        for c in (contents, contents.only(("text",)))
    )
    return gain(both, text, tests, pairs, resamples=500)["pairs_all"]


def test_a_picture_that_decides_is_heard() -> None:
    """Texts alone are right in half of the pairs; with pictures in about nine of ten."""
    more = added(1, decides=True)
    assert more.low > 0.2


@pytest.mark.parametrize("seed", [2, 3])
def test_a_picture_that_says_nothing_claims_nothing(seed: int) -> None:
    """The words decide alike next to every picture: nothing is gained, and hardly anything lost to noise."""
    more = added(seed, decides=False)
    assert more.low <= 0.0
    assert abs(more.value) < 0.01


def test_a_picture_of_all_siblings_has_no_columns_of_its_own_but_crosses_texts_by_hand() -> None:
    text = np.array([[1.0], [-1.0], [2.0], [-2.0]])
    eye = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    contents = Contents.of(list("abcd"), np.array([0, 0, 1, 1]), {"t": text}, None, {"eye": eye})
    blocks = fit_blocks(contents, BlockSettings(style=False, words=0, topics=0, deviations=1, pictures=1))
    assert list(blocks.scales) == ["t", "cross:eye*t"]
    assert blocks.pictures == {"eye": 1}
    columns, block = blocks.columns(contents)
    assert block.tolist() == [0, 1]
    # Both blocks have mean square 1: texts 1, -1, 2, -2 over sqrt(2.5), and turned round next to the second picture.
    np.testing.assert_allclose(columns[:, 0], np.array([1, -1, 2, -2]) / np.sqrt(2.5))
    np.testing.assert_allclose(abs(columns[:, 1]), abs(columns[:, 0]))
    assert columns[0, 1] * columns[2, 1] < 0


def test_pictures_that_differ_between_siblings_have_columns() -> None:
    eye = np.array([[3.0, 0.0], [1.0, 0.0], [5.0, 0.0], [1.0, 0.0]])
    contents = Contents.of([None] * 4, np.array([0, 0, 1, 1]), {}, None, {"eye": eye})
    assert contents.known.all()
    blocks = fit_blocks(contents, BlockSettings(style=False, words=0))
    assert list(blocks.scales) == ["picture:eye"]
    columns, _ = blocks.columns(contents)
    np.testing.assert_allclose(abs(columns[:, 0]), np.array([1, 1, 2, 2]) / np.sqrt(2.5))


def test_known_is_what_has_all_that_its_siblings_have() -> None:
    texts = ["a", None, "c", "d", None, None]
    pictured = np.array([True, True, True, False, True, False])
    eye = pictured[:, None] * np.ones((6, 2))
    story = np.array([0, 0, 1, 1, 2, 2])
    found = Contents.of(texts, story, {}, None, {"eye": eye}, pictured)
    assert found.known.tolist() == [True, False, True, False, True, False]
    assert Contents.of(texts, story, {}).known.tolist() == [True, False, True, True, False, False]


def test_a_prior_with_pictures_comes_back_from_its_file(tmp_path: Path) -> None:
    tests, contents = captioned(4, decides=True, contests=30, captions=4)
    rng = np.random.Generator(np.random.Philox(key=[4, 71]))
    moved = {"eye": contents.pictures["eye"] + rng.standard_normal(contents.pictures["eye"].shape)}
    contents = replace(contents, pictures=moved)
    prior = replace(fit_prior(tests, contents, SETTINGS, noise=1.0), fingerprints={"text": "1", "eye": "2"})
    write_prior(prior, tmp_path)
    read = read_prior(tmp_path)
    assert list(read.blocks.scales) == ["text", "cross:eye*text", "picture:eye"]
    np.testing.assert_array_equal(read.predict(contents).mean, prior.predict(contents).mean)
    with pytest.raises(ValueError, match="eye"):
        read.predict(contents.only(("text",)))


def test_score_p_and_gain_by_hand() -> None:
    tests = make_tests(np.array([2, 2]), np.array([98, 98, 98, 98]), np.array([49, 29, 10, 12]), list("abcd"))
    found = score_p(tests, 2.0, np.array([0]), np.array([1]))
    # rates .5 and .2959; with one click and one impression without: 50/100 and 30/100.
    z = (49 - 29) / 98 / np.sqrt(2 * (0.25 + 0.21) / 98)
    assert z == pytest.approx(2.106, abs=1e-3)
    assert found[0] == pytest.approx(0.0352, abs=1e-4)
    pairs = pairs_of(tests, lambda a, b: score_p(tests, 2.0, a, b))
    assert pairs.significant.tolist() == [True, False]
    right, half = np.array([2.0, 1.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 2.0])
    more = gain(right, half, tests, pairs, resamples=50)
    assert (more["pairs_all"].value, more["pairs_significant"].value) == (0.25, 0.5)
    assert isinstance(pairs, Pairs)


def test_the_rate_is_steadied_by_the_worth_of_a_usual_spread() -> None:
    """At a click rate of 20 % a spread of .25 is worth 100 impressions, at 1.35 % 1,200."""
    tests = make_tests(np.array([2]), np.array([1000, 1000]), np.array([100, 300]), ["a", "b"])
    p = (100 + 20) / 1100
    assert targets(tests, 1.0).v[0] == pytest.approx(1 / (1000 * p * (1 - p)), rel=1e-3)


def test_a_shared_picture_is_a_leak_only_where_pictures_are_looked_at() -> None:
    tests = make_tests(np.array([2, 2]), np.full(4, 100), np.arange(4), list("abcd"))
    tests = replace(tests, images=("x.png", None, "y.png", "x.png"))
    first, second = (tests.subset(np.array([side, not side])) for side in (True, False))
    check_no_leak(first, second)
    with pytest.raises(LeakError, match=r"1 pictures are on both sides.*'x\.png'"):
        check_no_leak(first, second, pictures=True)


def written(folder: Path, image: str = "p{}.png", audio: str = "") -> Path:
    """Two tests of two arms with pictures; Chinese headlines."""
    rows = ["test,variant,headline,image,audio,impressions,clicks,Is Winner,点击率,desk"]
    for a in range(4):
        Image.new("RGB", (40, 30), (60 * a, 200 - 50 * a, 30)).save(folder / f"p{a}.png")
        rows.append(f"春{a // 2},{a},标题{a % 2},{image.format(a)},{audio},100,{a},{a},.0{a},news")
    path = folder / "tests.csv"
    path.write_text("\n".join([*rows, ""]), encoding="utf-8")
    return path


def test_picture_files_of_tests_are_read_from_their_folder(tmp_path: Path) -> None:
    tests = read_ab_tests(written(tmp_path))
    contents = headline_contents(tests, ["use-multilingual", "efficientnet-lite0"], cache=tmp_path / "cache")
    assert contents.encoders == ("use-multilingual", "efficientnet-lite0")
    assert contents.pictures["efficientnet-lite0"].shape == (4, 1280)
    assert contents.known.all()
    assert contents.pictured.all()


def test_what_is_no_picture_is_refused_with_the_cure(tmp_path: Path) -> None:
    tests = read_ab_tests(written(tmp_path, "54f8{}"))
    with pytest.raises(ABTestsError, match=r"'54f80' is no file.*4 arms.*--encoders"):
        headline_contents(tests, ["efficientnet-lite0"])
    with pytest.raises(UsageError, match="leave 'speech-embedding' out"):
        encode(["a"], [None], np.zeros(1, np.int64), ["speech-embedding"])
