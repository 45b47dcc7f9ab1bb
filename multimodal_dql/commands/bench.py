"""`bench NAME`: measurements, each next to a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.common import encode_catalogue, encoder_list
from multimodal_dql.commands.options import (
    DEFAULT_ENCODERS,
    CatalogueArg,
    EncodersOpt,
    JsonOpt,
    LangOpt,
    SeedOpt,
)
from multimodal_dql.terminal import announce, emit, table

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
def decide(
    rounds: Annotated[
        int, typer.Option(min=1, max=1000, help="Rounds of measuring; medians are shown.")
    ] = 20,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Microseconds of one decision on one thread without TensorFlow, and how fast a run is loaded for it."""
    from multimodal_dql.bench.decide import bench_decide

    result = bench_decide(rounds)
    kinds = (
        ("network, prepared", "network_"),
        ("decision, prepared", "prepared_"),
        ("decision, raw arrays", ""),
    )

    def cells(of: dict[str, Any], kind: str = "") -> list[str]:
        return [f"{of[k][f'{kind}p50_us']:.0f} / {of[k][f'{kind}p99_us']:.0f}" for k in ("10", "100")]

    rows = [(name, *cells(result, kind)) for name, kind in kinds]
    rows += [(f"{name}, NumPy alone", *cells(result["numpy"], kind)) for name, kind in kinds]
    for name, of in result["reference"].items():
        here = of.get("measured_here", True)
        spans = ["-".join(str(n) for n in of[k]["p50_us"]) for k in ("10", "100")] if not here else cells(of)
        rows.append((name if here else f"{name} (published, not measured here)", *spans))

    def show(console: Any) -> None:
        console.print(table(("microseconds, p50 / p99", "K = 10", "K = 100"), rows))
        console.print(
            f"load: {result['load_ms']:.0f} ms; whole process {result['process_ms']:.0f} ms, "
            f"one that only imports NumPy {result['numpy_process_ms']:.0f} ms"
        )

    emit(json_output, result, show)


@app.command()
def sequential(
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", help="Name of a scenario; repeatable. All by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, max=18, help="Training seeds, from 0.")] = 10,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """What looking ahead is worth in the scenarios: Q(lambda) against the same with discount 0; half an hour."""
    from multimodal_dql.bench.sequential import SCENARIOS, bench_sequential

    def told(name: str, seed: int, found: dict[str, float]) -> None:
        announce(
            f"{name}, seed {seed}: ahead {found['ahead']:.4g}, myopic {found['myopic']:.4g}",
            f"{name}，种子 {seed}：前瞻 {found['ahead']:.4g}，短视 {found['myopic']:.4g}",
        )

    result = bench_sequential(scenario or tuple(SCENARIOS), seeds, progress=told)
    rows = []
    for name, found in result["scenarios"].items():
        levels = {who: kinds["expected"] for who, kinds in found["returns"].items()}
        by = found["ahead_over_myopic"]["expected"]["relative"]
        rows.append(
            (
                name,
                *(f"{levels[who]['mean']:.4g}" for who in ("uniform", "greedy_on_truth")),
                *(
                    f"{levels[who]['mean']:.4g} [{levels[who]['low']:.4g}, {levels[who]['high']:.4g}]"
                    for who in ("myopic", "ahead")
                ),
                f"{by['mean']:+.1%} [{by['low']:+.1%}, {by['high']:+.1%}]",
            )
        )
    heads = ("scenario", "uniform", "greedy on truth", "myopic", "ahead", "ahead over myopic")
    emit(json_output, result, lambda c: c.print(table(heads, rows)))


@app.command()
def stability(
    catalogue: CatalogueArg,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Trainings, each in front of its audience.")
    ] = 10,
    iterations: Annotated[int, typer.Option(min=1, help="Rounds of each training.")] = 40,
    sessions: Annotated[int, typer.Option(min=100, help="Simulated sessions of each test.")] = 2000,
    encoders: EncodersOpt = DEFAULT_ENCODERS,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Whether training comes out alike whatever the seed: interquartile mean of the gain, churn, monitors."""
    from multimodal_dql.bench.stability import bench_stability
    from multimodal_dql.datasets.catalogue import read_catalogue

    encoded = encode_catalogue(read_catalogue(catalogue), encoder_list(encoders), strict=False)
    result = bench_stability(encoded, seeds, iterations=iterations, sessions=sessions, first=seed)
    rows = [
        (f"clicks over {against}", f"{found['iqm']:+.1%}", f"[{found['low']:+.1%}, {found['high']:+.1%}]")
        for against, found in result["uplift"].items()
    ]
    worst = result["worst_monitor"]
    said = (
        f"{worst['monitor']} ({worst['action']}, iteration {worst['iteration']})" if worst else "none spoke"
    )
    for name, value in (("churn, early", result["churn_early"]), ("churn, late", result["churn"])):
        rows.append((name, "-" if value is None else f"{value:.1%}", ""))
    rows += [("worst monitor", said, ""), ("stopped seeds", str(len(result["stopped"])), "")]
    heads = (f"{seeds} seeds", "interquartile mean", "95 % interval")
    emit(json_output, result, lambda c: c.print(table(heads, rows)))


@app.command()
def online(
    world: Annotated[
        list[str] | None, typer.Option("--world", help="Kind of world; repeatable. All by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Worlds of each kind.")] = 3,
    rounds: Annotated[int, typer.Option(min=10, help="Decisions in each.")] = 20_000,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A part of the agent to leave out; repeatable.")
    ] = None,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """How well an agent chooses that starts from nothing and learns from single clicks; some minutes."""
    from multimodal_dql.bench.online import KINDS, bench_online

    result = bench_online(world or KINDS, seeds, rounds, without or (), seed)
    rows = [
        (kind, f"{found['random']:.3f}", name, f"{r['ratio']:.3f}", f"{r['rounds_per_second']:,.0f}")
        for kind, found in result["worlds"].items()
        for name, r in found.items()
        if name != "random"
    ]
    heads = ("world", "random", "agent", "chosen / best click rate", "rounds/s")
    emit(json_output, result, lambda c: c.print(table(heads, rows)))


@app.command()
def mushroom(
    data: Annotated[
        Path,
        typer.Option("--data", help="Folder or file of the UCI Mushroom table (datasets show mushroom)."),
    ],
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Runs, each with its own mushrooms and luck.")
    ] = 30,
    rounds: Annotated[int, typer.Option(min=100, max=1_000_000, help="Mushrooms of a run.")] = 50_000,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Regret of the Bayesian head on the Mushroom table, next to linear Thompson sampling; some minutes."""
    from multimodal_dql.bench.mushroom import bench_mushroom

    result = bench_mushroom(data, seeds=seeds, rounds=rounds)
    rows = []
    for name in ("head", "linear_thompson"):
        found = result[name]
        interval = "[{:.2f}, {:.2f}]".format(*found["interval"]) if found["interval"] else "-"
        worst = max(found["per_seed"])
        rows.append((name, f"{found['mean']:.2f}", interval, f"{worst:.2f}", f"{found['seconds_a_run']:.0f}"))
    rows += [(name, value, "", "", "") for name, value in result["reference"].items()]
    heads = ("policy", "regret, % of choosing evenly", "95 % interval", "worst seed", "s a run")
    emit(json_output, result, lambda c: c.print(table(heads, rows)))
