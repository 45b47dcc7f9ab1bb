"""``prior fit`` and ``prior score``: what past A/B tests say about texts that nobody has seen yet."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from multimodal_dql.commands.common import encoder_list
from multimodal_dql.commands.options import JsonOpt, LangOpt, SeedOpt
from multimodal_dql.errors import UnknownNameError
from multimodal_dql.terminal import announce, emit, language, progress, table

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Expectations about unseen variants, learned from past A/B tests."
)

ENCODERS = ("use-multilingual", "minilm", "mpnet-layer7")
"""What reads headlines best together (docs/headlines.md); the second and third read English alone."""
AUTO = "auto"


@app.command()
def fit(
    tests: Annotated[
        Path,
        typer.Argument(metavar="TESTS", help="CSV, CSV.gz or Parquet: test, headline, impressions, clicks."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Directory of the prior.")] = Path("run"),
    encoders: Annotated[
        str,
        typer.Option(
            help="Names, or folders with cards (with a /), separated by commas; auto: of "
            f"{', '.join(ENCODERS)} those that read most of the headlines and can be had."
        ),
    ] = AUTO,
    repeats: Annotated[
        int, typer.Option(min=1, max=20, help="Repeats of the five-fold cross-validation.")
    ] = 3,
    risk_window: Annotated[
        str,
        typer.Option(
            help="Upworthy tests of the risk window: train (learn from them, never score them), or drop them."
        ),
    ] = "train",
    seed: SeedOpt = 0,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Learn from past tests, say by cross-validation how well, and write RUN/prior.json and prior.safetensors.

    With a picture encoder in --encoders, pictures are used if they are shown to help in the cross-validation.
    """
    from dataclasses import replace

    import numpy as np

    from multimodal_dql.datasets.ab_tests import Pool, read_ab_tests
    from multimodal_dql.encoders.registry import encoder_info
    from multimodal_dql.prior import (
        calibration,
        cross_validate,
        fit_prior,
        gain,
        headline_contents,
        pairs_of,
        ranking,
        recalibrated,
        targets,
        write_prior,
    )
    from multimodal_dql.report.output import writable_folder
    from multimodal_dql.simulation.engagement_noise import overdispersion

    began = time.perf_counter()
    names = encoder_list(encoders)
    automatic = names == [AUTO]
    if risk_window not in ("drop", "train"):
        raise UnknownNameError(
            kind="way with the risk window",
            kind_zh="风险时段处理方式",
            name=risk_window,
            known=("drop", "train"),
        )
    seeing = not automatic and any(encoder_info(name).modality == "image" for name in names)
    pool: Pool | None = None if seeing else "text"
    clean = read_ab_tests(tests, pool=pool, pictures=seeing)
    # What compares nothing cleanly still tells what gets clicked; it is learned from, and never scored.
    read = read_ab_tests(
        tests,
        pool=pool,
        srm_window="keep" if risk_window == "train" else "drop",
        one_arm="keep",
        pictures=seeing,
    )
    writable_folder(out)
    if automatic:
        names = _fitting_encoders([headline for headline in read.headlines if headline])
    with progress() as tick:
        contents = headline_contents(read, names, progress=tick)
    noise = overdispersion(clean.replicates, seed=seed)[0]
    scored = read.judged
    arms, pairs = scored[read.test], pairs_of(clean)
    checked = cross_validate(read, contents, repeats=repeats, seed=seed, scored=scored, noise=noise)
    pictures = None
    if seeing and contents.vectors:
        blind = contents.only(tuple(contents.vectors))
        without = cross_validate(read, blind, repeats=repeats, seed=seed, scored=scored, noise=noise)
        more = gain(checked.mean[:, arms], without.mean[:, arms], clean, pairs, seed=seed)["pairs_all"]
        pictures = {"used": more.low > 0.0, "gain": more.value, "interval": [more.low, more.high]}
        if not pictures["used"]:
            contents, checked, names = blind, without, list(blind.encoders)
    prior = fit_prior(read, contents, noise=noise, seed=seed)
    figures = ranking(checked.mean[:, arms], clean, pairs, seed=seed).as_dict()
    observed = targets(clean, prior.overdispersion)
    shrink, factor = recalibrated(observed, checked.mean[0, arms], checked.sd[0, arms])
    mean, sd = shrink * checked.mean[0, arms], factor * checked.sd[0, arms]
    fits = calibration(observed, mean, sd).as_dict()
    facts = {
        **prior.facts,
        "base_rate": float(clean.clicks.sum() / clean.impressions.sum()),
        "risk_window": risk_window,
        "pictures": pictures,
        "cross_validated": figures,
        "calibration": fits,
        "shrink": shrink,
        "sd_factor": factor,
        "typical_sd": float(np.median(sd)),
        "blank_sd": prior.blank_sd * factor,
        "repeats": repeats,
        "folds": 5,
    }
    prints = {name: encoder_info(name).fingerprint for name in names}
    prior = replace(prior, shrink=shrink, sd_factor=factor, fingerprints=prints, facts=facts)
    paths = write_prior(prior, out)
    result = {
        "run": str(out),
        "model": str(paths[0]),
        "encoders": names,
        "tau": prior.hyper.tau,
        **facts,
        "cleaning": dict(read.cleaning),
        "seconds": round(time.perf_counter() - began, 1),
    }
    emit(json_output, result, lambda console: _print_fit(result, console))
    announce(f"wrote {paths[0]} and {paths[1].name}", f"已写入 {paths[0]} 与 {paths[1].name}")


@app.command()
def score(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CATALOGUE_OR_TESTS", help="Variants by item, or headlines by test; no counts."
        ),
    ],
    prior: Annotated[Path, typer.Option("--prior", metavar="RUN", help="Directory written by prior fit.")],
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Score every row of a file: its expected effect on the click rate (logit) against its siblings."""
    from multimodal_dql.prior import check_encoders, read_prior, read_text_rows, score_rows

    fitted = read_prior(prior)
    check_encoders(fitted, prior)
    rows = read_text_rows(source)
    with progress() as tick:
        scores = score_rows(fitted, rows, progress=tick)
    unknown = sum(not s.known for s in scores)
    if unknown:
        announce(
            f"{unknown} of {len(rows)} rows have no text, or one in no language of the encoders: they score 0 with the"
            " full uncertainty",
            f"{len(rows)} 行中有 {unknown} 行没有文字，或其语言不在编码器范围内：得分为 0，不确定性取最大",
        )
    result = {
        "rows": [
            {"item_id": r.item_id, "variant_id": r.variant_id, "score": s.score, "low": s.low, "high": s.high}
            for r, s in zip(rows, scores, strict=True)
        ]
    }
    emit(json_output, result, lambda console: _print_scores(result["rows"], console))


def _fitting_encoders(headlines: list[str]) -> list[str]:
    """Those of `ENCODERS` that read most of the headlines and can be had; says which are left out, and why."""
    from multimodal_dql.encoders.languages import covers
    from multimodal_dql.encoders.registry import encoder_languages, encoder_states, fetch_encoder
    from multimodal_dql.errors import EncoderUnavailable

    states = {info.name: state for info, state in encoder_states() if info.name in ENCODERS}
    names = []
    for name in ENCODERS:
        languages = encoder_languages(name)
        if 2 * sum(covers(languages, headline) for headline in headlines) < len(headlines):
            announce(
                f"{name} reads {', '.join(languages)} alone, as most of the headlines are not: left out",
                f"{name} 只能读取 {'、'.join(languages)}，而多数标题并非该语言：不使用",
            )
            continue
        if states.get(name) == "needs the network":
            announce(f"fetching {name}, once", f"正在获取 {name}（仅此一次）")
        try:
            fetch_encoder(name)
        except EncoderUnavailable as error:
            announce(f"the prior does without {name}: {error}", f"先验不使用 {name}：{error.text('zh')}")
            continue
        names.append(name)
    return names or list(ENCODERS[:1])


def _print_fit(result: dict[str, Any], console: Any) -> None:
    zh = language() == "zh"
    figures = result["cross_validated"]
    names = (
        ("pairs_all", "pairs", "所有配对"),
        ("pairs_significant", "pairs that differ significantly", "差异显著的配对"),
        ("top1", "winner named", "选中优胜者"),
    )
    rows = [
        (
            name_zh if zh else name,
            _share(figures[key]),
            " - ".join(map(_share, figures["intervals"][key])),
            f"{figures['top1_random']:.1%}" if key == "top1" else "50.0%",
        )
        for key, name, name_zh in names
    ]
    heads = (
        ("交叉验证", "数值", "95 % 区间", "随机") if zh else ("cross-validated", "value", "95 %", "random")
    )
    console.print(table(heads, rows))
    between, compared = result["tests_of_level"], result["tests"]
    if between:
        console.print(
            f"从 {compared:,} 个有对照的测试学习哪条标题胜出，从全部 {between:,} 个测试学习哪类文字有人点"
            if zh
            else f"which headline wins was learned from {compared:,} tests that compare, what gets clicked from all "
            f"{between:,}"
        )
    if result["pictures"]:
        found = result["pictures"]
        low, high = found["interval"]
        told = f"{found['gain']:+.2%} [{low:+.2%}, {high:+.2%}]"
        used = "used" if found["used"] else "not used: no gain shown"
        used_zh = "采用" if found["used"] else "未采用：未见增益"
        console.print(
            f"图片使配对准确率变化 {told}，{used_zh}" if zh else f"pictures change pairs by {told}: {used}"
        )
    fits = result["calibration"]
    console.print(
        f"残差方差 {fits['residual_variance']:.2f}（应为 1），斜率 {fits['slope']:.2f}（应为 1）"
        if zh
        else f"residual variance {fits['residual_variance']:.2f} (should be 1), slope {fits['slope']:.2f} (should be 1)"
    )
    heads = ("预测效应", "观测效应", "标准误", "变体") if zh else ("predicted", "observed", "s.e.", "arms")
    console.print(
        table(
            heads,
            [
                (f"{b['predicted']:+.3f}", f"{b['observed']:+.3f}", f"{b['standard_error']:.3f}", b["arms"])
                for b in fits["table"]
            ],
        )
    )


def _share(value: float | None) -> str:
    return "?" if value is None else f"{value:.1%}"


def _print_scores(rows: list[dict[str, Any]], console: Any) -> None:
    zh = language() == "zh"
    heads = ("条目", "变体", "得分", "95 % 区间") if zh else ("item", "variant", "score", "95 %")
    console.print(
        table(
            heads,
            [
                (r["item_id"], r["variant_id"], f"{r['score']:+.3f}", f"{r['low']:+.3f} .. {r['high']:+.3f}")
                for r in rows
            ],
        )
    )
