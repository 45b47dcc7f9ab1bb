"""Drawings of an offline A/B simulation: the effect over time, and sessions by number of clicks.

As in `multimodal_dql.report.plots`, horizontal places are percentages and vertical ones pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from multimodal_dql.report.numbers import signed_percent
from multimodal_dql.report.plots import Scale, scale_of
from multimodal_dql.report.view import tick_digits

__all__ = ["band_chart", "bars"]

Look = tuple[int, float, float, float]

_HEIGHT, _TOP, _BOTTOM = 190, 8, 168
_CALM = 2 / 3
"""The last third of the looks sets the scale; what came before may run off it, as early intervals are very wide."""


def band_chart(looks: Sequence[Look], minimum: float, label: str) -> Markup:
    """An effect with its interval over time; the drawing cuts off what lies beyond the scale.

    Args:
        looks: sessions so far, effect, low and high, in order of time; ends may be infinite.
        minimum: half the height of the strip about 0 that is too small to matter.
        label: read out in place of the picture.
    """
    known = [look for look in looks if math.isfinite(look[1])]
    late = known[int(_CALM * len(known)) :]
    ends = [x for _, *triple in late for x in triple if math.isfinite(x)]
    ends += [effect for _, effect, _, _ in known[len(known) // 4 :]]
    reach = max([abs(x) for x in ends], default=minimum)
    strip = [-minimum, minimum] if minimum <= 2 * reach else []
    y = scale_of([0.0, *ends, *strip], at_most_ticks=5)
    x = Scale(0.0, float(max([look[0] for look in looks], default=1)))
    body = _tolerance(y, minimum) + _levels(y)
    body += (
        f'<svg x="0" y="{_TOP}" width="100%" height="{_BOTTOM - _TOP}" viewBox="0 0 100 100" '
        f'preserveAspectRatio="none">{_band(known, x, y)}{_curve(known, x, y)}</svg>'
    )
    digits = tick_digits(y.ticks)
    if known:
        done, effect, _, _ = known[-1]
        body += f'<circle class="dot" cx="{x.place(done):.2f}%" cy="{_pixel(y, effect):.2f}" r="4"/>'
    body += "".join(
        f'<text class="tick" x="0" y="{_pixel(y, tick) - 3:.2f}">{signed_percent(tick, digits, minus="−")}</text>'
        for tick in y.ticks
    )
    body += f'<text class="tick" x="0" y="{_HEIGHT - 6}">0</text>'
    body += f'<text class="tick" x="100%" y="{_HEIGHT - 6}" text-anchor="end">{int(x.high):,}</text>'
    return _picture("chart band-chart", _HEIGHT, label, body)


def _pixel(y: Scale, value: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * y.place(value) / 100


def _unit(y: Scale, value: float) -> float:
    """Height in a drawing of 100 by 100, where what is far off the scale still is off the drawing."""
    return min(300.0, max(-200.0, 100 - 100 * (value - y.low) / (y.high - y.low)))


def _tolerance(y: Scale, minimum: float) -> str:
    top, bottom = _pixel(y, minimum), _pixel(y, -minimum)
    return f'<rect class="tolerance" x="0" width="100%" y="{top:.2f}" height="{bottom - top:.2f}"/>'


def _levels(y: Scale) -> str:
    return "".join(
        f'<line class="{"zero" if tick == 0 else "grid"}" x1="0" x2="100%" '
        f'y1="{_pixel(y, tick):.2f}" y2="{_pixel(y, tick):.2f}"/>'
        for tick in y.ticks
    )


def _band(looks: Sequence[Look], x: Scale, y: Scale) -> str:
    lower = [f"{x.place(n):.2f},{_unit(y, low):.2f}" for n, _, low, _ in looks]
    upper = [f"{x.place(n):.2f},{_unit(y, high):.2f}" for n, _, _, high in looks]
    return f'<polygon class="band" points="{" ".join([*lower, *upper[::-1]])}"/>' if len(looks) > 1 else ""


def _curve(looks: Sequence[Look], x: Scale, y: Scale) -> str:
    points = " ".join(f"{x.place(n):.2f},{_unit(y, effect):.2f}" for n, effect, _, _ in looks)
    return f'<polyline class="curve" points="{points}"/>' if len(looks) > 1 else ""


def bars(shares: Sequence[float], marks: Sequence[float], names: Sequence[str], label: str) -> Markup:
    """Upright bars with their shares above and names below; a short line on each for another distribution.

    Args:
        shares: heights, 0 to 1.
        marks: the other distribution, of the same length, or empty.
        names: of the bars.
        label: read out in place of the picture.
    """
    height, top, bottom = 150, 20, 130
    slot = 100 / len(shares)
    most = max([*shares, *marks, 1e-9])
    body = ""
    for k, (share, name) in enumerate(zip(shares, names, strict=True)):
        tall = (bottom - top) * share / most
        middle = f"{(k + 0.5) * slot:.2f}%"
        body += (
            f'<rect class="fill" x="{(k + 0.14) * slot:.2f}%" width="{0.72 * slot:.2f}%" '
            f'y="{bottom - tall:.2f}" height="{tall:.2f}"/>'
        )
        if marks:
            y = bottom - (bottom - top) * marks[k] / most
            body += (
                f'<line class="mark" x1="{(k + 0.06) * slot:.2f}%" x2="{(k + 0.94) * slot:.2f}%" '
                f'y1="{y:.2f}" y2="{y:.2f}"/>'
            )
            tall = max(tall, bottom - y)
        for y, text in ((bottom - tall - 6, _share(share)), (height - 5, name)):
            body += f'<text class="tick" x="{middle}" y="{y:.2f}" text-anchor="middle">{escape(text)}</text>'
    body += f'<line class="base" x1="0" x2="100%" y1="{bottom}" y2="{bottom}"/>'
    return _picture("bars", height, label, body)


def _share(share: float) -> str:
    """A share in percent in as few letters as will do; nothing for none."""
    if not share > 0:
        return ""
    return "<1%" if share < 0.01 else f"{100 * share:.0f}%"


def _picture(css: str, height: float, label: str, body: str) -> Markup:
    return Markup(  # noqa: S704 - every text in it went through escape()
        f'<svg class="plot {css}" width="100%" height="{height:g}" role="img" aria-label="{escape(label)}">{body}</svg>'
    )
