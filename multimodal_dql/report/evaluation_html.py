"""One self-contained HTML page for policies on a log: no script, nothing loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from multimodal_dql.errors import Lang
from multimodal_dql.report import numbers, plots
from multimodal_dql.report.evaluation_words import MARK, SAMPLING_ONLY, Side, Words
from multimodal_dql.report.output import write_text
from multimodal_dql.report.page import render_page
from multimodal_dql.report.texts import Texts
from multimodal_dql.report.trial_words import capital

if TYPE_CHECKING:
    from multimodal_dql.log_evaluation import ActionShare, LogEvaluation, PolicyEvaluation

__all__ = ["render_evaluation_html", "write_evaluation_html"]

_SIDE: Mapping[Side, str] = {"ahead": "for", "behind": "against", "same": "neutral", "none": "neutral"}
FEW = 0.1
"""Of the mean number of decisions in the parts of a log's time: parts with fewer are not drawn."""
_SHARES = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True)
class _Gauge:
    side: str
    ending: str
    policy: str
    value: str
    interval: str
    drawing: Markup | None


@dataclass(frozen=True)
class _Line:
    name: str
    value: str
    interval: str
    drawing: Markup | None
    side: str = ""


@dataclass(frozen=True)
class _Policy:
    """What the page shows of one policy, section by section."""

    name: str
    estimates: tuple[_Line, ...]
    axis: Markup
    weights: tuple[tuple[str, str], ...]
    actions: tuple[tuple[str, ...], ...]
    over_time: Markup | None


def write_evaluation_html(
    path: str | Path,
    *,
    evaluation: LogEvaluation,
    lang: Lang = "en",
    titles: Mapping[str, str] | None = None,
) -> Path:
    """Write the report to `path` and return it.

    The same evaluation gives the same bytes: the page holds no date and no random names.

    Args:
        path: the file to write; missing folders are made.
        evaluation: what to show.
        lang: language of the page; users' own text stays as it is.
        titles: of the stories, by ``item_id``; without one a story goes by its id.

    Raises:
        OutputError: `path` cannot be written.
    """
    return write_text(path, render_evaluation_html(evaluation=evaluation, lang=lang, titles=titles))


def render_evaluation_html(
    *, evaluation: LogEvaluation, lang: Lang = "en", titles: Mapping[str, str] | None = None
) -> str:
    """The page of `write_evaluation_html` as a string."""
    t = Texts(lang)
    words = Words(evaluation, t)
    policies = [_policy(policy, words, titles or {}) for policy in evaluation.policies]
    names = t("comma").join(policy.name for policy in evaluation.policies)
    return render_page(
        "evaluation.html.j2",
        t,
        styles=("report.css", "trial.css"),
        title=t("evaluation_title"),
        deck=t("evaluation_deck", policies=names, n=numbers.count(evaluation.decisions)),
        gauges=_gauges(words),
        sentences=[sentence for policy in evaluation.policies for sentence in words.sentences(policy)],
        trust=[line for policy in evaluation.policies for line in words.trust(policy)],
        log=words.log(),
        noun=capital(words.noun),
        level=words.level,
        logged=words.number(evaluation.logged.value),
        policies=policies,
    )


def _gauges(words: Words) -> list[_Gauge]:
    """One for each policy, all on one scale, with what the log earned as the line of reference."""
    found = words.found
    known = [p.headline for p in found.policies if p.result.verdict.answerable]
    scale = plots.scale_of([found.logged.value, *(x for e in known for x in (e.value, e.low, e.high))])
    out = []
    for policy in found.policies:
        side, e = words.side(policy), policy.headline
        said = side != "none"
        drawing = plots.interval(scale, e.value, e.low, e.high, zero=found.logged.value)
        out.append(
            _Gauge(
                side=_SIDE[side],
                ending=words.t(f"evaluation_side_{side}"),
                policy=policy.name,
                value=words.number(e.value) if said else numbers.MISSING,
                interval=_ends(words, e.low, e.high) if said else "",
                drawing=drawing + plots.axis(scale, words.number) if said else None,
            )
        )
    return out


def _ends(words: Words, low: float, high: float) -> str:
    interval = words.t("trial_range", low=words.number(low), high=words.number(high))
    return f"{words.t('trial_interval', level=words.level)} {interval}"


def _policy(policy: PolicyEvaluation, words: Words, titles: Mapping[str, str]) -> _Policy:
    t, logged = words.t, words.found.logged.value
    estimates = policy.result.estimates
    near = [x for e in estimates.values() for x in (e.value, e.low, e.high) if math.isfinite(x)]
    scale = plots.scale_of([logged, *near])
    lines = tuple(
        _Line(
            name=words.estimator(name) + (MARK if name in SAMPLING_ONLY else ""),
            value=words.number(e.value),
            interval=words.ends(name, e.low, e.high),
            drawing=plots.interval(scale, e.value, e.low, e.high, zero=logged),
            side="read" if name == policy.result.headline and policy.result.verdict.answerable else "",
        )
        for name, e in estimates.items()
    )
    d = policy.result.diagnostics
    weights = (
        (
            t("evaluation_effective"),
            f"{numbers.count(round(d.effective))} ({numbers.rate(d.effective_share)})",
        ),
        (t("evaluation_mean_weight"), f"{d.mean_weight:.3f} ± {d.mean_weight_error:.3f}"),
        (t("evaluation_largest"), numbers.plain(d.largest_weight)),
        *(
            (t("evaluation_quantile", share=f"{100 * share:g}%"), numbers.plain(q))
            for share, q in zip(_SHARES, d.quantiles, strict=True)
        ),
    )
    # The rest of a log, or a quiet night, would draw a needle.
    few = FEW * d.n / max(len(policy.over_time), 1)
    points = [p for p in policy.over_time if p.decisions >= few]
    chart = None
    if len(points) > 1 and policy.result.verdict.answerable:
        chart = plots.line_chart(
            list(accumulate(p.decisions for p in points)),
            [p.value for p in points],
            t("evaluation_over_time"),
            words.number,
            beside=[p.logged for p in points],
        )
    actions = tuple(_action(share, words, titles) for share in policy.actions)
    return _Policy(policy.name, lines, plots.axis(scale, words.number), weights, actions, chart)


def _action(share: ActionShare, words: Words, titles: Mapping[str, str]) -> tuple[str, ...]:
    return (
        titles.get(share.item_id, share.item_id),
        share.variant_id,
        numbers.rate(share.target),
        numbers.rate(share.logged),
        numbers.count(share.shown),
        numbers.count(round(share.effective)),
        words.number(share.mean),
    )
