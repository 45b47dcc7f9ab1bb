"""`encoders list|show|check|add|fetch`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from multimodal_dql.commands.options import JsonOpt, LangOpt
from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.terminal import announce, emit, language, table

if TYPE_CHECKING:
    from multimodal_dql.encoders.base import Encoder, Modality

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The models that turn pictures, texts and sounds into vectors.")

_SAMPLES = 160
"""Items of a catalogue that are encoded for the sheet of neighbours."""

_TIMED_SECONDS = 1.0
_LEAST_CALLS, _LONG_SECONDS = 3, 5.0
"""So many calls are timed, unless one takes longer than a user would wait."""

_SLOW = 1.0
"""Items a second below which a user is told what that means."""

_FACTS = {
    "name": ("name", "名称"),
    "runtime": ("runtime", "运行方式"),
    "modality": ("modality", "模态"),
    "dim": ("dim", "维度"),
    "licence": ("licence", "许可证"),
    "space": ("space", "空间"),
}
"""Of a card that was added."""

_STATES = {
    "installed": ("installed", "已安装"),
    "cached": ("cached", "已缓存"),
    "needs the network": ("needs the network", "需要联网"),
}


@app.command("list")
def list_(json_output: JsonOpt = False, lang: LangOpt = "en") -> None:
    """The encoders that can be used by name, and whether their files are here."""
    from multimodal_dql.encoders.registry import encoder_problems, encoder_states

    states = encoder_states()
    problems = encoder_problems()
    for problem in problems:
        announce(problem.text("en"), problem.text("zh"))
    result = {
        "encoders": [
            {"name": info.name, "modality": info.modality, "dim": info.dim, "state": state}
            for info, state in states
        ],
        "problems": [
            {
                "name": str(p.fields.get("name", "")),
                "detail": str(p.fields["detail"]) if "detail" in p.fields else p.text("en"),
            }
            for p in problems
        ],
    }
    place = 1 if language() == "zh" else 0
    rows = [(info.name, info.modality, info.dim, _STATES[state][place]) for info, state in states]
    columns = ("编码器", "模态", "维度", "状态") if place else ("encoder", "modality", "dim", "state")
    emit(json_output, result, lambda console: console.print(table(columns, rows)))


@app.command("show")
def show(name: str, lang: LangOpt = "en") -> None:
    """The card of an encoder: what it is, where its weights come from, under which licence."""
    from multimodal_dql.encoders.registry import encoder_card, encoder_info

    info, card = encoder_info(name), encoder_card(name)
    if card:
        typer.echo(card.model_dump_json(indent=1))
    elif language() == "zh":
        typer.echo(f"{info.name}：插件类，{info.modality}，{info.dim} 维")
    else:
        typer.echo(f"{info.name}: a plug-in class, {info.modality}, {info.dim}")


@app.command("fetch")
def fetch(names: list[str], lang: LangOpt = "en") -> None:
    """Fetch the files of encoders into the cache, so that later runs need no network.

    Files whose hash a card leaves open are taken as they come, this once: their hashes are written down and binding.
    """
    from multimodal_dql.encoders.registry import fetch_encoder

    for name in names:
        files = fetch_encoder(name)
        announce(f"{name}: {len(files)} files are here", f"{name}：{len(files)} 个文件已就绪")


@app.command("add")
def add(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of a model (transformers, sentence-transformers, SavedModel, Keras), .onnx or .tflite file, "
            "or OWNER/NAME[@REVISION] on Hugging Face.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the encoder; else that of SOURCE.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option("--modality", help="text, image or audio; else found out.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="SPDX name, e.g. Apache-2.0; else read from SOURCE.")
    ] = None,
    languages: Annotated[
        str, typer.Option("--languages", help="Codes of the languages it understands, e.g. en,zh; else any.")
    ] = "",
    space: Annotated[
        str,
        typer.Option(
            "--space", help="Space it shares with an encoder of another modality (CLIP), e.g. clip-vit-b32."
        ),
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A preprocessing setting, e.g. mean=127.5; repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the card; else your own cards, known everywhere.")
    ] = None,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Write a card for a model: its kind found out, its dimension measured, its files hashed.

    A model of Hugging Face is fetched first, at one commit, and needs no network afterwards.
    """
    from multimodal_dql.encoders.adding import add_source, partners

    _no_more_than_there_is()
    if modality is not None and modality not in ("text", "image", "audio"):
        raise UnknownNameError(
            kind="modality", kind_zh="模态", name=modality, known=("text", "image", "audio")
        )
    added = add_source(
        source,
        name=name,
        modality=cast("Modality | None", modality),
        licence=licence,
        languages=tuple(code.strip() for code in languages.split(",") if code.strip()),
        space=space.strip(),
        settings=_settings(settings or []),
        out=out,
    )
    card = added.card
    if added.assumed:
        said = ", ".join(f"{key} = {value}" for key, value in added.assumed.items())
        announce(
            f"assumed, for the files do not say: {said}; change it with --set, or in the card",
            f"文件未说明，按此假定：{said}；可用 --set 或在卡片中修改",
        )
    if card.space and not partners(card):
        announce(
            f"no encoder of another modality is in the space '{card.space}' yet; until one is, nothing is compared",
            f"空间 “{card.space}” 中还没有其他模态的编码器；在此之前不会进行比较",
        )
    announce(
        f"wrote {added.path}; see what it finds alike: multimodal-dql encoders check {card.name} --out SHEET",
        f"已写入 {added.path}；查看它认为相似的内容：multimodal-dql encoders check {card.name} --out SHEET",
    )
    result = {
        "name": card.name,
        "card": str(added.path),
        "runtime": card.runtime,
        "modality": card.modality,
        "dim": card.dim,
        "licence": card.licence,
        "space": card.space,
        "assumed": dict(added.assumed),
    }
    place = 1 if language() == "zh" else 0
    rows = [(names[place], result[key]) for key, names in _FACTS.items() if result[key]]
    emit(json_output, result, lambda console: console.print(table(("", ""), rows)))


@app.command("check")
def check(
    name: str,
    catalogue: Annotated[
        Path | None,
        typer.Option("--catalogue", metavar="CATALOGUE", help="Items for the sheet; else the demo's."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for NAME.html, a sheet of nearest neighbours.")
    ] = None,
    json_output: JsonOpt = False,
    lang: LangOpt = "en",
) -> None:
    """Run the public checks on an encoder; how fast it is, how much memory it takes, what it finds alike."""
    from multimodal_dql.encoders.checks import example_samples, iter_checks
    from multimodal_dql.encoders.registry import load_encoder

    _no_more_than_there_is()
    encoder = load_encoder(name)
    samples = example_samples(encoder.modality)
    passed = []
    for check in iter_checks():
        check(encoder, samples)
        passed.append(check)
    speed = _items_per_second(encoder, samples)
    if speed < _SLOW:
        hours = 10_000 / speed / 3600
        announce(
            f"'{name}' is slow: 10,000 items take {hours:,.1f} hours, once; then they are cached",
            f"“{name}” 较慢：10,000 项需 {hours:,.1f} 小时（仅一次，之后有缓存）",
        )
    if out is not None:
        items = _items(encoder.modality, catalogue)
        _sheet(encoder, items, out / f"{name}.html", speed)
    memory, zh = _peak_megabytes(), language() == "zh"
    result = {
        "encoder": name,
        "passed": [check.name for check in passed],
        "items_per_second": round(speed, 1),
        "peak_megabytes": memory,
    }
    rows = [
        *((check.name_zh if zh else check.name, "") for check in passed),
        ("每秒项数" if zh else "items a second", f"{speed:,.0f}"),
        ("内存峰值（MB）" if zh else "peak memory, MB", f"{memory:,}"),
    ]
    emit(json_output, result, lambda c: c.print(table(("检查" if zh else "check", ""), rows)))


def _no_more_than_there_is() -> None:
    """Bounds the memory of this process by what the machine has: a model that asks for more fails, and takes nothing
    else down with it.
    """
    import os
    import resource

    there_is = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = there_is + mapped
    if most == resource.RLIM_INFINITY or wanted < most:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` with the value as in TOML; a bare word is a string."""
    import tomllib

    out: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip().isidentifier():
            raise UsageError(
                detail=f"--set {pair}: write NAME=VALUE, e.g. --set side=224",
                detail_zh=f"--set {pair}：请写 NAME=VALUE，例如 --set side=224",
            )
        try:
            read = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            read = value
        out[key.strip()] = tuple(read) if isinstance(read, list) else read
    return out


def _items_per_second(encoder: Encoder, samples: Sequence[Any]) -> float:
    """By the median call: one in which something is compiled or loaded does not count."""
    import statistics
    import time

    seconds: list[float] = []
    while sum(seconds) < _TIMED_SECONDS or (len(seconds) < _LEAST_CALLS and max(seconds) < _LONG_SECONDS):
        began = time.perf_counter()
        encoder.encode(samples)
        seconds.append(time.perf_counter() - began)
    return len(samples) / statistics.median(seconds)


def _peak_megabytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _items(modality: Modality, catalogue: Path | None) -> list[Any]:
    """Decoded items of one modality, the first `_SAMPLES` that differ."""
    from multimodal_dql.datasets.catalogue import read_catalogue
    from multimodal_dql.datasets.demo import build_demo
    from multimodal_dql.encoders.inputs import content_key, decoded, source
    from multimodal_dql.errors import InputError

    read = read_catalogue(catalogue if catalogue is not None else build_demo())
    todo: dict[bytes, Any] = {}
    for variant in read.variants:
        try:
            key = content_key(variant, modality)
        except InputError:
            continue
        if key is not None and len(todo) < _SAMPLES:
            todo.setdefault(key, variant)
    sources = [given for variant in todo.values() if (given := source(variant, modality)) is not None]
    items = [item for item in decoded(modality, sources) if not isinstance(item, InputError)]
    if len(items) < 2:
        raise UsageError(
            detail=f"{read.path} holds fewer than two items with {modality}; name another catalogue",
            detail_zh=f"{read.path} 中含 {modality} 的条目不足两个；请换一个目录",
        )
    return items


def _sheet(encoder: Encoder, items: list[Any], path: Path, speed: float) -> None:
    from multimodal_dql.encoders.inputs import checked_encode
    from multimodal_dql.report.neighbours import write_neighbours
    from multimodal_dql.report.texts import Texts

    vectors = checked_encode(encoder, items)
    write_neighbours(
        path,
        Texts(language()),
        name=encoder.name,
        items=items,
        vectors=vectors,
        speed=speed,
        memory=_peak_megabytes(),
    )
    announce(f"wrote {path}", f"已写入 {path}")
