"""Intervals that hold for any sample size, from sums alone: empirical Bernstein and any-time valid.

The any-time interval bets against every mean m of a variable x >= 0 (a capital that multiplies by 1 + b (x - m), b a
share fixed beforehand; Waudby-Smith & Ramdas 2023, section 4), with a mixture of b. Two steps keep it to sums:
``log(1 + b m z) >= b m z - psi(b m) z^2`` with z = x / m - 1 >= -1 and ``psi(c) = -log(1 - c) - c`` (Fan, Grama & Liu
2015, lemma 4.1; used the same way by Karampatziakis, Mineiro & Ramdas 2021, Off-policy confidence sequences), so n,
sum x and sum x^2 suffice; and capital falls with m, so a lower bound of it at m excludes every smaller mean too.
Because the b do not depend on the data, neither does the interval depend on the order of the rows, and sums merge.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["anytime_lower", "anytime_value", "bernstein_half"]

Array = NDArray[np.float64]

# Nine tenths of the capital on shares 2^-13 to 2^5 (best for n x variance from 1 to 10^8), the rest far beyond.
_NEAR, _FAR = np.arange(-13, 6), np.array([*range(-30, -13), *range(6, 20)])
_SHARES = np.exp2(np.concatenate([_NEAR, _FAR]).astype(np.float64))
_PRIOR = np.log(np.concatenate([np.full(len(_NEAR), 0.9 / len(_NEAR)), np.full(len(_FAR), 0.1 / len(_FAR))]))


def log_capital(mean: Array, n: float, total: float, square: float, rows: int = 1) -> Array:
    """Lower bound of the log capital that betting on a mean above `mean` has made, elementwise in `mean` > 0.

    Args:
        mean: m, any shape.
        n: observations x >= 0.
        total: their sum.
        square: sum of their squares.
        rows: most rows of a unit, known beforehand. Rows of one unit may depend on each other; by convexity the
            capital to the power 1 / rows is still fair across units.
    """
    m = np.asarray(mean, np.float64)[..., None]
    c = _SHARES * m
    usable = c < 1
    c = np.where(usable, c, 0.5)
    first = total / m - n
    second = np.maximum(square / m**2 - 2 * total / m + n, 0.0)
    exponent = (c * first - (-np.log1p(-c) - c) * second) / rows + _PRIOR
    exponent = np.where(usable, exponent, -np.inf)
    return np.asarray(np.logaddexp.reduce(exponent, -1), np.float64)


def anytime_lower(n: float, total: float, square: float, alpha: float, rows: int = 1) -> float:
    """Lower confidence bound, at all times at once, of the mean of x >= 0; 0 when nothing is excluded.

    The arguments are those of `log_capital`; `alpha` is the chance that it ever lies above the mean.
    """
    if n <= 0 or total <= 0:
        return 0.0
    target = math.log(1 / alpha)
    low, high = 0.0, total / n
    # Coarse to fine: the largest of 64 means that is excluded, then between it and the next.
    for _ in range(4):
        grid = np.linspace(low, high, 65)[1:]
        out = np.flatnonzero(log_capital(grid, n, total, square, rows) >= target)
        if not len(out):
            if low > 0:
                break
            grid = high * np.exp2(-np.arange(1, 40))
            out = np.flatnonzero(log_capital(grid, n, total, square, rows) >= target)
            if not len(out):
                return 0.0
            low, high = float(grid[out[0]]), float(2 * grid[out[0]])
            continue
        step = (high - low) / 64
        low = float(grid[out[-1]])
        high = min(low + step, high)
    return low


def anytime_value(
    n: float,
    sums: tuple[float, float, float, float],
    alpha: float,
    rows: int = 1,
    bound: float | None = None,
) -> tuple[float, float]:
    """Any-time valid interval of E[w r], r in [0, 1], each side at alpha / 2.

    The lower end is that of w r >= 0. For the upper end w (1 - r) >= 0 has the mean 1 - E[w r], so no bound of the
    weights is needed (Karampatziakis et al. 2021); both ends hold, too, when the log never shows some of what the
    target shows. With a bound of the weights half of the upper end's alpha goes to bound - w r, which is far
    tighter for rare rewards, but needs full support.

    Args:
        n: rows.
        sums: of w r, (w r)^2, w (1 - r), (w (1 - r))^2.
        alpha: chance that the interval ever leaves the value out.
        rows: most rows of a unit.
        bound: largest weight that can occur, known beforehand.
    """
    gained, gained_square, lost, lost_square = sums
    low = anytime_lower(n, gained, gained_square, alpha / 2, rows)
    if bound is None:
        high = 1 - anytime_lower(n, lost, lost_square, alpha / 2, rows)
    else:
        room = n * bound - gained
        room_square = n * bound**2 - 2 * bound * gained + gained_square
        high = min(
            1 - anytime_lower(n, lost, lost_square, alpha / 4, rows),
            bound - anytime_lower(n, room, room_square, alpha / 4, rows),
        )
    low, high = min(low, 1.0), max(high, 0.0)
    return (low, high) if low <= high else ((low + high) / 2,) * 2


def bernstein_half(n: float, variance: float, width: float, alpha: float) -> float:
    """Half width of the empirical Bernstein interval (Maurer & Pontil 2009, theorem 4, both sides).

    ``sqrt(2 V log(4 / alpha) / n) + 7 width log(4 / alpha) / (3 (n - 1))``; infinite below two observations.

    Args:
        n: independent observations.
        variance: of them, n - 1 in the denominator.
        width: of the interval in which each lies.
        alpha: of both sides together.
    """
    if n < 2:
        return math.inf
    log = math.log(4 / alpha)
    return math.sqrt(2 * variance * log / n) + 7 * width * log / (3 * (n - 1))
