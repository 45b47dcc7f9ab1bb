"""`bench NAME`: measurements, each next to a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.common import encode_catalogue
from multimodal_dql.commands.options import CatalogueArg, JsonOpt, LangOpt, SeedOpt
from multimodal_dql.terminal import emit, table

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Measurements, each next to a reference.")


@app.command("encode")
def encode(json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """Items a second of every built-in encoder on one thread."""
    from multimodal_dql.bench.encode import bench_encode as measure

    result = measure()
    rows = [
        (modality, name, f"{rate:,.0f}", str(result["reference"].get(modality, {}).get(name, "")))
        for modality in ("text", "image", "audio")
        for name, rate in result[modality].items()
    ]
    emit(json_output, result, lambda c: c.print(table(("modality", "what", "items/s", "reference"), rows)))


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

    result = bench_horizon(seed=seed, iterations=iterations)
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
    catalogue: CatalogueArg,
    agent: Annotated[
        list[Path], typer.Option("--agent", metavar="RUN", help="Directory of a training run; repeatable.")
    ],
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Whether trained agents are as sure as they should be, in front of the audiences they were trained for."""
    from multimodal_dql.bench.calibration import bench_calibration
    from multimodal_dql.datasets.catalogue import read_catalogue

    read = read_catalogue(catalogue)
    result = bench_calibration(agent, lambda names: encode_catalogue(read, names, strict=False))
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
        console.print(table(("probability of being best", "variants", "stated", "highest click rate"), rows))

    emit(json_output, result, show)


@app.command()
def headlines(
    data: Annotated[Path, typer.Option("--data", help="A/B tests of headlines: Upworthy's or your own.")],
    repeats: Annotated[
        int, typer.Option(min=1, max=20, help="Repeats of the five-fold cross-validation.")
    ] = 5,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """How well the content prior predicts headline tests it never saw, next to plain models, chance and the ceiling."""
    from multimodal_dql.bench.headlines import bench_headlines

    result = bench_headlines(data, repeats=repeats, seed=seed)
    named = [("prior", result), *result["baselines"].items(), ("ceiling", result["ceiling"])]
    names = ("pairs_all", "pairs_significant", "top1")
    rows = [
        (name, *(f"{found[k]:.3f}" if found.get(k) is not None else "-" for k in names))
        for name, found in named
    ]
    heads = ("model", "pairs", "significant pairs", f"top 1 (chance {result['top1_random']:.3f})")
    emit(json_output, result, lambda c: c.print(table(heads, rows)))


@app.command()
def training(
    threads: Annotated[int, typer.Option(min=1, max=256, help="Processors to use.")] = 2,
    peers: Annotated[
        Path | None,
        typer.Option(
            metavar="PYTHON",
            help="Interpreter with Stable-Baselines3 and JAX; else .venv-peers/bin/python if it is there.",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of every contestant.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.01, help="Length of a turn.")] = 1.0,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for quiet processors.")] = 180.0,
    seeds: Annotated[int, typer.Option(min=0, help="Seeds of the check of bfloat16; 0 leaves it out.")] = 10,
    check_updates: Annotated[int, typer.Option(min=1, hidden=True)] = 4000,
    width: Annotated[int, typer.Option(min=1, hidden=True)] = 256,
    batch: Annotated[int, typer.Option(min=1, hidden=True)] = 256,
    replay: Annotated[int, typer.Option(min=1, hidden=True)] = 100_000,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Gradient updates a second, in turns with Stable-Baselines3 and JAX on the same job; some minutes."""
    from multimodal_dql.bench.training import bench_training
    from multimodal_dql.bench.training_jobs import Job

    job = Job(threads=threads, width=width, batch=batch, hidden=(width, width), replay=replay)
    result = bench_training(
        job,
        peers=peers,
        rounds=rounds,
        seconds=seconds,
        patience=patience,
        seeds=seeds,
        check_updates=check_updates,
    )
    ours, reference, ratio = result["updates_per_second"], dict(result["reference"]), result["ratio"]
    kind = "measured" if reference.pop("measured") else "published"
    rows = [(f"ours, {p}", f"{rate:,.0f}", "", "") for p, rate in ours.items()]
    rows += [
        (
            f"{name} ({kind})",
            f"{rate:,.0f}",
            f"{ratio['float32'][name]:.2f}",
            f"{ratio['bfloat16'][name]:.2f}",
        )
        for name, rate in reference.items()
    ]
    rows.append(
        ("ours, candidate set, float32", f"{result['candidate_set']['updates_per_second']:,.1f}", "", "")
    )

    def show(console: Any) -> None:
        went, check = result["contest"], result["learning_check"]
        console.print(table(("who", "updates/s", "float32 over it", "bfloat16 over it"), rows))
        console.print(
            f"{went['quiet_rounds']} of {went['rounds']} rounds quiet; others used at most "
            f"{went['foreign_processors']:.2f} processors"
        )
        if went["quiet_rounds"] < went["rounds"]:
            console.print("others were at work: these ratios say little; measure again on a quiet machine")
        if check:
            answer = "as well as" if check["equal"] else "not shown to learn as well as"
            console.print(
                f"bfloat16 {'learns ' * check['equal']}{answer} float32 over {check['seeds']} seeds"
            )

    emit(json_output, result, show)
