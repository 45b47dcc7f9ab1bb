"""The variants of a catalogue as candidates: embeddings projected, side by side. Nothing is learned from labels here.

Shape letters as in `multimodal_dql.state`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agreement import AGREEMENTS, agreement, aligned_pairs
from multimodal_dql.errors import RunError
from multimodal_dql.features import Features
from multimodal_dql.state import State

__all__ = ["Candidates", "ContentProjection", "EncoderProjection", "candidate_table"]

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

PAST = "past-tests"
"""What stands for a modality, and for a name, where what past A/B tests expect stands among encoders."""
DERIVED = (*AGREEMENTS, PAST)
"""Modalities of blocks that no encoder makes."""


@dataclass(frozen=True)
class EncoderProjection:
    """Principal components of one encoder's embeddings, scaled to unit variance.

    Attributes:
        name: the encoder.
        modality: ``image``, ``text``, ``audio``; ``image-text`` or ``audio-text`` for the agreement of two aligned
            encoders, which stands here as an encoder of one dimension (`multimodal_dql.agreement`).
        fingerprint: of the encoder it was fitted on; another fingerprint is refused.
        mean: (D,) float32.
        components: (D, p) float32; ``(x - mean) @ components`` has about unit variance within a story.
    """

    name: str
    modality: str
    fingerprint: str
    mean: Float
    components: Float


@dataclass(frozen=True)
class ContentProjection:
    """One `EncoderProjection` for each encoder, in a fixed order; then one for each pair of a shared space.

    The components are those of the differences between variants of the same story, because a choice is made
    among siblings: what they share (the topic) cannot tell them apart. Ridge on within-test-centred embeddings is
    also what predicts real headline tests best.
    """

    encoders: tuple[EncoderProjection, ...]

    @classmethod
    def fit(cls, features: Features, width: int = 24) -> ContentProjection:
        """Fit on a catalogue, without any label.

        Args:
            features: embeddings of the training catalogue.
            width: at most this many components for an encoder; fewer when the catalogue is small.
        """
        item = features.catalogue.item_index
        fitted = []
        for info in features.encoders:
            x = features.vectors[info.name][features.present[info.name]].astype(np.float64)
            groups = item[features.present[info.name]]
            mean = x.mean(axis=0) if len(x) else np.zeros(info.dim)
            centred = x - _group_mean(x, groups)
            fitted.append(
                EncoderProjection(
                    name=info.name,
                    modality=info.modality,
                    fingerprint=info.fingerprint,
                    mean=mean.astype(np.float32),
                    components=_whitening(centred, width).astype(np.float32),
                )
            )
        past = features.past
        if past is not None and np.any(past.effect):
            none, known = np.zeros(1, np.float32), past.effect[past.known, None]
            scale = _whitening(known, 1).astype(np.float32)
            fitted.append(EncoderProjection(PAST, PAST, past.fingerprint, none, scale))
        for pair in aligned_pairs(features.encoders):
            value, seen = agreement(features, pair)
            if np.any(value):
                none, scale = np.zeros(1, np.float32), _whitening(value[seen, None], 1).astype(np.float32)
                fitted.append(EncoderProjection(pair.name, pair.modality, pair.fingerprint, none, scale))
        return cls(tuple(fitted))

    @property
    def widths(self) -> tuple[int, ...]:
        """Components kept of each encoder; their sum is ``P``."""
        return tuple(e.components.shape[1] for e in self.encoders)

    @property
    def past(self) -> NDArray[np.float64]:
        """Logit of a click that past tests expect of a unit of each column, (P,); 0 where they were not asked."""
        blocks = [
            1.0 / e.components[0] if e.modality == PAST else np.zeros(e.components.shape[1])
            for e in self.encoders
        ]
        return np.concatenate(blocks).astype(np.float64) if blocks else np.zeros(0)

    def apply(self, features: Features) -> tuple[Float, Float]:
        """Project a catalogue's embeddings.

        Returns:
            content (N, P) and present (N, E), both float32.

        Raises:
            RunError: the catalogue was encoded with other encoders, or another version of one.
        """
        names = [info.name for info in features.encoders]
        wanted = [e.name for e in self.encoders if e.modality not in DERIVED]
        if names != wanted:
            raise RunError(
                path="encoders",
                detail=f"the agent was trained with {', '.join(wanted)}, the catalogue was encoded with "
                f"{', '.join(names)}; encode with the agent's encoders or train again",
                detail_zh=f"智能体是用 {', '.join(wanted)} 训练的，而目录是用 {', '.join(names)} 编码的；"
                "请用智能体的编码器重新编码，或重新训练",
            )
        blocks, masks = [], []
        for info, projection in zip(features.encoders, self.encoders, strict=False):
            if info.dim != projection.mean.shape[0] or info.fingerprint != projection.fingerprint:
                raise RunError(
                    path=f"encoder '{info.name}'",
                    detail=f"has changed since the agent was trained (dimension {info.dim}, then "
                    f"{projection.mean.shape[0]}); train the agent again",
                    detail_zh=f"在智能体训练之后已改变（现在 {info.dim} 维，当时 {projection.mean.shape[0]} 维）；"
                    "请重新训练",
                )
            seen = features.present[info.name]
            block = (features.vectors[info.name] - projection.mean) @ projection.components
            # A stranger far outside the training cloud must not saturate the network: 4 standard deviations is far.
            blocks.append(np.clip(block, -4.0, 4.0) * seen[:, None])
            masks.append(seen)
        pairs = {pair.name: pair for pair in aligned_pairs(features.encoders)}
        for projection in self.encoders[len(wanted) :]:
            if projection.modality == PAST:
                value, seen = _past(features, projection.fingerprint)
                blocks.append(np.clip(value[:, None] * projection.components[0], -4.0, 4.0))
                masks.append(seen)
                continue
            pair = pairs.get(projection.name)
            if pair is None or pair.fingerprint != projection.fingerprint:
                raise RunError(
                    path=f"encoders '{projection.name}'",
                    detail="no longer share the space in which the agent compared them; train the agent again",
                    detail_zh="不再共享智能体比较它们时所用的空间；请重新训练",
                )
            value, seen = agreement(features, pair)
            blocks.append(np.clip(value[:, None] * projection.components[0], -4.0, 4.0) * seen[:, None])
            masks.append(seen)
        n = len(features.catalogue.variants)
        content = np.concatenate(blocks, axis=1) if blocks else np.zeros((n, 0))
        present = np.stack(masks, axis=1) if masks else np.zeros((n, 0))
        return content.astype(np.float32), present.astype(np.float32)


@dataclass(frozen=True)
class Candidates:
    """The variants of every item as a padded table, and their content once.

    Attributes:
        content: (N + 1, P) float32; the last row is padding.
        present: (N + 1, E) float32.
        table: (items, K) int64, rows of `content`; padding points at the last row.
        available: (items, K) bool.
        impressions: (items, K) int64, each variant's record from the catalogue.
        clicks: (items, K) int64.
    """

    content: Float
    present: Float
    table: Int
    available: Bool
    impressions: Int
    clicks: Int

    @property
    def size(self) -> int:
        """K, the most variants of any item."""
        return int(self.table.shape[1])

    def state(self, items: Int, context: Float, record: Float) -> State:
        """The state of decisions on `items` (B,) under `context` (B, C) with `record` (B, K, R)."""
        rows = self.table[items]
        return State(self.content[rows], self.present[rows], record, context, self.available[items], items)


def candidate_table(features: Features, projection: ContentProjection) -> Candidates:
    """Lay the variants of each item side by side. Raises `RunError` as `ContentProjection.apply` does."""
    content, present = projection.apply(features)
    item = features.catalogue.item_index
    variants = features.catalogue.variants
    sizes = np.bincount(item)
    n, width = len(item), int(sizes.max())
    # Position of a variant among its siblings; variants are ordered item by item.
    slot = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    table = np.full((len(sizes), width), n, dtype=np.int64)
    table[item, slot] = np.arange(n)
    impressions = np.zeros(table.shape, dtype=np.int64)
    clicks = np.zeros(table.shape, dtype=np.int64)
    impressions[item, slot] = [v.impressions for v in variants]
    clicks[item, slot] = [v.clicks for v in variants]
    pad = ((0, 1), (0, 0))
    return Candidates(np.pad(content, pad), np.pad(present, pad), table, table < n, impressions, clicks)


def _past(features: Features, fingerprint: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Effects that past tests expect, (N,), and where they know, (N,). Raises `RunError` if another prior says so."""
    past = features.past
    if past is None or past.fingerprint != fingerprint:
        raise RunError(
            path="past tests",
            detail="the agent was trained with what past tests expect (train --prior), and this catalogue was not "
            "scored by the same prior; use the run directory as it was written, or train again",
            detail_zh="智能体训练时用到了过去测试的预期（train --prior），而此目录未由同一先验评分；"
            "请使用完整的运行目录，或重新训练",
        )
    return past.effect, past.known


def _group_mean(x: NDArray[np.float64], groups: Int) -> NDArray[np.float64]:
    """The mean of each row's group, (n, D), groups being small integers."""
    if not len(x):
        return x
    sums = np.zeros((int(groups.max()) + 1, x.shape[1]))
    np.add.at(sums, groups, x)
    counts = np.bincount(groups, minlength=len(sums)).astype(float)
    return np.asarray((sums / np.maximum(counts, 1.0)[:, None])[groups])


def _whitening(centred: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Leading principal directions divided by their standard deviation, (D, p), p <= width.

    A tenth of the largest variance is added to each, so that directions which are mostly noise stay small.
    """
    n, dim = centred.shape
    if n < 2 or not np.any(centred):
        return np.zeros((dim, 1))
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    variance = singular**2 / max(n - 1, 1)
    p = int(min(width, np.sum(variance > variance[0] * 1e-3)))
    # The sign of a singular vector is arbitrary: fix it, so that two machines give one projection.
    signs = np.sign(rows[np.arange(p), np.argmax(np.abs(rows[:p]), axis=1)])
    return np.asarray((rows[:p] * signs[:, None] / np.sqrt(variance[:p, None] + 0.1 * variance[0])).T)
