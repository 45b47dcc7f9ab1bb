"""Several comparisons at once: adjusted p-values. Compare an adjusted p with the alpha meant for the whole family."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multimodal_dql.errors import UsageError

__all__ = ["benjamini_hochberg", "bonferroni", "holm"]

Array = NDArray[np.float64]


def bonferroni(p: ArrayLike) -> Array:
    """Bonferroni: ``min(1, m p)``; controls the chance of any false winner. p: (m,) -> (m,)."""
    values = _checked(p)
    return np.minimum(1.0, values * len(values))


def holm(p: ArrayLike) -> Array:
    """Holm (1979), step-down: the i-th smallest p times m - i + 1, made monotone; never worse than Bonferroni.

    Controls the family-wise error rate under any dependence. p: (m,) -> (m,), in the order given.
    """
    values = _checked(p)
    m = len(values)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(m, 0, -1)))
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Benjamini & Hochberg (1995), step-up: the i-th smallest p times m / i, made monotone from above.

    Controls the expected share of false winners among the winners, for independent or positively dependent tests.
    p: (m,) -> (m,), in the order given.
    """
    values = _checked(p)
    m = len(values)
    order = np.argsort(values, kind="stable")[::-1]
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(values[order] * m / np.arange(m, 0, -1)))
    return adjusted


def _checked(p: ArrayLike) -> Array:
    values = np.asarray(p, np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise UsageError(
            detail="p-values are a list of numbers between 0 and 1",
            detail_zh="p 值应为 0 到 1 之间的一组数",
        )
    return values
