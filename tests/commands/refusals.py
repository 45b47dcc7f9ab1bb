"""What a command says when it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import Done


def assert_refused(done: Done, *words: str, code: int = 2) -> None:
    """One line on stderr that holds `words`, nothing on stdout."""
    assert (done.code, done.out) == (code, ""), done.err
    assert len(done.lines) == 1, done.err
    for word in words:
        assert word in done.err


def change(run: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit the configuration of a run in place."""
    config = json.loads((run / "config.json").read_text("utf-8"))
    edit(config)
    (run / "config.json").write_text(json.dumps(config), "utf-8")
