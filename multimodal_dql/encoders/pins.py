"""Hashes that a card leaves open, written down at the first fetch and binding from then on.

A card may say ``sha256 = "first-fetch"`` for a file whose hash its author could not see. The rule: only
`encoders fetch NAME` takes such a file, once; it writes the SHA-256, the size and the commit it got into
``<the user's cards>/.pins/NAME.json``. Everything else uses the file with exactly that hash or refuses it. A card
that changes its sources loses its pins.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from multimodal_dql.encoders.cards import FIRST_FETCH, Card, CardFile, HuggingFaceSource
from multimodal_dql.encoders.paths import user_cards
from multimodal_dql.encoders.places import atomic_write
from multimodal_dql.errors import EncoderError

__all__ = ["Pin", "pin_path", "wanted", "with_pins", "write_pins"]


class Pin(BaseModel):
    """What one file was when it was fetched; `wanted` is how the card asked for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wanted: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]
    revision: Annotated[str, Field(pattern=r"^([0-9a-f]{40})?$")] = ""


class _Pins(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, Pin]


def pin_path(card: Card) -> Path:
    """Where the pins of `card` are kept."""
    return user_cards() / ".pins" / f"{card.name}.json"


def with_pins(card: Card) -> Card:
    """`card` with the hashes, sizes and commits that were written down for its open files."""
    if card.pinned:
        return card
    path = pin_path(card)
    try:
        pins = _Pins.model_validate_json(path.read_bytes()).files
    except FileNotFoundError:
        return card
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise EncoderError(
            name=card.name,
            detail=f"{path} is damaged ({reason}); delete it and run: multimodal-dql encoders fetch {card.name}",
            detail_zh=f"{path} 已损坏（{reason}）；请删除后运行：multimodal-dql encoders fetch {card.name}",
        ) from error
    files = tuple(_pinned(file, pins.get(file.name)) for file in card.files)
    return card.model_copy(update={"files": files})


def write_pins(card: Card, found: dict[str, Pin]) -> None:
    """Writes `found` (file name -> pin) down beside what is written down already."""
    with atomic_write(pin_path(card)) as out:
        files = {name: pin.model_dump() for name, pin in sorted(found.items())}
        out.write(json.dumps({"files": files}, indent=1).encode())


def wanted(file: CardFile) -> str:
    """How a card asks for `file`: its sources as JSON."""
    return json.dumps([source.model_dump() for source in file.sources], sort_keys=True)


def _pinned(file: CardFile, pin: Pin | None) -> CardFile:
    if file.sha256 != FIRST_FETCH or pin is None or pin.wanted != wanted(file):
        return file
    sources = tuple(
        source.model_copy(update={"revision": pin.revision})
        if isinstance(source, HuggingFaceSource) and source.revision == FIRST_FETCH and pin.revision
        else source
        for source in file.sources
    )
    return file.model_copy(update={"sha256": pin.sha256, "bytes": pin.bytes, "sources": sources})
