"""``metrics.jsonl`` and TensorBoard scalars of a training: one row an iteration, no gap and no row twice."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["METRICS_FILE", "Metrics", "read_metrics"]

METRICS_FILE = "metrics.jsonl"
TENSORBOARD = "tensorboard"


def read_metrics(run: Path) -> tuple[tuple[int, ...], dict[str, tuple[float, ...]]]:
    """The steps and the curves of a run, from its ``metrics.jsonl``; a number that was not measured is NaN."""
    rows = [json.loads(line) for line in (run / METRICS_FILE).read_text(encoding="utf-8").splitlines()]
    names = [name for name in rows[0] if name != "iteration"] if rows else []
    return tuple(row["iteration"] for row in rows), {
        name: tuple(math.nan if row.get(name) is None else row[name] for row in rows) for name in names
    }


class Metrics:
    """Writes rows into a folder; silent without one.

    Args:
        folder: of the training.
        position: where to continue, as `position` gave it; None starts anew. What was written after it goes.

    Raises:
        ValueError: less is there than was written.
    """

    def __init__(self, folder: Path | None, position: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        if folder is None:
            return
        import tensorflow as tf

        folder.mkdir(parents=True, exist_ok=True)
        board = folder / TENSORBOARD
        if position is None:
            shutil.rmtree(board, ignore_errors=True)
        else:
            _cut(folder / METRICS_FILE, int(position["bytes"]))
            known = dict(position[TENSORBOARD])
            for path in board.iterdir() if board.is_dir() else ():
                if path.name in known:
                    _cut(path, int(known[path.name]))
                else:
                    path.unlink()
        self.file = (folder / METRICS_FILE).open("a" if position else "w", encoding="utf-8")
        self.board = tf.summary.create_file_writer(str(board))

    def write(self, step: int, row: Mapping[str, float]) -> None:
        """One line and one point of each curve."""
        if self.folder is None:
            return
        import tensorflow as tf

        # JSON has no word for not-a-number.
        known = {name: value if math.isfinite(value) else None for name, value in row.items()}
        self.file.write(json.dumps({"iteration": step + 1, **known}) + "\n")
        self.file.flush()
        # What tf.summary.scalar writes, without needing the TensorBoard package to be installed here.
        metadata = tf.compat.v1.SummaryMetadata()
        metadata.plugin_data.plugin_name = "scalars"
        with self.board.as_default():
            for name, value in row.items():
                tf.summary.write(name, value, step=step + 1, metadata=metadata)

    def position(self) -> dict[str, Any]:
        """How far everything is written, and it has reached the disk."""
        if self.folder is None:
            return {"bytes": 0, TENSORBOARD: {}}
        self.file.flush()
        os.fsync(self.file.fileno())
        self.board.flush()
        written = {path.name: path.stat().st_size for path in (self.folder / TENSORBOARD).iterdir()}
        return {"bytes": self.file.tell(), TENSORBOARD: written}

    def close(self) -> None:
        """Nothing more comes."""
        if self.folder is not None:
            self.file.close()
            self.board.close()


def _cut(path: Path, size: int) -> None:
    """Drop what was written after `size` bytes."""
    if path.stat().st_size < size:
        raise ValueError(f"{path.name} is shorter than the checkpoint says")
    os.truncate(path, size)
