"""Measurements of off-policy evaluation: published tables again, seconds and memory, coverage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.bench_agent import app
from multimodal_dql.commands.options import JsonOpt, LangOpt, SeedOpt
from multimodal_dql.terminal import emit, progress, table

__all__ = ["app"]


@app.command("ope-reference")
def ope_reference(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the Open Bandit Dataset (random, bts, prior_bts.yaml).")
    ],
    runs: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Runs of each table; else as many as were published.")
    ] = None,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Relative errors of seven off-policy estimators, next to the tables that zr-obp published; two minutes."""
    from multimodal_dql.bench.ope_reference import ESTIMATORS, PUBLISHED, bench_ope_reference

    with progress() as tick:
        result = bench_ope_reference(data, runs=runs, progress=tick)
    rows = [
        (of, name, f"{result[of][name]:.6f}", *_published(result, of, name))
        for of in PUBLISHED
        for name in ESTIMATORS
    ]
    emit(
        json_output,
        result,
        lambda c: c.print(table(("table", "estimator", "here", "published", "less"), rows)),
    )


def _published(result: dict[str, Any], of: str, name: str) -> tuple[str, str]:
    if of not in result["published"]:
        return "-", "-"
    return f"{result['published'][of][name]:.6f}", f"{result['difference'][of][name]:+.6f}"


@app.command()
def evaluate(
    rows: Annotated[int, typer.Option(min=1000, help="Decisions of the log.")] = 1_000_000,
    actions: Annotated[int, typer.Option(min=2, max=1000, help="Variants of a story.")] = 10,
    bootstraps: Annotated[int, typer.Option(min=0, help="Resamples of each estimator.")] = 1000,
    stream: Annotated[
        bool, typer.Option("--stream", help="Rows come from a Parquet file, at constant memory.")
    ] = False,
    only: Annotated[bool, typer.Option("--only", help="With --stream: no smaller files before it.")] = False,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Seconds and memory of seven off-policy estimators with tuning and bootstraps."""
    from multimodal_dql.bench.evaluate import bench_evaluate

    result = bench_evaluate(rows, actions, bootstraps, stream=stream, only=only, seed=seed)
    kinds = ("rows", "seconds", "processor_seconds", "peak_mb", *(("file_mb",) if stream else ()))
    lines = [tuple(f"{line[kind]:,}" for kind in kinds) for line in result.get("scaling", [result])]
    emit(json_output, result, lambda c: c.print(table(kinds, lines)))


@app.command("ope-coverage")
def ope_coverage(
    logs: Annotated[int, typer.Option(min=10, help="Synthetic logs that pass the gate.")] = 2000,
    repeats: Annotated[int, typer.Option(min=1, help="Logs of each of the 24 settings.")] = 25,
    bootstraps: Annotated[int, typer.Option(min=50, help="Resamples of each log.")] = 1000,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Off-policy intervals on logs with a known truth: how often they hold it, and the choice of estimator."""
    from multimodal_dql.bench.ope_coverage import bench_ope_coverage

    result = bench_ope_coverage(logs, repeats, bootstraps, seed)
    emit(json_output, result, lambda console: _print_coverage(result, console))


def _print_coverage(result: dict[str, Any], console: Any) -> None:
    covered, selection = result["coverage"], result["selection"]
    console.print(
        f"{covered['logs']:,} logs pass the gate, {covered['refused']:,} do not; 95 % intervals hold the truth in "
        f"{covered['headline']:.1%} (headline); any-time intervals in {covered['anytime_all_logs']:.1%} of all logs"
    )
    rows = [
        (
            name,
            *(f"{found[method]:.1%}" for method in ("normal", "bootstrap")),
            f"{selection['mse'][name]:.2e}",
            f"{selection['mean_ratio_to_best_of_setting'][name]:.2f}",
        )
        for name, found in covered["passed"].items()
    ]
    rows.append(
        (
            "chosen",
            "",
            "",
            f"{selection['mse']['chosen']:.2e}",
            f"{selection['mean_ratio_to_best_of_setting']['chosen']:.2f}",
        )
    )
    heads = ("estimator", "normal", "bootstrap", "mean squared error", "over the best of each setting")
    console.print(table(heads, rows))
