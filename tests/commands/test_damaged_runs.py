"""Runs that are damaged, foreign or mean harm: refused in one line by every command that reads one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.refusals import assert_refused, change
from tests.conftest import Call

pytestmark = pytest.mark.usefixtures("shared_graphs")


@pytest.mark.slow
def test_a_truncated_run(call: Call, stories: Path, copy: Path) -> None:
    weights, config = copy / "weights.safetensors", copy / "config.json"
    whole = weights.read_bytes()
    for part in (whole[: len(whole) // 2], b"", whole[:-1] + b"x"):
        weights.write_bytes(part)
        assert_refused(call("rank", stories, "--agent", copy), "damaged or incomplete")
    weights.unlink()
    assert_refused(call("rank", stories, "--agent", copy), "damaged or incomplete")
    os.mkfifo(weights)
    assert_refused(call("rank", stories, "--agent", copy), "damaged or incomplete")
    for part in (config.read_bytes()[:1000], b"", b"[]", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000):
        config.write_bytes(part)
        assert_refused(call("rank", stories, "--agent", copy), "is not a complete configuration")
    config.unlink()
    assert_refused(call("rank", stories, "--agent", copy), "is not a run directory")


@pytest.mark.slow
def test_a_run_without_its_audience_ranks_but_cannot_simulate(call: Call, stories: Path, copy: Path) -> None:
    audience = copy / "audience.json"
    whole = json.loads(audience.read_text("utf-8"))
    broken = [
        b"",
        b"{}",
        b"[" * 100_000,
        json.dumps(whole | {"content": [math.nan] * len(whole["content"])}).encode(),
        json.dumps(whole | {"taste": [[0.0]]}).encode(),
        json.dumps(whole | {"config": whole["config"] | {"steps": 10**12}}).encode(),
        json.dumps(whole | {"config": whole["config"] | {"base_click_rate": "x"}}).encode(),
    ]
    for content in broken:
        audience.write_bytes(content)
        assert_refused(call("simulate", stories, "--agent", copy, "--sessions", 100), "missing or damaged")
    audience.unlink()
    assert_refused(call("simulate", stories, "--agent", copy, "--sessions", 100), "missing or damaged")
    assert call("rank", stories, "--agent", copy, "--json").code == 0


@pytest.mark.slow
def test_a_run_from_a_newer_version(call: Call, stories: Path, copy: Path) -> None:
    change(copy, lambda config: config.update(schema_version=99))
    assert_refused(call("rank", stories, "--agent", copy), "newer version", "upgrade")


@pytest.mark.slow
def test_other_encoders_than_in_training(call: Call, stories: Path, copy: Path) -> None:
    change(copy, lambda config: config["encoders"][0].update(fingerprint="0" * 64))
    done = call("rank", stories, "--agent", copy)
    assert (done.code, done.out) == (2, "")
    assert "has changed since the agent was trained" in done.lines[-1]
    change(copy, lambda config: config["encoders"][0].update(name="use-multilingul"))
    assert_refused(call("rank", stories, "--agent", copy), "damaged or incomplete")
    change(copy, lambda config: config["encoders"].pop())
    assert_refused(call("rank", stories, "--agent", copy), "not one width for each encoder")


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Put the last of `path` at the place that the others name."""
    *way, last, value = path

    def edit(config: dict[str, Any]) -> None:
        place: Any = config
        for step in way:
            place = place[step]
        place[last] = value

    return edit


HOSTILE_CONFIGS = {
    "no-schema": lambda c: c.pop("schema_version"),
    "infinite-schema": _set("schema_version", math.inf),
    "network-list": _set("network", []),
    "huge-members": _set("network", "members", 10**9),
    "huge-hidden": _set("network", "hidden", 10**9),
    "many-members": _set("network", "members", 256),
    "large-hidden": _set("network", "hidden", 4096),
    "no-hidden": lambda c: c["network"].pop("hidden"),
    "hidden-nan": _set("network", "hidden", math.nan),
    "dropout-one": _set("network", "modality_dropout", 1.0),
    "seed-huge": _set("network", "seed", 10**30),
    "width-huge": _set("network", "widths", 0, 4096),
    "rate-nan": _set("base_rate", math.nan),
    "rate-zero": _set("base_rate", 0),
    "rate-text": _set("base_rate", "x"),
    "context-code": _set("context", 0, "kind", "__import__('os').system('true')"),
    "context-empty": _set("context", []),
    "context-division": _set("context", 2, "high", 0.0),
    "encoder-path": _set("encoders", 0, "name", "../../../../etc/passwd"),
    "encoder-modality": _set("encoders", 0, "modality", "smell"),
    "fold-huge": _set("fold", 0, 10**9),
    "fold-negative": _set("fold", 0, -1),
    "items-many": _set("item_ids", ["a", "b"]),
    "winner-short": _set("winners", 0, "content", [1.0]),
    "winner-nan": _set("winners", 0, "content", 0, math.nan),
    "winner-none": _set("winners", 0, None),
    "audience-empty": _set("audience", []),
    "audience-ragged": _set("audience", 0, [0.0]),
    "audience-category": _set("audience", 0, 0, 77.0),
    "audience-nan": _set("audience", 0, 0, math.nan),
    "facts-list": _set("facts", []),
    "facts-training": _set("facts", "training", 7),
    "hash-none": _set("weights_sha256", None),
    "layer-none": _set("last_layer_sha256", None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE_CONFIGS)
def test_a_hostile_configuration_is_one_line(call: Call, stories: Path, copy: Path, name: str) -> None:
    change(copy, HOSTILE_CONFIGS[name])
    assert_refused(call("rank", stories, "--agent", copy), "or train anew")
