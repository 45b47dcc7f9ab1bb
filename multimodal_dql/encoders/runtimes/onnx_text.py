"""Sentence embeddings from a transformer in ONNX Runtime, with its tokenizer from `transformers`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Modality, check_texts
from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.onnx import onnx_session
from multimodal_dql.encoders.runtimes.card_encoder import CardEncoder, need_files
from multimodal_dql.encoders.sources import common_folder
from multimodal_dql.errors import EncoderError

__all__ = ["OnnxTextEncoder", "load_tokenizer"]

_MODEL = "model.onnx"
_BATCH = 16
_BATCH_TOKENS = 1024
"""Tokens with padding in one run: bounds memory, and larger runs are not faster on one thread."""


class OnnxTextEncoder(CardEncoder):
    """``model.onnx`` plus the files of a tokenizer; `pooling` is ``mean`` over the real tokens, or ``cls``.

    Texts run together with others of about their length. The model must not let them see each other: weights
    in int8 are fine, activations that are quantised over the whole batch are not (`check_encoder` tells).
    """

    reads: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        if card.pooling not in ("mean", "cls"):
            raise EncoderError(
                name=self.name,
                detail=f"pooling is '{card.pooling}'; write mean or cls",
                detail_zh=f"pooling 为 “{card.pooling}”；请写 mean 或 cls",
            )
        self._session = onnx_session(self.name, *need_files(card, files, _MODEL))
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._tokenizer = load_tokenizer(self.name, common_folder(card, files, lambda name: name != _MODEL))
        self._max_tokens = int(card.number("max_tokens"))
        self._max_characters = int(card.number("max_characters", 2000))

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings of texts, shape (len(items), dim)."""
        texts = check_texts(self.name, items, self._max_characters)
        out = self.empty(len(texts))
        if not texts:
            return out
        tokens = self._tokenizer(texts, truncation=True, max_length=self._max_tokens)["input_ids"]
        for places in _similar_lengths([len(ids) for ids in tokens]):
            out[places] = self._pooled([tokens[place] for place in places])
        return out

    def _pooled(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Embeddings of a few tokenised texts, shape (len(tokens), dim)."""
        longest = max(map(len, tokens))
        ids = np.full((len(tokens), longest), self._tokenizer.pad_token_id or 0, np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, {name: feed[name] for name in feed if name in self._inputs})[0]
        if self.card.pooling == "cls":
            return self.finished(hidden[:, 0])
        weights = mask[..., None].astype(np.float32)
        return self.finished((hidden * weights).sum(axis=1) / weights.sum(axis=1))


def load_tokenizer(name: str, folder: Path) -> Any:
    """The tokenizer in `folder`; never asks a hub."""
    # On import transformers regrets aloud that PyTorch is missing; nothing here wants it.
    before = os.environ.get("TRANSFORMERS_NO_ADVISORY_WARNINGS")
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    try:
        from transformers import AutoTokenizer
    finally:
        if before is None:
            del os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"]
        else:
            os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = before
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        detail = str(error).splitlines()[0]
        raise EncoderError(
            name=name,
            detail=f"its tokenizer cannot be loaded: {detail}",
            detail_zh=f"分词器无法加载：{detail}",
        ) from error


def _similar_lengths(lengths: list[int]) -> Iterator[list[int]]:
    """Places of texts of about the same length, few enough to run together."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == _BATCH or (len(batch) + 1) * lengths[place] > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(place)
    yield batch
