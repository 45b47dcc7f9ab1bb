"""Bicubic resize of 8-bit RGB pictures, bit for bit that of Pillow and several times as fast on one thread.

Pillow widens the kernel of Keys (1981, Cubic convolution interpolation for digital image processing, a = -1/2) with
the scale, rounds its weights to fixed point, and goes across the rows first and down the columns second, with a
rounding to 8 bits after each. The same integers are summed here, many neighbours in one instruction. (Since version
13 Pillow goes down first where the height shrinks much more than the width, which no square crop does.)

Importing this module loads numba (0.3 s) and the compiled code (0.4 s); the first time ever it is compiled (1.5 s).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from multimodal_dql.encoders.paths import cache_root

__all__ = ["bicubic_weights", "resized"]

F = TypeVar("F", bound=Callable[..., Any])

_BITS = 32 - 8 - 2
"""Binary places of a weight: 8 bits are left for the grey level, one for the sign, one as weights may pass 1."""

_HALF = 1 << (_BITS - 1)
_STEP = 4
"""Weights used at once; as many as there are of them are made a multiple of it."""

_ROWS = 64
"""Rows that go across together: turned, 600 pixels of them take 130 kB and stay in the cache."""

_CHANNELS = 3


def resized(picture: NDArray[np.uint8], left: int, right: int, side: int) -> NDArray[np.uint8]:
    """Columns left..right - 1 of an RGB picture (H, W, 3) as a square (side, side, 3), across first and down second.

    Raises `ValueError` for columns that are not there and pictures without pixels.
    """
    if picture.ndim != 3 or picture.shape[2] != _CHANNELS or not 0 <= left < right <= picture.shape[1]:
        # Compiled code would read past the end and not notice.
        raise ValueError(f"there are no columns {left}..{right} in a picture {picture.shape}")
    if not len(picture) or side < 1:
        raise ValueError(f"a picture {picture.shape} has no square of {side} pixels a side")
    height, width = len(picture), right - left
    rows = np.ascontiguousarray(picture).reshape(height, -1)
    first_across, across = bicubic_weights(width, side)
    first_down, down = bicubic_weights(height, side)
    # Made here and not in the compiled code, which takes half as long to compile that way. There is room for the
    # zero weights behind the last pixel and the last row, and for whole groups of rows.
    columns = np.empty((width + across.shape[1], _CHANNELS * _ROWS), np.uint8)
    narrow = np.empty((side, _CHANNELS * _ROWS), np.uint8)
    wide = np.empty((height + max(_ROWS, down.shape[1]), _CHANNELS * side), np.uint8)
    words = np.empty(_CHANNELS * max(width, side), np.uint64)
    total = np.empty(_CHANNELS * max(side, _ROWS), np.int32)
    out = np.empty((side, _CHANNELS * side), np.uint8)
    _resize(
        rows,
        left,
        width,
        first_across,
        across,
        first_down,
        down,
        columns,
        _in_words(columns),
        narrow,
        _in_words(narrow),
        wide,
        words,
        total,
        out,
    )
    return out.reshape(side, side, _CHANNELS)


def _in_words(turned: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The same memory, eight rows of the picture in a word: (pixels, 3 * _ROWS) as (3 * pixels, _ROWS / 8)."""
    return turned.view(np.uint64).reshape(-1, _ROWS // 8)


@lru_cache(maxsize=64)
def bicubic_weights(size: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """For `side` pixels made of `size`: the first each is made of (side,), and weights (side, taps) in 2**-22.

    Weights beyond the picture, and those added to make `taps` a multiple of 4, are zero.
    """
    ratio = size / side
    stretch = max(ratio, 1.0)
    reach = 2.0 * stretch
    centre = (np.arange(side) + 0.5) * ratio
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + reach + 0.5).astype(np.int64), size)
    taps = -(-int((end - first).max()) // _STEP) * _STEP
    place = first[:, None] + np.arange(taps)
    weights = _keys((place - centre[:, None] + 0.5) * (1.0 / stretch))
    weights[place >= end[:, None]] = 0.0
    weights /= np.cumsum(weights, axis=1)[:, -1:]  # summed in order: a sum by pairs has another last bit
    fixed = (weights * (1 << _BITS) + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
    first.flags.writeable = fixed.flags.writeable = False
    return first, fixed


def _keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kernel of Keys (1981, equation 4 with a = -1/2), evaluated in the order that Pillow does."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _compiled(function: F) -> F:
    """A part of the compiled code, free of the interpreter lock."""
    out: F = numba.njit(nogil=True, error_model="numpy")(function)
    return out


def _kept(*arguments: Any) -> Callable[[F], F]:
    """As `_compiled`, now and for these types, and kept on disk: beside the source, or in the cache of this package."""

    def decorate(function: F) -> F:
        usual = numba.config.CACHE_DIR
        beside = Path(__file__).parent
        own = beside / "__pycache__"
        if not usual and not os.access(own if own.is_dir() else beside, os.W_OK):
            numba.config.CACHE_DIR = str(cache_root() / "compiled")
        try:
            signature = numba.void(*arguments)
            out: F = numba.njit(signature, cache=True, nogil=True, error_model="numpy")(function)
        finally:
            numba.config.CACHE_DIR = usual
        return out

    return decorate


@_compiled
def _blend(
    source: NDArray[np.uint8],
    first: NDArray[np.int64],
    weights: NDArray[np.int32],
    total: NDArray[np.int32],
    out: NDArray[np.uint8],
) -> None:
    """Row n of `out` (side, V): rows first[n].. of `source` (rows, V) times weights[n] (taps,), rounded and clipped."""
    values = out.shape[1]
    for n in range(len(out)):
        for v in range(values):
            total[v] = _HALF
        for tap in range(0, weights.shape[1], _STEP):
            row = first[n] + tap
            p, q, r, s = source[row], source[row + 1], source[row + 2], source[row + 3]
            a, b, c, d = weights[n, tap], weights[n, tap + 1], weights[n, tap + 2], weights[n, tap + 3]
            for v in range(values):
                total[v] += a * p[v] + b * q[v] + c * r[v] + d * s[v]
        blended = out[n]
        for v in range(values):
            blended[v] = min(max(total[v] >> _BITS, 0), 255)


@_compiled
def _turn(
    rows: NDArray[np.uint8],
    start: int,
    left: int,
    values: int,
    words: NDArray[np.uint64],
    columns: NDArray[np.uint64],
) -> None:
    """Rows start.. from `left`, `values` long, to `columns`: moving words is faster than moving bytes.

    Rows below the last one are copies of it; nobody looks at what becomes of them.
    """
    for group in range(_ROWS // 8):
        for x in range(values):
            words[x] = 0
        for n in range(8):
            row = rows[min(start + 8 * group + n, len(rows) - 1), left : left + values]
            shift = np.uint64(8 * n)
            for x in range(values):
                words[x] |= np.uint64(row[x]) << shift
        for x in range(values):
            columns[x, group] = words[x]


@_compiled
def _turn_back(
    columns: NDArray[np.uint64], start: int, words: NDArray[np.uint64], rows: NDArray[np.uint8]
) -> None:
    """Undoes `_turn`: all of `columns` to rows start.. of `rows`."""
    values = len(columns)
    for group in range(_ROWS // 8):
        for x in range(values):
            words[x] = columns[x, group]
        for n in range(8):
            row, shift = rows[start + 8 * group + n], np.uint64(8 * n)
            for x in range(values):
                row[x] = words[x] >> shift


# A type that says it is read only takes arrays of both kinds.
_PICTURE = numba.types.Array(numba.uint8, 2, "C", readonly=True)
_FIRST = numba.types.Array(numba.int64, 1, "C", readonly=True)
_WEIGHTS = numba.types.Array(numba.int32, 2, "C", readonly=True)
_GREYS, _WORDS = numba.uint8[:, ::1], numba.uint64[:, ::1]


@_kept(
    *(_PICTURE, numba.int64, numba.int64, _FIRST, _WEIGHTS, _FIRST, _WEIGHTS),
    *(_GREYS, _WORDS, _GREYS, _WORDS, _GREYS, numba.uint64[::1], numba.int32[::1], _GREYS),
)
def _resize(
    rows: NDArray[np.uint8],
    left: int,
    width: int,
    first_across: NDArray[np.int64],
    across: NDArray[np.int32],
    first_down: NDArray[np.int64],
    down: NDArray[np.int32],
    columns: NDArray[np.uint8],
    column_words: NDArray[np.uint64],
    narrow: NDArray[np.uint8],
    narrow_words: NDArray[np.uint64],
    wide: NDArray[np.uint8],
    words: NDArray[np.uint64],
    total: NDArray[np.int32],
    out: NDArray[np.uint8],
) -> None:
    """`width` pixels from `left` of the rows (height, 3 * W) to `out` (side, 3 * side).

    A few rows at a time are turned into `columns`, go across to `narrow` and are turned back into `wide`, so that
    both ways neighbours in memory have the same weight.
    """
    for start in range(0, len(rows), _ROWS):
        _turn(rows, start, _CHANNELS * left, _CHANNELS * width, words, column_words)
        _blend(columns, first_across, across, total, narrow)
        _turn_back(narrow_words, start, words, wide)
    _blend(wide, first_down, down, total, out)
