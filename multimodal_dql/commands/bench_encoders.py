"""`bench encoders`: what every encoder adds on real outcomes, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.bench_logs import app
from multimodal_dql.commands.common import encoder_list
from multimodal_dql.commands.options import JsonOpt, LangOpt, SeedOpt
from multimodal_dql.terminal import emit, language, progress, table

__all__ = ["app"]


@app.command()
def encoders(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CATALOGUE_OR_TESTS",
            help="With impressions and clicks: variants by item, or arms by test (headline, image, audio).",
        ),
    ],
    names: Annotated[
        str | None,
        typer.Option(
            "--encoders",
            help="Names, or folders with cards (with a /), separated by commas; else all that are here.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="300 sampled tests.")] = False,
    repeats: Annotated[
        int, typer.Option(min=1, max=20, help="Repeats of the five-fold cross-validation.")
    ] = 1,
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """What every encoder adds to the prediction of real outcomes, its time and memory: whether a bigger one pays."""
    from multimodal_dql.bench.encoders import bench_encoders

    chosen = None if names is None else encoder_list(names)
    with progress() as tick:
        result = bench_encoders(source, chosen, quick=quick, repeats=repeats, seed=seed, progress=tick)
    emit(json_output, result, lambda console: _print(result, console))


_PAYS = {1: ("adds", "有增益"), -1: ("harms", "有损失"), 0: ("not shown", "未能证明")}


def _print(result: dict[str, Any], console: Any) -> None:
    zh = language() == "zh"
    rows = [
        (
            e["name"],
            e["dim"],
            f"{e['milliseconds']:.2f}",
            f"{e['peak_megabytes']:,}",
            _points(e["adds"]["pairs"], signed=True),
            _PAYS[_sign(e["adds"]["pairs"])][zh],
        )
        for e in result["encoders"]
    ]
    console.print(
        table(
            ("编码器", "维度", "毫秒/项", "MB", "配对增益（百分点）", "结论")
            if zh
            else ("encoder", "dim", "ms/item", "MB", "adds to pairs, points", "verdict"),
            rows,
        )
    )
    combined = [
        (
            " + ".join(c["encoders"]) or _baseline(result, zh),
            _points(c["pairs"]),
            _points(c["pairs_significant"]),
            _points(c["lift"], signed=True),
        )
        for c in result["combinations"]
    ]
    console.print(
        table(
            ("组合", "配对正确 %", "显著配对 %", "选中者点击 %")
            if zh
            else ("combination", "pairs right, %", "significant pairs, %", "clicks over average, %"),
            combined,
        )
    )
    counts = f"{result['tests']:,}", f"{result['pairs']:,}", f"{result['significant_pairs']:,}"
    console.print(
        "{} 个测试，{} 对变体（其中 {} 对差异显著）；按连通分量交叉验证，[ ] 为 95 % 区间".format(*counts)
        if zh
        else "{} tests, {} pairs of arms, {} of them significant; cross-validated by component, "
        "95 % intervals in [ ]".format(*counts),
        markup=False,
        highlight=False,
    )


def _baseline(result: dict[str, Any], zh: bool) -> str:
    text = result["baseline"].startswith("style")
    if zh:
        return "仅文体与用词" if text else "无（同等）"
    return "style and words alone" if text else "none: every arm alike"


def _sign(found: dict[str, float]) -> int:
    return int(found["low"] > 0) - int(found["high"] < 0)


def _points(found: dict[str, float], *, signed: bool = False) -> str:
    """A share in percent, or a difference in points, with its interval."""
    sign = "+" if signed else ""
    value, low, high = (f"{100 * found[key]:{sign}.1f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]".replace("-", "\N{MINUS SIGN}")
