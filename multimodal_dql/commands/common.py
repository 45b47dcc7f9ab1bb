"""Steps that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.terminal import announce, progress

__all__ = ["encode_catalogue", "encode_file", "encode_for", "encoder_list", "timed", "write_json"]


def encode_catalogue(catalogue: Any, encoders: list[str], strict: bool) -> Any:
    """Encode a catalogue, with a progress bar on a terminal."""
    from multimodal_dql.features import features

    with progress() as tick:
        encoded = features(catalogue, encoders, strict=strict, progress=tick)
    _tell(encoded, len(encoded.catalogue.items), len(encoded.catalogue.variants))
    return encoded


def encode_for(agent: Any, run: Path, catalogue: Any, strict: bool) -> Any:
    """Encode a catalogue as an agent wants it, with what past tests expect where it was trained with that."""
    from multimodal_dql.past_tests import PastTests

    past = PastTests.of_run(run, agent)
    encoded = encode_catalogue(catalogue, list(agent.encoders), strict)
    if past is None:
        return encoded
    with progress() as tick:
        return past.beside(encoded, progress=tick)


def encode_file(catalogue: Path, encoders: list[str], strict: bool, engine: str) -> Any:
    """Encode a catalogue of any size into the cache, here or on a Ray cluster, with a progress bar on a terminal."""
    from contextlib import nullcontext

    from multimodal_dql.encoding_stream import encode_file as encode

    if engine not in _ENGINES:
        raise UnknownNameError(kind="engine", kind_zh="执行引擎", name=engine, known=_ENGINES)
    with _ray_engine() if engine == "ray" else nullcontext() as where, progress() as tick:
        encoded = encode(catalogue, encoders, strict=strict, progress=tick, engine=where)
    _tell(encoded, encoded.items, encoded.variants)
    return encoded


_ENGINES = ("local", "ray")


def _ray_engine() -> Any:
    from multimodal_dql.encoding_ray import RayEngine

    return RayEngine()


def _tell(encoded: Any, items: int, variants: int) -> None:
    announce(
        f"{items} stories, {variants} variants: "
        f"{encoded.encoded} embeddings made, {encoded.cached} from the cache, {encoded.seconds:.1f} s",
        f"{items} 个条目，{variants} 个变体："
        f"新编码 {encoded.encoded} 个，缓存 {encoded.cached} 个，用时 {encoded.seconds:.1f} 秒",
    )
    for problem in encoded.skipped:
        announce(f"left out: {problem.text('en')}", f"已略过：{problem.text('zh')}")


def encoder_list(encoders: str) -> list[str]:
    """Names of encoders in a list of names and of folders with cards; empty means a mistake."""
    names: list[str] = []
    for part in (part.strip() for part in encoders.split(",")):
        if "/" in part or part.startswith("."):
            from multimodal_dql.encoders.registry import use_cards

            names += use_cards(Path(part).expanduser())
        elif part:
            names.append(part)
    if not names:
        raise UsageError(
            detail="--encoders is empty; name at least one", detail_zh="--encoders 为空；请至少写一个名称"
        )
    return names


def timed(work: Any) -> Any:
    """The two results of `work`, and the seconds it took."""
    import time

    start = time.perf_counter()
    first, second = work()
    return first, second, time.perf_counter() - start


def write_json(path: Path, value: Any) -> None:
    """Write a value as UTF-8 JSON."""
    import json

    from multimodal_dql.report.output import write_text

    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")
