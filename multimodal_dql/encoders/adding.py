"""A card written from a model's own files: `encoders add`.

What a folder or file is, is read from its layout; what its embedding is, is measured by running it once. Nothing is
copied: the card names the files where they lie, or the hub and commit they come from, with their hashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.cards import Card, CardFile, card_paths, read_card
from multimodal_dql.encoders.checks import example_samples
from multimodal_dql.encoders.detect import detect
from multimodal_dql.encoders.found import Found
from multimodal_dql.encoders.inputs import checked_encode
from multimodal_dql.encoders.licences import read_licence
from multimodal_dql.encoders.origins import Origin, origin_of, short_name
from multimodal_dql.encoders.paths import user_cards
from multimodal_dql.encoders.reasons import first_fault
from multimodal_dql.encoders.registry import add_card_text, encoder_names, load_card
from multimodal_dql.encoders.runtimes.card_encoder import UNKNOWN
from multimodal_dql.encoders.sources import sha256_of
from multimodal_dql.errors import EncoderError

__all__ = ["Added", "add_source", "card_toml", "partners"]

Scalar = str | int | float | bool

_POOLINGS: dict[Modality, tuple[str, ...]] = {
    "text": ("none", "mean"),
    "image": ("none", "cls"),
    "audio": ("none", "mean"),
}
"""Tried in turn where the files do not say: a vector an item as it is, else what is usual for the modality."""


@dataclass(frozen=True)
class Added:
    """A card that was written.

    Attributes:
        card: what is in it.
        path: where it is.
        assumed: settings that nothing in the files said, name -> value; the user should look at them.

    """

    card: Card
    path: Path
    assumed: Mapping[str, Any] = field(default_factory=dict)


def add_source(
    source: str | Path,
    *,
    name: str | None = None,
    modality: Modality | None = None,
    licence: str | None = None,
    languages: tuple[str, ...] = (),
    space: str = "",
    settings: Mapping[str, Scalar | tuple[Scalar, ...]] | None = None,
    out: Path | None = None,
) -> Added:
    """Writes a card for the model at `source`.

    Args:
        source: a folder as `transformers` or sentence-transformers write it, a folder with a SavedModel, one with
            ``model.json`` and ``model.safetensors`` (Keras), an ``.onnx`` or a ``.tflite`` file; or ``owner/name`` on
            Hugging Face, ``@REVISION`` after it if wanted, or a handle of TensorFlow Hub.
        name: of the encoder; made from that of the source if None.
        modality: what the model reads; found out if None.
        licence: SPDX identifier; read from the model's README or LICENSE if None.
        languages: ISO 639-1 codes a text encoder understands; any if empty.
        space: name of the space it shares with encoders of other modalities; none if empty.
        settings: of ``preprocessing``, over what was found.
        out: folder for the card; the user's cards if None.

    Raises:
        EncoderError: the source is not understood, not safe, or has no licence; says what to do.

    """
    given = str(source)
    chosen = name if name is not None else _name_of(given)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", chosen):
        raise EncoderError(
            name=chosen,
            detail="a name is made of a-z, 0-9, '.', '_' and '-'; choose one with --name",
            detail_zh="名称只能由 a-z、0-9、“.”、“_”、“-” 组成；请用 --name 指定",
        )
    if chosen in encoder_names():
        raise EncoderError(
            name=chosen,
            detail=f"this name is taken; choose another with --name, or delete {user_cards() / chosen} if it is yours",
            detail_zh=f"该名称已被占用；请用 --name 另选，若是您自己的，可删除 {user_cards() / chosen}",
        )
    origin = origin_of(chosen, given, modality)
    found = detect(chosen, origin.path, modality)
    said = licence or read_licence(origin.path if origin.path.is_dir() else origin.path.parent)
    if said is None:
        raise EncoderError(
            name=chosen,
            detail=f"no licence is named in {given} (README.md or LICENSE); look it up and give it: --licence "
            "Apache-2.0",
            detail_zh=f"{given} 中没有写明许可证（README.md 或 LICENSE）；请查明后给出：--licence Apache-2.0",
        )
    try:
        card = Card(
            name=chosen,
            modality=found.modality,
            runtime=found.runtime,
            dim=1,
            summary=f"{origin.title}, {origin.added[0]}",
            summary_zh=f"{origin.title}，{origin.added[1]}",
            licence=said,
            citation=(not origin.homepage and found.citation) or origin.title,
            homepage=origin.homepage,
            languages=languages or found.languages,
            space=space,
            signature=found.signature,
            pooling=found.pooling or "none",
            normalisation=found.normalisation,
            preprocessing={**found.preprocessing, **(settings or {})},
            files=tuple(_file(file, path, origin) for file, path in sorted(found.files.items())),
        )
    except ValidationError as error:
        place, wrong, wrong_zh = first_fault(error)
        raise EncoderError(
            name=chosen,
            detail=f"no card can be made of this: {place}: {wrong}",
            detail_zh=f"无法由此生成卡片：{place}：{wrong_zh}",
        ) from error
    measured = _measured(card, found)
    _check_space(measured)
    text = card_toml(measured)
    path = add_card_text(chosen, text, out)
    assumed = {key: value for key, value in found.assumed.items() if key not in (settings or {})}
    return Added(read_card(path), path, assumed)


def card_toml(card: Card) -> str:
    """`card` as the text of a ``card.toml``."""
    lines = []
    facts = card.model_dump(mode="json", exclude={"files", "preprocessing"}, exclude_defaults=True)
    lines += [f"{key} = {_toml(value)}" for key, value in facts.items()]
    if card.preprocessing:
        lines += ["", "[preprocessing]"]
        lines += [f"{key} = {_toml(value)}" for key, value in card.preprocessing.items()]
    for file in card.files:
        lines += ["", "[[files]]", f"name = {_toml(file.name)}", f"sha256 = {_toml(file.sha256)}"]
        lines += [f"bytes = {file.bytes}"] if file.bytes is not None else []
        sources = [
            "{ " + ", ".join(f"{key} = {_toml(value)}" for key, value in source.model_dump().items()) + " }"
            for source in file.sources
        ]
        lines += [f"sources = [{', '.join(sources)}]"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    plain = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(plain.get(c, c if c.isprintable() else f"\\u{ord(c):04x}") for c in str(value)) + '"'


def _name_of(given: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", short_name(given).lower()).strip("-._") or "encoder"


def _file(name: str, path: Path, origin: Origin) -> CardFile:
    sources = (origin.source(name, path),)
    return CardFile(name=name, sha256=sha256_of(path), bytes=path.stat().st_size, sources=sources)


def _measured(card: Card, found: Found) -> Card:
    """`card` with the pooling that fits and the dimension that comes of it."""
    problem: EncoderError | None = None
    for candidate in _candidates(card, found):
        try:
            encoder = load_card(candidate.model_copy(update={"dim": UNKNOWN}))
            dim = int(checked_encode(encoder, example_samples(card.modality)[:2]).shape[1])
        except EncoderError as error:
            if "write pooling" not in str(error):
                raise
            problem = error
            continue
        return Card.model_validate({**candidate.model_dump(), "dim": dim})
    raise problem or EncoderError(name=card.name, detail="it gives no embedding", detail_zh="没有得到向量")


def partners(card: Card) -> list[Card]:
    """Cards of other modalities that say the same space as `card`."""
    if not card.space:
        return []
    found = []
    for path in card_paths().values():
        try:
            other = read_card(path)
        except EncoderError:
            continue  # `encoders list` names it
        if other.space == card.space and other.modality != card.modality:
            found.append(other)
    return found


def _check_space(card: Card) -> None:
    """Raises `EncoderError` where another encoder of the space gives vectors of another length."""
    for other in partners(card):
        if other.dim != card.dim:
            raise EncoderError(
                name=card.name,
                detail=f"it cannot share the space '{card.space}' with '{other.name}': {card.dim} numbers against "
                f"{other.dim}; give another --space, or none",
                detail_zh=f"它与 “{other.name}” 的维度不同（{card.dim} 与 {other.dim}），"
                f"不可能同属空间 “{card.space}”；请换一个 --space，或不写",
            )


def _candidates(card: Card, found: Found) -> Iterator[Card]:
    if found.pooling is not None:
        yield card
        return
    poolings = _POOLINGS[card.modality]
    last = "mean" if card.runtime in ("hub", "keras", "litert") else poolings[1]
    for pooling in (poolings[0], last):
        yield card.model_copy(update={"pooling": pooling})
