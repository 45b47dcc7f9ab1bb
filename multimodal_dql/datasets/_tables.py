"""Rows of a JSONL, CSV or Parquet file as dictionaries, one after the other, with the line each came from;
nothing is interpreted yet.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multimodal_dql.datasets._charset import UnknownEncodingError, decode_text, not_utf8
from multimodal_dql.datasets._faults import row_fault, shown
from multimodal_dql.datasets._files import open_regular
from multimodal_dql.datasets._refusals import Refusal, refusal_error
from multimodal_dql.errors import CatalogueError, Problem

__all__ = ["Table", "WholeTable", "open_table"]

_MAX_BYTES = 4 << 30
_MAX_CELL = 10_000_000  # characters
_BLOCK_BYTES = 1 << 20
_PARQUET_ROWS = 4096
"""Rows of a Parquet file that are in memory at once."""
_SEPARATORS = (",", "\t", ";")


@dataclass
class Table:
    """An open file.

    Attributes:
        rows: (line, values) of each row, read as they are asked for, once; Parquet rows count from 1.
        columns: names in order; for JSONL those of the rows so far in order of appearance.
        unit: ``line`` or ``row``, what the numbers of `rows` count.
        problems: rows so far that could not be taken apart.
        columns_first: whether `columns` are complete before the first row.

    """

    rows: Iterable[tuple[int, dict[str, Any]]] = ()
    columns: list[str] = field(default_factory=list)
    unit: str = "line"
    problems: list[Problem] = field(default_factory=list)
    columns_first: bool = True


@dataclass
class WholeTable(Table):
    """A table with all of its rows in memory."""

    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    @classmethod
    def of(cls, table: Table) -> WholeTable:
        """What is left of `table`."""
        rows = list(table.rows)
        return cls(rows, table.columns, table.unit, table.problems)


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """The table in `path`, by its suffix. Raises `CatalogueError`, also between rows, for files that cannot be
    read as a whole.
    """
    readers: dict[str, Callable[[Path, io.BufferedReader, ExitStack], Table]] = {
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
    with ExitStack() as open_files:
        file = open_files.enter_context(os.fdopen(fd, "rb"))
        if reader is None:
            raise CatalogueError(
                path=path,
                detail=f"'{shown(path.suffix)}' files are not read; save it as .csv, .jsonl or .parquet",
                detail_zh=f"不支持扩展名 “{shown(path.suffix)}”；请存为 .csv、.jsonl 或 .parquet",
            )
        yield reader(path, file, open_files)


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


def _text(path: Path, file: io.BufferedReader, *, gb18030: bool, newline: str) -> io.TextIOBase:
    """The text in `file`. UTF-8 is read as it is asked for; anything else is looked at as a whole."""
    if _is_utf8(file):
        file.seek(0)
        return io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline)
    file.seek(0)
    try:
        return io.StringIO(decode_text(file.read(), gb18030=gb18030), newline=newline)
    except UnknownEncodingError as error:
        raise CatalogueError(
            path=path,
            detail=f"{error.reason}; save it as UTF-8 (in Excel: 'CSV UTF-8')",
            detail_zh=f"{error.reason_zh}；请另存为 UTF-8（Excel 中选 “CSV UTF-8”）",
        ) from None


def _is_utf8(file: io.BufferedReader) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    block = file.read(_BLOCK_BYTES)
    if not_utf8(block):
        return False
    try:
        while block:
            decoder.decode(block)
            block = file.read(_BLOCK_BYTES)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _read_jsonl(path: Path, file: io.BufferedReader, open_files: ExitStack) -> Table:
    table = Table(columns_first=False)
    text = open_files.enter_context(_text(path, file, gb18030=False, newline="\n"))
    table.rows = _jsonl_rows(path, text, table)
    return table


def _jsonl_rows(path: Path, text: io.TextIOBase, table: Table) -> Iterator[tuple[int, dict[str, Any]]]:
    columns: dict[str, None] = {}
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            twice.extend(sorted(name for name in made if names.count(name) > 1))
        return made

    decode = json.JSONDecoder(object_pairs_hook=unique).decode
    for line, part in enumerate(text, start=1):
        if not part.strip():
            continue
        twice.clear()
        try:
            row = decode(part.removesuffix("\n"))
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
        if not row.keys() <= columns.keys():
            columns.update(dict.fromkeys(row))
            table.columns = list(columns)
        yield line, row


def _read_csv(path: Path, file: io.BufferedReader, open_files: ExitStack) -> Table:
    text = open_files.enter_context(_text(path, file, gb18030=True, newline=""))
    table = Table()
    with _long_cells():
        separator = _separator(text)
        text.seek(0)
        lines = _csv_rows(text, separator)
        try:
            _, header = next(lines, (0, []))
        except _CsvError as error:
            table.problems.append(_not_csv(path, error))
            return table
    table.columns = _header(path, header)
    table.rows = _split_csv(path, lines, table)
    return table


@contextmanager
def _long_cells() -> Iterator[None]:
    """Lets the csv module read cells of up to `_MAX_CELL`; its limit is one for the whole process."""
    known = csv.field_size_limit(_MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(known)


def _split_csv(
    path: Path, lines: Iterator[tuple[int, list[str]]], table: Table
) -> Iterator[tuple[int, dict[str, Any]]]:
    while True:
        known = csv.field_size_limit(_MAX_CELL)  # as `_long_cells`, which takes longer than the row itself
        try:
            line, cells = next(lines)
        except StopIteration:
            return
        except _CsvError as error:
            table.problems.append(_not_csv(path, error))
            return
        finally:
            csv.field_size_limit(known)
        extra = cells[len(table.columns) :]
        if len(cells) < len(table.columns) or any(extra):
            fault = row_fault("field_count", have=len(cells), want=len(table.columns))
            table.problems.append(Problem(f"{path.name}, line {line}", fault))
            continue
        pairs = zip(table.columns, cells, strict=False)
        yield line, {name: cell for name, cell in pairs if name}


def _not_csv(path: Path, error: _CsvError) -> Problem:
    return Problem(f"{path.name}, line {error.line}", row_fault("not_csv", reason=shown(error, 100)))


class _CsvError(ValueError):
    def __init__(self, error: csv.Error, line: int) -> None:
        super().__init__(str(error))
        self.line = line


def _csv_rows(text: io.TextIOBase, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the line it starts on (a quoted cell may span lines)."""
    reader = csv.reader(text, delimiter=separator, strict=True)
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


def _separator(text: io.TextIOBase) -> str:
    """The separator that finds most of the known columns in the header, then most columns at all."""

    def found(separator: str) -> tuple[int, int]:
        text.seek(0)
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


def _read_parquet(path: Path, file: io.BufferedReader, open_files: ExitStack) -> Table:
    import pyarrow.parquet

    with _parquet_faults(path):
        parquet = open_files.enter_context(pyarrow.parquet.ParquetFile(file, pre_buffer=False))
        columns = [str(name) for name in parquet.schema_arrow.names]
    _refuse_twice(path, columns)
    return Table(_parquet_rows(path, parquet), columns, unit="row")


def _parquet_rows(path: Path, parquet: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    line = 0
    batches = parquet.iter_batches(batch_size=_PARQUET_ROWS)
    while True:
        with _parquet_faults(path):
            batch = next(batches, None)
            rows = [] if batch is None else batch.to_pylist()
        if batch is None:
            return
        for row in rows:
            line += 1
            yield line, row


@contextmanager
def _parquet_faults(path: Path) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise CatalogueError(
            path=path,
            detail=f"is not a Parquet file that can be read ({shown(error, 100)}); write it again",
            detail_zh=f"不是可读取的 Parquet 文件（{shown(error, 100)}）；请重新写出",
        ) from None
