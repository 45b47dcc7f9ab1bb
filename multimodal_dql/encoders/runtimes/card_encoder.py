"""What every runtime shares: the facts of the card become the facts of the encoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Encoder, Modality, check_images, check_sounds, check_texts
from multimodal_dql.encoders.cards import Card
from multimodal_dql.errors import EncoderError

__all__ = ["UNKNOWN", "CardEncoder", "OneByOne", "l2_normalised", "need_files"]

UNKNOWN = 0
"""Dimension of an encoder that is still to be measured: the first embedding sets it."""


class CardEncoder(Encoder):
    """An encoder made from a card; a subclass is a runtime.

    Attributes:
        code: names this class in fingerprints; stays what it is when a card or a class is renamed.
        revision: raised with every change of the code that changes a number.
        reads: the modality this runtime can serve.

    """

    code: ClassVar[str]
    revision: ClassVar[int] = 1
    reads: ClassVar[tuple[Modality, ...]]

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        if card.modality not in self.reads:
            raise EncoderError(
                name=card.name,
                detail=f"the runtime {card.runtime} reads {' or '.join(self.reads)}, not {card.modality}",
                detail_zh=f"运行方式 {card.runtime} 只接受 {'、'.join(self.reads)}，不接受 {card.modality}",
            )
        self.name = card.name
        self.modality = card.modality
        self.dim = card.dim
        self.languages = card.languages
        self.fingerprint = card.fingerprint(self.code, self.revision)
        self.card = card
        self.files = files

    def empty(self, count: int) -> NDArray[np.float32]:
        """Room for `count` embeddings, shape (count, dim)."""
        return np.zeros((count, self.dim), np.float32)

    def finished(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """`vectors` (n, dim), float32, normalised as the card says; `EncoderError` for another width."""
        if self.dim == UNKNOWN and vectors.ndim == 2:
            self.dim = vectors.shape[1]
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise EncoderError(
                name=self.name,
                detail=f"the model gives {vectors.shape[1:]} numbers an item, the card says {self.dim}",
                detail_zh=f"模型每项输出 {vectors.shape[1:]}，而卡片写的是 {self.dim}",
            )
        vectors = np.ascontiguousarray(vectors, np.float32)
        return l2_normalised(vectors) if self.card.normalisation == "l2" else vectors


class OneByOne(CardEncoder):
    """Items go through the network one at a time, so that neighbours cannot matter."""

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings of texts, pictures or sounds, shape (len(items), dim)."""
        checked: Sequence[Any]
        if self.modality == "text":
            checked = check_texts(self.name, items, int(self.card.number("max_characters", 2000)))
        else:
            checked = (check_images if self.modality == "image" else check_sounds)(self.name, items)
        if not checked:
            return self.empty(0)
        return self.finished(np.stack([self._one(item) for item in checked]))

    @abstractmethod
    def _one(self, item: Any) -> NDArray[np.float32]:
        """The embedding of one item, shape (dim,)."""


def l2_normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of `vectors` (n, dim) at length 1; a row of zeros stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.float32(1e-12)), np.float32)


def need_files(card: Card, files: dict[str, Path], *names: str) -> list[Path]:
    """Paths of the files a runtime cannot do without; `EncoderError` names the one the card lacks."""
    for name in names:
        if name not in files:
            raise EncoderError(
                name=card.name,
                detail=f"the runtime {card.runtime} needs a file called {name}; add it to the card",
                detail_zh=f"运行方式 {card.runtime} 需要名为 {name} 的文件；请写入卡片",
            )
    return [files[name] for name in names]
