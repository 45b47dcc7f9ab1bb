"""Texts through a tokenizer of `transformers` into any network that reads tokens."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import Modality, check_texts
from multimodal_dql.encoders.model_folder import check_folder
from multimodal_dql.encoders.pooling import chosen_output, pooled
from multimodal_dql.encoders.runtimes.card_encoder import CardEncoder
from multimodal_dql.errors import EncoderError

__all__ = ["TokenTextEncoder", "from_folder", "load_tokenizer"]

_BATCH = 16
_BATCH_TOKENS = 1024
"""Tokens in one run: bounds memory, and larger runs are not faster on one thread."""

_MAX_TOKENS = 32_768

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]


class TokenTextEncoder(CardEncoder):
    """A tokenizer and a network; a subclass brings both (`_start`).

    From ``card.preprocessing``: `max_tokens`, `max_characters` (2,000), `prefix` (put before each text, as E5 wants
    it), `lower_case`, and `padding` ``longest`` or ``max_length``, on the right, for a network that was trained on
    texts of one length (SigLIP). Texts run together with others of exactly their length, so that none is padded
    otherwise.
    """

    reads: ClassVar[tuple[Modality, ...]] = ("text",)

    def _start(self, tokenizer: Any, run: Run, inputs: Collection[str]) -> None:
        self._tokenizer, self._run, self._inputs = tokenizer, run, set(inputs)
        self._max_tokens = int(self.card.number("max_tokens"))
        self._max_characters = int(self.card.number("max_characters", 2000))
        self._prefix = str(self.card.preprocessing.get("prefix", ""))
        self._lower = self.card.preprocessing.get("lower_case") is True
        self._padded = self.card.word("padding", "longest", "max_length") == "max_length"
        if self._padded:
            tokenizer.padding_side = (
                "right"  # a decoder's tokenizer (Gemma's, of SigLIP 2) would pad on the left
            )
        if not 1 <= self._max_tokens <= _MAX_TOKENS:
            raise EncoderError(
                name=self.name,
                detail=f"preprocessing.max_tokens is {self._max_tokens}; write a number from 1 to {_MAX_TOKENS}",
                detail_zh=f"preprocessing.max_tokens 为 {self._max_tokens}；请写 1 到 {_MAX_TOKENS} 之间的数字",
            )

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings of texts, shape (len(items), dim)."""
        texts = check_texts(self.name, items, self._max_characters)
        if not texts:
            return self.empty(0)
        texts = [self._prefix + (text.lower() if self._lower else text) for text in texts]
        tokens = self._tokens(texts)
        out: dict[int, NDArray[np.float32]] = {}
        for places in _equal_lengths([len(ids) for ids in tokens]):
            rows = self.finished(self._vectors([tokens[place] for place in places]))
            out.update(zip(places, rows, strict=True))
        return np.stack([out[place] for place in range(len(texts))])

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        padding: bool | str = "max_length" if self._padded else False
        tokens = self._tokenizer(texts, truncation=True, max_length=self._max_tokens, padding=padding)[
            "input_ids"
        ]
        empty = self._tokenizer.unk_token_id or 0
        return [ids or [empty] for ids in tokens]  # a tokenizer without marks of begin and end, and no text

    def _vectors(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """What the network makes of texts of as many tokens each, shape (len(tokens), D)."""
        return self._pooled(self._run, tokens)

    def _pooled(self, run: Run, tokens: list[list[int]]) -> NDArray[np.float32]:
        ids = np.array(tokens, np.int64)
        mask = np.ones_like(ids)
        if self._padded and self._tokenizer.pad_token_id is not None:
            mask = (ids != self._tokenizer.pad_token_id).astype(np.int64)
            mask[:, 0] = 1  # a text of nothing
        feed: dict[str, NDArray[Any]] = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(ids),
            "position_ids": np.broadcast_to(np.arange(ids.shape[1], dtype=np.int64), ids.shape).copy(),
        }
        if "pixel_values" in self._inputs:  # both towers in one file: the other one gets a blank
            side = int(self.card.number("side", 224))
            feed["pixel_values"] = np.zeros((1, 3, side, side), np.float32)
        if unknown := sorted(self._inputs - set(feed)):
            raise EncoderError(
                name=self.name,
                detail=f"the model wants the input {unknown[0]!r}; export its text part alone",
                detail_zh=f"模型需要输入 {unknown[0]!r}；请只导出其文本部分",
            )
        outputs = run({name: feed[name] for name in feed if name in self._inputs})
        return pooled(self.card, chosen_output(self.card, outputs), mask.astype(np.bool_))


def load_tokenizer(name: str, folder: Path) -> Any:
    """The tokenizer in `folder`; never asks a hub and runs no code of the folder's."""
    return from_folder(name, folder, "AutoTokenizer")


def from_folder(name: str, folder: Path, kind: str) -> Any:
    """What the class `kind` of `transformers` makes of the files in `folder`, and of them alone."""
    check_folder(name, folder)
    try:
        with _no_advice():
            import transformers

            return getattr(transformers, kind).from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # of the tokenizers library, too, whose errors are plain exceptions
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        what, what_zh = _WHAT[kind]
        raise EncoderError(
            name=name, detail=f"its {what} cannot be loaded: {said}", detail_zh=f"{what_zh}无法加载：{said}"
        ) from error


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Transformers regrets aloud that PyTorch is missing, on import or at the first use; nothing here wants it."""
    before = os.environ.get("TRANSFORMERS_NO_ADVISORY_WARNINGS")
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"]
        else:
            os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = before


_WHAT = {
    "AutoTokenizer": ("tokenizer", "分词器"),
    "AutoImageProcessor": ("image processor", "图像处理器"),
    "AutoFeatureExtractor": ("feature extractor", "特征提取器"),
}


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
