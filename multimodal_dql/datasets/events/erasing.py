"""Removing a person from logs: their rows go, all others stay bit for bit, and the file is replaced whole.

A row is a person's if its ``session_id``, or another column or name in the context that says whose it is
(`SUBJECT_COLUMNS`), holds exactly their id. Rows without such a column (rewards) go with the event they belong to.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from multimodal_dql.datasets.events.files import PAGE, Source, damaged, is_packed, json_lines
from multimodal_dql.datasets.events.schema import SUBJECT_COLUMNS
from multimodal_dql.errors import OutputError

__all__ = ["ErasedLog", "Person", "erase_from_log", "find_person", "holds_subject", "replacing"]

Bools = NDArray[np.bool_]
GROUP = 1 << 20
"""Rows of a row group that are rewritten at a time."""


@dataclass
class Person:
    """Whom to remove.

    Attributes:
        subject: their id.
        events: ids of their decisions, so far.
        contexts: what policies were told about them, so far.
    """

    subject: str
    events: set[str] = field(default_factory=set)
    contexts: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class ErasedLog:
    """What became of a log.

    Attributes:
        path: its file.
        rows: before.
        removed: rows of the person.
        sha256: of the file before; runs know the log that they learned from by it.
    """

    path: Path
    rows: int
    removed: int
    sha256: str


def find_person(source: Source, person: Person) -> None:
    """Add the events and contexts of a person in a log to `person`. Raises `EventsError` for a damaged file."""
    if source.kind == "jsonl":
        for _, row in json_lines(source.path):
            if row is not None and holds_subject(row, person.subject):
                _remember(person, row.get("event_id"), row.get("context"))
        return
    for batch in _batches(source.path):
        for row in batch.filter(pa.array(_of_subject(batch, person.subject))).to_pylist():
            _remember(person, row.get("event_id"), row.get("context"))


def _remember(person: Person, event_id: Any, context: Any) -> None:
    if event_id is not None:
        person.events.add(str(event_id))
    if context:
        pairs = context.items() if isinstance(context, dict) else context
        person.contexts.append({str(k): str(v) for k, v in pairs})


def erase_from_log(source: Source, person: Person, *, dry_run: bool = False) -> ErasedLog:
    """Remove the rows of a person, whose events `find_person` has found in all logs.

    Raises:
        EventsError: the file is damaged, and stays as it was.
        OutputError: it cannot be replaced.
    """
    with source.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    rewrite = _rewrite_jsonl if source.kind == "jsonl" else _rewrite_parquet
    rows, removed = rewrite(source.path, person, None)
    if removed and not dry_run:
        with replacing(source.path) as temporary:
            rewrite(source.path, person, temporary)
    return ErasedLog(source.path, rows, removed, digest)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to be written in the block, which then takes its place, its permissions kept."""
    place = path.resolve()
    try:
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:40]}.")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            shutil.copymode(place, temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the old rows must not come back after a power cut
        finally:
            os.close(folder)
    except OSError as error:
        raise OutputError(path=str(path), reason=error.strerror or str(error)) from error


def holds_subject(row: dict[str, Any], subject: str) -> bool:
    """Whether a JSON row is of this person."""
    context = row.get("context")
    told: Iterable[Any] = ()
    if isinstance(context, dict):
        told = context.items()
    elif isinstance(context, list):
        told = [(p.get("key"), p.get("value")) if isinstance(p, dict) else p for p in context]
    pairs = [*((name, row.get(name)) for name in SUBJECT_COLUMNS), *told]
    return any(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and pair[0] in SUBJECT_COLUMNS
        and isinstance(pair[1], str | int)
        and str(pair[1]) == subject
        for pair in pairs
    )


def _rewrite_jsonl(path: Path, person: Person, out: Path | None) -> tuple[int, int]:
    """Rows and rows removed; the others are written to `out` byte by byte. A broken line that names the person goes."""
    rows = removed = 0
    packed = is_packed(path)
    name = person.subject.encode()
    file: Any = None
    if out is not None:
        file = gzip.GzipFile(out, "wb", mtime=0) if packed else out.open("wb")
    try:
        for line, row in json_lines(path):
            rows += 1
            if row is None:
                theirs = name in line
            else:
                theirs = holds_subject(row, person.subject) or _is_theirs(row.get("event_id"), row, person)
            removed += theirs
            if file is not None and not theirs:
                file.write(line)
    finally:
        if file is not None:
            file.close()
    return rows, removed


def _is_theirs(event_id: Any, names: Iterable[str], person: Person) -> bool:
    """Whether a row that says nothing of a person belongs to one of their events."""
    return not any(name in names for name in SUBJECT_COLUMNS) and str(event_id) in person.events


def _rewrite_parquet(path: Path, person: Person, out: Path | None) -> tuple[int, int]:
    """Rows and rows removed; the others go to `out` with the same schema, row group by row group."""
    rows = removed = 0
    writer: Any = None
    try:
        with pq.ParquetFile(path, buffer_size=PAGE, pre_buffer=False) as file:
            if out is not None:
                writer = pq.ParquetWriter(out, file.schema_arrow, compression=_codec(file.metadata))
            for batch in file.iter_batches(GROUP):
                theirs = _of_subject(batch, person.subject) | _of_events(batch, person)
                rows += batch.num_rows
                removed += int(theirs.sum())
                if writer is not None:
                    writer.write_table(pa.Table.from_batches([batch]).filter(pa.array(~theirs)))
    except (OSError, pa.ArrowException) as error:
        raise damaged(path) from error
    finally:
        if writer is not None:
            writer.close()
    return rows, removed


def _codec(metadata: Any) -> str:
    """How a file is packed."""
    if not metadata.num_row_groups or not metadata.num_columns:
        return "zstd"
    codec = metadata.row_group(0).column(0).compression
    return "none" if codec == "UNCOMPRESSED" else str(codec)


def _batches(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path, buffer_size=PAGE, pre_buffer=False) as file:
            names = {*SUBJECT_COLUMNS, "event_id", "context"}
            here = [name for name in file.schema_arrow.names if name in names]
            if here:
                yield from file.iter_batches(GROUP, columns=here)
    except (OSError, pa.ArrowException) as error:
        raise damaged(path) from error


def _of_subject(batch: Any, subject: str) -> Bools:
    """Which rows are of a person, (N,)."""
    out = np.zeros(batch.num_rows, np.bool_)
    for name in SUBJECT_COLUMNS:
        if name in batch.schema.names:
            out |= _equal(batch.column(name), subject)
    if "context" in batch.schema.names:
        _context_of_subject(batch.column(batch.schema.get_field_index("context")), subject, out)
    return out


def _context_of_subject(held: Any, subject: str, out: Bools) -> None:
    if pa.types.is_struct(held.type):
        for name in SUBJECT_COLUMNS:
            if held.type.get_field_index(name) >= 0:
                out |= _equal(pc.struct_field(held, name), subject)
    elif pa.types.is_map(held.type):
        pair = pa.struct([pa.field("key", pa.string()), pa.field("value", held.type.item_type)])
        lists = held.cast(pa.list_(pair))
        flat = lists.flatten()
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        row = np.repeat(np.arange(len(out)), lengths)
        named = pc.is_in(flat.field("key"), value_set=pa.array(SUBJECT_COLUMNS))
        hit = _equal(flat.field("value"), subject) & named.to_numpy(zero_copy_only=False).astype(np.bool_)
        out[row[hit]] = True


def _of_events(batch: Any, person: Person) -> Bools:
    """Which rows, of a table that says nothing of persons, belong to their events, (N,)."""
    names = batch.schema.names
    if "event_id" not in names or any(name in names for name in SUBJECT_COLUMNS) or not person.events:
        return np.zeros(batch.num_rows, np.bool_)
    ids = batch.column(names.index("event_id")).cast(pa.string())
    known = pa.array(sorted(person.events), pa.string())
    return np.asarray(pc.is_in(ids, value_set=known).to_numpy(zero_copy_only=False), np.bool_)


def _equal(held: Any, subject: str) -> Bools:
    same = pc.equal(held.cast(pa.string()), subject).fill_null(False)
    return np.asarray(same.to_numpy(zero_copy_only=False), np.bool_)
