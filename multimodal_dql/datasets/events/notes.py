"""What is worth saying about a log although it excludes no row."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from multimodal_dql.datasets.events.schema import Note

__all__ = ["Noticed"]

MOST = 1000
"""Different names that are told apart; a column with more of them holds something else."""
LISTED = 8
FIRST_TIME = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1e6)
"""Microseconds. Before it nobody logged decisions; a clock that was never set says 1970."""
_MIXED = (
    ("policy", "policies", "策略"),
    ("model_version", "model versions", "模型版本"),
    ("catalogue_fingerprint", "catalogue fingerprints", "目录指纹"),
)


class Noticed:
    """Grows batch by batch.

    Attributes:
        names: column -> value -> rows, of policy, model version and catalogue fingerprint; ``?`` where there is none.
        first: earliest time, in microseconds since 1970; None without times.
        last: latest time.
    """

    def __init__(self) -> None:
        self.names: dict[str, Counter[str]] = {name: Counter() for name, _, _ in _MIXED}
        self.first: int | None = None
        self.last: int | None = None
        self.zoneless = 0
        self._before: int | None = None
        self._backward = self._furthest = self._early = self._future = 0
        self._now = int(datetime.now(UTC).timestamp() * 1e6)

    def add(self, table: pa.Table) -> None:
        """Rows that passed, in their working types."""
        for name, counts in self.names.items():
            if name in table.column_names and len(counts) <= MOST:
                for found in pc.value_counts(table[name]).to_pylist():
                    counts[found["values"] or "?"] += found["counts"]
        if "time" in table.column_names:
            self._times(table["time"].drop_null().cast(pa.int64()).to_numpy())

    def _times(self, time: Any) -> None:
        if not len(time):
            return
        steps = np.diff(time, prepend=time[0] if self._before is None else self._before)
        self._backward += int((steps < 0).sum())
        self._furthest = max(self._furthest, -int(steps.min()))
        self._before = int(time[-1])
        self._early += int((time < FIRST_TIME).sum())
        self._future += int((time > self._now).sum())
        low, high = int(time.min()), int(time.max())
        self.first = low if self.first is None else min(low, self.first)
        self.last = high if self.last is None else max(high, self.last)

    @property
    def notes(self) -> list[Note]:
        """One line each."""
        out = []
        for name, en, zh in _MIXED:
            counts = self.names[name]
            if len(counts) > 1:
                top = counts.most_common(LISTED)
                many = f"more than {MOST:,}" if len(counts) > MOST else f"{len(counts)}"
                said = ", ".join(f"{value} ({count:,})" for value, count in top)
                more, more_zh = (", ...", "……") if len(counts) > LISTED else ("", "")
                out.append(
                    Note(
                        f"{many} {en} are mixed: {said}{more}",
                        f"混有 {many.replace('more than', '超过')} 个{zh}：{said.replace(', ', '、')}{more_zh}",
                    )
                )
        for count, en, zh in (
            (
                self._backward,
                f"{self._backward:,} rows are out of time order, by up to {_span(self._furthest)[0]}",
                f"{self._backward:,} 行不按时间顺序，最多相差 {_span(self._furthest)[1]}",
            ),
            (
                self._future,
                f"{self._future:,} times lie in the future of this machine's clock (clock skew?)",
                f"{self._future:,} 个时间晚于本机时钟（时钟偏差？）",
            ),
            (
                self._early,
                f"{self._early:,} times lie before 2000 (a clock that was not set, or another unit?)",
                f"{self._early:,} 个时间早于 2000 年（时钟未设置，或单位不同？）",
            ),
            (
                self.zoneless,
                f"{self.zoneless:,} times do not say their zone and were taken as UTC",
                f"{self.zoneless:,} 个时间没有时区，按 UTC 处理",
            ),
        ):
            if count:
                out.append(Note(en, zh))
        return out


def _span(microseconds: int) -> tuple[str, str]:
    seconds = microseconds / 1e6
    for size, en, zh in ((86_400, "days", "天"), (3_600, "hours", "小时"), (60, "minutes", "分钟")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {en}", f"{seconds / size:.0f} {zh}"
    return f"{seconds:.3g} seconds", f"{seconds:.3g} 秒"
