"""`bench ope-reference` as typed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from multimodal_dql.bench.ope_reference import ESTIMATORS
from multimodal_dql.commands.bench_logs import app
from multimodal_dql.errors import EventsError


def test_a_folder_without_the_data_set(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ope-reference", "--data", str(tmp_path)])
    assert isinstance(result.exception, EventsError)
    assert str(tmp_path) in str(result.exception)


@pytest.mark.realdata
@pytest.mark.slow
def test_one_run_of_each_table() -> None:
    """JSON with a figure an estimator; a table of fewer runs than were published is compared with nothing."""
    data = str(Path(os.environ["MULTIMODAL_DQL_DATA"]) / "open_bandit")
    result = CliRunner().invoke(app, ["ope-reference", "--data", data, "--runs", "1", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert all(tuple(found[of]) == ESTIMATORS for of in ("open_bandit", "synthetic", "digits"))
    assert found["published"] == found["difference"] == {}
    # What obp 0.5.7 gives for the first resample of the Open Bandit Dataset.
    assert found["open_bandit"]["ipw"] == pytest.approx(0.100573, abs=1e-6)
    assert found["open_bandit"]["snipw"] == pytest.approx(0.155954, abs=1e-6)
