"""One command for each job; every arrow of the two walks is one visible call here.

Results go to stdout, progress and messages to stderr; with ``--json`` stdout holds exactly one JSON object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from multimodal_dql.commands import allocation, bench_encoders, datasets, encoders, engagement, events, prior
from multimodal_dql.commands.common import encode_catalogue, encode_file, encoder_list, timed, write_json
from multimodal_dql.commands.evaluate import evaluate
from multimodal_dql.commands.options import (
    DEFAULT_ENCODERS,
    CardsOpt,
    CatalogueArg,
    EncodersOpt,
    JsonOpt,
    LangOpt,
    OutOpt,
    SeedOpt,
    StrictOpt,
)
from multimodal_dql.commands.power import power
from multimodal_dql.commands.rank import rank_with_agent, rank_with_prior
from multimodal_dql.commands.simulate import simulate
from multimodal_dql.commands.train import train
from multimodal_dql.errors import UsageError
from multimodal_dql.terminal import announce, emit, language, progress, table

__all__ = ["app", "language"]

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Rank variants, and prove the choice offline."
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Rank thumbnail, headline and audio variants, and prove the choice offline."""
    if version:
        from multimodal_dql import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the page and the run.")] = Path(
        "demo-report"
    ),
    seed: SeedOpt = 0,
    iterations: Annotated[int, typer.Option(min=1, help="Rounds of simulate-then-learn.")] = 40,
    sessions: Annotated[int, typer.Option(min=100, help="Simulated sessions of each policy.")] = 4000,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Build the demo catalogue, train, rank it, simulate it against "always the first", and write the page."""
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.datasets.demo import build_demo
    from multimodal_dql.encoders.registry import DEFAULT_ENCODERS
    from multimodal_dql.pipeline import offline_test
    from multimodal_dql.rank import rank
    from multimodal_dql.report import (
        TrainingCurve,
        print_comparison,
        print_stability,
        ranking_to_dict,
        reliability_to_list,
        stability_to_dict,
        write_html,
    )
    from multimodal_dql.report.output import writable_folder
    from multimodal_dql.stability import read_stability
    from multimodal_dql.training import TrainConfig, read_metrics
    from multimodal_dql.training import train as learn

    run = writable_folder(out / "run")
    encoded = encode_catalogue(read_catalogue(build_demo()), list(DEFAULT_ENCODERS), strict=False)
    with progress() as tick:
        agent, world, seconds = timed(
            lambda: learn(
                encoded, TrainConfig(iterations=iterations, seed=seed), run=run, progress=tick.training
            )
        )
    ranking = rank(agent, encoded)
    test = offline_test(agent, world, encoded, seed=seed, sessions=sessions)
    stability = read_stability(run)
    page = write_html(
        out / "index.html",
        ranking=ranking,
        catalogue=encoded.catalogue,
        comparisons=test.comparisons,
        control=test.control,
        training=TrainingCurve(*read_metrics(run)),
        stability=stability,
        reliability=test.reliability,
        lang=language(),
    )
    write_json(out / "ranking.json", ranking_to_dict(ranking))
    found = {c.against: {"uplift": c.uplift, "low": c.low, "high": c.high} for c in test.comparisons}
    control = test.control
    result = {
        "items": len(encoded.catalogue.items),
        "variants": len(encoded.catalogue.variants),
        "skipped": len(encoded.skipped),
        "encode_seconds": round(encoded.seconds, 2),
        "train_seconds": round(seconds, 2),
        "learned_over_first": found["first"],
        "learned_over_uniform": found["uniform"],
        "control_over_first": {"uplift": control.uplift, "low": control.low, "high": control.high},
        "stability": stability_to_dict(stability),
        "reliability": reliability_to_list(test.reliability),
        "report": str(page),
    }

    def show(console: Any) -> None:
        print_comparison(test.comparisons, console, language(), control=control)
        print_stability(stability, console, language())

    emit(json_output, result, show)
    announce(f"open {page.resolve()} in a browser", f"请用浏览器打开 {page.resolve()}")


@app.command()
def encode(
    catalogue: CatalogueArg,
    encoders: EncodersOpt = DEFAULT_ENCODERS,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            help="local, or ray: on a Ray cluster (RAY_ADDRESS), or all processors of this machine.",
        ),
    ] = "local",
    strict: StrictOpt = False,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Turn every variant into embeddings, once; killed and started again, it goes on where it was."""
    encoded = encode_file(catalogue, encoder_list(encoders), strict, engine)
    result = {
        "items": encoded.items,
        "variants": encoded.variants,
        "encoded": encoded.encoded,
        "cached": encoded.cached,
        "seconds": round(encoded.seconds, 3),
        "encoders": [{"name": e.name, "modality": e.modality, "dim": e.dim} for e in encoded.encoders],
        "skipped": [problem.text(language()) for problem in encoded.skipped],
    }
    rows = [(e["name"], e["modality"], e["dim"]) for e in result["encoders"]]
    emit(json_output, result, lambda console: console.print(table(("encoder", "modality", "dim"), rows)))


@app.command()
def rank(
    catalogue: CatalogueArg,
    agent: Annotated[
        Path | None, typer.Option("--agent", metavar="RUN", help="Directory of a training run.")
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option("--prior", metavar="RUN", help="Directory of prior fit: rank by past A/B tests alone."),
    ] = None,
    encoders: CardsOpt = None,
    context: Annotated[
        list[str] | None, typer.Option("--context", metavar="NAME=VALUE", help="Fix the audience.")
    ] = None,
    out: OutOpt = None,
    strict: StrictOpt = False,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Rank the variants of every story: who comes first, how sure, and why."""
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.report import print_ranking, ranking_to_dict, write_csv, write_html

    if encoders is not None:
        encoder_list(encoders)  # folders of cards become known
    if (agent is None) == (prior is None):
        raise UsageError(
            detail="give --agent RUN (a training run), or --prior RUN (past tests alone), and not both",
            detail_zh="请给出 --agent RUN（训练运行）或 --prior RUN（仅依据过去的测试），二者取其一",
        )
    if prior is not None and context:
        raise UsageError(
            detail="--context fixes the audience of an agent; past tests (--prior) say nothing of it, leave it out",
            detail_zh="--context 用于固定智能体的受众；过去的测试（--prior）不区分受众，请去掉该选项",
        )
    read = read_catalogue(catalogue)
    if agent is not None:
        ranking, ranked = rank_with_agent(agent, read, context or [], strict=strict, out=out)
    else:
        ranking, ranked = rank_with_prior(cast("Path", prior), read, out=out), read
    result = ranking_to_dict(ranking)
    if out is not None:
        write_html(out / "index.html", ranking=ranking, catalogue=ranked, lang=language())
        write_csv(ranking, out / "ranking.csv", ranked, lang=language())
        write_json(out / "ranking.json", result)
        announce(
            f"wrote {out}/index.html, ranking.csv, ranking.json",
            f"已写入 {out}/index.html、ranking.csv、ranking.json",
        )
    emit(json_output, result, lambda console: print_ranking(ranking, ranked, console, language()))


app.command()(train)
app.command()(simulate)
app.command()(power)
app.command()(evaluate)
app.add_typer(engagement.app, name="engagement")
app.add_typer(prior.app, name="prior")
app.add_typer(allocation.app, name="allocation")
app.add_typer(encoders.app, name="encoders")
app.add_typer(datasets.app, name="datasets")
app.add_typer(events.app, name="events")
app.add_typer(bench_encoders.app, name="bench")
