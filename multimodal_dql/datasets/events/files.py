"""The files of a log, and their rows batch by batch in constant memory."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from multimodal_dql.datasets.events.columns import absent, cast_column
from multimodal_dql.datasets.events.rows import table_of_rows
from multimodal_dql.datasets.events.schema import EVENTS_VERSION, event_schema, refused
from multimodal_dql.errors import EventsError

__all__ = ["Raw", "Source", "damaged", "find_sources", "is_packed", "json_lines", "open_text"]

SUFFIXES = (".parquet", ".pq", ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
LONGEST_LINE = 1 << 24
"""Bytes of one row of JSON."""
PAGE = 1 << 20
"""Bytes of a column that are read ahead."""
DEEPEST = 16
"""Objects within objects that are looked into for identifiers."""
LINES = 8192
"""Rows of JSON in memory at a time: as Python objects each takes some kilobytes."""


@dataclass(frozen=True)
class Raw:
    """Some rows of a file: columns of the schema in their working types, and what else was found.

    Attributes:
        table: the columns asked for; nulls where the file has none.
        read: rows met, lines that are none included.
        wrong_type: (N,) rows of `table` with a value of another type.
        bad_lines: lines that are no JSON object.
        zoneless: times that do not say their zone.
        extra: columns that the schema does not know, texts and whole numbers as texts, where asked for.
    """

    table: pa.Table
    read: int
    wrong_type: NDArray[np.bool_] | None = None
    bad_lines: int = 0
    zoneless: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """One file of a log."""

    path: Path
    kind: Literal["parquet", "jsonl"]

    def names(self) -> list[str] | None:
        """Its columns where the file says them, and their types checked; None for JSONL."""
        if self.kind == "jsonl":
            return None
        try:
            schema = pq.read_schema(self.path)
        except (OSError, pa.ArrowException) as error:
            raise damaged(self.path) from error
        for name in set(schema.names) & set(event_schema().names):
            if schema.names.count(name) > 1:
                raise refused(
                    self.path, f"has two columns {name}; keep one", f"有两个 {name} 列；请只保留一个"
                )
            cast_column(self.path, name, pa.array([], schema.field(name).type))
        return [str(name) for name in schema.names]

    def batches(self, columns: Sequence[str], rows: int, *, extra: bool = False) -> Iterator[Raw]:
        """At most `rows` rows at a time, with `columns` of the schema. Raises `EventsError` for damaged files."""
        return (
            self._parquet(columns, rows, extra)
            if self.kind == "parquet"
            else self._jsonl(columns, rows, extra)
        )

    def _parquet(self, columns: Sequence[str], rows: int, extra: bool) -> Iterator[Raw]:
        try:
            # Buffered: a column of a row group may be larger than memory.
            with pq.ParquetFile(self.path, buffer_size=PAGE, pre_buffer=False) as file:
                schema = file.schema_arrow
                here = [name for name in (*columns, "schema_version") if name in schema.names]
                more = [name for name in schema.names if name not in event_schema().names]
                wanted = list(dict.fromkeys([*here, *(more if extra else [])]))
                # Without columns the batches would not know their rows.
                for batch in file.iter_batches(rows, columns=wanted or schema.names[:1]):
                    yield self._cast(batch, columns, more if extra else [])
        except (OSError, pa.ArrowException) as error:
            raise damaged(self.path) from error

    def _cast(self, batch: Any, columns: Sequence[str], more: Sequence[str]) -> Raw:
        names, arrays, zoneless = batch.schema.names, {}, 0
        for name in (*columns, "schema_version"):
            if name in names:
                arrays[name], naive = cast_column(self.path, name, batch.column(name))
                zoneless += naive * batch.num_rows
            else:
                arrays[name] = absent(name, batch.num_rows)
        self._check_version(arrays["schema_version"])
        table = pa.Table.from_arrays(list(arrays.values()), names=list(arrays))
        texts = dict(found for name in more for found in _texts(name, batch.column(name)))
        return Raw(table, batch.num_rows, zoneless=zoneless, extra=texts)

    def _jsonl(self, columns: Sequence[str], rows: int, extra: bool) -> Iterator[Raw]:
        wanted = list(dict.fromkeys([*columns, "schema_version"]))
        held: list[dict[str, Any]] = []
        bad = 0
        for _, row in json_lines(self.path):
            if row is None:
                bad += 1
            else:
                held.append(row)
            if len(held) + bad >= min(rows, LINES):
                yield self._of_rows(held, bad, wanted, extra)
                held, bad = [], 0
        if held or bad:
            yield self._of_rows(held, bad, wanted, extra)

    def _of_rows(self, held: list[dict[str, Any]], bad: int, wanted: list[str], extra: bool) -> Raw:
        table, wrong, zoneless = table_of_rows(held, wanted)
        self._check_version(table["schema_version"])
        texts = _extra_of(held) if extra else {}
        return Raw(table, len(held) + bad, wrong, bad, zoneless, texts)

    def _check_version(self, versions: Any) -> None:
        newest = pc.max(versions).as_py() if versions.null_count < len(versions) else None
        if newest is not None and newest > EVENTS_VERSION:
            raise refused(
                self.path,
                f"was written by a newer version (schema {newest}, this one reads up to {EVENTS_VERSION}); upgrade "
                "multimodal-dql",
                f"由更新的版本写成（架构 {newest}，当前最多支持 {EVENTS_VERSION}）；请升级 multimodal-dql",
            )


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """The files of a log: files as given, folders by their parts in the order of their names.

    Raises:
        EventsError: no such file, an empty folder, or a file that is neither Parquet nor JSONL.
    """
    found: list[Source] = []
    for path in paths:
        files = _parts(path) if path.is_dir() else [path]
        found += [Source(file, _kind(file)) for file in files]
    if not found:
        raise refused("-", "no log is given; name at least one file", "没有给出日志；请至少指定一个文件")
    places: set[Path] = set()
    for source in found:
        if source.path.resolve() in places:
            raise refused(source.path, "is given twice; give it once", "重复给出；请只写一次")
        places.add(source.path.resolve())
    return found


def _parts(folder: Path) -> list[Path]:
    parts = sorted(
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(SUFFIXES)
        and path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )
    if not parts:
        raise refused(
            folder,
            "holds no part of a log (.parquet, .jsonl or .jsonl.gz); give the folder that does",
            "文件夹中没有日志文件（.parquet、.jsonl 或 .jsonl.gz）；请给出正确的文件夹",
        )
    return parts


def _kind(path: Path) -> Literal["parquet", "jsonl"]:
    if not path.is_file():
        if path.exists():
            raise refused(
                path,
                "is no ordinary file; give a Parquet or JSONL file",
                "不是普通文件；请给出 Parquet 或 JSONL 文件",
            )
        raise refused(
            path,
            "there is no such log; write one with: multimodal-dql simulate CATALOGUE --events LOG",
            "没有这个日志；可用以下命令生成：multimodal-dql simulate CATALOGUE --events LOG",
        )
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise refused(
            path, f"cannot be opened ({error.strerror})", f"无法打开（{error.strerror}）"
        ) from error
    name = path.name.lower()
    if not head:
        raise refused(path, "is an empty file; copy it again", "是空文件；请重新复制")
    if head.startswith(b"PAR1") or name.endswith((".parquet", ".pq")):
        return "parquet"
    if (
        name.endswith(SUFFIXES)
        or head.startswith(b"\x1f\x8b")
        or head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"
    ):
        return "jsonl"
    raise refused(
        path,
        "is not a Parquet file, or is damaged, and no JSONL either; a log is .parquet, .jsonl or .jsonl.gz, and other "
        "formats come in with: multimodal-dql events import",
        "不是 Parquet 文件或已损坏，也不是 JSONL；日志应为 .parquet、.jsonl 或 .jsonl.gz，"
        "其他格式请用：multimodal-dql events import",
    )


def damaged(path: Path) -> EventsError:
    """A file that is not what it should be."""
    return refused(
        path, "is not a Parquet file, or is damaged; copy it again", "不是 Parquet 文件或已损坏；请重新复制"
    )


def is_packed(path: Path) -> bool:
    """Whether a file is packed with gzip."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def open_text(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked if they are packed with gzip."""
    return gzip.open(path) if is_packed(path) else path.open("rb")  # type: ignore[return-value]


def json_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """The lines of a JSONL file that are not empty, each with its object; None where it is none.

    Raises:
        EventsError: the file cannot be read to its end, or its first line is no JSON object.
    """
    first = True
    try:
        with open_text(path) as file:
            while line := file.readline(LONGEST_LINE):
                text = line.removeprefix(b"\xef\xbb\xbf") if first else line
                if not text.strip():
                    continue
                row = _object(text)
                if first and row is None:
                    raise refused(
                        path,
                        "is no JSONL: its first line is no JSON object in UTF-8; save it as one object a line",
                        "不是 JSONL：第一行不是 UTF-8 的 JSON 对象；请保存为每行一个对象",
                    )
                first = False
                yield line, row
    except (OSError, EOFError, zlib.error) as error:
        raise refused(path, "is cut short or damaged; copy it again", "不完整或已损坏；请重新复制") from error


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _texts(name: str, held: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The texts and whole numbers in a column as texts, those in structs, lists and maps by a name of their own."""
    types = pa.types
    if types.is_dictionary(held.type):
        held = held.cast(held.type.value_type)
    kind = held.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind):
        yield name, held.cast(pa.string())
    elif depth > DEEPEST:
        return
    elif types.is_map(kind):
        pair = pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
        yield from _texts(name, held.cast(pa.list_(pair)), depth + 1)
    elif types.is_list(kind) or types.is_large_list(kind):
        yield from _texts(name, held.flatten(), depth + 1)
    elif types.is_struct(kind):
        for field_ in kind:
            yield from _texts(f"{name}.{field_.name}", pc.struct_field(held, field_.name), depth + 1)


def _extra_of(held: list[dict[str, Any]]) -> dict[str, Any]:
    """Texts and whole numbers under names that the schema does not know, however deep they lie."""
    known = set(event_schema().names)
    texts: dict[str, list[str]] = {}

    def look(name: str, value: Any, depth: int = 0) -> None:
        if isinstance(value, dict | list) and depth > DEEPEST:
            return
        if isinstance(value, dict):
            for key, part in value.items():
                look(f"{name}.{key}", part, depth + 1)
        elif isinstance(value, list):
            for part in value:
                look(name, part, depth + 1)
        elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            texts.setdefault(name, []).append(str(value).encode("utf-8", "replace").decode("utf-8"))

    for row in held:
        for name, value in row.items():
            if name not in known:
                look(name, value)
    return {name: pa.array(values, pa.string()) for name, values in texts.items()}
