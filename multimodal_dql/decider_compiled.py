"""The steps of `multimodal_dql.decider_steps` compiled: each passes over memory once. Importing this takes numba's time.

The sums are free to be added up in any order (``reassoc``), which lets them use vector instructions; NaN and infinity keep
their meaning.
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
from multimodal_dql.encoders.paths import cache_root

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
        numba.config.CACHE_DIR = str(cache_root() / "compiled")
    try:
        settings: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
        return cast(F, numba.njit(fastmath={"reassoc", "contract", "nsz"}, **settings)(function))
    finally:
        numba.config.CACHE_DIR = usual


@_compiled
def _standardise(y: Float, seen: Float, out: Float) -> None:
    m, k, h = y.shape
    for i in range(m):
        for j in range(k):
            total = np.float32(0.0)
            for x in range(h):
                total += y[i, j, x] * y[i, j, x]
            factor = seen[j] / np.sqrt(total / np.float32(h) + VARIANCE_FLOOR)
            for x in range(h):
                out[i, j, x] = y[i, j, x] * factor


@_compiled
def _normalise(y: Float, gain: Float, floor: Float, out: Float) -> None:
    m, k, h = y.shape
    for i in range(m):
        for j in range(k):
            total = np.float32(0.0)
            for x in range(h):
                total += y[i, j, x] * y[i, j, x]
            factor = ONE / np.sqrt(total / np.float32(h) + VARIANCE_FLOOR)
            for x in range(h):
                value = y[i, j, x] * factor * gain[i, 0, x]
                # Written so that NaN stays NaN.
                out[i, j, x] = floor[i, 0, x] if value < floor[i, 0, x] else value


@_compiled
def _pool(hidden: Float, available: Bool, share: Float, out: Float) -> None:
    m, k, h = hidden.shape
    for i in range(m):
        first = True
        for j in range(k):
            if not available[j]:
                continue
            if first:
                first = False
                for x in range(h):
                    out[i, 0, x] = out[i, 1, x] = hidden[i, j, x]
                    out[i, 2, x] = hidden[i, j, x] * share[j]
            else:
                for x in range(h):
                    value = hidden[i, j, x]
                    out[i, 0, x] = value if value < out[i, 0, x] else out[i, 0, x]
                    out[i, 1, x] = value if value > out[i, 1, x] else out[i, 1, x]
                    out[i, 2, x] += value * share[j]


@_compiled
def _modulate(hidden: Float, scale: Float, pools: Float, shown: Float, pooled: Float) -> None:
    m, k, h = hidden.shape
    for i in range(m):
        for j in range(k):
            for x in range(h):
                shown[i, j, x] = hidden[i, j, x] * scale[i, 0, x]
        for x in range(h):
            factor = scale[i, 0, x]
            pooled[i, 1, x] = factor * (pools[i, 0, x] if factor < 0 else pools[i, 1, x])
            pooled[i, 2, x] = factor * pools[i, 2, x]


@_compiled
def _finish(
    clicked: Float,
    tasted: Float,
    wide: Float,
    echo: Float,
    value: Float,
    share: Float,
    base_rate: float,
) -> tuple[Float, Float]:
    m, k = clicked.shape
    rate, q = np.empty((m, k), np.float32), np.empty((m, k), np.float32)
    unit = np.float32(1.0 / base_rate)
    for i in range(m):
        mean = np.float32(0.0)
        for j in range(k):
            match = tasted[i, j] * wide[i, 0, j] + wide[i, 1, j]
            negative = -(clicked[i, j] + match + wide[i, 2, j])
            rate[i, j] = ONE / (ONE + np.exp(np.float32(80.0) if negative > 80.0 else negative))
            q[i, j] = rate[i, j] * unit + echo[i, 0] * match + wide[i, 3, j]
            mean += q[i, j] * share[j]
        for j in range(k):
            q[i, j] += value[i, 0] - mean
    return rate, q


@_compiled
def _vote(scores: Float, available: Bool, floor: float) -> NDArray[np.float64]:
    k, samples = scores.shape
    share = np.zeros(k)
    total = np.float32(0.0)
    best = np.full(samples, np.float32(-np.inf))
    winner = np.zeros(samples, np.int64)
    count = 0
    for j in range(k):
        for s in range(samples):
            total += scores[j, s]
        if available[j]:
            count += 1
            for s in range(samples):
                better = scores[j, s] > best[s]
                best[s] = scores[j, s] if better else best[s]
                winner[s] = j if better else winner[s]
    if not np.isfinite(total):
        return np.full(k, np.nan)
    for s in range(samples):
        share[winner[s]] += (1.0 - floor) / samples
    for j in range(k):
        if available[j]:
            share[j] += floor / count
    return share


COMPILED = Steps(_standardise, _normalise, _pool, _modulate, _finish, _vote, tile=False)
