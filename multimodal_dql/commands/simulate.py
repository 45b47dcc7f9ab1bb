"""`simulate`: whether a policy should be published."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.common import encode_catalogue, encode_for, encoder_list, write_json
from multimodal_dql.commands.options import (
    DEFAULT_ENCODERS,
    AssumeOpt,
    CatalogueArg,
    EncodersOpt,
    EngagementOpt,
    JsonOpt,
    LangOpt,
    OutOpt,
    SeedOpt,
)
from multimodal_dql.errors import Lang, UsageError
from multimodal_dql.terminal import announce, emit, language, progress

__all__ = ["simulate"]


def simulate(
    catalogue: CatalogueArg,
    agent: Annotated[
        Path | None,
        typer.Option("--agent", metavar="RUN", help="Directory of a training run; adds 'learned'."),
    ] = None,
    policies: Annotated[
        str | None,
        typer.Option(
            "--policies", help="Names, separated by commas, options after a colon: first,ucb:z=.04."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="The policy to compare with; the first one listed.")
    ] = None,
    sessions: Annotated[
        int, typer.Option("--sessions", help="Simulated users, each with all visits.")
    ] = 10_000,
    design: Annotated[
        str, typer.Option("--design", help="paired (same users, same luck) or randomised (as a live test).")
    ] = "paired",
    outcome: Annotated[
        str, typer.Option("--outcome", help="clicks, click_rate, dwell_seconds, satisfaction, return, ...")
    ] = "clicks",
    minimum_effect: Annotated[
        float, typer.Option("--minimum-effect", help="Smallest relative effect that would matter.")
    ] = 0.01,
    rule: Annotated[
        str, typer.Option("--rule", help="fixed, group-sequential or anytime: when the result may be read.")
    ] = "fixed",
    looks: Annotated[
        int, typer.Option("--looks", min=1, max=500, help="Times at which it is looked at.")
    ] = 20,
    refresh: Annotated[
        int, typer.Option("--refresh", min=1, help="Sessions after which learning policies see the counts.")
    ] = 1000,
    records: Annotated[
        bool, typer.Option("--records", help="Show 'learned' the counts of the running experiment.")
    ] = False,
    without: Annotated[
        str, typer.Option("--without", help="Mechanisms of the engagement model to switch off, by commas.")
    ] = "",
    engagement: EngagementOpt = None,
    assume: AssumeOpt = None,
    encoders: EncodersOpt = DEFAULT_ENCODERS,
    events: Annotated[
        Path | None, typer.Option("--events", help="Write every decision to this Parquet file.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Threads; 0 is one a processor.")] = 0,
    out: OutOpt = None,
    seed: SeedOpt = 0,
    audience_seed: Annotated[
        int | None,
        typer.Option(
            "--audience-seed", min=0, max=2**31 - 1, help="Seed of tastes and variants alone; else --seed."
        ),
    ] = None,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Offline A/B simulation of policies: an interval, and one of three endings for each."""
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.datasets.events import EventWriter
    from multimodal_dql.report import print_trial, trial_to_dict, write_trial_html
    from multimodal_dql.report.output import writable_folder
    from multimodal_dql.setting import arms_of, read_setting, split_specs
    from multimodal_dql.simulation.analysis import Analysis
    from multimodal_dql.simulation.event_log import events_of
    from multimodal_dql.simulation.experiment import Block, Plan
    from multimodal_dql.simulation.trial import run_trial

    plan = Plan(sessions, design, seed, (), refresh, looks, workers)  # type: ignore[arg-type]
    off = [name.strip() for name in without.split(",") if name.strip()]
    default = "first,uniform" + (",learned" if agent else "")
    specs = [spec.strip() for spec in split_specs(policies or default)]
    if not specs:
        raise UsageError(
            detail="--policies is empty; name at least two", detail_zh="--policies 为空；请至少写两个策略"
        )
    analysis = Analysis(against or specs[0], outcome, minimum_effect, rule=rule)  # type: ignore[arg-type]
    read = read_catalogue(catalogue)
    drawn = seed if audience_seed is None else audience_seed
    setting = read_setting(agent, engagement, off, assume=assume or (), seed=drawn)
    if out is not None:
        writable_folder(out)
    encoded = (
        encode_for(setting.agent, agent, read, strict=False)
        if setting.agent is not None and agent is not None
        else encode_catalogue(read, encoder_list(encoders), strict=False)
    )
    stage = setting.stage(encoded)
    arms = arms_of(specs, stage, setting.agent, encoded, seed=seed, records=records)
    item_ids = [item.item_id for item in encoded.catalogue.items]
    version, fingerprint = "" if agent is None else agent.name, encoded.catalogue.fingerprint

    with progress() as tick, EventWriter(events) if events else nullcontext() as log:

        def keep(block: Block) -> None:
            if log is not None:
                log.write(events_of(block, encoded.catalogue, model_version=version, fingerprint=fingerprint))

        trial = run_trial(
            stage,
            arms,
            plan,
            analysis,
            item_ids=item_ids,
            keep=keep if events else None,
            progress=lambda done, total: tick("sessions", done, total),
        )
    result: dict[str, Any] = trial_to_dict(trial)
    evidence = None if engagement is None else _evidence(language())
    if out is not None:
        write_trial_html(out / "index.html", trial=trial, lang=language(), evidence=evidence)
        write_json(out / "simulation.json", result)
        announce(f"wrote {out}/index.html, simulation.json", f"已写入 {out}/index.html、simulation.json")
    emit(json_output, result, lambda console: print_trial(trial, console, language(), evidence=evidence))


def _evidence(lang: Lang) -> str:
    """What a simulation rests on when its rates were fitted."""
    if lang == "zh":
        return (
            "模拟受众，并非真实读者。点击率、变体之间的差异与偶然波动由过去的 A/B 测试拟合；"
            "品味、满意、回访等其余部分是假设。在作出重大决定之前，请先做线上测试。"
        )
    return (
        "A simulated audience, not real readers. Click rates, differences between variants and chance are fitted "
        "to past A/B tests; tastes, satisfaction and coming back are assumed. Before much depends on it, test live."
    )
