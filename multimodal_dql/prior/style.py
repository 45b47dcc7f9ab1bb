"""What a headline looks like, whatever it is about: length, punctuation, pronouns, readability.

Hand-made because they generalise: a few dozen numbers that mean the same in every story, beside hundreds of
dimensions of meaning. They are numbers of the text alone. Word lists are English; in other languages they are 0.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["STYLE_NAMES", "style", "tokens"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?…。！？]+")
_VOWELS = re.compile(r"[aeiouy]+")


def _words(text: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(text.split())})\b", re.IGNORECASE)


def _start(text: str) -> re.Pattern[str]:
    return re.compile(rf"\W*(?:{'|'.join(text.split())})\b", re.IGNORECASE)


_COUNTED = {
    "pointing": _words("this these that those here it"),
    "negation": re.compile(r"\b(?:not|no|never|nothing|none|nobody|without)\b|n['’]t\b", re.IGNORECASE),
    "modal": _words("should could would might may must can will"),
    "question_word": _words("what why how who when where which"),
    "emphasis": _words(
        "most best worst ever every all always only just really literally totally actually everyone anyone"
    ),
    "conjunction": _words("but and or so because if until then"),
    "contraction": re.compile(r"['’](?:s|t|re|ll|ve|d|m)\b", re.IGNORECASE),
}
_CONTAINED = {
    "first_person": _words("i me my mine we us our"),
    "second_person": _words("you your yours yourself"),
    "he": _words("he him his himself"),
    "she": _words("she her hers herself"),
    "they": _words("they them their theirs"),
    "question": re.compile(r"[?？]"),
    "exclamation": re.compile(r"[!！]"),
    "number": re.compile(r"\d"),
    "money": re.compile(r"[$€£¥]"),
    "percent": re.compile("%"),
    "quotation": re.compile(r"[\"“”「」]"),
    "single_quotation": re.compile(r"(?:^|\s)['‘]\w"),
    "colon": re.compile(r"[:：]"),
    "ellipsis": re.compile(r"\.\.\.|…"),
    "dash": re.compile(r" [-–—] |—|--"),
    "parenthesis": re.compile(r"[(（]"),
    "semicolon": re.compile(r"[;；]"),
    "hashtag": re.compile("#"),
    "ampersand": re.compile("&"),
}
_BEGINS = {
    "starts_number": re.compile(r"\W*\d"),
    "starts_pointing": _start("this these that those here"),
    "starts_question_word": _start("what why how who when where which"),
    "starts_article": _start("a an the"),
    "starts_third_person": _start("he she they his her"),
    "starts_first_person": _start("i we my"),
    "starts_second_person": _start("you your if"),
}
_MEASURED = (
    *("log_characters", "log_words", "log_characters_from_usual", "word_length", "long_words", "short_words"),
    *("sentences", "log_sentence_words", "log_first_sentence_words", "log_last_sentence_words", "log_digits"),
    *("quotation_marks", "commas", "ends_period", "ends_question", "capitals", "shouted_words", "title_case"),
    *("names", "articles", "different_words", "syllables"),
)
STYLE_NAMES: tuple[str, ...] = (*_MEASURED, *_COUNTED, *_CONTAINED, *_BEGINS)
"""Names of the columns of `style`."""
_ARTICLES = _words("a an the")
_USUAL_LOG_CHARACTERS = 4.3
"""About 75 characters: the middle of the lengths at which headlines are written."""


def style(texts: Sequence[str | None]) -> NDArray[np.float64]:
    """Style of each text, (N, F) with the columns `STYLE_NAMES`; rows of 0 for no text."""
    out = np.zeros((len(texts), len(STYLE_NAMES)))
    for row, text in zip(out, texts, strict=True):
        if text and text.strip():
            row[:] = _style(text)
    return out


def tokens(text: str | None) -> Counter[str]:
    """Words and punctuation marks of a text, case folded, with how often each occurs."""
    return Counter(_TOKEN.findall(text.casefold())) if text else Counter()


def _style(text: str) -> list[float]:
    words = _WORD.findall(text)
    n = max(len(words), 1)
    sentences = [part.split() for part in _SENTENCE_END.split(text) if part.strip()]
    letters = [c for c in text if c.isalpha()]
    log_characters = np.log1p(len(text))
    measured: list[float] = [
        log_characters,
        np.log1p(len(words)),
        (log_characters - _USUAL_LOG_CHARACTERS) ** 2,
        sum(map(len, words)) / n,
        sum(len(w) >= 7 for w in words) / n,
        sum(len(w) <= 3 for w in words) / n,
        len(sentences),
        np.log1p(n / max(len(sentences), 1)),
        np.log1p(len(sentences[0]) if sentences else 0),
        np.log1p(len(sentences[-1]) if sentences else 0),
        np.log1p(sum(c.isdigit() for c in text)),
        min(sum(c in '"“”' for c in text), 4),
        min(sum(c in ",，" for c in text), 4),
        text.rstrip().endswith((".", "。")),
        text.rstrip().endswith(("?", "？")),
        sum(c.isupper() for c in letters) / max(len(letters), 1),
        sum(w.isupper() and len(w) >= 2 for w in words),
        sum(w[:1].isupper() for w in words) / n,
        sum(w[:1].isupper() for w in words[1:]) / n,
        len(_ARTICLES.findall(text)) / n,
        len({w.casefold() for w in words}) / n,
        sum(max(1, len(_VOWELS.findall(w.casefold()))) for w in words) / n,
    ]
    counted = [len(pattern.findall(text)) for pattern in _COUNTED.values()]
    contained = [bool(pattern.search(text)) for pattern in _CONTAINED.values()]
    begins = [bool(pattern.match(text)) for pattern in _BEGINS.values()]
    return [*map(float, (*measured, *counted, *contained, *begins))]
