"""One self-contained HTML page for an offline A/B simulation: no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from multimodal_dql.errors import Lang
from multimodal_dql.report import trial_view as view
from multimodal_dql.report.output import write_text
from multimodal_dql.report.page import render_page
from multimodal_dql.report.texts import Texts
from multimodal_dql.report.trial_words import Words, facts

if TYPE_CHECKING:
    from multimodal_dql.simulation.trial import Trial

__all__ = ["render_trial_html", "write_trial_html"]


def write_trial_html(
    path: str | Path,
    *,
    trial: Trial,
    lang: Lang = "en",
    title: str | None = None,
    evidence: str | None = None,
    titles: Mapping[str, str] | None = None,
) -> Path:
    """Write the report to `path` and return it.

    The same trial gives the same bytes: the page holds no date and no random names.

    Args:
        path: the file to write; missing folders are made.
        trial: what to show.
        lang: language of the page; users' own text stays as it is.
        title: instead of "Which policy earns more?".
        evidence: what the simulation rests on, in `lang`, instead of "a simulated audience".
        titles: of the stories, by ``item_id``; without one a story goes by its id.

    Raises:
        OutputError: `path` cannot be written.
    """
    return write_text(
        path, render_trial_html(trial=trial, lang=lang, title=title, evidence=evidence, titles=titles)
    )


def render_trial_html(
    *,
    trial: Trial,
    lang: Lang = "en",
    title: str | None = None,
    evidence: str | None = None,
    titles: Mapping[str, str] | None = None,
) -> str:
    """The page of `write_trial_html` as a string."""
    t = Texts(lang)
    words = Words(trial, t)
    unread = words.invalid
    stories = words.stories()
    return render_page(
        "trial.html.j2",
        t,
        styles=("report.css", "trial.css"),
        title=title or t("trial_title"),
        deck=words.deck(),
        gauges=view.gauges(words),
        evidence=evidence or t("trial_evidence"),
        trust=[*words.trust(), *([stories] if stories else [])],
        noun=words.noun,
        level=words.level,
        against=words.name(trial.verdict.analysis.against),
        arms=view.arm_rows(words),
        tables=view.outcome_tables(words),
        compared=bool(trial.verdict.comparisons) and not unread,
        timelines=[] if unread else view.timelines(words),
        forests=[] if unread else view.forests(words),
        by_story=[] if unread else view.story_forests(words, titles or {}),
        distributions=view.distributions(words),
        references=[] if unread else view.reference_rows(words),
        regret=words.references(),
        facts=facts(words),
    )
