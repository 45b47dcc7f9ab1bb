"""A run directory nobody vouches for: read as the agent reads it, or refused in one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.bench.decide import write_run
from multimodal_dql.decider import Decider
from multimodal_dql.errors import RunError


def alter(run: Path, **changes: object) -> None:
    """Change settings; ``network__hidden`` is ``hidden`` in ``network``; None removes."""
    config = json.loads((run / "config.json").read_text())
    for name, value in changes.items():
        *path, last = name.split("__")
        at = config
        for part in path:
            at = at[part]
        if value is None:
            at.pop(last)
        else:
            at[last] = value
    (run / "config.json").write_text(json.dumps(config))


def rewrite(run: Path, change) -> None:
    """Other weights under a hash that fits."""
    from safetensors.numpy import load, save

    tensors = load((run / "weights.safetensors").read_bytes())
    change(tensors)
    data = save(tensors)
    (run / "weights.safetensors").write_bytes(data)
    alter(run, weights_sha256=hashlib.sha256(data).hexdigest())


def _nan(tensors) -> None:
    tensors["network/candidate_q_network/fuse/bias"][0, 0] = np.nan


def _without_layer(tensors) -> None:
    tensors.pop("network/candidate_q_network/set_norm/gain")


def _other_shape(tensors) -> None:
    tensors["network/candidate_q_network/film/bias"] = np.zeros((1, 7), np.float32)


def _garbage(run: Path) -> None:
    data = b"\xff" * 64
    (run / "weights.safetensors").write_bytes(data)
    alter(run, weights_sha256=hashlib.sha256(data).hexdigest())


def _cut(run: Path) -> None:
    path = run / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


DAMAGE = {
    "no folder": lambda run: [path.unlink() for path in run.iterdir()],
    "no weights": lambda run: (run / "weights.safetensors").unlink(),
    "weights are a folder": lambda run: [
        (run / "weights.safetensors").unlink(),
        (run / "weights.safetensors").mkdir(),
    ],
    "weights cut short": _cut,
    "weights are garbage": _garbage,
    "weights not finite": lambda run: rewrite(run, _nan),
    "a layer is missing": lambda run: rewrite(run, _without_layer),
    "a layer of another shape": lambda run: rewrite(run, _other_shape),
    "not JSON": lambda run: (run / "config.json").write_text("{"),
    "a list": lambda run: (run / "config.json").write_text("[1]"),
    "a thousand brackets": lambda run: (run / "config.json").write_text("[" * 100_000),
    "infinite version": lambda run: (run / "config.json").write_text('{"schema_version": Infinity}'),
    "newer version": lambda run: alter(run, schema_version=99),
    "no network": lambda run: alter(run, network=None),
    "network is a list": lambda run: alter(run, network=[]),
    "another width": lambda run: alter(run, network__hidden=255),
    "a huge width": lambda run: alter(run, network__hidden=10**12),
    "a width that is true": lambda run: alter(run, network__members=True),
    "widths as text": lambda run: alter(run, network__widths="64"),
    "no widths": lambda run: alter(run, network__widths=[]),
    "another audience": lambda run: alter(run, network__audience=65),
    "base rate of nothing": lambda run: alter(run, base_rate=0.0),
    "base rate NaN": lambda run: alter(run, base_rate=float("nan")),
    "base rate as text": lambda run: alter(run, base_rate="0.02"),
    "no hash": lambda run: alter(run, weights_sha256=None),
    "another hash": lambda run: alter(run, weights_sha256="0" * 64),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_run_that_is_damaged_or_means_harm_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    write_run(tmp_path)
    Decider.load(tmp_path)
    DAMAGE[damage](tmp_path)
    with pytest.raises(RunError) as caught:
        Decider.load(tmp_path)
    for lang in ("en", "zh"):
        text = caught.value.text(lang)
        assert text
        assert "\n" not in text


def test_what_the_bench_writes_is_a_run_as_the_agent_reads_it(tmp_path: Path) -> None:
    from multimodal_dql.run_config import read_config

    write_run(tmp_path)
    config = read_config(tmp_path)
    assert (config.network.hidden, config.network.audience) == (256, 64)
