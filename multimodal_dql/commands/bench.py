"""`bench NAME`: measurements, each next to a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.common import encode_for, encoder_list
from multimodal_dql.commands.options import EncodersOpt, JsonOpt, LangOpt, SeedOpt
from multimodal_dql.terminal import emit, progress, table

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Measurements, each next to a reference.")


@app.command("encode")
def encode(json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """Items a second of every built-in encoder on one thread, and how much of the time is the network itself."""
    from multimodal_dql.bench.encode import bench_encode as measure

    result = measure()
    rows = [
        (modality, name, f"{rate:,.0f}", str(result["reference"].get(modality, {}).get(name, "")))
        for modality in ("text", "image", "audio")
        for name, rate in result[modality].items()
    ]
    bare = [
        (
            name,
            *(f"{found[of]:,.0f}" for of in ("runtime", "encoder", "command")),
            f"{found['command_share']:.0%}",
        )
        for name, found in result["bare"].items()
    ]

    def show(console: Any) -> None:
        console.print(table(("modality", "what", "items/s", "reference"), rows))
        heads = ("same batches, items/s", "runtime alone", "encoder", "whole command", "time in the runtime")
        console.print(table(heads, bare))

    emit(json_output, result, show)


@app.command()
def simulator(
    sessions: Annotated[int, typer.Option(min=1000, help="Sessions of the largest run.")] = 10_000_000,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Impressions a second of the engagement model on one thread, every mechanism on."""
    from multimodal_dql.bench.simulator import bench_simulator

    sizes = sorted({min(10**k, sessions) for k in range(4, 8)} | {sessions})
    result = bench_simulator(tuple(sizes))
    rows = [
        (
            f"{r['sessions']:,}",
            f"{r['impressions_per_second']:,}",
            f"{r['seconds']:.2f}",
            f"{r['peak_memory_mb']:,}",
        )
        for r in result["scaling"]
    ]
    rows += [(name, f"{rate:,}", "", "") for name, rate in result["reference"].items()]
    emit(json_output, result, lambda c: c.print(table(("sessions", "impressions/s", "s", "memory MB"), rows)))


@app.command()
def experiments(
    runs: Annotated[int, typer.Option(min=10, help="A/A experiments; a fifth as many A/B.")] = 10_000,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """False winners, power and coverage of many simulated experiments; some minutes."""
    from multimodal_dql.bench.experiments import bench_experiments

    result = bench_experiments(runs, max(runs // 5, 1))
    false, power, covered = result["false_winners"], result["power"], result["coverage"]
    rows = [
        ("false winners, read once", f"{false['fixed']:.2%}", "5 %"),
        ("false winners, any-time rule, 20 looks", f"{false['anytime_peeking']:.2%}", "at most 5 %"),
        ("false winners, group-sequential, 20 looks", f"{false['group_sequential']:.2%}", "at most 5 %"),
        (
            f"power at {power['sessions']:,} sessions",
            f"{power['simulated']:.1%}",
            f"{power['predicted']:.1%}",
        ),
        ("true effect inside the interval", f"{covered['simulated']:.1%}", f"{covered['nominal']:.0%}"),
        ("lost sessions: p of the sample ratio", f"{result['planted_bug']['p_with']:.1g}", "below .001"),
    ]
    emit(json_output, result, lambda c: c.print(table(("what", "measured", "promised"), rows)))


@app.command()
def horizon(
    seed: SeedOpt = 0,
    iterations: Annotated[int, typer.Option(min=1, help="Rounds of simulate-then-learn.")] = 40,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Q-learning against greed on the next click, where looking ahead pays and where it cannot."""
    from multimodal_dql.bench.horizon import bench_horizon
    from multimodal_dql.train_config import TrainConfig

    result = bench_horizon(seed=seed, training=TrainConfig(iterations=iterations))
    rows = []
    for name in ("tempting", "indifferent"):
        found, clicks = result[name], result[name]["clicks"]
        effect = found["ahead_over_greedy"]
        rows.append(
            (
                name,
                *(f"{clicks[arm]:.3f}" for arm in ("uniform", "greedy", "ahead", "myopic", "oracle")),
                f"{effect['effect']:+.0%} [{effect['low']:+.0%}, {effect['high']:+.0%}]",
                found["ending"],
            )
        )
    heads = ("setting", "uniform", "greedy", "ahead", "myopic", "oracle", "ahead over greedy", "ending")
    emit(json_output, result, lambda c: c.print(table(heads, rows)))


@app.command()
def calibration(
    catalogue: Annotated[
        Path | None, typer.Argument(help="With --agent: the stories to judge. Without: drawn content.")
    ] = None,
    agent: Annotated[
        list[Path] | None,
        typer.Option("--agent", metavar="RUN", help="Directory of a training run; repeatable."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Without a catalogue: agents trained on drawn content, seeds 1 to N.")
    ] = 5,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Whether trained agents are as sure as they should be, in front of the audiences they were trained for."""
    from multimodal_dql.bench.calibration import bench_calibration, bench_new_stories
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.errors import UsageError

    if (catalogue is None) != (agent is None):
        raise UsageError(
            detail="give a catalogue together with --agent RUN, or neither for stories of drawn content",
            detail_zh="请同时给出目录和 --agent RUN，或两者都不给（使用随机生成的内容）",
        )
    if catalogue is None or agent is None:
        result = bench_new_stories(range(1, seeds + 1))
    else:
        read = read_catalogue(catalogue)
        result = bench_calibration(agent, lambda learned, run: encode_for(learned, run, read, strict=False))
    rows = [
        (
            f"{row['from']:.2f} to {row['to']:.2f}",
            row["variants"],
            f"{row['stated']:.2f}",
            f"{row['true']:.2f}",
        )
        for row in result["probability_of_being_best"]
    ]
    covered = ", ".join(f"{share:.0%}" for share in result["coverage_90"])

    def show(console: Any) -> None:
        console.print(f"90 % intervals of the click rate hold the true one: {covered}")
        console.print(table(("probability of being best", "variants", "stated", "highest value"), rows))
        console.print(
            f"the first is best in {result['first_is_best']:.0%} of {result['stories']} stories; "
            f"log score {result['log_score']:.3f}, Brier score {result['brier']:.3f}"
        )

    emit(json_output, result, show)


@app.command()
def headlines(
    data: Annotated[Path, typer.Option("--data", help="A/B tests to learn from: Upworthy's or your own.")],
    test: Annotated[
        Path | None, typer.Option("--test", help="Other tests to measure on; else cross-validated in --data.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder that keeps what was learned, for the next time.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="300 sampled tests a file, little learning.")
    ] = False,
    repeats: Annotated[
        int, typer.Option(min=1, max=20, help="Repeats of the five-fold cross-validation.")
    ] = 5,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, help="Seeds of the replays; 20 if not given, fewer for over 3,000 tests."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of learning the allocation.")] = 120,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """On headline tests never seen: how often the better one is named, and what the learned allocation earns."""
    from multimodal_dql.bench.headlines import bench_headlines

    with progress() as tick:
        result = bench_headlines(
            data,
            test=test,
            run=run,
            quick=quick,
            repeats=repeats,
            seeds=seeds,
            rounds=rounds,
            seed=seed,
            progress=lambda what: tick(what, 0, 1),
        )
    emit(json_output, result, lambda console: _print_headlines(result, console))


@app.command()
def captions(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of caption contests (datasets show caption_contest).")
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="40 captions a contest, one text encoder, little learning.")
    ] = False,
    encoders: EncodersOpt = "use-multilingual,minilm,mpnet-layer7,efficientnet-lite0",
    repeats: Annotated[
        int, typer.Option(min=1, max=20, help="Repeats of the five-fold cross-validation.")
    ] = 1,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Seeds of the replays.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of learning the allocation.")] = 120,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """On cartoons never seen: which caption is funnier, what the picture adds, how votes are allocated."""
    from multimodal_dql.bench.captions import bench_captions

    with progress() as tick:
        result = bench_captions(
            data,
            encoders=encoder_list(encoders),
            quick=quick,
            repeats=repeats,
            seeds=seeds,
            rounds=rounds,
            seed=seed,
            progress=lambda what: tick(what, 0, 1),
        )
    emit(json_output, result, lambda console: _print_captions(result, console))


def _print_captions(result: dict[str, Any], console: Any) -> None:
    names = ("pairs_all", "pairs_significant", "top1")
    models = [("random", result["random"]), *result["models"].items(), ("ceiling", result["ceiling"])]
    rows = [(name, *(f"{found[k]:.3f}" for k in names)) for name, found in models]
    console.print(table(("model", "pairs", "significant pairs", "top 1"), rows))
    for name, found in result["picture_adds"].items():
        low, high = found["intervals"]["pairs_all"]
        console.print(f"{name}: {found['pairs_all']:+.4f} of all pairs [{low:+.4f}, {high:+.4f}]")
    _print_shares("votes", result["allocation"], console)


def _print_shares(what: str, found: dict[str, Any], console: Any) -> None:
    """Share of the gap of every policy at every horizon."""
    taus = list(found)
    shares = [
        (name, *(f"{found[tau]['oracle_gap_share'][name]:.3f}" for tau in taus))
        for name in found[taus[0]]["oracle_gap_share"]
    ]
    console.print(table((f"{what}: share of the gap at", *taus), shares))


def _print_headlines(result: dict[str, Any], console: Any) -> None:
    named = [("prior", result), *result["baselines"].items(), ("ceiling", result["ceiling"])]
    names = ("pairs_all", "pairs_significant", "top1")
    rows = [
        (name, *(f"{found[k]:.3f}" if found.get(k) is not None else "-" for k in names))
        for name, found in named
    ]
    heads = ("model", "pairs", "significant pairs", f"top 1 (chance {result['top1_random']:.3f})")
    console.print(table(heads, rows))
    for truth in ("allocation", "shrunk"):
        _print_shares(truth, result[truth], console)
