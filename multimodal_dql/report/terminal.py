"""Rankings and comparisons as tables in a terminal, from 60 columns up."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from multimodal_dql.datasets.catalogue import Catalogue
from multimodal_dql.errors import Lang
from multimodal_dql.evaluation.statistics import Comparison
from multimodal_dql.ranking import RankedItem, RankedVariant, Ranking
from multimodal_dql.report import numbers
from multimodal_dql.report.html import tally
from multimodal_dql.report.offline import control_view, gain
from multimodal_dql.report.stability import stability_view
from multimodal_dql.report.texts import Texts
from multimodal_dql.report.usertext import for_terminal, variants_by_key
from multimodal_dql.report.view import has_lifts, say
from multimodal_dql.stability import Stability

__all__ = ["print_comparison", "print_ranking", "print_stability"]

_STYLE = {"winner": "green", "lean": "yellow", "no_clear_winner": "cyan"}
_ROOMY = 100
"""From this many columns on, the lift over the story's mean has a column."""
_WIDE = 120
"""From this many columns on, each variant's main reason has a column of its own."""
_MAX_SKIPPED = 20


def print_ranking(
    ranking: Ranking, catalogue: Catalogue, console: Console | None = None, lang: Lang = "en"
) -> None:
    """A table for each item, then the evidence and what was left out."""
    console = console or Console()
    t = Texts(lang)
    known = {key: variant.caption or "" for key, variant in variants_by_key(catalogue).items()}
    titles = {item.item_id: item.title for item in catalogue.items}
    for item in ranking.items:
        if item.variants:
            console.print(_item(item, titles.get(item.item_id, item.item_id), known, t, console.width))
    console.print(Text(tally(ranking, t), style="bold"))
    evidence = ranking.evidence_zh if lang == "zh" else ranking.evidence
    console.print(_named(t("evidence"), evidence, t))
    if ranking.context:
        pairs = [f"{name} = {value}" for name, value in ranking.context.items()]
        console.print(_named(t("audience"), t("comma").join(pairs), t))
    if ranking.skipped:
        console.print(Text(t("skipped"), style="bold"))
        for problem in ranking.skipped[:_MAX_SKIPPED]:
            console.print(Padding(Text(for_terminal(problem.text(lang))), (0, 0, 0, 2)))
        if len(ranking.skipped) > _MAX_SKIPPED:
            console.print(f"  {t('skipped_more', n=len(ranking.skipped) - _MAX_SKIPPED)}", highlight=False)


def _named(name: str, value: str, t: Texts) -> Text:
    return Text.assemble((name, "bold"), "：" if t.lang == "zh" else ": ", for_terminal(value))


def _item(
    item: RankedItem, title: str, captions: dict[tuple[str, str], str], t: Texts, width: int
) -> Padding:
    style = _STYLE[item.verdict]
    head = Text.assemble((for_terminal(title), "bold"), "  ", (t(f"verdict_{item.verdict}"), style))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True, header_style="dim")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column(t("col_variant"), no_wrap=True, overflow="ellipsis", max_width=14)
    table.add_column(t("col_headline"), no_wrap=True, overflow="ellipsis", ratio=3, min_width=12)
    table.add_column(t("col_chance_short"), justify="right", no_wrap=True)
    table.add_column(f"{t('col_rate_short')} [90%]", justify="right", no_wrap=True)
    lifted = width >= _ROOMY and has_lifts(item)
    if lifted:
        table.add_column(t("col_lift"), justify="right", no_wrap=True)
    if width >= _WIDE:
        table.add_column(t("col_reason"), no_wrap=True, overflow="ellipsis", ratio=3)
    digits = numbers.rate_digits(*(variant.click_rate for variant in item.variants))
    for variant in item.variants:
        caption = for_terminal(captions.get((item.item_id, variant.variant_id), "")) or numbers.MISSING
        cells = [
            Text(str(variant.rank)),
            Text(for_terminal(variant.variant_id)),
            Text(caption),
            Text(numbers.chance(variant.probability_best)),
            Text(_rate(variant, digits)),
        ]
        if lifted:
            cells.append(Text(numbers.signed_percent(variant.lift)))
        if width >= _WIDE:
            cells.append(Text(_reason(variant, t)))
        first = variant is item.variants[0]
        table.add_row(*cells, style=f"bold {style}" if first and item.verdict != "no_clear_winner" else "")
    lines: list[Text | Table] = [head, table, Text(for_terminal(say(item, t)))]
    if width < _WIDE and item.variants[0].reasons:
        lines.append(_named(t("why"), _reason(item.variants[0], t), t))
    return Padding(Group(*lines), (0, 0, 1, 0))


def _rate(variant: RankedVariant, digits: int) -> str:
    low, high = (numbers.rate(x, digits) for x in (variant.click_rate_low, variant.click_rate_high))
    return f"{numbers.rate(variant.click_rate, digits)} [{low.removesuffix('%')}, {high.removesuffix('%')}]"


def _reason(variant: RankedVariant, t: Texts) -> str:
    return for_terminal(variant.reasons[0].text(t.lang)) if variant.reasons else ""


def print_comparison(
    comparisons: Comparison | Sequence[Comparison],
    console: Console | None = None,
    lang: Lang = "en",
    *,
    control: Comparison | None = None,
) -> None:
    """Each offline comparison as one sentence and one row of a table, then the control."""
    console = console or Console()
    t = Texts(lang)
    shown = [comparisons] if isinstance(comparisons, Comparison) else list(comparisons)
    for comparison in shown:
        console.print(Text(_plain(gain(comparison, t)), style="bold"))
    rows = [*shown, *([control] if control else [])]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column(t("col_against"), overflow="fold")
    for heading in (t("uplift"), t("interval95_heading"), t("sessions")):
        table.add_column(heading, justify="right")
    for comparison in rows:
        name = t("control_row") if comparison is control else t.named("arm", comparison.against)
        ends = [numbers.signed_percent(x) for x in (comparison.low, comparison.high)]
        table.add_row(
            Text(for_terminal(name)),
            Text(numbers.signed_percent(comparison.uplift)),
            Text(f"[{ends[0]}, {ends[1]}]"),
            Text(numbers.count(comparison.sessions)),
        )
    if rows:
        console.print(table)
    if control:
        console.print(Text(_plain(control_view(control, t).sentence)))


def print_stability(stability: Stability, console: Console | None = None, lang: Lang = "en") -> None:
    """The verdict on a training, then what its monitors found, one line each."""
    console = console or Console()
    view = stability_view(stability, None, Texts(lang))
    console.print(Text(_plain(view.sentence)))
    for name, said, found in view.monitors:
        if found:
            console.print(Padding(_named(name, said, Texts(lang)), (0, 0, 0, 2)))


def _plain(text: str) -> str:
    """`text` with the hyphen for the minus sign, which not every terminal font has."""
    return for_terminal(text.replace("−", "-"))
