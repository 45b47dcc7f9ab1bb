"""``config.json`` of a run directory, read without trust: it may be cut short, edited by hand or made to do harm.

Every number that decides about memory or indexes into something is bounded here, before anything is built from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from multimodal_dql.errors import RunError

__all__ = [
    "SCHEMA_VERSION",
    "RunConfig",
    "read_config",
    "read_file",
    "read_weights",
    "sync_folder",
    "write_file",
    "write_run",
]

SCHEMA_VERSION = 1
WEIGHTS = "weights.safetensors"
NEW_WEIGHTS = ".weights.safetensors.new"
"""Where weights are until the configuration that vouches for them is in place."""
LARGEST_FILE = 1 << 30
"""Bytes of a file in a run directory; a run over a hundred thousand stories stays far below."""

Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
NotNegative = Annotated[float, Field(ge=0.0, le=1e12)]
# Of a logarithm: ten standard deviations are a factor of 20,000.
Variance = Annotated[float, Field(ge=0.0, le=100.0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Width = Annotated[int, Field(ge=1, le=4096)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Network(_Part):
    widths: list[Width] = Field(min_length=1, max_length=64)
    context_width: Width
    record_width: Width
    hidden: int = Field(ge=1, le=4096)
    members: int = Field(ge=1, le=256)
    modality_dropout: Share
    content_noise: NotNegative
    seed: int = Field(ge=0, lt=2**31)


class _Spread(_Part):
    floor: Variance
    factor: float = Field(ge=0.0, le=1000.0)
    story: Variance


class _Context(_Part):
    name: Name
    kind: Literal["category", "number", "cycle"]
    values: list[Name] = Field(max_length=4096)
    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "category" and not self.values:
            raise ValueError("a category without values")
        if self.kind != "category" and not self.low < self.high:
            raise ValueError("low is not below high")
        return self

    def holds(self, value: float) -> bool:
        """Whether a typical user can have this value."""
        if self.kind == "category":
            return value.is_integer() and 0 <= value < len(self.values)
        return self.low <= value <= self.high


class _Encoder(_Part):
    name: Name
    modality: Literal["image", "text", "audio"]
    fingerprint: Name


class _Winner(_Part):
    item_id: str
    variant_id: str
    caption: str
    lift: Finite
    present: list[Annotated[int, Field(ge=0, le=1)]]
    content: list[Finite]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    training: dict[str, Any] = Field(default_factory=dict)


class RunConfig(_Part):
    """The configuration of a run; fields as in `multimodal_dql.agent.Agent`."""

    weights_sha256: str
    network: _Network
    base_rate: float = Field(gt=0.0, lt=1.0)
    spread: _Spread
    context: list[_Context] = Field(min_length=1, max_length=256)
    encoders: list[_Encoder] = Field(min_length=1, max_length=64)
    fold: list[Annotated[int, Field(ge=0)]]
    item_ids: list[str]
    winners: list[_Winner]
    audience: list[list[Finite]] = Field(min_length=1)
    facts: _Facts

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({f.name for f in self.context}) < len(self.context):
            raise ValueError("context: a name appears twice")
        if len({e.name for e in self.encoders}) < len(self.encoders):
            raise ValueError("encoders: a name appears twice")
        if len(self.network.widths) != len(self.encoders):
            raise ValueError("network: not one width for each encoder")
        for user in self.audience:
            if len(user) != len(self.context) or not all(
                f.holds(v) for f, v in zip(self.context, user, strict=True)
            ):
                raise ValueError("audience: a user does not fit the context")
        if len(set(self.item_ids)) < len(self.item_ids) or len(self.item_ids) not in (0, len(self.fold)):
            raise ValueError("item_ids: not one for each story")
        if self.fold and max(self.fold) >= self.network.members:
            raise ValueError("fold: more folds than members")
        for winner in self.winners:
            if (len(winner.present), len(winner.content)) != (len(self.encoders), sum(self.network.widths)):
                raise ValueError("winners: their content does not fit the network")
        return self


def read_config(folder: Path) -> RunConfig:
    """The configuration of a run, or a `RunError` that says what is wrong."""
    if not (folder / "config.json").is_file():
        raise RunError(
            path=folder,
            detail="is not a run directory (no config.json); make one with: multimodal-dql train CATALOGUE --out RUN",
            detail_zh="不是运行目录（没有 config.json）；请先执行：multimodal-dql train CATALOGUE --out RUN",
        )
    try:
        data = json.loads(read_file(folder / "config.json"))
        version = int(data["schema_version"])
    # RecursionError: a thousand brackets; OverflowError: Infinity as a version.
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _incomplete(folder, "") from error
    if version > SCHEMA_VERSION:
        raise RunError(
            path=folder,
            detail=f"was written by a newer version (schema {version}, this one reads up to {SCHEMA_VERSION}); "
            "upgrade multimodal-dql",
            detail_zh=f"由更新的版本写成（架构 {version}，当前最多支持 {SCHEMA_VERSION}）；请升级 multimodal-dql",
        )
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(str(part) for part in found["loc"][:4])
        raise _incomplete(folder, f"{place}: {found['msg']}" if place else found["msg"]) from error


def read_file(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """A file of a run directory. Raises OSError when it is missing, ValueError when it is no ordinary file or huge."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode) or info.st_size > largest:
        raise ValueError("not an ordinary file of reasonable size")
    return path.read_bytes()


def read_weights(folder: Path, sha256: str) -> bytes:
    """The weights that the configuration names, in their place or not yet. Raises OSError or ValueError."""
    for name in (NEW_WEIGHTS, WEIGHTS):
        if name == WEIGHTS or (folder / name).exists():
            weights = read_file(folder / name)
            if hashlib.sha256(weights).hexdigest() == sha256:
                return weights
    raise ValueError("hash")


def write_run(folder: Path, weights: bytes, config: bytes) -> None:
    """Write weights beside the old ones, the configuration that holds their hash, then rename the weights.

    Interrupted at any moment, the folder still holds a whole run: the old one or the new one.
    """
    _settle(folder)
    write_file(folder / NEW_WEIGHTS, weights)
    write_file(folder / "config.json", config)
    (folder / NEW_WEIGHTS).replace(folder / WEIGHTS)
    sync_folder(folder)


def _settle(folder: Path) -> None:
    """Finish a write that was interrupted just before its last step, or drop what it left."""
    new = folder / NEW_WEIGHTS
    if not new.exists():
        return
    try:
        sha256 = json.loads(read_file(folder / "config.json"))["weights_sha256"]
        whole = hashlib.sha256(read_file(new)).hexdigest() == sha256
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if whole:
        new.replace(folder / WEIGHTS)
    else:
        new.unlink()


def write_file(path: Path, data: bytes) -> None:
    """Write to a neighbour, then rename: a reader sees the old file or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder reach the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _incomplete(folder: Path, found: str) -> RunError:
    # What pydantic says may quote the file; keep it short and printable.
    told = "".join(c if c.isprintable() else "?" for c in found.removeprefix("Value error, "))[:160]
    told = f" ({told})" if told else ""
    return RunError(
        path=folder / "config.json",
        detail=f"is not a complete configuration{told}; copy the run again or train anew",
        detail_zh=f"配置不完整{told}；请重新复制该运行或重新训练",
    )
