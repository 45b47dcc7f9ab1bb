"""``config.json`` of a run directory, read without trust: it may be cut short, edited by hand or made to do harm.

Every number that decides about memory or indexes into something is bounded here, before anything is built from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from multimodal_dql.errors import RunError
from multimodal_dql.run_file import incomplete, read_settings

__all__ = ["RunConfig", "read_config"]

Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
NotNegative = Annotated[float, Field(ge=0.0, le=1e12)]
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
    # A run is of an agent that decides by clicks, or by bins of Q; the other forms of the network are the scenarios'.
    advantage: Literal["click_and_later", "whole"] = "click_and_later"
    value_scale: float = Field(default=1.0, ge=1.0, le=1.0)
    bins: int = Field(default=0, ge=0, le=512)
    bin_low: Finite = 0.0
    bin_high: Finite = 10.0
    audience: Width | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.advantage == "whole") != (self.bins >= 2) or not self.bin_low < self.bin_high:
            raise ValueError("advantage and bins do not fit")
        return self


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
    modality: Literal["image", "text", "audio", "image-text", "audio-text", "past-tests"]
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
    last_layer_sha256: str
    network: _Network
    base_rate: float = Field(gt=0.0, lt=1.0)
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
    data = read_settings(folder)
    if int(data["schema_version"]) < 2:
        raise RunError(
            path=folder,
            detail="was trained by an older version, without the last layer that probabilities come from; train anew",
            detail_zh="由较旧的版本训练，缺少用于计算概率的最后一层；请重新训练",
        )
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(str(part) for part in found["loc"][:4])
        raise incomplete(folder, f"{place}: {found['msg']}" if place else found["msg"]) from error
