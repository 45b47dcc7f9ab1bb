"""The texts and pictures of stories and their embeddings, as a content prior reads them.

Shape letters: ``N`` variants, ``G`` stories (tests), ``E`` encoders, ``D`` embedding, ``F`` style features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets.ab_tests import ABTests
from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant
from multimodal_dql.features import features
from multimodal_dql.prior.style import style, tokens

__all__ = ["Contents", "encode_texts", "headline_contents"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Contents:
    """Variants with their embeddings; those of one story follow each other.

    Attributes:
        story: (N,) index of the story of each variant, ascending.
        vectors: text encoder -> (N, D); the row of a text it cannot read is 0.
        known: (N,) whether there is what its siblings have: a text that every text encoder can read, if any sibling
            has a text, and a picture, if any has one and there are picture encoders.
        style: (N, F).
        tokens: (N,) words and marks with their counts.
        pictures: picture encoder -> (N, D); the row of an absent picture is 0.
    """

    story: Int
    vectors: Mapping[str, Float]
    known: Bool
    style: Float
    tokens: tuple[Counter[str], ...]
    pictures: Mapping[str, Float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        texts: Sequence[str | None],
        story: Int,
        vectors: Mapping[str, NDArray[Any]],
        known: Bool | None = None,
        pictures: Mapping[str, NDArray[Any]] | None = None,
        pictured: Bool | None = None,
    ) -> Self:
        """From texts and embeddings. Raises ValueError for shapes that do not fit or stories out of order.

        Args:
            texts: (N,).
            story: (N,).
            vectors: text encoder -> (N, D).
            known: (N,) texts that every text encoder can read; all that are not blank if None.
            pictures: picture encoder -> (N, D).
            pictured: (N,) variants that have a picture; all if None.
        """
        n = len(texts)
        readable = np.array([bool(text and text.strip()) for text in texts], np.bool_)
        known = readable if known is None else readable & known
        shown = {name: np.asarray(v, np.float64) for name, v in (pictures or {}).items()}
        pictured = np.full(n, bool(shown)) if pictured is None else pictured
        sizes = {len(v) for v in (*vectors.values(), *shown.values(), known, pictured, story)}
        if sizes - {n} or story.ndim != 1:
            raise ValueError(f"{n} texts need as many stories, vectors and flags")
        if n and (np.diff(story) < 0).any():
            raise ValueError("the texts of one story must follow each other, stories ascending")
        if shown:
            texted, seen = (np.isin(story, story[flag]) for flag in (readable, pictured))
            known = (known | ~texted) & (pictured | ~seen) & (texted | seen)
        arrays = {name: np.asarray(v, np.float64) for name, v in vectors.items()}
        return cls(story, arrays, known, style(texts), tuple(map(tokens, texts)), shown)

    @property
    def N(self) -> int:  # noqa: N802 - a shape letter
        """Variants."""
        return len(self.story)

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names, those of texts first."""
        return (*self.vectors, *self.pictures)

    @property
    def pictured(self) -> Bool:
        """Whether there is a picture that every picture encoder has read, (N,)."""
        here = [v.any(axis=1) for v in self.pictures.values()]
        return np.logical_and.reduce(here) if here else np.zeros(self.N, np.bool_)

    def only(self, encoders: Sequence[str]) -> Contents:
        """The same variants as some of the encoders see them."""
        vectors = {name: self.vectors[name] for name in encoders if name in self.vectors}
        pictures = {name: self.pictures[name] for name in encoders if name in self.pictures}
        if len(vectors) + len(pictures) < len(encoders):
            raise KeyError(next(name for name in encoders if name not in self.encoders))
        return replace(self, vectors=vectors, pictures=pictures)

    def take(self, keep: Bool) -> Contents:
        """The variants where `keep` (N,) is true, whole stories at a time."""
        return Contents(
            self.story[keep],
            {name: v[keep] for name, v in self.vectors.items()},
            self.known[keep],
            self.style[keep],
            tuple(t for t, wanted in zip(self.tokens, keep.tolist(), strict=True) if wanted),
            {name: v[keep] for name, v in self.pictures.items()},
        )

    def centred(self, columns: Float) -> Float:
        """`columns` (N, P) minus their mean over the known texts of the story; 0 for unknown texts."""
        _, index = np.unique(self.story, return_inverse=True)
        starts = np.flatnonzero(np.diff(index, prepend=-1))
        weight = self.known.astype(np.float64)[:, None]
        if not self.N:
            return columns
        count = np.maximum(np.add.reduceat(weight, starts), 1.0)
        mean = np.add.reduceat(columns * weight, starts) / count
        return np.asarray((columns - mean[index]) * weight)


def encode_texts(
    texts: Sequence[str | None],
    encoders: Sequence[str],
    *,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[dict[str, Float], Bool]:
    """Embeddings of texts by text encoders, through the feature cache.

    Returns:
        encoder name -> (N, D), and whether every encoder can read each text, (N,).

    Raises:
        EncoderError: an encoder is not available or no text encoder.
    """
    # One item for all texts: `features` wants two variants an item, and a story may have one text.
    spare = (Variant("texts", "spare", None, "a", None), Variant("texts", "spare too", None, "b", None))
    rows = [Variant("texts", str(n), None, text, None) for n, text in enumerate(texts)]
    catalogue = Catalogue(Path("texts"), (Item("texts", (*rows, *spare)),))
    made = features(catalogue, list(encoders), cache=cache, strict=True, progress=progress)
    known = np.ones(len(texts), np.bool_)
    for name in encoders:
        known &= made.present[name][: len(texts)]
    return {name: made.vectors[name][: len(texts)].astype(np.float64) for name in encoders}, known


def headline_contents(
    tests: ABTests,
    encoders: Sequence[str],
    *,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Contents:
    """The headlines of A/B tests."""
    vectors, known = encode_texts(tests.headlines, encoders, cache=cache, progress=progress)
    return Contents.of(tests.headlines, tests.test, vectors, known)
