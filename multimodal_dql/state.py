"""What is known when a choice is made, as the arrays a network reads. Nothing is learned here.

Shape letters: ``N`` variants of a catalogue, ``B`` decisions, ``K`` candidates (padded, masked), ``E`` encoders,
``P`` projected content width (all encoders side by side), ``C`` context width, ``R`` record width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError

__all__ = ["RECORD_WIDTH", "Counts", "State", "record_features"]

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

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
