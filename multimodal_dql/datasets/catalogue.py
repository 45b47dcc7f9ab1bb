"""A catalogue: items (stories, ads, episodes) and the variants among which one is to be chosen.

One row a variant, as JSONL, CSV (UTF-8, with or without byte order mark, or GB18030; separated by comma,
tab or semicolon) or Parquet. Columns: ``item_id`` and ``variant_id``, at least one of ``image``,
``caption`` and ``audio``, and the record so far in ``impressions`` and ``clicks``; any others are kept as
text. Media paths count from the folder of the catalogue. Everything that is wrong is collected and reported
together.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets._faults import row_fault, shown
from multimodal_dql.datasets._rows import COLUMNS, Row, read_row
from multimodal_dql.datasets._tables import Table, open_table
from multimodal_dql.errors import CatalogueError, CatalogueInvalid, Problem, RowFault

__all__ = ["Catalogue", "Item", "Variant", "checked_rows", "read_catalogue"]

_MEDIA = ("image", "caption", "audio")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to show an item.

    Attributes:
        item_id: the item it belongs to.
        variant_id: unique within the item.
        image: picture file, joined to the folder of the catalogue; may not exist.
        caption: headline or text, as written.
        audio: sound file, joined likewise.
        impressions: times shown so far.
        clicks: times clicked so far, at most `impressions`.
        extra: the columns that are not known here, as text.
        line: line (Parquet: row) of the file it came from, counted from 1; 0 if it came from no file.

    """

    item_id: str
    variant_id: str
    image: Path | None
    caption: str | None
    audio: Path | None
    impressions: int = 0
    clicks: int = 0
    extra: Mapping[str, str] = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True)
class Item:
    """Something that can be shown in several ways, in the order of the file."""

    item_id: str
    variants: tuple[Variant, ...]

    @property
    def title(self) -> str:
        """The free column ``title`` of the first variant, else the id."""
        return self.variants[0].extra.get("title", self.item_id) if self.variants else self.item_id


@dataclass(frozen=True)
class Catalogue:
    """Items in order of their first row.

    Attributes:
        path: the file it was read from.
        items: with at least one variant each.
        problems: what was noticed while reading and need not stop anyone; all of them warnings.

    """

    path: Path
    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """All variants, item by item; N of them."""
        return tuple(variant for item in self.items for variant in item.variants)

    @cached_property
    def item_index(self) -> NDArray[np.int64]:
        """Index into `items` of each of `variants`, shape (N,)."""
        return np.repeat(np.arange(len(self.items)), [len(item.variants) for item in self.items]).astype(
            np.int64
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what is chosen among, in order: ids, captions, media paths as written and counts.

        The same rows give the same value on every machine, in every folder and from every file format. Free
        columns and the contents of media files are left out.
        """
        digest = hashlib.sha256(b"multimodal-dql catalogue 1\n")
        for v in self.variants:
            media = [_as_written(path, self.path.parent) for path in (v.image, v.audio)]
            row = [v.item_id, v.variant_id, *media, v.caption or "", v.impressions, v.clicks]
            digest.update(json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n")
        return digest.hexdigest()


def _as_written(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:  # an absolute path to somewhere else
        return path.as_posix()


def read_catalogue(path: str | Path) -> Catalogue:
    """Read and validate a catalogue.

    Raises `CatalogueError` when the file cannot be read or leaves nothing to choose, and its subclass
    `CatalogueInvalid` with all problems when rows are wrong. An item with one variant only is a warning among
    `Catalogue.problems`.
    """
    path = Path(path)
    problems: list[Problem] = []
    first_lines: dict[tuple[str, str], int] = {}
    items: dict[str, list[Variant]] = {}
    with checked_rows(path) as (table, rows):
        for line, values, variant, faults in rows:
            if variant is not None:
                key = (variant.item_id, variant.variant_id)
                if key in first_lines:
                    told = {"item": shown(key[0]), "variant": shown(key[1])}
                    fault = row_fault("duplicate", **told, row=table.unit, line=first_lines[key])
                    faults.append(("variant_id", fault))
                else:
                    first_lines[key] = line
                    items.setdefault(variant.item_id, []).append(variant)
            ids = [
                str(values[name]) if values.get(name) is not None else None
                for name in ("item_id", "variant_id")
            ]
            problems += [
                Problem(f"{path.name}, {table.unit} {line}, {name}", fault, "error", *ids)
                for name, fault in faults
            ]
    problems = table.problems + problems
    if problems:
        raise CatalogueInvalid(path=path, problems=sorted(problems, key=_line_of))
    catalogue = Catalogue(path, tuple(Item(name, tuple(variants)) for name, variants in items.items()))
    _check_choice(catalogue)
    warnings = (*_near_columns(path, table.columns), *_single(catalogue))
    return Catalogue(path, catalogue.items, warnings)


CheckedRow = tuple[int, dict[str, Any], Variant | None, list[tuple[str, RowFault]]]
"""Line, values as read, the variant if nothing is wrong with it, what is wrong as (field, fault)."""


@contextmanager
def checked_rows(path: Path) -> Iterator[tuple[Table, Iterator[CheckedRow]]]:
    """The rows of a catalogue, each validated by itself, one in memory at a time; ids may still repeat.

    Raises `CatalogueError`, also between rows, for a file that cannot be read or lacks a column.
    """
    with open_table(path) as table:
        yield table, _checked_rows(path, table)


def _checked_rows(path: Path, table: Table) -> Iterator[CheckedRow]:
    any_row, folder = False, path.parent
    for line, values in table.rows:
        if not any_row and table.columns_first:
            _check_columns(path, table.columns)
        any_row = True
        row, extra, faults = read_row(values)
        variant = None if row is None else _variant(row, extra, line, folder)
        yield line, values, variant, faults
    if any_row and not table.columns_first:
        _check_columns(path, table.columns)
    if not any_row and not table.problems:
        raise CatalogueError(
            path=path,
            detail="there are no rows; write one row a variant: item_id, variant_id, caption, image, audio",
            detail_zh="没有任何数据行；每个变体写一行：item_id、variant_id、caption、image、audio",
        )


def _variant(row: Row, extra: dict[str, str], line: int, folder: Path) -> Variant:
    return Variant(
        item_id=row.item_id,
        variant_id=row.variant_id,
        image=None if row.image is None else folder / row.image,
        caption=row.caption,
        audio=None if row.audio is None else folder / row.audio,
        impressions=row.impressions,
        clicks=row.clicks,
        extra=extra,
        line=line,
    )


def _line_of(problem: Problem) -> int:
    """The line in `Problem.where`, so that problems of both passes come in the order of the file."""
    digits = problem.where.rsplit(", line ", 1)[-1].rsplit(", row ", 1)[-1].split(",")[0]
    return int(digits) if digits.isdecimal() else 0


def _check_columns(path: Path, columns: list[str]) -> None:
    """Refuse a table without the columns that every row needs, once and not for each row."""
    missing = [name for name in ("item_id", "variant_id") if name not in columns]
    if missing:
        hints = [(name, _near(name, columns)) for name in missing]
        en = [
            f"'{name}'" + (f" (did you mean '{shown(near)}'? rename it)" if near else "")
            for name, near in hints
        ]
        zh = [f"“{name}”" + (f"（是否即 “{shown(near)}”？请改名）" if near else "") for name, near in hints]
        have = shown(", ".join(name for name in columns if name), 200)
        raise CatalogueError(
            path=path,
            detail=f"there is no column {' and no column '.join(en)}; the columns are: {have}",
            detail_zh=f"缺少列 {'和'.join(zh)}；现有的列：{have}",
        )
    if not set(_MEDIA) & set(columns):
        near = [(name, found) for name in _MEDIA if (found := _near(name, columns))]
        hint = f" (did you mean '{near[0][0]}' by '{shown(near[0][1])}'?)" if near else ""
        hint_zh = f"（“{shown(near[0][1])}” 是否即 “{near[0][0]}”？）" if near else ""
        raise CatalogueError(
            path=path,
            detail=f"there is no column image, caption or audio{hint}; add at least one of them",
            detail_zh=f"没有 image、caption 或 audio 列{hint_zh}；请至少补充其中之一",
        )


def _near(name: str, columns: Iterable[str]) -> str | None:
    """The unknown column that looks most like `name`, whatever its capitals, blanks and underscores."""

    def plain(text: str) -> str:
        return text.lower().replace(" ", "").replace("_", "").replace("-", "")

    unknown = {plain(column): column for column in columns if column and column not in COLUMNS}
    near = difflib.get_close_matches(plain(name), unknown, n=1, cutoff=0.7)
    return unknown[near[0]] if near else None


def _near_columns(path: Path, columns: list[str]) -> Iterable[Problem]:
    for name in COLUMNS:
        if name not in columns and (near := _near(name, columns)):
            fault = row_fault("near_column", column=shown(near), near=name)
            yield Problem(f"{path.name}, header", fault, "warning")


def _check_choice(catalogue: Catalogue) -> None:
    if all(len(item.variants) < 2 for item in catalogue.items):
        raise CatalogueError(
            path=catalogue.path,
            detail="no item has two variants, so there is nothing to choose;"
            " give the variants of one story the same item_id",
            detail_zh="没有任何条目有两个变体，无从选择；请让同一故事的各个变体使用相同的 item_id",
        )


def _single(catalogue: Catalogue) -> Iterable[Problem]:
    for item in catalogue.items:
        if len(item.variants) < 2:
            where = f"{catalogue.path.name}, item '{shown(item.item_id)}'"
            yield Problem(where, row_fault("one_variant"), "warning", item.item_id)
