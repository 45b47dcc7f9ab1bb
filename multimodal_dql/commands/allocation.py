"""``allocation fit``: learn, from past A/B tests, how to share out the traffic of the next ones."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from multimodal_dql.commands.options import JsonOpt, LangOpt, SeedOpt
from multimodal_dql.terminal import announce, emit, language, progress, table

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Sharing out the traffic of a test, learned from past A/B tests."
)


@app.command()
def fit(
    tests: Annotated[
        Path,
        typer.Argument(metavar="TESTS", help="CSV, CSV.gz or Parquet: test, variant, impressions, clicks."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Directory of the policy.")] = Path("run"),
    rounds: Annotated[
        int, typer.Option(min=1, max=10_000, help="Rounds of learning, 2,048 simulated tests each.")
    ] = 120,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Fit the engagement model to past tests, learn to allocate in it, and write RUN/allocation.json."""
    from dataclasses import asdict

    from multimodal_dql.allocation.file import write_allocation
    from multimodal_dql.allocation.training import AllocationConfig, train_allocation
    from multimodal_dql.datasets.ab_tests import read_ab_tests
    from multimodal_dql.report.output import writable_folder
    from multimodal_dql.simulation.engagement import EngagementModel

    began = time.perf_counter()
    read = read_ab_tests(tests)
    writable_folder(out)
    model = EngagementModel.fit(read, seed=seed)
    config = AllocationConfig().of_rounds(rounds)
    with progress() as tick:
        policy = train_allocation(model, config, seed=seed, progress=lambda i, n, _: tick("rounds", i, n))
    facts = {"tests": read.G, "arms": read.A, "seed": seed, "training": asdict(config)}
    paths = write_allocation(policy, out, facts)
    result = {
        "run": str(out),
        "policy": str(paths[0]),
        "base_rate": policy.base_rate,
        "blank_sd": policy.blank_sd,
        **facts,
        "cleaning": dict(read.cleaning),
        "seconds": round(time.perf_counter() - began, 1),
    }
    zh = language() == "zh"
    rows = [
        ("过去的测试" if zh else "past tests", f"{read.G:,}"),
        ("模拟的测试" if zh else "simulated tests", f"{rounds * config.environments:,}"),
        ("平均点击率" if zh else "typical click rate", f"{policy.base_rate:.2%}"),
        ("变体之间的标准差" if zh else "spread of the arms (logit)", f"{policy.blank_sd:.3f}"),
    ]
    emit(json_output, result, lambda console: console.print(table(("", ""), rows)))
    announce(f"wrote {paths[0]} and {paths[1].name}", f"已写入 {paths[0]} 与 {paths[1].name}")
