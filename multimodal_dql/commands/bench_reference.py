"""`bench ope-reference`: published tables of off-policy evaluation, again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.bench_agent import app
from multimodal_dql.commands.options import JsonOpt, LangOpt
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
