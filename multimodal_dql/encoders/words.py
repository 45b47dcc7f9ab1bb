"""A tokenizer that works word by word, made to remember the words it has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

__all__ = ["WORD_START", "by_words"]

WORD_START = "\u2581"
"""The sign that SentencePiece puts before each word in place of the space."""

_WORDS = 1 << 16
"""Words to remember, the least recently used go first; about 20 MB."""

_WORD_CHARACTERS = 24
"""Longer ones (a sentence without spaces) seldom return and are not remembered."""


def by_words(tokenise: Callable[[str], Sequence[int]], unknown: int) -> Callable[[str], list[int]]:
    """A function that gives what `tokenise` gives, which has to be the case that no token spans two words.

    Args:
        tokenise: text -> tokens without marks of begin and end, cutting at spaces and dropping them.
        unknown: the token that `tokenise` gives, alone, for a text of nothing but spaces. A word of one
            unknown character is more than that: it has the sign of a word before it.

    """
    nothing = (unknown,)

    def fresh(word: str) -> tuple[int, ...]:
        tokens = tuple(tokenise(word))
        return () if tokens == nothing else tokens

    remembered = lru_cache(_WORDS)(fresh)

    def tokens_of(text: str) -> list[int]:
        if WORD_START in text:  # written out, it is a space within a word, and one at its end is dropped
            return list(tokenise(text))
        tokens: list[int] = []
        for word in text.split(" "):
            tokens += remembered(word) if len(word) <= _WORD_CHARACTERS else fresh(word)
        return tokens or [unknown]

    return tokens_of
