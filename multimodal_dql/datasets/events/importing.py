"""From another format to a log: an importer yields rows, the checks of every log decide; what is left out counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pyarrow as pa
from numpy.typing import NDArray

from multimodal_dql.datasets.events.checks import REASONS
from multimodal_dql.datasets.events.columns import absent, finished
from multimodal_dql.datasets.events.ids import Seen
from multimodal_dql.datasets.events.reading import RowFilter
from multimodal_dql.datasets.events.rows import table_of_rows
from multimodal_dql.datasets.events.schema import EVENTS_VERSION, REQUIRED, Note, event_schema, refused
from multimodal_dql.datasets.events.writing import EventWriter

__all__ = ["FORMATS", "Imported", "Importer", "Part", "import_events", "part_of_rows"]

FORMATS = ("open-bandit", "vw-dsjson", "csv")


@dataclass(frozen=True)
class Part:
    """Some rows of a foreign file.

    Attributes:
        table: columns of the schema in their working types; the others are null.
        read: rows met.
        left_out: reason -> rows that made no row of `table`; reasons of the importer's `REASONS_ZH`.
        wrong_type: (N,) rows of `table` with a value of another type.
        zoneless: times without a zone.
    """

    table: pa.Table
    read: int
    left_out: dict[str, int] = field(default_factory=dict)
    wrong_type: NDArray[Any] | None = None
    zoneless: int = 0


class Importer(Protocol):
    """What a format offers."""

    reasons_zh: ClassVar[dict[str, str]]
    """Its own reasons to leave a row out, English -> Chinese."""

    def parts(self, path: Path) -> Iterator[Part]:
        """The rows of a file or folder. Raises `EventsError`."""
        ...

    def notes(self) -> list[Note]:
        """What is worth saying after all files."""
        ...


@dataclass(frozen=True)
class Imported:
    """What became of the files.

    Attributes:
        read: rows met.
        written: rows in the log.
        excluded: reason -> rows left out.
        reasons_zh: the reasons in Chinese.
        notes: what left nothing out.
    """

    read: int
    written: int
    excluded: dict[str, int]
    reasons_zh: dict[str, str]
    notes: list[Note]


def part_of_rows(rows: list[dict[str, Any]], left_out: dict[str, int]) -> Part:
    """Rows as JSON objects with the names of the schema."""
    table, wrong, zoneless = table_of_rows(rows, event_schema().names)
    return Part(table, len(rows) + sum(left_out.values()), left_out, wrong, zoneless)


def import_events(importer: Importer, paths: list[Path], out: Path) -> Imported:
    """Write the rows of foreign files that can be used as one log, in constant memory.

    Raises:
        EventsError: a file cannot be read, or nothing in it can be used.
        OutputError: the log cannot be written.
    """
    for path in paths:
        if not path.exists():
            raise refused(path, "there is no such file; correct the path", "没有这个文件；请改正路径")
        if out.exists() and path.resolve() == out.resolve():
            raise refused(
                out,
                "is read and written at once; give --out another name",
                "不能同时读写；请给 --out 另一个名称",
            )
    read = 0
    schema = event_schema()
    with Seen() as seen, EventWriter(out) as writer:
        keep = RowFilter(REQUIRED, seen)
        for path in paths:
            for part in importer.parts(path):
                read += part.read
                for reason, count in part.left_out.items():
                    keep.count(reason, count)
                keep.noticed.zoneless += part.zoneless
                table = keep(_whole(part.table), part.wrong_type)
                columns = [finished(name, table[name].combine_chunks()) for name in schema.names]
                writer.write(pa.Table.from_arrays(columns, schema=schema))
        keep.finish(paths[0])
        if not writer.rows:
            reason = max(keep.excluded, key=lambda name: keep.excluded[name], default="")
            zh = (importer.reasons_zh | REASONS).get(reason, reason)
            raise refused(
                paths[0],
                f"holds no decision that can be used ({reason or 'no rows'}); nothing was written",
                f"没有可用的决策（{zh or '没有数据行'}）；未写入任何内容",
            )
    notes = [*importer.notes(), *keep.noticed.notes]
    return Imported(read, writer.rows, dict(keep.excluded), importer.reasons_zh | REASONS, notes)


def _whole(table: pa.Table) -> pa.Table:
    """With all columns of the schema, and its version."""
    arrays = [
        pa.array([EVENTS_VERSION] * table.num_rows, pa.int32())
        if name == "schema_version"
        else table[name]
        if name in table.column_names
        else absent(name, table.num_rows)
        for name in event_schema().names
    ]
    return pa.Table.from_arrays(arrays, names=event_schema().names)
