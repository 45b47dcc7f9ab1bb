"""An offline A/B simulation for other programs, and how many sessions would settle an open question."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multimodal_dql.report.export import SCHEMA_VERSION, json_number

if TYPE_CHECKING:
    from multimodal_dql.evaluation.statistics import Comparison
    from multimodal_dql.simulation.analysis import ArmComparison
    from multimodal_dql.simulation.trial import Reference, Trial

__all__ = ["sessions_to_settle", "trial_to_dict"]

_Z80, _Z90 = 0.8416212335729143, 1.2815515655446004
_MAX_SESSIONS = 1e12
"""Beyond this a number of sessions is no plan, and none is named."""


def trial_to_dict(trial: Trial) -> dict[str, Any]:
    """`trial` as JSON types; numbers that are not known, or infinite, are null.

    The keys are a contract: more may be added, none is renamed or removed without a new ``schema_version``.
    """
    verdict = trial.verdict
    stories = {(c.arm, c.against): _stories(c) for c in trial.stories}
    first = verdict.comparisons[0] if verdict.comparisons else None
    return {
        "schema_version": SCHEMA_VERSION,
        "design": verdict.design,
        "outcome": verdict.analysis.outcome,
        "against": verdict.analysis.against,
        "arms": {name: _intervals(outcomes, "value") for name, outcomes in verdict.arms.items()},
        "comparisons": [
            {**_comparison(c, trial), "stories": stories.get((c.arm, c.against))} for c in verdict.comparisons
        ],
        "sample_ratio_p": _optional(verdict.sample_ratio_p),
        "crn_variance_ratio": _optional(first.crn_variance_ratio) if first else None,
        "rule": verdict.analysis.rule,
        "alpha": verdict.analysis.alpha,
        "minimum_effect": verdict.analysis.minimum_effect,
        "sessions": verdict.sessions,
        "planned_sessions": trial.collected.plan.sessions,
        "sessions_by_arm": {name: int(n) for name, n in trial.collected.counts.items()},
        "stopped_early": verdict.stopped_early,
        "seed": trial.collected.plan.seed,
        "references": {reference.name: _reference(reference) for reference in trial.references},
    }


def _comparison(c: ArmComparison, trial: Trial) -> dict[str, Any]:
    return {
        "arm": c.arm,
        "against": c.against,
        "outcome": trial.verdict.analysis.outcome,
        "effect": json_number(c.effect),
        "low": json_number(c.low),
        "high": json_number(c.high),
        "p": json_number(c.p),
        "p_adjusted": json_number(c.p_adjusted),
        "ending": c.ending,
        "winner": c.winner,
        "sessions_to_settle": sessions_to_settle(c, trial) if c.ending == "not enough data" else None,
        "crn_variance_ratio": _optional(c.crn_variance_ratio),
        "cuped_variance_reduction": _optional(c.cuped_variance_reduction),
        "segments": _intervals(c.segments, "effect"),
        "outcomes": _intervals(c.outcomes, "effect"),
        "curve": [[sessions, *map(json_number, rest)] for sessions, *rest in c.curve],
    }


def _intervals(by_name: Mapping[str, tuple[float, float, float]], value: str) -> dict[str, Any]:
    return {
        name: dict(zip((value, "low", "high"), map(json_number, numbers), strict=True))
        for name, numbers in by_name.items()
    }


def _stories(c: Comparison) -> dict[str, Any]:
    return {
        "effect": json_number(c.uplift),
        "low": json_number(c.low),
        "high": json_number(c.high),
        "stories": len(c.item_ids),
    }


def _reference(reference: Reference) -> dict[str, Any]:
    return {
        "outcomes": {name: json_number(value) for name, value in reference.outcomes.items()},
        "regret": {name: json_number(value) for name, value in reference.regret.items()},
    }


def _optional(value: float | None) -> float | None:
    return None if value is None else json_number(value)


def sessions_to_settle(c: ArmComparison, trial: Trial) -> int | None:
    """Sessions of the whole experiment with which `c` would end with a probability of 80 %.

    See `sessions_to_end`, applied to the logarithm of the ratio, where intervals are symmetric. The standard error is
    taken from the interval. Where that is wider than Student's (a sequential rule) the standard error is too large, and
    so is the answer: never too small.
    """
    from scipy.special import ndtri

    analysis = trial.verdict.analysis
    if not (c.low > -1 and c.effect > -1 and math.isfinite(c.high)):
        return None
    low, effect, high = (math.log1p(x) for x in (c.low, c.effect, c.high))
    alpha = analysis.alpha / max(len(trial.verdict.comparisons), 1)
    least = analysis.minimum_effect
    tolerance = (math.log1p(-least) if least < 1 else -math.inf, math.log1p(least))
    half = (high - low) / 2
    error = half / float(ndtri(1 - alpha / 2))
    return sessions_to_end(effect, half, error, tolerance, trial.verdict.sessions)


def sessions_to_end(
    effect: float, half_width: float, standard_error: float, tolerance: tuple[float, float], sessions: int
) -> int | None:
    """Sessions after which the interval leaves 0 out, or lies within the tolerance, in 4 of 5 experiments.

    Both the half width h and the standard error s shrink as ``sqrt(n0 / n)``. With a true effect e, the interval leaves
    0 out with probability .8 when ``|e| >= h + .84 s``. It lies within (a, b) with at least that probability when
    ``min(e - a, b - e) >= h + 1.28 s``: an estimate errs by less than 1.28 s to either side in 80 % of cases. The
    smaller number counts, rounded up to two digits.

    Args:
        effect: e, as estimated.
        half_width: h, with `sessions`.
        standard_error: s, with `sessions`.
        tolerance: a and b, about 0: effects between them are too small to matter.
        sessions: n0.

    Returns:
        None where no number helps (no effect and no tolerance, an interval without ends).
    """
    if not all(map(math.isfinite, (effect, half_width, standard_error))):
        return None
    low, high = tolerance
    rooms = (
        (abs(effect), half_width + _Z80 * standard_error),
        (min(effect - low, high - effect), half_width + _Z90 * standard_error),
    )
    needed = min(
        (sessions * min(reach / room, 1e9) ** 2 for room, reach in rooms if room > 0), default=math.inf
    )
    if needed > _MAX_SESSIONS:
        return None
    step = int(10 ** max(0, math.floor(math.log10(max(needed, 1.0))) - 1))
    return math.ceil(needed / step) * step
