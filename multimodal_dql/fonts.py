"""Finding a font that really has the glyphs of a text, so that no box ("tofu") is ever drawn.

The first choice is the font that the dependency ``pylopdf-fonts-zh-cn`` ships, so that the same text gives
the same pixels on every machine; the second is Debian's ``fonts-noto-cjk``, for characters that the first
lacks.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from multimodal_dql.errors import MissingGlyphsError

__all__ = ["font_for", "font_paths", "missing_glyphs"]

_DEBIAN = (
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"),
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc"),
    Path("/usr/share/fonts/truetype/noto/NotoSansCJK-Regular.ttc"),
)
_UNASSIGNED = "\U0010ffff"  # a non-character: what a font draws for it is its box for missing glyphs
_PROBE_SIZE = 24


def font_paths() -> tuple[Path, ...]:
    """The fonts of this machine that texts may be drawn with, in the order in which they are tried."""
    found = []
    # Finding a package does not run its code.
    spec = importlib.util.find_spec("pylopdf_fonts_zh_cn")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found.append(Path(folder) / "NotoSansSC-Regular.otf")
    return tuple(path for path in (*found, *_DEBIAN) if path.is_file())


def font_for(text: str, size: float) -> ImageFont.FreeTypeFont:
    """A font that has every glyph of `text`.

    Args:
        text: what will be drawn, one or several lines.
        size: height of the font in pixels.

    Returns:
        The first font of `font_paths` that has them all. Pillow's own simple layout is used, because the
        other one depends on what libraries the machine has.

    Raises:
        MissingGlyphsError: no font has them all; says which are missing and what to install.

    """
    fewest: str | None = None
    for path in font_paths():
        missing = missing_glyphs(text, path)
        if not missing:
            return _open(path, size)
        if fewest is None or len(missing) < len(fewest):
            fewest = missing
    raise MissingGlyphsError(characters=fewest if fewest is not None else text[:20], package="fonts-noto-cjk")


def missing_glyphs(text: str, path: Path) -> str:
    """The characters of `text` that the font at `path` would draw as a box, each once, in order."""
    return "".join(char for char in dict.fromkeys(text) if not _drawn(char, path))


@lru_cache(maxsize=8192)
def _drawn(char: str, path: Path) -> bool:
    # Line breaks and invisible characters never reach the font or have no shape of their own.
    if char.isspace() or unicodedata.category(char) in ("Cc", "Cf", "Mn"):
        return True
    font = _open(path, _PROBE_SIZE)
    return _shape(font, char) != _box(path)


@lru_cache(maxsize=8)
def _box(path: Path) -> tuple[tuple[int, int], bytes]:
    return _shape(_open(path, _PROBE_SIZE), _UNASSIGNED)


def _shape(font: ImageFont.FreeTypeFont, char: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(char)
    return (mask.size, bytes(mask))


@lru_cache(maxsize=64)
def _open(path: Path, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
