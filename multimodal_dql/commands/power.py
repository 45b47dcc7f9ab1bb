"""``power``: how many sessions an experiment needs, and what it can find with those it has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multimodal_dql.commands.options import JsonOpt, LangOpt
from multimodal_dql.errors import UsageError
from multimodal_dql.terminal import emit, language, table

if TYPE_CHECKING:
    from rich.console import Console

    from multimodal_dql.evaluation.power import Power

__all__ = ["plan_to_dict", "power"]


def power(
    base_rate: Annotated[
        float,
        typer.Option(
            "--base-rate",
            help="Of the control: a click rate (below 1) or clicks a session.",
            show_default=False,
        ),
    ],
    minimum_effect: Annotated[
        float,
        typer.Option(
            "--minimum-effect",
            help="Smallest relative effect worth finding; .05 is 5 % more.",
            show_default=False,
        ),
    ],
    sd: Annotated[
        float | None,
        typer.Option(
            "--sd",
            help="Standard deviation of a session. Without it: of a click rate below 1, sqrt(p (1 - p)); of 1 or more "
            "clicks a session, Poisson's.",
        ),
    ] = None,
    overdispersion: Annotated[
        float | None,
        typer.Option("--overdispersion", help="Variance over mean of clicks a session, instead of --sd."),
    ] = None,
    target: Annotated[float, typer.Option("--power", help="Chance of finding the minimum effect.")] = 0.8,
    alpha: Annotated[float, typer.Option("--alpha", help="Chance of any false winner.")] = 0.05,
    arms: Annotated[int, typer.Option("--arms", help="Arms, the control among them.")] = 2,
    share: Annotated[
        list[float] | None,
        typer.Option(
            "--share", help="Traffic of a treatment, one for all or one each; the control gets the rest."
        ),
    ] = None,
    looks: Annotated[int, typer.Option("--looks", help="Planned looks, evenly spaced.")] = 1,
    spending: Annotated[
        str,
        typer.Option("--spending", help="Of alpha over the looks: obrien-fleming, pocock, kim-demets:RHO."),
    ] = "obrien-fleming",
    anytime: Annotated[bool, typer.Option("--anytime", help="Look at any time, stop at any time.")] = False,
    sessions: Annotated[
        int | None, typer.Option("--sessions", help="Sessions in total: what effect can they find?")
    ] = None,
    daily_sessions: Annotated[
        float | None, typer.Option("--daily-sessions", help="Sessions a day, all arms: how many days?")
    ] = None,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Plan an experiment: sessions needed, and the smallest effect that given sessions can find."""
    from multimodal_dql.evaluation.power import Metric
    from multimodal_dql.evaluation.power import power as plan_experiment

    if daily_sessions is not None and not 0 < daily_sessions < math.inf:
        raise UsageError(
            detail="the sessions a day must be a number above 0",
            detail_zh="每日会话数必须是大于 0 的数",
        )
    plan = plan_experiment(
        Metric.of(base_rate, sd, overdispersion),
        minimum_effect,
        target=target,
        alpha=alpha,
        arms=arms,
        treatment_shares=share or (),
        looks=looks,
        spending=spending,
        anytime=anytime,
        sessions=sessions,
    )
    result = plan_to_dict(plan, target, daily_sessions)
    emit(json_output, result, lambda console: _print(result, console))


def plan_to_dict(plan: Power, target: float, daily_sessions: float | None = None) -> dict[str, Any]:
    """The JSON object of a plan; `power` is what was asked for, `power_reached` what whole sessions give."""
    metric = plan.metric
    return {
        "design": plan.design,
        "sessions_per_arm": plan.sessions_per_arm,
        "sessions_by_arm": list(plan.sessions_by_arm),
        "sessions_total": plan.sessions_total,
        "expected_sessions": plan.expected_sessions,
        "days": None if daily_sessions is None else math.ceil(plan.sessions_total / daily_sessions),
        "power": target,
        "power_reached": plan.power,
        "alpha": plan.alpha,
        "alpha_per_comparison": plan.alpha_per_comparison,
        "arms": len(plan.shares),
        "shares": list(plan.shares),
        "base_rate": metric.mean,
        "outcome": metric.kind,
        "sd": math.sqrt(metric.variance(metric.mean)),
        "minimum_effect": plan.minimum_effect,
        "sessions": plan.sessions,
        "minimum_detectable_effect": plan.minimum_detectable_effect,
        "power_at_sessions": plan.power_at_sessions,
        "inflation": plan.inflation,
        "looks": plan.looks,
        "z_bounds": list(plan.z_bounds),
    }


def _print(plan: dict[str, Any], console: Console) -> None:
    """What a person reads: the sessions first."""
    zh = language() == "zh"
    detectable = plan["minimum_detectable_effect"]
    by_arm = " / ".join(f"{n:,}" for n in plan["sessions_by_arm"])
    rows: list[tuple[str, str]] = [
        ("各组会话数（对照组在前）" if zh else "sessions per arm, control first", by_arm),
        ("会话总数" if zh else "sessions in total", f"{plan['sessions_total']:,}"),
    ]
    if plan["design"] == "group-sequential":
        rows += [
            (
                "达到最小效应时的期望会话数" if zh else "expected sessions under the minimum effect",
                f"{plan['expected_sessions']:,}",
            ),
            (
                "各次查看的 |Z| 界限" if zh else "|Z| to reach at each look",
                " ".join(f"{z:.3f}" for z in plan["z_bounds"]),
            ),
        ]
    if plan["design"] == "anytime":
        rows.append(
            (
                "计划终点的 |Z| 界限" if zh else "|Z| to reach at the planned end",
                f"{plan['z_bounds'][-1]:.3f}",
            )
        )
    if plan["design"] != "fixed":
        rows.append(
            ("相对单次查看的会话倍数" if zh else "times the sessions of one look", f"{plan['inflation']:.3f}")
        )
    if plan["days"] is not None:
        rows.append(("所需天数" if zh else "days", f"{plan['days']:,}"))
    rows += [
        ("最小效应" if zh else "minimum effect", f"{plan['minimum_effect']:+.2%}"),
        (
            f"{plan['sessions']:,} 次会话可检出的最小效应"
            if zh
            else f"found with {plan['sessions']:,} sessions",
            ("无" if zh else "none") if detectable is None else f"{detectable:+.2%}",
        ),
        ("功效" if zh else "power", f"{plan['power']:.0%}"),
        (
            "alpha（每次比较）" if zh else "alpha (each comparison)",
            f"{plan['alpha']:g} ({plan['alpha_per_comparison']:.4g})",
        ),
        (
            "单次会话标准差" if zh else "sd of a session",
            f"{plan['sd']:.4g} ({_outcome(plan['outcome'], zh)})",
        ),
    ]
    console.print(table(("计划" if zh else "plan", ""), rows))


def _outcome(kind: str, zh: bool) -> str:
    names = {
        "bernoulli": ("click rate", "点击率"),
        "counts": ("counts", "计数"),
        "given": ("given", "已给出"),
    }
    return names[kind][zh]
