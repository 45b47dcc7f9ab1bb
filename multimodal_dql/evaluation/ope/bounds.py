"""Intervals that hold for any sample size, from sums alone: empirical Bernstein and any-time valid.

The any-time interval bets against every mean m of a variable x >= 0 (a capital that multiplies by 1 + b (x - m), b a
share fixed beforehand; Waudby-Smith & Ramdas 2023, section 4), with a mixture of b. Two steps keep it to sums:
``log(1 + b m z) >= b m z - psi(b m) z^2`` with z = x / m - 1 >= -1 and ``psi(c) = -log(1 - c) - c`` (Fan, Grama & Liu
2015, lemma 4.1; used the same way by Karampatziakis, Mineiro & Ramdas 2021, Off-policy confidence sequences), so n,
sum x and sum x^2 suffice; and capital falls with m, so a lower bound of it at m excludes every smaller mean too.
Because the b do not depend on the data, neither does the interval depend on the order of the rows, and sums merge.

Rows that depend on each other are bet on together. With X the sum of x and N the number of rows of some units, the
factor is 1 + b (X - m N), and m is the mean a row, E[X] / E[N] of a unit, however long a unit is and whatever its
length has to do with x. Groups of units do as well as single ones: a further unit (X', N') of a group multiplies the
capital by 1 + b (X' - m N') / (1 + b (X - m N)), which is 1 in expectation for as long as denominator and result cannot
become negative. So a b is played only while b m times a group and the largest unit that may come to it stays below 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bets", "anytime_lower", "anytime_value", "bernstein_half"]

Array = NDArray[np.float64]

# Nine tenths of the capital on shares 2^-13 to 2^5 (best for n x variance from 1 to 10^8), the rest far beyond.
_NEAR, _FAR = np.arange(-13, 6), np.array([*range(-30, -13), *range(6, 20)])
_SHARES = np.exp2(np.concatenate([_NEAR, _FAR]).astype(np.float64))
_PRIOR = np.log(np.concatenate([np.full(len(_NEAR), 0.9 / len(_NEAR)), np.full(len(_FAR), 0.1 / len(_FAR))]))


class Bets(NamedTuple):
    """What the capital needs to know of x >= 0 in groups of rows; X sum of x, N rows of a group.

    Attributes:
        n: rows.
        total: sum of x.
        square: sum of X^2 over the groups.
        cross: sum of X N.
        sizes: sum of N^2.
        largest: N.
        limit: most rows that a group can have had, had the last unit that came to it been as large as units can be.
    """

    n: float
    total: float
    square: float
    cross: float
    sizes: float
    largest: float = 1.0
    limit: float = 1.0

    @classmethod
    def of_rows(cls, n: float, total: float, square: float) -> Self:
        """Independent rows, from n, the sum of x and that of x^2."""
        return cls(n, total, square, total, n)

    @classmethod
    def of_groups(cls, sums: Array, rows: Array, unit: float, several: Array | None = None) -> Self:
        """Groups of units, from their X (G,) and N (G,), the most rows that a unit can have, and which hold several."""
        largest = float(rows.max(initial=0.0))
        grown = float(rows[several].max(initial=1.0)) - 1 if several is not None else 0.0
        squares = (float(sums @ sums), float(sums @ rows), float(rows @ rows))
        return cls(float(rows.sum()), float(sums.sum()), *squares, largest, max(largest, grown + unit))

    def below(self, bound: float) -> Bets:
        """Of bound - x."""
        return self._replace(
            total=self.n * bound - self.total,
            square=self.sizes * bound**2 - 2 * bound * self.cross + self.square,
            cross=bound * self.sizes - self.cross,
        )


def log_capital(mean: Array, x: Bets) -> Array:
    """Lower bound of the log capital that betting on a mean above `mean` has made, elementwise in `mean` > 0."""
    m = np.asarray(mean, np.float64)[..., None]
    c = _SHARES * m * x.largest
    usable = _SHARES * m * x.limit < 1
    c = np.where(usable, c, 0.5)
    first = (x.total / m - x.n) / x.largest
    second = np.maximum(x.square / m**2 - 2 * x.cross / m + x.sizes, 0.0) / x.largest**2
    exponent = c * first - (-np.log1p(-c) - c) * second + _PRIOR
    exponent = np.where(usable, exponent, -np.inf)
    return np.asarray(np.logaddexp.reduce(exponent, -1), np.float64)


def anytime_lower(x: Bets, alpha: float) -> float:
    """Lower confidence bound, at all times at once, of the mean of x >= 0 a row; 0 when nothing is excluded.

    `alpha` is the chance that it ever lies above the mean.
    """
    if x.n <= 0 or x.total <= 0:
        return 0.0
    target = math.log(1 / alpha)
    low, high = 0.0, x.total / x.n
    # Coarse to fine: the largest of 64 means that is excluded, then between it and the next.
    for _ in range(4):
        grid = np.linspace(low, high, 65)[1:]
        out = np.flatnonzero(log_capital(grid, x) >= target)
        if not len(out):
            if low > 0:
                break
            grid = high * np.exp2(-np.arange(1, 40))
            out = np.flatnonzero(log_capital(grid, x) >= target)
            if not len(out):
                return 0.0
            low, high = float(grid[out[0]]), float(2 * grid[out[0]])
            continue
        step = (high - low) / 64
        low = float(grid[out[-1]])
        high = min(low + step, high)
    return low


def anytime_value(gained: Bets, lost: Bets, alpha: float, bound: float | None = None) -> tuple[float, float]:
    """Any-time valid interval of E[w r], r in [0, 1], each side at alpha / 2.

    The lower end is that of w r >= 0. For the upper end w (1 - r) >= 0 has the mean 1 - E[w r], so no bound of the
    weights is needed (Karampatziakis et al. 2021); both ends hold, too, when the log never shows some of what the
    target shows. With a bound of the weights half of the upper end's alpha goes to bound - w r, which is far
    tighter for rare rewards, but needs full support.

    Args:
        gained: of w r.
        lost: of w (1 - r).
        alpha: chance that the interval ever leaves the value out.
        bound: largest weight that can occur, known beforehand.
    """
    low = anytime_lower(gained, alpha / 2)
    if bound is None:
        high = 1 - anytime_lower(lost, alpha / 2)
    else:
        high = min(1 - anytime_lower(lost, alpha / 4), bound - anytime_lower(gained.below(bound), alpha / 4))
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
