"""The steps of `multimodal_dql.decider_steps` compiled: each passes over memory once. Importing this loads numba.

The sums are free to be added up in any order (``reassoc``), which lets them use vector instructions; NaN and infinity
keep their meaning.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from multimodal_dql.decider_steps import Steps
from multimodal_dql.decider_weights import EPSILON

__all__ = ["COMPILED"]

F = TypeVar("F", bound=Callable[..., Any])
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

ONE = np.float32(1.0)
VARIANCE_FLOOR = np.float32(EPSILON)


def _compiled(function: F) -> F:
    """Machine code, free of the interpreter lock, kept on disk: beside the source, or in the cache of this package."""
    usual = numba.config.CACHE_DIR
    beside = Path(__file__).parent
    own = beside / "__pycache__"
    if not usual and not os.access(own if own.is_dir() else beside, os.W_OK):
        from multimodal_dql.encoders.paths import cache_root  # with it comes much that takes time to import

        numba.config.CACHE_DIR = str(cache_root() / "compiled")
    try:
        settings: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
        return cast(F, numba.njit(fastmath={"reassoc", "contract", "nsz"}, **settings)(function))
    finally:
        numba.config.CACHE_DIR = usual


# A loop that writes one row which it also reads, or one that overlaps no other, is turned into vector instructions.


@_compiled
def _standardise(y: Float, seen: Float, fused: Float, start: int) -> None:
    m, k, h = y.shape
    for i in range(m):
        for j in range(k):
            row, out = y[i, j], fused[i, j, start : start + h]
            total = np.float32(0.0)
            for x in range(h):
                total += row[x] * row[x]
            factor = seen[j] / np.sqrt(total / np.float32(h) + VARIANCE_FLOOR)
            for x in range(h):
                out[x] = row[x] * factor


@_compiled
def _normalise(y: Float, gain: Float, floor: Float) -> None:
    m, k, h = y.shape
    for i in range(m):
        gains, floors = gain[i, 0], floor[i, 0]
        for j in range(k):
            row = y[i, j]
            total = np.float32(0.0)
            for x in range(h):
                total += row[x] * row[x]
            factor = ONE / np.sqrt(total / np.float32(h) + VARIANCE_FLOOR)
            for x in range(h):
                value, least = row[x] * factor * gains[x], floors[x]
                row[x] = least if value < least else value  # written so that NaN stays NaN


@_compiled
def _pool(hidden: Float, available: Bool, share: Float, out: Float) -> None:
    m, k, h = hidden.shape
    for i in range(m):
        low, high, mean = out[i, 0], out[i, 1], out[i, 2]
        first = True
        for j in range(k):
            if not available[j]:
                continue
            row, weight = hidden[i, j], share[j]
            if first:
                first = False
                for x in range(h):
                    low[x] = high[x] = row[x]
                    mean[x] = row[x] * weight
                continue
            for x in range(h):
                low[x] = row[x] if row[x] < low[x] else low[x]
            for x in range(h):
                high[x] = row[x] if row[x] > high[x] else high[x]
            for x in range(h):
                mean[x] += row[x] * weight


@_compiled
def _modulate(hidden: Float, scale: Float, pools: Float, rows: Float, pooled: Float) -> None:
    m, k, h = hidden.shape
    for i in range(m):
        factors = scale[i, 0]
        for j in range(k):
            row, out = hidden[i, j], rows[i, j]
            for x in range(h):
                out[x] = row[x] * factors[x]
        low, high, mean, peak_out, mean_out = (
            pools[i, 0],
            pools[i, 1],
            pools[i, 2],
            pooled[i, 1],
            pooled[i, 2],
        )
        for x in range(h):
            factor = factors[x]
            peak_out[x] = factor * (low[x] if factor < 0 else high[x])
        for x in range(h):
            mean_out[x] = factors[x] * mean[x]


@_compiled
def _finish(
    summary: Float, heads: Float, scored: Float, tastes: Float, content: Float, wide: Float, last: Float
) -> tuple[Float, Float]:
    m, k, h = scored.shape
    rate, q = np.empty((m, k), np.float32), np.empty((m, k), np.float32)
    for i in range(m):
        taste, value, click, mean = tastes[i, 0], heads[i, 0], heads[i, 1], np.float32(0.0)
        for j in range(k):
            row, deep, wanted, match = scored[i, j], content[j], np.float32(0.0), np.float32(0.0)
            for x in range(h):
                wanted += row[x] * click[x]
            for x in range(len(taste)):
                match += deep[x] * taste[x]
            match = match * wide[i, 0, j] + wide[i, 1, j]
            negative = -(wanted + match)
            rate[i, j] = ONE / (ONE + np.exp(np.float32(80.0) if negative > 80.0 else negative))
            q[i, j] = rate[i, j] * last[i, 2] + last[i, 0] * match + wide[i, 2, j]
            mean += q[i, j] * wide[i, 3, j]
        level = last[i, 1] - mean
        for x in range(h):
            level += summary[i, 0, x] * value[x]
        for j in range(k):
            q[i, j] += level
    return rate, q


@_compiled
def _vote(scores: Float, available: Bool, floor: float) -> NDArray[np.float64]:
    k, samples = scores.shape
    share = np.zeros(k)
    best = np.full(samples, np.float32(-np.inf))
    winner = np.zeros(samples, np.int32)
    count, total = 0, np.float32(0.0)
    for j in range(k):
        if not available[j]:
            continue
        row = scores[j]
        count += 1
        for s in range(samples):
            total += row[s]
        for s in range(samples):
            winner[s] = np.int32(j) if row[s] > best[s] else winner[s]
        for s in range(samples):
            best[s] = row[s] if row[s] > best[s] else best[s]
    if not np.isfinite(total):
        return np.full(k, np.nan)
    for s in range(samples):
        share[winner[s]] += 1.0
    for j in range(k):
        share[j] = share[j] * ((1.0 - floor) / samples) + (floor / count if available[j] else 0.0)
    return share


COMPILED = Steps(_standardise, _normalise, _pool, _modulate, _finish, _vote, tile=False)
