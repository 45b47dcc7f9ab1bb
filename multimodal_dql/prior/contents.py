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
from multimodal_dql.encoders.registry import encoder_info
from multimodal_dql.errors import ABTestsError, UsageError
from multimodal_dql.features import features
from multimodal_dql.prior.style import style, tokens

__all__ = [
    "Contents",
    "encode",
    "encode_pictures",
    "encode_texts",
    "headline_contents",
    "picture_paths",
]

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


def encode_pictures(
    paths: Sequence[Path | None],
    encoders: Sequence[str],
    *,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Float]:
    """Embeddings of picture files by picture encoders, through the feature cache; the row of None is 0.

    Returns:
        encoder name -> (N, D).

    Raises:
        EncoderError: an encoder is not available.
        MediaError: a file cannot be read.
    """
    place = {path: n for n, path in enumerate(dict.fromkeys(path for path in paths if path is not None))}
    index = np.array([-1 if path is None else place[path] for path in paths], np.int64)
    if not place:
        return {name: np.zeros((len(paths), encoder_info(name).dim)) for name in encoders}
    first = next(iter(place))
    rows = [Variant("pictures", str(n), path, None, None) for n, path in enumerate(place)]
    spare = Variant("pictures", "spare", first, None, None)
    catalogue = Catalogue(Path("pictures"), (Item("pictures", (*rows, spare)),))
    made = features(catalogue, list(encoders), cache=cache, strict=True, progress=progress)
    there = (index >= 0)[:, None]
    return {name: np.where(there, made.vectors[name][index].astype(np.float64), 0.0) for name in encoders}


def encode(
    texts: Sequence[str | None],
    pictures: Sequence[Path | None],
    story: Int,
    encoders: Sequence[str],
    *,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Contents:
    """Contents of variants whose texts and picture files these are, in stories (N,), ascending.

    Raises:
        UsageError: an encoder of sounds: no past test says what a sound does.
        EncoderError: an encoder is not available.
        MediaError: a picture cannot be read.
    """
    kinds = {name: encoder_info(name).modality for name in encoders}
    if deaf := [name for name, kind in kinds.items() if kind not in ("text", "image")]:
        raise UsageError(
            detail=f"the prior reads texts and pictures; leave '{deaf[0]}' out of --encoders",
            detail_zh=f"先验只读取文字和图片；请从 --encoders 中去掉 “{deaf[0]}”",
        )
    reading = [name for name in encoders if kinds[name] == "text"]
    seeing = [name for name in encoders if kinds[name] == "image"]
    vectors, known = encode_texts(texts, reading, cache=cache, progress=progress) if reading else ({}, None)
    if not seeing:
        return Contents.of(texts, story, vectors, known)
    shown = encode_pictures(pictures, seeing, cache=cache, progress=progress)
    pictured = np.array([path is not None for path in pictures], np.bool_)
    return Contents.of(texts, story, vectors, known, shown, pictured)


def headline_contents(
    tests: ABTests,
    encoders: Sequence[str],
    *,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Contents:
    """The headlines of A/B tests, and their pictures if there are encoders of pictures.

    Pictures are paths from the folder of the file. Raises `ABTestsError` for ids that are no files; else see `encode`.
    """
    paths = picture_paths(tests)
    if any(encoder_info(name).modality == "image" for name in encoders):
        missing = [path for path in paths if path is not None and not path.is_file()]
        if missing:
            raise ABTestsError(
                path=tests.path,
                detail=f"the picture '{missing[0].name[:60]}' is no file next to it ({len(missing)} arms have none);"
                " give paths from its folder, or name text encoders alone in --encoders",
                detail_zh=f"图片 “{missing[0].name[:60]}” 不是其旁的文件（共 {len(missing)} 个变体如此）；"
                "请写相对于该文件夹的路径，或在 --encoders 中只写文字编码器",
            )
    return encode(tests.headlines, paths, tests.test, encoders, cache=cache, progress=progress)


def picture_paths(tests: ABTests) -> list[Path | None]:
    """The picture file of each arm, (A,), which may not exist; from the folder of the file of the tests."""
    return [None if image is None else tests.path.parent / image for image in tests.images]
