"""``engagement fit`` and ``engagement check``: the engagement model from past A/B tests, and how well it fits them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from multimodal_dql.commands.options import JsonOpt, LangOpt, OutOpt, SeedOpt
from multimodal_dql.errors import UnknownNameError
from multimodal_dql.terminal import announce, emit, language

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="How clicks behave, learned from past A/B tests.")

TestsArg = Annotated[
    Path,
    typer.Argument(metavar="TESTS", help="CSV, CSV.gz or Parquet: test, variant, impressions, clicks."),
]
PoolOpt = Annotated[
    str | None,
    typer.Option("--pool", help="Rows that are one arm: text, arm or none. Default: what suits the file."),
]


@app.command()
def fit(
    tests: TestsArg,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Directory of the model.")] = Path("run"),
    pool: PoolOpt = None,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Fit the engagement model to past A/B tests and write RUN/engagement.json."""
    from multimodal_dql.report.engagement import print_model
    from multimodal_dql.report.output import writable_folder, write_text
    from multimodal_dql.simulation.engagement import PARAMETERS, EngagementModel
    from multimodal_dql.simulation.engagement_json import FILE_NAME, model_to_json

    read = _read(tests, pool)
    writable_folder(out)
    model = EngagementModel.fit(read, seed=seed)
    path = write_text(out / FILE_NAME, model_to_json(model))
    result = {
        "run": str(out),
        "model": str(path),
        "parameters": {
            name: {
                "value": getattr(model, name),
                "low": model.intervals[name][0],
                "high": model.intervals[name][1],
            }
            for name in PARAMETERS
        },
        "arm_shares": {str(k): share for k, share in enumerate(model.arm_shares, start=2)},
        "replicate_groups": model.evidence.replicate_groups,
        "pool": read.pool,
        "cleaning": dict(read.cleaning),
    }
    emit(json_output, result, lambda console: print_model(model, read.cleaning, console, language()))
    announce(f"wrote {path}", f"已写入 {path}")


@app.command()
def check(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory written by engagement fit.")],
    tests: TestsArg,
    out: OutOpt = None,
    draws: Annotated[int, typer.Option(min=20, max=10_000, help="Simulated copies of the tests.")] = 200,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Compare real A/B tests with copies drawn from the model."""
    from multimodal_dql.report.engagement import print_check, write_check
    from multimodal_dql.report.output import writable_folder
    from multimodal_dql.simulation.engagement_check import check as compare
    from multimodal_dql.simulation.engagement_json import read_engagement

    model = read_engagement(run)
    read = _read(tests, model.evidence.pool)
    if out is not None:
        writable_folder(out)
    found = compare(model, read, seed=seed, draws=draws)
    result = found.as_dict()
    if out is not None:
        page = write_check(out / "index.html", found, model, language())
        result["report"] = str(page)
        announce(f"wrote {page}", f"已写入 {page}")
    emit(json_output, result, lambda console: print_check(found, console, language()))


def _read(path: Path, pool: str | None) -> Any:
    """The tests; raises `UnknownNameError` for a way of pooling that is not known."""
    from multimodal_dql.datasets.ab_tests import Pool, read_ab_tests

    if pool not in (None, "text", "arm", "none"):
        raise UnknownNameError(kind="pooling", kind_zh="合并方式", name=pool, known=("text", "arm", "none"))
    return read_ab_tests(path, pool=cast("Pool | None", pool))
