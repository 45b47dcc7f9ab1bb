"""Differences of means and of ratios, with intervals: independent arms and paired arms.

Every quantity is first an `Estimate` (value, standard error, degrees of freedom); a difference and a relative
difference then need no more than two of those, be they means, ratios of means or CUPED-adjusted means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.moments import Summary

__all__ = [
    "Effect",
    "Estimate",
    "PairedEffect",
    "difference",
    "mean_estimate",
    "paired_difference",
    "ratio_estimate",
    "relative_difference",
    "with_ratio",
]

RelativeMethod = Literal["delta", "log", "fieller"]


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and degrees of freedom.

    Attributes:
        value: the estimate.
        standard_error: of `value`; NaN when the sample is too small to tell.
        df: degrees of freedom of the standard error.
    """

    value: float
    standard_error: float
    df: float


@dataclass(frozen=True)
class Effect:
    """Treatment against control.

    An effect that the data cannot bound (too few rows, a control mean of 0) has infinite ends and p = 1.

    Attributes:
        value: the difference, or the relative difference (.08 is "8 % more").
        low: lower end of the interval.
        high: upper end of the interval.
        p: two-sided p-value of "no difference".
        df: degrees of freedom.
        standard_error: of `value`; of the logarithm of the ratio for the method ``log``.
        confidence: of the interval, e.g. .95.
    """

    value: float
    low: float
    high: float
    p: float
    df: float
    standard_error: float
    confidence: float


@dataclass(frozen=True)
class PairedEffect:
    """Two arms that met the same sessions (common random numbers).

    Attributes:
        difference: mean of treatment minus control.
        relative: ratio of the means minus 1.
        crn_variance_ratio: var(t - c) / (var t + var c); below 1 the pairing narrows the interval, by its root.
    """

    difference: Effect
    relative: Effect
    crn_variance_ratio: float


def mean_estimate(summary: Summary, name: str | None = None) -> Estimate:
    """The mean of a variable (of the only one, without a name)."""
    name = summary.names[0] if name is None else name
    return Estimate(
        summary.mean(name),
        _root(summary.variance(name) / summary.n if summary.n else math.nan),
        summary.n - 1,
    )


def with_ratio(summary: Summary, name: str, numerator: str, denominator: str) -> Summary:
    """The summary with a ratio of two means as one more variable, linearised: ``(y - R x) / mean(x) + R``.

    The mean of that variable is R and its variance over n is the delta-method variance of R (Deng, Knoblich & Lu 2018,
    Applying the delta method in metric analytics, section 2), so that whatever works for a mean works for a ratio:
    Welch, CUPED, pairs, power. NaN where the denominator's mean is 0.
    """
    x = summary.mean(denominator)
    ratio = summary.mean(numerator) / x if x else math.nan
    weights = {numerator: 1 / x if x else math.nan}
    weights[denominator] = weights.get(denominator, 0.0) - (ratio / x if x else math.nan)
    return summary.extend(name, weights, shift=ratio)


def ratio_estimate(summary: Summary, numerator: str, denominator: str) -> Estimate:
    """A ratio of two means over the same rows, e.g. clicks over impressions a session, by the delta method."""
    return mean_estimate(with_ratio(summary, "ratio", numerator, denominator), "ratio")


def welch_df(parts: Sequence[tuple[float, float]]) -> float:
    """Welch-Satterthwaite degrees of freedom of a sum of independent variances, each with its own (variance, df)."""
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / df for variance, df in parts if df > 0)
    return total**2 / below if below > 0 else math.inf


def difference(control: Estimate, treatment: Estimate, confidence: float = 0.95) -> Effect:
    """Treatment minus control, unequal variances (Welch 1947)."""
    return _difference(control, treatment, _checked(confidence))


def relative_difference(
    control: Estimate,
    treatment: Estimate,
    confidence: float = 0.95,
    method: RelativeMethod = "delta",
    covariance: float = 0.0,
) -> Effect:
    """Treatment over control, minus 1.

    Args:
        control: c; its value may be of either sign.
        treatment: t.
        confidence: of the interval.
        method: ``delta``: var(t/c) = (var t + r^2 var c - 2 r cov) / c^2, symmetric about r (Cochran 1977, 6.3);
            ``log``: the same on the scale of log(t/c), so that the interval has the right skew; for positive values;
            ``fieller``: all r for which t - r c does not differ from 0 (Fieller 1954); its p is Welch's, and its
            interval leaves 0 out exactly when that p is below 1 - confidence. Unbounded where c may be 0.
        covariance: of the two values, for pairs; then the arms' degrees of freedom must be equal.
    """
    if method not in ("delta", "log", "fieller"):
        raise UsageError(detail=f"no method '{method}': use delta, log or fieller")
    confidence = _checked(confidence)
    c, t = control.value, treatment.value
    vc, vt = control.standard_error**2, treatment.standard_error**2
    if not c or not math.isfinite(c * t) or math.isnan(vc + vt) or (method == "log" and min(c, t) <= 0):
        return _unknown(t / c - 1 if c else math.nan, confidence)
    ratio = t / c
    if method == "fieller":
        return _fieller(control, treatment, covariance, confidence)
    if method == "log":
        parts = ((vt / t**2, treatment.df), (vc / c**2, control.df))
        error = _root(parts[0][0] + parts[1][0] - 2 * covariance / (c * t))
        df = control.df if covariance else welch_df(parts)
        half = _t_quantile(confidence, df) * error
        p = _p_value(math.log(ratio), error, df)
        return Effect(
            ratio - 1,
            _expm1(math.log(ratio) - half),
            _expm1(math.log(ratio) + half),
            p,
            df,
            error,
            confidence,
        )
    parts = ((vt / c**2, treatment.df), (ratio**2 * vc / c**2, control.df))
    error = _root(parts[0][0] + parts[1][0] - 2 * ratio * covariance / c**2)
    df = control.df if covariance else welch_df(parts)
    return _student(ratio - 1, error, df, confidence)


def paired_difference(
    summary: Summary, control: str, treatment: str, confidence: float = 0.95
) -> PairedEffect:
    """Two arms over the same rows: common random numbers, or the same user seen under both.

    Args:
        summary: holds both variables, a row being one session (or one cluster of sessions) under both arms.
        control: name of the control's variable.
        treatment: name of the treatment's variable.
        confidence: of the intervals.
    """
    gap = mean_estimate(summary.combine("difference", {treatment: 1.0, control: -1.0}))
    absolute = (
        _unknown(gap.value, _checked(confidence))
        if math.isnan(gap.standard_error)
        else _student(gap.value, gap.standard_error, gap.df, _checked(confidence))
    )
    # The linearised ratio of the two means is again one variable, so its t interval needs no formula of its own.
    ratio = ratio_estimate(summary, treatment, control)
    relative = (
        _unknown(ratio.value - 1, confidence)
        if math.isnan(ratio.standard_error)
        else _student(ratio.value - 1, ratio.standard_error, ratio.df, confidence)
    )
    apart = summary.variance(treatment) + summary.variance(control)
    joint = summary.combine("difference", {treatment: 1.0, control: -1.0}).covariance[0, 0]
    return PairedEffect(absolute, relative, float(joint / apart) if apart > 0 else math.nan)


def _difference(control: Estimate, treatment: Estimate, confidence: float) -> Effect:
    value = treatment.value - control.value
    vc, vt = control.standard_error**2, treatment.standard_error**2
    if math.isnan(value + vc + vt):
        return _unknown(value, confidence)
    return _student(value, math.sqrt(vc + vt), welch_df(((vt, treatment.df), (vc, control.df))), confidence)


def _fieller(control: Estimate, treatment: Estimate, covariance: float, confidence: float) -> Effect:
    """The set of r with (t - r c)^2 <= q^2 (vt - 2 r cov + r^2 vc), q Student's quantile with Welch's df at r = 1."""
    c, t = control.value, treatment.value
    vc, vt = control.standard_error**2, treatment.standard_error**2
    error = _root(vc + vt - 2 * covariance)
    df = control.df if covariance else welch_df(((vt, treatment.df), (vc, control.df)))
    q2 = _t_quantile(confidence, df) ** 2
    a, b, k = c**2 - q2 * vc, t * c - q2 * covariance, t**2 - q2 * vt
    low, high = -math.inf, math.inf
    if a > 0:
        root = _root(max(b**2 - a * k, 0.0))
        low, high = (b - root) / a - 1, (b + root) / a - 1
    return Effect(t / c - 1, low, high, _p_value(t - c, error, df), df, error / abs(c), confidence)


def _student(value: float, error: float, df: float, confidence: float) -> Effect:
    half = _t_quantile(confidence, df) * error if error > 0 else 0.0
    return Effect(value, value - half, value + half, _p_value(value, error, df), df, error, confidence)


def _p_value(value: float, error: float, df: float) -> float:
    from scipy.special import ndtr, stdtr

    if error == 0:
        return 1.0 if value == 0 else 0.0
    t = -abs(value) / error
    return float(2 * (ndtr(t) if math.isinf(df) else stdtr(df, t)))


def _t_quantile(confidence: float, df: float) -> float:
    from scipy.special import ndtri, stdtrit

    upper = 0.5 + confidence / 2
    return float(ndtri(upper) if math.isinf(df) else stdtrit(df, upper))


def _unknown(value: float, confidence: float) -> Effect:
    return Effect(value, -math.inf, math.inf, 1.0, 0.0, math.inf, confidence)


def _expm1(x: float) -> float:
    """``e^x - 1``, infinite where a float cannot hold it: two sessions may know as good as nothing."""
    return math.expm1(x) if x < 700 else math.inf


def _root(x: float) -> float:
    return math.sqrt(x) if x > 0 else (0.0 if x == 0 or x > -1e-12 else math.nan)


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise UsageError(
            detail=f"a confidence lies between 0 and 1, e.g. .95, not {confidence:g}",
            detail_zh=f"置信度应在 0 与 1 之间，例如 0.95，而不是 {confidence:g}",
        )
    return confidence
