"""``allocation fit`` as it is typed, and its policy in a simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from multimodal_dql.allocation.file import KIND, read_allocation
from multimodal_dql.cli import app
from multimodal_dql.errors import ABTestsError, RunError

RUNNER = CliRunner(env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def tests_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 tests of three arms whose click rates differ."""
    rng = np.random.Generator(np.random.Philox(key=[6, 6]))
    rows = ["test,variant,impressions,clicks,headline"]
    for t in range(40):
        rates = 0.02 * np.exp(0.3 * rng.standard_normal(3))
        rows += [f"t{t},{v},5000,{rng.binomial(5000, rates[v])},标题 {t} {v}" for v in range(3)]
    path = tmp_path_factory.mktemp("测试") / "tests.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def fitted(tests_file: Path) -> tuple[Path, dict]:
    run = tests_file.parent / "run"
    done = RUNNER.invoke(
        app, ["allocation", "fit", str(tests_file), "--out", str(run), "--rounds", "1", "--json"]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert done.stdout.count("\n") == 1
    return run, json.loads(done.stdout)


@pytest.mark.slow
def test_fit_writes_a_policy_that_can_be_read(fitted: tuple[Path, dict]) -> None:
    run, result = fitted
    assert {path.name for path in run.iterdir()} == {KIND.facts, KIND.arrays}
    policy = read_allocation(run)
    assert policy.base_rate == result["base_rate"] == pytest.approx(0.02, rel=0.2)
    assert (result["tests"], result["arms"]) == (40, 120)
    assert json.loads((run / KIND.facts).read_text("utf-8"))["facts"]["seed"] == 0


@pytest.mark.slow
def test_a_simulation_can_use_it(fitted: tuple[Path, dict], tmp_path: Path) -> None:
    lines = ["item_id,variant_id,caption"]
    lines += [f"s{i},{v},标题 {i} {v}" for i in range(3) for v in "abc"]
    path = tmp_path / "目录.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    spec = f"allocation:run={fitted[0]},open_horizon=4000"
    args = ["--policies", f"uniform,{spec}", "--sessions", "300", "--encoders", "minilm", "--json"]
    done = RUNNER.invoke(app, ["simulate", str(path), *args])
    assert done.exit_code == 0, (done.output, done.exception)
    (compared,) = json.loads(done.stdout)["comparisons"]
    assert compared["arm"].startswith("allocation")


def test_mistakes_end_in_errors_with_a_cure(tests_file: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("\n".join(tests_file.read_text("utf-8").splitlines()[:10]), encoding="utf-8")
    done = RUNNER.invoke(app, ["allocation", "fit", str(few), "--out", str(tmp_path / "run")])
    assert isinstance(done.exception, ABTestsError)
    path = tmp_path / "c.csv"
    path.write_text("item_id,variant_id,caption\na,1,x\na,2,y\nb,1,z\nb,2,w\n", encoding="utf-8")
    args = ["--policies", f"uniform,allocation:run={tmp_path}", "--encoders", "minilm"]
    done = RUNNER.invoke(app, ["simulate", str(path), *args])
    assert isinstance(done.exception, RunError)
    assert "allocation fit" in str(done.exception)
