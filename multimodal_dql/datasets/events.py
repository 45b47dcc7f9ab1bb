"""Logged decisions: one row each, in Parquet, with the probability of what was shown (its propensity)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from multimodal_dql.errors import EventsError, OutputError

__all__ = ["EVENTS_VERSION", "EventWriter", "event_schema", "read_events"]

EVENTS_VERSION = 1


def event_schema() -> Any:
    """The columns of a log of decisions, as a `pyarrow.Schema`.

    ``session_id`` is opaque: nothing in it says who a person is. ``context`` is what the policy was told about the
    audience; ``candidates`` are variant ids, ``records`` their impressions and clicks when the decision fell,
    ``action`` the variant shown and ``probability`` that of showing it. Embeddings come from the catalogue.
    """
    import pyarrow as pa

    record = pa.struct([pa.field("impressions", pa.int64()), pa.field("clicks", pa.int64())])
    return pa.schema(
        [
            pa.field("event_id", pa.string(), nullable=False),
            pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("session_id", pa.string()),
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("context", pa.map_(pa.string(), pa.string())),
            pa.field("candidates", pa.list_(pa.string()), nullable=False),
            pa.field("records", pa.list_(record)),
            pa.field("action", pa.string(), nullable=False),
            pa.field("probability", pa.float64(), nullable=False),
            pa.field("click", pa.int8(), nullable=False),
            pa.field("dwell_seconds", pa.float64()),
            pa.field("satisfaction", pa.float64()),
            pa.field("conversion_value", pa.float64()),
            pa.field("conversion_delay_hours", pa.float64()),
            pa.field("policy", pa.dictionary(pa.int32(), pa.string())),
            pa.field("model_version", pa.dictionary(pa.int32(), pa.string())),
            pa.field("catalogue_fingerprint", pa.dictionary(pa.int32(), pa.string())),
            pa.field("schema_version", pa.int32(), nullable=False),
        ]
    )


NEEDED = ("item_id", "context", "candidates", "action", "click")
HELPFUL = ("session_id", "time", "records", "policy", "probability")


def read_events(path: Path) -> Any:
    """What can be learned from a log, as a `pyarrow.Table`; of the columns of `event_schema` the `NEEDED` are there.

    Raises:
        EventsError: no such file, no Parquet, a newer version, or a column that is missing or of another type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise EventsError(
            path=path,
            detail="there is no such log; write one with: multimodal-dql simulate CATALOGUE --events LOG",
            detail_zh="没有这个日志；可用以下命令生成：multimodal-dql simulate CATALOGUE --events LOG",
        )
    try:
        names = pq.read_schema(path).names
        wanted = [name for name in (*NEEDED, *HELPFUL, "schema_version") if name in names]
        table = pq.read_table(path, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise EventsError(
            path=path,
            detail="is not a Parquet file, or is damaged; copy it again",
            detail_zh="不是 Parquet 文件或已损坏；请重新复制",
        ) from error
    lacking = [name for name in NEEDED if name not in names]
    if lacking:
        raise EventsError(
            path=path,
            detail=f"lacks the columns {', '.join(lacking)}; a log has {', '.join(NEEDED)}, and if known "
            f"{', '.join(HELPFUL)}",
            detail_zh=f"缺少列 {'、'.join(lacking)}；日志需要 {'、'.join(NEEDED)}，如有则加上 {'、'.join(HELPFUL)}",
        )
    versions = table["schema_version"].to_pylist() if "schema_version" in names else []
    newest = max((v for v in versions if v is not None), default=0)
    if newest > EVENTS_VERSION:
        raise EventsError(
            path=path,
            detail=f"was written by a newer version (schema {newest}, this one reads up to {EVENTS_VERSION}); upgrade "
            "multimodal-dql",
            detail_zh=f"由更新的版本写成（架构 {newest}，当前最多支持 {EVENTS_VERSION}）；请升级 multimodal-dql",
        )
    for name in (name for name in (*NEEDED, *HELPFUL) if name in names):
        kind = pa.string() if name == "policy" else event_schema().field(name).type
        at = table.schema.get_field_index(name)
        try:
            table = table.set_column(at, name, table[name].cast(kind))
        except pa.ArrowException as error:
            raise EventsError(
                path=path,
                detail=f"column {name} is {table[name].type}, not {kind}",
                detail_zh=f"列 {name} 的类型为 {table[name].type}，应为 {kind}",
            ) from error
        if name in NEEDED and table[name].null_count:
            raise EventsError(
                path=path,
                detail=f"column {name} is empty in {table[name].null_count} rows; fill it or leave them out",
                detail_zh=f"列 {name} 有 {table[name].null_count} 行为空；请补全或删去这些行",
            )
    return table


class EventWriter:
    """Writes a Parquet log batch by batch in constant memory; the file appears whole when the writer is closed.

    Use it in a ``with`` block: an exception inside leaves nothing behind, and a file of that name as it was.

    Raises:
        OutputError: the place cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name[:40]}.")
        except OSError as error:
            raise OutputError(path=str(self.path), reason=error.strerror or str(error)) from error
        os.close(handle)
        self._temporary = Path(name)
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
