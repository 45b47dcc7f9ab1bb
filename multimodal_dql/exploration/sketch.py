"""A sketch of the products of two vectors: inner products of their outer products, kept in expectation.

``(content . w_r)(context . v_r) / sqrt(R)`` with random signs w, v for r = 1 ... R (random Maclaurin features; Kar and
Karnick, AISTATS 2012). Shape letters: ``P`` content, ``C`` context, ``R`` products of projections.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["SKETCH", "random_signs", "sketched"]

SKETCH = 64
"""R."""

S = TypeVar("S", np.float32, np.float64)


def random_signs(
    content: int, context: int, seed: int, stream: int, dtype: type[S]
) -> tuple[NDArray[S], NDArray[S]]:
    """Signs w (P, R) and v (C, R).

    Args:
        content: P.
        context: C.
        seed: of the random numbers.
        stream: which of the seed's random numbers; each use has its own.
        dtype: of the signs.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, stream]))
    ends = np.array([-1.0, 1.0], dtype)
    return rng.choice(ends, size=(content, SKETCH)), rng.choice(ends, size=(context, SKETCH))


def sketched(
    content: NDArray[Any], context: NDArray[Any], signs: tuple[NDArray[Any], NDArray[Any]]
) -> NDArray[Any]:
    """Content (N, P) and context (N, C), or (C,) for all rows, to (N, R)."""
    w, v = signs
    # A Python float leaves single precision single.
    return np.asarray((content @ w) * (context @ v) / math.sqrt(SKETCH))
