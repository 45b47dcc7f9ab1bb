"""The wheel holds everything: installed elsewhere, without the repository, it runs the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked by pip; its dependencies are those of this environment."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    target = place / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    return target


def run(installed: Path, cwd: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.slow
def test_the_wheel_runs_the_demo(installed: Path, tmp_path: Path) -> None:
    home = run(installed, tmp_path, "-c", "import multimodal_dql; print(multimodal_dql.__file__)")
    assert home.startswith(str(installed))
    arguments = ("-m", "multimodal_dql", "demo", "--iterations", "2", "--sessions", "100", "--json")
    result = json.loads(run(installed, tmp_path, *arguments))
    assert result["items"] == 40
    assert (tmp_path / result["report"]).stat().st_size > 1_000_000


@pytest.mark.slow
def test_the_wheel_holds_the_cards(installed: Path, tmp_path: Path) -> None:
    encoders = json.loads(run(installed, tmp_path, "-m", "multimodal_dql", "encoders", "list", "--json"))
    assert "use-multilingual" in {e["name"] for e in encoders["encoders"]}
    datasets = json.loads(run(installed, tmp_path, "-m", "multimodal_dql", "datasets", "list", "--json"))
    assert {"demo", "upworthy"} <= {d["name"] for d in datasets["datasets"]}


@pytest.mark.slow
def test_the_wheel_holds_no_tests_and_nothing_private(installed: Path) -> None:
    top = {path.name for path in installed.iterdir()}
    assert top <= {"multimodal_dql", "bin"} | {name for name in top if name.endswith(".dist-info")}
