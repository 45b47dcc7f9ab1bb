"""Text that users wrote, on its way to a page, a terminal or a spreadsheet."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path

from multimodal_dql.datasets.catalogue import Catalogue, Variant

__all__ = ["for_spreadsheet", "for_terminal", "language_of", "variants_by_key", "without_folder"]


# Scripts that name one language well enough for a screen reader's voice and a browser's choice of glyphs.
# The order matters: Japanese mixes kana with Han.
_SCRIPTS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "ja": ((0x3040, 0x30FF),),
    "ko": ((0x1100, 0x11FF), (0xAC00, 0xD7AF)),
    "zh": ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x323AF)),
    "he": ((0x0590, 0x05FF),),
    "th": ((0x0E00, 0x0E7F),),
}

# Overrides, embeddings and isolates would turn around the text of the cells beside them.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# What makes spreadsheet programs take a cell for a formula, full-width forms included.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def language_of(text: str) -> str:
    """The language tag that the script of `text` gives away, else empty, which means unknown in HTML.

    A fifth of the letters is enough: one Han character says as much as an English word.
    """
    letters = [ord(letter) for letter in text if letter.isalpha()]
    for tag, ranges in _SCRIPTS.items():
        found = sum(any(low <= letter <= high for low, high in ranges) for letter in letters)
        if found and found >= 0.2 * len(letters):
            return tag
    return ""


def for_terminal(text: str) -> str:
    """`text` on one line without control characters, so that no catalogue can send commands to a terminal."""
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) != "Cc" and c not in _BIDI_CONTROLS)


def for_spreadsheet(text: str) -> str:
    """`text`, with an apostrophe before it where a spreadsheet program would run it as a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text


def without_folder(text: str, folder: Path) -> str:
    """`text` with paths below `folder` shortened: a page that is passed around names no folder of ours."""
    shorter = text
    for form in dict.fromkeys((str(folder), str(folder.absolute()), str(folder.resolve()))):
        if form not in (".", "/"):
            shorter = shorter.replace(f"{form.rstrip('/')}/", "")
    return shorter


def variants_by_key(catalogue: Catalogue) -> dict[tuple[str, str], Variant]:
    """(item_id, variant_id) -> variant."""
    return {(variant.item_id, variant.variant_id): variant for variant in catalogue.variants}
