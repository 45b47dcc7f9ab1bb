"""Where files of this package live on the user's machine."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from multimodal_dql.errors import UsageError

__all__ = ["add_extra_cards", "built_in_cards", "cache_root", "extra_cards", "project_cards", "user_cards"]

_extra: list[Path] = []


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


def add_extra_cards(folder: Path) -> None:
    """Makes the cards in `folder` known for the rest of this process."""
    if folder not in _extra:
        _extra.append(folder)


def extra_cards() -> list[Path]:
    """Folders of `add_extra_cards`."""
    return list(_extra)


def project_cards() -> list[Path]:
    """Folders that ``[tool.multimodal-dql] encoders`` in the working directory's ``pyproject.toml`` names."""
    file = Path("pyproject.toml")
    if not file.is_file():
        return []
    try:
        content = file.read_bytes()
        if b"multimodal-dql" not in content:
            return []
        named = (
            tomllib.loads(content.decode("utf-8"))
            .get("tool", {})
            .get("multimodal-dql", {})
            .get("encoders", [])
        )
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError(
            detail=f"pyproject.toml cannot be read: {error}", detail_zh=f"无法读取 pyproject.toml：{error}"
        ) from error
    if not isinstance(named, list) or not all(isinstance(folder, str) for folder in named):
        raise UsageError(
            detail='pyproject.toml: write [tool.multimodal-dql] encoders = ["folder of cards"]',
            detail_zh='pyproject.toml：请写 [tool.multimodal-dql] encoders = ["卡片文件夹"]',
        )
    return [file.resolve().parent / Path(folder).expanduser() for folder in named]
