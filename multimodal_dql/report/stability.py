"""How steadily a training went, for the page, the terminal and other programs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from multimodal_dql.monitors import ACTIONS, Finding
from multimodal_dql.report import numbers, plots
from multimodal_dql.report.export import json_number
from multimodal_dql.report.texts import Texts
from multimodal_dql.stability import Stability

__all__ = ["DRAWN", "StabilityView", "say_stability", "spoken", "stability_to_dict", "stability_view"]

DRAWN = ("q_mean", "return_mean", "gradient_norm", "churn")
"""Metrics that are drawn here rather than among the other curves."""
_SHARES = {"transitions", "batch", "dead", "churn"}


@dataclass(frozen=True)
class _Figure:
    title: str
    note: str
    chart: Markup


@dataclass(frozen=True)
class StabilityView:
    """What the section shows.

    Attributes:
        verdict: ``steady``, ``watch``, ``repaired`` or ``stopped``.
        sentence: the verdict in words.
        numbers: what was measured, sentence by sentence.
        figures: curves.
        monitors: name, what it said, whether it found something.
    """

    verdict: str
    sentence: str
    numbers: tuple[str, ...]
    figures: tuple[_Figure, ...]
    monitors: tuple[tuple[str, str, bool], ...]


def stability_view(stability: Stability, training: plots.TrainingCurve | None, t: Texts) -> StabilityView:
    """The section of a page; curves where `training` holds them."""
    return StabilityView(
        verdict=stability.verdict,
        sentence=say_stability(stability, t),
        numbers=tuple(_measured(stability, t)),
        figures=tuple(_figures(training, t)) if training and training.steps else (),
        monitors=tuple(_monitor(name, stability, t) for name in ACTIONS),
    )


def say_stability(stability: Stability, t: Texts) -> str:
    """The verdict as a sentence."""
    return t(f"steadiness_{stability.verdict}", iterations=numbers.count(stability.iterations))


def stability_to_dict(stability: Stability) -> dict[str, Any]:
    """`stability` as JSON types; each finding with its sentence in both languages."""
    en, zh = Texts("en"), Texts("zh")
    measured = (
        "q_mean", "return_mean", "overestimate", "gradient_norm", "churn_early", "churn", "dead_share",
    )  # fmt: skip
    return {
        "verdict": stability.verdict,
        "iterations": stability.iterations,
        **{name: json_number(getattr(stability, name)) for name in measured},
        "findings": [
            {
                "monitor": found.monitor,
                "iteration": found.iteration,
                "action": found.action,
                "value": json_number(found.value),
                "limit": json_number(found.limit),
                "en": _found(found, en),
                "zh": _found(found, zh),
            }
            for found in stability.findings
        ],
    }


def _found(found: Finding, t: Texts) -> str:
    form = numbers.rate if found.monitor in _SHARES else numbers.plain
    return t(f"found_{found.monitor}", value=form(found.value), limit=form(found.limit))


def _monitor(name: str, stability: Stability, t: Texts) -> tuple[str, str, bool]:
    spoke = [found for found in stability.findings if found.monitor == name]
    title = t(f"monitor_{name}")
    if not spoke:
        return title, t("monitor_passed"), False
    first = spoke[0]
    fields = {
        "iteration": numbers.count(first.iteration),
        "what": _found(first, t),
        "action": t(f"did_{first.action}"),
    }
    if len(spoke) == 1:
        return title, t("monitor_once", **fields), True
    return title, t("monitor_often", times=numbers.count(len(spoke)), **fields), True


def _measured(stability: Stability, t: Texts) -> list[str]:
    said = []
    if math.isfinite(stability.overestimate):
        said.append(
            t(
                "stability_q",
                q=numbers.plain(stability.q_mean),
                returned=numbers.plain(stability.return_mean),
                ratio=numbers.plain(stability.overestimate),
            )
        )
    if math.isfinite(stability.churn_early) and math.isfinite(stability.churn):
        early, late = (numbers.rate(x) for x in (stability.churn_early, stability.churn))
        said.append(t("stability_churn", early=early, late=late))
    if math.isfinite(stability.dead_share):
        said.append(t("stability_dead", dead=numbers.rate(stability.dead_share)))
    return said


def _figures(training: plots.TrainingCurve, t: Texts) -> list[_Figure]:
    values, figures = training.values, []
    if "q_mean" in values and "return_mean" in values:
        q, returned = values["q_mean"], values["return_mean"]
        figures.append(
            _Figure(
                t("q_against_return"),
                t("q_against_return_key"),
                plots.line_chart(training.steps, q, spoken("q_mean", training, t), _tick, beside=returned),
            )
        )
    for name in ("gradient_norm", "churn"):
        if any(math.isfinite(v) for v in values.get(name, ())):
            chart = plots.line_chart(training.steps, values[name], spoken(name, training, t), _tick)
            figures.append(_Figure(t.named("metric", name), "", chart))
    return figures


def _tick(value: float) -> str:
    return f"{value:g}"


def spoken(name: str, training: plots.TrainingCurve, t: Texts) -> str:
    """The curve in words, for those who cannot see it."""
    known = [v for v in training.values[name] if math.isfinite(v)]
    title = t.named("metric", name)
    if not known:
        return t("curve_empty", name=title)
    return t(
        "curve_label",
        name=title,
        steps=numbers.count(max(training.steps)),
        first=numbers.plain(known[0]),
        last=numbers.plain(known[-1]),
        low=numbers.plain(min(known)),
        high=numbers.plain(max(known)),
    )
