"""A learned allocation as files: ``allocation.json`` (facts, small numbers) and ``allocation.safetensors`` (weights).

Files may come from anyone: nothing in them is executed, every shape and number is checked before it is used, and the
JSON carries the SHA-256 of the weights. What is read decides as what was written.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from multimodal_dql.allocation.network import AllocationNetwork
from multimodal_dql.allocation.policy import AllocationPolicy
from multimodal_dql.errors import OutputError, RunError
from multimodal_dql.run_file import read_file, write_file
from multimodal_dql.simulation.scenarios.allocation_features import ARM_FEATURES, TEST_FEATURES

__all__ = ["ARRAYS_NAME", "FILE_NAME", "read_allocation", "write_allocation"]

FILE_NAME = "allocation.json"
ARRAYS_NAME = "allocation.safetensors"
_LARGEST = 64 << 20
_CURE = "learn it again: multimodal-dql allocation fit TESTS --out RUN"
_CURE_ZH = "请重新学习：multimodal-dql allocation fit TESTS --out RUN"


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal["multimodal-dql allocation 1"] = "multimodal-dql allocation 1"
    arrays_sha256: str
    arm_features: list[str] = list(ARM_FEATURES)
    test_features: list[str] = list(TEST_FEATURES)
    base_rate: float = Field(gt=0.0, lt=1.0)
    blank_sd: float = Field(gt=0.0, le=10.0)
    facts: dict[str, Any]


def write_allocation(policy: AllocationPolicy, folder: Path, facts: dict[str, Any]) -> tuple[Path, Path]:
    """Write both files to `folder`, each atomically; their paths. Raises OutputError."""
    from safetensors.numpy import save

    data = save(policy.network.tensors())
    file = _File(
        arrays_sha256=hashlib.sha256(data).hexdigest(),
        base_rate=policy.base_rate,
        blank_sd=policy.blank_sd,
        facts=facts,
    )
    paths = folder / FILE_NAME, folder / ARRAYS_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The weights first: a reader that comes between finds a hash that does not fit, never a wrong policy.
        write_file(paths[1], data)
        text = json.dumps(file.model_dump(), ensure_ascii=False, indent=1, allow_nan=False)
        write_file(paths[0], (text + "\n").encode())
    except OSError as error:
        raise OutputError(path=folder, reason=error.strerror or str(error)) from error
    return paths


def read_allocation(run: Path) -> AllocationPolicy:
    """The policy in a run directory. Raises `RunError` with the cure for anything that is no whole policy."""
    if not (run / FILE_NAME).is_file():
        raise RunError(
            path=run,
            detail=f"there is no learned allocation ({FILE_NAME}); {_CURE}",
            detail_zh=f"没有学习到的流量分配策略（{FILE_NAME}）；{_CURE_ZH}",
        )
    try:
        file = _File.model_validate(json.loads(read_file(run / FILE_NAME, _LARGEST)))
        if (tuple(file.arm_features), tuple(file.test_features)) != (ARM_FEATURES, TEST_FEATURES):
            raise ValueError("its features are not those of this version")
        data = read_file(run / ARRAYS_NAME, _LARGEST)
        if hashlib.sha256(data).hexdigest() != file.arrays_sha256:
            raise ValueError(f"{ARRAYS_NAME} is not the one it was written with")
        network = _network(data)
        if network.fuse.shape[0] != len(ARM_FEATURES) or network.audience.shape[0] != len(TEST_FEATURES):
            raise ValueError("its features are not those of this version")
        return AllocationPolicy(network, file.base_rate, file.blank_sd)
    except OSError as error:
        why = error.strerror or str(error)
    except ValidationError as error:
        found = error.errors()[0]
        why = f"{'.'.join(str(part) for part in found['loc'][:3])}: {found['msg']}"
    except RecursionError:
        why = "it is nested too deeply"
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        why = str(error)
    why = "".join(c if c.isprintable() else "?" for c in why)[:160]
    raise RunError(
        path=run / FILE_NAME,
        detail=f"is not a whole learned allocation ({why}); {_CURE}",
        detail_zh=f"不是完整的流量分配策略（{why}）；{_CURE_ZH}",
    )


def _network(data: bytes) -> AllocationNetwork:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return AllocationNetwork.from_tensors(load(data))
    except SafetensorError as error:
        raise ValueError(f"{ARRAYS_NAME}: {error}") from error
