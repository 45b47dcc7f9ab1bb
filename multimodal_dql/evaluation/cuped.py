"""CUPED: experiments made more sensitive by what was known before they began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.means import Estimate, mean_estimate
from multimodal_dql.evaluation.moments import Moments, Summary

__all__ = ["Cuped", "cuped"]


@dataclass(frozen=True)
class Cuped:
    """Arms after adjustment for what was known before the experiment.

    Attributes:
        control: adjusted mean of the control.
        treatment: adjusted mean of the treatment.
        theta: one coefficient a covariate.
        variance_reduction: 1 - adjusted / raw pooled variance, 0 to 1.
    """

    control: Estimate
    treatment: Estimate
    theta: tuple[float, ...]
    variance_reduction: float


def cuped(control: Summary, treatment: Summary, outcome: str, covariates: Sequence[str]) -> Cuped:
    """Adjust both arms for covariates that the treatment cannot have changed.

    ``theta = cov(X, X)^-1 cov(X, y)`` from the pooled data (Deng, Xu, Kohavi & Walker 2013, Improving the sensitivity
    of online controlled experiments by utilizing pre-experiment data, sections 3.2-3.3), least squares when covariates
    are collinear; the adjusted outcome is ``y - theta (x - pooled mean of x)``. A ratio metric is adjusted by adding
    it, and its value before the experiment, with `means.with_ratio`.

    Args:
        control: holds the outcome and the covariates.
        treatment: the same variables.
        outcome: name of y.
        covariates: names of x; measured before the experiment.
    """
    names = (outcome, *covariates)
    if not covariates or outcome in covariates:
        raise UsageError(
            detail="CUPED needs at least one covariate other than the outcome",
            detail_zh="CUPED 至少需要一个不同于结果变量的协变量",
        )
    parts = [Moments.from_summary(arm.select(names)) for arm in (control, treatment)]
    pooled = Moments(names).merge(parts[0]).merge(parts[1])
    theta = np.linalg.lstsq(pooled.cross[1:, 1:], pooled.cross[1:, 0], rcond=None)[0]
    weights = {outcome: 1.0} | {name: -float(b) for name, b in zip(covariates, theta, strict=True)}
    shift = float(theta @ pooled.means[1:])
    adjusted = [mean_estimate(arm.combine(outcome, weights, shift)) for arm in (control, treatment)]
    direction = np.array([1.0, *-theta])
    within = parts[0].cross + parts[1].cross
    raw, left = within[0, 0], float(direction @ within @ direction)
    return Cuped(
        control=adjusted[0],
        treatment=adjusted[1],
        theta=tuple(map(float, theta)),
        variance_reduction=float(1 - left / raw) if raw > 0 else 0.0,
    )
