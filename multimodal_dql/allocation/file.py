"""A learned allocation as files: ``allocation.json`` (facts, small numbers) and ``allocation.safetensors`` (weights).

Files may come from anyone: nothing in them is executed, every shape and number is checked before it is used, and the
JSON carries the SHA-256 of the weights. What is read decides as what was written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from multimodal_dql.allocation.network import AllocationNetwork
from multimodal_dql.allocation.policy import AllocationPolicy
from multimodal_dql.pair_file import Kind, read_pair, write_pair
from multimodal_dql.simulation.scenarios.allocation_features import ARM_FEATURES, TEST_FEATURES

__all__ = ["KIND", "read_allocation", "write_allocation"]

KIND = Kind(
    "allocation",
    "learned allocation",
    "学习到的流量分配策略",
    "learn it again: multimodal-dql allocation fit TESTS --out RUN",
    "请重新学习：multimodal-dql allocation fit TESTS --out RUN",
)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal["multimodal-dql allocation 1"] = "multimodal-dql allocation 1"
    arrays_sha256: str = ""
    arm_features: list[str] = list(ARM_FEATURES)
    test_features: list[str] = list(TEST_FEATURES)
    base_rate: float = Field(gt=0.0, lt=1.0)
    blank_sd: float = Field(gt=0.0, le=10.0)
    facts: dict[str, Any]


def write_allocation(policy: AllocationPolicy, folder: Path, facts: dict[str, Any]) -> tuple[Path, Path]:
    """Write both files to `folder`, each atomically; their paths. Raises OutputError."""
    if not isinstance(policy.network, AllocationNetwork):
        raise TypeError("a formula has no weights to write")
    file = _File(base_rate=policy.base_rate, blank_sd=policy.blank_sd, facts=facts)
    return write_pair(KIND, folder, file.model_dump(), policy.network.tensors())


def read_allocation(run: Path) -> AllocationPolicy:
    """The policy in a run directory. Raises `RunError` with the cure for anything that is no whole policy."""
    return read_pair(KIND, run, _policy)


def _policy(facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> AllocationPolicy:
    file = _File.model_validate(facts)
    network = AllocationNetwork.from_tensors(arrays)
    widths = network.fuse.shape[0], network.audience.shape[0]
    if (tuple(file.arm_features), tuple(file.test_features)) != (ARM_FEATURES, TEST_FEATURES) or (
        widths != (len(ARM_FEATURES), len(TEST_FEATURES))
    ):
        raise ValueError("its features are not those of this version")
    return AllocationPolicy(network, file.base_rate, file.blank_sd)
