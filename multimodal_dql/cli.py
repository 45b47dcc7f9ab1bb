"""One command for each job; every arrow of the two walks is one visible call here.

Results go to stdout, progress and messages to stderr; with ``--json`` stdout holds exactly one JSON object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.errors import RunError, UsageError
from multimodal_dql.terminal import announce, emit, language, progress, set_language, table

__all__ = ["app", "language"]

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Rank variants, and prove the choice offline."
)
encoders_app = typer.Typer(
    no_args_is_help=True, help="The models that turn pictures, texts and sounds into vectors."
)
datasets_app = typer.Typer(no_args_is_help=True, help="Data sets, and the check of your own catalogue.")
bench_app = typer.Typer(no_args_is_help=True, help="Measurements, each next to a reference.")
app.add_typer(encoders_app, name="encoders")
app.add_typer(datasets_app, name="datasets")
app.add_typer(bench_app, name="bench")

CatalogueArg = Annotated[
    Path, typer.Argument(metavar="CATALOGUE", help="CSV, JSONL or Parquet, one row a variant.")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
LangOpt = Annotated[
    str,
    typer.Option(
        "--lang", callback=set_language, envvar="MULTIMODAL_DQL_LANG", help="en or zh.", is_eager=True
    ),
]
SeedOpt = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of everything random.")]
StrictOpt = Annotated[bool, typer.Option("--strict", help="Stop at the first file that cannot be used.")]
EncodersOpt = Annotated[str, typer.Option("--encoders", help="Names, separated by commas.")]
AgentOpt = Annotated[Path, typer.Option("--agent", metavar="RUN", help="Directory of a training run.")]
OutOpt = Annotated[Path | None, typer.Option("--out", help="Folder for the results.")]
DEFAULT_ENCODERS = "use-multilingual,efficientnet-lite0,speech-embedding"


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Rank thumbnail, headline and audio variants, and prove the choice offline."""
    if version:
        from multimodal_dql import __version__

        typer.echo(__version__)
        raise typer.Exit


def _features(catalogue: Any, encoders: list[str], strict: bool) -> Any:
    """Encode a catalogue, with a progress bar on a terminal."""
    from multimodal_dql.features import features

    with progress() as tick:
        encoded = features(catalogue, encoders, strict=strict, progress=tick)
    announce(
        f"{len(encoded.catalogue.items)} stories, {len(encoded.catalogue.variants)} variants: "
        f"{encoded.encoded} embeddings made, {encoded.cached} from the cache, {encoded.seconds:.1f} s",
        f"{len(encoded.catalogue.items)} 个条目，{len(encoded.catalogue.variants)} 个变体："
        f"新编码 {encoded.encoded} 个，缓存 {encoded.cached} 个，用时 {encoded.seconds:.1f} 秒",
    )
    for problem in encoded.skipped:
        announce(f"left out: {problem.text('en')}", f"已略过：{problem.text('zh')}")
    return encoded


def _names(encoders: str) -> list[str]:
    """Split a list of encoder names; empty means a mistake."""
    names = [name.strip() for name in encoders.split(",") if name.strip()]
    if not names:
        raise UsageError(
            detail="--encoders is empty; name at least one", detail_zh="--encoders 为空；请至少写一个名称"
        )
    return names


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
    from multimodal_dql.report import TrainingCurve, print_comparison, ranking_to_dict, write_html
    from multimodal_dql.report.output import writable_folder
    from multimodal_dql.training import TrainConfig, read_metrics, train

    run = writable_folder(out / "run")
    encoded = _features(read_catalogue(build_demo()), list(DEFAULT_ENCODERS), strict=False)
    with progress() as tick:
        agent, world, seconds = _timed(
            lambda: train(
                encoded, TrainConfig(iterations=iterations, seed=seed), run=run, progress=tick.training
            )
        )
    ranking = rank(agent, encoded)
    test = offline_test(agent, world, encoded, seed=seed, sessions=sessions)
    page = write_html(
        out / "index.html",
        ranking=ranking,
        catalogue=encoded.catalogue,
        comparisons=test.comparisons,
        control=test.control,
        training=TrainingCurve(*read_metrics(run)),
        lang=language(),
    )
    _write_json(out / "ranking.json", ranking_to_dict(ranking))
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
        "report": str(page),
    }
    emit(
        json_output,
        result,
        lambda console: print_comparison(test.comparisons, console, language(), control=control),
    )
    announce(f"open {page.resolve()} in a browser", f"请用浏览器打开 {page.resolve()}")


def _timed(work: Any) -> Any:
    """The two results of `work`, and the seconds it took."""
    import time

    start = time.perf_counter()
    first, second = work()
    return first, second, time.perf_counter() - start


def _write_json(path: Path, value: Any) -> None:
    """Write a value as UTF-8 JSON."""
    import json

    from multimodal_dql.report.output import write_text

    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


@app.command()
def encode(
    catalogue: CatalogueArg,
    encoders: EncodersOpt = DEFAULT_ENCODERS,
    strict: StrictOpt = False,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Turn every variant into embeddings, once; the second run takes them from the cache."""
    from multimodal_dql.datasets.catalogue import read_catalogue

    encoded = _features(read_catalogue(catalogue), _names(encoders), strict)
    result = {
        "items": len(encoded.catalogue.items),
        "variants": len(encoded.catalogue.variants),
        "encoded": encoded.encoded,
        "cached": encoded.cached,
        "seconds": round(encoded.seconds, 3),
        "encoders": [{"name": e.name, "modality": e.modality, "dim": e.dim} for e in encoded.encoders],
        "skipped": [problem.text(language()) for problem in encoded.skipped],
    }
    rows = [(e["name"], e["modality"], e["dim"]) for e in result["encoders"]]
    emit(json_output, result, lambda console: console.print(table(("encoder", "modality", "dim"), rows)))


@app.command()
def train(
    catalogue: CatalogueArg,
    out: Annotated[Path, typer.Option("--out", help="Directory of the run.")] = Path("run"),
    encoders: EncodersOpt = DEFAULT_ENCODERS,
    iterations: Annotated[int, typer.Option(min=1, help="Rounds of simulate-then-learn.")] = 40,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of Adam, at the start.")] = 2e-3,
    discount: Annotated[
        float, typer.Option(min=0.0, max=0.999, help="Worth of a click one story later.")
    ] = 0.8,
    sessions: Annotated[int, typer.Option(min=100, help="Simulated sessions of the test afterwards.")] = 4000,
    seed: SeedOpt = 0,
    strict: StrictOpt = False,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Train an agent on a catalogue in front of a simulated audience, and test it on stories it did not see."""
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.pipeline import offline_test
    from multimodal_dql.report import comparison_to_dict, print_comparison
    from multimodal_dql.report.output import writable_folder
    from multimodal_dql.training import TrainConfig
    from multimodal_dql.training import train as learn

    names, read = _names(encoders), read_catalogue(catalogue)
    writable_folder(out)
    encoded = _features(read, names, strict)
    config = TrainConfig(iterations=iterations, learning_rate=learning_rate, discount=discount, seed=seed)
    with progress() as tick:
        agent, world, seconds = _timed(lambda: learn(encoded, config, run=out, progress=tick.training))
    test = offline_test(agent, world, encoded, seed=seed, sessions=sessions)
    result = {
        "run": str(out),
        "train_seconds": round(seconds, 2),
        "comparisons": [comparison_to_dict(c) for c in test.comparisons],
        "control": comparison_to_dict(test.control),
    }
    emit(
        json_output, result, lambda c: print_comparison(test.comparisons, c, language(), control=test.control)
    )


@app.command()
def rank(
    catalogue: CatalogueArg,
    agent: AgentOpt,
    context: Annotated[
        list[str] | None, typer.Option("--context", metavar="NAME=VALUE", help="Fix the audience.")
    ] = None,
    out: OutOpt = None,
    strict: StrictOpt = False,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Rank the variants of every story: who comes first, how sure, and why."""
    from multimodal_dql.agent import Agent
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.rank import rank as rank_catalogue
    from multimodal_dql.report import print_ranking, ranking_to_dict, write_csv, write_html
    from multimodal_dql.report.output import writable_folder

    read = read_catalogue(catalogue)
    learned = Agent.load(agent)
    pairs = context or []
    fixed = learned.context.parse(pairs)
    if out is not None:
        writable_folder(out)
    encoded = _features(read, list(learned.encoders), strict)
    shown = dict(pair.split("=", 1) for pair in pairs)
    ranking = rank_catalogue(learned, encoded, fixed, shown=shown)
    result = ranking_to_dict(ranking)
    if out is not None:
        write_html(out / "index.html", ranking=ranking, catalogue=encoded.catalogue, lang=language())
        write_csv(ranking, out / "ranking.csv", encoded.catalogue, lang=language())
        _write_json(out / "ranking.json", result)
        announce(
            f"wrote {out}/index.html, ranking.csv, ranking.json",
            f"已写入 {out}/index.html、ranking.csv、ranking.json",
        )
    emit(json_output, result, lambda console: print_ranking(ranking, encoded.catalogue, console, language()))


@app.command()
def simulate(
    catalogue: CatalogueArg,
    agent: AgentOpt,
    sessions: Annotated[int, typer.Option(min=100, help="Sessions, each met by every policy.")] = 4000,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Offline A/B simulation: the agent against "always the first" and "any at random", same users, same luck."""
    from multimodal_dql.agent import Agent
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.pipeline import offline_test
    from multimodal_dql.report import comparison_to_dict, print_comparison
    from multimodal_dql.simulation.audience import World
    from multimodal_dql.state import candidate_table
    from multimodal_dql.training import read_audience

    read, audience = read_catalogue(catalogue), read_audience(agent)
    learned = Agent.load(agent)
    if audience.widths != learned.projection.widths:
        raise RunError(
            path=agent,
            detail="its audience.json belongs to another run; copy the run again or train anew",
            detail_zh="其中的 audience.json 属于另一个运行；请重新复制或重新训练",
        )
    encoded = _features(read, list(learned.encoders), strict=False)
    candidates = candidate_table(encoded, learned.projection)
    world = World.draw(audience, candidates, seed)
    test = offline_test(learned, world, encoded, seed=seed, sessions=sessions)
    result = {
        "design": "paired",
        "comparisons": [comparison_to_dict(c) for c in test.comparisons],
        "control": comparison_to_dict(test.control),
    }
    emit(
        json_output, result, lambda c: print_comparison(test.comparisons, c, language(), control=test.control)
    )


@encoders_app.command("list")
def encoders_list(json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """The encoders that can be used by name."""
    from multimodal_dql.encoders.registry import encoder_info, encoder_names, encoder_problems

    infos = [encoder_info(name) for name in encoder_names()]
    for problem in encoder_problems():
        announce(problem.text("en"), problem.text("zh"))
    result = {"encoders": [{"name": e.name, "modality": e.modality, "dim": e.dim} for e in infos]}
    rows = [(e.name, e.modality, e.dim) for e in infos]
    emit(json_output, result, lambda console: console.print(table(("encoder", "modality", "dim"), rows)))


@encoders_app.command("show")
def encoders_show(name: str, lang: LangOpt = "en") -> None:
    """The card of an encoder: what it is, where its weights come from, under which licence."""
    from multimodal_dql.encoders.registry import encoder_card, encoder_info

    info, card = encoder_info(name), encoder_card(name)
    typer.echo(
        card.model_dump_json(indent=1)
        if card
        else f"{info.name}: a plug-in class, {info.modality}, {info.dim}"
    )


@encoders_app.command("fetch")
def encoders_fetch(names: list[str], lang: LangOpt = "en") -> None:
    """Fetch the files of encoders into the cache, so that later runs need no network."""
    from multimodal_dql.encoders.registry import fetch_encoder

    for name in names:
        files = fetch_encoder(name)
        announce(f"{name}: {len(files)} files are here", f"{name}：{len(files)} 个文件已就绪")


@encoders_app.command("check")
def encoders_check(name: str, json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """Run the public checks on an encoder."""
    from multimodal_dql.encoders.checks import example_samples, iter_checks
    from multimodal_dql.encoders.registry import load_encoder

    encoder = load_encoder(name)
    samples = example_samples(encoder.modality)
    passed = []
    for check in iter_checks():
        check(encoder, samples)
        passed.append(check.name)
    emit(
        json_output,
        {"encoder": name, "passed": passed},
        lambda c: c.print(table(("check",), [(p,) for p in passed])),
    )


@datasets_app.command("list")
def datasets_list(json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """The data sets that this package knows."""
    from multimodal_dql.datasets.cards import dataset_cards

    cards = dataset_cards()
    result = {"datasets": [card.model_dump(mode="json") for card in cards]}
    rows = [(card.name, card.title, card.licence) for card in cards]
    emit(json_output, result, lambda console: console.print(table(("data set", "title", "licence"), rows)))


@datasets_app.command("show")
def datasets_show(name: str, lang: LangOpt = "en") -> None:
    """What a data set is and how to get it."""
    from multimodal_dql.datasets.cards import dataset_card

    typer.echo(dataset_card(name).model_dump_json(indent=1))


@datasets_app.command("check")
def datasets_check(catalogue: CatalogueArg, json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """Data-quality report of a catalogue; exits 2 when something must be fixed."""
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.datasets.quality import check_catalogue
    from multimodal_dql.terminal import print_quality

    report = check_catalogue(read_catalogue(catalogue))
    emit(json_output, report.as_dict(), lambda console: print_quality(report, console, language()))
    if report.must_fix:
        raise typer.Exit(2)


@bench_app.command("encode")
def bench_encode(json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """Items a second of every built-in encoder on one thread."""
    from multimodal_dql.bench.encode import bench_encode as measure

    result = measure()
    rows = [
        (modality, name, f"{rate:,.0f}", str(result["reference"].get(modality, {}).get(name, "")))
        for modality in ("text", "image", "audio")
        for name, rate in result[modality].items()
    ]
    emit(json_output, result, lambda c: c.print(table(("modality", "what", "items/s", "reference"), rows)))
