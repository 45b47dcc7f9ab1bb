"""What is measured in a session, and by which rule an experiment ends: the two halves of a power calculation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.anytime import anytime_z
from multimodal_dql.evaluation.sequential import GroupSequential, group_sequential

__all__ = ["Design", "Metric", "make_design", "normal_power", "z_alpha"]


@dataclass(frozen=True)
class Metric:
    """What is measured in a session, under the control.

    Attributes:
        mean: e.g. clicks a session; with `kind` bernoulli, the share of sessions with a click.
        kind: how the spread follows the mean. ``bernoulli``: variance ``m (1 - m)``, tested with the pooled standard
            error; ``counts``: variance ``overdispersion * m``, 1 being Poisson; ``given``: `sd` under every arm. A
            ratio metric is ``given``, with the root of the variance of its linearised variable (`means.with_ratio`).
        sd: for the kind ``given``.
        overdispersion: variance over mean, for ``counts``.
    """

    mean: float
    kind: Literal["bernoulli", "counts", "given"]
    sd: float = 0.0
    overdispersion: float = 1.0

    @classmethod
    def of(cls, mean: float, sd: float | None = None, overdispersion: float | None = None) -> Metric:
        """The metric that a rate, and perhaps a spread, describe.

        With `sd` it is ``given``; with `overdispersion`, or a mean of 1 or more, ``counts``; a mean below 1 alone
        is a click rate, ``bernoulli``.

        Raises:
            UsageError: for a mean, sd or overdispersion that is not above 0, or both of the latter.
        """
        for name, value in (("base rate", mean), ("sd", sd), ("overdispersion", overdispersion)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(
                    detail=f"the {name} must be a number above 0, not {value:g}",
                    detail_zh=f"{_ZH[name]}必须是大于 0 的数，而不是 {value:g}",
                )
        if sd is not None and overdispersion is not None:
            raise UsageError(
                detail="give the sd or the overdispersion, not both",
                detail_zh="标准差与过度离散系数只能给出其一",
            )
        if sd is not None:
            return cls(mean, "given", sd=sd)
        if overdispersion is not None or mean >= 1:
            return cls(mean, "counts", overdispersion=overdispersion or 1.0)
        return cls(mean, "bernoulli")

    def variance(self, mean: float) -> float:
        """Variance of a session in an arm with this mean."""
        if self.kind == "bernoulli":
            return mean * (1 - mean)
        return self.sd**2 if self.kind == "given" else self.overdispersion * mean

    def drift(self, effect: float, n_control: float, n_treatment: float, z: float) -> float:
        """Mean of Z under a relative effect, counted from a bound `z` that applies to the null's standard error."""
        mean = self.mean * (1 + effect)
        error = math.sqrt(self.variance(self.mean) / n_control + self.variance(mean) / n_treatment)
        if error == 0:
            return math.inf
        null_error = error
        if self.kind == "bernoulli":
            pooled = (self.mean * n_control + mean * n_treatment) / (n_control + n_treatment)
            null_error = math.sqrt(pooled * (1 - pooled) * (1 / n_control + 1 / n_treatment))
        return abs(mean - self.mean) / error - z * (null_error / error - 1)


_ZH = {"base rate": "基准率", "sd": "标准差", "overdispersion": "过度离散系数"}


@dataclass(frozen=True)
class Design:
    """One look, planned looks or looks at any time, for one comparison at a given alpha.

    Attributes:
        name: ``fixed``, ``group-sequential`` or ``anytime``.
        alpha: of this comparison, two-sided.
        bounds: of a group-sequential design.
    """

    name: Literal["fixed", "group-sequential", "anytime"]
    alpha: float
    bounds: GroupSequential | None = None

    @property
    def z(self) -> float:
        """What |Z| must reach at the last look."""
        if self.bounds is not None:
            return self.bounds.z_bounds[-1]
        return float(anytime_z(1.0, self.alpha)) if self.name == "anytime" else z_alpha(self.alpha)

    def power(self, drift: float) -> float:
        """Chance of naming a winner; for ``anytime`` at the tuned session count alone, a floor for any looks before."""
        if math.isinf(drift):
            return 1.0
        if self.bounds is not None:
            return self.bounds.power(max(drift, 0.0))
        return normal_power(drift, self.z)


def make_design(alpha: float, looks: int, spending: str, anytime: bool) -> Design:
    """The design that these options describe, for one comparison."""
    if anytime:
        return Design("anytime", alpha)
    if looks == 1:
        return Design("fixed", alpha)
    return Design("group-sequential", alpha, group_sequential(looks, alpha, 2, spending))


def normal_power(drift: float, z: float) -> float:
    """Chance that a normal with this mean and unit variance lies beyond z on either side."""
    from scipy.special import ndtr

    return float(ndtr(drift - z) + ndtr(-drift - z))


def z_alpha(alpha: float) -> float:
    """Two-sided bound: 1.96 for .05."""
    from scipy.special import ndtri

    return float(-ndtri(alpha / 2))
