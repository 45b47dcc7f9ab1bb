"""The trained run, whole and to be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Done


@pytest.fixture
def run(trained_run: tuple[Path, Done]) -> Path:
    """The trained run; not to be changed."""
    return trained_run[0]


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to be damaged."""
    return Path(shutil.copytree(run, tmp_path / "copy"))
