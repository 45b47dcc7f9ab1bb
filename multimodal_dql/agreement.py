"""Whether a variant's picture or sound shows what its headline says, by encoders that share a space (CLIP, CLAP).

Their vectors can be compared: the cosine between them is high where both are about the same thing (Radford et al.
2021, section 2.1). What counts in a choice is the difference from the siblings, because how high a cosine is depends
on the topic and on the model.

Shape letters: ``N`` variants.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.base import EncoderInfo
from multimodal_dql.errors import EncoderError
from multimodal_dql.features import Features

__all__ = ["AGREEMENTS", "AlignedPair", "agreement", "aligned_pairs"]

AGREEMENTS = ("image-text", "audio-text")
"""What stands for a modality where an agreement stands among encoders."""

_REVISION = 1  # of the numbers below


@dataclass(frozen=True)
class AlignedPair:
    """Two encoders of one space.

    Attributes:
        media: reads pictures or sounds.
        text: reads headlines.
    """

    media: EncoderInfo
    text: EncoderInfo

    @property
    def name(self) -> str:
        """By which a run remembers it."""
        return f"{self.media.name}~{self.text.name}"

    @property
    def modality(self) -> str:
        """One of `AGREEMENTS`."""
        return f"{self.media.modality}-text"

    @property
    def fingerprint(self) -> str:
        """Changes whenever the numbers may change."""
        parts = f"{_REVISION}\n{self.media.fingerprint}\n{self.text.fingerprint}"
        return hashlib.sha256(parts.encode()).hexdigest()


def aligned_pairs(encoders: Sequence[EncoderInfo]) -> tuple[AlignedPair, ...]:
    """Every picture or sound encoder with every text encoder of its space, in order.

    Raises `EncoderError` for two that cannot share a space, because their vectors differ in length.
    """
    found = []
    for media in encoders:
        for text in encoders:
            if media.modality == "text" or text.modality != "text" or not media.space:
                continue
            if media.space != text.space:
                continue
            if media.dim != text.dim:
                raise EncoderError(
                    name=media.name,
                    detail=f"it cannot share the space '{media.space}' with '{text.name}': {media.dim} numbers against "
                    f"{text.dim}; mend `space` of one",
                    detail_zh=f"它与 “{text.name}” 的维度不同（{media.dim} 与 {text.dim}），"
                    f"不可能同属空间 “{media.space}”；请修正其中之一的 space",
                )
            found.append(AlignedPair(media, text))
    return tuple(found)


def agreement(features: Features, pair: AlignedPair) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cosine of each variant minus the mean over the siblings that have one, (N,), and where there is one, (N,).

    A variant without the one or the other has none, and reads 0.
    """
    media, text = (np.asarray(features.vectors[e.name], np.float64) for e in (pair.media, pair.text))
    size = np.linalg.norm(media, axis=1) * np.linalg.norm(text, axis=1)
    seen = features.present[pair.media.name] & features.present[pair.text.name] & (size > 0)
    cosine = np.where(seen, (media * text).sum(axis=1) / np.where(size > 0, size, 1.0), 0.0)
    item = features.catalogue.item_index
    count = np.bincount(item, seen)
    mean = np.bincount(item, cosine) / np.maximum(count, 1.0)
    return np.where(seen, cosine - mean[item], 0.0), seen
