"""Whether a text is in a script that an encoder can read.

An encoder outside its languages gives the same vector for everything ([UNK] [UNK] [UNK]), which is worse
than none. Which of two languages in the same script a headline is in cannot be told without a model; that
its letters are Chinese can.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["covers", "script_of"]

_SCRIPTS_OF_LANGUAGE = {
    "ar": {"ARABIC"},
    "bg": {"CYRILLIC"},
    "el": {"GREEK"},
    "fa": {"ARABIC"},
    "he": {"HEBREW"},
    "hi": {"DEVANAGARI"},
    "ja": {"CJK", "HIRAGANA", "KATAKANA"},
    "ko": {"HANGUL", "CJK"},
    "mr": {"DEVANAGARI"},
    "ru": {"CYRILLIC"},
    "sr": {"CYRILLIC", "LATIN"},
    "th": {"THAI"},
    "uk": {"CYRILLIC"},
    "ur": {"ARABIC"},
    "zh": {"CJK"},
}
"""Languages not written in Latin letters; any other code counts as Latin."""

_ENOUGH = 0.5
"""Share of the letters that must be in a script of the encoder: a Chinese headline may name a Latin brand."""


def covers(languages: Sequence[str], text: str) -> bool:
    """True if at least half of the letters of `text` are in a script of `languages` (ISO 639-1; empty means
    any).

    A text without letters (digits, emoji) belongs to no language and is covered.
    """
    if not languages:
        return True
    if text.isascii():
        return "LATIN" in _scripts(tuple(languages)) or not any(map(str.isalpha, text))
    scripts = [script_of(letter) for letter in text if letter.isalpha()]
    known = _scripts(tuple(languages))
    return sum(script in known for script in scripts) >= _ENOUGH * len(scripts)


@lru_cache(maxsize=8192)
def script_of(letter: str) -> str:
    """The script of a letter: the first word of its Unicode name (``LATIN``); empty if it has none."""
    name = unicodedata.name(letter, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    return name.split(" ", 1)[0].split("-", 1)[0]


@lru_cache(maxsize=256)
def _scripts(languages: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(_SCRIPTS_OF_LANGUAGE.get(language, {"LATIN"}) for language in languages))
