"""Means and covariances that stream and merge: what every experiment statistic here is computed from.

`Moments` is an accumulator (rows in, constant memory, halves merge); `Summary` is what it holds at the end, and every
linear step of the analysis (a paired difference, CUPED, the delta method) is a linear map of a `Summary`.
V is the number of variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multimodal_dql.errors import UsageError

__all__ = ["Moments", "Summary"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Sample size, means and covariances of some variables.

    Attributes:
        names: of the variables, (V,).
        n: rows behind the numbers.
        means: (V,).
        covariance: with n - 1 in the denominator, (V, V); NaN below two rows.
    """

    names: tuple[str, ...]
    n: int
    means: Array
    covariance: Array

    @classmethod
    def of(cls, n: int, mean: float, sd: float, name: str = "value") -> Summary:
        """The summary of one variable from plain numbers."""
        return cls((name,), n, np.array([mean], np.float64), np.array([[sd**2]], np.float64))

    def index(self, name: str) -> int:
        """Position of a variable; raises `UsageError` when there is none of that name."""
        return _index(self.names, name)

    def mean(self, name: str) -> float:
        """Mean of a variable."""
        return float(self.means[self.index(name)])

    def variance(self, name: str) -> float:
        """Variance of a variable, n - 1 in the denominator."""
        return self.covariance_of(name, name)

    def covariance_of(self, a: str, b: str) -> float:
        """Covariance of two variables, n - 1 in the denominator."""
        return float(self.covariance[self.index(a), self.index(b)])

    def combine(self, name: str, weights: Mapping[str, float], shift: float = 0.0) -> Summary:
        """The summary of one new variable, ``sum(weight * variable) + shift``; exact, no rows needed."""
        extended = self.extend(
            "", weights, shift
        )  # no variable has an empty name, so `name` may be one of them
        return Summary((name,), self.n, extended.means[-1:], extended.covariance[-1:, -1:])

    def extend(self, name: str, weights: Mapping[str, float], shift: float = 0.0) -> Summary:
        """The summary with one more variable, ``sum(weight * variable) + shift``; its name must be new."""
        if name in self.names:
            raise UsageError(
                detail=f"there is a variable '{name}' already", detail_zh=f"变量 “{name}” 已存在"
            )
        w = np.zeros(len(self.names))
        for variable, weight in weights.items():
            w[self.index(variable)] = weight
        with_others = self.covariance @ w
        # Rounding can leave a variance that is 0 a little below it.
        corner = np.maximum(w @ with_others, 0.0)
        return Summary(
            names=(*self.names, name),
            n=self.n,
            means=np.append(self.means, w @ self.means + shift),
            covariance=np.block([[self.covariance, with_others[:, None]], [with_others[None], corner]]),
        )

    def select(self, names: Sequence[str]) -> Summary:
        """The summary of some of the variables, in the order given."""
        at = [self.index(name) for name in names]
        return Summary(tuple(names), self.n, self.means[at], self.covariance[np.ix_(at, at)])


@dataclass
class Moments:
    """Accumulates the rows of some variables in constant memory, in float64.

    Batches are reduced on their own and then combined pairwise (Chan, Golub & LeVeque 1979, Updating formulae and a
    pairwise algorithm for computing sample variances, eq. 2.1), so that means far from 0 cost no digits, and parts
    of the data may be reduced anywhere and merged in any order.

    Attributes:
        names: of the variables, (V,).
        n: rows seen.
        means: (V,).
        cross: sum over rows of the outer product of deviations from the mean, (V, V).
    """

    names: tuple[str, ...]
    n: int = 0
    means: Array = field(init=False)
    cross: Array = field(init=False)

    def __init__(self, names: Sequence[str]) -> None:
        self.names = (names,) if isinstance(names, str) else tuple(names)
        if not self.names or not all(self.names) or len(set(self.names)) != len(self.names):
            raise UsageError(
                detail="moments need at least one variable, each with a name of its own",
                detail_zh="至少需要一个变量，且变量名不能为空或重复",
            )
        self.n = 0
        self.means = np.zeros(len(self.names))
        self.cross = np.zeros((len(self.names), len(self.names)))

    @classmethod
    def from_summary(cls, summary: Summary) -> Moments:
        """An accumulator that goes on where a summary ended."""
        moments = cls(summary.names)
        moments.n, moments.means = summary.n, summary.means
        moments.cross = summary.covariance * (summary.n - 1) if summary.n > 1 else moments.cross
        return moments

    def update(self, batch: ArrayLike) -> Self:
        """Add rows.

        Args:
            batch: (rows, V), or (rows,) when there is one variable; finite.

        Raises:
            UsageError: for another shape, or a value that is not finite.
        """
        rows = np.asarray(batch, np.float64)
        if rows.ndim == 1 and len(self.names) == 1:
            rows = rows[:, None]
        if rows.ndim != 2 or rows.shape[1] != len(self.names):
            raise UsageError(
                detail=f"rows of shape (rows, {len(self.names)}) expected, got {rows.shape}",
                detail_zh=f"数据形状应为 (行数, {len(self.names)})，实际为 {rows.shape}",
            )
        if len(rows) == 0:
            return self
        means = rows.mean(0)
        if not np.isfinite(means).all():
            raise UsageError(
                detail="a row holds a value that is not a finite number; leave such rows out, or mend them",
                detail_zh="数据中含有非有限数值；请删除或修正这些行",
            )
        means += (rows - means).mean(0)  # a second pass takes away what the first sum rounded
        centred = rows - means
        return self._add(len(rows), means, centred.T @ centred)

    def update_sums(self, n: int, sums: ArrayLike, products: ArrayLike) -> Self:
        """Add rows known by their sums alone, e.g. from a database.

        Args:
            n: rows.
            sums: of each variable, (V,).
            products: sums over rows of every product of two variables, (V, V).
        """
        s, p = np.asarray(sums, np.float64), np.asarray(products, np.float64)
        V = len(self.names)
        if (
            n < 0
            or s.shape != (V,)
            or p.shape != (V, V)
            or not (np.isfinite(s).all() and np.isfinite(p).all())
        ):
            raise UsageError(
                detail=f"sums of shape ({V},) and products of shape ({V}, {V}), finite, expected",
                detail_zh=f"需要形状为 ({V},) 的总和与 ({V}, {V}) 的乘积和，且均为有限数值",
            )
        return self if n == 0 else self._add(n, s / n, p - np.outer(s, s) / n)

    def merge(self, other: Moments) -> Self:
        """Add what another accumulator of the same variables has seen; raises `UsageError` for other variables."""
        if other.names != self.names:
            raise UsageError(
                detail=f"moments of {other.names} cannot be merged into moments of {self.names}",
                detail_zh=f"变量 {other.names} 的统计量不能并入 {self.names}",
            )
        return self if other.n == 0 else self._add(other.n, other.means, other.cross)

    def _add(self, n: int, means: Array, cross: Array) -> Self:
        total = self.n + n
        delta = means - self.means
        self.means = self.means + delta * (n / total)
        self.cross = self.cross + cross + np.outer(delta, delta) * (self.n * n / total)
        self.n = total
        return self

    @property
    def covariance(self) -> Array:
        """Covariances with n - 1 in the denominator, (V, V); NaN below two rows."""
        return self.cross / (self.n - 1) if self.n > 1 else np.full_like(self.cross, np.nan)

    def result(self) -> Summary:
        """What has been seen, frozen."""
        return Summary(self.names, self.n, self.means.copy(), self.covariance)


def _index(names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise UsageError(
            detail=f"no variable called '{name}'; there are: {', '.join(names)}",
            detail_zh=f"没有名为 “{name}” 的变量；现有：{'、'.join(names)}",
        )
    return names.index(name)
