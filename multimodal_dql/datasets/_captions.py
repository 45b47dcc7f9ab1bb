"""What looks wrong with a caption: lost or misread characters, markup, white space, length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from multimodal_dql.datasets._faults import data_finding, shown
from multimodal_dql.errors import DataFinding

__all__ = ["normalised", "suspicious"]

_LONG = 300  # characters; no headline is longer, and encoders look at about this much
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|&(?:[A-Za-z]{2,8}|#\d{1,6});")
# Embedding and override of direction: they turn the rest of a page around. Marks and isolates are in normal
# use.
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e")
# What U+FFFD becomes when UTF-8 is read as GB18030, and the usual sign of it in Chinese texts.
_LOST = ("\ufffd", "锟斤拷")


def normalised(caption: str) -> str:
    """The caption as a reader compares it: NFKC, small letters, white space as single blanks."""
    return " ".join(unicodedata.normalize("NFKC", caption).casefold().split())


def suspicious(caption: str) -> Iterator[DataFinding]:
    """Everything about one caption that deserves a look."""
    if not caption.strip():
        yield data_finding("blank")
        return
    if len(caption) > _LONG:
        yield data_finding("long", length=len(caption), limit=_LONG)
    for char in caption:
        if char in _OVERRIDES or (unicodedata.category(char) == "Cc" and char not in "\t\n\r"):
            yield data_finding("control", char=f"U+{ord(char):04X}")
            break
    if any(sign in caption for sign in _LOST):
        yield data_finding("replacement")
    elif misread := _misread(caption):
        yield data_finding("mojibake", charset=misread[0], guess=shown(misread[1], 30))
    if markup := _MARKUP.search(caption):
        yield data_finding("html", tag=shown(markup.group(), 20))
    cased = [c for c in caption if c.isupper() or c.islower()]
    if len(cased) >= 10 and all(c.isupper() for c in cased):
        yield data_finding("capitals")


def _misread(caption: str) -> tuple[str, str] | None:
    """(charset, text meant) if the caption is UTF-8 that was decoded with another charset, else None.

    Encoding it back must give valid UTF-8 with characters beyond ASCII: by chance that happens to two
    characters, as in a well-known editor bug, but not to three.
    """
    if sum(ord(c) > 0x7F for c in caption) < 2:
        return None
    try:
        # Programs fill the five gaps of Windows-1252 with the control characters of Latin-1.
        raw = b"".join(c.encode("latin-1" if "\x80" <= c <= "\x9f" else "cp1252") for c in caption)
        return "Windows-1252", raw.decode("utf-8")
    except UnicodeError:
        pass
    try:
        meant = caption.encode("gb18030").decode("utf-8")
    except UnicodeError:
        return None
    # Common hanzi can spell Greek or Arabic in UTF-8 by chance, but not other common hanzi.
    return ("GB18030", meant) if any("\u4e00" <= c <= "\u9fff" for c in meant) else None
