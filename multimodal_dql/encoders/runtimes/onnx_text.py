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
from multimodal_dql.encoders.onnx_int8 import int8_products
from multimodal_dql.encoders.runtimes.card_encoder import CardEncoder, l2_normalised, need_files
from multimodal_dql.encoders.sources import common_folder
from multimodal_dql.errors import EncoderError

__all__ = ["OnnxTextEncoder", "load_tokenizer"]

_MODEL = "model.onnx"
_BATCH = 16
_BATCH_TOKENS = 1024
"""Tokens in one run: bounds memory, and larger runs are not faster on one thread."""

_TRIAL = "A short sentence, to see what comes of it: 42 words would be too many."
_LIKENESS = 0.995
"""Least cosine between embeddings of `_TRIAL` by integer products and by the file as it is."""


class OnnxTextEncoder(CardEncoder):
    """``model.onnx`` plus the files of a tokenizer; `pooling` is ``mean`` over the real tokens, or ``cls``.

    Texts run together with others of exactly their length. The model must not let them see each other:
    weights in int8 are fine, activations that are quantised over the whole batch are not (`check_encoder`
    tells). A model that keeps its weights in int8 is made to multiply in int8 as well.
    """

    revision = 2
    reads: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, card: Card, files: dict[str, Path]) -> None:
        super().__init__(card, files)
        if card.pooling not in ("mean", "cls"):
            raise EncoderError(
                name=self.name,
                detail=f"pooling is '{card.pooling}'; write mean or cls",
                detail_zh=f"pooling 为 “{card.pooling}”；请写 mean 或 cls",
            )
        (model,) = need_files(card, files, _MODEL)
        self._session = onnx_session(self.name, model)
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._tokenizer = load_tokenizer(self.name, common_folder(card, files, lambda name: name != _MODEL))
        self._max_tokens = int(card.number("max_tokens"))
        self._max_characters = int(card.number("max_characters", 2000))
        self._session = self._faster(model)

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings of texts, shape (len(items), dim)."""
        texts = check_texts(self.name, items, self._max_characters)
        out = self.empty(len(texts))
        if not texts:
            return out
        tokens = self._tokenizer(texts, truncation=True, max_length=self._max_tokens)["input_ids"]
        for places in _equal_lengths([len(ids) for ids in tokens]):
            out[places] = self.finished(self._pooled(self._session, [tokens[place] for place in places]))
        return out

    def _pooled(self, session: Any, tokens: list[list[int]]) -> NDArray[np.float32]:
        """What `session` makes of texts of as many tokens each, shape (len(tokens), dim)."""
        ids = np.array(tokens, np.int64)
        feed = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        hidden = session.run(None, {name: feed[name] for name in feed if name in self._inputs})[0]
        return np.asarray(hidden[:, 0] if self.card.pooling == "cls" else hidden.mean(axis=1))

    def _faster(self, model: Path) -> Any:
        """A session with integer products, if the model has a place for them and they do no harm here.

        They do on a processor whose 8-bit products overflow (x86 before VNNI), which one trial shows.
        """
        rewritten = int8_products(model.read_bytes())
        if rewritten is None:
            return self._session
        tokens = [self._tokenizer(_TRIAL, truncation=True, max_length=self._max_tokens)["input_ids"]]
        try:
            session = onnx_session(self.name, rewritten)
            found = l2_normalised(self._pooled(session, tokens))
        except Exception:  # a pattern that only looked right; ONNX Runtime's errors share no base class
            return self._session
        expected = l2_normalised(self._pooled(self._session, tokens))
        return session if float(np.sum(found * expected)) >= _LIKENESS else self._session


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


def _equal_lengths(lengths: list[int]) -> Iterator[list[int]]:
    """Places of texts of the same length, few enough to run together.

    Padding would change how sums are rounded, and a number that is about to be made an integer may then fall
    to the other side: an embedding would depend on its neighbours, if ever so little.
    """
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = len(batch) == _BATCH or (len(batch) + 1) * lengths[place] > _BATCH_TOKENS
        if batch and (full or lengths[place] != lengths[batch[0]]):
            yield batch
            batch = []
        batch.append(place)
    yield batch
