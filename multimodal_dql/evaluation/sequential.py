"""Group-sequential designs: a fixed number of planned looks, each with its own bound, together one alpha.

The statistics at the looks are jointly normal with independent increments, ``Z_k ~ N(drift sqrt(t_k), 1)``, t the
information fraction and ``drift`` the mean of Z at the last look. Probabilities of crossing are found by the recursive
numerical integration of Armitage, McPherson & Rowe (1969) on the grid of Jennison & Turnbull (2000, Group sequential
methods with applications to clinical trials, chapter 19). K is the number of looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.errors import UsageError

__all__ = ["SPENDING", "GroupSequential", "crossing_probabilities", "group_sequential", "spent_alpha"]

Array = NDArray[np.float64]
SPENDING = (
    "obrien-fleming",
    "pocock",
    "kim-demets:RHO",
    "classical-obrien-fleming",
    "classical-pocock",
)
_GRID = 24  # r of Jennison & Turnbull: 12 r - 3 points at most; 16 gives six digits
_FAR = 10.0  # a bound beyond which nothing happens
MAX_LOOKS = 200


@dataclass(frozen=True)
class GroupSequential:
    """Bounds for a fixed number of looks.

    Attributes:
        fractions: information at each look as a share of the last, (K,), increasing to 1.
        z_bounds: stop when |Z| (Z, one-sided) reaches this, (K,).
        nominal_p: p-value that corresponds to each bound, (K,).
        cumulative_alpha: chance of a false winner up to each look, (K,).
        alpha: of the whole design.
        sides: 1 or 2.
        spending: how alpha was spread over the looks.
    """

    fractions: tuple[float, ...]
    z_bounds: tuple[float, ...]
    nominal_p: tuple[float, ...]
    cumulative_alpha: tuple[float, ...]
    alpha: float
    sides: int
    spending: str

    def stopping(self, drift: float) -> Array:
        """Chance of stopping at each look (either side), (K,); `drift` is the mean of Z at the last look."""
        upper, lower = crossing_probabilities(self.z_bounds, self.fractions, drift, self.sides)
        return upper + lower

    def power(self, drift: float) -> float:
        """Chance of ever crossing the bound on the side of a drift of 0 or more."""
        return float(crossing_probabilities(self.z_bounds, self.fractions, drift, self.sides)[0].sum())

    def drift(self, power: float) -> float:
        """The drift that is found with a given power."""
        from scipy.optimize import brentq

        if not self.alpha < power < 1:
            raise UsageError(
                detail=f"the power must lie between alpha ({self.alpha:g}) and 1, not {power:g}",
                detail_zh=f"功效应在 alpha（{self.alpha:g}）与 1 之间，而不是 {power:g}",
            )
        return float(brentq(lambda drift: self.power(drift) - power, 0.0, 60.0, xtol=1e-10))

    def inflation(self, power: float) -> float:
        """Largest sample over the sample of a design with one look, same alpha and power."""
        from scipy.special import ndtri

        one_look = float(ndtri(1 - self.alpha / self.sides) + ndtri(power))
        return (self.drift(power) / one_look) ** 2

    def expected_fraction(self, drift: float) -> float:
        """Expected sample as a share of the largest, under a drift."""
        stop = self.stopping(drift)
        return float(np.asarray(self.fractions) @ stop + 1 - stop.sum())


def group_sequential(
    looks: int | Sequence[float],
    alpha: float = 0.05,
    sides: int = 2,
    spending: str = "obrien-fleming",
) -> GroupSequential:
    """Bounds that keep the chance of any false winner at alpha over all looks.

    Args:
        looks: how many, equally spaced; or the information fractions, increasing, the last being 1.
        alpha: chance of a false winner; of both sides together when there are two.
        sides: 2, symmetric bounds; or 1, upper bounds only.
        spending: ``obrien-fleming``, ``pocock`` or ``kim-demets:RHO`` spend alpha as a function of information (Lan &
            DeMets 1983; Kim & DeMets 1987), so that looks may be moved; ``classical-obrien-fleming`` and
            ``classical-pocock`` are the bounds C / sqrt(t) and C of the papers of 1979 and 1977.

    Raises:
        UsageError: for looks, alpha, sides or a spending that make no design.
    """
    t = _fractions(looks)
    if not 0 < alpha < 0.5 or sides not in (1, 2):
        raise UsageError(
            detail="alpha lies between 0 and .5, and a test has 1 or 2 sides",
            detail_zh="alpha 应在 0 与 0.5 之间，检验应为单侧或双侧",
        )
    if spending.startswith("classical-"):
        z = _classical_bounds(t, alpha, sides, spending)
    else:
        z = _spending_bounds(t, spent_alpha(t, alpha, sides, spending), sides)
    upper, lower = crossing_probabilities(z, t, 0.0, sides)
    return GroupSequential(
        fractions=tuple(map(float, t)),
        z_bounds=tuple(map(float, z)),
        nominal_p=tuple(map(float, sides * _upper_tail(z))),
        cumulative_alpha=tuple(map(float, np.cumsum(upper + lower))),
        alpha=alpha,
        sides=sides,
        spending=spending,
    )


def spent_alpha(fractions: Array, alpha: float, sides: int, spending: str) -> Array:
    """Alpha that may be spent up to each information fraction, both sides together, (K,).

    Each side spends, of its a = alpha / sides: ``2 - 2 Phi(z_{a/2} / sqrt t)`` (O'Brien-Fleming type),
    ``a log(1 + (e - 1) t)`` (Pocock type; both Lan & DeMets 1983) or ``a t^rho`` (Kim & DeMets 1987).
    """
    from scipy.special import ndtri

    one_side = alpha / sides
    if spending == "obrien-fleming":
        return sides * 2 * _upper_tail(-ndtri(one_side / 2) / np.sqrt(fractions))
    if spending == "pocock":
        return np.asarray(alpha * np.log1p((math.e - 1) * fractions), np.float64)
    if spending.startswith("kim-demets:"):
        try:
            rho = float(spending.partition(":")[2])
        except ValueError:
            rho = math.nan
        if 0 < rho < math.inf:
            return np.asarray(alpha * fractions**rho, np.float64)
    raise UsageError(
        detail=f"no spending function '{spending}'; there are: {', '.join(SPENDING)} (RHO above 0)",
        detail_zh=f"没有消耗函数 “{spending}”；可用：{'、'.join(SPENDING)}（RHO 大于 0）",
    )


def crossing_probabilities(
    z_bounds: Sequence[float] | Array, fractions: Sequence[float] | Array, drift: float, sides: int = 2
) -> tuple[Array, Array]:
    """Chance that Z first crosses its upper, and its lower, bound at each look.

    Args:
        z_bounds: (K,), above 0; infinite for a look at which one does not stop.
        fractions: information at the looks, (K,), increasing.
        drift: mean of Z where the information is 1.
        sides: with 1 there are no lower bounds.

    Returns:
        upper and lower probabilities, (K,) each.
    """
    z, t = np.asarray(z_bounds, np.float64), np.asarray(fractions, np.float64)
    upper, lower = np.zeros(len(t)), np.zeros(len(t))
    carry = _Carry(drift)
    for k in range(len(t)):
        upper[k] = carry.beyond(t[k], z[k])
        lower[k] = carry.below(t[k], -z[k]) if sides == 2 else 0.0
        if k + 1 < len(t):
            carry.advance(t[k], -z[k] if sides == 2 else -math.inf, z[k])
    return upper, lower


class _Carry:
    """The sub-density of Z at the last look among paths that have not crossed: points, and weight x density."""

    def __init__(self, drift: float) -> None:
        self.drift, self.t = drift, 0.0
        self.z, self.mass = np.zeros(1), np.ones(1)  # at information 0 the score is 0

    def beyond(self, t: float, bound: float) -> float:
        """Chance of arriving at information t above the bound."""
        return float(self.mass @ _upper_tail(self._standard(t, bound)))

    def below(self, t: float, bound: float) -> float:
        """Chance of arriving at information t below the bound."""
        return float(self.mass @ _upper_tail(-self._standard(t, bound)))

    def advance(self, t: float, low: float, high: float) -> None:
        """Go to information t, keeping the paths between the bounds (Jennison & Turnbull, eq. 19.3-19.4)."""
        points, weights = _grid(self.drift * math.sqrt(t), low, high)
        step = t - self.t
        x = (points[:, None] * math.sqrt(t) - self.z * math.sqrt(self.t) - self.drift * step) / math.sqrt(
            step
        )
        density = np.exp(-0.5 * x**2) @ self.mass * math.sqrt(t / step / (2 * math.pi))
        self.t, self.z, self.mass = t, points, weights * density

    def _standard(self, t: float, bound: float) -> Array:
        step = t - self.t
        if math.isinf(bound):
            return np.full(len(self.z), bound)
        return (bound * math.sqrt(t) - self.z * math.sqrt(self.t) - self.drift * step) / math.sqrt(step)


def _grid(centre: float, low: float, high: float) -> tuple[Array, Array]:
    """Simpson's rule on a normal's mass between two bounds: dense in the middle, logarithmic in the tails (19.2.3)."""
    r = _GRID
    i = np.arange(1, 6 * r)
    tail = 3 + 4 * np.log(r / np.arange(1, r))
    x = np.concatenate([-tail, -3 + 3 * (i[r - 1 : 5 * r] - r) / (2 * r), tail[::-1]]) + centre
    low, high = max(low, centre - _FAR * 2), min(high, centre + _FAR * 2)
    x = np.concatenate([[low], x[(x > low) & (x < high)], [high]]) if low < high else np.array([low, low])
    points = np.empty(2 * len(x) - 1)
    points[::2], points[1::2] = x, (x[1:] + x[:-1]) / 2
    weights = np.zeros_like(points)
    width = np.diff(x) / 6
    weights[0:-1:2] += width
    weights[1::2] += 4 * width
    weights[2::2] += width
    return points, weights


def _spending_bounds(t: Array, spent: Array, sides: int) -> Array:
    """Bounds whose crossing probabilities add up to the alpha spent at each look."""
    from scipy.optimize import brentq

    carry, z = _Carry(0.0), np.empty(len(t))

    def excess(bound: float, fraction: float, to_spend: float) -> float:
        return carry.beyond(fraction, bound) - to_spend

    for k, to_spend in enumerate(np.diff(spent, prepend=0.0) / sides):
        # Alpha too small for float64 (a first look at a thousandth of the data) means that one does not stop there.
        here = (float(t[k]), float(to_spend))
        z[k] = _FAR if excess(_FAR, *here) >= 0 else brentq(excess, -_FAR, _FAR, args=here, xtol=1e-12)
        carry.advance(t[k], -z[k] if sides == 2 else -math.inf, z[k])
    return z


def _classical_bounds(t: Array, alpha: float, sides: int, spending: str) -> Array:
    """C (Pocock 1977) or C / sqrt(t) (O'Brien & Fleming 1979), C such that all looks together spend alpha."""
    from scipy.optimize import brentq

    shapes: dict[str, Callable[[Array], Array]] = {
        "classical-pocock": np.ones_like,
        "classical-obrien-fleming": lambda t: 1 / np.sqrt(t),
    }
    if spending not in shapes:
        raise UsageError(
            detail=f"no spending function '{spending}'; there are: {', '.join(SPENDING)}",
            detail_zh=f"没有消耗函数 “{spending}”；可用：{'、'.join(SPENDING)}",
        )
    shape = shapes[spending](t)

    def excess(c: float) -> float:
        return float(sum(p.sum() for p in crossing_probabilities(c * shape, t, 0.0, sides))) - alpha

    return np.asarray(brentq(excess, 0.5, _FAR, xtol=1e-10) * shape, np.float64)


def _upper_tail(z: Array) -> Array:
    from scipy.special import ndtr

    return np.asarray(ndtr(-z), np.float64)


def _fractions(looks: int | Sequence[float]) -> Array:
    if isinstance(looks, int):
        t = np.arange(1, looks + 1) / looks if 1 <= looks <= MAX_LOOKS else np.empty(0)
    else:
        t = np.asarray(looks, np.float64)
    if len(t) == 0 or len(t) > MAX_LOOKS or not (np.diff(t, prepend=0.0) > 0).all() or abs(t[-1] - 1) > 1e-9:
        raise UsageError(
            detail=f"looks are a number from 1 to {MAX_LOOKS}, or information fractions that rise above 0 up to 1",
            detail_zh=f"查看次数应为 1 到 {MAX_LOOKS} 的整数，或由 0 以上递增至 1 的信息比例",
        )
    return t
