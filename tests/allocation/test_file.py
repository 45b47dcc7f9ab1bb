"""A learned allocation on disk: what comes back decides the same, what is not whole is refused with the cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multimodal_dql.allocation.file import read_allocation, write_allocation
from multimodal_dql.allocation.policy import AllocationPolicy
from multimodal_dql.errors import RunError

from .test_policy import many, state


def test_what_is_read_decides_as_what_was_written(policy: AllocationPolicy, tmp_path: Path) -> None:
    paths = write_allocation(policy, tmp_path / "run", {"tests": 3})
    assert [p.name for p in paths] == ["allocation.json", "allocation.safetensors"]
    again = read_allocation(tmp_path / "run")
    assert (again.base_rate, again.blank_sd) == (policy.base_rate, policy.blank_sd)
    n, s, rate = many()
    seen = state(n, s, prior_rate=rate)
    np.testing.assert_array_equal(again.probabilities(seen), policy.probabilities(seen))


def broken(how: str, run: Path) -> None:
    facts, arrays = run / "allocation.json", run / "allocation.safetensors"
    read: dict[str, Any] = json.loads(facts.read_text("utf-8"))
    if how == "truncated weights":
        arrays.write_bytes(arrays.read_bytes()[:-5])
    elif how == "no weights":
        arrays.unlink()
    elif how == "weights of another":
        data = bytearray(arrays.read_bytes())
        data[-1] ^= 1
        arrays.write_bytes(bytes(data))
    elif how == "other features":
        facts.write_text(json.dumps(read | {"arm_features": ["age"]}), "utf-8")
    elif how == "impossible rate":
        facts.write_text(json.dumps(read | {"base_rate": 7}), "utf-8")
    elif how == "from the future":
        facts.write_text(json.dumps(read | {"format": "multimodal-dql allocation 2"}), "utf-8")
    else:
        facts.write_text("[" * 100_000, "utf-8")


@pytest.mark.parametrize(
    "how",
    [
        "truncated weights",
        "no weights",
        "weights of another",
        "other features",
        "impossible rate",
        "from the future",
        "nested",
    ],
)
def test_what_is_not_whole_is_refused(policy: AllocationPolicy, tmp_path: Path, how: str) -> None:
    write_allocation(policy, tmp_path, {})
    broken(how, tmp_path)
    with pytest.raises(RunError, match="allocation fit TESTS --out RUN"):
        read_allocation(tmp_path)


def test_a_folder_without_one_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="allocation fit TESTS --out RUN"):
        read_allocation(tmp_path)
