"""The evaluation of policies on a log, for other programs and for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from multimodal_dql.errors import Lang
from multimodal_dql.report.evaluation_words import Words
from multimodal_dql.report.export import SCHEMA_VERSION, json_number
from multimodal_dql.report.texts import Texts
from multimodal_dql.report.usertext import for_terminal

if TYPE_CHECKING:
    from multimodal_dql.evaluation.ope import Estimate
    from multimodal_dql.log_evaluation import LogEvaluation, PolicyEvaluation

__all__ = ["evaluation_to_dict", "print_evaluation"]


def evaluation_to_dict(found: LogEvaluation) -> dict[str, Any]:
    """`found` as JSON types; numbers that are not known, or infinite, are null.

    ``value``, ``low`` and ``high`` of a policy are null when the log cannot answer: ``reason`` and ``needed`` say why.
    The keys are a contract: more may be added, none is renamed or removed without a new ``schema_version``.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "reward": found.reward,
        "decisions": found.decisions,
        "log": {
            "read": found.read,
            "excluded": dict(found.excluded),
            "left_out": dict(found.left_out),
            "notes": [note.text("en") for note in found.notes],
        },
        "logged": _estimate(found.logged),
        "policies": {policy.name: _policy(policy, found) for policy in found.policies},
    }


def _policy(policy: PolicyEvaluation, found: LogEvaluation) -> dict[str, Any]:
    verdict, headline = policy.result.verdict, policy.headline
    numbers = (headline.value, headline.low, headline.high)
    known = map(json_number, numbers) if verdict.answerable else (None, None, None)
    return {
        "answerable": verdict.answerable,
        "reason": verdict.reason,
        "needed": verdict.needed,
        "rows_needed": verdict.rows_needed,
        "estimator": policy.result.headline,
        **dict(zip(("value", "low", "high"), known, strict=True)),
        "against": {
            other: _estimate(gap) if found.comparable(policy, other) else None
            for other, gap in policy.against.items()
        },
        "estimates": {name: _estimate(e) for name, e in policy.result.estimates.items()},
        "diagnostics": _plain(asdict(policy.result.diagnostics)),
        "actions": [_plain(asdict(share)) for share in policy.actions],
        "over_time": [_plain(asdict(point)) for point in policy.over_time],
    }


def _estimate(e: Estimate) -> dict[str, Any]:
    intervals = {
        name: {"low": json_number(low), "high": json_number(high)}
        for name, (low, high) in e.intervals.items()
    }
    numbers = ("value", "standard_error", "low", "high")
    return {
        **{name: json_number(getattr(e, name)) for name in numbers},
        "confidence": e.confidence,
        "intervals": intervals,
        "details": _plain(e.details),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return json_number(value)
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value


def print_evaluation(found: LogEvaluation, console: Console | None = None, lang: Lang = "en") -> None:
    """One sentence for each policy, the estimates side by side, and how far to trust them."""
    console = console or Console()
    words = Words(found, Texts(lang))
    t = words.t
    for policy in found.policies:
        style = {"ahead": "green", "behind": "red", "same": "yellow", "none": "bold magenta"}[
            words.side(policy)
        ]
        for sentence in words.sentences(policy):
            console.print(Text(for_terminal(sentence), style=f"bold {style}"))
    console.print(_table(found, words))
    console.print(Text(for_terminal(t("evaluation_marked")), style="dim"))
    for heading, lines in (
        (t("evaluation_trust"), [line for p in found.policies for line in words.trust(p)]),
        (t("evaluation_log"), words.log()),
        (t("evidence"), [t("evaluation_evidence")]),
    ):
        console.print(Text(heading, style="bold"))
        for line in lines:
            console.print(Padding(Text(for_terminal(line)), (0, 0, 0, 2)))


def _table(found: LogEvaluation, words: Words) -> Table:
    t = words.t
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for heading, right in (
        (t("evaluation_policy"), False),
        (t("evaluation_estimator"), False),
        (words.noun, True),
        (t("trial_interval", level=words.level), True),
    ):
        estimator = heading == t("evaluation_estimator")
        justify: Literal["left", "right"] = "right" if right else "left"
        table.add_column(for_terminal(heading), justify=justify, overflow="fold", no_wrap=estimator)
    low, high = words.number(found.logged.low), words.number(found.logged.high)
    table.add_row(t("evaluation_logged"), "", words.number(found.logged.value), f"[{low}, {high}]")
    for policy in found.policies:
        unread = not policy.result.verdict.answerable
        for name, e in policy.result.estimates.items():
            first = name == next(iter(policy.result.estimates))
            chosen = name == policy.result.headline and not unread
            ends = words.ends(name, e.low, e.high)
            cells = (policy.name if first else "", words.estimator(name), words.number(e.value), ends)
            style = "bold" if chosen else "dim" if unread else ""
            table.add_row(*(Text(for_terminal(cell)) for cell in cells), style=style)
    return table
