"""The fitted engagement model and its check, as tables for the terminal and as one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from multimodal_dql.errors import Lang
from multimodal_dql.report import numbers, plots
from multimodal_dql.report.output import write_text
from multimodal_dql.report.page import render_page
from multimodal_dql.report.texts import Texts
from multimodal_dql.report.usertext import for_terminal
from multimodal_dql.simulation.engagement import PARAMETERS, EngagementModel
from multimodal_dql.simulation.engagement_check import (
    STATISTICS,
    EngagementCheck,
    Interval,
    StatisticCheck,
)

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_check", "print_model", "render_check", "write_check"]

# key -> (English, Chinese)
_TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("Does the engagement model look like real tests?", "互动模型与真实测试相符吗？"),
    "kicker": ("Posterior-predictive check", "后验预测检查"),
    "yes": (
        "Every quantity of the real tests lies where the model expects it.",
        "真实测试的各项统计量均在模型预期的范围内。",
    ),
    "no": ("Outside what the model expects: {names}.", "超出模型预期范围：{names}。"),
    "compared": (
        "{tests} real tests with {arms} arms, against {draws} simulated copies with the same arms and impressions.",
        "{tests} 个真实测试（{arms} 个变体），与 {draws} 份变体数和展示次数相同的模拟副本比较。",
    ),
    "parameter": ("Parameter", "参数"),
    "value": ("Value", "数值"),
    "interval": ("95% interval", "95% 区间"),
    "cleaning": ("Cleaning", "清理"),
    "count": ("Count", "数量"),
    "statistic": ("Statistic", "统计量"),
    "quantile": ("Quantile", "分位数"),
    "real": ("Real", "真实"),
    "simulated": ("Simulated", "模拟"),
    "band": ("95% band", "95% 带"),
    "distance": ("Distance", "距离"),
    "inside": ("Inside", "是否在内"),
    "in": ("yes", "是"),
    "out": ("no", "否"),
    "significant": ("tests with a difference at p < .05", "p < .05 的测试占比"),
    "far": (
        "Distance {distance}; 95% of copies of the model stay below {limit}.",
        "距离 {distance}；模型副本有 95% 低于 {limit}。",
    ),
    "reading": ("How to read this page", "如何阅读本页"),
    "reading_dot": ("Dot", "圆点"),
    "reading_dot_is": ("The real tests.", "真实测试。"),
    "reading_line": ("Line", "线段"),
    "reading_line_is": (
        "Where the simulated copies lie. The five lines of a panel together hold 95% of the copies; parameters "
        "vary within the uncertainty of the fit.",
        "模拟副本所在的范围。一栏中的五条线合起来包含 95% 的副本；参数在拟合的不确定性内变动。",
    ),
    "reading_distance": ("Distance", "距离"),
    "reading_distance_is": (
        "Mean gap between the two distributions (Wasserstein-1): .05 is 5% for rates and ratios, .05 logit for "
        "the standard deviation.",
        "两个分布的平均差距（Wasserstein-1）：点击率和比值的 .05 即 5%，标准差的 .05 即 .05 logit。",
    ),
    "caution": (
        "On the tests that the model was fitted to, this check is easier to pass than on others.",
        "若比较的正是拟合所用的测试，本检查更容易通过。",
    ),
    "columns_ignored": ("columns that are not read", "未读取的列"),
    "columns_from_after_a_test": (
        "of them outcomes, known only after a test",
        "其中测试结束后才知道的结果列",
    ),
    "rows": ("rows read", "读取的行"),
    "tests_read": ("tests read", "读取的测试"),
    "rows_in_risk_window": ("rows in the risk window, left out", "风险时段内的行（剔除）"),
    "tests_in_risk_window": ("tests in the risk window, left out", "风险时段内的测试（剔除）"),
    "rows_without_impressions": ("rows without impressions, left out", "没有展示的行（剔除）"),
    "rows_pooled": ("rows pooled into an arm of the same content", "并入内容相同变体的行"),
    "tests_with_one_arm": ("tests with one arm left, dropped", "只剩一个变体的测试（剔除）"),
    "tests": ("tests used", "使用的测试"),
    "arms": ("arms used", "使用的变体"),
}


@dataclass(frozen=True)
class _Row:
    name: str
    real: str
    band: str
    side: str
    strip: Markup


@dataclass(frozen=True)
class _Panel:
    title: str
    note: str
    rows: tuple[_Row, ...]
    axis: Markup


def _words(lang: Lang, key: str, **values: object) -> str:
    return _TEXTS[key][lang == "zh"].format(**values)


def _shown(name: str, value: float) -> str:
    """Rates as percent, ratios with three decimals, standard deviations with three digits."""
    if name == "best_over_mean":
        return f"{value:.3f}"
    if name.endswith("ctr") or name == "significant":
        return numbers.rate(value, 2 if name.endswith("ctr") else 1)
    return numbers.plain(value)


def _verdict(check: EngagementCheck, lang: Lang) -> str:
    wrong = [STATISTICS[s.name][lang == "zh"] for s in check.statistics if not s.inside]
    share = check.share_significant
    if not share.low <= check.share_significant_real <= share.high:
        wrong.append(_words(lang, "significant"))
    return (
        _words(lang, "no", names=("，" if lang == "zh" else ", ").join(wrong))
        if wrong
        else _words(lang, "yes")
    )


def _compared(check: EngagementCheck, lang: Lang) -> str:
    counts = {name: numbers.count(getattr(check, name)) for name in ("tests", "arms", "draws")}
    return _words(lang, "compared", **counts)


def _parameter_rows(model: EngagementModel, lang: Lang) -> list[tuple[str, str, str]]:
    rows = []
    for name, words in PARAMETERS.items():
        low, high = model.intervals.get(name, (math.nan, math.nan))
        known = math.isfinite(low) and math.isfinite(high)
        interval = f"{numbers.plain(low)} – {numbers.plain(high)}" if known else numbers.MISSING
        rows.append((words[lang == "zh"], numbers.plain(getattr(model, name)), interval))
    return rows


def print_model(
    model: EngagementModel, cleaning: Mapping[str, int], console: Console, lang: Lang = "en"
) -> None:
    """The parameters with their intervals, and what was left out of the file."""
    rows = [
        (n, v, i.replace("–", "..") if i != numbers.MISSING else i)
        for n, v, i in _parameter_rows(model, lang)
    ]
    console.print(_table([_words(lang, key) for key in ("parameter", "value", "interval")], rows))
    counts = [(_words(lang, key), numbers.count(n)) for key, n in cleaning.items()]
    console.print(_table([_words(lang, "cleaning"), _words(lang, "count")], counts))


def print_check(check: EngagementCheck, console: Console, lang: Lang = "en") -> None:
    """The verdict in one sentence, then real against simulated, quantile by quantile."""
    from rich.text import Text

    console.print(Text(_verdict(check, lang), style="bold"))
    console.print(Text(_compared(check, lang)))
    heads = ("statistic", "quantile", "real", "simulated", "band", "distance", "inside")
    rows = []
    for s in check.statistics:
        for i, (q, value) in enumerate(s.real.items()):
            sim = s.simulated[q]
            rows.append(
                (
                    STATISTICS[s.name][lang == "zh"] if i == 0 else "",
                    f"{int(q[1:])}%",
                    *_cells(s.name, value, sim),
                    f"{s.distance:.3f}" if i == 0 else "",
                    _words(lang, "in" if s.inside else "out") if i == 0 else "",
                )
            )
    share, real = check.share_significant, check.share_significant_real
    inside = _words(lang, "in" if share.low <= real <= share.high else "out")
    rows.append((_words(lang, "significant"), "", *_cells("significant", real, share), "", inside))
    console.print(_table([_words(lang, head) for head in heads], rows))


def _cells(name: str, real: float, sim: Interval) -> tuple[str, str, str]:
    return (
        _shown(name, real),
        _shown(name, sim.mean),
        f"{_shown(name, sim.low)} .. {_shown(name, sim.high)}",
    )


def _table(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> object:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(for_terminal, row))
    return table


def _panel(s: StatisticCheck, lang: Lang) -> _Panel:
    ends = [x for q, real in s.real.items() for x in (real, s.simulated[q].low, s.simulated[q].high)]
    scale = plots.scale_of(ends)
    rows = tuple(_row(s.name, f"{int(q[1:])}%", real, s.simulated[q], scale) for q, real in s.real.items())
    note = _words(lang, "far", distance=f"{s.distance:.3f}", limit=f"{s.distance_limit:.3f}")
    return _Panel(STATISTICS[s.name][lang == "zh"], note, rows, _axis(s.name, scale))


def _row(name: str, title: str, real: float, sim: Interval, scale: plots.Scale) -> _Row:
    return _Row(
        name=title,
        real=_shown(name, real),
        band=f"{_shown(name, sim.low)} – {_shown(name, sim.high)}",
        side="inside" if sim.low <= real <= sim.high else "total against",
        strip=plots.interval(scale, real, sim.low, sim.high),
    )


def _axis(name: str, scale: plots.Scale) -> Markup:
    return plots.axis(scale, lambda tick: _shown(name, tick))


def _share_panel(check: EngagementCheck, lang: Lang) -> _Panel:
    share, real = check.share_significant, check.share_significant_real
    scale = plots.scale_of([real, share.low, share.high])
    row = _row("significant", _words(lang, "real"), real, share, scale)
    return _Panel(_words(lang, "significant"), "", (row,), _axis("significant", scale))


def render_check(check: EngagementCheck, model: EngagementModel, lang: Lang = "en") -> str:
    """The page of `write_check` as a string."""
    return render_page(
        "engagement.html.j2",
        Texts(lang),
        w=lambda key: _words(lang, key),
        title=_words(lang, "title"),
        verdict=_verdict(check, lang),
        compared=_compared(check, lang),
        panels=[*(_panel(s, lang) for s in check.statistics), _share_panel(check, lang)],
        parameters=_parameter_rows(model, lang),
    )


def write_check(path: str | Path, check: EngagementCheck, model: EngagementModel, lang: Lang = "en") -> Path:
    """Write the check as one page that needs nothing else; the same check gives the same bytes.

    Raises `OutputError` when `path` cannot be written.
    """
    return write_text(path, render_check(check, model, lang))
