"""What the compiled parts share: a typed decorator, and counter-based random numbers.

Philox 4x32-10 (Salmon, Moraes, Dror & Shaw 2011, Parallel random numbers: as easy as 1, 2, 3) turns a counter and a key
into four random words. The key is the seed, the counter names the session and the draw, so a draw is the same
whatever was drawn before it, in any batch and on any worker.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

from multimodal_dql.encoders.paths import cache_root

__all__ = ["compiled", "normals", "philox", "uniforms"]

F = TypeVar("F", bound=Callable[..., Any])
Word = int | np.uint64

MASK = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
MULTIPLIER_0 = np.uint64(0xD2511F53)
MULTIPLIER_1 = np.uint64(0xCD9E8D57)
WEYL_0 = np.uint64(0x9E3779B9)
WEYL_1 = np.uint64(0xBB67AE85)
UNIT = 2.0**-32


def compiled(function: F) -> F:
    """Compile to machine code once (kept on disk), free of the interpreter lock, without reordering floating point.

    Numba keeps compiled code until its own file changes, also when a function it calls in another file has changed,
    and would then give old results. So the folder it is kept in is named after the text of all compiled files.
    """
    settings: Any = numba.config
    usual = settings.CACHE_DIR
    settings.CACHE_DIR = _folder(Path(function.__code__.co_filename).parent, usual)
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    finally:
        settings.CACHE_DIR = usual


@lru_cache
def _folder(beside: Path, usual: str) -> str:
    """Where to keep the compiled functions of a folder: beside the source if one may write there, else in the cache."""
    text = hashlib.sha256()
    for path in sorted({*beside.glob("*.py"), *Path(__file__).parent.glob("*.py")}):
        source = path.read_bytes()
        if b"@compiled" in source:
            text.update(source)
    own = beside / "__pycache__"
    if usual:
        base = Path(usual)
    elif os.access(own if own.is_dir() else beside, os.W_OK):
        base = own
    else:
        base = cache_root() / "compiled"
    return str(base / f"compiled-{text.hexdigest()[:16]}")


@compiled
def philox(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word) -> tuple[Word, Word, Word, Word]:
    """Ten rounds of Philox 4x32 over 32-bit words held in uint64."""
    a, b, c, d = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    x, y = np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        low, high = MULTIPLIER_0 * a, MULTIPLIER_1 * c
        a, b, c, d = (high >> HALF) ^ b ^ x, high & MASK, (low >> HALF) ^ d ^ y, low & MASK
        x, y = (x + WEYL_0) & MASK, (y + WEYL_1) & MASK
    return a, b, c, d


@compiled
def uniforms(seed: int, session: int, stream: int, index: int) -> tuple[float, float, float, float]:
    """Four uniform numbers in (0, 1) for draw `index` of a `stream` of a session."""
    s, k = np.uint64(session), np.uint64(seed)
    a, b, c, d = philox(
        np.uint64(index), np.uint64(stream), s & MASK, (s >> HALF) & MASK, k & MASK, (k >> HALF) & MASK
    )
    return (
        (np.float64(a) + 0.5) * UNIT,
        (np.float64(b) + 0.5) * UNIT,
        (np.float64(c) + 0.5) * UNIT,
        (np.float64(d) + 0.5) * UNIT,
    )


@compiled
def normals(u: float, v: float) -> tuple[float, float]:
    """Two standard normal numbers from two uniform ones (Box & Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(u))
    angle = 2.0 * math.pi * v
    return radius * math.cos(angle), radius * math.sin(angle)
