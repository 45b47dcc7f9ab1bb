"""A log of decisions, read batch by batch in constant memory: what can be used, and what was left out and why."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from multimodal_dql.datasets.events.checks import BAD_LINE, REASONS, REPEATED, reason_text, row_faults
from multimodal_dql.datasets.events.columns import finished
from multimodal_dql.datasets.events.files import Raw, Source, find_sources
from multimodal_dql.datasets.events.identifiers import Finding, Identifiers
from multimodal_dql.datasets.events.ids import Seen, hash_texts
from multimodal_dql.datasets.events.notes import Noticed
from multimodal_dql.datasets.events.schema import HELPFUL, NEEDED, REQUIRED, Note, event_schema, refused
from multimodal_dql.datasets.events.session_ids import SessionIds

__all__ = ["EventLog", "Events", "RowFilter", "read_events", "refuse_personal"]

FIRST = 16_384
"""Rows at the beginning of each file that are searched for identifiers in full."""
SAMPLED = 1024
"""Rows of each later batch that are."""
PART = 65_536
"""Rows of a batch unless told otherwise."""
_PLACES = list(REASONS)


class RowFilter:
    """Leaves out rows that cannot be used, by the first reason each, and counts them; ids are compared over all calls.

    Args:
        needed: columns in which a missing value is a reason.
        seen: the ids so far; open for as long as rows come.

    Attributes:
        excluded: reason -> rows.
        noticed: what excludes nothing.
    """

    def __init__(self, needed: Sequence[str], seen: Seen) -> None:
        self.needed, self.seen = needed, seen
        self.excluded: dict[str, int] = {}
        self.noticed = Noticed()

    def __call__(self, table: pa.Table, wrong_type: NDArray[np.bool_] | None = None) -> pa.Table:
        """The rows of `table`, in working types, that pass."""
        fault = row_faults(table, self.needed, wrong_type)
        for place, count in enumerate(np.bincount(fault, minlength=len(_PLACES) + 1)[1:]):
            self.count(_PLACES[place], int(count))
        if fault.any():
            table = table.filter(pa.array(fault == 0))
        if "event_id" in table.column_names and table.num_rows:
            ids = table["event_id"].combine_chunks()
            there = ids.is_valid().to_numpy(zero_copy_only=False)
            repeated = np.zeros(len(ids), np.bool_)
            repeated[there] = self.seen.add(hash_texts(ids.drop_null() if ids.null_count else ids))
            if repeated.any():
                self.count(REPEATED, int(repeated.sum()))
                table = table.filter(pa.array(~repeated))
        self.noticed.add(table)
        return table

    def count(self, reason: str, rows: int) -> None:
        """Add rows to a reason."""
        if rows:
            self.excluded[reason] = self.excluded.get(reason, 0) + rows

    def finish(self, path: Path) -> None:
        """Raises `EventsError` if ids occurred twice so far apart that it shows only now."""
        if far := self.seen.far_repeats():
            raise refused(
                path,
                f"repeats {far:,} values of event_id, too far apart to leave the second one out; sort the rows by "
                "event_id, or remove the repeats",
                f"event_id 有 {far:,} 个重复值，相距太远，无法在内存中略去；请按 event_id 排序，或删除重复的行",
            )


class EventLog:
    """A log of decisions in one or several files (Parquet, JSONL, JSONL packed with gzip) or folders of such parts.

    Rows that cannot be used are left out and counted, never silently; files that cannot be read are refused.

    Args:
        paths: the files or folders, read one after the other.
        columns: of `event_schema`, what batches hold; all by default. What a file lacks is null. What is neither asked
            for nor needed is not read, and a wrong value in it leaves no row out.
        allow_personal: read the log although values in it look as if they named a person.
        needed: columns without which a row cannot be used.

    Attributes:
        read: rows met so far.
        excluded: reason -> rows left out so far; `reason_text` has the reasons in Chinese.
        sources: its files.

    Raises:
        EventsError: no such file, damaged, a needed column is missing, a type that is none, a newer version.
    """

    def __init__(
        self,
        paths: Path | Sequence[Path],
        *,
        columns: Sequence[str] | None = None,
        allow_personal: bool = False,
        needed: Sequence[str] = REQUIRED,
    ) -> None:
        names = event_schema().names
        if unknown := [name for name in columns or () if name not in names]:
            raise ValueError(f"no column {unknown[0]} in the schema")
        self.columns = list(columns) if columns is not None else names
        self.allow_personal, self.needed = allow_personal, tuple(needed)
        self.sources = find_sources([paths] if isinstance(paths, Path) else list(paths))
        self._here = {source.path: source.names() for source in self.sources}
        for path, here in self._here.items():
            if here is not None and (lacking := [name for name in self.needed if name not in here]):
                raise _lacks(path, lacking, self.needed)
        self.read = 0
        self.excluded: dict[str, int] = {}
        self._noticed, self._sessions = Noticed(), SessionIds()

    @property
    def path(self) -> Path:
        """The first file, for messages about all."""
        return self.sources[0].path

    @property
    def notes(self) -> list[Note]:
        """What is worth saying so far although it excludes no row; each has a `Note.zh`."""
        return [*self._noticed.notes, *self._sessions.notes]

    @property
    def names(self) -> dict[str, dict[str, int]]:
        """Column -> value -> rows so far, of policy, model_version and catalogue_fingerprint."""
        return {name: dict(counts) for name, counts in self._noticed.names.items()}

    @property
    def times(self) -> tuple[int | None, int | None]:
        """Earliest and latest time so far, in microseconds since 1970 (UTC)."""
        return self._noticed.first, self._noticed.last

    def batches(self, rows: int = PART) -> Iterator[pa.Table]:
        """Rows that can be used, in the order of the files, at most `rows` at a time; counting starts anew.

        Raises:
            EventsError: a file is damaged, the log looks personal, or nothing in it can be used.
        """
        passed = 0
        for table in self.stream(rows):
            passed += table.num_rows
            yield table
        if not passed:
            raise _nothing(self.path, self.read, self.excluded)

    def stream(self, rows: int = PART) -> Iterator[pa.Table]:
        """As `batches`, but a log of which nothing can be used is no error."""
        self.read, self.excluded = 0, {}
        wanted = {*self.needed, *self.columns, "event_id", "time", *self._noticed.names}
        self._sessions = SessionIds()
        checked = [name for name in event_schema().names if name in wanted]
        with Seen() as seen:
            keep = RowFilter(self.needed, seen)
            self.excluded, self._noticed = keep.excluded, keep.noticed
            for source in self.sources:
                if not self.allow_personal:
                    self._search(source)
                first = True
                for raw in source.batches(checked, rows):
                    self.read += raw.read
                    if first:
                        self._refuse_lacking(source, raw)
                    elif not self.allow_personal:
                        refuse_personal(source.path, _sample(raw).findings)
                    if not self.allow_personal:
                        self._sessions.add(raw.table, {})
                    first = False
                    keep.count(BAD_LINE, raw.bad_lines)
                    keep.noticed.zoneless += raw.zoneless
                    table = keep(raw.table, raw.wrong_type)
                    if table.num_rows:
                        yield self._finished(table)
            refuse_personal(self.path, self._sessions.findings)
            keep.finish(self.path)

    def _finished(self, table: pa.Table) -> pa.Table:
        schema = pa.schema([event_schema().field(name) for name in self.columns])
        if any(name not in self.needed for name in REQUIRED):
            schema = pa.schema([field.with_nullable(True) for field in schema])
        arrays = []
        for name in self.columns:
            column = table[name]
            if name == "schema_version":
                column = column.fill_null(1)
            arrays.append(finished(name, column))
        return pa.Table.from_arrays(arrays, schema=schema)

    def _refuse_lacking(self, source: Source, raw: Raw) -> None:
        """A JSONL file whose first rows all lack a needed column does not have it."""
        if source.kind == "jsonl" and raw.table.num_rows:
            full = raw.table.num_rows - int(raw.wrong_type.sum() if raw.wrong_type is not None else 0)
            lacking = [name for name in self.needed if raw.table[name].null_count == raw.table.num_rows]
            if lacking and full:
                raise _lacks(source.path, lacking, self.needed)

    def _search(self, source: Source) -> None:
        """Search the beginning of a file for identifiers, columns that the schema does not know included."""
        found, sessions = Identifiers(), SessionIds()
        looked = 0
        for raw in source.batches(event_schema().names[:-1], FIRST, extra=True):
            found.look_at(raw.table, raw.extra)
            sessions.add(raw.table, raw.extra)
            looked += raw.read
            if looked >= FIRST:
                break
        refuse_personal(source.path, [*found.findings, *sessions.findings])


def _sample(raw: Raw) -> Identifiers:
    """A part of a batch, searched."""
    found = Identifiers()
    step = max(raw.table.num_rows // SAMPLED, 1)
    at = np.arange(0, raw.table.num_rows, step)
    texts = [f.name for f in raw.table.schema if not pa.types.is_primitive(f.type) and f.name != "records"]
    found.look_at(raw.table.select(texts).take(pa.array(at)), {})
    return found


def refuse_personal(path: Path, findings: Sequence[Finding]) -> None:
    """Raises `EventsError` if something was found."""
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        more_zh = f"（另有 {len(findings) - 1} 项）" if len(findings) > 1 else ""
        raise refused(
            path,
            f"{findings[0].text('en')}{more}; replace them by opaque ids, or allow them with --allow-personal; "
            "multimodal-dql events check lists all",
            f"{findings[0].text('zh')}{more_zh}；请换成不可识别的编号，或用 --allow-personal 允许；"
            "multimodal-dql events check 可列出全部",
        )


def _lacks(path: Path, lacking: Sequence[str], needed: Sequence[str]) -> Exception:
    helpful = [name for name in HELPFUL if name not in needed]
    return refused(
        path,
        f"lacks the columns {', '.join(lacking)}; a log has {', '.join(needed)}, and if known {', '.join(helpful)}",
        f"缺少列 {'、'.join(lacking)}；日志需要 {'、'.join(needed)}，如有则加上 {'、'.join(helpful)}",
    )


def _nothing(path: Path, read: int, excluded: dict[str, int]) -> Exception:
    if not read:
        return refused(path, "holds no decisions; give a longer log", "没有决策；请提供更长的日志")
    reason = max(excluded, key=lambda name: excluded[name])
    return refused(
        path,
        f"holds no decision that can be used: {read:,} rows were read and all left out, {excluded[reason]:,} because "
        f"{reason}; multimodal-dql events check lists all reasons",
        f"没有可用的决策：读取的 {read:,} 行全部被略去，其中 {excluded[reason]:,} 行的原因是："
        f"{reason_text(reason, 'zh')}；multimodal-dql events check 可列出全部原因",
    )


class Events(NamedTuple):
    """A log in memory, to learn from.

    Attributes:
        table: rows that can be used.
        excluded: reason -> rows left out.
        notes: what excludes nothing.
        digest: SHA-256 of the file, or of the files' in their order.
    """

    table: pa.Table
    excluded: dict[str, int]
    notes: list[Note]
    digest: str


def read_events(path: Path | Sequence[Path], *, allow_personal: bool = False) -> Events:
    """What can be learned from a log; of the columns of `event_schema` the `NEEDED` hold no nulls, the others may.

    Raises:
        EventsError: as `EventLog`; a log of which nothing can be used is none.
    """
    names = [name for name in event_schema().names if name in {*NEEDED, *HELPFUL}]
    log = EventLog(path, columns=names, allow_personal=allow_personal, needed=NEEDED)
    parts = [table.unify_dictionaries() for table in log.stream()]
    empty = pa.schema([event_schema().field(name).with_nullable(True) for name in names]).empty_table()
    table = pa.concat_tables(parts).unify_dictionaries() if parts else empty
    return Events(table, dict(log.excluded), log.notes, log_digest(log.sources))


def log_digest(sources: Sequence[Source]) -> str:
    """SHA-256 of a file; of several, of their digests in order."""
    digests = []
    for source in sources:
        with source.path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
