"""What a decision does between its matrix products, in NumPy; `multimodal_dql.decider_compiled` has it compiled.

Arrays are float32, shape letters as in `multimodal_dql.decider_weights`; functions write into arrays they are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.decider_weights import EPSILON

__all__ = ["NUMPY", "Steps"]

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Steps:
    """One implementation of every step.

    Attributes:
        standardise: see `_standardise`; the others alike.
        normalise: of layer norm and relu.
        pool: over the candidates.
        modulate: FiLM.
        finish: click rate and Q.
        vote: shares of posterior samples.
        tile: whether `normalise` is faster with a gain repeated for each candidate than with a broadcast row.
    """

    standardise: Callable[..., None]
    normalise: Callable[..., None]
    pool: Callable[..., None]
    modulate: Callable[..., None]
    finish: Callable[..., tuple[Float, Float]]
    vote: Callable[..., Any]
    tile: bool


def _standardise(y: Float, seen: Float, fused: Float, start: int) -> None:
    """Rows of `y` (M, K, H), whose mean is 0, to variance 1, times `seen` (K,), into `fused` (M, K, ...) at `start`."""
    np.multiply(y, (seen / _deviation(y))[..., None], out=fused[..., start : start + y.shape[-1]])


def _normalise(y: Float, gain: Float, floor: Float) -> None:
    """``max(gain * y / sd, floor)`` in place, rows of `y` (M, K, H) having mean 0.

    The rest of relu(layer norm), adding the offset ``-floor``, is left to the layers behind.
    """
    if len(y) == y.shape[1] == 1:  # plain vectors have half the overhead
        y, gain, floor = y[0, 0], gain[0, 0], floor[0, 0]
        np.multiply(y, np.float32(1.0 / math.sqrt(y.dot(y) / len(y) + EPSILON)), out=y)
    else:
        np.divide(y, _deviation(y)[..., None], out=y)
    np.multiply(y, gain, out=y)
    np.maximum(y, floor, out=y)


def _deviation(y: Float) -> Float:
    """Root mean square of each row, (M, K)."""
    variance: Float = np.vecdot(y, y)
    variance *= np.float32(1.0 / y.shape[-1])
    variance += np.float32(EPSILON)
    np.sqrt(variance, out=variance)
    return variance


def _pool(hidden: Float, available: Bool, share: Float, out: Float) -> None:
    """Minimum, maximum and mean over the available candidates: (M, K, H), (K,) -> (M, 3, H).

    Args:
        hidden: (M, K, H).
        available: (K,).
        share: (K,), one divided by their number where available, else 0.
        out: (M, 3, H).
    """
    np.matmul(share, hidden, out=out[:, 2])
    if np.count_nonzero(available) < len(available):
        hidden = hidden[:, available]
    np.minimum.reduce(hidden, axis=1, out=out[:, 0])
    np.maximum.reduce(hidden, axis=1, out=out[:, 1])


def _modulate(hidden: Float, scale: Float, pools: Float, rows: Float, pooled: Float) -> None:
    """FiLM without its shift, of candidates and pools; row 1 of `pooled` becomes the maximum, row 0 nothing of use.

    Args:
        hidden: (M, K, H).
        scale: (M, 1, H), ``1 + gamma``.
        pools: (M, 3, H), as from `_pool`.
        rows: (M, K, H + 1), to write, but for the last column.
        pooled: (M, 3, H), to write.
    """
    np.multiply(hidden, scale, out=rows[..., :-1])
    np.multiply(pools, scale, out=pooled)
    # Where the scale is negative, the smallest has become the largest.
    np.maximum(pooled[:, 0], pooled[:, 1], out=pooled[:, 1])


def _finish(
    summary: Float, heads: Float, scored: Float, tastes: Float, content: Float, wide: Float, last: Float
) -> tuple[Float, Float]:
    """Click rate and Q, (M, K) each.

    Args:
        summary: (M, 1, H), the value's hidden layer.
        heads: (M, 2, H), the weights of the value and of the click.
        scored: (M, K, H).
        tastes: (M, 1, P), what the audience likes.
        content: (K, P).
        wide: (M, 4, K), as in `multimodal_dql.decider_candidates`.
        last: (M, 3), as in `Weights`.
    """
    match = np.matmul(tastes[:, 0], content.T)
    match *= wide[:, 0]
    match += wide[:, 1]
    logit = np.matmul(scored, heads[:, 1, :, None])[..., 0]
    logit += match
    # e^80 is still a number; a click rate of e^-80 is as good as none.
    np.negative(logit, out=logit)
    np.minimum(logit, np.float32(80.0), out=logit)
    np.exp(logit, out=logit)
    logit += np.float32(1.0)
    rate = np.reciprocal(logit, out=logit)
    q = rate * last[:, 2:]
    match *= last[:, :1]
    q += match
    q += wide[:, 2]
    q += (np.vecdot(summary[:, 0], heads[:, 0]) + last[:, 1] - q @ wide[0, 3])[:, None]
    return rate, q


def _vote(scores: Float, available: Bool, floor: float) -> NDArray[np.float64]:
    """The share of samples (columns) in which each candidate is best, with a floor: (K, S), (K,) -> (K,).

    The first of equals wins. NaN where a score is no finite number. It overwrites `scores`.
    """
    k, samples = scores.shape
    count = int(np.count_nonzero(available))
    if count < k:
        scores[~available] = 0.0
    if not math.isfinite(scores.sum()):
        return np.full(k, np.nan)
    if count < k:
        scores[~available] = -np.inf
    share: NDArray[np.float64] = np.bincount(scores.argmax(axis=0), minlength=k) * ((1.0 - floor) / samples)
    share += floor / k if count == k else available * (floor / count)
    return share


NUMPY = Steps(_standardise, _normalise, _pool, _modulate, _finish, _vote, tile=True)
