"""`bench stability`: seeds summed up by hand, and once through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from multimodal_dql.bench import stability as bench
from multimodal_dql.errors import TrainingError
from multimodal_dql.monitors import Finding
from multimodal_dql.stability import summarise
from tests.conftest import Call


def test_seeds_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gains of .1 to .5 by seed, seed 13 stopped: the middle of .1, .2, .4, .5 is .3; churn of all five counts."""
    seen: list[int] = []

    def train(encoded: Any, config: Any, audience: Any, *, run: Path) -> tuple[int, int]:
        assert run.is_dir()
        seen.append(config.seed)
        if config.seed == 13:
            raise TrainingError(detail="x", detail_zh="x")
        return config.seed, 0

    def offline_test(agent: int, world: int, encoded: Any, *, seed: int, sessions: int) -> Any:
        gain = (seed - 10) / 10
        return SimpleNamespace(
            comparisons=[
                SimpleNamespace(against=name, uplift=gain * sign)
                for name, sign in (("first", 1), ("uniform", -1))
            ]
        )

    def read_stability(run: Path) -> Any:
        seed = seen[-1]
        found = {13: [Finding("loss", 2, 1, 1), Finding("lowered", 3, 1, 1)], 14: [Finding("batch", 5, 1, 1)]}
        churn = (seed - 10) / 100
        return summarise({"churn": [churn] * 4, "q_mean": [1.0], "return_mean": [0.5]}, found.get(seed, []))

    for name, value in (("train", train), ("offline_test", offline_test), ("read_stability", read_stability)):
        monkeypatch.setattr(bench, name, value)
    result = bench.bench_stability(None, 5, first=11)  # type: ignore[arg-type]
    assert seen == [11, 12, 13, 14, 15]
    assert result["uplift"]["first"]["iqm"] == pytest.approx(0.3)
    assert result["uplift"]["uniform"]["iqm"] == pytest.approx(-0.3)
    low, high = result["uplift"]["first"]["low"], result["uplift"]["first"]["high"]
    assert 0.1 <= low < 0.3 < high <= 0.5
    assert result["churn"] == pytest.approx(0.03)
    assert result["overestimate"] == pytest.approx(2.0)
    assert result["worst_monitor"] == {"monitor": "lowered", "action": "stop", "iteration": 3}
    assert result["stopped"] == [13]
    assert [run["verdict"] for run in result["runs"]] == ["steady", "steady", "stopped", "repaired", "steady"]
    json.dumps(result, allow_nan=False)


@pytest.mark.slow
def test_on_the_command_line(call: Call, stories: Path) -> None:
    args = ("bench", "stability", stories, "--seeds", 2, "--iterations", 4, "--sessions", 100)
    done = call(*args, "--encoders", "speech-embedding", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert set(result["uplift"]) == {"first", "uniform"}
    assert [run["seed"] for run in result["runs"]] == [0, 1]
    for found in result["uplift"].values():
        assert found["low"] <= found["iqm"] <= found["high"]
    assert 0 <= result["churn"] <= 1
