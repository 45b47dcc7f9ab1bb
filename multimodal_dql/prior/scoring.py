"""Scores for the rows of a file by a content prior: a catalogue, or A/B tests with or without their outcome.

Of a test only ids, headlines and picture files are read, never counts; rows of identical content in one story are one
variant, as they are in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets._ab_read import read_ab_table
from multimodal_dql.datasets.ab_tests import normalised_headline
from multimodal_dql.datasets.catalogue import Catalogue, read_catalogue
from multimodal_dql.datasets.upworthy import ARM_COLUMNS, is_upworthy
from multimodal_dql.encoders.registry import encoder_info
from multimodal_dql.errors import ABTestsError, RunError
from multimodal_dql.prior.contents import encode
from multimodal_dql.prior.model import ContentPrior

__all__ = ["Score", "TextRow", "check_encoders", "read_text_rows", "rows_of", "score_rows"]

_Z95 = 1.959964


@dataclass(frozen=True)
class TextRow:
    """One row of the file. Attributes: ids as written, the text and the picture file (None if there is none)."""

    item_id: str
    variant_id: str
    text: str | None
    picture: Path | None = None


@dataclass(frozen=True)
class Score:
    """Expected logit effect of a row against its siblings with its 95 % interval; `known` False if it says nothing."""

    score: float
    low: float
    high: float
    known: bool

    @property
    def sd(self) -> float:
        """Standard deviation."""
        return (self.high - self.low) / (2.0 * _Z95)


def read_text_rows(path: Path) -> list[TextRow]:
    """The rows in the order of the file.

    Raises:
        CatalogueError: it looks like a catalogue and cannot be read.
        ABTestsError: it looks like A/B tests, or like neither, and cannot be read.
    """
    suffixes = "".join(path.suffixes[-2:]).lower()
    if suffixes.endswith((".jsonl", ".ndjson")):
        return rows_of(read_catalogue(path))
    table = read_ab_table(path)
    if "item_id" in table.columns:
        return rows_of(read_catalogue(path))
    names = ARM_COLUMNS if is_upworthy(table.columns) else {"test": "test", "headline": "headline"}
    missing = [names[name] for name in ("test", "headline") if names[name] not in table.columns]
    if missing:
        raise ABTestsError(
            path=path,
            detail=f"there is no column '{missing[0]}'; write a catalogue (item_id, variant_id, caption) or tests"
            " (test, variant, headline)",
            detail_zh=f"缺少列 “{missing[0]}”；请提供清单（item_id、variant_id、caption）"
            "或测试（test、variant、headline）",
        )
    if table.problems or not table.rows:
        first = table.problems[0] if table.problems else None
        raise ABTestsError(
            path=path,
            detail=first.text("en") if first else "there are no rows; write one row a variant",
            detail_zh=first.text("zh") if first else "没有任何数据行；每个变体写一行",
        )
    places: dict[str, int] = {}
    rows = []
    for _, values in table.rows:
        test = _text(values.get(names["test"]))
        places[test] = places.get(test, 0) + 1
        variant = _text(values.get("variant")) or str(places[test])
        image = "" if is_upworthy(table.columns) else _text(values.get("image"))
        picture = path.parent / image if image else None
        rows.append(TextRow(test, variant, _text(values.get(names["headline"])) or None, picture))
    return rows


def check_encoders(prior: ContentPrior, run: Path) -> None:
    """Raise `RunError` if an encoder gives other numbers now than those the prior was fitted to."""
    for name, fingerprint in prior.fingerprints.items():
        if encoder_info(name).fingerprint != fingerprint:
            raise RunError(
                path=run,
                detail=f"was fitted to another version of the encoder '{name}'; fit it again:"
                " multimodal-dql prior fit TESTS --out RUN",
                detail_zh=f"是用编码器 “{name}” 的另一版本拟合的；请重新拟合：multimodal-dql prior fit TESTS --out RUN",
            )


def score_rows(
    prior: ContentPrior,
    rows: list[TextRow],
    *,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Score]:
    """The score of each row, in order. What no encoder can read, or has no text, scores 0 with the full uncertainty."""
    place: dict[tuple[str, str, Path | None], int] = {}
    unique: list[TextRow] = []
    story: dict[str, int] = {}
    for row in rows:
        story.setdefault(row.item_id, len(story))
        key = _content(prior, row)
        if key not in place:
            place[key] = len(unique)
            unique.append(row)
    index = np.array([story[row.item_id] for row in unique], np.int64)
    order = np.argsort(index, kind="stable")
    texts = [unique[n].text for n in order]
    encoders = (*prior.blocks.encoders, *prior.blocks.pictures)
    pictures = [unique[n].picture for n in order]
    found = prior.predict(encode(texts, pictures, index[order], encoders, cache=cache, progress=progress))
    back: NDArray[np.int64] = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    out = []
    for row in rows:
        n = back[place[_content(prior, row)]]
        mean, half = float(found.mean[n]), _Z95 * float(found.sd[n])
        out.append(Score(mean, mean - half, mean + half, bool(found.known[n])))
    return out


def rows_of(catalogue: Catalogue) -> list[TextRow]:
    """The variants of a catalogue in the order of its file."""
    variants = sorted(catalogue.variants, key=lambda variant: variant.line)
    return [TextRow(v.item_id, v.variant_id, v.caption, v.image) for v in variants]


def _content(prior: ContentPrior, row: TextRow) -> tuple[str, str, Path | None]:
    """What of a row the prior can tell apart."""
    return row.item_id, normalised_headline(row.text or ""), row.picture if prior.blocks.pictures else None


def _text(value: object) -> str:
    """A cell as text; a number that Parquet made of an id is written as a whole number."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
