"""``engagement fit`` and ``engagement check`` as they are typed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from multimodal_dql.commands.engagement import app
from multimodal_dql.errors import ABTestsError, ABTestsInvalid, OutputError, RunError, UnknownNameError
from multimodal_dql.simulation.engagement import PARAMETERS, EngagementModel
from multimodal_dql.simulation.engagement_json import FILE_NAME, read_engagement
from multimodal_dql.terminal import set_language

RUNNER = CliRunner(env={"COLUMNS": "120"})


@pytest.fixture(autouse=True)
def english() -> None:
    set_language("en")


@pytest.fixture(scope="module")
def tests_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 tests drawn from the default model, as a user would have them."""
    drawn = EngagementModel().sample(150, seed=11)
    rows = ["test,variant,impressions,clicks,headline"]
    rows += [
        f"t{t},{arm},{n},{s},标题 {t} {arm}"
        for t, arm, n, s in zip(
            drawn.test.tolist(), drawn.arm_ids, drawn.impressions.tolist(), drawn.clicks.tolist(), strict=True
        )
    ]
    path = tmp_path_factory.mktemp("档案") / "tests.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tests_file: Path) -> Path:
    folder = tests_file.parent / "run"
    done = RUNNER.invoke(app, ["fit", str(tests_file), "--out", str(folder), "--seed", "3"])
    assert done.exit_code == 0, done.output
    assert f"wrote {folder / FILE_NAME}" in done.stderr
    assert "arms of a test, sd of true rates (logit)" in done.stdout
    assert "tests with one arm left, dropped" in done.stdout
    return folder


def test_fit_writes_a_model_and_prints_one_object(tests_file: Path, run: Path, tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["fit", str(tests_file), "--out", str(tmp_path / "r"), "--seed", "3", "--json"])
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert set(result) == {"run", "model", "parameters", "arm_shares", "replicate_groups", "pool", "cleaning"}
    assert set(result["parameters"]) == set(PARAMETERS)
    model = read_engagement(tmp_path / "r")
    for name, found in result["parameters"].items():
        assert found["value"] == getattr(model, name)
        assert found["low"] <= found["value"] <= found["high"]
    assert result["cleaning"]["tests"] == 150
    assert model == read_engagement(run)  # the same seed, the same model
    assert model.evidence.seed == 3


def test_check_compares_and_writes_a_page(tests_file: Path, run: Path, tmp_path: Path) -> None:
    args = ["check", str(run), str(tests_file), "--draws", "40"]
    done = RUNNER.invoke(app, [*args, "--out", str(tmp_path / "页"), "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [s["name"] for s in result["statistics"]] == ["arm_ctr", "test_ctr", "within_sd", "best_over_mean"]
    assert set(result["share_significant"]) == {"real", "simulated", "low", "high", "inside"}
    page = Path(result["report"]).read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<script" not in page
    shown = RUNNER.invoke(app, args)
    assert "tests with a difference at p < .05" in shown.stdout
    assert "150 real tests" in shown.stdout


def test_chinese(tests_file: Path, run: Path, tmp_path: Path) -> None:
    args = ["check", str(run), str(tests_file), "--draws", "20", "--lang", "zh", "--out", str(tmp_path)]
    done = RUNNER.invoke(app, args)
    assert done.exit_code == 0, done.output
    assert "真实" in done.stdout
    assert "已写入" in done.stderr
    assert 'lang="zh-Hans"' in (tmp_path / "index.html").read_text("utf-8")


def test_mistakes_end_in_errors_with_a_cure(tests_file: Path, run: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("test,variant,impressions,clicks\na,1,1,2\na,2,1,-2\n", encoding="utf-8")
    few = tmp_path / "few.csv"
    few.write_text("test,variant,impressions,clicks\na,1,10,2\na,2,10,2\n", encoding="utf-8")
    (tmp_path / "file").write_text("")
    for args, kind in (
        (["fit", str(wrong), "--out", str(tmp_path / "r")], ABTestsInvalid),
        (["fit", str(few), "--out", str(tmp_path / "r")], ABTestsError),
        (["fit", str(tests_file), "--out", str(tmp_path / "file")], OutputError),
        (["fit", str(tests_file), "--pool", "texts"], UnknownNameError),
        (["check", str(tmp_path / "none"), str(tests_file)], RunError),
        (["check", str(run), str(tmp_path / "none.csv")], ABTestsError),
    ):
        done = RUNNER.invoke(app, args)
        assert isinstance(done.exception, kind), (args, done.output, done.exception)
        assert done.exception.exit_code == 2
        assert done.stdout == ""
    assert RUNNER.invoke(app, ["check", str(run), str(tests_file), "--draws", "3"]).exit_code == 2


@pytest.mark.realdata
@pytest.mark.slow
def test_the_archive_through_the_commands(tmp_path: Path) -> None:
    folder = os.environ.get("MULTIMODAL_DQL_DATA")
    if not folder:
        pytest.skip("MULTIMODAL_DQL_DATA does not name the folder of real data")
    archive = str(Path(folder) / "upworthy" / "upworthy_exploratory_dev.csv.gz")
    fitted = json.loads(RUNNER.invoke(app, ["fit", archive, "--out", str(tmp_path), "--json"]).stdout)
    assert fitted["pool"] == "text"
    assert fitted["parameters"]["within_logit_sd"]["value"] == pytest.approx(0.24, abs=0.01)
    assert fitted["parameters"]["overdispersion"]["value"] == pytest.approx(1.78, abs=0.03)
    checked = json.loads(RUNNER.invoke(app, ["check", str(tmp_path), archive, "--json"]).stdout)
    assert checked["share_significant"]["inside"]
    assert all(s["distance"] < 0.05 for s in checked["statistics"])
