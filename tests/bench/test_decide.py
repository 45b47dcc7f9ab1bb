"""The decision bench: what it reports, and that it reports what it ran; no time is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.bench.decide import GOALS, PUBLISHED, measure
from multimodal_dql.bench.plain_network import plain_networks

KINDS = {f"{kind}{p}_us" for kind in ("", "network_", "prepared_") for p in ("p50", "p99")}


def test_every_figure_is_there_and_in_order() -> None:
    found = measure(rounds=1, calls=20)
    for name in ("compiled", "numpy"):
        for k in ("10", "100"):
            row = found[name][k]
            assert set(row) == KINDS
            assert all(
                row[f"{kind}p99_us"] >= row[f"{kind}p50_us"] > 0.0 for kind in ("", "network_", "prepared_")
            )
    assert set(found["reference"]) == {f"{what} MLP 128-256-256-1" for what in ("NumPy", "ONNX Runtime")}
    assert all(set(of) == {"10", "100"} for of in found["reference"].values())
    assert found["largest_difference"] < 1e-5


def test_the_references_are_one_network() -> None:
    rng = np.random.default_rng(0)
    context, content = rng.standard_normal(3, np.float32), rng.standard_normal((5, 4), np.float32)
    in_numpy, in_onnx = (run(context, content) for run in plain_networks(rng, 7, hidden=16).values())
    assert in_numpy.shape == (5, 1)
    np.testing.assert_allclose(in_numpy, in_onnx, atol=1e-5)
    assert np.ptp(in_numpy) > 0.01


@pytest.mark.slow
def test_the_command_prints_the_agreed_keys() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "multimodal_dql", "bench", "decide", "--rounds", "1"]
    out = subprocess.run([*command, "--json"], cwd=root, capture_output=True, text=True, check=True)
    found = json.loads(out.stdout)
    for k in ("10", "100"):
        assert {"p50_us", "p99_us", "network_p50_us", "network_p99_us"} <= set(found[k])
    assert found["load_ms"] > 0.0
    assert found["process_ms"] > found["numpy_process_ms"] * 0.5 > 0.0
    assert found["threads"] == 1
    assert found["goals"] == GOALS
    assert found["reference"].items() >= json.loads(json.dumps(PUBLISHED)).items()
    assert "NumPy MLP 128-256-256-1" in found["reference"]
    text = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "160"}
    )
    assert "published, not measured here" in text.stdout
    assert "load:" in text.stdout
