"""From contents to the columns of the content prior: blocks of features, each with its own prior variance.

    <encoder>        the embedding: what is said; of a wide one the leading directions in which siblings differ
    style            length, punctuation, pronouns: how it is said (`prior.style`)
    novelty          how far a variant lies from its siblings, one column an encoder
    words            the commonest words and marks, as sublinear TF-IDF (Salton & Buckley 1988), each row of length 1
    topic:<encoder>  leading directions of the story's mean embedding times those of the deviation from it: whether the
                     same difference of words matters more in one kind of story than in another
    picture:<encoder>  leading directions in which the pictures of siblings differ, where they do
    cross:<picture encoder>*<text encoder>  leading directions of the picture's embedding times those of the text's
                     deviation: whether the same difference of words matters more next to one kind of picture
    level            how often a text of that kind is clicked in whatever test, one column (`prior.level`)

Columns are centred within a story, because only differences between siblings are compared, and every block is scaled to
the mean squared row length 1, so that a block's prior variance is the variance of the effects it can explain.

Shape letters: ``N`` variants, ``P`` columns, ``V`` words, ``D`` embedding, ``K`` directions of it, ``Q`` topics, ``R``
deviations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.prior.contents import Contents

__all__ = ["BlockSettings", "Blocks", "Topics", "fit_blocks", "level_parts", "with_level"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_CLIP = 4.0
"""Standard deviations beyond which a story differs from all that were seen: further is not extrapolated."""


@dataclass(frozen=True)
class BlockSettings:
    """What the columns are made of.

    Attributes:
        style: whether there is a block of style (and of novelty).
        words: V, how many of the commonest words and marks; 0 for none.
        topics: Q, directions of the story's mean embedding; 0 for no topic block.
        deviations: R, directions of the deviation from it.
        directions: K, at most so many directions of each text embedding: what is beyond says little and costs time with
            the third power.
        pictures: directions of the picture's embedding in the blocks ``cross``; 0 for none.
        looks: L, at most so many directions in which pictures of siblings differ.
        level: whether there is a column of what gets clicked between tests.
    """

    style: bool = True
    words: int = 400
    topics: int = 6
    deviations: int = 16
    directions: int = 192
    pictures: int = 4
    looks: int = 64
    level: bool = True


@dataclass(frozen=True)
class Topics:
    """The interaction of one encoder. Attributes: mean (D,), directions (D, Q) to unit variance, deviations (D, R)."""

    mean: Float
    directions: Float
    deviations: Float


@dataclass(frozen=True)
class Blocks:
    """How columns are made of contents; everything was measured on the training side.

    Attributes:
        encoders: names.
        style_mean: (F,), style_sd: (F,); empty without a block of style.
        novelty_mean: (E,), novelty_sd: (E,).
        vocabulary: (V,) tokens, idf: (V,) their weights.
        topics: encoder name -> its interaction; for ``cross`` blocks ``<picture encoder>*<text encoder>``, mean and
            directions of the picture, deviations of the text.
        pictures: picture encoder -> D.
        looks: picture encoder -> directions (D, L) in which pictures of siblings differ; not in it if they never do.
        axes: text encoder -> directions (D, K) in which texts of siblings differ most; not in it if all are used.
        level: block name -> weights of its columns in the column ``level``; empty without that.
        scales: block name -> factor of its columns, in the order of the columns.
    """

    encoders: tuple[str, ...]
    style_mean: Float
    style_sd: Float
    novelty_mean: Float
    novelty_sd: Float
    vocabulary: tuple[str, ...]
    idf: Float
    topics: Mapping[str, Topics]
    scales: Mapping[str, float]
    pictures: Mapping[str, int] = field(default_factory=dict)
    looks: Mapping[str, Float] = field(default_factory=dict)
    axes: Mapping[str, Float] = field(default_factory=dict)
    level: Mapping[str, Float] = field(default_factory=dict)

    def columns(self, contents: Contents) -> tuple[Float, Int]:
        """Centred columns (N, P) and the block of each (P,); rows of unknown texts are 0."""
        parts = _parts(self, contents)
        block = np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts.values()])
        scaled = [self.scales[name] * contents.centred(part) for name, part in parts.items()]
        return np.hstack(scaled), np.asarray(block, np.int64)


def level_parts(blocks: Blocks, contents: Contents) -> dict[str, Float]:
    """The columns that tests are compared by, before scaling and centring: meaning, style and words of each text."""
    parts = {
        name: contents.vectors[name] @ blocks.axes[name] if name in blocks.axes else contents.vectors[name]
        for name in blocks.encoders
    }
    if len(blocks.style_mean):
        parts["style"] = np.clip((contents.style - blocks.style_mean) / blocks.style_sd, -_CLIP, _CLIP)
    if blocks.vocabulary:
        parts["words"] = _tf_idf(contents.tokens, blocks.vocabulary, blocks.idf)
    return parts


def with_level(blocks: Blocks, level: Mapping[str, Float], contents: Contents) -> Blocks:
    """The same with a last column of `level` (see `Blocks`), to the size that it has in training contents."""
    if not level:
        return blocks
    scale = _scale(_level(level, level_parts(blocks, contents)), contents)
    return replace(blocks, level=level, scales={**blocks.scales, "level": scale})


def fit_blocks(contents: Contents, settings: BlockSettings) -> Blocks:
    """Measure on training contents what the columns need: means, spreads, directions, the commonest words."""
    known = contents.take(contents.known)
    encoders, pictures = tuple(contents.vectors), tuple(contents.pictures)
    novelty = _novelty(known) if settings.style else np.zeros((known.N, 0))
    styled = known.style if settings.style else np.zeros((known.N, 0))
    vocabulary, idf = _vocabulary(known.tokens, settings.words)
    unscaled = Blocks(
        encoders=encoders,
        style_mean=styled.mean(axis=0),
        style_sd=_spread(styled),
        novelty_mean=novelty.mean(axis=0),
        novelty_sd=_spread(novelty),
        vocabulary=vocabulary,
        idf=idf,
        topics={
            name: _topics(known, name, settings) for name in encoders if settings.topics * settings.deviations
        }
        | {
            f"{picture}*{text}": _crossed(known, picture, text, settings)
            for picture in pictures
            for text in encoders
            if settings.pictures * settings.deviations
        },
        scales={},
        pictures={name: contents.pictures[name].shape[1] for name in pictures},
        axes={
            name: _principal(known.centred(known.vectors[name]), settings.directions)[1]
            for name in encoders
            if known.vectors[name].shape[1] > settings.directions
        },
        looks={name: axes for name in pictures if (axes := _looks(known, name, settings.looks)).shape[1]},
    )
    scales = {name: _scale(part, known) for name, part in _parts(unscaled, known).items()}
    return replace(unscaled, scales=scales)


def _scale(part: Float, contents: Contents) -> float:
    """What brings the columns of a block to the mean squared row length 1; 0 where siblings never differ."""
    size = float((contents.centred(part) ** 2).sum(axis=1).mean())
    return float(1.0 / np.sqrt(size)) if size > 1e-12 else 0.0


def _parts(blocks: Blocks, contents: Contents) -> dict[str, Float]:
    """Block name -> columns before scaling and centring."""
    parts = level_parts(blocks, contents)
    level = _level(blocks.level, parts)
    if len(blocks.novelty_mean):
        novelty = (_novelty(contents) - blocks.novelty_mean) / blocks.novelty_sd
        words = parts.pop("words", None)
        parts["novelty"] = np.clip(novelty, -_CLIP, _CLIP)
        if words is not None:
            parts["words"] = words  # last, as in files
    for name, topics in blocks.topics.items():
        picture, _, text = name.rpartition("*")
        deviation = contents.centred(contents.vectors[text])
        mean = contents.pictures[picture] if picture else contents.vectors[text] - deviation
        topic = np.clip((mean - topics.mean) @ topics.directions, -_CLIP, _CLIP)
        product = topic[:, :, None] * (deviation @ topics.deviations)[:, None, :]
        block = f"cross:{name}" if picture else f"topic:{name}"
        parts[block] = product.reshape(contents.N, topic.shape[1] * topics.deviations.shape[1])
    for name, axes in blocks.looks.items():
        parts[f"picture:{name}"] = contents.pictures[name] @ axes
    if blocks.level:
        parts["level"] = level
    return parts


def _level(level: Mapping[str, Float], parts: Mapping[str, Float]) -> Float:
    """The logit of a click as far as tests tell it apart by their texts, up to a constant, (N, 1)."""
    # In the order of the columns, which decides the rounding: weights come back from a file in another.
    told = (part @ level[name] for name, part in parts.items() if name in level)
    return np.asarray(sum(told, np.zeros(1)))[:, None]


def _spread(columns: Float) -> Float:
    """Standard deviation of each column, infinite where it is constant: the column then says nothing."""
    sd = columns.std(axis=0) if len(columns) else np.zeros(columns.shape[1])
    return np.where(sd > 1e-9, sd, 1e12)


def _novelty(contents: Contents) -> Float:
    """Distance of each text from the mean of its story, (N, E)."""
    found = [np.linalg.norm(contents.centred(v), axis=1) for v in contents.vectors.values()]
    return np.stack(found, axis=1) if found else np.zeros((contents.N, 0))


def _vocabulary(counts: tuple[Counter[str], ...], size: int) -> tuple[tuple[str, ...], Float]:
    """The `size` commonest tokens, by name where equally common, and ``idf = ln((1 + N) / (1 + df)) + 1``."""
    total, documents = Counter[str](), Counter[str]()
    for count in counts:
        total.update(count)
        documents.update(count.keys())
    chosen = sorted(sorted(total), key=lambda token: -total[token])[:size]
    df = np.array([documents[token] for token in chosen], np.float64)
    return tuple(chosen), np.log((1 + len(counts)) / (1 + df)) + 1


def _tf_idf(counts: tuple[Counter[str], ...], vocabulary: tuple[str, ...], idf: Float) -> Float:
    place = {token: v for v, token in enumerate(vocabulary)}
    out = np.zeros((len(counts), len(vocabulary)))
    for row, count in zip(out, counts, strict=True):
        for token, times in count.items():
            if token in place:
                row[place[token]] = (1 + np.log(times)) * idf[place[token]]
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12))


def _topics(contents: Contents, name: str, settings: BlockSettings) -> Topics:
    """Principal directions of story means (to unit variance) and of the deviations from them."""
    deviation = contents.centred(contents.vectors[name])
    means = contents.vectors[name] - deviation
    centre = means.mean(axis=0)
    values, directions = _principal(means - centre, settings.topics)
    _, deviations = _principal(deviation, settings.deviations)
    scaled = np.ascontiguousarray(directions / np.sqrt(np.maximum(values, 1e-9)))
    return Topics(centre, scaled, deviations)


def _crossed(contents: Contents, picture: str, text: str, settings: BlockSettings) -> Topics:
    """Principal directions of pictures (to unit variance) and of the deviations of texts from their siblings."""
    shown = contents.pictures[picture][contents.pictured]
    centre = shown.mean(axis=0) if len(shown) else np.zeros(contents.pictures[picture].shape[1])
    values, directions = _principal(shown - centre, settings.pictures)
    _, deviations = _principal(contents.centred(contents.vectors[text]), settings.deviations)
    return Topics(centre, np.ascontiguousarray(directions / np.sqrt(np.maximum(values, 1e-9))), deviations)


def _looks(contents: Contents, picture: str, count: int) -> Float:
    """Principal directions (D, L) in which the pictures of siblings differ; L is 0 if they never do."""
    values, directions = _principal(contents.centred(contents.pictures[picture]), count)
    return np.ascontiguousarray(directions[:, values > 1e-9 * max(float(values.max(initial=0.0)), 1e-3)])


def _principal(rows: Float, count: int) -> tuple[Float, Float]:
    """Largest variances and their directions (D, count), fewer when there are fewer dimensions."""
    values, vectors = np.linalg.eigh(rows.T @ rows / max(len(rows), 1))
    order = np.argsort(-values, kind="stable")[:count]
    return values[order], np.ascontiguousarray(vectors[:, order])
