"""What the page shows of an offline comparison: uplifts by story, all of them together, and the control."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from multimodal_dql.datasets.catalogue import Catalogue
from multimodal_dql.evaluation.statistics import Comparison
from multimodal_dql.report import numbers, plots
from multimodal_dql.report.texts import Texts
from multimodal_dql.report.view import Label, label, tick_digits

__all__ = [
    "ComparisonView",
    "ControlView",
    "UpliftRow",
    "comparison_view",
    "control_view",
    "effect_axis",
    "effect_scale",
    "gain",
    "gauge_scale",
    "scale_notes",
    "story_rows",
]

_MAX_NAMED_ROWS = 24
"""Beyond this many stories a row each is no longer read; one drawing shows them all."""


@dataclass(frozen=True)
class UpliftRow:
    """One story in a forest plot."""

    title: Label
    uplift: str
    strip: Markup


@dataclass(frozen=True)
class ComparisonView:
    """One forest plot with its words."""

    heading: str
    sentence: str
    rates: str
    short: str
    uplift: str
    interval: str
    side: str
    gauge: Markup
    rows: tuple[UpliftRow, ...]
    caterpillar: Markup | None
    diamond: Markup
    control: Markup | None
    control_uplift: str
    axis: Markup
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ControlView:
    """The control in one sentence, with a drawing of its own where no comparison shares its scale."""

    sentence: str
    passed: bool
    strip: Markup
    axis: Markup
    uplift: str


def _signed(value: float) -> str:
    return numbers.signed_percent(value, minus="−")


def _side(comparison: Comparison) -> str:
    """Whether the interval lies above zero, below it, or includes it."""
    return "for" if comparison.low > 0 else "against" if comparison.high < 0 else "neutral"


def gain(comparison: Comparison, t: Texts) -> str:
    """The comparison as one sentence; a difference that the interval does not show is not claimed."""
    return t(
        {"for": "gain_up", "against": "gain_down", "neutral": "gain_unsure"}[_side(comparison)],
        arm=t.named("arm", comparison.arm),
        against=t.named("arm", comparison.against),
        uplift=_signed(comparison.uplift),
        size=numbers.rate(abs(comparison.uplift)),
        low=_signed(comparison.low),
        high=_signed(comparison.high),
    )


def gauge_scale(comparisons: Sequence[Comparison]) -> plots.Scale:
    """One scale for the overall results of all `comparisons`, side by side at the head of the page."""
    scale = plots.scale_of([0.0, *(x for c in comparisons for x in (c.uplift, c.low, c.high))])
    return plots.Scale(scale.low, scale.high, (0.0,))  # too small for more than zero


def effect_scale(comparison: Comparison, control: Comparison | None) -> plots.Scale:
    """Zero, the intervals and nearly every story; one wild story (few clicks) may not squeeze the rest."""
    uplifts = [float(x) for x in comparison.item_uplift if math.isfinite(x)]
    ends = [x for c in (comparison, control) if c for x in (c.low, c.uplift, c.high) if math.isfinite(x)]
    reach = max([1.1 * abs(x) for x in ends], default=0.1)
    if uplifts:
        reach = max(reach, 2 * float(np.quantile(np.abs(uplifts), 0.95, method="higher")))
    return plots.scale_of([0.0, *ends, *(x for x in uplifts if abs(x) <= reach)])


def effect_axis(scale: plots.Scale) -> Markup:
    """Tick labels in percent with their sign."""
    digits = tick_digits(scale.ticks)
    return plots.axis(scale, lambda tick: numbers.signed_percent(tick, digits, minus="−"))


def comparison_view(
    comparison: Comparison,
    catalogue: Catalogue,
    t: Texts,
    gauge: plots.Scale,
    control: Comparison | None = None,
) -> ComparisonView:
    """The forest plot of `comparison`; a `control` against the same policy is drawn on its scale."""
    if control is not None and control.against != comparison.against:
        control = None
    scale = effect_scale(comparison, control)
    titles = {item.item_id: item.title for item in catalogue.items}
    uplifts = [float(value) for value in comparison.item_uplift]
    rows, drawing = story_rows(comparison, titles, scale)
    against = t.named("arm", comparison.against)
    ends = (comparison.uplift, comparison.low, comparison.high)
    return ComparisonView(
        heading=t("versus", against=against),
        sentence=gain(comparison, t),
        rates=_rates(comparison, t),
        short=t("gain_short", against=against),
        uplift=_signed(comparison.uplift),
        interval=_interval(comparison, t),
        side=_side(comparison),
        gauge=plots.interval(gauge, *ends, zero=0.0) + plots.axis(gauge, lambda _: "0"),
        rows=rows,
        caterpillar=drawing,
        diamond=plots.diamond(scale, *ends, zero=0.0),
        control=_control_strip(control, scale) if control else None,
        control_uplift=_signed(control.uplift) if control else "",
        axis=effect_axis(scale),
        notes=scale_notes(uplifts, scale, t),
    )


def story_rows(
    comparison: Comparison, titles: Mapping[str, str], scale: plots.Scale
) -> tuple[tuple[UpliftRow, ...], Markup | None]:
    """The uplift of every story: a named row each or, where they are too many to read, all in one drawing."""
    named = [titles.get(item_id, item_id) for item_id in comparison.item_ids]
    uplifts = [float(value) for value in comparison.item_uplift]
    if len(uplifts) > _MAX_NAMED_ROWS:
        tooltips = [f"{title}: {_signed(value)}" for title, value in zip(named, uplifts, strict=True)]
        return (), plots.caterpillar(scale, uplifts, tooltips, zero=0.0)
    rows = tuple(
        UpliftRow(label(title, title), _signed(value), plots.dot(scale, value, zero=0.0))
        for title, value in zip(named, uplifts, strict=True)
    )
    return rows, None


def _rates(comparison: Comparison, t: Texts) -> str:
    return t(
        "offline_rates",
        arm=t.named("arm", comparison.arm),
        against=t.named("arm", comparison.against),
        arm_rate=numbers.plain(comparison.arm_rate),
        against_rate=numbers.plain(comparison.against_rate),
    )


def scale_notes(uplifts: Sequence[float], scale: plots.Scale, t: Texts) -> tuple[str, ...]:
    """What of the stories cannot be seen on `scale`."""
    finite = [value for value in uplifts if math.isfinite(value)]
    beyond, lost = sum(not scale.holds(value) for value in finite), len(uplifts) - len(finite)
    return tuple(t.plural(key, n) for key, n in (("off_scale", beyond), ("not_finite", lost)) if n)


def _interval(comparison: Comparison, t: Texts) -> str:
    return t("interval95", low=_signed(comparison.low), high=_signed(comparison.high))


def _control_strip(control: Comparison, scale: plots.Scale) -> Markup:
    return plots.interval(scale, control.uplift, control.low, control.high, css="control", zero=0.0)


def control_view(control: Comparison, t: Texts) -> ControlView:
    """The control: an agent that sees shuffled content should gain nothing."""
    passed = _side(control) == "neutral"
    scale = plots.scale_of([0.0, control.uplift, control.low, control.high])
    return ControlView(
        sentence=t(
            "control_passed" if passed else "control_failed",
            arm=t.named("arm", "learned"),
            against=t.named("arm", control.against),
            uplift=_signed(control.uplift),
            interval=_interval(control, t),
        ),
        passed=passed,
        strip=_control_strip(control, scale),
        axis=effect_axis(scale),
        uplift=_signed(control.uplift),
    )
