"""`train`: an agent, in front of a simulated audience or from a log of decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.common import encode_catalogue, encoder_list, timed
from multimodal_dql.commands.options import (
    DEFAULT_ENCODERS,
    AssumeOpt,
    CatalogueArg,
    EncodersOpt,
    EngagementOpt,
    JsonOpt,
    LangOpt,
    SeedOpt,
    StrictOpt,
)
from multimodal_dql.errors import UsageError
from multimodal_dql.terminal import announce, emit, language, progress

__all__ = ["train"]

LOG_CQL = 0.1
"""alpha where a log is learned from: it moves Q by half of alpha times how much rarer than the agent the log made a
choice, .05 of an average click where it never did; more is for logs that hardly explored."""


def train(
    catalogue: CatalogueArg,
    out: Annotated[Path, typer.Option("--out", help="Directory of the run.")] = Path("run"),
    encoders: EncodersOpt = DEFAULT_ENCODERS,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="EVENTS",
            help="Learn from this log (a file or folder of decisions), no simulation.",
        ),
    ] = None,
    allow_personal: Annotated[
        bool,
        typer.Option("--allow-personal", help="Learn from a log although values in it look personal."),
    ] = False,
    iterations: Annotated[int, typer.Option(min=1, help="Rounds of simulate-then-learn.")] = 40,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of Adam, at the start.")] = 2e-3,
    discount: Annotated[
        float, typer.Option(min=0.0, max=0.999, help="Worth of a click one story later.")
    ] = 0.5,
    value_loss: Annotated[
        str, typer.Option("--value-loss", help="Loss of Q: mse, or hl_gauss (cross-entropy over bins).")
    ] = "mse",
    replay_sampling: Annotated[
        str, typer.Option("--replay-sampling", help="uniform, or prioritised by the TD error.")
    ] = "uniform",
    cql: Annotated[
        float | None,
        typer.Option(
            "--cql",
            min=0.0,
            metavar="ALPHA",
            help=f"Caution about what a log did not do; {LOG_CQL:g} with --log.",
        ),
    ] = None,
    sessions: Annotated[int, typer.Option(min=100, help="Simulated sessions of the test afterwards.")] = 4000,
    prior: Annotated[
        Path | None,
        typer.Option(
            "--prior",
            metavar="RUN",
            help="Directory of prior fit: start from what past A/B tests say of each variant.",
        ),
    ] = None,
    engagement: EngagementOpt = None,
    assume: AssumeOpt = None,
    checkpoint_every: Annotated[
        int, typer.Option(min=0, help="Rounds between two checkpoints; 0 writes none.")
    ] = 10,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the training that was interrupted in --out.")
    ] = False,
    keep_checkpoints: Annotated[
        bool,
        typer.Option("--keep-checkpoints", help="Leave them in RUN/checkpoints when the training is done."),
    ] = False,
    seed: SeedOpt = 0,
    strict: StrictOpt = False,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Train an agent on a catalogue, in front of a simulated audience or from a log, and test it on unseen stories."""
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.past_tests import PastTests
    from multimodal_dql.report import print_stability, stability_to_dict
    from multimodal_dql.report.output import writable_folder
    from multimodal_dql.setting import read_config
    from multimodal_dql.stability import read_stability
    from multimodal_dql.train_config import TrainConfig, check_settings
    from multimodal_dql.training import train as learn
    from multimodal_dql.training import train_from_log

    if log is not None and (engagement is not None or assume):
        raise UsageError(
            detail="--log learns from what happened, and --engagement and --assume are about a simulation; leave one "
            "of them out",
            detail_zh="--log 从真实记录学习，而 --engagement 和 --assume 用于模拟；请去掉其中之一",
        )
    if log is None and allow_personal:
        raise UsageError(
            detail="--allow-personal is about a log; give one with --log, or leave it out",
            detail_zh="--allow-personal 针对日志；请用 --log 给出日志，或去掉该选项",
        )
    config = TrainConfig(
        iterations=iterations,
        learning_rate=learning_rate,
        discount=discount,
        value_loss=value_loss,
        replay_sampling=replay_sampling,
        cql=cql if cql is not None else LOG_CQL if log is not None else 0.0,
        expected_reward=log is None,
        seed=seed,
        checkpoint_every=checkpoint_every,
    )
    check_settings(config)
    past = None if prior is None else PastTests.read(prior)
    names, read, clicks = (
        encoder_list(encoders),
        read_catalogue(catalogue),
        read_config(engagement, assume or ()),
    )
    writable_folder(out)
    encoded = encode_catalogue(read, names, strict)
    with progress() as tick:
        if past is not None:
            encoded = past.beside(encoded, progress=tick)
            past.keep(out)
            if encoded.past is None or not encoded.past.effect.any():
                announce(
                    "past tests say nothing of these variants (no texts, equal ones, or no language that the prior "
                    "reads): the agent is trained without them",
                    "过去的测试无法说明这些变体（没有文字、文字相同，或先验不支持其语言）：训练时不使用它们",
                )
        how: dict[str, Any] = {
            "run": out,
            "progress": tick.training,
            "resume": resume,
            "keep_checkpoints": keep_checkpoints,
            "notice": lambda error: announce(error.text("en"), error.text("zh")),
        }
        if log is not None:
            agent, source, seconds = timed(
                lambda: train_from_log(encoded, config, log, allow_personal=allow_personal, **how)
            )
        else:
            agent, source, seconds = timed(lambda: learn(encoded, config, clicks, **how))
    stability = read_stability(out)
    result = {"run": str(out), "train_seconds": round(seconds, 2), "stability": stability_to_dict(stability)}
    tested, show_test = (
        _by_the_log(agent, source)
        if log is not None
        else _by_simulation(agent, source, encoded, seed, sessions)
    )

    def show(console: Any) -> None:
        show_test(console)
        print_stability(stability, console, language())

    emit(json_output, result | tested, show)


def _by_simulation(
    agent: Any, world: Any, encoded: Any, seed: int, sessions: int
) -> tuple[dict[str, Any], Any]:
    """The offline test: results as JSON, and how to print them."""
    from multimodal_dql.pipeline import offline_test
    from multimodal_dql.report import comparison_to_dict, print_comparison, reliability_to_list

    test = offline_test(agent, world, encoded, seed=seed, sessions=sessions)
    found = {
        "comparisons": [comparison_to_dict(c) for c in test.comparisons],
        "control": comparison_to_dict(test.control),
        "reliability": reliability_to_list(test.reliability),
    }
    return found, lambda console: print_comparison(
        test.comparisons, console, language(), control=test.control
    )


def _by_the_log(agent: Any, source: Any) -> tuple[dict[str, Any], Any]:
    """What the log was and what it says of the agent: as JSON, and how to print it."""
    from dataclasses import asdict

    from multimodal_dql.datasets.events import reason_text
    from multimodal_dql.log_columns import MISFITS

    log, value = source.facts["log"], source.value(agent)
    for reason, count in log["left_out"].items():
        announce(
            f"left out: {count:,} decisions ({reason})",
            f"已略过 {count:,} 个决策（{MISFITS.get(reason) or reason_text(reason, 'zh')}）",
        )
    zh = language() == "zh"
    lines = [
        f"从 {log['sessions']:,} 次会话的 {log['decisions']:,} 个决策、{log['clicks']:,} 次点击中学习。"
        if zh
        else f"Learned from {log['decisions']:,} decisions of {log['sessions']:,} sessions with "
        f"{log['clicks']:,} clicks."
    ]
    if value is not None:
        span = f"[{100 * value.low:+.1f}%, {100 * value.high:+.1f}%]"
        lines.append(
            f"按倾向加权：在未学习过的条目上，智能体的选择与日志中的选择相比，点击变化为 "
            f"{100 * value.uplift:+.1f}%（95% 区间 {span}）。"
            if zh
            else f"By inverse propensity, on stories not learned from, the agent's choices would have had "
            f"{100 * value.uplift:+.1f}% clicks against those of the log, 95% interval {span}."
        )
    found = {"log": log, "value": None if value is None else asdict(value)}
    return found, lambda console: [console.print(line) for line in lines]
