"""Turn features, records and context into the arrays a network reads. Nothing is learned from labels here.

Shape letters: ``N`` variants of a catalogue, ``B`` decisions, ``K`` candidates (padded, masked), ``E`` encoders,
``P`` projected content width (all encoders side by side), ``C`` context width, ``R`` record width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.agreement import AGREEMENTS, agreement, aligned_pairs
from multimodal_dql.errors import RunError, UnknownNameError, UsageError
from multimodal_dql.features import Features

__all__ = [
    "RECORD_WIDTH",
    "Candidates",
    "ContentProjection",
    "ContextField",
    "ContextSpec",
    "Counts",
    "EncoderProjection",
    "State",
    "candidate_table",
    "record_features",
]

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

PAST = "past-tests"
"""What stands for a modality, and for a name, where what past A/B tests expect stands among encoders."""
DERIVED = (*AGREEMENTS, PAST)
"""Modalities of blocks that no encoder makes."""
RECORD_WIDTH = 3
PRIOR_IMPRESSIONS = 200.0
"""Pseudo-impressions that pull a variant's own click rate towards its story's; see `record_features`."""


@dataclass(frozen=True)
class Counts:
    """What a running experiment has seen so far, for `B` decisions at once; the candidates stand as in `State`.

    Attributes:
        impressions: (B, K) int64, zero for padding.
        clicks: (B, K) int64, at most `impressions`, zero for padding.
        elapsed: impressions of the whole experiment so far, (B,); the sum of `impressions` unless arms were dropped.
        horizon: impressions planned for the experiment, (B,); infinite when it is open-ended.
        prior_rate: click rate that a content model predicts, (B, K); NaN where it predicts nothing, None without one.
        prior_sd: standard deviation of the logit of the true rate around it, (B, K); NaN or None where not known.

    Raises:
        UsageError: shapes that do not fit, or counts that cannot be.
    """

    impressions: Int
    clicks: Int
    elapsed: NDArray[np.float64]
    horizon: NDArray[np.float64]
    prior_rate: NDArray[np.float64] | None = None
    prior_sd: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        shape = self.impressions.shape
        given = (self.clicks, self.prior_rate, self.prior_sd)
        wide = [a.shape for a in given if a is not None and a.shape != shape]
        narrow = [a.shape for a in (self.elapsed, self.horizon) if a.shape != shape[:1]]
        if len(shape) != 2 or wide or narrow:
            raise UsageError(
                detail=f"counts: give impressions (B, K), clicks and prior_rate alike, elapsed and horizon (B,); "
                f"these are {shape} against {[*wide, *narrow]}",
                detail_zh=f"计数：impressions 应为 (B, K)，clicks 与 prior_rate 同形，elapsed 与 horizon 为 (B,)；"
                f"现为 {shape} 与 {[*wide, *narrow]}",
            )
        wrong = ((self.clicks < 0) | (self.clicks > self.impressions)).any(axis=1)
        if wrong.any():
            row = int(wrong.argmax())
            raise UsageError(
                detail=f"counts: decision {row} has {self.clicks[row].tolist()} clicks on "
                f"{self.impressions[row].tolist()} impressions; clicks lie between 0 and the impressions",
                detail_zh=f"计数：第 {row} 个决策在 {self.impressions[row].tolist()} 次展示上有 "
                f"{self.clicks[row].tolist()} 次点击；点击数应在 0 与展示数之间",
            )

    @classmethod
    def zeros(cls, decisions: int, candidates: int) -> Counts:
        """Nothing seen yet, no plan, no prediction."""
        none = np.zeros((decisions, candidates), dtype=np.int64)
        return cls(none, none, np.zeros(decisions), np.full(decisions, np.inf))


@dataclass(frozen=True)
class State:
    """What is known when a choice is made, for `B` decisions at once.

    Attributes:
        content: projected embeddings, (B, K, P) float32, zero where a modality is absent.
        present: which encoder saw something, (B, K, E) float32 of 0 and 1.
        record: each candidate's own counts as features, (B, K, R) float32.
        context: the audience, (B, C) float32.
        available: which candidates exist, (B, K) bool; padding is False.
        item: number of the story in its catalogue, (B,); for bookkeeping, never an input of the network.
        counts: the running experiment, for policies that learn from counts; never an input of the network. A policy
            that needs it and finds None takes every count as zero.
    """

    content: Float
    present: Float
    record: Float
    context: Float
    available: Bool
    item: Int
    counts: Counts | None = None

    def inputs(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name, as the network takes them."""
        return {
            "content": self.content,
            "present": self.present,
            "record": self.record,
            "context": self.context,
            "available": self.available,
        }


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


def record_features(impressions: Int, clicks: Int, available: Bool, base_rate: float) -> Float:
    """A candidate's own counts as features.

    The rate is a posterior mean under ``PRIOR_IMPRESSIONS`` pseudo-impressions at the pooled rate of its siblings
    (itself pulled to ``base_rate``), so that no record at all reads (0, 1, 0).

    Args:
        impressions: (..., K).
        clicks: (..., K), at most `impressions`.
        available: (..., K).
        base_rate: clicks an impression over everything the agent was trained on.

    Returns:
        (..., K, 3) float32: logit of the rate minus logit of the pooled rate; its standard deviation relative to
        having no record; logarithm of the impressions, scaled to about 1 at 10,000.
    """
    n = np.where(available, impressions, 0).astype(np.float64)
    s = np.where(available, clicks, 0).astype(np.float64)
    pooled = (s.sum(-1, keepdims=True) + PRIOR_IMPRESSIONS * base_rate) / (
        n.sum(-1, keepdims=True) + PRIOR_IMPRESSIONS
    )
    rate = (s + PRIOR_IMPRESSIONS * pooled) / (n + PRIOR_IMPRESSIONS)
    gap = np.log(rate / (1 - rate)) - np.log(pooled / (1 - pooled))
    spread = np.sqrt(PRIOR_IMPRESSIONS / (n + PRIOR_IMPRESSIONS))
    out = np.stack([gap, spread, np.log1p(n) / np.log(1e4)], axis=-1)
    return np.asarray(out * available[..., None], dtype=np.float32)


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


@dataclass(frozen=True)
class ContextField:
    """One thing known about the audience.

    Attributes:
        name: as written in ``--context name=value``.
        kind: ``category`` (one of `values`), ``number`` (from `low` to `high`) or ``cycle`` (repeats at `high`).
        values: the categories.
        low: smallest number.
        high: largest number, or the period of a cycle.
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0

    @property
    def width(self) -> int:
        """Columns it takes: one per category, one for a number, two (sine and cosine) for a cycle."""
        return {"category": len(self.values), "number": 1, "cycle": 2}[self.kind]

    def parse(self, text: str) -> float:
        """Read a value: the index of a category, or a number in range. Raises `InputError` with the cure."""
        if self.kind == "category":
            if text not in self.values:
                raise UnknownNameError(
                    kind=f"value of '{self.name}'", kind_zh=f" {self.name} 取值", name=text, known=self.values
                )
            return float(self.values.index(text))
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not self.low <= value <= self.high:
            raise UsageError(
                detail=f"context {self.name}={text}: write a number from {self.low:g} to {self.high:g}",
                detail_zh=f"上下文 {self.name}={text}：请写 {self.low:g} 到 {self.high:g} 之间的数字",
            )
        return value

    def columns(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (B,) as columns (B, width)."""
        if self.kind == "category":
            return np.eye(len(self.values))[values.astype(np.int64)]
        if self.kind == "cycle":
            angle = 2 * np.pi * values / self.high
            return np.stack([np.sin(angle), np.cos(angle)], axis=1)
        return ((values - self.low) / (self.high - self.low))[:, None]


@dataclass(frozen=True)
class ContextSpec:
    """What is known about the audience, field by field; saved with every agent."""

    fields: tuple[ContextField, ...]

    @property
    def width(self) -> int:
        """C."""
        return sum(field.width for field in self.fields)

    def encode(self, columns: Mapping[str, NDArray[np.float64]]) -> Float:
        """Columns of values, each (B,), to (B, C) float32."""
        return np.concatenate([f.columns(columns[f.name]) for f in self.fields], axis=1).astype(np.float32)

    def parse(self, pairs: Sequence[str]) -> dict[str, float]:
        """Read ``name=value`` pairs from a command line. Raises `InputError` with the cure."""
        known = {field.name: field for field in self.fields}
        out: dict[str, float] = {}
        for pair in pairs:
            name, equals, text = pair.partition("=")
            if not equals:
                raise UsageError(
                    detail=f"context '{pair}': write it as name=value, for example device=mobile",
                    detail_zh=f"上下文 “{pair}”：请写成 名称=取值，例如 device=mobile",
                )
            if name not in known:
                raise UnknownNameError(kind="context field", kind_zh="上下文字段", name=name, known=known)
            if name in out:
                raise UsageError(
                    detail=f"context {name} is given twice; give it once",
                    detail_zh=f"上下文 {name} 重复；请只写一次",
                )
            out[name] = known[name].parse(text.strip())
        return out
