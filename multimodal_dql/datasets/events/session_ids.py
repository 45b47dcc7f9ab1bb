"""UUIDs as session ids: drawn anew for every visit, as web logs have them, or the id of a device that comes back.

Both look alike; what they do tells them apart. A visit is over within a day and belongs to one person. What a log is
too short to show is said, not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from multimodal_dql.datasets.events.identifiers import UUID, Finding, hidden
from multimodal_dql.datasets.events.ids import hash_texts
from multimodal_dql.datasets.events.notes import FIRST_TIME
from multimodal_dql.datasets.events.schema import SUBJECT_COLUMNS, Note

__all__ = ["SessionIds"]

Hashes = NDArray[np.uint64]

KEPT = 16_384
"""Session ids that are followed: those with the smallest hashes, a sample that needs no memory beyond."""
DAY = 86_400_000_000
"""Microseconds."""
SHARE = 0.05
"""Of the ids met more than once, how many may span more than a day (visits that nobody closed), or several subjects."""
ENOUGH = 100
"""Ids met more than once from which on a log can show that its session ids are such."""
_WHOLE = f"^{UUID}$"
_NIL = "00000000-0000-0000-0000-000000000000"
_NONE = np.uint64(0xFFFFFFFFFFFFFFFF)


class SessionIds:
    """Follows a sample of UUIDs in ``session_id`` through a log: first and last time, and whose decisions they are."""

    def __init__(self) -> None:
        self.ids: Hashes = np.empty(0, np.uint64)
        self._first, self._last, self._rows = np.empty((3, 0), np.int64)
        # The smallest and the largest hash of an id's subjects: the same where there is one.
        self._low, self._high = np.empty((2, 0), np.uint64)
        self._example = ""

    def add(self, table: pa.Table, extra: Mapping[str, Any]) -> None:
        """Rows of a log in working types; `extra` holds columns that the schema does not know."""
        if not {"session_id", "time"} <= set(table.column_names) or not table.num_rows:
            return
        session = _whole(table["session_id"])
        time = _whole(table["time"]).cast(pa.int64())
        there = pc.and_kleene(pc.equal(pc.binary_length(session), len(_NIL)), pc.greater(time, FIRST_TIME))
        at = np.flatnonzero(there.fill_null(False).to_numpy(zero_copy_only=False))
        if not len(at):
            return
        ids = hash_texts(session.take(pa.array(at)))
        if len(self.ids) == KEPT:
            followed = ids <= self.ids[-1]
            at, ids = at[followed], ids[followed]
        texts = session.take(pa.array(at))
        alike = pc.and_not(pc.match_substring_regex(texts, _WHOLE), pc.equal(texts, _NIL))
        alike = alike.to_numpy(zero_copy_only=False)
        at, ids = at[alike], ids[alike]
        if not len(at):
            return
        self._example = self._example or hidden(session[int(at[0])].as_py())
        when = time.take(pa.array(at)).to_numpy()
        subject = _subjects(table, extra, at)
        known = subject != _NONE
        self._merge(
            ids, when, when, np.ones(len(at), np.int64), subject, np.where(known, subject, np.uint64(0))
        )

    def _merge(self, ids: Hashes, *more: Any) -> None:
        held = (self._first, self._last, self._rows, self._low, self._high)
        ids = np.concatenate([self.ids, ids])
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
        folds = (np.minimum, np.maximum, np.add, np.minimum, np.maximum)
        self._first, self._last, self._rows, self._low, self._high = (
            fold.reduceat(np.concatenate([old, new])[order], starts)[:KEPT]
            for fold, old, new in zip(folds, held, more, strict=True)
        )
        self.ids = ids[starts][:KEPT]

    def _shares(self) -> tuple[int, float, float]:
        """Ids met more than once, and the shares of them that span more than a day and several subjects."""
        several = self._rows > 1
        count = int(several.sum())
        if not count:
            return 0, 0.0, 0.0
        long = (self._last - self._first > DAY)[several]
        shared = (self._low < self._high)[several] & (self._low[several] != _NONE)
        return count, float(long.mean()), float(shared.mean())

    @property
    def findings(self) -> list[Finding]:
        """That the ids are those of devices, if they behave so."""
        count, long, shared = self._shares()
        if max(long, shared) <= SHARE:
            return []
        if long > SHARE:
            why = f"{long:.0%} of {count:,} that come back span more than a day"
            why_zh = f"{count:,} 个重复出现的值中 {long:.0%} 跨越一天以上"
        else:
            why = f"{shared:.0%} of {count:,} that come back belong to several subjects"
            why_zh = f"{count:,} 个重复出现的值中 {shared:.0%} 属于多个主体"
        return [Finding("session_id", "uuid", len(self.ids), self._example, why, why_zh)]

    @property
    def notes(self) -> list[Note]:
        """That there are UUIDs, and what let them pass."""
        if not len(self.ids) or self.findings:
            return []
        count, long, _ = self._shares()
        days = (int(self._last.max()) - int(self._first.min())) / DAY
        if count >= ENOUGH and days > 2:
            return [
                Note(
                    f"session_id holds UUIDs; they behave like sessions: {long:.1%} of {count:,} that come back span "
                    "more than a day",
                    f"session_id 为 UUID，表现与会话相符：{count:,} 个重复出现的值中只有 {long:.1%} 跨越一天以上",
                )
            ]
        return [
            Note(
                "session_id holds UUIDs, and this log is too short to tell sessions from devices "
                f"({days:.1f} days, {count:,} ids come back): make sure that they are drawn anew for every session",
                f"session_id 为 UUID，而日志太短，无法区分会话与设备（{days:.1f} 天，{count:,} 个值重复出现）："
                "请确认每次会话都会重新生成",
            )
        ]


def _whole(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _subjects(table: pa.Table, extra: Mapping[str, Any], at: NDArray[np.int64]) -> Hashes:
    """A hash of whose decision each row is, by the first column that says so; all ones where nothing does."""
    for name in SUBJECT_COLUMNS[1:]:
        texts = extra.get(name)
        if texts is None or len(texts) != table.num_rows:
            if "context" not in table.column_names or not pa.types.is_map(table["context"].type):
                continue
            texts = pc.map_lookup(_whole(table["context"]), name, "first")
        texts = texts.take(pa.array(at))
        if texts.null_count < len(texts):
            absent = texts.is_null().to_numpy(zero_copy_only=False)
            return np.where(absent, _NONE, hash_texts(texts.fill_null("")))
    return np.full(len(at), _NONE)
