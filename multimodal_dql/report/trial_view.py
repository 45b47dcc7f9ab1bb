"""From an offline A/B simulation to what its page shows: every number written out and every drawing made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from markupsafe import Markup

from multimodal_dql.report import numbers, plots, trial_plots
from multimodal_dql.report.offline import (
    UpliftRow,
    effect_axis,
    effect_scale,
    scale_notes,
    story_rows,
)
from multimodal_dql.report.trial_words import State, Words, capital, p_value, percents, state

if TYPE_CHECKING:
    from multimodal_dql.evaluation.statistics import Comparison
    from multimodal_dql.simulation.analysis import ArmComparison

__all__ = [
    "arm_rows",
    "distributions",
    "forests",
    "gauges",
    "outcome_tables",
    "reference_rows",
    "story_forests",
    "timelines",
]

_SIDE: Mapping[State, str] = {
    "ahead": "for",
    "behind": "against",
    "same": "neutral",
    "open": "lean",
    "invalid": "against",
}
"""Colours of the endings."""
_LEAST_BARS = 4


@dataclass(frozen=True)
class Gauge:
    """A comparison at the head of the page."""

    side: str
    effect: str
    versus: str
    interval: str
    ending: str
    sentence: str
    drawing: Markup | None


@dataclass(frozen=True)
class Row:
    """One line of a table or a forest plot; empty texts and drawings stay blank."""

    name: str
    own_name: str
    value: str
    interval: str = ""
    effect: str = ""
    effect_interval: str = ""
    p: str = ""
    ending: str = ""
    side: str = ""
    drawing: Markup | None = None


@dataclass(frozen=True)
class Panel:
    """A drawing, or rows that share a scale, about one comparison or arm."""

    title: str
    drawing: Markup | None = None
    rows: tuple[Row, ...] = ()
    stories: tuple[UpliftRow, ...] = ()
    total: Row | None = None
    axis: Markup | None = None
    notes: tuple[str, ...] = ()


def gauges(words: Words) -> list[Gauge]:
    """One for each comparison, all on one scale."""
    t, found = words.t, words.verdict.comparisons
    ends = [x for c in found for x in (c.effect, c.low, c.high)]
    scale = plots.scale_of([0.0, *ends])
    scale = plots.Scale(scale.low, scale.high, (0.0,))
    out = []
    for c in found:
        ended = state(c)
        unread = ended == "invalid"
        effect, low, high = percents(c.effect, c.low, c.high)
        drawing = plots.interval(scale, c.effect, c.low, c.high, zero=0.0) + plots.axis(scale, lambda _: "0")
        out.append(
            Gauge(
                side=_SIDE[ended],
                effect=numbers.MISSING if unread else effect,
                versus=f"{words.noun}{t('comma')}{_versus(c, words)}",
                interval=""
                if unread
                else f"{t('trial_interval', level=words.level)} {_range(words, low, high)}",
                ending=t(f"trial_ending_{ended}"),
                sentence=words.sentence(c),
                drawing=None if unread else drawing,
            )
        )
    return out


def _range(words: Words, low: str, high: str) -> str:
    return words.t("trial_range", low=low, high=high)


def _versus(c: ArmComparison | Comparison, words: Words) -> str:
    return words.t("trial_versus", arm=words.name(c.arm), against=words.name(c.against))


def arm_rows(words: Words) -> list[Row]:
    """The arms with the outcome that decides."""
    by_arm = {c.arm: c for c in words.verdict.comparisons}
    return [_arm_row(arm, by_arm.get(arm), words) for arm in words.verdict.arms]


def _arm_row(arm: str, c: ArmComparison | None, words: Words) -> Row:
    value, interval = words.value(words.outcome, words.verdict.arms[arm][words.outcome])
    own_name = arm if words.name(arm) != arm else ""
    row = Row(capital(words.name(arm)), own_name, value, interval)
    if c is None:
        reference = words.t("trial_reference") if words.verdict.comparisons else ""
        return replace(row, ending=reference)
    ended = state(c)
    row = replace(row, ending=words.t(f"trial_ending_{ended}"), side=_SIDE[ended])
    if ended == "invalid":
        return replace(row, effect=numbers.MISSING, p=numbers.MISSING)
    effect, low, high = percents(c.effect, c.low, c.high)
    p = p_value(c.p_adjusted).removeprefix("= ")
    return replace(row, effect=effect, effect_interval=_range(words, low, high), p=p)


def outcome_tables(words: Words) -> list[tuple[str, list[Row]]]:
    """Every outcome with one row an arm; effects that must not be read are left out."""
    by_arm = {c.arm: c for c in words.verdict.comparisons}
    tables = []
    for outcome in next(iter(words.verdict.arms.values()), {}):
        rows = []
        for arm, levels in words.verdict.arms.items():
            name, (value, interval) = capital(words.name(arm)), words.value(outcome, levels[outcome])
            c = by_arm.get(arm)
            if c is None or words.invalid:
                rows.append(Row(name, "", value, interval))
                continue
            effect, low, high = percents(*c.outcomes[outcome])
            side, shown = _reading(*c.outcomes[outcome][1:]), _range(words, low, high)
            if side is None:
                effect, shown = numbers.MISSING, ""
            rows.append(Row(name, "", value, interval, effect, shown, side=side or ""))
        tables.append((capital(words.t.named("outcome", outcome)), rows))
    return tables


def _reading(low: float, high: float) -> str | None:
    """What an interval says: more, less, neither; None where too little happened for it to be one.

    With no event at all under an arm the normal approximation gives an interval without width, and with a few one that
    goes below -100 %.
    """
    if low <= -1 or (low == high and low != 0) or math.isnan(low) or math.isnan(high):
        return None
    return "for" if low > 0 else "against" if high < 0 else ""


def timelines(words: Words) -> list[Panel]:
    """The effect over time, one drawing a comparison."""
    out = []
    for c in words.verdict.comparisons:
        effect, low, high = percents(c.effect, c.low, c.high)
        label = words.t(
            "trial_curve_label",
            arm=words.name(c.arm),
            against=words.name(c.against),
            sessions=numbers.count(words.verdict.sessions),
            effect=effect,
            low=low,
            high=high,
        )
        chart = trial_plots.band_chart(c.curve, words.analysis.minimum_effect, label)
        out.append(Panel(capital(_versus(c, words)), chart))
    return out


def forests(words: Words) -> list[Panel]:
    """The effect in every group of users, and on everyone."""
    out = []
    for c in words.verdict.comparisons:
        if not c.segments:
            continue
        everyone = c.outcomes.get(words.outcome, (c.effect, c.low, c.high))
        scale = plots.scale_of([0.0, *everyone, *(x for triple in c.segments.values() for x in triple)])
        rows = tuple(
            _forest_row(words.t.named("group", name), triple, words, plots.interval(scale, *triple, zero=0.0))
            for name, triple in c.segments.items()
        )
        total = _forest_row(
            words.t("trial_everyone"), everyone, words, plots.diamond(scale, *everyone, zero=0.0)
        )
        out.append(Panel(capital(_versus(c, words)), rows=rows, total=total, axis=effect_axis(scale)))
    return out


def _forest_row(name: str, triple: tuple[float, float, float], words: Words, drawing: Markup) -> Row:
    effect, low, high = percents(*triple)
    side = "for" if triple[1] > 0 else "against" if triple[2] < 0 else "neutral"
    return Row(
        name, "", "", effect=effect, effect_interval=_range(words, low, high), side=side, drawing=drawing
    )


def story_forests(words: Words, titles: Mapping[str, str]) -> list[Panel]:
    """The effect on every story, from least to most, and on stories like these."""
    out = []
    for c in words.trial.stories:
        ordered = _sorted(c)
        scale = effect_scale(ordered, None)
        rows, drawing = story_rows(ordered, titles, scale)
        ends = (c.uplift, c.low, c.high)
        total = _forest_row(words.t("overall"), ends, words, plots.diamond(scale, *ends, zero=0.0))
        notes = scale_notes([float(x) for x in c.item_uplift], scale, words.t)
        panel = Panel(
            capital(_versus(c, words)),
            drawing,
            stories=rows,
            total=total,
            axis=effect_axis(scale),
            notes=notes,
        )
        out.append(panel)
    return out


def _sorted(c: Comparison) -> Comparison:
    """`c` with its stories from least to most; those that are not known come last."""
    order = c.item_uplift.argsort(kind="stable")
    return replace(c, item_ids=tuple(c.item_ids[i] for i in order), item_uplift=c.item_uplift[order])


def distributions(words: Words) -> list[Panel]:
    """Sessions by number of clicks, one drawing an arm."""
    counted = {arm: h for arm, h in words.trial.collected.histogram.items() if h.sum() > 0}
    used = [k for h in counted.values() for k in h.nonzero()[0].tolist()]
    bars = max([k + 1 for k in used] + [_LEAST_BARS]) if used else 0
    out = []
    against = counted.get(words.analysis.against)
    for arm, histogram in counted.items():
        last = len(histogram) - 1
        names = [f"{k}+" if k == last else str(k) for k in range(bars)]
        shares = (histogram / histogram.sum()).tolist()[:bars]
        marks = (against / against.sum()).tolist()[:bars] if against is not None else []
        spoken = words.t("comma").join(f"{n}: {100 * s:.1f}%" for n, s in zip(names, shares, strict=True))
        label = words.t("trial_bars_label", arm=words.name(arm), shares=spoken)
        marked = marks if arm != words.analysis.against else []
        out.append(Panel(capital(words.name(arm)), trial_plots.bars(shares, marked, names, label)))
    return out


def reference_rows(words: Words) -> list[Row]:
    """The references and the arms by what they earn, the best first."""
    oracle = next((r for r in words.trial.references if r.name == "oracle"), None)
    if oracle is None:
        return []
    best = oracle.outcomes[words.outcome]
    found = [
        (words.t(f"trial_reference_{r.name}"), r.outcomes[words.outcome], "neutral")
        for r in words.trial.references
    ]
    found += [(words.name(arm), v[words.outcome][0], "") for arm, v in words.verdict.arms.items()]
    found.sort(key=lambda row: -row[1] if math.isfinite(row[1]) else math.inf)
    return [
        Row(
            capital(name),
            "",
            words.value(words.outcome, (value, math.nan, math.nan))[0],
            effect=numbers.signed_percent(value / best - 1, minus="−") if best else numbers.MISSING,
            side=side,
            drawing=plots.bar(value / best if best else math.nan),
        )
        for name, value, side in found
    ]
