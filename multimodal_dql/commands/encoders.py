"""`encoders list|show|check|fetch`."""

from __future__ import annotations

import typer

from multimodal_dql.commands.options import JsonOpt, LangOpt
from multimodal_dql.terminal import announce, emit, table

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The models that turn pictures, texts and sounds into vectors.")


@app.command("list")
def list_(json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """The encoders that can be used by name."""
    from multimodal_dql.encoders.registry import encoder_info, encoder_names, encoder_problems

    infos = [encoder_info(name) for name in encoder_names()]
    for problem in encoder_problems():
        announce(problem.text("en"), problem.text("zh"))
    result = {"encoders": [{"name": e.name, "modality": e.modality, "dim": e.dim} for e in infos]}
    rows = [(e.name, e.modality, e.dim) for e in infos]
    emit(json_output, result, lambda console: console.print(table(("encoder", "modality", "dim"), rows)))


@app.command("show")
def show(name: str, lang: LangOpt = "en") -> None:
    """The card of an encoder: what it is, where its weights come from, under which licence."""
    from multimodal_dql.encoders.registry import encoder_card, encoder_info

    info, card = encoder_info(name), encoder_card(name)
    typer.echo(
        card.model_dump_json(indent=1)
        if card
        else f"{info.name}: a plug-in class, {info.modality}, {info.dim}"
    )


@app.command("fetch")
def fetch(names: list[str], lang: LangOpt = "en") -> None:
    """Fetch the files of encoders into the cache, so that later runs need no network."""
    from multimodal_dql.encoders.registry import fetch_encoder

    for name in names:
        files = fetch_encoder(name)
        announce(f"{name}: {len(files)} files are here", f"{name}：{len(files)} 个文件已就绪")


@app.command("check")
def check(name: str, json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
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
