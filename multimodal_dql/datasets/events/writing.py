"""Writing a log of decisions: whole or not at all, batch by batch in constant memory."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow.parquet as pq

from multimodal_dql.datasets.events.schema import event_schema
from multimodal_dql.errors import OutputError

__all__ = ["EventWriter"]


class EventWriter:
    """Writes a log batch by batch in constant memory; the file appears whole when the writer is closed.

    The name decides: ``.jsonl`` and ``.jsonl.gz`` are JSON, one object a row; everything else is Parquet. Use it in a
    ``with`` block: an exception inside leaves nothing behind, and a file of that name as it was.

    Raises:
        OutputError: the place cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name[:40]}.")
        except OSError as error:
            raise OutputError(path=str(self.path), reason=error.strerror or str(error)) from error
        os.close(handle)
        self._temporary = Path(name)
        if self.path.name.lower().endswith((".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")):
            self._writer: Any = _JsonLines(self._temporary, packed=self.path.suffix.lower() == ".gz")
        else:
            self._writer = pq.ParquetWriter(self._temporary, event_schema(), compression="zstd")
        return self

    def write(self, table: Any) -> None:
        """Append a `pyarrow.Table` with the columns of `event_schema`."""
        self._writer.write_table(table)
        self.rows += table.num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            if kind is None:
                umask = os.umask(0)
                os.umask(umask)
                os.chmod(self._temporary, 0o666 & ~umask)
                os.replace(self._temporary, self.path)
        except OSError as problem:
            raise OutputError(path=str(self.path), reason=problem.strerror or str(problem)) from problem
        finally:
            self._temporary.unlink(missing_ok=True)


class _JsonLines:
    """One JSON object a row; what is null is left out, a context is an object."""

    def __init__(self, path: Path, packed: bool) -> None:
        # Without a time in the header the same rows are the same bytes.
        self._file: Any = gzip.GzipFile(path, "wb", mtime=0) if packed else path.open("wb")

    def write_table(self, table: Any) -> None:
        for row in table.to_pylist():
            told = {name: value for name, value in row.items() if value is not None}
            told["time"] = told["time"].isoformat()
            if "context" in told:
                told["context"] = dict(told["context"])
            self._file.write(json.dumps(told, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        self._file.close()
