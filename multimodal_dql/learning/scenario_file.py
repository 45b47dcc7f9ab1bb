"""A `ScenarioAgent` on disk: ``config.json`` and ``weights.safetensors``, read without trust.

As in a run directory nothing is executed or unpickled, and the configuration holds the hash of the weights. Every
number that decides about memory is bounded before anything is built from it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.errors import RunError
from multimodal_dql.learning.observations import ObservationAdapter
from multimodal_dql.run_file import SCHEMA_VERSION, WEIGHTS, read_file, read_tensors, write_run

__all__ = ["Saved", "read", "write"]

SCALES = ("record_mean", "record_sd", "context_mean", "context_sd")
Width = Annotated[int, Field(ge=1, le=4096)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Finite = Annotated[float, Field(ge=-1e12, le=1e12)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Network(_Part):
    widths: tuple[Width]
    context_width: Width
    record_width: Width
    base_rate: float = Field(gt=0.0, lt=1.0)
    hidden: Width
    members: int = Field(ge=1, le=256)
    modality_dropout: float = Field(ge=0.0, lt=1.0)
    content_noise: float = Field(ge=0.0, le=1e6)
    seed: int = Field(ge=0, lt=2**31)
    advantage: Literal[
        "click_and_later", "reward_and_later", "reward_and_linear", "reward_and_price", "whole"
    ]
    value_scale: float = Field(gt=0.0, le=1e12)
    bins: int = Field(ge=0, le=512)
    bin_low: Finite
    bin_high: Finite
    audience: Width | None


class _Adapter(_Part):
    by_candidate: tuple[Name, ...] = Field(max_length=256)
    by_decision: tuple[Name, ...] = Field(max_length=256)
    content_width: Width
    actions: int = Field(ge=1, le=1 << 20)
    repeats: Literal[1, 2]


class Saved(_Part):
    """The configuration of a saved agent; fields as in `ScenarioAgent`."""

    schema_version: int
    kind: Literal["scenario_agent"]
    weights_sha256: str
    network: _Network
    adapter: _Adapter
    unit: float = Field(gt=0.0, le=1e12)
    batch: int = Field(ge=1, le=1 << 16)
    facts: dict[str, Any]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (
            self.network.widths != (self.adapter.content_width,)
            or self.adapter.actions % self.adapter.repeats
        ):
            raise ValueError("network and adapter do not fit")
        return self


def write(
    folder: Path, network: Any, adapter: ObservationAdapter, unit: float, batch: int, facts: dict[str, Any]
) -> None:
    """Write what `read` reads; interrupted at any moment, the folder holds the old agent or the new one."""
    from safetensors.numpy import save as to_bytes

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"network/{v.path}": np.asarray(v.value) for v in network.weights if v.dtype == "float32"}
    tensors |= {f"adapter/{name}": np.ascontiguousarray(getattr(adapter, name)) for name in SCALES}
    weights = to_bytes(tensors)
    config = {
        "schema_version": SCHEMA_VERSION,
        "kind": "scenario_agent",
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "network": asdict(network.config),
        "adapter": {name: value for name, value in vars(adapter).items() if name not in SCALES},
        "unit": float(unit),
        "batch": batch,
        "facts": facts,
    }
    write_run(folder, {WEIGHTS: weights}, json.dumps(config, ensure_ascii=False, indent=1).encode())


def read(folder: Path) -> tuple[Saved, Any, ObservationAdapter]:
    """The configuration, the network and the adapter.

    Raises:
        RunError: nothing there, something else, a newer version, or files that are damaged or do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    saved = _config(folder)
    try:
        tensors = from_bytes(read_tensors(folder, WEIGHTS, saved.weights_sha256))
        if not all(np.isfinite(t).all() and t.dtype == np.float32 for t in tensors.values()):
            raise ValueError("not finite")
        adapter = ObservationAdapter(
            **saved.adapter.model_dump(), **{n: tensors[f"adapter/{n}"] for n in SCALES}
        )
        widths = (saved.network.record_width,) * 2 + (saved.network.context_width,) * 2
        scales = [getattr(adapter, name) for name in SCALES]
        if (
            any(s.shape != (w,) for s, w in zip(scales, widths, strict=True))
            or min(map(np.min, scales[1::2])) <= 0
        ):
            raise ValueError("adapter")
        # The size in the configuration must be that of the weights before a network of that size is made.
        for layer, width in (("fuse", saved.network.hidden), ("value", max(saved.network.bins, 1))):
            if tensors[f"network/candidate_q_network/{layer}/bias"].shape != (saved.network.members, width):
                raise ValueError("shape")
        network = _network(saved, tensors)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _damaged(folder, "weights and configuration do not match", "权重与配置不符") from error
    return saved, network, adapter


def _config(folder: Path) -> Saved:
    """``config.json``, checked."""
    path = folder / "config.json"
    if not path.is_file():
        raise RunError(
            path=folder,
            detail="holds no saved policy (no config.json); save one with ScenarioAgent.save",
            detail_zh="没有保存的策略（没有 config.json）；请用 ScenarioAgent.save 保存",
        )
    try:
        data = json.loads(read_file(path))
        kind, version = data.get("kind"), data.get("schema_version")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(folder, "config.json is not complete", "config.json 不完整") from error
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunError(
            path=folder,
            detail=f"was written by a newer version (schema {version}, this one reads up to {SCHEMA_VERSION}); "
            "upgrade multimodal-dql",
            detail_zh=f"由更新的版本写成（架构 {version}，当前最多支持 {SCHEMA_VERSION}）；请升级 multimodal-dql",
        )
    if kind != "scenario_agent":
        raise RunError(
            path=folder,
            detail="is something else than a saved policy of a scenario; name the folder of ScenarioAgent.save",
            detail_zh="不是已保存的场景策略；请指定 ScenarioAgent.save 的目录",
        )
    try:
        return Saved.model_validate(data)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"][:3]) or "network"
        raise _damaged(folder, f"config.json, {place[:80]}", f"config.json，{place[:80]}") from error


def _network(saved: Saved, tensors: dict[str, NDArray[np.float32]]) -> Any:
    """Raises KeyError or ValueError where a tensor is missing or has another shape."""
    with silenced():
        from multimodal_dql.network import CandidateQNetwork, NetworkConfig

        network = CandidateQNetwork(NetworkConfig(**saved.network.model_dump()))
        network.build()
    for variable in network.weights:
        if variable.dtype == "float32":
            variable.assign(tensors[f"network/{variable.path}"])
    return network


def _damaged(folder: Path, found: str, found_zh: str) -> RunError:
    return RunError(
        path=folder,
        detail=f"is a damaged policy ({found}); copy it again or train anew",
        detail_zh=f"中的策略已损坏（{found_zh}）；请重新复制或重新训练",
    )
