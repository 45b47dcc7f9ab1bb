"""A table of texts (CSV) as a log of decisions: columns by the names of the schema, or by names that are given.

``candidates`` is one cell, separated by ``|`` or a JSON list, or the same for all rows; ``context`` a JSON object, or
one column for each name. An empty cell is no value. Without an ``event_id`` rows are numbered, without an ``item_id``
they are about one story.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from multimodal_dql.datasets.events.files import open_text
from multimodal_dql.datasets.events.importing import Part, part_of_rows
from multimodal_dql.datasets.events.schema import REQUIRED, Note, event_schema, refused
from multimodal_dql.errors import UnknownNameError, UsageError

__all__ = ["CsvImporter"]

ROWS = 8192
SHORT = "a row with other cells than the header has columns"
BAD_CELL = "candidates, records or context is no list or object of JSON"


class CsvImporter:
    """See the module.

    Args:
        columns: name of the schema -> name in the table.
        context: names in the table that make the context; those that begin with ``context.`` always do.
        separator: between candidates in a cell.
        candidates: of all rows, where the table has no such column.
        item_id: of all rows, where the table has no such column.

    Raises:
        UnknownNameError: a column that the schema does not know.
    """

    reasons_zh: ClassVar[dict[str, str]] = {
        SHORT: "单元格数量与表头不符",
        BAD_CELL: "candidates、records 或 context 不是 JSON 列表或对象",
    }

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        context: Sequence[str] = (),
        *,
        separator: str = "|",
        candidates: Sequence[str] = (),
        item_id: str = "csv",
    ) -> None:
        for name in columns or {}:
            if name not in event_schema().names:
                raise UnknownNameError(kind="column", kind_zh="列", name=name, known=event_schema().names)
        if not separator:
            raise UsageError(
                detail="--separator is empty; give the character between candidates",
                detail_zh="--separator 为空；请给出候选之间的分隔符",
            )
        self.columns, self.context = dict(columns or {}), list(context)
        self.separator, self.candidates, self.item_id = separator, list(candidates), item_id
        self._numbered = 0

    def notes(self) -> list[Note]:
        """What was made up."""
        if not self._numbered:
            return []
        return [
            Note(
                f"{self._numbered:,} rows have no event_id and were numbered",
                f"{self._numbered:,} 行没有 event_id，已自动编号",
            )
        ]

    def parts(self, path: Path) -> Iterator[Part]:
        """The rows of a file, packed or not."""
        try:
            with open_text(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as file:
                yield from self._parts(path, file)
        except UnicodeDecodeError as error:
            raise refused(
                path,
                "is not UTF-8; save it as UTF-8 (in Excel: 'CSV UTF-8')",
                "不是 UTF-8；请另存为 UTF-8（Excel 中选 “CSV UTF-8”）",
            ) from error
        except (csv.Error, OSError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise refused(
                path,
                f"cannot be read as CSV ({error}); save it again",
                f"无法作为 CSV 读取（{error}）；请重新保存",
            ) from error

    def _parts(self, path: Path, file: io.TextIOWrapper) -> Iterator[Part]:
        reader = csv.reader(file, strict=True)
        header = next(reader, None)
        if not header or "\0" in "".join(header):
            raise refused(path, "has no header; write the names of the columns first", "没有表头；请先写列名")
        place = self._places(path, header)
        rows: list[dict[str, Any]] = []
        out = {SHORT: 0, BAD_CELL: 0}
        for number, cells in enumerate(reader, 1):
            if not cells:
                continue
            if len(cells) != len(header):
                out[SHORT] += 1
            else:
                try:
                    rows.append(self._row(path, number, cells, place))
                except (ValueError, RecursionError):
                    out[BAD_CELL] += 1
            if len(rows) + sum(out.values()) >= ROWS:
                yield part_of_rows(rows, {reason: n for reason, n in out.items() if n})
                rows, out = [], {SHORT: 0, BAD_CELL: 0}
        if rows or any(out.values()):
            yield part_of_rows(rows, {reason: n for reason, n in out.items() if n})

    def _places(self, path: Path, header: list[str]) -> dict[str, int]:
        """Name of the schema, or ``context.NAME`` -> the place in a row."""
        place = {name: header.index(name) for name in event_schema().names if name in header}
        for name, theirs in [*self.columns.items(), *((f"context.{c}", c) for c in self.context)]:
            if theirs not in header:
                raise UnknownNameError(
                    kind=f"column in {path}", kind_zh=f"列（{path}）", name=theirs, known=header
                )
            place[name] = header.index(theirs)
        place |= {name: i for i, name in enumerate(header) if name.startswith("context.")}
        given = {"event_id", "item_id", *(["candidates"] if self.candidates else [])}
        if lacking := [name for name in REQUIRED if name not in place and name not in given]:
            raise refused(
                path,
                f"lacks the columns {', '.join(lacking)}; name them with --column {lacking[0]}=THEIRS"
                + (", or all candidates with --candidates" if "candidates" in lacking else ""),
                f"缺少列 {'、'.join(lacking)}；请用 --column {lacking[0]}=列名 指定"
                + ("，或用 --candidates 给出全部候选" if "candidates" in lacking else ""),
            )
        return place

    def _row(self, path: Path, number: int, cells: list[str], place: Mapping[str, int]) -> dict[str, Any]:
        row: dict[str, Any] = {name: cells[at] for name, at in place.items() if cells[at] != ""}
        context = _json(row.pop("context", None))
        if context is not None and not isinstance(context, dict):
            raise ValueError
        told = {name: row.pop(name) for name in list(row) if name.startswith("context.")}
        if context is not None or any(name.startswith("context.") for name in place):
            row["context"] = (context or {}) | {name.removeprefix("context."): v for name, v in told.items()}
        if "event_id" not in place:
            self._numbered += 1
            row["event_id"] = f"{path.name.split('.')[0]}-{number}"
        row.setdefault("item_id", self.item_id if "item_id" not in place else None)
        if "candidates" in place:
            text = row.get("candidates", "")
            row["candidates"] = (
                _json(text) if text.startswith("[") else text.split(self.separator) if text else []
            )
        else:
            row["candidates"] = self.candidates
        row["records"] = _json(row.pop("records", None))
        return row


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
