"""One self-contained HTML page for a ranking: no script, nothing loaded from anywhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from markupsafe import Markup

from multimodal_dql.datasets.catalogue import Catalogue
from multimodal_dql.errors import Lang
from multimodal_dql.evaluation.statistics import Comparison
from multimodal_dql.ranking import Ranking, Verdict
from multimodal_dql.report import numbers, plots
from multimodal_dql.report.inline import Inliner, MediaSource
from multimodal_dql.report.offline import comparison_view, control_view, gauge_scale
from multimodal_dql.report.output import write_text
from multimodal_dql.report.page import render_page
from multimodal_dql.report.reliability import reliability_view
from multimodal_dql.report.stability import DRAWN, spoken, stability_view
from multimodal_dql.report.texts import Texts
from multimodal_dql.report.usertext import without_folder
from multimodal_dql.report.view import story_views
from multimodal_dql.stability import Stability

if TYPE_CHECKING:
    from multimodal_dql.calibration import ReliabilityBin

__all__ = ["VERDICTS", "render_html", "tally", "write_html"]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_MAX_SKIPPED = 200


@dataclass(frozen=True)
class _CurveView:
    title: str
    last: str
    chart: Markup | None
    empty: str


def write_html(
    path: str | Path,
    *,
    ranking: Ranking,
    catalogue: Catalogue,
    comparisons: Sequence[Comparison] = (),
    training: plots.TrainingCurve | None = None,
    control: Comparison | None = None,
    stability: Stability | None = None,
    reliability: Sequence[ReliabilityBin] = (),
    lang: Lang = "en",
    title: str | None = None,
    media: MediaSource | None = None,
) -> Path:
    """Write the report to `path` and return it.

    The same results give the same bytes: the page holds no date and no random names.

    Args:
        path: the file to write; missing folders are made.
        ranking: what to show.
        catalogue: where headlines, pictures and sounds come from; it may hold more than was ranked.
        comparisons: offline A/B comparisons, the most important first.
        training: what was measured while the agent learned.
        control: the comparison with embeddings permuted among the variants.
        stability: how steadily the training went.
        reliability: stated probabilities of being best against the truth of the simulated audience.
        lang: language of the page; users' own text stays as it is.
        title: instead of "What to publish".
        media: decodes pictures and sounds; by default a `MediaLoader` that lives as long as this call.

    Raises:
        OutputError: `path` cannot be written.

    """
    page = render_html(
        ranking=ranking,
        catalogue=catalogue,
        comparisons=comparisons,
        training=training,
        control=control,
        stability=stability,
        reliability=reliability,
        lang=lang,
        title=title,
        media=media,
    )
    return write_text(path, page)


def render_html(
    *,
    ranking: Ranking,
    catalogue: Catalogue,
    comparisons: Sequence[Comparison] = (),
    training: plots.TrainingCurve | None = None,
    control: Comparison | None = None,
    stability: Stability | None = None,
    reliability: Sequence[ReliabilityBin] = (),
    lang: Lang = "en",
    title: str | None = None,
    media: MediaSource | None = None,
) -> str:
    """The page of `write_html` as a string."""
    t = Texts(lang)
    folder = catalogue.path.parent
    with ExitStack() as stack:
        if media is None:
            from multimodal_dql.datasets.media import MediaLoader

            media = stack.enter_context(MediaLoader())
        stories = story_views(ranking, catalogue, t, Inliner(media, folder, lang, t("left_out")))
    counts = Counter(story.verdict for story in stories)
    gauge = gauge_scale(comparisons)
    return render_page(
        "report.html.j2",
        t,
        title=title or t("title"),
        ranking=ranking,
        evidence=_sentence(
            ranking.evidence_zh if lang == "zh" else ranking.evidence, "。" if lang == "zh" else "."
        ),
        audience=_audience(ranking, t),
        stories=stories,
        verdicts=[(verdict, counts[verdict]) for verdict in VERDICTS],
        deck=t("deck", tally=tally(ranking, t)) if stories else t("deck_none"),
        pictured=any(story.chosen.thumbnail for story in stories),
        comparisons=[comparison_view(c, catalogue, t, gauge, control) for c in comparisons],
        offline_intro=_offline_intro(comparisons, t),
        control=control_view(control, t) if control else None,
        control_is_drawn=control is not None and any(c.against == control.against for c in comparisons),
        curves=_curves(training, t, left_out=DRAWN if stability else ()),
        stability=stability_view(stability, training, t) if stability else None,
        reliability=reliability_view(reliability, t),
        training_steps=numbers.count(max(training.steps)) if training and training.steps else "",
        skipped=[
            (without_folder(p.where, folder), without_folder(p.error.text(lang), folder))
            for p in ranking.skipped[:_MAX_SKIPPED]
        ],
        skipped_more=max(0, len(ranking.skipped) - _MAX_SKIPPED),
        facts=[(t.named("fact", name), value) for name, value in ranking.agent.items()],
    )


def tally(ranking: Ranking, t: Texts) -> str:
    """How the stories stand, e.g. ``31 clear winners, 6 leans``; verdicts that do not occur are not named."""
    counts = Counter(item.verdict for item in ranking.items if item.variants)
    return t("comma").join(t.plural(f"tally_{v}", counts[v]) for v in VERDICTS if counts[v]) or t("no_items")


def _sentence(text: str, stop: str) -> str:
    """`text` with a capital and a full stop: evidence is written to follow a colon too."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "。", "!", "?", "！", "？")) else stop)


def _audience(ranking: Ranking, t: Texts) -> str:
    known = [f"{name} = {value}" for name, value in ranking.context.items()]
    return t("comma").join(known) or t("audience_average")


def _offline_intro(comparisons: Sequence[Comparison], t: Texts) -> str:
    if not comparisons:
        return t("no_comparison")
    first = comparisons[0]
    return t(
        "offline_intro",
        sessions=numbers.count(first.sessions),
        stories=t.plural("stories", len(first.item_ids)),
    )


def _curves(training: plots.TrainingCurve | None, t: Texts, left_out: Sequence[str] = ()) -> list[_CurveView]:
    if training is None or not training.steps:
        return []
    views = []
    for name, values in training.values.items():
        if name in left_out:
            continue
        title = t.named("metric", name)
        known = [value for value in values if math.isfinite(value)]
        if not known:
            views.append(_CurveView(title, numbers.MISSING, None, t("curve_empty", name=title)))
            continue
        chart = plots.line_chart(training.steps, values, spoken(name, training, t), lambda tick: f"{tick:g}")
        views.append(_CurveView(title, numbers.plain(known[-1]), chart, ""))
    return views
