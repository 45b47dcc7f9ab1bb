"""Weights turned once into what a runtime reads, and kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from multimodal_dql.encoders.cards import Card
from multimodal_dql.encoders.paths import cache_root
from multimodal_dql.encoders.reasons import both
from multimodal_dql.encoders.sources import atomic_write
from multimodal_dql.errors import EncoderError, UnknownNameError

__all__ = ["Converter", "converted"]

Converter = Callable[[dict[str, Path], Card], bytes]

_CONVERSION = 1
"""Raised when a conversion changes, so that models converted before are not used."""


def converted(
    card: Card, files: dict[str, Path], converters: Mapping[str, Converter], suffix: str, *settings: float
) -> bytes:
    """The model that the card's `converter` makes of its files, from the cache if it is there and whole.

    `settings` are numbers of the card that change it.

    The cached file begins with the SHA-256 of the rest. Two processes that convert at once both write a
    whole file.
    """
    if card.converter not in converters:
        raise UnknownNameError(kind="converter", kind_zh="转换器", name=card.converter, known=converters)
    weights = sorted((file.name, file.sha256) for file in card.files)
    key = hashlib.sha256(repr((card.converter, _CONVERSION, weights, *settings)).encode()).hexdigest()
    path = cache_root() / "encoders" / card.name / f"{key[:32]}{suffix}"
    if path.is_file():
        stored = path.read_bytes()
        if hashlib.sha256(stored[32:]).digest() == stored[:32]:
            return stored[32:]
    try:
        model = converters[card.converter](files, card)
    except (ValueError, KeyError, TypeError) as error:
        reason, reason_zh = both(error)
        raise EncoderError(
            name=card.name,
            detail=f"its weights cannot be converted: {reason}",
            detail_zh=f"权重无法转换：{reason_zh}",
        ) from error
    with atomic_write(path) as out:
        out.write(hashlib.sha256(model).digest() + model)
    return model
