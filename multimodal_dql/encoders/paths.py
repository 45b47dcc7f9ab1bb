"""Where files of this package live on the user's machine."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["built_in_cards", "cache_root", "user_cards"]


def cache_root() -> Path:
    """Folder for what can be made again; the environment variable ``MULTIMODAL_DQL_CACHE`` moves it."""
    if override := os.environ.get("MULTIMODAL_DQL_CACHE"):
        return Path(override).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("multimodal-dql", appauthor=False)


def user_cards() -> Path:
    """Folder of cards the user added; the environment variable ``MULTIMODAL_DQL_CARDS`` moves it."""
    if override := os.environ.get("MULTIMODAL_DQL_CARDS"):
        return Path(override).expanduser()
    import platformdirs

    return platformdirs.user_data_path("multimodal-dql", appauthor=False) / "encoders"


def built_in_cards() -> Path:
    """Folder of the built-in cards: inside the package in a wheel, at the root of a checkout."""
    packaged = Path(__file__).parent / "cards"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "encoders"
