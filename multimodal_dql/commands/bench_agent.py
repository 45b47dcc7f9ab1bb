"""`bench NAME`, continued: how well and how fast agents learn and decide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.bench import app
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
