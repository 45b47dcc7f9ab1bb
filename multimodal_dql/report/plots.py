"""Small inline SVG drawings, written here so that the page needs no script and no library.

Horizontal places are percentages of the drawing's width and vertical ones are pixels. A drawing therefore
fits any column, on a telephone as in print, while dots stay round and letters keep their size. Colours come
from the page's style sheet through class names, so that dark mode and print apply to plots too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = [
    "Scale",
    "TrainingCurve",
    "axis",
    "bar",
    "caterpillar",
    "diamond",
    "dot",
    "interval",
    "line_chart",
    "nice_ticks",
    "scale_of",
]

_STRIP_HEIGHT = 24.0
_AXIS_HEIGHT = 22.0


@dataclass(frozen=True)
class TrainingCurve:
    """What was measured while training.

    Attributes:
        steps: training steps at which it was measured, increasing.
        values: metric name -> one number a step (a number that was not measured is not-a-number).

    """

    steps: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        for name, series in self.values.items():
            if len(series) != len(self.steps):
                raise ValueError(f"{name} has {len(series)} values for {len(self.steps)} steps")


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` on a line from 0 to 100 percent."""

    low: float
    high: float
    ticks: tuple[float, ...] = ()

    def place(self, value: float) -> float:
        """Where `value` lies, in percent of the width; a value beyond the scale is put at its edge."""
        return min(100.0, max(0.0, 100 * (value - self.low) / (self.high - self.low)))

    def holds(self, value: float) -> bool:
        """Whether `value` is on the scale."""
        return self.low <= value <= self.high


def nice_ticks(low: float, high: float, at_most: int = 5) -> tuple[float, ...]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`, `at_most` of them.

    >>> nice_ticks(0.011, 0.058)
    (0.02, 0.03, 0.04, 0.05)
    """
    exponent = math.floor(math.log10((high - low) / at_most))
    for step in (factor * 10.0**power for power in range(exponent, exponent + 3) for factor in (1, 2, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= at_most:
            return tuple(float(f"{k * step:.12g}") for k in range(first, last + 1))
    return ()


def scale_of(values: Sequence[float], *, margin: float = 0.06, at_most_ticks: int = 5) -> Scale:
    """A scale that holds every finite one of `values`, with `margin` of its span left free at each end."""
    known = [float(value) for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    span = high - low
    # The smallest span that double precision can still tell apart around these values.
    if span <= 1e-9 * max(1.0, abs(high)):
        span = abs(high) or 1.0
        low, high = low - span / 2, high + span / 2
    low, high = low - margin * span, high + margin * span
    return Scale(low, high, nice_ticks(low, high, at_most_ticks))


def _at(percent: float) -> str:
    return f"{percent:.2f}%"


def _strip(css: str, height: float, body: str) -> Markup:
    """One drawing beside its number in words: hidden from screen readers, which read the number."""
    return Markup(  # noqa: S704 - only numbers and our own class names are in it
        f'<svg class="plot {css}" width="100%" height="{height:g}" aria-hidden="true" focusable="false">'
        f"{body}</svg>"
    )


def _grid(scale: Scale, height: float, zero: float | None) -> str:
    lines = [
        f'<line class="grid" x1="{_at(x)}" x2="{_at(x)}" y1="0" y2="{height:g}"/>'
        for x in (scale.place(tick) for tick in scale.ticks)
    ]
    if zero is not None and scale.holds(zero):
        x = _at(scale.place(zero))
        lines.append(f'<line class="zero" x1="{x}" x2="{x}" y1="0" y2="{height:g}"/>')
    return "".join(lines)


def bar(share: float, css: str = "") -> Markup:
    """A horizontal bar filled to `share` (0 to 1)."""
    width = 100 * min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
    return _strip(
        f"bar {css}".strip(),
        8,
        '<rect class="track" x="0" y="0" width="100%" height="8" rx="4"/>'
        f'<rect class="fill" x="0" y="0" width="{_at(width)}" height="8" rx="4"/>',
    )


def interval(
    scale: Scale,
    value: float,
    low: float,
    high: float,
    *,
    css: str = "",
    zero: float | None = None,
    core: tuple[float, float] | None = None,
) -> Markup:
    """A dot at `value` on a line from `low` to `high`.

    `zero` draws a line of reference there; `core` a thick band for a second, usually narrower interval.
    """
    y = _STRIP_HEIGHT / 2
    body = _grid(scale, _STRIP_HEIGHT, zero)
    for kind, (left, right) in (("core", core or (math.nan, math.nan)), ("whisker", (low, high))):
        if math.isfinite(left) and math.isfinite(right):
            x1, x2 = _at(scale.place(left)), _at(scale.place(right))
            body += f'<line class="{kind}" x1="{x1}" x2="{x2}" y1="{y:g}" y2="{y:g}"/>'
    if math.isfinite(value):
        body += f'<circle class="dot" cx="{_at(scale.place(value))}" cy="{y:g}" r="5"/>'
    return _strip(f"interval {css}".strip(), _STRIP_HEIGHT, body)


def _dot_class(scale: Scale, value: float) -> str:
    return "dot" if scale.holds(value) else "dot beyond"


def dot(scale: Scale, value: float, css: str = "", zero: float | None = None) -> Markup:
    """A dot at `value`; a value beyond the scale is drawn hollow at its edge."""
    body = _grid(scale, _STRIP_HEIGHT, zero)
    if math.isfinite(value):
        x, y = _at(scale.place(value)), _STRIP_HEIGHT / 2
        body += f'<circle class="{_dot_class(scale, value)}" cx="{x}" cy="{y:g}" r="4"/>'
    return _strip(f"single {css}".strip(), _STRIP_HEIGHT, body)


def diamond(
    scale: Scale, value: float, low: float, high: float, *, css: str = "", zero: float | None = None
) -> Markup:
    """A diamond from `low` to `high`, widest at `value`: the usual mark for a pooled estimate."""
    body = _grid(scale, _STRIP_HEIGHT, zero)
    if all(math.isfinite(number) for number in (value, low, high)):
        left, middle, right = scale.place(low), scale.place(value), scale.place(high)
        width = max(right - left, 0.5)
        top = 100 * (middle - left) / width
        # Points cannot be percentages, so the diamond has its own drawing, stretched to the interval.
        body += (
            f'<svg x="{_at(left)}" y="4" width="{_at(width)}" height="16" viewBox="0 0 100 100" '
            'preserveAspectRatio="none">'
            f'<polygon class="diamond" points="0,50 {top:.2f},0 100,50 {top:.2f},100"/></svg>'
        )
    return _strip(f"pooled {css}".strip(), _STRIP_HEIGHT, body)


def caterpillar(
    scale: Scale, values: Sequence[float], names: Sequence[str], zero: float | None = None
) -> Markup:
    """Many dots in one drawing, from least (top) to most; each carries its name as a tooltip."""
    order = sorted((i for i, value in enumerate(values) if math.isfinite(value)), key=lambda i: values[i])
    step = max(2.0, min(8.0, 320 / max(1, len(order))))
    height = step * (len(order) + 1)
    dots = "".join(
        f'<circle class="{_dot_class(scale, values[i])}" cx="{_at(scale.place(values[i]))}" '
        f'cy="{step * (row + 1):g}" r="{min(3.5, step * 0.6):g}"><title>{escape(names[i])}</title></circle>'
        for row, i in enumerate(order)
    )
    return _strip("caterpillar", height, _grid(scale, height, zero) + dots)


def axis(scale: Scale, form: Callable[[float], str]) -> Markup:
    """The tick labels that belong under drawings with the same `scale`."""
    body = ""
    for tick in scale.ticks:
        x = scale.place(tick)
        anchor = "start" if x < 4 else "end" if x > 96 else "middle"
        body += f'<text class="tick" x="{_at(x)}" y="15" text-anchor="{anchor}">{escape(form(tick))}</text>'
    return _strip("axis", _AXIS_HEIGHT, body)


def _thinned(points: list[tuple[float, float]], limit: int = 600) -> list[tuple[float, float]]:
    """About `limit` points at most: the lowest and highest of each stretch, so that no spike is lost."""
    if len(points) <= limit:
        return points
    kept: list[tuple[float, float]] = [points[0]]
    stretches = limit // 2
    for k in range(stretches):
        part = points[k * len(points) // stretches : (k + 1) * len(points) // stretches]
        extremes = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        kept.extend(sorted(extremes))
    return [*kept, points[-1]]


def _runs(
    steps: Sequence[int], values: Sequence[float], scale_x: Scale, scale_y: Scale
) -> list[list[tuple[float, float]]]:
    """Points in percent, cut where a number is not finite."""
    runs: list[list[tuple[float, float]]] = [[]]
    for step, value in zip(steps, values, strict=True):
        if math.isfinite(value):
            runs[-1].append((scale_x.place(step), 100 - scale_y.place(value)))
        elif runs[-1]:
            runs.append([])
    return runs


def line_chart(
    steps: Sequence[int],
    values: Sequence[float],
    label: str,
    form: Callable[[float], str],
    *,
    beside: Sequence[float] = (),
) -> Markup:
    """One curve over training steps, with three horizontal grid lines; gaps where numbers are not finite.

    `label` is read out in place of the picture, `form` writes the tick labels, `beside` is a second curve on the same
    scale, drawn dashed.
    """
    height, top, bottom = 150, 8, 128
    scale_y = scale_of([*values, *beside], margin=0.04, at_most_ticks=4)
    scale_x = Scale(float(min(steps)), float(max(*steps, min(steps) + 1)))
    levels = [(tick, bottom - (bottom - top) * scale_y.place(tick) / 100) for tick in scale_y.ticks]
    body = "".join(f'<line class="grid" x1="0" x2="100%" y1="{y:.2f}" y2="{y:.2f}"/>' for _, y in levels)
    lines = dots = ""
    for css, series in (("", values), (" beside", beside)):
        runs = _runs(steps, series, scale_x, scale_y) if series else []
        lines += "".join(
            f'<polyline class="curve{css}" points="{" ".join(f"{x:.2f},{y:.2f}" for x, y in _thinned(run))}"/>'
            for run in runs
            if len(run) > 1
        )
        # A run of one number has no line to draw.
        dots += "".join(
            f'<circle class="dot{css}" cx="{_at(run[0][0])}" cy="{top + (bottom - top) * run[0][1] / 100:.2f}" r="3"/>'
            for run in runs
            if len(run) == 1
        )
    body += (
        f'<svg x="0" y="{top}" width="100%" height="{bottom - top}" viewBox="0 0 100 100" '
        'preserveAspectRatio="none">'
        f"{lines}</svg>{dots}"
    )
    body += f'<line class="base" x1="0" x2="100%" y1="{bottom}" y2="{bottom}"/>'
    body += "".join(
        f'<text class="tick" x="0" y="{y - 3:.2f}">{escape(form(tick))}</text>' for tick, y in levels
    )
    body += f'<text class="tick" x="0" y="{height - 6}">{steps[0]:,}</text>'
    body += f'<text class="tick" x="100%" y="{height - 6}" text-anchor="end">{steps[-1]:,}</text>'
    return Markup(  # noqa: S704 - every text in it went through escape()
        f'<svg class="plot chart" width="100%" height="{height}" role="img" aria-label="{escape(label)}">'
        f"{body}</svg>"
    )
