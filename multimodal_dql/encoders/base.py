"""What an encoder is: one abstract method, four facts, and nothing else.

Batching, caching, decoding and devices live outside (`multimodal_dql.features`,
`multimodal_dql.datasets.media`), so that a new encoder is a class with one method, or only a card for a
runtime that exists already.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import EncoderError

__all__ = [
    "AUDIO_RATE_HZ",
    "Encoder",
    "EncoderInfo",
    "Modality",
    "check_images",
    "check_sounds",
    "check_texts",
]

Modality = Literal["image", "text", "audio"]

AUDIO_RATE_HZ = 16_000
"""Sampling rate of every sound that reaches an encoder."""


@dataclass(frozen=True)
class EncoderInfo:
    """The facts about an encoder that outlive it: in a feature cache, a run directory, a report.

    Attributes:
        name: as in the registry.
        modality: what it reads.
        dim: length of one embedding.
        fingerprint: changes whenever the numbers may change (other weights, other preprocessing, other code).
        space: encoders of one space can be compared across modalities (CLIP, CLAP); empty means a space of its own.

    """

    name: str
    modality: Modality
    dim: int
    fingerprint: str
    space: str = ""


class Encoder(ABC):
    """Turns texts, pictures or sounds into vectors, one item at a time as far as anyone can tell.

    Attributes:
        name: as in the registry.
        modality: ``text`` (items are ``str``), ``image`` (uint8 RGB arrays of shape (H, W, 3)) or ``audio``
            (float32 mono samples at 16 kHz of shape (samples,)).
        dim: length of one embedding.
        fingerprint: a string that changes whenever the numbers may change.
        languages: of a text encoder, the ISO 639-1 codes it understands; empty means any. A text in a script
            that none of them is written in counts as absent.
        space: name of the space that it shares with encoders of other modalities; empty means none.

    """

    name: str
    modality: Modality
    dim: int
    fingerprint: str
    languages: tuple[str, ...] = ()
    space: str = ""

    @abstractmethod
    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings of `items` in their order, shape (len(items), dim); (0, dim) for no items.

        The embedding of an item does not depend on its neighbours. Raises `EncoderError` for an item it
        cannot read.
        """

    @property
    def info(self) -> EncoderInfo:
        """The facts worth keeping."""
        return EncoderInfo(self.name, self.modality, self.dim, self.fingerprint, self.space)


def check_texts(name: str, items: Sequence[Any], max_characters: int | None = None) -> list[str]:
    """`items` as valid Unicode of at most `max_characters` each; `EncoderError` for what is no text.

    Half a surrogate pair (a cut emoji) becomes U+FFFD, because no tokenizer can encode it.
    """
    for position, item in enumerate(items):
        if not isinstance(item, str):
            raise _bad_item(name, position, item, "a string", "字符串")
    cut = (item if max_characters is None else item[:max_characters] for item in items)
    return [
        text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        for text in cut
    ]


def check_images(name: str, items: Sequence[Any]) -> list[NDArray[np.uint8]]:
    """`items` as they are; `EncoderError` for what is no uint8 RGB picture of shape (H, W, 3)."""
    for position, item in enumerate(items):
        fits = isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.ndim == 3
        if not (fits and item.shape[2] == 3 and item.size):
            raise _bad_item(
                name, position, item, "a uint8 array (height, width, 3)", "形状为 (高, 宽, 3) 的 uint8 数组"
            )
    return list(items)


def check_sounds(name: str, items: Sequence[Any]) -> list[NDArray[np.float32]]:
    """`items` as they are; `EncoderError` for what is no finite float32 mono sound of shape (samples,)."""
    for position, item in enumerate(items):
        fits = isinstance(item, np.ndarray) and item.dtype == np.float32 and item.ndim == 1 and item.size
        if not (fits and np.isfinite(item).all()):
            raise _bad_item(
                name,
                position,
                item,
                "finite float32 samples (samples,)",
                "形状为 (采样数,) 的有限 float32 数组",
            )
    return list(items)


def _bad_item(name: str, position: int, item: object, wanted: str, wanted_zh: str) -> EncoderError:
    given = f"{item.dtype} {item.shape}" if isinstance(item, np.ndarray) else type(item).__name__
    return EncoderError(
        name=name,
        detail=f"item {position} is {given}; give {wanted}",
        detail_zh=f"第 {position} 项是 {given}；需要{wanted_zh}",
    )
