"""How an experiment ends: a winner, no meaningful difference, or not enough data; and guardrails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.proportions import SAMPLE_RATIO_ALPHA

__all__ = ["Ending", "EndingName", "ending", "non_inferior"]

EndingName = Literal["winner", "no meaningful difference", "not enough data", "invalid: sample ratio"]


@dataclass(frozen=True)
class Ending:
    """What may be said about treatment against control.

    Attributes:
        name: which of the endings.
        side: who won; None unless there is a winner.
    """

    name: EndingName
    side: Literal["treatment", "control"] | None = None


def ending(low: float, high: float, minimum_effect: float, sample_ratio_p: float | None = None) -> Ending:
    """Read the ending off an interval of the effect.

    An interval that lies wholly inside (-minimum, minimum) says "no meaningful difference" even when it leaves 0 out:
    such an effect is real and too small to matter. An interval with ends that are not numbers, or infinite, is
    "not enough data".

    Args:
        low: lower end of the interval of treatment against control, on any scale.
        high: upper end.
        minimum_effect: smallest effect that would matter, on the same scale, at least 0.
        sample_ratio_p: p of the sample-ratio check; below .001 the ending is "invalid: sample ratio", whatever the
            interval. None where the split cannot be wrong, e.g. when both arms met every session.

    Raises:
        UsageError: for a minimum effect below 0, or ends in the wrong order.
    """
    if not (minimum_effect >= 0 and math.isfinite(minimum_effect)) or low > high:
        raise UsageError(
            detail="the minimum effect must be 0 or more, and the interval's lower end not above its upper end",
            detail_zh="最小有用效应不得为负，且区间下限不得高于上限",
        )
    if sample_ratio_p is not None and not sample_ratio_p >= SAMPLE_RATIO_ALPHA:
        return Ending("invalid: sample ratio")
    if -minimum_effect < low and high < minimum_effect:
        return Ending("no meaningful difference")
    if low > 0:
        return Ending("winner", "treatment")
    if high < 0:
        return Ending("winner", "control")
    return Ending("not enough data")


def non_inferior(low: float, margin: float) -> bool:
    """Guardrail: whether a metric that must not fall has not fallen by `margin` or more.

    Args:
        low: lower end of the interval of treatment against control, of a metric where more is better.
        margin: tolerated loss on the same scale, above 0.
    """
    if not margin > 0:
        raise UsageError(
            detail="the margin of a guardrail must be above 0", detail_zh="护栏指标的容许下降幅度必须大于 0"
        )
    return low > -margin
