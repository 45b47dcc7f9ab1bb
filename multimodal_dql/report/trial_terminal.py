"""An offline A/B simulation in a terminal, from 60 columns up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from multimodal_dql.errors import Lang
from multimodal_dql.report import numbers
from multimodal_dql.report.texts import Texts
from multimodal_dql.report.trial_words import State, Words, p_value, percents, state
from multimodal_dql.report.usertext import for_terminal

if TYPE_CHECKING:
    from multimodal_dql.simulation.trial import Trial

__all__ = ["print_trial"]

_STYLE: dict[State, str] = {
    "ahead": "green",
    "behind": "red",
    "same": "cyan",
    "open": "yellow",
    "invalid": "bold red",
}
_ROOMY = 110
"""From this many columns on, intervals of the outcome itself have a column."""
_NARROW = 75
"""Below this many columns p-values are left out: the interval says as much."""


def print_trial(
    trial: Trial, console: Console | None = None, lang: Lang = "en", *, evidence: str | None = None
) -> None:
    """One sentence for each comparison, a table of the arms, and how far to trust them.

    Args:
        trial: what to show.
        console: where.
        lang: language of what is said; users' own names stay as they are.
        evidence: what the simulation rests on, in `lang`, instead of "a simulated audience".
    """
    console = console or Console()
    t = Texts(lang)
    words = Words(trial, t)
    for c in trial.verdict.comparisons:
        console.print(Text(_plain(words.sentence(c)), style=f"bold {_STYLE[state(c)]}"))
    if not trial.verdict.comparisons:
        console.print(Text(_plain(words.deck()), style="bold"))
    console.print(_table(trial, words, console.width))
    for heading, lines in (
        (t("trial_trust"), [*words.trust(), *filter(None, [words.stories()])]),
        (t("trial_references"), words.references()),
        (t("evidence"), [evidence or t("trial_evidence")]),
    ):
        if lines:
            console.print(Text(heading, style="bold"))
        for line in lines:
            console.print(Padding(Text(_plain(line)), (0, 0, 0, 2)))


def _table(trial: Trial, words: Words, width: int) -> Table:
    """The arms with the chosen outcome; effects that must not be read are left out."""
    t, v = words.t, trial.verdict
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column(t("trial_arm"), overflow="fold")
    table.add_column(_plain(words.noun), justify="right", overflow="fold")
    if width >= _ROOMY:
        table.add_column(t("interval95_heading"), justify="right", no_wrap=True)
    table.add_column(t("trial_effect"), justify="right", no_wrap=True)
    table.add_column(t("trial_interval", level=words.level), justify="right", overflow="fold")
    if width >= _NARROW:
        table.add_column(t("trial_p"), justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    by_arm = {c.arm: c for c in v.comparisons}
    for arm, outcomes in v.arms.items():
        value, interval = words.value(words.outcome, outcomes[words.outcome])
        cells = [words.name(arm), value, *([interval] if width >= _ROOMY else [])]
        c = by_arm.get(arm)
        if c is None:
            cells += [
                "",
                "",
                *([""] if width >= _NARROW else []),
                t("trial_reference") if v.comparisons else "",
            ]
        elif state(c) == "invalid":
            unread = [numbers.MISSING] * (3 if width >= _NARROW else 2)
            cells += [*unread, t("trial_ending_invalid")]
        else:
            effect, low, high = percents(c.effect, c.low, c.high)
            p = p_value(c.p_adjusted).removeprefix("= ")
            cells += [
                effect,
                f"[{low}, {high}]",
                *([p] if width >= _NARROW else []),
                t(f"trial_ending_{state(c)}"),
            ]
        style = _STYLE[state(c)] if c else ""
        table.add_row(*(Text(_plain(cell)) for cell in cells), style=style)
    return table


def _plain(text: str) -> str:
    """`text` with the hyphen for the minus sign, which not every terminal font has."""
    return for_terminal(text.replace("−", "-"))
