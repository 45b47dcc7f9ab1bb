"""Catalogues of variants, their pictures and sounds, and cards of public data sets.

Names are loaded when first used: the decoder process imports this package too, and must start fast and small.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multimodal_dql.datasets.cards import DatasetCard, dataset_card, dataset_cards
    from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant, read_catalogue
    from multimodal_dql.datasets.media import MediaLimits, MediaLoader, load_audio, load_image, media_digest
    from multimodal_dql.datasets.quality import QualityReport, check_catalogue

_HOME = {
    "Catalogue": "catalogue",
    "DatasetCard": "cards",
    "Item": "catalogue",
    "MediaLimits": "media",
    "MediaLoader": "media",
    "QualityReport": "quality",
    "Variant": "catalogue",
    "check_catalogue": "quality",
    "dataset_card": "cards",
    "dataset_cards": "cards",
    "load_audio": "media",
    "load_image": "media",
    "media_digest": "media",
    "read_catalogue": "catalogue",
}

__all__ = [
    "Catalogue",
    "DatasetCard",
    "Item",
    "MediaLimits",
    "MediaLoader",
    "QualityReport",
    "Variant",
    "check_catalogue",
    "dataset_card",
    "dataset_cards",
    "load_audio",
    "load_image",
    "media_digest",
    "read_catalogue",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
