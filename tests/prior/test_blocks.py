"""Blocks by hand; style of texts; what happens at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.prior.blocks import BlockSettings, fit_blocks
from multimodal_dql.prior.contents import Contents
from multimodal_dql.prior.style import STYLE_NAMES, style, tokens


def contents(texts: list[str | None], story: list[int], seed: int = 0) -> Contents:
    vectors = np.random.default_rng(seed).standard_normal((len(texts), 5))
    return Contents.of(texts, np.array(story), {"e": vectors})


def of(name: str, text: str) -> float:
    return float(style([text])[0, STYLE_NAMES.index(name)])


def test_style_by_hand() -> None:
    text = 'Why do 3 of YOU say "no"? Because it\'s true...'
    assert of("log_characters", text) == pytest.approx(np.log1p(len(text)))
    assert of("log_words", text) == pytest.approx(np.log1p(10))
    assert of("sentences", text) == 2
    assert of("starts_question_word", text) == 1
    assert (of("question", text), of("ends_question", text), of("ends_period", text)) == (1, 0, 1)
    assert (of("number", text), of("starts_number", text), of("second_person", text)) == (1, 0, 1)
    assert of("shouted_words", text) == 1
    assert (of("quotation_marks", text), of("ellipsis", text), of("colon", text)) == (2, 1, 0)
    assert (of("negation", text), of("contraction", text), of("he", text)) == (1, 1, 0)
    assert of("starts_number", "7 things she knew") == of("she", "7 things she knew") == 1


def test_no_text_has_no_style() -> None:
    assert not style([None, "", "  "]).any()
    assert style([]).shape == (0, len(STYLE_NAMES))


@given(st.text(max_size=80))
def test_style_of_any_text_is_finite(text: str) -> None:
    assert np.isfinite(style([text])).all()


def test_tokens_are_words_and_marks() -> None:
    assert tokens("The cat: THE end?") == {"the": 2, "cat": 1, "end": 1, ":": 1, "?": 1}
    assert tokens("彗星，今晚") == {"彗星": 1, "，": 1, "今晚": 1}
    assert tokens(None) == {}


def test_blocks_are_centred_and_scaled_to_length_1() -> None:
    texts = ["a b", "a c d?", "Why a", "b: 7 c", "a", "d d d"]
    given = contents(texts, [0, 0, 0, 1, 1, 1])
    blocks = fit_blocks(given, BlockSettings(words=4, topics=1, deviations=2))
    assert list(blocks.scales) == ["e", "style", "novelty", "words", "topic:e"]
    assert blocks.vocabulary == ("a", "d", "b", "c")
    columns, block = blocks.columns(given)
    assert columns.shape == (6, 5 + len(STYLE_NAMES) + 1 + 4 + 2)
    np.testing.assert_allclose(columns[:3].sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(columns[3:].sum(axis=0), 0, atol=1e-12)
    for b in range(5):
        assert (columns[:, block == b] ** 2).sum(axis=1).mean() == pytest.approx(1.0)


def test_a_wide_embedding_is_seen_along_its_leading_directions() -> None:
    """Siblings differ by 6 along the first number, by 2 along the second, and by nothing else."""
    vectors = np.array([[3.0, 1, 9], [-3.0, 1, 9], [3.0, -1, 5], [-3.0, -1, 5], [0, 1, 7], [0, -1, 7]])
    given = Contents.of(["a", "b", "c", "d", "e", "f"], np.array([0, 0, 1, 1, 2, 2]), {"e": vectors})
    settings = BlockSettings(style=False, words=0, topics=0, directions=2)
    blocks = fit_blocks(given, settings)
    np.testing.assert_allclose(abs(blocks.axes["e"]), [[1, 0], [0, 1], [0, 0]], atol=1e-12)
    columns, _ = blocks.columns(given)
    size = np.sqrt((4 * 9 + 2 * 1) / 6)  # root of the mean squared length of the deviations
    np.testing.assert_allclose(abs(columns), abs(given.centred(vectors)[:, :2]) / size, atol=1e-12)
    assert fit_blocks(given, BlockSettings(directions=3)).axes == {}


def test_word_weights_by_hand() -> None:
    """Two texts with a, one with b: idf(a) = ln(3 / 3) + 1, idf(b) = ln(3 / 2) + 1; each row has length 1."""
    given = contents(["a b b", "a"], [0, 0])
    blocks = fit_blocks(given, BlockSettings(style=False, words=2, topics=0))
    assert blocks.vocabulary == ("a", "b")
    np.testing.assert_allclose(blocks.idf, [1.0, np.log(1.5) + 1])
    columns, block = blocks.columns(given)
    b = (1 + np.log(2)) * (np.log(1.5) + 1)
    rows = np.array([[1.0, b] / np.hypot(1.0, b), [1.0, 0.0]])
    wanted = rows - rows.mean(axis=0)
    np.testing.assert_allclose(columns[:, block == 1] / blocks.scales["words"], wanted, atol=1e-12)


def test_columns_that_never_vary_say_nothing() -> None:
    given = contents(["same"] * 4, [0, 0, 1, 1])
    blocks = fit_blocks(given, BlockSettings(words=3, topics=0))
    columns, block = blocks.columns(given)
    assert (blocks.scales["style"], blocks.scales["words"]) == (0.0, 0.0)
    assert not columns[:, (block == 1) | (block == 3)].any()
    assert np.isfinite(columns).all()
