"""Rows of a JSONL, CSV or Parquet file as dictionaries, with the line each came from; nothing is
interpreted yet.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multimodal_dql.datasets._charset import UnknownEncodingError, decode_text
from multimodal_dql.datasets._faults import row_fault, shown
from multimodal_dql.datasets._files import open_regular
from multimodal_dql.datasets._refusals import Refusal, refusal_error
from multimodal_dql.errors import CatalogueError, Problem

__all__ = ["Table", "read_table"]

_MAX_BYTES = 4 << 30
_MAX_CELL = 10_000_000  # characters
_SEPARATORS = (",", "\t", ";")


@dataclass
class Table:
    """A file as read.

    Attributes:
        rows: (line, values) of each row; Parquet rows count from 1.
        columns: names in order; for JSONL those of the rows in order of appearance.
        unit: ``line`` or ``row``, what the numbers of `rows` count.
        problems: rows that could not be taken apart.

    """

    rows: list[tuple[int, dict[str, Any]]]
    columns: list[str]
    unit: str = "line"
    problems: list[Problem] = field(default_factory=list)


def read_table(path: Path) -> Table:
    """Read `path` by its suffix. Raises `CatalogueError` for files that cannot be read as a whole."""
    readers = {
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".parquet": _read_parquet,
        ".pq": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    try:
        fd, _ = open_regular(path, _MAX_BYTES)
    except Refusal as refusal:
        raise _cannot_open(path, refusal) from None
    with os.fdopen(fd, "rb") as file:
        if reader is None:
            raise CatalogueError(
                path=path,
                detail=f"'{shown(path.suffix)}' files are not read; save it as .csv, .jsonl or .parquet",
                detail_zh=f"不支持扩展名 “{shown(path.suffix)}”；请存为 .csv、.jsonl 或 .parquet",
            )
        return reader(path, file)


def _cannot_open(path: Path, refusal: Refusal) -> CatalogueError:
    if refusal.code == "missing":
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=1, cutoff=0.6)
        return CatalogueError(
            path=path,
            detail="there is no such file; " + (f"did you mean '{near[0]}'?" if near else "correct the path"),
            detail_zh="没有这个文件；" + (f"是否想用 “{near[0]}”？" if near else "请改正路径"),
        )
    if refusal.code == "not_a_file":
        kind = refusal_error(path, refusal.code, refusal.fields)
        said, said_zh = (str(kind.fields[name]).split(",")[0] for name in ("detail", "detail_zh"))
        return CatalogueError(
            path=path,
            detail=f"{said}; give a .csv, .jsonl or .parquet file",
            detail_zh=f"{said_zh.split('，')[0]}；请给出 .csv、.jsonl 或 .parquet 文件",
        )
    if refusal.code == "empty":
        return CatalogueError(
            path=path,
            detail="the file is empty; write one row a variant: item_id, variant_id, caption, image, audio",
            detail_zh="文件是空的；每个变体写一行：item_id、variant_id、caption、image、audio",
        )
    told = refusal_error(path, refusal.code, refusal.fields)
    return CatalogueError(path=path, detail=told.fields["detail"], detail_zh=told.fields["detail_zh"])


def _text(path: Path, data: bytes, *, gb18030: bool) -> str:
    try:
        return decode_text(data, gb18030=gb18030)
    except UnknownEncodingError as error:
        raise CatalogueError(
            path=path,
            detail=f"{error.reason}; save it as UTF-8 (in Excel: 'CSV UTF-8')",
            detail_zh=f"{error.reason_zh}；请另存为 UTF-8（Excel 中选 “CSV UTF-8”）",
        ) from None


def _read_jsonl(path: Path, file: io.BufferedReader) -> Table:
    table = Table([], [])
    text = _text(path, file.read(), gb18030=False)
    for line, part in enumerate(text.split("\n"), start=1):
        if not part.strip():
            continue
        twice: list[str] = []

        def unique(pairs: list[tuple[str, Any]], twice: list[str] = twice) -> dict[str, Any]:
            names = [name for name, _ in pairs]
            twice.extend(sorted({name for name in names if names.count(name) > 1}))
            return dict(pairs)

        try:
            row = json.loads(part, object_pairs_hook=unique)
            reason = "" if isinstance(row, dict) else f"it is a {type(row).__name__}"
        except (ValueError, RecursionError) as error:
            row, reason = None, str(error) or type(error).__name__
        if reason:
            where = f"{path.name}, line {line}"
            table.problems.append(Problem(where, row_fault("not_json", reason=shown(reason, 100))))
            continue
        for name in twice:
            where = f"{path.name}, line {line}, {shown(name)}"
            table.problems.append(Problem(where, row_fault("twice_in_row")))
        table.rows.append((line, row))
    table.columns = list(dict.fromkeys(name for _, row in table.rows for name in row))
    return table


def _read_csv(path: Path, file: io.BufferedReader) -> Table:
    text = _text(path, file.read(), gb18030=True)
    known = csv.field_size_limit(_MAX_CELL)
    try:
        return _split_csv(path, text)
    finally:
        csv.field_size_limit(known)


def _split_csv(path: Path, text: str) -> Table:
    lines = _csv_rows(text, _separator(text))
    table = Table([], [])
    try:
        _, header = next(lines, (0, []))
        table.columns = _header(path, header)
        for line, cells in lines:
            extra = cells[len(table.columns) :]
            if len(cells) < len(table.columns) or any(extra):
                fault = row_fault("field_count", have=len(cells), want=len(table.columns))
                table.problems.append(Problem(f"{path.name}, line {line}", fault))
                continue
            pairs = zip(table.columns, cells, strict=False)
            table.rows.append((line, {name: cell for name, cell in pairs if name}))
    except _CsvError as error:
        fault = row_fault("not_csv", reason=shown(error, 100))
        table.problems.append(Problem(f"{path.name}, line {error.line}", fault))
    return table


class _CsvError(ValueError):
    def __init__(self, error: csv.Error, line: int) -> None:
        super().__init__(str(error))
        self.line = line


def _csv_rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the line it starts on (a quoted cell may span lines)."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _CsvError(error, line) from None
        if any(cells):
            yield line, cells


def _separator(text: str) -> str:
    """The separator that finds most of the known columns in the header, then most columns at all."""

    def found(separator: str) -> tuple[int, int]:
        try:
            _, cells = next(_csv_rows(text, separator), (0, []))
        except _CsvError:
            return (0, 0)
        names = {cell.strip() for cell in cells}
        return (len(names & {"item_id", "variant_id", "image", "caption", "audio"}), len(cells))

    return max(_SEPARATORS, key=found)


def _header(path: Path, header: list[str]) -> list[str]:
    columns = [name.strip() for name in header]
    _refuse_twice(path, columns)
    return columns


def _refuse_twice(path: Path, columns: list[str]) -> None:
    named = [name for name in columns if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise CatalogueError(
            path=path,
            detail=f"the header names '{shown(twice[0])}' twice; rename or remove one of the columns",
            detail_zh=f"表头中 “{shown(twice[0])}” 出现两次；请改名或删除其一",
        )


def _read_parquet(path: Path, file: io.BufferedReader) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as parquet:
            columns = [str(name) for name in parquet.schema_arrow.names]
            _refuse_twice(path, columns)
            rows: list[tuple[int, dict[str, Any]]] = []
            for batch in parquet.iter_batches():
                rows.extend(enumerate(batch.to_pylist(), start=len(rows) + 1))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise CatalogueError(
            path=path,
            detail=f"is not a Parquet file that can be read ({shown(error, 100)}); write it again",
            detail_zh=f"不是可读取的 Parquet 文件（{shown(error, 100)}）；请重新写出",
        ) from None
    return Table(rows, columns, unit="row")
