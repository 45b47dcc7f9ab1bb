"""`evaluate`: what another policy would have earned on a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multimodal_dql.commands.common import encode_for, write_json
from multimodal_dql.commands.options import JsonOpt, LangOpt, OutOpt, SeedOpt
from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.terminal import announce, emit, language, progress

if TYPE_CHECKING:
    from multimodal_dql.datasets.catalogue import Catalogue
    from multimodal_dql.log_states import LogStates
    from multimodal_dql.policies.base import Policy

__all__ = ["evaluate"]

ESTIMATORS = "ips,snips,cips,dm,dr,sndr,switch_dr,dr_os"
REWARDS = ("click", "dwell_seconds", "satisfaction", "conversion_value")
AGENT_ROWS, PLAIN_ROWS = 8192, 65_536  # an agent's states hold the content of every candidate


def evaluate(
    events: Annotated[
        list[Path], typer.Argument(metavar="EVENTS...", help="Logs: Parquet, JSONL, or folders of parts.")
    ],
    catalogue: Annotated[
        Path | None, typer.Option("--catalogue", help="The variants of the log; --agent needs their content.")
    ] = None,
    agent: Annotated[
        Path | None, typer.Option("--agent", metavar="RUN", help="A trained agent; adds policy 'learned'.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", metavar="NAME", help="A policy: uniform, thompson:epsilon=0, ...; repeatable."
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare", metavar="NAME", help="Paired difference of the others to this one; repeatable."
        ),
    ] = None,
    reward: Annotated[str, typer.Option("--reward", help=f"What is earned: {', '.join(REWARDS)}.")] = "click",
    estimators: Annotated[
        str,
        typer.Option(
            "--estimators", help="Names, separated by commas; also mips, snmips (with --agent), replay."
        ),
    ] = ESTIMATORS,
    kinds: Annotated[
        int,
        typer.Option("--kinds", min=1, max=10_000, help="Kinds of variants that mips and snmips tell apart."),
    ] = 20,
    bootstraps: Annotated[int, typer.Option("--bootstraps", min=0, help="Resamples for percentiles.")] = 1000,
    confidence: Annotated[
        float, typer.Option("--confidence", min=0.5, max=0.9999, help="Of all intervals.")
    ] = 0.95,
    allow_personal: Annotated[
        bool, typer.Option("--allow-personal", help="Read columns that look like personal data all the same.")
    ] = False,
    out: OutOpt = None,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """What a policy would have earned on a log of decisions: estimates, intervals, or why the log cannot say."""
    from multimodal_dql.datasets.events import EventLog
    from multimodal_dql.evaluation.ope import EMBEDDED
    from multimodal_dql.log_evaluation import LOGGED, evaluate_log
    from multimodal_dql.log_states import LogStates
    from multimodal_dql.report import evaluation_to_dict, print_evaluation, write_evaluation_html
    from multimodal_dql.report.output import writable_folder

    if reward not in REWARDS:
        raise UnknownNameError(kind="reward", kind_zh="奖励", name=reward, known=REWARDS)
    if agent is not None and catalogue is None:
        raise UsageError(
            detail="--agent looks at the variants; name their catalogue with --catalogue CATALOGUE",
            detail_zh="--agent 需要变体的内容；请用 --catalogue CATALOGUE 指明目录",
        )
    names = [name.strip() for name in estimators.split(",") if name.strip()]
    of_kinds = [name for name in names if name in EMBEDDED]
    if of_kinds and agent is None:
        raise UsageError(
            detail=f"{of_kinds[0]} weighs what variants are like; name their catalogue and an agent whose encoders "
            "look at them: --catalogue CATALOGUE --agent RUN",
            detail_zh=f"{of_kinds[0]} 按变体的内容加权；请指明目录，以及带有编码器的智能体："
            "--catalogue CATALOGUE --agent RUN",
        )
    if out is not None:
        writable_folder(out)
    titles: Mapping[str, str] = {}
    if catalogue is not None:
        from multimodal_dql.datasets.catalogue import read_catalogue

        read = read_catalogue(catalogue)
        titles = {item.item_id: item.title for item in read.items}
        states, learned = _with_catalogue(read, agent, reward, kinds if of_kinds else 0)
    else:
        states, learned = LogStates(reward), {}
    policies = _policies(policy or ([] if learned else ["uniform"]), learned, seed)
    others = list(dict.fromkeys([LOGGED, *(compare or [])]))
    for name in others[1:]:
        if name not in policies:
            raise UnknownNameError(kind="policy", kind_zh="策略", name=name, known=policies)
    columns = LogStates.columns(reward)

    with progress() as tick:
        found = evaluate_log(
            EventLog(events, columns=columns, allow_personal=allow_personal),
            states,
            policies,
            estimators=names,
            against=others,
            bootstraps=bootstraps,
            confidence=confidence,
            seed=seed,
            rows=AGENT_ROWS if learned else PLAIN_ROWS,
            progress=lambda done, total: tick("decisions", done, total),
        )
    result: dict[str, Any] = evaluation_to_dict(found)
    if out is not None:
        write_evaluation_html(out / "index.html", evaluation=found, lang=language(), titles=titles)
        write_json(out / "evaluation.json", result)
        announce(f"wrote {out}/index.html, evaluation.json", f"已写入 {out}/index.html、evaluation.json")
    emit(json_output, result, lambda console: print_evaluation(found, console, language()))


def _with_catalogue(
    read: Catalogue, run: Path | None, reward: str, kinds: int
) -> tuple[LogStates, dict[str, Policy]]:
    """States with the content of a catalogue for an agent; without one, only its variants are known."""
    from multimodal_dql.agent import Agent
    from multimodal_dql.candidates import candidate_table
    from multimodal_dql.log_states import KnownVariants, LogStates
    from multimodal_dql.policies.dqn import DqnPolicy

    if run is None:
        return LogStates(reward), {}
    learned = Agent.load(run)
    encoded = encode_for(learned, run, read, strict=False)
    items = encoded.catalogue.items
    ids = [item.item_id for item in items]
    known = KnownVariants(
        ids,
        [[v.variant_id for v in item.variants] for item in items],
        candidate_table(encoded, learned.projection),
        kinds,
    )
    # A story of the training is decided by the members that left it out.
    policy = DqnPolicy(learned, known=learned.known(ids), believed=True)
    return LogStates(reward, known, learned.base_rate), {policy.name: policy}


def _policies(specs: Sequence[str], learned: Mapping[str, Policy], seed: int) -> dict[str, Policy]:
    """Policies by the names that were asked for, the agent first."""
    from multimodal_dql.policies.registry import make_policy
    from multimodal_dql.setting import FURTHER, split_specs

    found = dict(learned)
    for spec in (part for several in specs for part in split_specs(several)):
        if spec in ("learned", "dqn") and learned:
            continue
        found[spec] = make_policy(spec, seed=seed, extra=FURTHER)
    return found
